//! The texts of a URL: percent-encoding, decoded once.

use std::borrow::Cow;

/// What decoding leaves as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Nothing,
    /// `%2F`, in a variable of several segments.
    Slash,
}

/// Decodes a part of a path or query; `plus` is a space there.
pub(crate) fn decode(raw: &str, plus: bool, keep: Keep) -> Result<Cow<'_, str>, &'static str> {
    let needs_work = raw.bytes().any(|byte| byte == b'%' || (plus && byte == b'+'));
    if !needs_work {
        return Ok(Cow::Borrowed(raw));
    }
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'%' => {
                let digit = |at: usize| bytes.get(at).and_then(|it| char::from(*it).to_digit(16));
                let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
                    return Err("an escape is not `%` and two hexadecimal digits");
                };
                let value = u8::try_from(high << 4 | low).expect("two hexadecimal digits are one byte");
                match (value, keep) {
                    (0, _) => return Err("it has a NUL"),
                    (b'/', Keep::Slash) => out.extend_from_slice(&bytes[at..at + 3]),
                    _ => out.push(value),
                }
                at += 3;
                continue;
            }
            b'+' if plus => out.push(b' '),
            0 => return Err("it has a NUL"),
            other => out.push(other),
        }
        at += 1;
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| "it is not UTF-8")
}

/// Why a raw segment of a path cannot be one.
pub(crate) fn judge_segment(raw: &str) -> Result<(), &'static str> {
    let text = decode(raw, false, Keep::Nothing)?;
    if text.split('/').any(|part| part == "." || part == "..") {
        return Err("it has a dot segment");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_once() {
        let plain = |raw| decode(raw, false, Keep::Nothing).map(Cow::into_owned);
        assert_eq!(plain("a%20b%2Fc+d").as_deref(), Ok("a b/c+d"));
        assert_eq!(plain("%2541").as_deref(), Ok("%41"));
        assert_eq!(decode("a%2fb%20", false, Keep::Slash).as_deref(), Ok("a%2fb "));
        assert_eq!(decode("a+b%2B", true, Keep::Nothing).as_deref(), Ok("a b+"));
        for raw in ["%", "%2", "%zz", "%é", "%ff", "%00", "%c3%28"] {
            assert!(plain(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn dot_segments_are_found_behind_any_spelling() {
        for raw in ["..", ".", "%2e%2e", "%2E.", "a%2F..", "..%2fb", "%00"] {
            assert!(judge_segment(raw).is_err(), "{raw}");
        }
        for raw in ["...", "a..b", ".a", "%252e%252e", ""] {
            assert!(judge_segment(raw).is_ok(), "{raw}");
        }
    }
}
