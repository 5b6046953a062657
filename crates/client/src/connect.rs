//! A connection, and what every call has in common.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint as Transport};
use tonic::{Request, Status};

use crate::endpoint::{Address, Endpoint};
use crate::error::Error;

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a read is repeated for a daemon that is away for a moment.
const ATTEMPTS: u32 = 3;
/// The first pause between repetitions; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause that no other is longer than.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Bytes of the largest answer; a plan of thousands of services has some.
pub(crate) const ANSWER_MAX: usize = 64 * 1024 * 1024;

pub(crate) type Wire = InterceptedService<Channel, Bearer>;

/// A daemon. Cheap to clone; a connection that breaks is made anew by the next call.
#[derive(Debug, Clone)]
pub struct Client {
    wire: Wire,
    address: Address,
    timeout: Duration,
}

impl Client {
    /// Connects. `timeout` is how long a call may take unless it says otherwise.
    ///
    /// # Errors
    /// Nobody answers there.
    pub async fn connect(endpoint: &Endpoint, timeout: Duration) -> Result<Self, Error> {
        let address = endpoint.address.clone();
        let failed = |error: &dyn std::error::Error| Error::unreachable(&address, error);
        let uri = match &address {
            // Not looked at: a socket has no name of its own.
            Address::Unix(_) => "http://localhost".to_owned(),
            Address::Tcp(_) => address.to_string(),
        };
        let transport = Transport::from_shared(uri)
            .map_err(|error| failed(&error))?
            .connect_timeout(CONNECT)
            .user_agent(concat!("clos-client/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| failed(&error))?
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10));
        let connecting = async {
            match &address {
                Address::Unix(path) => {
                    let path = path.clone();
                    let connector = tower::service_fn(move |_: http::Uri| {
                        let path = path.clone();
                        async move { UnixStream::connect(path).await.map(TokioIo::new) }
                    });
                    transport.connect_with_connector(connector).await
                }
                Address::Tcp(_) => transport.connect().await,
            }
        };
        let channel = tokio::time::timeout(CONNECT, connecting)
            .await
            .map_err(|_| Error::late(CONNECT))?
            .map_err(|error| failed(&error))?;
        let bearer = endpoint.token().and_then(|token| format!("Bearer {token}").parse().ok());
        let wire = InterceptedService::new(channel, Bearer(bearer));
        Ok(Self { wire, address, timeout })
    }

    /// The address that it talks to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The same daemon with another patience for each call.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    pub(crate) fn wire(&self) -> Wire {
        self.wire.clone()
    }

    pub(crate) fn error(&self, status: &Status) -> Error {
        Error::of(status, &self.address)
    }

    /// A request that tells the daemon how long we wait, so that it does not work on for nobody.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    pub(crate) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Error> {
        // A little longer than the daemon was told: its own word for being late says more.
        let limit = self.timeout + Duration::from_secs(1);
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.error(&status)),
            Err(_) => Err(Error::late(self.timeout)),
        }
    }
}

/// Adds the token to every call.
#[derive(Debug, Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// What is known of repeating a call.
pub(crate) struct Attempts {
    left: u32,
    pause: Duration,
}

impl Attempts {
    /// Of a call that changes nothing.
    pub(crate) fn of_a_read() -> Self {
        Self { left: ATTEMPTS - 1, pause: PAUSE }
    }

    /// Of a call that may have happened though its answer got lost.
    pub(crate) fn of_a_change() -> Self {
        Self { left: 0, pause: PAUSE }
    }

    /// Of a stream that is to last.
    pub(crate) fn without_end() -> Self {
        Self { left: u32::MAX, pause: PAUSE }
    }

    /// Returns when it is time to try again.
    ///
    /// # Errors
    /// The same error, where trying again is no use.
    pub(crate) async fn after(&mut self, error: Error) -> Result<(), Error> {
        if self.left == 0 || !error.may_pass() {
            return Err(error);
        }
        self.left -= 1;
        tokio::time::sleep(error.retry_after.unwrap_or(self.pause).min(PAUSE_MAX)).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }
}
