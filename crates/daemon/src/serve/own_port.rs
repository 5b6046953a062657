//! The TCP port of `closd` itself: taken by default, it gives way to the ports of services.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use clos_domain::port::{Binding, Protocol};
use clos_domain::seams::OwnPort;
use clos_gateway::Answers;
use clos_gateway::door::Names;
use clos_gateway::listen::{Limits, Listener};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::port::NEXT_PORTS;
use crate::state::{Announced, Endpoint};

/// Listeners that are served, each until the drain.
pub type Serving = Arc<Mutex<JoinSet<bool>>>;

/// What every listener of this daemon is served with.
#[derive(Debug, Clone)]
pub struct Means<S> {
    /// What answers.
    pub service: S,
    /// How much is let in.
    pub limits: Limits,
    /// Ends everything.
    pub drain: CancellationToken,
    /// The listeners that are served.
    pub serving: Serving,
    /// More names under which callers may ask.
    pub hosts: Vec<String>,
    /// More origins whose pages may write.
    pub origins: Vec<String>,
}

impl<S: Answers> Means<S> {
    /// Serves a listener until the drain, new connections until `closing`.
    pub fn serve(&self, listener: Listener, closing: CancellationToken) {
        let served = listener.serve_until(closing, self.service.clone(), self.limits, self.drain.clone());
        lock(&self.serving).spawn(served);
    }

    /// Serves a port under its own names.
    fn serve_tcp(&self, listener: TcpListener) -> io::Result<Here> {
        let address = listener.local_addr()?;
        let names = Names::new(address, &self.hosts, &self.origins).map_err(io::Error::other)?;
        let names = names.with_error_domain(clos_rpc::ERROR_DOMAIN);
        let closing = CancellationToken::new();
        self.serve(Listener::Tcp(listener, Arc::new(names)), closing.clone());
        Ok(Here { address, closing })
    }
}

/// A port that is open.
#[derive(Debug)]
struct Here {
    address: SocketAddr,
    closing: CancellationToken,
}

/// The port and where it is told.
pub struct Port<S> {
    means: Means<S>,
    may_move: bool,
    here: Mutex<Here>,
    before: Mutex<Option<Here>>,
    endpoint: Mutex<Endpoint>,
    announced: Arc<Announced>,
}

impl<S: Answers + Sync> Port<S> {
    /// Serves the listener; with `may_move` the port gives way.
    ///
    /// # Errors
    /// A listener without an address.
    pub fn serve(
        means: Means<S>,
        listener: TcpListener,
        may_move: bool,
        endpoint: Endpoint,
        announced: Arc<Announced>,
    ) -> io::Result<Self> {
        let here = means.serve_tcp(listener)?;
        Ok(Self {
            means,
            may_move,
            here: Mutex::new(here),
            before: Mutex::new(None),
            endpoint: Mutex::new(endpoint),
            announced,
        })
    }
}

#[async_trait]
impl<S: Answers + Sync> OwnPort for Port<S> {
    fn gives_way(&self, wanted: &Binding) -> bool {
        let address = lock(&self.here).address;
        let own = Binding {
            container_port: 0,
            host_port: address.port(),
            host_ip: address.ip().to_string(),
            protocol: Protocol::Tcp,
        };
        self.may_move && own.collides(wanted)
    }

    async fn move_on(&self, wanted: &[u16]) -> io::Result<SocketAddr> {
        let old = lock(&self.here).address;
        let next = old.port().saturating_add(1)..=old.port().saturating_add(NEXT_PORTS);
        for port in next.filter(|port| !wanted.contains(port)) {
            let address = SocketAddr::new(old.ip(), port);
            let listener = match TcpListener::bind(address).await {
                Ok(listener) => listener,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => continue,
                Err(error) => return Err(error),
            };
            let here = self.means.serve_tcp(listener)?;
            let told = {
                let mut endpoint = lock(&self.endpoint);
                endpoint.tcp = Some(here.address);
                endpoint.clone()
            };
            if let Err(error) = self.announced.again(&told) {
                here.closing.cancel();
                return Err(io::Error::other(error));
            }
            tracing::info!(%old, new = %here.address, "closd moves to another port; a service wants the old one");
            let before = std::mem::replace(&mut *lock(&self.here), here);
            lock(&self.before).replace(before);
            return Ok(address);
        }
        Err(io::Error::from(io::ErrorKind::AddrInUse))
    }

    async fn leave(&self) {
        let Some(before) = lock(&self.before).take() else { return };
        before.closing.cancel();
        // The listener is dropped by its own task; the port is free when nobody answers there any more.
        for _ in 0..LOOKS {
            if TcpListener::bind(before.address).await.is_ok() {
                return;
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}

/// How often the old port is looked at, and how long between two looks.
const LOOKS: u32 = 100;
const LOOK_PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
