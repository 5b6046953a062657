//! Pages: `limit`, and either `offset` or the token of the previous page.
//!
//! A token is a [`Cursor`] in base64url. Its first byte is the version of its form; then follows a [`Token`], which
//! names the listing that it belongs to. It is no secret and no proof: what it holds is checked like any other input.

use clos_domain::name::shown;
use clos_domain::page::{Cursor, Key, Request, Start};
use data_encoding::BASE64URL_NOPAD;
use prost::Message;
use sha2::{Digest as _, Sha256};

use super::Violations;

/// The form of the tokens that are given out.
const VERSION: u8 = 1;
/// What helps in every case.
const WAY_OUT: &str = "leave it out to begin with the first page";

/// One listing with its filters and its order: what a token belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listing(u64);

impl Listing {
    /// That of a request without the fields that only tell which page is meant.
    pub(crate) fn of(method: &str, filters: &impl Message) -> Self {
        let mut hash = Sha256::new();
        hash.update(method.as_bytes());
        hash.update([0]);
        hash.update(filters.encode_to_vec());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.finalize()[..8]);
        Self(u64::from_be_bytes(first))
    }
}

#[derive(Clone, PartialEq, Message)]
struct Token {
    #[prost(fixed64, tag = "1")]
    listing: u64,
    #[prost(uint64, tag = "2")]
    seen: u64,
    #[prost(message, repeated, tag = "3")]
    keys: Vec<TokenKey>,
}

#[derive(Clone, PartialEq, Message)]
struct TokenKey {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(sint64, optional, tag = "2")]
    number: Option<i64>,
}

/// Which page is meant.
pub(crate) fn page(
    v: &mut Violations,
    listing: Listing,
    limit: Option<i32>,
    offset: i32,
    token: &str,
) -> Option<Request> {
    let limit = match limit {
        None => Some(Request::DEFAULT),
        Some(limit) => v.within("limit", limit.into(), 1, Request::MAX.into()),
    };
    let start = if token.is_empty() {
        v.within("offset", offset.into(), 0, i32::MAX.into()).map(Start::Offset)
    } else {
        if offset != 0 {
            v.add("offset", format!("{offset} cannot be combined with page_token; send one of them"));
        }
        cursor(v, listing, token).map(Start::After)
    };
    Some(Request { limit: limit?, start: start? })
}

/// The place that a token tells.
pub(crate) fn cursor(v: &mut Violations, listing: Listing, token: &str) -> Option<Cursor> {
    let Some(read) = read(token) else {
        v.add("page_token", format!("`{}` is not a page token; {WAY_OUT}", shown(token)));
        return None;
    };
    if read.listing != listing.0 {
        let message = format!(
            "it belongs to a list with other filters or another order; repeat those with it, or {WAY_OUT}"
        );
        v.add("page_token", message);
        return None;
    }
    let key = |key: TokenKey| match (key.text, key.number) {
        (Some(text), _) => Key::Text(text),
        (None, Some(number)) => Key::Number(number),
        (None, None) => Key::Nothing,
    };
    Some(Cursor { keys: read.keys.into_iter().map(key).collect(), seen: read.seen })
}

/// The position in the journal that a token tells.
pub(crate) fn position(v: &mut Violations, listing: Listing, token: &str) -> Option<i64> {
    let cursor = cursor(v, listing, token)?;
    match cursor.keys.as_slice() {
        [Key::Number(position)] if *position >= 0 => Some(*position),
        _ => {
            v.add("page_token", format!("it does not fit this list; {WAY_OUT}"));
            None
        }
    }
}

/// The token of the page of events that begins after a position.
pub(crate) fn token_of_position(listing: Listing, position: i64) -> String {
    token(listing, &Cursor { keys: vec![Key::Number(position)], seen: 0 })
}

/// The token of the page that begins there.
pub(crate) fn token(listing: Listing, cursor: &Cursor) -> String {
    let key = |key: &Key| match key {
        Key::Text(text) => TokenKey { text: Some(text.clone()), number: None },
        Key::Number(number) => TokenKey { text: None, number: Some(*number) },
        Key::Nothing => TokenKey::default(),
    };
    let keys = cursor.keys.iter().map(key).collect();
    let mut bytes = vec![VERSION];
    bytes.extend(Token { listing: listing.0, seen: cursor.seen, keys }.encode_to_vec());
    BASE64URL_NOPAD.encode(&bytes)
}

fn read(token: &str) -> Option<Token> {
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
    let (version, rest) = bytes.split_first()?;
    // The store counts with signed numbers.
    let is_small = |token: &Token| i64::try_from(token.seen).is_ok();
    (*version == VERSION).then(|| Token::decode(rest).ok())?.filter(is_small)
}

#[cfg(test)]
mod tests {
    use clos_proto::v2 as pb;

    use super::*;

    fn listing(q: &str) -> Listing {
        Listing::of("ListServices", &pb::ListServicesRequest { q: q.into(), ..Default::default() })
    }

    fn place() -> Cursor {
        let keys = vec![Key::Text("shop".into()), Key::Number(-4), Key::Nothing, Key::Text(String::new())];
        Cursor { keys, seen: 50 }
    }

    #[test]
    fn a_token_reads_back_and_fits_a_url() {
        let text = token(listing(""), &place());
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
        let mut v = Violations::default();
        let read = page(&mut v, listing(""), Some(7), 0, &text);
        assert_eq!((read, v.count()), (Some(Request::after(7, place())), 0));
    }

    #[test]
    fn a_token_of_another_listing_is_refused() {
        let text = token(listing("a"), &place());
        let operations = Listing::of("ListOperations", &pb::ListOperationsRequest::default());
        for other in [listing("b"), operations] {
            let mut v = Violations::default();
            let read = page(&mut v, other, None, 0, &text);
            assert_eq!(
                v.finish(read).unwrap_err().message(),
                "page_token: it belongs to a list with other filters or another order; repeat those with it, or leave it out to begin with the first page"
            );
        }
    }

    #[test]
    fn every_bad_part_of_a_page_is_named() {
        let of_a_later_version = BASE64URL_NOPAD.encode(&[2, 8, 1]);
        let cut = &token(listing(""), &place())[..9];
        let counts_too_far = token(listing(""), &Cursor { seen: u64::MAX, ..place() });
        let good = token(listing(""), &place());
        let no_token = |text: &str| format!("page_token: `{text}` is not a page token; {WAY_OUT}");
        let table: [(Option<i32>, i32, &str, String); 8] = [
            (Some(0), 0, "", "limit: 0 is not between 1 and 100".into()),
            (Some(101), 0, "", "limit: 101 is not between 1 and 100".into()),
            (None, -1, "", "offset: -1 is not between 0 and 2147483647".into()),
            (None, 3, &good, "offset: 3 cannot be combined with page_token; send one of them".into()),
            (None, 0, "not a token", no_token("not a token")),
            (None, 0, &of_a_later_version, no_token(&of_a_later_version)),
            (None, 0, cut, no_token(cut)),
            (None, 0, &counts_too_far, no_token(&shown(&counts_too_far))),
        ];
        for (limit, offset, token, wanted) in table {
            let mut v = Violations::default();
            let read = page(&mut v, listing(""), limit, offset, token);
            assert_eq!(v.finish(read).unwrap_err().message(), wanted);
        }
    }
}
