//! Streams that outlive a connection: events, one operation, logs.
//!
//! A watch keeps its position. When the stream breaks or the daemon restarts, it asks on from
//! there; what came before the break is never told twice, and of what came during it nothing is
//! lost as long as the journal keeps it. `watch.resync` tells when it does not.

use std::collections::HashMap;

use clos_proto::v2 as pb;
use pb::events_api_client::EventsApiClient;
use pb::groups_api_client::GroupsApiClient;
use pb::operations_api_client::OperationsApiClient;
use pb::services_api_client::ServicesApiClient;
use tonic::{Request, Streaming};

use crate::connect::{ANSWER_MAX, Attempts, Client};
use crate::error::Error;

/// The event that tells a position and nothing else.
const BOOKMARK: &str = "watch.bookmark";
/// The event that tells that some of the history is gone.
const RESYNC: &str = "watch.resync";
/// What tells it at the opening of a stream.
const TOO_OLD: &str = "SEQUENCE_TOO_OLD";
/// After a break every line since is asked for.
const ALL_LINES: i32 = -1;

impl Client {
    /// Watches events, without end. Absent `after` is from now on.
    ///
    /// # Errors
    /// A filter or position that the daemon refuses.
    pub async fn watch_events(&self, mut request: pb::WatchEventsRequest) -> Result<EventWatch, Error> {
        if request.after.is_none() {
            // Known before the stream opens, so that a break before the first event loses nothing.
            let newest = pb::ListEventsRequest { limit: Some(1), ..pb::ListEventsRequest::default() };
            request.after = Some(self.list_events(newest).await?.head_seq);
        }
        let position = request.after.unwrap_or_default();
        let mut watch = EventWatch { client: self.clone(), request, position, stream: None };
        at_first(async || watch.open().await).await?;
        Ok(watch)
    }

    /// Watches one operation from its first event to its last.
    ///
    /// # Errors
    /// There is no such operation.
    pub async fn watch_operation(&self, id: &str) -> Result<OperationWatch, Error> {
        let mut watch = OperationWatch {
            client: self.clone(),
            id: id.to_owned(),
            position: 0,
            stream: None,
            ended: false,
        };
        at_first(async || watch.open().await).await?;
        Ok(watch)
    }

    /// Reads a service's log; with `follow` without end.
    ///
    /// # Errors
    /// There is no such service, or a field is wrong.
    pub async fn service_logs(&self, request: pb::GetServiceLogsRequest) -> Result<LogWatch, Error> {
        self.logs(Source::Service(request)).await
    }

    /// Reads the logs of a group's services as they come.
    ///
    /// # Errors
    /// There is no such group, or a field is wrong.
    pub async fn group_logs(&self, request: pb::GetGroupLogsRequest) -> Result<LogWatch, Error> {
        self.logs(Source::Group(request)).await
    }

    async fn logs(&self, source: Source) -> Result<LogWatch, Error> {
        let mut watch = LogWatch { client: self.clone(), source, seen: HashMap::new(), stream: None };
        at_first(async || watch.open().await).await?;
        Ok(watch)
    }
}

/// Opens a stream as a read is called: whoever asks wants to know soon that it cannot be.
async fn at_first(mut open: impl AsyncFnMut() -> Result<(), Error>) -> Result<(), Error> {
    let mut attempts = Attempts::of_a_read();
    while let Err(error) = open().await {
        attempts.after(error).await?;
    }
    Ok(())
}

/// Events from a position on.
#[derive(Debug)]
pub struct EventWatch {
    client: Client,
    request: pb::WatchEventsRequest,
    position: i64,
    stream: Option<Streaming<pb::Event>>,
}

