//! Which container specs are admitted, by security.md section 4.
//!
//! A compose file of a fresh clone is somebody else's code: a privileged
//! container or a mount of the engine's socket is root on this machine. Until
//! exceptions can be granted, every such wish is a warning that the plan shows.

use crate::workload::{Container, Mount, MountKind, Volume};

/// Something that a spec wants and that gives power over the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Dotted path below the service: `privileged`, `volumes[1]`.
    pub key: String,
    /// What it would allow, and the way out.
    pub message: String,
    /// How grave it is.
    pub kind: Kind,
    /// The mount that it is about, by its index.
    pub mount: Option<usize>,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It gives power over the machine.
    Power,
    /// A mount from outside every root that gives power over the machine: the system's files, an engine's socket.
    System,
    /// A mount from outside every root, of nothing in particular.
    Outside,
}

/// What an admission looks at.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The container, with the file's names for volumes.
    pub container: &'a Container,
    /// The group's volumes by the file's name.
    pub volumes: &'a indexmap::IndexMap<String, Volume>,
    /// Canonical folders that mounts may come from.
    pub roots: &'a [String],
}

/// Capabilities that give no power over the machine beyond the container's own network and files.
const HARMLESS_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Sockets of engines: whoever has one is root.
const ENGINE_SOCKETS: [&str; 5] =
    ["docker.sock", "podman.sock", "containerd.sock", "crio.sock", "dockershim.sock"];

/// Folders of the system; nothing of a project lives there.
const SYSTEM_PATHS: [&str; 12] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/var/run",
];

/// Everything about a spec that wants a second look, in the order of its keys.
pub fn admit(request: &Request<'_>) -> Vec<Finding> {
    let container = request.container;
    let mut findings = Vec::new();
    let mut find = |key: String, message: String| {
        findings.push(Finding { key, message, kind: Kind::Power, mount: None });
    };

    if container.privileged {
        find("privileged".into(), "gives the container every right over this machine; name the capability it needs in cap_add instead".into());
    }
    let namespaces = [
        ("network_mode", &container.network_mode),
        ("pid", &container.pid),
        ("ipc", &container.ipc),
        ("uts", &container.uts),
        ("userns_mode", &container.userns_mode),
        ("cgroup", &container.cgroup),
    ];
    for (key, value) in namespaces {
        if value.as_deref() == Some("host") {
            find(
                key.into(),
                format!(
                    "shares this machine's {} namespace; leave it out to get one of its own",
                    namespace(key)
                ),
            );
        }
    }
    for (i, device) in container.devices.iter().enumerate() {
        find(format!("devices[{i}]"), format!("gives the container the device {device}"));
    }
    for (i, capability) in container.cap_add.iter().enumerate() {
        let bare = capability.to_ascii_uppercase();
        let bare = bare.strip_prefix("CAP_").unwrap_or(&bare);
        if !HARMLESS_CAPABILITIES.contains(&bare) {
            find(format!("cap_add[{i}]"), format!("{capability} reaches beyond the container"));
        }
    }
    for (i, option) in container.security_opt.iter().enumerate() {
        let option_value = option.replace('=', ":");
        if option_value.ends_with(":unconfined") || option_value == "label:disable" {
            find(format!("security_opt[{i}]"), format!("{option} switches a protection of this machine off"));
        }
    }
    for (i, mount) in container.mounts.iter().enumerate() {
        if let Some((kind, message)) = judge_mount(mount, request) {
            findings.push(Finding { key: format!("volumes[{i}]"), message, kind, mount: Some(i) });
        }
    }
    findings
}

fn namespace(key: &str) -> &str {
    match key {
        "network_mode" => "network",
        "userns_mode" => "user",
        other => other,
    }
}

/// A bind mount, or a volume that is a bind mount in disguise.
fn judge_mount(mount: &Mount, request: &Request<'_>) -> Option<(Kind, String)> {
    let source = mount.source.as_deref()?;
    match mount.kind {
        MountKind::Tmpfs => None,
        MountKind::Bind => judge_source(source, request.roots),
        MountKind::Volume => {
            let volume = request.volumes.get(source)?;
            let options = &volume.driver_opts;
            let binds =
                options.get("o").is_some_and(|o| o.split(',').any(|word| matches!(word, "bind" | "rbind")));
            let device = options.get("device")?;
            if binds { judge_source(device, request.roots) } else { None }
        }
    }
}

