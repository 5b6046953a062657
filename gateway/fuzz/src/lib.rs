//! What the targets share: the contract of the transcoder's own suite, and a backend
//! that answers with what it is told.

use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use clos_transcoder::{Multiplex, Options, Source, Transcoder};
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use prost_reflect::DescriptorPool;
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

/// The message with a field of every kind.
pub const ALL: &str = "conformance.v1.All";

/// The encoded descriptors of the suite's contract.
pub static DESCRIPTORS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut compiler = protox::Compiler::new([root.join("transcoder/tests/proto"), root.join("../proto")])
        .expect("the folders of the contract are there");
    compiler.include_imports(true);
    compiler.open_file("conformance/v1/conformance.proto").expect("the contract compiles");
    compiler.encode_file_descriptor_set()
});

/// The same, to read messages by other means.
pub static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(DESCRIPTORS.as_slice()).expect("the contract is a descriptor set")
});

/// A transcoder over a backend, with one socket for many streams at `/v1/ws`.
pub fn transcoder(backend: Backend, options: Options) -> Transcoder<Backend> {
    let multiplex = Multiplex {
        path: "/v1/ws".to_owned(),
        method: "conformance.v1.Echo.Stream".to_owned(),
        rename: vec![("from".to_owned(), "after".to_owned())],
        after: "after".to_owned(),
        begins: None,
        kind: "s".to_owned(),
        position: "i64".to_owned(),
        bookmark: "bookmark".to_owned(),
        resync: "resync".to_owned(),
    };
    let options = Options { multiplex: Some(multiplex), source: still(), ..options };
    Transcoder::new(&DESCRIPTORS, backend, options).expect("the contract can be served")
}

/// Time and names that do not depend on the run.
pub fn still() -> Source {
    Source {
        now: Arc::new(|| std::time::SystemTime::UNIX_EPOCH),
        request_id: Arc::new(|| "a".to_owned()),
        trace_id: Arc::new(|| 1),
    }
}

/// Runs a future on a clock that moves on when nobody has anything to do.
pub fn run<F: Future>(future: F) -> F::Output {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without sockets needs nothing");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// What a backend answers.
#[derive(Debug, Clone, Default)]
pub enum Says {
    /// The message that it was sent, as often as the method allows.
    #[default]
    Echo,
    /// These bytes as the whole body of a response of gRPC.
    Body(Bytes),
}

/// A backend, and the last message that it got.
#[derive(Debug, Clone, Default)]
pub struct Backend {
    says: Arc<Mutex<Says>>,
    message: Arc<Mutex<Option<Bytes>>>,
}

impl Backend {
    /// The last message, once.
    pub fn taken(&self) -> Option<Bytes> {
        self.message.lock().expect("nobody panics with it").take()
    }

    /// From now on it answers so.
    pub fn says(&self, says: Says) {
        *self.says.lock().expect("nobody panics with it") = says;
    }

    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let says = self.says.lock().expect("nobody panics with it").clone();
        if let Says::Body(body) = says {
            return answer(stream::iter([body]));
        }
        let rpc = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        if rpc == "Chat" {
            return answer(request.into_body().into_data_stream().filter_map(|chunk| async { chunk.ok() }));
        }
        let Ok(body) = request.into_body().collect().await.map(|body| body.to_bytes()) else {
            return answer(stream::empty());
        };
        *self.message.lock().expect("nobody panics with it") = Some(body.slice(5.min(body.len())..));
        match rpc.as_str() {
            // A few messages, and then silence.
            "Stream" | "Logs" => {
                let messages = (1..=3).map(|number| framed(&[0x20, number, 0x72, 1, b'k']));
                answer(stream::iter(messages).chain(stream::pending()))
            }
            "Collect" | "Nothing" => answer(stream::iter([framed(&[])])),
            _ => answer(stream::iter([body])),
        }
    }
}

impl Service<Request<Body>> for Backend {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let backend = self.clone();
        Box::pin(async move { Ok(backend.answer(request).await) })
    }
}

/// A message as gRPC frames it.
pub fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("no input is that long");
    [&[0], length.to_be_bytes().as_slice(), message].concat().into()
}

fn answer(chunks: impl futures::Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let end = stream::iter([Ok::<_, Infallible>(Frame::trailers(trailers))]);
    let mut response =
        Response::new(Body::new(StreamBody::new(chunks.map(|it| Ok(Frame::data(it))).chain(end))));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// It broke off.
    pub broke: bool,
}

/// Asks a transcoder; an error is a whole JSON text, whoever is at fault.
pub fn ask(rest: &Transcoder<Backend>, request: Request<Full<Bytes>>) -> Answer {
    run(async {
        let Ok(response) = rest.clone().oneshot(request).await;
        let (head, mut body) = response.into_parts();
        let mut answer = Answer { status: head.status.as_u16(), body: Vec::new(), broke: false };
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => answer.body.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => answer.broke = true,
            }
        }
        if answer.status >= 400 {
            let error = json(&answer.body);
            assert!(error["code"].is_string() && error["message"].is_string(), "{error}");
        }
        answer
    })
}

/// A JSON text, which has to be a whole one.
pub fn json(text: &[u8]) -> serde_json::Value {
    serde_json::from_slice(text).unwrap_or_else(|error| {
        panic!("half a JSON text was printed: {error}: {}", String::from_utf8_lossy(text))
    })
}
