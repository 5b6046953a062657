//! Files under roots.
//!
//! The path is opened first, without reading from it, and the kernel is asked
//! what the opened file is called; that name has to lie below a root. So a
//! symlink, a `..`, `//etc` or `/proc/self/root/etc` leads to the same question
//! about the same file, and nothing that changes in between leads elsewhere.
//! Only then, and only when it is a regular file, is it opened for reading,
//! through the handle.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use clos_domain::seams::Files;
use clos_domain::seams::files::{Error, FileKind};
use rustix::io::Errno;

use crate::blocking;

/// How long a file may take; a dead network file system never answers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Symlinks that are followed before a path counts as a loop, as in Linux.
const MAX_LINKS: usize = 40;

/// Reads files of this machine, below the roots that the caller names.
#[derive(Debug, Clone)]
pub struct RootedFiles {
    home: PathBuf,
}

impl RootedFiles {
    /// `home` is the user's home folder, which is never a root.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self { home: home.into() }
    }
}

#[async_trait]
impl Files for RootedFiles {
    async fn project_root(&self, working_dir: &str) -> Option<String> {
        let (home, working_dir) = (self.home.clone(), PathBuf::from(working_dir));
        blocking::within(PATIENCE, move || project_root(&home, &working_dir)).await.flatten()
    }

    async fn read_text(&self, roots: &[String], path: &str, limit: u64) -> Result<String, Error> {
        let (roots, asked) = (roots.to_vec(), path.to_owned());
        let work = move || read_text(&roots, &asked, limit);
        blocking::within(PATIENCE, work).await.unwrap_or_else(|| Err(too_slow(path)))
    }

    async fn resolve(&self, roots: &[String], path: &str) -> Result<(String, FileKind), Error> {
        let (roots, asked) = (roots.to_vec(), path.to_owned());
        let work = move || {
            let opened = open_below(&roots, &asked)?;
            Ok((text(&asked, opened.path)?, kind(&opened.metadata)))
        };
        blocking::within(PATIENCE, work).await.unwrap_or_else(|| Err(too_slow(path)))
    }

    async fn canonical(&self, path: &str) -> String {
        let asked = PathBuf::from(path);
        let followed = blocking::within(PATIENCE, move || follow(&asked)).await.flatten();
        followed.and_then(|path| path.into_os_string().into_string().ok()).unwrap_or_else(|| path.to_owned())
    }

    async fn exists(&self, path: &str) -> bool {
        let asked = PathBuf::from(path);
        blocking::within(PATIENCE, move || asked.try_exists().unwrap_or(true)).await.unwrap_or(true)
    }
}

fn project_root(home: &Path, working_dir: &Path) -> Option<String> {
    let working_dir = fs::canonicalize(working_dir).ok()?;
    let home = fs::canonicalize(home).unwrap_or_else(|_| home.to_owned());
    // `/`, the home folder, and whatever holds the home folder.
    let is_too_wide = |folder: &Path| folder.parent().is_none() || home.starts_with(folder);
    if is_too_wide(&working_dir) || !working_dir.is_dir() {
        return None;
    }
    let repository = working_dir
        .ancestors()
        .take_while(|folder| !is_too_wide(folder))
        .find(|folder| folder.join(".git").symlink_metadata().is_ok());
    let root = repository.map_or_else(|| working_dir.clone(), Path::to_owned);
    root.into_os_string().into_string().ok()
}

/// A file that lies below a root, not read from yet.
struct Opened {
    handle: File,
    /// The name of the opened file, without symlinks.
    path: PathBuf,
    metadata: Metadata,
}

fn open_below(roots: &[String], asked: &str) -> Result<Opened, Error> {
    if !asked.starts_with('/') {
        return Err(unreadable(asked, "the path is not absolute"));
    }
    if asked.contains('\0') {
        return Err(unreadable(asked, "the path contains a NUL character"));
    }
    let roots: Vec<PathBuf> = roots.iter().filter_map(|root| fs::canonicalize(root).ok()).collect();
    let is_below = |path: &Path| roots.iter().any(|root| path.starts_with(root));
    let opened = open(Path::new(asked)).map_err(|error| {
        let is_absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        // What is outside is called outside, there or not.
        match follow(Path::new(asked)) {
            Some(path) if !is_below(&path) => Error::OutsideRoot(asked.to_owned()),
            _ if is_absent => Error::NotFound(asked.to_owned()),
            _ => unreadable(asked, &words(&error)),
        }
    })?;
    if is_below(&opened.path) { Ok(opened) } else { Err(Error::OutsideRoot(asked.to_owned())) }
}

