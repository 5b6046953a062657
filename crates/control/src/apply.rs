//! `up` and `plan`: from compose files to rows, a plan, and an operation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clos_compose as compose;
use clos_domain::error::Finding;
use clos_domain::event::types;
use clos_domain::group::{self, Group};
use clos_domain::id::{GroupId, ServiceId};
use clos_domain::name::{GroupName, GroupRef, Instance, ServiceName};
use clos_domain::operation::{FailurePolicy, Operation, Verb};
use clos_domain::page;
use clos_domain::plan::{Plan, Policy, Work};
use clos_domain::seams::Tx;
use clos_domain::service::{self, Observed, Service};
use clos_domain::workload::PullPolicy;
use clos_domain::{Ctx, Error, Reason, Result};

use crate::convert::{self, Converted};
use crate::groups::{self, GroupView};
use crate::reach::Reach;
use crate::snapshot::Scope;
use crate::verbs::{self, Planned, Wish};
use crate::{Shared, services};

/// Names the project over what the files say.
const PROJECT_NAME: &str = "COMPOSE_PROJECT_NAME";
/// Files name files; so many rounds of reading are enough for every honest project.
const ROUNDS: usize = 64;

/// The texts and the environment that a project is read from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The caller's folder, absolute.
    pub working_dir: String,
    /// Path and text of each compose file, in order.
    pub files: Vec<(String, String)>,
    /// Path and text of `.env`, or of each `--env-file`, in order.
    pub env_files: Vec<(String, String)>,
    /// The caller's variables: a value, or known to be unset.
    pub variables: BTreeMap<String, Option<String>>,
    /// The caller's home folder, absolute.
    pub home: Option<String>,
}

/// What is to be applied, and how.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Request {
    /// `-p`; `None` takes the name that the files give.
    pub group: Option<String>,
    /// The copy that is meant.
    pub instance: Option<String>,
    /// What it is read from.
    pub source: Source,
    /// Active profiles.
    pub profiles: Vec<String>,
    /// Only the plan.
    pub dry_run: bool,
    /// Containers too, and not rows only.
    pub start: bool,
    /// Build even where the image is there.
    pub build: bool,
    /// When images are pulled, over what the files say; `build` says when they are built.
    pub pull: Option<PullPolicy>,
    /// A failure undoes everything.
    pub atomic: bool,
    /// Replace strangers' containers that have our names.
    pub adopt: bool,
    /// The group moves to this folder.
    pub move_here: bool,
    /// Remove what the files no longer have.
    pub remove_orphans: bool,
    /// Only these, and what they need.
    pub services: Vec<String>,
    /// Not what they need.
    pub no_deps: bool,
    /// Replace containers of the same spec too.
    pub force_recreate: bool,
    /// Do not wait for gates that nothing needs.
    pub no_wait: bool,
    /// Volumes without a name are made anew.
    pub renew_anon_volumes: bool,
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The group as it is, or would be.
    pub group: GroupView,
    /// What is done, or would be.
    pub plan: Plan,
    /// What is worth knowing about the files.
    pub findings: Vec<Finding>,
    /// The operation that was begun.
    pub operation: Option<Operation>,
}

/// What the files say.
struct Understood {
    name: GroupRef,
    project: compose::Project,
    converted: Converted,
    reach: Reach,
}

/// The rows as the files want them.
struct Rows {
    group: Group,
    is_new: bool,
    inserts: Vec<Service>,
    updates: Vec<Service>,
    kept: Vec<Service>,
    orphans: Vec<Service>,
    former: Vec<(Group, Vec<Service>)>,
}

impl groups::Groups<'_> {
    /// Reads files, and does what they say: rows, then containers.
    pub async fn apply(&self, ctx: &Ctx, request: Request) -> Result<Applied> {
        apply(self.shared, ctx, request).await
    }

    /// Reads files into rows and starts nothing.
    pub async fn import(&self, ctx: &Ctx, request: Request) -> Result<Applied> {
        apply(self.shared, ctx, Request { start: false, ..request }).await
    }
}

