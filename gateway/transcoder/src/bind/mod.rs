//! From the parts of a request to the bytes of a message: variables of the path,
//! query, headers with a meaning, and the body. Nothing of them overrides another:
//! what is said twice has to be said the same.

pub(crate) mod text;

use clos_protojson::parse::{self, How};
use clos_protojson::print::Filter;
use clos_protojson::schema::{Card, Field, Kind, MaskOf, MessageId, Scalar, Schema, Shape};
use clos_protojson::wire::{self, Raw, Reader};
use clos_protojson::{Violation, shown};
use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH};

use self::text::{Keep, decode};
use crate::route::{Body, Route, is_mask};

/// How deep a path of a query may go.
const PATH_DEPTH: usize = 64;

/// What the URL and the headers say.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    /// Fields on the wire, to be written after those of the body.
    pub(crate) bytes: Vec<u8>,
    pub(crate) filter: Option<Filter>,
    pub(crate) pretty: bool,
    /// `update_mask` was given.
    pub(crate) has_mask: bool,
    /// What the path, the query and headers set: numbers on the way, name, the field's own bytes.
    fixed: Vec<Fixed>,
    /// Lists and maps that the query fills.
    many: Vec<(Vec<u32>, String)>,
    singles: Vec<Vec<u32>>,
    oneofs: Vec<(Vec<u32>, u16, u32)>,
}

#[derive(Debug)]
struct Fixed {
    numbers: Vec<u32>,
    name: String,
    /// The last field with its tag.
    own: Vec<u8>,
}

struct Binder<'s> {
    schema: &'s Schema,
    route: &'s Route,
    bound: Bound,
    violations: Vec<Violation>,
}

/// Binds path, query and headers.
pub(crate) fn head(
    schema: &Schema,
    route: &Route,
    segments: &[&str],
    query: &str,
    headers: &HeaderMap,
    most: usize,
) -> Result<Bound, Vec<Violation>> {
    let mut binder = Binder { schema, route, bound: Bound::default(), violations: Vec::new() };
    binder.path(segments);
    binder.query(query, most);
    binder.headers(headers);
    if binder.violations.is_empty() { Ok(binder.bound) } else { Err(binder.violations) }
}

impl<'s> Binder<'s> {
    fn bad(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.violations.push(Violation::new(field, description));
    }

    fn path(&mut self, segments: &[&str]) {
        let (schema, route) = (self.schema, self.route);
        for (bound, variable) in route.variables.iter().zip(&route.template.variables) {
            let raw = segments[route.template.range(variable, segments.len())].join("/");
            let keep = if variable.is_multi { Keep::Slash } else { Keep::Nothing };
            let value = match decode(&raw, false, keep) {
                Ok(value) => value,
                Err(why) => {
                    self.bad(&bound.path, format!("`{}`: {why}", shown(&raw)));
                    continue;
                }
            };
            let field = &schema.message(bound.owner).fields[bound.index];
            self.set(&bound.numbers, &bound.path, field, &value);
        }
    }

    /// Sets a field that the body may repeat but not change.
    fn set(&mut self, numbers: &[u32], name: &str, field: &Field, value: &str) {
        let mut own = Vec::new();
        if let Err(why) = self.text(field, value, &mut own) {
            return self.bad(name, why);
        }
        if self.claim_above(numbers, name) {
            self.claim(numbers, name, field);
        }
        self.put(numbers, &own);
        self.bound.fixed.push(Fixed { numbers: numbers.to_vec(), name: name.to_owned(), own });
    }

    /// Writes a field at the end of a way.
    fn put(&mut self, numbers: &[u32], own: &[u8]) {
        let above = &numbers[..numbers.len() - 1];
        put_below(self.schema, Some(self.route.request), &mut self.bound.bytes, above, own);
    }

