//! `start`, `stop`, `restart`, `recreate` and `down`: what is registered, as it is registered.

use clos_client::Client;
use clos_proto::v2 as pb;

use crate::args::{Down, Pull, Recreate, Start, Stop, Targets};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::progress;
use crate::session::Session;
use crate::target::{self, Target};

pub(super) async fn start(session: &Session<'_>, args: &Start) -> Result<Exit, Failure> {
    let client = session.client().await?;
    let (groups, services) = split(session, &client, &args.targets).await?;
    for (is_given, flag) in [(args.atomic, "--atomic"), (args.no_wait, "--no-wait")] {
        if is_given && let Some(service) = services.first() {
            let message = format!("{flag} is for whole groups, and `{service}` is a service");
            return Err(Failure::usage(message).hint(format!("clos start {flag} {}", group_of(service))));
        }
    }
    let with_dependencies = args.no_deps.then_some(false);
    for group in groups {
        session.tell(&format!("Starting service group: {group}"))?;
        let request = pb::StartGroupRequest {
            name: group.clone(),
            with_dependencies,
            atomic: args.atomic,
            wait: args.no_wait.then_some(false),
            ..pb::StartGroupRequest::default()
        };
        let operation = client.start_group(request).await?;
        end(session, &client, &group, &operation).await?;
        session.tell(&format!("Service group '{group}' started successfully"))?;
    }
    if services.len() > 1 && !args.no_deps {
        return batch(session, &client, pb::BatchAction::Start, services, None).await;
    }
    for service in services {
        let request = pb::StartServiceRequest {
            id: service.clone(),
            with_dependencies,
            ..pb::StartServiceRequest::default()
        };
        let operation = client.start_service(request).await?;
        end(session, &client, &service, &operation).await?;
    }
    Ok(Exit::Ok)
}

pub(super) async fn stop(session: &Session<'_>, args: &Stop) -> Result<Exit, Failure> {
    let client = session.client().await?;
    let (groups, services) = split(session, &client, &args.targets).await?;
    let timeout = args.timeout;
    for group in groups {
        session.tell(&format!("Stopping service group: {group}"))?;
        let request =
            pb::StopGroupRequest { name: group.clone(), timeout, ..pb::StopGroupRequest::default() };
        let operation = client.stop_group(request).await?;
        end(session, &client, &group, &operation).await?;
        session.tell(&format!("Service group '{group}' stopped successfully"))?;
    }
    if services.len() > 1 {
        return batch(session, &client, pb::BatchAction::Stop, services, timeout).await;
    }
    for service in services {
        let request =
            pb::StopServiceRequest { id: service.clone(), timeout, ..pb::StopServiceRequest::default() };
        let operation = client.stop_service(request).await?;
        end(session, &client, &service, &operation).await?;
    }
    Ok(Exit::Ok)
}

pub(super) async fn restart(session: &Session<'_>, args: &Stop) -> Result<Exit, Failure> {
    let client = session.client().await?;
    let (groups, services) = split(session, &client, &args.targets).await?;
    let timeout = args.timeout;
    for group in groups {
        let request =
            pb::RestartGroupRequest { name: group.clone(), timeout, ..pb::RestartGroupRequest::default() };
        let operation = client.restart_group(request).await?;
        end(session, &client, &group, &operation).await?;
    }
    if services.len() > 1 {
        return batch(session, &client, pb::BatchAction::Restart, services, timeout).await;
    }
    for service in services {
        let request = pb::RestartServiceRequest {
            id: service.clone(),
            timeout,
            ..pb::RestartServiceRequest::default()
        };
        let operation = client.restart_service(request).await?;
        end(session, &client, &service, &operation).await?;
    }
    Ok(Exit::Ok)
}

