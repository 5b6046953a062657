//! Changes on the engine, as they happen.
//!
//! The engine keeps 256 past events and 1,024 for each subscriber; one that reads
//! slowly slows the whole engine and then loses events without a mark. So one task
//! a subscription reads and never waits: it pushes into a bounded queue, and where
//! that is full it empties it and says so, upon which the reader lists again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use clos_domain::health::Verdict;
use clos_domain::seams::engine::{Error, Event};
use clos_domain::service::Change;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::call::{Effect, fault};
use crate::deadline;
use crate::docker::Docker;

/// Events that wait for the reader; more, and it has to list again anyway.
const QUEUE: usize = 4096;

/// What the engine is asked for. A health check adds three exec events each time,
/// which are of no use here.
const WANTED: [&str; 9] =
    ["create", "start", "die", "destroy", "health_status", "pause", "unpause", "kill", "stop"];

/// Opens the stream; its reader is one task that ends with the stream.
pub(crate) fn subscribe(docker: &Docker) -> BoxStream<'static, Event> {
    let queue = Arc::new(Queue::default());
    let mut reader = JoinSet::new();
    reader.spawn(read_for_ever(docker.clone(), Arc::clone(&queue)));
    // The set travels with the stream: who drops the stream ends the task.
    stream::unfold((queue, reader), |(queue, reader)| async move {
        let event = queue.next().await;
        Some((event, (queue, reader)))
    })
    .boxed()
}

#[derive(Debug, Default)]
struct Queue {
    events: Mutex<VecDeque<Event>>,
    arrived: Notify,
}

impl Queue {
    /// Never waits. A full queue is emptied: the reader is told to list again, which
    /// covers what it had not read yet.
    fn push(&self, event: Event) {
        {
            let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            if events.len() >= QUEUE {
                events.clear();
                events.push_back(Event::Disconnected(format!("the reader fell {QUEUE} events behind")));
                events.push_back(Event::Connected);
            }
            events.push_back(event);
        }
        self.arrived.notify_one();
    }

    async fn next(&self) -> Event {
        loop {
            let waiting = self.arrived.notified();
            let first = self.events.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some(event) = first {
                return event;
            }
            waiting.await;
        }
    }
}

async fn read_for_ever(docker: Docker, queue: Arc<Queue>) {
    let mut pause = deadline::RECONNECT_FIRST;
    loop {
        let why = read_once(&docker, &queue, &mut pause).await;
        queue.push(Event::Disconnected(why.to_string()));
        tokio::time::sleep(pause).await;
        pause = next_pause(pause);
    }
}

fn next_pause(pause: Duration) -> Duration {
    pause.saturating_mul(2).min(deadline::RECONNECT_LONGEST)
}

/// One connection, until it breaks; says why.
///
/// The head of the answer comes before the engine has subscribed us, so it is no
/// proof that nothing is missed. Instead the engine's own clock is read first and
/// the stream asks for everything since: what happens in between is sent again
/// from the engine's memory.
async fn read_once(docker: &Docker, queue: &Queue, pause: &mut Duration) -> Error {
    docker.forget_facts();
    let since = match docker.ask_facts().await {
        Ok(facts) => facts.now,
        Err(error) => return error,
    };
    let filters = HashMap::from([
        ("type".to_owned(), vec!["container".to_owned()]),
        ("event".to_owned(), WANTED.map(str::to_owned).to_vec()),
    ]);
    let options = EventsOptions { since: since.map(seconds_and_nanos), until: None, filters: Some(filters) };
    let mut messages = Box::pin(docker.client().events(Some(options)));

    queue.push(Event::Connected);
    loop {
        match messages.next().await {
            Some(Ok(message)) => {
                *pause = deadline::RECONNECT_FIRST;
                if let Some(event) = read(message) {
                    queue.push(event);
                }
            }
            Some(Err(error)) => return fault("events", Effect::Reads, &error).into(),
            None => return Error::Unreachable("the engine ended its event stream".into()),
        }
    }
}

/// A moment as the engine's queries take it.
pub(crate) fn seconds_and_nanos(at: Timestamp) -> String {
    format!("{}.{:09}", at.as_second(), at.subsec_nanosecond())
}