    /// A value of the URL.
    fn text(&self, field: &Field, text: &str, out: &mut Vec<u8>) -> Result<(), String> {
        if !is_mask(self.schema, field) {
            return parse::text_value(self.schema, field, text, out);
        }
        let paths =
            parse::mask_paths(text).ok_or_else(|| format!("`{}` is no list of paths", shown(text)))?;
        let of = mask_of(self.schema, self.route);
        wire::put_nested(out, field.number, |out| {
            for path in paths {
                wire::put_bytes(out, 1, self.schema.mask_path(of, path)?.as_bytes());
            }
            Ok(())
        })
    }

    /// Notes the oneofs on the way to a field; says so when another member of one is set.
    fn claim_above(&mut self, numbers: &[u32], name: &str) -> bool {
        let mut id = self.route.request;
        for depth in 1..numbers.len() {
            let message = self.schema.message(id);
            let Some(above) = message.by_number(numbers[depth - 1]).map(|at| &message.fields[at]) else {
                break;
            };
            if !self.claim_oneof(&numbers[..depth - 1], above, name) {
                return false;
            }
            let Some(next) = above.message() else { break };
            id = next;
        }
        true
    }

    fn claim_oneof(&mut self, parent: &[u32], field: &Field, name: &str) -> bool {
        let Some(oneof) = field.oneof else { return true };
        let known = self.bound.oneofs.iter().find(|(above, known, _)| above == parent && *known == oneof);
        match known {
            Some((.., number)) if *number != field.number => {
                self.bad(name, "it excludes another field that is set as well");
                return false;
            }
            Some(_) => {}
            None => self.bound.oneofs.push((parent.to_vec(), oneof, field.number)),
        }
        true
    }

    /// Notes that a single field is set; says so when it is already.
    fn claim(&mut self, numbers: &[u32], name: &str, field: &Field) -> bool {
        if field.is_single() {
            if self.bound.singles.iter().any(|known| known == numbers) {
                self.bad(name, "it is given twice");
                return false;
            }
            self.bound.singles.push(numbers.to_vec());
        }
        self.claim_oneof(&numbers[..numbers.len() - 1], field, name)
    }

