//! Leases of host ports.

use std::collections::HashMap;

use async_trait::async_trait;
use clos_domain::Timestamp;
use clos_domain::id::ServiceId;
use clos_domain::name::{ServiceName, ServiceRef};
use clos_domain::port::{Binding, Lease, Protocol};
use clos_domain::seams::store::{self, Error};
use clos_domain::service::Desired;
use sea_orm::{
    ColumnTrait, EntityTrait, FromQueryResult, JoinType, QueryFilter, QueryOrder, QuerySelect, RelationDef,
    Select,
};

use crate::convert::{group_ref, micros, number, word};
use crate::services::to_group;
use crate::tables::{groups, ports, services};
use crate::unit::Unit;

pub(crate) struct Ports<'a>(pub(crate) &'a mut Unit);

#[derive(FromQueryResult)]
struct Row {
    #[sea_orm(nested)]
    lease: ports::Model,
    name: String,
    desired: String,
    observed: String,
    group_name: String,
    group_instance: String,
}

/// Leases with their owners.
pub(crate) fn listing() -> Select<ports::Entity> {
    let to_service: RelationDef = ports::Entity::belongs_to(services::Entity)
        .from(ports::Column::ServiceId)
        .to(services::Column::Id)
        .into();
    ports::Entity::find()
        .join(JoinType::InnerJoin, to_service)
        .join(JoinType::InnerJoin, to_group())
        .column(services::Column::Name)
        .column(services::Column::Desired)
        .column(services::Column::Observed)
        .column_as(groups::Column::Name, "group_name")
        .column_as(groups::Column::Instance, "group_instance")
        .order_by_asc(ports::Column::HostPort)
        .order_by_asc(ports::Column::Protocol)
        .order_by_asc(ports::Column::HostIp)
}

pub(crate) fn binding(row: ports::Model) -> Result<Binding, Error> {
    Ok(Binding {
        container_port: number("ports.container_port", row.container_port)?,
        host_port: number("ports.host_port", row.host_port)?,
        host_ip: row.host_ip,
        protocol: word("ports.protocol", &row.protocol, Protocol::parse)?,
    })
}

impl Ports<'_> {
    async fn all(&self, leases: Select<ports::Entity>) -> Result<Vec<Lease>, Error> {
        let rows = self.0.run(leases.into_model::<Row>().all(&self.0.connection)).await?;
        rows.into_iter().map(lease).collect()
    }
}

fn lease(row: Row) -> Result<Lease, Error> {
    let should_run = word("services.desired", &row.desired, Desired::parse)? == Desired::Running;
    // The engine takes the port again at any moment of a restart.
    let does_run = matches!(row.observed.as_str(), "running" | "restarting");
    Ok(Lease {
        service: ServiceId::trusted(row.lease.service_id.clone()),
        binding: binding(row.lease)?,
        owner: ServiceRef {
            group: group_ref(row.group_name, row.group_instance),
            name: ServiceName::trusted(row.name),
        },
        firm: should_run || does_run,
    })
}

#[async_trait]
impl store::Ports for Ports<'_> {
    async fn leases(&mut self) -> Result<Vec<Lease>, Error> {
        self.all(listing()).await
    }

    async fn of_service(&mut self, service: &ServiceId) -> Result<Vec<Lease>, Error> {
        self.all(listing().filter(ports::Column::ServiceId.eq(service.as_str()))).await
    }

    async fn replace(
        &mut self,
        service: &ServiceId,
        bindings: &[Binding],
        at: Timestamp,
    ) -> Result<(), Error> {
        let had = ports::Entity::find().filter(ports::Column::ServiceId.eq(service.as_str()));
        let had = self.0.run(had.all(&self.0.connection)).await?;
        let since: HashMap<(i32, &str, &str), i64> = had
            .iter()
            .map(|row| ((row.host_port, row.protocol.as_str(), row.host_ip.as_str()), row.leased_at))
            .collect();
        let rows = bindings
            .iter()
            .map(|binding| {
                let host_port = i32::from(binding.host_port);
                let protocol = binding.protocol.as_str();
                ports::Model {
                    host_port,
                    protocol: protocol.to_owned(),
                    service_id: service.to_string(),
                    container_port: i32::from(binding.container_port),
                    host_ip: binding.host_ip.clone(),
                    leased_at: since
                        .get(&(host_port, protocol, binding.host_ip.as_str()))
                        .copied()
                        .unwrap_or_else(|| micros(at)),
                }
            })
            .collect();
        let old = ports::Entity::delete_many().filter(ports::Column::ServiceId.eq(service.as_str()));
        self.0.run(old.exec(&self.0.connection)).await?;
        self.0.insert(rows).await
    }

    async fn release(
        &mut self,
        service: &ServiceId,
        host_port: u16,
        protocol: Protocol,
    ) -> Result<(), Error> {
        let lease = ports::Entity::delete_many()
            .filter(ports::Column::HostPort.eq(i32::from(host_port)))
            .filter(ports::Column::Protocol.eq(protocol.as_str()))
            .filter(ports::Column::ServiceId.eq(service.as_str()));
        self.0.run(lease.exec(&self.0.connection)).await?;
        Ok(())
    }
}
