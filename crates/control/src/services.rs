//! Services: register, read, change, delete, and the verbs on one of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clos_domain::event::{Draft, Event, Filter, Pattern, types};
use clos_domain::health::{LastCheck, Verdict};
use clos_domain::id::{GroupId, ServiceId};
use clos_domain::name::{GroupRef, ServiceName};
use clos_domain::operation::{Operation, State, Verb};
use clos_domain::page::{Page, Request};
use clos_domain::plan::{Policy, restarted_with};
use clos_domain::port;
use clos_domain::seams::Tx;
use clos_domain::seams::engine::Stats;
use clos_domain::seams::store::{self, ServiceFilter};
use clos_domain::service::{Definition, Desired, Observed, Service, Status};
use clos_domain::workload::PullPolicy;
use clos_domain::{Ctx, Error, Reason, Result, Timestamp};
use futures::StreamExt as _;
use futures::stream::BoxStream;

use crate::logs::{self, LogRequest};
use crate::observer::{Reachability, engine_error};
use crate::verbs::{self, Wish};
use crate::{Shared, admission, containers, etag, lookup, ports};

/// A delete by force waits so long for its down.
const DOWN_PATIENCE: Duration = Duration::from_secs(120);
/// The first figures of a stream come within a second or two.
const STATS_PATIENCE: Duration = Duration::from_secs(5);
/// So many health changes are told.
const HEALTH_HISTORY: u32 = 50;

/// How `recreate` behaves.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecreateOptions {
    /// Build its image anew.
    pub build: bool,
    /// When its image is pulled, over what its definition says.
    pub pull: Option<PullPolicy>,
    /// Time before the old one is killed.
    pub grace: Option<Duration>,
}

/// The current verdict of a service and how it came.
#[derive(Debug, Clone)]
pub struct Health {
    /// The service.
    pub service: Service,
    /// Whether it is well.
    pub verdict: Verdict,
    /// The last answer to its check, the engine's or ours.
    pub last: Option<LastCheck>,
    /// The latest changes, oldest first.
    pub history: Vec<Event>,
}

/// The use cases of services.
pub struct Services<'a> {
    pub(crate) shared: &'a Arc<Shared>,
}

