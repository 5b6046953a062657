//! The texts of google.protobuf.Timestamp and Duration.
//! <https://protobuf.dev/programming-guides/json/>

/// Seconds of 0001-01-01T00:00:00Z.
const FIRST: i64 = -62_135_596_800;
/// Seconds of 9999-12-31T23:59:59Z.
const LAST: i64 = 253_402_300_799;
/// Most seconds of a duration, either way: about 10,000 years.
const LONGEST: i64 = 315_576_000_000;
const DAY: i64 = 86_400;

/// Days since 1970-01-01 of a date of the Gregorian calendar, after
/// <https://howardhinnant.github.io/date_algorithms.html>.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day, after the same source.
const fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + if month <= 2 { 1 } else { 0 }, month, day)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Reads RFC 3339: `2026-11-23T10:00:00.5+02:00`.
pub(crate) fn parse_timestamp(text: &str) -> Option<(i64, i32)> {
    let bytes = text.as_bytes();
    let number = |from: usize, length: usize| {
        let digits = bytes.get(from..from + length)?;
        digits
            .iter()
            .try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
    };
    let is = |at: usize, byte: u8| bytes.get(at) == Some(&byte);
    let shape = is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':');
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let is_date = (1..=12).contains(&month) && 1 <= day && day <= days_in(year, month);
    if !shape || !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut at = 19;
    let mut nanos = 0;
    if is(at, b'.') {
        let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        nanos = fraction(text.get(at + 1..at + 1 + digits)?)?;
        at += 1 + digits;
    }
    let offset = match bytes.get(at)? {
        b'Z' if bytes.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if bytes.len() == at + 6 && is(at + 3, b':') => {
            let (hours, minutes) = (number(at + 1, 2)?, number(at + 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 3_600 + minutes * 60;
            if *sign == b'+' { offset } else { -offset }
        }
        _ => return None,
    };
    let seconds = days(year, month, day) * DAY + hour * 3_600 + minute * 60 + second - offset;
    (FIRST..=LAST).contains(&seconds).then_some((seconds, nanos))
}

/// Up to nine digits of a second, as nanoseconds.
fn fraction(digits: &str) -> Option<i32> {
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let scale = 10_i32.pow(9 - u32::try_from(digits.len()).ok()?);
    Some(digits.parse::<i32>().ok()? * scale)
}

/// Writes RFC 3339 in UTC, with 0, 3, 6 or 9 digits of the second; nothing for what is no timestamp.
pub fn put_timestamp(out: &mut Vec<u8>, seconds: i64, nanos: i32) -> Option<()> {
    if !(FIRST..=LAST).contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return None;
    }
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let of_day = seconds.rem_euclid(DAY);
    put_digits(out, year, 4);
    for (mark, value) in
        [(b'-', month), (b'-', day), (b'T', of_day / 3_600), (b':', of_day / 60 % 60), (b':', of_day % 60)]
    {
        out.push(mark);
        put_digits(out, value, 2);
    }
    put_fraction(out, nanos);
    out.push(b'Z');
    Some(())
}

fn put_digits(out: &mut Vec<u8>, mut value: i64, width: usize) {
    let mut digits = [b'0'; 9];
    for digit in digits[..width].iter_mut().rev() {
        let next = (value % 10) as u8;
        *digit = b'0' + next;
        value /= 10;
    }
    out.extend_from_slice(&digits[..width]);
}

fn put_fraction(out: &mut Vec<u8>, nanos: i32) {
    let nanos = i64::from(nanos);
    if nanos == 0 {
        return;
    }
    out.push(b'.');
    if nanos % 1_000_000 == 0 {
        put_digits(out, nanos / 1_000_000, 3);
    } else if nanos % 1_000 == 0 {
        put_digits(out, nanos / 1_000, 6);
    } else {
        put_digits(out, nanos, 9);
    }
}

/// Reads `1.5s`, and with `lenient` also `1h30m`, `500ms`.
pub(crate) fn parse_duration(text: &str, lenient: bool) -> Option<(i64, i32)> {
    parse_seconds(text).or_else(|| if lenient { parse_units(text) } else { None })
}

