//! Calls that carry a `request_id`: the second one gets what the first one made.
//!
//! The ids are kept in memory, the newest of them: they are there for callers who lost an answer
//! and ask again, not for history.

use std::sync::{Arc, Mutex, PoisonError};

use clos_domain::Result;
use futures::future::BoxFuture;
use indexmap::IndexMap;
use tokio::sync::OnceCell;

/// So many ids are kept; the oldest goes first.
const KEPT: usize = 256;

type Key = (&'static str, String);

/// What the latest calls made, by method and request id.
pub(crate) struct Calls<T> {
    kept: Mutex<IndexMap<Key, Arc<OnceCell<T>>>>,
}

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self { kept: Mutex::default() }
    }
}

impl<T: Clone> Calls<T> {
    /// What the first call with this id made. One that comes meanwhile waits for it; after a
    /// failure the next one tries. Without an id every call is the first.
    pub(crate) async fn once(
        &self,
        method: &'static str,
        request_id: &str,
        make: BoxFuture<'_, Result<T>>,
    ) -> Result<T> {
        if request_id.is_empty() {
            return make.await;
        }
        let cell = self.cell((method, request_id.to_owned()));
        cell.get_or_try_init(|| make).await.cloned()
    }

    fn cell(&self, key: Key) -> Arc<OnceCell<T>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = kept.get(&key) {
            return cell.clone();
        }
        if kept.len() >= KEPT {
            kept.shift_remove_index(0);
        }
        kept.entry(key).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use clos_domain::Error;

    use super::*;

    async fn made(calls: &Calls<u32>, count: &AtomicU32, method: &'static str, id: &str) -> u32 {
        calls.once(method, id, Box::pin(async { Ok(count.fetch_add(1, Ordering::SeqCst)) })).await.unwrap()
    }

    #[tokio::test]
    async fn the_same_id_of_the_same_method_is_the_same_call() {
        let (calls, count) = (Calls::default(), AtomicU32::new(0));
        assert_eq!(made(&calls, &count, "start", "a").await, 0);
        assert_eq!(made(&calls, &count, "start", "a").await, 0);
        assert_eq!(made(&calls, &count, "stop", "a").await, 1);
        assert_eq!(made(&calls, &count, "start", "b").await, 2);
        assert_eq!(made(&calls, &count, "start", "").await, 3);
        assert_eq!(made(&calls, &count, "start", "").await, 4);
    }

    #[tokio::test]
    async fn two_at_the_same_time_are_one() {
        let (calls, count) = (Calls::default(), AtomicU32::new(0));
        let slow = || async {
            calls
                .once(
                    "start",
                    "a",
                    Box::pin(async {
                        tokio::task::yield_now().await;
                        Ok(count.fetch_add(1, Ordering::SeqCst))
                    }),
                )
                .await
                .unwrap()
        };
        assert_eq!(tokio::join!(slow(), slow()), (0, 0));
    }

    #[tokio::test]
    async fn after_a_failure_the_next_one_tries() {
        let calls = Calls::default();
        let failed =
            calls.once("start", "a", Box::pin(async { Err::<u32, _>(Error::field("id", "no")) })).await;
        assert!(failed.is_err());
        assert_eq!(calls.once("start", "a", Box::pin(async { Ok(7) })).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn only_the_newest_are_kept() {
        let (calls, count) = (Calls::default(), AtomicU32::new(0));
        for number in 0..=KEPT {
            made(&calls, &count, "start", &number.to_string()).await;
        }
        assert_eq!(calls.kept.lock().unwrap().len(), KEPT);
        assert_eq!(made(&calls, &count, "start", &KEPT.to_string()).await, u32::try_from(KEPT).unwrap());
        assert_eq!(made(&calls, &count, "start", "0").await, u32::try_from(KEPT).unwrap() + 1);
    }
}
