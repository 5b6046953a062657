//! Whose a thing is, in the engine's labels: ours, and compose's beside them, so
//! that `docker compose ps`, `exec`, `logs` and `down` work on what CLOS started.

use std::collections::{BTreeMap, HashMap};

use clos_domain::id::{OperationId, ServiceId};
use clos_domain::name::{GroupName, GroupRef, Instance, ServiceName, ServiceRef};
use clos_domain::service::Condition;
use clos_domain::workload::{Composed, ConfigHash, Identity, Owner};

const INSTALLATION: &str = "clos.v2.installation";
const GROUP: &str = "clos.v2.group";
/// Absent in the base instance.
const INSTANCE: &str = "clos.v2.instance";
const SERVICE: &str = "clos.v2.service";
const OPERATION: &str = "clos.v2.operation";
const GENERATION: &str = "clos.v2.generation";
pub(crate) const SPEC_HASH: &str = "clos.v2.spec-hash";
/// On images: the digest of the definition that they were built from.
pub(crate) const BUILD_DIGEST: &str = "clos.v2.build-digest";

const PROJECT: &str = "com.docker.compose.project";
const COMPOSE_SERVICE: &str = "com.docker.compose.service";
const NUMBER: &str = "com.docker.compose.container-number";
const ONEOFF: &str = "com.docker.compose.oneoff";
/// Containers without it are invisible to `compose ls`, `ps` and `down`.
const CONFIG_HASH: &str = "com.docker.compose.config-hash";
const DEPENDS_ON: &str = "com.docker.compose.depends_on";
const IMAGE: &str = "com.docker.compose.image";
const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
const VERSION: &str = "com.docker.compose.version";
const NETWORK: &str = "com.docker.compose.network";
const VOLUME: &str = "com.docker.compose.volume";

/// Who wrote the compose labels, in the place of compose's own version.
const WRITER: &str = concat!("clos-", env!("CARGO_PKG_VERSION"));

/// The labels of a container; `image_id` is what the image's name meant at create. Compose compares its
/// `config_hash` with its file.
pub(crate) fn of_identity(identity: &Identity, image_id: &str, config_hash: &str) -> HashMap<String, String> {
    let service = &identity.service;
    let depends_on: Vec<String> = identity
        .depends_on
        .iter()
        .map(|(name, condition, restart)| format!("{name}:{}:{restart}", condition_word(*condition)))
        .collect();
    let mut labels = of_group(&identity.installation, &service.group);
    let mut set = |key: &str, value: String| labels.insert(key.to_owned(), value);
    set(SERVICE, identity.service_id.to_string());
    set(GENERATION, identity.generation.to_string());
    set(SPEC_HASH, identity.spec_hash.clone());
    if let Some(operation) = &identity.operation {
        set(OPERATION, operation.to_string());
    }
    set(COMPOSE_SERVICE, service.name.to_string());
    set(NUMBER, "1".into());
    set(ONEOFF, "False".into());
    set(CONFIG_HASH, config_hash.to_owned());
    set(DEPENDS_ON, depends_on.join(","));
    set(IMAGE, image_id.to_owned());
    set(WORKING_DIR, identity.working_dir.clone());
    set(CONFIG_FILES, identity.config_files.join(","));
    set(VERSION, WRITER.into());
    labels
}

fn of_group(installation: &str, group: &GroupRef) -> HashMap<String, String> {
    let mut labels = HashMap::from([
        (INSTALLATION.to_owned(), installation.to_owned()),
        (GROUP.to_owned(), group.name.to_string()),
        (PROJECT.to_owned(), group.engine_prefix()),
    ]);
    if let Some(instance) = &group.instance {
        labels.insert(INSTANCE.to_owned(), instance.to_string());
    }
    labels
}

/// What a network or volume is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Resource {
    Network,
    Volume,
}

impl Resource {
    fn key(self) -> &'static str {
        match self {
            Self::Network => NETWORK,
            Self::Volume => VOLUME,
        }
    }
}