impl Services<'_> {
    /// All that fit.
    pub async fn list(&self, _ctx: &Ctx, filter: &ServiceFilter, page: &Request) -> Result<Page<Service>> {
        self.shared.observer.first_look().await;
        let mut view = self.shared.world.store.view().await?;
        let found = view.services().list(filter, page).await?;
        Ok(found.map(|service| present(self.shared, service)))
    }

    /// One, by id, resource name or alias.
    pub async fn get(&self, ctx: &Ctx, id: &str) -> Result<Service> {
        self.get_by(ctx, "id", id).await
    }

    /// The same, for a request whose field is not called `id`.
    pub async fn get_by(&self, _ctx: &Ctx, field: &str, id: &str) -> Result<Service> {
        self.shared.observer.first_look().await;
        let mut view = self.shared.world.store.view().await?;
        Ok(present(self.shared, lookup::service_in(view.as_mut(), field, id).await?))
    }

    /// A new row; its group is made when there is none. Nothing starts.
    pub async fn create(&self, ctx: &Ctx, group: &GroupRef, definition: Definition) -> Result<Service> {
        let now = self.shared.world.clock.now();
        let mut view = self.shared.world.store.view().await?;
        let known = view.groups().find(group).await?;
        admission::admit_service(self.shared, ctx, view, group, known.as_ref(), &definition).await?;
        let mut tx = self.shared.world.store.begin().await?;
        let known = tx.groups().find(group).await?;
        let group = match known {
            Some(group) => group,
            None => {
                let id = GroupId::from_unique(&self.shared.world.ids.unique());
                let definition = clos_domain::group::Definition::default();
                let made = clos_domain::group::Group {
                    id,
                    name: group.clone(),
                    definition,
                    created_at: now,
                    updated_at: now,
                };
                crate::groups::insert(tx.as_mut(), &made).await?;
                made
            }
        };
        let id = ServiceId::from_unique(&self.shared.world.ids.unique());
        let service = row(id, &group, definition, now);
        check_needs(tx.as_mut(), &service).await?;
        check_fixed_ports(tx.as_mut(), &service).await?;
        insert(tx.as_mut(), &service).await?;
        self.shared.ledger.commit(tx).await?;
        Ok(present(self.shared, service))
    }

    /// The definition anew; its container follows with the next `up` or `recreate`.
    pub async fn update(
        &self,
        ctx: &Ctx,
        id: &str,
        seen: Option<&str>,
        definition: Definition,
    ) -> Result<Service> {
        let now = self.shared.world.clock.now();
        let mut view = self.shared.world.store.view().await?;
        let before = lookup::service(view.as_mut(), id).await?;
        // Everybody may change the words about what the owner admitted, and nobody else what runs with its rights.
        if !before.definition.runs_the_same(&definition) {
            let group = view.groups().find(&before.group).await?;
            admission::admit_service(self.shared, ctx, view, &before.group, group.as_ref(), &definition)
                .await?;
        }
        let mut tx = self.shared.world.store.begin().await?;
        let mut service = lookup::service(tx.as_mut(), id).await?;
        etag::check(seen, &etag::service(&service), service.resource())?;
        if definition.name != service.definition.name {
            return Err(Error::field(
                "name",
                format!("`{}` cannot be renamed; create another service", service.resource()),
            ));
        }
        if definition != service.definition {
            service.definition = definition;
            service.generation += 1;
            service.updated_at = now;
            check_needs(tx.as_mut(), &service).await?;
            check_fixed_ports(tx.as_mut(), &service).await?;
            tx.services().update(&service).await?;
            tx.journal().append(told(types::SERVICE_UPDATED, &service, now));
            self.shared.ledger.commit(tx).await?;
        }
        Ok(present(self.shared, service))
    }

    /// The row goes; 409 unless it is down, and with `force` down runs first.
    pub async fn delete(&self, ctx: &Ctx, id: &str, seen: Option<&str>, force: bool) -> Result<()> {
        let service = self.get(ctx, id).await?;
        etag::check(seen, &etag::service(&service), service.resource())?;
        let is_down = |service: &Service| {
            service.desired == Desired::Absent
                && matches!(service.observed, Observed::Absent | Observed::Unknown)
        };
        if force && !is_down(&service) {
            let down = self.down(ctx, service.id.as_str(), None).await?;
            finish(self.shared, ctx, &down).await?;
        }
        let mut tx = self.shared.world.store.begin().await?;
        let service = lookup::service(tx.as_mut(), service.id.as_str()).await?;
        if !is_down(&service) {
            return Err(Error::new(
                Reason::NotDown,
                format!(
                    "`{}` is {} and meant to be {}; run down first, or delete with force",
                    service.resource(),
                    service.observed.as_str(),
                    service.desired.as_str()
                ),
            ));
        }
        let siblings = tx.services().of_group(&service.group_id).await?;
        let needs_it = |other: &&Service| {
            other
                .definition
                .depends_on
                .iter()
                .any(|need| need.required && need.service == service.definition.name)
        };
        if let Some(other) = siblings.iter().find(needs_it) {
            return Err(Error::new(
                Reason::DependantsRunning,
                format!(
                    "`{}` depends on `{}`; change or delete it first",
                    other.resource(),
                    service.resource()
                ),
            ));
        }
        tell_deleted(tx.as_mut(), &service, self.shared.world.clock.now());
        tx.services().delete(&service.id).await?;
        self.shared.ledger.commit(tx).await?;
        self.shared.observer.forget(&service.id);
        Ok(())
    }

    /// Starts it, and what it needs.
    pub async fn start(&self, ctx: &Ctx, id: &str, with_dependencies: bool) -> Result<Operation> {
        self.run(ctx, id, Verb::Start, with_dependencies, Policy::default()).await
    }

    /// Stops it alone.
    pub async fn stop(&self, ctx: &Ctx, id: &str, grace: Option<Duration>) -> Result<Operation> {
        self.run(ctx, id, Verb::Stop, false, verbs::with_grace(grace)).await
    }

    /// Stops and starts its container, then those of the running services that follow it
    /// (`depends_on: {…: {restart: true}}`).
    pub async fn restart(&self, ctx: &Ctx, id: &str, grace: Option<Duration>) -> Result<Operation> {
        self.run(ctx, id, Verb::Restart, false, verbs::with_grace(grace)).await
    }

    /// A new container of its definition; volumes are kept.
    pub async fn recreate(&self, ctx: &Ctx, id: &str, options: RecreateOptions) -> Result<Operation> {
        let policy = Policy { build: options.build, pull: options.pull, ..verbs::with_grace(options.grace) };
        self.run(ctx, id, Verb::Recreate, false, policy).await
    }

    /// Stops it and removes its container.
    pub async fn down(&self, ctx: &Ctx, id: &str, grace: Option<Duration>) -> Result<Operation> {
        self.run(ctx, id, Verb::Down, false, verbs::with_grace(grace)).await
    }

    /// One verb on several services of one group.
    pub async fn batch(
        &self,
        ctx: &Ctx,
        verb: Verb,
        ids: &[String],
        grace: Option<Duration>,
    ) -> Result<Operation> {
        let _turn = self.shared.submitting.lock().await;
        let mut tx = self.shared.world.store.view().await?;
        let mut names = BTreeSet::new();
        let mut group = None;
        for id in ids {
            let service = lookup::service(tx.as_mut(), id).await?;
            let first = group.get_or_insert_with(|| service.group.clone());
            if *first != service.group {
                return Err(Error::field(
                    "ids",
                    format!("`{}` is not of group `{first}`; one batch is of one group", service.resource()),
                ));
            }
            names.insert(service.definition.name);
        }
        let Some(group) = group else { return Err(Error::field("ids", "name at least one service")) };
        let group = lookup::group(tx.as_mut(), &group.to_string()).await?;
        let mut scope = verbs::scope_of(tx.as_mut(), group).await?;
        if verb == Verb::Restart {
            names = restarted_with(&scope.all, &names);
        }
        verbs::choose(&mut scope, &names, verb == Verb::Start)?;
        if matches!(verb, Verb::Restart | Verb::Recreate) {
            verbs::add_guests(&mut scope);
        }
        let mut notes = Vec::new();
        if matches!(verb, Verb::Stop | Verb::Down) {
            notes = left_running(&scope.all, &names);
        }
        drop(tx);
        let policy = verbs::with_grace(grace);
        let wish =
            Wish { verb, scopes: vec![scope], along_from: 1, service: None, policy, notes, problems: vec![] };
        verbs::run(self.shared, ctx, wish).await
    }

    async fn run(
        &self,
        ctx: &Ctx,
        id: &str,
        verb: Verb,
        with_needs: bool,
        policy: Policy,
    ) -> Result<Operation> {
        let _turn = self.shared.submitting.lock().await;
        let mut tx = self.shared.world.store.view().await?;
        let service = lookup::service(tx.as_mut(), id).await?;
        let group = lookup::group(tx.as_mut(), service.group_id.as_str()).await?;
        let mut scope = verbs::scope_of(tx.as_mut(), group.clone()).await?;
        let mut names = BTreeSet::from([service.definition.name.clone()]);
        if verb == Verb::Restart {
            names = restarted_with(&scope.all, &names);
        }
        verbs::choose(&mut scope, &names, with_needs)?;
        if matches!(verb, Verb::Restart | Verb::Recreate) {
            verbs::add_guests(&mut scope);
        }
        let mut scopes = vec![scope];
        if with_needs {
            scopes.extend(verbs::dependencies_of(tx.as_mut(), &group).await?);
        }
        let mut notes = Vec::new();
        if matches!(verb, Verb::Stop | Verb::Down) {
            notes = left_running(&scopes[0].all, &BTreeSet::from([service.definition.name.clone()]));
        }
        drop(tx);
        let wish =
            Wish { verb, scopes, along_from: 1, service: Some(service.id), policy, notes, problems: vec![] };
        verbs::run(self.shared, ctx, wish).await
    }

    /// Its output.
    pub async fn logs(
        &self,
        ctx: &Ctx,
        id: &str,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<logs::Line>>> {
        let service = self.get(ctx, id).await?;
        logs::follow_all(self.shared, vec![service], request).await
    }

    /// What it uses now.
    pub async fn stats(&self, ctx: &Ctx, id: &str) -> Result<Stats> {
        let service = self.get(ctx, id).await?;
        if !service.observed.is_running() {
            return Err(Error::new(
                Reason::Exited,
                format!("`{}` does not run; start it to see what it uses", service.resource()),
            ));
        }
        let container = containers::handle(&service);
        let first = async {
            let mut stats =
                self.shared.world.engine.workloads.stats(&container).await.map_err(engine_error)?;
            // The first sample has no earlier one to tell the share of the processor from.
            let mut latest = None;
            while let Some(sample) = stats.next().await {
                let is_second = latest.is_some();
                latest = Some(sample.map_err(engine_error)?);
                if is_second {
                    break;
                }
            }
            latest.ok_or_else(|| {
                Error::new(Reason::Exited, format!("`{}` ended meanwhile", service.resource()))
            })
        };
        match tokio::time::timeout(STATS_PATIENCE, first).await {
            Ok(stats) => stats,
            Err(_) => Err(Error::new(Reason::TimedOut, "the engine sent no figures within five seconds")),
        }
    }

    /// The last answer to its health check in its latest run, by the engine or by us.
    pub fn last_check(&self, service: &Service) -> Option<LastCheck> {
        self.shared.observer.checks().last(service)
    }

    /// Whether it is well, and how that came.
    pub async fn health(&self, ctx: &Ctx, id: &str) -> Result<Health> {
        let service = self.get(ctx, id).await?;
        let filter = Filter {
            types: vec![Pattern::Word(types::SERVICE_HEALTH_CHANGED.to_owned())],
            service: Some(service.id.clone()),
            ..Filter::default()
        };
        let mut view = self.shared.world.store.view().await?;
        let mut history = Vec::new();
        let mut after = 0;
        loop {
            let page = view.journal().list(&filter, after, HEALTH_HISTORY).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            history.extend(page);
            let excess = history.len().saturating_sub(HEALTH_HISTORY as usize);
            history.drain(..excess);
        }
        // Nobody knows how a paused one is.
        let verdict = if service.observed.is_paused() { Verdict::None } else { service.observed.health() };
        Ok(Health { verdict, last: self.last_check(&service), history, service })
    }
}

