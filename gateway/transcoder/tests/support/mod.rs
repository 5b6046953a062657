#![allow(dead_code, reason = "two suites use it, each a part")]
//! A backend that speaks gRPC by bytes: it echoes, fails, streams and waits as it is asked.

pub(crate) mod contract;

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use clos_transcoder::{Options, Transcoder};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

/// The encoded descriptors of the suite's contract.
pub(crate) fn descriptors() -> Vec<u8> {
    static COMPILED: LazyLock<Vec<u8>> = LazyLock::new(compiled);
    COMPILED.clone()
}

fn compiled() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../transcoder");
    let includes = [root.join("tests/proto"), root.join("../../proto")];
    let mut compiler = protox::Compiler::new(includes).unwrap();
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file("conformance/v1/conformance.proto").unwrap();
    compiler.open_file("conformance/v1/types.proto").unwrap();
    compiler.open_file("conformance/v1/older.proto").unwrap();
    compiler.encode_file_descriptor_set()
}

pub(crate) fn pool() -> DescriptorPool {
    static POOL: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(descriptors().as_slice()).unwrap());
    POOL.clone()
}

#[derive(Clone, Default)]
pub(crate) struct Backend {
    /// Metadata of the last call.
    pub(crate) seen: Arc<Mutex<HeaderMap>>,
    /// The last message that came.
    pub(crate) message: Arc<Mutex<Vec<u8>>>,
    /// Calls that are still waiting.
    pub(crate) waiting: Arc<AtomicUsize>,
}

struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

type Future<T> = Pin<Box<dyn std::future::Future<Output = T> + Send>>;

impl Service<Request<Body>> for Backend {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Future<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let backend = self.clone();
        Box::pin(async move { Ok(backend.answer(request).await) })
    }
}

pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(message);
    frame.into()
}

fn trailers(code: i32, message: &str, details: Option<&[u8]>) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert("grpc-status", HeaderValue::from(code));
    if !message.is_empty() {
        let escaped: String = message
            .bytes()
            .map(|it| {
                if it.is_ascii_graphic() && it != b'%' {
                    char::from(it).to_string()
                } else {
                    format!("%{it:02X}")
                }
            })
            .collect();
        map.insert("grpc-message", escaped.parse().unwrap());
    }
    if let Some(details) = details {
        map.insert("grpc-status-details-bin", data_encoding::BASE64.encode(details).parse().unwrap());
    }
    map
}

pub(crate) fn unary(message: &[u8]) -> Response<Body> {
    let body = Full::new(framed(message)).with_trailers(async {
        let mut trailers = trailers(0, "", None);
        trailers.insert("x-trailing", HeaderValue::from_static("t"));
        Some(Ok(trailers))
    });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("x-leading", HeaderValue::from_static("l"));
    response.headers_mut().insert("secret-bin", HeaderValue::from_static("AQI"));
    response
}

fn failed(code: i32, message: &str, details: Option<&[u8]>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = trailers(code, message, details);
    response
}

fn field<T>(
    message: &DynamicMessage,
    name: &str,
    pick: impl FnOnce(&prost_reflect::Value) -> Option<T>,
) -> T {
    pick(&message.get_field_by_name(name).unwrap()).unwrap()
}

fn all(message: &[u8]) -> DynamicMessage {
    DynamicMessage::decode(pool().get_message_by_name("conformance.v1.All").unwrap(), message).unwrap()
}

