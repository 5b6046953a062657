//! Routes: compiled at the start from the annotations of a pool, with every
//! fault of them told by the names of its methods.

pub(crate) mod multiplex;
pub(crate) mod router;
pub(crate) mod template;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use clos_protojson::schema::{Card, Field, Kind, MessageId, Scalar, Schema, Shape};
use http::{Method, StatusCode, Uri};
use prost_reflect::{DescriptorPool, MethodDescriptor};

use self::router::Router;
use self::template::Template;
use crate::options::Options;
use crate::rules::{Framing, HttpRule, MethodRules, Rules};

/// One way to call a method.
#[derive(Debug)]
pub(crate) struct Route {
    /// `/package.Service/Method`, the path on the wire.
    pub(crate) rpc: Uri,
    pub(crate) verb: String,
    pub(crate) template: Template,
    /// The template as text, for figures and documents.
    pub(crate) shown: Arc<str>,
    pub(crate) variables: Vec<Bound>,
    pub(crate) body: Body,
    pub(crate) request: MessageId,
    pub(crate) response: MessageId,
    pub(crate) response_body: Option<usize>,
    pub(crate) is_client_stream: bool,
    pub(crate) is_server_stream: bool,
    pub(crate) success: StatusCode,
    pub(crate) location: Option<Template>,
    /// Index of the request's field.
    pub(crate) if_match: Option<usize>,
    pub(crate) idempotency: Option<usize>,
    pub(crate) resume: Option<usize>,
    /// Index of the response's field.
    pub(crate) etag: Option<usize>,
    /// The mask that is made from the body: index of the request's field.
    pub(crate) auto_mask: Option<usize>,
    /// Index of the response's field, number of its value, status.
    pub(crate) field_statuses: Vec<(usize, i32, StatusCode)>,
    pub(crate) reason_statuses: HashMap<String, StatusCode>,
    pub(crate) renditions: Vec<(String, usize)>,
    pub(crate) framing: Framing,
    pub(crate) event_id: Option<usize>,
    pub(crate) event_name: Option<usize>,
    /// The member, and the field of the request that turns collecting off.
    pub(crate) collect: Option<(String, Option<usize>)>,
    pub(crate) optional_body: bool,
    /// The etag does not tell of all of the answer.
    pub(crate) partial_etag: bool,
    pub(crate) max_body: usize,
    pub(crate) max_timeout: Option<std::time::Duration>,
    /// Asking twice does no harm: it is a GET, or the method says so itself.
    pub(crate) is_idempotent: bool,
    /// Another way to write a route that documents show already.
    pub(crate) is_alternate: bool,
    /// The descriptor, for documents.
    pub(crate) method: MethodDescriptor,
}

/// A variable of a path and the field that it fills.
#[derive(Debug)]
pub(crate) struct Bound {
    /// Numbers of the fields on the way, the last one's included.
    pub(crate) numbers: Vec<u32>,
    /// Message that has the last field, and its index there.
    pub(crate) owner: MessageId,
    pub(crate) index: usize,
    pub(crate) path: String,
}

/// What of the request the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    All,
    Field(usize),
}

/// Everything that is served.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub(crate) router: Router,
    pub(crate) routes: Vec<Route>,
    /// Pairs of templates that some paths match both.
    pub(crate) overlaps: Vec<String>,
    pub(crate) reasons: HashMap<String, StatusCode>,
}

/// A set of descriptors that cannot be served, with every reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub Vec<String>);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the descriptors cannot be served: {}", self.0.join("; "))
    }
}

impl std::error::Error for Refused {}

