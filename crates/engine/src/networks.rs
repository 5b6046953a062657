//! Networks. The engine lets two have one name, so a name is looked up before and
//! after the making.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use async_trait::async_trait;
use bollard::models::{
    EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, Network as ApiNetwork, NetworkConnectRequest,
    NetworkCreateRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::ListNetworksOptions;
use clos_domain::seams::Networks;
use clos_domain::seams::engine::Error;
use clos_domain::workload::{FoundNetwork, Network, Subnet};

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

    async fn replace(&self, network: &Network, containers: &[String]) -> Result<(), Error> {
        let name = name::check("network", &network.name)?;
        let old = self.networks_named(name).await?;
        let hash = |one: &ApiNetwork| one.labels.as_ref().and_then(|all| all.get(labels::SPEC_HASH).cloned());
        let is_made = old.iter().any(|one| hash(one).as_deref() == Some(&network.spec_hash));
        if !is_made {
            for one in &old {
                self.remove_network_by_id(name, one.id.as_deref().unwrap_or_default()).await?;
            }
            if let Err(error) = Networks::create(self, network).await {
                return Err(self.restore(name, old, containers, error).await);
            }
        }
        self.rejoin(name, containers).await
    }

    async fn list(&self) -> Result<Vec<FoundNetwork>, Error> {
        let call = self.client().list_networks(None::<ListNetworksOptions>);
        let listed = within(deadline::READ, "list networks", Effect::Reads, call).await?;
        Ok(listed.into_iter().map(found).collect())
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

impl Docker {
    /// Makes the networks again that had to go for one that could not be made.
    async fn restore(&self, name: &str, old: Vec<ApiNetwork>, containers: &[String], error: Error) -> Error {
        let what = format!("create network `{name}` again");
        for one in old {
            let call = self.client().create_network(as_it_was(one));
            if let Err(fault) = within(deadline::RESOURCE, &what, Effect::Changes, call).await {
                let stuck = Error::from(fault);
                return Error::Failed(format!(
                    "{error}; the earlier network `{name}` could not be made again: {stuck}"
                ));
            }
        }
        match self.rejoin(name, containers).await {
            Ok(()) => error,
            Err(stuck) => {
                Error::Failed(format!("{error}; containers could not be joined to `{name}` again: {stuck}"))
            }
        }
    }

    /// Joins containers that do not run to the network of this name that is there now. The engine has kept how
    /// they were joined to the one before, whose id it would look for when they start.
    async fn rejoin(&self, name: &str, containers: &[String]) -> Result<(), Error> {
        let id = self.networks_named(name).await?.into_iter().find_map(|network| network.id);
        for container in containers {
            let Some(found) = self.inspect_exactly(container).await? else { continue };
            let joined = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
            let Some(endpoint) = joined.get(name) else { continue };
            if endpoint.network_id == id {
                continue;
            }
            let container = found.id.unwrap_or_else(|| container.clone());
            let own_alias: String = container.chars().take(SHORT_ID).collect();
            let what = format!("disconnect `{container}` from `{name}`");
            let request = NetworkDisconnectRequest { container: container.clone(), force: Some(true) };
            let call = self.client().disconnect_network(name, request);
            match within(deadline::RESOURCE, &what, Effect::Changes, call).await {
                // What it says of a network that is gone differs by version; the next call decides.
                Ok(()) | Err(Fault::Answer { .. }) => {}
                Err(fault) => return Err(fault.into()),
            }
            let what = format!("connect `{container}` to `{name}`");
            let endpoint_config = Some(joined_as_before(endpoint, &own_alias));
            let request = NetworkConnectRequest { container, endpoint_config };
            let call = self.client().connect_network(name, request);
            match within(deadline::RESOURCE, &what, Effect::Changes, call).await {
                // A fixed address may not be one of the new network's; its start says so.
                Ok(()) | Err(Fault::Answer { status: 400..=499, .. }) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(())
    }
}

/// So many digits of its id the engine gives a container as an alias.
const SHORT_ID: usize = 12;

fn joined_as_before(endpoint: &EndpointSettings, own_alias: &str) -> EndpointSettings {
    let aliases = endpoint.aliases.clone().unwrap_or_default();
    let aliases: Vec<String> = aliases.into_iter().filter(|alias| alias != own_alias).collect();
    let is_empty = |ipam: &EndpointIpamConfig| *ipam == EndpointIpamConfig::default();
    EndpointSettings {
        ipam_config: endpoint.ipam_config.clone().filter(|ipam| !is_empty(ipam)),
        links: endpoint.links.clone(),
        mac_address: endpoint.mac_address.clone().filter(|address| !address.is_empty()),
        aliases: Some(aliases),
        driver_opts: endpoint.driver_opts.clone(),
        gw_priority: endpoint.gw_priority,
        ..EndpointSettings::default()
    }
}

fn as_it_was(network: ApiNetwork) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: network.name.unwrap_or_default(),
        driver: network.driver,
        internal: network.internal,
        attachable: network.attachable,
        enable_ipv6: network.enable_ipv6,
        options: network.options,
        labels: network.labels,
        ipam: network.ipam,
        ..NetworkCreateRequest::default()
    }
}

fn found(network: ApiNetwork) -> FoundNetwork {
    let all_labels = network.labels.unwrap_or_default();
    let pools = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    FoundNetwork {
        id: network.id.unwrap_or_default(),
        network: Network {
            name: network.name.unwrap_or_default(),
            owner: labels::owner(&all_labels, Resource::Network),
            external: false,
            driver: network.driver,
            driver_opts: network.options.unwrap_or_default().into_iter().collect(),
            internal: network.internal.unwrap_or_default(),
            attachable: network.attachable.unwrap_or_default(),
            enable_ipv6: network.enable_ipv6,
            spec_hash: all_labels.get(labels::SPEC_HASH).cloned().unwrap_or_default(),
            labels: labels::of_the_file(all_labels),
            subnets: pools.into_iter().map(subnet).collect(),
        },
    }
}

fn subnet(pool: IpamConfig) -> Subnet {
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    Subnet {
        subnet: filled(pool.subnet),
        ip_range: filled(pool.ip_range),
        gateway: filled(pool.gateway),
        aux_addresses: pool.auxiliary_addresses.unwrap_or_default().into_iter().collect(),
    }
}

fn request(network: &Network) -> NetworkCreateRequest {
    let mut all_labels: HashMap<String, String> = network.labels.clone().into_iter().collect();
    if let Some(owner) = &network.owner {
        all_labels.extend(labels::of_owner(owner, Resource::Network));
    }
    if !network.spec_hash.is_empty() {
        all_labels.insert(labels::SPEC_HASH.to_owned(), network.spec_hash.clone());
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
