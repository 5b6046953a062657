//! Groups: rows, status, verbs on all services together, graph.

use std::sync::Arc;
use std::time::Duration;

use clos_domain::event::{Draft, types};
use clos_domain::graph::Graph;
use clos_domain::group::{self, Definition, Group, Status};
use clos_domain::id::{GroupId, OperationId};
use clos_domain::name::{GroupFilter, GroupRef, ServiceRef};
use clos_domain::operation::{FailurePolicy, Operation, Verb};
use clos_domain::page::{Key, Page, Request, Start};
use clos_domain::plan::Policy;
use clos_domain::seams::Tx;
use clos_domain::seams::store::{self, OperationFilter};
use clos_domain::service::{Condition, Desired, Observed, Service};
use clos_domain::{Ctx, Error, Reason, Result};
use futures::stream::BoxStream;

use crate::logs::{self, LogRequest};
use crate::services::present;
use crate::verbs::{self, StartOptions, Wish};
use crate::{Shared, admission, etag, lookup};

/// A group with what follows from its services.
#[derive(Debug, Clone)]
pub struct GroupView {
    /// The row.
    pub group: Group,
    /// Its services.
    pub services: Vec<Service>,
    /// Its status.
    pub status: Status,
    /// The share of its enabled services that is up and well.
    pub health_score: f64,
    /// The operation that is open on it.
    pub open: Option<OperationId>,
}

/// The graph of a group's services, with the groups that it needs.
#[derive(Debug, Clone)]
pub struct GraphView {
    /// The group.
    pub group: GroupRef,
    /// Every service with the wave in which it starts, the first being 0.
    pub nodes: Vec<(Service, u32)>,
    /// From, to, how far, required.
    pub edges: Vec<(ServiceRef, ServiceRef, Condition, bool)>,
    /// What starts together.
    pub waves: Vec<Vec<ServiceRef>>,
}

/// The use cases of groups.
pub struct Groups<'a> {
    pub(crate) shared: &'a Arc<Shared>,
}

