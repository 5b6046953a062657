//! What env files and label files bring to a service.

use std::collections::BTreeMap;

use crate::dotenv;
use crate::environment::Environment;
use crate::finding::{Code, Key, Location};
use crate::input::Purpose;
use crate::interpolate::Lookup;
use crate::load::{Fetch, Loader};
use crate::model::Service;
use crate::node::Weight;

/// Later files win over earlier ones, and the service's own `environment` over all of them.
pub(super) fn environment<'a>(loader: &mut Loader<'a>, service: &mut Service, environment: &Environment<'a>) {
    for (name, value) in &mut service.environment {
        if value.is_none()
            && let Lookup::Value(found) = loader.unknown.look(environment, name)
        {
            let at = service.at.clone().unwrap_or_else(|| Location::whole(&service.name));
            if !loader.charge(Weight { nodes: 0, bytes: found.len() }, &at) {
                return;
            }
            *value = Some(found);
        }
    }
    let own = &service.environment;
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    values.extend(own.iter().filter_map(|(name, value)| value.clone().map(|value| (name.clone(), value))));
    let key = service.key().child("env_file");
    for (index, file) in service.env_files.iter().enumerate() {
        let key = key.item(index);
        let fetched = loader.fetch(&file.path, Purpose::EnvFile, file.required, &file.at, &key);
        let Fetch::Text(text) = fetched else { continue };
        let unknown = &mut loader.unknown;
        let mut lookup = |name: &str| match unknown.look(environment, name) {
            Lookup::Value(value) => Lookup::Value(value),
            missing => match own.get(name) {
                Some(Some(value)) if missing == Lookup::Unset => Lookup::Value(value.clone()),
                _ => missing,
            },
        };
        let parsed = if file.raw {
            dotenv::parse_raw(text, &mut lookup)
        } else {
            dotenv::parse(text, &values, &mut lookup)
        };
        match parsed {
            Ok(parsed) => {
                let bytes = parsed.entries.iter().map(|(name, value)| name.len() + value.len()).sum();
                if !loader.charge(Weight { nodes: 0, bytes }, &file.at) {
                    return;
                }
                values.extend(parsed.entries);
            }
            Err(problem) => told(loader, &file.path, problem, &key),
        }
    }
    for (name, value) in values {
        service.environment.entry(name).or_insert(Some(value));
    }
}

/// Labels of files, under the service's own.
pub(super) fn labels(loader: &mut Loader<'_>, service: &mut Service) {
    let key = service.key().child("label_file");
    let at = service.place("label_file");
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for (index, path) in service.label_files.iter().enumerate() {
        let key = key.item(index);
        let Fetch::Text(text) = loader.fetch(path, Purpose::LabelFile, true, &at, &key) else { continue };
        let earlier = values.clone();
        match dotenv::parse(text, &earlier, &mut |_| Lookup::Unset) {
            Ok(parsed) => {
                let bytes = parsed.entries.iter().map(|(name, value)| name.len() + value.len()).sum();
                if !loader.charge(Weight { nodes: 0, bytes }, &at) {
                    return;
                }
                values.extend(parsed.entries);
            }
            Err(problem) => told(loader, path, problem, &key),
        }
    }
    for (name, value) in values {
        service.labels.entry(name).or_insert(value);
    }
}

fn told(loader: &mut Loader<'_>, path: &str, problem: dotenv::Problem, key: &Key) {
    let at = Location::new(&loader.shown(path), problem.line, 1);
    loader.findings.error(Code::Syntax, &at, key, problem.message);
}
