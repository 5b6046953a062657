//! What the descriptors say of HTTP: `google.api.http` and our own `transcoding.v1`.
//! They are read by name, so that nothing has to be compiled in and a set without
//! them is as good as any. What they say of JSON is read by `clos_protojson`.

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumValueDescriptor, ExtensionDescriptor, FileDescriptor,
    MethodDescriptor, ReflectMessage as _,
};

/// The extensions that a pool knows.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    http: Option<ExtensionDescriptor>,
    file: Option<ExtensionDescriptor>,
    method: Option<ExtensionDescriptor>,
    reason: Option<ExtensionDescriptor>,
}

/// `google.api.HttpRule` without its additional bindings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpRule {
    /// `GET`, a word of one's own, or `*`; empty when the rule has no pattern.
    pub(crate) verb: String,
    pub(crate) path: String,
    pub(crate) body: String,
    pub(crate) response_body: String,
}

/// What a method's annotation says.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpRules {
    pub(crate) rules: Vec<HttpRule>,
    /// An additional binding has additional bindings of its own.
    pub(crate) is_nested: bool,
}

/// How the messages of a stream are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Framing {
    /// One JSON text a line, `application/x-ndjson`.
    #[default]
    Ndjson,
    /// Server-sent events, `text/event-stream`.
    EventStream,
    /// One JSON array, `application/json`.
    Array,
}

/// How a method looks over HTTP.
#[derive(Debug, Clone, Default)]
pub(crate) struct MethodRules {
    pub(crate) success_status: Option<u16>,
    pub(crate) location: String,
    pub(crate) reason_statuses: Vec<(String, u16)>,
    /// Field, name of its value, status.
    pub(crate) field_statuses: Vec<(String, String, u16)>,
    pub(crate) optional_body: bool,
    pub(crate) auto_update_mask: bool,
    pub(crate) etag_field: String,
    pub(crate) if_match_field: String,
    pub(crate) request_id_field: String,
    pub(crate) max_body_bytes: Option<u64>,
    pub(crate) timeout_ms: Option<u32>,
    /// Media type and field.
    pub(crate) renditions: Vec<(String, String)>,
    pub(crate) default_framing: Option<Framing>,
    pub(crate) event_id_field: String,
    pub(crate) event_name_field: String,
    pub(crate) resume_field: String,
    /// Member, and the request field that turns collecting off.
    pub(crate) collect: Option<(String, String)>,
    pub(crate) partial_etag: bool,
}

/// The HTTP side of an error reason.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReasonRules {
    pub(crate) http_status: Option<u16>,
}

impl Rules {
    pub(crate) fn of(pool: &DescriptorPool) -> Self {
        Self {
            http: pool.get_extension_by_name("google.api.http"),
            file: pool.get_extension_by_name("transcoding.v1.file"),
            method: pool.get_extension_by_name("transcoding.v1.method"),
            reason: pool.get_extension_by_name("transcoding.v1.reason"),
        }
    }

    pub(crate) fn http(&self, method: &MethodDescriptor) -> Option<HttpRules> {
        let rule = extension(&method.options(), self.http.as_ref())?;
        let mut rules = HttpRules { rules: vec![http_rule(&rule)], is_nested: false };
        for binding in messages(&rule, "additional_bindings") {
            rules.is_nested |= !messages(&binding, "additional_bindings").is_empty();
            rules.rules.push(http_rule(&binding));
        }
        Some(rules)
    }

    /// Whether documents show only the first of a method's bindings that have the same HTTP method.
    pub(crate) fn documents_first_binding(&self, file: &FileDescriptor) -> bool {
        extension(&file.options(), self.file.as_ref())
            .is_some_and(|rules| flag(&rules, "document_first_binding"))
    }

    pub(crate) fn reason(&self, value: &EnumValueDescriptor) -> Option<ReasonRules> {
        let rules = extension(&value.options(), self.reason.as_ref())?;
        Some(ReasonRules { http_status: status(&rules, "http_status") })
    }

