//! Host ports for services: from the `ports` table, tried by a bind before anything is created.

use std::collections::BTreeSet;

use clos_domain::error::PortConflict;
use clos_domain::event::{Data, Draft, Severity, types};
use clos_domain::group::Group;
use clos_domain::name::GroupRef;
use clos_domain::port::{self, Assignment, Binding, Clash, Holder, Lease, Protocol, Range};
use clos_domain::seams::Tx;
use clos_domain::seams::host::BindTest;
use clos_domain::service::Service;
use clos_domain::{Error, Reason, Result, Timestamp};

use crate::World;
use crate::observer::engine_error;

/// Ports of ours that a bind finds taken by strangers are passed over so often.
const ROUNDS: usize = 200;

/// What the table and the engine say about ports, before anything is decided.
pub(crate) struct Table {
    pub(crate) leases: Vec<Lease>,
    pub(crate) ranges: Vec<Range>,
}

impl Table {
    pub(crate) async fn read(tx: &mut dyn Tx) -> Result<Self> {
        let leases = tx.ports().leases().await?;
        let ranges = tx.config().port_ranges().await?;
        Ok(Self { leases, ranges })
    }
}

/// Decides and tries the ports of a group's services. Nothing is written.
///
/// # Errors
/// `PORT_CONFLICT` with every clash and what is known of its holder; `PORT_RANGE_FULL`.
pub(crate) async fn decide(
    world: &World,
    table: &Table,
    group: &Group,
    services: &[&Service],
) -> Result<Vec<Assignment>> {
    let owners: Vec<_> = services.iter().map(|service| service.resource()).collect();
    let requests: Vec<port::Request<'_>> = services
        .iter()
        .zip(&owners)
        .filter(|(service, _)| !service.definition.ports.is_empty())
        .map(|(service, owner)| port::Request {
            service: &service.id,
            owner,
            wishes: &service.definition.ports,
        })
        .collect();
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let range = port::range_for(&table.ranges, group.name.name.as_str(), group.definition.project.as_deref());
    let mut refused: BTreeSet<(u16, Protocol)> = BTreeSet::new();
    for _ in 0..ROUNDS {
        let assigned = match port::assign(&group.name, &requests, &table.leases, range, &refused)? {
            Ok(assigned) => assigned,
            Err(clashes) => return Err(conflict(world, clashes).await),
        };
        let taken = try_all(world, &assigned, services).await?;
        if taken.is_empty() {
            return Ok(assigned);
        }
        refused.extend(taken);
    }
    Err(Error::new(
        Reason::PortRangeFull,
        format!("{ROUNDS} ports in a row of the range of `{}` are held by others", group.name),
    ))
}

/// Binds each port that the service's own running container does not hold already.
async fn try_all(
    world: &World,
    assigned: &[Assignment],
    services: &[&Service],
) -> Result<Vec<(u16, Protocol)>> {
    let mut taken = Vec::new();
    for one in assigned {
        let binding = &one.binding;
        let service = services.iter().find(|service| service.id == one.service);
        let is_held_by_itself = service.is_some_and(|service| {
            let same =
                |held: &Binding| held.host_port == binding.host_port && held.protocol == binding.protocol;
            service.observed.is_running() && service.ports.iter().any(same)
        });
        if is_held_by_itself {
            continue;
        }
        match world.host.bind_test(&binding.host_ip, binding.host_port, binding.protocol).await {
            BindTest::Free => {}
            BindTest::Taken => taken.push((binding.host_port, binding.protocol)),
            BindTest::Refused(why) => {
                return Err(Error::field(
                    "ports",
                    format!(
                        "{}:{} of `{}` cannot be bound: {why}",
                        binding.host_ip, binding.host_port, one.owner
                    ),
                ));
            }
        }
    }
    Ok(taken)
}

