//! The folder of a build as the engine wants it: a tar, streamed, without what
//! `.dockerignore` leaves out.
//!
//! The rules are Docker's (docs.docker.com/build/concepts/context): patterns are relative to
//! the context's root, the last one that matches a file or a folder above it
//! decides, `!` takes back in. One pattern alone means the same to git, once it is
//! anchored; so git's matcher reads them, one by one.

use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use clos_domain::workload::Build;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes in one piece of the stream.
const PIECE: usize = 64 * 1024;
/// Pieces that wait for the engine; the reader of the folder waits then.
const WAITING: usize = 16;
/// Where a Dockerfile goes that is not in the folder.
const OUTSIDE: &str = ".clos.dockerfile";
const IGNORE: &str = ".dockerignore";

/// What is sent, and under which name the Dockerfile is in it.
#[derive(Debug)]
pub(crate) struct Context {
    root: PathBuf,
    rules: Rules,
    /// Text of a Dockerfile that is not a file of the folder.
    inline: Option<String>,
    /// The `.dockerignore` that is sent with such a text. The classic builder takes out of the context what it
    /// names of itself and of the Dockerfile, so that `COPY . .` does not find them; BuildKit does not.
    ignore: Option<String>,
    pub(crate) dockerfile: String,
    unread: Arc<OnceLock<String>>,
}

impl Context {
    /// Reads what decides what is sent.
    ///
    /// # Errors
    /// Words for people: no such folder, no Dockerfile, a bad pattern.
    pub(crate) async fn open(build: &Build) -> Result<Self, String> {
        let build = build.clone();
        let opened = tokio::task::spawn_blocking(move || Self::open_now(&build));
        opened.await.map_err(|error| error.to_string())?
    }

    fn open_now(build: &Build) -> Result<Self, String> {
        let root = PathBuf::from(&build.context);
        if !root.is_dir() {
            return Err(format!("the build context {} is not a folder", root.display()));
        }
        let named = build.dockerfile.as_deref().unwrap_or("Dockerfile");
        let path = root.join(named);
        let (inline, dockerfile) = match &build.dockerfile_inline {
            Some(text) => (Some(text.clone()), OUTSIDE.to_owned()),
            None => {
                let inside = inside(&root, &path);
                let text = read(&path)
                    .map_err(|error| format!("the Dockerfile {} cannot be read: {error}", path.display()))?;
                match inside {
                    Some(name) => (None, name),
                    None => (Some(text), OUTSIDE.to_owned()),
                }
            }
        };
        // A list beside the Dockerfile is for that Dockerfile alone, and comes first.
        let own = PathBuf::from(format!("{}.dockerignore", path.display()));
        let lists = [own, root.join(IGNORE)];
        let [own, shared] = lists.map(|list| read_list(&list));
        let (own, shared) = (own?, shared?);
        let rules =
            Rules::parse(own.as_deref().or(shared.as_deref()).unwrap_or_default())?.keeping(&dockerfile);
        let ignore = inline.is_some().then(|| match shared {
            Some(shared) => format!("{shared}\n{OUTSIDE}\n"),
            None => format!("{IGNORE}\n{OUTSIDE}\n"),
        });
        Ok(Self { root, rules, inline, ignore, dockerfile, unread: Arc::default() })
    }

    /// For BuildKit, which would leave our `.dockerignore` in the context.
    pub(crate) fn without_ignore(self) -> Self {
        Self { ignore: None, ..self }
    }

    /// Why the tar ended early: whoever reads the stream gets to know only that it did.
    pub(crate) fn unread(&self) -> Arc<OnceLock<String>> {
        Arc::clone(&self.unread)
    }

    /// The tar, made while it is read.
    pub(crate) fn stream(self) -> ReceiverStream<io::Result<Bytes>> {
        let (pieces, stream) = mpsc::channel(WAITING);
        tokio::task::spawn_blocking(move || {
            let mut writer = Pieces { buffer: Vec::with_capacity(PIECE), pieces };
            if let Err(error) = self.write(&mut writer) {
                if error.kind() != io::ErrorKind::BrokenPipe {
                    let _ = self.unread.set(error.to_string());
                }
                // Whoever reads is gone, or is told.
                let _ = writer.pieces.blocking_send(Err(error));
            }
        });
        ReceiverStream::new(stream)
    }

