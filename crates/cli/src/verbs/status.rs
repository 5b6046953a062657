//! `clos status`: what is there, and how it is, in one question.

use std::collections::BTreeSet;

use clos_proto::v2 as pb;
use jiff::Timestamp;

use crate::args::{Place, Status};
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Table};
use crate::output::words::{self, Tone};
use crate::output::{self, Listing};
use crate::session::Session;
use crate::target::{self, Target};
use crate::time;

pub(super) async fn run(session: &Session<'_>, args: &Status) -> Result<Exit, Failure> {
    let client = session.client().await?;
    let services = match args.names.as_slice() {
        [] => all_or_here(session, &client, args).await?,
        names => {
            let mut found: Vec<pb::Service> = Vec::new();
            for name in names {
                for service in of(session, &client, &args.place, name).await? {
                    if !found.iter().any(|known| known.id == service.id) {
                        found.push(service);
                    }
                }
            }
            found
        }
    };
    let listing = Listing {
        field: "services",
        item: "Service",
        items: &services,
        name: words::service_name,
        table: &|wide| table(session, &services, wide),
        nothing: "No services registered",
    };
    output::list(session.context, session.global, session.style, &listing)?;
    Ok(if args.exit_code && !services.iter().all(is_well) { Exit::Degraded } else { Exit::Ok })
}

/// It is as it should be, as far as anybody can tell now: the last word of an engine that is away is old.
fn is_well(service: &pb::Service) -> bool {
    let is_as_wanted = service.desired_state() != pb::DesiredState::Running
        || !service.enabled
        || service.status() == pb::ServiceStatus::Running && service.status_reason != PAUSED
        || service.status_reason == "COMPLETED";
    is_as_wanted && service.status_reason != UNREACHABLE
}

/// Somebody froze it: it runs, and answers nobody.
const PAUSED: &str = "PAUSED";

/// The engine does not answer; what is shown is what it showed last.
const UNREACHABLE: &str = "ENGINE_UNREACHABLE";

/// The services of this folder's project; outside of one those of every group that is not down.
async fn all_or_here(
    session: &Session<'_>,
    client: &clos_client::Client,
    args: &Status,
) -> Result<Vec<pb::Service>, Failure> {
    if args.all {
        return target::services(client, pb::ListServicesRequest::default()).await;
    }
    if target::is_in_project(session, client, &args.place).await? {
        let Some(group) = target::project(session, client, &args.place).await? else {
            session
                .note("note: this folder's project is not registered; `clos status --all` shows every group");
            return Ok(Vec::new());
        };
        let group = target::full_name(&group);
        let asked = pb::ListServicesRequest { group, ..pb::ListServicesRequest::default() };
        return target::services(client, asked).await;
    }
    let mut services = target::services(client, pb::ListServicesRequest::default()).await?;
    let group = |service: &pb::Service| (service.group.clone(), service.instance.clone());
    let is_there = |service: &pb::Service| service.desired_state() != pb::DesiredState::Absent;
    let up: BTreeSet<_> = services.iter().filter(|service| is_there(service)).map(group).collect();
    let before = services.len();
    services.retain(|service| up.contains(&group(service)));
    if services.is_empty() && before > 0 {
        session.note("note: every group is down; `clos status --all` shows them");
    }
    Ok(services)
}

/// The services of one word. A group that has some is known by them; only else it is asked what the word means.
async fn of(
    session: &Session<'_>,
    client: &clos_client::Client,
    place: &Place,
    word: &str,
) -> Result<Vec<pb::Service>, Failure> {
    let (group, service) = word.split_once('/').map_or((word, None), |(group, name)| (group, Some(name)));
    let asked = pb::ListServicesRequest { group: group.to_owned(), ..pb::ListServicesRequest::default() };
    let mut services = match target::services(client, asked).await {
        Ok(services) => services,
        // A word that can be no group's name may still be a service of this folder's.
        Err(Failure::Call(error)) if error.kind == clos_client::Kind::InvalidArgument => Vec::new(),
        Err(failure) => return Err(failure),
    };
    if let Some(name) = service {
        services.retain(|it| it.name == name);
    }
    if !services.is_empty() {
        return Ok(services);
    }
    let mut found = Vec::new();
    for target in target::resolve(session, client, place, &[word.to_owned()]).await? {
        if let Target::Service { group, name } = target {
            let group = target::full_name(&group);
            let asked = pb::ListServicesRequest { group, ..pb::ListServicesRequest::default() };
            found.extend(target::services(client, asked).await?.into_iter().filter(|it| it.name == name));
        }
    }
    Ok(found)
}

