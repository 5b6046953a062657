//! What a container uses. A stream: its first sample comes within milliseconds,
//! a single question takes a second.

use bollard::models::{ContainerBlkioStats, ContainerCpuStats, ContainerMemoryStats, ContainerStatsResponse};
use bollard::query_parameters::StatsOptions;
use clos_domain::seams::engine::{Error, Stats};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;

use crate::call::{Effect, fault};
use crate::deadline;
use crate::docker::Docker;
use crate::workloads::no_such;

/// Ends when the container does.
pub(crate) async fn open(
    docker: &Docker,
    name: &str,
) -> Result<BoxStream<'static, Result<Stats, Error>>, Error> {
    let target = docker.container(name).await?;
    let machine_memory = docker.facts().await?.memory;
    let mut samples =
        Box::pin(docker.client().stats(&target, Some(StatsOptions { stream: true, one_shot: false })));
    let what = format!("stats of `{name}`");

    let late = |what: &str| Error::Unreachable(format!("{what}: nothing within {:?}", deadline::STATS_IDLE));
    let first = match tokio::time::timeout(deadline::STATS_IDLE, samples.next()).await {
        Err(_) => return Err(late(&what)),
        Ok(None) => return Ok(stream::empty().boxed()),
        Ok(Some(Err(error))) => return Err(no_such(name, fault(&what, Effect::Reads, &error))),
        Ok(Some(Ok(first))) => first,
    };
    let Some(first) = sample(&first, machine_memory) else { return Ok(stream::empty().boxed()) };

    let rest = stream::unfold(Some(samples), move |samples| {
        let what = what.clone();
        async move {
            let mut samples = samples?;
            match tokio::time::timeout(deadline::STATS_IDLE, samples.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(response))) => Some((Ok(sample(&response, machine_memory)?), Some(samples))),
                Ok(Some(Err(error))) => Some((Err(fault(&what, Effect::Reads, &error).into()), None)),
                Err(_) => Some((Err(late(&what)), None)),
            }
        }
    });
    Ok(stream::once(async move { Ok(first) }).chain(rest).boxed())
}

/// `None` is the empty sample that the engine sends of a container that does not run.
fn sample(response: &ContainerStatsResponse, machine_memory: u64) -> Option<Stats> {
    let cpu = response.cpu_stats.as_ref()?;
    total_cpu(cpu).filter(|total| *total > 0)?;
    let memory = response.memory_stats.as_ref();
    let limit = memory.and_then(|memory| memory.limit).unwrap_or_default();
    let is_unlimited = machine_memory > 0 && limit >= machine_memory;
    let networks = response.networks.iter().flatten();
    let (network_rx, network_tx) = networks.fold((0, 0), |(rx, tx), (_, network)| {
        (rx + network.rx_bytes.unwrap_or_default(), tx + network.tx_bytes.unwrap_or_default())
    });
    let (block_read, block_write) = block_bytes(response.blkio_stats.as_ref());
    let at = response.read.and_then(|read| Timestamp::from_nanosecond(read.unix_timestamp_nanos()).ok());
    Some(Stats {
        at,
        cpu_percent: cpu_percent(cpu, response.precpu_stats.as_ref()),
        memory: memory.map(used_memory).unwrap_or_default(),
        memory_limit: if is_unlimited { 0 } else { limit },
        network_rx,
        network_tx,
        block_read,
        block_write,
        pids: response.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or_default(),
    })
}

fn total_cpu(cpu: &ContainerCpuStats) -> Option<u64> {
    cpu.cpu_usage.as_ref()?.total_usage
}

/// As `docker stats` has it: the container's share of what the machine did since the
/// sample before, times the cores. The first sample has none before it.
fn cpu_percent(now: &ContainerCpuStats, before: Option<&ContainerCpuStats>) -> f64 {
    let percent = || {
        let before = before?;
        let used = total_cpu(now)?.checked_sub(total_cpu(before)?)?;
        let passed = now.system_cpu_usage?.checked_sub(before.system_cpu_usage?)?;
        let listed = now.cpu_usage.as_ref()?.percpu_usage.as_ref().map_or(1, Vec::len);
        let cores = now.online_cpus.filter(|cores| *cores > 0).map_or(listed as f64, f64::from);
        (passed > 0).then(|| used as f64 / passed as f64 * cores * 100.0)
    };
    percent().unwrap_or_default()
}

