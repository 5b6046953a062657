//! Who is at the door: the names under which we may be asked, and the web
//! origins that may ask.
//!
//! A web page of anywhere can let a browser send requests to a loopback port,
//! and can give its own name our address. Neither gets past here, whatever the
//! path: `Host` and `:authority` have to be one of ours, and an `Origin` has to
//! be our own or a configured one before anything is written or upgraded; a
//! foreign page may send a GET and is not told the answer. The Unix socket is out
//! of a browser's reach.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Either};
use http::header::{CONTENT_TYPE, HOST, HeaderMap, ORIGIN, UPGRADE};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::transport::server::{TcpConnectInfo, UdsConnectInfo};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::Service;

use crate::seats::Uses;
use crate::{Answers, held};

/// The port that a URL without one means.
const HTTP_PORT: u16 = 80;

/// The names under which TCP callers may ask.
#[derive(Debug, Clone)]
pub struct Names {
    /// The listen address as a URL has it; nothing when it is every address.
    own: String,
    port: u16,
    hosts: Vec<Authority>,
    origins: Vec<String>,
    error_domain: String,
}

/// A configured name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {expected}")]
pub struct BadName {
    value: String,
    expected: &'static str,
}

impl Names {
    /// Our own names with the listener's port, and the configured ones.
    ///
    /// # Errors
    /// A configured name that cannot be one.
    pub fn new(own: SocketAddr, hosts: &[String], origins: &[String]) -> Result<Self, BadName> {
        let bad = |value: &str, expected| BadName { value: value.to_owned(), expected };
        let mut allowed = Vec::new();
        for host in hosts {
            let parsed =
                host.parse::<Authority>().ok().filter(|name| !host.contains('@') && !name.host().is_empty());
            allowed.push(parsed.ok_or_else(|| bad(host, "a host name, with or without a port"))?);
        }
        for origin in origins {
            let is_origin = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"))
                .is_some_and(|rest| rest.parse::<Authority>().is_ok() && !rest.contains(['@', '/', '*']));
            if !is_origin {
                return Err(bad(origin, "an origin such as http://localhost:3000"));
            }
        }
        let origins = origins.iter().map(|origin| origin.to_ascii_lowercase()).collect();
        let address = match own.ip() {
            ip if ip.is_unspecified() => String::new(),
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Ok(Self { own: address, port: own.port(), hosts: allowed, origins, error_domain: String::new() })
    }

    /// Whose the reasons of our refusals are, for `google.rpc.ErrorInfo`; nobody's unless it is said.
    #[must_use]
    pub fn with_error_domain(mut self, domain: &str) -> Self {
        domain.clone_into(&mut self.error_domain);
        self
    }

    /// Whether the request may come in.
    fn judge<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let authority = request.uri().authority();
        if let Some(authority) = authority {
            self.judge_host(authority.as_str())?;
        }
        // The header of HTTP/1 says nothing beside an absolute target; in HTTP/2 both are meant.
        if authority.is_none() || request.version() > Version::HTTP_11 {
            let hosts = request.headers().get_all(HOST);
            for host in &hosts {
                self.judge_host(&String::from_utf8_lossy(host.as_bytes()))?;
            }
            match hosts.iter().count() {
                0 if authority.is_none() => {
                    return Err(Refusal::host("the request names no host".to_owned()));
                }
                0 | 1 => {}
                _ => return Err(Refusal::twice()),
            }
        }
        let is_upgrade = request.headers().contains_key(UPGRADE) || *request.method() == Method::CONNECT;
        let is_read =
            matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) && !is_upgrade;
        if !is_read {
            for origin in request.headers().get_all(ORIGIN) {
                self.judge_origin(&String::from_utf8_lossy(origin.as_bytes()))?;
            }
        }
        Ok(())
    }

    /// Whether a page of this origin may read what we answer.
    pub(crate) fn is_allowed_origin(&self, origin: &str) -> bool {
        let lower = origin.to_ascii_lowercase();
        let is_own = lower.strip_prefix("http://").is_some_and(|host| self.is_ours(host));
        is_own || self.origins.contains(&lower)
    }

    fn judge_host(&self, host: &str) -> Result<(), Refusal> {
        if self.is_ours(host) {
            return Ok(());
        }
        Err(Refusal::host(format!(
            "host `{}` is not allowed here; add it to the allowed hosts in the configuration",
            shown(host)
        )))
    }

    fn judge_origin(&self, origin: &str) -> Result<(), Refusal> {
        if self.is_allowed_origin(origin) {
            return Ok(());
        }
        let message = format!(
            "origin `{}` may not write here; add it to the allowed origins in the configuration",
            shown(origin)
        );
        Err(Refusal { status: StatusCode::FORBIDDEN, reason: "ORIGIN_REFUSED", label: "origin", message })
    }

    fn is_ours(&self, host: &str) -> bool {
        let Ok(asked) = host.parse::<Authority>() else { return false };
        if host.contains('@') || (asked.port().is_some() && asked.port_u16().is_none()) {
            return false;
        }
        let port = asked.port_u16().unwrap_or(HTTP_PORT);
        let name = asked.host().trim_end_matches('.').to_ascii_lowercase();
        let is_own = ["localhost", "127.0.0.1", "[::1]", self.own.as_str()].contains(&name.as_str());
        if is_own && port == self.port {
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

impl Names {
    /// The hosts that are ours as a regular expression of RE2: [`Self::is_ours`] for a proxy of another kind.
    pub(crate) fn hosts_pattern(&self) -> String {
        let of_port = |port: u16| if port == HTTP_PORT { "(:80)?".to_owned() } else { format!(":{port}") };
        let own = ["localhost", "127.0.0.1", "[::1]", self.own.as_str()];
        let own = own.iter().filter(|name| !name.is_empty());
        let own = own.map(|name| format!("{}\\.*{}", literal(name), of_port(self.port)));
        let more = self.hosts.iter().map(|allowed| {
            let port = allowed.port_u16().map_or_else(|| format!("(:{})?", self.port), of_port);
            format!("{}\\.*{port}", literal(allowed.host()))
        });
        format!("(?i)({})", own.chain(more).collect::<Vec<_>>().join("|"))
    }

    /// The origins that may write, likewise.
    pub(crate) fn origins_pattern(&self) -> String {
        let own = format!("http://{}", self.hosts_pattern());
        let more = self.origins.iter().map(|origin| literal(origin));
        format!("(?i)({})", std::iter::once(own).chain(more).collect::<Vec<_>>().join("|"))
    }
}

/// The text in a regular expression, as itself.
fn literal(text: &str) -> String {
    let escaped =
        |letter: char| if letter.is_ascii_alphanumeric() { vec![letter] } else { vec!['\\', letter] };
    text.chars().flat_map(escaped).collect()
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
    status: StatusCode,
    reason: &'static str,
    label: &'static str,
    message: String,
}

impl Refusal {
    fn host(message: String) -> Self {
        Self { status: StatusCode::FORBIDDEN, reason: "HOST_REFUSED", label: "host", message }
    }

    /// HTTP has a request name its host once.
    fn twice() -> Self {
        let message = "it stands in the request more than once".to_owned();
        Self { status: StatusCode::BAD_REQUEST, reason: "HOST_REFUSED", label: "host", message }
    }

    /// In the words of the protocol in which was asked.
    fn into_response<B>(self, request: &Request<B>, error_domain: &str) -> Response<Body> {
        if is_grpc(request.headers()) {
            let details = ErrorDetails::with_error_info(self.reason, error_domain, []);
            let code = tonic::Code::PermissionDenied;
            return refused_call(
                request.headers(),
                &tonic::Status::with_error_details(code, self.message, details),
            );
        }
        let field = (self.status == StatusCode::BAD_REQUEST).then_some(self.label);
        let options = clos_transcoder::Options::default();
        let mut response =
            clos_transcoder::refusal(self.status, field, &self.message, request.headers(), &options);
        crate::secure(response.headers_mut());
        response
    }
}

/// Whether a request is of gRPC or gRPC-Web.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    is_of(headers, b"application/grpc")
}

/// Whether a request is of gRPC-Web.
pub(crate) fn is_grpc_web(headers: &HeaderMap) -> bool {
    is_of(headers, b"application/grpc-web")
}

fn is_of(headers: &HeaderMap, family: &[u8]) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.as_bytes().get(..family.len()));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(family))
}

