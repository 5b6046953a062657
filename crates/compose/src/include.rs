//! `include`: other projects' files, read with their own folder and environment, and joined to this one.

use std::collections::BTreeMap;

use crate::dotenv;
use crate::environment::Environment;
use crate::finding::{Code, Key, Location};
use crate::input::Purpose;
use crate::limits;
use crate::load::{Fetch, Loader, Scope, Source};
use crate::merge;
use crate::node::{Kind, Node};
use crate::paths;

const SECTIONS: [&str; 6] = ["services", "volumes", "networks", "secrets", "configs", "models"];

struct Item {
    paths: Vec<Node>,
    project_directory: Option<Node>,
    env_files: Option<Vec<Node>>,
    at: Location,
}

impl<'a> Loader<'a> {
    /// Takes `include` out of the document and joins what it names.
    pub(crate) fn include(&mut self, document: &mut Node, scope: &Scope<'a>) {
        let Some(include) = document.as_map_mut().and_then(|map| map.remove("include")) else { return };
        let key = Key::of(&["include"]);
        let items = match include.kind {
            Kind::List(items) => items,
            Kind::Null => return,
            _ => {
                let message = format!("a list is expected and this is {}", include.describe());
                self.findings.error(Code::WrongType, &include.at, &key, message);
                return;
            }
        };
        for (index, node) in items.iter().enumerate() {
            let key = key.item(index);
            let Some(item) = self.item(node, &key) else { continue };
            if let Some(imported) = self.imported(&item, scope, &key) {
                self.join(imported, document, &item.at);
            }
            if self.fatal {
                return;
            }
        }
    }

    fn item(&mut self, node: &Node, key: &Key) -> Option<Item> {
        let map = match &node.kind {
            Kind::Text(_) => {
                return Some(Item {
                    paths: vec![node.clone()],
                    project_directory: None,
                    env_files: None,
                    at: node.at.clone(),
                });
            }
            Kind::Map(map) => map,
            _ => {
                let message = format!("a path or a mapping is expected and this is {}", node.describe());
                self.findings.error(Code::WrongType, &node.at, key, message);
                return None;
            }
        };
        self.ignored_keys(map, &["path", "project_directory", "env_file"], key, "path");
        let paths = self.texts(map.get("path"), &key.child("path")).unwrap_or_default();
        if paths.is_empty() {
            self.findings.error(Code::MissingKey, &node.at, &key.child("path"), "it has to name a file");
            return None;
        }
        let project_directory =
            map.get("project_directory").filter(|node| node.as_text() != Some("")).cloned();
        let env_files =
            self.texts(map.get("env_file"), &key.child("env_file")).filter(|files| !files.is_empty());
        Some(Item { paths, project_directory, env_files, at: node.at.clone() })
    }

    fn texts(&mut self, node: Option<&Node>, key: &Key) -> Option<Vec<Node>> {
        let node = node?;
        let items = match &node.kind {
            Kind::Text(_) => vec![node.clone()],
            Kind::List(items) => items.clone(),
            _ => vec![node.clone()],
        };
        for item in &items {
            if item.as_text().is_none() {
                let message = format!("a path is expected and this is {}", item.describe());
                self.findings.error(Code::WrongType, &item.at, key, message);
                return None;
            }
        }
        Some(items)
    }

