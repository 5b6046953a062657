//! The same surface on a real Envoy: its configuration, made of the same descriptors and flags.
//!
//! Envoy reads `google.api.http` by itself and ignores `transcoding.v1`, so what it serves is
//! not written down here; what has to be said are the services, and everything around them: who may
//! ask, limits, how JSON is printed, upstreams. What Envoy has no word for is refused by
//! name; what it does in another way is in `gateway/envoy/README.md`, which a test holds to the truth.

use std::net::SocketAddr;
use std::time::Duration;

use clos_transcoder::{Enums, Int64, Names as FieldNames, Spelling};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use serde_json::{Value, json};

use crate::door::Names;
use crate::surface::{ASKED_ACROSS, SECURITY, TOLD_ACROSS};
use crate::upstreams::{BadUpstream, Given};

/// Where a Debian keeps the authorities that an upstream's certificate is judged by.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The cluster of what has none of its own.
const REST: &str = "upstream";
/// Dot segments, NUL and escapes that are none: what no path may have, however it is written.
/// Envoy itself would hand them on.
const BAD_PATH: &str = r"(.*(/|%2[Ff])(\.|%2[Ee]){1,2}((/|%2[Ff]).*)?)|(.*%00.*)|(.*%([^0-9A-Fa-f].*|[0-9A-Fa-f]([^0-9A-Fa-f].*)?)?)";
/// The word of an error for each status with which Envoy itself answers.
const WORDS: [(u16, &str); 13] = [
    (400, "INVALID_ARGUMENT"),
    (403, "PERMISSION_DENIED"),
    (404, "NOT_FOUND"),
    (405, "UNIMPLEMENTED"),
    (408, "DEADLINE_EXCEEDED"),
    (413, "RESOURCE_EXHAUSTED"),
    (415, "INVALID_ARGUMENT"),
    (426, "UNIMPLEMENTED"),
    (431, "INVALID_ARGUMENT"),
    (500, "INTERNAL"),
    (502, "INTERNAL"),
    (503, "UNAVAILABLE"),
    (504, "DEADLINE_EXCEEDED"),
];

/// What an Envoy is to be told.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Where Envoy finds the descriptors, as it is written: from the folder in which it is started.
    pub descriptor_set: &'a str,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Under which names, and for which origins.
    pub names: &'a Names,
    /// `http://host:port`, or `package.Service=http://host:port`.
    pub upstreams: &'a [String],
    /// Who may have signed the certificates of https upstreams, a file; absent is whom a Debian trusts.
    pub authorities: Option<&'a str>,
    /// How JSON is printed.
    pub spelling: Spelling,
    /// Prefix of methods without an annotation.
    pub auto_map: Option<&'a str>,
    /// Largest body in bytes.
    pub body: usize,
    /// Largest message of a backend in bytes.
    pub answer: usize,
    /// Bytes of all header lines.
    pub header_bytes: usize,
    /// Header lines.
    pub headers: usize,
    /// How long a header block may take.
    pub header_timeout: Duration,
    /// Longest deadline, and the one of calls without.
    pub timeout: Option<Duration>,
    /// Connections at a time.
    pub connections: usize,
}