/// A call that is over before it began: its status is in the head, in the words of gRPC, and the
/// type is the caller's, which gRPC-Web looks at.
pub(crate) fn refused_call(asked: &HeaderMap, status: &tonic::Status) -> Response<Body> {
    let mut response = status.clone().into_http();
    if is_grpc_web(asked)
        && let Some(kind) = asked.get(CONTENT_TYPE)
    {
        response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    response
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
    uses: Uses,
}

impl<S> Door<S> {
    /// The door of one connection; `asked` becomes true with its first request, and `uses` hears of each.
    pub(crate) fn new(inner: S, peer: Peer, asked: Arc<AtomicBool>, uses: Uses) -> Self {
        Self { inner, peer, asked, uses }
    }
}

impl<S: Answers> Service<Request<Incoming>> for Door<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<
        BoxFuture<'static, Result<Response<Body>, Infallible>>,
        Ready<Result<Response<Body>, Infallible>>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        self.asked.store(true, Ordering::Relaxed);
        match &self.peer {
            Peer::Unix(info) => _ = request.extensions_mut().insert(info.clone()),
            Peer::Tcp(info, names) => {
                request.extensions_mut().insert(Arc::clone(names));
                if let Err(refusal) = names.judge(&request) {
                    if let Some(omitted) = clos_telemetry::metrics().refused(refusal.label) {
                        let reason = refusal.reason;
                        tracing::warn!(reason, peer = ?info.remote_addr, omitted, "{}", refusal.message);
                    }
                    return Either::Right(ready(Ok(refusal.into_response(&request, &names.error_domain))));
                }
                request.extensions_mut().insert(info.clone());
            }
        }
        let busy = self.uses.begin();
        let answer = self.inner.call(request);
        Either::Left(Box::pin(async move { Ok(answer.await?.map(|body| held::with(body, busy))) }))
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
        let mut request = Request::builder().method(Method::POST).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn judge(uri: &str, headers: &[(&str, &str)]) -> Result<(), &'static str> {
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
            "devbox",
            "devbox:8080",
            "proxy.example:9000",
            "[fd00::1]:8080",
        ] {
            assert_eq!(judge("/metrics", &[("host", host)]), Ok(()), "{host}");
            assert_eq!(judge(&format!("http://{host}/things.v1.Things/GetThing"), &[]), Ok(()), "{host}");
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
            "clos.localhost:8080",
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
            assert_eq!(judge("/metrics", &[("host", host)]), Err("HOST_REFUSED"), "{host}");
        }
        assert_eq!(judge("/metrics", &[]), Err("HOST_REFUSED"), "no host at all");
    }

    #[test]
    fn the_authority_of_an_absolute_target_is_the_host() {
        assert_eq!(judge("http://localhost:8080/x", &[("host", "evil.example")]), Ok(()));
        assert_eq!(judge("http://evil.example/x", &[("host", "localhost:8080")]), Err("HOST_REFUSED"));
    }

    #[test]
    fn two_names_have_to_be_right_both() {
        let mut both = request("http://localhost:8080/x", &[("host", "evil.example")]);
        *both.version_mut() = Version::HTTP_2;
        assert_eq!(names().judge(&both).map_err(|refusal| refusal.reason), Err("HOST_REFUSED"));
        let twice = [("host", "localhost:8080"), ("host", "evil.example")];
        assert_eq!(judge("/x", &twice), Err("HOST_REFUSED"));
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
            assert_eq!(with(origin), Err("ORIGIN_REFUSED"), "{origin}");
        }
    }

    #[test]
    fn a_foreign_page_may_read_without_being_told_and_nothing_else() {
        let evil = [("host", "localhost:8080"), ("origin", "http://evil.example")];
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            let mut request = request("/x", &evil);
            *request.method_mut() = method;
            assert!(names().judge(&request).is_ok());
            request.headers_mut().insert("upgrade", http::HeaderValue::from_static("websocket"));
            assert!(names().judge(&request).is_err(), "an upgrade");
        }
        assert!(!names().is_allowed_origin("http://evil.example"));
    }

    #[test]
    fn a_refusal_speaks_the_protocol_in_which_was_asked_and_repeats_no_control_characters() {
        let grpc = request("/x", &[("host", "evil"), ("content-type", "application/grpc+proto")]);
        let refusal = names().judge(&grpc).unwrap_err();
        let response = refusal.into_response(&grpc, "example.com");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "7");
        let status = tonic::Status::from_header_map(response.headers()).unwrap();
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("HOST_REFUSED", "example.com"));

        let web = request("/x", &[("host", "localhost:8080"), ("origin", "http://evil`\t")]);
        let refusal = names().judge(&web).unwrap_err();
        assert!(
            refusal.message.starts_with("origin `http://evil??` may not write here"),
            "{}",
            refusal.message
        );
        let response = refusal.into_response(&web, "example.com");
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    }

    #[test]
    fn a_configured_name_that_is_none_is_named() {
        let own = "127.0.0.1:8080".parse().unwrap();
        for host in ["", "a b", "ann@devbox", "http://devbox"] {
            let error = Names::new(own, &[host.to_owned()], &[]).unwrap_err().to_string();
            assert_eq!(error, format!("`{host}` is not a host name, with or without a port"));
        }
        for origin in ["localhost:3000", "*", "http://*.example", "http://a/b", "ftp://a", "null"] {
            let error = Names::new(own, &[], &[origin.to_owned()]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{origin}` is not an origin")), "{error}");
        }
    }
}
