//! `extends`: a service laid over another one, of the same file or of another.

use crate::canonical;
use crate::finding::{Code, Key, Location};
use crate::input::Purpose;
use crate::limits;
use crate::load::{Fetch, Loader, Scope, Source};
use crate::merge;
use crate::node::{Kind, Map, Node};
use crate::paths;
use crate::settle;
use crate::unique;

/// The services that led to the one at hand, with their files.
type Chain = Vec<(String, String)>;

struct Base {
    service: String,
    file: Option<String>,
    at: Location,
}

impl<'a> Loader<'a> {
    /// Replaces every service of the document that extends another by what comes of it.
    pub(crate) fn extend(&mut self, document: &mut Node, path: &str, scope: &Scope<'a>) {
        let services =
            document.as_map_mut().and_then(|map| map.get_mut("services")).and_then(Node::as_map_mut);
        let Some(services) = services else { return };
        for name in services.names() {
            if !self.fatal {
                self.extend_one(&name, services, path, scope, &mut Vec::new());
            }
        }
    }

    fn extend_one(
        &mut self,
        name: &str,
        services: &mut Map,
        path: &str,
        scope: &Scope<'a>,
        chain: &mut Chain,
    ) {
        let key = Key::of(&["services", name, "extends"]);
        let Some(base) = services.get(name).and_then(|service| self.base_of(service, &key)) else { return };
        let here = (path.to_owned(), name.to_owned());
        if chain.contains(&here) {
            let mut names: Vec<&str> = chain.iter().map(|(_, name)| name.as_str()).collect();
            names.push(name);
            let message = format!("services extend each other in a ring: {}", names.join(" → "));
            self.findings.error(Code::ReferenceCycle, &base.at, &key, message);
            self.fatal = true;
            return;
        }
        if chain.len() >= limits::CHAIN {
            let message = format!("services extend each other more than {} deep", limits::CHAIN);
            self.findings.error(Code::TooLarge, &base.at, &key, message);
            self.fatal = true;
            return;
        }
        chain.push(here);
        let below = match &base.file {
            None => self.base_here(&base, services, path, scope, chain, &key),
            Some(file) => {
                let file = self.path(&scope.base, file, &base.at, &key.child("file"));
                self.base_in(&file, &base, scope, chain, &key)
            }
        };
        chain.pop();
        let Some(mut below) = below else { return };
        if self.fatal || !self.charge(below.weight(), &base.at) {
            return;
        }
        merge::strip_edits(&mut below);
        let Some(mut own) = services.get(name).cloned() else { return };
        if let Some(map) = own.as_map_mut() {
            map.remove("extends");
        }
        let own_at = own.at.clone();
        merge::apply_edits(&mut below, &own);
        match merge::merge(below, own, &Key::of(&["services", name])) {
            Ok(mut merged) => {
                if let Some(map) = merged.as_map_mut() {
                    map.remove("extends");
                }
                merged.at = own_at;
                if let Some(slot) = services.get_mut(name) {
                    *slot = merged;
                }
            }
            Err(finding) => self.findings.push(finding),
        }
    }

    fn base_of(&mut self, service: &Node, key: &Key) -> Option<Base> {
        let extends = service.as_map()?.get("extends")?;
        let at = extends.at.clone();
        let (service, file) = match &extends.kind {
            Kind::Text(name) => (name.clone(), None),
            Kind::Map(map) => {
                self.ignored_keys(map, &["service", "file"], key, "service");
                let text = |name: &str| map.get(name).and_then(Node::as_text).map(str::to_owned);
                let pending = map.iter().any(|(_, entry)| entry.value.pending);
                if pending {
                    return None;
                }
                let Some(service) = text("service") else {
                    self.findings.error(
                        Code::MissingKey,
                        &at,
                        &key.child("service"),
                        "it has to name a service",
                    );
                    return None;
                };
                if let Some(file) = map.get("file").filter(|file| file.as_text().is_none()) {
                    let message = format!("a path is expected and this is {}", file.describe());
                    self.findings.error(Code::WrongType, &file.at, &key.child("file"), message);
                    return None;
                }
                (service, text("file"))
            }
            _ => {
                let message = format!("the name of a service is expected and this is {}", extends.describe());
                self.findings.error(Code::WrongType, &at, key, message);
                return None;
            }
        };
        (!extends.pending).then_some(Base { service, file, at })
    }

    fn base_here(
        &mut self,
        base: &Base,
        services: &mut Map,
        path: &str,
        scope: &Scope<'a>,
        chain: &mut Chain,
        key: &Key,
    ) -> Option<Node> {
        if !services.has(&base.service) {
            let message = format!("there is no service `{}` in {}", base.service, self.shown(path));
            self.findings.error(Code::UnknownReference, &base.at, key, message);
            return None;
        }
        self.extend_one(&base.service, services, path, scope, chain);
        services.get(&base.service).cloned()
    }

    fn base_in(
        &mut self,
        file: &str,
        base: &Base,
        scope: &Scope<'a>,
        chain: &mut Chain,
        key: &Key,
    ) -> Option<Node> {
        let file_key = key.child("file");
        let Fetch::Text(text) = self.fetch(file, Purpose::Extends, true, &base.at, &file_key) else {
            return None;
        };
        let mut services = match self.bases.get(file) {
            Some(services) => services.clone(),
            None => {
                let services = self.services_of(Source { path: file, text }, scope)?;
                self.bases.insert(file.to_owned(), services.clone());
                services
            }
        };
        let inner = Scope { base: paths::folder_of(file), ..scope.clone() };
        self.base_here(base, &mut services, file, &inner, chain, key)
    }

    /// The services of a file that is only extended: long forms, paths as seen from that file's folder.
    fn services_of(&mut self, file: Source<'_>, scope: &Scope<'a>) -> Option<Map> {
        let mut project = Node::map(&Location::whole(&self.shown(file.path)));
        for mut document in self.documents(file)? {
            self.fill_in(&mut document, &Key::root(), &scope.environment);
            merge::apply_edits(&mut project, &document);
            merge::strip_edits(&mut document);
            project = match merge::merge(project, document, &Key::root()) {
                Ok(project) => project,
                Err(finding) => {
                    self.findings.push(finding);
                    return None;
                }
            };
            unique::enforce(&mut project, &Key::root());
            canonical::canonical(&mut project, &mut self.findings);
        }
        settle::resolve_paths(&mut project, &paths::folder_of(file.path), self);
        let services = project.as_map_mut().and_then(|map| map.remove("services"));
        match services.map(|services| services.kind) {
            Some(Kind::Map(services)) => Some(services),
            _ => Some(Map::default()),
        }
    }
}
