//! Opening: options, connections, the copy before a migration, the migration.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use clos_domain::seams::store::{self, Error};
use clos_migrations::Standing;
use sea_orm::sqlx::ConnectOptions as _;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    AccessMode, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction,
    DbBackend, DbErr, EntityTrait, IsolationLevel, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait,
};
use tempfile::TempDir;

use crate::OpenError;
use crate::tables::journal_head;
use crate::unit::{Unit, within};

/// How long a connection, a lock or a statement may take before the store counts as unavailable.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long all pending migrations, or the copy before them, may take.
const MIGRATION_DEADLINE: Duration = Duration::from_secs(300);
/// Any number, the same in every closd: who migrates a PostgreSQL database holds the lock of it.
const MIGRATION_LOCK: i64 = 0x636c_6f73;

/// Where the store is.
#[derive(Debug, Clone)]
pub enum Options {
    /// In a file of this machine.
    Sqlite(SqliteOptions),
    /// In a PostgreSQL database.
    Postgres(PostgresOptions),
}

/// A database in a file.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The file; its folder exists. Made with mode 0600.
    pub path: PathBuf,
    /// Connections that only read.
    pub readers: u32,
    /// How long a connection, a lock or a statement may take.
    pub deadline: Duration,
    /// Commits wait for the disk. Off only for what may be lost with the machine.
    pub durable: bool,
}

impl SqliteOptions {
    /// The file with the usual settings.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), readers: 4, deadline: DEADLINE, durable: true }
    }
}

/// A PostgreSQL database.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database`, or with `?host=/folder` a Unix socket.
    pub url: String,
    /// The schema that holds our tables; made when missing. `None` is the connection's own.
    pub schema: Option<String>,
    /// Connections, readers and writers together.
    pub connections: u32,
    /// How long a connection, a lock or a statement may take.
    pub deadline: Duration,
}

impl PostgresOptions {
    /// The database with the usual settings.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), schema: None, connections: 8, deadline: DEADLINE }
    }
}

/// The address may hold a password.
impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("schema", &self.schema)
            .field("connections", &self.connections)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// The store.
pub struct Store {
    writer: DatabaseConnection,
    readers: DatabaseConnection,
    deadline: Duration,
    file: Option<File>,
    /// Goes with its content when the store goes.
    _folder: Option<TempDir>,
}