impl Groups<'_> {
    /// All that fit, by name; with any of these statuses, where some are given.
    pub async fn list(
        &self,
        _ctx: &Ctx,
        filter: Option<&GroupFilter>,
        statuses: &[Status],
        page: &Request,
    ) -> Result<Page<GroupView>> {
        self.shared.observer.first_look().await;
        let mut tx = self.shared.world.store.view().await?;
        if !statuses.is_empty() {
            // A group's status follows from its services, so every group has to be looked at.
            let mut fitting = Vec::new();
            let all = tx.groups().list(filter, &Request::ALL).await?.items;
            for group in all {
                let view = self.view(tx.as_mut(), group).await?;
                if statuses.contains(&view.status) {
                    fitting.push(view);
                }
            }
            let total = fitting.len() as u64;
            let rows = match &page.start {
                Start::Offset(offset) => {
                    let skipped = usize::try_from(*offset).unwrap_or(usize::MAX);
                    fitting.into_iter().skip(skipped).collect()
                }
                // The store lists them in the order of these keys.
                Start::After(cursor) => fitting.into_iter().filter(|view| keys(view) > cursor.keys).collect(),
            };
            return Ok(Page::of(rows, page, total, keys));
        }
        let found = tx.groups().list(filter, page).await?;
        let mut items = Vec::with_capacity(found.items.len());
        for group in found.items {
            items.push(self.view(tx.as_mut(), group).await?);
        }
        Ok(Page { items, total: found.total, offset: found.offset, next: found.next })
    }

    /// One, by name or id.
    pub async fn get(&self, _ctx: &Ctx, name: &str) -> Result<GroupView> {
        self.shared.observer.first_look().await;
        let mut tx = self.shared.world.store.view().await?;
        let group = lookup::group(tx.as_mut(), name).await?;
        self.view(tx.as_mut(), group).await
    }

    /// A new row without services.
    pub async fn create(&self, ctx: &Ctx, name: &GroupRef, definition: Definition) -> Result<GroupView> {
        let now = self.shared.world.clock.now();
        let group = Group {
            id: GroupId::from_unique(&self.shared.world.ids.unique()),
            name: name.clone(),
            definition,
            created_at: now,
            updated_at: now,
        };
        admission::admit_volumes(self.shared, ctx, name, &group.definition, None).await?;
        let mut tx = self.shared.world.store.begin().await?;
        insert(tx.as_mut(), &group).await?;
        self.shared.ledger.commit(tx).await?;
        self.get(ctx, group.id.as_str()).await
    }

    /// The definition anew; services and containers stay as they are.
    pub async fn update(
        &self,
        ctx: &Ctx,
        name: &str,
        seen: Option<&str>,
        definition: Definition,
    ) -> Result<GroupView> {
        let mut view = self.shared.world.store.view().await?;
        let before = lookup::group(view.as_mut(), name).await?;
        drop(view);
        let known = Some(&before.definition);
        admission::admit_volumes(self.shared, ctx, &before.name, &definition, known).await?;
        let mut tx = self.shared.world.store.begin().await?;
        let mut group = lookup::group(tx.as_mut(), name).await?;
        etag::check(seen, &etag::group(&group), &group.name)?;
        let is_named_by_files = group.definition.is_named_by_files;
        group.definition = Definition { is_named_by_files, ..definition };
        group.updated_at = self.shared.world.clock.now();
        tx.groups().update(&group).await?;
        tx.journal().append(told(types::GROUP_UPDATED, &group));
        self.shared.ledger.commit(tx).await?;
        self.get(ctx, group.id.as_str()).await
    }

    /// The rows go; with `force`, down first.
    pub async fn delete(&self, ctx: &Ctx, name: &str, seen: Option<&str>, force: bool) -> Result<()> {
        let view = self.get(ctx, name).await?;
        etag::check(seen, &etag::group(&view.group), &view.group.name)?;
        if force && view.services.iter().any(|service| !is_down(service)) {
            let down = self.down(ctx, view.group.id.as_str(), false, None).await?;
            crate::services::finish(self.shared, ctx, &down).await?;
        }
        let mut tx = self.shared.world.store.begin().await?;
        let group = lookup::group(tx.as_mut(), view.group.id.as_str()).await?;
        let services = tx.services().of_group(&group.id).await?;
        if let Some(up) = services.iter().find(|service| !is_down(service)) {
            return Err(Error::new(
                Reason::NotDown,
                format!(
                    "`{}` is not down: `{}` is {} ({}); run down first, or delete with force",
                    group.name,
                    up.resource(),
                    up.observed.as_str(),
                    up.desired.as_str()
                ),
            ));
        }
        for service in &services {
            crate::services::tell_deleted(tx.as_mut(), service, self.shared.world.clock.now());
        }
        tx.groups().delete(&group.id).await?;
        tx.journal().append(told(types::GROUP_DELETED, &group));
        self.shared.ledger.commit(tx).await?;
        for service in &services {
            self.shared.observer.forget(&service.id);
        }
        Ok(())
    }

    /// The rows as they are; creates what is missing, never recreates.
    pub async fn start(&self, ctx: &Ctx, name: &str, options: StartOptions) -> Result<Operation> {
        let _turn = self.shared.submitting.lock().await;
        let mut tx = self.shared.world.store.view().await?;
        let group = lookup::group(tx.as_mut(), name).await?;
        let mut scopes = vec![verbs::scope_of(tx.as_mut(), group.clone()).await?];
        require_rows(&scopes[0].all, &group)?;
        if options.with_dependencies {
            scopes.extend(verbs::dependencies_of(tx.as_mut(), &group).await?);
        }
        drop(tx);
        let failure = if options.atomic { FailurePolicy::Undo } else { FailurePolicy::Leave };
        let policy = Policy { failure, no_wait: options.no_wait, ..Policy::default() };
        let wish = Wish {
            verb: Verb::Start,
            scopes,
            along_from: 1,
            service: None,
            policy,
            notes: vec![],
            problems: vec![],
        };
        verbs::run(self.shared, ctx, wish).await
    }

    /// Reverse order; never another group.
    pub async fn stop(&self, ctx: &Ctx, name: &str, grace: Option<Duration>) -> Result<Operation> {
        self.simple(ctx, name, Verb::Stop, verbs::with_grace(grace)).await
    }

    /// The same containers, in order.
    pub async fn restart(&self, ctx: &Ctx, name: &str, grace: Option<Duration>) -> Result<Operation> {
        self.simple(ctx, name, Verb::Restart, verbs::with_grace(grace)).await
    }

    /// Stop, then remove containers and networks of ours that nobody uses; volumes on request.
    pub async fn down(
        &self,
        ctx: &Ctx,
        name: &str,
        volumes: bool,
        grace: Option<Duration>,
    ) -> Result<Operation> {
        let policy = Policy { remove_volumes: volumes, ..verbs::with_grace(grace) };
        self.simple(ctx, name, Verb::Down, policy).await
    }

    async fn simple(&self, ctx: &Ctx, name: &str, verb: Verb, policy: Policy) -> Result<Operation> {
        let _turn = self.shared.submitting.lock().await;
        let mut tx = self.shared.world.store.view().await?;
        let group = lookup::group(tx.as_mut(), name).await?;
        let mut scope = verbs::scope_of(tx.as_mut(), group.clone()).await?;
        // What is disabled may still run from an earlier choice of profiles.
        scope.chosen.clone_from(&scope.all);
        if verb == Verb::Restart {
            scope.chosen.retain(|service| service.definition.enabled);
        }
        let notes = match verb {
            Verb::Stop | Verb::Down => verbs::running_dependants(tx.as_mut(), &group).await?,
            _ => Vec::new(),
        };
        drop(tx);
        let wish =
            Wish { verb, scopes: vec![scope], along_from: 1, service: None, policy, notes, problems: vec![] };
        verbs::run(self.shared, ctx, wish).await
    }

    /// Services, their edges and the waves in which they start.
    pub async fn graph(&self, _ctx: &Ctx, name: &str) -> Result<GraphView> {
        let mut tx = self.shared.world.store.view().await?;
        let group = lookup::group(tx.as_mut(), name).await?;
        let mut all = tx.services().of_group(&group.id).await?;
        let mut edges = Vec::new();
        for service in &all {
            for need in &service.definition.depends_on {
                let to = ServiceRef { group: group.name.clone(), name: need.service.clone() };
                edges.push((service.resource(), to, need.condition, need.required));
            }
        }
        let own: Vec<ServiceRef> = all.iter().map(Service::resource).collect();
        for scope in verbs::dependencies_of(tx.as_mut(), &group).await? {
            for other in scope.chosen {
                let needed = group.definition.depends_on.iter().any(|need| {
                    need.group == other.group
                        && need.service.as_ref().is_none_or(|name| *name == other.definition.name)
                });
                if needed {
                    edges.extend(
                        own.iter().map(|from| (from.clone(), other.resource(), Condition::Started, true)),
                    );
                }
                all.push(other);
            }
        }
        let keys: Vec<ServiceRef> = all.iter().map(Service::resource).collect();
        let pairs = edges.iter().map(|(from, to, _, _)| (from.clone(), to.clone()));
        let graph = Graph::new(keys, pairs).map_err(|cycle| {
            Error::new(Reason::DependencyCycle, format!("services depend on each other in a circle: {cycle}"))
        })?;
        let waves: Vec<Vec<ServiceRef>> =
            graph.waves().into_iter().map(|wave| wave.into_iter().cloned().collect()).collect();
        let wave_of = |name: &ServiceRef| waves.iter().position(|wave| wave.contains(name)).unwrap_or(0);
        let nodes = all
            .into_iter()
            .map(|service| {
                let wave = u32::try_from(wave_of(&service.resource())).unwrap_or(u32::MAX);
                (service, wave)
            })
            .collect();
        Ok(GraphView { group: group.name, nodes, edges, waves })
    }

    /// The output of several services, one after the other by time as it comes.
    pub async fn logs(
        &self,
        _ctx: &Ctx,
        name: &str,
        services: &[String],
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<logs::Line>>> {
        let scope = {
            let mut tx = self.shared.world.store.view().await?;
            let group = lookup::group(tx.as_mut(), name).await?;
            let mut scope = verbs::scope_of(tx.as_mut(), group).await?;
            scope.chosen.clone_from(&scope.all);
            if !services.is_empty() {
                let named = |raw: &String| verbs::name_in(&scope.group.name, &scope.all, "services", raw);
                let names = services.iter().map(named).collect::<Result<_>>()?;
                verbs::choose(&mut scope, &names, false)?;
            }
            scope
        };
        logs::follow_all(self.shared, scope.chosen, request).await
    }

    async fn view(&self, tx: &mut dyn Tx, group: Group) -> Result<GroupView> {
        let services = tx.services().of_group(&group.id).await?;
        let filter = OperationFilter {
            open: true,
            group: Some(GroupFilter::One(group.name.clone())),
            ..OperationFilter::default()
        };
        let open = tx.operations().list(&filter, &Request::at(1, 0)).await?.items.pop();
        Ok(view_of(self.shared, group, services, open.as_ref()))
    }
}

