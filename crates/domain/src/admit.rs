//! What a spec asks for that gives power over this machine.
//!
//! A compose file of a fresh clone, and a spec that arrives over TCP, are somebody else's code: a privileged
//! container or a mount of the engine's socket is root on this machine. This is the one rule for all of them.
//! It only finds: whether a finding is noted or refused depends on who asks, which `control::admission` decides.

use crate::workload::{Container, Mount, MountKind, Volume};

/// Something that a spec wants and that gives power over the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Dotted path below the service: `privileged`, `volumes[1]`, `build.network`.
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
    /// The containers of the group that are defined already, by their services' names: what is shared with one
    /// of them is as powerful as it is.
    pub siblings: &'a [(&'a str, &'a Container)],
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
    for key in NAMESPACES {
        let Some(value) = shared_namespace(container, key, request.siblings) else { continue };
        let whose = match stranger(value) {
            _ if value == "host" => "this machine's".to_owned(),
            // Which may well be the machine's.
            Some(name) => format!("container {name}'s"),
            None => continue,
        };
        let message =
            format!("shares {whose} {} namespace; leave it out to get one of its own", namespace(key));
        find(key.into(), message);
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
        if switches_off(option) {
            find(format!("security_opt[{i}]"), format!("{option} switches a protection of this machine off"));
        }
    }
    for (i, from) in container.volumes_from.iter().enumerate() {
        if let Some(name) = stranger(from) {
            let message = format!("takes the mounts of container {name}, which this project does not define");
            find(format!("volumes_from[{i}]"), message);
        }
        let sibling = sibling(request.siblings, from.split(':').next().unwrap_or_default());
        let mounts = sibling.into_iter().flat_map(|sibling| &sibling.mounts);
        for (_, message) in mounts.filter_map(|mount| judge_mount(mount, request)) {
            find(format!("volumes_from[{i}]"), format!("takes the mounts of {from}: {message}"));
        }
    }
    if container.build.as_ref().and_then(|build| build.network.as_deref()) == Some("host") {
        find("build.network".into(), "the build uses this machine's network; leave it out".into());
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

const NAMESPACES: [&str; 6] = ["network_mode", "pid", "ipc", "uts", "userns_mode", "cgroup"];

/// What a namespace of a container is in the end: services that share one are followed.
fn shared_namespace<'a>(
    mut container: &'a Container,
    key: &str,
    siblings: &[(&str, &'a Container)],
) -> Option<&'a str> {
    // Services that share in a circle are somebody else's to refuse.
    for _ in 0..=siblings.len() {
        let value = match key {
            "network_mode" => &container.network_mode,
            "pid" => &container.pid,
            "ipc" => &container.ipc,
            "uts" => &container.uts,
            "userns_mode" => &container.userns_mode,
            _ => &container.cgroup,
        };
        let value = value.as_deref()?;
        match value.strip_prefix("service:").and_then(|name| sibling(siblings, name)) {
            Some(next) => container = next,
            None => return Some(value),
        }
    }
    None
}

fn sibling<'a>(siblings: &[(&str, &'a Container)], name: &str) -> Option<&'a Container> {
    siblings.iter().find(|(known, _)| *known == name).map(|(_, container)| *container)
}

/// The container of `container:NAME`.
fn stranger(value: &str) -> Option<&str> {
    value.strip_prefix("container:").filter(|name| !name.is_empty())
}

/// Whether a security option switches a protection of this machine off, or replaces it with one nobody has read.
fn switches_off(option: &str) -> bool {
    let option = option.trim().to_ascii_lowercase().replacen('=', ":", 1);
    let (name, value) = option.split_once(':').unwrap_or((&option, ""));
    match name {
        "label" => value == "disable" || value.starts_with("type:"),
        // A profile of the caller's own may allow everything.
        "seccomp" => !matches!(value, "" | "builtin" | "default"),
        _ => value == "unconfined",
    }
}

fn judge_mount(mount: &Mount, request: &Request<'_>) -> Option<(Kind, String)> {
    let source = mount.source.as_deref()?;
    match mount.kind {
        MountKind::Tmpfs => None,
        MountKind::Bind => judge_source(source, request.roots),
        MountKind::Volume => judge_volume(request.volumes.get(source)?, request.roots),
    }
}

/// File systems of a volume that show no path of this machine.
const HARMLESS_FILE_SYSTEMS: [&str; 6] = ["", "cifs", "nfs", "nfs4", "smb3", "tmpfs"];