impl EventWatch {
    /// The position of the last event that was told.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The next event; waits for it, also through a restart of the daemon.
    ///
    /// # Errors
    /// What no repetition helps against.
    pub async fn next(&mut self) -> Result<pb::Event, Error> {
        let mut attempts = Attempts::without_end();
        loop {
            let broken = match &mut self.stream {
                None => match self.open().await {
                    Ok(()) => continue,
                    // While we were away; at the first opening it is the caller's mistake.
                    Err(error) if error.reason == TOO_OLD => return self.resync(&error),
                    Err(error) => Some(error),
                },
                Some(stream) => match stream.message().await {
                    Ok(Some(event)) => match self.take(event) {
                        Some(event) => return Ok(event),
                        None => continue,
                    },
                    Ok(None) => None,
                    Err(status) => Some(self.client.error(&status)),
                },
            };
            self.stream = None;
            if let Some(error) = broken {
                attempts.after(error).await?;
            }
        }
    }

    async fn open(&mut self) -> Result<(), Error> {
        let request = pb::WatchEventsRequest { after: Some(self.position), ..self.request.clone() };
        let mut api = EventsApiClient::new(self.client.wire()).max_decoding_message_size(ANSWER_MAX);
        let opening = Box::pin(api.watch_events(Request::new(request)));
        self.stream = Some(self.client.answer(opening).await?);
        Ok(())
    }

    /// The event as the caller is to see it, if at all.
    fn take(&mut self, event: pb::Event) -> Option<pb::Event> {
        match event.r#type.as_str() {
            BOOKMARK => {
                self.position = self.position.max(event.seq);
                None
            }
            RESYNC => {
                self.position = self.position.max(oldest(&event) - 1);
                Some(event)
            }
            // Not journaled: has no position and is told as it comes.
            _ if event.seq == 0 => Some(event),
            _ if event.seq <= self.position => None,
            _ => {
                self.position = event.seq;
                Some(event)
            }
        }
    }

    fn resync(&mut self, error: &Error) -> Result<pb::Event, Error> {
        let oldest = error.metadata.get("oldest_seq").and_then(|text| text.parse::<i64>().ok());
        let Some(oldest) = oldest.filter(|oldest| *oldest > self.position) else { return Err(error.clone()) };
        self.position = oldest - 1;
        Ok(pb::Event {
            r#type: RESYNC.to_owned(),
            seq: oldest,
            severity: pb::Severity::Warning.into(),
            data: Some(pb::EventData { oldest_seq: Some(oldest), ..pb::EventData::default() }),
            ..pb::Event::default()
        })
    }
}

fn oldest(event: &pb::Event) -> i64 {
    event.data.as_ref().and_then(|data| data.oldest_seq).unwrap_or(event.seq)
}

/// The events of one operation.
#[derive(Debug)]
pub struct OperationWatch {
    client: Client,
    id: String,
    position: i64,
    stream: Option<Streaming<pb::Event>>,
    ended: bool,
}

impl OperationWatch {
    /// The next event of the operation; nothing after its last.
    ///
    /// # Errors
    /// What no repetition helps against.
    pub async fn next(&mut self) -> Result<Option<pb::Event>, Error> {
        let mut attempts = Attempts::without_end();
        while !self.ended {
            let error = match &mut self.stream {
                None => match self.open().await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Some(stream) => match stream.message().await {
                    Ok(Some(event)) if event.r#type == BOOKMARK => {
                        self.position = self.position.max(event.seq);
                        continue;
                    }
                    Ok(Some(event)) if event.seq != 0 && event.seq <= self.position => continue,
                    Ok(Some(event)) => {
                        self.position = self.position.max(event.seq);
                        return Ok(Some(event));
                    }
                    Ok(None) => {
                        self.ended = true;
                        break;
                    }
                    Err(status) => self.client.error(&status),
                },
            };
            self.stream = None;
            attempts.after(error).await?;
        }
        Ok(None)
    }

    async fn open(&mut self) -> Result<(), Error> {
        let request = pb::WatchOperationRequest { id: self.id.clone(), after: Some(self.position) };
        let mut api = OperationsApiClient::new(self.client.wire()).max_decoding_message_size(ANSWER_MAX);
        let opening = Box::pin(api.watch_operation(Request::new(request)));
        self.stream = Some(self.client.answer(opening).await?);
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Source {
    Service(pb::GetServiceLogsRequest),
    Group(pb::GetGroupLogsRequest),
}

/// What was told of a container's log.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// The last instant, seconds and nanoseconds, and how many entries of it were told.
    last: (i64, i32),
    count: usize,
    /// What comes again after a break: entries up to this instant, and so many of it.
    repeats: Option<((i64, i32), usize)>,
    /// The last entry was such a repetition.
    was_repeated: bool,
}

