//! Errors: what went wrong, once, and its form over HTTP. The only place that
//! knows which status of HTTP belongs to which code of gRPC.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use clos_protojson::json::put_string;
use clos_protojson::schema::Schema;
use clos_protojson::wire::{self, Raw, Reader};
use clos_protojson::{Violation, print, time};
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use tonic::Code;

use crate::metadata::{self, bin};
use crate::options::Options;
use crate::route::{Route, Routes};

/// A call that did not succeed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Type URL and value.
    details: Vec<(String, Vec<u8>)>,
    /// Where the code alone does not say it.
    status: Option<StatusCode>,
    pub(crate) headers: Box<HeaderMap>,
}

/// The status that code.proto gives each code.
/// <https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto>
pub(crate) fn status_of(code: Code) -> StatusCode {
    let number = match code {
        Code::Ok => 200,
        Code::Cancelled => 499,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::DeadlineExceeded => 504,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::PermissionDenied => 403,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::Unauthenticated => 401,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    };
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The code of an error that is our own.
fn code_of(status: StatusCode) -> Code {
    match status.as_u16() {
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        405 | 426 => Code::Unimplemented,
        413 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        500 => Code::Internal,
        _ => Code::InvalidArgument,
    }
}

/// The word of a code.
pub(crate) const fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

impl Failure {
    /// An error of the transcoder itself.
    pub(crate) fn own(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            code: code_of(status),
            message: message.into(),
            details: Vec::new(),
            status: Some(status),
            headers: Box::default(),
        }
    }

    /// Fields that are not as they should be.
    pub(crate) fn fields(violations: &[Violation]) -> Self {
        let message = match violations {
            [one] => format!("`{}`: {}", one.field, one.description),
            [one, rest @ ..] => {
                format!("`{}`: {}, and {} more", one.field, one.description, rest.len())
            }
            [] => "the request cannot be read".to_owned(),
        };
        let mut details = Vec::new();
        for violation in violations {
            let mut one = Vec::new();
            wire::put_bytes(&mut one, 1, violation.field.as_bytes());
            wire::put_bytes(&mut one, 2, violation.description.as_bytes());
            wire::put_bytes(&mut details, 1, &one);
        }
        Self {
            details: vec![("type.googleapis.com/google.rpc.BadRequest".to_owned(), details)],
            ..Self::own(StatusCode::BAD_REQUEST, message)
        }
    }

    /// One field that is not as it should be.
    pub(crate) fn field(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self::fields(&[Violation::new(name, description)])
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::own(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub(crate) fn late() -> Self {
        Self::own(StatusCode::GATEWAY_TIMEOUT, "the deadline passed first")
    }

    /// Nobody answers behind us.
    pub(crate) fn unreachable() -> Self {
        let mut failure =
            Self::own(StatusCode::SERVICE_UNAVAILABLE, "the backend does not answer; try again");
        failure.headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        failure
    }

    /// Whether it is that nobody answers.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.status == Some(StatusCode::SERVICE_UNAVAILABLE) && self.details.is_empty()
    }

    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Metadata that came before it are told as well.
    #[must_use]
    pub(crate) fn behind(mut self, metadata: HeaderMap) -> Self {
        let own = std::mem::replace(&mut *self.headers, metadata);
        self.headers.extend(own);
        self
    }

    /// What the trailers of a call say, when it is no success.
    pub(crate) fn of_trailers(trailers: &HeaderMap) -> Option<Self> {
        let code =
            trailers.get("grpc-status")?.to_str().ok().and_then(|code| code.trim().parse::<i32>().ok());
        let code = code.map_or(Code::Unknown, Code::from);
        if code == Code::Ok {
            return None;
        }
        let raw = trailers.get("grpc-message").map(HeaderValue::as_bytes).unwrap_or_default();
        let message = unescaped(raw);
        let details = trailers.get("grpc-status-details-bin").and_then(|value| bin(value.as_bytes()));
        let details = details.map(|bytes| details_of(&bytes)).unwrap_or_default();
        let headers = Box::new(metadata::to_headers(trailers));
        let too_large = matches!(code, Code::OutOfRange | Code::ResourceExhausted)
            && (message.contains("decoded message length too large")
                || message.contains("received message larger than max"));
        let status = too_large.then_some(StatusCode::PAYLOAD_TOO_LARGE);
        Some(Self { code, message, details, status, headers })
    }

    /// A backend that answered without gRPC.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let code = match status.as_u16() {
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502 | 503 | 504 => Code::Unavailable,
            _ => Code::Unknown,
        };
        Self {
            code,
            message: format!("the backend answered {status} and no gRPC"),
            details: Vec::new(),
            status: None,
            headers: Box::default(),
        }
    }

    /// ErrorInfo's reason.
    pub(crate) fn reason(&self) -> Option<String> {
        let info = self.detail("google.rpc.ErrorInfo")?;
        match wire::last(info, 1) {
            Some(Raw::Bytes(reason)) if !reason.is_empty() => {
                std::str::from_utf8(reason).ok().map(str::to_owned)
            }
            _ => None,
        }
    }

    fn detail(&self, name: &str) -> Option<&[u8]> {
        let found = self.details.iter().find(|(url, _)| type_name(url) == name);
        found.map(|(_, value)| value.as_slice())
    }

    /// The status over HTTP.
    pub(crate) fn status(&self, routes: &Routes, route: Option<&Route>, has_if_match: bool) -> StatusCode {
        if let Some(status) = self.status {
            return status;
        }
        if let Some(reason) = self.reason() {
            if has_if_match && self.code == Code::Aborted && reason == "ETAG_MISMATCH" {
                return StatusCode::PRECONDITION_FAILED;
            }
            let own = route.and_then(|route| route.reason_statuses.get(&reason));
            if let Some(status) = own.or_else(|| routes.reasons.get(&reason)) {
                return *status;
            }
        }
        status_of(self.code)
    }

    /// Headers that go with it.
    pub(crate) fn all_headers(&self, options: &Options) -> HeaderMap {
        let mut headers = (*self.headers).clone();
        if self.code == Code::Unauthenticated
            && let Ok(value) =
                HeaderValue::from_str(&format!("Bearer realm=\"{}\", error=\"invalid_token\"", options.realm))
        {
            headers.insert(WWW_AUTHENTICATE, value);
        }
        if let Some(delay) = self.detail("google.rpc.RetryInfo").and_then(retry_delay) {
            headers.insert(RETRY_AFTER, HeaderValue::from(delay));
        }
        headers
    }

    /// The error object.
    pub(crate) fn object(&self, schema: &Schema, about: &About) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(b"{\"code\":");
        put_string(&mut out, &self.reason().unwrap_or_else(|| word(self.code).to_owned()));
        out.extend_from_slice(b",\"message\":");
        put_string(&mut out, &self.message);
        out.extend_from_slice(b",\"details\":{");
        self.put_details(schema, &mut out);
        out.extend_from_slice(b"},\"request_id\":");
        put_string(&mut out, &about.request_id);
        out.extend_from_slice(b",\"trace_id\":");
        put_string(&mut out, &about.trace_id);
        out.extend_from_slice(b",\"timestamp\":\"");
        let since = about.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
        let millis = i32::try_from(since.subsec_millis()).unwrap_or_default();
        let _ = time::put_timestamp(&mut out, seconds, millis * 1_000_000);
        out.extend_from_slice(b"\"}");
        out
    }

    fn put_details(&self, schema: &Schema, out: &mut Vec<u8>) {
        let mut members: Vec<(String, Vec<u8>)> = Vec::new();
        let mut other: Vec<Vec<u8>> = Vec::new();
        for (url, value) in &self.details {
            let name = type_name(url);
            let printed = schema.find(name).and_then(|id| {
                let mut text = Vec::new();
                print::message(schema, id, value, None, &mut text).ok()?;
                Some(text)
            });
            let pick = |field: &str| {
                let text = printed.as_ref()?;
                let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text).ok()?;
                parsed.get(field).map(|value| value.to_string().into_bytes())
            };
            let own: Vec<(String, Vec<u8>)> = match name {
                "google.rpc.BadRequest" => vec![("field_violations".to_owned(), violations(value))],
                "google.rpc.ErrorInfo" => pick("metadata")
                    .filter(|text| text != b"{}")
                    .map(|text| ("metadata".to_owned(), text))
                    .into_iter()
                    .collect(),
                "google.rpc.ResourceInfo" => match &printed {
                    Some(text) => vec![("resource".to_owned(), text.clone())],
                    None => Vec::new(),
                },
                _ if name.starts_with("google.") => Vec::new(),
                _ => match &printed {
                    Some(text) => {
                        match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(text) {
                            Ok(fields) => fields
                                .into_iter()
                                .map(|(name, value)| (name, value.to_string().into_bytes()))
                                .collect(),
                            Err(_) => Vec::new(),
                        }
                    }
                    None => Vec::new(),
                },
            };
            let is_free =
                own.iter().all(|(name, _)| name != "other" && members.iter().all(|(known, _)| known != name));
            let is_spent = name == "google.rpc.ErrorInfo" || !own.is_empty();
            if is_spent && is_free {
                members.extend(own);
                continue;
            }
            let mut any = Vec::new();
            wire::put_bytes(&mut any, 1, url.as_bytes());
            wire::put_bytes(&mut any, 2, value);
            other.push(any_text(schema, &any, url, value));
        }
        if !other.is_empty() {
            members.push(("other".to_owned(), [b"[".as_slice(), &other.join(&b','), b"]"].concat()));
        }
        for (at, (name, text)) in members.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            put_string(out, name);
            out.push(b':');
            out.extend_from_slice(text);
        }
    }

    /// The same as google.rpc.Status.
    pub(crate) fn rpc_status(&self, schema: &Schema) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(format!("{{\"code\":{},\"message\":", self.code as i32).as_bytes());
        put_string(&mut out, &self.message);
        out.extend_from_slice(b",\"details\":[");
        for (at, (url, value)) in self.details.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            let mut any = Vec::new();
            wire::put_bytes(&mut any, 1, url.as_bytes());
            wire::put_bytes(&mut any, 2, value);
            out.extend_from_slice(&any_text(schema, &any, url, value));
        }
        out.extend_from_slice(b"]}");
        out
    }
}

