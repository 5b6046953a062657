//! The figures of a call: its method, its code and how long it took.

use std::time::Instant;

use clos_telemetry::Metrics;
use tonic::Code;

use crate::status;

/// Counts a call once, when it goes: with the code that was told, or as cancelled when the caller
/// went away before there was one.
pub(crate) struct Observer {
    metrics: Metrics,
    method: String,
    since: Instant,
    code: Code,
}

impl Observer {
    pub(crate) fn begin(metrics: Metrics, method: String) -> Self {
        Self { metrics, method, since: Instant::now(), code: Code::Cancelled }
    }

    /// How it ended.
    pub(crate) fn ended(&mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let took = self.since.elapsed();
        let code = status::word(self.code);
        self.metrics.rpc(&self.method, code, took);
        tracing::debug!(method = self.method, code, took_ms = took.as_secs_f64() * 1_000.0, "a call ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_counted_once_with_its_code() {
        let metrics = Metrics::new();
        drop(Observer::begin(metrics.clone(), "/a/B".into()));
        let mut observer = Observer::begin(metrics.clone(), "/a/B".into());
        observer.ended(Code::NotFound);
        drop(observer);
        let text = metrics.render();
        assert!(text.contains(r#"clos_rpc_requests_total{code="CANCELLED",method="/a/B"} 1"#), "{text}");
        assert!(text.contains(r#"clos_rpc_requests_total{code="NOT_FOUND",method="/a/B"} 1"#), "{text}");
    }
}
