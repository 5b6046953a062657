//! Ids and secrets from the machine's randomness.

use std::sync::LazyLock;

use clos_domain::seams::IdSource;
use data_encoding::{Encoding, Specification};
use rand::Rng as _;

/// The letters of RFC 4648's base32 in lower case, in the order of their ASCII
/// codes. RFC 4648 puts the digits last, and text encoded so does not sort as
/// the bytes do; ids have to sort by the time of their making.
const SORTED_BASE32: &str = "234567abcdefghijklmnopqrstuvwxyz";

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Characters that 256 bits take in base 62.
const TOKEN_LEN: usize = 43;

static ENCODING: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str(SORTED_BASE32);
    specification.encoding().expect("32 different ASCII letters are an encoding")
});

/// Makes unique names: UUIDv7, each greater than the one before in this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    #[expect(clippy::disallowed_methods, reason = "this is the door through which ids come in")]
    fn unique(&self) -> String {
        ENCODING.encode(uuid::Uuid::now_v7().as_bytes())
    }

    fn secret(&self) -> String {
        random_token()
    }
}

/// A secret such as that of a token file: 32 random bytes in base 62.
pub fn random_token() -> String {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    base62(bytes)
}

/// The bytes as one big-endian number in base 62, with leading zeros.
fn base62(mut number: [u8; 32]) -> String {
    let mut digits = [b'0'; TOKEN_LEN];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_usize;
        for byte in &mut number {
            let part = remainder * 256 + usize::from(*byte);
            *byte = u8::try_from(part / 62).expect("a remainder below 62 keeps the quotient below 256");
            remainder = part % 62;
        }
        *digit = BASE62[remainder];
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clos_domain::id::{OperationId, UNIQUE_LEN};

    use super::*;

    #[test]
    fn ids_sort_by_the_order_of_their_making_and_never_repeat() {
        let ids: Vec<String> = (0..20_000).map(|_| RandomIds.unique()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn ids_have_the_form_that_the_domain_parses() {
        let unique = RandomIds.unique();
        assert_eq!(unique.len(), UNIQUE_LEN);
        let id = OperationId::from_unique(&unique);
        assert_eq!(OperationId::parse(id.as_str()), Some(id));
    }

    #[test]
    fn the_alphabet_keeps_the_order_of_the_bytes() {
        let mut letters: Vec<char> = SORTED_BASE32.chars().collect();
        letters.sort_unstable();
        assert_eq!(letters.into_iter().collect::<String>(), SORTED_BASE32);
        assert!(ENCODING.encode(&[0; 16]) < ENCODING.encode(&[1; 16]));
        assert!(ENCODING.encode(&[0x7f; 16]) < ENCODING.encode(&[0xff; 16]));
    }

    #[test]
    fn tokens_are_forty_three_letters_and_digits_and_differ() {
        let tokens: BTreeSet<String> = (0..100).map(|_| random_token()).collect();
        assert_eq!(tokens.len(), 100);
        for token in tokens {
            assert_eq!(token.len(), TOKEN_LEN);
            assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{token}");
        }
    }

    #[test]
    fn base_62_writes_known_numbers() {
        let number = |last: &[u8]| {
            let mut bytes = [0; 32];
            bytes[32 - last.len()..].copy_from_slice(last);
            base62(bytes).trim_start_matches('0').to_owned()
        };
        assert_eq!(number(&[]), "");
        assert_eq!(number(&[61]), "z");
        assert_eq!(number(&[62]), "10");
        assert_eq!(number(&[0x01, 0x00]), "48");
        assert_eq!(base62([0xff; 32]).len(), TOKEN_LEN);
        assert!(!base62([0xff; 32]).starts_with('0'), "256 bits need every digit");
    }
}
