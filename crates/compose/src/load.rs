//! The way of a project: texts → trees → variables filled in → included, extended and merged → one tree in
//! long forms → the model.
//!
//! The work goes on past errors and past what is not known yet, so that one round asks for everything.

use std::collections::{BTreeMap, HashMap};

use crate::canonical;
use crate::dotenv;
use crate::environment::{self, Environment, Unknown};
use crate::finding::{Code, Findings, Key, Location};
use crate::input::{Input, Outcome, Purpose, SourceError, Wanted};
use crate::interpolate;
use crate::keys;
use crate::limits;
use crate::merge;
use crate::model::NameSource;
use crate::node::{Kind, Map, Node, Weight};
use crate::normalise;
use crate::paths;
use crate::settle;
use crate::unique;
use crate::yaml;

/// Makes a project of its texts. See [`Outcome`] for what else may come of it.
pub fn load(input: &Input) -> Outcome {
    let mut loader = Loader::new(input);
    let project = loader.project();
    if loader.fatal {
        return Outcome::Failed(loader.findings.into_errors());
    }
    if !loader.wanted.is_empty() {
        return Outcome::NeedsFiles(loader.wanted);
    }
    if !loader.unknown.is_empty() {
        return Outcome::NeedsVariables(loader.unknown.into_names());
    }
    match project {
        Some(mut project) if !loader.findings.has_errors() => {
            project.findings = loader.findings.into_vec();
            Outcome::Ready(Box::new(project))
        }
        _ => Outcome::Failed(loader.findings.into_errors()),
    }
}

/// A file whose text is at hand, with its absolute path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a str,
    pub(crate) text: &'a str,
}

/// Where the files of one model stand: those of the command line, or those of one `include`.
#[derive(Clone, Debug)]
pub(crate) struct Scope<'a> {
    /// Where relative paths start.
    pub(crate) base: String,
    pub(crate) environment: Environment<'a>,
    /// The files that led here, for rings.
    pub(crate) chain: Vec<String>,
}

/// What asking for a file gave.
pub(crate) enum Fetch<'a> {
    Text(&'a str),
    /// Not there, and that is all right.
    Absent,
    /// Asked for, or an error that is told already.
    Not,
}