    fn imported(&mut self, item: &Item, scope: &Scope<'a>, key: &Key) -> Option<Node> {
        let named = item.paths.iter().chain(&item.project_directory).chain(item.env_files.iter().flatten());
        if named.clone().any(|node| node.pending) {
            return None;
        }
        let path_key = key.child("path");
        let mut files: Vec<(String, &'a str)> = Vec::new();
        let mut cannot_be_had = false;
        for node in &item.paths {
            let path = self.path(&scope.base, node.as_text().unwrap_or_default(), &node.at, &path_key);
            if scope.chain.contains(&path) {
                let mut ring: Vec<String> = scope.chain.iter().map(|path| self.shown(path)).collect();
                ring.push(self.shown(&path));
                let message = format!("files include each other in a ring: {}", ring.join(" → "));
                self.findings.error(Code::ReferenceCycle, &node.at, key, message);
                self.fatal = true;
                return None;
            }
            cannot_be_had |= matches!(self.input.fetched.get(&path), Some(Err(_)));
            if let Fetch::Text(text) = self.fetch(&path, Purpose::Include, true, &node.at, &path_key) {
                files.push((path, text));
            }
        }
        // The `.env` beside it is nobody's concern then.
        if cannot_be_had {
            return None;
        }
        if scope.chain.len() >= limits::CHAIN {
            self.fail(
                Code::TooLarge,
                &item.at,
                &format!("files include each other more than {} deep", limits::CHAIN),
            );
            return None;
        }
        let all_there = files.len() == item.paths.len();
        let base = match &item.project_directory {
            Some(folder) => {
                let key = key.child("project_directory");
                self.path(&scope.base, folder.as_text().unwrap_or_default(), &folder.at, &key)
            }
            None => {
                let first = &item.paths[0];
                let first = self.path(&scope.base, first.as_text().unwrap_or_default(), &first.at, &path_key);
                paths::folder_of(&first)
            }
        };
        let environment = self.included_environment(item, &base, scope, key);
        let (true, Some(environment)) = (all_there, environment) else { return None };
        let inner = Scope { base, environment, chain: scope.chain.clone() };
        let sources: Vec<Source<'_>> = files.iter().map(|(path, text)| Source { path, text }).collect();
        self.model(&sources, &inner)
    }

    /// The env files of the include, or the `.env` beside it if there is one.
    fn included_environment(
        &mut self,
        item: &Item,
        base: &str,
        scope: &Scope<'a>,
        key: &Key,
    ) -> Option<Environment<'a>> {
        let key = key.child("env_file");
        let files: Vec<(String, Location, bool)> = match &item.env_files {
            None => vec![(paths::join(base, ".env"), item.at.clone(), false)],
            Some(files) => files
                .iter()
                .filter(|file| file.as_text() != Some("/dev/null"))
                .map(|file| {
                    let path = self.path(&scope.base, file.as_text().unwrap_or_default(), &file.at, &key);
                    (path, file.at.clone(), true)
                })
                .collect(),
        };
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        let mut complete = true;
        for (path, at, required) in files {
            let text = match self.fetch(&path, Purpose::EnvFile, required, &at, &key) {
                Fetch::Text(text) => text,
                Fetch::Absent => continue,
                Fetch::Not => {
                    complete = false;
                    continue;
                }
            };
            let unknown = &mut self.unknown;
            let parsed = dotenv::parse(text, &values, &mut |name| unknown.look(&scope.environment, name));
            match parsed {
                Ok(parsed) => values.extend(parsed.entries),
                Err(problem) => {
                    let shown = self.shown(&path);
                    self.fail(Code::Syntax, &Location::new(&shown, problem.line, 1), &problem.message);
                    return None;
                }
            }
        }
        complete.then(|| scope.environment.with_included(values))
    }

    /// What is declared on both sides is merged, the including file over the included one.
    fn join(&mut self, mut imported: Node, document: &mut Node, at: &Location) {
        let Some(document) = document.as_map_mut() else { return };
        for section in SECTIONS {
            let Some(from) = imported.as_map_mut().and_then(|map| map.remove(section)) else { continue };
            let Kind::Map(from) = from.kind else { continue };
            if document.get(section).is_none_or(Node::is_null) {
                document.set(section, at, Node::map(at));
            }
            let Some(into) = document.get_mut(section).and_then(Node::as_map_mut) else { continue };
            for (name, entry) in from.into_entries() {
                let Some(own) = into.get(&name) else {
                    into.set(&name, &entry.key_at, entry.value);
                    continue;
                };
                if own.says_the_same(&entry.value) {
                    continue;
                }
                let key = Key::of(&[section, &name]);
                let own_at = own.at.clone();
                let mut below = entry.value;
                merge::apply_edits(&mut below, own);
                let message = format!("`{name}` is also in {}, and is merged over it", below.at);
                self.findings.note(Code::Duplicate, &own_at, &key, message);
                match merge::merge(below, own.clone(), &key) {
                    Ok(merged) => into.set(&name, &own_at, merged),
                    Err(finding) => self.findings.push(finding),
                }
            }
        }
    }
}
