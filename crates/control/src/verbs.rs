//! From a wish to a running operation: ports, plan, one transaction, the runner.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use clos_domain::event::{Draft, types};
use clos_domain::graph::Graph;
use clos_domain::group::{Direction, Group};
use clos_domain::id::{OperationId, ServiceId};
use clos_domain::name::{GroupRef, ServiceName, ServiceRef};
use clos_domain::operation::{Operation, State, Verb};
use clos_domain::plan::{self, Plan, Policy, Work};
use clos_domain::port::Binding;
use clos_domain::problem::Problem;
use clos_domain::seams::{Tx, engine};
use clos_domain::service::{Desired, Ended, Observed, Service};
use clos_domain::{Ctx, Error, Reason, Result};
use futures::StreamExt as _;

use crate::adoption::{self, Candidate};
use crate::runner::step_row;
use crate::snapshot::{self, Scope};
use crate::{Shared, admission, lookup, ports, sight};

/// How `start` behaves.
#[derive(Debug, Clone, Copy)]
pub struct StartOptions {
    /// Groups and services that it needs come along.
    pub with_dependencies: bool,
    /// A failure undoes everything.
    pub atomic: bool,
    /// The operation ends without waiting for gates that nothing needs.
    pub no_wait: bool,
}

impl Default for StartOptions {
    fn default() -> Self {
        Self { with_dependencies: true, atomic: false, no_wait: false }
    }
}

/// What is to be done, before it is planned.
pub(crate) struct Wish {
    pub(crate) verb: Verb,
    /// The group that was asked for comes first.
    pub(crate) scopes: Vec<Scope>,
    pub(crate) along_from: usize,
    /// The one service that was asked for.
    pub(crate) service: Option<ServiceId>,
    pub(crate) policy: Policy,
    pub(crate) notes: Vec<String>,
    /// What is known to stand in the way before anything is planned.
    pub(crate) problems: Vec<Problem>,
}

/// A wish that was planned; nothing is written yet.
pub(crate) struct Planned {
    pub(crate) verb: Verb,
    pub(crate) plan: Plan,
    pub(crate) scopes: Vec<Scope>,
    service: Option<ServiceId>,
    policy: Policy,
    daemon_moves: bool,
    adopted: Vec<Candidate>,
}

/// Images that a registry is asked for at a time.
const QUESTIONS: usize = 8;

/// Ports, snapshot, plan: what the verb would do, why, and what stands in its way.
pub(crate) async fn plan_wish(shared: &Shared, mut wish: Wish) -> Result<Planned> {
    let mut assigned = Vec::new();
    let mut daemon_moves = false;
    let installation = &shared.settings.installation;
    let mut known = {
        let mut view = shared.world.store.view().await?;
        adoption::Known::read(view.as_mut()).await?
    };
    let mut adopted = Vec::new();
    if matches!(wish.verb, Verb::Up | Verb::Start | Verb::Recreate) {
        let found =
            adoption::candidates(&shared.world, installation, &known, &wish.scopes, &wish.policy).await?;
        known = known.with(&found);
        adopted = found;
    }
    let mut problems = std::mem::take(&mut wish.problems);
    if matches!(wish.verb, Verb::Up | Verb::Start | Verb::Recreate | Verb::Restart) {
        let mut table = {
            let mut view = shared.world.store.view().await?;
            ports::Table::read(view.as_mut()).await?
        };
        for (i, scope) in wish.scopes.iter_mut().enumerate() {
            let is_along = i >= wish.along_from;
            let leaving = scope
                .leaving()
                .filter(|orphan| wish.policy.remove_orphans || orphan.observed == Observed::Absent);
            let emptied = scope.emptied().into_iter().filter(|_| wish.verb == Verb::Up && !is_along);
            let asked = ports::Asked {
                group: &scope.group,
                services: &scope.chosen,
                orphans: scope.leaving().map(|orphan| orphan.resource().to_string()).collect(),
                leaving: leaving.chain(emptied).map(|one| one.id.clone()).collect(),
                own: shared.own_port.get().map(AsRef::as_ref),
                replaces: matches!(wish.verb, Verb::Up | Verb::Recreate) && !is_along,
            };
            let decided = match ports::decide(&shared.world, &table, &asked).await {
                Ok(decided) => decided,
                Err(error) if is_refusal(error.reason()) => {
                    let found = Problem::of(&error, &scope.group.name);
                    problems.extend(found.into_iter().map(|problem| asked.way_out(problem)));
                    continue;
                }
                Err(error) => return Err(error),
            };
            for service in scope.chosen.iter_mut() {
                let own = decided.assigned.iter().filter(|one| one.service == service.id);
                service.ports = own.flat_map(|one| one.port.bindings()).collect();
            }
            daemon_moves |= decided.daemon_moves;
            table.add(&decided.assigned);
            assigned.extend(decided.assigned);
            for note in decided.notes {
                if !wish.notes.contains(&note) {
                    wish.notes.push(note);
                }
            }
        }
    }
    let parts = wish
        .scopes
        .iter()
        .enumerate()
        .map(|(i, scope)| {
            let mut part = scope.part(installation)?;
            part.along = i >= wish.along_from;
            Ok(part)
        })
        .collect::<Result<Vec<_>>>()?;
    let snapshot = snapshot::take(&shared.world, installation, &known, wish.verb, &parts).await?;
    let subject = match (&wish.service, wish.scopes.first()) {
        (Some(id), Some(scope)) => scope
            .all
            .iter()
            .find(|service| service.id == *id)
            .map_or_else(String::new, |service| service.resource().to_string()),
        (None, Some(scope)) => scope.group.name.to_string(),
        (_, None) => String::new(),
    };
    let mut plan = plan::plan(wish.verb, subject, &parts, &snapshot, &wish.policy)?;
    plan.ports = assigned;
    plan.notes.splice(0..0, wish.notes);
    plan.notes.extend(admission::notes(shared, &wish.scopes, &plan).await);
    plan.notes.extend(adopted.iter().filter(|one| one.is_unchanged).map(adopted_note));
    plan.problems.splice(0..0, problems);
    Ok(Planned {
        verb: wish.verb,
        plan,
        scopes: wish.scopes,
        service: wish.service,
        policy: wish.policy,
        daemon_moves,
        adopted,
    })
}

