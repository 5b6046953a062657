//! Host ports for services: from the `ports` table, tried by a bind before anything is created.

use std::collections::BTreeSet;
use std::time::Duration;

use clos_domain::error::PortConflict;
use clos_domain::event::{Data, Draft, Severity, types};
use clos_domain::group::Group;
use clos_domain::id::ServiceId;
use clos_domain::name::GroupRef;
use clos_domain::port::{self, Assignment, Binding, Claim, Clash, Holder, Lease, Protocol, Range};
use clos_domain::problem::Problem;
use clos_domain::seams::host::BindTest;
use clos_domain::seams::{OwnPort, Tx};
use clos_domain::service::Service;
use clos_domain::workload::Found;
use clos_domain::{Error, Reason, Result, Timestamp};

use crate::observer::engine_error;
use crate::{Shared, World};

/// Ports of ours that a bind finds taken by strangers are passed over so often.
const ROUNDS: usize = 200;
/// The engine's own network, whose gateway `host.docker.internal` means.
const BRIDGE: &str = "bridge";
/// How long the daemon's new port is announced before the old one is closed.
const ANNOUNCED: Duration = Duration::from_millis(300);

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

    /// What was decided for one group holds for the next.
    pub(crate) fn add(&mut self, assigned: &[Assignment]) {
        self.leases.retain(|lease| assigned.iter().all(|one| one.service != lease.service));
        let leases = assigned.iter().flat_map(|one| {
            one.port.bindings().map(|binding| Lease {
                service: one.service.clone(),
                owner: one.owner.clone(),
                binding,
                firm: true,
            })
        });
        self.leases.extend(leases);
    }
}

/// A group whose ports are to be decided, and what its plan does about the containers that there are.
pub(crate) struct Asked<'a> {
    pub(crate) group: &'a Group,
    pub(crate) services: &'a [Service],
    /// Services that the same plan removes.
    pub(crate) leaving: BTreeSet<ServiceId>,
    /// Resource names of services that the files no longer have.
    pub(crate) orphans: Vec<String>,
    /// Containers of its services that are not as the rows say are replaced.
    pub(crate) replaces: bool,
    /// The daemon's own port.
    pub(crate) own: Option<&'a dyn OwnPort>,
}

impl Asked<'_> {
    /// A port that an orphan holds is free once the orphan is removed.
    pub(crate) fn way_out(&self, mut problem: Problem) -> Problem {
        if let Some(Holder::Service { name, .. }) = problem.conflict.as_ref().map(|one| &one.holder)
            && self.orphans.contains(name)
        {
            problem.hint =
                format!("use --remove-orphans: `{name}` is no longer in the files, and is removed first");
        }
        problem
    }
}

/// What was decided, and what is worth knowing about it.
#[derive(Default)]
pub(crate) struct Decided {
    pub(crate) assigned: Vec<Assignment>,
    pub(crate) notes: Vec<String>,
    /// The daemon's own port is wanted, and it goes elsewhere first.
    pub(crate) daemon_moves: bool,
}

/// Decides and tries the ports of a group's services. Nothing is written.
///
/// # Errors
/// `PORT_CONFLICT` with every clash and what is known of its holder; `PORT_RANGE_FULL`.
pub(crate) async fn decide(world: &World, table: &Table, asked: &Asked<'_>) -> Result<Decided> {
    let owners: Vec<_> = asked.services.iter().map(Service::resource).collect();
    let requests: Vec<port::Request<'_>> = asked
        .services
        .iter()
        .zip(&owners)
        .map(|(service, owner)| port::Request {
            service: &service.id,
            owner,
            wishes: &service.definition.ports,
        })
        .collect();
    if requests.iter().all(|one| one.wishes.is_empty()) {
        return Ok(Decided::default());
    }
    let has_no_address = requests.iter().flat_map(|one| one.wishes).any(|wish| wish.host_ip.is_none());
    let local = if has_no_address { local(world).await? } else { Local::default() };
    let group = asked.group;
    let range = port::range_for(&table.ranges, group.name.name.as_str(), group.definition.project.as_deref());
    let mut refused: BTreeSet<Claim> = BTreeSet::new();
    let mut trial = Trial { world, asked, containers: None };
    for _ in 0..ROUNDS {
        let terms = port::Terms {
            leases: &table.leases,
            leaving: &asked.leaving,
            range,
            addresses: &local.addresses,
            refused: &refused,
        };
        let assigned = match port::assign(&group.name, &requests, terms)? {
            Ok(assigned) => assigned,
            Err(clashes) => return Err(conflict(world, clashes).await),
        };
        let taken = trial.taken(&assigned).await?;
        if taken.is_empty() {
            let mut notes: Vec<String> = local.note.into_iter().collect();
            let own = assigned.iter().find(|one| trial.is_the_daemons(one));
            if let Some(one) = own {
                let (port, owner) = (one.port.host_port, &one.owner);
                notes.push(format!(
                    "closd moves from port {port} to the next free one, so that `{owner}` has it"
                ));
            }
            let daemon_moves = own.is_some();
            return Ok(Decided { assigned, notes, daemon_moves });
        }
        refused.extend(taken);
    }
    Err(Error::new(
        Reason::PortRangeFull,
        format!("{ROUNDS} ports in a row of the range of `{}` are held by others", group.name),
    ))
}

