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
    /// An HTTP answer with this status, and whether that is one of those that are well.
    Http {
        /// The status.
        status: u16,
        /// It was expected.
        is_well: bool,
    },
    /// Not well, and why: `connection refused`.
    Ill(String),
    /// The target cannot be reached from this machine at all (no route, unreachable network).
    Unreachable(String),
}

impl Answer {
    /// It is well.
    pub const fn is_well(&self) -> bool {
        matches!(self, Self::Well | Self::Http { is_well: true, .. })
    }

    /// What was said, for people; nothing where a connection was all that was asked for.
    pub fn words(&self) -> String {
        match self {
            Self::Well => String::new(),
            Self::Http { status, .. } => format!("status {status}"),
            Self::Ill(why) | Self::Unreachable(why) => why.clone(),
        }
    }

    /// The status of an HTTP answer.
    pub const fn http_status(&self) -> Option<u16> {
        match self {
            Self::Http { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// Asks once.
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    /// Asks once, and takes no longer than `timeout`.
    async fn ask(&self, target: &Target, timeout: Duration) -> Answer;
}
