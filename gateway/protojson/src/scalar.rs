//! Scalars between texts and the wire.

use std::io::Write as _;

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};

use crate::wire::{self, Raw, Type};

/// Which scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the types of protobuf, by their names")]
pub enum Scalar {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
}

impl Scalar {
    /// What somebody reads who sent something else.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Double | Self::Float => "a number",
            Self::Int32 | Self::Sint32 | Self::Sfixed32 => "a whole number of 32 bits",
            Self::Uint32 | Self::Fixed32 => "a whole number of 32 bits, not negative",
            Self::Int64 | Self::Sint64 | Self::Sfixed64 => "a whole number of 64 bits",
            Self::Uint64 | Self::Fixed64 => "a whole number of 64 bits, not negative",
            Self::Bool => "true or false",
            Self::String => "a string",
            Self::Bytes => "bytes in base64",
        }
    }

    /// Whether it is an integer of 64 bits, which ProtoJSON prints as a string.
    pub const fn is_64_bits(self) -> bool {
        matches!(self, Self::Int64 | Self::Uint64 | Self::Sint64 | Self::Fixed64 | Self::Sfixed64)
    }

    pub(crate) const fn is_number(self) -> bool {
        !matches!(self, Self::Bool | Self::String | Self::Bytes)
    }

    pub(crate) const fn wire(self) -> Type {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => Type::Fixed64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => Type::Fixed32,
            Self::String | Self::Bytes => Type::Bytes,
            _ => Type::Varint,
        }
    }
}

/// How strictly a text is read as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digits {
    /// Digits only: `5`.
    Plain,
    /// As JSON writes numbers: `5.0`, `5e0`.
    Json,
}

/// Writes a number without its tag; nothing for a text that is none.
pub(crate) fn put_number(out: &mut Vec<u8>, of: Scalar, text: &str, digits: Digits) -> Option<()> {
    match of {
        Scalar::Double => out.extend_from_slice(&float(text)?.to_le_bytes()),
        Scalar::Float => {
            let wide = float(text)?;
            #[expect(clippy::cast_possible_truncation, reason = "rounding is meant; infinity is looked for")]
            let narrow = if wide.is_nan() { f32::NAN } else { wide as f32 };
            if narrow.is_infinite() && wide.is_finite() {
                return None;
            }
            out.extend_from_slice(&narrow.to_le_bytes());
        }
        Scalar::Int32 => {
            let value = i32::try_from(signed(text, digits)?).ok()?;
            wire::put_varint(out, i64::from(value).cast_unsigned());
        }
        Scalar::Sint32 => {
            let value = i32::try_from(signed(text, digits)?).ok()?;
            wire::put_varint(out, wire::zigzag32(value).into());
        }
        Scalar::Sfixed32 => {
            out.extend_from_slice(&i32::try_from(signed(text, digits)?).ok()?.to_le_bytes());
        }
        Scalar::Int64 => wire::put_varint(out, signed(text, digits)?.cast_unsigned()),
        Scalar::Sint64 => wire::put_varint(out, wire::zigzag64(signed(text, digits)?)),
        Scalar::Sfixed64 => out.extend_from_slice(&signed(text, digits)?.to_le_bytes()),
        Scalar::Uint32 => wire::put_varint(out, u32::try_from(unsigned(text, digits)?).ok()?.into()),
        Scalar::Fixed32 => out.extend_from_slice(&u32::try_from(unsigned(text, digits)?).ok()?.to_le_bytes()),
        Scalar::Uint64 => wire::put_varint(out, unsigned(text, digits)?),
        Scalar::Fixed64 => out.extend_from_slice(&unsigned(text, digits)?.to_le_bytes()),
        Scalar::Bool | Scalar::String | Scalar::Bytes => return None,
    }
    Some(())
}

fn float(text: &str) -> Option<f64> {
    match text {
        "NaN" => return Some(f64::NAN),
        "Infinity" => return Some(f64::INFINITY),
        "-Infinity" => return Some(f64::NEG_INFINITY),
        _ => {}
    }
    let is_number = crate::json::Cursor::new(text).number().is_ok_and(|number| number.len() == text.len());
    text.parse::<f64>().ok().filter(|value| is_number && value.is_finite())
}

/// A whole number of 32 bits as JSON writes numbers.
pub(crate) fn whole_32(text: &str) -> Option<i32> {
    i32::try_from(signed(text, Digits::Json)?).ok()
}

fn signed(text: &str, digits: Digits) -> Option<i64> {
    let is_plain = text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
    if is_plain {
        return text.parse().ok();
    }
    let value = whole(text, digits)?;
    i64::try_from(value).ok()
}

fn unsigned(text: &str, digits: Digits) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let value = whole(text, digits)?;
    u64::try_from(value).ok()
}