/// What an event means; `None` for what changes nothing that is kept.
fn read(message: EventMessage) -> Option<Event> {
    let actor = message.actor?;
    let attributes = actor.attributes.unwrap_or_default();
    let action = message.action?;
    let change = match action.as_str() {
        "create" => Change::Created,
        "start" => Change::Started,
        "die" => Change::Died {
            code: attributes.get("exitCode").and_then(|code| code.parse().ok()).unwrap_or_default(),
        },
        "destroy" => Change::Removed,
        "pause" => Change::Paused,
        "unpause" => Change::Unpaused,
        "kill" => Change::Signalled(attributes.get("signal")?.parse().ok()?),
        "stop" => Change::Stopped,
        other => Change::Health(Verdict::parse(other.strip_prefix("health_status:")?.trim())?),
    };
    let nanos =
        message.time_nano.map(i128::from).or_else(|| message.time.map(|s| i128::from(s) * 1_000_000_000));
    Some(Event::Workload {
        id: actor.id?,
        name: attributes.get("name").cloned().unwrap_or_default(),
        change,
        at: nanos.and_then(|nanos| Timestamp::from_nanosecond(nanos).ok()).unwrap_or(Timestamp::UNIX_EPOCH),
    })
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    fn message(action: &str) -> EventMessage {
        let attributes = HashMap::from([
            ("name".to_owned(), "shop-web-1".to_owned()),
            ("exitCode".to_owned(), "137".to_owned()),
            ("signal".to_owned(), "15".to_owned()),
        ]);
        EventMessage {
            action: Some(action.into()),
            actor: Some(EventActor { id: Some("abc".into()), attributes: Some(attributes) }),
            time_nano: Some(1_500_000_000),
            ..EventMessage::default()
        }
    }

    fn change(action: &str) -> Option<Change> {
        read(message(action)).map(|event| match event {
            Event::Workload { change, .. } => change,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn actions_are_read_as_changes() {
        assert_eq!(change("create"), Some(Change::Created));
        assert_eq!(change("start"), Some(Change::Started));
        assert_eq!(change("die"), Some(Change::Died { code: 137 }));
        assert_eq!(change("destroy"), Some(Change::Removed));
        assert_eq!(change("pause"), Some(Change::Paused));
        assert_eq!(change("unpause"), Some(Change::Unpaused));
        assert_eq!(change("kill"), Some(Change::Signalled(15)));
        assert_eq!(change("stop"), Some(Change::Stopped));
        assert_eq!(change("health_status: healthy"), Some(Change::Health(Verdict::Healthy)));
        assert_eq!(change("health_status: unhealthy"), Some(Change::Health(Verdict::Unhealthy)));
        for ignored in ["exec_create: /bin/true", "exec_die", "attach", "health_status: odd", "oom", "rename"]
        {
            assert_eq!(change(ignored), None, "{ignored}");
        }
    }

    #[test]
    fn an_event_says_whom_and_when() {
        let Some(Event::Workload { id, name, at, .. }) = read(message("start")) else { panic!() };
        assert_eq!((id.as_str(), name.as_str()), ("abc", "shop-web-1"));
        assert_eq!(at, Timestamp::from_millisecond(1500).unwrap());
        assert_eq!(seconds_and_nanos(at), "1.500000000");
    }

    #[tokio::test]
    async fn a_reader_that_falls_behind_is_told_to_list_again_and_memory_stays_bounded() {
        let queue = Queue::default();
        for _ in 0..QUEUE * 3 + 5 {
            queue.push(read(message("start")).unwrap());
        }
        assert!(queue.events.lock().unwrap().len() <= QUEUE);
        assert!(matches!(queue.next().await, Event::Disconnected(why) if why.contains("behind")));
        assert_eq!(queue.next().await, Event::Connected);
        assert!(matches!(queue.next().await, Event::Workload { .. }));
    }

    #[test]
    fn the_pause_doubles_up_to_five_seconds() {
        let mut pause = deadline::RECONNECT_FIRST;
        for _ in 0..10 {
            pause = next_pause(pause);
        }
        assert_eq!(pause, Duration::from_secs(5));
    }
}