/// Lines of logs.
#[derive(Debug)]
pub struct LogWatch {
    client: Client,
    source: Source,
    /// What was told of each container.
    seen: HashMap<String, Seen>,
    stream: Option<Streaming<pb::LogEntry>>,
}

impl LogWatch {
    /// The next line; nothing when there is no more, which a follower never sees.
    ///
    /// # Errors
    /// What no repetition helps against.
    pub async fn next(&mut self) -> Result<Option<pb::LogEntry>, Error> {
        let mut attempts = Attempts::without_end();
        loop {
            let error = match &mut self.stream {
                None => match self.open().await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Some(stream) => match stream.message().await {
                    Ok(Some(entry)) => {
                        if let Some(entry) = self.take(entry) {
                            return Ok(Some(entry));
                        }
                        continue;
                    }
                    Ok(None) => return Ok(None),
                    Err(status) => self.client.error(&status),
                },
            };
            self.stream = None;
            if !self.follows() {
                return Err(error);
            }
            attempts.after(error).await?;
        }
    }

    fn follows(&self) -> bool {
        match &self.source {
            Source::Service(request) => request.follow,
            Source::Group(request) => request.follow,
        }
    }

    /// After a break the last instant comes again; what was told of it is not told twice. The
    /// pieces of a long line have one instant.
    fn take(&mut self, entry: pb::LogEntry) -> Option<pb::LogEntry> {
        let Some(at) = entry.timestamp.map(|at| (at.seconds, at.nanos)) else { return Some(entry) };
        let seen = self.seen.entry(entry.container_id.clone()).or_default();
        if let Some((last, count)) = &mut seen.repeats {
            // The end of a line that was told without one adds nothing.
            let is_bare_end = seen.was_repeated && entry.message.is_empty() && !entry.partial;
            seen.was_repeated = at < *last || (at == *last && (*count > 0 || is_bare_end));
            if at == *last {
                *count = count.saturating_sub(1);
            }
            if seen.was_repeated {
                return None;
            }
        }
        if at == seen.last {
            seen.count += 1;
        } else if at > seen.last {
            (seen.last, seen.count) = (at, 1);
        }
        Some(entry)
    }

    async fn open(&mut self) -> Result<(), Error> {
        // From the earliest of the containers' last lines on, so that none misses what came during the break.
        for seen in self.seen.values_mut() {
            (seen.repeats, seen.was_repeated) = (Some((seen.last, seen.count)), false);
        }
        if let Some((seconds, nanos)) = self.seen.values().map(|seen| seen.last).min() {
            let since = Some(prost_types::Timestamp { seconds, nanos });
            match &mut self.source {
                Source::Service(request) => (request.since, request.lines) = (since, Some(ALL_LINES)),
                Source::Group(request) => (request.since, request.lines) = (since, Some(ALL_LINES)),
            }
        }
        let stream = match self.source.clone() {
            Source::Service(request) => {
                let mut api = ServicesApiClient::new(self.client.wire());
                let opening = Box::pin(api.get_service_logs(Request::new(request)));
                self.client.answer(opening).await?
            }
            Source::Group(request) => {
                let mut api = GroupsApiClient::new(self.client.wire());
                let opening = Box::pin(api.get_group_logs(Request::new(request)));
                self.client.answer(opening).await?
            }
        };
        self.stream = Some(stream);
        Ok(())
    }
}
