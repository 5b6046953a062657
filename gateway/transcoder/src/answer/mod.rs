//! Responses: one message, a stream of them, or a socket.

pub(crate) mod duplex;
mod frame;
pub(crate) mod multiplex;
pub(crate) mod socket;
pub(crate) mod stream;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use clos_protojson::print::{self, Filter};
use clos_protojson::schema::{Field, Kind as FieldKind, MessageId, Schema, Shape};
use clos_protojson::wire::{self, Raw};
use clos_protojson::{json, scalar};
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LOCATION,
};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use tonic::body::Body;

use crate::asked::Asked;
use crate::call::messages::Messages;
use crate::negotiate::Accept;
use crate::route::Route;
use crate::route::template::{Segment, Template};
use crate::rules::Framing;
use crate::shared::Shared;
use crate::status::{About, Failure};

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One JSON text.
    Json,
    /// A stream's messages in one object.
    Collected,
    /// A stream.
    Framed(Framing),
    /// One field of each message, a line each: index of the rendition.
    Lines(usize),
}

const NDJSON: &str = "application/x-ndjson";
const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";
const RPC_STATUS: &str = "application/vnd.google.rpc.status+json";

/// Chooses the form by what is accepted; of a collected stream also by the request's message.
pub(crate) fn kind(asked: &Asked, route: &Route, message: Option<&[u8]>) -> Result<Kind, Failure> {
    let schema = &asked.shared.schema;
    let of = |framing| match framing {
        Framing::Ndjson => NDJSON,
        Framing::EventStream => EVENTS,
        Framing::Array => JSON,
    };
    let mut offers: Vec<&str> = Vec::new();
    let mut collects = false;
    if route.is_server_stream && !is_raw(schema, route) {
        if let (Some((_, unless)), Some(message)) = (&route.collect, message) {
            let request = schema.message(route.request);
            let is_off = unless.is_some_and(|index| {
                matches!(wire::last(message, request.fields[index].number), Some(Raw::Varint(value)) if value != 0)
            });
            collects = !is_off;
        }
        if collects {
            offers.push(JSON);
        }
        offers.push(of(route.framing));
        offers.extend([NDJSON, EVENTS, JSON]);
    } else {
        offers.push(JSON);
    }
    for (media_type, _) in &route.renditions {
        offers.push(media_type);
    }
    let is_raw = is_raw(schema, route);
    let best = asked.accept.best(&offers).or_else(|| {
        // Whoever wants errors as google.rpc.Status takes JSON for the rest.
        (is_raw || asked.accept.names(RPC_STATUS)).then_some(offers[0])
    });
    let Some(best) = best else {
        return Err(Failure::own(
            StatusCode::NOT_ACCEPTABLE,
            format!("Accept names none of {}", distinct(&offers)),
        ));
    };
    if let Some(index) = route.renditions.iter().position(|(media_type, _)| media_type == best) {
        return Ok(Kind::Lines(index));
    }
    Ok(match best {
        _ if !route.is_server_stream => Kind::Json,
        JSON if collects => Kind::Collected,
        NDJSON => Kind::Framed(Framing::Ndjson),
        EVENTS => Kind::Framed(Framing::EventStream),
        _ => Kind::Framed(Framing::Array),
    })
}

fn distinct(offers: &[&str]) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for offer in offers {
        if !seen.contains(offer) {
            seen.push(offer);
        }
    }
    seen.join(", ")
}

/// The message that an answer's bytes are, when it is google.api.HttpBody.
fn is_raw(schema: &Schema, route: &Route) -> bool {
    let of = match route.response_body {
        None => Some(route.response),
        Some(index) => {
            let field = &schema.message(route.response).fields[index];
            field.message().filter(|_| field.is_single())
        }
    };
    of.is_some_and(|id| schema.message(id).shape == Shape::HttpBody)
}

/// Turns messages of one call into texts.
pub(crate) struct Encoder {
    pub(crate) shared: Arc<Shared>,
    pub(crate) index: usize,
    filter: Option<Filter>,
    pretty: bool,
    about: About,
}