pub(crate) struct Loader<'a> {
    pub(crate) input: &'a Input,
    pub(crate) findings: Findings,
    pub(crate) unknown: Unknown,
    pub(crate) wanted: Vec<Wanted>,
    /// The services of files that are extended, within the model that is being read.
    pub(crate) bases: HashMap<String, Map>,
    /// An error after which more questions make no sense.
    pub(crate) fatal: bool,
    weight: Weight,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(input: &'a Input) -> Self {
        Self {
            input,
            findings: Findings::default(),
            unknown: Unknown::default(),
            wanted: Vec::new(),
            bases: HashMap::new(),
            fatal: false,
            weight: Weight::default(),
        }
    }

    fn project(&mut self) -> Option<crate::model::Project> {
        let files: Vec<(String, &'a str)> = self
            .input
            .files
            .iter()
            .map(|file| (paths::join(&self.input.working_dir, &file.path), file.text.as_str()))
            .collect();
        let Some((first, _)) = files.first() else {
            self.fail(Code::Empty, &Location::whole(&self.input.working_dir), "there is no compose file");
            return None;
        };
        let base = match &self.input.project_dir {
            Some(folder) => paths::join(&self.input.working_dir, folder),
            None => paths::folder_of(first),
        };
        self.check_variables()?;
        let dotenv = self.dotenv()?;
        let environment = Environment::new(&self.input.variables).with_dotenv(dotenv);
        let (name, name_source) = self.name(&files, &base, &environment)?;
        let environment = environment.with_project_name(&name);
        let scope = Scope { base, environment, chain: Vec::new() };
        let sources: Vec<Source<'_>> = files.iter().map(|(path, text)| Source { path, text }).collect();
        let tree = self.model(&sources, &scope)?;
        if tree.as_map().is_none_or(Map::is_empty) {
            // A file that only includes others stays empty until they have been opened.
            if self.wanted.is_empty() && self.unknown.is_empty() {
                self.fail(Code::Empty, &tree.at, "the file is empty");
            }
            return None;
        }
        let config_files = files.iter().map(|(path, _)| path.clone()).collect();
        normalise::project(self, &tree, &scope, name, name_source, config_files)
    }

    /// An error of a whole file, after which nothing else matters.
    pub(crate) fn fail(&mut self, code: Code, at: &Location, message: &str) {
        self.findings.error(code, at, &Key::root(), message);
        self.fatal = true;
    }

    /// A path of a file, as seen from `base`; `~` is the caller's home.
    pub(crate) fn path(&mut self, base: &str, path: &str, at: &Location, key: &Key) -> String {
        let Some(below) = path.strip_prefix('~') else { return paths::join(base, path) };
        if let Some(home) = &self.input.home {
            return paths::clean(&format!("{home}/{below}"));
        }
        let message = "`~` stands for a home folder and none is known; write the path out";
        self.findings.error(Code::InvalidValue, at, key, message);
        path.to_owned()
    }

    /// Keys that Compose passes over where they stand: a warning, and an error where one of them may be the key
    /// that has to be there.
    pub(crate) fn ignored_keys(&mut self, map: &Map, known: &[&str], key: &Key, required: &str) {
        for (name, entry) in map.iter() {
            if known.contains(&name.as_str()) || name.starts_with("x-") {
                continue;
            }
            let (at, own) = (&entry.key_at, key.child(name));
            if map.has(required) {
                let message = keys::unknown(key, name, "it is ignored: there is no key");
                self.findings.warning(Code::UnknownKey, at, &own, message);
            } else {
                let message = keys::unknown(key, name, "unknown key");
                self.findings.error(Code::UnknownKey, at, &own, message);
            }
        }
    }

    pub(crate) fn shown(&self, path: &str) -> String {
        paths::shown(&self.input.working_dir, path)
    }

    fn check_variables(&mut self) -> Option<()> {
        for (name, value) in &self.input.variables {
            let length = value.as_deref().unwrap_or_default().len();
            if length > limits::DOCUMENT {
                let message =
                    format!("the variable has {length} characters; the limit is {}", limits::DOCUMENT);
                self.fail(Code::TooLarge, &Location::whole(&crate::node::shorten(name)), &message);
            }
        }
        (!self.fatal).then_some(())
    }

    fn dotenv(&mut self) -> Option<BTreeMap<String, String>> {
        let environment = Environment::new(&self.input.variables);
        let mut values = BTreeMap::new();
        for file in &self.input.env_files {
            let shown = self.shown(&paths::join(&self.input.working_dir, &file.path));
            if file.text.len() > limits::FILE_BYTES {
                let message =
                    format!("the file has {} bytes; the limit is {}", file.text.len(), limits::FILE_BYTES);
                self.fail(Code::TooLarge, &Location::whole(&shown), &message);
                return None;
            }
            let unknown = &mut self.unknown;
            match dotenv::parse(&file.text, &values, &mut |name| unknown.look(&environment, name)) {
                Ok(parsed) => values.extend(parsed.entries),
                Err(problem) => {
                    self.fail(Code::Syntax, &Location::new(&shown, problem.line, 1), &problem.message);
                    return None;
                }
            }
        }
        Some(values)
    }

    /// `-p`, then `COMPOSE_PROJECT_NAME`, then the last `name:` of the files, then the folder.
    fn name(
        &mut self,
        files: &[(String, &'a str)],
        base: &str,
        environment: &Environment<'a>,
    ) -> Option<(String, NameSource)> {
        let from_variable = environment.if_known(environment::PROJECT_NAME).filter(|name| !name.is_empty());
        let given = match (&self.input.project_name, from_variable) {
            (Some(name), _) if !name.is_empty() => Some((name.clone(), NameSource::Flag, "--project")),
            (_, Some(name)) => Some((name, NameSource::Variable, environment::PROJECT_NAME)),
            _ => None,
        };
        if let Some((name, source, origin)) = given {
            return self.checked_name(name, source, &Location::whole(origin));
        }
        let mut named = None;
        for (path, text) in files {
            // What does not parse is told when the file is read for all that is in it.
            let Ok(documents) = yaml::parse(&self.shown(path), text) else { continue };
            for document in documents {
                let name = document.as_map().and_then(|map| map.get("name")).cloned();
                named = name.filter(|name| name.as_text().is_some_and(|text| !text.is_empty())).or(named);
            }
        }
        let Some(mut node) = named else {
            let folder = paths::name_of(base);
            return self.checked_name(normal_name(folder), NameSource::Folder, &Location::whole(base));
        };
        self.fill_in(&mut node, &Key::of(&["name"]), environment);
        let name = normal_name(node.as_text().unwrap_or_default());
        if node.pending {
            return Some((name, NameSource::File));
        }
        self.checked_name(name, NameSource::File, &node.at)
    }

    fn checked_name(
        &mut self,
        name: String,
        source: NameSource,
        at: &Location,
    ) -> Option<(String, NameSource)> {
        let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        let problem = if name.is_empty() {
            "the project has no name: give one by `--project` or `name:`".to_owned()
        } else if !starts_well || !name.chars().all(letters) {
            format!(
                "`{}` is not a project name: lower-case letters, digits, `-` and `_`, starting with a letter or digit",
                crate::node::shorten(&name)
            )
        } else if name.len() > 50 {
            format!(
                "the project name `{}` has {} characters; the limit is 50",
                crate::node::shorten(&name),
                name.len()
            )
        } else if name.contains("__") {
            format!(
                "the project name `{name}` holds `__`, which separates instances; give another by `--project` or `name:`"
            )
        } else {
            return Some((name, source));
        };
        let key = if source == NameSource::File { Key::of(&["name"]) } else { Key::root() };
        self.findings.error(Code::InvalidName, at, &key, problem);
        self.fatal = true;
        None
    }

    /// Reads, merges and settles the files of one scope.
    pub(crate) fn model(&mut self, files: &[Source<'_>], scope: &Scope<'a>) -> Option<Node> {
        let outer_bases = std::mem::take(&mut self.bases);
        let first = files.first().map(|file| self.shown(file.path)).unwrap_or_default();
        let mut project = Node::map(&Location::whole(&first));
        for file in files {
            let mut scope = scope.clone();
            scope.chain.push(file.path.to_owned());
            for document in self.documents(*file)? {
                project = self.lay_over(project, document, file.path, &scope)?;
            }
        }
        self.bases = outer_bases;
        settle::defaults(&mut project);
        settle::resolve_paths(&mut project, &scope.base, self);
        settle::resolve_environment(&mut project, &scope.environment, self);
        Some(project)
    }

    fn lay_over(
        &mut self,
        mut project: Node,
        mut document: Node,
        path: &str,
        scope: &Scope<'a>,
    ) -> Option<Node> {
        if document.as_map().is_none() {
            let message = format!("the top level has to be a mapping and is {}", document.describe());
            self.fail(Code::WrongType, &document.at, &message);
            return None;
        }
        self.fill_in(&mut document, &Key::root(), &scope.environment);
        // Before anything joins the document: the edits are those that this file itself makes.
        merge::apply_edits(&mut project, &document);
        self.include(&mut document, scope);
        self.extend(&mut document, path, scope);
        merge::strip_edits(&mut document);
        if let Some(version) = document.as_map_mut().and_then(|map| map.remove("version")) {
            let message = "it has no meaning any more and can go";
            self.findings.note(Code::Deprecated, &version.at, &Key::of(&["version"]), message);
        }
        let at = document.at.clone();
        let mut project = match merge::merge(project, document, &Key::root()) {
            Ok(project) => project,
            Err(finding) => {
                self.findings.push(finding);
                self.fatal = true;
                return None;
            }
        };
        project.at = at;
        unique::enforce(&mut project, &Key::root());
        canonical::canonical(&mut project, &mut self.findings);
        unique::enforce(&mut project, &Key::root());
        Some(project)
    }

    /// The documents of a file, or none and an error.
    pub(crate) fn documents(&mut self, file: Source<'_>) -> Option<Vec<Node>> {
        let shown = self.shown(file.path);
        let documents = match yaml::parse(&shown, file.text) {
            Ok(documents) => documents,
            Err(finding) => {
                self.findings.push(finding);
                self.fatal = true;
                return None;
            }
        };
        let mut weight = Weight::default();
        documents.iter().for_each(|document| weight.add(document.weight()));
        self.charge(weight, &Location::whole(&shown)).then_some(documents)
    }

    /// Everything that is read or copied counts, so that files cannot multiply each other without end.
    pub(crate) fn charge(&mut self, more: Weight, at: &Location) -> bool {
        self.weight.add(more);
        let message = if self.weight.nodes > limits::PROJECT_NODES {
            format!("the project holds more than {} values with all that it includes", limits::PROJECT_NODES)
        } else if self.weight.bytes > limits::PROJECT_BYTES {
            format!("the project holds more than {} bytes with all that it includes", limits::PROJECT_BYTES)
        } else {
            return !self.fatal;
        };
        self.fail(Code::TooLarge, at, &message);
        false
    }

    /// Fills in the variables of every value below `node`.
    pub(crate) fn fill_in(&mut self, node: &mut Node, key: &Key, environment: &Environment<'a>) {
        if self.fatal {
            return;
        }
        match &mut node.kind {
            Kind::Map(map) => {
                for (name, entry) in map.iter_mut() {
                    self.fill_in(&mut entry.value, &key.child(name), environment);
                }
            }
            Kind::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.fill_in(item, &key.item(index), environment);
                }
            }
            Kind::Text(text) => {
                if text.contains('$') {
                    let unknown = &mut self.unknown;
                    match interpolate::substitute(text, &mut |name| unknown.look(environment, name)) {
                        Ok(substituted) => {
                            *text = substituted.text;
                            node.pending = substituted.pending;
                            let bytes = text.len();
                            if !self.charge(Weight { nodes: 0, bytes }, &node.at) {
                                return;
                            }
                            for name in substituted.unset {
                                let message = format!("the variable {name} is not set and is taken as empty");
                                self.findings.warning(Code::VariableUnset, &node.at, key, message);
                            }
                        }
                        Err(problem) => {
                            self.findings.error(Code::Interpolation, &node.at, key, problem.to_string());
                            node.pending = true;
                            return;
                        }
                    }
                }
                let limit = most_characters(key);
                let length = text.chars().count();
                if length > limit && !key.in_extension() {
                    let message = format!(
                        "the value has {length} characters; the limit is {limit}; put it into a file (`env_file`, `configs`)"
                    );
                    self.findings.error(Code::TooLarge, &node.at, key, message);
                    node.pending = true;
                }
            }
            _ => {}
        }
    }

    /// A file that the project names. What is not at hand is asked for.
    pub(crate) fn fetch(
        &mut self,
        path: &str,
        purpose: Purpose,
        required: bool,
        at: &Location,
        key: &Key,
    ) -> Fetch<'a> {
        let input = self.input;
        match input.fetched.get(path) {
            // A home that is not known is told already.
            _ if path.starts_with('~') => Fetch::Not,
            Some(Ok(text)) if text.len() > limits::FILE_BYTES => {
                let message = format!("{path} has {} bytes; the limit is {}", text.len(), limits::FILE_BYTES);
                self.findings.error(Code::TooLarge, at, key, message);
                Fetch::Not
            }
            Some(Ok(text)) => Fetch::Text(text),
            Some(Err(SourceError::NotFound { .. })) if !required => Fetch::Absent,
            Some(Err(error)) => {
                let code = match error {
                    SourceError::NotFound { .. } => Code::FileNotFound,
                    SourceError::OutsideRoot { .. } => Code::OutsideRoot,
                    SourceError::TooLarge { .. } => Code::TooLarge,
                    SourceError::Unreadable { .. } => Code::FileUnreadable,
                };
                self.findings.error(code, at, key, error.to_string());
                Fetch::Not
            }
            None => {
                let asked_already = self.wanted.iter().any(|wanted| wanted.path == path);
                let asked = self.wanted.len() + input.fetched.len();
                if asked >= limits::FILES && !asked_already {
                    let message = format!("the project names more than {} files", limits::FILES);
                    self.fail(Code::TooLarge, at, &message);
                } else if !asked_already {
                    let (path, at, key) = (path.to_owned(), at.clone(), key.clone());
                    self.wanted.push(Wanted { path, purpose, required, at, key });
                }
                Fetch::Not
            }
        }
    }
}

fn most_characters(key: &Key) -> usize {
    let document = key.is("configs.*.content") || key.is("services.*.build.dockerfile_inline");
    if document { limits::DOCUMENT } else { limits::VALUE }
}

/// A folder's name made into a project's, as compose does.
fn normal_name(text: &str) -> String {
    let kept: String = text
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_' || *c == '-')
        .collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}