    fn query(&mut self, query: &str, most: usize) {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        if pairs.clone().count() > most {
            return self.bad("query", format!("it has more than {most} parameters"));
        }
        let mut fields: Vec<String> = Vec::new();
        for pair in pairs {
            let (raw_name, raw_value) =
                pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value)));
            let name = match decode(raw_name, true, Keep::Nothing) {
                Ok(name) => name,
                Err(why) => {
                    self.bad(shown(raw_name), format!("the name of a query parameter: {why}"));
                    continue;
                }
            };
            let value = match raw_value.map(|raw| decode(raw, true, Keep::Nothing)).transpose() {
                Ok(value) => value,
                Err(why) => {
                    self.bad(shown(&name), format!("the value of the query parameter: {why}"));
                    continue;
                }
            };
            let is_system = matches!(&*name, "fields" | "pretty")
                && self.schema.message(self.route.request).by_name(&name).is_none();
            match (&*name, value) {
                ("fields", Some(value)) if is_system => fields.extend(value.split(',').map(str::to_owned)),
                ("fields", None) if is_system => self.bad("fields", "it names no field"),
                ("pretty", value) if is_system => match value.as_deref() {
                    None | Some("" | "true" | "1") => self.bound.pretty = true,
                    Some("false" | "0") => {}
                    Some(other) => {
                        let other = shown(other);
                        self.bad("pretty", format!("`{other}` is not true or false"));
                    }
                },
                (name, value) => self.parameter(name, value.as_deref()),
            }
        }
        if !fields.is_empty() {
            self.filter(&fields);
        }
    }

    fn filter(&mut self, fields: &[String]) {
        let route = self.route;
        let of = match route.response_body {
            None => Some(route.response),
            Some(index) => {
                let field = &self.schema.message(route.response).fields[index];
                field.message().filter(|_| !matches!(field.card, Card::Map(_)))
            }
        };
        let of = of.filter(|id| !self.schema.message(*id).shape.is_leaf());
        let mut filter = Filter::default();
        for path in fields {
            let added = match of {
                Some(id) => filter.add(self.schema, id, path.trim()),
                None => Err("the answer has no fields".to_owned()),
            };
            if let Err(why) = added {
                self.bad("fields", why);
            }
        }
        self.bound.filter = Some(filter);
    }

    fn parameter(&mut self, name: &str, value: Option<&str>) {
        let route = self.route;
        let (path, key) = match name.split_once('[') {
            Some((path, rest)) => match rest.strip_suffix(']') {
                Some(key) => (path, Some(key)),
                None => return self.bad(shown(name), "no parameter has this name"),
            },
            None => (name, None),
        };
        if path.split('.').count() > PATH_DEPTH {
            return self.bad(shown(name), format!("it is more than {PATH_DEPTH} levels deep"));
        }
        let fields = match self.schema.path(route.request, path) {
            Ok(fields) => fields,
            Err(why) => return self.bad(shown(name), format!("no parameter has this name: {why}")),
        };
        let numbers: Vec<u32> = fields.iter().map(|field| field.number).collect();
        let canonical: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let canonical = canonical.join(".");
        let field = fields[fields.len() - 1];
        if route.variables.iter().any(|variable| variable.numbers == numbers) {
            return self.bad(canonical, "the path says it already");
        }
        match route.body {
            Body::All => return self.bad(canonical, "it belongs into the body"),
            Body::Field(index) if self.schema.message(route.request).fields[index].number == numbers[0] => {
                return self.bad(canonical, "it belongs into the body");
            }
            _ => {}
        }
        // A oneof further up is decided by the way as well.
        if !self.claim_above(&numbers, &canonical) {
            return;
        }
        match field.card {
            Card::Map(of) => {
                self.bound.many.push((numbers.clone(), canonical.clone()));
                self.entry(&numbers, &canonical, field, of, key, value);
            }
            _ if key.is_some() => self.bad(shown(name), "no parameter has this name: it is no map"),
            Card::Many if field.csv && value.is_some() => {
                for part in value.unwrap_or_default().split(',') {
                    self.value(&numbers, &canonical, field, Some(part));
                }
            }
            Card::Many => self.value(&numbers, &canonical, field, value),
            Card::Implicit | Card::Optional => {
                if self.claim(&numbers, &canonical, field) {
                    self.value(&numbers, &canonical, field, value);
                }
            }
        }
    }

    fn value(&mut self, numbers: &[u32], name: &str, field: &Field, value: Option<&str>) {
        if is_mask(self.schema, field) {
            self.bound.has_mask |= numbers.len() == 1 && field.name == "update_mask";
        }
        let mut own = Vec::new();
        if let Err(why) = self.parameter_value(field, value, &mut own) {
            return self.bad(name, why);
        }
        self.put(numbers, &own);
        if field.is_single() {
            self.bound.fixed.push(Fixed { numbers: numbers.to_vec(), name: name.to_owned(), own });
        } else {
            self.bound.many.push((numbers.to_vec(), name.to_owned()));
        }
    }

    fn parameter_value(&self, field: &Field, value: Option<&str>, out: &mut Vec<u8>) -> Result<(), String> {
        let shape = field.message().map(|id| self.schema.message(id).shape);
        let is = |of: Scalar| field.kind == Kind::Scalar(of) || shape == Some(Shape::Wrapper(of));
        let text = value.or(is(Scalar::Bool).then_some("true")).ok_or("it has no value")?;
        // Of these no text has a space, so that one is a `+` that was not escaped.
        let repaired = match shape {
            Some(Shape::Timestamp) => Some(with_plus(text)),
            _ if is(Scalar::Bytes) => Some(text.replace(' ', "+")),
            _ => None,
        };
        self.text(field, repaired.as_deref().unwrap_or(text), out)
    }

    fn entry(
        &mut self,
        numbers: &[u32],
        name: &str,
        field: &Field,
        of: Scalar,
        key: Option<&str>,
        value: Option<&str>,
    ) {
        let Some(key) = key else {
            return self.bad(name, format!("it is a map: `{name}[key]=value`"));
        };
        let full = format!("{name}[{}]", shown(key));
        let mut entry = Vec::new();
        if parse::text_scalar(of, 1, key, clos_protojson::scalar::Digits::Plain, &mut entry).is_none() {
            return self.bad(full, format!("the key is not {}", of.expected()));
        }
        let mut place = numbers.to_vec();
        place.push(u32::MAX);
        let taken = self.bound.fixed.iter().any(|known| known.numbers == place && known.own == entry);
        if taken {
            return self.bad(full, "it is given twice");
        }
        self.bound.fixed.push(Fixed { numbers: place, name: full.clone(), own: entry.clone() });
        let of_value = Field::value_of(field);
        match self.parameter_value(&of_value, value, &mut entry) {
            Ok(()) => {
                let mut own = Vec::new();
                wire::put_bytes(&mut own, field.number, &entry);
                self.put(numbers, &own);
            }
            Err(why) => self.bad(full, why),
        }
    }

    fn headers(&mut self, headers: &HeaderMap) {
        const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
        const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
        let route = self.route;
        let header = |name: &HeaderName| {
            let value = headers.get(name)?;
            Some(value.to_str().map(str::trim).map_err(|_| "it is not ASCII"))
        };
        for (name, index) in [(&IF_MATCH, route.if_match), (&IDEMPOTENCY_KEY, route.idempotency)] {
            let Some(index) = index else { continue };
            match header(name) {
                Some(Ok("*")) if *name == IF_MATCH => {}
                Some(Ok(value)) => {
                    let value = if *name == IF_MATCH { unquoted(value) } else { value };
                    if *name == IF_MATCH && value.contains('"') {
                        self.bad(name.as_str(), "it is not one ETag");
                    } else {
                        self.by_header(name, index, value);
                    }
                }
                Some(Err(why)) => self.bad(name.as_str(), why),
                None => {}
            }
        }
        if let (Some(_), Some(Err(why))) = (route.resume, header(&LAST_EVENT_ID)) {
            self.bad("last-event-id", why);
        }
        if let (Some(index), Some(Ok(value))) = (route.resume, header(&LAST_EVENT_ID)) {
            // Who reconnects asks with the old URL; the later position holds.
            let field = &self.schema.message(route.request).fields[index];
            let mut own = Vec::new();
            match parse::text_value(self.schema, field, value, &mut own) {
                Ok(()) => self.bound.bytes.extend_from_slice(&own),
                Err(why) => self.bad("last-event-id", why),
            }
        }
    }

    fn by_header(&mut self, header: &HeaderName, index: usize, value: &str) {
        let field = &self.schema.message(self.route.request).fields[index];
        let mut own = Vec::new();
        wire::put_bytes(&mut own, field.number, value.as_bytes());
        let numbers = vec![field.number];
        if self.bound.singles.contains(&numbers) {
            if wire::last(&self.bound.bytes, field.number) != Some(Raw::Bytes(value.as_bytes())) {
                self.bad(header.as_str(), format!("it differs from `{}`", field.name));
            }
            return;
        }
        self.bound.bytes.extend_from_slice(&own);
        self.bound.fixed.push(Fixed { numbers, name: header.as_str().to_owned(), own });
    }
}

