//! Where the heads of HTTP/1 begin and end, beside hyper, for what hyper keeps to itself.
//!
//! hyper takes a Content-Length that stands beside a Transfer-Encoding out before anybody
//! sees it, and ignores codings in front of `chunked`. Two parsers that disagree about where
//! a request ends are how requests are smuggled, so such a head is spoiled on its way in: a
//! byte that no head may have takes the place of a line's end, and hyper refuses it.
//!
//! This is no parser. What hyper would refuse is hyper's to refuse; only of what it takes are
//! the ends known here.

use http::StatusCode;

/// Why a head is refused: the status, the field and what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) field: Option<&'static str>,
    pub(crate) message: &'static str,
}

impl Fault {
    const fn bad(field: &'static str, message: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, field: Some(field), message }
    }
}

const BOTH: Fault = Fault::bad("content-length", "it stands beside a Transfer-Encoding");
const CODING: Fault = Fault::bad("transfer-encoding", "only `chunked` is understood, once");
const CHUNKS: Fault = Fault::bad("body", "a line of its chunks does not end as it should");
const LENGTH: Fault = Fault {
    status: StatusCode::PAYLOAD_TOO_LARGE,
    field: None,
    message: "the body is longer than any that is taken",
};
const TARGET: Fault =
    Fault { status: StatusCode::URI_TOO_LONG, field: None, message: "the target is too long" };
const HEADERS: Fault = Fault {
    status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    field: None,
    message: "the header lines are too many or too long",
};
const MALFORMED: Fault =
    Fault::bad("request", "its first line or one of its header lines is not as HTTP/1.1 has them");

/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";
/// hyper has no larger lengths.
const LONGEST: u64 = u64::MAX - 2;

/// Follows what comes in.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    at: At,
    /// A line that has not ended yet.
    line: Vec<u8>,
    length: Option<u64>,
    is_chunked: bool,
    fault: Option<Fault>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before a request, or in its first line.
    #[default]
    First,
    /// In the header lines.
    Field,
    /// In a body, with so many bytes of it to come.
    Body(u64),
    /// In the line with a chunk's size.
    Size,
    /// In a chunk and the end of its line.
    Chunk(u64),
    /// In the lines behind the last chunk.
    Trailer,
    /// This is no HTTP/1 any more.
    Off,
}

