//! OpenAPI 3.1 of what is served, from the same plans by which it is served, so
//! that the document cannot say otherwise. <https://spec.openapis.org/oas/v3.1.1>

mod names;

use std::collections::{BTreeSet, HashMap};

use clos_protojson::schema::{Card, Field, Kind, Message, Scalar, Schema, Shape};
use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, MessageDescriptor, ServiceDescriptor};
use serde_json::{Map, Value, json};

use self::names::Names;
use crate::route::{Body, Route};
use crate::rules::Rules;
use crate::shared::Shared;

/// How deep the fields of nested messages become query parameters.
const QUERY_DEPTH: usize = 3;

/// What a document says of the whole.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// Name of the API.
    pub title: String,
    /// Version of the API.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// Full names of methods that need no credentials, such as `pkg.Service.Method`; the others need a
    /// bearer token. With nothing in it no method does.
    pub open: Option<BTreeSet<String>>,
}

/// Makes the document.
pub(crate) fn document(shared: &Shared, about: &Document) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let mut segments: HashMap<String, Vec<String>> = HashMap::new();
    let mut used = BTreeSet::new();
    let served = |service: &ServiceDescriptor| {
        shared.routes.routes.iter().any(|route| route.method.parent_service() == service)
    };
    let services: Vec<_> = shared.schema.pool().services().filter(served).collect();
    let mut names = Names::of(&services);
    for route in shared.routes.routes.iter().filter(|route| !route.is_alternate) {
        let verb = route.verb.to_ascii_lowercase();
        if !["get", "put", "post", "delete", "patch", "options", "head"].contains(&verb.as_str()) {
            continue;
        }
        let place = Place::of(route, &mut segments);
        let mut operation = operation(shared, route, &place, about, &mut used);
        let item = paths.entry(place.path).or_insert_with(|| json!({}));
        // Where the path of a more specific route looks the same, that one is told of.
        if item.get(&verb).is_none() {
            operation.insert("tags".to_owned(), json!([names.tag(route.method.parent_service())]));
            operation.insert("operationId".to_owned(), json!(names.id(&route.method, &verb)));
            item[verb] = Value::Object(operation);
        }
    }
    let schemas = schemas(&shared.schema, used);
    let tags = services.iter().map(|service| {
        json!({"name": names.tag(service), "description": comment(&service.parent_file(), service.path())})
    });
    let tags: Vec<Value> = tags.collect();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {"title": about.title, "version": about.version, "description": about.description},
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {"schemas": schemas, "responses": {"Error": failure(shared)}},
    });
    if about.open.is_some() {
        document["components"]["securitySchemes"] = json!({"bearer": {"type": "http", "scheme": "bearer"}});
        document["security"] = json!([{"bearer": []}]);
    }
    let pool = shared.schema.pool();
    names::shorten(&mut document, |name| {
        let message = pool.get_message_by_name(name).map(|it| it.package_name().to_owned());
        message.or_else(|| Some(pool.get_enum_by_name(name)?.package_name().to_owned()))
    });
    document
}

/// Where a document has a route.
struct Place {
    /// Each variable is one segment: `/v1/shelves/{name_1}/books/{name_2}` for `/v1/{name=shelves/*/books/*}`.
    path: String,
    /// The names in the path, each with the index of the route's variable if it is part of one.
    parameters: Vec<(String, Option<usize>)>,
}

