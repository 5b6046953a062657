//! What the databases say, in the words of the seam.

use std::path::PathBuf;

use clos_domain::seams::store::Error;
use sea_orm::{DbErr, RuntimeErr, SqlErr, sqlx};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The tables were made by a newer program.
    #[error(
        "{place} was written by a newer closd (it has `{step}`, which this one does not know); run that version, or put back the copy that it made before"
    )]
    Newer {
        /// Which database.
        place: String,
        /// The first step that is not known here.
        step: String,
    },
    /// The file cannot be made or opened.
    #[error("the database file `{}` cannot be opened", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The copy that is made before a migration could not be made; nothing was migrated.
    #[error("no copy of the database could be made at `{}`, so it was not migrated", .path.display())]
    Backup {
        /// Where the copy should have been.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An option that cannot be used.
    #[error("{0}")]
    Options(String),
    /// The database does not answer or does not let us in.
    #[error("{place} cannot be reached")]
    Unreachable {
        /// Which database.
        place: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A step failed; none of the pending ones was taken.
    #[error("the tables of {place} could not be brought up to date")]
    Migrate {
        /// Which database.
        place: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// An answer that did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
pub(crate) struct TooLate(pub(crate) std::time::Duration);

/// A row that holds what nothing here writes.
#[derive(Debug, thiserror::Error)]
#[error("{field} holds `{value}`")]
pub(crate) struct Corrupt {
    pub(crate) field: &'static str,
    pub(crate) value: String,
}

/// What a failed statement means to the caller.
pub(crate) fn from_database(error: DbErr) -> Error {
    if let Some(SqlErr::UniqueConstraintViolation(message)) = error.sql_err() {
        return taken(&message);
    }
    if let Some(SqlErr::ForeignKeyConstraintViolation(_)) = error.sql_err() {
        return Error::Stale;
    }
    if is_away(&error) { Error::Unavailable(Box::new(error)) } else { Error::Failed(Box::new(error)) }
}

/// Unique keys as SQLite (by columns) and PostgreSQL (by index) name them.
const KEYS: [(&str, &str, Option<&str>); 5] = [
    ("groups.name", "\"groups_by_name\"", Some("group name")),
    ("services.group_id", "\"services_by_name\"", Some("service name")),
    (" ports.host_port", "\"ports_by_claim\"", Some("host port")),
    ("port_ranges.project", "\"port_ranges_by_project\"", Some("project of a port range")),
    ("operation_steps.service_id", "\"operation_steps_one_in_progress\"", None),
];

fn taken(message: &str) -> Error {
    let key = KEYS
        .iter()
        .find(|(by_columns, by_index, _)| message.contains(by_columns) || message.contains(by_index));
    match key {
        Some((_, _, Some(key))) => Error::Taken(key),
        Some((_, _, None)) => Error::StepInProgress,
        None => Error::Taken("id"),
    }
}

/// Whether the same might succeed a little later.
fn is_away(error: &DbErr) -> bool {
    let cause = match error {
        DbErr::ConnectionAcquire(_) => return true,
        DbErr::Conn(RuntimeErr::SqlxError(cause))
        | DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause)) => cause,
        _ => return false,
    };
    match cause.as_ref() {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(refusal) => {
            let code = refusal.code().unwrap_or_default();
            if refusal.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
                // The low byte is the primary code: BUSY, LOCKED, FULL, CANTOPEN.
                let primary = code.parse::<u32>().unwrap_or_default() & 0xff;
                matches!(primary, 5 | 6 | 13 | 14)
            } else {
                // Connection exceptions, insufficient resources, operator intervention, then:
                // serialization failure, deadlock, lock not available, idle too long in a transaction.
                ["08", "53", "57"].iter().any(|class| code.starts_with(class))
                    || matches!(code.as_ref(), "40001" | "40P01" | "55P03" | "25P03")
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_databases_name_the_same_keys() {
        let cases = [
            (
                "UNIQUE constraint failed: groups.name, groups.instance",
                "groups_by_name",
                "`group name` is taken",
            ),
            (
                "UNIQUE constraint failed: services.group_id, services.name",
                "services_by_name",
                "`service name` is taken",
            ),
            (
                "UNIQUE constraint failed: ports.host_port, ports.protocol, ports.host_ip",
                "ports_by_claim",
                "`host port` is taken",
            ),
            (
                "UNIQUE constraint failed: operation_steps.service_id",
                "operation_steps_one_in_progress",
                "another step of the service is in progress",
            ),
            ("UNIQUE constraint failed: services.id", "services_pkey", "`id` is taken"),
            (
                "UNIQUE constraint failed: service_ports.service_id, service_ports.position",
                "service_ports_pkey",
                "`id` is taken",
            ),
        ];
        for (sqlite, postgres, wanted) in cases {
            let postgres = format!("duplicate key value violates unique constraint \"{postgres}\"");
            assert_eq!(taken(sqlite).to_string(), wanted);
            assert_eq!(taken(&postgres).to_string(), wanted);
        }
    }

    #[test]
    fn a_pool_that_gives_nothing_is_unavailable_and_a_broken_row_is_a_failure() {
        let away = DbErr::ConnectionAcquire(sea_orm::error::ConnAcquireErr::Timeout);
        assert!(matches!(from_database(away), Error::Unavailable(_)));
        let broken = DbErr::Type("not a number".into());
        assert!(matches!(from_database(broken), Error::Failed(_)));
    }
}
