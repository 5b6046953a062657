//! Containers of Docker Compose that were taken over.

use async_trait::async_trait;
use clos_domain::id::ServiceId;
use clos_domain::seams::store::{self, Adoption, Error};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use crate::convert::word;
use crate::tables::adopted_containers as table;
use crate::unit::Unit;

pub(crate) struct Adoptions<'a>(pub(crate) &'a mut Unit);

#[async_trait]
impl store::Adoptions for Adoptions<'_> {
    async fn list(&mut self) -> Result<Vec<Adoption>, Error> {
        let all = table::Entity::find().order_by_asc(table::Column::ContainerId);
        let rows = self.0.run(all.all(&self.0.connection)).await?;
        rows.into_iter()
            .map(|row| {
                Ok(Adoption {
                    service: word("adopted_containers.service_id", &row.service_id, ServiceId::parse)?,
                    container_id: row.container_id,
                    config_hash: row.config_hash,
                })
            })
            .collect()
    }

    async fn replace(&mut self, service: &ServiceId, adopted: &[Adoption]) -> Result<(), Error> {
        let before = table::Entity::delete_many().filter(table::Column::ServiceId.eq(service.as_str()));
        self.0.run(before.exec(&self.0.connection)).await?;
        let rows = adopted
            .iter()
            .map(|one| table::Model {
                container_id: one.container_id.clone(),
                service_id: service.to_string(),
                config_hash: one.config_hash.clone(),
            })
            .collect();
        self.0.insert(rows).await
    }
}
