//! The registry, and a verb for each thing that is counted.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use prometheus::core::Collector;
use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::names::{self, Kind, Metric};
use crate::refusals::Refusals;

static GLOBAL: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// The metrics of this process.
pub fn metrics() -> &'static Metrics {
    &GLOBAL
}

/// Counts what happens; a handle, cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    rpc_requests: IntCounterVec,
    rpc_seconds: HistogramVec,
    http_requests: IntCounterVec,
    http_seconds: HistogramVec,
    operations: IntCounterVec,
    operation_seconds: HistogramVec,
    steps: IntCounterVec,
    step_seconds: HistogramVec,
    engine_calls: IntCounterVec,
    engine_seconds: HistogramVec,
    events: IntCounterVec,
    watchers: IntGaugeVec,
    probes: IntCounterVec,
    store_transactions: IntCounterVec,
    store_seconds: HistogramVec,
    connections: IntGaugeVec,
    connections_refused: IntCounterVec,
    refusals: Refusals,
    upstream_up: IntGaugeVec,
    build: IntGaugeVec,
    resident_bytes: IntGaugeVec,
    open_files: IntGaugeVec,
}

impl Metrics {
    /// A registry of its own, with every metric at nothing; a process uses [`metrics`].
    pub fn new() -> Self {
        let registry = Registry::new();
        let inner = Inner {
            rpc_requests: counter(&registry, &names::RPC_REQUESTS),
            rpc_seconds: histogram(&registry, &names::RPC_SECONDS),
            http_requests: counter(&registry, &names::HTTP_REQUESTS),
            http_seconds: histogram(&registry, &names::HTTP_SECONDS),
            operations: counter(&registry, &names::OPERATIONS),
            operation_seconds: histogram(&registry, &names::OPERATION_SECONDS),
            steps: counter(&registry, &names::STEPS),
            step_seconds: histogram(&registry, &names::STEP_SECONDS),
            engine_calls: counter(&registry, &names::ENGINE_CALLS),
            engine_seconds: histogram(&registry, &names::ENGINE_SECONDS),
            events: counter(&registry, &names::EVENTS),
            watchers: gauge(&registry, &names::WATCHERS),
            probes: counter(&registry, &names::PROBES),
            store_transactions: counter(&registry, &names::STORE_TRANSACTIONS),
            store_seconds: histogram(&registry, &names::STORE_SECONDS),
            connections: gauge(&registry, &names::CONNECTIONS),
            connections_refused: counter(&registry, &names::CONNECTIONS_REFUSED),
            refusals: Refusals::default(),
            upstream_up: gauge(&registry, &names::UPSTREAM_UP),
            build: gauge(&registry, &names::BUILD),
            resident_bytes: gauge(&registry, &names::RESIDENT_BYTES),
            open_files: gauge(&registry, &names::OPEN_FILES),
            registry,
        };
        // What has no labels is shown from the first day, at zero.
        inner.events.with_label_values::<&str>(&[]);
        inner.watchers.with_label_values::<&str>(&[]);
        Self { inner: Arc::new(inner) }
    }

    /// A request ended. `method` is one of the contract's, never what a caller made up.
    pub fn rpc(&self, method: &str, code: &str, took: Duration) {
        self.inner.rpc_requests.with_label_values(&[method, code]).inc();
        self.inner.rpc_seconds.with_label_values(&[method]).observe(took.as_secs_f64());
    }

