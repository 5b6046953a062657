//! What the engine shows of a container, in the domain's words. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary, ContainerSummaryStateEnum,
    EndpointSettings, Health, HealthStatusEnum, MountPoint, PortMap,
};
use clos_domain::health::{LastCheck, Verdict};
use clos_domain::port::{Binding, Protocol};
use clos_domain::text::without_nul;
use clos_domain::workload::{Found, State};
use jiff::Timestamp;

use crate::{exec, labels};

/// From one inspection: everything.
pub(crate) fn inspected(container: ContainerInspectResponse) -> Found {
    let config = container.config.unwrap_or_default();
    let settings = container.network_settings.unwrap_or_default();
    let labels = kept(config.labels);
    let shown = container.state.unwrap_or_default();
    let host = container.host_config.unwrap_or_default();
    let state = match shown.status {
        Some(ContainerStateStatusEnum::RUNNING) => {
            let retries = config.healthcheck.as_ref().and_then(|check| check.retries).unwrap_or_default();
            State::Running { health: shown.health.as_ref().map_or(Verdict::None, |it| judged(it, retries)) }
        }
        Some(ContainerStateStatusEnum::PAUSED) => State::Paused,
        Some(ContainerStateStatusEnum::RESTARTING) => State::Restarting,
        Some(ContainerStateStatusEnum::EXITED) => {
            State::Exited { code: code(shown.exit_code), oom: shown.oom_killed.unwrap_or_default() }
        }
        // A dead one could not be removed whole; nothing else can be done with it.
        Some(ContainerStateStatusEnum::REMOVING | ContainerStateStatusEnum::DEAD) => State::Removing,
        _ => State::Created,
    };
    Found {
        id: container.id.unwrap_or_default(),
        name: without_nul(container.name.unwrap_or_default().trim_start_matches('/')).into_owned(),
        identity: labels::identity(&labels),
        composed: labels::composed(&labels),
        image_id: labels::image_id(&labels).or(container.image).unwrap_or_default(),
        labels,
        image: without_nul(&config.image.unwrap_or_default()).into_owned(),
        state,
        networks: networks(settings.networks.as_ref()),
        addresses: addresses(settings.networks),
        ports: published(settings.ports),
        anonymous_volumes: anonymous(container.mounts),
        shares_with: shared([host.network_mode, host.pid_mode, host.ipc_mode]),
        started_at: moment(shown.started_at.as_deref()),
        finished_at: moment(shown.finished_at.as_deref()),
        restarts: container.restart_count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
        last_check: shown.health.and_then(last_check),
    }
}

/// From one row of the list, which knows neither the moments, nor the restarts, nor
/// whether memory ran out; code and health stand in a sentence for people.
pub(crate) fn listed(container: ContainerSummary) -> Found {
    let labels = kept(container.labels);
    let sentence = container.status.unwrap_or_default();
    let state = match container.state {
        Some(ContainerSummaryStateEnum::RUNNING) => State::Running { health: health_in(&sentence) },
        Some(ContainerSummaryStateEnum::PAUSED) => State::Paused,
        Some(ContainerSummaryStateEnum::RESTARTING) => State::Restarting,
        Some(ContainerSummaryStateEnum::EXITED) => State::Exited { code: code_in(&sentence), oom: false },
        Some(ContainerSummaryStateEnum::REMOVING | ContainerSummaryStateEnum::DEAD) => State::Removing,
        _ => State::Created,
    };
    let ports = container.ports.unwrap_or_default();
    let mut ports: Vec<Binding> = ports
        .iter()
        .filter_map(|port| {
            Some(Binding {
                container_port: port.private_port,
                host_port: port.public_port?,
                host_ip: port.ip.clone().unwrap_or_default(),
                protocol: port.typ.and_then(|word| Protocol::parse(word.as_ref())).unwrap_or_default(),
            })
        })
        .collect();
    ports.sort_unstable();
    let joined = container.network_settings.and_then(|settings| settings.networks);
    Found {
        id: container.id.unwrap_or_default(),
        name: own_name(container.names.unwrap_or_default()),
        identity: labels::identity(&labels),
        composed: labels::composed(&labels),
        image_id: labels::image_id(&labels).or(container.image_id).unwrap_or_default(),
        labels,
        image: without_nul(&container.image.unwrap_or_default()).into_owned(),
        state,
        networks: networks(joined.as_ref()),
        addresses: addresses(joined),
        ports,
        anonymous_volumes: anonymous(container.mounts),
        shares_with: BTreeSet::new(),
        started_at: None,
        finished_at: None,
        restarts: 0,
        last_check: None,
    }
}

