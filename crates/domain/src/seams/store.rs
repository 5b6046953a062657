//! What is remembered, as a unit of work.
//!
//! `begin → tx.services(), tx.ports(), tx.journal() → commit`: state and its
//! event are written together or not at all. Not found is `Ok(None)`. Never
//! await an engine, a network or a second transaction between `begin` and `commit`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::event::{Draft, Event, Filter, Sequence};
use crate::group::Group;
use crate::id::{GroupId, OperationId, ServiceId};
use crate::name::{GroupFilter, GroupRef, ServiceName};
use crate::operation::{Operation, State, Step, Verb};
use crate::page::{Page, Request};
use crate::port::Lease;
use crate::service::{Service, Status};

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A unique key is taken: its name.
    #[error("`{0}` is taken")]
    Taken(&'static str),
    /// A step of that service is in progress already.
    #[error("another step of the service is in progress")]
    StepInProgress,
    /// The row is not there, or is not as the caller believed.
    #[error("the row changed or is gone")]
    Stale,
    /// The cursor of a page is of another listing, or of no listing at all.
    #[error("the page token does not fit the list")]
    BadCursor,
    /// The database does not answer in time, or is locked.
    #[error("the database does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database failed, or holds what it should not.
    #[error("the database failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(_) => {
                Self::new(crate::Reason::StoreUnavailable, "the database does not answer; try again")
                    .retry_after(std::time::Duration::from_secs(1))
                    .with_source(error)
            }
            Error::Stale => {
                Self::new(crate::Reason::EtagMismatch, "it changed meanwhile; read it again and repeat")
            }
            Error::BadCursor => Self::field(
                "page_token",
                "it does not fit this list; leave it out to begin with the first page",
            ),
            other => Self::internal(other),
        }
    }
}

/// Opens units of work.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// A unit of work that writes; one at a time for SQLite (`BEGIN IMMEDIATE`).
    async fn begin(&self) -> Result<Box<dyn Tx>, Error>;

    /// A consistent view that only reads; many at a time. Writing through it fails.
    async fn view(&self) -> Result<Box<dyn Tx>, Error>;

    /// Cheap question whether the database answers.
    async fn ping(&self) -> Result<(), Error>;
}

/// A unit of work. Dropped without a commit, nothing of it has happened.
///
/// A statement that the database refuses ([`Error::Taken`], [`Error::StepInProgress`],
/// [`Error::Unavailable`], [`Error::Failed`]) spoils the unit: everything after it and the commit
/// fail, so drop it and begin anew. A row that is gone ([`Error::Stale`]) from an update or a
/// delete does not. In a unit that writes, what was read by id or name, and the services of a
/// group, stay as they were read until it ends.
#[async_trait]
pub trait Tx: Send {
    /// Groups.
    fn groups(&mut self) -> Box<dyn Groups + '_>;
    /// Services.
    fn services(&mut self) -> Box<dyn Services + '_>;
    /// Port leases.
    fn ports(&mut self) -> Box<dyn Ports + '_>;
    /// Operations and steps.
    fn operations(&mut self) -> Box<dyn Operations + '_>;
    /// The journal.
    fn journal(&mut self) -> Box<dyn Journal + '_>;
    /// Containers of others that were taken over.
    fn adoptions(&mut self) -> Box<dyn Adoptions + '_>;
    /// Settings of the installation.
    fn config(&mut self) -> Box<dyn Config + '_>;

    /// Writes everything, and returns the events that were appended, with their sequences.
    ///
    /// Sequences are given here: `UPDATE journal_head SET seq = seq + n RETURNING seq` is the last
    /// statement but the inserts of the events, so commit order is sequence order.
    async fn commit(self: Box<Self>) -> Result<Vec<Event>, Error>;
}

/// Group rows.
#[async_trait]
pub trait Groups: Send {
    /// By id.
    async fn get(&mut self, id: &GroupId) -> Result<Option<Group>, Error>;
    /// By name and instance.
    async fn find(&mut self, name: &GroupRef) -> Result<Option<Group>, Error>;
    /// All that fit, by name and instance, the base first.
    async fn list(&mut self, filter: Option<&GroupFilter>, page: &Request) -> Result<Page<Group>, Error>;
    /// A new row; [`Error::Taken`] when name and instance are.
    async fn insert(&mut self, group: &Group) -> Result<(), Error>;
    /// The same row anew.
    async fn update(&mut self, group: &Group) -> Result<(), Error>;
    /// The row and its services go.
    async fn delete(&mut self, id: &GroupId) -> Result<(), Error>;
}

