//! At most one step in progress for a service.
//!
//! The database has a unique index that says so; this is where the waiting is
//! done. Whoever wants the same step on the same workload takes the outcome of
//! the one who is at it; everybody else waits for the turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use clos_domain::Reason;
use clos_domain::id::ServiceId;
use clos_domain::operation::Action;
use tokio::sync::watch;

/// What is known of a step when it ended.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// It did what it should.
    Done,
    /// It did not.
    Failed(Reason, String),
    /// It was given up by its operation: that says nothing about the workload.
    GivenUp,
}

struct Holder {
    action: Action,
    subject: String,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// Who is at which service.
#[derive(Default)]
pub(super) struct Claims {
    held: Arc<Mutex<HashMap<ServiceId, Holder>>>,
}

/// The right to a service, until it is dropped.
pub(super) struct Claim {
    held: Arc<Mutex<HashMap<ServiceId, Holder>>>,
    service: ServiceId,
    outcome: watch::Sender<Option<Outcome>>,
}

/// What asking for a claim gave.
pub(super) enum Asked {
    /// It is the caller's turn.
    Mine(Claim),
    /// Somebody else did the same step meanwhile.
    Theirs(Outcome),
}

impl Claims {
    /// Waits for the turn, or for the outcome of the same step.
    pub(super) async fn ask(&self, service: &ServiceId, action: Action, subject: &str) -> Asked {
        loop {
            let (mut theirs, is_the_same) = {
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                match held.get(service) {
                    None => {
                        let outcome = watch::Sender::new(None);
                        let holder =
                            Holder { action, subject: subject.to_owned(), outcome: outcome.subscribe() };
                        held.insert(service.clone(), holder);
                        return Asked::Mine(Claim {
                            held: self.held.clone(),
                            service: service.clone(),
                            outcome,
                        });
                    }
                    Some(holder) => {
                        // A create compares specs itself, so it is repeated and not taken over.
                        let is_the_same = holder.action == action
                            && holder.subject == subject
                            && matches!(
                                action,
                                Action::Start
                                    | Action::Unpause
                                    | Action::Wait
                                    | Action::Stop
                                    | Action::Remove
                            );
                        (holder.outcome.clone(), is_the_same)
                    }
                }
            };
            // An error says that the claim was dropped without an outcome.
            let outcome = theirs.wait_for(Option::is_some).await.ok().and_then(|seen| seen.clone());
            match outcome {
                Some(outcome @ (Outcome::Done | Outcome::Failed(..))) if is_the_same => {
                    return Asked::Theirs(outcome);
                }
                // The sender leaves the table when it is dropped, which is soon.
                _ => tokio::task::yield_now().await,
            }
        }
    }
}

impl Claim {
    /// Tells the others, and lets the service go.
    pub(super) fn finish(self, outcome: Outcome) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.service);
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let is_still_ours = held
            .get(&self.service)
            .is_some_and(|holder| holder.outcome.same_channel(&self.outcome.subscribe()));
        if is_still_ours {
            held.remove(&self.service);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> ServiceId {
        ServiceId::trusted("svc_web")
    }

    #[tokio::test]
    async fn the_same_step_takes_the_outcome() {
        let claims = Arc::new(Claims::default());
        let Asked::Mine(mine) = claims.ask(&web(), Action::Start, "shop-web-1").await else { panic!("free") };
        let others = claims.clone();
        let asked = tokio::task::spawn_blocking(move || {
            tokio::runtime::Handle::current().block_on(others.ask(&web(), Action::Start, "shop-web-1"))
        });
        mine.finish(Outcome::Failed(Reason::PortConflict, "taken".into()));
        match asked.await.unwrap() {
            Asked::Theirs(Outcome::Failed(Reason::PortConflict, _)) | Asked::Mine(_) => {}
            Asked::Theirs(other) => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn another_step_waits_for_its_turn() {
        let claims = Claims::default();
        let Asked::Mine(mine) = claims.ask(&web(), Action::Wait, "shop-web-1").await else { panic!("free") };
        let service = web();
        let mut turn = std::pin::pin!(claims.ask(&service, Action::Stop, "shop-web-1"));
        assert!(futures::poll!(&mut turn).is_pending());
        mine.finish(Outcome::Done);
        assert!(matches!(turn.await, Asked::Mine(_)));
    }

    #[tokio::test]
    async fn a_claim_that_is_dropped_lets_the_service_go() {
        let claims = Claims::default();
        drop(claims.ask(&web(), Action::Create, "shop-web-1").await);
        assert!(matches!(claims.ask(&web(), Action::Start, "shop-web-1").await, Asked::Mine(_)));
        let Asked::Mine(second) = claims.ask(&web(), Action::Start, "x").await else { panic!("free") };
        second.finish(Outcome::GivenUp);
    }
}