async fn apply(shared: &Arc<Shared>, ctx: &Ctx, request: Request) -> Result<Applied> {
    let mut reach = Reach::of(shared, ctx, &request.source.working_dir).await;
    let project = read(shared, &mut reach, &request).await?;
    let name = GroupRef {
        name: GroupName::parse("name", &project.name)?,
        instance: request.instance.as_deref().map(|raw| Instance::parse("instance", raw)).transpose()?,
    };
    let mut converted = convert::convert(&project, &name)?;
    let unset = std::mem::take(&mut converted.unset);
    let files = Understood { name, project, converted, reach };
    carry_out(shared, ctx, &request, files).await.map_err(|error| error.and_findings(unset))
}

async fn carry_out(shared: &Arc<Shared>, ctx: &Ctx, request: &Request, files: Understood) -> Result<Applied> {
    let Understood { name, project, mut converted, mut reach } = files;
    let mut findings = std::mem::take(&mut converted.findings);
    let (found, problems) = reach.judge(shared, &name, &project, &converted).await;
    drop(project);
    findings.extend(found);
    let mut notes = std::mem::take(&mut converted.notes);
    notes.extend(reach.notes());

    let _turn = shared.submitting.lock().await;
    let rows = rows(shared, request, &name, converted).await?;
    let scopes = scopes(shared, request, &rows).await?;
    let policy = Policy {
        build: request.build,
        pull: request.pull,
        force_recreate: request.force_recreate,
        adopt: request.adopt,
        remove_orphans: request.remove_orphans,
        no_wait: request.no_wait,
        renew_anon_volumes: request.renew_anon_volumes,
        failure: if request.atomic { FailurePolicy::Undo } else { FailurePolicy::Leave },
        ..Policy::default()
    };
    let of_files = notes.clone();
    let wish = Wish { verb: Verb::Up, scopes, along_from: 1, service: None, policy, notes, problems };
    let mut planned = verbs::plan_wish(shared, wish).await?;
    if request.start {
        let missing = reach.into_missing(&planned.plan);
        planned.plan.problems.extend(missing);
        verbs::check_images(shared, &mut planned.plan).await;
    }
    if request.dry_run {
        let services = planned.scopes.into_iter().next().map(|scope| scope.all).unwrap_or_default();
        let group = groups::view_of(shared, rows.group, services, None);
        return Ok(Applied { group, plan: planned.plan, findings, operation: None });
    }
    verbs::refuse(shared, &planned).await?;
    if !planned.plan.steps.iter().any(|step| matches!(step.work, Work::Create(_))) {
        // What the files say is noted when a container is made of it, and not again with each `up`.
        planned.plan.notes.retain(|note| !of_files.contains(note));
    }
    let plan = planned.plan.clone();
    if request.start {
        verbs::prepare(shared, &planned).await?;
    }
    let operation = write(shared, ctx, request, &rows, planned).await?;
    let group = self::groups::Groups { shared }.get(ctx, rows.group.id.as_str()).await?;
    Ok(Applied { group, plan, findings, operation })
}

/// Reads the project, and the files that it names, until nothing is missing.
async fn read(shared: &Shared, reach: &mut Reach, request: &Request) -> Result<compose::Project> {
    let source = &request.source;
    let files = |files: &[(String, String)]| -> Vec<compose::File> {
        files.iter().map(|(path, text)| compose::File { path: path.clone(), text: text.clone() }).collect()
    };
    let mut input = compose::Input {
        working_dir: source.working_dir.clone(),
        files: files(&source.files),
        env_files: files(&source.env_files),
        variables: source.variables.clone(),
        home: source.home.clone(),
        project_name: request.group.clone(),
        profiles: request.profiles.clone(),
        services: request.services.clone(),
        ..compose::Input::default()
    };
    for _ in 0..ROUNDS {
        let (back, outcome) = tokio::task::spawn_blocking(move || {
            let outcome = compose::load(&input);
            (input, outcome)
        })
        .await
        .map_err(Error::internal)?;
        input = back;
        match outcome {
            compose::Outcome::Ready(project) => return Ok(*project),
            compose::Outcome::Failed(errors) => return Err(convert::compose_errors(&errors)),
            compose::Outcome::NeedsVariables(names) => {
                let message = format!(
                    "the files use variables that were not sent: {}; send each with its value, or as unset",
                    listed(&names)
                );
                return Err(Error::new(Reason::VariablesNeeded, message).with_variables(names));
            }
            compose::Outcome::NeedsFiles(wanted) => {
                for one in wanted {
                    let text = reach.read(shared.world.files.as_ref(), &one).await;
                    input.fetched.insert(one.path, text);
                }
            }
        }
    }
    Err(Error::new(
        Reason::InvalidFile,
        format!("the files name further files over more than {ROUNDS} steps"),
    ))
}

