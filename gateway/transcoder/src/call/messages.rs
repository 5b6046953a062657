//! The messages of an answer, one after the other as they are asked for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;
use tonic::body::Body;

use crate::status::Failure;

/// An answer whose head was read.
pub(crate) struct Messages {
    body: Body,
    buffer: Bytes,
    trailers: Option<HeaderMap>,
    is_over: bool,
    most: usize,
}

impl Messages {
    /// Reads the head: metadata, or the error that is all there is.
    pub(crate) fn begin(response: Response<Body>, most: usize) -> Result<(HeaderMap, Self), Failure> {
        let (head, body) = response.into_parts();
        if let Some(failure) = Failure::of_trailers(&head.headers) {
            return Err(failure);
        }
        if head.status != StatusCode::OK {
            return Err(Failure::of_status(head.status));
        }
        // A success that has no body has its trailers in the head.
        let trailers = head.headers.contains_key("grpc-status").then(|| head.headers.clone());
        Ok((head.headers, Self { body, buffer: Bytes::new(), trailers, is_over: false, most }))
    }

    /// The metadata that came behind the last message.
    pub(crate) const fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        loop {
            if let Some(message) = self.cut().transpose() {
                return Poll::Ready(Some(message));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    // The usual case, one message in one frame, is not copied.
                    Ok(data) if self.buffer.is_empty() => self.buffer = data,
                    Ok(data) => self.append(&data),
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            self.trailers = Some(trailers);
                        }
                    }
                },
                Some(Err(status)) => {
                    self.is_over = true;
                    tracing::debug!(%status, "an answer broke off");
                    return Poll::Ready(Some(Err(Failure::unreachable())));
                }
                None => {
                    self.is_over = true;
                    return Poll::Ready(self.end().map(Err));
                }
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    fn end(&self) -> Option<Failure> {
        if !self.buffer.is_empty() {
            return Some(Failure::internal("the backend's answer ends inside of a message"));
        }
        match &self.trailers {
            Some(trailers) if trailers.contains_key("grpc-status") => Failure::of_trailers(trailers),
            _ => Some(Failure::internal("the backend's answer has no status")),
        }
    }

    /// Whether another message has come already, or a piece of one.
    pub(crate) fn has_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Adds a piece to a message of which the beginning has come.
    fn append(&mut self, piece: &[u8]) {
        // Nobody else has a buffer that was made here, so it grows in its place.
        let begun = std::mem::take(&mut self.buffer).try_into_mut();
        let mut begun = begun.unwrap_or_else(|begun| BytesMut::from(&begun[..]));
        begun.extend_from_slice(piece);
        self.buffer = begun.freeze();
    }

    /// The next message if all of it is there.
    fn cut(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(head) = self.buffer.get(..5) else { return Ok(None) };
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if head[0] != 0 || length > self.most {
            self.is_over = true;
            let why = if head[0] != 0 { "compressed" } else { "too large" };
            self.buffer.clear();
            return Err(Failure::internal(format!("the backend's answer has a message that is {why}")));
        }
        if self.buffer.len() < 5 + length {
            return Ok(None);
        }
        self.buffer.advance(5);
        Ok(Some(self.buffer.split_to(length)))
    }
}

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::StreamBody;
    use tonic::Code;

    use super::*;

    /// What is made of an answer of these frames.
    async fn read(
        status: u16,
        head: &[(&'static str, &str)],
        frames: Vec<Frame<Bytes>>,
    ) -> Result<usize, Code> {
        let frames = futures::stream::iter(frames.into_iter().map(Ok::<_, tonic::Status>));
        let mut response = Response::new(Body::new(StreamBody::new(frames)));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in head {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (_, mut messages) = Messages::begin(response, 100).map_err(|failure| failure.code)?;
        let mut count = 0;
        while let Some(message) = messages.next().await {
            message.map_err(|failure| failure.code)?;
            count += 1;
        }
        Ok(count)
    }

    fn data(bytes: &'static [u8]) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(bytes))
    }

    fn trailers(code: &str) -> Frame<Bytes> {
        let mut map = HeaderMap::new();
        map.insert("grpc-status", code.parse().unwrap());
        Frame::trailers(map)
    }

    #[tokio::test]
    async fn an_answer_is_whole_or_an_error() {
        let whole = data(b"\0\0\0\0\x01a\0\0\0\0\0");
        assert_eq!(
            read(200, &[], vec![data(b"\0\0\0"), data(b"\0\x01"), data(b"a"), trailers("0")]).await,
            Ok(1)
        );
        assert_eq!(read(200, &[("grpc-status", "0")], Vec::new()).await, Ok(0));
        for (answer, code) in [
            (vec![whole], Code::Internal),
            (vec![data(b"\0\0\0\0\x05a"), trailers("0")], Code::Internal),
            (vec![data(b"\x01\0\0\0\x01a"), trailers("0")], Code::Internal),
            (vec![data(b"\0\0\0\x01\0"), trailers("0")], Code::Internal),
            (vec![data(b"<html>no gRPC</html>")], Code::Internal),
            (vec![trailers("5")], Code::NotFound),
            (vec![trailers("99")], Code::Unknown),
            (vec![trailers("x")], Code::Unknown),
            (Vec::new(), Code::Internal),
        ] {
            let shown = format!("{answer:?}");
            assert_eq!(read(200, &[], answer).await, Err(code), "{shown}");
        }
        for (status, code) in [
            (401, Code::Unauthenticated),
            (403, Code::PermissionDenied),
            (404, Code::Unimplemented),
            (503, Code::Unavailable),
            (500, Code::Unknown),
        ] {
            assert_eq!(read(status, &[], vec![data(b"<html>")]).await, Err(code), "{status}");
        }
        // The words of gRPC count more than the status beside them.
        assert_eq!(read(503, &[("grpc-status", "5")], Vec::new()).await, Err(Code::NotFound));
    }
}
