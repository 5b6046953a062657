//! Health checks and verdicts.

use clos_control::services::Health;
use clos_domain::event::Event;
use clos_domain::health::{Check, LastCheck, Test, Verdict};
use clos_domain::service::{Observed, Service};
use clos_proto::v2 as pb;

use super::{duration, number, timestamp};

/// The verdict; nobody asking is absent.
pub(crate) fn status(verdict: Verdict) -> Option<pb::HealthStatus> {
    match verdict {
        Verdict::None => None,
        Verdict::Starting => Some(pb::HealthStatus::Starting),
        Verdict::Healthy => Some(pb::HealthStatus::Healthy),
        Verdict::Unhealthy => Some(pb::HealthStatus::Unhealthy),
    }
}

/// The check that gates the start: our own, else that the engine's is followed.
pub(crate) fn check(service: &Service) -> Option<pb::HealthCheck> {
    let definition = &service.definition;
    let shown = match (&definition.probe, &definition.health) {
        (Some(probe), _) => Some(ours(probe)),
        (None, Some(health)) if health.test != Test::Disabled => {
            Some(pb::HealthCheck { docker: true, ..pb::HealthCheck::default() })
        }
        (None, _) => None,
    };
    shown.map(|shown| pb::HealthCheck { status: verdict(service).map(i32::from), ..shown })
}

/// Nobody knows how a paused one is.
fn verdict(service: &Service) -> Option<pb::HealthStatus> {
    match service.observed {
        Observed::Running(verdict) => status(verdict),
        _ => None,
    }
}

/// The check with its last answer. Where only the image has one, there is nothing of it in the definition.
pub(crate) fn with_last(
    check: Option<pb::HealthCheck>,
    service: &Service,
    last: Option<&LastCheck>,
) -> Option<pb::HealthCheck> {
    let verdict = verdict(service);
    let of_image =
        || pb::HealthCheck { docker: true, status: verdict.map(i32::from), ..pb::HealthCheck::default() };
    let check = check.or_else(|| (verdict.is_some() || last.is_some()).then(of_image));
    check.map(|check| pb::HealthCheck { last_check: last.map(result), ..check })
}

fn result(last: &LastCheck) -> pb::CheckResult {
    pb::CheckResult {
        time: Some(timestamp(last.at)),
        healthy: last.healthy,
        output: last.output.clone(),
        exit_code: last.exit_code,
        http_status: last.http_status.map(i32::from),
    }
}

fn ours(check: &Check) -> pb::HealthCheck {
    let mut shown = pb::HealthCheck {
        interval: Some(duration(check.interval)),
        timeout: Some(duration(check.timeout)),
        retries: Some(number(check.retries)),
        start_period: Some(duration(check.start_period)),
        ..pb::HealthCheck::default()
    };
    match &check.test {
        Test::Http { url, expected } => {
            shown.url = Some(url.clone());
            shown.expected_status = expected.iter().map(|status| i32::from(*status)).collect();
        }
        Test::Tcp { port } => shown.tcp = Some(i32::from(*port)),
        Test::Command { argv } => shown.command.clone_from(argv),
        Test::Disabled => {}
    }
    shown
}

/// The short form: the URL of an HTTP check.
pub(crate) fn url(check: Option<&pb::HealthCheck>) -> String {
    check.and_then(|check| check.url.clone()).unwrap_or_default()
}

/// The engine's check.
pub(crate) fn engine(check: &Check) -> pb::EngineHealthCheck {
    let (test, disable) = match &check.test {
        Test::Command { argv } => (argv.clone(), false),
        Test::Disabled => (Vec::new(), true),
        // The engine asks by commands only.
        Test::Http { .. } | Test::Tcp { .. } => (Vec::new(), false),
    };
    pb::EngineHealthCheck {
        test,
        disable,
        interval: Some(duration(check.interval)),
        timeout: Some(duration(check.timeout)),
        retries: Some(number(check.retries)),
        start_period: Some(duration(check.start_period)),
        start_interval: check.start_interval.map(duration),
    }
}

/// The health of a service and how it came.
pub(crate) fn health(health: &Health) -> pb::ServiceHealth {
    let last = health.last.as_ref();
    pb::ServiceHealth {
        service_id: health.service.id.to_string(),
        status: status(health.verdict).map(i32::from),
        last_check: last.map(result),
        message: last.filter(|last| !last.healthy).map(|last| last.output.clone()).unwrap_or_default(),
        failing_streak: last.map(|last| number(last.failures)).unwrap_or_default(),
        history: health.history.iter().rev().map(change).collect(),
    }
}

fn change(event: &Event) -> pb::HealthChange {
    let word =
        |word: &Option<String>| word.as_deref().and_then(Verdict::parse).and_then(status).map(i32::from);
    pb::HealthChange {
        old_status: word(&event.data.old_health),
        new_status: word(&event.data.new_health),
        message: super::text(event.data.message.as_ref()),
        timestamp: Some(timestamp(event.at)),
    }
}
