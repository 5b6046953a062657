//! What the planner sees: complete specs with their hashes, and the engine as it is.

use std::collections::{BTreeMap, BTreeSet};

use clos_domain::group::Group;
use clos_domain::id::{OperationId, ServiceId};
use clos_domain::operation::Verb;
use clos_domain::page;
use clos_domain::plan::{Beside, Former, Part, Present, Snapshot, Wanted};
use clos_domain::seams::store::OperationFilter;
use clos_domain::service::{Observed, Service};
use clos_domain::workload::{Build, Found, Image, Owner, Run, Spec};
use clos_domain::{Error, Result, spec};
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};

use crate::adoption::{self, Known};
use crate::observer::engine_error;
use crate::{World, changes, networks};

/// Images that are looked up at a time.
const LOOK_UPS: usize = 8;

/// A group with everything of it that takes part.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) group: Group,
    /// Every service of the group, for references between them.
    pub(crate) all: Vec<Service>,
    /// Those that take part.
    pub(crate) chosen: Vec<Service>,
    /// Services of ours that the files no longer have.
    pub(crate) orphans: Vec<Service>,
    /// Groups that the same files made under an earlier name, with what of them still has containers.
    pub(crate) former: Vec<(Group, Vec<Service>)>,
}

impl Scope {
    /// Services with containers that the files no longer have, under this name or an earlier one.
    pub(crate) fn leaving(&self) -> impl Iterator<Item = &Service> {
        self.orphans.iter().chain(self.former.iter().flat_map(|(_, services)| services))
    }

    /// Services with containers that are scaled to 0; nothing is said of them when only some services were asked for.
    pub(crate) fn emptied(&self) -> Vec<&Service> {
        let is_chosen = |service: &Service| self.chosen.iter().any(|other| other.id == service.id);
        if self.all.iter().any(|service| service.definition.enabled && !is_chosen(service)) {
            return Vec::new();
        }
        let is_emptied = |service: &&Service| {
            service.definition.scale == Some(0) && service.observed != Observed::Absent && !is_chosen(service)
        };
        self.all.iter().filter(is_emptied).collect()
    }

    /// The planner's view of it.
    pub(crate) fn part(&self, installation: &str) -> Result<Part<'_>> {
        let mut services = Vec::with_capacity(self.chosen.len());
        for service in &self.chosen {
            let spec = hashed(spec::resolve(installation, &self.group, service, &self.all, &service.ports))?;
            services.push(Wanted { service, spec });
        }
        let is_aside =
            |service: &&Service| self.chosen.iter().chain(&self.orphans).all(|other| other.id != service.id);
        let former = self.former.iter();
        let former = former.map(|(group, services)| Former { group, services: services.iter().collect() });
        Ok(Part {
            group: &self.group,
            services,
            orphans: self.orphans.iter().collect(),
            former: former.collect(),
            aside: self.all.iter().filter(is_aside).collect(),
            along: false,
            is_whole: self.chosen.len() == self.all.len(),
        })
    }
}

/// Fills the hash in, SHA-256 of the fingerprint's JSON, and the digest of the build definition.
pub(crate) fn hashed(mut spec: Spec) -> Result<Spec> {
    spec.identity.spec_hash = hash_of(&fingerprint(&spec)?);
    let Run::Container(container) = &mut spec.run;
    if let Some(build) = &mut container.build {
        // How it is built does not say what it is.
        let what = Build { no_cache: false, pull: false, cache_from: Vec::new(), ..build.clone() };
        build.digest = hash_of(&serde_json::to_string(&what).map_err(Error::internal)?);
    }
    Ok(spec)
}

pub(crate) fn hash_of(json: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(json.as_bytes()))
}

/// The text that is hashed.
pub(crate) fn fingerprint(spec: &Spec) -> Result<String> {
    serde_json::to_string(&spec.fingerprint()).map_err(Error::internal)
}

