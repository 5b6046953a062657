//! What is done about keys: those that Compose does not know, and those that it acts on and CLOS does not.
//!
//! `docs/compose.md` says the same for readers, and a test holds the two together.

use crate::finding::{Key, Severity};
use crate::node::{Entry, Kind, Node};

/// A key that Compose acts on and CLOS does not: an error where the service would not be the same without it,
/// a warning where it would.
pub(crate) struct Unsupported {
    /// Where it stands; `*` is any name.
    pub(crate) key: &'static str,
    pub(crate) severity: Severity,
    /// What follows from leaving it out, and the way out of an error.
    pub(crate) message: &'static str,
}

const fn error(key: &'static str, message: &'static str) -> Unsupported {
    Unsupported { key, severity: Severity::Error, message }
}

const fn warning(key: &'static str, message: &'static str) -> Unsupported {
    Unsupported { key, severity: Severity::Warning, message }
}

const HOOK: &str = "lifecycle hooks are not run; move the command into the entrypoint, or into a service that others depend on with `service_completed_successfully`";
const GPU: &str = "GPUs and other devices of a driver are not passed to containers; remove it, or put the service into a profile";
const WINDOWS: &str = "it is for Windows containers and is ignored";
const REALTIME: &str = "realtime scheduling is not set; it is ignored";

pub(crate) const UNSUPPORTED: &[Unsupported] = &[
    warning("models", "models are not started; it is ignored"),
    error("services.*.gpus", GPU),
    error(
        "services.*.models",
        "models are not started; run the model server as a service and pass its URL in `environment`",
    ),
    error(
        "services.*.provider",
        "providers are not run; give the service an `image` or a `build` instead, or put it into a profile",
    ),
    error("services.*.pre_start", HOOK),
    error("services.*.post_start", HOOK),
    error("services.*.pre_stop", HOOK),
    error(
        "services.*.use_api_socket",
        "the engine's socket is not handed to the service; mount /var/run/docker.sock under `volumes`",
    ),
    error(
        "services.*.volume_driver",
        "anonymous volumes have the default driver; declare the volume under `volumes` with its `driver`",
    ),
    error("services.*.deploy.resources.limits.devices", GPU),
    error("services.*.deploy.resources.reservations.devices", GPU),
    error(
        "services.*.build.entitlements",
        "builds get no entitlements; build the image with `docker buildx build --allow` and name it under `image`",
    ),
    warning("services.*.blkio_config", "block I/O is not limited; it is ignored"),
    warning("services.*.cpu_count", WINDOWS),
    warning("services.*.cpu_percent", WINDOWS),
    warning("services.*.cpu_rt_period", REALTIME),
    warning("services.*.cpu_rt_runtime", REALTIME),
    warning("services.*.credential_spec", WINDOWS),
    warning("services.*.develop", "`docker compose watch` uses it; it is ignored"),
    warning("services.*.isolation", WINDOWS),
    warning("services.*.pull_refresh_after", "images are pulled as `pull_policy` says; it is ignored"),
    warning("services.*.deploy.resources.limits.generic_resources", "it is for clusters and is ignored"),
    warning(
        "services.*.deploy.resources.reservations.generic_resources",
        "it is for clusters and is ignored",
    ),
    warning("services.*.build.isolation", WINDOWS),
    warning(
        "services.*.build.no_cache_filter",
        "the cache is used for every stage; `no_cache: true` turns it off",
    ),
    warning("services.*.build.provenance", "no attestations are made; it is ignored"),
    warning("services.*.build.sbom", "no attestations are made; it is ignored"),
];

pub(crate) fn unsupported(key: &Key) -> Option<&'static Unsupported> {
    UNSUPPORTED.iter().find(|one| key.is(one.key))
}

