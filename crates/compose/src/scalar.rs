//! What a plain YAML word is: YAML 1.2 with compose's reading.
//!
//! `yes`, `no`, `on` and `off` stay words; `0444` is octal; underscores in numbers are skipped; a date stays a
//! word. And the way back: how a number is written where compose wants a string, as in `environment`.

use crate::node::Kind;

/// Reads a plain (unquoted, untagged) scalar.
pub(crate) fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Kind::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Kind::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Kind::Float(f64::NEG_INFINITY),
        "-0" | "-0.0" => return Kind::Float(-0.0),
        _ => {}
    }
    let numeric_start = text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    if !numeric_start {
        return Kind::Text(text.to_owned());
    }
    // A word that starts with a dot may be a float and nothing else.
    let plain = if text.starts_with('.') { text.to_owned() } else { text.replace('_', "") };
    if let Some(number) = int(&plain) {
        return Kind::Int(number);
    }
    if looks_like_a_float(&plain)
        && let Ok(number) = plain.parse::<f64>()
        && number.is_finite()
    {
        return Kind::Float(number);
    }
    Kind::Text(text.to_owned())
}

/// `42`, `-7`, `0x1f`, `0b11`, `0o17` and `017`, within 64 bits.
fn int(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if body.is_empty() || !body.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(body, radix).ok()?;
    let number = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
    (number >= i128::from(i64::MIN)).then_some(number)
}

/// `[-+]?(\.d+|d+(\.d*)?)([eE][-+]?d+)?`
fn looks_like_a_float(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    mantissa_fits && exponent_fits
}

/// A scalar as compose writes it into a string; `None` for null, lists and mappings.
pub(crate) fn to_text(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Bool(value) => Some(value.to_string()),
        Kind::Int(value) => Some(value.to_string()),
        Kind::Float(value) => Some(float_to_text(*value)),
        Kind::Text(text) => Some(text.clone()),
        Kind::Null | Kind::List(_) | Kind::Map(_) => None,
    }
}

/// The shortest digits that give the number back, with an exponent below 1e-4 and from 1e6 on.
pub(crate) fn float_to_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return value.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(word: &str) -> String {
        to_text(&resolve(word)).unwrap_or_else(|| "null".to_owned())
    }

    #[test]
    fn words_that_yaml_1_1_took_for_booleans_stay_words() {
        for word in
            ["yes", "no", "on", "off", "y", "n", "2024-01-02", "12:30:45", "1.2.3", "08x", "0x", "1__"]
        {
            let expected = if word == "1__" { "1" } else { word };
            assert_eq!(text_of(word), expected, "{word}");
        }
    }

    #[test]
    fn numbers_are_read_in_every_base_and_written_in_ten() {
        for (word, expected) in [
            ("0444", "292"),
            ("0o444", "292"),
            ("0x1F", "31"),
            ("0b11", "3"),
            ("1_000", "1000"),
            ("+12", "12"),
            ("-7", "-7"),
            ("089", "89"),
            ("12345678901234567890", "12345678901234567890"),
            ("123456789012345678901234567890", "1.2345678901234568e+29"),
        ] {
            assert_eq!(text_of(word), expected, "{word}");
        }
    }

    #[test]
    fn floats_are_written_as_compose_writes_them() {
        for (word, expected) in [
            ("1.10", "1.1"),
            ("1.0", "1"),
            ("1.", "1"),
            (".5", "0.5"),
            ("1e3", "1000"),
            ("100000000.5", "1.000000005e+08"),
            ("1e21", "1e+21"),
            ("0.00001", "1e-05"),
            ("-0", "-0"),
        ] {
            assert_eq!(text_of(word), expected, "{word}");
        }
    }
}
