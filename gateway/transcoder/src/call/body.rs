//! Bodies of requests: read within limits, decompressed, and cut into messages.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use http_body::Body;

use crate::status::Failure;

/// How long the next bytes of a body may take that is one message. Streams may be quiet.
const PATIENCE: Duration = Duration::from_secs(30);

/// An error of whoever sends the body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body of any kind, with a name for its type.
pub(crate) struct Incoming(Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>);

impl Incoming {
    pub(crate) fn new<B>(body: B) -> Self
    where
        B: Body<Data: Send> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        use http_body_util::BodyExt as _;
        let body = body
            .map_err(Into::into)
            .map_frame(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())));
        Self(Box::pin(body))
    }

    /// Whether it is known that nothing comes.
    pub(crate) fn is_end(&self) -> bool {
        self.0.is_end_stream()
    }

    /// The next bytes; trailers are passed over.
    pub(crate) fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        loop {
            return match std::task::ready!(self.0.as_mut().poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => continue,
                    Ok(data) => Poll::Ready(Some(Ok(data))),
                    Err(_) => continue,
                },
                Some(Err(error)) => {
                    tracing::debug!(%error, "a body broke off");
                    Poll::Ready(Some(Err(Failure::field("body", "it broke off"))))
                }
                None => Poll::Ready(None),
            };
        }
    }

    /// The next bytes, if they come in time: who sends slowly holds a place that others want.
    async fn chunk(&mut self) -> Option<Result<Bytes, Failure>> {
        let chunk = std::future::poll_fn(|context| self.poll_chunk(context));
        tokio::time::timeout(PATIENCE, chunk).await.unwrap_or_else(|_| {
            let message = format!("nothing more came for {} seconds", PATIENCE.as_secs());
            Some(Err(Failure::field("body", message)))
        })
    }

    /// Whether nothing is in it.
    pub(crate) async fn is_empty(&mut self) -> Result<bool, Failure> {
        if self.is_end() {
            return Ok(true);
        }
        self.chunk().await.transpose().map(|chunk| chunk.is_none())
    }

    /// All of it, decompressed.
    pub(crate) async fn whole(mut self, decoder: &mut Decoder, most: usize) -> Result<Bytes, Failure> {
        if self.is_end() {
            return Ok(Bytes::new());
        }
        let mut first: Option<Bytes> = None;
        let mut all: Vec<u8> = Vec::new();
        while let Some(chunk) = self.chunk().await.transpose()? {
            let chunk = decoder.push(chunk, most.saturating_sub(all.len()))?;
            if first.is_none() && all.is_empty() && chunk.len() <= most {
                first = Some(chunk);
                continue;
            }
            if let Some(first) = first.take() {
                all.extend_from_slice(&first);
            }
            if all.len() + chunk.len() > most {
                return Err(too_large(most));
            }
            all.extend_from_slice(&chunk);
        }
        decoder.end()?;
        Ok(first.unwrap_or_else(|| all.into()))
    }
}