    fn write(&self, writer: &mut Pieces) -> io::Result<()> {
        let mut archive = tar::Builder::new(&mut *writer);
        archive.follow_symlinks(false);
        let dockerfile = self.inline.as_ref().map(|text| (self.dockerfile.as_str(), text));
        let ignore = self.ignore.as_ref().map(|text| (IGNORE, text));
        for (name, text) in dockerfile.into_iter().chain(ignore) {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(text.len() as u64);
            archive.append_data(&mut header, name, text.as_bytes())?;
        }
        self.add_folder(&mut archive, Path::new(""))?;
        archive.finish()?;
        drop(archive);
        writer.flush()
    }

    fn add_folder(&self, archive: &mut tar::Builder<&mut Pieces>, below: &Path) -> io::Result<()> {
        let folder = self.root.join(below);
        let mut entries: Vec<_> = std::fs::read_dir(&folder)
            .and_then(Iterator::collect::<io::Result<_>>)
            .map_err(|error| named(&folder, &error))?;
        // The order of the file system is not the same twice, and a cache would miss.
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = below.join(entry.file_name());
            let kind = entry.file_type().map_err(|error| named(&entry.path(), &error))?;
            if self.ignore.is_some() && path == Path::new(IGNORE) {
                continue;
            }
            let is_out = self.rules.leaves_out(&path, kind.is_dir());
            if kind.is_dir() {
                if !is_out {
                    add(archive, &path, &entry)?;
                }
                if !is_out || self.rules.may_take_back_below(&path) {
                    self.add_folder(archive, &path)?;
                }
            } else if !is_out {
                add(archive, &path, &entry)?;
            }
        }
        Ok(())
    }
}

/// The list of a `.dockerignore`, if there is one.
fn read_list(path: &Path) -> Result<Option<String>, String> {
    match read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Opens a regular file and nothing else. A fifo is never opened to wait for its writer, also not one that takes the
/// file's place a moment before.
fn open(path: &Path) -> io::Result<std::fs::File> {
    use rustix::fs::{Mode, OFlags};

    let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    // A socket cannot even be opened, and a device may act on it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(no_file());
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(no_file()) }
}

/// An error that says which file of the context it is about.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{} in the build context cannot be read: {error}", path.display()))
}

/// The path below the root, for one that is there.
fn inside(root: &Path, path: &Path) -> Option<String> {
    let (root, path) = (root.canonicalize().ok()?, path.canonicalize().ok()?);
    Some(path.strip_prefix(root).ok()?.to_string_lossy().into_owned())
}

fn add(archive: &mut tar::Builder<&mut Pieces>, path: &Path, entry: &std::fs::DirEntry) -> io::Result<()> {
    let metadata = entry.metadata().map_err(|error| named(&entry.path(), &error))?;
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&metadata);
    // Whose files they are here is not the image's business, and would miss the cache elsewhere.
    header.set_uid(0);
    header.set_gid(0);
    if metadata.is_symlink() {
        header.set_size(0);
        let target = std::fs::read_link(entry.path()).map_err(|error| named(&entry.path(), &error))?;
        return archive.append_link(&mut header, path, target);
    }
    if metadata.is_dir() {
        header.set_size(0);
        return archive.append_data(&mut header, path, io::empty());
    }
    if !metadata.is_file() {
        // Sockets, devices and pipes cannot be in an image.
        return Ok(());
    }
    let file = open(&entry.path()).map_err(|error| named(&entry.path(), &error))?;
    // A file that shrinks meanwhile is filled up, one that grows is cut: the header is sent already.
    let content = file.chain(io::repeat(0)).take(metadata.len());
    archive.append_data(&mut header, path, content)
}

/// Sends what is written in pieces.
struct Pieces {
    buffer: Vec<u8>,
    pieces: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE)));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the engine reads no further");
        self.pieces.blocking_send(Ok(piece)).map_err(gone)
    }
}

/// The lines of a `.dockerignore`.
#[derive(Debug)]
struct Rules {
    rules: Vec<Rule>,
    /// Sent whatever the list says.
    kept: Vec<PathBuf>,
}

#[derive(Debug)]
struct Rule {
    matcher: Gitignore,
    takes_back: bool,
    /// The part of the pattern before its first wildcard.
    literal: PathBuf,
}

impl Rules {
    fn parse(text: &str) -> Result<Self, String> {
        let mut rules = Vec::new();
        for line in text.trim_start_matches('\u{feff}').lines() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (takes_back, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let pattern = pattern.trim_start_matches("./").trim_matches('/');
            if pattern.is_empty() || pattern == "." {
                continue;
            }
            let bad = |error: ignore::Error| format!("`{line}` in .dockerignore is no pattern: {error}");
            // Git takes an open bracket for itself; Docker refuses it.
            if pattern.rsplit_once('[').is_some_and(|(_, class)| !class.contains(']')) {
                return Err(format!("`{line}` in .dockerignore is no pattern: a `[` without its `]`"));
            }
            let mut builder = GitignoreBuilder::new("");
            builder.add_line(None, &format!("/{pattern}")).map_err(bad)?;
            let matcher = builder.build().map_err(bad)?;
            let literal =
                pattern.split('/').take_while(|part| !part.contains(['*', '?', '[', '\\'])).collect();
            rules.push(Rule { matcher, takes_back, literal });
        }
        Ok(Self { rules, kept: vec![PathBuf::from(IGNORE)] })
    }

