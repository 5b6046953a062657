//! What `up` says at its end: what runs, where it is reached, and, after a failure, the last log lines.

use std::time::Duration;

use clos_client::{Client, Error};
use clos_proto::v2 as pb;

use crate::failure::Failure;
use crate::output::words;
use crate::session::Session;
use crate::target;

/// How many log lines of a failed service are shown.
const LAST_LINES: i32 = 10;

/// The message of a step that was passed over because its image did not change.
const UNCHANGED: &str = "unchanged";

/// How long may be waited for what only explains an error.
const PATIENCE: Duration = Duration::from_secs(3);

/// Container ports of well-known protocols that no browser speaks.
const NOT_HTTP: [i32; 22] = [
    21, 22, 25, 53, 389, 465, 587, 636, 1025, 1433, 1521, 1883, 2181, 3306, 4222, 5432, 5672, 6379, 9042,
    9092, 11211, 27017,
];

/// `shop is up (5 running) in 2.1 s`, then a line for each published port of what runs.
pub(crate) async fn up(
    session: &Session<'_>,
    client: &Client,
    group: &str,
    ended: &pb::Operation,
    took: Option<String>,
) -> Result<(), Failure> {
    let asked = pb::ListServicesRequest { group: group.to_owned(), ..pb::ListServicesRequest::default() };
    let services = target::services(client, asked).await?;
    let counts = counts(&services);
    let is_unchanged = ended.steps.iter().all(changes_nothing);
    // Without a wait, or with services that were not meant, some may have failed all the same.
    let is_partly = services
        .iter()
        .filter(is_wanted)
        .any(|service| matches!(service.status(), pb::ServiceStatus::Failed | pb::ServiceStatus::Unhealthy));
    let (how, tone) = if is_partly { ("partly up", words::Tone::Warn) } else { ("up", words::Tone::Good) };
    let line = match took {
        _ if is_unchanged && !is_partly => format!("{group} is up to date{counts}"),
        Some(took) => format!("{group} is {how}{counts} in {took}"),
        None => format!("{group} is {how}{counts}"),
    };
    session.note(&session.style.on_error.word(tone, &line));
    let addresses = addresses(&services);
    let width = addresses.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    for (name, address) in addresses {
        session.note(&format!("  {name:width$}  {address}"));
    }
    Ok(())
}

/// A wait, an image that was made, or what was not to be done because that image is the same as before.
fn changes_nothing(step: &pb::Step) -> bool {
    matches!(step.action(), pb::StepAction::Wait | pb::StepAction::Pull | pb::StepAction::Build)
        || step.message == UNCHANGED
}

fn is_wanted(service: &&pb::Service) -> bool {
    service.enabled && service.desired_state() == pb::DesiredState::Running
}

/// ` (5 running, 1 completed)`.
fn counts(services: &[pb::Service]) -> String {
    let word = |service: &pb::Service| match service.status_reason.as_str() {
        "COMPLETED" => "completed",
        _ => words::service_status(service.status()).0,
    };
    let words: Vec<&str> = services.iter().filter(is_wanted).map(word).collect();
    let counted: Vec<String> =
        ["running", "completed", "starting", "unhealthy", "failed", "stopped", "stopping"]
            .into_iter()
            .map(|word| (words.iter().filter(|it| **it == word).count(), word))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
    if counted.is_empty() { String::new() } else { format!(" ({})", counted.join(", ")) }
}

fn addresses(services: &[pb::Service]) -> Vec<(String, String)> {
    let runs = |service: &&pb::Service| {
        matches!(
            service.status(),
            pb::ServiceStatus::Running | pb::ServiceStatus::Starting | pb::ServiceStatus::Unhealthy
        )
    };
    let mut addresses = Vec::new();
    for service in services.iter().filter(runs) {
        for port in &service.ports {
            let Some(address) = address(port) else { continue };
            let line = (service.name.clone(), address);
            if !addresses.contains(&line) {
                addresses.push(line);
            }
        }
    }
    addresses
}

/// `http://localhost:8088`; without a scheme where a browser is of no use.
fn address(port: &pb::ServicePort) -> Option<String> {
    let host_port = port.host_port?;
    let host = match port.host_ip.as_str() {
        "" | "0.0.0.0" | "127.0.0.1" | "::" | "::1" => "localhost".to_owned(),
        ip if ip.contains(':') => format!("[{ip}]"),
        ip => ip.to_owned(),
    };
    let at = format!("{host}:{host_port}");
    Some(match (port.protocol(), port.container_port) {
        (pb::Protocol::Udp, _) => format!("{at}/udp"),
        (pb::Protocol::Sctp, _) => format!("{at}/sctp"),
        (_, 443 | 8443) => format!("https://{at}"),
        (_, inside) if NOT_HTTP.contains(&inside) => at,
        _ => format!("http://{at}"),
    })
}