/// The paths of a mask are ones of what is changed, else of what is answered; where the body is the whole
/// request, also of the resource in it, since the answer may be another message.
fn mask_of(schema: &Schema, route: &Route) -> MaskOf {
    let of_body = match route.body {
        Body::Field(index) => {
            let field = &schema.message(route.request).fields[index];
            field.message().filter(|id| !is_mask(schema, field) && !schema.message(*id).shape.is_leaf())
        }
        _ => None,
    };
    MaskOf {
        message: of_body.unwrap_or(route.response),
        or_inside: (route.body == Body::All).then_some(route.request),
    }
}

fn unquoted(etag: &str) -> &str {
    let strong = etag.strip_prefix("W/").unwrap_or(etag);
    strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(strong)
}

/// `2026-11-23T10:00:00 02:00`, where a `+` became a space on its way.
fn with_plus(text: &str) -> String {
    match text.rsplit_once(' ') {
        Some((before, offset)) if offset.len() == 5 && offset.as_bytes()[2] == b':' => {
            format!("{before}+{offset}")
        }
        _ => text.to_owned(),
    }
}

/// Writes a field below others.
fn put_below(schema: &Schema, id: Option<MessageId>, out: &mut Vec<u8>, above: &[u32], own: &[u8]) {
    match above.split_first() {
        None => out.extend_from_slice(own),
        Some((number, rest)) => {
            let message = id.map(|id| schema.message(id));
            let field = message.and_then(|it| it.by_number(*number).map(|at| &it.fields[at]));
            let mut inner = Vec::new();
            put_below(schema, field.and_then(Field::message), &mut inner, rest, own);
            wire::put_message(out, *number, field.is_some_and(|field| field.is_group), &inner);
        }
    }
}

