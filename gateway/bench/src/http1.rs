//! As much of HTTP/1.1 as a load generator needs: a request as bytes, and where an answer ends.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Where the body begins.
    pub(crate) body: usize,
    /// Where the answer ends.
    pub(crate) end: usize,
}

/// The head at the beginning of these bytes; nothing when more has to come.
pub(crate) fn head(bytes: &[u8]) -> anyhow::Result<Option<Head>> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(at) = bytes.windows(END.len()).position(|part| part == END) else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..at]).context("the head is not UTF-8")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let status: u16 = status.with_context(|| format!("no status line: {text}"))?;
    let mut length = None;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
    }
    // A switch of protocols, and nothing else, has neither a length nor a body.
    let length: usize = match length {
        Some(length) => length,
        None if status == 101 => 0,
        None => bail!("an answer without Content-Length: {text}"),
    };
    let body = at + END.len();
    Ok(Some(Head { status, body, end: body + length }))
}

/// A request without a body.
pub(crate) fn get(host: &str, target: &str, token: Option<&str>) -> Vec<u8> {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("GET {target} HTTP/1.1\r\nhost: {host}\r\naccept: application/json\r\n{token}\r\n").into_bytes()
}

/// A request with one.
pub(crate) fn send(method: &str, host: &str, target: &str, token: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {target} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: vec![0; 16 << 10] }
    }

    pub(crate) async fn open(host: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(host).await.with_context(|| format!("no connection to {host}"))?;
        stream.set_nodelay(true)?;
        Ok(Self::new(stream))
    }

    /// Sends a request and reads its whole answer: the status and the body.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        let (mut read, mut known) = (0, None);
        let head = loop {
            if read == self.buffer.len() {
                self.buffer.resize(read * 2, 0);
            }
            let more = self.stream.read(&mut self.buffer[read..]).await?;
            if more == 0 {
                bail!("the connection ended in an answer");
            }
            read += more;
            if known.is_none() {
                known = head(&self.buffer[..read])?;
            }
            match known {
                Some(head) if head.end == read => break head,
                Some(head) if head.end < read => bail!("more bytes than the answer has"),
                _ => {}
            }
        };
        Ok((head.status, &self.buffer[head.body..head.end]))
    }

    /// What is under it, when it becomes something else.
    pub(crate) fn into_inner(self) -> TcpStream {
        self.stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let answer = b"HTTP/1.1 200 OK\r\nX: y\r\ncontent-Length:  5\r\n\r\nhello";
        let found = head(answer).unwrap().unwrap();
        assert_eq!(found, Head { status: 200, body: answer.len() - 5, end: answer.len() });
        for cut in 0..found.body {
            assert_eq!(head(&answer[..cut]).unwrap(), None);
        }
        let upgrade = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
        let found = head(upgrade).unwrap().unwrap();
        assert_eq!((found.status, found.end), (101, upgrade.len()));
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for answer in ["HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"] {
            assert!(head(answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