impl Place {
    /// `names` has the names of the paths so far. OpenAPI takes paths that differ in names alone for the same
    /// one, so that all methods of a path use those of the first.
    fn of(route: &Route, names: &mut HashMap<String, Vec<String>>) -> Self {
        use crate::route::template::Segment;
        let template = &route.template;
        let verb = template.verb.as_ref().map(|verb| format!(":{verb}")).unwrap_or_default();
        let mut parameters: Vec<(String, Option<usize>)> = Vec::new();
        for (at, segment) in template.segments.iter().enumerate() {
            if !matches!(segment, Segment::Literal(_)) {
                parameters.push(parameter_at(route, at));
            }
        }
        let filled = |names: &mut dyn Iterator<Item = &str>| {
            let segments = template.segments.iter().map(|segment| match segment {
                Segment::Literal(text) => format!("/{text}"),
                _ => format!("/{{{}}}", names.next().unwrap_or_default()),
            });
            let path: String = segments.collect();
            if path.is_empty() { "/".to_owned() } else { path + &verb }
        };
        let own = || parameters.iter().map(|(name, _)| name.clone()).collect();
        let known = names.entry(filled(&mut std::iter::empty())).or_insert_with(own);
        let path = filled(&mut known.iter().map(String::as_str));
        for ((name, _), known) in parameters.iter_mut().zip(known) {
            name.clone_from(known);
        }
        Self { path, parameters }
    }
}

/// The name of a segment that is no literal, and the variable that it belongs to.
fn parameter_at(route: &Route, at: usize) -> (String, Option<usize>) {
    use crate::route::template::Segment;
    let template = &route.template;
    let of = template
        .variables
        .iter()
        .position(|variable| (variable.first..variable.first + variable.count).contains(&at));
    let wild = |range: std::ops::Range<usize>| {
        template.segments[range].iter().filter(|it| !matches!(it, Segment::Literal(_))).count()
    };
    let name = match of.map(|index| (&template.variables[index], &route.variables[index].path)) {
        Some((variable, path)) if wild(variable.first..variable.first + variable.count) == 1 => path.clone(),
        Some((variable, path)) => format!("{path}_{}", wild(variable.first..at + 1)),
        None => format!("segment_{}", at + 1),
    };
    (name, of)
}

fn operation(
    shared: &Shared,
    route: &Route,
    place: &Place,
    about: &Document,
    used: &mut BTreeSet<String>,
) -> Map<String, Value> {
    let schema = &shared.schema;
    let text = comment(&route.method.parent_file(), route.method.path());
    let summary = text.split_inclusive(['.', ';', ':']).next().unwrap_or_default();
    let mut operation = Map::new();
    operation.insert("summary".to_owned(), json!(summary.trim_end_matches(['.', ';', ':'])));
    operation.insert("description".to_owned(), json!(text));
    let parameters = parameters(shared, route, place, used);
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), json!(parameters));
    }
    if let Some(body) = request_body(shared, route, used) {
        operation.insert("requestBody".to_owned(), body);
    }
    let mut responses = Map::new();
    responses.insert(route.success.as_u16().to_string(), success(schema, route, used));
    for (_, _, status) in &route.field_statuses {
        let mut answer = success(schema, route, used);
        answer["description"] = json!("The answer says that something is wrong.");
        responses.insert(status.as_u16().to_string(), answer);
    }
    if route.etag.is_some() && !route.partial_etag && route.verb == "GET" {
        responses.insert(
            "304".to_owned(),
            json!({
                "description": "If-None-Match names what is there already.",
                "headers": {"ETag": {"schema": {"type": "string"}}},
            }),
        );
    }
    let error = |text: &str| json!({"description": text, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}});
    responses.insert(
        "400".to_owned(),
        error("A field is not as it should be; `details.field_violations` names each."),
    );
    let needs_credentials = about.open.as_ref().is_some_and(|open| !open.contains(route.method.full_name()));
    if needs_credentials {
        responses.insert("401".to_owned(), error("No credentials, or wrong ones."));
    }
    if !route.variables.is_empty() {
        responses.insert("404".to_owned(), error("There is no such thing."));
    }
    if route.if_match.is_some() {
        responses.insert("412".to_owned(), error("It changed since it was read."));
    }
    if route.body != Body::None {
        responses
            .insert("413".to_owned(), error(&format!("The body has more than {} bytes.", route.max_body)));
        responses.insert("415".to_owned(), error("The body is of a type that is not taken here."));
    }
    if route.is_client_stream && route.is_server_stream {
        responses.insert("426".to_owned(), error("It streams both ways: ask with `Upgrade: websocket`."));
    }
    for (reason, status) in &route.reason_statuses {
        let told =
            responses.entry(status.as_u16().to_string()).or_insert_with(|| error("What the reason says."));
        told["content"]["application/json"]["examples"][reason] = example(reason);
    }
    responses.insert(
        "default".to_owned(),
        json!({"$ref": "#/components/responses/Error", "description": "What went wrong."}),
    );
    operation.insert("responses".to_owned(), Value::Object(responses));
    if about.open.as_ref().is_some_and(|open| open.contains(route.method.full_name())) {
        operation.insert("security".to_owned(), json!([]));
    }
    operation
}