impl Encoder {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        index: usize,
        filter: Option<Filter>,
        pretty: bool,
        asked: &Asked,
    ) -> Self {
        Self { shared: Arc::clone(shared), index, filter, pretty, about: asked.about() }
    }

    pub(crate) fn route(&self) -> &Route {
        &self.shared.routes.routes[self.index]
    }

    /// A message's JSON, appended.
    pub(crate) fn put(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let (schema, route) = (&self.shared.schema, self.route());
        let filter = self.filter.as_ref();
        let printed = match route.response_body {
            None => print::message(schema, route.response, message, filter, out),
            Some(index) => {
                let field = &schema.message(route.response).fields[index];
                print::field(schema, field, message, filter, out)
            }
        };
        printed.map_err(|error| {
            tracing::error!(rpc = %route.rpc, %error, "the backend's answer cannot be printed");
            Failure::internal("the backend's answer cannot be printed")
        })
    }

    /// `{"error":{…}}`.
    pub(crate) fn error(&self, failure: &Failure) -> Vec<u8> {
        let about = About { now: (self.shared.options.source.now)(), ..self.about.clone() };
        let mut out = b"{\"error\":".to_vec();
        out.extend_from_slice(&failure.object(&self.shared.schema, &about));
        out.push(b'}');
        out
    }

    /// A text field of a message.
    pub(crate) fn text<'m>(&self, message: &'m [u8], index: usize) -> Cow<'m, str> {
        let field = &self.shared.schema.message(self.route().response).fields[index];
        field_text(&self.shared.schema, field, message).unwrap_or_default()
    }

    /// All messages of a stream in one object.
    pub(crate) async fn collected(&self, messages: &mut Messages) -> Result<Response<Body>, Failure> {
        let member = self.route().collect.as_ref().map(|(member, _)| member.as_str()).unwrap_or_default();
        let mut out = b"{".to_vec();
        json::put_string(&mut out, member);
        out.extend_from_slice(b":[");
        let start = out.len();
        while let Some(message) = messages.next().await {
            if out.len() > start {
                out.push(b',');
            }
            self.put(&message?, &mut out)?;
            if out.len() > self.shared.options.limits.answer {
                return Err(Failure::internal("the answer is too large for one object; ask for a stream"));
            }
        }
        out.extend_from_slice(b"]}");
        let mut response = json(StatusCode::OK, if self.pretty { json::indent(&out) } else { out });
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

/// A JSON response.
pub(crate) fn json(status: StatusCode, text: Vec<u8>) -> Response<Body> {
    let mut response = whole(status, text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

fn whole(status: StatusCode, bytes: Bytes) -> Response<Body> {
    let length = bytes.len();
    let mut response = Response::new(Body::new(Full::new(bytes)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Metadata become headers, but do not take the place of our own.
pub(crate) fn with_metadata(mut response: Response<Body>, metadata: HeaderMap) -> Response<Body> {
    let own: Vec<_> = response.headers().keys().cloned().collect();
    for (name, value) in &metadata {
        if !own.contains(name) {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    response
}

/// The response of one message.
pub(crate) fn unary(
    asked: &Asked,
    route: &Route,
    encoder: &Encoder,
    message: &[u8],
) -> Result<Response<Body>, Failure> {
    let schema = &asked.shared.schema;
    let of_response = schema.message(route.response);
    let etag = route.etag.and_then(|index| {
        let text = field_text(schema, &of_response.fields[index], message)?;
        // Some services keep the quotes in the field.
        let is_quoted =
            text.len() > 1 && text.ends_with('"') && (text.starts_with('"') || text.starts_with("W/\""));
        let quoted = if is_quoted { text.to_string() } else { format!("\"{text}\"") };
        HeaderValue::from_str(&quoted).ok().filter(|_| !text.is_empty())
    });
    let is_read = matches!(asked.head.method, Method::GET | Method::HEAD);
    if let Some(etag) = &etag
        && is_read
        && !route.partial_etag
        && is_known(&asked.head.headers, etag)
    {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().insert(ETAG, etag.clone());
        return Ok(response);
    }
    let mut response = if route.success == StatusCode::NO_CONTENT {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else if is_raw(schema, route) {
        raw(schema, route, message)
    } else if let Some(index) = rendition(asked, route) {
        let mut line = encoder.text(message, route.renditions[index].1).into_owned();
        line.push('\n');
        let mut response = whole(route.success, line.into_bytes().into());
        response.headers_mut().insert(CONTENT_TYPE, plain(&route.renditions[index].0));
        response
    } else {
        let mut text = Vec::with_capacity(message.len() * 2 + 64);
        encoder.put(message, &mut text)?;
        json(route.success, if encoder.pretty { json::indent(&text) } else { text })
    };
    for (index, number, status) in &route.field_statuses {
        let value = match wire::last(message, of_response.fields[*index].number) {
            Some(Raw::Varint(value)) => i32::try_from(value).unwrap_or(-1),
            _ => 0,
        };
        if value == *number {
            *response.status_mut() = *status;
        }
    }
    if let Some(etag) = etag {
        response.headers_mut().insert(ETAG, etag);
    }
    if let Some(location) = &route.location
        && let Some(text) = filled(schema, route.response, location, message)
        && let Ok(value) = HeaderValue::from_str(&text)
    {
        response.headers_mut().insert(LOCATION, value);
    }
    Ok(response)
}

fn rendition(asked: &Asked, route: &Route) -> Option<usize> {
    let accept: &Accept = &asked.accept;
    let mut offers = vec![JSON];
    offers.extend(route.renditions.iter().map(|(kind, _)| kind.as_str()));
    let best = accept.best(&offers)?;
    route.renditions.iter().position(|(kind, _)| kind == best)
}

fn plain(media_type: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("{media_type}; charset=utf-8"))
        .unwrap_or(HeaderValue::from_static("text/plain"))
}

/// google.api.HttpBody: its bytes as they are.
fn raw(schema: &Schema, route: &Route, message: &[u8]) -> Response<Body> {
    let body = raw_part(schema, route, message);
    let part = |number| match wire::last(body, number) {
        Some(Raw::Bytes(bytes)) => bytes,
        _ => &[],
    };
    let kind = HeaderValue::from_bytes(part(1)).ok().filter(|kind| !kind.is_empty());
    let mut response = whole(route.success, Bytes::copy_from_slice(part(2)));
    let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// The encoded HttpBody in a message.
fn raw_part<'m>(schema: &Schema, route: &Route, message: &'m [u8]) -> &'m [u8] {
    match route.response_body {
        None => message,
        Some(index) => match wire::last(message, schema.message(route.response).fields[index].number) {
            Some(Raw::Bytes(bytes)) => bytes,
            _ => &[],
        },
    }
}

/// Whether If-None-Match names the tag; both may be weak.
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let own = etag.to_str().unwrap_or_default();
    headers.get_all(IF_NONE_MATCH).iter().any(|value| {
        let value = value.to_str().unwrap_or_default();
        value
            .split(',')
            .map(str::trim)
            .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == own)
    })
}

/// A template with fields of a message in the place of its variables.
fn filled(schema: &Schema, of: MessageId, template: &Template, message: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut at = 0;
    while at < template.segments.len() {
        text.push('/');
        if let Some(variable) = template.variables.iter().find(|variable| variable.first == at) {
            let fields = schema.path(of, &variable.path).ok()?;
            let mut bytes = message;
            for field in &fields[..fields.len() - 1] {
                let Some(Raw::Bytes(inner)) = wire::last(bytes, field.number) else { return None };
                bytes = inner;
            }
            let value =
                field_text(schema, fields[fields.len() - 1], bytes).filter(|value| !value.is_empty())?;
            text.push_str(&escaped(&value, variable.is_multi));
            at += variable.count;
            continue;
        }
        match &template.segments[at] {
            Segment::Literal(literal) => text.push_str(literal),
            Segment::One | Segment::Many => return None,
        }
        at += 1;
    }
    if let Some(verb) = &template.verb {
        text.push(':');
        text.push_str(verb);
    }
    Some(text)
}

fn escaped(text: &str, keeps_slashes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_plain =
            byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (byte == b'/' && keeps_slashes);
        if is_plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A scalar or enum as text without quotes.
fn field_text<'m>(schema: &Schema, field: &Field, message: &'m [u8]) -> Option<Cow<'m, str>> {
    let raw = wire::last(message, field.number)?;
    let mut out = Vec::new();
    match field.kind {
        FieldKind::Scalar(clos_protojson::schema::Scalar::String) => {
            let Raw::Bytes(bytes) = raw else { return None };
            return std::str::from_utf8(bytes).ok().map(Cow::Borrowed);
        }
        FieldKind::Scalar(of) => scalar::print(&mut out, of, raw, true)?,
        FieldKind::Enum(id) => {
            let Raw::Varint(value) = raw else { return None };
            out.extend_from_slice(schema.enumeration(id).printed(i32::try_from(value).ok()?)?);
        }
        FieldKind::Message(_) => return None,
    }
    let text = String::from_utf8(out).ok()?;
    let bare = text.trim_matches('"');
    Some(if bare.len() < text.len() { bare.to_owned() } else { text }.into())
}