/// Which file was opened: one that is removed or replaced would go on "succeeding".
struct File {
    path: PathBuf,
    identity: (u64, u64),
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("backend", &self.writer.get_database_backend()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store and brings its tables up to date.
    ///
    /// # Errors
    /// See [`OpenError`]; a database of a newer program is left as it is.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        match options {
            Options::Sqlite(options) => Self::open_sqlite(options, None).await,
            Options::Postgres(options) => Self::open_postgres(options).await,
        }
    }

    /// A store of its own that goes when it is dropped. It is a file in a temporary folder, because
    /// SQLite's memory knows no write-ahead log, without which a reader stops the writer.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn temporary() -> Result<Self, OpenError> {
        let folder = TempDir::with_prefix("clos-store-")
            .map_err(|source| OpenError::File { path: std::env::temp_dir(), source })?;
        let options = SqliteOptions { durable: false, ..SqliteOptions::new(folder.path().join("clos.db")) };
        Self::open_sqlite(options, Some(folder)).await
    }

    /// Waits until every connection is back, and closes them.
    ///
    /// # Errors
    /// When a unit of work is still open after the deadline.
    pub async fn close(self) -> Result<(), Error> {
        within(self.deadline, self.readers.close()).await?;
        within(self.deadline, self.writer.close()).await
    }

    async fn open_sqlite(options: SqliteOptions, folder: Option<TempDir>) -> Result<Self, OpenError> {
        let failed = |source| OpenError::File { path: options.path.clone(), source };
        make_private(&options.path).await.map_err(failed)?;
        let metadata = tokio::fs::metadata(&options.path).await.map_err(failed)?;
        let file = File { path: options.path.clone(), identity: (metadata.dev(), metadata.ino()) };

        let place = format!("`{}`", options.path.display());
        let unreachable =
            |source: Error| OpenError::Unreachable { place: place.clone(), source: source.into() };
        let writer =
            within(options.deadline, connect_sqlite(&options, Access::Write)).await.map_err(unreachable)?;
        let standing =
            within(options.deadline, clos_migrations::standing(&writer)).await.map_err(unreachable)?;
        refuse_newer(&place, &standing)?;
        if let (false, Some(next)) = (standing.taken.is_empty(), standing.pending.first()) {
            copy_before(&writer, &options.path, next).await?;
        }
        migrate(&writer, &place).await?;
        let readers =
            within(options.deadline, connect_sqlite(&options, Access::Read)).await.map_err(unreachable)?;
        Ok(Self { writer, readers, deadline: options.deadline, file: Some(file), _folder: folder })
    }

    async fn open_postgres(options: PostgresOptions) -> Result<Self, OpenError> {
        let address: PgConnectOptions = options.url.parse().map_err(|_| {
            OpenError::Options(
                "the address of the database cannot be read: write `postgres://user:password@host:port/database`"
                    .to_owned(),
            )
        })?;
        let place = format!(
            "the PostgreSQL database `{}` at {}:{}",
            address.get_database().unwrap_or_default(),
            address
                .get_socket()
                .map_or_else(|| address.get_host().to_owned(), |path| path.display().to_string()),
            address.get_port(),
        );
        if let Some(schema) = &options.schema {
            let good = !schema.is_empty()
                && schema.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if !good {
                return Err(OpenError::Options(format!("schema: `{schema}` must match [a-z0-9_]+")));
            }
        }
        let unreachable =
            |source: Error| OpenError::Unreachable { place: place.clone(), source: source.into() };
        let pool = within(options.deadline, connect_postgres(&options)).await.map_err(unreachable)?;
        if let Some(schema) = &options.schema {
            let make = format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"");
            within(options.deadline, pool.execute_unprepared(&make)).await.map_err(unreachable)?;
        }
        let standing =
            within(options.deadline, clos_migrations::standing(&pool)).await.map_err(unreachable)?;
        refuse_newer(&place, &standing)?;
        migrate(&pool, &place).await?;
        Ok(Self {
            writer: pool.clone(),
            readers: pool,
            deadline: options.deadline,
            file: None,
            _folder: None,
        })
    }
}

#[async_trait]
impl store::Store for Store {
    async fn begin(&self) -> Result<Box<dyn store::Tx>, Error> {
        let began = Instant::now();
        let transaction = within(self.deadline, begin(&self.writer)).await?;
        Ok(Box::new(Unit::new(transaction, true, self.deadline, began)))
    }

    async fn view(&self) -> Result<Box<dyn store::Tx>, Error> {
        let began = Instant::now();
        // On SQLite the readers' connections refuse to write, and a snapshot is what they have.
        let options = match self.readers.get_database_backend() {
            DbBackend::Postgres => TransactionOptions {
                isolation_level: Some(IsolationLevel::RepeatableRead),
                access_mode: Some(AccessMode::ReadOnly),
                ..TransactionOptions::default()
            },
            _ => TransactionOptions::default(),
        };
        let transaction = within(self.deadline, self.readers.begin_with_options(options)).await?;
        Ok(Box::new(Unit::new(transaction, false, self.deadline, began)))
    }

    async fn ping(&self) -> Result<(), Error> {
        if let Some(file) = &self.file {
            let found = tokio::fs::metadata(&file.path).await.ok().map(|found| (found.dev(), found.ino()));
            if found != Some(file.identity) {
                let path = file.path.display();
                let gone = format!("the database file `{path}` was removed or replaced; restart closd");
                return Err(Error::Unavailable(gone.into()));
            }
        }
        within(self.deadline, journal_head::Entity::find().one(&self.readers)).await?;
        Ok(())
    }
}

async fn begin(writer: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    writer.begin_with_options(options).await
}

enum Access {
    Read,
    Write,
}

