//! The last answer to each service's health check.
//!
//! Kept in memory and not in the store: each service has a new one at each interval, which would
//! be a write each, and after a start of the daemon the engine's own log of checks and our next
//! question bring it back within moments.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use clos_domain::health::LastCheck;
use clos_domain::id::ServiceId;
use clos_domain::service::Service;

/// The last answers.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    last: Mutex<HashMap<ServiceId, LastCheck>>,
}

impl Checks {
    /// The last answer in the service's latest run.
    pub(crate) fn last(&self, service: &Service) -> Option<LastCheck> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of_this_run = |check: &&LastCheck| service.started_at.is_none_or(|start| start <= check.at);
        last.get(&service.id).filter(is_of_this_run).cloned()
    }

    /// Keeps an answer, unless there is a later one: the engine's and ours come from two sides.
    pub(crate) fn note(&self, service: &ServiceId, check: LastCheck) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(service).is_none_or(|known| known.at <= check.at) {
            last.insert(service.clone(), check);
        }
    }

    pub(crate) fn forget(&self, service: &ServiceId) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).remove(service);
    }
}