fn adopted_note(one: &Candidate) -> String {
    let mut note = format!("adopts `{}` as it is", one.found.name);
    let is_open = |binding: &&Binding| matches!(binding.host_ip.as_str(), "" | "0.0.0.0" | "::");
    let open: BTreeSet<String> =
        one.found.ports.iter().filter(is_open).map(|binding| binding.host_port.to_string()).collect();
    if !open.is_empty() {
        let noun = if open.len() == 1 { "port" } else { "ports" };
        let ports: Vec<String> = open.into_iter().collect();
        note.push_str(&format!(
            "; other machines can reach its {noun} {} until it is recreated",
            ports.join(", ")
        ));
    }
    note
}

/// Whether a port's error is about the wish, so that the rest can be planned beside it.
fn is_refusal(reason: Reason) -> bool {
    matches!(reason, Reason::PortConflict | Reason::PortRangeFull | Reason::InvalidField)
}

/// Registries are asked for what is to be pulled, before anything is written or made.
pub(crate) async fn check_images(shared: &Shared, plan: &mut Plan) {
    let pulls = plan.steps.iter().filter_map(|step| match &step.work {
        Work::Pull { image, .. } => {
            Some((image.clone(), step.service.as_ref().map(|(_, name)| name.clone())))
        }
        _ => None,
    });
    let pulls: Vec<_> = pulls.collect();
    let asked: Vec<Option<Problem>> = futures::stream::iter(pulls)
        .map(|(image, service)| check_image(shared, image, service))
        .buffered(QUESTIONS)
        .collect()
        .await;
    plan.problems.extend(asked.into_iter().flatten());
}

async fn check_image(shared: &Shared, image: String, service: Option<ServiceRef>) -> Option<Problem> {
    let images = &shared.world.engine.images;
    let Err(engine::Error::PullRefused { why, .. } | engine::Error::NoImage(why)) =
        images.resolvable(&image).await
    else {
        return None;
    };
    if images.exists(&image).await.unwrap_or(false) {
        return None;
    }
    let who = service.as_ref().map(|name| format!(" of `{name}`")).unwrap_or_default();
    let message = format!("image `{image}`{who} is not on this engine and cannot be pulled: {why}");
    let hint = "correct its name, log in to its registry, or build it";
    let subject = service.map_or_else(|| image.clone(), |name| name.to_string());
    Some(Problem::new(Reason::ImageNotFound, subject, message, hint).with("image", &image))
}