fn table(session: &Session<'_>, services: &[pb::Service], wide: bool) -> Table {
    let mut head = vec!["NAME", "GROUP", "PORT", "STATUS", "STARTED", "HEALTH"];
    if wide {
        head.extend(["PORTS", "IMAGE", "CONTAINER", "ID", "LAST CHECK"]);
    }
    let mut table = Table::new(head);
    for service in services {
        let (word, tone) = words::service_status(service.status());
        let health = service.health_check.as_ref().and_then(|check| check.status);
        let health = health.and_then(|health| pb::HealthStatus::try_from(health).ok()).unwrap_or_default();
        let (health, health_tone) = words::health(health);
        let mut row: Vec<Cell> = vec![
            service.name.clone().into(),
            words::group_name(&service.group, &service.instance).into(),
            service.port.map(|port| port.to_string()).unwrap_or_default().into(),
            Cell::toned(with_reason(session, service, word), tone_of(service, tone)),
            started(session, service).into(),
            Cell::toned(health, health_tone),
        ];
        if wide {
            let docker = service.docker_config.clone().unwrap_or_default();
            let ports: Vec<String> = service.ports.iter().map(published).collect();
            let container: String = docker.container_id.chars().take(12).collect();
            row.extend([
                ports.join(", ").into(),
                docker.image.into(),
                container.into(),
                service.id.clone().into(),
                last_check(session, service).into(),
            ]);
        }
        table.row(row);
    }
    table
}

fn with_reason(session: &Session<'_>, service: &pb::Service, word: &str) -> String {
    if service.status_reason == UNREACHABLE {
        let seen = match time::of(service.observed_at.as_ref()) {
            Some(at) => format!("last seen {}", moment(session, at)),
            None => "never seen".to_owned(),
        };
        return format!("{word} ({UNREACHABLE}, {seen})");
    }
    let code = service.exit_code.filter(|_| service.status_reason == "EXITED");
    match (service.status_reason.as_str(), code) {
        ("", _) => word.to_owned(),
        (reason, Some(code)) => format!("{word} ({reason} {code})"),
        (reason, None) => format!("{word} ({reason})"),
    }
}

/// What has done its work is well, what runs though it should not is not.
fn tone_of(service: &pb::Service, tone: Tone) -> Tone {
    match service.status_reason.as_str() {
        "COMPLETED" => Tone::Good,
        "DRIFTED" | UNREACHABLE | "SKIPPED" | PAUSED | "STOPPED_OUTSIDE" => Tone::Warn,
        _ => tone,
    }
}

/// The last answer to its health check: whether it was good, when, and the first words of what it said.
fn last_check(session: &Session<'_>, service: &pb::Service) -> String {
    const WORDS: usize = 60;
    let Some(last) = service.health_check.as_ref().and_then(|check| check.last_check.as_ref()) else {
        return String::new();
    };
    let answer = match (last.healthy, last.exit_code) {
        (true, _) => "ok".to_owned(),
        (false, Some(code)) => format!("exit {code}"),
        (false, None) => "failed".to_owned(),
    };
    let when = time::of(last.time.as_ref()).map(|at| format!(" {}", moment(session, at))).unwrap_or_default();
    let blank = |c: char| c.is_whitespace() || c.is_control();
    let words: Vec<&str> = last.output.split(blank).filter(|word| !word.is_empty()).collect();
    let said = words.join(" ");
    let said = match said.char_indices().nth(WORDS) {
        Some((end, _)) => format!(": {}…", &said[..end]),
        None if said.is_empty() => said,
        None => format!(": {said}"),
    };
    format!("{answer}{when}{said}")
}

fn started(session: &Session<'_>, service: &pb::Service) -> String {
    time::of(service.started_at.as_ref()).map(|at| moment(session, at)).unwrap_or_default()
}

/// How long ago for people, the time itself for programs.
fn moment(session: &Session<'_>, at: Timestamp) -> String {
    if session.context.streams.out_is_terminal {
        time::ago(at, (session.context.now)())
    } else {
        at.to_string()
    }
}

fn published(port: &pb::ServicePort) -> String {
    let protocol = match port.protocol() {
        pb::Protocol::Udp => "/udp",
        pb::Protocol::Sctp => "/sctp",
        _ => "",
    };
    let address =
        if port.host_ip.contains(':') { format!("[{}]", port.host_ip) } else { port.host_ip.clone() };
    match port.host_port {
        Some(host) if address.is_empty() => format!("{host}->{}{protocol}", port.container_port),
        Some(host) => format!("{address}:{host}->{}{protocol}", port.container_port),
        None => format!("{}{protocol}", port.container_port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paused_or_was_stopped_by_hand_is_not_well() {
        let service = |status: pb::ServiceStatus, reason: &str| pb::Service {
            status: status.into(),
            status_reason: reason.into(),
            desired_state: pb::DesiredState::Running.into(),
            enabled: true,
            ..pb::Service::default()
        };
        assert!(is_well(&service(pb::ServiceStatus::Running, "")));
        assert!(is_well(&service(pb::ServiceStatus::Stopped, "COMPLETED")));
        assert!(!is_well(&service(pb::ServiceStatus::Running, "PAUSED")));
        assert!(!is_well(&service(pb::ServiceStatus::Stopped, "STOPPED_OUTSIDE")));
    }
}
