//! What a caller means by an id, a resource name or an alias.

use clos_domain::group::Group;
use clos_domain::id::{GroupId, OperationId, ServiceId};
use clos_domain::name::{GroupRef, ServiceName, ServiceRef, shown};
use clos_domain::operation::Operation;
use clos_domain::page::Request;
use clos_domain::seams::Tx;
use clos_domain::service::Service;
use clos_domain::{Error, Reason, Result};

/// The service of an id, a resource name (`shop/web`, `groups/shop/services/web`) or an alias of v1.
pub(crate) async fn service(tx: &mut dyn Tx, raw: &str) -> Result<Service> {
    service_in(tx, "id", raw).await
}

/// The same, of a field that is not called `id`.
pub(crate) async fn service_in(tx: &mut dyn Tx, field: &str, raw: &str) -> Result<Service> {
    let found = if let Some(id) = ServiceId::parse(raw) {
        tx.services().get(&id).await?
    } else if let Some(alias) = tx.services().find_alias(raw).await? {
        Some(alias)
    } else {
        named(tx, field, raw).await?
    };
    match found {
        Some(service) => Ok(service),
        None => {
            let hint = nearest_service(tx, raw).await?;
            Err(Error::new(Reason::ServiceNotFound, format!("there is no service `{}`{hint}", shown(raw)))
                .about("clos.v2.Service", raw))
        }
    }
}

/// A service by its group and its name, either of which may be an id.
async fn named(tx: &mut dyn Tx, field: &str, raw: &str) -> Result<Option<Service>> {
    let Some((group, name)) = ServiceRef::split(raw) else {
        return ServiceRef::parse(field, raw).map(|_| None);
    };
    let group = match GroupId::parse(group) {
        None => GroupRef::parse(field, group)?,
        Some(id) => match tx.groups().get(&id).await? {
            Some(group) => group.name,
            None => return Ok(None),
        },
    };
    if let Some(id) = ServiceId::parse(name)
        && let Some(service) = tx.services().get(&id).await?
        && service.group == group
    {
        return Ok(Some(service));
    }
    Ok(tx.services().find(&group, &ServiceName::parse(field, name)?).await?)
}

/// The group of an id or a name (`shop`, `shop~x`).
pub(crate) async fn group(tx: &mut dyn Tx, raw: &str) -> Result<Group> {
    let found = if let Some(id) = GroupId::parse(raw) {
        tx.groups().get(&id).await?
    } else {
        tx.groups().find(&GroupRef::parse("name", raw)?).await?
    };
    match found {
        Some(group) => Ok(group),
        None => {
            let names: Vec<String> = tx
                .groups()
                .list(None, &Request::ALL)
                .await?
                .items
                .iter()
                .map(|group| group.name.to_string())
                .collect();
            let hint = nearest(raw, &names);
            Err(Error::new(Reason::GroupNotFound, format!("there is no group `{}`{hint}", shown(raw)))
                .about("clos.v2.Group", raw))
        }
    }
}

/// The operation of an id.
pub(crate) async fn operation(tx: &mut dyn Tx, raw: &str) -> Result<Operation> {
    let Some(id) = OperationId::parse(raw) else {
        return Err(Error::field("id", format!("`{}` is not an operation id like `op_…`", shown(raw))));
    };
    tx.operations().get(&id).await?.ok_or_else(|| {
        Error::new(Reason::OperationNotFound, format!("there is no operation `{}`", shown(raw)))
            .about("clos.v2.Operation", raw)
    })
}

async fn nearest_service(tx: &mut dyn Tx, raw: &str) -> Result<String> {
    let all = tx.services().list(&Default::default(), &Request::ALL).await?.items;
    let names: Vec<String> = all.iter().map(|service| service.resource().to_string()).collect();
    // However it is written, it is compared with what names look like.
    let raw =
        ServiceRef::split(raw).map_or_else(|| raw.to_owned(), |(group, name)| format!("{group}/{name}"));
    Ok(nearest(&raw, &names))
}

/// `; did you mean …?`, when something is near enough.
pub(crate) fn nearest(raw: &str, names: &[String]) -> String {
    // Two letters changed places, or one in four is wrong: that is a slip, more is another word.
    let slips = 1 + raw.chars().count() / 4;
    let near = names.iter().map(|name| (strsim::osa_distance(raw, name), name));
    let best = near.filter(|(distance, _)| *distance <= slips).min_by_key(|(distance, _)| *distance);
    best.map(|(_, name)| format!("; did you mean `{name}`?")).unwrap_or_default()
}