/// What has to be so before anything is written: the daemon is out of the way.
pub(crate) async fn prepare(shared: &Shared, planned: &Planned) -> Result<()> {
    if planned.daemon_moves {
        ports::make_way(shared, &planned.plan.ports).await?;
    }
    Ok(())
}

/// Writes the operation, its ports and wishes into `tx`, commits, and begins to run it.
pub(crate) async fn submit(
    shared: &Arc<Shared>,
    ctx: &Ctx,
    mut tx: Box<dyn Tx>,
    mut planned: Planned,
    discard: Vec<ServiceId>,
) -> Result<Operation> {
    let now = shared.world.clock.now();
    let direction = planned.verb.direction();
    let Some(first) = planned.scopes.first() else { return Err(Error::new(Reason::NoRows, "nothing to do")) };
    let group = first.group.clone();
    let mut services = HashSet::new();
    for scope in &mut planned.scopes {
        if direction == Direction::Up {
            let assigned: Vec<_> = planned
                .plan
                .ports
                .iter()
                .filter(|one| one.owner.group == scope.group.name)
                .cloned()
                .collect();
            // The rows in the scope carry the new ports already; the table has the old ones.
            for service in &mut scope.chosen {
                let held = tx.ports().of_service(&service.id).await?;
                service.ports = held.into_iter().map(|lease| lease.binding).collect();
            }
            planned.plan.notes.extend(ports::write(tx.as_mut(), &assigned, &mut scope.chosen, now).await?);
        }
        let former = scope.former.iter().filter(|_| planned.policy.remove_orphans);
        let former: Vec<&Service> = former.flat_map(|(_, services)| services).collect();
        let is_former = |id: &ServiceId| former.iter().any(|service| service.id == *id);
        let gone = scope.orphans.iter().filter(|orphan| discard.contains(&orphan.id));
        let gone = gone.chain(former.iter().copied());
        let touched = planned.plan.services();
        let mut emptied = scope.emptied();
        emptied.retain(|service| touched.contains(&&service.id));
        let is_emptied = |id: &ServiceId| emptied.iter().any(|service| service.id == *id);
        for service in scope.chosen.iter().chain(gone).chain(emptied.iter().copied()) {
            services.insert(service.id.clone());
            let Some(before) = tx.services().get(&service.id).await? else { continue };
            let mut row = before.clone();
            row.ports.clone_from(&service.ports);
            if let Some(one) = planned.adopted.iter().find(|one| one.service == row.id) {
                tx.adoptions().replace(&row.id, &[one.adoption()]).await?;
                sight::show(&mut row, Some(&one.found), now);
            }
            row.desired = desired(planned.verb, &row, {
                discard.contains(&row.id) || is_former(&row.id) || is_emptied(&row.id)
            });
            let is_wanted_again = before.desired != Desired::Running && row.desired == Desired::Running;
            if is_wanted_again && matches!(row.observed, Observed::Exited(_)) {
                row.ended_by = Some(Ended::Clos);
            }
            // What was gone is no news any more: it is made anew, or not wanted.
            if row.observed == Observed::Absent {
                row.container_id = None;
            }
            if direction == Direction::Up && row.status_reason == Some(Reason::Skipped) {
                row.status_reason = None;
                row.status_detail.clear();
            }
            if row != before {
                sight::save(tx.as_mut(), &before, &mut row, now).await?;
            }
        }
    }
    let operation = Operation {
        id: OperationId::from_unique(&shared.world.ids.unique()),
        verb: planned.verb,
        group_id: group.id.clone(),
        group: group.name.clone(),
        service: planned.service.clone(),
        state: State::Pending,
        reason: None,
        message: planned.plan.notes.join("; "),
        policy: planned.policy.failure,
        cancel_requested: false,
        steps: planned.plan.steps.iter().map(step_row).collect(),
        leftovers: Vec::new(),
        request_id: ctx.request_id.clone(),
        created_at: now,
        started_at: None,
        ended_at: None,
    };
    tx.operations().insert(&operation).await?;
    let mut event = Draft::new(types::GROUP_OPERATION_STARTED, now);
    event.group = Some(group.name);
    event.service.clone_from(&planned.service);
    event.data.service_name = name_of(&operation);
    event.operation = Some(operation.id.clone());
    event.data.verb = Some(planned.verb.as_str().to_owned());
    event.data.message = (!operation.message.is_empty()).then(|| operation.message.clone());
    tx.journal().append(event);
    shared.ledger.commit(tx).await?;
    shared.runner.start(operation.clone(), planned.plan, services, discard, &shared.supervisor);
    Ok(operation)
}

