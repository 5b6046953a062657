//! Text from outside, made fit to be kept.

use std::borrow::Cow;

/// The text without NUL, which PostgreSQL refuses and terminals swallow; U+FFFD stands in its place, as it does for
/// bytes that are no UTF-8.
pub fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_is_replaced_and_nothing_else() {
        assert_eq!(without_nul("a\0b\0"), "a\u{fffd}b\u{fffd}");
        assert!(matches!(without_nul("a\u{1}\nb"), Cow::Borrowed("a\u{1}\nb")));
    }
}