/// What Envoy cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The bytes are no descriptor set.
    #[error("no descriptor set")]
    Descriptors(#[source] prost_reflect::DescriptorError),
    /// An upstream that cannot be one.
    #[error(transparent)]
    Upstream(#[from] BadUpstream),
    /// Something for which it has no word.
    #[error("Envoy {0}")]
    Cannot(String),
}

/// The static configuration of an Envoy that serves the descriptors.
///
/// # Errors
/// What Envoy cannot be told, by name.
pub fn config(set: &[u8], wanted: &Wanted<'_>) -> Result<Value, Unfit> {
    let pool = DescriptorPool::decode(set).map_err(Unfit::Descriptors)?;
    fits(&pool, wanted)?;
    let upstreams: Vec<Upstream> = Given::all(wanted.upstreams)?.into_iter().map(Upstream::from).collect();
    let filters = [
        filter("rbac", "rbac.v3.RBAC", json!({"rules": door(wanted.names)})),
        filter("cors", "cors.v3.Cors", json!({})),
        filter("grpc_web", "grpc_web.v3.GrpcWeb", json!({})),
        filter(
            "grpc_json_transcoder",
            "grpc_json_transcoder.v3.GrpcJsonTranscoder",
            transcoder(&pool, wanted),
        ),
        filter("router", "router.v3.Router", json!({"suppress_envoy_headers": true})),
    ];
    let manager = json!({
        "stat_prefix": "rest",
        "codec_type": "AUTO",
        "server_header_transformation": "PASS_THROUGH",
        "use_remote_address": true,
        "skip_xff_append": true,
        // No caller is one of our own proxies: what it says in x-envoy-* is not believed.
        "internal_address_config": {},
        "preserve_external_request_id": true,
        "always_set_request_id_in_response": true,
        // %2F stays in a captured segment, and what BAD_PATH lets through has no dots to remove.
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "max_request_headers_kb": wanted.header_bytes.div_ceil(1024),
        "common_http_protocol_options": {"max_headers_count": wanted.headers},
        "request_headers_timeout": seconds(wanted.header_timeout),
        // Quiet streams live on.
        "stream_idle_timeout": "0s",
        "local_reply_config": {"mappers": WORDS.map(|(status, word)| own_error(status, word))},
        "route_config": {
            "name": "rest",
            // A backend of ours would judge the page again, by its own list.
            "request_headers_to_remove": ["grpc-status", "grpc-message", "origin"],
            "response_headers_to_add": SECURITY.map(|(key, value)| json!({
                "header": {"key": key, "value": value}, "append_action": "ADD_IF_ABSENT",
            })),
            "virtual_hosts": [{
                "name": "rest",
                // Which names are ours is the first filter's business.
                "domains": ["*"],
                "typed_per_filter_config": {"envoy.filters.http.cors": cors(wanted.names)},
                "routes": routes(&pool, &upstreams, wanted.timeout),
            }],
        },
        "http_filters": filters,
    });
    let manager = typed("filters.network.http_connection_manager.v3.HttpConnectionManager", manager);
    Ok(json!({
        "static_resources": {
            "listeners": [{
                "name": "rest",
                "address": address(&wanted.listen.ip().to_string(), wanted.listen.port()),
                "per_connection_buffer_limit_bytes": wanted.body,
                "filter_chains": [{
                    "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
                }],
            }],
            "clusters": upstreams.iter().map(|upstream| upstream.cluster(wanted.authorities.unwrap_or(AUTHORITIES))).collect::<Vec<_>>(),
        },
        "overload_manager": {"resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": typed(
                "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                json!({"max_active_downstream_connections": wanted.connections}),
            ),
        }]},
    }))
}

/// Whether Envoy has words for all of it.
fn fits(pool: &DescriptorPool, wanted: &Wanted<'_>) -> Result<(), Unfit> {
    let cannot = |why: &str| Err(Unfit::Cannot(why.to_owned()));
    if wanted.spelling.int64 == Int64::Number {
        return cannot("prints 64-bit integers as strings only: --int64 string");
    }
    if wanted.spelling.enums == Enums::Short {
        return cannot("prints full names of enum values only: --enums full");
    }
    if wanted.auto_map.is_some_and(|prefix| !prefix.is_empty()) {
        return cannot("maps methods without an annotation at the root only: --auto-map=");
    }
    let partial: Vec<String> =
        methods(pool).filter(has_response_body).map(|method| method.full_name().to_owned()).collect();
    if !partial.is_empty() {
        return cannot(&format!("has no response_body, which is in {}", partial.join(", ")));
    }
    Ok(())
}

fn methods(pool: &DescriptorPool) -> impl Iterator<Item = MethodDescriptor> + '_ {
    pool.services().flat_map(|service| service.methods().collect::<Vec<_>>())
}