/// Labels as they are kept: whoever made the container may have written anything into them.
pub(crate) fn kept(labels: Option<HashMap<String, String>>) -> BTreeMap<String, String> {
    let labels = labels.into_iter().flatten();
    labels.map(|(key, value)| (without_nul(&key).into_owned(), without_nul(&value).into_owned())).collect()
}

/// Links add names like `/web/db`; its own has one slash.
fn own_name(names: Vec<String>) -> String {
    names
        .into_iter()
        .map(|name| without_nul(name.trim_start_matches('/')).into_owned())
        .find(|name| !name.contains('/'))
        .unwrap_or_default()
}

fn code(exit_code: Option<i64>) -> i32 {
    exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or_default()
}

/// `Exited (137) 2 hours ago`.
fn code_in(sentence: &str) -> i32 {
    let inside =
        sentence.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(inside, _)| inside);
    inside.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// `Up 5 minutes (healthy)`.
fn health_in(sentence: &str) -> Verdict {
    match sentence.rsplit_once('(').map(|(_, rest)| rest.trim_end_matches(')')) {
        Some("healthy") => Verdict::Healthy,
        Some("unhealthy") => Verdict::Unhealthy,
        Some("health: starting") => Verdict::Starting,
        _ => Verdict::None,
    }
}

/// An engine calls unhealthy whomever it has stopped to ask, as it does during a pause, and says so until
/// the next answer. Then there were not as many failures as it takes, and the last answer holds.
fn judged(health: &Health, retries: i64) -> Verdict {
    /// How many it takes where nobody says.
    const RETRIES: i64 = 3;
    let needed = if retries > 0 { retries } else { RETRIES };
    let shown = verdict(health.status);
    if shown != Verdict::Unhealthy || health.failing_streak.is_none_or(|streak| needed <= streak) {
        return shown;
    }
    match health.log.as_ref().and_then(|log| log.last()) {
        Some(last) if last.exit_code == Some(0) => Verdict::Healthy,
        _ => Verdict::Starting,
    }
}

fn verdict(status: Option<HealthStatusEnum>) -> Verdict {
    match status {
        Some(HealthStatusEnum::STARTING) => Verdict::Starting,
        Some(HealthStatusEnum::HEALTHY) => Verdict::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Verdict::Unhealthy,
        _ => Verdict::None,
    }
}

/// The last entry of the engine's log of checks, which has the oldest first.
fn last_check(health: Health) -> Option<LastCheck> {
    let failures = health.failing_streak.and_then(|streak| u32::try_from(streak).ok()).unwrap_or_default();
    let last = health.log?.pop()?;
    let exit_code = code(last.exit_code);
    Some(LastCheck {
        at: Timestamp::from_nanosecond(last.end.or(last.start)?.unix_timestamp_nanos()).ok()?,
        healthy: exit_code == 0,
        output: LastCheck::output(exec::plain(&last.output.unwrap_or_default())),
        // -1 says that it was ended for taking too long, or could not be run.
        exit_code: (0 <= exit_code).then_some(exit_code),
        http_status: None,
        failures,
    })
}

fn networks(joined: Option<&HashMap<String, EndpointSettings>>) -> BTreeMap<String, String> {
    let joined = joined.into_iter().flatten();
    joined.map(|(name, endpoint)| (name.clone(), endpoint.network_id.clone().unwrap_or_default())).collect()
}

fn addresses(networks: Option<HashMap<String, EndpointSettings>>) -> BTreeMap<String, String> {
    let mut addresses = BTreeMap::new();
    for (network, endpoint) in networks.into_iter().flatten() {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(address) = filled(&endpoint.ip_address).or_else(|| filled(&endpoint.global_ipv6_address))
        {
            addresses.insert(network, address);
        }
    }
    addresses
}

