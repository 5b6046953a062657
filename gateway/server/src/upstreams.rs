//! The servers behind a gateway of its own process: which of them has which
//! service of gRPC, connections to them (`lanes`), and whether they answer.
//!
//! A server that cannot be connected to refuses each call by itself, at once. One that takes
//! connections and says nothing, or says that it does not serve, would hold every caller until a
//! deadline: it is asked by `grpc.health.v1` again and again, and calls to it fail at once until it
//! answers. A server without that service is well when it says so.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use clos_telemetry::Metrics;
use futures::future::BoxFuture;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::{Service, ServiceExt as _};

use crate::lanes::Lanes;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// A silent server is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// And gone when it does not answer.
const PING_PATIENCE: Duration = Duration::from_secs(10);

/// How a server's health is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Checks {
    /// The pause between two questions to a server that answers.
    pub every: Duration,
    /// And to one that does not.
    pub again: Duration,
    /// How long an answer may take.
    pub patience: Duration,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(5),
            again: Duration::from_millis(500),
            patience: Duration::from_secs(2),
        }
    }
}

/// An upstream that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--upstream: `{given}` {why}")]
pub struct BadUpstream {
    given: String,
    why: &'static str,
}

/// One server as it is given: `http://host:port` or `package.Service=http://host:port`.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    /// Full name of the only service that it has for us; nothing is every other.
    pub(crate) service: Option<&'a str>,
    pub(crate) address: &'a str,
    pub(crate) uri: Uri,
}

impl<'a> Given<'a> {
    pub(crate) fn all(given: &'a [String]) -> Result<Vec<Self>, BadUpstream> {
        let mut all: Vec<Self> = Vec::new();
        for one in given {
            let bad = |why| BadUpstream { given: one.clone(), why };
            // An address may have a `=` of its own.
            let (service, address) = match one.split_once('=') {
                Some((service, address)) if !service.contains(['/', ':']) => (Some(service), address),
                _ => (None, one.as_str()),
            };
            if !address.starts_with("http://") && !address.starts_with("https://") {
                // Over a Unix socket every caller of the gateway would be its owner.
                return Err(bad("is no http or https address"));
            }
            let uri: Uri = address.parse().map_err(|_| bad("is no address"))?;
            if uri.port_u16() == Some(0) || uri.host().is_none_or(str::is_empty) {
                return Err(bad("is no address"));
            }
            if all.iter().any(|known| known.service == service) {
                return Err(bad(match service {
                    Some(_) => "is a second address for the service",
                    None => "is a second address for every service; write `package.Service=` before one",
                }));
            }
            all.push(Self { service, address, uri });
        }
        Ok(all)
    }
}

/// One server.
#[derive(Debug, Clone)]
struct Server {
    address: Arc<str>,
    lanes: Lanes,
    /// It takes connections and does not serve.
    is_stuck: Arc<AtomicBool>,
}

/// Channels by service; connected when they are needed.
#[derive(Debug, Clone)]
pub struct Upstreams {
    /// Full name of a service and who has it.
    named: Arc<[(String, Server)]>,
    /// Who has everything else.
    rest: Option<Server>,
}

impl Upstreams {
    /// Reads `http://host:port` and `package.Service=http://host:port`; with https a server's certificate has
    /// to be signed by somebody whom this machine trusts, or by `authority`, certificates in PEM.
    ///
    /// # Errors
    /// What is no address, an address that is not http or https, and a second one for the same.
    pub fn new(given: &[String], authority: Option<&[u8]>) -> Result<Self, BadUpstream> {
        let mut named: Vec<(String, Server)> = Vec::new();
        let mut rest = None;
        let mut servers: Vec<Server> = Vec::new();
        for Given { service, address, uri } in Given::all(given)? {
            let known = servers.iter().find(|server| &*server.address == address);
            let server = match known {
                Some(server) => server.clone(),
                None => Server::at(address, uri, authority)
                    .map_err(|why| BadUpstream { given: address.to_owned(), why })?,
            };
            servers.push(server.clone());
            match service {
                Some(service) => named.push((service.to_owned(), server)),
                None => rest = Some(server),
            }
        }
        Ok(Self { named: named.into(), rest })
    }

