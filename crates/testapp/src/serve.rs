//! The service: what the settings ask for, until its end or SIGTERM.

use std::collections::BTreeMap;
use std::io::{BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::settings::{End, Flood, Settings};
use crate::{check, log};

/// Connections answered at the same time; more are closed unanswered.
const MAX_CONNECTIONS: usize = 256;
const CLIENT_DEADLINE: Duration = Duration::from_secs(5);
const MAX_REQUEST: usize = 8 * 1024;
/// Between two looks at a dependency that is not there yet.
const RETRY: Duration = Duration::from_millis(50);
/// A flood of a given rate writes in portions this far apart.
const TICK: Duration = Duration::from_millis(10);

pub(crate) fn run(settings: &Settings, environment: &BTreeMap<String, String>) -> ExitCode {
    let started = Instant::now();

    // First of all: as process 1 a signal without a handler is no signal.
    if let Err(problem) = handle_signals(settings.ignore_term) {
        log::err(&format!("cannot handle signals: {problem}"));
        return ExitCode::FAILURE;
    }
    if settings.print_env {
        for (name, value) in environment {
            log::out(&format!("env {name}={value}"));
        }
    }
    for target in &settings.wait_for {
        if let Err(problem) = wait_for(target, started, settings.wait_for_timeout) {
            log::err(&format!("dependency {target} is unreachable: {problem}"));
            return ExitCode::FAILURE;
        }
        log::out(&format!("dependency {target} answers"));
    }

    let health =
        Health { started, delay: settings.health_delay, status: settings.health_status, flap: settings.flap };
    let connections = Arc::new(AtomicUsize::new(0));
    for address in &settings.listen {
        let listener = match TcpListener::bind(address) {
            Ok(listener) => listener,
            Err(e) => {
                log::err(&format!("cannot listen on {address}: {e}"));
                return ExitCode::FAILURE;
            }
        };
        // The real address: port 0 asks for any.
        let bound = listener.local_addr().map_or(*address, |bound| bound);
        log::out(&format!("listening on {bound}"));
        let connections = Arc::clone(&connections);
        spawn(move || accept(&listener, health, &connections));
    }
    log::out("ready");
    // Said before the flood begins, so that the last lines are those of the flood.
    if let Some(Flood { rate, line_bytes, lines, to_stderr }) = settings.flood {
        spawn(move || {
            // A reader that went away ends the flood and nothing else.
            let _ = if to_stderr {
                flood(std::io::stderr(), rate, line_bytes, lines)
            } else {
                flood(std::io::stdout(), rate, line_bytes, lines)
            };
        });
    }
    let Some(End { after, code }) = settings.end else {
        loop {
            std::thread::park();
        }
    };
    std::thread::sleep(after.saturating_sub(started.elapsed()));
    if code == 0 {
        log::out("done");
    } else {
        log::err(&format!("ending with code {code}"));
    }
    ExitCode::from(code)
}

fn handle_signals(ignore: bool) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    spawn(move || {
        for signal in signals.forever() {
            let name = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
            if ignore {
                log::err(&format!("{name} ignored"));
                continue;
            }
            log::out(&format!("{name}, stopping"));
            std::process::exit(0);
        }
    });
    Ok(())
}

fn wait_for(target: &str, started: Instant, timeout: Duration) -> Result<(), String> {
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        let problem = match check::connect(target, left.max(RETRY)) {
            Ok(_) => return Ok(()),
            Err(problem) => problem,
        };
        if started.elapsed() + RETRY >= timeout {
            return Err(problem);
        }
        std::thread::sleep(RETRY);
    }
}

#[derive(Clone, Copy)]
struct Health {
    started: Instant,
    delay: Duration,
    status: u16,
    flap: Option<Duration>,
}

impl Health {
    fn status_at(&self, age: Duration) -> u16 {
        let Some(since_ready) = age.checked_sub(self.delay) else { return 503 };
        let bad_phase = self.flap.is_some_and(|period| (since_ready.as_nanos() / period.as_nanos()) % 2 == 1);
        if bad_phase { 503 } else { self.status }
    }
}

fn accept(listener: &TcpListener, health: Health, connections: &Arc<AtomicUsize>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of descriptors, say: a pause instead of a spin.
            std::thread::sleep(RETRY);
            continue;
        };
        if connections.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            connections.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let connections = Arc::clone(connections);
        spawn(move || {
            // A client that breaks off is its own affair.
            let _ = answer(stream, health);
            connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn answer(mut stream: TcpStream, health: Health) -> std::io::Result<()> {
    stream.set_read_timeout(Some(CLIENT_DEADLINE))?;
    stream.set_write_timeout(Some(CLIENT_DEADLINE))?;

    let mut head = Vec::new();
    let mut chunk = [0_u8; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read(&mut chunk)?;
        if read == 0 || head.len() + read > MAX_REQUEST {
            return Ok(());
        }
        head.extend_from_slice(&chunk[..read]);
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split_whitespace().nth(1).unwrap_or("/");

    let (status, body) = match path {
        "/healthz" => match health.status_at(health.started.elapsed()) {
            status @ 200..400 => (status, "ok\n".to_owned()),
            status => (status, "not healthy\n".to_owned()),
        },
        "/" => (200, format!("testapp, up for {} ms\n", health.started.elapsed().as_millis())),
        _ => (404, format!("nothing at {path}\n")),
    };
    let reason = match status {
        200 => "OK",
        404 => "Not Found",
        503 => "Service Unavailable",
        _ => "As Asked",
    };
    write!(
        stream,
        "HTTP/1.1 {status} {reason}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn flood(
    stream: impl Write,
    rate: Option<u32>,
    line_bytes: usize,
    lines: Option<u64>,
) -> std::io::Result<()> {
    let mut stream = BufWriter::with_capacity(64 * 1024, stream);
    let filler = "x".repeat(line_bytes);
    let started = Instant::now();
    let mut written = 0_u64;
    loop {
        let due = match rate {
            None => written + 1,
            // The first line comes at once, not after a second.
            Some(rate) => (started.elapsed().as_secs_f64() * f64::from(rate)) as u64 + 1,
        };
        while written < due {
            if lines == Some(written) {
                return stream.flush();
            }
            written += 1;
            let number = format!("flood {written} ");
            let rest = line_bytes.saturating_sub(number.len());
            writeln!(stream, "{number}{}", &filler[..rest])?;
        }
        if rate.is_some() {
            stream.flush()?;
            std::thread::sleep(TICK);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "no async runtime here: a thread is the unit of concurrency")]
fn spawn(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(delay: u64, flap: Option<u64>) -> Health {
        Health {
            started: Instant::now(),
            delay: Duration::from_millis(delay),
            status: 200,
            flap: flap.map(Duration::from_millis),
        }
    }

    #[test]
    fn health_is_bad_until_its_delay_is_over() {
        let health = health(100, None);
        assert_eq!(health.status_at(Duration::from_millis(99)), 503);
        assert_eq!(health.status_at(Duration::from_millis(100)), 200);
    }

    #[test]
    fn flapping_changes_with_every_period() {
        let health = health(0, Some(10));
        let at = |ms| health.status_at(Duration::from_millis(ms));
        assert_eq!([at(0), at(9), at(10), at(19), at(20)], [200, 200, 503, 503, 200]);
    }

    #[test]
    fn a_flood_numbers_its_lines_and_keeps_their_length() {
        let mut out = Vec::new();
        flood(&mut out, None, 16, Some(3)).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "flood 1 xxxxxxxx\nflood 2 xxxxxxxx\nflood 3 xxxxxxxx\n");
    }
}