/// The keys that Compose knows, place by place.
const KNOWN: &[(&str, &str)] = &[
    ("", "name services networks volumes configs secrets models include x-clos"),
    (
        "services.*",
        "annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name \
         cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset \
         credential_spec depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname \
         entrypoint env_file environment expose extends external_links extra_hosts gpus group_add healthcheck \
         hostname image init ipc isolation label_file labels links logging mac_address mem_limit mem_reservation \
         mem_swappiness memswap_limit models network_mode networks oom_kill_disable oom_score_adj pid pids_limit \
         platform ports post_start pre_start pre_stop privileged profiles provider pull_policy read_only restart \
         runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls \
         tmpfs tty ulimits use_api_socket user userns_mode uts volumes volumes_from working_dir x-clos",
    ),
    (
        "services.*.build",
        "additional_contexts args cache_from cache_to context dockerfile dockerfile_inline entitlements extra_hosts \
         isolation labels network no_cache no_cache_filter platforms privileged provenance pull sbom secrets \
         shm_size ssh tags target ulimits",
    ),
    ("services.*.depends_on.*", "condition required restart"),
    (
        "services.*.deploy",
        "endpoint_mode labels mode placement replicas resources restart_policy rollback_config update_config",
    ),
    ("services.*.deploy.resources", "limits reservations"),
    ("services.*.deploy.resources.*", "cpus devices generic_resources memory pids"),
    ("services.*.deploy.restart_policy", "condition delay max_attempts window"),
    ("services.*.devices.*", "permissions source target"),
    ("services.*.env_file.*", "format path required"),
    ("services.*.extends", "file service"),
    ("services.*.healthcheck", "disable interval retries start_interval start_period test timeout"),
    ("services.*.logging", "driver options"),
    (
        "services.*.networks.*",
        "aliases driver_opts gw_priority interface_name ipv4_address ipv6_address link_local_ips mac_address priority",
    ),
    ("services.*.ports.*", "app_protocol host_ip mode name protocol published target"),
    ("services.*.volumes.*", "bind consistency image read_only source target tmpfs type volume"),
    ("services.*.volumes.*.bind", "create_host_path propagation recursive selinux"),
    ("services.*.volumes.*.volume", "labels nocopy subpath"),
    ("services.*.volumes.*.tmpfs", "mode size"),
    ("services.*.configs.*", "gid mode source target uid"),
    ("services.*.secrets.*", "gid mode source target uid"),
    ("services.*.x-clos", "health_check prefer process"),
    (
        "services.*.x-clos.health_check",
        "command expected_status interval retries start_period tcp timeout url",
    ),
    (
        "networks.*",
        "attachable driver driver_opts enable_ipv4 enable_ipv6 external internal ipam labels name",
    ),
    ("networks.*.ipam", "config driver options"),
    ("networks.*.ipam.config.*", "aux_addresses gateway ip_range subnet"),
    ("volumes.*", "driver driver_opts external labels name"),
    ("configs.*", "content driver driver_opts environment external file labels name template_driver"),
    ("secrets.*", "driver driver_opts environment external file labels name template_driver"),
    ("include.*", "env_file path project_directory"),
    ("services.*.ulimits.*", "hard soft"),
    ("services.*.build.ulimits.*", "hard soft"),
    ("services.*.build.secrets.*", "gid mode source target uid"),
    ("services.*.volumes.*.image", "subpath"),
    // Below keys that are passed over.
    (
        "services.*.blkio_config",
        "device_read_bps device_read_iops device_write_bps device_write_iops weight weight_device",
    ),
    ("services.*.blkio_config.device_read_bps.*", "path rate"),
    ("services.*.blkio_config.device_read_iops.*", "path rate"),
    ("services.*.blkio_config.device_write_bps.*", "path rate"),
    ("services.*.blkio_config.device_write_iops.*", "path rate"),
    ("services.*.blkio_config.weight_device.*", "path weight"),
    ("services.*.credential_spec", "config file registry"),
    ("services.*.deploy.placement", "constraints max_replicas_per_node preferences"),
    ("services.*.deploy.placement.preferences.*", "spread"),
    ("services.*.deploy.resources.*.generic_resources.*", "discrete_resource_spec"),
    ("services.*.deploy.resources.*.generic_resources.*.discrete_resource_spec", "kind value"),
    ("services.*.deploy.rollback_config", UPDATE),
    ("services.*.deploy.update_config", UPDATE),
    ("services.*.develop", "watch"),
    ("services.*.develop.watch.*", "action exec ignore include initial_sync path target"),
    ("services.*.develop.watch.*.exec", "command environment per_replica privileged user working_dir"),
    ("models.*", "context_size model name runtime_flags"),
];

const UPDATE: &str = "delay failure_action max_failure_ratio monitor order parallelism";

