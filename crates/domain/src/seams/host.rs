//! The machine: may a port be bound, who holds it, does something answer.

use std::time::Duration;

use async_trait::async_trait;

use crate::port::{Holder, Protocol};

/// What a bind said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindTest {
    /// It can be bound.
    Free,
    /// It is taken.
    Taken,
    /// The address is not one of this machine, or may not be bound by us.
    Refused(String),
}

/// Sees the machine.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// Binds and lets go. Wildcard and loopback collide, so an address that is
    /// free beside a taken wildcard counts as taken.
    async fn bind_test(&self, host_ip: &str, port: u16, protocol: Protocol) -> BindTest;

    /// Who listens there, as far as this machine tells.
    async fn holder(&self, port: u16, protocol: Protocol) -> Holder;
}

/// Where a probe goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// GET this URL; the status must be one of `expected` (empty: 200-399).
    Http {
        /// Complete URL, `http` only.
        url: String,
        /// Statuses that are well.
        expected: Vec<u16>,
    },
    /// Connect; a connection that is closed at once counts as failed.
    Tcp {
        /// Host or address.
        host: String,
        /// Port.
        port: u16,
    },
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Well.
    Well,
    /// Not well, and why: `status 503`, `connection refused`.
    Ill(String),
    /// The target cannot be reached from this machine at all (no route, unreachable network).
    Unreachable(String),
}

/// Asks once.
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    /// Asks once, and takes no longer than `timeout`.
    async fn ask(&self, target: &Target, timeout: Duration) -> Answer;
}
