//! `testapp check URL`: the health check of an image that has no shell and no curl.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// For the whole check; below the shortest timeout that a sensible compose file gives.
const DEADLINE: Duration = Duration::from_secs(2);

/// A proxy in front of a dead port accepts and hangs up within this time.
const HANG_UP: Duration = Duration::from_millis(100);

pub(crate) fn check(url: &str) -> Result<(), String> {
    if let Some(rest) = url.strip_prefix("http://") {
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        return http(authority, path).map_err(|e| format!("{url}: {e}"));
    }
    if let Some(authority) = url.strip_prefix("tcp://") {
        return tcp(authority).map_err(|e| format!("{url}: {e}"));
    }
    Err(format!("`{url}` is neither http://HOST:PORT/PATH nor tcp://HOST:PORT"))
}

/// Any 2xx or 3xx is healthy, as `curl --fail` has it.
fn http(authority: &str, path: &str) -> Result<(), String> {
    let target = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let started = Instant::now();
    let mut stream = connect(&target, DEADLINE)?;
    let left = DEADLINE.saturating_sub(started.elapsed()).max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left)).map_err(|e| e.to_string())?;
    stream.set_write_timeout(Some(left)).map_err(|e| e.to_string())?;

    let request = format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|e| e.to_string())?;

    // "HTTP/1.1 200" is all that is needed.
    let mut head = [0_u8; 12];
    stream.read_exact(&mut head).map_err(|e| format!("no answer: {e}"))?;
    let status = std::str::from_utf8(&head[9..]).ok().and_then(|digits| digits.parse::<u16>().ok());
    match status {
        Some(status) if (200..400).contains(&status) => Ok(()),
        Some(status) => Err(format!("status {status}")),
        None => Err("the answer is not HTTP".to_owned()),
    }
}

/// Connected and kept open: who is hung up on at once has met a proxy with nothing behind it.
fn tcp(authority: &str) -> Result<(), String> {
    let mut stream = connect(authority, DEADLINE)?;
    stream.set_read_timeout(Some(HANG_UP)).map_err(|e| e.to_string())?;
    match stream.read(&mut [0_u8; 1]) {
        Ok(0) => Err("closed at once".to_owned()),
        Ok(_) => Ok(()),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
        Err(e) => Err(e.to_string()),
    }
}

pub(crate) fn connect(target: &str, deadline: Duration) -> Result<TcpStream, String> {
    let addresses = target.to_socket_addrs().map_err(|e| format!("cannot resolve `{target}`: {e}"))?;
    let mut problem = format!("`{target}` has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, deadline) {
            Ok(stream) => return Ok(stream),
            Err(e) => problem = e.to_string(),
        }
    }
    Err(problem)
}
