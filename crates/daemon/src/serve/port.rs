//! The TCP port, and who has it when we cannot.

use std::io;
use std::net::SocketAddr;

use clos_domain::port::Protocol;
use clos_domain::seams::Host as _;
use clos_host::Machine;
use tokio::net::TcpListener;

/// How many ports are tried after the usual one.
pub(super) const NEXT_PORTS: u16 = 100;

/// Why there is no TCP listener.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else listens there.
    #[error("server.listen: {address} is held by {holder}; choose another address with --listen")]
    Taken {
        /// The address.
        address: SocketAddr,
        /// Who, as far as known.
        holder: clos_domain::port::Holder,
    },
    /// The system said no.
    #[error("server.listen: {address} cannot be listened on")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Listens on the address; if it `may_move` and the port is taken, on the next free one.
///
/// # Errors
/// An address that is taken, with its holder, or that cannot be used.
pub async fn tcp(address: SocketAddr, may_move: bool) -> Result<TcpListener, Error> {
    let last = if may_move { address.port().saturating_add(NEXT_PORTS) } else { address.port() };
    for port in address.port()..=last {
        let address = SocketAddr::new(address.ip(), port);
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(source) => return Err(Error::Refused { address, source }),
        }
    }
    let holder = Machine.holder(address.port(), Protocol::Tcp).await;
    Err(Error::Taken { address, holder })
}
