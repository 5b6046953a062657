//! Output of services, one or many, as lines that say whose they are.

use std::sync::Arc;
use std::time::Duration;

use clos_domain::event::{Filter, Pattern, Severity, types};
use clos_domain::id::ServiceId;
use clos_domain::seams::engine::{Error as E, LogLine, LogQuery};
use clos_domain::service::Service;
use clos_domain::{Result, Timestamp};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream, SelectAll};

use crate::Shared;
use crate::ledger::Item;
use crate::observer::engine_error;

/// A log that broke off is opened again after so long, if nothing is told before.
const BROKE_PAUSE: Duration = Duration::from_secs(2);

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub struct LogRequest {
    /// Which part of the log.
    pub query: LogQuery,
    /// Only lines that contain this.
    pub contains: Option<String>,
    /// Only lines of at least this severity, as far as they say one.
    pub at_least: Option<Severity>,
}

/// A line and whose it is.
#[derive(Debug, Clone)]
pub struct Line {
    /// The service's row.
    pub service: Arc<Service>,
    /// The line.
    pub line: LogLine,
    /// What the line says of its own weight.
    pub level: Option<Severity>,
}

/// The output of several services as it comes. A service without a container has none yet; who
/// follows hears of it when it has, and goes on with the next container when one has ended.
pub(crate) async fn follow_all(
    shared: &Arc<Shared>,
    services: Vec<Service>,
    request: LogRequest,
) -> Result<BoxStream<'static, Result<Line>>> {
    let mut streams: SelectAll<BoxStream<'static, Result<Line>>> = SelectAll::new();
    for service in services {
        let service = Arc::new(service);
        let lines = if request.query.follow {
            Follower::open(shared, &service, request.query.clone()).await?.lines()
        } else {
            match shared.world.engine.workloads.logs(&service.workload_name(), request.query.clone()).await {
                Ok(lines) => lines,
                Err(E::NotFound(_)) => continue,
                Err(error) => return Err(engine_error(error)),
            }
        };
        let wanted = request.clone();
        let tagged = lines.filter_map(move |line| {
            let told = line.map_err(engine_error).map(|line| {
                let level = level(&line.text);
                let contained = wanted.contains.as_ref().is_none_or(|text| line.text.contains(text.as_str()));
                let heavy = wanted.at_least.is_none_or(|least| level.is_some_and(|level| level >= least));
                (contained && heavy).then(|| Line { service: service.clone(), line, level })
            });
            std::future::ready(told.transpose())
        });
        streams.push(tagged.boxed());
    }
    let drain = shared.supervisor.drain_token();
    Ok(streams.take_until(async move { drain.cancelled().await }).boxed())
}

/// The lines of one service, from container to container.
struct Follower {
    shared: Arc<Shared>,
    name: String,
    query: LogQuery,
    /// The log of the container that runs.
    open: Option<BoxStream<'static, std::result::Result<LogLine, E>>>,
    /// The instant of the last line that was told.
    last: Option<Timestamp>,
    /// That instant when the log was opened again: what is not later was told before.
    told: Option<Timestamp>,
    /// The log broke off while its container may run on; no change of the service will tell.
    broke: bool,
    service: ServiceId,
    /// Events of services and of the engine, from before the log was opened.
    changes: BoxStream<'static, Result<Item>>,
}

impl Follower {
    async fn open(shared: &Arc<Shared>, service: &Service, query: LogQuery) -> Result<Self> {
        let words = ["service.*", types::ENGINE_CHANGED].map(|word| Pattern::parse("types", word));
        let filter = Filter { types: words.into_iter().collect::<Result<_>>()?, ..Filter::default() };
        let watch = shared.ledger.watch(None, filter, shared.supervisor.drain_token()).await?;
        let changes = stream::unfold(watch, |mut watch| async {
            let next = watch.next().await.transpose()?;
            Some((next, watch))
        });
        let name = service.workload_name();
        let open = match shared.world.engine.workloads.logs(&name, query.clone()).await {
            Ok(lines) => Some(lines),
            Err(E::NotFound(_)) => None,
            Err(error) => return Err(engine_error(error)),
        };
        Ok(Self {
            shared: shared.clone(),
            name,
            query,
            open,
            last: None,
            told: None,
            broke: false,
            service: service.id.clone(),
            changes: changes.boxed(),
        })
    }

    fn lines(self) -> BoxStream<'static, std::result::Result<LogLine, E>> {
        stream::unfold(self, |mut this| async { Some((this.next().await?, this)) }).boxed()
    }

    async fn next(&mut self) -> Option<std::result::Result<LogLine, E>> {
        loop {
            let Some(lines) = &mut self.open else {
                self.reopen().await?;
                continue;
            };
            match lines.next().await {
                // The same container, read anew, tells again what it told before.
                Some(Ok(line)) if line.at.is_some() && line.at <= self.told => {}
                Some(Ok(line)) => {
                    self.last = line.at.or(self.last);
                    return Some(Ok(line));
                }
                Some(Err(_)) => (self.open, self.broke) = (None, true),
                None => (self.open, self.broke) = (None, false),
            }
        }
    }

    /// Waits until there is a container that runs; nothing when there will be none any more.
    async fn reopen(&mut self) -> Option<()> {
        loop {
            let change = tokio::select! {
                change = self.changes.next() => Some(change?),
                () = tokio::time::sleep(BROKE_PAUSE), if self.broke => None,
            };
            match change {
                Some(Ok(Item::Event(event))) => {
                    let is_ours = event.service.as_ref() == Some(&self.service);
                    if is_ours && event.kind == types::SERVICE_DELETED {
                        return None;
                    }
                    if !is_ours && event.kind != types::ENGINE_CHANGED {
                        continue;
                    }
                }
                Some(Ok(Item::Bookmark(_)) | Err(_)) => continue,
                Some(Ok(_)) | None => {}
            }
            let engine = &self.shared.world.engine.workloads;
            let runs = engine
                .inspect(&self.name)
                .await
                .ok()
                .flatten()
                .is_some_and(|found| matches!(found.state, clos_domain::workload::State::Running { .. }));
            if !runs {
                continue;
            }
            let query = LogQuery { tail: None, since: self.last.or(self.query.since), ..self.query.clone() };
            if let Ok(lines) = engine.logs(&self.name, query).await {
                self.open = Some(lines);
                self.told = self.last;
                return Some(());
            }
        }
    }
}

/// The severity word that a line carries near its beginning, as most loggers write it.
pub(crate) fn level(text: &str) -> Option<Severity> {
    const HEAD: usize = 120;
    let head: String = text.chars().take(HEAD).collect::<String>().to_ascii_lowercase();
    let mut words = head.split(|c: char| !c.is_ascii_alphabetic());
    words.find_map(|word| match word {
        "trace" | "debug" | "dbg" => Some(Severity::Debug),
        "info" | "notice" | "inf" => Some(Severity::Info),
        "warn" | "warning" | "wrn" => Some(Severity::Warning),
        "error" | "err" => Some(Severity::Error),
        "fatal" | "panic" | "critical" | "crit" | "emerg" => Some(Severity::Critical),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_its_level_as_loggers_write_it() {
        let table = [
            (r#"{"level":"error","msg":"x"}"#, Some(Severity::Error)),
            ("2026-01-01 12:00:00 WARN pool is full", Some(Severity::Warning)),
            ("[info] listening", Some(Severity::Info)),
            ("listening on 8080", None),
            ("terrors of the deep", None),
        ];
        for (text, wanted) in table {
            assert_eq!(level(text), wanted, "{text}");
        }
    }
}