/// The first of many names, and how many more there are.
fn listed(names: &[String]) -> String {
    const MOST: usize = 10;
    match names.len().checked_sub(MOST) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..MOST].join(", ")),
    }
}

/// Lays the files over the rows that there are.
async fn rows(shared: &Shared, request: &Request, name: &GroupRef, converted: Converted) -> Result<Rows> {
    let now = shared.world.clock.now();
    let mut view = shared.world.store.view().await?;
    let existing = view.groups().find(name).await?;
    let before = match &existing {
        Some(group) => view.services().of_group(&group.id).await?,
        None => Vec::new(),
    };
    drop(view);
    let is_new = existing.is_none();
    let mut group = existing.unwrap_or_else(|| Group {
        id: GroupId::from_unique(&shared.world.ids.unique()),
        name: name.clone(),
        definition: group::Definition::default(),
        created_at: now,
        updated_at: now,
    });
    let old_dir = &group.definition.working_dir;
    let is_elsewhere = !old_dir.is_empty() && *old_dir != converted.group.working_dir;
    if is_elsewhere && !request.move_here {
        return Err(Error::new(
            Reason::ProjectMismatch,
            format!(
                "group `{name}` belongs to {old_dir}, and these files are in {}; use --instance NAME for a second copy, --project NAME for another name, or --move to move it here",
                converted.group.working_dir
            ),
        )
        .with("group", name)
        .with("working_dir", old_dir));
    }
    let from_api = group.definition.clone();
    group.definition = group::Definition {
        description: from_api.description,
        start_order: from_api.start_order,
        auto_restart: from_api.auto_restart,
        is_named_by_files: is_named_by_files(request),
        ..converted.group
    };
    group.updated_at = now;

    let former = if request.start { former(shared, &group).await? } else { Vec::new() };
    let mut rows =
        Rows { group, is_new, inserts: vec![], updates: vec![], kept: vec![], orphans: vec![], former };
    let mut old: BTreeMap<ServiceName, Service> =
        before.into_iter().map(|service| (service.definition.name.clone(), service)).collect();
    for definition in converted.services {
        match old.remove(&definition.name) {
            None => {
                let id = ServiceId::from_unique(&shared.world.ids.unique());
                rows.inserts.push(services::row(id, &rows.group, definition, now));
            }
            Some(service) if service.definition == definition => rows.kept.push(service),
            Some(mut service) => {
                service.definition = merged(definition, &service.definition);
                service.generation += 1;
                service.updated_at = now;
                rows.updates.push(service);
            }
        }
    }
    let disabled: BTreeSet<&str> = converted.disabled.iter().map(String::as_str).collect();
    for service in old.into_values() {
        if disabled.contains(service.definition.name.as_str()) {
            let mut service = service;
            if service.definition.enabled {
                // Its profile was asked for before and is not now.
                service.definition.enabled = false;
                service.updated_at = now;
                rows.updates.push(service);
            } else {
                rows.kept.push(service);
            }
        } else {
            rows.orphans.push(service);
        }
    }
    Ok(rows)
}

/// Nobody asked for another name than that of the files or their folder.
fn is_named_by_files(request: &Request) -> bool {
    let asked = request.source.variables.get(PROJECT_NAME).and_then(Option::as_deref);
    request.group.is_none() && asked.unwrap_or_default().is_empty()
}