impl Routes {
    pub(crate) fn compile(
        pool: &DescriptorPool,
        schema: &Schema,
        options: &Options,
    ) -> Result<Self, Refused> {
        let rules = Rules::of(pool);
        let mut routes = Self { reasons: reasons(pool, schema, &rules), ..Self::default() };
        let mut faults = Vec::new();
        for service in pool.services() {
            for method in service.methods() {
                let of_method = |fault: String| format!("{}: {fault}", method.full_name());
                let Some(http) = rules.http(&method) else {
                    if let Some(prefix) = &options.auto_map {
                        let path = format!(
                            "{}/{}/{}",
                            prefix.trim_end_matches('/'),
                            service.full_name(),
                            method.name()
                        );
                        let rule = HttpRule {
                            verb: "POST".to_owned(),
                            path,
                            body: "*".to_owned(),
                            response_body: String::new(),
                        };
                        routes.add(schema, options, &method, &rule, false, &mut faults);
                    }
                    continue;
                };
                if http.is_nested {
                    faults.push(of_method(
                        "an additional binding has additional bindings of its own".to_owned(),
                    ));
                }
                let first_only = rules.documents_first_binding(&service.parent_file());
                for (at, rule) in http.rules.iter().enumerate() {
                    let is_alternate =
                        first_only && http.rules[..at].iter().any(|first| first.verb == rule.verb);
                    routes.add(schema, options, &method, rule, is_alternate, &mut faults);
                }
            }
        }
        if !faults.is_empty() {
            return Err(Refused(faults));
        }
        routes.overlaps = routes.overlapping();
        Ok(routes)
    }

    fn add(
        &mut self,
        schema: &Schema,
        options: &Options,
        method: &MethodDescriptor,
        rule: &HttpRule,
        is_alternate: bool,
        faults: &mut Vec<String>,
    ) {
        match route(schema, options, method, rule) {
            Ok(route) => {
                let route = Route { is_alternate, ..route };
                let index = self.routes.len();
                if let Err(other) = self.router.add(&route.verb, &route.template, index) {
                    let other = &self.routes[other];
                    let mut fault = format!(
                        "{}: `{} {}` is already served by {}",
                        method.full_name(),
                        route.verb,
                        route.shown,
                        other.method.full_name()
                    );
                    if other.shown != route.shown {
                        fault.push_str(&format!(
                            " as `{}`, which differs in the names of its variables only",
                            other.shown
                        ));
                    }
                    faults.push(fault);
                }
                self.routes.push(route);
            }
            Err(own) => {
                faults.extend(own.into_iter().map(|fault| format!("{}: {fault}", method.full_name())));
            }
        }
    }

    fn overlapping(&self) -> Vec<String> {
        use template::Segment::{Literal, Many, One};
        let meets = |one: &Template, other: &Template| {
            let same_length = one.segments.len() == other.segments.len();
            let has_many = one.segments.contains(&Many) || other.segments.contains(&Many);
            if one.verb != other.verb || has_many || !same_length || one.segments == other.segments {
                return false;
            }
            let pairs = || one.segments.iter().zip(&other.segments);
            let is_possible = pairs().all(|pair| match pair {
                (Literal(one), Literal(other)) => one == other,
                _ => true,
            });
            // Only where neither is the more specific one everywhere.
            let narrower = pairs().any(|pair| matches!(pair, (Literal(_), One)));
            let wider = pairs().any(|pair| matches!(pair, (One, Literal(_))));
            is_possible && narrower && wider
        };
        let mut overlaps = BTreeSet::new();
        for (at, one) in self.routes.iter().enumerate() {
            for other in &self.routes[at + 1..] {
                if meets(&one.template, &other.template) {
                    overlaps.insert(format!("`{}` and `{}`", one.shown, other.shown));
                }
            }
        }
        overlaps.into_iter().collect()
    }
}

/// The statuses that values of enums of error reasons ask for, by word.
fn reasons(pool: &DescriptorPool, schema: &Schema, rules: &Rules) -> HashMap<String, StatusCode> {
    let mut reasons = HashMap::new();
    for of in pool.all_enums() {
        let known = schema.find_enum(of.full_name());
        for value in of.values() {
            let Some(rules) = rules.reason(&value) else { continue };
            let Some(status) = rules.http_status.and_then(|status| StatusCode::from_u16(status).ok()) else {
                continue;
            };
            for word in known.spellings(value.number()) {
                reasons.insert(word, status);
            }
        }
    }
    reasons
}

