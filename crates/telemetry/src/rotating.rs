//! A log file that does not grow without end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Appends to a file; when the next write would make it longer than the limit,
/// the file becomes `<name>.1`, replacing an earlier one, and a new one begins.
#[derive(Debug)]
pub(crate) struct Rotating {
    path: PathBuf,
    limit: u64,
    file: File,
    written: u64,
    /// Somebody else appends to the same open file, so that it is emptied and not replaced.
    is_shared: bool,
}

impl Rotating {
    /// The file is made when it is absent, readable by its owner only.
    pub(crate) fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let file = append(path)?;
        let written = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), limit, file, written, is_shared: false })
    }

    /// As [`Self::open`], for a file that this process has open already, as standard error. At its limit
    /// it is copied to `<name>.1` and emptied: whatever is written past us, a panic's text, still gets into it.
    pub(crate) fn open_shared(path: &Path, limit: u64) -> io::Result<Self> {
        Ok(Self { is_shared: true, ..Self::open(path, limit)? })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut previous = self.path.clone().into_os_string();
        previous.push(".1");
        if self.is_shared {
            match fs::copy(&self.path, previous) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                // What was removed is read by nobody.
                _ => self.file.set_len(0)?,
            }
        } else {
            fs::rename(&self.path, previous)?;
            self.file = append(&self.path)?;
        }
        self.written = 0;
        Ok(())
    }
}

impl Write for Rotating {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if 0 < self.written && self.limit < self.written.saturating_add(length) {
            // A file that cannot be turned over goes on; a lost line would be worse.
            let _ = self.rotate();
        }
        self.file.write_all(bytes)?;
        self.written = self.written.saturating_add(length);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_full_file_becomes_the_previous_one_and_no_line_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("closd.log");
        let mut log = Rotating::open(&path, 20).unwrap();
        for line in ["first line\n", "second\n", "third line\n", "a line that is longer than the limit\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        log.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a line that is longer than the limit\n");
        assert_eq!(fs::read_to_string(folder.path().join("closd.log.1")).unwrap(), "third line\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_shared_file_stays_the_same_and_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("closd.log");
        let mut other = append(&path).unwrap();
        other.write_all(b"of before\n").unwrap();
        let mut log = Rotating::open_shared(&path, 20).unwrap();
        for line in ["first\n", "second line\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        other.write_all(b"a panic\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second line\na panic\n");
        let previous = folder.path().join("closd.log.1");
        assert_eq!(fs::read_to_string(&previous).unwrap(), "of before\nfirst\n");
        assert_eq!(fs::metadata(&previous).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(&path).unwrap();
        for _ in 0..3 {
            log.write_all(b"as long as all of it\n").unwrap();
        }
        assert_eq!(log.file.metadata().unwrap().len(), 21, "what nobody reads does not grow either");
    }

    #[test]
    fn an_existing_file_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("closd.log");
        fs::write(&path, "of yesterday\n").unwrap();
        Rotating::open(&path, 1_000).unwrap().write_all(b"of today\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "of yesterday\nof today\n");
    }

    #[test]
    fn a_file_that_was_removed_is_made_again_at_the_next_turn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("closd.log");
        let mut log = Rotating::open(&path, 5).unwrap();
        log.write_all(b"one\n").unwrap();
        fs::remove_file(&path).unwrap();
        log.write_all(b"two and more\n").unwrap();
        log.write_all(b"three\n").unwrap();
        assert!(!path.exists(), "nothing to turn over, and the open file goes on");
        assert!(Rotating::open(&folder.path().join("absent/closd.log"), 5).is_err());
    }
}
