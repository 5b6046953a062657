//! The unit of work: one database transaction, the facts that wait for their
//! sequence, and whether a statement of it has failed.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use clos_domain::event::{Draft, Event};
use clos_domain::seams::store::{self, Error};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel, ModelTrait,
};
use serde::de::DeserializeOwned;

use crate::connection::Connection;
use crate::convert::from_json;
use crate::error::{TooLate, from_database};
use crate::whole::{self, ByIds};
use crate::{adoptions, config, groups, journal, operations, ports, services};

/// Rows that one statement inserts: far below the variables that either database allows.
const BATCH: usize = 500;

pub(crate) struct Unit {
    pub(crate) connection: Connection,
    pub(crate) drafts: Vec<Draft>,
    /// A writing unit locks what it reads by id or name (PostgreSQL; SQLite has one writer).
    pub(crate) writes: bool,
    deadline: Duration,
    spoiled: AtomicBool,
    timed: Timed,
}

/// Tells the metrics how long a unit took and how it ended, when it is dropped.
struct Timed {
    kind: &'static str,
    outcome: &'static str,
    began: Instant,
}

impl Drop for Timed {
    fn drop(&mut self) {
        clos_telemetry::metrics().store_transaction(self.kind, self.outcome, self.began.elapsed());
    }
}

impl Unit {
    /// `began` is before the connection was waited for: that is a part of what a caller waits.
    pub(crate) fn new(
        connection: DatabaseTransaction,
        writes: bool,
        deadline: Duration,
        began: Instant,
    ) -> Self {
        let (kind, outcome) = if writes { ("write", "rolled_back") } else { ("read", "ok") };
        let timed = Timed { kind, outcome, began };
        let connection = Connection::new(connection);
        Self { connection, drafts: Vec::new(), writes, deadline, spoiled: AtomicBool::new(false), timed }
    }

    /// Awaits one statement within the deadline. A statement that fails spoils the unit:
    /// PostgreSQL refuses everything after it, and SQLite must not be more lenient.
    pub(crate) async fn run<T>(
        &self,
        statement: impl Future<Output = Result<T, DbErr>> + Send,
    ) -> Result<T, Error> {
        self.check()?;
        let result = within(self.deadline, statement).await;
        if result.is_err() {
            self.spoiled.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Reads the rows of these ids with all that belongs to them, in this order.
    ///
    /// One that is not there is left out: a view has found the id in the moment that it is, and a unit
    /// that writes has locked what it must not lose.
    pub(crate) async fn whole<T: DeserializeOwned>(
        &self,
        by_ids: &ByIds,
        ids: &[String],
        id: fn(&T) -> &str,
    ) -> Result<Vec<T>, Error> {
        let mut rows = Vec::with_capacity(ids.len());
        for ids in ids.chunks(whole::ROWS) {
            let wanted = by_ids.statement(self.connection.get_database_backend(), ids)?;
            let Some(row) = self.run(self.connection.query_one_raw(wanted)).await? else { continue };
            let text: String = row.try_get_by_index(0).map_err(from_database)?;
            let mut found: Vec<T> = from_json(&text)?;
            let places: HashMap<&str, usize> = ids.iter().map(String::as_str).zip(0..).collect();
            found.sort_by_cached_key(|one| places.get(id(one)).copied());
            rows.append(&mut found);
        }
        Ok(rows)
    }

    /// Inserts rows, in batches.
    pub(crate) async fn insert<M, A>(&self, rows: Vec<M>) -> Result<(), Error>
    where
        M: ModelTrait + IntoActiveModel<A> + Send,
        M::Entity: EntityTrait<Model = M, ActiveModel = A>,
        A: ActiveModelTrait<Entity = M::Entity> + Send,
    {
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let batch: Vec<A> = rows.by_ref().take(BATCH).map(M::into_active_model).collect();
            let statement = M::Entity::insert_many(batch);
            self.run(statement.exec_without_returning(&self.connection)).await?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        if self.spoiled.load(Ordering::Relaxed) {
            return Err(Error::Failed("an earlier statement of this unit of work failed".into()));
        }
        Ok(())
    }
}

/// Awaits the database at most so long.
pub(crate) async fn within<T>(
    deadline: Duration,
    statement: impl Future<Output = Result<T, DbErr>> + Send,
) -> Result<T, Error> {
    match tokio::time::timeout(deadline, statement).await {
        Ok(result) => result.map_err(from_database),
        Err(_) => Err(Error::Unavailable(Box::new(TooLate(deadline)))),
    }
}

#[async_trait]
impl store::Tx for Unit {
    fn groups(&mut self) -> Box<dyn store::Groups + '_> {
        Box::new(groups::Groups(self))
    }

    fn services(&mut self) -> Box<dyn store::Services + '_> {
        Box::new(services::Services(self))
    }

    fn ports(&mut self) -> Box<dyn store::Ports + '_> {
        Box::new(ports::Ports(self))
    }

    fn operations(&mut self) -> Box<dyn store::Operations + '_> {
        Box::new(operations::Operations(self))
    }

    fn journal(&mut self) -> Box<dyn store::Journal + '_> {
        Box::new(journal::Journal(self))
    }

    fn adoptions(&mut self) -> Box<dyn store::Adoptions + '_> {
        Box::new(adoptions::Adoptions(self))
    }

    fn config(&mut self) -> Box<dyn store::Config + '_> {
        Box::new(config::Config(self))
    }

    async fn commit(mut self: Box<Self>) -> Result<Vec<Event>, Error> {
        self.check()?;
        let drafts = std::mem::take(&mut self.drafts);
        let events = journal::write(&self, drafts).await?;
        let committed = within(self.deadline, self.connection.commit()).await;
        self.timed.outcome = if committed.is_ok() { "ok" } else { "failed" };
        committed.map(|()| events)
    }
}
