//! Output of services, one or many, as lines that say whose they are.

mod filter;
mod follower;
mod merge;

use std::sync::Arc;

use clos_domain::Result;
use clos_domain::event::Severity;
use clos_domain::seams::engine::{Error as E, LogLine, LogQuery};
use clos_domain::service::Service;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

use self::filter::Wanted;
use self::follower::{Follower, Told};
use self::merge::Merge;
use crate::observer::engine_error;
use crate::{Shared, containers};

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
    /// The engine's id of the container.
    pub container_id: String,
    /// The line, or a piece of one.
    pub line: LogLine,
    /// What the line says of its own weight; all pieces of one have the same.
    pub level: Option<Severity>,
    /// Instead of a line: why this service has none to show.
    pub note: Option<String>,
}

/// The output of several services in order of time. A service without a container has none yet;
/// who follows hears of it when it has, and goes on with the next container when one has ended.
/// One whose log cannot be read is named by a note and spoils nothing for the others.
pub(crate) async fn follow_all(
    shared: &Arc<Shared>,
    services: Vec<Service>,
    request: LogRequest,
) -> Result<BoxStream<'static, Result<Line>>> {
    let mut streams: Vec<BoxStream<'static, Result<Line>>> = Vec::new();
    for service in services {
        let service = Arc::new(service);
        let told = if request.query.follow {
            Follower::open(shared, &service, request.query.clone()).await?.lines()
        } else {
            read(shared, &service, request.query.clone()).await?
        };
        let mut wanted = Wanted::new(service.clone(), &request);
        let lines = told.flat_map(move |told| {
            stream::iter(match told {
                Ok(Told::Line(container, line)) => {
                    wanted.judge(&container, line).into_iter().map(Ok).collect()
                }
                Ok(Told::Unreadable(why)) => vec![Ok(note(&service, why))],
                Err(error) => vec![Err(error)],
            })
        });
        streams.push(lines.boxed());
    }
    let drain = shared.supervisor.drain_token();
    let merged = Merge::new(streams, request.query.follow);
    Ok(merged.take_until(async move { drain.cancelled().await }).boxed())
}

/// The log of the container that is there now, to its end.
async fn read(
    shared: &Arc<Shared>,
    service: &Service,
    query: LogQuery,
) -> Result<BoxStream<'static, Result<Told>>> {
    let Some(found) = containers::current(shared, &service.id).await? else {
        return Ok(stream::empty().boxed());
    };
    let container = found.id;
    match shared.world.engine.workloads.logs(&container, query).await {
        Ok(lines) => Ok(lines
            .map(move |line| match line {
                Ok(line) => Ok(Told::Line(container.clone(), line)),
                Err(E::Unsupported(why)) => Ok(Told::Unreadable(why)),
                Err(error) => Err(engine_error(error)),
            })
            .boxed()),
        Err(E::NotFound(_)) => Ok(stream::empty().boxed()),
        Err(E::Unsupported(why)) => Ok(stream::iter([Ok(Told::Unreadable(why))]).boxed()),
        Err(error) => Err(engine_error(error)),
    }
}

fn note(service: &Arc<Service>, why: String) -> Line {
    let line = LogLine { at: None, stderr: false, text: String::new(), raw: None, partial: false };
    let note = Some(format!("the engine cannot {why}"));
    Line { service: service.clone(), container_id: String::new(), line, level: None, note }
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
pub(super) mod tests {
    use clos_testkit::ids::SeqIds;
    use clos_testkit::store_suite;

    use super::*;

    pub(super) fn service() -> Service {
        let ids = SeqIds::default();
        store_suite::service(&ids, &store_suite::group(&ids, "shop"), "web")
    }

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
