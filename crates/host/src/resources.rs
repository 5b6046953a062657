//! What the machine has and how much of it is left.

use std::path::Path;

/// A look at the machine; what this system does not tell is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    /// Processors that this process may use.
    pub cpu_count: Option<u32>,
    /// Memory.
    pub memory: Option<Memory>,
    /// The file system that was asked about.
    pub disk: Option<Disk>,
    /// Runnable tasks on average over 1, 5 and 15 minutes.
    pub load_average: Option<[f64; 3]>,
}

/// Bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// In all.
    pub total: u64,
    /// What a new program could get without swapping.
    pub available: u64,
}

/// Bytes of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// In all.
    pub total: u64,
    /// What a user other than root could still write.
    pub free: u64,
}

/// Measures all of it; blocks for as long as the file system does.
pub(crate) fn measure(folder: &Path) -> Resources {
    let cpu_count =
        std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok());
    let read = |path: &str| std::fs::read_to_string(path).ok();
    Resources {
        cpu_count,
        memory: read("/proc/meminfo").and_then(|text| parse_memory(&text)),
        disk: disk(folder),
        load_average: read("/proc/loadavg").and_then(|text| parse_load(&text)),
    }
}

fn disk(folder: &Path) -> Option<Disk> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(Disk {
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

fn parse_memory(meminfo: &str) -> Option<Memory> {
    let kibibytes = |name: &str| {
        let rest = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    let total = kibibytes("MemTotal")?;
    let available = kibibytes("MemAvailable").or_else(|| kibibytes("MemFree"))?;
    Some(Memory { total: total.saturating_mul(1024), available: available.saturating_mul(1024) })
}

fn parse_load(loadavg: &str) -> Option<[f64; 3]> {
    let mut words = loadavg.split_whitespace().map(str::parse::<f64>);
    Some([words.next()?.ok()?, words.next()?.ok()?, words.next()?.ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes_and_old_kernels_give_free_for_available() {
        let text = "MemTotal:       16316412 kB\nMemFree:         1000 kB\nMemAvailable:    8000000 kB\n";
        let memory = Memory { total: 16_316_412 * 1024, available: 8_000_000 * 1024 };
        assert_eq!(parse_memory(text), Some(memory));
        let old = "MemTotal: 2000 kB\nMemFree: 1000 kB\n";
        assert_eq!(parse_memory(old), Some(Memory { total: 2_048_000, available: 1_024_000 }));
        assert_eq!(parse_memory("MemTotal: many kB"), None);
        assert_eq!(parse_memory(""), None);
    }

    #[test]
    fn load_is_three_numbers_or_unknown() {
        assert_eq!(parse_load("0.52 0.58 0.59 1/467 12345\n"), Some([0.52, 0.58, 0.59]));
        assert_eq!(parse_load("0.52 0.58"), None);
        assert_eq!(parse_load("a b c"), None);
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_disk_and_the_rest_is_measured() {
        let measured = measure(Path::new("/no/such/folder"));
        assert_eq!(measured.disk, None);
        assert!(measured.cpu_count.is_some_and(|count| count > 0));
        let disk = measure(Path::new("/")).disk.unwrap();
        assert!(0 < disk.total && disk.free <= disk.total);
        if cfg!(target_os = "linux") {
            let memory = measured.memory.unwrap();
            assert!(0 < memory.total && memory.available <= memory.total);
            assert!(measured.load_average.is_some());
        }
    }
}