/// What an error tells of its request.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) request_id: String,
    pub(crate) trace_id: String,
    pub(crate) now: SystemTime,
}

/// The JSON of an Any; of one that cannot be read, its bytes.
fn any_text(schema: &Schema, any: &[u8], url: &str, value: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let printed =
        schema.find("google.protobuf.Any").map(|id| print::message(schema, id, any, None, &mut text));
    if matches!(printed, Some(Ok(()))) {
        return text;
    }
    text.clear();
    text.extend_from_slice(b"{\"@type\":");
    put_string(&mut text, url);
    text.extend_from_slice(b",\"value\":\"");
    text.extend_from_slice(data_encoding::BASE64.encode(value).as_bytes());
    text.extend_from_slice(b"\"}");
    text
}

fn violations(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![b'['];
    let mut reader = Reader::new(bytes);
    while let Ok(Some((number, raw))) = reader.field() {
        let (1, Raw::Bytes(one)) = (number, raw) else { continue };
        if out.len() > 1 {
            out.push(b',');
        }
        let text = |number| match wire::last(one, number) {
            Some(Raw::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        out.extend_from_slice(b"{\"field\":");
        put_string(&mut out, &text(1));
        out.extend_from_slice(b",\"description\":");
        put_string(&mut out, &text(2));
        out.push(b'}');
    }
    out.push(b']');
    out
}

/// Whole seconds, rounded up.
fn retry_delay(info: &[u8]) -> Option<u64> {
    let Some(Raw::Bytes(delay)) = wire::last(info, 1) else { return None };
    let part = |number| match wire::last(delay, number) {
        Some(Raw::Varint(value)) => value.cast_signed(),
        _ => 0,
    };
    let (seconds, nanos) = (part(1), part(2));
    u64::try_from(seconds + i64::from(nanos > 0)).ok()
}

fn type_name(url: &str) -> &str {
    url.rsplit_once('/').map_or(url, |(_, name)| name)
}

/// The details of an encoded google.rpc.Status.
fn details_of(status: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut details = Vec::new();
    let mut reader = Reader::new(status);
    while let Ok(Some((number, raw))) = reader.field() {
        let (3, Raw::Bytes(any)) = (number, raw) else { continue };
        let url = match wire::last(any, 1) {
            Some(Raw::Bytes(url)) => String::from_utf8_lossy(url).into_owned(),
            _ => continue,
        };
        let value = match wire::last(any, 2) {
            Some(Raw::Bytes(value)) => value.to_vec(),
            _ => Vec::new(),
        };
        details.push((url, value));
    }
    details
}

/// Decodes a percent-encoded message; what is no escape stays.
fn unescaped(raw: &[u8]) -> String {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        let digit = |at: usize| raw.get(at).and_then(|it| char::from(*it).to_digit(16));
        if byte == b'%'
            && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
            && let Ok(value) = u8::try_from(high << 4 | low)
        {
            out.push(value);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The frame of a message on the wire of gRPC: a flag, a length, the bytes.
pub(crate) fn framed(message: &[u8]) -> Option<Bytes> {
    let length = u32::try_from(message.len()).ok()?;
    let mut frame = Vec::with_capacity(message.len() + 5);
    frame.push(0);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    Some(frame.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_decoded_and_details_need_no_padding() {
        assert_eq!(unescaped(b"a%20b%C3%A9%zz%"), "a bé%zz%");
        assert_eq!(bin(b"AQI="), Some(vec![1, 2]));
        assert_eq!(bin(b"AQI"), Some(vec![1, 2]));
        assert_eq!(bin(b"?"), None);
    }

    #[test]
    fn every_code_has_a_status_and_a_word() {
        let all: Vec<(u16, &str)> =
            (0..17).map(Code::from).map(|code| (status_of(code).as_u16(), word(code))).collect();
        assert_eq!(all[5], (404, "NOT_FOUND"));
        assert_eq!(all[1].0, 499);
        assert!(all.iter().all(|(status, _)| (200..600).contains(status)));
    }

    #[test]
    fn a_delay_is_rounded_up() {
        let info = |seconds: u8, nanos: u8| [&[0x0a, 4, 8, seconds, 0x10, nanos][..]].concat();
        assert_eq!(retry_delay(&info(2, 0)), Some(2));
        assert_eq!(retry_delay(&info(2, 1)), Some(3));
        assert_eq!(retry_delay(&[]), None);
    }
}