/// The groups that these files were before they, or their folder, got another name, and their
/// services that still have containers.
async fn former(shared: &Shared, group: &Group) -> Result<Vec<(Group, Vec<Service>)>> {
    if !group.definition.is_named_by_files || group.definition.compose_files.is_empty() {
        return Ok(Vec::new());
    }
    let mut view = shared.world.store.view().await?;
    let mut found = Vec::new();
    let all = view.groups().list(None, &page::Request::ALL).await?.items;
    for other in all {
        let (own, its) = (&group.definition, &other.definition);
        let is_former = other.id != group.id
            && other.name.instance == group.name.instance
            && its.is_named_by_files
            && (&its.working_dir, &its.compose_files) == (&own.working_dir, &own.compose_files);
        if !is_former {
            continue;
        }
        let mut services = view.services().of_group(&other.id).await?;
        services.retain(|service| service.observed != Observed::Absent);
        if !services.is_empty() {
            found.push((other, services));
        }
    }
    Ok(found)
}

/// What only the API sets is kept over a new reading of the file.
fn merged(mut new: service::Definition, old: &service::Definition) -> service::Definition {
    new.tags.clone_from(&old.tags);
    if new.description.is_empty() {
        new.description.clone_from(&old.description);
    }
    if new.owner.is_empty() {
        new.owner.clone_from(&old.owner);
    }
    if new.version.is_empty() {
        new.version.clone_from(&old.version);
    }
    new
}

impl Rows {
    fn all(&self) -> Vec<Service> {
        self.inserts.iter().chain(&self.updates).chain(&self.kept).cloned().collect()
    }
}

async fn scopes(shared: &Shared, request: &Request, rows: &Rows) -> Result<Vec<Scope>> {
    let all = rows.all();
    let chosen: Vec<Service> = all.iter().filter(|service| service.definition.enabled).cloned().collect();
    let (orphans, former) = (rows.orphans.clone(), rows.former.clone());
    let mut scope = Scope { group: rows.group.clone(), all, chosen, orphans, former };
    if !request.services.is_empty() {
        let named = |raw: &String| verbs::name_in(&scope.group.name, &scope.all, "services", raw);
        let names = request.services.iter().map(named).collect::<Result<_>>()?;
        verbs::choose(&mut scope, &names, !request.no_deps)?;
        verbs::add_guests(&mut scope);
    }
    let mut scopes = vec![scope];
    if !request.no_deps && request.start {
        let mut view = shared.world.store.view().await?;
        scopes.extend(verbs::dependencies_of(view.as_mut(), &rows.group).await?);
    }
    Ok(scopes)
}

/// Rows, and the operation if containers are wanted, in one transaction.
async fn write(
    shared: &Arc<Shared>,
    ctx: &Ctx,
    request: &Request,
    rows: &Rows,
    planned: Planned,
) -> Result<Option<Operation>> {
    let mut tx = shared.world.store.begin().await?;
    write_rows(tx.as_mut(), rows).await?;
    let mut discard = Vec::new();
    for orphan in &rows.orphans {
        // A row without a container has nothing left to say.
        if matches!(orphan.observed, Observed::Absent) {
            services::tell_deleted(tx.as_mut(), orphan, rows.group.updated_at);
            tx.services().delete(&orphan.id).await?;
        } else if request.remove_orphans {
            discard.push(orphan.id.clone());
        }
    }
    if !request.start {
        shared.ledger.commit(tx).await?;
        return Ok(None);
    }
    verbs::submit(shared, ctx, tx, planned, discard).await.map(Some)
}

async fn write_rows(tx: &mut dyn Tx, rows: &Rows) -> Result<()> {
    if rows.is_new {
        groups::insert(tx, &rows.group).await?;
    } else {
        tx.groups().update(&rows.group).await?;
        tx.journal().append(groups::told(types::GROUP_UPDATED, &rows.group));
    }
    for service in &rows.inserts {
        services::insert(tx, service).await?;
    }
    for service in &rows.updates {
        tx.services().update(service).await?;
        tx.journal().append(services::told(types::SERVICE_UPDATED, service, rows.group.updated_at));
    }
    Ok(())
}
