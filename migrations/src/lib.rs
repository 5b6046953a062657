//! The tables of the store, as steps that are taken in order and never undone.
//!
//! A step is SQL that SQLite and PostgreSQL read alike. The only difference is
//! made in one place: on PostgreSQL every `text` column compares by bytes, as
//! SQLite's do, so that a listing has the same order on both.
//!
//! What the words in the rows mean is not known here; `clos-store` knows. There
//! is no way down: a backup is taken before a step (see `clos-store`).
//!
//! To add a step: a file `mNNNN_what_changes.rs` with one `step!`, and its
//! line in [`Migrator::migrations`]. A step that has shipped is never edited.
#![warn(missing_docs)]

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DatabaseTransaction, DbBackend, DbErr};
use sea_orm_migration::seaql_migrations;

/// Declares the one step of a file: its name is the file's, its body SQL.
macro_rules! step {
    ($sql:literal) => {
        /// The step of this file.
        pub(crate) struct Step;

        impl sea_orm_migration::MigrationName for Step {
            fn name(&self) -> &str {
                crate::last_segment(module_path!())
            }
        }

        #[async_trait::async_trait]
        impl sea_orm_migration::MigrationTrait for Step {
            async fn up(
                &self,
                manager: &sea_orm_migration::SchemaManager,
            ) -> Result<(), sea_orm_migration::sea_orm::DbErr> {
                crate::apply(manager, $sql).await
            }
        }
    };
}

mod m0001_groups;
mod m0002_group_dependencies;
mod m0003_services;
mod m0004_service_environment;
mod m0005_service_tags;
mod m0006_service_ports;
mod m0007_service_volumes;
mod m0008_service_networks;
mod m0009_service_dependencies;
mod m0010_service_aliases;
mod m0011_ports;
mod m0012_operations;
mod m0013_operation_steps;
mod m0014_journal;
mod m0015_config;
mod m0016_port_ranges;
mod m0017_step_words;
mod m0018_adopted_containers;
mod m0019_service_ended_by;
mod m0021_port_claims;
mod m0027_service_anonymous_volumes;
mod m0029_service_paused;
mod m0042_service_made_from;

/// All steps, in order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_groups::Step),
            Box::new(m0002_group_dependencies::Step),
            Box::new(m0003_services::Step),
            Box::new(m0004_service_environment::Step),
            Box::new(m0005_service_tags::Step),
            Box::new(m0006_service_ports::Step),
            Box::new(m0007_service_volumes::Step),
            Box::new(m0008_service_networks::Step),
            Box::new(m0009_service_dependencies::Step),
            Box::new(m0010_service_aliases::Step),
            Box::new(m0011_ports::Step),
            Box::new(m0012_operations::Step),
            Box::new(m0013_operation_steps::Step),
            Box::new(m0014_journal::Step),
            Box::new(m0015_config::Step),
            Box::new(m0016_port_ranges::Step),
            Box::new(m0017_step_words::Step),
            Box::new(m0018_adopted_containers::Step),
            Box::new(m0019_service_ended_by::Step),
            Box::new(m0021_port_claims::Step),
            Box::new(m0027_service_anonymous_volumes::Step),
            Box::new(m0029_service_paused::Step),
            Box::new(m0042_service_made_from::Step),
        ]
    }
}

/// Where a database stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Steps that were taken, in order.
    pub taken: Vec<String>,
    /// Steps that are still to be taken, in order.
    pub pending: Vec<String>,
    /// Steps that were taken by a newer program and that this one does not know.
    pub unknown: Vec<String>,
}

/// Looks where the database stands; changes nothing.
///
/// # Errors
/// What the database says.
pub async fn standing<C: ConnectionTrait>(connection: &C) -> Result<Standing, DbErr> {
    let known: Vec<String> = Migrator::migrations().iter().map(|step| step.name().to_owned()).collect();
    let recorded = recorded(connection).await?;
    let is_in = |list: &[String], name: &String| list.iter().any(|one| one == name);
    let (taken, unknown): (Vec<String>, Vec<String>) =
        recorded.into_iter().partition(|name| is_in(&known, name));
    let pending = known.into_iter().filter(|name| !is_in(&taken, name)).collect();
    Ok(Standing { taken, pending, unknown })
}

async fn recorded<C: ConnectionTrait>(connection: &C) -> Result<Vec<String>, DbErr> {
    let table = Migrator::migration_table_name().to_string();
    let has_table = match connection.get_database_backend() {
        DbBackend::Postgres => {
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = "
        }
        _ => "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ",
    };
    let has_table = Query::select().expr(Expr::cust(format!("({has_table}'{table}')"))).to_owned();
    let row = connection.query_one(&has_table).await?;
    let count: i64 = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default();
    if count == 0 {
        return Ok(Vec::new());
    }
    let versions = Query::select()
        .column(seaql_migrations::Column::Version)
        .from(Migrator::migration_table_name())
        .order_by(seaql_migrations::Column::Version, Order::Asc)
        .to_owned();
    let rows = connection.query_all(&versions).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// Takes every step that is pending, within the caller's transaction: all or none.
///
/// # Errors
/// What the database says.
pub async fn run(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    Migrator::up(transaction, None).await
}

async fn apply(manager: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    let sql = match manager.get_database_backend() {
        DbBackend::Postgres => sql.replace(" text", " text COLLATE \"C\""),
        _ => sql.to_owned(),
    };
    manager.get_connection().execute_unprepared(&sql).await?;
    Ok(())
}

fn last_segment(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_named_after_their_files_and_in_order() {
        let names: Vec<String> = Migrator::migrations().iter().map(|step| step.name().to_owned()).collect();
        assert!(names.is_sorted(), "{names:?}");
        for name in &names {
            let number = name.strip_prefix('m').and_then(|rest| rest.split_once('_'));
            assert!(number.is_some_and(|(digits, _)| digits.len() == 4), "{name}");
        }
    }
}
