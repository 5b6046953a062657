//! What goes in, and the three things that can come out before a project does.

use std::collections::BTreeMap;

use crate::finding::{Errors, Key, Location};
use crate::model::Project;

/// Everything that a project is made of. Nothing is read from anywhere else.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// The folder the command was given in, absolute. Relative paths of `files` start here, and places in
    /// messages are shown relative to it.
    pub working_dir: String,
    /// The compose files in order: `-f`, else `COMPOSE_FILE`, else what was found. At least one.
    pub files: Vec<File>,
    /// `--project-directory`: where relative paths in the files start. Without it, the folder of the first file.
    pub project_dir: Option<String>,
    /// `.env` if there is one, or the files of `--env-file` in order.
    pub env_files: Vec<File>,
    /// The caller's environment as far as it was asked for: a value, or known to be unset.
    pub variables: BTreeMap<String, Option<String>>,
    /// The caller's home folder, for `~`.
    pub home: Option<String>,
    /// `-p`
    pub project_name: Option<String>,
    /// `--profile`; without any, `COMPOSE_PROFILES` counts.
    pub profiles: Vec<String>,
    /// Services that the command names; their profiles are active too.
    pub services: Vec<String>,
    /// What came of earlier [`Outcome::NeedsFiles`], by their `path`.
    pub fetched: BTreeMap<String, Result<String, SourceError>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    pub path: String,
    pub text: String,
}

/// Why a file that the project names could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("there is no file {path}")]
    NotFound { path: String },
    #[error("{path} is outside the project folder {root}")]
    OutsideRoot { path: String, root: String },
    #[error("{path} has {bytes} bytes; the limit is {limit}")]
    TooLarge { path: String, bytes: u64, limit: u64 },
    #[error("{path} cannot be read: {reason}")]
    Unreadable { path: String, reason: String },
}

/// A file that is named in the ones at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Absolute and clean; the key under which [`Input::fetched`] wants the answer.
    pub path: String,
    pub purpose: Purpose,
    /// Whether its absence is an error. The answer is wanted either way.
    pub required: bool,
    /// Where it is named.
    pub at: Location,
    pub key: Key,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Include,
    Extends,
    EnvFile,
    LabelFile,
}

#[derive(Clone, Debug)]
pub enum Outcome {
    Ready(Box<Project>),
    /// Read these and come again with all of them in `fetched`.
    NeedsFiles(Vec<Wanted>),
    /// Ask the caller for these and come again with all of them in `variables`.
    NeedsVariables(Vec<String>),
    Failed(Errors),
}
