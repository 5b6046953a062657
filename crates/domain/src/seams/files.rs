//! Files under a root.
//!
//! Whoever implements this opens the file below the root and judges the opened
//! file, not its name, so that a symlink inside cannot lead outside.

use async_trait::async_trait;

/// Why a file was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error("{0} does not exist")]
    NotFound(String),
    /// It lies outside every root.
    #[error("{0} is outside the project root")]
    OutsideRoot(String),
    /// It is larger than the caller allows.
    #[error("{path} has more than {limit} bytes")]
    TooLarge {
        /// Which.
        path: String,
        /// How many are allowed.
        limit: u64,
    },
    /// It is not UTF-8 text, or reading failed.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// Which.
        path: String,
        /// The system's words.
        why: String,
    },
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A socket, device, or fifo.
    Other,
}

/// Reads files under roots.
#[async_trait]
pub trait Files: Send + Sync + 'static {
    /// The nearest folder upwards from `working_dir` that holds `.git`, else `working_dir`;
    /// `None` when that would be `/` or the home folder, where only `working_dir` itself
    /// could be meant and is not allowed as a root.
    async fn project_root(&self, working_dir: &str) -> Option<String>;

    /// The text of a file under one of `roots`, at most `limit` bytes.
    async fn read_text(&self, roots: &[String], path: &str, limit: u64) -> Result<String, Error>;

    /// The path with every symlink followed, and what is there, if it is under one of `roots`.
    async fn resolve(&self, roots: &[String], path: &str) -> Result<(String, FileKind), Error>;

    /// The path with every symlink followed as far as it exists; the rest is kept. No root is asked for.
    async fn canonical(&self, path: &str) -> String;

    /// Whether something is at the path, symlinks followed. No root is asked for, nothing is read.
    /// What cannot be looked at counts as there: whoever uses it says what is wrong.
    async fn exists(&self, path: &str) -> bool;
}
