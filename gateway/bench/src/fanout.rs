//! Thousands of sockets on one daemon: how soon an event is everywhere, and what that costs.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::closd::Closd;
use crate::histogram::Histogram;
use crate::http1::{self, Connection};
use crate::process::Spent;
use crate::report::{Goal, Report, shown};
use crate::ws;

/// Events that all sockets hear in a second, together.
const DELIVERIES: usize = 20_000;
const STUCK: usize = 10;
/// What a stuck reader's kernel takes for it; the rest waits on the other side.
const STUCK_BUFFER: u32 = 4 << 10;
/// Longer than it takes until two questions were not answered.
const STUCK_TIME: Duration = Duration::from_secs(45);
/// How long the last event may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What all sockets of a run have heard.
#[derive(Debug, Default)]
struct Tally {
    times: Histogram,
    /// From the first socket that hears an event to every other.
    spread: Histogram,
    deliveries: u64,
    /// Events that a socket did not hear before a later one, or heard twice.
    wrong: u64,
    resyncs: u64,
    ended: u64,
    /// The newest event: its position, when it happened, when it was first heard.
    newest: Option<(i64, SystemTime, SystemTime)>,
}

type Shared = Arc<Mutex<Tally>>;

impl Tally {
    fn heard(&mut self, seq: i64, payload: &[u8]) -> anyhow::Result<()> {
        let now = now();
        let (happened, first) = match self.newest {
            Some((newest, happened, first)) if newest == seq => (happened, first),
            _ => {
                let happened = time_of(payload)?;
                self.newest = Some((seq, happened, now));
                (happened, now)
            }
        };
        self.times.record(now.duration_since(happened).unwrap_or_default());
        self.spread.record(now.duration_since(first).unwrap_or_default());
        self.deliveries += 1;
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "an event says by the wall clock when it happened")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn lock(tally: &Shared) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a text stands in another.
fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|part| part == text)
}

/// The position that a frame tells.
fn position_of(payload: &[u8]) -> Option<i64> {
    const NAME: &[u8] = b"\"seq\":";
    let digits = &payload[find(payload, NAME)? + NAME.len()..];
    let end = digits.iter().position(|digit| !digit.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// When a frame's event happened.
fn time_of(payload: &[u8]) -> anyhow::Result<SystemTime> {
    const NAME: &[u8] = b"\"timestamp\":\"";
    let at = find(payload, NAME).context("an event without a timestamp")? + NAME.len();
    let text = payload[at..].split(|&letter| letter == b'"').next().unwrap_or_default();
    let time: jiff::Timestamp = std::str::from_utf8(text)?.parse()?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(time.as_nanosecond())?))
}

/// A socket with one subscription to everything.
struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    last: Option<i64>,
}

/// What a frame was.
enum Heard {
    Ack,
    Resync,
    Event,
    Closed,
}