fn parse_seconds(text: &str) -> Option<(i64, i32)> {
    let (is_negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let number = rest.strip_suffix('s')?;
    let (whole, part) = number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    if whole.is_empty() || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanos = part.map_or(Some(0), fraction)?;
    if seconds > LONGEST || (seconds == LONGEST && nanos > 0) {
        return None;
    }
    Some(if is_negative { (-seconds, -nanos) } else { (seconds, nanos) })
}

/// `1h30m`, `1.5h`, `500ms`, `-2m`: amounts with units, largest first or not.
fn parse_units(text: &str) -> Option<(i64, i32)> {
    const UNITS: [(&str, i128); 7] = [
        ("ms", 1_000_000),
        ("us", 1_000),
        ("µs", 1_000),
        ("ns", 1),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
    ];
    let (is_negative, mut rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_i128;
    while !rest.is_empty() {
        let amount = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at(amount);
        let (unit, nanos) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        let (whole, part) = number.split_once('.').map_or((number, "0"), |pair| pair);
        if whole.is_empty() || part.is_empty() {
            return None;
        }
        let whole = i128::from(whole.parse::<u64>().ok()?);
        let billionths = i128::from(fraction(part)?);
        total = total.checked_add(whole * nanos + billionths * nanos / 1_000_000_000)?;
        rest = &after[unit.len()..];
    }
    if total > i128::from(LONGEST) * 1_000_000_000 {
        return None;
    }
    let total = if is_negative { -total } else { total };
    let seconds = i64::try_from(total / 1_000_000_000).ok()?;
    Some((seconds, i32::try_from(total % 1_000_000_000).ok()?))
}

/// Writes seconds with 0, 3, 6 or 9 digits: `5400s`, `-0.500s`.
pub(crate) fn put_duration(out: &mut Vec<u8>, seconds: i64, nanos: i32) -> Option<()> {
    let signs_differ = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
    if !(-LONGEST..=LONGEST).contains(&seconds) || nanos.unsigned_abs() > 999_999_999 || signs_differ {
        return None;
    }
    if seconds < 0 || nanos < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(seconds.unsigned_abs().to_string().as_bytes());
    put_fraction(out, nanos.abs());
    out.push(b's');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(seconds: i64, nanos: i32) -> Option<String> {
        let mut out = Vec::new();
        put_timestamp(&mut out, seconds, nanos)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn timestamps_go_there_and_back() {
        for (text, seconds, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("0001-01-01T00:00:00Z", FIRST, 0),
            ("9999-12-31T23:59:59.999999999Z", LAST, 999_999_999),
            ("2026-11-23T10:00:00.500Z", 1_795_428_000, 500_000_000),
            ("2024-02-29T12:30:15.000001Z", 1_709_209_815, 1_000),
            ("1969-12-31T23:59:59Z", -1, 0),
        ] {
            assert_eq!(parse_timestamp(text), Some((seconds, nanos)), "{text}");
            assert_eq!(shown(seconds, nanos).as_deref(), Some(text));
        }
        assert_eq!(parse_timestamp("2026-11-23T12:00:00.5+02:00"), Some((1_795_428_000, 500_000_000)));
        assert_eq!(parse_timestamp("1969-12-31T22:30:00-01:30"), Some((0, 0)));
        for day in -800_000..800_000_i64 {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in [
            "",
            "2026-11-23",
            "2026-11-23T10:00:00",
            "2026-11-23t10:00:00Z",
            "2026-11-23 10:00:00Z",
            "2026-13-23T10:00:00Z",
            "2026-02-29T10:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T10:00:60Z",
            "2026-11-23T10:00:00.Z",
            "2026-11-23T10:00:00.1234567890Z",
            "2026-11-23T10:00:00z",
            "2026-11-23T10:00:00+0200",
            "2026-11-23T10:00:00+24:00",
            "0000-12-31T23:59:59Z",
            "2026-11-23T10:00:00ZZ",
            "é026-11-23T10:00:00Z",
            "2026-11-23T10:00:00.éZ",
            "0001-01-01T00:00:00+01:00",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
        assert_eq!(shown(LAST + 1, 0), None);
        assert_eq!(shown(0, -1), None);
        assert_eq!(shown(0, 1_000_000_000), None);
    }

    #[test]
    fn durations_are_seconds_and_leniently_units() {
        let both = |text: &str| (parse_duration(text, false), parse_duration(text, true));
        assert_eq!(both("1.5s"), (Some((1, 500_000_000)), Some((1, 500_000_000))));
        assert_eq!(both("-0.5s"), (Some((0, -500_000_000)), Some((0, -500_000_000))));
        assert_eq!(both("1h30m"), (None, Some((5_400, 0))));
        assert_eq!(both("1.5h"), (None, Some((5_400, 0))));
        assert_eq!(both("500ms"), (None, Some((0, 500_000_000))));
        assert_eq!(both("1m0.25s"), (None, Some((60, 250_000_000))));
        assert_eq!(both("-2m"), (None, Some((-120, 0))));
        assert_eq!(both("3µs4us5ns"), (None, Some((0, 7_005))));
        for text in [
            "",
            "s",
            "1",
            "1.s",
            ".s",
            "1..5s",
            " 1s",
            "1 s",
            "1e3s",
            "+1s",
            "315576000001s",
            "1d",
            "h",
            "-",
            "1.0000000001s",
            "99999999h",
            "315576000000.1s",
        ] {
            assert_eq!(both(text), (None, None), "{text}");
        }
        let shown = |seconds, nanos| {
            let mut out = Vec::new();
            put_duration(&mut out, seconds, nanos)?;
            Some(String::from_utf8(out).unwrap())
        };
        assert_eq!(shown(5_400, 0).as_deref(), Some("5400s"));
        assert_eq!(shown(0, -500_000_000).as_deref(), Some("-0.500s"));
        assert_eq!(shown(1, 1_000).as_deref(), Some("1.000001s"));
        assert_eq!(shown(LONGEST + 1, 0), None);
        assert_eq!(shown(1, -1), None);
    }
}