/// The response of every error that has none of its own, with an example for each reason that is declared.
fn failure(shared: &Shared) -> Value {
    let schema = &shared.schema;
    let rules = Rules::of(schema.pool());
    let mut examples = Map::new();
    for of in schema.pool().all_enums() {
        let mut values: Vec<_> = of.values().collect();
        values.sort_by_key(|value| value.number());
        if !values.iter().any(|value| rules.reason(value).is_some()) {
            continue;
        }
        for value in values.iter().filter(|value| value.number() != 0) {
            let reason = schema.find_enum(of.full_name()).bare(value.number(), value.name());
            let status = shared.routes.reasons.get(&reason);
            let mut told = example(&reason);
            if let Some(status) = status {
                told["summary"] = json!(status.as_u16().to_string());
            }
            let text = comment(&of.parent_file(), value.path());
            if !text.is_empty() {
                told["description"] = json!(text);
            }
            examples.insert(reason, told);
        }
    }
    let mut media = json!({"schema": {"$ref": "#/components/schemas/Error"}});
    if !examples.is_empty() {
        media["examples"] = Value::Object(examples);
    }
    json!({"description": "What went wrong.", "content": {
        "application/json": media,
        "application/vnd.google.rpc.status+json": {"schema": {"type": "object"}},
    }})
}

fn example(reason: &str) -> Value {
    json!({"value": {
        "code": reason,
        "message": "what a person reads",
        "details": {},
        "request_id": "01900000-0000-7000-8000-000000000000",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "timestamp": "2026-11-23T10:00:00Z",
    }})
}

