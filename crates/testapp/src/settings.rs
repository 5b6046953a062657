//! What the environment asks for, read once.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// One field a behaviour; the default is a process that does nothing until SIGTERM.
#[derive(Debug, PartialEq)]
pub(crate) struct Settings {
    /// `LISTEN`: comma list of `PORT` or `ADDRESS:PORT`; a port alone listens on every address.
    pub(crate) listen: Vec<SocketAddr>,
    /// `HEALTH_DELAY`: ms from the start during which `/healthz` answers 503.
    pub(crate) health_delay: Duration,
    /// `HEALTH_STATUS`: what `/healthz` answers afterwards.
    pub(crate) health_status: u16,
    /// `FLAP`: ms; `/healthz` is good for this long, then bad for this long, and so on.
    pub(crate) flap: Option<Duration>,
    /// `WAIT_FOR`: comma list of `HOST:PORT` that must accept a connection before anything else.
    pub(crate) wait_for: Vec<String>,
    /// `WAIT_FOR_TIMEOUT`: ms for all of them together; then exit 1.
    pub(crate) wait_for_timeout: Duration,
    /// `RUN_ONCE` or `CRASH_AFTER`: when to end, and with what (`EXIT_CODE`).
    pub(crate) end: Option<End>,
    pub(crate) flood: Option<Flood>,
    /// `IGNORE_TERM=1`: SIGTERM and SIGINT are logged and nothing else.
    pub(crate) ignore_term: bool,
    /// `PRINT_ENV=1`: one line a variable at the start.
    pub(crate) print_env: bool,
}

#[derive(Debug, PartialEq)]
pub(crate) struct End {
    pub(crate) after: Duration,
    pub(crate) code: u8,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Flood {
    /// `FLOOD`: lines a second; none = as fast as the reader takes them (`max`).
    pub(crate) rate: Option<u32>,
    /// `LINE_BYTES`: length of a line without its newline; never below what its number needs.
    pub(crate) line_bytes: usize,
    /// `FLOOD_LINES`: how many, then quiet; none = for ever.
    pub(crate) lines: Option<u64>,
    /// `FLOOD_STREAM`: `stdout` or `stderr`.
    pub(crate) to_stderr: bool,
}

impl Settings {
    /// Names the variable, its value and what would be right.
    pub(crate) fn read(environment: &BTreeMap<String, String>) -> Result<Self, String> {
        let vars = Variables(environment);

        let run_once = vars.millis("RUN_ONCE")?;
        let crash_after = vars.millis("CRASH_AFTER")?;
        let exit_code: Option<u8> = vars.parse("EXIT_CODE", "a number from 0 to 255")?;
        let end = match (run_once, crash_after) {
            (Some(_), Some(_)) => return Err("RUN_ONCE and CRASH_AFTER exclude each other: set one".into()),
            (Some(after), None) => Some(End { after, code: exit_code.unwrap_or(0) }),
            (None, Some(after)) => Some(End { after, code: exit_code.unwrap_or(1) }),
            (None, None) => None,
        };

        Ok(Self {
            listen: vars.list("LISTEN").map(parse_address).collect::<Result<_, _>>()?,
            health_delay: vars.millis("HEALTH_DELAY")?.unwrap_or_default(),
            health_status: vars.parse("HEALTH_STATUS", "a status such as 200 or 503")?.unwrap_or(200),
            flap: vars.millis("FLAP")?.filter(|period| !period.is_zero()),
            wait_for: vars.list("WAIT_FOR").map(str::to_owned).collect(),
            wait_for_timeout: vars.millis("WAIT_FOR_TIMEOUT")?.unwrap_or(Duration::from_secs(5)),
            end,
            flood: read_flood(&vars)?,
            ignore_term: vars.flag("IGNORE_TERM")?,
            print_env: vars.flag("PRINT_ENV")?,
        })
    }
}

fn read_flood(vars: &Variables<'_>) -> Result<Option<Flood>, String> {
    let rate = match vars.get("FLOOD") {
        None => return Ok(None),
        Some("max") => None,
        Some(_) => vars.parse("FLOOD", "lines a second or `max`")?.filter(|rate| *rate > 0),
    };
    let to_stderr = match vars.get("FLOOD_STREAM") {
        None | Some("stdout") => false,
        Some("stderr") => true,
        Some(other) => return Err(format!("FLOOD_STREAM is `{other}`, expected `stdout` or `stderr`")),
    };
    Ok(Some(Flood {
        rate,
        line_bytes: vars.parse("LINE_BYTES", "a number of bytes")?.unwrap_or(80),
        lines: vars.parse("FLOOD_LINES", "a number of lines")?,
        to_stderr,
    }))
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    }
    text.parse().map_err(|_| format!("LISTEN has `{text}`, expected PORT or ADDRESS:PORT"))
}

