//! A daemon that answers what a test says, over the real wire: HTTP/2 on a Unix socket.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "each test file uses its part; a test owns its tasks and may fail"
)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Notify, mpsc};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

/// A call as it came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// `GetService`.
    pub(crate) method: String,
    /// Its headers.
    pub(crate) headers: http::HeaderMap,
    body: Bytes,
}

impl Call {
    /// The request's message.
    pub(crate) fn read<M: Message + Default>(&self) -> M {
        M::decode(&self.body[5..]).expect("the message of the contract")
    }
}

/// What is answered.
pub(crate) enum Reply {
    /// These messages and a good end.
    Messages(Vec<Vec<u8>>),
    /// This error and nothing else.
    Status(Status),
    /// These messages; then, when the test says [`Server::cut`], the stream breaks. Without messages at once.
    Cut(Vec<Vec<u8>>),
    /// Messages as the test says; the end of the channel is a good end.
    Stream(mpsc::UnboundedReceiver<Vec<u8>>),
}

impl Reply {
    pub(crate) fn one(message: &impl Message) -> Self {
        Self::Messages(vec![message.encode_to_vec()])
    }

    pub(crate) fn many<M: Message>(messages: &[M]) -> Self {
        Self::Messages(messages.iter().map(Message::encode_to_vec).collect())
    }

    pub(crate) fn cut<M: Message>(messages: &[M]) -> Self {
        Self::Cut(messages.iter().map(Message::encode_to_vec).collect())
    }

    /// An error with a reason of the catalogue.
    pub(crate) fn error(code: tonic::Code, reason: &str, message: &str, metadata: &[(&str, &str)]) -> Self {
        let mut details = ErrorDetails::new();
        let metadata: HashMap<String, String> =
            metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        details.set_error_info(reason, "clos.dev", metadata);
        Self::Status(Status::with_error_details(code, message, details))
    }
}

type Handler = Box<dyn FnMut(&Call) -> Reply + Send>;

/// The daemon. Lives as long as it is held.
#[derive(Clone, Default)]
pub(crate) struct Server {
    handlers: Arc<Mutex<HashMap<String, Handler>>>,
    calls: Arc<Mutex<Vec<Call>>>,
    cut: Arc<Notify>,
}

impl Server {
    /// What a method answers from now on.
    pub(crate) fn on(&self, method: &str, handler: impl FnMut(&Call) -> Reply + Send + 'static) -> &Self {
        self.handlers.lock().unwrap().insert(method.to_owned(), Box::new(handler));
        self
    }

    /// Breaks the stream that waits for it, or the next one that does.
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }

    /// Every call of a method so far.
    pub(crate) fn calls(&self, method: &str) -> Vec<Call> {
        self.calls.lock().unwrap().iter().filter(|call| call.method == method).cloned().collect()
    }

    /// Every method that was called so far, in order.
    pub(crate) fn log(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|call| call.method.clone()).collect()
    }

    /// Listens on a socket until the runtime ends.
    pub(crate) fn listen(&self, socket: &Path) {
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                server.clone().serve(stream);
            }
        });
    }

    /// Listens on a free port of 127.0.0.1, and returns it.
    pub(crate) async fn listen_on_tcp(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                server.clone().serve(stream);
            }
        });
        port
    }

    fn serve(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let service = hyper::service::service_fn(move |request| {
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
    }

    async fn answer(
        &self,
        request: http::Request<hyper::body::Incoming>,
    ) -> http::Response<http_body_util::combinators::UnsyncBoxBody<Bytes, io::Error>> {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let headers = request.headers().clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let call = Call { method: method.clone(), headers, body };
        self.calls.lock().unwrap().push(call.clone());
        let reply = match self.handlers.lock().unwrap().get_mut(&method) {
            Some(handler) => handler(&call),
            None => Reply::Status(Status::unimplemented(format!("no script for {method}"))),
        };
        let good_end = || {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            Ok(Frame::trailers(trailers))
        };
        let frames = match reply {
            Reply::Status(status) => {
                return status
                    .into_http::<http_body_util::Empty<Bytes>>()
                    .map(|body| body.map_err(|never| match never {}).boxed_unsync());
            }
            Reply::Messages(messages) => {
                let frames: Vec<_> = messages.iter().map(|it| Ok(frame(it))).chain([good_end()]).collect();
                futures::stream::iter(frames).boxed()
            }
            Reply::Cut(messages) => {
                let cut = self.cut.clone();
                let at_once = messages.is_empty();
                let broken = futures::stream::once(async move {
                    if !at_once {
                        cut.notified().await;
                    }
                    Err(io::Error::other("cut by the test"))
                });
                let frames: Vec<_> = messages.iter().map(|it| Ok(frame(it))).collect();
                futures::stream::iter(frames).chain(broken).boxed()
            }
            Reply::Stream(mut messages) => {
                let messages = futures::stream::poll_fn(move |waker| messages.poll_recv(waker));
                messages
                    .map(|it| Ok(frame(&it)))
                    .chain(futures::stream::once(async move { good_end() }))
                    .boxed()
            }
        };
        http::Response::builder()
            .header("content-type", "application/grpc")
            .body(StreamBody::new(frames).boxed_unsync())
            .unwrap()
    }
}

fn frame(message: &[u8]) -> Frame<Bytes> {
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    Frame::data(framed.into())
}
