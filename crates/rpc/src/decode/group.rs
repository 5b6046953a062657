//! A group's definition, new or laid over the one that there is.

use std::collections::BTreeSet;

use clos_domain::group::{Definition, Dependency, Group, Status};
use clos_domain::name::{GroupFilter, GroupName, GroupRef, Instance, ServiceName, shown};
use clos_domain::page::Request;
use clos_domain::workload::{Network, Subnet, Volume};
use clos_domain::{Error, Result};
use clos_proto::v2 as pb;
use indexmap::IndexMap;

use super::service::options;
use super::{Violations, page, some};
use crate::encode;

/// Reads a group to be made.
pub(crate) fn create(request: &pb::CreateGroupRequest) -> Result<(GroupRef, Definition)> {
    let mut v = Violations::default();
    super::request_id(&mut v, &request.request_id);
    let missing = pb::Group::default();
    let wanted = request.group.as_ref().unwrap_or(&missing);
    let name = v.take(GroupName::parse("name", &wanted.name));
    let instance = match wanted.instance.as_str() {
        "" => Some(None),
        raw => v.take(Instance::parse("instance", raw)).map(Some),
    };
    let group = name.zip(instance).map(|(name, instance)| GroupRef { name, instance });
    let definition = definition(&mut v, wanted, group.as_ref(), None);
    v.finish(group.map(|group| (group, definition)))
}

/// Reads a change of a group: what the mask names, or what is set, laid over what there is.
pub(crate) fn update(request: &pb::UpdateGroupRequest, before: &Group) -> Result<Definition> {
    let mut v = Violations::default();
    super::request_id(&mut v, &request.request_id);
    let Some(wanted) = &request.group else {
        v.add("group", "it is missing; send the fields to change");
        return v.finish(None);
    };
    let Some(paths) = super::mask_of("Group", request.update_mask.as_ref(), wanted)? else {
        return replaced(v, wanted, before);
    };
    let shown = encode::group::definition(before);
    let merged = clos_proto::mask::merge("Group", &shown, wanted, &paths)
        .map_err(|error| Error::field("update_mask", error.to_string()))?;
    replaced(v, &merged, before)
}

/// Reads the whole definition of a group that there is.
pub(crate) fn replace(request: &pb::ReplaceGroupRequest, before: &Group) -> Result<Definition> {
    let mut v = Violations::default();
    super::request_id(&mut v, &request.request_id);
    let Some(wanted) = &request.group else {
        // An absent definition would read as an empty one, which takes everything away.
        v.add("group", "it is missing; send the whole definition");
        return v.finish(None);
    };
    replaced(v, wanted, before)
}

fn replaced(mut v: Violations, wanted: &pb::Group, before: &Group) -> Result<Definition> {
    let instance = before.name.instance.as_ref().map(ToString::to_string).unwrap_or_default();
    let fixed =
        [("name", &wanted.name, before.name.name.to_string()), ("instance", &wanted.instance, instance)];
    for (field, wanted, is) in fixed {
        if !wanted.is_empty() && *wanted != is {
            v.add(
                field,
                format!("`{}` cannot become `{}`; create another group", before.name, shown(wanted)),
            );
        }
    }
    let definition = definition(&mut v, wanted, Some(&before.name), Some(&before.definition));
    v.finish(Some(definition))
}

fn definition(
    v: &mut Violations,
    wanted: &pb::Group,
    name: Option<&GroupRef>,
    before: Option<&Definition>,
) -> Definition {
    if !wanted.working_dir.is_empty() && !wanted.working_dir.starts_with('/') {
        v.add("working_dir", format!("`{}` must be an absolute folder", shown(&wanted.working_dir)));
    }
    let mut networks = IndexMap::new();
    for (index, one) in wanted.networks.iter().enumerate() {
        let field = format!("networks[{index}].key");
        if key(v, &field, &one.key)
            && networks.insert(one.key.clone(), network(v, index, one, before)).is_some()
        {
            v.add(field, format!("`{}` is named twice; once is enough", shown(&one.key)));
        }
    }
    let mut volumes = IndexMap::new();
    for (index, one) in wanted.volumes.iter().enumerate() {
        let field = format!("volumes[{index}].key");
        if key(v, &field, &one.key)
            && volumes.insert(one.key.clone(), volume(v, index, one, before)).is_some()
        {
            v.add(field, format!("`{}` is named twice; once is enough", shown(&one.key)));
        }
    }
    Definition {
        description: v.text("description", &wanted.description, 10_000),
        working_dir: wanted.working_dir.clone(),
        compose_files: before.map(|before| before.compose_files.clone()).unwrap_or_default(),
        // Who reads files says so.
        is_named_by_files: false,
        profiles: wanted.profiles.clone(),
        project: some(&v.text("project", &wanted.project, 100)),
        networks,
        volumes,
        depends_on: dependencies(v, &wanted.dependencies, name),
        auto_restart: wanted.auto_restart,
        start_order: wanted.start_order,
    }
}

