//! The span of a call, as a part of its caller's trace.

use http::HeaderMap;
use tracing::Span;

use super::methods::Method;

/// The span in which everything happens that a call begins.
pub(crate) fn span(method: Option<&Method>, request_id: &str, headers: &HeaderMap) -> Span {
    let path = method.map_or(Method::UNKNOWN, |method| method.path.as_str());
    let name = path.trim_start_matches('/');
    let span = tracing::info_span!(
        "rpc.call",
        otel.name = name,
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.method = name,
        request_id
    );
    clos_telemetry::propagation::set_parent(&span, headers);
    span
}
