//! Gates: waiting until a service is so far, and asking it whether it is well.
//!
//! An engine tells `healthy` at its own pace, seconds after the fact; so until the
//! first success the question is asked here, as fast as it is cheap to ask. HTTP
//! and TCP every 100 to 250 ms; a command inside a container costs 37-67 ms of CPU
//! (engine-facts), so one a core at a time, never two for one service, and with a
//! pause of four times its own duration.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use clos_domain::health::{Check, LastCheck, Streak, Test, Verdict};
use clos_domain::id::ServiceId;
use clos_domain::seams::engine;
use clos_domain::seams::host::{Answer, Target};
use clos_domain::service::{Condition, Observed, Service};
use clos_domain::workload::{Found, State};
use clos_domain::{Error, Reason, Result, Timestamp};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::ledger::Ledger;
use crate::observer::{Observer, engine_error};
use crate::{Settings, World};

/// The first pauses between two questions over the network.
const QUICK: Duration = Duration::from_millis(100);
/// The longest pause between two questions over the network before the first success.
const SLOW: Duration = Duration::from_millis(250);
/// One question over the network takes no longer than this before the first success.
const QUESTION: Duration = Duration::from_secs(2);
/// The shortest pause between two commands.
const COMMAND_PAUSE: Duration = Duration::from_millis(250);
/// Pause after a command, as a multiple of its duration.
const COMMAND_REST: u32 = 4;

/// How services are reached from here; learned once an engine.
const REACH_UNKNOWN: u8 = 0;
const REACH_DIRECT: u8 = 1;
const REACH_PUBLISHED: u8 = 2;

/// Asks and waits.
#[derive(Clone)]
pub(crate) struct Gates {
    inner: Arc<Inner>,
}

struct Inner {
    world: World,
    ledger: Arc<Ledger>,
    observer: Observer,
    commands: Semaphore,
    reach: AtomicU8,
    completion_patience: Duration,
    settles_after: Duration,
}

