//! Envoy with its own transcoder in front of the same gRPC server, on one worker.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

/// The configuration, of which JSON is as good as YAML to it.
pub(crate) fn configuration(descriptors: &Path, listen: SocketAddr, backend: SocketAddr) -> Value {
    let address = |address: SocketAddr| json!({"socket_address": {"address": address.ip(), "port_value": address.port()}});
    let kind = |name: &str| format!("type.googleapis.com/envoy.extensions.{name}");
    let transcoder = json!({
        "@type": kind("filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"),
        "proto_descriptor": descriptors,
        "services": ["bench.v1.Shelf"],
        "print_options": {"preserve_proto_field_names": true, "always_print_primitive_fields": true},
    });
    let router = json!({"@type": kind("filters.http.router.v3.Router")});
    let manager = json!({
        "@type": kind("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "bench",
        "codec_type": "AUTO",
        "route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "shelf", "timeout": "30s"}}],
        }]},
        "http_filters": [
            {"name": "transcoder", "typed_config": transcoder},
            {"name": "router", "typed_config": router},
        ],
    });
    let http2 = json!({
        "@type": kind("upstreams.http.v3.HttpProtocolOptions"),
        "explicit_http_config": {"http2_protocol_options": {}},
    });
    json!({"static_resources": {
        "listeners": [{
            "name": "rest",
            "address": address(listen),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }],
        "clusters": [{
            "name": "shelf",
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": "shelf",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(backend)}}]}],
            },
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        }],
    }})
}
