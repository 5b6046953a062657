//! Health checks: ours, and the engine's.

use std::time::Duration;

use clos_domain::health::{Check, Test};
use clos_domain::name::shown;
use clos_domain::service::Service;
use clos_proto::v2 as pb;

use super::Violations;
use crate::encode;

const DAY: Duration = Duration::from_secs(24 * 3_600);
const SHORTEST: Duration = Duration::from_millis(1);

/// Our own check: the long form, or the short one of `health_url`.
pub(crate) fn probe(v: &mut Violations, wanted: &pb::Service, before: Option<&Service>) -> Option<Check> {
    let shown = before.and_then(encode::health::check);
    let shown_url = encode::health::url(shown.as_ref());
    let long = wanted.health_check.as_ref();
    let says_url = |check: &pb::HealthCheck| check.url.as_deref() == Some(wanted.health_url.as_str());
    let short_is_news = !wanted.health_url.is_empty() && wanted.health_url != shown_url;
    let comes_back = long.map(definition_of) == shown.as_ref().map(definition_of);
    match long {
        // What was shown and is not touched is kept to the letter.
        Some(_) if comes_back && !short_is_news => {
            before.and_then(|service| service.definition.probe.clone())
        }
        None if wanted.health_url.is_empty() => None,
        None => short(v, &wanted.health_url, None),
        // The long form came back as it was shown, so the short one is what changed.
        Some(check) if short_is_news && comes_back => short(v, &wanted.health_url, Some(check)),
        Some(check) => {
            if short_is_news && !says_url(check) {
                v.add(
                    "health_url",
                    format!(
                        "`{}` stands beside health_check; give one of them",
                        self::shown(&wanted.health_url)
                    ),
                );
            }
            self::long(v, "health_check", check)
        }
    }
}

/// Without what the server adds.
fn definition_of(check: &pb::HealthCheck) -> pb::HealthCheck {
    pb::HealthCheck { last_check: None, status: None, ..check.clone() }
}

fn short(v: &mut Violations, url: &str, pace: Option<&pb::HealthCheck>) -> Option<Check> {
    check_url(v, "health_url", url);
    let test = Test::Http { url: url.to_owned(), expected: Vec::new() };
    match pace {
        Some(pace) if !pace.docker => {
            let check =
                pb::HealthCheck { url: Some(url.to_owned()), tcp: None, command: vec![], ..pace.clone() };
            self::long(v, "health_check", &check)
        }
        _ => Some(Check::new(test)),
    }
}

fn long(v: &mut Violations, field: &str, check: &pb::HealthCheck) -> Option<Check> {
    let questions = [check.url.is_some(), check.tcp.is_some(), !check.command.is_empty(), check.docker];
    let count = questions.into_iter().filter(|asked| *asked).count();
    if count != 1 {
        v.add(field, format!("exactly one of url, tcp, command and docker must be given; there are {count}"));
    }
    if !check.expected_status.is_empty() && check.url.is_none() {
        v.add(format!("{field}.expected_status"), "it is for url only; leave it out");
    }
    let mut expected = Vec::with_capacity(check.expected_status.len());
    for (index, status) in check.expected_status.iter().enumerate() {
        expected.extend(v.within::<u16>(
            &format!("{field}.expected_status[{index}]"),
            (*status).into(),
            100,
            599,
        ));
    }
    if let Some(url) = &check.url {
        check_url(v, &format!("{field}.url"), url);
    }
    let port: Option<u16> =
        check.tcp.and_then(|port| v.within(&format!("{field}.tcp"), port.into(), 1, 65_535));
    if check.command.first().is_some_and(String::is_empty) {
        v.add(format!("{field}.command[0]"), "the program must not be empty");
    }
    let pace = Pace::of(check);
    if check.docker {
        if pace.is_said() {
            v.add(field, "with docker the pace is that of docker_config.healthcheck; set it there");
        }
        return None;
    }
    let test = match (&check.url, port) {
        (Some(url), _) => Test::Http { url: url.clone(), expected },
        (None, Some(port)) => Test::Tcp { port },
        (None, None) => Test::Command { argv: check.command.clone() },
    };
    Some(pace.check(v, field, test))
}

