//! From the file's words to the engine's: every name resolved.
//!
//! A [`Definition`](crate::service::Definition) says `data`, `default`, `db`; a
//! [`Spec`] says `shop_data`, `shop_default`, `shop-db-1`. Nothing is decided here.

use std::borrow::Cow;

use indexmap::IndexMap;
use serde::Serialize;

use crate::group::Group;
use crate::health::Check;
use crate::id::ServiceId;
use crate::name::ServiceRef;
use crate::port::Binding;
use crate::secret::Hidden;
use crate::service::{Service, workload_name};
use crate::workload::{
    ConfigHash, ConfigPiece, Identity, Join, Limits, Logging, Mount, MountKind, Network, Owner, Restart, Run,
    Spec, Stop, Volume,
};

/// The network that a container joins when its file names none.
pub const DEFAULT_NETWORK: &str = "default";

/// The complete spec of a service, its host ports being `bindings`. The hash in
/// its identity is empty until [`Spec::fingerprint`] was hashed.
pub fn resolve(
    installation: &str,
    group: &Group,
    service: &Service,
    siblings: &[Service],
    bindings: &[Binding],
) -> Spec {
    let definition = &service.definition;
    let mut container = definition.container().clone();
    if container.image.is_empty() {
        container.image = built_image(group, service);
    }
    let names_nothing = container.networks.is_empty() && container.network_mode.is_none();
    if names_nothing {
        container.networks.push(Join { network: DEFAULT_NETWORK.to_owned(), ..Join::default() });
    }
    for join in &mut container.networks {
        join.network = group.network_name(&join.network);
        // The service's name is what others call it by. The container's name is an alias too, as Compose has
        // it, so that it resolves while a replacement still carries a temporary name.
        for own_name in [service.workload_name(), definition.name.to_string()] {
            if !join.aliases.contains(&own_name) {
                join.aliases.insert(0, own_name);
            }
        }
    }
    for mount in &mut container.mounts {
        resolve_mount(group, mount);
    }
    for part in [&mut container.network_mode, &mut container.pid, &mut container.ipc] {
        if let Some(sibling) = part.as_deref().and_then(|mode| mode.strip_prefix("service:")) {
            *part = Some(format!("container:{}", sibling_workload(group, siblings, sibling)));
        }
    }
    for from in &mut container.volumes_from {
        *from = resolve_volumes_from(group, siblings, from);
    }
    let needs = |dependency: &crate::service::Dependency| {
        (dependency.service.to_string(), dependency.condition, dependency.restart)
    };
    Spec {
        name: service.workload_name(),
        identity: Identity {
            installation: installation.to_owned(),
            service_id: service.id.clone(),
            service: service.resource(),
            operation: None,
            generation: service.generation,
            spec_hash: String::new(),
            working_dir: group.definition.working_dir.clone(),
            config_files: group.definition.compose_files.clone(),
            depends_on: definition.depends_on.iter().map(needs).collect(),
            config_hash: definition.config_hash.clone().map(|hash| of_workloads(hash, group, siblings)),
        },
        labels: definition.labels.clone(),
        environment: definition.environment.clone(),
        ports: bindings.to_vec(),
        health: definition.health.clone(),
        restart: definition.restart,
        stop: definition.stop.clone(),
        limits: definition.limits.clone(),
        logging: definition.logging.clone(),
        run: Run::Container(Box::new(container)),
        inherited: std::collections::BTreeMap::new(),
    }
}

/// The name that a build without `image:` gets: compose's own, `shop-web`.
pub fn built_image(group: &Group, service: &Service) -> String {
    format!("{}-{}", group.name.engine_prefix(), service.definition.name).to_lowercase()
}

/// One of a group's networks as the engine makes it.
pub fn network(installation: &str, group: &Group, key: &str) -> Network {
    let definition = group.definition.networks.get(key).cloned().unwrap_or_default();
    Network { name: group.network_name(key), owner: Some(owner(installation, group, key)), ..definition }
}

/// One of a group's volumes as the engine makes it.
pub fn volume(installation: &str, group: &Group, key: &str) -> Volume {
    let definition = group.definition.volumes.get(key).cloned().unwrap_or_default();
    Volume { name: group.volume_name(key), owner: Some(owner(installation, group, key)), ..definition }
}

fn owner(installation: &str, group: &Group, key: &str) -> Owner {
    Owner { installation: installation.to_owned(), group: group.name.clone(), key: key.to_owned() }
}

fn resolve_mount(group: &Group, mount: &mut Mount) {
    if mount.kind != MountKind::Volume {
        return;
    }
    if let Some(source) = &mut mount.source {
        *source = group.volume_name(source);
    }
}

fn sibling_workload(group: &Group, siblings: &[Service], name: &str) -> String {
    match siblings.iter().find(|sibling| sibling.definition.name.as_str() == name) {
        Some(sibling) => workload_name(&sibling.group, &sibling.definition),
        None => format!("{}-{name}-1", group.name.engine_prefix()),
    }
}

fn of_workloads(hash: ConfigHash, group: &Group, siblings: &[Service]) -> ConfigHash {
    let ConfigHash::Of(pieces) = hash else { return hash };
    let resolved = pieces.into_iter().map(|piece| match piece {
        ConfigPiece::IdOf(service) => ConfigPiece::IdOf(sibling_workload(group, siblings, &service)),
        text @ ConfigPiece::Text(_) => text,
    });
    ConfigHash::Of(resolved.collect())
}

