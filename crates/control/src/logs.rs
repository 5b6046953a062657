//! Output of services, one or many, as lines that say whose they are.

use std::sync::Arc;

use clos_domain::Result;
use clos_domain::event::Severity;
use clos_domain::seams::engine::{Error as E, LogLine, LogQuery};
use clos_domain::service::Service;
use futures::StreamExt as _;
use futures::stream::{BoxStream, SelectAll};

use crate::Shared;
use crate::observer::engine_error;

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

/// The output of several services as it comes. A service without a container has none.
pub(crate) async fn follow_all(
    shared: &Arc<Shared>,
    services: Vec<Service>,
    request: LogRequest,
) -> Result<BoxStream<'static, Result<Line>>> {
    let mut streams: SelectAll<BoxStream<'static, Result<Line>>> = SelectAll::new();
    for service in services {
        let name = service.workload_name();
        let lines = match shared.world.engine.workloads.logs(&name, request.query.clone()).await {
            Ok(lines) => lines,
            Err(E::NotFound(_)) => continue,
            Err(error) => return Err(engine_error(error)),
        };
        let service = Arc::new(service);
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
