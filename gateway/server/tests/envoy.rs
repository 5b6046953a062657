//! The same descriptors behind a real Envoy: what both do alike, and what each does in its own way.
//!
//! `CLOS_TEST_ENVOY` names the program. What differs is told in `gateway/envoy/README.md`, one row a name.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "a test may fail and reads where it is"
)]

mod program;
#[path = "../../transcoder/tests/support/mod.rs"]
mod support;

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::HeaderValue;
use hyper_util::rt::TokioIo;
use program::Gateway;
use prost_reflect::{DynamicMessage, Value as Field, prost::Message as _};
use serde_json::{Value, json};
use support::{Answer, Backend};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tower::service_fn;

/// Patience with the programs, never a measure.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the configuration says of where it listens; the tests' Envoy does so on a socket of its own.
const LISTEN: &str = "127.0.0.1:8080";
/// A page that may write.
const PAGE: &str = "http://page.example";
/// What of the suite's contract Envoy can serve.
const SERVED: [&str; 14] = [
    "Get", "Post", "Update", "Create", "Read", "Need", "Nothing", "Fail", "Slow", "Raw", "Stream", "Logs",
    "Collect", "Chat",
];

fn envoy() -> PathBuf {
    std::env::var_os("CLOS_TEST_ENVOY").map(PathBuf::from).expect(
        "CLOS_TEST_ENVOY names no envoy to compare with: run the tests by `make test`, or take the path that `scripts/tools.sh envoy` prints",
    )
}

/// The descriptors of the suite with the methods that Envoy can serve.
fn descriptors() -> Vec<u8> {
    let of_set = support::pool().get_message_by_name("google.protobuf.FileDescriptorSet").unwrap();
    let mut set = DynamicMessage::decode(of_set, support::descriptors().as_slice()).unwrap();
    let file = set.get_field_by_name_mut("file").unwrap().as_list_mut().unwrap();
    for file in file.iter_mut().filter_map(Field::as_message_mut) {
        let services = file.get_field_by_name_mut("service").unwrap().as_list_mut().unwrap();
        for service in services.iter_mut().filter_map(Field::as_message_mut) {
            let methods = service.get_field_by_name_mut("method").unwrap().as_list_mut().unwrap();
            methods.retain(|method| {
                let name = method.as_message().unwrap().get_field_by_name("name").unwrap();
                SERVED.contains(&name.as_str().unwrap())
            });
        }
    }
    set.encode_to_vec()
}

fn config(descriptor_set: &Path, more: &[&str]) -> Value {
    let set = descriptor_set.to_str().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_clos-gateway"))
        .args(["--envoy-config", "--descriptor-set", set, "--listen", LISTEN])
        .args(more)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    serde_json::from_slice(&made.stdout).unwrap()
}

struct Envoy {
    process: Child,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Envoy {
    fn start(upstream: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("set.pb"), descriptors()).unwrap();
        let socket = at("envoy.sock");
        let mut config = config(&at("set.pb"), &["--upstream", upstream, "--allow-origin", PAGE]);
        config["static_resources"]["listeners"][0]["address"] = json!({"pipe": {"path": socket}});
        std::fs::write(at("envoy.json"), config.to_string()).unwrap();
        let process = Command::new(envoy())
            .args(["--disable-hot-restart", "--concurrency", "1", "-c"])
            .arg(at("envoy.json"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut started = Self { process, socket, _folder: folder };
        let mut lines = BufReader::new(started.process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut told = Vec::new();
        for line in lines.by_ref() {
            let is_ready = line.contains("starting main dispatch loop");
            told.push(line);
            if is_ready {
                std::thread::spawn(move || lines.for_each(drop));
                return started;
            }
        }
        panic!("Envoy does not start:\n{}", told.join("\n"));
    }

    async fn ask(&self, text: &str) -> hyper::Result<Answer> {
        ask(UnixStream::connect(&self.socket).await.unwrap(), LISTEN, text).await
    }
}

/// Asks over a connection of its own; an error when it ends without an answer.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    text: &str,
) -> hyper::Result<Answer> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = support::request(text);
    let host = HeaderValue::from_str(host).unwrap();
    request.headers_mut().entry("host").or_insert(host);
    let answer = async { Ok(support::read(sender.send_request(request).await?).await) };
    let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("no answer: {text}"));
    connection.abort();
    answer
}

