//! Files that are copied into a container between its create and its start: secrets and configs whose content
//! comes from a variable or stands in the compose file.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::secret::Hidden;
use crate::workload::{Container, MountKind};

/// One file to copy.
///
/// The store holds the content as it holds the values of secret variables: as plain text, until secrets are
/// encrypted at rest. Everything else that is kept or told of a container has the digest or less.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CopiedFile {
    /// Absolute path in the container.
    pub target: String,
    /// What is in it; empty in a fingerprint.
    #[serde(skip_serializing_if = "Hidden::is_empty")]
    pub content: Hidden,
    /// SHA-256 of the content in hex.
    pub digest: String,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permissions.
    pub mode: u32,
}

/// Why a file cannot be copied to its place, or would not be seen there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle<'a> {
    /// The container's file system cannot be written to.
    ReadOnly,
    /// Something is mounted there.
    Mount {
        /// What.
        kind: MountKind,
        /// Where.
        target: &'a str,
    },
    /// The engine mounts its own there in every container.
    Engine(&'static str),
}

impl fmt::Display for Obstacle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadOnly => f.write_str("the service is `read_only`"),
            Self::Mount { kind: MountKind::Bind, target } => {
                write!(f, "the bind mount at `{target}` covers it")
            }
            Self::Mount { kind: MountKind::Volume, target } => {
                write!(f, "the volume at `{target}` covers it")
            }
            Self::Mount { kind: MountKind::Tmpfs, target } => write!(f, "the tmpfs at `{target}` covers it"),
            Self::Engine(target) => write!(f, "the engine mounts its own `{target}` there"),
        }
    }
}

/// What the engine mounts in every container.
const OF_THE_ENGINE: [&str; 6] = ["/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

impl Container {
    /// What is in the way of a file that is copied to this place.
    pub fn obstacle(&self, file: &str) -> Option<Obstacle<'_>> {
        if self.read_only {
            return Some(Obstacle::ReadOnly);
        }
        let mounts = self.mounts.iter().map(|mount| (mount.kind, mount.target.as_str()));
        let tmpfs = self.tmpfs.keys().map(|target| (MountKind::Tmpfs, target.as_str()));
        let covering = mounts.chain(tmpfs).find(|(_, target)| is_within(file, target));
        if let Some((kind, target)) = covering {
            return Some(Obstacle::Mount { kind, target });
        }
        OF_THE_ENGINE.into_iter().find(|target| is_within(file, target)).map(Obstacle::Engine)
    }
}

/// Whether a path is this folder's or below it.
pub fn is_within(path: &str, folder: &str) -> bool {
    let rest = path.strip_prefix(folder.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Mount;

    #[test]
    fn what_is_mounted_over_a_file_is_in_its_way() {
        let mut container = Container {
            mounts: vec![
                Mount::new(MountKind::Volume, Some("data".into()), "/data/"),
                Mount::new(MountKind::Bind, Some("/src".into()), "/run/secrets/other"),
            ],
            tmpfs: [("/tmp".to_owned(), String::new())].into(),
            ..Container::default()
        };
        let told = |container: &Container, file: &str| container.obstacle(file).map(|it| it.to_string());
        assert_eq!(told(&container, "/run/secrets/key"), None);
        assert_eq!(told(&container, "/database"), None);
        for (file, expected) in [
            ("/data/x/y", "the volume at `/data/` covers it"),
            ("/data", "the volume at `/data/` covers it"),
            ("/run/secrets/other", "the bind mount at `/run/secrets/other` covers it"),
            ("/tmp/x", "the tmpfs at `/tmp` covers it"),
            ("/dev/shm/x", "the engine mounts its own `/dev` there"),
            ("/etc/hosts", "the engine mounts its own `/etc/hosts` there"),
        ] {
            assert_eq!(told(&container, file).as_deref(), Some(expected), "{file}");
        }
        container.mounts.push(Mount::new(MountKind::Tmpfs, None, "/"));
        assert!(container.obstacle("/run/secrets/key").is_some());
        container.read_only = true;
        assert_eq!(told(&container, "/x").as_deref(), Some("the service is `read_only`"));
    }

    #[test]
    fn the_content_is_in_the_json_and_nowhere_else() {
        let file = CopiedFile { content: Hidden::new("hunter2"), ..CopiedFile::default() };
        assert!(!format!("{file:?}").contains("hunter2"));
        let json = serde_json::to_string(&file).unwrap();
        assert!(json.contains("hunter2"), "{json}");
        assert_eq!(serde_json::from_str::<CopiedFile>(&json).unwrap(), file);
    }
}
