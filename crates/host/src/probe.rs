//! Asks a service once whether it is well.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clos_domain::seams::Probe;
use clos_domain::seams::host::{Answer, Target};
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection that ends within this time was ended by a proxy with nobody behind it.
const EOF_WINDOW: Duration = Duration::from_millis(50);
/// How much of a body is taken, so that the service need not see a reset connection.
const BODY_LIMIT: usize = 64 * 1024;
/// How long a body is waited for once the status is known; a stream never ends.
const BODY_PATIENCE: Duration = Duration::from_millis(100);
/// How much of a head is read.
const HEAD_LIMIT: usize = 64 * 1024;

/// Probes over HTTP/1.1 and TCP: no redirects, no proxy, no TLS, one connection
/// a question.
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpProbe;

#[async_trait]
impl Probe for HttpProbe {
    async fn ask(&self, target: &Target, patience: Duration) -> Answer {
        let question = async {
            match target {
                Target::Http { url, expected } => get(url, expected).await,
                Target::Tcp { host, port } => connection_stays(host, *port).await,
            }
        };
        match timeout(patience, question).await {
            Ok(answer) => answer,
            Err(_) => Answer::Ill(format!("no answer within {} ms", patience.as_millis())),
        }
    }
}

async fn get(url: &str, expected: &[u16]) -> Answer {
    let (uri, host, port) = match parse(url) {
        Ok(parsed) => parsed,
        Err(why) => return Answer::Ill(why),
    };
    let stream = match connect(&host, port).await {
        Ok(stream) => stream,
        Err(error) => return answer_to(&error),
    };
    match status(stream, &uri).await {
        Ok(status) => Answer::Http { status, is_well: is_well(status, expected) },
        Err(error) => Answer::Ill(words(&error)),
    }
}

fn is_well(status: u16, expected: &[u16]) -> bool {
    if expected.is_empty() { (200..400).contains(&status) } else { expected.contains(&status) }
}

/// The URL, its host as the resolver takes it, and its port.
fn parse(url: &str) -> Result<(Uri, String, u16), String> {
    let uri: Uri = url.parse().map_err(|_| format!("`{url}` is not a URL"))?;
    if uri.scheme_str() != Some("http") {
        return Err(format!("`{url}` does not begin with http://"));
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err("a health URL must not carry credentials".to_owned());
    }
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(format!("`{url}` names no host"));
    }
    let port = uri.port_u16().unwrap_or(80);
    Ok((uri, host, port))
}

/// The status of a GET; of the body a little is taken and nothing is kept.
async fn status(stream: TcpStream, uri: &Uri) -> Result<u16, hyper::Error> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await?;
    // The connection may be over before its answer has been taken, so its end ends nothing.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    let exchange = async {
        let response = sender.send_request(request(uri)).await?;
        let status = response.status().as_u16();
        let _ = timeout(BODY_PATIENCE, drain(response.into_body())).await;
        Ok(status)
    };
    tokio::select! {
        outcome = exchange => outcome,
        () = drive => unreachable!("driving a connection never ends"),
    }
}

fn request(uri: &Uri) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::GET;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Some(host) = uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::USER_AGENT, HeaderValue::from_static("clos-probe/2"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    request
}

async fn drain(body: hyper::body::Incoming) {
    let mut body = pin!(body);
    let mut taken = 0;
    while let Some(Ok(frame)) = body.frame().await {
        taken += frame.data_ref().map_or(0, Bytes::len);
        if taken >= BODY_LIMIT {
            return;
        }
    }
}

async fn connection_stays(host: &str, port: u16) -> Answer {
    let mut stream = match connect(host, port).await {
        Ok(stream) => stream,
        Err(error) => return answer_to(&error),
    };
    match timeout(EOF_WINDOW, stream.read(&mut [0; 1])).await {
        Ok(Ok(0)) => Answer::Ill("the connection was closed at once".to_owned()),
        Ok(Err(error)) => Answer::Ill(format!("the connection broke at once: {}", kind_words(&error))),
        // It speaks, or it waits for us to speak.
        Ok(Ok(_)) | Err(_) => Answer::Well,
    }
}

/// The first address of the host that takes the connection.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::NotFound, format!("`{host}` is not a known host")))?
        .collect();
    let mut first_error = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => _ = first_error.get_or_insert(error),
        }
    }
    Err(first_error
        .unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("`{host}` has no address"))))
}

fn answer_to(error: &io::Error) -> Answer {
    match error.kind() {
        io::ErrorKind::HostUnreachable => Answer::Unreachable("no route to host".to_owned()),
        io::ErrorKind::NetworkUnreachable => Answer::Unreachable("network is unreachable".to_owned()),
        _ => Answer::Ill(kind_words(error)),
    }
}

fn kind_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        _ => error.to_string().to_lowercase(),
    }
}

fn words(error: &hyper::Error) -> String {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return kind_words(error);
        }
        source = cause.source();
    }
    if error.is_incomplete_message() || error.is_canceled() {
        return "the connection was closed before an answer".to_owned();
    }
    if error.is_parse() {
        return "the answer is not HTTP".to_owned();
    }
    error.to_string().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_or_refused_with_the_reason() {
        let (_, host, port) = parse("http://[::1]:8080/healthz?deep=1").unwrap();
        assert_eq!((host.as_str(), port), ("::1", 8080));
        let (_, host, port) = parse("http://api/").unwrap();
        assert_eq!((host.as_str(), port), ("api", 80));
        for (url, words) in [
            ("https://api/", "does not begin with http://"),
            ("/healthz", "does not begin with http://"),
            ("http://ann:secret@api/", "must not carry credentials"),
            ("http:// api/", "is not a URL"),
            ("http://:8080/", ""),
        ] {
            let why = parse(url).unwrap_err();
            assert!(why.contains(words) && !why.contains("secret"), "{url}: {why}");
        }
    }

    #[test]
    fn the_request_names_its_host_and_asks_for_the_connection_to_end() {
        let request = request(&"http://api:8080/healthz?deep=1".parse().unwrap());
        assert_eq!(request.uri(), "/healthz?deep=1");
        assert_eq!(request.headers()[header::HOST], "api:8080");
        assert_eq!(request.headers()[header::CONNECTION], "close");
        let root = super::request(&"http://api".parse().unwrap());
        assert_eq!(root.uri(), "/");
    }

    #[test]
    fn no_route_is_another_answer_than_refused() {
        let answer = |kind| answer_to(&io::Error::from(kind));
        assert!(matches!(answer(io::ErrorKind::HostUnreachable), Answer::Unreachable(_)));
        assert!(matches!(answer(io::ErrorKind::NetworkUnreachable), Answer::Unreachable(_)));
        assert_eq!(answer(io::ErrorKind::ConnectionRefused), Answer::Ill("connection refused".into()));
        assert_eq!(answer(io::ErrorKind::ConnectionReset), Answer::Ill("connection reset".into()));
        assert_eq!(answer(io::ErrorKind::TimedOut), Answer::Ill("connection timed out".into()));
    }

    #[test]
    fn without_expected_statuses_two_and_three_hundreds_are_well() {
        for (status, well) in
            [(199, false), (200, true), (302, true), (399, true), (400, false), (503, false)]
        {
            assert_eq!(is_well(status, &[]), well, "{status}");
        }
        assert!(is_well(503, &[200, 503]));
        assert!(!is_well(204, &[200, 503]));
    }
}