impl Socket {
    async fn open(closd: &Closd, receive_buffer: Option<u32>) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(closd.host.parse()?).await?;
        stream.set_nodelay(true)?;
        let mut connection = Connection::new(stream);
        let request = ws::handshake(&closd.host, "/api/v2/ws", &closd.token);
        let (status, body) = connection.ask(&request).await?;
        ensure!(status == 101, "no socket: {status} {}", String::from_utf8_lossy(body));
        let mut stream = connection.into_inner();
        stream.write_all(&ws::masked(ws::TEXT, br#"{"op":"subscribe","id":"1"}"#)).await?;
        Ok(Self { stream, buffer: vec![0; 2 << 10], filled: 0, last: None })
    }

    /// Reads on until something was heard that counts.
    async fn hear(&mut self, tally: &Shared) -> anyhow::Result<Heard> {
        loop {
            let mut heard = None;
            if let Some(frame) = ws::frame(&self.buffer[..self.filled])? {
                let payload = frame.payload;
                match frame.opcode {
                    ws::TEXT if payload.starts_with(b"{\"op\":\"event\"") => {
                        // Measurements are no part of the journal and have no position.
                        if let Some(seq) = position_of(payload).filter(|seq| *seq > 0) {
                            let mut tally = lock(tally);
                            tally.heard(seq, payload)?;
                            tally.wrong += u64::from(self.last.is_some_and(|last| seq != last + 1));
                            self.last = Some(seq);
                            heard = Some(Heard::Event);
                        }
                    }
                    ws::TEXT if find(payload, b"\"op\":\"ack\"").is_some() => heard = Some(Heard::Ack),
                    ws::TEXT if find(payload, b"\"op\":\"resync\"").is_some() => heard = Some(Heard::Resync),
                    ws::TEXT if find(payload, b"\"op\":\"bookmark\"").is_some() => {}
                    ws::PING => self.stream.write_all(&ws::masked(ws::PONG, payload)).await?,
                    ws::CLOSE => heard = Some(Heard::Closed),
                    _ => bail!("an unexpected frame: {}", String::from_utf8_lossy(payload)),
                }
                let end = frame.end;
                self.buffer.copy_within(end..self.filled, 0);
                self.filled -= end;
                match heard {
                    Some(heard) => return Ok(heard),
                    None => continue,
                }
            }
            if self.filled == self.buffer.len() {
                self.buffer.resize(self.filled * 2, 0);
            }
            let more = self.stream.read(&mut self.buffer[self.filled..]).await?;
            if more == 0 {
                return Ok(Heard::Closed);
            }
            self.filled += more;
        }
    }

    /// Listens until it is ended.
    async fn listen(mut self, tally: Shared, acks: mpsc::UnboundedSender<()>) -> anyhow::Result<()> {
        loop {
            match self.hear(&tally).await? {
                Heard::Event => {}
                Heard::Ack => drop(acks.send(())),
                Heard::Resync => {
                    lock(&tally).resyncs += 1;
                    self.last = None;
                }
                Heard::Closed => {
                    lock(&tally).ended += 1;
                    return Ok(());
                }
            }
        }
    }
}

/// What a run came to.
struct Outcome {
    tally: Tally,
    expected: u64,
    spent: Duration,
    before: u64,
    after: u64,
    /// What the stuck ones had at the end: events read at last, resyncs, ends.
    stuck: [u64; 3],
}

impl Outcome {
    fn lost(&self) -> u64 {
        self.expected.abs_diff(self.tally.deliveries)
            + self.tally.wrong
            + self.tally.resyncs
            + self.tally.ended
    }

    fn quantile(&self, share: f64) -> f64 {
        self.tally.times.quantile(share).as_secs_f64() * 1e3
    }

    fn cpu(&self) -> f64 {
        self.spent.as_secs_f64() * 1e6 / self.tally.deliveries.max(1) as f64
    }

