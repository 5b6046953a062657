//! What is mounted: volumes and folders, memory, and the files that secrets and configs are.

use std::collections::{BTreeMap, BTreeSet};

use clos_compose::{self as compose, Location, model};
use clos_domain::name::shown;
use clos_domain::workload::{Mount, MountKind};

use super::{IGNORED_TEXT, Site, limits};

/// Everything in the container's tree but the short `tmpfs`.
pub(super) fn mounts(project: &compose::Project, site: &mut Site<'_>) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for (index, mount) in site.service.volumes.iter().enumerate() {
        mounts.extend(one(site, index, mount));
    }
    let service = site.service;
    let short = service.tmpfs.iter().map(|text| text.split(':').next().unwrap_or_default());
    let mut targets: BTreeSet<String> = short.map(str::to_owned).collect();
    targets.extend(mounts.iter().map(|mount| mount.target.clone()));
    for (field, wanted, declared) in
        [("configs", &service.configs, &project.configs), ("secrets", &service.secrets, &project.secrets)]
    {
        for (index, file) in wanted.iter().enumerate() {
            let Some(mount) = file_mount(site, field, index, file, declared) else { continue };
            if !targets.insert(mount.target.clone()) {
                let message = format!("`{}` is mounted already; give it another `target`", mount.target);
                site.error_in(field, index, &file.at, message);
                continue;
            }
            mounts.push(mount);
        }
    }
    mounts
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
            format!("`{}` is no path of this machine; paths start with `/`, `./` or `~/`", shown(source));
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
        let message = format!("`{}` is no absolute path; paths in a container start with `/`", shown(target));
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

/// A secret or config that is a file of this machine is mounted where the service wants it, to read only.
fn file_mount(
    site: &mut Site<'_>,
    field: &str,
    index: usize,
    file: &model::FileMount,
    declared: &[model::FileObject],
) -> Option<Mount> {
    let noun = field.trim_end_matches('s');
    let name = shown(&file.source);
    let Some(object) = declared.iter().find(|object| object.key == file.source) else {
        site.error_in(field, index, &file.at, format!("no {noun} `{name}` is declared under `{field}`"));
        return None;
    };
    let refusal = match &object.source {
        model::FileSource::File(_) if object.external => Some(format!(
            "the {noun} `{name}` is external, and only clusters keep those; declare it with `file:`"
        )),
        model::FileSource::File(path) if !path.starts_with('/') => {
            Some(format!("`{}` is no path of this machine", shown(path)))
        }
        model::FileSource::File(_) => None,
        model::FileSource::Variable { name: variable, .. } => Some(format!(
            "the {noun} `{name}` comes from the variable {}, and only files can be mounted; write it to a file and declare it with `file:`, or pass it by `environment`",
            shown(variable)
        )),
        model::FileSource::Inline(_) => Some(format!(
            "the {noun} `{name}` has its content in the compose file, and only files can be mounted; write it to a file and declare it with `file:`"
        )),
        model::FileSource::Elsewhere => Some(format!(
            "the {noun} `{name}` is external, and only clusters keep those; declare it with `file:`"
        )),
    };
    if let Some(message) = refusal {
        site.error_in(field, index, &file.at, message);
        return None;
    }
    let model::FileSource::File(path) = &object.source else { return None };
    if file.uid.is_some() || file.gid.is_some() || file.mode.is_some() {
        let message = "uid, gid and mode are those of the file itself; what is said here has no effect";
        site.warn_in(field, index, &file.at, message);
    }
    if object.template_driver.is_some() {
        let message = format!("the template driver of the {noun} `{name}`: {IGNORED_TEXT}");
        site.warn_in(field, index, &file.at, message);
    }
    let folder = if noun == "secret" { "/run/secrets/" } else { "/" };
    let target = match file.target.as_deref() {
        Some(target) if target.starts_with('/') => target.to_owned(),
        Some(target) => format!("{folder}{target}"),
        None => format!("{folder}{}", file.source),
    };
    let mut mount = Mount::new(MountKind::Bind, Some(path.clone()), target);
    mount.read_only = true;
    Some(mount)
}
