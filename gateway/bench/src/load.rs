//! The load: so many that ask, each waiting for its answer, as fast as they get them or at a rate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::histogram::Histogram;
use crate::http1::Connection;

/// Somebody who asks and waits.
pub(crate) trait Asks: Send + 'static {
    /// One request and its whole answer.
    fn ask(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Asks over HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) connection: Connection,
    pub(crate) request: Arc<[u8]>,
}

impl Asks for Http {
    async fn ask(&mut self) -> anyhow::Result<()> {
        let (status, body) = self.connection.ask(&self.request).await?;
        ensure!(status == 200, "status {status}: {}", String::from_utf8_lossy(body));
        Ok(())
    }
}

/// When the next one is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As soon as the last answer is there.
    Closed,
    /// So often a second, whatever the answers do; a time is counted from when it should have begun.
    Open(u32),
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) times: Histogram,
    pub(crate) elapsed: Duration,
}

impl Seen {
    pub(crate) fn rate(&self) -> f64 {
        self.times.total() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Lets all of them ask for a while, and gives them back.
pub(crate) async fn drive<A: Asks>(
    askers: Vec<A>,
    pace: Pace,
    time: Duration,
) -> anyhow::Result<(Vec<A>, Seen)> {
    let begin = Instant::now();
    let end = begin + time;
    let taken = Arc::new(Mutex::new(0_u32));
    let mut tasks = JoinSet::new();
    for mut asker in askers {
        let taken = Arc::clone(&taken);
        tasks.spawn(async move {
            let mut times = Histogram::default();
            while Instant::now() < end {
                let intended = match pace {
                    Pace::Closed => Instant::now(),
                    Pace::Open(rate) => {
                        let mut taken = taken.lock().await;
                        let intended = begin + Duration::from_secs(1) * *taken / rate;
                        if intended >= end {
                            break;
                        }
                        *taken += 1;
                        // A timer is a millisecond wrong; who is next looks all the time.
                        while Instant::now() < intended {
                            tokio::task::yield_now().await;
                        }
                        intended
                    }
                };
                asker.ask().await?;
                times.record(intended.elapsed());
            }
            anyhow::Ok((asker, times))
        });
    }
    let (mut askers, mut times) = (Vec::new(), Histogram::default());
    while let Some(task) = tasks.join_next().await {
        let (asker, seen) = task??;
        times.merge(&seen);
        askers.push(asker);
    }
    Ok((askers, Seen { times, elapsed: begin.elapsed() }))
}