/// Without the page cache that the kernel gives back when asked: `total_inactive_file`
/// in cgroup v1, `inactive_file` in v2.
fn used_memory(memory: &ContainerMemoryStats) -> u64 {
    let usage = memory.usage.unwrap_or_default();
    let counter = |key: &str| memory.stats.as_ref().and_then(|stats| stats.get(key)).copied();
    let cache = counter("total_inactive_file").or_else(|| counter("inactive_file")).unwrap_or_default();
    if cache < usage { usage - cache } else { usage }
}

fn block_bytes(stats: Option<&ContainerBlkioStats>) -> (u64, u64) {
    let entries = stats.and_then(|stats| stats.io_service_bytes_recursive.as_deref()).unwrap_or_default();
    let sum = |word: &str| {
        let is_meant = |op: &Option<String>| op.as_deref().is_some_and(|op| op.eq_ignore_ascii_case(word));
        entries.iter().filter(|entry| is_meant(&entry.op)).filter_map(|entry| entry.value).sum()
    };
    (sum("read"), sum("write"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::{ContainerBlkioStatEntry, ContainerCpuUsage};

    use super::*;

    fn cpu(total: u64, system: u64) -> ContainerCpuStats {
        ContainerCpuStats {
            cpu_usage: Some(ContainerCpuUsage { total_usage: Some(total), ..ContainerCpuUsage::default() }),
            system_cpu_usage: Some(system),
            online_cpus: Some(2),
            ..ContainerCpuStats::default()
        }
    }

    #[test]
    fn cpu_is_per_cent_of_one_core() {
        // Half of everything that two cores did is one core.
        assert_eq!(cpu_percent(&cpu(600, 2000), Some(&cpu(100, 1000))), 100.0);
        assert_eq!(cpu_percent(&cpu(600, 2000), None), 0.0);
        assert_eq!(cpu_percent(&cpu(600, 1000), Some(&cpu(100, 1000))), 0.0);
        assert_eq!(cpu_percent(&cpu(50, 2000), Some(&cpu(100, 1000))), 0.0);
    }

    #[test]
    fn memory_is_without_the_cache_in_both_generations_of_cgroups() {
        let memory = |key: &str, cache: u64| ContainerMemoryStats {
            usage: Some(1000),
            stats: Some(HashMap::from([(key.to_owned(), cache)])),
            ..ContainerMemoryStats::default()
        };
        assert_eq!(used_memory(&memory("total_inactive_file", 400)), 600);
        assert_eq!(used_memory(&memory("inactive_file", 300)), 700);
        assert_eq!(used_memory(&memory("inactive_file", 3000)), 1000);
        assert_eq!(used_memory(&memory("rss", 300)), 1000);
    }

    #[test]
    fn the_machines_memory_as_limit_means_none() {
        let response = |limit| ContainerStatsResponse {
            cpu_stats: Some(cpu(1, 1)),
            memory_stats: Some(ContainerMemoryStats {
                limit: Some(limit),
                ..ContainerMemoryStats::default()
            }),
            ..ContainerStatsResponse::default()
        };
        assert_eq!(sample(&response(8 << 30), 8 << 30).unwrap().memory_limit, 0);
        assert_eq!(sample(&response(1 << 20), 8 << 30).unwrap().memory_limit, 1 << 20);
    }

    #[test]
    fn the_empty_sample_of_a_stopped_container_is_none() {
        assert_eq!(sample(&ContainerStatsResponse::default(), 0), None);
        let empty =
            ContainerStatsResponse { cpu_stats: Some(cpu(0, 0)), ..ContainerStatsResponse::default() };
        assert_eq!(sample(&empty, 0), None);
    }

    #[test]
    fn block_bytes_are_summed_over_devices_in_either_spelling() {
        let entry = |op: &str, value| ContainerBlkioStatEntry {
            op: Some(op.into()),
            value: Some(value),
            ..ContainerBlkioStatEntry::default()
        };
        let stats = ContainerBlkioStats {
            io_service_bytes_recursive: Some(vec![
                entry("Read", 1),
                entry("read", 2),
                entry("Write", 4),
                entry("Total", 7),
            ]),
            ..ContainerBlkioStats::default()
        };
        assert_eq!(block_bytes(Some(&stats)), (3, 4));
        assert_eq!(block_bytes(None), (0, 0));
    }
}
