//! A name for every request: the caller's own where it is sane, else a new one.

use clos_domain::seams::IdSource;
use http::header::{HeaderMap, HeaderName, HeaderValue};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Letters of a caller's name for its request.
const MOST: usize = 128;

/// The name of the request with these headers.
pub(crate) fn of(headers: &HeaderMap, ids: &dyn IdSource) -> String {
    let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
    match given.filter(|given| is_sane(given)) {
        Some(given) => given.to_owned(),
        None => format!("req_{}", ids.unique()),
    }
}

/// Says in an answer which request it is for.
pub(crate) fn tell(request_id: &str, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::try_from(request_id) {
        headers.insert(HEADER, value);
    }
}

/// It goes into logs, rows and headers, so it is a word.
fn is_sane(given: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/=+".contains(&byte);
    !given.is_empty() && given.len() <= MOST && given.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use clos_testkit::ids::SeqIds;

    use super::*;

    fn named(given: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(given.as_bytes()).unwrap());
        of(&headers, &SeqIds::default())
    }

    #[test]
    fn a_sane_name_is_kept() {
        for given in ["a", "4bf92f35-77b3", "ci/job:7+1=8_x.y"] {
            assert_eq!(named(given), given);
        }
        assert_eq!(named(&"x".repeat(MOST)), "x".repeat(MOST));
    }

    #[test]
    fn any_other_is_replaced() {
        let long = "x".repeat(MOST + 1);
        for given in ["", "two words", "a\tb", "\u{e9}", "<script>", long.as_str()] {
            let name = named(given);
            assert!(name.starts_with("req_") && name.len() == 30, "{given:?} became {name}");
        }
        assert!(of(&HeaderMap::new(), &SeqIds::default()).starts_with("req_"));
    }

    #[test]
    fn an_answer_says_whose_it_is() {
        let mut headers = HeaderMap::new();
        tell("req_7", &mut headers);
        assert_eq!(headers["x-request-id"], "req_7");
    }
}
