//! Networks. The engine lets two have one name, so a name is looked up before and
//! after the making.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use async_trait::async_trait;
use bollard::models::{Ipam, IpamConfig, Network as ApiNetwork, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptions;
use clos_domain::seams::Networks;
use clos_domain::seams::engine::Error;
use clos_domain::workload::{Network, Owner, Subnet};

use crate::call::{Effect, Fault, within};
use crate::docker::Docker;
use crate::labels::{self, Resource};
use crate::{deadline, name};

#[async_trait]
impl Networks for Docker {
    async fn create(&self, network: &Network) -> Result<(), Error> {
        let name = name::check("network", &network.name)?;
        if !self.networks_named(name).await?.is_empty() {
            return Err(Error::NameTaken(name.to_owned()));
        }
        let what = format!("create network `{name}`");
        let call = self.client().create_network(request(network));
        let id = match within(deadline::RESOURCE, &what, Effect::Changes, call).await {
            Ok(created) => created.id,
            Err(Fault::Answer { status: 409, .. }) => return Err(Error::NameTaken(name.to_owned())),
            Err(fault) => return Err(fault.into()),
        };
        self.keep_the_first(name, &id).await
    }

    async fn remove(&self, name: &str) -> Result<(), Error> {
        let name = name::check("network", name)?;
        for network in self.networks_named(name).await? {
            let id = network.id.unwrap_or_default();
            self.remove_network_by_id(name, &id).await?;
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(String, Option<Owner>)>, Error> {
        let call = self.client().list_networks(None::<ListNetworksOptions>);
        let listed = within(deadline::READ, "list networks", Effect::Reads, call).await?;
        Ok(listed
            .into_iter()
            .map(|network| {
                let owner = labels::owner(&network.labels.unwrap_or_default(), Resource::Network);
                (network.name.unwrap_or_default(), owner)
            })
            .collect())
    }

    async fn gateway(&self, name: &str) -> Result<Option<Ipv4Addr>, Error> {
        let named = self.networks_named(name::check("network", name)?).await?;
        let pools = named.into_iter().filter_map(|network| network.ipam?.config).flatten();
        Ok(pools.into_iter().find_map(|pool| gateway_of(&pool)))
    }
}

/// Some engines do not tell the gateway of their own bridge; it is the first address of the subnet.
fn gateway_of(pool: &IpamConfig) -> Option<Ipv4Addr> {
    let told = pool.gateway.as_deref().and_then(|gateway| gateway.split('/').next()?.parse().ok());
    told.or_else(|| {
        let (network, _) = pool.subnet.as_deref()?.split_once('/')?;
        let network: Ipv4Addr = network.parse().ok()?;
        Some(Ipv4Addr::from(u32::from(network).checked_add(1)?))
    })
}

impl Docker {
    /// Exactly of this name: the engine's filter takes any part of one.
    async fn networks_named(&self, name: &str) -> Result<Vec<ApiNetwork>, Error> {
        let filters = HashMap::from([("name".to_owned(), vec![name.to_owned()])]);
        let call = self.client().list_networks(Some(ListNetworksOptions { filters: Some(filters) }));
        let what = format!("look up network `{name}`");
        let listed = within(deadline::READ, &what, Effect::Reads, call).await?;
        Ok(listed.into_iter().filter(|network| network.name.as_deref() == Some(name)).collect())
    }

    /// Of two that were made at the same moment everybody keeps the older one.
    async fn keep_the_first(&self, name: &str, id: &str) -> Result<(), Error> {
        let mut named = self.networks_named(name).await?;
        named.sort_by_key(|network| (network.created, network.id.clone()));
        let Some(first) = named.first().and_then(|network| network.id.as_deref()) else { return Ok(()) };
        if first == id {
            return Ok(());
        }
        self.remove_network_by_id(name, id).await?;
        Err(Error::NameTaken(name.to_owned()))
    }

    async fn remove_network_by_id(&self, name: &str, id: &str) -> Result<(), Error> {
        let what = format!("remove network `{name}`");
        match within(deadline::RESOURCE, &what, Effect::Changes, self.client().remove_network(id)).await {
            Ok(()) | Err(Fault::Answer { status: 404, .. }) => Ok(()),
            Err(Fault::Answer { message, .. }) if message.contains("has active endpoints") => {
                Err(Error::InUse(name.to_owned()))
            }
            Err(fault) => Err(fault.into()),
        }
    }
}

fn request(network: &Network) -> NetworkCreateRequest {
    let mut all_labels: HashMap<String, String> = network.labels.clone().into_iter().collect();
    if let Some(owner) = &network.owner {
        all_labels.extend(labels::of_owner(owner, Resource::Network));
    }
    let pools: Vec<IpamConfig> = network.subnets.iter().map(pool).collect();
    NetworkCreateRequest {
        name: network.name.clone(),
        driver: network.driver.clone(),
        internal: Some(network.internal),
        attachable: Some(network.attachable),
        enable_ipv6: network.enable_ipv6,
        options: (!network.driver_opts.is_empty()).then(|| network.driver_opts.clone().into_iter().collect()),
        labels: Some(all_labels),
        ipam: (!pools.is_empty()).then_some(Ipam { driver: None, config: Some(pools), options: None }),
        ..NetworkCreateRequest::default()
    }
}

fn pool(subnet: &Subnet) -> IpamConfig {
    let addresses = &subnet.aux_addresses;
    IpamConfig {
        subnet: subnet.subnet.clone(),
        ip_range: subnet.ip_range.clone(),
        gateway: subnet.gateway.clone(),
        auxiliary_addresses: (!addresses.is_empty()).then(|| addresses.clone().into_iter().collect()),
    }
}