fn route(
    schema: &Schema,
    options: &Options,
    method: &MethodDescriptor,
    rule: &HttpRule,
) -> Result<Route, Vec<String>> {
    let mut faults = Vec::new();
    let template = Template::parse(&rule.path)
        .map_err(|fault| vec![format!("the path `{}` is no template: {fault}", rule.path)])?;
    if rule.verb.is_empty() || (rule.verb != "*" && Method::from_bytes(rule.verb.as_bytes()).is_err()) {
        return Err(vec![format!("`{}` is no method of HTTP", rule.verb)]);
    }
    let request =
        schema.find(method.input().full_name()).ok_or_else(|| vec!["its request is unknown".to_owned()])?;
    let response =
        schema.find(method.output().full_name()).ok_or_else(|| vec!["its response is unknown".to_owned()])?;
    let (of_request, of_response) = (schema.message(request), schema.message(response));
    let rules: MethodRules = Rules::of(schema.pool()).method(method);

    let body = match rule.body.as_str() {
        "" => Body::None,
        "*" => Body::All,
        name => match of_request.by_name(name) {
            Some(index) => Body::Field(index),
            None => {
                faults.push(format!("the body `{name}` is no field of `{}`", of_request.name));
                Body::None
            }
        },
    };
    let response_body = match rule.response_body.as_str() {
        "" | "*" => None,
        name => {
            let found = of_response.by_name(name);
            if found.is_none() {
                faults.push(format!("the response body `{name}` is no field of `{}`", of_response.name));
            }
            found
        }
    };
    let mut variables = Vec::new();
    for variable in &template.variables {
        match bind(schema, request, &variable.path) {
            Ok(bound) => {
                let first = bound.numbers[0];
                if let Body::Field(index) = body
                    && bound.numbers.len() == 1
                    && of_request.fields[index].number == first
                {
                    faults.push(format!("the path binds `{}`, which is the body", variable.path));
                }
                variables.push(bound);
            }
            Err(fault) => faults.push(fault),
        }
    }
    if method.is_client_streaming() && !method.is_server_streaming() && body == Body::None {
        faults.push("it streams its requests and has no body".to_owned());
    }

    let mut named = |of: MessageId, name: &str, what: &str, text_only: bool| -> Option<usize> {
        if name.is_empty() {
            return None;
        }
        let message = schema.message(of);
        let found = message.by_name(name).filter(|index| !text_only || message.fields[*index].is_text());
        if found.is_none() {
            faults.push(format!("the {what} `{name}` is no such field of `{}`", message.name));
        }
        found
    };
    let etag = named(response, &rules.etag_field, "etag field", true);
    let if_match = named(request, &rules.if_match_field, "If-Match field", true);
    let idempotency = named(request, &rules.request_id_field, "request id field", true);
    let resume = named(request, &rules.resume_field, "resume field", false);
    let event_id = named(response, &rules.event_id_field, "event id field", false);
    let event_name = named(response, &rules.event_name_field, "event name field", false);
    let collect = rules.collect.as_ref().map(|(member, unless)| {
        (member.clone(), named(request, unless, "field that turns collecting off", false))
    });
    let renditions = rules
        .renditions
        .iter()
        .filter_map(|(kind, field)| Some((kind.clone(), named(response, field, "rendition field", true)?)))
        .collect();
    // These names have their meaning without a word.
    let usual = |of: &clos_protojson::schema::Message, name: &str| {
        of.by_name(name).filter(|at| of.fields[*at].is_text())
    };
    let success = match rules.success_status {
        Some(status) => StatusCode::from_u16(status).ok().filter(StatusCode::is_success),
        None if of_response.name == "google.protobuf.Empty" => Some(StatusCode::NO_CONTENT),
        None => Some(StatusCode::OK),
    };
    let success = success.unwrap_or_else(|| {
        faults.push("its success status is none".to_owned());
        StatusCode::OK
    });
    let location = match rules.location.as_str() {
        "" => None,
        text => match Template::parse(text) {
            Ok(location) => {
                for variable in &location.variables {
                    if let Err(fault) = schema.path(response, &variable.path) {
                        faults.push(format!("the location `{text}`: {fault}"));
                    }
                }
                Some(location)
            }
            Err(fault) => {
                faults.push(format!("the location `{text}` is no template: {fault}"));
                None
            }
        },
    };
    let mut field_statuses = Vec::new();
    for (name, value, status) in &rules.field_statuses {
        let found = of_response.by_name(name).and_then(|index| match of_response.fields[index].kind {
            Kind::Enum(id) => {
                Some((index, schema.enumeration(id).parse(value)?, StatusCode::from_u16(*status).ok()?))
            }
            _ => None,
        });
        match found {
            Some(found) => field_statuses.push(found),
            None => faults.push(format!("no status can be made of `{name}` being `{value}`")),
        }
    }
    let mut reason_statuses = HashMap::new();
    for (reason, status) in &rules.reason_statuses {
        match StatusCode::from_u16(*status) {
            Ok(status) if !reason.is_empty() => _ = reason_statuses.insert(reason.clone(), status),
            _ => faults.push(format!("the status of the reason `{reason}` is missing or none")),
        }
    }
    let makes_mask = rule.verb == "PATCH" || (rule.verb == "PUT" && rules.auto_update_mask);
    let auto_mask = match body {
        Body::Field(index) if makes_mask && of_request.fields[index].message().is_some() => {
            of_request.by_name("update_mask").filter(|at| is_mask(schema, &of_request.fields[*at]))
        }
        _ => None,
    };
    let rpc = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let rpc: Uri = rpc.parse().unwrap_or_else(|_| {
        faults.push("its name is no path".to_owned());
        Uri::default()
    });
    if !faults.is_empty() {
        return Err(faults);
    }
    let max_timeout = rules
        .timeout_ms
        .map(|milliseconds| std::time::Duration::from_millis(milliseconds.into()))
        .or(options.max_timeout);
    Ok(Route {
        rpc,
        verb: rule.verb.clone(),
        shown: template.to_string().into(),
        template,
        variables,
        body,
        request,
        response,
        response_body,
        is_client_stream: method.is_client_streaming(),
        is_server_stream: method.is_server_streaming(),
        success,
        location,
        if_match: if_match.or_else(|| usual(of_request, "etag")),
        idempotency: idempotency.or_else(|| usual(of_request, "request_id")),
        resume,
        etag: etag.or_else(|| usual(of_response, "etag")),
        auto_mask,
        field_statuses,
        reason_statuses,
        renditions,
        framing: rules.default_framing.unwrap_or_default(),
        event_id,
        event_name,
        collect,
        optional_body: rules.optional_body,
        partial_etag: rules.partial_etag,
        max_body: rules
            .max_body_bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(options.limits.body),
        max_timeout,
        is_alternate: false,
        is_idempotent: rule.verb == "GET" || is_idempotent(method),
        method: method.clone(),
    })
}