/// Where a port without an address is bound.
#[derive(Default)]
struct Local {
    addresses: Vec<String>,
    note: Option<String>,
}

/// The loopback, and the address under which containers know this machine, if it is here.
async fn local(world: &World) -> Result<Local> {
    let mut addresses = vec![port::LOOPBACK.to_owned()];
    // Port 0 is any free one, so only an address that is not here is refused.
    let is_here = async |address: &str| {
        let tried = world.host.bind_test(address, 0, Protocol::Tcp).await;
        !matches!(tried, BindTest::Refused(_))
    };
    if is_here(port::LOOPBACK_V6).await {
        addresses.push(port::LOOPBACK_V6.to_owned());
    }
    let gateway = world.engine.networks.gateway(BRIDGE).await.map_err(engine_error)?;
    let gateway = gateway.map(|address| address.to_string());
    let note = match gateway {
        Some(gateway) if is_here(&gateway).await => {
            addresses.push(gateway);
            None
        }
        _ => Some(format!(
            "ports without an address are bound to the loopback only: this machine does not have the gateway address of the engine's network `{BRIDGE}`"
        )),
    };
    Ok(Local { addresses, note })
}

/// Tries ports by a bind; the engine is asked for its containers once, and only when a bind fails.
struct Trial<'a> {
    world: &'a World,
    asked: &'a Asked<'a>,
    containers: Option<Vec<Found>>,
}