    /// Asks every server for its health until the drain.
    pub async fn watch(&self, checks: Checks, metrics: Metrics, drain: CancellationToken) {
        let mut servers: Vec<&Server> = Vec::new();
        for server in self.named.iter().map(|(_, server)| server).chain(&self.rest) {
            if servers.iter().all(|known| known.address != server.address) {
                servers.push(server);
            }
        }
        let all = futures::future::join_all(servers.into_iter().map(|server| server.watch(checks, &metrics)));
        let _ = drain.run_until_cancelled(all).await;
    }

    fn of(&self, path: &str) -> Option<&Server> {
        let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let named = self.named.iter().find(|(known, _)| known == service);
        named.map(|(_, server)| server).or(self.rest.as_ref())
    }
}

impl Server {
    fn at(address: &str, uri: Uri, authority: Option<&[u8]>) -> Result<Self, &'static str> {
        let is_private = uri.scheme() == Some(&Scheme::HTTPS);
        let mut endpoint = Endpoint::from(uri);
        if is_private {
            let mut tls = ClientTlsConfig::new().with_native_roots();
            if let Some(authority) = authority {
                tls = tls.ca_certificate(Certificate::from_pem(authority));
            }
            let with_tls = endpoint.tls_config(tls);
            endpoint = with_tls.map_err(|_| "cannot be asked by https with these certificates")?;
        }
        let endpoint = endpoint
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_PATIENCE)
            .tcp_nodelay(true);
        Ok(Self { address: address.into(), lanes: Lanes::new(endpoint), is_stuck: Arc::default() })
    }

    async fn watch(&self, checks: Checks, metrics: &Metrics) -> Infallible {
        let mut was_well = true;
        loop {
            let health = self.ask(checks.patience).await;
            let is_well = health == Health::Well;
            self.is_stuck.store(health == Health::Stuck, Ordering::Relaxed);
            metrics.upstream_up(&self.address, is_well);
            if is_well && !was_well {
                tracing::info!(upstream = %self.address, "the upstream answers again");
            } else if was_well && !is_well {
                tracing::warn!(upstream = %self.address, ?health, "the upstream does not answer");
            }
            was_well = is_well;
            tokio::time::sleep(if is_well { checks.every } else { checks.again }).await;
        }
    }

    async fn ask(&self, patience: Duration) -> Health {
        // All connections are full: nothing can be learned now.
        let Some((channel, _place)) = self.lanes.take() else { return Health::Well };
        let mut client = HealthClient::new(channel);
        let asked = client.check(HealthCheckRequest { service: String::new() });
        match tokio::time::timeout(patience, asked).await {
            Err(_) => Health::Stuck,
            Ok(answer) => Health::of(answer.map(|answer| answer.into_inner().status())),
        }
    }
}

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Well,
    /// It cannot be connected to; the next call may succeed.
    Gone,
    /// It would let callers wait, or says itself that it does not serve.
    Stuck,
}

impl Health {
    fn of(answer: Result<ServingStatus, Status>) -> Self {
        match answer {
            Ok(ServingStatus::NotServing) => Self::Stuck,
            Err(status) if status.code() == Code::Unavailable => Self::Gone,
            // Whatever else it says of this service: it is there, and speaks.
            Ok(_) | Err(_) => Self::Well,
        }
    }
}

/// Why a call did not reach a server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server has the service.
    #[error("no upstream has this service")]
    NoServer,
    /// It takes connections and does not serve.
    #[error("the upstream {0} does not serve")]
    Stuck(Arc<str>),
    /// The limit of calls in progress is reached.
    #[error("the upstream {0} has too many calls in progress")]
    Full(Arc<str>),
    /// It does not answer.
    #[error("the upstream does not answer")]
    Transport(#[source] tonic::transport::Error),
}