impl Gates {
    pub(crate) fn new(world: World, settings: &Settings, ledger: Arc<Ledger>, observer: Observer) -> Self {
        let inner = Inner {
            world,
            ledger,
            observer,
            commands: Semaphore::new(settings.cores),
            reach: AtomicU8::new(REACH_UNKNOWN),
            completion_patience: settings.completion_patience,
            settles_after: settings.settles_after,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Waits until a service is so far.
    pub(crate) async fn wait(&self, service: &ServiceId, name: &str, gate: Condition) -> Result<String> {
        let row = self.row(service).await?;
        let check = row.definition.gate_check().cloned();
        let patience = match (gate, &check) {
            (Condition::Completed, _) => self.inner.completion_patience,
            (_, Some(check)) => check.patience(),
            // The image may bring a check of its own, with a pace that is not known here.
            (_, None) => Duration::from_secs(300),
        };
        let asked = async {
            match (gate, &check) {
                (Condition::Healthy, Some(check)) => self.ask_until_well(&row, name, check).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            seen = self.follow(service, name, gate, check.is_some()) => seen,
            well = asked => well,
            () = tokio::time::sleep(patience) => {
                let last = self.inner.observer.checks().last(&self.row(service).await?);
                let why = if self.row(service).await?.observed.is_paused() {
                    "; it is paused".to_owned()
                } else {
                    let why = last.filter(|last| !last.healthy);
                    why.map(|last| format!("; {}", last.failure())).unwrap_or_default()
                };
                Err(Error::new(
                    Reason::NeverHealthy,
                    format!("was not {} within {} s{why}", gate.as_str(), patience.as_secs()),
                ))
            }
        }
    }

    async fn row(&self, service: &ServiceId) -> Result<Service> {
        let row = self.inner.world.store.view().await?.services().get(service).await?;
        row.ok_or_else(|| Error::new(Reason::ServiceNotFound, "the service was deleted meanwhile"))
    }

    /// Follows what the engine shows until the gate is decided.
    async fn follow(
        &self,
        service: &ServiceId,
        name: &str,
        gate: Condition,
        has_check: bool,
    ) -> Result<String> {
        let mut heads = self.inner.ledger.heads();
        let settled = tokio::time::sleep(self.inner.settles_after);
        tokio::pin!(settled);
        let mut is_settled = gate != Condition::Started;
        loop {
            heads.mark_unchanged();
            let row = self.row(service).await?;
            let decided = self.judge(&row, gate, has_check);
            // What has just started may end at once; an end is told without delay.
            let is_too_early = !is_settled && row.observed.is_running();
            if let Some(decided) = decided.filter(|decided| decided.is_err() || !is_too_early) {
                return decided;
            }
            tokio::select! {
                moved = heads.changed() => if moved.is_err() {
                    return Err(Error::new(Reason::Draining, "the daemon is shutting down"));
                },
                () = &mut settled, if !is_settled => {
                    // The engine's event of its end may be on its way, or lost.
                    self.inner.observer.refresh(service, name).await?;
                    is_settled = true;
                }
            }
        }
    }

    fn judge(&self, row: &Service, gate: Condition, has_check: bool) -> Option<Result<String>> {
        let last = self.inner.observer.checks().last(row);
        judge(row, gate, has_check, last.as_ref(), self.inner.world.now())
    }

    /// Asks until the first good answer. Engine verdicts come by [`Self::follow`], whichever is first.
    async fn ask_until_well(&self, row: &Service, name: &str, check: &Check) -> Result<String> {
        let mut begun = Instant::now();
        let mut streak = Streak::default();
        let mut pause = if check.test.is_command() { COMMAND_PAUSE } else { QUICK };
        loop {
            let asked = Instant::now();
            if self.row(&row.id).await?.observed.is_paused() {
                // It answers nobody, and the time does not count.
                tokio::time::sleep(SLOW).await;
                begun += asked.elapsed();
                continue;
            }
            let mut last = self.ask(row, name, check, QUESTION).await;
            let well = last.healthy;
            // Before the first success a failure counts at the file's own pace and no faster.
            let due =
                begun.elapsed().as_millis() / check.interval.max(Duration::from_millis(1)).as_millis().max(1);
            let counts = well || due > u128::from(streak.failures());
            if counts {
                streak.record(check, begun.elapsed(), well);
            }
            last.failures = streak.failures();
            self.inner.observer.checks().note(&row.id, last.clone());
            match streak.verdict() {
                Verdict::Healthy => {
                    self.inner.observer.record_health(&row.id, Verdict::Healthy).await?;
                    let now = self.row(&row.id).await?;
                    let decided = self.judge(&now, Condition::Healthy, true);
                    if let Some(decided) = decided {
                        return decided;
                    }
                    // It ended meanwhile or was restarted a moment ago: it is asked on.
                }
                Verdict::Unhealthy => {
                    self.inner.observer.record_health(&row.id, Verdict::Unhealthy).await?;
                    return Err(Error::new(Reason::Unhealthy, last.failure()));
                }
                Verdict::None | Verdict::Starting => {}
            }
            pause = if check.test.is_command() {
                (asked.elapsed() * COMMAND_REST).max(COMMAND_PAUSE).min(check.interval.max(COMMAND_PAUSE))
            } else {
                (pause * 5 / 4).min(SLOW)
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks once; failures are for the caller to count.
    pub(crate) async fn ask(&self, row: &Service, name: &str, check: &Check, at_most: Duration) -> LastCheck {
        let said = self.put(row, name, check, at_most).await;
        let outcome = match &said {
            Ok(Said { answer, .. }) if answer.is_well() => "well",
            Ok(Said { answer: Answer::Unreachable(_), .. }) => "unreachable",
            Ok(_) => "ill",
            Err(_) => "error",
        };
        let kind = match &check.test {
            Test::Disabled => None,
            Test::Command { .. } => Some("command"),
            Test::Http { .. } => Some("http"),
            Test::Tcp { .. } => Some("tcp"),
        };
        if let Some(kind) = kind {
            clos_telemetry::metrics().probe(kind, outcome);
        }
        let said = said.unwrap_or_else(|error| Answer::Ill(error.message().to_owned()).into());
        LastCheck {
            at: self.inner.world.now(),
            healthy: said.answer.is_well(),
            http_status: said.answer.http_status(),
            output: LastCheck::output(&said.output.unwrap_or_else(|| said.answer.words())),
            exit_code: said.exit_code,
            failures: 0,
        }
    }

    async fn put(&self, row: &Service, name: &str, check: &Check, at_most: Duration) -> Result<Said> {
        let timeout = check.timeout.min(at_most).max(Duration::from_millis(50));
        match &check.test {
            Test::Disabled => Ok(Answer::Well.into()),
            Test::Command { argv } => {
                let _core = self.inner.commands.acquire().await.map_err(Error::internal)?;
                // A command has a process to start first; its own timeout is the file's.
                let timeout = check.timeout.max(Duration::from_secs(1));
                let asked = Instant::now();
                let ran = match self.inner.world.engine.workloads.exec(name, argv, timeout).await {
                    Err(engine::Error::UnknownOutcome(_)) if timeout <= asked.elapsed() => {
                        return Ok(Answer::Ill(format!("the command did not end within {timeout:?}")).into());
                    }
                    ran => ran.map_err(engine_error)?,
                };
                let answer = if ran.code == 0 {
                    Answer::Well
                } else {
                    Answer::Ill(format!("the check exited with {}", ran.code))
                };
                let exit_code = i32::try_from(ran.code).ok();
                Ok(Said { answer, exit_code, output: Some(ran.output) })
            }
            Test::Http { url, expected } => {
                let Some(parts) = split_url(url) else {
                    return Ok(Answer::Ill(format!("`{url}` is not an http URL")).into());
                };
                if let Some(host) = parts.host {
                    let url = format!("http://{host}:{}{}", parts.port, parts.path);
                    let target = Target::Http { url, expected: expected.clone() };
                    return Ok(self.inner.world.probe.ask(&target, timeout).await.into());
                }
                let (path, expected) = (parts.path.to_owned(), expected.clone());
                self.ask_workload(row, name, parts.port, timeout, move |host, port| {
                    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                    Target::Http { url: format!("http://{host}:{port}{path}"), expected: expected.clone() }
                })
                .await
                .map(Said::from)
            }
            Test::Tcp { port } => {
                let target = |host: &str, port| Target::Tcp { host: host.to_owned(), port };
                self.ask_workload(row, name, *port, timeout, target).await.map(Said::from)
            }
        }
    }

    /// The container's own address where this machine can reach it, else the published port.
    async fn ask_workload(
        &self,
        row: &Service,
        name: &str,
        port: u16,
        timeout: Duration,
        target: impl Fn(&str, u16) -> Target,
    ) -> Result<Answer> {
        let found = self.inner.world.engine.workloads.inspect(name).await.map_err(engine_error)?;
        let Some(found) = found else { return Ok(Answer::Ill("there is no container".into())) };
        let direct = direct_address(&found);
        let published = published_address(row, port);
        let reach = self.inner.reach.load(Ordering::Relaxed);
        if let Some(address) = direct.filter(|_| reach != REACH_PUBLISHED || published.is_none()) {
            let answer = self.inner.world.probe.ask(&target(&address, port), timeout).await;
            match &answer {
                answer if answer.is_well() => self.inner.reach.store(REACH_DIRECT, Ordering::Relaxed),
                Answer::Unreachable(_) if reach == REACH_UNKNOWN && published.is_some() => {}
                _ if reach == REACH_UNKNOWN && published.is_some() => {}
                _ => return Ok(answer),
            }
            if answer.is_well() {
                return Ok(answer);
            }
            // Nobody knows yet whether container addresses lead anywhere from here: the published port decides.
            let Some((host, host_port)) = published else { return Ok(answer) };
            let second = self.inner.world.probe.ask(&target(&host, host_port), timeout).await;
            if second.is_well() && matches!(answer, Answer::Unreachable(_)) {
                self.inner.reach.store(REACH_PUBLISHED, Ordering::Relaxed);
            }
            return Ok(second);
        }
        match published {
            Some((host, host_port)) => {
                Ok(self.inner.world.probe.ask(&target(&host, host_port), timeout).await)
            }
            None => Ok(Answer::Unreachable(format!(
                "port {port} can be reached neither directly nor by a host port"
            ))),
        }
    }
}

/// An answer, and what a command in the container left.
struct Said {
    answer: Answer,
    exit_code: Option<i32>,
    output: Option<String>,
}

impl From<Answer> for Said {
    fn from(answer: Answer) -> Self {
        Self { answer, exit_code: None, output: None }
    }
}

fn direct_address(found: &Found) -> Option<String> {
    if !matches!(found.state, State::Running { .. }) {
        return None;
    }
    found.addresses.values().find(|address| !address.is_empty()).cloned()
}

fn published_address(row: &Service, port: u16) -> Option<(String, u16)> {
    let binding = row.ports.iter().find(|binding| binding.container_port == port)?;
    let host = match binding.host_ip.as_str() {
        "0.0.0.0" | "" => "127.0.0.1",
        "::" => "::1",
        other => other,
    };
    Some((host.to_owned(), binding.host_port))
}

/// Whether a gate is decided by what the engine shows.
fn judge(
    row: &Service,
    gate: Condition,
    has_check: bool,
    last: Option<&LastCheck>,
    now: Timestamp,
) -> Option<Result<String>> {
    let one_shot = row.definition.restart.is_one_shot();
    match row.derive_status(now) {
        (_, Some(Reason::CrashLooping)) => {
            let last = if row.status_detail.is_empty() {
                String::new()
            } else {
                format!(" (last time it {})", row.status_detail)
            };
            return Some(Err(Error::new(Reason::CrashLooping, format!("keeps exiting{last}"))));
        }
        // It may end again at once, or has to go on first.
        (_, Some(Reason::Restarting)) => return None,
        (_, Some(Reason::StoppedOutside)) => {
            return Some(Err(Error::new(Reason::StoppedOutside, "was stopped outside of clos")));
        }
        _ => {}
    }
    match (gate, row.observed) {
        (Condition::Started, Observed::Running(_)) => Some(Ok(String::new())),
        (Condition::Healthy, Observed::Running(Verdict::Healthy)) => Some(Ok(String::new())),
        (Condition::Healthy, Observed::Running(Verdict::Unhealthy)) => {
            let said = last.filter(|last| !last.healthy).map(LastCheck::failure);
            let said = said.unwrap_or_else(|| "its health check says unhealthy".to_owned());
            Some(Err(Error::new(Reason::Unhealthy, said)))
        }
        (Condition::Healthy, Observed::Running(Verdict::None)) if !has_check => Some(Err(Error::new(
            Reason::Unhealthy,
            "others wait until it is healthy, but it has no health check: add a `healthcheck`, or let them wait for `service_started`",
        ))),
        (Condition::Healthy | Condition::Started, Observed::Exited(0)) if one_shot => {
            Some(Ok("exited with code 0".into()))
        }
        (Condition::Completed, Observed::Exited(0)) => Some(Ok("exited with code 0".into())),
        (_, Observed::Exited(code)) => {
            Some(Err(Error::new(Reason::Exited, format!("exited with code {code}"))))
        }
        (_, Observed::Absent) => Some(Err(Error::new(Reason::Gone, "its container is gone"))),
        _ => None,
    }
}

struct Url<'a> {
    host: Option<&'a str>,
    port: u16,
    path: &'a str,
}

/// `http://:8080/healthz` (the workload itself) and `http://other:80/x`.
fn split_url(url: &str) -> Option<Url<'_>> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = match rest.find('/') {
        Some(at) => (&rest[..at], &rest[at..]),
        None => (rest, "/"),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, 80),
    };
    Some(Url { host: (!host.is_empty()).then_some(host), port, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_host_means_the_workload_itself() {
        let own = split_url("http://:8080/healthz?x=1").unwrap();
        assert_eq!((own.host, own.port, own.path), (None, 8080, "/healthz?x=1"));
        let other = split_url("http://db").unwrap();
        assert_eq!((other.host, other.port, other.path), (Some("db"), 80, "/"));
        assert!(split_url("https://db").is_none());
        assert!(split_url("http://db:port/").is_none());
    }
}
