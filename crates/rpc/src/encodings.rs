//! Events as bytes: each is encoded once, however many watch.

use std::sync::{Arc, Mutex, PoisonError};

use clos_domain::event::Event;
use clos_proto::codec::EncodedEvent;

use crate::encode;

/// Events that are kept. Who is further behind than that encodes for itself.
const KEPT: usize = 256;

/// The events that were told last.
pub(crate) struct Encodings {
    /// By position in the journal.
    places: Vec<Mutex<Option<Pair>>>,
}

/// An event and its bytes. It is known by being the same one, not by what it tells.
type Pair = (Arc<Event>, EncodedEvent);

impl Default for Encodings {
    fn default() -> Self {
        Self { places: (0..KEPT).map(|_| Mutex::default()).collect() }
    }
}

impl Encodings {
    /// The bytes of a committed event, made if nobody did before.
    pub(crate) fn of(&self, event: &Arc<Event>) -> EncodedEvent {
        let at = usize::try_from(event.seq.rem_euclid(KEPT as i64)).unwrap_or_default();
        let mut place = self.places[at].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, encoded)) = &*place
            && Arc::ptr_eq(known, event)
        {
            return encoded.clone();
        }
        let encoded = EncodedEvent::new(&encode::event::event(event));
        *place = Some((Arc::clone(event), encoded.clone()));
        encoded
    }
}

#[cfg(test)]
mod tests {
    use clos_domain::Timestamp;
    use clos_domain::event::{Data, Severity, types};

    use super::*;

    fn event(seq: i64, service_name: &str) -> Arc<Event> {
        Arc::new(Event {
            seq,
            kind: types::SERVICE_CREATED.into(),
            severity: Severity::Info,
            service: None,
            group: None,
            operation: None,
            data: Data { service_name: Some(service_name.into()), ..Data::default() },
            at: Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn an_event_is_encoded_once_and_another_at_its_place_is_not_taken_for_it() {
        let encodings = Encodings::default();
        let kept = |event: &Arc<Event>| Arc::strong_count(event) > 1;
        let told = |event: &Arc<Event>| encodings.of(event).message();
        let (first, other) = (event(7, "web"), event(7 + KEPT as i64, "db"));
        assert_eq!(told(&first), encode::event::event(&first));
        assert!(kept(&first));
        assert_eq!(told(&first), encode::event::event(&first));
        assert_eq!(told(&other), encode::event::event(&other));
        assert!(kept(&other) && !kept(&first));
        assert_eq!(told(&first), encode::event::event(&first));
        // The same position, read anew: a store that was put back has other events there.
        let again = event(7, "cache");
        assert_eq!(told(&again).data.unwrap().service_name.as_deref(), Some("cache"));
    }
}
