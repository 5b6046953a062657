//! What a caller means by an id, a resource name or an alias.

use clos_domain::group::Group;
use clos_domain::id::{GroupId, OperationId, ServiceId};
use clos_domain::name::{GroupRef, ServiceRef, shown};
use clos_domain::operation::Operation;
use clos_domain::page::Request;
use clos_domain::seams::Tx;
use clos_domain::service::Service;
use clos_domain::{Error, Reason, Result};

/// The service of an id, a resource name (`shop/web`) or an alias of v1.
pub(crate) async fn service(tx: &mut dyn Tx, raw: &str) -> Result<Service> {
    let found = if let Some(id) = ServiceId::parse(raw) {
        tx.services().get(&id).await?
    } else if let Some(alias) = tx.services().find_alias(raw).await? {
        Some(alias)
    } else {
        let name = ServiceRef::parse("id", raw)?;
        tx.services().find(&name.group, &name.name).await?
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
                .list(None, Request::ALL)
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
    let all = tx.services().list(&Default::default(), Request::ALL).await?.items;
    let names: Vec<String> = all.iter().map(|service| service.resource().to_string()).collect();
    Ok(nearest(raw, &names))
}

/// `; did you mean …?`, when something is near enough.
pub(crate) fn nearest(raw: &str, names: &[String]) -> String {
    // Two letters changed places, or one in four is wrong: that is a slip, more is another word.
    let slips = 1 + raw.chars().count() / 4;
    let near = names.iter().map(|name| (strsim::osa_distance(raw, name), name));
    let best = near.filter(|(distance, _)| *distance <= slips).min_by_key(|(distance, _)| *distance);
    best.map(|(_, name)| format!("; did you mean `{name}`?")).unwrap_or_default()
}
