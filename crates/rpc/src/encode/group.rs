//! Groups, their graphs and manifests.

use clos_control::groups::{GraphView, GroupView};
use clos_domain::graph::Graph;
use clos_domain::group::{Group, Status};
use clos_domain::service::Service;
use clos_domain::spec::DEFAULT_NETWORK;
use clos_domain::workload::{Network, Subnet, Volume};
use clos_proto::v2 as pb;

use super::{instance, number, options, service, small, text, timestamp};

/// A group with what follows from its services.
pub(crate) fn group(view: &GroupView) -> pb::Group {
    let group = &view.group;
    let up = view.services.iter().filter(|service| service.definition.enabled && service.counts_as_running());
    pb::Group {
        id: group.id.to_string(),
        services: in_start_order(&view.services)
            .into_iter()
            .map(|one| one.definition.name.to_string())
            .collect(),
        network_name: group.network_name(DEFAULT_NETWORK),
        status: status(view.status).into(),
        health_score: view.health_score,
        total_services: small(view.services.len()),
        running_services: small(up.count()),
        operation_id: view.open.as_ref().map(ToString::to_string).unwrap_or_default(),
        created_at: Some(timestamp(group.created_at)),
        updated_at: Some(timestamp(group.updated_at)),
        etag: clos_control::etag::group(group),
        resource_name: group.name.to_string(),
        ..definition(group)
    }
}

/// What a group is, without its state: what a manifest shows.
pub(crate) fn definition(group: &Group) -> pb::Group {
    let definition = &group.definition;
    pb::Group {
        name: group.name.name.to_string(),
        instance: instance(&group.name),
        description: definition.description.clone(),
        dependencies: definition.depends_on.iter().map(ToString::to_string).collect(),
        start_order: definition.start_order,
        compose_file: definition.compose_files.first().cloned().unwrap_or_default(),
        compose_files: definition.compose_files.clone(),
        working_dir: definition.working_dir.clone(),
        auto_restart: definition.auto_restart,
        profiles: definition.profiles.clone(),
        project: text(definition.project.as_ref()),
        networks: definition.networks.iter().map(|(key, one)| network(key, one)).collect(),
        volumes: definition.volumes.iter().map(|(key, one)| volume(key, one)).collect(),
        ..pb::Group::default()
    }
}

/// The definitions of a group and its services.
pub(crate) fn manifest(view: &GroupView) -> pb::GroupManifest {
    pb::GroupManifest {
        group: Some(definition(&view.group)),
        services: in_start_order(&view.services).into_iter().map(service::definition).collect(),
    }
}

/// An order in which they could start; as they are, where there is none.
fn in_start_order(services: &[Service]) -> Vec<&Service> {
    let edges = services.iter().flat_map(|one| {
        one.definition.depends_on.iter().map(|need| (one.definition.name.clone(), need.service.clone()))
    });
    let names = services.iter().map(|one| one.definition.name.clone());
    let Ok(graph) = Graph::new(names, edges) else { return services.iter().collect() };
    let by_name =
        |name: &clos_domain::name::ServiceName| services.iter().find(|one| one.definition.name == *name);
    graph.waves().into_iter().flatten().filter_map(by_name).collect()
}

fn network(key: &str, network: &Network) -> pb::GroupNetwork {
    pb::GroupNetwork {
        key: key.to_owned(),
        name: network.name.clone(),
        external: network.external,
        driver: text(network.driver.as_ref()),
        driver_opts: options(&network.driver_opts),
        internal: network.internal,
        attachable: network.attachable,
        enable_ipv6: network.enable_ipv6,
        labels: network.labels.clone(),
        subnets: network.subnets.iter().map(subnet).collect(),
    }
}

fn subnet(subnet: &Subnet) -> pb::Subnet {
    pb::Subnet {
        subnet: text(subnet.subnet.as_ref()),
        ip_range: text(subnet.ip_range.as_ref()),
        gateway: text(subnet.gateway.as_ref()),
        aux_addresses: subnet.aux_addresses.clone(),
    }
}

fn volume(key: &str, volume: &Volume) -> pb::GroupVolume {
    pb::GroupVolume {
        key: key.to_owned(),
        name: volume.name.clone(),
        external: volume.external,
        driver: text(volume.driver.as_ref()),
        driver_opts: options(&volume.driver_opts),
        labels: volume.labels.clone(),
    }
}

/// Who needs whom, and what starts together.
pub(crate) fn graph(view: &GraphView) -> pb::GroupGraph {
    let node = |(one, wave): &(Service, u32)| pb::GraphNode {
        resource_name: one.resource().to_string(),
        service_id: one.id.to_string(),
        service: one.resource().to_string(),
        group_name: one.group.name.to_string(),
        instance: instance(&one.group),
        status: service::status(one.status).into(),
        wave: number(*wave),
    };
    let edges = view.edges.iter().map(|(from, to, condition, required)| pb::GraphEdge {
        from: from.to_string(),
        to: to.to_string(),
        condition: service::condition(*condition).into(),
        required: *required,
    });
    let waves = view
        .waves
        .iter()
        .map(|wave| pb::GraphWave { services: wave.iter().map(ToString::to_string).collect() });
    pb::GroupGraph {
        group_name: view.group.name.to_string(),
        instance: instance(&view.group),
        nodes: view.nodes.iter().map(node).collect(),
        edges: edges.collect(),
        waves: waves.collect(),
    }
}

fn status(status: Status) -> pb::GroupStatus {
    match status {
        Status::Running => pb::GroupStatus::Running,
        Status::Stopped => pb::GroupStatus::Stopped,
        Status::Partial => pb::GroupStatus::Partial,
        Status::Starting => pb::GroupStatus::Starting,
        Status::Stopping => pb::GroupStatus::Stopping,
    }
}
