//! Every metric: its name, what it tells, its unit and its labels.
//!
//! Names end in their unit, counters in `_total`, as Prometheus has it.

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only upwards.
    Counter,
    /// Both ways.
    Gauge,
    /// A distribution over the given upper bounds.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it tells, one sentence.
    pub help: &'static str,
    /// What one of it is: `seconds`, `bytes`, or the noun that is counted.
    pub unit: &'static str,
    /// Its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// How it moves.
    pub kind: Kind,
}

/// Seconds of answers: from a tenth of a millisecond to ten seconds.
const FAST: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Seconds of what an engine does: from ten milliseconds to ten minutes.
const SLOW: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

macro_rules! metrics {
    ($($constant:ident $kind:expr, $name:literal, $unit:literal, [$($label:literal),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric =
                Metric { name: $name, help: $help, unit: $unit, labels: &[$($label),*], kind: $kind };
        )*
        /// Every metric there is.
        pub const ALL: &[Metric] = &[$($constant,)*];
    };
}

metrics! {
    RPC_REQUESTS Kind::Counter, "clos_rpc_requests_total", "requests", ["method", "code"],
        "gRPC requests that ended, by method and code; a stream counts when it ends";
    RPC_SECONDS Kind::Histogram(FAST), "clos_rpc_request_duration_seconds", "seconds", ["method"],
        "Time from a request to its last byte";
    HTTP_REQUESTS Kind::Counter, "clos_http_requests_total", "requests", ["method", "route", "status"],
        "HTTP requests that were answered and are no gRPC, by route template and status";
    HTTP_SECONDS Kind::Histogram(FAST), "clos_http_request_duration_seconds", "seconds", ["route"],
        "Time from the head of an HTTP request to the head of its answer";
    OPERATIONS Kind::Counter, "clos_operations_total", "operations", ["verb", "outcome"],
        "Operations that ended, by verb and outcome";
    OPERATION_SECONDS Kind::Histogram(SLOW), "clos_operation_duration_seconds", "seconds", ["verb"],
        "Time from the acceptance of an operation to its end";
    STEPS Kind::Counter, "clos_steps_total", "steps", ["action", "outcome"],
        "Steps of operations that ended, by action and outcome";
    STEP_SECONDS Kind::Histogram(SLOW), "clos_step_duration_seconds", "seconds", ["action"],
        "Time that a step took";
    ENGINE_CALLS Kind::Counter, "clos_engine_calls_total", "calls", ["call", "outcome"],
        "Calls to the engine, by call and outcome";
    ENGINE_SECONDS Kind::Histogram(SLOW), "clos_engine_call_duration_seconds", "seconds", ["call"],
        "Time until the engine answered";
    EVENTS Kind::Counter, "clos_events_committed_total", "events", [],
        "Events committed to the journal";
    WATCHERS Kind::Gauge, "clos_watchers_open", "watchers", [],
        "Watch streams that are open now";
    PROBES Kind::Counter, "clos_probes_total", "probes", ["kind", "outcome"],
        "Health questions asked by CLOS itself, by kind and outcome";
    STORE_TRANSACTIONS Kind::Counter, "clos_store_transactions_total", "transactions", ["kind", "outcome"],
        "Transactions of the store that ended, by kind and outcome";
    STORE_SECONDS Kind::Histogram(FAST), "clos_store_transaction_duration_seconds", "seconds", ["kind"],
        "Time from the begin of a transaction to its end";
    CONNECTIONS Kind::Gauge, "clos_connections_open", "connections", ["transport"],
        "Client connections that are open now";
    CONNECTIONS_REFUSED Kind::Counter, "clos_connections_refused_total", "connections", ["reason"],
        "Client connections and requests refused at the door, by reason";
    UPSTREAM_UP Kind::Gauge, "clos_gateway_upstream_up", "upstreams", ["upstream"],
        "Whether the gRPC server behind a gateway answers: 1 or 0";
    BUILD Kind::Gauge, "clos_build_info", "builds", ["version"],
        "Always 1; the label tells the version";
    RESIDENT_BYTES Kind::Gauge, "process_resident_memory_bytes", "bytes", [],
        "Memory of this process that is in RAM";
    OPEN_FILES Kind::Gauge, "process_open_fds", "files", [],
        "Files and sockets that this process has open";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_end_in_what_they_are() {
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            let is_counter = metric.kind == Kind::Counter;
            assert_eq!(is_counter, metric.name.ends_with("_total"), "{}", metric.name);
            let tells_its_unit = metric.name.trim_end_matches("_total").contains(metric.unit)
                || matches!(metric.kind, Kind::Gauge);
            assert!(tells_its_unit || is_counter, "{} is in {}", metric.name, metric.unit);
            assert!(!metric.help.ends_with('.'), "{}", metric.name);
        }
    }

    #[test]
    fn buckets_rise() {
        for metric in ALL {
            if let Kind::Histogram(buckets) = metric.kind {
                assert!(buckets.windows(2).all(|pair| pair[0] < pair[1]), "{}", metric.name);
            }
        }
    }
}