/// The value at the end of a way, if the bytes set it.
fn at<'b>(bytes: &'b [u8], numbers: &[u32]) -> Option<Raw<'b>> {
    let (first, rest) = numbers.split_first()?;
    let found = wire::last(bytes, *first)?;
    match (found, rest) {
        (found, []) => Some(found),
        (Raw::Bytes(inner) | Raw::Group(inner), rest) => at(inner, rest),
        _ => None,
    }
}

/// A message of a body that was read, with what the head says. Where the binding has no body the text is
/// the whole message: a frame of a WebSocket.
pub(crate) fn with_body(
    schema: &Schema,
    route: &Route,
    bound: &Bound,
    text: &str,
    ignore_unknown: bool,
) -> Result<Vec<u8>, Vec<Violation>> {
    let message = schema.message(route.request);
    let makes_mask = route.auto_mask.is_some() && !bound.has_mask;
    let how = How { ignore_unknown, mask: makes_mask, mask_of: Some(mask_of(schema, route)) };
    let mut bytes = match route.body {
        Body::None | Body::All => parse::message(schema, route.request, text, how)?.bytes,
        Body::Field(index) => {
            let field = &message.fields[index];
            let parsed = parse::document(schema, field, text, how)?;
            let is_bare = field.is_single() && field.message().is_some();
            let mut bytes = Vec::with_capacity(parsed.bytes.len() + 8);
            if is_bare {
                wire::put_message(&mut bytes, field.number, field.is_group, &parsed.bytes);
            } else {
                bytes = parsed.bytes;
            }
            if let (Some(mask), true) = (route.auto_mask, makes_mask) {
                let mut paths = Vec::new();
                // What the path binds says which one is changed, and is no change.
                let is_bound = |path: &str| {
                    let of_body = |bound: &str| {
                        let inside = bound.strip_prefix(&*field.name).and_then(|rest| rest.strip_prefix('.'));
                        inside == Some(path)
                    };
                    route.variables.iter().any(|variable| of_body(&variable.path))
                };
                let changed = parsed.mask.iter().filter(|path| !is_bound(path));
                changed.for_each(|path| wire::put_bytes(&mut paths, 1, path.as_bytes()));
                wire::put_bytes(&mut bytes, message.fields[mask].number, &paths);
            }
            bytes
        }
    };
    let violations = differences(schema, route, bound, &bytes);
    if !violations.is_empty() {
        return Err(violations);
    }
    bytes.extend_from_slice(&bound.bytes);
    Ok(bytes)
}

