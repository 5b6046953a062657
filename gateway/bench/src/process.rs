//! Servers as processes of their own, and what they use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// The core of everything that serves; the load has the other one.
const CORE: &str = "0";
/// Nothing here takes longer to start.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

/// A server on its core; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts a program, with its words in a file of this folder.
    pub(crate) fn start(folder: &Path, name: &str, command: &[&str]) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let words = std::fs::File::create(&log)?;
        let mut taskset = Command::new("taskset");
        taskset.args(["--cpu-list", CORE]).args(command);
        taskset.stdin(Stdio::null()).stdout(words.try_clone()?).stderr(words);
        let child = taskset.spawn().with_context(|| format!("{name} does not start"))?;
        Ok(Self { child, log })
    }

    /// Waits for a word in what the server says, and returns what stands after it, up to white space.
    pub(crate) async fn said(&mut self, word: &str) -> anyhow::Result<String> {
        let begin = Instant::now();
        loop {
            let text = std::fs::read_to_string(&self.log)?;
            if let Some((_, rest)) = text.split_once(word)
                && let Some((found, _)) = rest.split_once(|letter: char| letter.is_whitespace())
            {
                return Ok(found.to_owned());
            }
            if self.child.try_wait()?.is_some() || begin.elapsed() > PATIENCE {
                bail!("`{word}` was never said: {text}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until somebody listens there.
    pub(crate) async fn listens(&mut self, host: &str) -> anyhow::Result<()> {
        let begin = Instant::now();
        while tokio::net::TcpStream::connect(host).await.is_err() {
            if self.child.try_wait()?.is_some() || begin.elapsed() > PATIENCE {
                bail!("nobody ever listened on {host}: {}", std::fs::read_to_string(&self.log)?);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of its memory that are in RAM.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor time of every thread of a process, in nanoseconds.
///
/// `schedstat` and not the ticks of `stat`: a second at 2,000 calls is a handful of ticks.
#[derive(Debug)]
pub(crate) struct Spent(BTreeMap<u32, u64>);

impl Spent {
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        let mut threads = BTreeMap::new();
        for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
            let thread = thread?;
            // A thread may end while we look.
            let Ok(text) = std::fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let nanos = text.split_whitespace().next().context("an empty schedstat")?.parse()?;
            threads.insert(thread.file_name().to_string_lossy().parse()?, nanos);
        }
        Ok(Self(threads))
    }

    /// What was spent since; a thread that is new began at nothing.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let more = self.0.iter().map(|(thread, nanos)| nanos - before.0.get(thread).copied().unwrap_or(0));
        Duration::from_nanos(more.sum())
    }
}