/// The labels of a network or volume.
pub(crate) fn of_owner(owner: &Owner, resource: Resource) -> HashMap<String, String> {
    let mut labels = of_group(&owner.installation, &owner.group);
    labels.insert(resource.key().to_owned(), owner.key.clone());
    labels.insert(VERSION.to_owned(), WRITER.into());
    labels
}

/// The labels that are neither ours nor docker compose's.
pub(crate) fn of_the_file(labels: HashMap<String, String>) -> BTreeMap<String, String> {
    let is_written_by_us = |key: &str| key.starts_with("clos.v2.") || key.starts_with("com.docker.compose.");
    labels.into_iter().filter(|(key, _)| !is_written_by_us(key)).collect()
}

/// Whose a container is; `None` for what carries no complete set of our labels.
pub(crate) fn identity(labels: &BTreeMap<String, String>) -> Option<Identity> {
    let text = |key: &str| labels.get(key).cloned();
    let service = ServiceRef {
        group: group(labels)?,
        name: ServiceName::parse(COMPOSE_SERVICE, labels.get(COMPOSE_SERVICE)?).ok()?,
    };
    Some(Identity {
        installation: text(INSTALLATION)?,
        service_id: ServiceId::parse(labels.get(SERVICE)?)?,
        service,
        operation: labels.get(OPERATION).and_then(|id| OperationId::parse(id)),
        generation: labels.get(GENERATION)?.parse().ok()?,
        spec_hash: text(SPEC_HASH)?,
        working_dir: text(WORKING_DIR).unwrap_or_default(),
        config_files: list(labels.get(CONFIG_FILES)),
        depends_on: list(labels.get(DEPENDS_ON)).iter().filter_map(|one| dependency(one)).collect(),
        config_hash: text(CONFIG_HASH).map(ConfigHash::Known),
    })
}

/// What docker compose wrote, or we in its place.
pub(crate) fn composed(labels: &BTreeMap<String, String>) -> Option<Composed> {
    Some(Composed {
        project: labels.get(PROJECT)?.clone(),
        service: labels.get(COMPOSE_SERVICE)?.clone(),
        working_dir: labels.get(WORKING_DIR).cloned().unwrap_or_default(),
        config_hash: labels.get(CONFIG_HASH)?.clone(),
        is_oneoff: labels.get(ONEOFF).is_some_and(|word| word.eq_ignore_ascii_case("true")),
    })
}

/// The id that the image's name meant when the container was created.
pub(crate) fn image_id(labels: &BTreeMap<String, String>) -> Option<String> {
    labels.get(IMAGE).filter(|id| !id.is_empty()).cloned()
}

/// Whose a network or volume is. What compose made has no installation.
pub(crate) fn owner(labels: &HashMap<String, String>, resource: Resource) -> Option<Owner> {
    let labels: BTreeMap<String, String> = labels.clone().into_iter().collect();
    let key = labels.get(resource.key())?.clone();
    match labels.get(INSTALLATION) {
        Some(installation) => Some(Owner { installation: installation.clone(), group: group(&labels)?, key }),
        None => Some(Owner { installation: String::new(), group: project(labels.get(PROJECT)?)?, key }),
    }
}

/// The group whose things on the engine begin with this.
fn project(prefix: &str) -> Option<GroupRef> {
    let (name, instance) = match prefix.split_once("__") {
        Some((name, instance)) => (name, Some(Instance::parse(PROJECT, instance).ok()?)),
        None => (prefix, None),
    };
    Some(GroupRef { name: GroupName::parse(PROJECT, name).ok()?, instance })
}

fn group(labels: &BTreeMap<String, String>) -> Option<GroupRef> {
    let instance = match labels.get(INSTANCE).filter(|name| !name.is_empty()) {
        Some(name) => Some(Instance::parse(INSTANCE, name).ok()?),
        None => None,
    };
    Some(GroupRef { name: GroupName::parse(GROUP, labels.get(GROUP)?).ok()?, instance })
}