pub(crate) fn too_large(most: usize) -> Failure {
    Failure::own(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {most} bytes"))
}

/// Refuses a body whose length is too large as it is promised.
pub(crate) fn judge_length(headers: &HeaderMap, most: usize) -> Result<(), Failure> {
    let promised = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match promised {
        Some(length) if usize::try_from(length).map_or(true, |length| length > most) => Err(too_large(most)),
        _ => Ok(()),
    }
}

/// Takes what comes out of a decompressor, up to a bound.
struct Capped {
    out: Vec<u8>,
    left: usize,
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.left {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it becomes too large"));
        }
        self.left -= bytes.len();
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Coding {
    Identity,
    Gzip(flate2::write::MultiGzDecoder<Capped>),
    Brotli(Box<brotli::DecompressorWriter<Capped>>),
    Zstd(zstd::stream::write::Decoder<'static, Capped>),
}

/// Undoes a Content-Encoding, chunk by chunk.
pub(crate) struct Decoder {
    coding: Coding,
    /// Out of so many bytes in may come so many more.
    ratio: usize,
    taken: usize,
    given: usize,
}

/// What a small body may become whatever its ratio.
const FREE: usize = 64 << 10;

impl Decoder {
    pub(crate) fn of(headers: &HeaderMap, ratio: usize) -> Result<Self, Failure> {
        let mut codings = headers.get_all(CONTENT_ENCODING).iter();
        let named =
            codings.next().map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase());
        let empty = || Capped { out: Vec::new(), left: 0 };
        let coding = match named.as_deref() {
            _ if codings.next().is_some() => return Err(unknown_coding()),
            None | Some("" | "identity") => Coding::Identity,
            Some("gzip" | "x-gzip") => Coding::Gzip(flate2::write::MultiGzDecoder::new(empty())),
            Some("br") => Coding::Brotli(Box::new(brotli::DecompressorWriter::new(empty(), 4096))),
            Some("zstd") => match zstd_decoder() {
                Ok(decoder) => Coding::Zstd(zstd::stream::write::Decoder::with_decoder(empty(), decoder)),
                Err(error) => return Err(Failure::internal(format!("no decompressor: {error}"))),
            },
            Some(_) => return Err(unknown_coding()),
        };
        Ok(Self { coding, ratio, taken: 0, given: 0 })
    }

    /// Decompresses a chunk into at most `most` bytes.
    pub(crate) fn push(&mut self, chunk: Bytes, most: usize) -> Result<Bytes, Failure> {
        if matches!(self.coding, Coding::Identity) {
            return Ok(chunk);
        }
        self.taken += chunk.len();
        let by_ratio = FREE.max(self.taken.saturating_mul(self.ratio)).saturating_sub(self.given);
        let left = most.min(by_ratio);
        let written = self.with(left, |writer| writer.write_all(&chunk).and_then(|()| writer.flush()));
        match written {
            Ok(out) => {
                self.given += out.len();
                Ok(out.into())
            }
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(Failure::own(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body becomes too large when it is decompressed",
            )),
            Err(_) => Err(broken()),
        }
    }

    fn with(
        &mut self,
        left: usize,
        run: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Vec<u8>> {
        match &mut self.coding {
            Coding::Identity => Ok(Vec::new()),
            Coding::Gzip(decoder) => {
                decoder.get_mut().left = left;
                run(decoder)?;
                Ok(std::mem::take(&mut decoder.get_mut().out))
            }
            Coding::Brotli(decoder) => {
                decoder.get_mut().left = left;
                run(decoder)?;
                Ok(std::mem::take(&mut decoder.get_mut().out))
            }
            Coding::Zstd(decoder) => {
                decoder.get_mut().left = left;
                run(decoder)?;
                Ok(std::mem::take(&mut decoder.get_mut().out))
            }
        }
    }

    /// Nothing more comes: what was begun has to be whole.
    pub(crate) fn end(&mut self) -> Result<(), Failure> {
        if self.taken == 0 {
            return Ok(());
        }
        let ended = match &mut self.coding {
            Coding::Identity => Ok(()),
            Coding::Zstd(decoder) => decoder.do_finish(),
            Coding::Gzip(decoder) => decoder.try_finish(),
            Coding::Brotli(decoder) => decoder.close(),
        };
        ended.map_err(|_| broken())
    }
}

/// A frame may ask for no more memory than RFC 8878 recommends.
fn zstd_decoder() -> io::Result<zstd::stream::raw::Decoder<'static>> {
    let mut decoder = zstd::stream::raw::Decoder::new()?;
    decoder.set_parameter(zstd::stream::raw::DParameter::WindowLogMax(23))?;
    Ok(decoder)
}

fn broken() -> Failure {
    Failure::field("body", "it is not compressed as Content-Encoding says")
}

fn unknown_coding() -> Failure {
    Failure::own(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is none of gzip, br, zstd, identity")
        .with_header(http::header::ACCEPT_ENCODING, "gzip, br, zstd, identity")
}

/// Cuts a stream of JSON values into single ones: lines, values behind one another, or the items of one array.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    buffer: Vec<u8>,
    /// Where the next value begins, and how far it was looked at.
    start: usize,
    seen: usize,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    array: Array,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Array {
    #[default]
    NotKnown,
    None,
    /// Inside, before the first item.
    Open,
    /// Behind an item.
    Item,
    /// Behind a comma.
    Comma,
    Closed,
}

impl Splitter {
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.start);
        self.seen -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// The next value that is whole.
    pub(crate) fn next(&mut self, most: usize) -> Result<Option<Vec<u8>>, Failure> {
        let bad = |message: &str| Failure::field("body", message);
        while let Some(&byte) = self.buffer.get(self.seen) {
            if self.seen == self.start && self.depth == 0 && !self.in_string {
                // Between values.
                let passes = match (byte, self.array) {
                    (b' ' | b'\t' | b'\r' | b'\n', _) => true,
                    (b'[', Array::NotKnown) => {
                        self.array = Array::Open;
                        true
                    }
                    (b',', Array::Item) => {
                        self.array = Array::Comma;
                        true
                    }
                    (b']', Array::Open | Array::Item) => {
                        self.array = Array::Closed;
                        true
                    }
                    (_, Array::Closed) => return Err(bad("something follows the list")),
                    (_, Array::Item) => return Err(bad("expected `,` or `]` between the messages")),
                    _ => false,
                };
                if passes {
                    self.start += 1;
                    self.seen = self.start;
                    continue;
                }
                if self.array == Array::NotKnown {
                    self.array = Array::None;
                }
            }
            let ends = self.step(byte);
            match ends {
                Ends::No => self.seen += 1,
                Ends::After => return Ok(Some(self.cut(self.seen + 1))),
                Ends::Before => return Ok(Some(self.cut(self.seen))),
            }
            if self.seen - self.start > most {
                return Err(too_large(most));
            }
        }
        Ok(None)
    }

    fn step(&mut self, byte: u8) -> Ends {
        if self.in_string {
            if self.is_escaped {
                self.is_escaped = false;
            } else if byte == b'\\' {
                self.is_escaped = true;
            } else if byte == b'"' {
                self.in_string = false;
                return if self.depth == 0 { Ends::After } else { Ends::No };
            }
            return Ends::No;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                return if self.depth == 0 { Ends::After } else { Ends::No };
            }
            b',' | b']' | b' ' | b'\t' | b'\r' | b'\n' if self.depth == 0 && self.seen > self.start => {
                return Ends::Before;
            }
            _ => {}
        }
        Ends::No
    }

    fn cut(&mut self, at: usize) -> Vec<u8> {
        let value = self.buffer[self.start..at].to_vec();
        self.start = at;
        self.seen = at;
        if matches!(self.array, Array::Open | Array::Comma) {
            self.array = Array::Item;
        }
        value
    }

    /// What is left at the end: a last value without an end of its own.
    pub(crate) fn last(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self.array {
            Array::Open | Array::Item | Array::Comma => Err(Failure::field("body", "the list does not end")),
            _ if self.start == self.buffer.len() => Ok(None),
            _ => Ok(Some(self.cut(self.buffer.len()))),
        }
    }
}

enum Ends {
    No,
    After,
    Before,
}

/// A body is UTF-8 without a mark in front.
pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, Failure> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Failure::field("body", format!("it is not UTF-8 (byte {})", error.valid_up_to())))?;
    if text.starts_with('\u{feff}') {
        return Err(Failure::field("body", "it begins with a byte order mark"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    fn split(text: &str, size: usize) -> Result<Vec<String>, String> {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for chunk in text.as_bytes().chunks(size) {
            splitter.push(chunk);
            while let Some(value) = splitter.next(1_000).map_err(|it| it.message)? {
                found.push(String::from_utf8(value).unwrap());
            }
        }
        found.extend(splitter.last().map_err(|it| it.message)?.map(|it| String::from_utf8(it).unwrap()));
        Ok(found)
    }

    #[test]
    fn values_are_cut_wherever_the_chunks_end() {
        for size in [1, 2, 3, 100] {
            let three = vec!["{\"a\":\"}\\\"\"}".to_owned(), "{\"b\":[1,2]}".to_owned(), "3".to_owned()];
            assert_eq!(split("{\"a\":\"}\\\"\"}\n{\"b\":[1,2]}\n\n3\n", size), Ok(three.clone()));
            assert_eq!(split(" [ {\"a\":\"}\\\"\"} , {\"b\":[1,2]},3 ] ", size), Ok(three));
            assert_eq!(split("[]", size), Ok(Vec::new()));
            assert_eq!(split("", size), Ok(Vec::new()));
            assert_eq!(split("{}{}", size), Ok(vec!["{}".to_owned(), "{}".to_owned()]));
            assert_eq!(split("\"a b\" \"c\"", size), Ok(vec!["\"a b\"".to_owned(), "\"c\"".to_owned()]));
            assert!(split("[{} {}]", size).is_err());
            assert!(split("[{},]", size).is_err());
            assert!(split("[{}", size).is_err());
            assert!(split("[{}] {}", size).is_err());
            assert_eq!(
                split("{\"a\":", size),
                Ok(vec!["{\"a\":".to_owned()]),
                "its reader says what is wrong"
            );
        }
        assert!(split(&format!("\"{}\"", "x".repeat(2_000)), 100).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_which_nothing_more_comes_is_not_waited_for() {
        let begun = futures::stream::iter([Ok::<_, BoxError>(http_body::Frame::data(Bytes::from("{")))]);
        let body = http_body_util::StreamBody::new(begun.chain(futures::stream::pending()));
        let mut decoder = Decoder::of(&HeaderMap::new(), 100).unwrap();
        let failure = Incoming::new(body).whole(&mut decoder, 1_000).await.unwrap_err();
        assert_eq!(failure.message, "`body`: nothing more came for 30 seconds");
    }

    fn headers(coding: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, coding.parse().unwrap());
        headers
    }

    #[test]
    fn compressed_bodies_become_what_they_were() {
        let text = "{\"name\":\"x\"}".repeat(50);
        let gzip = {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let brotli = {
            let mut out = Vec::new();
            let mut writer = brotli::CompressorWriter::new(&mut out, 4096, 5, 20);
            writer.write_all(text.as_bytes()).unwrap();
            drop(writer);
            out
        };
        let zstd = zstd::encode_all(text.as_bytes(), 3).unwrap();
        for (coding, bytes) in
            [("gzip", gzip), ("br", brotli), ("zstd", zstd), ("identity", text.clone().into())]
        {
            let bytes = Bytes::from(bytes);
            for size in [1, 7, 10_000] {
                let mut decoder = Decoder::of(&headers(coding), 100).unwrap();
                let mut out = Vec::new();
                for chunk in bytes.chunks(size) {
                    out.extend_from_slice(&decoder.push(Bytes::copy_from_slice(chunk), 10_000).unwrap());
                }
                decoder.end().unwrap();
                assert_eq!(String::from_utf8(out).unwrap(), text, "{coding} by {size}");
            }
            if coding != "identity" {
                let mut decoder = Decoder::of(&headers(coding), 100).unwrap();
                let failure = decoder.push(bytes.clone(), 100).unwrap_err();
                assert_eq!(failure.code, tonic::Code::ResourceExhausted, "{coding}");
                let cut = bytes.slice(..bytes.len() - 3);
                let mut decoder = Decoder::of(&headers(coding), 100).unwrap();
                assert!(decoder.push(cut, 10_000).is_err() || decoder.end().is_err(), "{coding} cut off");
                let mut decoder = Decoder::of(&headers(coding), 100).unwrap();
                assert!(
                    decoder.push(Bytes::from_static(b"no such thing at all"), 1_000).is_err()
                        || decoder.end().is_err()
                );
            }
        }
        assert!(Decoder::of(&headers("lzma"), 100).is_err());
        assert!(Decoder::of(&headers("gzip, br"), 100).is_err());
    }

    #[test]
    fn a_bomb_is_stopped_by_its_ratio() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 4 << 20]).unwrap();
        let bomb = encoder.finish().unwrap();
        let mut decoder = Decoder::of(&headers("gzip"), 100).unwrap();
        assert!(decoder.push(bomb.into(), 100 << 20).is_err());
    }
}
