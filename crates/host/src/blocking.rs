//! Blocking system calls with a deadline.

use std::time::Duration;

/// Runs `work` on the blocking pool; `None` when it has not returned after
/// `patience`, or panicked. A call that the kernel never finishes (a dead
/// network file system) keeps its thread of the pool, not its caller.
pub(crate) async fn within<T, F>(patience: Duration, work: F) -> Option<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    tokio::time::timeout(patience, tokio::task::spawn_blocking(work)).await.ok()?.ok()
}