/// The last lines of the log of the first service whose container failed; none where that cannot be told.
pub(crate) async fn last_lines(client: &Client, operation: &pb::Operation) -> Vec<String> {
    let has_run = |step: &&pb::Step| matches!(step.action(), pb::StepAction::Start | pb::StepAction::Wait);
    let failed = operation
        .steps
        .iter()
        .filter(|step| step.status() == pb::OperationStatus::Failed && !step.service_id.is_empty())
        .find(has_run);
    let Some(step) = failed else { return Vec::new() };
    let mut lines = Vec::new();
    let read = async {
        let request = pb::GetServiceLogsRequest {
            id: step.service_id.clone(),
            lines: Some(LAST_LINES),
            // A start that was refused wrote nothing; what stands there is of an earlier run.
            since: (step.action() == pb::StepAction::Start).then_some(operation.started_at).flatten(),
            ..pb::GetServiceLogsRequest::default()
        };
        let mut watch = client.service_logs(request).await?;
        while let Some(entry) = watch.next().await? {
            if entry.note.is_empty() {
                lines.push(entry.message);
            }
        }
        Ok::<(), Error>(())
    };
    // Without them the error is told all the same.
    drop(tokio::time::timeout(PATIENCE, read).await);
    lines
}

/// Where the daemon looks for the engine, when that is what does not answer.
pub(crate) async fn engine_away(session: &Session<'_>, failure: Failure) -> Failure {
    let Failure::Call(error) = &failure else { return failure };
    if error.reason != "ENGINE_UNREACHABLE" {
        return failure;
    }
    let asked = async {
        let client = session.client_as_it_is().await?;
        Ok::<_, Failure>(client.get_system_info(pb::GetSystemInfoRequest {}).await?)
    };
    let Ok(Ok(info)) = tokio::time::timeout(PATIENCE, asked).await else { return failure };
    let Some(engine) = info.docker_info.filter(|engine| !engine.address.is_empty()) else { return failure };
    let name = if engine.kind == "podman" { "Podman" } else { "Docker" };
    let shell = session.context.var("DOCKER_HOST").filter(|host| *host != engine.address);
    let found_by = match engine.found_by.as_str() {
        "" => String::new(),
        found_by => format!("the daemon's {found_by}"),
    };
    let origin = match shell {
        Some(host) if found_by.is_empty() => format!(" (your shell's DOCKER_HOST is {host})"),
        Some(host) if engine.found_by == "DOCKER_HOST" => format!(" ({found_by}; your shell's is {host})"),
        Some(host) => format!(" ({found_by}; your shell's DOCKER_HOST is {host})"),
        None if found_by.is_empty() => String::new(),
        None => format!(" ({found_by})"),
    };
    let message = format!("cannot reach {name} at {}: is it running?{origin}", engine.address);
    let failure = Failure::engine_away(message);
    let failure = match shell {
        Some(_) => failure.hint("restart closd from this shell, so that it uses your DOCKER_HOST"),
        None => failure,
    };
    failure.hint("clos doctor").hint("clos explain ENGINE_UNREACHABLE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host_ip: &str, host_port: i32, container_port: i32) -> pb::ServicePort {
        pb::ServicePort {
            host_ip: host_ip.into(),
            host_port: Some(host_port),
            container_port,
            ..pb::ServicePort::default()
        }
    }

    #[test]
    fn an_address_can_be_opened_as_it_stands() {
        for (given, wanted) in [
            (port("", 8088, 80), "http://localhost:8088"),
            (port("0.0.0.0", 3000, 3000), "http://localhost:3000"),
            (port("::1", 3000, 3000), "http://localhost:3000"),
            (port("192.168.1.5", 8080, 80), "http://192.168.1.5:8080"),
            (port("fd00::1", 8080, 80), "http://[fd00::1]:8080"),
            (port("", 8443, 443), "https://localhost:8443"),
            (port("", 15432, 5432), "localhost:15432"),
        ] {
            assert_eq!(address(&given).unwrap(), wanted);
        }
        let udp = pb::ServicePort { protocol: pb::Protocol::Udp.into(), ..port("", 53, 53) };
        assert_eq!(address(&udp).unwrap(), "localhost:53/udp");
        assert_eq!(address(&pb::ServicePort { host_port: None, ..port("", 1, 1) }), None);
    }

    #[test]
    fn steps_that_were_passed_over_change_nothing() {
        let step = |action: pb::StepAction, message: &str| pb::Step {
            action: action.into(),
            message: message.into(),
            ..pb::Step::default()
        };
        assert!(changes_nothing(&step(pb::StepAction::Build, "")));
        assert!(changes_nothing(&step(pb::StepAction::Create, "unchanged")));
        assert!(!changes_nothing(&step(pb::StepAction::Create, "")));
        assert!(!changes_nothing(&step(pb::StepAction::Start, "was running already")));
    }

    #[test]
    fn what_runs_is_counted_and_what_does_not_is_named() {
        let service = |status: pb::ServiceStatus, reason: &str| pb::Service {
            status: status.into(),
            status_reason: reason.into(),
            desired_state: pb::DesiredState::Running.into(),
            enabled: true,
            ..pb::Service::default()
        };
        let running = service(pb::ServiceStatus::Running, "");
        let migrated = service(pb::ServiceStatus::Stopped, "COMPLETED");
        let off = pb::Service { enabled: false, ..running.clone() };
        let starting = service(pb::ServiceStatus::Starting, "");
        assert_eq!(counts(&[running.clone(), off, running.clone()]), " (2 running)");
        assert_eq!(counts(&[running, migrated, starting]), " (1 running, 1 completed, 1 starting)");
        assert_eq!(counts(&[]), "");
    }
}
