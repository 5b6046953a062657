//! The lines of one service, from run to run and from container to container.

use std::sync::Arc;
use std::time::Duration;

use clos_domain::event::{Filter, Pattern, types};
use clos_domain::id::ServiceId;
use clos_domain::seams::engine::{Error as E, LogLine, LogQuery};
use clos_domain::service::Service;
use clos_domain::{Result, Timestamp};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

use crate::ledger::Item;
use crate::observer::engine_error;
use crate::{Shared, containers};

/// A log that broke off is opened again after so long, if nothing is told before.
const BROKE_PAUSE: Duration = Duration::from_secs(2);
/// A service that does not run is looked at so often, should an event have been lost.
const LOOK_PAUSE: Duration = Duration::from_secs(10);

/// A line, or why there are none.
pub(super) enum Told {
    /// A line of this container.
    Line(String, LogLine),
    /// The engine cannot read this log.
    Unreadable(String),
}

/// One run of a container: its id and when it started.
type Run = (String, Option<Timestamp>);

pub(super) struct Follower {
    shared: Arc<Shared>,
    query: LogQuery,
    /// The log that is being read.
    open: Option<BoxStream<'static, std::result::Result<LogLine, E>>>,
    /// The run as it was when the log was opened: later ones were not read to their end.
    run: Option<Run>,
    told: Position,
    /// The log broke off while its container may run on; no change of the service will tell.
    broke: bool,
    /// Once is enough to say that there is nothing to read.
    is_unreadable: bool,
    service: ServiceId,
    /// Events of services and of the engine, from before the log was opened.
    changes: BoxStream<'static, Result<Item>>,
}

/// What was told of a container's log.
#[derive(Default)]
struct Position {
    /// The instant of the last line, and how many lines of that instant were told.
    last: Option<(Timestamp, usize)>,
    /// What comes again after the log was opened anew.
    repeats: Option<(Timestamp, usize)>,
    /// The last piece was such a repetition.
    was_repeated: bool,
}

impl Position {
    fn is_new(&mut self, line: &LogLine) -> bool {
        let Some(at) = line.at else { return true };
        if let Some((last, count)) = &mut self.repeats {
            // The end of a line that was told without one adds nothing.
            let is_bare_end = self.was_repeated && line.text.is_empty() && !line.partial;
            self.was_repeated = at < *last || (at == *last && (*count > 0 || is_bare_end));
            if at == *last {
                *count = count.saturating_sub(1);
            }
            if self.was_repeated {
                return false;
            }
        }
        self.last = match self.last {
            Some((last, count)) if last == at => Some((at, count + 1)),
            Some((last, count)) if last > at => Some((last, count)),
            _ => Some((at, 1)),
        };
        true
    }
}

impl Follower {
    pub(super) async fn open(shared: &Arc<Shared>, service: &Service, query: LogQuery) -> Result<Self> {
        let words = ["service.*", types::ENGINE_CHANGED].map(|word| Pattern::parse("types", word));
        let filter = Filter { types: words.into_iter().collect::<Result<_>>()?, ..Filter::default() };
        let watch = shared.ledger.watch(None, filter, shared.supervisor.drain_token()).await?;
        let changes = stream::unfold(watch, |mut watch| async {
            let next = watch.next().await.transpose()?;
            Some((next, watch))
        });
        let mut this = Self {
            shared: shared.clone(),
            query,
            open: None,
            run: None,
            told: Position::default(),
            broke: false,
            is_unreadable: false,
            service: service.id.clone(),
            changes: changes.boxed(),
        };
        // Before the log: a run that begins between the two is read and then looked at again.
        if let Some(found) = containers::current(shared, &service.id).await? {
            match shared.world.engine.workloads.logs(&found.id, this.query.clone()).await {
                Ok(lines) => {
                    this.open = Some(lines);
                    this.run = Some((found.id, found.started_at));
                }
                Err(E::NotFound(_)) => {}
                Err(E::Unsupported(_)) => this.broke = true,
                Err(error) => return Err(engine_error(error)),
            }
        }
        Ok(this)
    }