/// A container that Docker Compose made and that was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// The engine's id.
    pub container_id: String,
    /// The service that it is the container of.
    pub service: ServiceId,
    /// Compose's hash of what it was made from.
    pub config_hash: String,
}

/// Adopted containers.
#[async_trait]
pub trait Adoptions: Send {
    /// All of them.
    async fn list(&mut self) -> Result<Vec<Adoption>, Error>;
    /// Those of a service, in the place of the ones that it had.
    async fn replace(&mut self, service: &ServiceId, adopted: &[Adoption]) -> Result<(), Error>;
}

/// Which services.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceFilter {
    /// Of these groups.
    pub group: Option<GroupFilter>,
    /// With any of these; empty is every one.
    pub status: Vec<Status>,
    /// With all of these tags.
    pub tags: Vec<String>,
    /// With this health verdict.
    pub health: Option<crate::health::Verdict>,
    /// Whose name, group, description or image contains this, whatever the case.
    pub text: Option<String>,
    /// The order; what is equal in it, or all of it when it is empty, goes by group, start order and name.
    pub order: Vec<ServiceOrder>,
}

/// One key of the order of a listing of services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceOrder {
    /// By what.
    pub by: ServiceKey,
    /// The greatest first.
    pub descending: bool,
}

/// What services can be ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceKey {
    /// Name in the group.
    Name,
    /// Group and instance.
    Group,
    /// Status word.
    Status,
    /// When the row was made.
    CreatedAt,
    /// When the row last changed.
    UpdatedAt,
    /// Last start; what never started comes last, whichever way.
    StartedAt,
}

impl ServiceKey {
    /// Every key.
    pub const ALL: [Self; 6] =
        [Self::Name, Self::Group, Self::Status, Self::CreatedAt, Self::UpdatedAt, Self::StartedAt];

    /// The wire word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Group => "group",
            Self::Status => "status",
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::StartedAt => "started_at",
        }
    }

    /// The key of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == word)
    }
}

/// Service rows, with their environment, tags, ports, volumes, networks and dependencies.
/// The host ports that a service has are read with it, and written by [`Ports`] only.
#[async_trait]
pub trait Services: Send {
    /// The volumes without a name that its containers had, by target.
    async fn anonymous_volumes(&mut self, id: &ServiceId) -> Result<BTreeMap<String, String>, Error>;
    /// Replaces them.
    async fn set_anonymous_volumes(
        &mut self,
        id: &ServiceId,
        volumes: &BTreeMap<String, String>,
    ) -> Result<(), Error>;
    /// What its containers were made from: the fingerprint's JSON by the hash of it.
    async fn made_from(&mut self, id: &ServiceId) -> Result<BTreeMap<String, String>, Error>;
    /// Replaces that.
    async fn set_made_from(&mut self, id: &ServiceId, made: &BTreeMap<String, String>) -> Result<(), Error>;
    /// By id.
    async fn get(&mut self, id: &ServiceId) -> Result<Option<Service>, Error>;
    /// By group and name.
    async fn find(&mut self, group: &GroupRef, name: &ServiceName) -> Result<Option<Service>, Error>;
    /// By an alias that v1 left behind.
    async fn find_alias(&mut self, alias: &str) -> Result<Option<Service>, Error>;
    /// All that fit.
    async fn list(&mut self, filter: &ServiceFilter, page: &Request) -> Result<Page<Service>, Error>;
    /// All of a group, by start order and name.
    async fn of_group(&mut self, group: &GroupId) -> Result<Vec<Service>, Error>;
    /// A new row; [`Error::Taken`] when group and name are.
    async fn insert(&mut self, service: &Service) -> Result<(), Error>;
    /// The same row anew, definition and state.
    async fn update(&mut self, service: &Service) -> Result<(), Error>;
    /// Only what the engine and the operations change: desired, observed, step, status, times. Cheap.
    async fn update_state(&mut self, service: &Service) -> Result<(), Error>;
    /// The row goes, and its leases.
    async fn delete(&mut self, id: &ServiceId) -> Result<(), Error>;
}