async fn connect_sqlite(options: &SqliteOptions, access: Access) -> Result<DatabaseConnection, DbErr> {
    let synchronous = if options.durable { SqliteSynchronous::Normal } else { SqliteSynchronous::Off };
    let file = SqliteConnectOptions::new()
        .filename(&options.path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .foreign_keys(true)
        .busy_timeout(options.deadline)
        .pragma("journal_size_limit", "67108864")
        // KiB a connection: what a developer's projects fill is far smaller, and every reader has its own.
        .pragma("cache_size", "-512")
        .disable_statement_logging();
    let (connections, file) = match access {
        Access::Write => (1, file),
        Access::Read => (options.readers.max(1), file.pragma("query_only", "on")),
    };
    // The path goes in as it is: an address would give `?` and `%` in it a meaning.
    let mut connect = ConnectOptions::new("sqlite::memory:");
    connect
        .map_sqlx_sqlite_opts(move |_| file.clone())
        .max_connections(connections)
        .min_connections(1)
        .max_lifetime(None::<Duration>);
    shared_settings(&mut connect, options.deadline);
    Database::connect(connect).await
}

async fn connect_postgres(options: &PostgresOptions) -> Result<DatabaseConnection, DbErr> {
    // sea-orm knows one of the two schemes that PostgreSQL does.
    let url = match options.url.strip_prefix("postgresql://") {
        Some(rest) => format!("postgres://{rest}"),
        None => options.url.clone(),
    };
    let limit = options.deadline.as_millis().to_string();
    let mut connect = ConnectOptions::new(url);
    connect
        .max_connections(options.connections.max(2))
        .set_application_name("closd")
        .test_before_acquire_if_idle_for(Duration::from_secs(30))
        .map_sqlx_postgres_opts(move |address| {
            address.disable_statement_logging().options([
                ("statement_timeout", limit.as_str()),
                ("lock_timeout", limit.as_str()),
                ("idle_in_transaction_session_timeout", "60000"),
            ])
        });
    if let Some(schema) = &options.schema {
        connect.set_schema_search_path(schema);
    }
    shared_settings(&mut connect, options.deadline);
    Database::connect(connect).await
}

fn shared_settings(connect: &mut ConnectOptions, deadline: Duration) {
    connect
        .connect_timeout(deadline)
        .acquire_timeout(deadline)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .test_before_acquire(false);
}

fn refuse_newer(place: &str, standing: &Standing) -> Result<(), OpenError> {
    match standing.unknown.first() {
        None => Ok(()),
        Some(step) => Err(OpenError::Newer { place: place.to_owned(), step: step.clone() }),
    }
}

/// All pending steps in one transaction; a second closd that starts beside us waits and finds nothing to do.
async fn migrate(writer: &DatabaseConnection, place: &str) -> Result<(), OpenError> {
    let work = async {
        let transaction = begin(writer).await?;
        if transaction.get_database_backend() == DbBackend::Postgres {
            let prepare = format!(
                "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
            );
            transaction.execute_unprepared(&prepare).await?;
        }
        clos_migrations::run(&transaction).await?;
        transaction.commit().await
    };
    within(MIGRATION_DEADLINE, work)
        .await
        .map_err(|source| OpenError::Migrate { place: place.to_owned(), source: source.into() })
}

/// Makes the file, readable by its owner only, unless it is there; SQLite gives its other files the same mode.
async fn make_private(path: &Path) -> Result<(), std::io::Error> {
    tokio::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).await?;
    Ok(())
}

/// Copies the database beside itself: `clos.db.before-m0017_what_changes`. The copy is whole or not there.
async fn copy_before(writer: &DatabaseConnection, path: &Path, step: &str) -> Result<(), OpenError> {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".before-{step}{suffix}"));
        PathBuf::from(name)
    };
    let (copy, unfinished) = (beside(""), beside(".unfinished"));
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| OpenError::Backup { path: copy.clone(), source };

    if let Err(error) = tokio::fs::remove_file(&unfinished).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(failed(error.into()));
    }
    // VACUUM INTO takes an empty file as it is, and with it the mode.
    make_private(&unfinished).await.map_err(|error| failed(error.into()))?;
    let Some(target) = unfinished.to_str() else {
        return Err(failed("the path is not UTF-8".into()));
    };
    let vacuum = Statement::from_sql_and_values(DbBackend::Sqlite, "VACUUM INTO $1", [target.into()]);
    within(MIGRATION_DEADLINE, writer.execute_raw(vacuum)).await.map_err(|error| failed(error.into()))?;
    tokio::fs::rename(&unfinished, &copy).await.map_err(|error| failed(error.into()))?;
    tracing::info!(copy = %copy.display(), "database copied before its tables change");
    Ok(())
}
