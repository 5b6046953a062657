//! Times and spans as they are typed and shown.

use std::time::Duration;

use jiff::Timestamp;

use crate::failure::Failure;

/// `2026-11-23T10:11:12Z`, `10m` (ago), or seconds of the epoch.
pub(crate) fn instant(flag: &str, text: &str, now: Timestamp) -> Result<prost_types::Timestamp, Failure> {
    let wrong = || {
        Failure::usage(format!("{flag}: `{text}` is not a time"))
            .hint("an instant such as 2026-11-23T10:11:12Z, or how long ago, such as 10m or 1h30m")
    };
    let at = if let Ok(at) = text.parse::<Timestamp>() {
        at
    } else if let Ok(seconds) = text.parse::<i64>() {
        Timestamp::from_second(seconds).map_err(|_| wrong())?
    } else {
        let ago = span(flag, text).map_err(|_| wrong())?;
        now.checked_sub(ago).map_err(|_| wrong())?
    };
    Ok(prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() })
}

/// `90s`, `1m30s`, `2h`, `250ms`; a bare number is seconds.
pub(crate) fn span(flag: &str, text: &str) -> Result<Duration, Failure> {
    let wrong =
        || Failure::usage(format!("{flag}: `{text}` is not a duration")).hint("such as 90s, 1m30s or 2h");
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let number: u32 = number.parse().map_err(|_| wrong())?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        total += Duration::from_millis(u64::from(number) * millis);
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// An instant of the wire.
pub(crate) fn of(at: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    let at = at?;
    Timestamp::new(at.seconds, at.nanos).ok()
}

/// How long ago, in the largest unit that says enough: `4s`, `12m`, `3h`, `2d`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", length(Duration::from_secs(now.as_second().abs_diff(at.as_second()))))
}

/// A length of time, shortly.
pub(crate) fn length(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..=119 => format!("{seconds}s"),
        seconds @ 120..=7_199 => format!("{}m", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Result<i64, Failure> {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        instant("--since", text, now).map(|at| at.seconds - now.as_second())
    }

    #[test]
    fn a_time_is_an_instant_or_how_long_ago() {
        assert_eq!(at("2026-01-01T00:00:00Z").unwrap(), -600);
        assert_eq!(at("10m").unwrap(), -600);
        assert_eq!(at("1m30s").unwrap(), -90);
        for wrong in ["yesterday", "10x", "", "m", "99999999999999999999"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_span_adds_up() {
        assert_eq!(span("-t", "90").unwrap(), Duration::from_secs(90));
        assert_eq!(span("-t", "1h2m3s250ms").unwrap(), Duration::from_millis(3_723_250));
        assert!(span("-t", "").is_err() && span("-t", "5 s").is_err());
    }

    #[test]
    fn the_unit_grows_with_the_age() {
        let lengths = [5, 119, 120, 7_199, 7_200, 172_800].map(|s| length(Duration::from_secs(s)));
        assert_eq!(lengths, ["5s", "119s", "2m", "119m", "2h", "2d"]);
    }
}
