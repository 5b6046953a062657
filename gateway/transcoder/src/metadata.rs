//! Metadata of gRPC as headers of HTTP: what of it is told, and its binary values.

use http::header::HeaderMap;

/// Headers that belong to a connection, or are written anew.
pub(crate) const OWN: [&str; 14] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-connection",
    "content-type",
    "content-length",
    "content-encoding",
    "date",
    "host",
];

/// Metadata of an answer → headers.
pub(crate) fn to_headers(metadata: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in metadata {
        let text = name.as_str();
        if text.starts_with("grpc-") || text.ends_with("-bin") || OWN.contains(&text) {
            continue;
        }
        headers.append(name.clone(), value.clone());
    }
    headers
}

/// Decodes the value of a `-bin` header, padded or not.
pub(crate) fn bin(value: &[u8]) -> Option<Vec<u8>> {
    let end = value.iter().rposition(|byte| *byte != b'=').map_or(0, |at| at + 1);
    data_encoding::BASE64_NOPAD.decode(&value[..end]).ok()
}