/// A whole number that is written with a point or an exponent, exactly.
fn whole(text: &str, digits: Digits) -> Option<i128> {
    let is_number = crate::json::Cursor::new(text).number().is_ok_and(|number| number.len() == text.len());
    if !is_number {
        return None;
    }
    if digits == Digits::Plain {
        // Only `-0` comes here.
        return text.parse().ok();
    }
    let (is_negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).map_or((rest, "0"), |pair| pair);
    let (before, after) = mantissa.split_once('.').map_or((mantissa, ""), |pair| pair);
    let after = after.trim_end_matches('0');
    let exponent: i32 = exponent.parse().ok().filter(|exponent| (-400..=400).contains(exponent))?;
    let digits = format!("{before}{after}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let shift = exponent - i32::try_from(after.len()).ok()?;
    let value: i128 = if shift >= 0 {
        if digits.len() + usize::try_from(shift).ok()? > 38 {
            return None;
        }
        digits.parse::<i128>().ok()?.checked_mul(10_i128.checked_pow(shift.unsigned_abs())?)?
    } else {
        let cut = digits.len().checked_sub(usize::try_from(shift.unsigned_abs()).ok()?)?;
        let (kept, dropped) = digits.split_at(cut);
        if dropped.bytes().any(|digit| digit != b'0') || kept.is_empty() {
            return None;
        }
        kept.parse().ok()?
    };
    Some(if is_negative { -value } else { value })
}

/// Either alphabet, and bits that nobody needs need not be zero: the conformance suite of protobuf wants both.
static BASE64: LazyLock<Encoding> = LazyLock::new(|| {
    let mut of = Specification::new();
    of.symbols.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    of.translate.from.push_str("-_");
    of.translate.to.push_str("+/");
    of.check_trailing_bits = false;
    of.encoding().expect("an alphabet of 64 letters is one")
});

/// Bytes of base64 in either alphabet, padded or not.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let trimmed = text.trim_end_matches('=');
    let padding = text.len() - trimmed.len();
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) {
        return None;
    }
    BASE64.decode(trimmed.as_bytes()).ok()
}

/// Prints a scalar; nothing for bytes that are not it.
pub fn print(out: &mut Vec<u8>, of: Scalar, raw: Raw<'_>, number64: bool) -> Option<()> {
    #[expect(clippy::cast_possible_truncation, reason = "a decoder cuts 32-bit numbers off the same way")]
    match (of, raw) {
        (Scalar::Double, Raw::Fixed64(bits)) => put_double(out, f64::from_bits(bits)),
        (Scalar::Float, Raw::Fixed32(bits)) => put_float(out, f32::from_bits(bits)),
        (Scalar::Int32, Raw::Varint(value)) => put_integer(out, i64::from(value as i32)),
        (Scalar::Sint32, Raw::Varint(value)) => {
            put_integer(out, i64::from(wire::unzigzag32(value as u32)));
        }
        (Scalar::Uint32, Raw::Varint(value)) => put_integer(out, i64::from(value as u32)),
        (Scalar::Fixed32, Raw::Fixed32(value)) => put_integer(out, i64::from(value)),
        (Scalar::Sfixed32, Raw::Fixed32(value)) => put_integer(out, i64::from(value.cast_signed())),
        (Scalar::Int64, Raw::Varint(value)) | (Scalar::Sfixed64, Raw::Fixed64(value)) => {
            quoted(out, number64, |out| put_integer(out, value.cast_signed()));
        }
        (Scalar::Sint64, Raw::Varint(value)) => {
            quoted(out, number64, |out| put_integer(out, wire::unzigzag64(value)));
        }
        (Scalar::Uint64, Raw::Varint(value)) | (Scalar::Fixed64, Raw::Fixed64(value)) => {
            quoted(out, number64, |out| put_unsigned(out, value));
        }
        (Scalar::Bool, Raw::Varint(value)) => {
            out.extend_from_slice(if value == 0 { b"false" } else { b"true" });
        }
        (Scalar::String, Raw::Bytes(bytes)) => return crate::json::put_utf8(out, bytes),
        (Scalar::Bytes, Raw::Bytes(bytes)) => {
            out.push(b'"');
            out.extend_from_slice(data_encoding::BASE64.encode(bytes).as_bytes());
            out.push(b'"');
        }
        _ => return None,
    }
    Some(())
}

/// Prints what a field without a value has.
pub(crate) fn print_default(out: &mut Vec<u8>, of: Scalar, number64: bool) {
    let text: &[u8] = match of {
        Scalar::Bool => b"false",
        Scalar::String | Scalar::Bytes => b"\"\"",
        wide if wide.is_64_bits() && !number64 => b"\"0\"",
        _ => b"0",
    };
    out.extend_from_slice(text);
}

fn quoted(out: &mut Vec<u8>, is_plain: bool, put: impl FnOnce(&mut Vec<u8>)) {
    if is_plain {
        return put(out);
    }
    out.push(b'"');
    put(out);
    out.push(b'"');
}

pub(crate) fn put_integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    put_unsigned(out, value.unsigned_abs());
}

fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        let digit = (value % 10) as u8;
        digits[at] = b'0' + digit;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