impl Trial<'_> {
    /// What somebody holds who does not let go of it in this plan.
    async fn taken(&mut self, assigned: &[Assignment]) -> Result<Vec<Claim>> {
        let mut taken = Vec::new();
        for one in assigned {
            for binding in one.port.bindings() {
                let tried =
                    self.world.host.bind_test(&binding.host_ip, binding.host_port, binding.protocol).await;
                match tried {
                    BindTest::Free => {}
                    BindTest::Taken if !one.movable && self.is_own(&binding) => {}
                    // An address may be gone from the machine under a container that is bound to it.
                    BindTest::Taken | BindTest::Refused(_) if self.is_let_go(one, &binding).await? => {}
                    BindTest::Taken => taken.push(binding.claim()),
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
        }
        Ok(taken)
    }

    fn is_own(&self, binding: &Binding) -> bool {
        self.asked.own.is_some_and(|own| own.gives_way(binding))
    }

    fn is_the_daemons(&self, one: &Assignment) -> bool {
        !one.movable && one.port.bindings().any(|binding| self.is_own(&binding))
    }

    /// Whether all who hold it are containers that have it for this service, or that this plan
    /// stops before the service starts.
    async fn is_let_go(&mut self, one: &Assignment, binding: &Binding) -> Result<bool> {
        let containers = match self.containers.take() {
            Some(containers) => containers,
            None => self.world.engine.workloads.list().await.map_err(engine_error)?,
        };
        let holders = containers.iter().filter(|found| found.ports.iter().any(|held| held.collides(binding)));
        let lets_go: Vec<bool> = holders.map(|found| self.lets_go(found, one)).collect();
        self.containers = Some(containers);
        Ok(!lets_go.is_empty() && lets_go.into_iter().all(|lets_go| lets_go))
    }

    fn lets_go(&self, found: &Found, one: &Assignment) -> bool {
        let service = |id: &ServiceId| self.asked.services.iter().find(|service| service.id == *id);
        let is_its_own =
            service(&one.service).is_some_and(|own| own.container_id.as_ref() == Some(&found.id));
        match &found.identity {
            _ if is_its_own => true,
            Some(identity) if identity.service_id == one.service => true,
            Some(identity) => {
                self.asked.leaving.contains(&identity.service_id)
                    || self.asked.replaces && service(&identity.service_id).is_some()
            }
            // A stranger under a name that we need is adopted or refused by the plan, and not for its ports.
            None => self.asked.services.iter().any(|service| service.workload_name() == found.name),
        }
    }
}

/// Names who holds each port, as far as the table, the engine and the machine tell.
async fn conflict(world: &World, clashes: Vec<Clash>) -> Error {
    let mut conflicts: Vec<PortConflict> = Vec::with_capacity(clashes.len());
    for clash in clashes {
        let holder = match clash.holder {
            Holder::Unknown => holder(world, &clash.binding).await,
            known => known,
        };
        let wanted_by = clash.owner.to_string();
        // One holder at several addresses is told once.
        let is_told = conflicts.iter().any(|told| {
            (told.port, told.protocol) == (clash.binding.host_port, clash.binding.protocol)
                && told.wanted_by == wanted_by
                && (told.holder == holder || holder == Holder::Unknown)
        });
        if is_told {
            continue;
        }
        conflicts.push(PortConflict {
            port: clash.binding.host_port,
            protocol: clash.binding.protocol,
            host_ip: clash.binding.host_ip,
            wanted_by,
            holder,
        });
    }
    let lines: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
    let mut error = Error::new(Reason::PortConflict, lines.join("; "));
    if let Some(first) = conflicts.first() {
        error =
            error.with("port", first.port).with("holder", &first.holder).with("wanted_by", &first.wanted_by);
    }
    error.with_conflicts(conflicts)
}

/// A container that publishes the port, else the process that listens.
async fn holder(world: &World, binding: &Binding) -> Holder {
    let containers = world.engine.workloads.list().await.map_err(engine_error);
    let publishes = |found: &Found| found.ports.iter().any(|held| held.collides(binding));
    if let Some(found) = containers.ok().and_then(|all| all.into_iter().find(publishes)) {
        return match found.identity {
            Some(identity) => Holder::Service { name: identity.service.to_string(), running: true },
            None => Holder::Container { name: found.name },
        };
    }
    world.host.holder(binding.host_port, binding.protocol).await
}

/// Writes what was decided, with its events; a service that loses its lease is named.
pub(crate) async fn write(
    tx: &mut dyn Tx,
    assigned: &[Assignment],
    services: &mut [Service],
    now: Timestamp,
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for one in assigned {
        for loser in &one.taken_from {
            let Some(row) = tx.services().find(&loser.group, &loser.name).await? else { continue };
            let port = one.port.host_port;
            tx.ports().release(&row.id, port, one.port.protocol).await?;
            tx.journal().append(told(types::PORT_RELEASED, &row, port, now));
            let why = if row.observed.is_running() { "is removed" } else { "is not running" };
            notes.push(format!("port {port} moves from `{loser}`, which {why}, to `{}`", one.owner));
        }
    }
    let wanted = |service: &Service| -> Vec<Binding> {
        let own = assigned.iter().filter(|one| one.service == service.id);
        own.flat_map(|one| one.port.bindings()).collect()
    };
    // Services of one plan may swap ports: all let go before the first takes.
    for service in services.iter() {
        let bindings = wanted(service);
        let kept: Vec<Binding> = service.ports.iter().filter(|old| bindings.contains(old)).cloned().collect();
        if kept.len() < service.ports.len() {
            tx.ports().replace(&service.id, &kept, now).await?;
        }
    }
    for service in services.iter_mut() {
        let bindings = wanted(service);
        let is_as_it_was =
            bindings.len() == service.ports.len() && bindings.iter().all(|one| service.ports.contains(one));
        if is_as_it_was {
            continue;
        }
        // A port is told once, at however many addresses it is bound.
        let numbers = |all: &[Binding], but: &[Binding]| -> BTreeSet<u16> {
            all.iter()
                .map(|one| one.host_port)
                .filter(|port| but.iter().all(|other| other.host_port != *port))
                .collect()
        };
        for gone in numbers(&service.ports, &bindings) {
            tx.journal().append(told(types::PORT_RELEASED, service, gone, now));
        }
        for new in numbers(&bindings, &service.ports) {
            tx.journal().append(told(types::PORT_ALLOCATED, service, new, now));
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

/// The daemon leaves its own port to the services of this plan: listens elsewhere, says so on every
/// stream, gives clients a moment to read it, and closes the old port.
pub(crate) async fn make_way(shared: &Shared, assigned: &[Assignment]) -> Result<()> {
    let Some(own) = shared.own_port.get() else { return Ok(()) };
    let wanted: Vec<u16> = assigned.iter().map(|one| one.port.host_port).collect();
    let address = own.move_on(&wanted).await.map_err(|error| {
        Error::new(Reason::PortConflict, "closd holds a wanted port and finds no other to move to")
            .with_source(error)
    })?;
    let mut tx = shared.world.store.begin().await?;
    let mut event = Draft::new(types::ENDPOINT_CHANGED, shared.world.clock.now());
    event.data.port = Some(u32::from(address.port()));
    event.data.message = Some(format!("closd listens on http://{address}"));
    tx.journal().append(event);
    shared.ledger.commit(tx).await?;
    tokio::time::sleep(ANNOUNCED).await;
    own.leave().await;
    Ok(())
}

/// The event of a port that could not be had.
pub(crate) fn conflict_events(error: &Error, group: &GroupRef, now: Timestamp) -> Vec<Draft> {
    let told = error.conflicts().iter().map(|conflict| {
        let mut event = Draft::new(types::PORT_CONFLICT_DETECTED, now);
        event.severity = Severity::Warning;
        event.group = Some(group.clone());
        event.data.port = Some(u32::from(conflict.port));
        event.data.holder = Some(conflict.holder.to_string());
        let wanted_by = conflict.wanted_by.rsplit_once('/').map_or(&*conflict.wanted_by, |(_, name)| name);
        event.data.service_name = Some(wanted_by.to_owned());
        event
    });
    told.collect()
}
