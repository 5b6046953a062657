//! What a service uses.

use clos_domain::seams::engine::Stats;
use clos_domain::service::Service;
use clos_proto::v2 as pb;

use super::{count, timestamp};

/// The figures of one moment.
pub(crate) fn metrics(service: &Service, stats: &Stats) -> pb::ServiceMetrics {
    let uptime =
        stats.at.zip(service.started_at).map(|(at, started)| at.duration_since(started).as_secs().max(0));
    #[expect(clippy::cast_precision_loss, reason = "a share and megabytes for people")]
    let (used, limit) = (stats.memory as f64, stats.memory_limit as f64);
    pb::ServiceMetrics {
        cpu_usage: stats.cpu_percent,
        memory_usage: used / 1e6,
        // The engine names the machine's memory where there is no limit.
        memory_percent: if stats.memory_limit == 0 { 0.0 } else { used / limit * 100.0 },
        network_rx: count(stats.network_rx),
        network_tx: count(stats.network_tx),
        disk_usage: None,
        uptime: uptime.unwrap_or_default(),
        response_time: None,
        timestamp: stats.at.map(timestamp),
        memory_limit: service.definition.limits.memory.map(count).unwrap_or_default(),
        block_read: count(stats.block_read),
        block_write: count(stats.block_write),
        pids: count(stats.pids),
    }
}