/// A fresh row.
pub(crate) fn row(
    id: ServiceId,
    group: &clos_domain::group::Group,
    definition: Definition,
    now: Timestamp,
) -> Service {
    Service {
        id,
        group_id: group.id.clone(),
        group: group.name.clone(),
        definition,
        desired: Desired::Absent,
        observed: Observed::Absent,
        observed_at: None,
        container_id: None,
        step: None,
        status: Status::Stopped,
        status_reason: None,
        status_detail: String::new(),
        restart_times: Vec::new(),
        ended_by: None,
        ports: Vec::new(),
        generation: 1,
        started_at: None,
        stopped_at: None,
        created_at: now,
        updated_at: now,
    }
}

pub(crate) async fn insert(tx: &mut dyn Tx, service: &Service) -> Result<()> {
    match tx.services().insert(service).await {
        Ok(()) => {}
        Err(store::Error::Taken(_)) => {
            return Err(Error::new(
                Reason::ServiceExists,
                format!(
                    "there is a service `{}` already; update it, or use another name",
                    service.resource()
                ),
            )
            .about("clos.v2.Service", service.resource()));
        }
        Err(error) => return Err(error.into()),
    }
    tx.journal().append(told(types::SERVICE_CREATED, service, service.created_at));
    Ok(())
}