impl Backend {
    async fn answer(self, request: Request<Body>) -> Response<Body> {
        *self.seen.lock().unwrap() = request.headers().clone();
        let rpc = request.uri().path().rsplit('/').next().unwrap().to_owned();
        if rpc == "Chat" {
            let messages =
                request.into_body().into_data_stream().map(|chunk| Ok(Frame::data(chunk.unwrap())));
            let end = futures::stream::iter([Ok::<_, Infallible>(Frame::trailers(trailers(0, "", None)))]);
            return Response::new(Body::new(StreamBody::new(messages.chain(end))));
        }
        if rpc == "Talk" {
            return Self::talk(request.into_body());
        }
        let body = match request.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return failed(1, "the request broke off", None),
        };
        let message = body.get(5..).unwrap_or_default().to_vec();
        *self.message.lock().unwrap() = message.clone();
        let of = |name: &str| -> DynamicMessage {
            let descriptor: MessageDescriptor =
                pool().get_message_by_name(&format!("conformance.v1.{name}")).unwrap();
            DynamicMessage::decode(descriptor, message.as_slice()).unwrap()
        };
        match rpc.as_str() {
            "Nothing" | "Keep" => unary(&[]),
            "Collect" => {
                let mut count = 0;
                let mut rest = &body[..];
                while rest.len() >= 5 {
                    let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
                    rest = &rest[5 + length..];
                    count += 1;
                }
                unary(&[0x18, count])
            }
            "Slow" => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                let _waiting = Waiting(self.waiting.clone());
                std::future::pending::<()>().await;
                unary(&[])
            }
            "Fail" => {
                let request = of("FailRequest");
                let details = field(&request, "details", |it| it.as_bytes().cloned());
                let text = field(&request, "message", |it| it.as_str().map(str::to_owned));
                failed(
                    field(&request, "code", prost_reflect::Value::as_i32),
                    &text,
                    Some(&details).filter(|it| !it.is_empty()).map(|it| &it[..]),
                )
            }
            "Stream" | "Logs" => self.stream(&of("StreamRequest")),
            _ => unary(&message),
        }
    }

    /// Echoes each message when it has come, until one asks for the end.
    fn talk(body: Body) -> Response<Body> {
        type Rest = Option<(Body, Vec<u8>)>;
        let end = |code| Some((Ok::<_, Infallible>(Frame::trailers(trailers(code, "told to", None))), None));
        let frames = futures::stream::unfold(Some((body, Vec::new())), move |state: Rest| async move {
            let (mut body, mut came) = state?;
            loop {
                let length = came
                    .get(1..5)
                    .map_or(usize::MAX, |length| 5 + u32::from_be_bytes(length.try_into().unwrap()) as usize);
                if length <= came.len() {
                    let rest = came.split_off(length);
                    let message = all(&came[5..]);
                    let code = field(&message, "i32", prost_reflect::Value::as_i32);
                    if code < 0 {
                        return end(-code);
                    }
                    if field(&message, "b", prost_reflect::Value::as_bool) {
                        return end(0);
                    }
                    return Some((Ok(Frame::data(came.into())), Some((body, rest))));
                }
                match body.frame().await {
                    Some(Ok(frame)) => came.extend_from_slice(&frame.into_data().unwrap_or_default()),
                    Some(Err(_)) => return end(1),
                    None => return end(0),
                }
            }
        });
        Response::new(Body::new(StreamBody::new(frames)))
    }

    fn stream(&self, request: &DynamicMessage) -> Response<Body> {
        let count = i64::from(field(request, "count", prost_reflect::Value::as_i32));
        let code = field(request, "fail_code", prost_reflect::Value::as_i32);
        let after = field(request, "after", prost_reflect::Value::as_i64);
        let forever = field(request, "forever", prost_reflect::Value::as_bool);
        let word = field(request, "word", |it| it.as_str().map(str::to_owned));
        if count == 0 && code != 0 {
            // Not in the head: the gateway has to look at what comes instead of a message.
            let end =
                futures::stream::iter([Ok::<_, Infallible>(Frame::trailers(trailers(code, "early", None)))]);
            let mut response = Response::new(Body::new(StreamBody::new(end)));
            response.headers_mut().insert("x-leading", HeaderValue::from_static("l"));
            return response;
        }
        let messages = (after + 1..=after + count).map(move |number| {
            let mut message = vec![0x20, u8::try_from(number).unwrap()];
            message.extend_from_slice(&[0x72, u8::try_from(word.len()).unwrap()]);
            message.extend_from_slice(word.as_bytes());
            Ok::<_, Infallible>(Frame::data(framed(&message)))
        });
        let text = if code == 0 { "" } else { "late" };
        let end = futures::stream::iter([Ok(Frame::trailers(trailers(code, text, None)))]);
        let messages = futures::stream::iter(messages.collect::<Vec<_>>());
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = Waiting(self.waiting.clone());
        let guarded = move |frame| {
            let _ = &waiting;
            frame
        };
        let body = if forever {
            Body::new(StreamBody::new(messages.chain(futures::stream::pending()).map(guarded)))
        } else {
            Body::new(StreamBody::new(messages.chain(end).map(guarded)))
        };
        let mut response = Response::new(body);
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        response
    }
}

/// An answer that was read to its end, or to where it broke off.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) broke: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The fields that an error names.
    pub(crate) fn fields(&self) -> Vec<String> {
        let json = self.json();
        let violations = json["details"]["field_violations"].as_array().cloned().unwrap_or_default();
        violations.iter().map(|it| it["field"].as_str().unwrap().to_owned()).collect()
    }
}

/// `GET /v1/all?x=1`, then header lines, an empty line and the body.
pub(crate) fn request(text: &str) -> Request<Full<Bytes>> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let (name, value) = line.trim().split_once(':').unwrap();
        request = request.header(name, value.trim());
    }
    let mut request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    if !body.is_empty() && !request.headers().contains_key("content-type") {
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    }
    request
}

/// Reads an answer to its end, or to where it breaks off.
pub(crate) async fn read<B: http_body::Body<Data = Bytes> + Unpin>(response: Response<B>) -> Answer {
    let (head, mut body) = response.into_parts();
    let (mut bytes, mut broke) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(_) => broke = true,
        }
    }
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8_lossy(&bytes).into_owned(),
        broke,
    }
}

pub(crate) struct Suite {
    pub(crate) rest: Transcoder<Backend>,
    pub(crate) backend: Backend,
    contract: contract::Contract,
}

impl Suite {
    pub(crate) fn new(options: Options) -> Self {
        let backend = Backend::default();
        let rest = Transcoder::new(&descriptors(), backend.clone(), options).unwrap();
        let contract = contract::Contract::new(rest.openapi(&clos_transcoder::Document::default()));
        Self { rest, backend, contract }
    }

    pub(crate) async fn ask(&self, text: &str) -> Answer {
        self.send(request(text)).await
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let answer = read(self.rest.clone().oneshot(request).await.unwrap()).await;
        self.contract.judge(&method, &path, &answer);
        answer
    }

    pub(crate) async fn ok(&self, text: &str) -> serde_json::Value {
        let answer = self.ask(text).await;
        assert_eq!(answer.status, 200, "{text}: {}", answer.body);
        answer.json()
    }

    pub(crate) async fn bad(&self, text: &str, fields: &[&str]) {
        let answer = self.ask(text).await;
        assert_eq!(answer.status, 400, "{text}: {}", answer.body);
        assert_eq!(answer.json()["code"], "INVALID_ARGUMENT", "{text}");
        assert_eq!(answer.fields(), fields, "{text}: {}", answer.body);
    }
}
