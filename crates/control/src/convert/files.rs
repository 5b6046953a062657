//! Secrets and configs: a file of this machine is mounted, what comes from a variable or stands in the compose file
//! is copied into the container before it starts.

use std::collections::BTreeSet;

use clos_compose::{self as compose, Location, model};
use clos_domain::copied::CopiedFile;
use clos_domain::name::shown;
use clos_domain::secret::Hidden;
use clos_domain::workload::{Container, Mount, MountKind};
use sha2::{Digest as _, Sha256};

use super::{IGNORED_TEXT, Site};

/// Compose's permissions for what it copies.
const MODE: u32 = 0o444;

/// Adds both kinds to the container, whose other mounts are known already.
pub(super) fn add(project: &compose::Project, site: &mut Site<'_>, container: &mut Container) {
    let service = site.service;
    let mut targets: BTreeSet<String> = container.tmpfs.keys().cloned().collect();
    targets.extend(container.mounts.iter().map(|mount| mount.target.clone()));
    let mut copied = Vec::new();
    for (field, wanted, declared) in
        [("configs", &service.configs, &project.configs), ("secrets", &service.secrets, &project.secrets)]
    {
        for (index, file) in wanted.iter().enumerate() {
            let Some(object) = declared.iter().find(|object| object.key == file.source) else {
                let (noun, name) = (field.trim_end_matches('s'), shown(&file.source));
                site.error_in(
                    field,
                    index,
                    &file.at,
                    format!("no {noun} `{name}` is declared under `{field}`"),
                );
                continue;
            };
            let mut one = Reference { site, field, index, file, object };
            let Some(found) = one.read() else { continue };
            let target = match &found {
                Found::Mounted(mount) => &mount.target,
                Found::Copied(file, _) => &file.target,
            };
            if !targets.insert(target.clone()) {
                one.error(format!("`{target}` is mounted already; give it another `target`"));
                continue;
            }
            match found {
                Found::Mounted(mount) => container.mounts.push(mount),
                Found::Copied(file, from) => copied.push((field, index, &one.file.at, file, from)),
            }
        }
    }
    // Once everything is known that is mounted.
    for (field, index, at, file, from) in copied {
        if let Some(obstacle) = container.obstacle(&file.target) {
            let other_target = if container.read_only { "" } else { "give it another `target`, or " };
            let message = format!(
                "{from} and is copied to `{}`, but {obstacle}; {other_target}write it to a file and declare it with `file:`, which is mounted",
                file.target
            );
            site.error_in(field, index, at, message);
            continue;
        }
        container.files.push(file);
    }
}

enum Found {
    Mounted(Mount),
    /// With the words for where its content is from.
    Copied(CopiedFile, String),
}

/// One entry of a service's list, and what it refers to.
struct Reference<'a, 'b, 'c> {
    site: &'a mut Site<'b>,
    field: &'static str,
    index: usize,
    file: &'c model::FileMount,
    object: &'c model::FileObject,
}

impl Reference<'_, '_, '_> {
    fn read(&mut self) -> Option<Found> {
        let noun = self.noun();
        let name = shown(&self.file.source);
        let object = self.object;
        if object.external || object.source == model::FileSource::Elsewhere {
            self.error(format!(
                "the {noun} `{name}` is external, and only clusters keep those; declare it with `file:`"
            ));
            return None;
        }
        if object.template_driver.is_some() {
            self.warn(format!("the template driver of the {noun} `{name}`: {IGNORED_TEXT}"));
        }
        let (content, from) = match &object.source {
            model::FileSource::File(path) => return self.mount(path).map(Found::Mounted),
            model::FileSource::Elsewhere => return None,
            model::FileSource::Inline(text) => {
                (text, format!("the {noun} `{name}` has its content in the compose file"))
            }
            model::FileSource::Variable { name: variable, value: Some(value) } => {
                (value, format!("the {noun} `{name}` comes from the variable `{}`", shown(variable)))
            }
            model::FileSource::Variable { name: variable, value: None } => {
                self.error(format!(
                    "the {noun} `{name}` comes from the variable `{}`, which is not set; set it in the shell or in `.env`",
                    shown(variable)
                ));
                return None;
            }
        };
        self.copy(content.reveal()).map(|file| Found::Copied(file, from))
    }

    fn mount(&mut self, path: &str) -> Option<Mount> {
        if !path.starts_with('/') {
            self.error(format!("`{}` is not a path on this machine", shown(path)));
            return None;
        }
        if self.file.uid.is_some() || self.file.gid.is_some() || self.file.mode.is_some() {
            self.warn("uid, gid and mode are those of the file itself; what is said here has no effect");
        }
        let mut mount = Mount::new(MountKind::Bind, Some(path.to_owned()), self.target());
        mount.read_only = true;
        Some(mount)
    }

    fn copy(&mut self, content: &str) -> Option<CopiedFile> {
        let target = self.target();
        let steps: Vec<&str> = target.split('/').filter(|step| !matches!(*step, "" | ".")).collect();
        if steps.is_empty() || steps.contains(&"..") || target.ends_with('/') {
            self.error(format!("`{}` names no file; give the path of a file, without `..`", shown(&target)));
            return None;
        }
        let uid = self.number("uid", self.file.uid.as_deref());
        let gid = self.number("gid", self.file.gid.as_deref());
        Some(CopiedFile {
            target: format!("/{}", steps.join("/")),
            content: Hidden::new(content),
            digest: data_encoding::HEXLOWER.encode(&Sha256::digest(content)),
            uid: uid?,
            gid: gid?,
            mode: self.file.mode.unwrap_or(MODE),
        })
    }

    fn target(&self) -> String {
        let folder = if self.field == "secrets" { "/run/secrets/" } else { "/" };
        match self.file.target.as_deref() {
            Some(target) if target.starts_with('/') => target.to_owned(),
            Some(target) => format!("{folder}{target}"),
            None => format!("{folder}{}", self.file.source),
        }
    }

    /// Root where the file says nothing.
    fn number(&mut self, key: &str, text: Option<&str>) -> Option<u32> {
        let Some(text) = text else { return Some(0) };
        let number = text.parse().ok();
        if number.is_none() {
            let message =
                format!("{key} `{}` is not a number; the container's names are not known here", shown(text));
            self.error(message);
        }
        number
    }

    fn noun(&self) -> &'static str {
        self.field.trim_end_matches('s')
    }

    fn at(&self) -> Location {
        self.file.at.clone()
    }

    fn error(&mut self, message: impl Into<String>) {
        let at = self.at();
        self.site.error_in(self.field, self.index, &at, message);
    }

    fn warn(&mut self, message: impl Into<String>) {
        let at = self.at();
        self.site.warn_in(self.field, self.index, &at, message);
    }
}