fn parameters(shared: &Shared, route: &Route, place: &Place, used: &mut BTreeSet<String>) -> Vec<Value> {
    let schema = &shared.schema;
    let mut parameters = Vec::new();
    for (name, of) in &place.parameters {
        let Some(index) = *of else {
            parameters
                .push(json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
            continue;
        };
        let (bound, variable) = (&route.variables[index], &route.template.variables[index]);
        let message = schema.message(bound.owner);
        let field = &message.fields[bound.index];
        // Of a variable of several segments each is a text.
        let own = if variable.is_multi { json!({"type": "string"}) } else { single(schema, field, used) };
        parameters.push(json!({
            "name": name, "in": "path", "required": true,
            "description": field_comment(schema, message, field), "schema": own,
        }));
    }
    if route.body != Body::All {
        query(schema, route, schema.message(route.request), "", &[], used, &mut parameters);
    }
    let has_fields = schema.message(route.request).by_name("fields").is_some();
    if !has_fields && !route.is_server_stream && route.success != http::StatusCode::NO_CONTENT {
        parameters.push(json!({
            "name": "fields", "in": "query", "description": "Only these fields of the answer, with commas: `a,b.c`.",
            "style": "form", "explode": false, "schema": {"type": "array", "items": {"type": "string"}},
        }));
    }
    let header = |name: &str, text: &str| json!({"name": name, "in": "header", "description": text, "schema": {"type": "string"}});
    if route.etag.is_some() && !route.partial_etag && route.verb == "GET" {
        parameters.push(header("If-None-Match", "Answers 304 while it still has this ETag."));
    }
    if route.if_match.is_some() {
        parameters.push(header("If-Match", "Only if it still has this ETag."));
    }
    if route.idempotency.is_some() {
        parameters.push(header("Idempotency-Key", "The same key again returns what the first request made."));
    }
    if route.resume.is_some() {
        parameters.push(header("Last-Event-ID", "Goes on after this event, as EventSource does by itself."));
    }
    parameters
}

fn query(
    schema: &Schema,
    route: &Route,
    message: &Message,
    prefix: &str,
    numbers: &[u32],
    used: &mut BTreeSet<String>,
    out: &mut Vec<Value>,
) {
    for (index, field) in message.fields.iter().enumerate() {
        if numbers.is_empty() && route.body == Body::Field(index) {
            continue;
        }
        let mut own = numbers.to_vec();
        own.push(field.number);
        if route.variables.iter().any(|bound| bound.numbers == own) {
            continue;
        }
        let name = format!("{prefix}{}", printed(field));
        let description = field_comment(schema, message, field);
        let shape = field.message().map(|id| schema.message(id).shape);
        match (field.card, shape) {
            (Card::Map(_), _) => out.push(json!({
                "name": name, "in": "query", "style": "deepObject", "explode": true, "description": description,
                "schema": {"type": "object", "additionalProperties": single(schema, &Field::value_of(field), used)},
            })),
            (Card::Implicit | Card::Optional, Some(Shape::Plain | Shape::HttpBody)) => {
                if let (Some(id), true) = (field.message(), own.len() < QUERY_DEPTH) {
                    query(schema, route, schema.message(id), &format!("{name}."), &own, used, out);
                }
            }
            (_, Some(Shape::Plain | Shape::HttpBody | Shape::Struct | Shape::Value | Shape::ListValue | Shape::Any)) => {}
            (Card::Many, _) => out.push(json!({
                "name": name, "in": "query", "style": "form", "explode": !field.csv, "description": description,
                "schema": {"type": "array", "items": single(schema, field, used)},
            })),
            _ => out.push(json!({
                "name": name, "in": "query", "required": field.required && numbers.is_empty(), "description": description,
                "schema": single(schema, field, used),
            })),
        }
    }
}

fn request_body(shared: &Shared, route: &Route, used: &mut BTreeSet<String>) -> Option<Value> {
    let schema = &shared.schema;
    let message = schema.message(route.request);
    let (content, required, is_raw) = match route.body {
        Body::None => return None,
        Body::All => {
            let required: Vec<String> = message
                .fields
                .iter()
                .filter(|field| {
                    field.required && !route.variables.iter().any(|it| it.numbers[0] == field.number)
                })
                .map(printed)
                .collect();
            let is_required = !required.is_empty();
            used.insert(message.name.clone());
            let own = reference(&message.name);
            let own = if is_required { json!({"allOf": [own, {"required": required}]}) } else { own };
            (own, is_required, message.shape == Shape::HttpBody)
        }
        Body::Field(index) => {
            let field = &message.fields[index];
            let is_raw = field.message().is_some_and(|id| schema.message(id).shape == Shape::HttpBody);
            (of_field(schema, field, used), field.required, is_raw)
        }
    };
    let is_required = required && !route.optional_body;
    let media = if is_raw {
        json!({"application/octet-stream": {}})
    } else if route.is_client_stream {
        json!({"application/x-ndjson": {"schema": content}, "application/json": {"schema": {"type": "array", "items": content}}})
    } else if route.verb == "PATCH" {
        json!({"application/json": {"schema": content}, "application/merge-patch+json": {"schema": content}})
    } else {
        json!({"application/json": {"schema": content}})
    };
    Some(json!({
        "required": is_required, "content": media,
        "description": format!("At most {} bytes.", route.max_body),
    }))
}

fn success(schema: &Schema, route: &Route, used: &mut BTreeSet<String>) -> Value {
    let message = schema.message(route.response);
    let mut answer = json!({"description": "It was done."});
    if route.success != http::StatusCode::NO_CONTENT {
        let own = match route.response_body {
            Some(index) => {
                let field = &message.fields[index];
                let own = of_field(schema, field, used);
                // What is not set is null, unless it is an object or a list.
                if field.card == Card::Optional { json!({"anyOf": [own, {"type": "null"}]}) } else { own }
            }
            None => {
                used.insert(message.name.clone());
                reference(&message.name)
            }
        };
        let is_raw = match route.response_body {
            None => message.shape == Shape::HttpBody,
            Some(index) => {
                let field = &message.fields[index];
                field.is_single()
                    && field.message().is_some_and(|id| schema.message(id).shape == Shape::HttpBody)
            }
        };
        answer["content"] = if is_raw {
            json!({"*/*": {}})
        } else if route.is_server_stream {
            let mut content = json!({
                "application/x-ndjson": {"schema": own},
                "text/event-stream": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "array", "items": own}},
            });
            if let Some((member, _)) = &route.collect {
                content["application/json"] = json!({"schema": {"oneOf": [
                    {"type": "object", "properties": {member: {"type": "array", "items": own}}},
                    {"type": "array", "items": own},
                ]}});
            }
            content
        } else {
            json!({"application/json": {"schema": own}})
        };
        for (kind, _) in &route.renditions {
            answer["content"][kind] = json!({"schema": {"type": "string"}});
        }
    }
    let text = json!({"schema": {"type": "string"}});
    if route.etag.is_some() && !route.is_server_stream {
        answer["headers"]["ETag"] = text.clone();
    }
    if route.location.is_some() {
        answer["headers"]["Location"] = text;
    }
    answer
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("{}{name}", names::SCHEMAS)})
}