struct Variables<'a>(&'a BTreeMap<String, String>);

impl<'a> Variables<'a> {
    /// An empty value counts as unset: compose files write `FLAP: ${FLAP:-}`.
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn list(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.get(name).unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty())
    }

    fn parse<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| format!("{name} is `{value}`, expected {expected}"))
    }

    fn millis(&self, name: &str) -> Result<Option<Duration>, String> {
        Ok(self.parse(name, "milliseconds")?.map(Duration::from_millis))
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        match self.get(name) {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(other) => Err(format!("{name} is `{other}`, expected 0 or 1")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let environment = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::read(&environment)
    }

    #[test]
    fn an_empty_environment_is_a_quiet_process() {
        let settings = read(&[]).unwrap();
        assert!(settings.listen.is_empty());
        assert_eq!(settings.health_status, 200);
        assert_eq!(settings.end, None);
        assert_eq!(settings.flood, None);
    }

    #[test]
    fn an_empty_value_counts_as_unset() {
        assert_eq!(read(&[("FLAP", ""), ("LISTEN", " "), ("FLOOD", "")]).unwrap(), read(&[]).unwrap());
    }

    #[test]
    fn ports_alone_listen_everywhere_and_addresses_where_they_say() {
        let settings = read(&[("LISTEN", "8080, 127.0.0.1:9090")]).unwrap();
        assert_eq!(settings.listen, ["0.0.0.0:8080".parse().unwrap(), "127.0.0.1:9090".parse().unwrap()]);
    }

    #[test]
    fn running_once_ends_well_and_crashing_ends_badly_unless_said_otherwise() {
        assert_eq!(read(&[("RUN_ONCE", "5")]).unwrap().end.unwrap().code, 0);
        assert_eq!(read(&[("CRASH_AFTER", "5")]).unwrap().end.unwrap().code, 1);
        assert_eq!(read(&[("CRASH_AFTER", "5"), ("EXIT_CODE", "42")]).unwrap().end.unwrap().code, 42);
    }

    #[test]
    fn a_flood_has_a_rate_or_none() {
        let flood = |value| read(&[("FLOOD", value)]).unwrap().flood.unwrap();
        assert_eq!(flood("max").rate, None);
        assert_eq!(flood("20").rate, Some(20));
    }

    #[test]
    fn a_wrong_value_is_named_with_its_variable_and_the_way_out() {
        let cases = [
            ("LISTEN", "web", "LISTEN has `web`, expected PORT or ADDRESS:PORT"),
            ("HEALTH_DELAY", "1s", "HEALTH_DELAY is `1s`, expected milliseconds"),
            ("HEALTH_STATUS", "ok", "HEALTH_STATUS is `ok`, expected a status such as 200 or 503"),
            ("EXIT_CODE", "256", "EXIT_CODE is `256`, expected a number from 0 to 255"),
            ("FLOOD", "lots", "FLOOD is `lots`, expected lines a second or `max`"),
            ("IGNORE_TERM", "yes", "IGNORE_TERM is `yes`, expected 0 or 1"),
        ];
        for (name, value, message) in cases {
            assert_eq!(read(&[(name, value)]).unwrap_err(), message);
        }
        let stream = read(&[("FLOOD", "1"), ("FLOOD_STREAM", "both")]).unwrap_err();
        assert_eq!(stream, "FLOOD_STREAM is `both`, expected `stdout` or `stderr`");
        let both = read(&[("RUN_ONCE", "1"), ("CRASH_AFTER", "1")]).unwrap_err();
        assert_eq!(both, "RUN_ONCE and CRASH_AFTER exclude each other: set one");
    }
}
