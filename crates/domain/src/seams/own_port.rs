//! The daemon's own port, which is in nobody's way unless its configuration names it.

use std::net::SocketAddr;

use async_trait::async_trait;

use crate::port::Binding;

/// The port that the daemon itself listens on.
#[async_trait]
pub trait OwnPort: Send + Sync + 'static {
    /// Whether the daemon holds what is wanted, and may go elsewhere.
    fn gives_way(&self, wanted: &Binding) -> bool;

    /// Listens on the next free port that is not one of `wanted`, and tells clients where. The old
    /// port is still open.
    async fn move_on(&self, wanted: &[u16]) -> Result<SocketAddr, std::io::Error>;

    /// Closes the old port; connections that came in by it go on.
    async fn leave(&self);
}