/// The keys that Compose knows at a place, where it knows them one by one.
fn known(key: &Key) -> Option<&'static str> {
    let is_here = |place: &str| if place.is_empty() { *key == Key::root() } else { key.is(place) };
    KNOWN.iter().find(|(place, _)| is_here(place)).map(|(_, names)| *names)
}

/// Calls `found` for each key that nobody knows in what is passed over as a whole.
pub(crate) fn unknown_below(node: &Node, key: &Key, found: &mut dyn FnMut(&str, &Entry, &Key)) {
    match &node.kind {
        Kind::Map(map) => {
            let names = known(key);
            for (name, entry) in map.iter().filter(|(name, _)| !name.starts_with("x-")) {
                if names.is_some_and(|names| !names.split_whitespace().any(|known| known == name)) {
                    found(name, entry, key);
                } else {
                    unknown_below(&entry.value, &key.child(name), found);
                }
            }
        }
        Kind::List(items) => {
            for (index, item) in items.iter().enumerate() {
                unknown_below(item, &key.item(index), found);
            }
        }
        _ => {}
    }
}

/// What is said of a key that nobody knows at its place, with the key that was probably meant.
pub(crate) fn unknown(key: &Key, name: &str, what: &str) -> String {
    let shown = crate::node::shorten(name);
    match suggestion(key, name) {
        Some(meant) => format!("{what} `{shown}`; did you mean `{meant}`?"),
        None => format!("{what} `{shown}`; remove it, or begin its name with `x-`"),
    }
}

fn suggestion(key: &Key, name: &str) -> Option<&'static str> {
    let names = known(key)?;
    let written = name.to_lowercase().replace('-', "_");
    // A third of the letters may be wrong, and not more than three of them.
    let most = (written.chars().count() / 3).clamp(1, 3);
    let near = names.split_whitespace().map(|known| (distance(&written, known), known));
    let nearest = near.filter(|(distance, _)| *distance <= most).min().map(|(_, known)| known);
    nearest.or_else(|| {
        let is_part = |known: &&str| written.len() > 2 && known.starts_with(&written);
        let mut longer = names.split_whitespace().filter(is_part);
        longer.next().filter(|_| longer.next().is_none())
    })
}

/// How many letters have to be changed, added, removed or swapped with the next.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().take(64).collect(), other.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for (i, left) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, right) in other.iter().enumerate() {
            let change = rows[i][j] + usize::from(left != right);
            let mut least = change.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *left == other[j - 1] && one[i - 1] == *right {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_gets_the_one_that_was_meant() {
        let service = Key::of(&["services", "web"]);
        for (written, meant) in [
            ("enviroment", "environment"),
            ("Environment", "environment"),
            ("depend_on", "depends_on"),
            ("depends-on", "depends_on"),
            ("prots", "ports"),
            ("port", "ports"),
            ("volume", "volumes"),
            ("imgae", "image"),
            ("comand", "command"),
            ("env_files", "env_file"),
            ("healtcheck", "healthcheck"),
        ] {
            assert_eq!(suggestion(&service, written), Some(meant), "{written}");
        }
        assert_eq!(suggestion(&service, "strange"), None);
        let attachment = Key::of(&["services", "web", "networks", "front"]);
        assert_eq!(suggestion(&attachment, "alias"), Some("aliases"));
        assert_eq!(suggestion(&service, "net"), None, "more than one key begins so");
        assert_eq!(suggestion(&Key::root(), "service"), Some("services"));
        let long = "e".repeat(1_000);
        assert_eq!(suggestion(&service, &long), None);
    }

    #[test]
    fn every_unsupported_key_is_in_the_page_for_readers_and_the_other_way_round() {
        let page = include_str!("../../../docs/compose.md");
        let mut written = Vec::new();
        for line in page.lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, key, what, _, _] = cells[..] else { continue };
            if let Some(key) = key.strip_prefix('`').and_then(|key| key.strip_suffix('`'))
                && ["error", "warning"].contains(&what)
            {
                written.push((key.to_owned(), what.to_owned()));
            }
        }
        let word = |severity| if severity == Severity::Error { "error" } else { "warning" };
        let mut table: Vec<(String, String)> =
            UNSUPPORTED.iter().map(|one| (one.key.to_owned(), word(one.severity).to_owned())).collect();
        written.sort();
        table.sort();
        assert_eq!(written, table);
    }
}
