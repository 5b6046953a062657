//! Tickets: secrets with which a browser's page opens one event socket.
//!
//! A page cannot set headers on a WebSocket, and what it puts into a subprotocol may be logged on the
//! way; so it asks for a ticket where headers can be set, and shows that. A ticket is spent by the
//! connection that shows it first, within half a minute; on that connection it goes on being good, since
//! each subscription of a socket is a call of its own with the same credentials. Only hashes are kept.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clos_domain::seams::{Clock, IdSource};
use clos_domain::{Error, Reason, Result, Timestamp};
use sha2::{Digest as _, Sha256};

/// How long a ticket waits to be shown.
const UNSPENT: Duration = Duration::from_secs(30);
/// How long it is good for the connection that showed it.
const SPENT: Duration = Duration::from_secs(24 * 3_600);
/// Tickets that are remembered; for one more the oldest is forgotten.
const MOST: usize = 4_096;

/// A new ticket.
pub(crate) struct Ticket {
    /// The secret. It is told once.
    pub(crate) text: String,
    /// Until when it has to be shown.
    pub(crate) expires_at: Timestamp,
}

/// Every ticket that is good for somebody.
#[derive(Clone)]
pub(crate) struct Tickets {
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    held: Arc<Mutex<HashMap<[u8; 32], Held>>>,
}

struct Held {
    made_at: Timestamp,
    expires_at: Timestamp,
    /// Who showed it first; `Some(None)` is a connection without an address.
    bearer: Option<Option<SocketAddr>>,
}

impl Tickets {
    pub(crate) fn new(clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { clock, ids, held: Arc::default() }
    }

    pub(crate) fn make(&self) -> Result<Ticket> {
        let now = self.clock.now();
        let text = self.ids.secret();
        let expires_at = now.checked_add(UNSPENT).map_err(Error::internal)?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, ticket| now <= ticket.expires_at);
        if held.len() >= MOST
            && let Some(oldest) = held.iter().min_by_key(|(_, ticket)| ticket.made_at).map(|(hash, _)| *hash)
        {
            held.remove(&oldest);
        }
        held.insert(hash(&text), Held { made_at: now, expires_at, bearer: None });
        Ok(Ticket { text, expires_at })
    }

    /// Whether the ticket is good for a call over this connection, which has it for itself from now on.
    pub(crate) fn spend(&self, text: &str, peer: Option<SocketAddr>) -> Result<()> {
        let now = self.clock.now();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let known = held.get_mut(&hash(text)).filter(|ticket| now <= ticket.expires_at);
        let refused = |why: &str| {
            let message = format!("the ticket {why}; ask for a new one by POST /api/v2/ws-tickets");
            Err(Error::new(Reason::TokenInvalid, message))
        };
        match known {
            None => refused("is not known, or was not shown within 30 seconds"),
            Some(ticket) if ticket.bearer.is_some_and(|bearer| bearer != peer) => {
                refused("was shown by another connection")
            }
            Some(ticket) => {
                if ticket.bearer.is_none() {
                    ticket.bearer = Some(peer);
                    ticket.expires_at = now.checked_add(SPENT).map_err(Error::internal)?;
                }
                Ok(())
            }
        }
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use clos_testkit::clock::FrozenClock;
    use clos_testkit::ids::SeqIds;

    use super::*;

    fn tickets() -> (Tickets, Arc<FrozenClock>) {
        let clock = Arc::new(FrozenClock::default());
        (Tickets::new(clock.clone(), Arc::new(SeqIds::default())), clock)
    }

    fn peer(port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn a_ticket_belongs_to_who_shows_it_first() {
        let (tickets, clock) = tickets();
        let ticket = tickets.make().unwrap();
        assert_eq!(ticket.expires_at, clock.now().checked_add(UNSPENT).unwrap());
        tickets.spend(&ticket.text, peer(1)).unwrap();
        clock.advance(UNSPENT * 10);
        tickets.spend(&ticket.text, peer(1)).unwrap();
        for other in [peer(2), None] {
            let refused = tickets.spend(&ticket.text, other).unwrap_err();
            assert_eq!(refused.reason(), Reason::TokenInvalid);
            assert!(refused.to_string().contains("another connection"), "{refused}");
        }
        clock.advance(SPENT);
        assert!(tickets.spend(&ticket.text, peer(1)).is_err());
    }

    #[test]
    fn a_ticket_has_to_be_shown_soon() {
        let (tickets, clock) = tickets();
        let ticket = tickets.make().unwrap();
        clock.advance(UNSPENT + Duration::from_millis(1));
        assert!(tickets.spend(&ticket.text, peer(1)).unwrap_err().to_string().contains("not known"));
        assert!(tickets.spend("made up", peer(1)).is_err());
    }

    #[test]
    fn so_many_tickets_are_remembered_and_no_more() {
        let (tickets, clock) = tickets();
        let first = tickets.make().unwrap();
        clock.advance(Duration::from_millis(1));
        let second = tickets.make().unwrap();
        for _ in 0..MOST - 1 {
            tickets.make().unwrap();
        }
        assert!(tickets.spend(&first.text, None).is_err());
        tickets.spend(&second.text, None).unwrap();
        assert_eq!(tickets.held.lock().unwrap().len(), MOST);
    }
}