/// Whether `idempotency_level` says so.
fn is_idempotent(method: &MethodDescriptor) -> bool {
    let level =
        method.options().get_field_by_name("idempotency_level").and_then(|level| level.as_enum_number());
    matches!(level, Some(1 | 2))
}

pub(crate) fn is_mask(schema: &Schema, field: &Field) -> bool {
    field.is_single() && field.message().is_some_and(|id| schema.message(id).shape == Shape::FieldMask)
}

/// Resolves the field of a path's variable.
fn bind(schema: &Schema, request: MessageId, path: &str) -> Result<Bound, String> {
    let fields = schema.path(request, path)?;
    let mut owner = request;
    for field in &fields[..fields.len() - 1] {
        owner = field.message().ok_or_else(|| format!("`{}` has no fields", field.name))?;
    }
    let last = fields[fields.len() - 1];
    let is_bindable = match (last.card, last.kind) {
        (Card::Many | Card::Map(_), _) => false,
        (_, Kind::Scalar(_) | Kind::Enum(_)) => true,
        (_, Kind::Message(id)) => {
            matches!(
                schema.message(id).shape,
                Shape::Wrapper(_) | Shape::Timestamp | Shape::Duration | Shape::FieldMask
            )
        }
    };
    if !is_bindable || last.kind == Kind::Scalar(Scalar::Bytes) && last.card == Card::Many {
        return Err(format!("the path binds `{path}`, which is no single value"));
    }
    let index = schema.message(owner).by_name(&last.name).ok_or_else(|| format!("`{path}` is no field"))?;
    let canonical: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    Ok(Bound {
        numbers: fields.iter().map(|field| field.number).collect(),
        owner,
        index,
        path: canonical.join("."),
    })
}
