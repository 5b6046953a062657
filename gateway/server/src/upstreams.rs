//! The servers behind a gateway of its own process: which of them has which
//! service of gRPC, and channels to them.

use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tonic::body::Body;
use tonic::transport::channel::ResponseFuture;
use tonic::transport::{Channel, Endpoint};
use tower::Service;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// A silent server is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// And gone when it does not answer.
const PING_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that a server may send ahead, a stream and a connection.
const WINDOW: u32 = 1 << 20;

/// An upstream that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--upstream: `{given}` {why}")]
pub struct BadUpstream {
    given: String,
    why: &'static str,
}

/// Channels by service; connected when they are needed.
#[derive(Debug, Clone)]
pub struct Upstreams {
    /// Full name of a service and its channel.
    named: Vec<(String, Channel)>,
    /// Everything else.
    rest: Option<Channel>,
}

impl Upstreams {
    /// Reads `http://host:port` and `package.Service=http://host:port`.
    ///
    /// # Errors
    /// What is no address, an address that is not http or https, and a second one for the same.
    pub fn new(given: &[String]) -> Result<Self, BadUpstream> {
        let mut upstreams = Self { named: Vec::new(), rest: None };
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
            let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|_| bad("is no address"))?;
            if endpoint.uri().port_u16() == Some(0) || endpoint.uri().host().is_none_or(str::is_empty) {
                return Err(bad("is no address"));
            }
            let channel = endpoint
                .connect_timeout(CONNECT)
                .http2_keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_PATIENCE)
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .tcp_nodelay(true)
                .connect_lazy();
            match service {
                Some(service) if upstreams.named.iter().any(|(known, _)| known == service) => {
                    return Err(bad("is a second address for the service"));
                }
                Some(service) => upstreams.named.push((service.to_owned(), channel)),
                None if upstreams.rest.is_some() => {
                    return Err(bad(
                        "is a second address for every service; write `package.Service=` before one",
                    ));
                }
                None => upstreams.rest = Some(channel),
            }
        }
        Ok(upstreams)
    }

    fn of(&mut self, path: &str) -> Option<&mut Channel> {
        let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let named = self.named.iter_mut().find(|(known, _)| known == service);
        named.map(|(_, channel)| channel).or(self.rest.as_mut())
    }
}

/// Why a call did not reach a server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server has the service.
    #[error("no upstream has this service")]
    NoServer,
    /// It does not answer.
    #[error("the upstream does not answer")]
    Transport(#[source] tonic::transport::Error),
}

impl Service<Request<Body>> for Upstreams {
    type Response = Response<Body>;
    type Error = Error;
    type Future = futures::future::Either<
        futures::future::MapErr<ResponseFuture, fn(tonic::transport::Error) -> Error>,
        std::future::Ready<Result<Response<Body>, Error>>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Which channel is needed is known with the request; a channel takes requests in a queue of its own.
        let channels = self.named.iter_mut().map(|(_, channel)| channel).chain(self.rest.as_mut());
        for channel in channels {
            std::task::ready!(channel.poll_ready(context)).map_err(Error::Transport)?;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        use futures::TryFutureExt as _;
        let path = request.uri().path().to_owned();
        // What belongs to the caller's connection stays there.
        for name in ["connection", "host", "upgrade", "keep-alive", "proxy-connection", "transfer-encoding"] {
            request.headers_mut().remove(name);
        }
        match self.of(&path) {
            Some(channel) => {
                let call: futures::future::MapErr<ResponseFuture, fn(tonic::transport::Error) -> Error> =
                    channel.call(request).map_err(Error::Transport);
                futures::future::Either::Left(call)
            }
            None => futures::future::Either::Right(std::future::ready(Err(Error::NoServer))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(given: &[&str]) -> String {
        let given: Vec<String> = given.iter().map(|one| (*one).to_owned()).collect();
        Upstreams::new(&given).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_service_has_its_own_server_or_the_one_of_all_others() {
        let given = ["a.B=http://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned()];
        let mut upstreams = Upstreams::new(&given).unwrap();
        assert!(upstreams.of("/a.B/C").is_some());
        assert!(upstreams.of("/x.Y/Z").is_some());
        let mut only = Upstreams::new(&given[..1]).unwrap();
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
}
