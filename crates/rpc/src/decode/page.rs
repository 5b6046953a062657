//! Pages: `limit`, and either `offset` or the token of the page before.

use clos_domain::name::shown;
use clos_domain::page::Request;
use data_encoding::BASE64URL_NOPAD;

use super::Violations;

/// Marks a token as ours, and tells its form.
const FORM: &str = "o:";

/// Which page is meant.
pub(crate) fn page(v: &mut Violations, limit: Option<i32>, offset: i32, token: &str) -> Option<Request> {
    let limit = match limit {
        None => Some(Request::DEFAULT),
        Some(limit) => v.within("limit", limit.into(), 1, Request::MAX.into()),
    };
    let offset = if token.is_empty() {
        v.within("offset", offset.into(), 0, i32::MAX.into())
    } else {
        if offset != 0 {
            v.add("offset", format!("{offset} stands beside a page_token; give one of them"));
        }
        let place = place(token);
        if place.is_none() {
            let message =
                format!("`{}` is not a token of a page before; begin again without one", shown(token));
            v.add("page_token", message);
        }
        place
    };
    Some(Request { limit: limit?, offset: offset? })
}

/// The token of the page that begins after so many.
pub(crate) fn token(offset: u64) -> String {
    BASE64URL_NOPAD.encode(format!("{FORM}{offset}").as_bytes())
}

fn place(token: &str) -> Option<u64> {
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    // The store counts with signed numbers.
    text.strip_prefix(FORM)?.parse().ok().filter(|offset| i64::try_from(*offset).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back() {
        for offset in [0, 1, 50, 4_000_000_000] {
            let mut v = Violations::default();
            assert_eq!(page(&mut v, None, 0, &token(offset)), Some(Request { limit: 50, offset }));
            assert_eq!(v.count(), 0);
        }
    }

    #[test]
    fn every_bad_part_of_a_page_is_named() {
        let table: [(Option<i32>, i32, &str, &str); 7] = [
            (Some(0), 0, "", "limit: 0 is not between 1 and 100"),
            (Some(101), 0, "", "limit: 101 is not between 1 and 100"),
            (None, -1, "", "offset: -1 is not between 0 and 2147483647"),
            (None, 3, "bzo1", "offset: 3 stands beside a page_token; give one of them"),
            (
                None,
                0,
                "not a token",
                "page_token: `not a token` is not a token of a page before; begin again without one",
            ),
            (None, 0, "bzp4", "page_token: `bzp4` is not a token of a page before; begin again without one"),
            (
                Some(-5),
                -7,
                "",
                "limit: -5 is not between 1 and 100; offset: -7 is not between 0 and 2147483647",
            ),
        ];
        for (limit, offset, token, wanted) in table {
            let mut v = Violations::default();
            let read = page(&mut v, limit, offset, token);
            assert_eq!(v.finish(read).unwrap_err().message(), wanted);
        }
    }
}
