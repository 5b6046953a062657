//! Headers on their way in and out.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::metadata::{OWN, bin};
use crate::options::Options;
use crate::status::Failure;

/// Longest request id that is kept.
const REQUEST_ID: usize = 128;
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const X_REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

/// Headers that go to the backend under their own names.
const FORWARDED: [&str; 8] = [
    "authorization",
    "x-api-key",
    "x-request-id",
    "traceparent",
    "tracestate",
    "accept-language",
    "idempotency-key",
    "if-match",
];

/// What a request says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) request_id: String,
    pub(crate) traceparent: String,
    /// The trace began elsewhere, and its state belongs to it.
    is_traced: bool,
}

impl Named {
    /// The names that came with a request, or new ones.
    pub(crate) fn of(headers: &HeaderMap, options: &Options) -> Self {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let request_id = text(&X_REQUEST_ID)
            .filter(|id| {
                (1..=REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
            })
            .map_or_else(|| (options.source.request_id)(), str::to_owned);
        let is_single = headers.get_all(&TRACEPARENT).iter().count() == 1;
        let known = text(&TRACEPARENT).filter(|_| is_single).and_then(trace);
        let is_traced = known.is_some();
        let traceparent = known.unwrap_or_else(|| {
            let random = (options.source.trace_id)().max(1);
            let span = (random >> 64 | random) & u128::from(u64::MAX);
            format!("00-{random:032x}-{:016x}-01", span.max(1))
        });
        Self { request_id, traceparent, is_traced }
    }

    pub(crate) fn trace_id(&self) -> String {
        self.traceparent.split('-').nth(1).unwrap_or_default().to_owned()
    }
}

/// A `traceparent` that came, in the version that we write: <https://www.w3.org/TR/trace-context/>.
fn trace(parent: &str) -> Option<String> {
    let mut parts = parent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it))
    };
    let is_good = is_hex(version, 2)
        && version != "ff"
        && (version != "00" || parts.next().is_none())
        && is_hex(trace, 32)
        && is_hex(span, 16)
        && is_hex(flags, 2)
        && trace.bytes().any(|it| it != b'0')
        && span.bytes().any(|it| it != b'0');
    is_good.then(|| format!("00-{trace}-{span}-{flags}"))
}

/// Headers of a request → metadata of a call.
pub(crate) fn to_metadata(
    headers: &HeaderMap,
    options: &Options,
    named: &Named,
) -> Result<HeaderMap, Failure> {
    let mut metadata = HeaderMap::with_capacity(12);
    let by_connection: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for (name, value) in headers {
        let text = name.as_str();
        if by_connection.iter().any(|hop| hop == text) {
            continue;
        }
        // The state of a trace that was not understood is nobody's.
        if text == "tracestate" && !named.is_traced {
            continue;
        }
        if FORWARDED.contains(&text) {
            metadata.append(name.clone(), value.clone());
            continue;
        }
        let Some(own) = text.strip_prefix("grpc-metadata-") else { continue };
        let is_reserved = own.is_empty()
            || own.starts_with("grpc-")
            || own.starts_with("x-envoy-")
            || own.starts_with(&options.header_prefix)
            || OWN.contains(&own)
            // What has a header of its own has one value: that one.
            || (FORWARDED.contains(&own) && headers.contains_key(own));
        let Ok(name) = HeaderName::from_bytes(own.as_bytes()) else { continue };
        if is_reserved {
            continue;
        }
        if own.ends_with("-bin") {
            // Several values may stand in one line.
            for one in value.as_bytes().split(|byte| *byte == b',') {
                let decoded = bin(one.trim_ascii())
                    .ok_or_else(|| Failure::field(text, "a `-bin` header holds base64"))?;
                let encoded = data_encoding::BASE64_NOPAD.encode(&decoded);
                let encoded =
                    HeaderValue::from_str(&encoded).map_err(|_| Failure::field(text, "it is no header"))?;
                metadata.append(name.clone(), encoded);
            }
        } else {
            metadata.append(name, value.clone());
        }
    }
    let set = |metadata: &mut HeaderMap, name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            metadata.insert(name, value);
        }
    };
    set(&mut metadata, X_REQUEST_ID, &named.request_id);
    set(&mut metadata, TRACEPARENT, &named.traceparent);
    if let Some(agent) = headers.get(header::USER_AGENT) {
        metadata.insert(header::USER_AGENT, agent.clone());
    }
    metadata.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    metadata.insert(header::TE, HeaderValue::from_static("trailers"));
    Ok(metadata)
}

/// The deadline that a request asks for, within what the method may take.
pub(crate) fn deadline(headers: &HeaderMap, most: Option<Duration>) -> Result<Option<Duration>, Failure> {
    let mut shortest = most;
    for (name, read, wanted) in [
        (
            &GRPC_TIMEOUT,
            grpc_timeout as fn(&str) -> Option<Duration>,
            "it is not up to eight digits and one of H, M, S, m, u, n",
        ),
        (&X_REQUEST_TIMEOUT, seconds, "it is not seconds such as 0.5"),
    ] {
        for value in headers.get_all(name) {
            let span = value.to_str().ok().and_then(read);
            let span = span.ok_or_else(|| Failure::field(name.as_str(), wanted))?;
            shortest = Some(shortest.map_or(span, |known| known.min(span)));
        }
    }
    Ok(shortest)
}

fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

fn seconds(text: &str) -> Option<Duration> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && text.starts_with(|letter: char| letter.is_ascii_digit())
        && !text.ends_with('.');
    let value: f64 = text.parse().ok().filter(|_| is_decimal)?;
    // Longer than can be said is as long as can be.
    Some(Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX))
}

/// A deadline as gRPC says it.
pub(crate) fn timeout_value(deadline: Duration) -> HeaderValue {
    let micros = deadline.as_micros();
    let text = if micros < 100_000_000 {
        format!("{micros}u")
    } else {
        format!("{}S", deadline.as_secs().min(99_999_999))
    };
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("1S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(given: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_what_is_on_the_list_goes_to_the_backend() {
        let given = headers(&[
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("x-envoy-y", "1"),
            ("grpc-status", "0"),
            ("grpc-metadata-tenant", "t"),
            ("grpc-metadata-grpc-status", "0"),
            ("grpc-metadata-x-rest-y", "1"),
            ("x-rest-unknown-fields", "ignore"),
            ("grpc-metadata-k-bin", "AQI="),
            ("connection", "close, x-api-key"),
            ("x-api-key", "secret"),
            ("user-agent", "me"),
            ("grpc-metadata-host", "evil"),
            ("grpc-metadata-authorization", "Bearer y"),
            ("tracestate", "of=nobody"),
            ("grpc-metadata-list-bin", "AQI=,AwQ"),
        ]);
        let options = Options::default();
        let named = Named::of(&given, &options);
        let metadata = to_metadata(&given, &options, &named).unwrap();
        let mut names: Vec<&str> = metadata.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected = [
            "authorization",
            "content-type",
            "k-bin",
            "list-bin",
            "te",
            "tenant",
            "traceparent",
            "user-agent",
            "x-request-id",
        ];
        assert_eq!(names, expected);
        assert_eq!(metadata["k-bin"], "AQI");
        assert_eq!(metadata["authorization"], "Bearer x");
        assert_eq!(metadata.get_all("list-bin").iter().collect::<Vec<_>>(), ["AQI", "AwQ"]);
        let bad = headers(&[("grpc-metadata-k-bin", "%")]);
        assert!(to_metadata(&bad, &options, &named).is_err());
    }

    #[test]
    fn names_are_kept_or_made() {
        let options = Options::default();
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let named = Named::of(&headers(&[("x-request-id", "job-7"), ("traceparent", good)]), &options);
        assert_eq!((named.request_id.as_str(), named.traceparent.as_str()), ("job-7", good));
        assert_eq!(named.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let next = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert_eq!(Named::of(&headers(&[("traceparent", next)]), &options).traceparent, good);
        let state = headers(&[("traceparent", good), ("tracestate", "a=b")]);
        let metadata = to_metadata(&state, &options, &Named::of(&state, &options)).unwrap();
        assert_eq!(metadata["tracestate"], "a=b");
        let twice = headers(&[("traceparent", good), ("traceparent", next)]);
        assert_ne!(Named::of(&twice, &options).traceparent, good);
        let long = "x".repeat(129);
        for (id, parent) in
            [(long.as_str(), "00-0-0-01"), ("a b", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
        {
            let named = Named::of(&headers(&[("x-request-id", id), ("traceparent", parent)]), &options);
            assert_eq!(named.request_id.len(), 36);
            assert_ne!(named.traceparent, parent);
            assert_eq!(named.trace_id().len(), 32);
        }
    }

    #[test]
    fn the_shortest_deadline_holds() {
        let of = |given: &[(&str, &str)], most| deadline(&headers(given), most).map_err(|it| it.message);
        let ms = Duration::from_millis;
        assert_eq!(of(&[], None), Ok(None));
        assert_eq!(of(&[("x-request-timeout", "0.1")], None), Ok(Some(ms(100))));
        assert_eq!(of(&[("x-request-timeout", "5"), ("grpc-timeout", "200m")], None), Ok(Some(ms(200))));
        let twice = [("x-request-timeout", "5"), ("x-request-timeout", "0.2")];
        assert_eq!(of(&twice, None), Ok(Some(ms(200))));
        assert_eq!(of(&[("grpc-timeout", "2H")], Some(ms(50))), Ok(Some(ms(50))));
        let endless = "9".repeat(400);
        for long in ["9999999999999999999", "18446744073709551616", "99999999999999999999999999.5", &endless]
        {
            assert_eq!(of(&[("x-request-timeout", long)], Some(ms(50))), Ok(Some(ms(50))), "{long}");
            assert!(of(&[("x-request-timeout", long)], None).unwrap().unwrap().as_secs() > 1 << 60, "{long}");
        }
        for bad in ["", "-1", "NaN", "inf", "1s", "1e3", ".", ".5", "5.", "1.2.3", "+1"] {
            assert!(of(&[("x-request-timeout", bad)], None).is_err(), "{bad}");
        }
        for bad in ["", "1", "S", "123456789S", "1x", "-1S", "1.5S", "é"] {
            let value = HeaderValue::from_bytes(bad.as_bytes()).unwrap();
            let mut given = HeaderMap::new();
            given.insert("grpc-timeout", value);
            assert!(deadline(&given, None).is_err(), "{bad}");
        }
    }
}
