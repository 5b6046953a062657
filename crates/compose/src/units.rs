//! Durations and sizes as compose writes them.

use std::time::Duration;

const NANOS: [(&str, u64); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];
const WEEK: u64 = 604_800_000_000_000;

/// `1m30s`, `500ms`, `1.5h`, `2d`, `1w`; `0` needs no unit. `None` for anything else and for what lies before zero.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" || text == "-0" {
        return Some(Duration::ZERO);
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let nanos = match unit {
            "w" => WEEK,
            unit => NANOS.iter().find(|(name, _)| *name == unit)?.1,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(nanos)?)?;
        total = total.checked_add(part_of(fraction, nanos))?;
        rest = tail;
    }
    let within_bounds = !text.is_empty() && i64::try_from(total).is_ok();
    within_bounds.then(|| Duration::from_nanos(total))
}

/// The digits after the point, as a share of the unit. Beyond eighteen digits nothing is left of a nanosecond.
fn part_of(fraction: &str, nanos: u64) -> u64 {
    let digits = &fraction[..fraction.len().min(18)];
    let (Ok(value), Ok(power)) = (digits.parse::<u128>(), u32::try_from(digits.len())) else { return 0 };
    let share = value * u128::from(nanos) / 10_u128.pow(power);
    u64::try_from(share).unwrap_or(0)
}

/// `1m30s`, `500ms`, `1h0m0s`, `0s`.
pub(crate) fn duration_text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let below_a_second = [(1_000, 1, "ns"), (1_000_000, 1_000, "µs"), (1_000_000_000, 1_000_000, "ms")];
    for (limit, unit, name) in below_a_second {
        if nanos < limit {
            return format!("{}{name}", decimal(nanos, unit));
        }
    }
    let minutes = nanos / 60_000_000_000;
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

fn decimal(value: u128, unit: u128) -> String {
    let width = unit.to_string().len() - 1;
    let whole = value / unit;
    let fraction = format!("{:0width$}", value % unit);
    match fraction.trim_end_matches('0') {
        "" => whole.to_string(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// `512`, `64m`, `1.5GiB`, `-1`.
pub(crate) fn bytes(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(number);
    }
    let number_end = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')? + 1;
    let (number, suffix) = text.split_at(number_end);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value: f64 = if plain { number.parse().ok()? } else { return None };
    let suffix = suffix.to_ascii_lowercase();
    let power = match suffix.strip_suffix("ib").or_else(|| suffix.strip_suffix('b')).unwrap_or(&suffix) {
        "" if suffix == "ib" => return None,
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let size = value * 1024_f64.powi(power);
    // The comparison is with 2^63, which a float holds exactly; below it the cast only drops the fraction.
    (size < 9_223_372_036_854_775_808.0).then_some(size as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_back_in_one_form() {
        for (text, expected) in [
            ("90s", "1m30s"),
            ("500ms", "500ms"),
            ("1h", "1h0m0s"),
            ("1.5s", "1.5s"),
            ("0", "0s"),
            ("0s", "0s"),
            ("1m30s", "1m30s"),
            ("2d", "48h0m0s"),
            ("1w", "168h0m0s"),
            ("1500us", "1.5ms"),
            ("10ns", "10ns"),
            ("1h0.5s", "1h0m0.5s"),
            (".5s", "500ms"),
        ] {
            assert_eq!(duration_text(duration(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_none() {
        for text in ["", "5", "s", "1x", "-1s", "1.2.3s", ".s", "99999999999h", "1 s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_count_in_powers_of_1024() {
        for (text, expected) in [
            ("512", 512),
            ("-1", -1),
            ("64m", 67_108_864),
            ("64M", 67_108_864),
            ("1g", 1_073_741_824),
            ("1.5gb", 1_610_612_736),
            ("1GiB", 1_073_741_824),
            ("10b", 10),
            ("2 k", 2048),
            ("0.5k", 512),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in ["", "m", "1x", "1mm", "1ib", "-1m", "9999999999p", "1e3m", "NaN"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
