//! What is served beside the routes: the OpenAPI document, and a page that shows it
//! and sends requests. All of it is in the program; a browser loads nothing from elsewhere.

use bytes::Bytes;
use clos_transcoder::Document;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LOCATION,
};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use tonic::body::Body;

/// The document of what is served.
#[derive(Debug, Clone)]
pub struct Openapi {
    /// What it says of the whole.
    pub about: Document,
    /// Where it is: `/v1/openapi.json`.
    pub path: String,
}

/// Where the page is to which a browser at `/` is sent.
const HOME: &str = "/docs";

/// A thing that does not change while we run.
#[derive(Debug, Clone)]
struct Page {
    paths: Vec<String>,
    kind: &'static str,
    bytes: Bytes,
    etag: HeaderValue,
}

/// All of them.
#[derive(Debug, Clone)]
pub(crate) struct Pages(std::sync::Arc<[Page]>);

impl Pages {
    /// The document by its path, and the page that shows it.
    pub(crate) fn new(path: &str, document: &serde_json::Value) -> Self {
        let page = |paths: &[&str], kind, bytes: Bytes| {
            let etag = HeaderValue::from_str(&format!("\"{:016x}\"", digest(&bytes)));
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            Page { paths, kind, bytes, etag: etag.unwrap_or(HeaderValue::from_static("\"0\"")) }
        };
        let text = |text: &'static str| Bytes::from_static(text.as_bytes());
        // The path is quoted in the page, which finds the document by it.
        let quoted = path.replace('&', "&amp;").replace('"', "&quot;");
        let index = include_str!("docs/index.html").replace("{openapi}", &quoted);
        Self(std::sync::Arc::from([
            page(&[path], "application/json", document.to_string().into()),
            page(&["/docs", "/docs/"], "text/html; charset=utf-8", index.into()),
            page(&["/docs/icon.svg"], "image/svg+xml", text(include_str!("docs/icon.svg"))),
            page(&["/docs/docs.css"], "text/css; charset=utf-8", text(include_str!("docs/docs.css"))),
            page(&["/docs/docs.js"], "text/javascript; charset=utf-8", text(include_str!("docs/docs.js"))),
        ]))
    }

    /// The page at a path, if there is one.
    pub(crate) fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
        let page = self.0.iter().find(|page| page.paths.iter().any(|known| known == path))?;
        if let Some(other) = other_method(method, headers) {
            return Some(other);
        }
        let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_known = known.split(',').any(|etag| etag.trim().trim_start_matches("W/") == page.etag);
        let mut response = if is_known {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            Response::new(Body::new(Full::new(page.bytes.clone())))
        };
        let own = response.headers_mut();
        own.insert(CONTENT_TYPE, HeaderValue::from_static(page.kind));
        own.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        own.insert(ETAG, page.etag.clone());
        Some(response)
    }
}

/// The answer at `/`, for an API that has nothing there itself.
pub(crate) fn home(method: &Method, headers: &HeaderMap) -> Response<Body> {
    if let Some(other) = other_method(method, headers) {
        return other;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(HOME));
    response
}

/// The answer to whoever does not read what can only be read.
pub(crate) fn other_method(method: &Method, headers: &HeaderMap) -> Option<Response<Body>> {
    let mut response = match *method {
        Method::GET | Method::HEAD => return None,
        Method::OPTIONS => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        _ => {
            let message = format!("{method} is not served here; allowed: GET, HEAD, OPTIONS");
            let options = clos_transcoder::Options::default();
            clos_transcoder::refusal(StatusCode::METHOD_NOT_ALLOWED, None, &message, headers, &options)
        }
    };
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    Some(response)
}

/// FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>: tells versions apart, guards nothing.
fn digest(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_and_nothing_else() {
        let pages = Pages::new("/v1/\"api\".json", &serde_json::json!({"openapi": "3.1.0"}));
        let ask = |method: &Method, path, etag: Option<&HeaderValue>| {
            let mut headers = HeaderMap::new();
            headers.extend(etag.map(|etag| (IF_NONE_MATCH, etag.clone())));
            pages.answer(method, path, &headers)
        };
        for path in
            ["/v1/\"api\".json", "/docs", "/docs/", "/docs/docs.js", "/docs/docs.css", "/docs/icon.svg"]
        {
            let page = ask(&Method::GET, path, None).unwrap();
            assert_eq!(page.status(), 200);
            let again = ask(&Method::GET, path, Some(&page.headers()[ETAG])).unwrap();
            assert_eq!(again.status(), 304);
            assert_eq!(ask(&Method::POST, path, None).unwrap().status(), 405);
            assert_eq!(ask(&Method::OPTIONS, path, None).unwrap().status(), 204);
        }
        assert!(ask(&Method::GET, "/docs/other", None).is_none());
        let home = home(&Method::GET, &HeaderMap::new());
        let target = home.headers()[LOCATION].to_str().unwrap();
        assert_eq!(
            (home.status().as_u16(), ask(&Method::GET, target, None).unwrap().status().as_u16()),
            (307, 200)
        );
    }
}