/// Opens without reading, and asks the kernel for the opened file's name.
#[cfg(target_os = "linux")]
fn open(path: &Path) -> io::Result<Opened> {
    use rustix::fs::{Mode, OFlags};
    use std::os::fd::AsRawFd as _;

    let handle = File::from(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?);
    let path = fs::read_link(format!("/proc/self/fd/{}", handle.as_raw_fd()))?;
    let metadata = handle.metadata()?;
    Ok(Opened { handle, path, metadata })
}

/// Opens the file that was judged, and no other, for reading.
#[cfg(target_os = "linux")]
fn reopen(opened: Opened) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    use std::os::fd::AsRawFd as _;

    let name = format!("/proc/self/fd/{}", opened.handle.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(name, flags, Mode::empty())?))
}

/// Opens without waiting for anybody (a fifo has a writer, a terminal a user),
/// and takes the canonical name only if it still names the opened file.
#[cfg(not(target_os = "linux"))]
fn open(path: &Path) -> io::Result<Opened> {
    use rustix::fs::{Mode, OFlags};
    use std::os::unix::fs::MetadataExt as _;

    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let handle = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = handle.metadata()?;
    let path = fs::canonicalize(path)?;
    let named = fs::symlink_metadata(&path)?;
    if (named.dev(), named.ino()) != (metadata.dev(), metadata.ino()) {
        return Err(io::Error::other("the file was replaced while it was opened"));
    }
    Ok(Opened { handle, path, metadata })
}

/// The file is open for reading already.
#[cfg(not(target_os = "linux"))]
fn reopen(opened: Opened) -> io::Result<File> {
    Ok(opened.handle)
}

fn read_text(roots: &[String], asked: &str, limit: u64) -> Result<String, Error> {
    let opened = open_below(roots, asked)?;
    match kind(&opened.metadata) {
        FileKind::File => {}
        FileKind::Folder => return Err(unreadable(asked, "it is a folder")),
        FileKind::Other => return Err(unreadable(asked, "it is a device, a fifo or a socket")),
    }
    let too_large = || Error::TooLarge { path: asked.to_owned(), limit };
    if opened.metadata.len() > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    reopen(opened)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|error| unreadable(asked, &words(&error)))?;
    // It may have grown since it was measured.
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|_| unreadable(asked, "it is not UTF-8 text"))
}

fn kind(metadata: &Metadata) -> FileKind {
    if metadata.is_file() {
        FileKind::File
    } else if metadata.is_dir() {
        FileKind::Folder
    } else {
        FileKind::Other
    }
}

/// Follows every symlink, also one that leads to nothing; what does not exist is
/// kept as it is written. `None` when the path is relative or links run in a circle.
fn follow(path: &Path) -> Option<PathBuf> {
    if !path.is_absolute() {
        return None;
    }
    let mut pending = reversed(path);
    let mut followed = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = pending.pop() {
        if name == ".." {
            followed.pop();
            continue;
        }
        let next = followed.join(&name);
        let Ok(target) = fs::read_link(&next) else {
            followed = next;
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return None;
        }
        if target.is_absolute() {
            followed = PathBuf::from("/");
        }
        pending.extend(reversed(&target));
    }
    Some(followed)
}

/// The names of a path, the last first; `/` and `.` are no names.
fn reversed(path: &Path) -> Vec<OsString> {
    let mut names: Vec<OsString> = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect();
    names.reverse();
    names
}

fn text(asked: &str, path: PathBuf) -> Result<String, Error> {
    path.into_os_string().into_string().map_err(|_| unreadable(asked, "its name is not UTF-8 text"))
}

fn unreadable(path: &str, why: &str) -> Error {
    Error::Unreadable { path: path.to_owned(), why: why.to_owned() }
}

fn too_slow(path: &str) -> Error {
    unreadable(path, &format!("the file system did not answer within {} s", PATIENCE.as_secs()))
}

fn words(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS | Errno::PERM) => "permission denied".to_owned(),
        Some(Errno::LOOP) => "symlinks run in a circle".to_owned(),
        _ => error.to_string().to_lowercase(),
    }
}