/// A field's name as it is printed; others are read as well.
fn printed(field: &Field) -> String {
    String::from_utf8_lossy(&field.key).trim_end_matches(':').trim_matches('"').to_owned()
}

/// The schema of a field with all its values.
fn of_field(schema: &Schema, field: &Field, used: &mut BTreeSet<String>) -> Value {
    match field.card {
        Card::Many => json!({"type": "array", "items": single(schema, field, used)}),
        Card::Map(_) => {
            json!({"type": "object", "additionalProperties": single(schema, &Field::value_of(field), used)})
        }
        Card::Implicit | Card::Optional => single(schema, field, used),
    }
}

/// The schema of one value.
fn single(schema: &Schema, field: &Field, used: &mut BTreeSet<String>) -> Value {
    match field.kind {
        Kind::Scalar(of) => of_scalar(of, field.number64),
        Kind::Enum(id) => {
            let known = schema.enumeration(id);
            if known.is_null {
                return json!({"type": "null"});
            }
            used.insert(known.name.clone());
            reference(&known.name)
        }
        Kind::Message(id) => {
            let message = schema.message(id);
            match message.shape {
                Shape::Plain | Shape::HttpBody => {
                    used.insert(message.name.clone());
                    reference(&message.name)
                }
                Shape::Wrapper(of) => of_scalar(of, field.number64),
                Shape::Duration if field.lenient_duration => {
                    json!({"type": "string", "examples": ["90s", "1h30m"]})
                }
                shape => well_known(shape),
            }
        }
    }
}