/// Names who holds each port, as far as the table, the engine and the machine tell.
async fn conflict(world: &World, clashes: Vec<Clash>) -> Error {
    let mut conflicts = Vec::with_capacity(clashes.len());
    for clash in clashes {
        let holder = match clash.holder {
            Holder::Unknown => holder(world, clash.binding.host_port, clash.binding.protocol).await,
            known => known,
        };
        conflicts.push(PortConflict {
            port: clash.binding.host_port,
            protocol: clash.binding.protocol,
            host_ip: clash.binding.host_ip,
            wanted_by: clash.owner.to_string(),
            holder,
        });
    }
    let lines: Vec<String> = conflicts
        .iter()
        .map(|one| format!("port {} wanted by `{}` is held by {}", one.port, one.wanted_by, one.holder))
        .collect();
    let mut error = Error::new(Reason::PortConflict, lines.join("; "));
    if let Some(first) = conflicts.first() {
        error =
            error.with("port", first.port).with("holder", &first.holder).with("wanted_by", &first.wanted_by);
    }
    error.with_conflicts(conflicts)
}

/// A container that publishes the port, else the process that listens.
async fn holder(world: &World, port: u16, protocol: Protocol) -> Holder {
    let containers = world.engine.workloads.list().await.map_err(engine_error);
    let publishes = |found: &clos_domain::workload::Found| {
        found.ports.iter().any(|held| held.host_port == port && held.protocol == protocol)
    };
    if let Some(found) = containers.ok().and_then(|all| all.into_iter().find(publishes)) {
        return match found.identity {
            Some(identity) => Holder::Service { name: identity.service.to_string(), running: true },
            None => Holder::Container { name: found.name },
        };
    }
    world.host.holder(port, protocol).await
}

/// Writes what was decided, with its events; a stopped service that loses its lease is named.
pub(crate) async fn write(
    tx: &mut dyn Tx,
    assigned: &[Assignment],
    services: &mut [Service],
    now: Timestamp,
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for one in assigned {
        let Some(loser) = &one.taken_from else { continue };
        let row = tx.services().find(&loser.group, &loser.name).await?;
        if let Some(row) = row {
            tx.ports().release(&row.id, one.binding.host_port, one.binding.protocol).await?;
            tx.journal().append(told(types::PORT_RELEASED, &row, one.binding.host_port, now));
            notes.push(format!(
                "port {} moves from `{loser}`, which does not run, to `{}`",
                one.binding.host_port, one.owner
            ));
        }
    }
    for service in services.iter_mut() {
        let bindings: Vec<Binding> =
            assigned.iter().filter(|one| one.service == service.id).map(|one| one.binding.clone()).collect();
        if bindings == service.ports {
            continue;
        }
        for gone in service.ports.iter().filter(|old| !bindings.contains(old)) {
            tx.journal().append(told(types::PORT_RELEASED, service, gone.host_port, now));
        }
        for new in bindings.iter().filter(|new| !service.ports.contains(new)) {
            tx.journal().append(told(types::PORT_ALLOCATED, service, new.host_port, now));
        }
        tx.ports().replace(&service.id, &bindings, now).await?;
        service.ports = bindings;
    }
    Ok(notes)
}

fn told(kind: &'static str, service: &Service, port: u16, now: Timestamp) -> Draft {
    let mut event = Draft::new(kind, now);
    event.service = Some(service.id.clone());
    event.group = Some(service.group.clone());
    event.data = Data {
        port: Some(u32::from(port)),
        service_name: Some(service.definition.name.to_string()),
        ..Data::default()
    };
    event
}

/// The event of a port that could not be had.
pub(crate) fn conflict_events(error: &Error, group: &GroupRef, now: Timestamp) -> Vec<Draft> {
    let told = error.conflicts().iter().map(|conflict| {
        let mut event = Draft::new(types::PORT_CONFLICT_DETECTED, now);
        event.severity = Severity::Warning;
        event.group = Some(group.clone());
        event.data.port = Some(u32::from(conflict.port));
        event.data.holder = Some(conflict.holder.to_string());
        event.data.service_name = Some(conflict.wanted_by.clone());
        event
    });
    told.collect()
}
