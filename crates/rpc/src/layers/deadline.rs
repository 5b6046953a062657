//! Until when a call is worked on: as long as its caller waits, and never for ever.

use std::future::Future;
use std::time::Duration;

use clos_domain::{Error, Reason, Result};
use http::HeaderMap;
use tokio::time::Instant;

use super::methods::{LONGEST, Method};

/// Until when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    /// Until the answer begins.
    head: Instant,
    /// Until it ends; a stream may go on for ever when its caller does not say.
    body: Option<Instant>,
    patience: Duration,
}

impl Deadline {
    /// The caller's own (`grpc-timeout`) within bounds, else what the method may take.
    pub(crate) fn of(method: &Method, headers: &HeaderMap, usual: Duration, now: Instant) -> Result<Self> {
        let given = match headers.get("grpc-timeout") {
            Some(value) => {
                Some(value.to_str().ok().and_then(parse).ok_or_else(|| malformed(value.as_bytes()))?)
            }
            None => None,
        };
        let given = given.map(|given| given.min(LONGEST));
        let patience = given.unwrap_or_else(|| method.patience.unwrap_or(usual));
        // A stream begins at once, however long it goes on.
        let head = if method.is_stream { patience.min(usual) } else { patience };
        let body = if method.is_stream { given } else { Some(patience) };
        Ok(Self { head: now + head, body: body.map(|body| now + body), patience: head })
    }

    /// How long the caller still waits; `None` when it did not say and the method has no end.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        self.body.map(|body| body.saturating_duration_since(now))
    }

    /// The answer's head, or the error of an answer that came too late.
    pub(crate) async fn before_the_head<F: Future>(&self, answer: F) -> Result<F::Output> {
        tokio::time::timeout_at(self.head, answer).await.map_err(|_| late(Some(self.patience)))
    }

    /// Until when the body may go on.
    pub(crate) fn of_the_body(&self) -> Option<Instant> {
        self.body
    }
}

/// The error of a call whose time is over.
pub(crate) fn late(after: Option<Duration>) -> Error {
    let message = match after {
        Some(after) => format!("the call was not done within {after:?}; what it began goes on"),
        None => "the time that the call named is over; ask again to go on".to_owned(),
    };
    Error::new(Reason::TimedOut, message)
}

fn malformed(value: &[u8]) -> Error {
    let value = String::from_utf8_lossy(value);
    let shown = clos_domain::name::shown(&value);
    Error::field("grpc-timeout", format!("`{shown}` is not up to eight digits and one of H, M, S, m, u, n"))
}

/// The form of gRPC: at most eight digits and a unit.
fn parse(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::layers::methods::Methods;

    const USUAL: Duration = Duration::from_secs(60);

    fn deadline(path: &str, given: Option<&str>, now: Instant) -> Result<Deadline> {
        let mut headers = HeaderMap::new();
        if let Some(given) = given {
            headers.insert("grpc-timeout", HeaderValue::from_str(given).unwrap());
        }
        let method = Methods::of_the_contract()?.named(path).unwrap();
        Deadline::of(&method, &headers, USUAL, now)
    }

    fn left(path: &str, given: Option<&str>) -> Option<Duration> {
        let now = Instant::now();
        deadline(path, given, now).unwrap().left(now)
    }

    #[test]
    fn a_call_has_the_time_that_it_names_and_else_the_usual() {
        let get = "/clos.v2.ServicesApi/GetService";
        assert_eq!(left(get, None), Some(USUAL));
        assert_eq!(left(get, Some("2500m")), Some(Duration::from_millis(2_500)));
        assert_eq!(left(get, Some("99999999H")), Some(LONGEST));
        assert_eq!(left("/clos.v2.OperationsApi/WaitOperation", None), Some(LONGEST));
    }

    #[test]
    fn a_stream_goes_on_until_its_caller_says() {
        let watch = "/clos.v2.EventsApi/WatchEvents";
        assert_eq!(left(watch, None), None);
        assert_eq!(left(watch, Some("5M")), Some(Duration::from_secs(300)));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_begin_in_time_is_an_error() {
        let watch = "/clos.v2.EventsApi/WatchEvents";
        let soon = deadline(watch, Some("1m"), Instant::now()).unwrap();
        let error = soon.before_the_head(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(error.reason(), Reason::TimedOut);
        assert_eq!(error.message(), "the call was not done within 1ms; what it began goes on");
        assert_eq!(
            deadline(watch, None, Instant::now()).unwrap().before_the_head(async { 7 }).await.unwrap(),
            7
        );
    }

    #[test]
    fn every_unit_is_read_and_nothing_else() {
        let table = [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("00000006n", Some(Duration::from_nanos(6))),
            ("", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("+1S", None),
            ("1.5S", None),
            ("123456789S", None),
            ("1\u{e9}", None),
        ];
        for (value, wanted) in table {
            assert_eq!(parse(value), wanted, "{value}");
        }
    }

    #[tokio::test]
    async fn a_malformed_time_is_named() {
        let error = deadline("/clos.v2.ServicesApi/GetService", Some("soon"), Instant::now()).unwrap_err();
        assert_eq!(
            error.message(),
            "grpc-timeout: `soon` is not up to eight digits and one of H, M, S, m, u, n"
        );
    }
}