/// Whether a binding of the method prints a field that is no `google.api.HttpBody`.
fn has_response_body(method: &MethodDescriptor) -> bool {
    fn says_so(rule: &DynamicMessage) -> bool {
        let text = rule.get_field_by_name("response_body");
        let more = rule.get_field_by_name("additional_bindings");
        text.is_some_and(|text| text.as_str().is_some_and(|text| !text.is_empty()))
            || more.is_some_and(|more| {
                let more = more.as_list().unwrap_or_default();
                more.iter().filter_map(prost_reflect::Value::as_message).any(says_so)
            })
    }
    let http = method.parent_pool().get_extension_by_name("google.api.http");
    http.is_some_and(|http| method.options().get_extension(&http).as_message().is_some_and(says_so))
}

fn typed(kind: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/envoy.extensions.{kind}").into();
    config
}

fn filter(name: &str, kind: &str, config: Value) -> Value {
    let config = typed(&format!("filters.http.{kind}"), config);
    json!({"name": format!("envoy.filters.http.{name}"), "typed_config": config})
}

fn address(host: &str, port: u16) -> Value {
    json!({"socket_address": {"address": host.trim_matches(['[', ']']), "port_value": port}})
}

fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs_f64())
}

fn matches(pattern: &str) -> Value {
    json!({"safe_regex": {"regex": pattern}})
}

/// Who does not come in: foreign hosts, foreign pages that write, paths that mean another one.
fn door(names: &Names) -> Value {
    let header =
        |name: &str, pattern: &str| json!({"header": {"name": name, "string_match": matches(pattern)}});
    let not = |rule: Value| json!({"not_rule": rule});
    let policy = |rules: &[Value]| json!({"permissions": [{"and_rules": {"rules": rules}}], "principals": [{"any": true}]});
    let reads = header(":method", "GET|HEAD|OPTIONS");
    let has_origin = json!({"header": {"name": "origin", "present_match": true}});
    json!({
        "action": "DENY",
        "policies": {
            "host": policy(&[not(header(":authority", &names.hosts_pattern()))]),
            "origin": policy(&[not(reads), has_origin, not(header("origin", &names.origins_pattern()))]),
            "path": policy(&[json!({"url_path": {"path": matches(BAD_PATH)}})]),
        },
    })
}

fn cors(names: &Names) -> Value {
    typed(
        "filters.http.cors.v3.CorsPolicy",
        json!({
            "allow_origin_string_match": [matches(&names.origins_pattern())],
            "allow_methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
            "allow_headers": ASKED_ACROSS.join(", "),
            "expose_headers": TOLD_ACROSS.join(", "),
            "max_age": "600",
        }),
    )
}

fn transcoder(pool: &DescriptorPool, wanted: &Wanted<'_>) -> Value {
    let mut services: Vec<String> = pool.services().map(|service| service.full_name().to_owned()).collect();
    services.sort();
    json!({
        "proto_descriptor": wanted.descriptor_set,
        "services": services,
        "auto_mapping": wanted.auto_map.is_some(),
        "url_unescape_spec": "ALL_CHARACTERS_EXCEPT_SLASH",
        "query_param_unescape_plus": true,
        "case_insensitive_enum_parsing": true,
        "convert_grpc_status": true,
        "max_request_body_size": wanted.body,
        "max_response_body_size": wanted.answer,
        "print_options": {
            "always_print_primitive_fields": true,
            "preserve_proto_field_names": wanted.spelling.names == FieldNames::Proto,
            "stream_newline_delimited": true,
        },
        "request_validation_options": {
            "reject_unknown_method": true,
            "reject_unknown_query_parameters": true,
            "reject_binding_body_field_collisions": true,
        },
    })
}

/// Envoy's own answers in the form of all errors; gRPC keeps the bare text.
fn own_error(status: u16, word: &str) -> Value {
    let is_status = json!({"status_code_filter": {"comparison": {
        "op": "EQ", "value": {"default_value": status, "runtime_key": "rest.no_such_key"},
    }}});
    let header = |header: Value| json!({"header_filter": {"header": header}});
    let is_no_grpc = header(json!({
        "name": "content-type", "string_match": {"prefix": "application/grpc"},
        "invert_match": true, "treat_missing_header_as_empty": true,
    }));
    // What the transcoder has made gRPC of remembers its path.
    let was_rest = header(json!({"name": "x-envoy-original-path", "present_match": true}));
    let is_rest = json!({"or_filter": {"filters": [is_no_grpc, was_rest]}});
    json!({
        "filter": {"and_filter": {"filters": [is_status, is_rest]}},
        "body_format_override": {"json_format": {
            "code": word,
            "message": "%LOCAL_REPLY_BODY%",
            "details": {},
            "request_id": "%REQ(X-REQUEST-ID)%",
            "timestamp": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
        }},
    })
}