    fn each(&self, sockets: usize) -> f64 {
        self.after.saturating_sub(self.before) as f64 / 1024.0 / sockets as f64
    }
}

/// Opens sockets on a fresh daemon and lets things happen at a steady rate.
async fn run(
    program: &Path,
    folder: &Path,
    sockets: usize,
    stuck: usize,
    time: Duration,
) -> anyhow::Result<Outcome> {
    let closd = Closd::start(program, folder, &format!("closd-{sockets}-{stuck}")).await?;
    let id = closd.fill(1).await?.remove(0);
    let before = closd.server.resident()?;

    let (tally, mut tasks) = (Shared::default(), JoinSet::new());
    let (acks, mut acked) = mpsc::unbounded_channel();
    let mut silent = Vec::new();
    for _ in 0..stuck {
        silent.push(Socket::open(&closd, Some(STUCK_BUFFER)).await?);
    }
    for _ in 0..sockets {
        let socket = Socket::open(&closd, None).await?;
        tasks.spawn(socket.listen(Arc::clone(&tally), acks.clone()));
    }
    for _ in 0..sockets {
        timeout(PATIENCE, acked.recv()).await.context("a subscription was never acknowledged")?;
    }

    let rate = DELIVERIES / (sockets + stuck);
    let spent = Spent::of(closd.server.id())?;
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(rate)?);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = Connection::open(&closd.host).await?;
    let (begin, mut events) = (Instant::now(), 0_u64);
    while begin.elapsed() < time {
        ticks.tick().await;
        events += 1;
        let body = format!("{{\"description\":\"change {events}\"}}");
        let target = format!("/api/v2/services/{id}");
        let request = http1::send("PATCH", &closd.host, &target, &closd.token, &body);
        let (status, body) = connection.ask(&request).await?;
        ensure!(status == 200, "no change: {}", String::from_utf8_lossy(body));
    }
    let expected = events * sockets as u64;
    let arrived = async {
        while lock(&tally).deliveries < expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // What has not come by then is lost, and is counted as such.
    let _ = timeout(PATIENCE, arrived).await;
    let spent = Spent::of(closd.server.id())?.since(&spent);
    let after = closd.server.resident()?;
    if let Some(ended) = tasks.try_join_next() {
        ended??;
    }

    let mut found = [0; 3];
    for mut socket in silent {
        let aside = Shared::default();
        while let Ok(heard) = timeout(Duration::from_secs(1), socket.hear(&aside)).await {
            match heard {
                Ok(Heard::Event) => found[0] += 1,
                Ok(Heard::Resync) => found[1] += 1,
                Ok(Heard::Ack) => {}
                Ok(Heard::Closed) | Err(_) => {
                    found[2] += 1;
                    break;
                }
            }
        }
    }
    tasks.shutdown().await;
    let tally = std::mem::take(&mut *lock(&tally));
    Ok(Outcome { tally, expected, spent, before, after, stuck: found })
}

/// A thousand, five thousand, and a thousand of which some never read.
pub(crate) async fn measure(
    program: &Path,
    folder: &Path,
    time: Duration,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (sockets, stuck, time) in [(1_000, 0, time), (5_000, 0, time), (1_000 - STUCK, STUCK, STUCK_TIME)] {
        let outcome = run(program, folder, sockets, stuck, time).await?;
        let all = sockets + stuck;
        let name = match stuck {
            0 => format!("{all} sockets"),
            stuck => format!("{all} sockets, {stuck} of them stuck"),
        };
        crate::tell(&format!(
            "{name}: p50 {} ms, p99 {} ms, {} µs a delivery, {} KB a socket, lost {}",
            shown(outcome.quantile(0.5)),
            shown(outcome.quantile(0.99)),
            shown(outcome.cpu()),
            shown(outcome.each(all)),
            outcome.lost()
        ));
        let rate = DELIVERIES / all * all;
        let mut goal = |what: &str, figure: f64, unit: &str, limit: f64| {
            report.goal(Goal::at_most(
                format!("fan-out, {name}, {rate} deliveries/s, {what}"),
                figure,
                unit,
                limit,
            ));
        };
        if all == 1_000 {
            goal("p50", outcome.quantile(0.5), "ms", 5.0);
            goal("p99", outcome.quantile(0.99), "ms", 20.0);
        }
        if stuck == 0 {
            goal("p95, WebSocket", outcome.quantile(0.95), "ms", 50.0);
        }
        if all == 1_000 && stuck == 0 {
            goal("memory a socket", outcome.each(all), "KB", 12.0);
            goal("CPU a delivery", outcome.cpu(), "µs", 10.0);
        }
        goal("lost, doubled or out of order", outcome.lost() as f64, "of all", 0.0);
        if stuck > 0 {
            let [events, resyncs, ended] = outcome.stuck;
            report.note(format!(
                "The {stuck} stuck readers: {ended} were ended, {resyncs} were told to resync; {events} events were in their sockets."
            ));
        }
        rows.push(vec![
            name,
            rate.to_string(),
            shown(outcome.quantile(0.5)),
            shown(outcome.quantile(0.95)),
            shown(outcome.quantile(0.99)),
            shown(outcome.tally.spread.quantile(0.99).as_secs_f64() * 1e3),
            shown(outcome.cpu()),
            shown(outcome.each(all)),
            shown(outcome.after as f64 / 1e6),
            format!("{} of {}", outcome.lost(), outcome.expected),
        ]);
    }
    let columns = [
        "sockets",
        "deliveries/s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "p99 from the first, ms",
        "CPU µs",
        "KB a socket",
        "MB resident",
        "lost",
    ];
    report.table(&columns, &rows);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_tells_its_position_and_its_time() {
        let frame = br#"{"op":"event","id":"1","type":"a.b","seq":42,"data":{},"timestamp":"2026-01-02T03:04:05.5Z"}"#;
        assert_eq!(position_of(frame), Some(42));
        let time = time_of(frame).unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(time.as_millis(), 1_767_323_045_500);
        assert_eq!(position_of(b"{\"op\":\"pong\"}"), None);
        assert!(time_of(b"{}").is_err());
    }
}