/// What runs on although a service that it depends on is stopped.
fn left_running(all: &[Service], stopped: &BTreeSet<ServiceName>) -> Vec<String> {
    let runs_on = |other: &&Service| other.observed.is_running() && !stopped.contains(&other.definition.name);
    let notes = all.iter().filter(runs_on).flat_map(|other| {
        let needs = other.definition.depends_on.iter().filter(|need| stopped.contains(&need.service));
        needs.map(move |need| {
            format!("`{}` depends on `{}/{}` and is running", other.resource(), other.group, need.service)
        })
    });
    notes.collect()
}

pub(crate) fn tell_deleted(tx: &mut dyn Tx, service: &Service, now: Timestamp) {
    tx.journal().append(told(types::SERVICE_DELETED, service, now));
}

pub(crate) fn told(kind: &'static str, service: &Service, now: Timestamp) -> Draft {
    let mut event = Draft::new(kind, now);
    event.service = Some(service.id.clone());
    event.group = Some(service.group.clone());
    event.data.service_name = Some(service.definition.name.to_string());
    event
}

/// What a caller sees: with the engine away, the last word and that it is the last.
pub(crate) fn present(shared: &Shared, mut service: Service) -> Service {
    if matches!(shared.observer.reachability(), Reachability::Down(_)) {
        service.status_reason = Some(Reason::EngineUnreachable);
    }
    service
}