fn key(v: &mut Violations, field: &str, raw: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let is_good = !raw.is_empty() && raw.len() <= 100 && raw.bytes().all(good);
    if !is_good {
        v.add(field, format!("`{}` must match [A-Za-z0-9_.-]{{1,100}}", shown(raw)));
    }
    is_good
}

fn network(
    v: &mut Violations,
    index: usize,
    wanted: &pb::GroupNetwork,
    before: Option<&Definition>,
) -> Network {
    let known = before.and_then(|before| before.networks.get(&wanted.key)).map(|known| &known.driver_opts);
    let driver_opts = options(v, &format!("networks[{index}].driver_opts"), &wanted.driver_opts, known);
    Network {
        name: wanted.name.clone(),
        owner: None,
        external: wanted.external,
        driver: some(&wanted.driver),
        driver_opts,
        internal: wanted.internal,
        attachable: wanted.attachable,
        enable_ipv6: wanted.enable_ipv6,
        labels: wanted.labels.clone(),
        subnets: wanted.subnets.iter().map(subnet).collect(),
        spec_hash: String::new(),
    }
}

fn subnet(wanted: &pb::Subnet) -> Subnet {
    Subnet {
        subnet: some(&wanted.subnet),
        ip_range: some(&wanted.ip_range),
        gateway: some(&wanted.gateway),
        aux_addresses: wanted.aux_addresses.clone(),
    }
}

fn volume(v: &mut Violations, index: usize, wanted: &pb::GroupVolume, before: Option<&Definition>) -> Volume {
    let known = before.and_then(|before| before.volumes.get(&wanted.key)).map(|known| &known.driver_opts);
    let driver_opts = options(v, &format!("volumes[{index}].driver_opts"), &wanted.driver_opts, known);
    Volume {
        name: wanted.name.clone(),
        owner: None,
        external: wanted.external,
        driver: some(&wanted.driver),
        driver_opts,
        labels: wanted.labels.clone(),
    }
}

fn dependencies(v: &mut Violations, wanted: &[String], name: Option<&GroupRef>) -> Vec<Dependency> {
    let mut seen = BTreeSet::new();
    let mut read = Vec::with_capacity(wanted.len());
    for (index, raw) in wanted.iter().enumerate() {
        let field = format!("dependencies[{index}]");
        let Some(need) = v.take(dependency(&field, raw)) else { continue };
        if Some(&need.group) == name {
            v.add(&field, format!("`{}` cannot depend on itself; leave it out", need.group));
        }
        if !seen.insert(need.clone()) {
            v.add(&field, format!("`{need}` is named twice; once is enough"));
        }
        read.push(need);
    }
    read
}

/// `infra`, `infra~x` or `other/db`.
fn dependency(field: &str, raw: &str) -> Result<Dependency> {
    let (group, service) = match raw.split_once('/') {
        Some((group, service)) => (group, Some(ServiceName::parse(field, service)?)),
        None => (raw, None),
    };
    Ok(Dependency { group: GroupRef::parse(field, group)?, service })
}

/// Which groups are wanted, and which part of them.
#[derive(Debug)]
pub(crate) struct List {
    /// By name.
    pub(crate) filter: Option<GroupFilter>,
    /// With any of these; empty is every one.
    pub(crate) status: Vec<Status>,
    /// The part.
    pub(crate) page: Request,
    /// What its tokens belong to.
    pub(crate) listing: page::Listing,
}

/// Reads a listing.
pub(crate) fn list(request: &pb::ListGroupsRequest) -> Result<List> {
    let mut v = Violations::default();
    let filter = match request.name.as_str() {
        "" => None,
        raw => v.take(GroupFilter::parse("name", raw)),
    };
    let filters =
        pb::ListGroupsRequest { limit: None, offset: 0, page_token: String::new(), ..request.clone() };
    let listing = page::Listing::of("ListGroups", &filters);
    let page = page::page(&mut v, listing, request.limit, request.offset, &request.page_token);
    let mut status = Vec::new();
    for (index, number) in request.status.iter().enumerate() {
        status.extend(v.word(&format!("status[{index}]"), *number).and_then(status_word));
    }
    v.finish(page.map(|page| List { filter, status, page, listing }))
}

fn status_word(status: pb::GroupStatus) -> Option<Status> {
    Some(match status {
        pb::GroupStatus::Unspecified => return None,
        pb::GroupStatus::Running => Status::Running,
        pb::GroupStatus::Stopped => Status::Stopped,
        pb::GroupStatus::Partial => Status::Partial,
        pb::GroupStatus::Starting => Status::Starting,
        pb::GroupStatus::Stopping => Status::Stopping,
    })
}