pub(crate) fn put_double(out: &mut Vec<u8>, value: f64) {
    put_shortest(out, value, format_args!("{value:?}"));
}

fn put_float(out: &mut Vec<u8>, value: f32) {
    put_shortest(out, value.into(), format_args!("{value:?}"));
}

/// The shortest text that reads back as the value; `1.0` is written `1`.
fn put_shortest(out: &mut Vec<u8>, value: f64, shortest: std::fmt::Arguments<'_>) {
    if !value.is_finite() {
        let word: &[u8] = match value {
            f64::INFINITY => b"\"Infinity\"",
            f64::NEG_INFINITY => b"\"-Infinity\"",
            _ => b"\"NaN\"",
        };
        return out.extend_from_slice(word);
    }
    // Memory takes whatever is written.
    let _ = out.write_fmt(shortest);
    if out.ends_with(b".0") {
        out.truncate(out.len() - 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(of: Scalar, text: &str, digits: Digits) -> Option<String> {
        let mut wire = Vec::new();
        put_number(&mut wire, of, text, digits)?;
        let mut tagged = Vec::new();
        wire::put_tag(&mut tagged, 1, of.wire());
        tagged.extend(wire);
        let raw = wire::last(&tagged, 1).unwrap();
        let mut out = Vec::new();
        print(&mut out, of, raw, true)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn whole_numbers_are_read_within_their_range() {
        use Scalar as S;
        for (of, least, most) in [
            (S::Int32, "-2147483648", "2147483647"),
            (S::Sint32, "-2147483648", "2147483647"),
            (S::Sfixed32, "-2147483648", "2147483647"),
            (S::Uint32, "0", "4294967295"),
            (S::Fixed32, "0", "4294967295"),
            (S::Int64, "-9223372036854775808", "9223372036854775807"),
            (S::Sint64, "-9223372036854775808", "9223372036854775807"),
            (S::Sfixed64, "-9223372036854775808", "9223372036854775807"),
            (S::Uint64, "0", "18446744073709551615"),
            (S::Fixed64, "0", "18446744073709551615"),
        ] {
            for text in [least, most] {
                assert_eq!(read(of, text, Digits::Plain).as_deref(), Some(text), "{of:?}");
                assert_eq!(read(of, text, Digits::Json).as_deref(), Some(text), "{of:?}");
            }
            let below = if least == "0" { "-1".to_owned() } else { format!("{least}0") };
            for text in [below.as_str(), &format!("{most}0"), "", "-", "a", "1 ", " 1", "+1", "0x1", "1_0"] {
                assert_eq!(read(of, text, Digits::Json), None, "{of:?} {text}");
            }
            for (text, value) in
                [("5.0", "5"), ("5e1", "50"), ("1.5e1", "15"), ("500e-2", "5"), ("-0", "0"), ("0.0", "0")]
            {
                assert_eq!(read(of, text, Digits::Json).as_deref(), Some(value), "{of:?} {text}");
            }
            for text in ["1.5", "1e-1", "1e400", "5.0e-1", "1e99"] {
                assert_eq!(read(of, text, Digits::Json), None, "{of:?} {text}");
            }
            for text in ["5.0", "5e0"] {
                assert_eq!(read(of, text, Digits::Plain), None, "{of:?} {text}");
            }
        }
        assert_eq!(
            read(S::Int64, "9223372036854775807.0", Digits::Json).as_deref(),
            Some("9223372036854775807")
        );
    }

    #[test]
    fn floats_are_as_short_as_they_read_back() {
        for (text, shown) in [
            ("1", "1"),
            ("0.1", "0.1"),
            ("-0", "-0"),
            ("1e300", "1e300"),
            ("1.5E-7", "1.5e-7"),
            ("123456789", "123456789"),
            ("NaN", "\"NaN\""),
            ("Infinity", "\"Infinity\""),
            ("-Infinity", "\"-Infinity\""),
        ] {
            assert_eq!(read(Scalar::Double, text, Digits::Json).as_deref(), Some(shown));
        }
        assert_eq!(read(Scalar::Float, "0.1", Digits::Json).as_deref(), Some("0.1"));
        assert_eq!(read(Scalar::Float, "1e39", Digits::Json), None);
        assert_eq!(read(Scalar::Double, "1e400", Digits::Json), None);
        for text in ["inf", "nan", "infinity", "+1", ".5", "1.", "", "1f"] {
            assert_eq!(read(Scalar::Double, text, Digits::Json), None, "{text}");
        }
    }

    #[test]
    fn base64_has_two_alphabets_and_padding_is_free() {
        for text in ["+/8=", "-_8=", "+/8", "-_8", "-_9"] {
            assert_eq!(base64(text), Some(vec![0xfb, 0xff]), "{text}");
        }
        assert_eq!(base64("-_"), Some(vec![0xfb]));
        assert_eq!(base64(""), Some(Vec::new()));
        for text in ["a", "a===", "aa=", "a b=", "é", "=", "aa=a"] {
            assert_eq!(base64(text), None, "{text}");
        }
    }
}
