//! The machine behind the seam `Host`.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use clos_domain::port::{Holder, Protocol};
use clos_domain::seams::Host;
use clos_domain::seams::host::BindTest;

use crate::resources::{self, Resources};
use crate::{bind, blocking, holder};

/// How long measuring may take; a dead network file system never answers.
const MEASURE_PATIENCE: Duration = Duration::from_secs(2);

/// The machine that this process runs on, in its network namespace.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine;

impl Machine {
    /// Processors, memory, load, and the disk that holds `folder`. What cannot
    /// be measured is absent.
    pub async fn resources(&self, folder: &Path) -> Resources {
        let folder = folder.to_owned();
        blocking::within(MEASURE_PATIENCE, move || resources::measure(&folder)).await.unwrap_or_default()
    }

    /// The address and port of the container behind the `docker-proxy` of this pid;
    /// `None` when it is not one, or cannot be seen.
    pub async fn docker_proxy_target(&self, pid: u32) -> Option<(IpAddr, u16)> {
        blocking::within(holder::PATIENCE, move || holder::proxy_target(pid)).await.flatten()
    }
}

#[async_trait]
impl Host for Machine {
    async fn bind_test(&self, host_ip: &str, port: u16, protocol: Protocol) -> BindTest {
        // Socket, bind and close are three calls that never wait.
        bind::test(host_ip, port, protocol)
    }

    async fn holder(&self, port: u16, protocol: Protocol) -> Holder {
        // The search looks at its own deadline; the second one is for a `/proc` that hangs.
        let deadline = Instant::now() + holder::PATIENCE;
        let search = move || holder::find(port, protocol, deadline);
        blocking::within(holder::PATIENCE * 2, search).await.unwrap_or(Holder::Unknown)
    }
}

/// The uid that this process acts as.
pub fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}