struct Both {
    gateway: Gateway,
    envoy: Envoy,
}

impl Both {
    async fn start() -> Self {
        let backend = Backend::default();
        Self::before(program::upstream(backend.clone()).await, backend)
    }

    fn before(upstream: String, backend: Backend) -> Self {
        let gateway = program::start(&descriptors(), &upstream, backend, &["--allow-origin", PAGE]);
        Self { envoy: Envoy::start(&upstream), gateway }
    }

    async fn ask_gateway(&self, text: &str) -> Answer {
        let address = &self.gateway.address;
        ask(TcpStream::connect(address).await.unwrap(), address, text).await.unwrap()
    }

    async fn ask_envoy(&self, text: &str) -> Answer {
        self.envoy.ask(text).await.unwrap()
    }
}

/// A request, the status of its answer, and a part of what it says.
type Alike = (&'static str, u16, &'static str);

/// What both do.
const ALIKE: &[Alike] = &[
    // Paths.
    ("GET /v1/all/a%2Fb%20c", 200, r#"{"s":"a/b c"}"#),
    ("GET /v1/all/%2541", 200, r#"{"s":"%41"}"#),
    ("GET /v1/all/a+b?rs=a+b", 200, r#"{"s":"a+b","rs":["a b"]}"#),
    ("GET /files/a%2Fb/c%20d", 200, r#"{"s":"a%2Fb/c d"}"#),
    ("GET /files", 200, r#"{"s":""}"#),
    ("GET /v1/shelves/1/books/2%2F3", 200, r#"{"s":"shelves/1/books/2%2F3"}"#),
    ("GET /v1/sub/x", 200, r#"{"sub":{"s":"x"}}"#),
    ("GET /v1/num/-7", 200, r#"{"i32":-7}"#),
    ("GET /v1/when/2026-11-23T10:00:00Z", 200, r#"{"ts":"2026-11-23T10:00:00Z"}"#),
    ("GET /v1/kind/KIND_RED", 200, r#"{"kind":"KIND_RED"}"#),
    ("GET /k/abc:other", 200, r#"{"s":"abc:other"}"#),
    ("POST /k/abc:start\n\n{}", 200, r#"{"s":"abc"}"#),
    ("DELETE /k/special", 200, r#"{"s":"special"}"#),
    ("PURGE /k/x", 200, r#"{"s":"x"}"#),
    ("PURGE /any", 200, "{}"),
    ("GET /nothing", 404, r#"{"code":"NOT_FOUND"}"#),
    ("GET /v1/num/x", 400, r#"{"code":"INVALID_ARGUMENT"}"#),
    // Queries.
    (
        "GET /v1/all?rs=a&rs=b&sub.s=x&sub.longName=y",
        200,
        r#"{"rs":["a","b"],"sub":{"s":"x","long_name":"y"}}"#,
    ),
    ("GET /v1/all?kind=kind_red&b=true&d=1e3", 200, r#"{"kind":"KIND_RED","b":true,"d":1000}"#),
    ("GET /v1/all?dur=1.5s&mask=sub.longName,i32", 200, r#"{"dur":"1.500s","mask":"sub.longName,i32"}"#),
    ("GET /v1/all?wi=0&oi=0", 200, r#"{"wi":"0","oi":0,"os":null,"ws":null}"#),
    ("GET /v1/all?otherName=x", 200, r#"{"renamed":"x"}"#),
    ("GET /v1/all?nothing=1", 400, r#"{"code":"INVALID_ARGUMENT"}"#),
    ("GET /v1/all?i32=x", 400, r#"{"code":"INVALID_ARGUMENT"}"#),
    ("GET /v1/all?pick_s=a&pick_i=1", 400, r#"{"code":"INVALID_ARGUMENT"}"#),
    // Bodies.
    ("POST /v1/all", 200, r#"{"s":""}"#),
    (
        r#"POST /v1/all

{"s":"x","i64":5,"u64":"6","sub":{"longName":"y"}}"#,
        200,
        r#"{"s":"x","i64":"5","u64":"6","sub":{"long_name":"y"}}"#,
    ),
    (
        r#"POST /v1/all

{"d":"NaN","by":"-_8=","kind":1}"#,
        200,
        r#"{"d":"NaN","by":"+/8=","kind":"KIND_RED"}"#,
    ),
    (
        r#"POST /v1/all

{"any":{"@type":"type.googleapis.com/conformance.v1.Sub","s":"x"},"ts":"2026-11-23T10:00:00+02:00"}"#,
        200,
        r#"{"any":{"@type":"type.googleapis.com/conformance.v1.Sub","s":"x"},"ts":"2026-11-23T08:00:00Z"}"#,
    ),
    (
        r#"POST /v1/all

{"st":{"a":[1,"x",true,{}]},"val":null,"labels":{"a":"b"}}"#,
        200,
        r#"{"st":{"a":[1,"x",true,{}]},"labels":{"a":"b"}}"#,
    ),
    ("POST /v1/all/x\n\n{\"i32\":1}", 200, r#"{"s":"x","i32":1}"#),
    ("POST /v1/all/x\n\n{\"s\":\"x\"}", 200, r#"{"s":"x"}"#),
    ("POST /v1/all/x\n\n{\"s\":\"y\"}", 400, r#"{"code":"INVALID_ARGUMENT"}"#),
    ("POST /v1/all/x/sub?i32=4\n\n{\"n\":3}", 200, r#"{"s":"x","i32":4,"sub":{"n":3}}"#),
    ("POST /v1/all/x/list\n\n[\"a\",\"b\"]", 200, r#"{"s":"x","rs":["a","b"]}"#),
    ("POST /v1/pick/x\n\n{\"pick_i\":1}", 400, r#"{"code":"INVALID_ARGUMENT"}"#),
    ("POST /v1/all\n\n{\"i32\":\"x\"}", 400, r#"{"code":"INVALID_ARGUMENT"}"#),
    ("POST /v1/all\n\n{\"i32\":2147483648}", 400, r#"{"code":"INVALID_ARGUMENT"}"#),
    ("POST /v1/all\n\n{\"kind\":\"KIND_GREEN\"}", 400, r#"{"code":"INVALID_ARGUMENT"}"#),
    ("POST /v1/all\n\n{\"s\":", 400, r#"{"code":"INVALID_ARGUMENT"}"#),
    ("POST /v1/all\n\n{} {}", 400, r#"{"code":"INVALID_ARGUMENT"}"#),
    ("POST /v1/all\n\nnull", 400, r#"{"code":"INVALID_ARGUMENT"}"#),
    ("PATCH /v1/things/x\n\n{\"size\":1}", 200, r#"{"name":"x","thing":{"size":1}}"#),
    (
        "PATCH /v1/things/x?update_mask=size,sub.n\n\n{\"size\":1}",
        200,
        r#"{"name":"x","thing":{"size":1},"update_mask":"size,sub.n"}"#,
    ),
    ("PATCH /v1/things/x?update_mask=*\n\n{\"size\":1}", 200, r#"{"thing":{"size":1},"update_mask":"*"}"#),
    (
        "PUT /v1/things/x\n\n{\"size\":1,\"labels\":{\"a\":\"b\"}}",
        200,
        r#"{"name":"x","thing":{"size":1,"labels":{"a":"b"}}}"#,
    ),
    ("POST /v1/raw\ncontent-type: text/csv\n\na,b", 200, r#""a,b""#),
    ("POST /v1/collect\n\n[{},{}]", 200, r#"{"i32":2}"#),
    // Streams.
    ("GET /v1/stream?count=2", 200, r#"[{"i64":"1"},{"i64":"2"}]"#),
    ("GET /v1/stream?count=0", 200, "[]"),
    // Errors of the backend, where both speak google.rpc.Status.
    (
        "POST /v1/fail\naccept: application/vnd.google.rpc.status+json\n\n{\"code\":5,\"message\":\"so é 100%\"}",
        404,
        r#"{"code":5,"message":"so é 100%","details":[]}"#,
    ),
    ("POST /v1/fail\naccept: application/vnd.google.rpc.status+json\n\n{\"code\":16}", 401, r#"{"code":16}"#),
    ("GET /v1/slow\ngrpc-timeout: 10m", 504, r#"{"code":"DEADLINE_EXCEEDED"}"#),
    // The door.
    ("GET /v1/all/x\nhost: evil.example", 403, r#"{"code":"PERMISSION_DENIED"}"#),
    ("POST /v1/all\norigin: http://evil.example\n\n{}", 403, r#"{"code":"PERMISSION_DENIED"}"#),
    ("POST /v1/all\norigin: null\n\n{}", 403, r#"{"code":"PERMISSION_DENIED"}"#),
    ("GET /v1/all/x\norigin: http://evil.example", 200, r#"{"s":"x"}"#),
    ("POST /v1/all\norigin: http://page.example\n\n{}", 200, "{}"),
];

/// What each does in its own way, as the table of `gateway/envoy/README.md` tells it.
struct Different {
    what: &'static str,
    request: &'static str,
    /// Status, a part of what is said, and the same in words.
    ours: (u16, &'static str, &'static str),
    envoy: (u16, &'static str, &'static str),
}

const fn different(
    what: &'static str,
    request: &'static str,
    ours: (u16, &'static str, &'static str),
    envoy: (u16, &'static str, &'static str),
) -> Different {
    Different { what, request, ours, envoy }
}

const DIFFERENT: &[Different] = &[
    different(
        "created",
        "POST /v1/things\n\n{\"name\":\"a\"}",
        (201, "{}", "with Location"),
        (200, "{}", ""),
    ),
    different("Empty", "DELETE /v1/things/x", (204, "[]", ""), (200, "{}", "`{}`")),
    different(
        "not modified",
        "GET /v1/things/x?etag=7\nif-none-match: \"7\"",
        (304, "[]", ""),
        (200, r#"{"etag":"7"}"#, "no ETag"),
    ),
    different("HEAD", "HEAD /v1/all/x", (200, "[]", ""), (404, "[]", "")),
    different("OPTIONS", "OPTIONS /v1/all", (204, "[]", "with Allow"), (404, "{}", "")),
    different("wrong method", "PUT /v1/all", (405, "{}", "with Allow"), (404, "{}", "")),
    different("wrong method of a verb", "GET /k/abc:start", (405, "{}", ""), (404, "{}", "")),
    different("empty capture", "GET /v1/all/", (404, "{}", ""), (200, r#"{"s":""}"#, "an empty id")),
    different(
        "trailing slash",
        "GET /v1/all/x/",
        (404, "{}", ""),
        (200, r#"{"s":"x"}"#, "the same as without"),
    ),
    different("dot segment", "GET /v1/all/..", (400, "{}", ""), (403, "{}", "refused as at the door")),
    different("hidden dot segment", "GET /v1/all/a%2F%2e%2e", (400, "{}", ""), (403, "{}", "")),
    different("NUL", "GET /v1/all/%00", (400, "{}", ""), (403, "{}", "")),
    different("malformed escape", "GET /v1/all/%zz", (400, "{}", ""), (403, "{}", "")),
    different(
        "no UTF-8 in a path",
        "GET /v1/all/%ff",
        (400, "{}", ""),
        (502, "{}", "the backend gets it; this one returns it"),
    ),
    different(
        "query over path",
        "GET /v1/all/x?s=y",
        (400, "{}", ""),
        (
            502,
            "{}",
            "the backend gets both and takes the last: the query overrides the path; this one returns both",
        ),
    ),
    different("parameter twice", "GET /v1/all?s=a&s=b", (400, "{}", ""), (502, "{}", "likewise")),
    different(
        "member twice",
        "POST /v1/all\n\n{\"s\":\"a\",\"s\":\"b\"}",
        (400, "{}", ""),
        (502, "{}", "likewise"),
    ),
    different("unknown member", "POST /v1/all\n\n{\"nope\":1}", (400, "{}", ""), (200, "{}", "ignored")),
    different(
        "fields",
        "GET /v1/all/x?fields=s",
        (200, r#"{"s":"x","i32":null}"#, ""),
        (400, "{}", "unknown"),
    ),
    different(
        "map in a query",
        "GET /v1/all?labels[a]=b",
        (200, r#"{"labels":{"a":"b"}}"#, ""),
        (400, "{}", ""),
    ),
    different("short enum", "GET /v1/all?kind=red", (200, r#"{"kind":"KIND_RED"}"#, ""), (400, "{}", "")),
    different("lenient duration", "GET /v1/all?dur=1h30m", (200, r#"{"dur":"5400s"}"#, ""), (400, "{}", "")),
    different(
        "csv",
        "GET /v1/all?csv=a,b",
        (200, r#"{"csv":["a","b"]}"#, ""),
        (200, r#"{"csv":["a,b"]}"#, "one value"),
    ),
    different(
        "how fields are marked",
        "GET /v1/all",
        (200, r#"{"big":0}"#, "numbers, null and short enums where they are marked"),
        (200, r#"{"big":"0"}"#, "plain ProtoJSON"),
    ),
    different(
        "mask of a PATCH",
        "PATCH /v1/things/x\n\n{\"size\":1,\"sub\":{\"n\":2}}",
        (200, r#"{"update_mask":"size,sub.n"}"#, "made of the body"),
        (200, r#"{"update_mask":null}"#, "none"),
    ),
    different(
        "If-Match",
        "PATCH /v1/things/x\nif-match: \"7\"\n\n{}",
        (200, r#"{"etag":"7"}"#, ""),
        (200, r#"{"etag":""}"#, "not read"),
    ),
    different(
        "Idempotency-Key",
        "POST /v1/things\nidempotency-key: 1\n\n{}",
        (201, r#"{"request_id":"1"}"#, ""),
        (200, r#"{"request_id":""}"#, "not read"),
    ),
    different(
        "X-Request-Timeout",
        "GET /v1/all/x\nx-request-timeout: -1",
        (400, "{}", ""),
        (200, "{}", "not read; `grpc-timeout` is"),
    ),
    different(
        "scalar as a body",
        "POST /v1/all/x/number\n\n7",
        (200, r#"{"i32":7}"#, ""),
        (200, r#"{"i32":0,"s":""}"#, "lost, and the path with it"),
    ),
    different("body where there is none", "GET /v1/all\n\n{}", (400, "{}", ""), (200, "{}", "ignored")),
    different("empty body that is needed", "POST /v1/needy", (400, "{}", ""), (200, "{}", "")),
    different(
        "type of a body",
        "POST /v1/all\ncontent-type: text/plain\n\n{}",
        (415, "{}", ""),
        (200, "{}", "read; the Origin rule still holds"),
    ),
    different("type of an answer", "GET /v1/all\naccept: text/html", (406, "{}", ""), (200, "{}", "")),
    different(
        "error of the backend",
        "POST /v1/fail\n\n{\"code\":5,\"message\":\"gone\"}",
        (404, r#"{"code":"NOT_FOUND","details":{}}"#, "`code` is a word; google.rpc.Status by Accept"),
        (404, r#"{"code":5,"details":[]}"#, "google.rpc.Status"),
    ),
    different(
        "detail outside the descriptors",
        "POST /v1/fail\n\n{\"code\":5,\"message\":\"gone\",\"details\":\"CAUSBGdvbmUaJgogdHlwZS5nb29nbGVhcGlzLmNvbS9ub2JvZHkuS25vd3MSAgEC\"}",
        (404, r#"{"message":"gone"}"#, "in base64"),
        (404, "[]", "the body is lost; the set needs google/rpc/error_details.proto as well"),
    ),
    different(
        "error before a stream",
        "GET /v1/stream?fail_code=5",
        (404, r#"{"code":"NOT_FOUND"}"#, ""),
        (200, "[]", "lost"),
    ),
    different(
        "error in a stream",
        "GET /v1/stream?count=1&fail_code=5",
        (200, r#"[{"i64":"1"},{"error":{"code":"NOT_FOUND"}}]"#, "and the error as the last line"),
        (200, r#"{"i64":"1"}"#, "lost: it looks complete"),
    ),
    different(
        "form of a stream",
        "GET /v1/stream?count=1\naccept: application/json",
        (200, r#"[{"i64":"1"}]"#, "negotiated: NDJSON, SSE, array, text, WebSocket"),
        (200, r#"{"i64":"1"}"#, "NDJSON, called application/json"),
    ),
    different(
        "collected stream",
        "GET /v1/logs?count=1",
        (200, r#"{"logs":[{"i64":"1"}]}"#, ""),
        (200, r#"{"i64":"1"}"#, "a stream"),
    ),
    different("both ways", "GET /v1/chat/x", (426, "{}", "WebSocket"), (404, "{}", "none")),
];

/// What an answer says: its JSON, the JSON of its lines, or its text.
fn told(answer: &Answer) -> Value {
    let lines = || -> Result<Vec<Value>, _> {
        answer.body.lines().filter(|line| !line.is_empty()).map(serde_json::from_str).collect()
    };
    serde_json::from_str(&answer.body)
        .or_else(|_| lines().map(Value::Array))
        .unwrap_or_else(|_| Value::String(answer.body.clone()))
}

/// Whether the whole says what the part says, and perhaps more; what is not there is null.
fn says(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, part)| says(whole.get(name).unwrap_or(&Value::Null), part))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| says(whole, part))
        }
        (Value::Number(whole), Value::Number(part)) => whole.as_f64() == part.as_f64(),
        _ => whole == part,
    }
}

/// What of the answer is not as expected.
fn fault(answer: &Answer, status: u16, part: &str) -> Option<String> {
    let expected: Value = serde_json::from_str(part).unwrap();
    let told = told(answer);
    let is_right = answer.status == status && (says(&told, &expected) || says(&json!([told]), &expected));
    (!is_right).then(|| format!("{} {told}, not {status} {part}", answer.status))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_both_do_is_the_same() {
    let both = Both::start().await;
    let mut faults = Vec::new();
    for (request, status, part) in ALIKE {
        for (name, answer) in
            [("ours", both.ask_gateway(request).await), ("Envoy", both.ask_envoy(request).await)]
        {
            faults.extend(fault(&answer, *status, part).map(|fault| format!("{request}\n  {name}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_differs_is_as_the_table_says() {
    let both = Both::start().await;
    let mut faults = Vec::new();
    for Different { what, request, ours, envoy } in DIFFERENT {
        let answers = [
            ("ours", ours, both.ask_gateway(request).await),
            ("Envoy", envoy, both.ask_envoy(request).await),
        ];
        for (name, (status, part, _), answer) in answers {
            faults.extend(fault(&answer, *status, part).map(|fault| format!("{what}\n  {name}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_table_of_the_readme_has_these_rows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let cell = |(status, _, words): (u16, &str, &str)| format!("{status} {words}").trim_end().to_owned();
    let row = |one: &Different| {
        let asked = one.request.split('\n').filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" · ");
        let asked = if asked.len() > 90 { format!("{}…", &asked[..90]) } else { asked };
        format!("| {} | `{asked}` | {} | {} |\n", one.what, cell(one.ours), cell(one.envoy))
    };
    let rows: String = DIFFERENT.iter().map(row).collect();
    assert!(readme.contains(&rows), "the rows of gateway/envoy/README.md are to be these:\n{rows}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_know_their_own_names() {
    let both = Both::start().await;
    let ours = both.gateway.address.rsplit(':').next().unwrap();
    let theirs = LISTEN.rsplit(':').next().unwrap();
    for (host, status) in [
        ("LOCALHOST.:PORT", 200),
        ("[::1]:PORT", 200),
        ("127.0.0.1:PORT", 200),
        ("127.0.0.1", 403),
        ("127.0.0.1:1", 403),
        ("127x0.0.1:PORT", 403),
        ("evil.example:PORT", 403),
        ("localhost:PORT.evil.example", 403),
    ] {
        let request = |port: &str| format!("GET /v1/all\nhost: {}", host.replace("PORT", port));
        assert_eq!(both.ask_gateway(&request(ours)).await.status, status, "ours: {host}");
        // Envoy's own parser refuses what is no host before the door does.
        let answer = both.ask_envoy(&request(theirs)).await.status;
        assert!(answer == status || (status == 403 && answer == 400), "Envoy: {host}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_overrides_the_path_in_envoy_only() {
    let both = Both::start().await;
    let seen = || std::mem::take(&mut *both.gateway.backend.message.lock().unwrap());
    both.ask_gateway("GET /v1/all/x?s=y").await;
    assert_eq!(seen(), b"", "nothing gets past ours");
    both.ask_envoy("GET /v1/all/x?s=y").await;
    assert_eq!(seen(), [b"\x72\x01x", &b"\x72\x01y"[..]].concat(), "whose last value is the field's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_entry_with_a_default_value_ends_envoy() {
    // Thing.labels = {"a": ""} as prost writes it: the key, and no value.
    let thing = service_fn(|_| async { Ok::<_, Infallible>(support::unary(b"\x2a\x03\x0a\x01a")) });
    let mut both = Both::before(program::upstream(thing).await, Backend::default());
    let ours = both.ask_gateway("GET /v1/things/x").await;
    assert_eq!(fault(&ours, 200, r#"{"labels":{"a":""}}"#), None);
    let lost = both.envoy.ask("GET /v1/things/x").await;
    assert!(lost.is_err(), "this Envoy answers: gateway/envoy/README.md says that it cannot: {lost:?}");
    let ended = tokio::task::spawn_blocking(move || both.envoy.process.wait().unwrap()).await.unwrap();
    assert!(!ended.success(), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_and_its_web_form_pass_both() {
    let both = Both::start().await;
    let call = |kind: &str, more: &str| {
        format!("POST /conformance.v1.Echo/Get\ncontent-type: {kind}\nte: trailers\n{more}\n\0\0\0\0\0")
    };
    for web in [
        call("application/grpc-web+proto", ""),
        call("application/grpc-web+proto", "origin: http://page.example\n"),
    ] {
        for answer in [both.ask_gateway(&web).await, both.ask_envoy(&web).await] {
            assert_eq!((answer.status, answer.header("content-type")), (200, "application/grpc-web+proto"));
            assert!(answer.body.replace(": ", ":").contains("grpc-status:0"), "{answer:?}");
        }
    }
    let foreign = call("application/grpc", "host: evil.example\n");
    for answer in [both.ask_gateway(&foreign).await, both.ask_envoy(&foreign).await] {
        assert_eq!((answer.status, answer.header("grpc-status")), (200, "7"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_may_ask_is_told_so_by_both() {
    let both = Both::start().await;
    for request in [
        format!("GET /v1/all\norigin: {PAGE}"),
        format!("OPTIONS /v1/all\norigin: {PAGE}\naccess-control-request-method: PATCH"),
    ] {
        for answer in [both.ask_gateway(&request).await, both.ask_envoy(&request).await] {
            assert_eq!(
                (answer.status, answer.header("access-control-allow-origin")),
                (200, PAGE),
                "{request}"
            );
        }
    }
    let foreign = "GET /v1/all\norigin: http://evil.example";
    for answer in [both.ask_gateway(foreign).await, both.ask_envoy(foreign).await] {
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, ""));
    }
}

#[test]
fn the_configuration_for_clos_is_made_of_its_contract() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut compiler = protox::Compiler::new([root.join("proto")]).unwrap();
    compiler.include_imports(true);
    for file in std::fs::read_dir(root.join("proto/clos/v2")).unwrap() {
        compiler.open_file(Path::new("clos/v2").join(file.unwrap().file_name())).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("clos.binpb");
    std::fs::write(&set, compiler.encode_file_descriptor_set()).unwrap();
    // As scripts/envoy.sh writes it, but for the place of the descriptors.
    let made = Command::new(env!("CARGO_BIN_EXE_clos-gateway"))
        .args(["--envoy-config", "--descriptor-set", set.to_str().unwrap()])
        .args(["--upstream", "http://127.0.0.1:8080", "--listen", "127.0.0.1:8081"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = String::from_utf8(made.stdout).unwrap();
    let committed = std::fs::read_to_string(root.join("gateway/envoy/clos.json")).unwrap();
    let expected = text.replace(set.to_str().unwrap(), "gateway/envoy/clos.binpb");
    assert!(committed == expected, "gateway/envoy/clos.json is not of this contract: make envoy-config");

    let config = folder.path().join("clos.json");
    std::fs::write(&config, text).unwrap();
    let read = Command::new(envoy()).args(["--mode", "validate", "-c"]).arg(&config).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}

#[test]
fn what_envoy_has_no_word_for_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, set: Vec<u8>| {
        let path = folder.path().join(name);
        std::fs::write(&path, set).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (fit, whole) = (at("fit.pb", descriptors()), at("whole.pb", support::descriptors()));
    for (set, more, why) in [
        (&fit, &["--int64", "number"][..], "--int64 string"),
        (&fit, &["--enums", "short"], "--enums full"),
        (&fit, &["--auto-map"], "--auto-map="),
        (&fit, &["--upstream", "a.B=ftp://x"], "is no http or https address"),
        (&whole, &[], "conformance.v1.Echo.Pick"),
    ] {
        let ran = Command::new(env!("CARGO_BIN_EXE_clos-gateway"))
            .args(["--envoy-config", "--descriptor-set", set, "--upstream", "http://127.0.0.1:9"])
            .args(more)
            .output()
            .unwrap();
        let told = String::from_utf8(ran.stderr).unwrap();
        assert!(ran.status.code() == Some(1) && told.contains(why), "{why}: {told}");
    }
}
