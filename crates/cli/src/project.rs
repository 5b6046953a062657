//! The project of a folder: which files, and which of the environment's variables go with them.
//!
//! The daemon parses; here the texts are only read and searched for names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clos_proto::v2 as pb;

use crate::args::{Desired, Place};
use crate::context::Context;
use crate::failure::Failure;
use crate::names;

/// Names of compose files, the first that is there.
const FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
/// Names of files that are laid over it.
const OVERRIDES: [&str; 4] = [
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yaml",
    "docker-compose.override.yml",
];
/// Bytes of the largest file that is sent.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// What is sent to be applied.
pub(crate) fn source(context: &Context, desired: &Desired) -> Result<pb::ComposeSource, Failure> {
    let (folder, files) = files(context, &desired.place.files)?;
    // As one would name it in the folder: that is what messages say.
    let sent = |file: &Path, content: String| pb::SourceFile {
        path: file.strip_prefix(&folder).unwrap_or(file).to_string_lossy().into_owned(),
        content,
    };
    let mut texts = Vec::new();
    for file in &files {
        let content = match file.to_str() {
            Some("-") => context.read_input()?,
            _ => read(file)?.ok_or_else(|| no_file(file))?,
        };
        texts.push(sent(file, content));
    }
    let mut env_files = Vec::new();
    for name in &desired.env_files {
        let path = canonical(&context.folder.join(expanded(context, name)));
        let content = read(&path)?.ok_or_else(|| no_file(&path))?;
        env_files.push(sent(&path, content));
    }
    let dotenv = if env_files.is_empty() { read(&folder.join(".env"))? } else { None };
    let read = texts.iter().chain(&env_files).map(|file| file.content.as_str());
    let variables = variables(context, read.chain(dotenv.as_deref()));
    Ok(pb::ComposeSource {
        working_dir: folder.to_string_lossy().into_owned(),
        files: texts,
        dotenv,
        variables,
        home: context.var("HOME").filter(|home| home.starts_with('/')).unwrap_or_default().to_owned(),
        env_files,
    })
}

/// Adds what the daemon asked for, each with its value or marked unset.
pub(crate) fn answer(context: &Context, source: &mut pb::ComposeSource, names: &[String]) {
    for name in names {
        let value = pb::VariableValue { value: context.env.get(name).cloned() };
        source.variables.insert(name.clone(), value);
    }
}

/// The folder that this folder's project belongs to, if there is one.
pub(crate) fn folder(context: &Context) -> Result<Option<PathBuf>, Failure> {
    if context.var("COMPOSE_FILE").is_some() {
        return Ok(Some(files(context, &[])?.0));
    }
    Ok(nearest(&context.folder).map(|(folder, _)| canonical(&folder)))
}

/// The files of the last `up` in this folder, where they are others than those found without a flag.
pub(crate) fn remembered(context: &Context, group: &pb::Group) -> Result<Option<Vec<String>>, Failure> {
    let base = nearest(&context.folder).map_or_else(|| context.folder.clone(), |(folder, _)| folder);
    let dotenv = read(&base.join(".env"))?.unwrap_or_default();
    let is_said = context.var("COMPOSE_FILE").is_some() || entry(&dotenv, "COMPOSE_FILE").is_some();
    if is_said || group.compose_files.is_empty() {
        return Ok(None);
    }
    let folder = Path::new(&group.working_dir);
    let paths: Vec<PathBuf> = group.compose_files.iter().map(|file| folder.join(file)).collect();
    let found = files(context, &[]).map(|(_, files)| files).unwrap_or_default();
    if paths == found || !paths.iter().all(|path| path.is_file()) {
        return Ok(None);
    }
    // Files of the usual names are found anew, with an override that came or went since.
    if paths.first() == found.first() && paths.iter().skip(1).all(|path| is_override(folder, path)) {
        return Ok(None);
    }
    Ok(Some(paths.into_iter().map(|path| path.to_string_lossy().into_owned()).collect()))
}

/// The folder that a command means: of the files that it names, else of this folder's project.
pub(crate) fn folder_of(context: &Context, place: &Place) -> Result<Option<PathBuf>, Failure> {
    if place.files.is_empty() { folder(context) } else { Ok(Some(files(context, &place.files)?.0)) }
}

/// The name that the files give the project: the last `name:` of theirs that is a plain word.
pub(crate) fn name_of_the_files(context: &Context, place: &Place) -> Result<Option<String>, Failure> {
    let Ok((_, files)) = files(context, &place.files) else { return Ok(None) };
    let mut name = None;
    for file in files.iter().filter(|file| file.as_os_str() != "-") {
        let text = match read(file)? {
            Some(text) => text,
            None if place.files.is_empty() => continue,
            None => return Err(no_file(file)),
        };
        let found = text.lines().filter_map(|line| line.strip_prefix("name:")).next_back();
        let found = found.and_then(|value| value.split(" #").next()).map(str::trim);
        let word = found.map(|value| value.trim_matches(['"', '\'']));
        name = word.filter(|word| !word.is_empty() && !word.contains('$')).map(str::to_owned).or(name);
    }
    Ok(name)
}

/// The name that the shell gives the project.
pub(crate) fn name_of_the_shell(context: &Context) -> Result<Option<String>, Failure> {
    if let Some(name) = context.var("COMPOSE_PROJECT_NAME") {
        return Ok(Some(name.to_owned()));
    }
    let Some((folder, _)) = nearest(&context.folder) else { return Ok(None) };
    let dotenv = read(&folder.join(".env"))?.unwrap_or_default();
    Ok(entry(&dotenv, "COMPOSE_PROJECT_NAME"))
}

