//! Files that are copied into a container that was made and is not started yet.

use std::io;

use bollard::query_parameters::UploadToContainerOptions;
use clos_domain::copied::{CopiedFile, is_within};
use clos_domain::seams::engine::Error;

use crate::call::{Effect, within};
use crate::deadline;
use crate::docker::Docker;

/// Puts the files into the container.
pub(crate) async fn into(
    docker: &Docker,
    id: &str,
    container: &str,
    files: &[CopiedFile],
) -> Result<(), Error> {
    let shown = docker.inspect_exactly(id).await?.ok_or_else(|| Error::NotFound(container.to_owned()))?;
    // Also the image's own volumes and those of other containers, which nobody else knows of: the content would
    // be kept in them when the container is gone.
    let mounted: Vec<String> =
        shown.mounts.into_iter().flatten().filter_map(|mount| mount.destination).collect();
    for file in files {
        if let Some(target) = mounted.iter().find(|target| is_within(&file.target, target)) {
            return Err(Error::Refused(format!(
                "`{}` is a secret or config that is copied into the container, and a volume at `{target}` covers it",
                file.target
            )));
        }
    }
    // As old as the container: what serves files tells a changed one by its time.
    let created = shown.created.and_then(|time| u64::try_from(time.unix_timestamp()).ok());
    let archive = archive(files, created.unwrap_or_default())
        .map_err(|error| Error::Failed(format!("copy files into `{container}`: {error}")))?;

    let options = UploadToContainerOptions {
        path: "/".to_owned(),
        no_overwrite_dir_non_dir: Some("1".to_owned()),
        // Without it the owners are those of the archive, with it the container's user.
        copy_uidgid: None,
    };
    let what = format!("copy files into `{container}`");
    let call = docker.client().upload_to_container(id, Some(options), bollard::body_full(archive.into()));
    within(deadline::CREATE, &what, Effect::Changes, call).await.map_err(Error::from)
}

/// A tar of them below the root. Folders that are missing are made by the engine.
fn archive(files: &[CopiedFile], modified: u64) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for file in files {
        let content = file.content.reveal().as_bytes();
        let mut header = tar::Header::new_gnu();
        header.set_mode(file.mode);
        header.set_uid(file.uid.into());
        header.set_gid(file.gid.into());
        header.set_mtime(modified);
        header.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
        archive.append_data(&mut header, file.target.trim_start_matches('/'), content)?;
    }
    archive.into_inner()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use clos_domain::secret::Hidden;

    use super::*;

    #[test]
    fn a_file_is_packed_with_its_owner_and_permissions() {
        let long = format!("/{}/x", "folder/".repeat(30).trim_end_matches('/'));
        let file = |target: &str| CopiedFile {
            target: target.to_owned(),
            content: Hidden::new("hunter2"),
            digest: String::new(),
            uid: 4_000_000_000,
            gid: 7,
            mode: 0o440,
        };
        let bytes = archive(&[file("/run/secrets/key"), file(&long)], 42).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut paths = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (4_000_000_000, 7));
            assert_eq!((header.mode().unwrap(), header.mtime().unwrap()), (0o440, 42));
            paths.push(format!("/{}", entry.path().unwrap().display()));
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            assert_eq!(content, "hunter2");
        }
        assert_eq!(paths, ["/run/secrets/key".to_owned(), long]);
    }
}
