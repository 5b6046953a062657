//! `clos wait`: returns when services are in a state.

use std::collections::{BTreeMap, BTreeSet};

use clos_client::Client;
use clos_proto::v2 as pb;

use crate::args::{Wait, WaitFor};
use crate::failure::{Exit, Failure};
use crate::output::words;
use crate::session::Session;
use crate::target::{self, Target};
use crate::time;

pub(super) async fn run(session: &Session<'_>, args: &Wait) -> Result<Exit, Failure> {
    let limit = time::span("--timeout", &args.timeout)?;
    let client = session.client().await?;
    let targets = target::resolve(session, &client, &args.targets.place, &args.targets.names).await?;
    let mut watch = client
        .watch_events(pb::WatchEventsRequest {
            event_type: vec!["service.*".to_owned(), "group.*".to_owned()],
            ..pb::WatchEventsRequest::default()
        })
        .await?;
    // The watch stands before the first look, so that nothing happens between them.
    let mut left = look(&client, &targets, args.state).await?;
    let waiting = async {
        while !left.waiting.is_empty() {
            if !left.failed.is_empty() {
                return Err(failed(left.failed));
            }
            watch.next().await?;
            left = look(&client, &targets, args.state).await?;
        }
        Ok::<(), Failure>(())
    };
    match tokio::time::timeout(limit, waiting).await {
        Ok(outcome) => outcome.map(|()| Exit::Ok),
        Err(_) => Err(late(session, &client, &targets, args).await),
    }
}

/// Who is not in the state yet, and how they are.
#[derive(Default)]
struct Left {
    waiting: BTreeMap<String, String>,
    /// Those of them that nothing is going to bring there, and whether they were skipped for another's sake.
    failed: BTreeMap<String, (String, bool)>,
}

async fn look(client: &Client, targets: &[Target], state: WaitFor) -> Result<Left, Failure> {
    let mut left = Left::default();
    for target in targets {
        let (group, only) = match target {
            Target::Group(group) => (group, None),
            Target::Service { group, name } => (group, Some(name)),
        };
        let asked =
            pb::ListServicesRequest { group: target::full_name(group), ..pb::ListServicesRequest::default() };
        let mut failed = BTreeMap::new();
        for service in target::services(client, asked).await? {
            let is_meant = match only {
                Some(name) => service.name == *name,
                // What no profile enables is not waited for.
                None => service.enabled,
            };
            if is_meant && !is_in(&service, state) {
                let how = how(&service);
                if has_failed(&service, state) {
                    let was_skipped = service.status_reason == "SKIPPED";
                    failed.insert(words::service_name(&service), (how.clone(), was_skipped));
                }
                left.waiting.insert(words::service_name(&service), how);
            }
        }
        // An operation that is still open may bring up what failed before it.
        if !failed.is_empty() && !is_in_progress(client, group).await? {
            left.failed.append(&mut failed);
        }
    }
    Ok(left)
}

/// `failed (EXITED 3)`, and what is known beyond the words.
fn how(service: &pb::Service) -> String {
    let (word, _) = words::service_status(service.status());
    let code = service.exit_code.filter(|_| service.status_reason == "EXITED");
    let mut how = match (service.status_reason.as_str(), code) {
        ("", _) => word.to_owned(),
        (reason, Some(code)) => format!("{word} ({reason} {code})"),
        (reason, None) => format!("{word} ({reason})"),
    };
    if code.is_none() && !service.status_detail.is_empty() {
        how = format!("{how}: {}", service.status_detail);
    }
    how
}

fn is_in(service: &pb::Service, state: WaitFor) -> bool {
    // What an engine that is away showed last says nothing of now.
    if service.status_reason == "ENGINE_UNREACHABLE" {
        return false;
    }
    let is_done = service.status_reason == "COMPLETED";
    match state {
        WaitFor::Healthy | WaitFor::Running if service.status_reason == "PAUSED" => false,
        WaitFor::Healthy => service.status() == pb::ServiceStatus::Running || is_done,
        WaitFor::Running => {
            matches!(service.status(), pb::ServiceStatus::Running | pb::ServiceStatus::Unhealthy) || is_done
        }
        WaitFor::Stopped => {
            matches!(service.status(), pb::ServiceStatus::Stopped | pb::ServiceStatus::Failed)
        }
    }
}

fn has_failed(service: &pb::Service, state: WaitFor) -> bool {
    state != WaitFor::Stopped
        && service.desired_state() == pb::DesiredState::Running
        && (service.status() == pb::ServiceStatus::Failed
            || matches!(service.status_reason.as_str(), "SKIPPED" | "STOPPED_OUTSIDE"))
}

async fn is_in_progress(client: &Client, group: &pb::Group) -> Result<bool, Failure> {
    let request = pb::GetGroupRequest { name: target::full_name(group) };
    let group = client.get_group(request).await?;
    Ok(matches!(group.status(), pb::GroupStatus::Starting | pb::GroupStatus::Stopping))
}

fn failed(services: BTreeMap<String, (String, bool)>) -> Failure {
    let mut all = services.iter();
    let message = match (all.next(), all.next()) {
        (Some((name, (_, true))), None) => format!("{name} was not started"),
        (Some((name, _)), None) => format!("{name} has failed"),
        _ => format!("{} services have failed or were not started", services.len()),
    };
    let mut failure = Failure::own(message);
    for (name, (how, _)) in &services {
        failure = failure.fact(name, how.clone());
    }
    // What never started has no log.
    for (name, _) in services.iter().filter(|(_, (_, was_skipped))| !was_skipped) {
        failure = failure.hint(format!("clos logs {name}"));
    }
    let groups: BTreeSet<&str> = services.keys().filter_map(|name| name.split('/').next()).collect();
    for group in groups {
        failure = failure.hint(format!("clos start {group}"));
    }
    failure
}

async fn late(session: &Session<'_>, client: &Client, targets: &[Target], args: &Wait) -> Failure {
    let mut failure = Failure::timed_out(format!("timed out after {}", args.timeout));
    match look(client, targets, args.state).await {
        Ok(left) => {
            for (name, how) in &left.waiting {
                failure = failure.fact(name, how.clone());
            }
            for name in left.waiting.keys() {
                failure = failure.hint(format!("clos logs {name}"));
            }
        }
        Err(_) => session.note("the daemon no longer answers"),
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(status: pb::ServiceStatus, reason: &str) -> pb::Service {
        pb::Service {
            status: status.into(),
            status_reason: reason.into(),
            desired_state: pb::DesiredState::Running.into(),
            ..pb::Service::default()
        }
    }

    #[test]
    fn a_paused_one_is_waited_for_and_a_stopped_one_is_not() {
        let paused = service(pb::ServiceStatus::Running, "PAUSED");
        let stopped = service(pb::ServiceStatus::Stopped, "STOPPED_OUTSIDE");
        for state in [WaitFor::Healthy, WaitFor::Running] {
            assert!(!is_in(&paused, state) && !has_failed(&paused, state));
            assert!(!is_in(&stopped, state) && has_failed(&stopped, state));
        }
        assert!(is_in(&stopped, WaitFor::Stopped) && !has_failed(&stopped, WaitFor::Stopped));
    }
}