fn of_scalar(of: Scalar, number64: bool) -> Value {
    match of {
        Scalar::Bool => json!({"type": "boolean"}),
        Scalar::String => json!({"type": "string"}),
        Scalar::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Scalar::Double | Scalar::Float => {
            json!({"oneOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]})
        }
        Scalar::Uint32 | Scalar::Fixed32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        wide if wide.is_64_bits() && number64 => json!({"type": "integer", "format": "int64"}),
        wide if wide.is_64_bits() => json!({"type": "string", "format": "int64"}),
        _ => json!({"type": "integer", "format": "int32"}),
    }
}

fn well_known(shape: Shape) -> Value {
    match shape {
        Shape::Timestamp => json!({"type": "string", "format": "date-time"}),
        Shape::Duration => json!({"type": "string", "examples": ["1.5s"]}),
        Shape::FieldMask => json!({"type": "string", "examples": ["name,tags"]}),
        Shape::Struct | Shape::Any => json!({"type": "object"}),
        Shape::ListValue => json!({"type": "array"}),
        Shape::Wrapper(of) => of_scalar(of, false),
        Shape::Value | Shape::Plain | Shape::HttpBody => json!({}),
    }
}

/// What is referred to, and what that refers to.
fn schemas(schema: &Schema, mut used: BTreeSet<String>) -> Map<String, Value> {
    let mut made: Map<String, Value> = Map::new();
    made.insert("Error".to_owned(), error());
    while let Some(name) = used.iter().find(|name| !made.contains_key(*name)).cloned() {
        if let Some(of) = schema.pool().get_enum_by_name(&name) {
            made.insert(name, enumeration(schema, &of));
            continue;
        }
        let Some((id, descriptor)) = schema.find(&name).zip(schema.pool().get_message_by_name(&name)) else {
            made.insert(name, json!({}));
            continue;
        };
        let message = schema.message(id);
        if message.shape.is_leaf() {
            made.insert(name, well_known(message.shape));
            continue;
        }
        made.insert(name, object(schema, message, &descriptor, &mut used));
    }
    made.sort_keys();
    made
}

fn object(
    schema: &Schema,
    message: &Message,
    descriptor: &MessageDescriptor,
    used: &mut BTreeSet<String>,
) -> Value {
    let mut properties = Map::new();
    for field in &message.fields {
        let mut own = of_field(schema, field, used);
        let text = field_comment(schema, message, field);
        if field.nullable {
            own = json!({"anyOf": [own, {"type": "null"}]});
        }
        if let Some(own) = own.as_object_mut() {
            if !text.is_empty() {
                own.insert("description".to_owned(), json!(text));
            }
            if field.output_only {
                own.insert("readOnly".to_owned(), json!(true));
            }
        }
        properties.insert(printed(field), own);
    }
    json!({
        "type": "object",
        "description": comment(&descriptor.parent_file(), descriptor.path()),
        "properties": properties,
    })
}

fn enumeration(schema: &Schema, of: &EnumDescriptor) -> Value {
    let words: Vec<String> = schema.find_enum(of.full_name()).words().collect();
    json!({"type": "string", "enum": words, "description": comment(&of.parent_file(), of.path())})
}

fn error() -> Value {
    let text = || json!({"type": "string"});
    json!({
        "type": "object",
        "description": "What went wrong. `code` is the reason, else the name of the gRPC code.",
        "required": ["code", "message", "details", "request_id", "trace_id", "timestamp"],
        "properties": {
            "code": text(),
            "message": text(),
            "details": {
                "type": "object",
                "description": "Members besides these are those of the details that the API declares itself.",
                "additionalProperties": true,
                "properties": {
                    "field_violations": {"type": "array", "items": {
                        "type": "object", "properties": {"field": text(), "description": text()},
                    }},
                    "metadata": {"type": "object", "additionalProperties": text()},
                    "resource": {"type": "object"},
                    "other": {"type": "array", "items": {"type": "object"}},
                },
            },
            "request_id": text(),
            "trace_id": text(),
            "timestamp": {"type": "string", "format": "date-time"},
        },
    })
}

fn field_comment(schema: &Schema, message: &Message, field: &Field) -> String {
    let descriptor = schema.pool().get_message_by_name(&message.name);
    let descriptor: Option<FieldDescriptor> = descriptor.and_then(|it| it.get_field(field.number));
    descriptor.map(|it| comment(&it.parent_message().parent_file(), it.path())).unwrap_or_default()
}

fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let place = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let text = place.and_then(|place| place.leading_comments.as_deref()).unwrap_or_default();
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()
}