pub(super) async fn recreate(session: &Session<'_>, args: &Recreate) -> Result<Exit, Failure> {
    let client = session.client().await?;
    let targets = target::resolve(session, &client, &args.place, &args.names).await?;
    if let Some(target @ Target::Group(group)) = targets.iter().find(|it| matches!(it, Target::Group(_))) {
        let name = target.name();
        let mut failure = Failure::usage(format!("recreate takes services, and `{name}` is a group"))
            .hint(format!("clos up --force-recreate -p {name}"));
        if let Some(service) = group.services.first() {
            failure = failure.hint(format!("clos recreate {name}/{service}"));
        }
        return Err(failure);
    }
    for service in targets.iter().map(Target::name) {
        let request = pb::RecreateServiceRequest {
            id: service.clone(),
            timeout: args.timeout,
            build: args.build,
            pull: Pull::policy(args.pull).into(),
            ..pb::RecreateServiceRequest::default()
        };
        let operation = client.recreate_service(request).await?;
        end(session, &client, &service, &operation).await?;
    }
    Ok(Exit::Ok)
}

pub(super) async fn down(session: &Session<'_>, args: &Down) -> Result<Exit, Failure> {
    let client = session.client().await?;
    let (groups, services) = split(session, &client, &args.targets).await?;
    if args.volumes
        && let Some(service) = services.first()
    {
        return Err(Failure::usage(format!("--volumes is for whole groups, and `{service}` is a service"))
            .hint(format!("clos down --volumes {}", group_of(service))));
    }
    let timeout = args.timeout;
    for group in groups {
        let volumes = args.volumes;
        let request =
            pb::DownGroupRequest { name: group.clone(), volumes, timeout, ..pb::DownGroupRequest::default() };
        let operation = client.down_group(request).await?;
        end(session, &client, &group, &operation).await?;
    }
    for service in services {
        let request =
            pb::DownServiceRequest { id: service.clone(), timeout, ..pb::DownServiceRequest::default() };
        let operation = client.down_service(request).await?;
        end(session, &client, &service, &operation).await?;
    }
    Ok(Exit::Ok)
}

/// The resource names of the groups and of the services that are meant.
async fn split(
    session: &Session<'_>,
    client: &Client,
    targets: &Targets,
) -> Result<(Vec<String>, Vec<String>), Failure> {
    let targets = target::resolve(session, client, &targets.place, &targets.names).await?;
    let is_group = |target: &Target| matches!(target, Target::Group(_));
    let (groups, services): (Vec<Target>, Vec<Target>) = targets.into_iter().partition(is_group);
    Ok((groups.iter().map(Target::name).collect(), services.iter().map(Target::name).collect()))
}

/// The group of a service's resource name.
fn group_of(service: &str) -> &str {
    service.split_once('/').map_or(service, |(group, _)| group)
}

/// Several services in one operation, so that they keep their order among each other.
async fn batch(
    session: &Session<'_>,
    client: &Client,
    action: pb::BatchAction,
    ids: Vec<String>,
    timeout: Option<i32>,
) -> Result<Exit, Failure> {
    let names = ids.join("\n");
    let request = pb::BatchServicesRequest {
        action: action.into(),
        ids,
        timeout,
        ..pb::BatchServicesRequest::default()
    };
    let operation = client.batch_services(request).await?;
    end(session, client, &names, &operation).await?;
    Ok(Exit::Ok)
}

/// Follows an operation to its end, and prints it for programs.
async fn end(
    session: &Session<'_>,
    client: &Client,
    name: &str,
    operation: &pb::Operation,
) -> Result<(), Failure> {
    let is_for_programs = output::is_for_programs(session.global);
    // What is removed with its data is named before it goes, the rest when all is said and done.
    let is_urgent = |note: &&str| note.starts_with("removes ");
    let notes = |message: &str, urgent: bool| {
        for note in message.split("; ").filter(|note| !note.is_empty() && is_urgent(note) == urgent) {
            session.note(&format!("note: {note}"));
        }
    };
    if !is_for_programs {
        notes(&operation.message, true);
    }
    let ended = progress::follow(session, client, operation).await?;
    if is_for_programs {
        output::one(session.context, session.global, "Operation", &ended, name, String::new)?;
    } else {
        notes(&ended.message, false);
    }
    Ok(())
}
