//! What is mounted: volumes, folders and memory.

use std::collections::BTreeMap;

use clos_compose::{Location, model};
use clos_domain::name::shown;
use clos_domain::workload::{Mount, MountKind};

use super::{Site, limits};

/// Everything in the container's tree but the short `tmpfs`, secrets and configs.
pub(super) fn mounts(site: &mut Site<'_>) -> Vec<Mount> {
    let wanted = site.service.volumes.iter().enumerate();
    wanted.filter_map(|(index, mount)| one(site, index, mount)).collect()
}

fn one(site: &mut Site<'_>, index: usize, mount: &model::Mount) -> Option<Mount> {
    let kind = match mount.kind {
        model::MountKind::Bind => MountKind::Bind,
        model::MountKind::Volume => MountKind::Volume,
        model::MountKind::Tmpfs => MountKind::Tmpfs,
        model::MountKind::Image | model::MountKind::NamedPipe | model::MountKind::Cluster => {
            let message = format!(
                "mounts of type `{}` are not supported; use bind, volume or tmpfs",
                mount.kind.as_str()
            );
            site.error_in("volumes", index, &mount.at, message);
            return None;
        }
    };
    if !is_absolute(site, "volumes", index, &mount.at, &mount.target) {
        return None;
    }
    let source = mount.source.clone().filter(|_| kind != MountKind::Tmpfs);
    let mut converted = Mount::new(kind, source, mount.target.clone());
    converted.read_only = mount.read_only;
    match kind {
        MountKind::Bind => bind(site, index, mount, &mut converted)?,
        MountKind::Volume => {
            let options = mount.volume.clone().unwrap_or_default();
            converted.no_copy = options.no_copy;
            converted.subpath = options.subpath;
            if !options.labels.is_empty() {
                let message =
                    "labels of a volume belong to its entry under `volumes`; they have no effect here";
                site.warn_in("volumes", index, &mount.at, message);
            }
        }
        MountKind::Tmpfs => {
            let options = mount.tmpfs.clone().unwrap_or_default();
            converted.size = limits::bytes(site, "volumes", options.size);
            converted.mode = options.mode;
        }
    }
    Some(converted)
}

fn bind(site: &mut Site<'_>, index: usize, mount: &model::Mount, converted: &mut Mount) -> Option<()> {
    let source = mount.source.as_deref().unwrap_or_default();
    if !source.starts_with('/') {
        let message =
            format!("`{}` is not a path on this machine; paths start with `/`, `./` or `~/`", shown(source));
        site.error_in("volumes", index, &mount.at, message);
        return None;
    }
    let Some(options) = &mount.bind else { return Some(()) };
    converted.create_host_path = options.create_host_path;
    converted.propagation = options.propagation.clone();
    converted.selinux = options.selinux.clone();
    if let Some(word) = options.recursive.as_deref().filter(|word| *word != "enabled") {
        let message = format!(
            "`recursive: {word}` is not supported: what is mounted below the folder comes along; leave it out"
        );
        site.error_in("volumes", index, &mount.at, message);
        return None;
    }
    Some(())
}

fn is_absolute(site: &mut Site<'_>, field: &str, index: usize, at: &Location, target: &str) -> bool {
    let good = target.starts_with('/');
    if !good {
        let is_drive = matches!(target.as_bytes(), [letter, b':', b'/', ..] if letter.is_ascii_alphabetic());
        let message = if is_drive {
            format!(
                "`{}` is a path of Windows to Compose; give the volume a name of two or more letters",
                shown(target)
            )
        } else {
            format!("`{}` is not an absolute path; paths in a container start with `/`", shown(target))
        };
        site.error_in(field, index, at, message);
    }
    good
}

/// `/run`, `/run:size=64m,mode=1777`.
pub(super) fn tmpfs(site: &mut Site<'_>) -> BTreeMap<String, String> {
    let mut mounts = BTreeMap::new();
    let at = site.at("tmpfs");
    for (index, text) in site.service.tmpfs.iter().enumerate() {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        if is_absolute(site, "tmpfs", index, &at, target) {
            mounts.insert(target.to_owned(), options.to_owned());
        }
    }
    mounts
}