/// Leases of host ports.
#[async_trait]
pub trait Ports: Send {
    /// Every lease, by host port. `firm` is true where the service should run or does run.
    async fn leases(&mut self) -> Result<Vec<Lease>, Error>;
    /// The leases of one service.
    async fn of_service(&mut self, service: &ServiceId) -> Result<Vec<Lease>, Error>;
    /// Replaces the leases of one service; [`Error::Taken`] when a port has another owner.
    async fn replace(
        &mut self,
        service: &ServiceId,
        bindings: &[crate::port::Binding],
        at: Timestamp,
    ) -> Result<(), Error>;
    /// Lets one port go.
    async fn release(
        &mut self,
        service: &ServiceId,
        host_port: u16,
        protocol: crate::port::Protocol,
    ) -> Result<(), Error>;
}

/// Which operations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OperationFilter {
    /// In any of these; empty is every one.
    pub state: Vec<State>,
    /// Only those that have not ended.
    pub open: bool,
    /// On this group.
    pub group: Option<GroupFilter>,
    /// With a step on this service, or asked for it.
    pub service: Option<ServiceId>,
    /// Of this verb.
    pub verb: Option<Verb>,
}

/// Operation rows and their steps.
#[async_trait]
pub trait Operations: Send {
    /// By id, with its steps.
    async fn get(&mut self, id: &OperationId) -> Result<Option<Operation>, Error>;
    /// All that fit with their steps, newest first.
    async fn list(&mut self, filter: &OperationFilter, page: &Request) -> Result<Page<Operation>, Error>;
    /// A new row with its steps.
    async fn insert(&mut self, operation: &Operation) -> Result<(), Error>;
    /// The row without its steps.
    async fn update(&mut self, operation: &Operation) -> Result<(), Error>;
    /// New steps of an operation.
    async fn append_steps(&mut self, id: &OperationId, steps: &[Step]) -> Result<(), Error>;
    /// One step; [`Error::StepInProgress`] when it begins while another of its service is in progress.
    async fn update_step(&mut self, id: &OperationId, step: &Step) -> Result<(), Error>;
}

/// The journal of events.
#[async_trait]
pub trait Journal: Send {
    /// Adds an event; it gets its sequence at commit.
    fn append(&mut self, draft: Draft);
    /// The newest sequence; 0 when there is none.
    async fn head(&mut self) -> Result<Sequence, Error>;
    /// The oldest sequence that is kept; `None` when there is none.
    async fn oldest(&mut self) -> Result<Option<Sequence>, Error>;
    /// Events after a position, oldest first, at most `limit`, whatever the filter.
    async fn after(&mut self, position: Sequence, limit: u32) -> Result<Vec<Event>, Error>;
    /// Events that fit, after a position, oldest first, at most `limit`.
    async fn list(&mut self, filter: &Filter, after: Sequence, limit: u32) -> Result<Vec<Event>, Error>;
    /// The first event of an operation.
    async fn first_of(&mut self, operation: &OperationId) -> Result<Option<Sequence>, Error>;
    /// Drops events that are older than `before`, but never the newest `keep`, nor any after one that
    /// stays; returns how many went. One call drops a bounded number; call again while it drops some.
    async fn trim(&mut self, keep: u64, before: Timestamp) -> Result<u64, Error>;
}

/// Settings of the installation, as text by key.
#[async_trait]
pub trait Config: Send {
    /// The value of a key.
    async fn get(&mut self, key: &str) -> Result<Option<String>, Error>;
    /// Sets it.
    async fn set(&mut self, key: &str, value: &str) -> Result<(), Error>;
    /// The port ranges; the defaults when none were set.
    async fn port_ranges(&mut self) -> Result<Vec<crate::port::Range>, Error>;
    /// Replaces the port ranges.
    async fn set_port_ranges(&mut self, ranges: &[crate::port::Range]) -> Result<(), Error>;
}
