//! Media types: what a body may be, and what an answer should be.

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};

/// An entry of an Accept header.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    kind: String,
    quality: f32,
}

/// What a caller accepts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accept(Vec<Wanted>);

impl Accept {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut wanted = Vec::new();
        for value in headers.get_all(ACCEPT) {
            for part in String::from_utf8_lossy(value.as_bytes()).split(',') {
                let mut pieces = part.split(';').map(str::trim);
                let kind = pieces.next().unwrap_or_default().to_ascii_lowercase();
                if kind.is_empty() {
                    continue;
                }
                let quality = pieces
                    .find_map(|piece| piece.strip_prefix("q=").or_else(|| piece.strip_prefix("Q=")))
                    .map_or(1.0, |quality| quality.parse().unwrap_or(0.0));
                wanted.push(Wanted { kind, quality });
            }
        }
        Self(wanted)
    }

    /// How much a type is wanted: by its most specific entry; 1 when nothing is said at all.
    pub(crate) fn quality(&self, kind: &str) -> f32 {
        if self.0.is_empty() {
            return 1.0;
        }
        let family = kind.split_once('/').map(|(family, _)| format!("{family}/*")).unwrap_or_default();
        let of = |name: &str| self.0.iter().find(|wanted| wanted.kind == name).map(|wanted| wanted.quality);
        of(kind).or_else(|| of(&family)).or_else(|| of("*/*")).unwrap_or(0.0)
    }

    /// Whether the type is named, and not only covered.
    pub(crate) fn names(&self, kind: &str) -> bool {
        self.0.iter().any(|wanted| wanted.kind == kind && wanted.quality > 0.0)
    }

    /// The best of the offers, the earlier one when two are wanted as much; none when none is.
    pub(crate) fn best<'o>(&self, offers: &[&'o str]) -> Option<&'o str> {
        let mut best: Option<(&str, f32, bool)> = None;
        for offer in offers {
            let (quality, is_named) = (self.quality(offer), self.names(offer));
            let is_better = match best {
                None => quality > 0.0,
                // Who names a type means it more than one who takes all.
                Some((_, known, was_named)) => {
                    quality > known || (quality >= known && is_named && !was_named)
                }
            };
            if is_better && quality > 0.0 {
                best = Some((offer, quality, is_named));
            }
        }
        best.map(|(offer, ..)| offer)
    }
}

/// The media type of a body, in lower case, and its charset.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<(String, Option<String>)> {
    let value = headers.get(CONTENT_TYPE)?;
    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    });
    Some((kind, charset))
}

/// Whether the type is JSON.
pub(crate) fn is_json(kind: &str) -> bool {
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// Types that a form of any web page can send.
pub(crate) fn is_simple(kind: &str) -> bool {
    matches!(kind, "text/plain" | "application/x-www-form-urlencoded" | "multipart/form-data")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &str) -> Accept {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, text.parse().unwrap());
        Accept::of(&headers)
    }

    #[test]
    fn the_best_offer_is_the_one_that_is_wanted_most() {
        let offers = ["application/x-ndjson", "text/event-stream", "application/json"];
        assert_eq!(Accept::default().best(&offers), Some(offers[0]));
        assert_eq!(accept("*/*").best(&offers), Some(offers[0]));
        assert_eq!(accept("text/event-stream").best(&offers), Some(offers[1]));
        assert_eq!(accept("text/html, application/json;q=0.5, */*;q=0.1").best(&offers), Some(offers[2]));
        assert_eq!(accept("application/json, */*").best(&offers), Some(offers[2]));
        assert_eq!(accept("application/*").best(&offers), Some(offers[0]));
        assert_eq!(accept("text/html").best(&offers), None);
        assert_eq!(accept("application/json;q=0, text/*").best(&offers), Some(offers[1]));
        assert_eq!(accept("*/*;q=0").best(&offers), None);
    }
}