/// The engine's check: the file's `healthcheck`.
pub(crate) fn engine(v: &mut Violations, field: &str, check: &pb::EngineHealthCheck) -> Option<Check> {
    let test = match (check.disable, check.test.is_empty()) {
        (true, true) => Test::Disabled,
        (true, false) => {
            v.add(format!("{field}.disable"), "a check that is off has no test; give one of them");
            return None;
        }
        (false, true) => {
            v.add(
                format!("{field}.test"),
                "it is missing; give the argument vector, or disable the image's own check",
            );
            return None;
        }
        (false, false) => Test::Command { argv: check.test.clone() },
    };
    if check.test.first().is_some_and(String::is_empty) {
        v.add(format!("{field}.test[0]"), "the program must not be empty");
    }
    let pace = Pace {
        interval: check.interval.as_ref(),
        timeout: check.timeout.as_ref(),
        retries: check.retries,
        start_period: check.start_period.as_ref(),
        start_interval: check.start_interval.as_ref(),
    };
    Some(pace.check(v, field, test))
}

struct Pace<'a> {
    interval: Option<&'a prost_types::Duration>,
    timeout: Option<&'a prost_types::Duration>,
    retries: Option<i32>,
    start_period: Option<&'a prost_types::Duration>,
    start_interval: Option<&'a prost_types::Duration>,
}

impl<'a> Pace<'a> {
    fn of(check: &'a pb::HealthCheck) -> Self {
        Self {
            interval: check.interval.as_ref(),
            timeout: check.timeout.as_ref(),
            retries: check.retries,
            start_period: check.start_period.as_ref(),
            start_interval: None,
        }
    }

    fn is_said(&self) -> bool {
        let lengths = [self.interval, self.timeout, self.start_period];
        lengths.iter().any(Option::is_some) || self.retries.is_some()
    }

    /// The check at this pace; what is not said is as the engine has it.
    fn check(&self, v: &mut Violations, field: &str, test: Test) -> Check {
        let default = Check::new(test);
        let mut length = |name: &str, raw, from| v.duration(&format!("{field}.{name}"), raw, from, DAY);
        let interval = length("interval", self.interval, SHORTEST);
        let timeout = length("timeout", self.timeout, SHORTEST);
        let start_period = length("start_period", self.start_period, Duration::ZERO);
        let start_interval = length("start_interval", self.start_interval, SHORTEST);
        let retries: Option<u32> = self
            .retries
            .and_then(|retries| v.within(&format!("{field}.retries"), retries.into(), 1, 1_000_000));
        Check {
            interval: interval.unwrap_or(default.interval),
            timeout: timeout.unwrap_or(default.timeout),
            retries: retries.unwrap_or(default.retries),
            start_period: start_period.unwrap_or(default.start_period),
            start_interval,
            test: default.test,
        }
    }
}

/// `http://:8080/healthz`, or with a host.
fn check_url(v: &mut Violations, field: &str, url: &str) {
    const MAX: usize = 2_048;
    let authority =
        url.strip_prefix("http://").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let is_address = |authority: &str| match authority.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok_and(|port| port > 0),
        _ => !authority.is_empty(),
    };
    let is_printable = !url.chars().any(|c| c.is_whitespace() || c.is_control());
    if authority.is_some_and(|authority| authority.contains('@')) {
        v.add(field, "a health URL must not carry credentials; leave them out");
    } else if !(authority.is_some_and(is_address) && is_printable && url.len() <= MAX) {
        v.add(field, format!("`{}` is not an http address; write it as `http://:8080/healthz`", shown(url)));
    }
}