    /// The head of an HTTP answer went out. `route` is a template, never a path; `method` one of HTTP's own.
    pub fn http(&self, method: &str, route: &str, status: u16, took: Duration) {
        let mut digits = [0_u8; 3];
        let hundreds = [status / 100 % 10, status / 10 % 10, status % 10];
        for (digit, value) in digits.iter_mut().zip(hundreds) {
            *digit = b'0' + u8::try_from(value).unwrap_or_default();
        }
        let status = std::str::from_utf8(&digits).unwrap_or_default();
        self.inner.http_requests.with_label_values(&[method, route, status]).inc();
        self.inner.http_seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// An operation ended.
    pub fn operation(&self, verb: &str, outcome: &str, took: Duration) {
        self.inner.operations.with_label_values(&[verb, outcome]).inc();
        self.inner.operation_seconds.with_label_values(&[verb]).observe(took.as_secs_f64());
    }

    /// A step of an operation ended.
    pub fn step(&self, action: &str, outcome: &str, took: Duration) {
        self.inner.steps.with_label_values(&[action, outcome]).inc();
        self.inner.step_seconds.with_label_values(&[action]).observe(took.as_secs_f64());
    }

    /// The engine answered, or did not.
    pub fn engine_call(&self, call: &str, outcome: &str, took: Duration) {
        self.inner.engine_calls.with_label_values(&[call, outcome]).inc();
        self.inner.engine_seconds.with_label_values(&[call]).observe(took.as_secs_f64());
    }

    /// So many events were committed.
    pub fn events(&self, count: u64) {
        self.inner.events.with_label_values::<&str>(&[]).inc_by(count);
    }

    /// A watch is open for as long as the returned value lives.
    #[must_use]
    pub fn watcher(&self) -> Watcher {
        let gauge = self.inner.watchers.with_label_values::<&str>(&[]);
        gauge.inc();
        Watcher { gauge }
    }

    /// A health question was answered.
    pub fn probe(&self, kind: &str, outcome: &str) {
        self.inner.probes.with_label_values(&[kind, outcome]).inc();
    }

    /// A transaction of the store ended.
    pub fn store_transaction(&self, kind: &str, outcome: &str, took: Duration) {
        self.inner.store_transactions.with_label_values(&[kind, outcome]).inc();
        self.inner.store_seconds.with_label_values(&[kind]).observe(took.as_secs_f64());
    }

    /// A client is connected for as long as the returned value lives.
    #[must_use]
    pub fn connection(&self, transport: &str) -> Watcher {
        let gauge = self.inner.connections.with_label_values(&[transport]);
        gauge.inc();
        Watcher { gauge }
    }

    /// Counts somebody who is refused. When the log should tell of it, which is once a minute for each reason: how
    /// many it has left out since the last time.
    pub fn refused(&self, reason: &'static str) -> Option<u64> {
        self.inner.connections_refused.with_label_values(&[reason]).inc();
        self.inner.refusals.one(reason, Instant::now())
    }

    /// A server behind a gateway answers, or does not. `upstream` is its configured address.
    pub fn upstream_up(&self, upstream: &str, is_up: bool) {
        self.inner.upstream_up.with_label_values(&[upstream]).set(i64::from(is_up));
    }

    /// Which version this is.
    pub fn build(&self, version: &str) {
        self.inner.build.with_label_values(&[version]).set(1);
    }

    /// Everything as Prometheus text, format 0.0.4, with this process measured anew.
    pub fn render(&self) -> String {
        if let Some(bytes) = resident_bytes() {
            self.inner.resident_bytes.with_label_values::<&str>(&[]).set(bytes);
        }
        if let Some(count) = open_files() {
            self.inner.open_files.with_label_values::<&str>(&[]).set(count);
        }
        let mut text = Vec::new();
        // Writing into memory fails for a family without metrics only, and the registry gathers none.
        let _ = TextEncoder::new().encode(&self.inner.registry.gather(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The `Content-Type` of [`Self::render`].
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts one down when it goes.
#[derive(Debug)]
pub struct Watcher {
    gauge: prometheus::IntGauge,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

fn counter(registry: &Registry, metric: &Metric) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(metric.name, metric.help), metric.labels))
}

fn gauge(registry: &Registry, metric: &Metric) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(Opts::new(metric.name, metric.help), metric.labels))
}

fn histogram(registry: &Registry, metric: &Metric) -> HistogramVec {
    let options = HistogramOpts::new(metric.name, metric.help);
    let options = match metric.kind {
        Kind::Histogram(buckets) => options.buckets(buckets.to_vec()),
        Kind::Counter | Kind::Gauge => options,
    };
    register(registry, HistogramVec::new(options, metric.labels))
}

fn register<T: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<T>) -> T {
    let made = made.expect("the names in `names.rs` are well formed, which a test checks");
    registry
        .register(Box::new(made.clone()))
        .expect("the names in `names.rs` are unique, which a test checks");
    made
}

fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes.saturating_mul(1_024))
}

fn open_files() -> Option<i64> {
    i64::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Metrics {
        let metrics = Metrics::new();
        let took = Duration::from_millis(30);
        metrics.http("GET", "/v1/things/{id}", 200, Duration::from_millis(1));
        metrics.rpc("/clos.v2.ServicesApi/GetService", "OK", took);
        metrics.operation("up", "completed", took);
        metrics.step("create", "completed", took);
        metrics.engine_call("start", "ok", took);
        metrics.events(3);
        metrics.probe("http", "well");
        metrics.store_transaction("write", "committed", took);
        metrics.refused("host");
        metrics.upstream_up("http://127.0.0.1:1", false);
        metrics.build("2.0.0");
        drop(metrics.connection("unix"));
        metrics
    }

    #[test]
    fn every_name_is_shown_with_its_help_and_kind() {
        let text = everything().render();
        for metric in names::ALL {
            if metric.name.starts_with("process_") && cfg!(not(target_os = "linux")) {
                continue;
            }
            assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{}", metric.name);
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            assert!(text.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{}", metric.name);
        }
    }

    #[test]
    fn what_is_counted_appears_under_its_labels() {
        let text = everything().render();
        for line in [
            r#"clos_rpc_requests_total{code="OK",method="/clos.v2.ServicesApi/GetService"} 1"#,
            r#"clos_operations_total{outcome="completed",verb="up"} 1"#,
            r#"clos_steps_total{action="create",outcome="completed"} 1"#,
            r#"clos_engine_calls_total{call="start",outcome="ok"} 1"#,
            r#"clos_engine_call_duration_seconds_bucket{call="start",le="0.05"} 1"#,
            r#"clos_engine_call_duration_seconds_bucket{call="start",le="0.025"} 0"#,
            "clos_events_committed_total 3",
            r#"clos_probes_total{kind="http",outcome="well"} 1"#,
            r#"clos_store_transactions_total{kind="write",outcome="committed"} 1"#,
            r#"clos_connections_refused_total{reason="host"} 1"#,
            r#"clos_gateway_upstream_up{upstream="http://127.0.0.1:1"} 0"#,
            r#"clos_build_info{version="2.0.0"} 1"#,
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_gauge_falls_when_the_watch_or_the_connection_ends() {
        let metrics = Metrics::new();
        let first = metrics.watcher();
        let second = metrics.watcher();
        let connection = metrics.connection("tcp");
        assert!(metrics.render().contains("clos_watchers_open 2\n"));
        drop((first, connection));
        let text = metrics.render();
        assert!(text.contains("clos_watchers_open 1\n"));
        assert!(text.contains("clos_connections_open{transport=\"tcp\"} 0\n"));
        drop(second);
        assert!(metrics.render().contains("clos_watchers_open 0\n"));
    }

    #[test]
    fn the_process_has_one_registry() {
        metrics().events(1);
        assert!(metrics().render().contains("clos_events_committed_total "));
        assert!(Metrics::default().render().contains("clos_events_committed_total 0\n"));
    }
}