fn desired(verb: Verb, row: &Service, is_orphan: bool) -> Desired {
    if is_orphan {
        return Desired::Absent;
    }
    match verb {
        Verb::Up | Verb::Start | Verb::Restart | Verb::Recreate => Desired::Running,
        Verb::Stop if row.desired == Desired::Absent && row.observed == Observed::Absent => Desired::Absent,
        Verb::Stop => Desired::Stopped,
        Verb::Down => Desired::Absent,
    }
}

/// Plans and submits a verb on rows as they are.
pub(crate) async fn run(shared: &Arc<Shared>, ctx: &Ctx, wish: Wish) -> Result<Operation> {
    let mut planned = plan_wish(shared, wish).await?;
    check_images(shared, &mut planned.plan).await;
    refuse(shared, &planned).await?;
    prepare(shared, &planned).await?;
    let tx = shared.world.store.begin().await?;
    submit(shared, ctx, tx, planned, Vec::new()).await
}

/// A plan with problems is refused with all of them; its port conflicts are told besides.
pub(crate) async fn refuse(shared: &Shared, planned: &Planned) -> Result<()> {
    let Some(error) = planned.plan.refusal() else { return Ok(()) };
    if let Some(scope) = planned.scopes.first() {
        tell_conflict(shared, &error, &scope.group.name).await;
    }
    Err(error)
}

/// A port that could not be had is a fact of its own; that it cannot be journaled changes no answer.
async fn tell_conflict(shared: &Shared, error: &Error, group: &clos_domain::name::GroupRef) {
    if error.conflicts().is_empty() {
        return;
    }
    let told = async {
        let mut tx = shared.world.store.begin().await?;
        for event in ports::conflict_events(error, group, shared.world.clock.now()) {
            tx.journal().append(event);
        }
        shared.ledger.commit(tx).await
    };
    if let Err(error) = told.await {
        tracing::warn!(%error, "a port conflict could not be journaled");
    }
}

/// A group with all its services.
pub(crate) async fn scope_of(tx: &mut dyn Tx, group: Group) -> Result<Scope> {
    let all = tx.services().of_group(&group.id).await?;
    let chosen = all.iter().filter(|service| service.definition.enabled).cloned().collect();
    Ok(Scope { group, all, chosen, orphans: Vec::new(), former: Vec::new() })
}

/// The groups that a group needs, however far away, each in its base instance unless the edge names one.
pub(crate) async fn dependencies_of(tx: &mut dyn Tx, group: &Group) -> Result<Vec<Scope>> {
    let mut scopes: Vec<Scope> = Vec::new();
    let mut seen = BTreeSet::from([group.name.clone()]);
    let mut open: Vec<(Group, Option<BTreeSet<ServiceName>>)> = needed(tx, group).await?;
    while let Some((group, only)) = open.pop() {
        if !seen.insert(group.name.clone()) {
            continue;
        }
        open.extend(needed(tx, &group).await?);
        let mut scope = scope_of(tx, group).await?;
        if let Some(only) = only {
            choose(&mut scope, &only, true)?;
        }
        scopes.push(scope);
    }
    Ok(scopes)
}

async fn needed(tx: &mut dyn Tx, group: &Group) -> Result<Vec<(Group, Option<BTreeSet<ServiceName>>)>> {
    let mut found: Vec<(Group, Option<BTreeSet<ServiceName>>)> = Vec::new();
    for dependency in &group.definition.depends_on {
        let Some(other) = tx.groups().find(&dependency.group).await? else {
            return Err(Error::new(
                Reason::UnknownDependency,
                format!(
                    "group `{}` depends on `{dependency}`, and there is no such group; apply its files first",
                    group.name
                ),
            )
            .with("group", &group.name)
            .with("dependency", dependency));
        };
        let only = dependency.service.clone().map(|service| BTreeSet::from([service]));
        match found.iter_mut().find(|(known, _)| known.id == other.id) {
            None => found.push((other, only)),
            Some((_, known)) => match (known.as_mut(), only) {
                (Some(known), Some(only)) => known.extend(only),
                _ => *known = None,
            },
        }
    }
    Ok(found)
}

