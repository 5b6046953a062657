//! What a service may use. The engine's ways to say "no limit" (0, -1) become none.

use clos_domain::workload::Limits;

use super::Site;

pub(super) fn limits(site: &mut Site<'_>) -> Limits {
    let service = site.service;
    Limits {
        cpu_millis: cpu_millis(site),
        memory: bytes(
            site,
            field_of(service.mem_limit, "mem_limit", "limits.memory"),
            service.effective_memory(),
        ),
        memory_reservation: bytes(
            site,
            field_of(service.mem_reservation, "mem_reservation", "reservations.memory"),
            service.effective_memory_reservation(),
        ),
        memory_swap: memory_swap(site),
        pids: service.effective_pids().filter(|pids| *pids > 0),
        cpuset: service.cpuset.clone(),
        cpu_shares: service.cpu_shares.filter(|shares| *shares != 0),
    }
}

/// The key that a value came from: the service's own, or that of `deploy.resources`.
fn field_of<T>(own: Option<T>, field: &'static str, below: &str) -> String {
    if own.is_some() { field.to_owned() } else { format!("deploy.resources.{below}") }
}

/// Bytes; 0 and -1 mean what is the engine's to say.
pub(super) fn bytes(site: &mut Site<'_>, field: impl AsRef<str>, value: Option<i64>) -> Option<u64> {
    let value = value.filter(|value| !matches!(value, 0 | -1))?;
    let bytes = u64::try_from(value).ok();
    if bytes.is_none() {
        site.error(field.as_ref(), format!("{value} bytes is not a size; write it as `512m` or `1g`"));
    }
    bytes
}

fn memory_swap(site: &mut Site<'_>) -> Option<i64> {
    let swap = site.service.memswap_limit.filter(|swap| *swap != 0)?;
    if swap < -1 {
        site.error(
            "memswap_limit",
            format!("{swap} bytes is not a size; write it as `1g`, or -1 for no limit"),
        );
        return None;
    }
    let memory = site.service.effective_memory().filter(|memory| *memory > 0);
    match memory {
        Some(memory) if 0 < swap && swap < memory => {
            let message = format!(
                "{swap} bytes are below the memory limit of {memory}; it is memory and swap together"
            );
            site.error("memswap_limit", message);
            None
        }
        None if swap > 0 => {
            site.error("memswap_limit", "it needs a `mem_limit` beside it");
            None
        }
        _ => Some(swap),
    }
}

/// The engine's period when the file says none, in microseconds.
const PERIOD: i64 = 100_000;

/// `cpus`, or what a quota for each period comes to.
fn cpu_millis(site: &mut Site<'_>) -> Option<u64> {
    let service = site.service;
    let field = field_of(service.cpus, "cpus", "limits.cpus");
    let quota = service.cpu_quota.filter(|quota| *quota > 0);
    let cpus = service.effective_cpus().filter(|cpus| *cpus != 0.0);
    if let Some(cpus) = cpus {
        if quota.is_some() || service.cpu_period.is_some_and(|period| period > 0) {
            site.error("cpu_quota", "`cpus` says the same as `cpu_quota` and `cpu_period`; keep one of them");
        }
        if cpus < 0.0 {
            site.error(&field, format!("{cpus} is not a number of cores; write it as `0.5`"));
            return None;
        }
        // The least that there is a number for; none at all would be no limit.
        return Some(((cpus * 1_000.0).round() as u64).max(1));
    }
    let quota = quota?;
    let period = service.cpu_period.filter(|period| *period > 0).unwrap_or(PERIOD);
    let millis = quota.saturating_mul(1_000) / period;
    Some(u64::try_from(millis).unwrap_or_default().max(1))
}
