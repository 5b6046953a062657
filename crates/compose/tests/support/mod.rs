//! Folders of compose files, read from the disk the way the daemon will: files and variables are given when
//! they are asked for.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clos_compose::{File, Input, Outcome, SourceError, load};

pub(crate) const HOME: &str = "/home/dev";

/// A case of `tests/cases` or `tests/refused`: compose files, `.env`, and what the command line and the shell
/// bring (`args`, one a line; `shell.env`, `NAME=value` a line).
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) shell: BTreeMap<String, String>,
}

pub(crate) fn cases(kind: &str) -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(kind);
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&root)
        .unwrap_or_else(|error| panic!("{}: {error}", root.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders.into_iter().map(Case::open).collect()
}

impl Case {
    fn open(folder: PathBuf) -> Self {
        let lines = |name: &str| {
            let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let args = lines("args");
        let pairs = lines("shell.env")
            .into_iter()
            .filter_map(|line| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
        let shell = pairs.collect();
        let name = folder.file_name().expect("a case has a name").to_string_lossy().into_owned();
        Self { name, folder, args, shell }
    }

    /// The value of each `flag` among the arguments.
    fn given(&self, flag: &str) -> Vec<String> {
        let pairs = self.args.chunks_exact(2).filter(|pair| pair[0] == flag);
        pairs.map(|pair| pair[1].clone()).collect()
    }

    pub(crate) fn files(&self) -> Vec<String> {
        let given = self.given("-f");
        if !given.is_empty() {
            return given;
        }
        let usual = ["compose.yaml", "compose.override.yaml"];
        usual.iter().filter(|name| self.folder.join(name).exists()).map(|name| (*name).to_owned()).collect()
    }

    pub(crate) fn input(&self) -> Input {
        let files = self.files().into_iter().map(|path| {
            let bytes = std::fs::read(self.folder.join(&path)).expect("the files of a case");
            File { path, text: String::from_utf8_lossy(&bytes).into_owned() }
        });
        let dotenv = std::fs::read_to_string(self.folder.join(".env")).ok();
        Input {
            working_dir: self.folder.to_string_lossy().into_owned(),
            files: files.collect(),
            env_files: dotenv.into_iter().map(|text| File { path: ".env".to_owned(), text }).collect(),
            // As the command line does: what is called so, unasked.
            variables: self
                .shell
                .iter()
                .filter(|(name, _)| name.starts_with("COMPOSE_"))
                .map(|(name, value)| (name.clone(), Some(value.clone())))
                .collect(),
            home: Some(HOME.to_owned()),
            project_name: self.given("-p").pop(),
            profiles: self.given("--profile"),
            ..Input::default()
        }
    }

    /// Answers until there is a project or an error.
    pub(crate) fn load(&self) -> Outcome {
        answer(self.input(), &self.shell)
    }
}

/// Plays the daemon and its client: files from the disk, variables from `shell`.
pub(crate) fn answer(mut input: Input, shell: &BTreeMap<String, String>) -> Outcome {
    for _ in 0..20 {
        match load(&input) {
            Outcome::NeedsFiles(wanted) => {
                for file in wanted {
                    let answer = read(&file.path);
                    assert!(input.fetched.insert(file.path, answer).is_none(), "asked twice for one file");
                }
            }
            Outcome::NeedsVariables(names) => {
                for name in names {
                    let answer =
                        if name == "HOME" { Some(HOME.to_owned()) } else { shell.get(&name).cloned() };
                    assert!(input.variables.insert(name, answer).is_none(), "asked twice for one variable");
                }
            }
            done => return done,
        }
    }
    panic!("there is no end to the questions");
}

fn read(path: &str) -> Result<String, SourceError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(SourceError::NotFound { path: path.to_owned() })
        }
        Err(error) => Err(SourceError::Unreadable { path: path.to_owned(), reason: error.to_string() }),
    }
}