impl Service<Request<Body>> for Upstreams {
    type Response = Response<Body>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Body>, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Which server is asked is known with the request; one that is busy holds nobody up who asks another.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // What belongs to the caller's connection stays there.
        for name in ["connection", "host", "upgrade", "keep-alive", "proxy-connection", "transfer-encoding"] {
            request.headers_mut().remove(name);
        }
        let server = match self.of(request.uri().path()) {
            None => return Box::pin(std::future::ready(Err(Error::NoServer))),
            Some(server) if server.is_stuck.load(Ordering::Relaxed) => {
                return Box::pin(std::future::ready(Err(Error::Stuck(Arc::clone(&server.address)))));
            }
            Some(server) => server,
        };
        let Some((channel, place)) = server.lanes.take() else {
            return Box::pin(std::future::ready(Err(Error::Full(Arc::clone(&server.address)))));
        };
        Box::pin(async move {
            let response = channel.oneshot(request).await.map_err(Error::Transport)?;
            Ok(response.map(|body| place.with(body)))
        })
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tasks of a test end with its runtime")]
mod tests {
    use super::*;

    fn refused(given: &[&str]) -> String {
        let given: Vec<String> = given.iter().map(|one| (*one).to_owned()).collect();
        Upstreams::new(&given, None).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_service_has_its_own_server_or_the_one_of_all_others() {
        let given = ["a.B=http://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned()];
        let upstreams = Upstreams::new(&given, None).unwrap();
        assert!(upstreams.of("/a.B/C").is_some());
        assert!(upstreams.of("/x.Y/Z").is_some());
        let only = Upstreams::new(&given[..1], None).unwrap();
        assert!(only.of("/x.Y/Z").is_none());
    }

    #[tokio::test]
    async fn what_is_no_address_is_named() {
        assert_eq!(
            refused(&["unix:///run/x.sock"]),
            "--upstream: `unix:///run/x.sock` is no http or https address"
        );
        assert!(refused(&["127.0.0.1:1"]).contains("is no http or https address"));
        assert!(refused(&["http://"]).contains("is no address"));
        assert!(refused(&["http://a:1", "http://b:1"]).contains("a second address for every service"));
        assert!(refused(&["a.B=http://a:1", "a.B=http://b:1"]).contains("a second address for the service"));
    }

    #[test]
    fn what_a_server_says_of_its_health() {
        for (answer, health) in [
            (Ok(ServingStatus::Serving), Health::Well),
            (Ok(ServingStatus::NotServing), Health::Stuck),
            (Err(Status::unimplemented("")), Health::Well),
            (Err(Status::unauthenticated("")), Health::Well),
            (Err(Status::unavailable("")), Health::Gone),
        ] {
            assert_eq!(Health::of(answer.clone()), health, "{answer:?}");
        }
    }

    /// Takes connections and says nothing, until the sender speaks; then it refuses them.
    #[tokio::test]
    async fn calls_to_a_server_that_says_nothing_fail_at_once_until_it_does() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let silent = tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                kept.push(stream);
            }
        });
        let upstreams = Upstreams::new(&[address.clone(), format!("a.B={address}")], None).unwrap();
        let soon = Duration::from_millis(20);
        let checks = Checks { every: soon, again: soon, patience: soon };
        let drain = CancellationToken::new();
        let (watched, until) = (upstreams.clone(), drain.clone());
        let metrics = Metrics::new();
        let shown = metrics.clone();
        let watching = tokio::spawn(async move { watched.watch(checks, shown, until).await });
        let call = async || upstreams.clone().oneshot(Request::new(Body::empty())).await;
        let is_stuck = || upstreams.rest.as_ref().unwrap().is_stuck.load(Ordering::Relaxed);
        let until = async |wanted: bool| {
            while is_stuck() != wanted {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), until(true)).await.unwrap();
        let refused = call().await.unwrap_err();
        assert_eq!(refused.to_string(), format!("the upstream {address} does not serve"));
        assert!(metrics.render().contains(&format!("upstream_up{{upstream=\"{address}\"}} 0")));

        // Gone altogether it is no longer waited for, and each call finds out by itself.
        silent.abort();
        tokio::time::timeout(Duration::from_secs(20), until(false)).await.unwrap();
        assert!(matches!(call().await, Err(Error::Transport(_))));
        drain.cancel();
        watching.await.unwrap();
    }
}