/// A service needs only what its group has, and not in a circle.
async fn check_needs(tx: &mut dyn Tx, service: &Service) -> Result<()> {
    let mut siblings = tx.services().of_group(&service.group_id).await?;
    siblings.retain(|other| other.id != service.id);
    for need in service.definition.depends_on.iter().filter(|need| need.required) {
        let is_itself = need.service == service.definition.name;
        if !is_itself && !siblings.iter().any(|other| other.definition.name == need.service) {
            return Err(Error::new(
                Reason::UnknownDependency,
                format!(
                    "`{}` depends on `{}`, which its group does not have; create that first",
                    service.resource(),
                    need.service
                ),
            )
            .with("dependency", &need.service));
        }
    }
    siblings.push(service.clone());
    let keys = siblings.iter().map(|one| one.definition.name.clone());
    let edges = siblings.iter().flat_map(|one| {
        let from = one.definition.name.clone();
        one.definition.depends_on.iter().map(move |need| (from.clone(), need.service.clone()))
    });
    clos_domain::graph::Graph::new(keys, edges).map(drop).map_err(|cycle| {
        Error::new(Reason::DependencyCycle, format!("services depend on each other in a circle: {cycle}"))
            .with("path", &cycle)
    })
}

/// A fixed host port of a running service is taken; told now and not at the start.
async fn check_fixed_ports(tx: &mut dyn Tx, service: &Service) -> Result<()> {
    let table = ports::Table::read(tx).await?;
    let clashes: Vec<_> = service
        .definition
        .ports
        .iter()
        .filter_map(|wish| {
            let lease = table.leases.iter().find(|lease| {
                lease.firm
                    && lease.service != service.id
                    && wish.host_port.is_some_and(|port| claims(wish, port, &lease.binding))
            })?;
            Some(clos_domain::error::PortConflict {
                port: lease.binding.host_port,
                protocol: wish.protocol,
                host_ip: lease.binding.host_ip.clone(),
                wanted_by: service.resource().to_string(),
                holder: port::Holder::Service { name: lease.owner.to_string(), running: true },
            })
        })
        .collect();
    let Some(first) = clashes.first() else { return Ok(()) };
    Err(Error::new(
        Reason::PortConflict,
        format!("port {} wanted by `{}` is held by {}", first.port, first.wanted_by, first.holder),
    )
    .with_conflicts(clashes))
}

/// Whether a fixed port of this wish collides with what is leased.
fn claims(wish: &port::Wish, host_port: u16, leased: &port::Binding) -> bool {
    let loopback = [port::LOOPBACK, port::LOOPBACK_V6];
    let addresses = wish.host_ip.as_deref().map_or_else(|| loopback.to_vec(), |named| vec![named]);
    addresses.into_iter().any(|address| {
        let wanted = port::Binding {
            container_port: wish.container_port,
            host_port,
            host_ip: address.to_owned(),
            protocol: wish.protocol,
        };
        wanted.collides(leased)
    })
}

/// Waits for an operation that another use case needs.
pub(crate) async fn finish(shared: &Arc<Shared>, ctx: &Ctx, operation: &Operation) -> Result<()> {
    let operations = crate::operations::Operations { shared };
    let ended = operations.wait(ctx, operation.id.as_str(), DOWN_PATIENCE).await?;
    if ended.state == State::Completed {
        return Ok(());
    }
    Err(Error::new(
        Reason::NotDown,
        format!("down did not complete: {} {}", ended.state.as_str(), ended.message),
    )
    .with("operation", &ended.id))
}
