//! W3C trace context over headers.
//!
//! Without a configured collector spans have no trace; then nothing is written
//! into headers, and a caller's own trace id is still there for the log.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Makes the span a child of the caller's span, if the headers name one.
pub fn set_parent(span: &Span, headers: &HeaderMap) {
    let context = TraceContextPropagator::new().extract(&Headers(headers));
    if context.span().span_context().is_valid() {
        // A span that nobody records has no parent to set.
        let _ = span.set_parent(context);
    }
}

/// Writes the span's place in its trace into the headers of an outgoing request.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(&span.context(), &mut HeadersMut(headers));
}

/// The caller's trace id, 32 lower-case hexadecimal digits, if the headers carry a valid one.
pub fn caller_trace_id(headers: &HeaderMap) -> Option<String> {
    let context = TraceContextPropagator::new().extract(&Headers(headers));
    let span = context.span();
    let context = span.span_context();
    context.is_valid().then(|| context.trace_id().to_string())
}

/// The trace id of the span, if it is recorded.
pub fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    context.is_valid().then(|| context.trace_id().to_string())
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value))
            && !value.is_empty()
        {
            self.0.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn headers(parent: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static("traceparent"), HeaderValue::from_static(parent))])
    }

    #[test]
    fn a_trace_goes_from_the_callers_headers_to_ours() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("service.start");
            set_parent(&span, &headers(PARENT));
            assert_eq!(trace_id(&span).as_deref(), Some(TRACE));
            let mut out = HeaderMap::new();
            inject(&span, &mut out);
            let sent = out["traceparent"].to_str().unwrap();
            assert!(sent.starts_with(&format!("00-{TRACE}-")), "{sent}");
            assert_ne!(sent, PARENT, "the next span's parent is ours");
            assert!(!out.contains_key("tracestate"), "an empty state is not sent");
        });
    }

    #[test]
    fn without_a_recorder_nothing_is_written_and_the_callers_id_is_known() {
        let span = tracing::info_span!("service.start");
        set_parent(&span, &headers(PARENT));
        let mut out = HeaderMap::new();
        inject(&span, &mut out);
        assert!(out.is_empty());
        assert_eq!(trace_id(&span), None);
        assert_eq!(caller_trace_id(&headers(PARENT)).as_deref(), Some(TRACE));
    }

    #[test]
    fn a_broken_header_is_no_trace() {
        for broken in ["", "00-xyz", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
            assert_eq!(caller_trace_id(&headers(broken)), None, "{broken}");
        }
        assert_eq!(caller_trace_id(&HeaderMap::new()), None);
    }
}
