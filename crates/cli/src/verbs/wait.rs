//! `clos wait`: returns when services are in a state.

use std::collections::BTreeMap;

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
            event_type: vec!["service.*".to_owned()],
            ..pb::WatchEventsRequest::default()
        })
        .await?;
    // The watch stands before the first look, so that nothing happens between them.
    let mut left = look(&client, &targets, args.state).await?;
    let waiting = async {
        while !left.is_empty() {
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
async fn look(
    client: &Client,
    targets: &[Target],
    state: WaitFor,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut left = BTreeMap::new();
    for target in targets {
        let (group, only) = match target {
            Target::Group(group) => (group, None),
            Target::Service { group, name } => (group, Some(name)),
        };
        let asked =
            pb::ListServicesRequest { group: target::full_name(group), ..pb::ListServicesRequest::default() };
        for service in target::services(client, asked).await? {
            let is_meant = match only {
                Some(name) => service.name == *name,
                // What no profile enables is not waited for.
                None => service.enabled,
            };
            if is_meant && !is_in(&service, state) {
                let (word, _) = words::service_status(service.status());
                let reason = &service.status_reason;
                let how = if reason.is_empty() { word.to_owned() } else { format!("{word} ({reason})") };
                left.insert(words::service_name(&service), how);
            }
        }
    }
    Ok(left)
}

fn is_in(service: &pb::Service, state: WaitFor) -> bool {
    let is_done = service.status_reason == "COMPLETED";
    match state {
        WaitFor::Healthy => service.status() == pb::ServiceStatus::Running || is_done,
        WaitFor::Running => {
            matches!(service.status(), pb::ServiceStatus::Running | pb::ServiceStatus::Unhealthy) || is_done
        }
        WaitFor::Stopped => {
            matches!(service.status(), pb::ServiceStatus::Stopped | pb::ServiceStatus::Failed)
        }
    }
}

async fn late(session: &Session<'_>, client: &Client, targets: &[Target], args: &Wait) -> Failure {
    let mut failure = Failure::timed_out(format!("after {} not everything is there", args.timeout));
    match look(client, targets, args.state).await {
        Ok(left) => {
            for (name, how) in left {
                failure = failure.fact(&name, how);
            }
        }
        Err(_) => session.note("the daemon does not answer any more"),
    }
    failure.hint("clos status").hint("clos logs SERVICE")
}