impl Heads {
    /// Follows bytes that came in, and spoils what should not be taken.
    pub(crate) fn follow(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let passed = match self.at {
                At::Off => {
                    if self.fault.is_some() {
                        // hyper looks at a head that it began only when it sees the end.
                        bytes.fill(b'\n');
                    }
                    return;
                }
                At::Body(left) | At::Chunk(left) => {
                    let passed = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    let left = left - passed as u64;
                    self.at = match self.at {
                        At::Body(_) if left == 0 => At::First,
                        At::Body(_) => At::Body(left),
                        _ if left == 0 => At::Size,
                        _ => At::Chunk(left),
                    };
                    passed
                }
                At::First | At::Field | At::Size | At::Trailer => {
                    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                        self.line.extend_from_slice(bytes);
                        return;
                    };
                    let taken = if self.line.is_empty() {
                        self.take(&bytes[..=end])
                    } else {
                        let mut line = std::mem::take(&mut self.line);
                        line.extend_from_slice(&bytes[..=end]);
                        self.take(&line)
                    };
                    if let Err(fault) = taken {
                        bytes[end] = 0;
                        (self.fault, self.at) = (Some(fault), At::Off);
                    }
                    end + 1
                }
            };
            bytes = &mut bytes[passed..];
        }
    }

    /// Takes a line with its end.
    fn take(&mut self, line: &[u8]) -> Result<(), Fault> {
        let text = line.trim_ascii();
        match self.at {
            At::First if text.is_empty() => {}
            At::First if line.starts_with(PREFACE) => self.at = At::Off,
            At::First => {
                (self.length, self.is_chunked) = (None, false);
                self.at = At::Field;
            }
            At::Field if text.is_empty() => {
                self.at = match self.length {
                    _ if self.is_chunked => At::Size,
                    Some(length) if length > 0 => At::Body(length),
                    _ => At::First,
                }
            }
            At::Field => return self.field(text),
            // hyper ends these lines with both bytes, and so a single one must not end them here.
            At::Size | At::Trailer if !line.ends_with(b"\r\n") => return Err(CHUNKS),
            At::Size => {
                let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                let size = std::str::from_utf8(&text[..digits]).unwrap_or_default();
                self.at = match u64::from_str_radix(size, 16) {
                    Ok(0) => At::Trailer,
                    Ok(size) => At::Chunk(size.saturating_add(2)),
                    // hyper refuses it.
                    Err(_) => At::Off,
                };
            }
            At::Trailer if text.is_empty() => self.at = At::First,
            At::Trailer | At::Body(_) | At::Chunk(_) | At::Off => {}
        }
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Fault> {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Ok(()) };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.is_chunked {
                return Err(BOTH);
            }
            let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            match length {
                Some(length) if length <= LONGEST => self.length = Some(length),
                _ if is_number => return Err(LENGTH),
                _ => {}
            }
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.length.is_some() {
                return Err(BOTH);
            }
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(CODING);
            }
            self.is_chunked = true;
        }
        Ok(())
    }

    /// The connection speaks something else from here on.
    pub(crate) fn upgraded(&mut self) {
        self.at = At::Off;
        self.line = Vec::new();
    }

    /// Whether more of a request should come, if only for nobody to read it.
    pub(crate) const fn is_inside(&self) -> bool {
        self.fault.is_some() || !matches!(self.at, At::First | At::Off) || !self.line.is_empty()
    }

    /// Why hyper answered by itself with this status.
    pub(crate) fn fault(&self, status: StatusCode) -> Fault {
        if let Some(fault) = self.fault {
            return fault;
        }
        match status {
            StatusCode::URI_TOO_LONG => TARGET,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE if self.at == At::First && !self.line.is_empty() => {
                TARGET
            }
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => HEADERS,
            _ => MALFORMED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of bytes that come in pieces of this size.
    fn followed(text: &str, size: usize) -> (String, Heads) {
        let mut heads = Heads::default();
        let mut bytes = text.as_bytes().to_vec();
        for piece in bytes.chunks_mut(size) {
            heads.follow(piece);
        }
        (String::from_utf8(bytes).unwrap(), heads)
    }

    #[test]
    fn what_is_said_once_passes_as_it_is() {
        let length = "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd";
        let chunks = "POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n1a;x=\"y\"\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nx: y\r\n\r\n";
        let bare = "\r\n\nGET / HTTP/1.1\nhost: x\n\n";
        for text in [length, chunks, bare, &format!("{chunks}{length}{bare}{chunks}")] {
            for size in [1, 2, 7, 1_000] {
                let (came, heads) = followed(text, size);
                assert_eq!(came, text);
                assert!(!heads.is_inside(), "{text:?} by {size}: {heads:?}");
            }
        }
        let (_, heads) = followed("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 3);
        assert_eq!(heads.at, At::Off);
    }

    #[test]
    fn what_is_said_twice_is_spoiled() {
        let both = "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
        let turned = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length: 4\r\n\r\n";
        // The body has a head without a length, the request behind it one with both.
        let hidden = format!("POST / HTTP/1.1\r\ncontent-length: 20\r\n\r\nPOST / HTTP/1.1\r\n\r\n{both}");
        for (text, fault) in [
            (both, BOTH),
            (turned, BOTH),
            (&hidden, BOTH),
            ("POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n", CODING),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", CODING),
            ("POST / HTTP/1.1\r\ncontent-length: 18446744073709551615\r\n\r\n", LENGTH),
            ("POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n", LENGTH),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx\n\r\nGET / HTTP/1.1\r\n\r\n",
                CHUNKS,
            ),
        ] {
            for size in [1, 2, 7, 1_000] {
                let (came, heads) = followed(text, size);
                assert_eq!(came.matches('\0').count(), 1, "{text:?} by {size}");
                assert_eq!(heads.fault, Some(fault), "{text:?} by {size}");
                assert!(heads.is_inside());
            }
        }
    }

    #[test]
    fn what_hyper_refuses_by_itself_is_told_by_where_it_was() {
        let (_, heads) = followed("GET /xxxxxxxx", 4);
        assert_eq!(heads.fault(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE), TARGET);
        let (_, heads) = followed("GET / HTTP/1.1\r\nx: yyyyyyyyyyyyyyyy", 4);
        assert_eq!(heads.fault(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE), HEADERS);
        assert_eq!(heads.fault(StatusCode::BAD_REQUEST), MALFORMED);
    }
}