fn resolve_volumes_from(group: &Group, siblings: &[Service], from: &str) -> String {
    if let Some(stranger) = from.strip_prefix("container:") {
        return stranger.to_owned();
    }
    let (name, mode) = from.split_once(':').map_or((from, ""), |(name, mode)| (name, mode));
    let workload = sibling_workload(group, siblings, name);
    if mode.is_empty() { workload } else { format!("{workload}:{mode}") }
}

impl Spec {
    /// What the hash is made of: everything but the identity, which says how the
    /// workload came about and not what it is. Nor do its dependencies: they say when it starts.
    pub fn fingerprint(&self) -> Fingerprint<'_> {
        Fingerprint {
            name: &self.name,
            service_id: &self.identity.service_id,
            service: &self.identity.service,
            working_dir: &self.identity.working_dir,
            labels: &self.labels,
            environment: &self.environment,
            ports: &self.ports,
            health: self.health.as_ref(),
            restart: self.restart,
            stop: &self.stop,
            limits: &self.limits,
            logging: self.logging.as_ref(),
            run: without_contents(&self.run),
        }
    }
}

/// Of the files that are copied in, a fingerprint has the digests only: it is kept for a long time and compared
/// in plans.
fn without_contents(run: &Run) -> Cow<'_, Run> {
    let Run::Container(container) = run;
    if container.files.is_empty() {
        return Cow::Borrowed(run);
    }
    let mut container = container.clone();
    for file in &mut container.files {
        file.content = Hidden::default();
    }
    Cow::Owned(Run::Container(container))
}

/// What of a spec says what the workload is. Its JSON is what is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fingerprint<'a> {
    name: &'a str,
    service_id: &'a ServiceId,
    service: &'a ServiceRef,
    working_dir: &'a str,
    labels: &'a IndexMap<String, String>,
    environment: &'a IndexMap<String, String>,
    ports: &'a [Binding],
    health: Option<&'a Check>,
    restart: Restart,
    stop: &'a Stop,
    limits: &'a Limits,
    logging: Option<&'a Logging>,
    run: Cow<'a, Run>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::tests::{group, service};
    use crate::name::GroupRef;
    use crate::workload::Volume;

    #[test]
    fn every_name_of_the_file_becomes_the_engines() {
        let mut shop = group("shop");
        shop.definition.volumes.insert("data".into(), Volume::default());
        let db = service(&shop, "db");
        let mut web = service(&shop, "web");
        let container = web.definition.container_mut();
        container.networks =
            vec![Join { network: "back".into(), aliases: vec!["www".into()], ..Join::default() }];
        container.mounts = vec![
            Mount::new(MountKind::Volume, Some("data".into()), "/data"),
            Mount::new(MountKind::Bind, Some("/src".into()), "/src"),
            Mount::new(MountKind::Volume, None, "/anonymous"),
        ];
        container.pid = Some("service:db".into());
        container.volumes_from = vec!["db:ro".into(), "container:other".into()];
        let spec = resolve("me", &shop, &web, &[db], &[]);
        let made = spec.container();
        assert_eq!(spec.name, "shop-web-1");
        assert_eq!(made.networks[0].network, "shop_back");
        assert_eq!(made.networks[0].aliases, ["web", "shop-web-1", "www"]);
        assert_eq!(made.mounts[0].source.as_deref(), Some("shop_data"));
        assert_eq!(made.mounts[1].source.as_deref(), Some("/src"));
        assert_eq!(made.mounts[2].source, None);
        assert_eq!(made.pid.as_deref(), Some("container:shop-db-1"));
        assert_eq!(made.volumes_from, ["shop-db-1:ro", "other"]);
    }

    #[test]
    fn names_inside_the_network_do_not_carry_the_instance() {
        let mut copy = group("shop");
        copy.name = GroupRef::parse("group", "shop~x").unwrap();
        let web = service(&copy, "web");
        let spec = resolve("me", &copy, &web, &[], &[]);
        assert_eq!(spec.name, "shop__x-web-1");
        assert_eq!(spec.container().networks[0].network, "shop__x_default");
        assert_eq!(spec.container().networks[0].aliases, ["web", "shop__x-web-1"]);
        assert_eq!(built_image(&copy, &web), "shop__x-web");
    }

    #[test]
    fn the_fingerprint_does_not_know_the_operation() {
        let shop = group("shop");
        let web = service(&shop, "web");
        let mut one = resolve("me", &shop, &web, &[], &[]);
        let mut two = one.clone();
        two.identity.operation = Some(crate::id::OperationId::trusted("op_x"));
        two.identity.generation = 7;
        assert_eq!(one.fingerprint(), two.fingerprint());
        one.environment.insert("A".into(), "1".into());
        assert_ne!(one.fingerprint(), two.fingerprint());
    }

    #[test]
    fn the_fingerprint_has_the_digest_of_a_copied_file_and_not_its_content() {
        let shop = group("shop");
        let mut web = service(&shop, "web");
        let plain = serde_json::to_string(&resolve("me", &shop, &web, &[], &[]).fingerprint()).unwrap();
        assert!(!plain.contains("files"), "the hashes of containers without files stay: {plain}");
        web.definition.container_mut().files = vec![crate::copied::CopiedFile {
            target: "/run/secrets/key".into(),
            content: Hidden::new("hunter2"),
            digest: "d1".into(),
            ..Default::default()
        }];
        let spec = resolve("me", &shop, &web, &[], &[]);
        assert_eq!(spec.container().files[0].content.reveal(), "hunter2");
        let json = serde_json::to_string(&spec.fingerprint()).unwrap();
        assert!(json.contains("d1") && !json.contains("hunter2"), "{json}");
    }
}