    pub(crate) fn method(&self, method: &MethodDescriptor) -> MethodRules {
        let Some(rules) = extension(&method.options(), self.method.as_ref()) else {
            return MethodRules::default();
        };
        let events = message(&rules, "event_stream");
        let of_events = |name| events.as_ref().map(|events| text(events, name)).unwrap_or_default();
        let framing = rules.get_field_by_name("default_framing").and_then(|value| value.as_enum_number());
        MethodRules {
            success_status: status(&rules, "success_status"),
            location: text(&rules, "location"),
            reason_statuses: messages(&rules, "reason_statuses")
                .iter()
                .map(|it| (text(it, "reason"), status(it, "status").unwrap_or_default()))
                .collect(),
            field_statuses: messages(&rules, "field_statuses")
                .iter()
                .map(|it| (text(it, "field"), text(it, "value"), status(it, "status").unwrap_or_default()))
                .collect(),
            optional_body: flag(&rules, "optional_body"),
            auto_update_mask: flag(&rules, "auto_update_mask"),
            etag_field: text(&rules, "etag_field"),
            if_match_field: text(&rules, "if_match_field"),
            request_id_field: text(&rules, "request_id_field"),
            max_body_bytes: rules
                .get_field_by_name("max_body_bytes")
                .and_then(|value| value.as_u64())
                .filter(|bytes| *bytes > 0),
            timeout_ms: number(&rules, "timeout_ms"),
            renditions: messages(&rules, "renditions")
                .iter()
                .map(|it| (text(it, "media_type"), text(it, "field")))
                .collect(),
            default_framing: match framing {
                Some(1) => Some(Framing::Ndjson),
                Some(2) => Some(Framing::EventStream),
                Some(3) => Some(Framing::Array),
                _ => None,
            },
            event_id_field: of_events("id_field"),
            event_name_field: of_events("event_field"),
            resume_field: of_events("resume_field"),
            collect: message(&rules, "collect").map(|it| (text(&it, "member"), text(&it, "unless"))),
            partial_etag: flag(&rules, "partial_etag"),
        }
    }
}

fn http_rule(rule: &DynamicMessage) -> HttpRule {
    let of = |verb: &str| {
        let name = verb.to_ascii_lowercase();
        let field = rule.descriptor().get_field_by_name(&name)?;
        rule.has_field(&field).then(|| (verb.to_owned(), text(rule, &name)))
    };
    let custom = || {
        let custom = message(rule, "custom")?;
        Some((text(&custom, "kind"), text(&custom, "path")))
    };
    let found = ["GET", "PUT", "POST", "DELETE", "PATCH"].into_iter().find_map(of).or_else(custom);
    let (verb, path) = found.unwrap_or_default();
    HttpRule { verb, path, body: text(rule, "body"), response_body: text(rule, "response_body") }
}

fn extension(options: &DynamicMessage, extension: Option<&ExtensionDescriptor>) -> Option<DynamicMessage> {
    let extension = extension.filter(|extension| options.has_extension(extension))?;
    options.get_extension(extension).as_message().cloned()
}

fn message(of: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    let field = of.descriptor().get_field_by_name(name)?;
    if !of.has_field(&field) {
        return None;
    }
    of.get_field(&field).as_message().cloned()
}

fn messages(of: &DynamicMessage, name: &str) -> Vec<DynamicMessage> {
    let value = of.get_field_by_name(name);
    let list = value.as_ref().and_then(|value| value.as_list()).unwrap_or_default();
    list.iter().filter_map(|value| value.as_message().cloned()).collect()
}

fn text(of: &DynamicMessage, name: &str) -> String {
    of.get_field_by_name(name).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn flag(of: &DynamicMessage, name: &str) -> bool {
    of.get_field_by_name(name).and_then(|value| value.as_bool()).unwrap_or_default()
}

fn number(of: &DynamicMessage, name: &str) -> Option<u32> {
    of.get_field_by_name(name).and_then(|value| value.as_u32()).filter(|number| *number > 0)
}

fn status(of: &DynamicMessage, name: &str) -> Option<u16> {
    number(of, name).and_then(|number| u16::try_from(number).ok())
}