/// Looks at the engine, as far as the verb needs it.
pub(crate) async fn take(
    world: &World,
    installation: &str,
    known: &Known,
    verb: Verb,
    parts: &[Part<'_>],
) -> Result<Snapshot> {
    let makes = matches!(verb, Verb::Up | Verb::Start | Verb::Recreate);
    let removes = verb == Verb::Down;
    let workloads = world.engine.workloads.list();
    let listed_networks =
        async { if makes || removes { world.engine.networks.list().await } else { Ok(Vec::new()) } };
    let volumes = async { if makes || removes { world.engine.volumes.list().await } else { Ok(Vec::new()) } };
    let images = async { if makes { images(world, parts).await } else { Ok(BTreeMap::new()) } };
    let (workloads, listed_networks, volumes, images) =
        tokio::join!(workloads, listed_networks, volumes, images);

    let mut snapshot = Snapshot { images: images?, ..Snapshot::default() };
    let services: BTreeSet<_> = parts
        .iter()
        .flat_map(|part| {
            part.services
                .iter()
                .map(|wanted| &wanted.service.id)
                .chain(part.orphans.iter().map(|one| &one.id))
                .chain(part.former.iter().flat_map(|former| &former.services).map(|one| &one.id))
        })
        .collect();
    let listed = workloads.map_err(engine_error)?;
    let open: BTreeSet<OperationId> = {
        let mut view = world.store.view().await?;
        let filter = OperationFilter { open: true, ..OperationFilter::default() };
        let listed = view.operations().list(&filter, &page::Request::ALL).await?;
        listed.items.into_iter().map(|operation| operation.id).collect()
    };
    let mut shown: BTreeMap<ServiceId, BTreeMap<String, String>> = BTreeMap::new();
    for found in &listed {
        let service = known.service_of(installation, found).filter(|one| services.contains(one));
        if let Some(service) = service {
            shown.entry(service.clone()).or_default().extend(found.anonymous_volumes.clone());
        }
        if let (None, None, Some(composed)) = (service, &found.identity, &found.composed) {
            let beside = Beside { name: found.name.clone(), is_one_off: composed.is_oneoff };
            snapshot.composed.entry(composed.project.clone()).or_default().push(beside);
        }
        let spec_hash = match (&found.identity, service) {
            (Some(identity), Some(_)) => identity.spec_hash.clone(),
            (None, Some(service)) => hash_of_adopted(found, service, parts, &listed),
            (_, None) => String::new(),
        };
        let present = Present {
            id: found.id.clone(),
            anonymous_volumes: found.anonymous_volumes.clone(),
            is_in_the_making: found
                .identity
                .as_ref()
                .and_then(|identity| identity.operation.as_ref())
                .is_some_and(|operation| open.contains(operation)),
            service: service.cloned(),
            of_another: None,
            aside: known.service_of(installation, found).filter(|one| !services.contains(one)).cloned(),
            networks: found.networks.clone(),
            shares_with: BTreeSet::new(),
            spec_hash,
            image_id: found.image_id.clone(),
            state: found.state.clone(),
            ports: found.ports.clone(),
        };
        snapshot.workloads.insert(found.name.clone(), present);
    }
    if makes {
        for wanted in parts.iter().flat_map(|part| &part.services) {
            if wanted.spec.container().shared_with().is_empty() {
                continue;
            }
            let mut workloads = snapshot.workloads.iter_mut();
            let own = workloads.find(|(_, present)| present.service.as_ref() == Some(&wanted.service.id));
            let Some((name, present)) = own else { continue };
            let found = world.engine.workloads.inspect(name).await.map_err(engine_error)?;
            present.shares_with = found.map(|found| found.shares_with).unwrap_or_default();
        }
    }
    // What compose made for a group that a container of compose's was adopted in is the group's.
    let adopting: BTreeSet<_> = parts
        .iter()
        .filter(|part| part.services.iter().any(|wanted| known.has(&wanted.service.id)))
        .map(|part| &part.group.name)
        .collect();
    let is_adopted = |owner: &Option<Owner>| {
        owner.as_ref().is_some_and(|one| one.installation.is_empty() && adopting.contains(&one.group))
    };
    let is_ours = |owner: &Option<Owner>| {
        owner.as_ref().is_some_and(|one| one.installation == installation) || is_adopted(owner)
    };
    let volumes = volumes.map_err(engine_error)?;
    let adopted = volumes.iter().filter(|(_, owner)| is_adopted(owner));
    snapshot.adopted_volumes = adopted.map(|(name, _)| name.clone()).collect();
    snapshot.networks =
        networks::present(listed_networks.map_err(engine_error)?, installation, parts, |found| {
            is_ours(&found.network.owner)
        })?;
    snapshot.volumes = volumes.into_iter().map(|(name, owner)| (name, is_ours(&owner))).collect();
    let mut view = world.store.view().await?;
    for wanted in parts.iter().flat_map(|part| &part.services).filter(|_| makes) {
        let name = &wanted.spec.name;
        let Some(holder) = snapshot.workloads.get_mut(name).filter(|holder| holder.service.is_none()) else {
            continue;
        };
        let found = listed.iter().find(|found| found.name == *name);
        let Some(id) = found.and_then(|found| known.service_of(installation, found)) else { continue };
        holder.of_another = view.services().get(id).await?.map(|other| other.resource().to_string());
    }
    for wanted in parts.iter().flat_map(|part| &part.services).filter(|_| makes) {
        let id = &wanted.service.id;
        let present = snapshot.workloads.values().find(|present| present.service.as_ref() == Some(id));
        let Some(present) = present.filter(|it| it.spec_hash != wanted.spec.identity.spec_hash) else {
            continue;
        };
        let Some(made_from) = view.services().made_from(id).await?.remove(&present.spec_hash) else {
            continue;
        };
        if let Some(changes) = changes::between(&made_from, &fingerprint(&wanted.spec)?) {
            snapshot.changes.insert(id.clone(), changes);
        }
    }
    for id in services {
        let mut kept = view.services().anonymous_volumes(id).await?;
        kept.extend(shown.remove(id).unwrap_or_default());
        kept.retain(|_, volume| snapshot.volumes.contains_key(volume));
        snapshot.anonymous_volumes.insert(id.clone(), kept);
    }
    Ok(snapshot)
}

/// An adopted container is as it should be while compose's hash of the file says so, whatever our own would be.
fn hash_of_adopted(found: &Found, service: &ServiceId, parts: &[Part<'_>], listed: &[Found]) -> String {
    let mut services = parts.iter().flat_map(|part| &part.services);
    let wanted = services.find(|wanted| wanted.service.id == *service).map(|wanted| &wanted.spec.identity);
    wanted
        .filter(|wanted| adoption::is_of_hash(found, wanted, listed))
        .map(|wanted| wanted.spec_hash.clone())
        .unwrap_or_default()
}

async fn images(world: &World, parts: &[Part<'_>]) -> Result<BTreeMap<String, Image>> {
    let wanted: BTreeSet<String> = parts
        .iter()
        .flat_map(|part| &part.services)
        .map(|wanted| wanted.spec.container().image.clone())
        .collect();
    let looked: Vec<Result<Option<(String, Image)>>> = futures::stream::iter(wanted)
        .map(|image| async move {
            let found = world.engine.images.find(&image).await.map_err(engine_error)?;
            Ok(found.map(|found| (image, found)))
        })
        .buffer_unordered(LOOK_UPS)
        .collect()
        .await;
    looked.into_iter().filter_map(Result::transpose).collect()
}
