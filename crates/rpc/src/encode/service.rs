//! A service: its definition and its state.

use clos_domain::service::{Condition, Dependency, Desired, Service, Status};
use clos_domain::workload::Limits;
use clos_proto::v2 as pb;

use super::{container, count, duration, health, instance, masked, port, reason, text, timestamp};

/// The whole service.
pub(crate) fn service(service: &Service) -> pb::Service {
    let defined =
        defined(service, port::ports(service), health::check(service), text(service.container_id.as_ref()));
    pb::Service {
        id: service.id.to_string(),
        resource_name: service.resource().to_string(),
        status: status(service.status).into(),
        status_reason: reason(service.status_reason),
        status_detail: service.status_detail.clone(),
        desired_state: desired(service.desired).into(),
        exit_code: service.observed.exit_code(),
        observed_at: service.observed_at.map(timestamp),
        started_at: service.started_at.map(timestamp),
        stopped_at: service.stopped_at.map(timestamp),
        created_at: Some(timestamp(service.created_at)),
        updated_at: Some(timestamp(service.updated_at)),
        etag: clos_control::etag::service(service),
        enabled: service.definition.enabled,
        ..defined
    }
}

/// What a service is, without its state: what a manifest shows.
pub(crate) fn definition(service: &Service) -> pb::Service {
    let health_check = health::check(service).map(|check| pb::HealthCheck { status: None, ..check });
    defined(service, port::wishes(&service.definition.ports), health_check, String::new())
}

/// What a service is; where its state shows in that, it is said by the caller.
fn defined(
    service: &Service,
    ports: Vec<pb::ServicePort>,
    health_check: Option<pb::HealthCheck>,
    container_id: String,
) -> pb::Service {
    let definition = &service.definition;
    let docker_config = pb::DockerConfig { container_id, ..container::docker_config(definition) };
    let environment =
        definition.environment.iter().map(|(name, value)| (name.clone(), masked(name, value))).collect();
    pb::Service {
        name: definition.name.to_string(),
        group: service.group.name.to_string(),
        instance: instance(&service.group),
        port: port::short(&ports),
        ports,
        health_url: health::url(health_check.as_ref()),
        health_check,
        environment,
        tags: definition.tags.clone(),
        depends_on: definition.depends_on.iter().map(dependency).collect(),
        resources: resources(&definition.limits),
        docker_config: Some(docker_config),
        start_order: definition.start_order,
        profiles: definition.profiles.clone(),
        stop_grace_period: definition.stop.grace.map(duration),
        stop_signal: text(definition.stop.signal.as_ref()),
        description: definition.description.clone(),
        owner: definition.owner.clone(),
        version: definition.version.clone(),
        ..pb::Service::default()
    }
}

fn dependency(need: &Dependency) -> pb::Dependency {
    pb::Dependency {
        service: need.service.to_string(),
        condition: condition(need.condition).into(),
        required: Some(need.required),
        restart: need.restart,
    }
}

pub(crate) fn condition(condition: Condition) -> pb::DependencyCondition {
    match condition {
        Condition::Started => pb::DependencyCondition::Started,
        Condition::Healthy => pb::DependencyCondition::Healthy,
        Condition::Completed => pb::DependencyCondition::Completed,
    }
}

/// What it may use; nothing said is absent.
pub(crate) fn resources(limits: &Limits) -> Option<pb::Resources> {
    if *limits == Limits::default() {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "no machine has so many cores")]
    let cores = |millis: u64| millis as f64 / 1_000.0;
    Some(pb::Resources {
        cpu_limit: limits.cpu_millis.map(cores),
        memory_limit: limits.memory.map(count),
        memory_reservation: limits.memory_reservation.map(count),
        memory_swap: limits.memory_swap,
        pids_limit: limits.pids,
        cpuset: text(limits.cpuset.as_ref()),
        cpu_shares: limits.cpu_shares,
    })
}

pub(crate) fn status(status: Status) -> pb::ServiceStatus {
    match status {
        Status::Running => pb::ServiceStatus::Running,
        Status::Stopped => pb::ServiceStatus::Stopped,
        Status::Failed => pb::ServiceStatus::Failed,
        Status::Starting => pb::ServiceStatus::Starting,
        Status::Stopping => pb::ServiceStatus::Stopping,
        Status::Unhealthy => pb::ServiceStatus::Unhealthy,
    }
}

fn desired(desired: Desired) -> pb::DesiredState {
    match desired {
        Desired::Running => pb::DesiredState::Running,
        Desired::Stopped => pb::DesiredState::Stopped,
        Desired::Absent => pb::DesiredState::Absent,
    }
}
