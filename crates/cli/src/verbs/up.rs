//! `clos up` and `clos plan`: the files of a project, handed to the daemon.

use clos_client::Client;
use clos_proto::v2 as pb;

use crate::args::{Desired, Plan, Pull, Up};
use crate::failure::{self, Exit, Failure};
use crate::output::{self, words};
use crate::session::Session;
use crate::{ending, progress, project, target};

/// How often the daemon may ask for more variables before something must be wrong. A list that was cut short to
/// fit into an error goes on in the next round and is not counted.
const ROUNDS: usize = 5;

pub(super) async fn up(session: &Session<'_>, args: &Up) -> Result<Exit, Failure> {
    let client = session.client().await?;
    let mut request = request(session, &client, &args.desired).await?;
    request.atomic = args.atomic;
    request.wait = args.no_wait.then_some(false);
    request.start = args.no_start.then_some(false);
    request.dry_run = args.dry_run;
    let answer = apply(session, &client, request).await?;
    let plan = answer.plan.unwrap_or_default();
    if args.dry_run {
        print_plan(session, &plan)?;
        return Ok(Exit::Ok);
    }
    tell_findings(session, &plan);
    if !output::is_for_programs(session.global) {
        for note in &plan.notes {
            session.note(&format!("note: {note}"));
        }
    }
    let whole = answer.group.as_ref().map(target::full_name).unwrap_or_default();
    let Some(operation) = answer.operation else {
        let group = answer.group.unwrap_or_default();
        output::one(session.context, session.global, "Group", &group, &whole, || {
            format!("Group '{whole}' is registered with {} services\n", group.total_services)
        })?;
        return Ok(Exit::Ok);
    };
    let ended = progress::follow(session, &client, &operation).await?;
    if output::is_for_programs(session.global) {
        output::one(session.context, session.global, "Operation", &ended, &whole, String::new)?;
    } else {
        ending::up(session, &client, &whole, &ended, progress::took(&ended)).await?;
    }
    Ok(Exit::Ok)
}

pub(super) async fn plan(session: &Session<'_>, args: &Plan) -> Result<Exit, Failure> {
    let client = session.client().await?;
    let mut request = request(session, &client, &args.desired).await?;
    request.dry_run = true;
    let plan = apply(session, &client, request).await?.plan.unwrap_or_default();
    print_plan(session, &plan)?;
    Ok(if args.exit_code && changes_something(&client, &plan).await? { Exit::Degraded } else { Exit::Ok })
}

/// Whether more would happen than a wait, or another run of what runs once and has ended well.
async fn changes_something(client: &Client, plan: &pb::Plan) -> Result<bool, Failure> {
    let mut steps: Vec<&pb::PlanStep> =
        plan.steps.iter().filter(|step| step.action() != pb::StepAction::Wait).collect();
    if steps.is_empty() {
        return Ok(false);
    }
    let group = words::group_name(&plan.group_name, &plan.instance);
    // A group that is not registered yet has no services.
    let services =
        match target::services(client, pb::ListServicesRequest { group, ..Default::default() }).await {
            Ok(services) => services,
            Err(Failure::Call(error)) if error.kind == clos_client::Kind::NotFound => Vec::new(),
            Err(failure) => return Err(failure),
        };
    let completed = services.iter().filter(|service| service.status_reason == "COMPLETED");
    let completed: Vec<String> = completed.map(words::service_name).collect();
    steps.retain(|step| step.action() != pb::StepAction::Start || !completed.contains(&step.service));
    Ok(!steps.is_empty())
}

async fn request(
    session: &Session<'_>,
    client: &Client,
    desired: &Desired,
) -> Result<pb::ApplyGroupRequest, Failure> {
    let mut desired = desired.clone();
    if desired.place.files.is_empty()
        && let Ok(Some(group)) = target::project(session, client, &desired.place).await
        && let Some(files) = project::remembered(session.context, &group)?
    {
        let named = group.compose_files.join(", ");
        session.note(&format!("note: with the files of the last `clos up`: {named} (-f FILE names others)"));
        desired.place.files = files;
        if desired.place.project.is_none() && desired.place.instance.is_none() && !group.instance.is_empty() {
            desired.place.instance = Some(group.instance);
        }
    }
    Ok(pb::ApplyGroupRequest {
        name: desired.place.project.clone().unwrap_or_else(|| "-".to_owned()),
        source: Some(project::source(session.context, &desired)?),
        instance: desired.place.instance.clone().unwrap_or_default(),
        profiles: desired.profiles.clone(),
        build: desired.build,
        pull: Pull::policy(desired.pull).into(),
        adopt: desired.adopt,
        r#move: desired.take_over,
        remove_orphans: desired.remove_orphans,
        services: desired.services.clone(),
        with_dependencies: desired.no_deps.then_some(false),
        force_recreate: desired.force_recreate,
        renew_anon_volumes: desired.renew_anon_volumes,
        ..pb::ApplyGroupRequest::default()
    })
}

/// Applies; files that only the daemon opens may need variables that nobody knew of.
async fn apply(
    session: &Session<'_>,
    client: &Client,
    mut request: pb::ApplyGroupRequest,
) -> Result<pb::ApplyGroupResponse, Failure> {
    let mut rounds = 0;
    while rounds < ROUNDS {
        match client.apply_group(request.clone()).await {
            Err(error) if error.reason == "VARIABLES_NEEDED" && !error.variables.is_empty() => {
                let source = request.source.get_or_insert_default();
                let is_new = error.variables.iter().any(|name| !source.variables.contains_key(name));
                let is_cut = error.metadata.contains_key("omitted");
                if !is_new || !is_cut {
                    rounds += 1;
                }
                project::answer(session.context, source, &error.variables);
            }
            outcome => return Ok(outcome?),
        }
    }
    Err(Failure::own(format!(
        "the daemon asked for other variables {ROUNDS} times; are there files that include each other?"
    )))
}

fn print_plan(session: &Session<'_>, plan: &pb::Plan) -> Result<(), Failure> {
    let names = || {
        let whole = words::group_name(&plan.group_name, &plan.instance);
        let mut names: Vec<String> = plan
            .steps
            .iter()
            .filter(|step| !step.service.is_empty())
            .map(|step| {
                if step.service.contains('/') {
                    step.service.clone()
                } else {
                    format!("{whole}/{}", step.service)
                }
            })
            .collect();
        names.sort();
        names.dedup();
        names.join("\n")
    };
    output::one(session.context, session.global, "Plan", plan, &names(), || plan.text.clone())?;
    tell_findings(session, plan);
    if plan.problems.is_empty() {
        return Ok(());
    }
    let group = words::group_name(&plan.group_name, &plan.instance);
    Err(Failure::Plan(group, plan.problems.clone()))
}

/// What the daemon noticed in the files; on the stream of errors, with where it is.
fn tell_findings(session: &Session<'_>, plan: &pb::Plan) {
    for finding in &plan.findings {
        let tone = words::severity(finding.severity());
        let label = match tone {
            words::Tone::Warn => "warning",
            words::Tone::Bad => "error",
            _ => "note",
        };
        let place = failure::place(finding);
        session.note(&format!(
            "{} {place}{}{}",
            session.style.on_error.apply(tone, &format!("{label}:")),
            if place.is_empty() { "" } else { ": " },
            finding.message
        ));
    }
}