fn judge_source(source: &str, roots: &[String]) -> Option<(Kind, String)> {
    let path = tidy(source);
    let name = path.rsplit('/').next().unwrap_or_default();
    let under =
        |folder: &str| path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    let is_inside = roots.iter().any(|root| under(root.trim_end_matches('/')));
    if ENGINE_SOCKETS.contains(&name) {
        let kind = if is_inside { Kind::Power } else { Kind::System };
        return Some((kind, format!("{path} is an engine's socket: whoever has it is root on this machine")));
    }
    if path == "/" {
        return Some((Kind::System, "the whole file system of this machine would be mounted".to_owned()));
    }
    if is_inside {
        return None;
    }
    if SYSTEM_PATHS.iter().any(|folder| under(folder)) {
        return Some((Kind::System, format!("{path} is a system path of this machine")));
    }
    Some((Kind::Outside, format!("mounts {path}, which is outside the project folder")))
}

/// `//etc/./x/../y` → `/etc/y`; `/proc/self/root` and `/proc/N/root` are ways round and are cut off.
/// Symlinks are the caller's to follow: this crate sees no files.
pub fn tidy(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => {
                parts.push(part);
                let is_detour = matches!(parts.as_slice(), ["proc", _, "root" | "cwd"]);
                if is_detour {
                    parts.clear();
                }
            }
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;

    fn judged(container: &Container) -> Vec<String> {
        let mut volumes = IndexMap::new();
        let mut disguised = Volume::default();
        disguised.driver_opts.insert("type".into(), "none".into());
        disguised.driver_opts.insert("o".into(), "bind".into());
        disguised.driver_opts.insert("device".into(), "/etc".into());
        volumes.insert("disguised".to_owned(), disguised);
        volumes.insert("plain".to_owned(), Volume::default());
        let roots = ["/home/ann/shop".to_owned()];
        admit(&Request { container, volumes: &volumes, roots: &roots })
            .into_iter()
            .map(|finding| format!("{}: {}", finding.key, finding.message))
            .collect()
    }

    fn bind(source: &str) -> Mount {
        Mount::new(MountKind::Bind, Some(source.into()), "/x")
    }

    #[test]
    fn an_ordinary_container_is_admitted_without_a_word() {
        let container = Container {
            image: "app".into(),
            cap_add: vec!["CAP_NET_BIND_SERVICE".into(), "chown".into()],
            mounts: vec![
                bind("/home/ann/shop/src"),
                bind("/home/ann/shop"),
                Mount::new(MountKind::Volume, Some("plain".into()), "/data"),
                Mount::new(MountKind::Tmpfs, None, "/tmp"),
            ],
            ..Container::default()
        };
        assert_eq!(judged(&container), Vec::<String>::new());
    }

    #[test]
    fn every_way_to_power_over_the_machine_is_named() {
        let container = Container {
            privileged: true,
            network_mode: Some("host".into()),
            pid: Some("host".into()),
            ipc: Some("host".into()),
            uts: Some("host".into()),
            userns_mode: Some("host".into()),
            cgroup: Some("host".into()),
            devices: vec!["/dev/kvm".into()],
            cap_add: vec!["SYS_ADMIN".into()],
            security_opt: vec![
                "seccomp=unconfined".into(),
                "label:disable".into(),
                "no-new-privileges".into(),
            ],
            ..Container::default()
        };
        let keys: Vec<String> =
            judged(&container).into_iter().map(|line| line.split(':').next().unwrap().to_owned()).collect();
        assert_eq!(
            keys,
            [
                "privileged",
                "network_mode",
                "pid",
                "ipc",
                "uts",
                "userns_mode",
                "cgroup",
                "devices[0]",
                "cap_add[0]",
                "security_opt[0]",
                "security_opt[1]"
            ]
        );
    }

    #[test]
    fn no_spelling_of_a_system_path_gets_through() {
        for source in [
            "/etc",
            "//etc",
            "/./etc",
            "/home/ann/shop/../../../etc",
            "/proc/self/root/etc",
            "/proc/1/root/etc/passwd",
            "/",
        ] {
            assert_eq!(
                judged(&Container { mounts: vec![bind(source)], ..Container::default() }).len(),
                1,
                "{source}"
            );
        }
        let disguised = Mount::new(MountKind::Volume, Some("disguised".into()), "/x");
        assert!(
            judged(&Container { mounts: vec![disguised], ..Container::default() })[0]
                .contains("/etc is a system path")
        );
    }

    #[test]
    fn an_engine_socket_is_refused_wherever_it_is() {
        for source in
            ["/var/run/docker.sock", "/home/ann/shop/docker.sock", "/run/user/1000/podman/podman.sock"]
        {
            let lines = judged(&Container { mounts: vec![bind(source)], ..Container::default() });
            assert!(lines[0].contains("engine's socket"), "{lines:?}");
        }
    }

    #[test]
    fn a_neighbour_folder_with_the_same_beginning_is_outside() {
        let lines =
            judged(&Container { mounts: vec![bind("/home/ann/shop-secrets")], ..Container::default() });
        assert!(lines[0].contains("outside the project folder"), "{lines:?}");
    }
}