/// The project's folder and its files, by their whole paths.
fn files(context: &Context, named: &[String]) -> Result<(PathBuf, Vec<PathBuf>), Failure> {
    if !named.is_empty() {
        if named.iter().filter(|file| file.as_str() == "-").count() > 1 {
            return Err(Failure::usage("-f -: standard input can be read only once"));
        }
        return Ok(beside(context, &context.folder, named));
    }
    let found = nearest(&context.folder);
    let base = found.as_ref().map_or(&context.folder, |(folder, _)| folder).clone();
    let dotenv = read(&base.join(".env"))?.unwrap_or_default();
    let variable = |name: &str| context.var(name).map(str::to_owned).or_else(|| entry(&dotenv, name));
    if let Some(list) = variable("COMPOSE_FILE") {
        let separator = variable("COMPOSE_PATH_SEPARATOR").unwrap_or_else(|| ":".to_owned());
        let named: Vec<String> =
            list.split(separator.as_str()).filter(|file| !file.is_empty()).map(str::to_owned).collect();
        let relative_to = if context.var("COMPOSE_FILE").is_some() { &context.folder } else { &base };
        return Ok(beside(context, relative_to, &named));
    }
    let Some((folder, file)) = found else {
        return Err(Failure::not_found(
            "FILE_NOT_FOUND",
            format!("there is no compose file in {} or a folder above it", context.folder.display()),
        )
        .hint("clos up -f path/to/compose.yaml"));
    };
    let folder = canonical(&folder);
    let mut files = vec![folder.join(file)];
    files.extend(OVERRIDES.iter().map(|name| folder.join(name)).find(|path| path.is_file()));
    Ok((folder, files))
}

fn is_override(folder: &Path, path: &Path) -> bool {
    OVERRIDES.iter().any(|name| folder.join(name) == path)
}

/// Named files: the folder is that of the first one that has a folder.
fn beside(context: &Context, relative_to: &Path, named: &[String]) -> (PathBuf, Vec<PathBuf>) {
    let paths: Vec<PathBuf> = named
        .iter()
        .map(|file| match file.as_str() {
            "-" => PathBuf::from("-"),
            file => canonical(&relative_to.join(expanded(context, Path::new(file)))),
        })
        .collect();
    let first = paths.iter().find(|path| path.as_os_str() != "-").and_then(|path| path.parent());
    (canonical(first.unwrap_or(&context.folder)), paths)
}

fn nearest(from: &Path) -> Option<(PathBuf, &'static str)> {
    from.ancestors().find_map(|folder| {
        let name = FILES.iter().find(|name| folder.join(name).is_file())?;
        Some((folder.to_owned(), *name))
    })
}

/// A leading `~` is the home folder: a shell expands it only where a word begins, not in `--file=~/x` or `COMPOSE_FILE`.
fn expanded(context: &Context, path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), context.var("HOME")) {
        (Ok(below), Some(home)) => Path::new(home).join(below),
        _ => path.to_owned(),
    }
}

/// Without links, so that one folder has one name; what is not there stays as it was written.
fn canonical(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn no_file(path: &Path) -> Failure {
    Failure::not_found("FILE_NOT_FOUND", format!("there is no file {}", path.display()))
}

/// A file's text; none where there is no file.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    let unreadable = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(unreadable("it is a folder".to_owned())),
        Ok(metadata) if metadata.len() > FILE_MAX => {
            return Err(unreadable(format!("it has {} bytes, more than {FILE_MAX}", metadata.len())));
        }
        _ => {}
    }
    match fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(error) => Err(unreadable(format!("byte {} is no UTF-8", error.utf8_error().valid_up_to()))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

/// The variables whose names occur in the texts, those that are used but not set marked so, and compose's own.
fn variables<'a>(
    context: &Context,
    texts: impl Iterator<Item = &'a str>,
) -> BTreeMap<String, pb::VariableValue> {
    let mut words = BTreeSet::new();
    let mut used = BTreeSet::new();
    for text in texts {
        words.extend(names::words(text));
        used.extend(names::used(text));
    }
    let mut variables: BTreeMap<String, pb::VariableValue> =
        used.into_iter().map(|name| (name.to_owned(), pb::VariableValue { value: None })).collect();
    for (name, value) in &context.env {
        if words.contains(name.as_str()) || name.starts_with("COMPOSE_") {
            variables.insert(name.clone(), pb::VariableValue { value: Some(value.clone()) });
        }
    }
    variables
}

/// One value of a `.env`, as far as we need it before the daemon reads it whole.
fn entry(dotenv: &str, name: &str) -> Option<String> {
    let found = dotenv.lines().rev().find_map(|line| {
        let line = line.trim().strip_prefix("export ").unwrap_or(line.trim());
        let (key, value) = line.split_once('=')?;
        (key.trim() == name).then(|| value.trim())
    })?;
    let bare = ['"', '\''].iter().find_map(|quote| found.strip_prefix(*quote)?.split(*quote).next());
    let bare = bare.unwrap_or_else(|| found.split(" #").next().unwrap_or_default().trim());
    (!bare.is_empty()).then(|| bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_a_dotenv_is_found_as_it_is_written() {
        let dotenv = "A=1\nexport COMPOSE_PROJECT_NAME = 'shop' # ours\nB=\"x y\"\nC=z # why\nA=2\nE=\n";
        let of = |name| entry(dotenv, name);
        assert_eq!(of("COMPOSE_PROJECT_NAME").as_deref(), Some("shop"));
        assert_eq!((of("A").as_deref(), of("B").as_deref()), (Some("2"), Some("x y")));
        assert_eq!((of("C").as_deref(), of("D"), of("E")), (Some("z"), None, None));
    }
}
