//! Who is at the door: the names under which we may be asked, and the web
//! origins that may ask.
//!
//! A web page of anywhere can let a browser send requests to a loopback port,
//! and can give its own name our address. Neither gets past here, whatever the
//! path: `Host` and `:authority` have to be one of ours, and an `Origin` has to
//! be our own or a configured one. The Unix socket is out of a browser's reach.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use clos_domain::Reason;
use futures::future::Either;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use http::uri::Authority;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::transport::server::{TcpConnectInfo, UdsConnectInfo};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::Service;

use super::Answers;

/// The domain of our error reasons.
const ERROR_DOMAIN: &str = "clos.dev";
/// The port that a URL without one means.
const HTTP_PORT: u16 = 80;

/// The names under which TCP callers may ask.
#[derive(Debug, Clone)]
pub struct Names {
    port: u16,
    hosts: Vec<Authority>,
    origins: Vec<String>,
}

/// A configured name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: `{value}` is not {expected}")]
pub struct BadName {
    key: &'static str,
    value: String,
    expected: &'static str,
}

impl Names {
    /// Our own names with the listener's port, and the configured ones.
    ///
    /// # Errors
    /// A configured name that cannot be one.
    pub fn new(own: SocketAddr, hosts: &[String], origins: &[String]) -> Result<Self, BadName> {
        let bad = |key, value: &str, expected| BadName { key, value: value.to_owned(), expected };
        let mut allowed = Vec::new();
        for host in hosts {
            let parsed =
                host.parse::<Authority>().ok().filter(|name| !host.contains('@') && !name.host().is_empty());
            allowed.push(
                parsed.ok_or_else(|| bad("server.hosts", host, "a host name, with or without a port"))?,
            );
        }
        for origin in origins {
            let is_origin = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"))
                .is_some_and(|rest| rest.parse::<Authority>().is_ok() && !rest.contains(['@', '/', '*']));
            if !is_origin {
                return Err(bad("server.origins", origin, "an origin such as http://localhost:3000"));
            }
        }
        let origins = origins.iter().map(|origin| origin.to_ascii_lowercase()).collect();
        Ok(Self { port: own.port(), hosts: allowed, origins })
    }

    /// Whether the request may come in.
    fn judge<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let mut named = 0;
        // HTTP/2 names us in the URI, HTTP/1 in a header; who sends both means both.
        if let Some(authority) = request.uri().authority() {
            named += 1;
            self.judge_host(authority.as_str())?;
        }
        for host in request.headers().get_all(HOST) {
            named += 1;
            self.judge_host(&String::from_utf8_lossy(host.as_bytes()))?;
        }
        if named == 0 {
            return Err(Refusal::host("the request names no host".to_owned()));
        }
        for origin in request.headers().get_all(ORIGIN) {
            self.judge_origin(&String::from_utf8_lossy(origin.as_bytes()))?;
        }
        Ok(())
    }

    fn judge_host(&self, host: &str) -> Result<(), Refusal> {
        if self.is_ours(host) {
            return Ok(());
        }
        Err(Refusal::host(format!(
            "host `{}` is not allowed here; add it to server.hosts in closd.yaml",
            shown(host)
        )))
    }

    fn judge_origin(&self, origin: &str) -> Result<(), Refusal> {
        let lower = origin.to_ascii_lowercase();
        let is_own = lower.strip_prefix("http://").is_some_and(|host| self.is_ours(host));
        if is_own || self.origins.contains(&lower) {
            return Ok(());
        }
        let message =
            format!("origin `{}` is not allowed here; add it to server.origins in closd.yaml", shown(origin));
        Err(Refusal { reason: Reason::OriginRefused, label: "origin", message })
    }

    fn is_ours(&self, host: &str) -> bool {
        let Ok(asked) = host.parse::<Authority>() else { return false };
        if host.contains('@') || (asked.port().is_some() && asked.port_u16().is_none()) {
            return false;
        }
        let port = asked.port_u16().unwrap_or(HTTP_PORT);
        let name = asked.host().trim_end_matches('.').to_ascii_lowercase();
        let is_loopback = ["localhost", "127.0.0.1", "[::1]"].contains(&name.as_str())
            || name.strip_suffix(".localhost").is_some_and(|label| !label.is_empty());
        if is_loopback && port == self.port {
            return true;
        }
        self.hosts.iter().any(|allowed| {
            let same_name = allowed.host().eq_ignore_ascii_case(&name);
            // A name without a port stands for itself and for our port behind it.
            let same_port = match allowed.port_u16() {
                Some(allowed) => allowed == port,
                None => asked.port().is_none() || port == self.port,
            };
            same_name && same_port
        })
    }
}

