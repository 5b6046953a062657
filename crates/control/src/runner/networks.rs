//! Networks: made, and replaced under the containers that are on them.

use clos_domain::plan::Member;
use clos_domain::seams::engine::Error as E;
use clos_domain::workload::Network;
use clos_domain::{Error, Result};

use super::{Inner, StepEnd};
use crate::networks::hashed;
use crate::observer::engine_error;

impl Inner {
    /// Makes a network, and takes "the name is taken" for "already done" when it is our own: a lost
    /// reply, or another operation that needs it too and was quicker.
    pub(super) async fn make_network(&self, network: &Network) -> StepEnd {
        let _turn = self.networks.acquire().await.map_err(Error::internal)?;
        let network = hashed(network)?;
        let error = match self.call_raw(|| self.world.engine.networks.create(&network)).await {
            Ok(()) => return Ok(String::new()),
            Err(error @ E::NameTaken(_)) => error,
            Err(error) => return Err(engine_error(error)),
        };
        let known = self.world.engine.networks.list().await.map_err(engine_error)?;
        let is_ours = known
            .into_iter()
            .any(|found| found.network.name == network.name && found.network.owner == network.owner);
        if is_ours { Ok("was there already".into()) } else { Err(engine_error(error)) }
    }

    /// Replaces a network whose members have been stopped. When it cannot be done, what ran on it runs again.
    pub(super) async fn replace_network(&self, network: &Network, members: &[Member]) -> StepEnd {
        let _turn = self.networks.acquire().await.map_err(Error::internal)?;
        let network = hashed(network)?;
        let names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
        let replaced = self.call_raw(|| self.world.engine.networks.replace(&network, &names)).await;
        let Err(error) = replaced else { return Ok(String::new()) };
        let error = engine_error(error);
        let mut stuck = Vec::new();
        for member in members.iter().filter(|member| member.ran) {
            let again = self.call_raw(|| self.world.engine.workloads.start(&member.name)).await;
            stuck.extend(again.err().map(|why| format!("`{}`: {why}", member.name)));
        }
        let message = format!("network `{}` cannot be replaced: {}", network.name, error.message());
        let message = if stuck.is_empty() {
            message
        } else {
            format!("{message}; could not be started again: {}", stuck.join(", "))
        };
        Err(Error::new(error.reason(), message)) as Result<String>
    }
}