/// The engine gives a volume that nobody named 64 hexadecimal digits, also where it is mounted again.
fn anonymous(mounts: Option<Vec<MountPoint>>) -> BTreeMap<String, String> {
    let is_made_up = |name: &str| {
        name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let volumes = mounts.into_iter().flatten().filter_map(|mount| Some((mount.destination?, mount.name?)));
    volumes.filter(|(_, name)| is_made_up(name)).collect()
}

/// The engine puts the id in the place of the name that it was given.
fn shared(modes: [Option<String>; 3]) -> BTreeSet<String> {
    let modes = modes.into_iter().flatten();
    modes.filter_map(|mode| mode.strip_prefix("container:").map(str::to_owned)).collect()
}

fn published(ports: Option<PortMap>) -> Vec<Binding> {
    let mut bindings = Vec::new();
    for (key, holders) in ports.into_iter().flatten() {
        let (port, word) = key.split_once('/').unwrap_or((&key, "tcp"));
        let (Ok(container_port), Some(protocol)) = (port.parse(), Protocol::parse(word)) else { continue };
        for holder in holders.into_iter().flatten() {
            let Some(host_port) = holder.host_port.and_then(|port| port.parse().ok()) else { continue };
            let host_ip = holder.host_ip.unwrap_or_default();
            bindings.push(Binding { container_port, host_port, host_ip, protocol });
        }
    }
    bindings.sort_unstable();
    bindings
}

/// The engine's zero moment means never.
fn moment(text: Option<&str>) -> Option<Timestamp> {
    text.filter(|text| !text.starts_with("0001-")).and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerState, HealthcheckResult, PortSummary, PortSummaryTypeEnum};

    use super::*;

    fn summary(state: ContainerSummaryStateEnum, sentence: &str) -> State {
        listed(ContainerSummary {
            state: Some(state),
            status: Some(sentence.into()),
            ..ContainerSummary::default()
        })
        .state
    }

    #[test]
    fn the_sentence_of_the_list_tells_code_and_health() {
        use ContainerSummaryStateEnum as S;
        assert_eq!(summary(S::EXITED, "Exited (137) 2 hours ago"), State::Exited { code: 137, oom: false });
        for (sentence, health) in [
            ("Up 5 minutes", Verdict::None),
            ("Up 5 minutes (healthy)", Verdict::Healthy),
            ("Up About a minute (unhealthy)", Verdict::Unhealthy),
            ("Up 1 second (health: starting)", Verdict::Starting),
        ] {
            assert_eq!(summary(S::RUNNING, sentence), State::Running { health }, "{sentence}");
        }
        assert_eq!(summary(S::RESTARTING, "Restarting (1) 3 seconds ago"), State::Restarting);
        assert_eq!(summary(S::PAUSED, "Up 2 minutes (Paused)"), State::Paused);
        assert_eq!(summary(S::DEAD, "Dead"), State::Removing);
        assert_eq!(summary(S::CREATED, "Created"), State::Created);
    }

    #[test]
    fn only_published_ports_and_the_own_name_are_shown() {
        let found = listed(ContainerSummary {
            names: Some(vec!["/web/db".into(), "/shop-db-1".into()]),
            ports: Some(vec![
                PortSummary {
                    ip: None,
                    private_port: 9000,
                    public_port: None,
                    typ: Some(PortSummaryTypeEnum::TCP),
                },
                PortSummary {
                    ip: Some("127.0.0.1".into()),
                    private_port: 53,
                    public_port: Some(5353),
                    typ: Some(PortSummaryTypeEnum::UDP),
                },
            ]),
            ..ContainerSummary::default()
        });
        assert_eq!(found.name, "shop-db-1");
        assert_eq!(
            found.ports,
            [Binding {
                container_port: 53,
                host_port: 5353,
                host_ip: "127.0.0.1".into(),
                protocol: Protocol::Udp
            }]
        );
        assert_eq!(found.identity, None);
    }

    #[test]
    fn who_was_paused_is_not_unhealthy_for_that() {
        let health = |streak, codes: &[i64]| Health {
            status: Some(HealthStatusEnum::UNHEALTHY),
            failing_streak: Some(streak),
            log: Some(
                codes
                    .iter()
                    .map(|code| HealthcheckResult { exit_code: Some(*code), ..HealthcheckResult::default() })
                    .collect(),
            ),
        };
        assert_eq!(judged(&health(0, &[1, 0]), 0), Verdict::Healthy);
        assert_eq!(judged(&health(1, &[0, 1]), 2), Verdict::Starting);
        assert_eq!(judged(&health(0, &[]), 2), Verdict::Starting);
        assert_eq!(judged(&health(2, &[1, 1]), 2), Verdict::Unhealthy);
        assert_eq!(judged(&health(3, &[1, 1, 1]), 0), Verdict::Unhealthy);
        assert_eq!(judged(&Health { failing_streak: None, ..health(0, &[]) }, 0), Verdict::Unhealthy);
    }

    #[test]
    fn an_inspection_tells_moments_memory_and_health() {
        let found = inspected(ContainerInspectResponse {
            name: Some("/a".into()),
            restart_count: Some(3),
            state: Some(ContainerState {
                status: Some(ContainerStateStatusEnum::EXITED),
                exit_code: Some(137),
                oom_killed: Some(true),
                started_at: Some("2026-01-02T03:04:05.5Z".into()),
                finished_at: Some("0001-01-01T00:00:00Z".into()),
                ..ContainerState::default()
            }),
            ..ContainerInspectResponse::default()
        });
        assert_eq!(found.state, State::Exited { code: 137, oom: true });
        assert_eq!(found.started_at, Some("2026-01-02T03:04:05.5Z".parse().unwrap()));
        assert_eq!((found.finished_at, found.restarts, found.name.as_str()), (None, 3, "a"));

        let running = inspected(ContainerInspectResponse {
            state: Some(ContainerState {
                status: Some(ContainerStateStatusEnum::RUNNING),
                health: Some(Health { status: Some(HealthStatusEnum::UNHEALTHY), ..Health::default() }),
                ..ContainerState::default()
            }),
            ..ContainerInspectResponse::default()
        });
        assert_eq!(running.state, State::Running { health: Verdict::Unhealthy });
    }

    #[test]
    fn the_last_entry_of_the_log_of_checks_is_taken() {
        let entry = |end: &str, code: i64, output: &str| -> HealthcheckResult {
            serde_json::from_value(serde_json::json!({"End": end, "ExitCode": code, "Output": output}))
                .unwrap()
        };
        let health = |log: Vec<HealthcheckResult>| Health {
            status: Some(HealthStatusEnum::UNHEALTHY),
            failing_streak: Some(3),
            log: Some(log),
        };
        let first = entry("2026-01-02T03:04:05Z", 0, "");
        let shown =
            last_check(health(vec![first, entry("2026-01-02T03:04:06.5+01:00", 7, "no\0 route")])).unwrap();
        assert_eq!(shown.at, "2026-01-02T02:04:06.5Z".parse::<Timestamp>().unwrap());
        assert_eq!((shown.healthy, shown.exit_code, shown.failures), (false, Some(7), 3));
        assert_eq!(shown.output, "no\u{fffd} route");
        let late = entry("2026-01-02T03:04:07Z", -1, "Health check exceeded timeout (1s)");
        let shown = last_check(health(vec![late])).unwrap();
        assert_eq!((shown.healthy, shown.exit_code), (false, None));
        assert_eq!(last_check(health(Vec::new())), None);
    }

    #[test]
    fn nul_in_labels_and_names_is_replaced() {
        let labels = HashMap::from([("a\0".to_owned(), "b\0c".to_owned())]);
        let listed = listed(ContainerSummary {
            names: Some(vec!["/we\0b".into()]),
            image: Some("ap\0p".into()),
            labels: Some(labels.clone()),
            ..ContainerSummary::default()
        });
        let config = bollard::models::ContainerConfig {
            image: Some("ap\0p".into()),
            labels: Some(labels),
            ..Default::default()
        };
        let inspected = inspected(ContainerInspectResponse {
            name: Some("/we\0b".into()),
            config: Some(config),
            ..ContainerInspectResponse::default()
        });
        for found in [listed, inspected] {
            let label = found.labels.first_key_value().unwrap();
            let texts = [&found.name, &found.image, label.0, label.1];
            assert_eq!(texts, ["we\u{fffd}b", "ap\u{fffd}p", "a\u{fffd}", "b\u{fffd}c"]);
        }
    }

    #[test]
    fn every_state_word_is_read() {
        use ContainerStateStatusEnum as S;
        for (word, state) in [
            (S::CREATED, State::Created),
            (S::PAUSED, State::Paused),
            (S::RESTARTING, State::Restarting),
            (S::REMOVING, State::Removing),
            (S::DEAD, State::Removing),
            (S::RUNNING, State::Running { health: Verdict::None }),
        ] {
            let shown = ContainerState { status: Some(word), ..ContainerState::default() };
            let response =
                ContainerInspectResponse { state: Some(shown), ..ContainerInspectResponse::default() };
            assert_eq!(inspected(response).state, state);
        }
    }
}