/// By the path of gRPC, which the transcoder has put in the place of the caller's.
fn routes(pool: &DescriptorPool, upstreams: &[Upstream], timeout: Option<Duration>) -> Vec<Value> {
    let to = |upstream: &Upstream, timeout: Option<Duration>| {
        let timeout = seconds(timeout.unwrap_or_default());
        json!({
            "cluster": upstream.name,
            "host_rewrite_literal": upstream.authority,
            "timeout": timeout,
            "max_stream_duration": {"grpc_timeout_header_max": timeout},
            // No call that a server has seen is made twice.
            "retry_policy": {"retry_on": "connect-failure,refused-stream", "num_retries": 2},
        })
    };
    let upstream_of = |service: &str| {
        let of = |name: &str| upstreams.iter().find(|upstream| upstream.name == name);
        of(service).or_else(|| of(REST))
    };
    let mut routes = Vec::new();
    // Streams have no deadline, others may.
    for method in methods(pool).filter(|method| timeout.is_some() && method.is_server_streaming()) {
        let service = method.parent_service();
        if let Some(upstream) = upstream_of(service.full_name()) {
            let path = format!("/{}/{}", service.full_name(), method.name());
            routes.push(json!({"match": {"path": path}, "route": to(upstream, None)}));
        }
    }
    for upstream in upstreams.iter().filter(|upstream| upstream.name != REST) {
        let prefix = format!("/{}/", upstream.name);
        routes.push(json!({"match": {"prefix": prefix}, "route": to(upstream, timeout)}));
    }
    let rest = match upstream_of(REST) {
        Some(upstream) => json!({"match": {"prefix": "/"}, "route": to(upstream, timeout)}),
        None => json!({
            "match": {"prefix": "/"},
            "direct_response": {"status": 503, "body": {"inline_string": "no upstream has this service"}},
        }),
    };
    routes.push(rest);
    routes
}

/// A server of gRPC.
#[derive(Debug)]
struct Upstream {
    /// Full name of the service, or [`REST`].
    name: String,
    authority: String,
    host: String,
    port: u16,
    is_secure: bool,
}

impl From<Given<'_>> for Upstream {
    fn from(Given { service, uri, .. }: Given<'_>) -> Self {
        let is_secure = uri.scheme_str() == Some("https");
        Self {
            name: service.unwrap_or(REST).to_owned(),
            authority: uri.authority().map(ToString::to_string).unwrap_or_default(),
            host: uri.host().unwrap_or_default().to_owned(),
            port: uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
            is_secure,
        }
    }
}

impl Upstream {
    fn cluster(&self, authorities: &str) -> Value {
        let http2 = json!({"connection_keepalive": {"interval": "20s", "timeout": "10s"}});
        let mut cluster = json!({
            "name": self.name,
            "type": "STRICT_DNS",
            "connect_timeout": "5s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                    "upstreams.http.v3.HttpProtocolOptions",
                    json!({"explicit_http_config": {"http2_protocol_options": http2}}),
                ),
            },
            "load_assignment": {
                "cluster_name": self.name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(&self.host, self.port)}}]}],
            },
        });
        if self.is_secure {
            let judged = json!({
                "trusted_ca": {"filename": authorities},
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": self.host}}],
            });
            cluster["transport_socket"] = json!({
                "name": "envoy.transport_sockets.tls",
                "typed_config": typed("transport_sockets.tls.v3.UpstreamTlsContext", json!({
                    "sni": self.host,
                    "common_tls_context": {"alpn_protocols": ["h2"], "validation_context": judged},
                })),
            });
        }
        cluster
    }
}