/// What a refused caller reads of what it sent: printable, and not too much.
fn shown(text: &str) -> String {
    text.chars()
        .take(100)
        .map(|letter| if letter.is_control() || letter == '`' { '?' } else { letter })
        .collect()
}

/// Why somebody does not come in.
#[derive(Debug)]
struct Refusal {
    reason: Reason,
    label: &'static str,
    message: String,
}

impl Refusal {
    fn host(message: String) -> Self {
        Self { reason: Reason::HostRefused, label: "host", message }
    }

    /// In the words of the protocol in which was asked.
    fn into_response<B>(self, request: &Request<B>) -> Response<Body> {
        let is_grpc = request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if is_grpc {
            let details = ErrorDetails::with_error_info(self.reason.as_str(), ERROR_DOMAIN, []);
            let code = tonic::Code::PermissionDenied;
            return tonic::Status::with_error_details(code, self.message, details).into_http();
        }
        let body = serde_json::json!({ "code": self.reason.as_str(), "message": self.message });
        let mut response = Response::new(Body::new(http_body_util::Full::new(body.to_string().into())));
        *response.status_mut() = StatusCode::FORBIDDEN;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// Who is on the other end of a connection.
#[derive(Debug, Clone)]
pub enum Peer {
    /// The socket's owner, checked by uid.
    Unix(UdsConnectInfo),
    /// Anybody on this machine, under one of these names.
    Tcp(TcpConnectInfo, Arc<Names>),
}

/// Judges each request of one connection and tells whoever answers who asks.
#[derive(Debug, Clone)]
pub struct Door<S> {
    inner: S,
    peer: Peer,
    asked: Arc<AtomicBool>,
}

impl<S> Door<S> {
    /// The door of one connection; `asked` becomes true with its first request.
    pub fn new(inner: S, peer: Peer, asked: Arc<AtomicBool>) -> Self {
        Self { inner, peer, asked }
    }
}

impl<S: Answers> Service<Request<Incoming>> for Door<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        self.asked.store(true, Ordering::Relaxed);
        match &self.peer {
            Peer::Unix(info) => _ = request.extensions_mut().insert(info.clone()),
            Peer::Tcp(info, names) => {
                if let Err(refusal) = names.judge(&request) {
                    clos_telemetry::metrics().refused(refusal.label);
                    tracing::warn!(reason = refusal.reason.as_str(), peer = ?info.remote_addr, "{}", refusal.message);
                    return Either::Right(ready(Ok(refusal.into_response(&request))));
                }
                request.extensions_mut().insert(info.clone());
            }
        }
        Either::Left(self.inner.call(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let hosts = ["devbox".to_owned(), "proxy.example:9000".to_owned(), "[fd00::1]".to_owned()];
        let origins = ["http://localhost:3000".to_owned(), "https://Dash.example".to_owned()];
        Names::new("127.0.0.1:8080".parse().unwrap(), &hosts, &origins).unwrap()
    }

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn judge(uri: &str, headers: &[(&str, &str)]) -> Result<(), Reason> {
        names().judge(&request(uri, headers)).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn our_own_names_with_our_port_come_in() {
        for host in [
            "localhost:8080",
            "LOCALHOST:8080",
            "localhost.:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "clos.localhost:8080",
            "devbox",
            "devbox:8080",
            "proxy.example:9000",
            "[fd00::1]:8080",
        ] {
            assert_eq!(judge("/metrics", &[("host", host)]), Ok(()), "{host}");
            assert_eq!(judge(&format!("http://{host}/clos.v2.SystemApi/GetVersion"), &[]), Ok(()), "{host}");
        }
    }

    #[test]
    fn every_other_name_stays_outside() {
        for host in [
            "evil.example:8080",
            "evil.example",
            "localhost",
            "localhost:80",
            "localhost:8081",
            "localhost:",
            "localhost:99999",
            "localhost:8080@evil.example",
            "evil@localhost:8080",
            "127.0.0.1.evil.example:8080",
            "127.0.0.2:8080",
            "0.0.0.0:8080",
            "[::]:8080",
            ".localhost:8080",
            "localhost.evil.example:8080",
            "notlocalhost:8080",
            "devbox:81",
            "proxy.example",
            "proxy.example:8080",
            "",
            " ",
            "localhost:8080 evil",
            "\u{ff}",
        ] {
            assert_eq!(judge("/metrics", &[("host", host)]), Err(Reason::HostRefused), "{host}");
        }
        assert_eq!(judge("/metrics", &[]), Err(Reason::HostRefused), "no host at all");
    }

    #[test]
    fn two_names_have_to_be_right_both() {
        assert_eq!(judge("http://localhost:8080/x", &[("host", "evil.example")]), Err(Reason::HostRefused));
        assert_eq!(judge("http://evil.example/x", &[("host", "localhost:8080")]), Err(Reason::HostRefused));
        let twice = [("host", "localhost:8080"), ("host", "evil.example")];
        assert_eq!(judge("/x", &twice), Err(Reason::HostRefused));
    }

    #[test]
    fn an_origin_has_to_be_our_own_or_a_configured_one_with_its_port() {
        let with = |origin| judge("/x", &[("host", "localhost:8080"), ("origin", origin)]);
        for origin in [
            "http://localhost:8080",
            "http://127.0.0.1:8080",
            "http://localhost:3000",
            "https://dash.example",
        ] {
            assert_eq!(with(origin), Ok(()), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://localhost:3001",
            "http://localhost",
            "https://localhost:8080",
            "http://evil.example",
            "http://dash.example",
            "https://dash.example:444",
            "https://dash.example.evil.example",
            "file://",
            "localhost:8080",
        ] {
            assert_eq!(with(origin), Err(Reason::OriginRefused), "{origin}");
        }
    }

    #[test]
    fn a_refusal_speaks_the_protocol_in_which_was_asked_and_repeats_no_control_characters() {
        let grpc = request("/x", &[("host", "evil"), ("content-type", "application/grpc+proto")]);
        let refusal = names().judge(&grpc).unwrap_err();
        let response = refusal.into_response(&grpc);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "7");
        let status = tonic::Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.get_details_error_info().unwrap().reason, "HOST_REFUSED");

        let web = request("/x", &[("host", "localhost:8080"), ("origin", "http://evil`\t")]);
        let refusal = names().judge(&web).unwrap_err();
        assert!(
            refusal.message.starts_with("origin `http://evil??` is not allowed here"),
            "{}",
            refusal.message
        );
        let response = refusal.into_response(&web);
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    }

    #[test]
    fn a_configured_name_that_is_none_is_named() {
        let own = "127.0.0.1:8080".parse().unwrap();
        for host in ["", "a b", "ann@devbox", "http://devbox"] {
            let error = Names::new(own, &[host.to_owned()], &[]).unwrap_err().to_string();
            assert_eq!(error, format!("server.hosts: `{host}` is not a host name, with or without a port"));
        }
        for origin in ["localhost:3000", "*", "http://*.example", "http://a/b", "ftp://a", "null"] {
            let error = Names::new(own, &[], &[origin.to_owned()]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("server.origins: `{origin}` is not an origin")), "{error}");
        }
    }
}