fn list(value: Option<&String>) -> Vec<String> {
    value.iter().flat_map(|text| text.split(',')).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// Compose's words for the conditions of `depends_on`.
const CONDITIONS: [(Condition, &str); 3] = [
    (Condition::Started, "service_started"),
    (Condition::Healthy, "service_healthy"),
    (Condition::Completed, "service_completed_successfully"),
];

fn condition_word(condition: Condition) -> &'static str {
    CONDITIONS.iter().find(|(known, _)| *known == condition).map_or("service_started", |(_, word)| word)
}

fn dependency(text: &str) -> Option<(String, Condition, bool)> {
    let mut parts = text.split(':');
    let (name, word, restart) = (parts.next()?, parts.next()?, parts.next()?);
    let (condition, _) = CONDITIONS.iter().find(|(_, known)| *known == word)?;
    Some((name.to_owned(), *condition, restart == "true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose(service: &str) -> Identity {
        Identity {
            installation: "inst".into(),
            service_id: ServiceId::trusted("svc_abcdefghijklmnopqrstuvwx23"),
            service: ServiceRef::parse("id", service).unwrap(),
            operation: Some(OperationId::trusted("op_abcdefghijklmnopqrstuvwx23")),
            generation: 7,
            spec_hash: "abc123".into(),
            working_dir: "/src/shop".into(),
            config_files: vec!["/src/shop/compose.yaml".into(), "/src/shop/more.yaml".into()],
            depends_on: vec![
                ("db".into(), Condition::Healthy, true),
                ("init".into(), Condition::Completed, false),
                ("log".into(), Condition::Started, false),
            ],
            config_hash: Some(ConfigHash::Known("def456".into())),
        }
    }

    #[test]
    fn an_identity_reads_back_as_it_was_written() {
        for service in ["shop/web", "shop~feature-x/web.v2"] {
            let labels: BTreeMap<_, _> =
                of_identity(&whose(service), "sha256:1", "def456").into_iter().collect();
            assert_eq!(identity(&labels), Some(whose(service)));
        }
    }

    #[test]
    fn compose_finds_the_words_that_it_looks_for() {
        let labels = of_identity(&whose("shop~x/web"), "sha256:1", "def456");
        for (key, value) in [
            ("com.docker.compose.project", "shop__x"),
            ("com.docker.compose.service", "web"),
            ("com.docker.compose.container-number", "1"),
            ("com.docker.compose.oneoff", "False"),
            ("com.docker.compose.config-hash", "def456"),
            ("com.docker.compose.image", "sha256:1"),
            ("com.docker.compose.project.working_dir", "/src/shop"),
            ("com.docker.compose.project.config_files", "/src/shop/compose.yaml,/src/shop/more.yaml"),
            (
                "com.docker.compose.depends_on",
                "db:service_healthy:true,init:service_completed_successfully:false,log:service_started:false",
            ),
            ("clos.v2.instance", "x"),
            ("clos.v2.group", "shop"),
        ] {
            assert_eq!(labels.get(key).map(String::as_str), Some(value), "{key}");
        }
    }

    #[test]
    fn a_stranger_or_half_a_label_set_has_no_identity() {
        assert_eq!(identity(&BTreeMap::new()), None);
        for missing in [INSTALLATION, GROUP, SERVICE, GENERATION, SPEC_HASH, COMPOSE_SERVICE] {
            let mut labels: BTreeMap<_, _> =
                of_identity(&whose("shop/web"), "i", "def456").into_iter().collect();
            labels.remove(missing);
            assert_eq!(identity(&labels), None, "{missing}");
        }
    }

    #[test]
    fn networks_and_volumes_say_whose_they_are() {
        let owned = Owner {
            installation: "inst".into(),
            group: GroupRef::parse("group", "shop~x").unwrap(),
            key: "default".into(),
        };
        for resource in [Resource::Network, Resource::Volume] {
            assert_eq!(owner(&of_owner(&owned, resource), resource), Some(owned.clone()));
        }
        let labels = of_owner(&owned, Resource::Network);
        assert_eq!(labels["com.docker.compose.project"], "shop__x");
        assert_eq!(labels["com.docker.compose.network"], "default");
        assert_eq!(owner(&labels, Resource::Volume), None);
    }
}