    fn keeping(mut self, file: &str) -> Self {
        self.kept.push(PathBuf::from(file));
        self
    }

    /// The last rule that matches the path or a folder above it decides.
    fn leaves_out(&self, path: &Path, is_dir: bool) -> bool {
        if self.kept.iter().any(|kept| kept == path) {
            return false;
        }
        let deciding = self
            .rules
            .iter()
            .rev()
            .find(|rule| rule.matcher.matched_path_or_any_parents(path, is_dir).is_ignore());
        deciding.is_some_and(|rule| !rule.takes_back)
    }

    /// Whether something in a folder that is left out may be wanted after all.
    fn may_take_back_below(&self, folder: &Path) -> bool {
        let reaches = |wanted: &Path| wanted.starts_with(folder) || folder.starts_with(wanted);
        self.kept.iter().any(|kept| kept.starts_with(folder))
            || self.rules.iter().any(|rule| rule.takes_back && reaches(&rule.literal))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    fn left_out(list: &str, path: &str) -> bool {
        Rules::parse(list).unwrap().leaves_out(Path::new(path), false)
    }

    #[test]
    fn the_rules_are_dockers_and_not_gits() {
        let table = [
            ("node_modules", "node_modules/a/b.js", true),
            // Git would match at any depth.
            ("node_modules", "web/node_modules/a.js", false),
            ("**/node_modules", "web/node_modules/a.js", true),
            ("*.log", "a.log", true),
            ("*.log", "logs/a.log", false),
            ("**/*.log", "logs/deep/a.log", true),
            ("*\n!keep.txt", "keep.txt", false),
            ("*\n!keep.txt", "other.txt", true),
            // The last word decides, and not the nearest.
            ("!docs/a.md\ndocs", "docs/a.md", true),
            ("docs\n!docs/a.md", "docs/a.md", false),
            ("docs\n!docs/*.md\ndocs/b.md", "docs/b.md", true),
            ("/target/", "target/debug/x", true),
            ("./target", "target/debug/x", true),
            ("# target", "# target", false),
            ("", "a", false),
            ("temp?", "temp1", true),
            ("*", ".dockerignore", false),
        ];
        for (list, path, wanted) in table {
            assert_eq!(left_out(list, path), wanted, "{list:?} {path}");
        }
        assert!(Rules::parse("a[").unwrap_err().contains("a["));
    }

    async fn sent(build: &Build) -> Vec<String> {
        names(Context::open(build).await.unwrap()).await
    }

    async fn names(context: Context) -> Vec<String> {
        let pieces: Vec<_> = context.stream().collect().await;
        let bytes: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.unwrap().to_vec()).collect();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(entry.header().uid().unwrap(), 0);
            entry.path().unwrap().to_string_lossy().into_owned()
        });
        entries.collect()
    }

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Build) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let build = Build { context: dir.path().to_string_lossy().into_owned(), ..Build::default() };
        (dir, build)
    }

    #[tokio::test]
    async fn what_is_left_out_is_not_sent_but_the_dockerfile_is() {
        let (dir, build) = folder(&[
            ("Dockerfile", "FROM scratch"),
            (".dockerignore", "*\n!src/keep.rs"),
            ("src/keep.rs", "x"),
            ("src/drop.rs", "x"),
            ("target/debug/huge", "x"),
        ]);
        std::os::unix::fs::symlink("keep.rs", dir.path().join("src/link.rs")).unwrap();
        assert_eq!(sent(&build).await, [".dockerignore", "Dockerfile", "src/keep.rs"]);
    }

    #[tokio::test]
    async fn links_and_large_files_come_through() {
        let large = "x".repeat(PIECE * 3);
        let (dir, build) = folder(&[("Dockerfile", "FROM scratch"), ("data/large", &large)]);
        std::os::unix::fs::symlink("data/large", dir.path().join("link")).unwrap();
        assert_eq!(sent(&build).await, ["Dockerfile", "data", "data/large", "link"]);
    }

    #[tokio::test]
    async fn a_dockerfile_from_elsewhere_or_inline_is_put_in() {
        let (_other, elsewhere) = folder(&[("My.Dockerfile", "FROM scratch")]);
        let (dir, mut build) = folder(&[("a", "x")]);
        build.dockerfile = Some(format!("{}/My.Dockerfile", elsewhere.context));
        assert_eq!(Context::open(&build).await.unwrap().dockerfile, OUTSIDE);
        assert_eq!(sent(&build).await, [OUTSIDE, IGNORE, "a"]);
        build.dockerfile = None;
        build.dockerfile_inline = Some("FROM scratch".into());
        assert_eq!(sent(&build).await, [OUTSIDE, IGNORE, "a"]);
        assert_eq!(Context::open(&build).await.unwrap().ignore.unwrap(), ".dockerignore\n.clos.dockerfile\n");
        std::fs::write(dir.path().join(IGNORE), "b").unwrap();
        assert_eq!(sent(&build).await, [OUTSIDE, IGNORE, "a"]);
        assert_eq!(Context::open(&build).await.unwrap().ignore.unwrap(), "b\n.clos.dockerfile\n");
        let for_buildkit = Context::open(&build).await.unwrap().without_ignore();
        assert_eq!(names(for_buildkit).await, [OUTSIDE, IGNORE, "a"]);
        std::fs::remove_file(dir.path().join(IGNORE)).unwrap();
        let for_buildkit = Context::open(&build).await.unwrap().without_ignore();
        assert_eq!(names(for_buildkit).await, [OUTSIDE, "a"]);
    }

    #[tokio::test]
    async fn a_list_beside_the_dockerfile_comes_first() {
        let (_dir, mut build) = folder(&[
            ("web.Dockerfile", "FROM scratch"),
            ("web.Dockerfile.dockerignore", "a"),
            (".dockerignore", "b"),
            ("a", "x"),
            ("b", "x"),
        ]);
        build.dockerfile = Some("web.Dockerfile".into());
        let sent = sent(&build).await;
        assert!(sent.contains(&"b".to_owned()) && !sent.contains(&"a".to_owned()), "{sent:?}");
    }

    fn fifo(path: &Path) {
        use rustix::fs::{CWD, FileType, Mode};
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    async fn refused(build: &Build) -> String {
        // A fifo that is opened waits for its writer for ever.
        let opened = tokio::time::timeout(std::time::Duration::from_secs(10), Context::open(build));
        opened.await.expect("it waits").unwrap_err()
    }

    #[tokio::test]
    async fn a_fifo_or_socket_is_no_dockerfile_and_no_dockerignore() {
        for name in ["Dockerfile", ".dockerignore", "Dockerfile.dockerignore"] {
            for makes_fifo in [true, false] {
                let (dir, build) = folder(&[("Dockerfile", "FROM scratch")]);
                let path = dir.path().join(name);
                let _ = std::fs::remove_file(&path);
                if makes_fifo {
                    fifo(&path);
                } else {
                    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
                }
                let error = refused(&build).await;
                let path = path.display().to_string();
                assert!(error.contains(&path) && error.contains("not a regular file"), "{error}");
            }
        }
        // Elsewhere in the folder it is left out, as ever.
        let (dir, build) = folder(&[("Dockerfile", "FROM scratch")]);
        fifo(&dir.path().join("pipe"));
        assert_eq!(sent(&build).await, ["Dockerfile"]);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_named() {
        use std::os::unix::fs::PermissionsExt as _;
        let (dir, build) = folder(&[("Dockerfile", "FROM scratch"), ("src/key", "x")]);
        let key = dir.path().join("src/key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o000)).unwrap();
        // Root reads it all the same; then it is gone by the time that it is read.
        if std::fs::read(&key).is_ok() {
            std::fs::write(dir.path().join("a"), vec![0; PIECE * (WAITING + 8)]).unwrap();
        }
        let context = Context::open(&build).await.unwrap();
        let unread = context.unread();
        let mut stream = context.stream();
        let mut last = stream.next().await.unwrap();
        if std::fs::read(&key).is_ok() {
            std::fs::remove_dir_all(dir.path().join("src")).unwrap();
        }
        while let Some(piece) = stream.next().await {
            last = piece;
        }
        let told = last.unwrap_err().to_string();
        assert!(told.contains("/src") && told.contains("in the build context cannot be read"), "{told}");
        assert_eq!(unread.get(), Some(&told));
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let (_dir, mut build) = folder(&[("a", "x")]);
        assert!(Context::open(&build).await.unwrap_err().contains("Dockerfile"));
        build.context = "/nowhere/at/all".into();
        assert!(Context::open(&build).await.unwrap_err().contains("/nowhere/at/all"));
    }
}