/// What groups are ordered by: name and instance, the base first.
fn keys(view: &GroupView) -> Vec<Key> {
    let name = &view.group.name;
    let instance = name.instance.as_ref().map(ToString::to_string).unwrap_or_default();
    vec![Key::Text(name.name.to_string()), Key::Text(instance)]
}

/// A group with what follows from its services.
pub(crate) fn view_of(
    shared: &Shared,
    group: Group,
    services: Vec<Service>,
    open: Option<&Operation>,
) -> GroupView {
    let (status, health_score) = group::status(&services, open.map(|operation| operation.verb.direction()));
    let services = services.into_iter().map(|service| present(shared, service)).collect();
    GroupView { group, services, status, health_score, open: open.map(|operation| operation.id.clone()) }
}

pub(crate) async fn insert(tx: &mut dyn Tx, group: &Group) -> Result<()> {
    match tx.groups().insert(group).await {
        Ok(()) => {}
        Err(store::Error::Taken(_)) => {
            return Err(Error::new(
                Reason::GroupExists,
                format!(
                    "there is a group `{}` already; update it, or use another name or instance",
                    group.name
                ),
            )
            .about("clos.v2.Group", &group.name));
        }
        Err(error) => return Err(error.into()),
    }
    tx.journal().append(told(types::GROUP_CREATED, group));
    Ok(())
}

pub(crate) fn told(kind: &'static str, group: &Group) -> Draft {
    let mut event = Draft::new(kind, group.updated_at);
    event.group = Some(group.name.clone());
    event
}

fn is_down(service: &Service) -> bool {
    service.desired == Desired::Absent && matches!(service.observed, Observed::Absent | Observed::Unknown)
}

pub(crate) fn require_rows(services: &[Service], group: &Group) -> Result<()> {
    if services.iter().any(|service| service.definition.enabled) {
        return Ok(());
    }
    Err(Error::new(
        Reason::NoRows,
        format!(
            "group `{}` has no enabled services; apply a compose file or create a service first",
            group.name
        ),
    ))
}