/// What a body says otherwise than the path, the query or a header.
fn differences(schema: &Schema, route: &Route, bound: &Bound, body: &[u8]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for fixed in &bound.fixed {
        let own = Reader::new(&fixed.own).field().ok().flatten().map(|(_, raw)| raw);
        match (at(body, &fixed.numbers), own) {
            (Some(said), Some(own)) if said != own => {
                violations.push(Violation::new(
                    &fixed.name,
                    "the body says otherwise than the path, the query or a header",
                ));
            }
            _ => {}
        }
    }
    for (numbers, name) in &bound.many {
        if at(body, numbers).is_some() {
            violations.push(Violation::new(name, "the query says it already"));
        }
    }
    for (above, oneof, number) in &bound.oneofs {
        let inside = if above.is_empty() { Some(Raw::Bytes(body)) } else { at(body, above) };
        let Some(Raw::Bytes(inside) | Raw::Group(inside)) = inside else { continue };
        let mut id = route.request;
        for number in above {
            let message = schema.message(id);
            let Some(next) = message.by_number(*number).and_then(|at| message.fields[at].message()) else {
                break;
            };
            id = next;
        }
        let others =
            schema.message(id).fields.iter().filter(|it| it.oneof == Some(*oneof) && it.number != *number);
        for other in others {
            if wire::last(inside, other.number).is_some() {
                violations.push(Violation::new(&other.name, "it excludes another field that is set as well"));
            }
        }
    }
    violations
}

/// A request without a body.
pub(crate) fn without_body(schema: &Schema, route: &Route, bound: &Bound) -> Result<Vec<u8>, Vec<Violation>> {
    let message = schema.message(route.request);
    let missing: Vec<Violation> = match route.body {
        Body::None => Vec::new(),
        _ if route.optional_body => Vec::new(),
        Body::All => {
            let is_bound = |field: &Field| bound.fixed.iter().any(|it| it.numbers[0] == field.number);
            let required = message.fields.iter().filter(|field| field.required && !is_bound(field));
            required
                .map(|field| Violation::new(&field.name, "it is required, and the body is empty"))
                .collect()
        }
        Body::Field(index) => {
            let field = &message.fields[index];
            let is_bound = |inner: &Field| {
                bound.fixed.iter().any(|it| it.numbers.starts_with(&[field.number, inner.number]))
            };
            let inside = field.message().filter(|_| field.is_single()).is_some_and(|id| {
                schema.message(id).fields.iter().any(|inner| inner.required && !is_bound(inner))
            });
            if field.required || inside {
                vec![Violation::new("body", "it is empty; send a JSON text")]
            } else {
                Vec::new()
            }
        }
    };
    if !missing.is_empty() {
        return Err(missing);
    }
    let mut bytes = Vec::new();
    if let Body::Field(index) = route.body {
        let field = &message.fields[index];
        // An empty body is `{}`.
        if field.is_single() && field.message().is_some() {
            wire::put_message(&mut bytes, field.number, field.is_group, &[]);
        }
        if let (Some(mask), false) = (route.auto_mask, bound.has_mask) {
            wire::put_bytes(&mut bytes, message.fields[mask].number, &[]);
        }
    }
    bytes.extend_from_slice(&bound.bytes);
    Ok(bytes)
}

/// Bytes that are no JSON, as google.api.HttpBody.
pub(crate) fn raw_body(
    schema: &Schema,
    route: &Route,
    bound: &Bound,
    content_type: &str,
    data: &[u8],
) -> Vec<u8> {
    let mut raw = Vec::with_capacity(data.len() + content_type.len() + 16);
    wire::put_bytes(&mut raw, 1, content_type.as_bytes());
    wire::put_bytes(&mut raw, 2, data);
    let mut bytes = match route.body {
        Body::Field(index) => {
            let mut bytes = Vec::with_capacity(raw.len() + 8);
            wire::put_bytes(&mut bytes, schema.message(route.request).fields[index].number, &raw);
            bytes
        }
        _ => raw,
    };
    bytes.extend_from_slice(&bound.bytes);
    bytes
}

/// Whether the body is google.api.HttpBody.
pub(crate) fn takes_raw(schema: &Schema, route: &Route) -> bool {
    let of = match route.body {
        Body::None => None,
        Body::All => Some(route.request),
        Body::Field(index) => {
            let field = &schema.message(route.request).fields[index];
            field.message().filter(|_| field.is_single())
        }
    };
    of.is_some_and(|id| schema.message(id).shape == Shape::HttpBody)
}