/// A volume that is a bind mount, a disk or an overlay of this machine in disguise. The engine's own driver hands
/// `type`, `device` and `o` to mount(8).
pub fn judge_volume(volume: &Volume, roots: &[String]) -> Option<(Kind, String)> {
    if !matches!(volume.driver.as_deref(), None | Some("" | "local")) {
        return None;
    }
    let option = |key: &str| volume.driver_opts.get(key).map(String::as_str).unwrap_or_default();
    let (device, file_system) = (option("device"), option("type"));
    let binds = option("o").split(',').any(|word| matches!(word.trim(), "bind" | "rbind"));
    if !binds && HARMLESS_FILE_SYSTEMS.contains(&file_system) {
        return None;
    }
    if device.starts_with('/') {
        return judge_source(device, roots);
    }
    let message =
        format!("mounts a file system of type `{file_system}`, which may show any path of this machine");
    (!binds && file_system != "none").then_some((Kind::Power, message))
}

/// Whether a folder is the system's own: it is no project, whoever says so.
pub fn is_system_path(path: &str) -> bool {
    let path = tidy(path);
    path == "/" || SYSTEM_PATHS.iter().any(|folder| is_under(&path, folder))
}

fn is_under(path: &str, folder: &str) -> bool {
    path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn judge_source(source: &str, roots: &[String]) -> Option<(Kind, String)> {
    let path = tidy(source);
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_inside = roots.iter().any(|root| is_under(&path, root.trim_end_matches('/')));
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
    if SYSTEM_PATHS.iter().any(|folder| is_under(&path, folder)) {
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
        let host = Container {
            network_mode: Some("host".into()),
            mounts: vec![bind("/home/bob")],
            ..Container::default()
        };
        let guest = Container { network_mode: Some("service:host".into()), ..Container::default() };
        let siblings = [("host", &host), ("guest", &guest)];
        admit(&Request { container, volumes: &volumes, siblings: &siblings, roots: &roots })
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

    fn judged_volume(options: &[(&str, &str)]) -> Option<Kind> {
        let driver_opts =
            options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let volume = Volume { driver_opts, ..Volume::default() };
        judge_volume(&volume, &["/home/ann/shop".to_owned()]).map(|(kind, _)| kind)
    }

    #[test]
    fn a_volume_is_judged_by_what_its_options_make_the_engine_mount() {
        for (options, wanted) in [
            (&[("type", "tmpfs"), ("device", "tmpfs")][..], None),
            (&[("type", "nfs"), ("o", "addr=10.0.0.1"), ("device", ":/data")], None),
            (&[("type", "none"), ("o", "bind"), ("device", "/home/ann/shop/data")], None),
            (&[("type", "none"), ("o", "rw,bind"), ("device", "/home/bob")], Some(Kind::Outside)),
            (&[("type", "tmpfs"), ("o", "rbind"), ("device", "/etc")], Some(Kind::System)),
            (&[("type", "ext4"), ("device", "/dev/sda1")], Some(Kind::System)),
            (&[("type", "overlay"), ("o", "lowerdir=/"), ("device", "overlay")], Some(Kind::Power)),
        ] {
            assert_eq!(judged_volume(options), wanted, "{options:?}");
        }
    }

    #[test]
    fn what_belongs_to_a_container_of_somebody_else_is_named() {
        let build = crate::workload::Build { network: Some("host".into()), ..Default::default() };
        let container = Container {
            network_mode: Some("container:theirs".into()),
            pid: Some("service:db".into()),
            ipc: Some("shareable".into()),
            volumes_from: vec!["db".into(), "container:theirs:ro".into()],
            build: Some(build),
            security_opt: vec![
                "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}".into(),
                "label:type:spc_t".into(),
                "seccomp=builtin".into(),
                "systempaths=unconfined".into(),
            ],
            ..Container::default()
        };
        let lines = judged(&container);
        let keys: Vec<&str> = lines.iter().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(
            keys,
            [
                "network_mode",
                "security_opt[0]",
                "security_opt[1]",
                "security_opt[3]",
                "volumes_from[1]",
                "build.network"
            ]
        );
    }

    #[test]
    fn what_is_shared_with_a_service_is_as_powerful_as_that_service() {
        let container = Container {
            network_mode: Some("service:guest".into()),
            volumes_from: vec!["guest:ro".into(), "host:ro".into()],
            ..Container::default()
        };
        assert_eq!(
            judged(&container),
            [
                "network_mode: shares this machine's network namespace; leave it out to get one of its own",
                "volumes_from[1]: takes the mounts of host:ro: mounts /home/bob, which is outside the project folder",
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