/// The name of the service that an operation was asked for, where it was for a single one.
pub(crate) fn name_of(operation: &Operation) -> Option<String> {
    let asked = operation.service.as_ref()?;
    let mut steps = operation.steps.iter().filter(|step| step.service.as_ref() == Some(asked));
    Some(steps.find_map(|step| step.service_name.as_ref())?.name.to_string())
}

/// The name of a service of a group, for which a caller may give the resource name or the id too.
pub(crate) fn name_in(group: &GroupRef, all: &[Service], field: &str, raw: &str) -> Result<ServiceName> {
    if let Some(service) = all.iter().find(|service| service.id.as_str() == raw) {
        return Ok(service.definition.name.clone());
    }
    if !raw.contains('/') {
        return ServiceName::parse(field, raw);
    }
    let named = ServiceRef::parse(field, raw)?;
    if named.group != *group {
        return Err(Error::field(field, format!("`{named}` is not a service of group `{group}`")));
    }
    Ok(named.name)
}

/// Keeps the named services of a scope, and what they need; not a service that is off where the
/// dependency is optional or the service is scaled to 0.
pub(crate) fn choose(scope: &mut Scope, names: &BTreeSet<ServiceName>, with_needs: bool) -> Result<()> {
    for name in names {
        if !scope.all.iter().any(|service| service.definition.name == *name) {
            let known: Vec<String> =
                scope.all.iter().map(|service| service.definition.name.to_string()).collect();
            let hint = lookup::nearest(name.as_str(), &known);
            return Err(Error::new(
                Reason::ServiceNotFound,
                format!("there is no service `{}/{name}`{hint}", scope.group.name),
            ));
        }
    }
    let kept = if with_needs {
        let keys = scope.all.iter().map(|service| service.definition.name.clone());
        let is_off = |name: &ServiceName, required: bool| {
            let found = scope.all.iter().find(|one| one.definition.name == *name);
            let definition = found.map(|one| &one.definition);
            definition.is_some_and(|one| !one.enabled && (!required || one.scale == Some(0)))
        };
        let edges = scope.all.iter().flat_map(|service| {
            let needs = service.definition.depends_on.iter();
            let needs = needs.filter(|need| !is_off(&need.service, need.required));
            needs.map(|need| (service.definition.name.clone(), need.service.clone()))
        });
        let graph = Graph::new(keys, edges).map_err(|cycle| {
            Error::new(Reason::DependencyCycle, format!("services depend on each other in a circle: {cycle}"))
        })?;
        graph.with_needs(names.iter().cloned())
    } else {
        names.clone()
    };
    scope.chosen =
        scope.all.iter().filter(|service| kept.contains(&service.definition.name)).cloned().collect();
    Ok(())
}

/// Adds what runs in the namespaces of the chosen, or on their volumes: it is dead without them.
pub(crate) fn add_guests(scope: &mut Scope) {
    loop {
        let chosen: BTreeSet<&str> = scope.chosen.iter().map(|one| one.definition.name.as_str()).collect();
        let is_guest = |service: &&Service| {
            let container = service.definition.container();
            let mut owners = container.shared_services().into_iter().chain(container.mounted_from());
            service.observed.is_running()
                && !chosen.contains(service.definition.name.as_str())
                && owners.any(|owner| chosen.contains(owner))
        };
        let guests: Vec<Service> = scope.all.iter().filter(is_guest).cloned().collect();
        if guests.is_empty() {
            return;
        }
        scope.chosen.extend(guests);
    }
}

/// Groups that run and need this one: a stop says so, and stops them not.
pub(crate) async fn running_dependants(tx: &mut dyn Tx, group: &Group) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let all = tx.groups().list(None, &clos_domain::page::Request::ALL).await?.items;
    for other in all {
        if !other.definition.depends_on.iter().any(|need| need.group == group.name) {
            continue;
        }
        let services = tx.services().of_group(&other.id).await?;
        if services.iter().any(|service| service.observed.is_running()) {
            notes.push(format!("`{}` depends on `{}` and is running", other.name, group.name));
        }
    }
    Ok(notes)
}

/// The policy of a stop with this grace period.
pub(crate) fn with_grace(grace: Option<Duration>) -> Policy {
    Policy { grace, ..Policy::default() }
}