    pub(super) fn lines(self) -> BoxStream<'static, Result<Told>> {
        stream::unfold(self, |mut this| async { Some((Ok(this.next().await?), this)) }).boxed()
    }

    async fn next(&mut self) -> Option<Told> {
        loop {
            let Some(lines) = &mut self.open else {
                match self.reopen().await? {
                    Some(why) => return Some(Told::Unreadable(why)),
                    None => continue,
                }
            };
            match lines.next().await {
                Some(Ok(line)) => {
                    if self.told.is_new(&line) {
                        let id = self.run.as_ref().map(|(id, _)| id.clone());
                        return Some(Told::Line(id.unwrap_or_default(), line));
                    }
                }
                Some(Err(E::Unsupported(why))) => {
                    (self.open, self.broke) = (None, false);
                    if !std::mem::replace(&mut self.is_unreadable, true) {
                        return Some(Told::Unreadable(why));
                    }
                }
                Some(Err(_)) => (self.open, self.broke) = (None, true),
                None => (self.open, self.broke) = (None, false),
            }
        }
    }

    /// Waits until there is something that was not read: a run, or the rest of one whose log
    /// broke off. `None` when there will be nothing any more; a text where it cannot be read.
    async fn reopen(&mut self) -> Option<Option<String>> {
        // A run that began and ended meanwhile is no longer seen in any change.
        let mut is_due = !self.broke || (self.run.is_none() && !self.is_unreadable);
        loop {
            if !std::mem::take(&mut is_due) && !self.change().await? {
                continue;
            }
            let Ok(Some(found)) = containers::current(&self.shared, &self.service).await else { continue };
            let run = Some((found.id.clone(), found.started_at));
            if run == self.run && !self.broke {
                continue;
            }
            let is_same = self.run.as_ref().is_some_and(|(id, _)| *id == found.id);
            if !is_same {
                self.told = Position::default();
            }
            self.told.repeats = self.told.last;
            let since = self.told.last.map(|(at, _)| at).or(self.query.since);
            let query = LogQuery { tail: None, since, ..self.query.clone() };
            match self.shared.world.engine.workloads.logs(&found.id, query).await {
                Ok(lines) => {
                    self.open = Some(lines);
                    (self.run, self.broke) = (run, false);
                    return Some(None);
                }
                Err(E::Unsupported(why)) => {
                    (self.run, self.broke) = (run, false);
                    if !std::mem::replace(&mut self.is_unreadable, true) {
                        return Some(Some(why));
                    }
                }
                Err(_) => {}
            }
        }
    }

    /// Waits for a change that may matter to the service; `None` when it is gone for good.
    async fn change(&mut self) -> Option<bool> {
        let pause = if self.broke { BROKE_PAUSE } else { LOOK_PAUSE };
        let change = tokio::select! {
            change = self.changes.next() => change?,
            () = tokio::time::sleep(pause) => return Some(true),
        };
        Some(match change {
            Ok(Item::Event(event)) => {
                let is_ours = event.service.as_ref() == Some(&self.service);
                if is_ours && event.kind == types::SERVICE_DELETED {
                    return None;
                }
                is_ours || event.kind == types::ENGINE_CHANGED
            }
            Ok(Item::Bookmark(_)) | Err(_) => false,
            Ok(_) => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(second: i64, text: &str, partial: bool) -> LogLine {
        let at = Some(Timestamp::from_second(second).unwrap());
        LogLine { at, stderr: false, text: text.to_owned(), raw: None, partial }
    }

    #[test]
    fn pieces_of_one_instant_are_told_once_each() {
        let mut told = Position::default();
        assert!(told.is_new(&piece(1, "a", true)) && told.is_new(&piece(1, "b", true)));
        told.repeats = told.last;
        let again = [piece(1, "a", true), piece(1, "b", true), piece(1, "c", false), piece(2, "d", false)];
        let new: Vec<&str> =
            again.iter().filter(|line| told.is_new(line)).map(|line| line.text.as_str()).collect();
        assert_eq!(new, ["c", "d"]);
    }

    #[test]
    fn an_end_of_what_was_told_as_ended_is_no_line() {
        let mut told = Position::default();
        assert!(told.is_new(&piece(1, "a", false)));
        told.repeats = told.last;
        assert!(!told.is_new(&piece(1, "a", true)) && !told.is_new(&piece(1, "", false)));
        assert!(told.is_new(&piece(2, "", false)));
    }
}
