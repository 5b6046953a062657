//! Settings of the installation, and the port ranges.

use async_trait::async_trait;
use clos_domain::port::{self, Range};
use clos_domain::seams::store::{self, Error};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};

use crate::convert::number;
use crate::tables::{config, port_ranges};
use crate::unit::Unit;

pub(crate) struct Config<'a>(pub(crate) &'a mut Unit);

#[async_trait]
impl store::Config for Config<'_> {
    async fn get(&mut self, key: &str) -> Result<Option<String>, Error> {
        let wanted = config::Entity::find().filter(config::Column::Key.eq(key));
        Ok(self.0.run(wanted.one(&self.0.connection)).await?.map(|row| row.value))
    }

    async fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let row = config::Model { key: key.to_owned(), value: value.to_owned() };
        let upsert = config::Entity::insert(row.into_active_model()).on_conflict(
            OnConflict::column(config::Column::Key).update_column(config::Column::Value).to_owned(),
        );
        self.0.run(upsert.exec_without_returning(&self.0.connection)).await?;
        Ok(())
    }

    async fn port_ranges(&mut self) -> Result<Vec<Range>, Error> {
        let all = port_ranges::Entity::find().order_by_asc(port_ranges::Column::Position);
        let rows = self.0.run(all.all(&self.0.connection)).await?;
        if rows.is_empty() {
            return Ok(port::default_ranges());
        }
        rows.into_iter()
            .map(|row| {
                Ok(Range {
                    project: row.project,
                    start: number("port_ranges.first_port", row.first_port)?,
                    end: number("port_ranges.last_port", row.last_port)?,
                })
            })
            .collect()
    }

    async fn set_port_ranges(&mut self, ranges: &[Range]) -> Result<(), Error> {
        self.0.run(port_ranges::Entity::delete_many().exec(&self.0.connection)).await?;
        let rows = (0..)
            .zip(ranges)
            .map(|(position, range)| port_ranges::Model {
                position,
                project: range.project.clone(),
                first_port: i32::from(range.start),
                last_port: i32::from(range.end),
            })
            .collect();
        self.0.insert(rows).await
    }
}
