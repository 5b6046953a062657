//! Opening a store: what it makes, what it keeps, what it refuses.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use clos_domain::seams::store::{Error, Store as _};
use clos_store::{OpenError, Options, PostgresOptions, SqliteOptions, Store};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};

mod postgres;

async fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(Options::Sqlite(SqliteOptions::new(path))).await
}

/// A connection beside the store's.
async fn beside(path: &Path) -> DatabaseConnection {
    let mut options = ConnectOptions::new(format!("sqlite://{}", path.display()));
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

async fn write(store: &Store, key: &str) -> Result<(), Error> {
    let mut tx = store.begin().await?;
    tx.config().set(key, "1").await?;
    tx.commit().await?;
    Ok(())
}

async fn read(store: &Store, key: &str) -> Option<String> {
    store.view().await.unwrap().config().get(key).await.unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn in_folder(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening_and_nobody_else_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clos.db");
    let store = open(&path).await.unwrap();
    write(&store, "kept").await.unwrap();
    for name in in_folder(folder.path()) {
        assert_eq!(mode(&folder.path().join(&name)), 0o600, "{name}");
    }
    store.close().await.unwrap();
    let store = open(&path).await.unwrap();
    assert_eq!(read(&store, "kept").await.as_deref(), Some("1"));
    store.close().await.unwrap();
    assert_eq!(in_folder(folder.path()), ["clos.db"], "no copy where nothing was migrated");
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clos.db");
    open(&path).await.unwrap().close().await.unwrap();
    let connection = beside(&path).await;
    connection
        .execute_unprepared("INSERT INTO seaql_migrations VALUES ('m9999_from_the_future', 0)")
        .await
        .unwrap();
    connection.close().await.unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(&error, OpenError::Newer { step, .. } if step == "m9999_from_the_future"), "{error:?}");
    assert!(error.to_string().contains("was written by a newer closd"), "{error}");
    assert!(error.to_string().contains("clos.db"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// Takes the last step back by hand, as a database of an older program would be.
async fn without_the_last_step(path: &Path) {
    let store = open(path).await.unwrap();
    write(&store, "old").await.unwrap();
    store.close().await.unwrap();
    let connection = beside(path).await;
    connection
        .execute_unprepared(
            "DROP TABLE port_ranges; DELETE FROM seaql_migrations WHERE version = 'm0016_port_ranges'",
        )
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn an_older_database_is_copied_before_it_is_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clos.db");
    without_the_last_step(&path).await;
    // A copy that was cut off is no obstacle.
    std::fs::write(folder.path().join("clos.db.before-m0016_port_ranges.unfinished"), "half").unwrap();

    let store = open(&path).await.unwrap();
    assert_eq!(
        store.view().await.unwrap().config().port_ranges().await.unwrap().len(),
        7,
        "the step was taken"
    );
    store.close().await.unwrap();
    assert_eq!(in_folder(folder.path()), ["clos.db", "clos.db.before-m0016_port_ranges"]);
    let copy = folder.path().join("clos.db.before-m0016_port_ranges");
    assert_eq!(mode(&copy), 0o600);
    let connection = beside(&copy).await;
    let statement = sea_orm::Statement::from_string(
        sea_orm::DbBackend::Sqlite,
        "SELECT (SELECT value FROM config WHERE key = 'old'), (SELECT count(*) FROM sqlite_master WHERE name = 'port_ranges')",
    );
    let row = connection.query_one_raw(statement).await.unwrap().unwrap();
    assert_eq!(row.try_get_by_index::<String>(0).unwrap(), "1");
    assert_eq!(row.try_get_by_index::<i64>(1).unwrap(), 0, "the copy is from before the step");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn without_a_copy_there_is_no_migration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clos.db");
    without_the_last_step(&path).await;
    // A folder in the place of the copy cannot be replaced by a file.
    let in_the_way = folder.path().join("clos.db.before-m0016_port_ranges");
    std::fs::create_dir(&in_the_way).unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(&error, OpenError::Backup { path, .. } if *path == in_the_way), "{error:?}");
    assert!(error.to_string().ends_with("so it was not migrated"), "{error}");
    std::fs::remove_dir(&in_the_way).unwrap();
    open(&path).await.unwrap();
}

#[tokio::test]
async fn a_step_that_fails_takes_none_of_the_pending_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clos.db");
    without_the_last_step(&path).await;
    let connection = beside(&path).await;
    connection
        .execute_unprepared(
            "DROP TABLE config; DELETE FROM seaql_migrations WHERE version = 'm0015_config'; CREATE TABLE port_ranges (x)",
        )
        .await
        .unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Migrate { .. }), "{error:?}");
    let left = sea_orm::Statement::from_string(
        sea_orm::DbBackend::Sqlite,
        "SELECT count(*) FROM sqlite_master WHERE name = 'config'",
    );
    let left: i64 = connection.query_one_raw(left).await.unwrap().unwrap().try_get_by_index(0).unwrap();
    assert_eq!(left, 0, "the step before it was undone");
    connection.execute_unprepared("DROP TABLE port_ranges").await.unwrap();
    connection.close().await.unwrap();
    write(&open(&path).await.unwrap(), "works").await.unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none/clos.db");
    let error = open(&path).await.unwrap_err();
    assert!(matches!(&error, OpenError::File { path: named, .. } if *named == path), "{error:?}");
    assert!(error.to_string().contains("none/clos.db"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clos.db");
    std::fs::write(&path, "this is a text and not a database".repeat(100)).unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("clos.db"), "{error}");
}

#[tokio::test]
async fn a_file_that_was_removed_or_replaced_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clos.db");
    let store = open(&path).await.unwrap();
    store.ping().await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    std::fs::write(&path, "").unwrap();
    assert!(store.ping().await.is_err());
}

#[tokio::test]
async fn who_waits_longer_than_the_deadline_for_the_writer_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clos.db");
    let deadline = Duration::from_secs(1);
    let options = || SqliteOptions { deadline, ..SqliteOptions::new(&path) };
    let store = Store::open(Options::Sqlite(options())).await.unwrap();
    let other_program = Store::open(Options::Sqlite(options())).await.unwrap();
    let tx = store.begin().await.unwrap();
    for waiting in [&store, &other_program] {
        let error = waiting.begin().await.err().unwrap();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
    drop(tx);
    for waiting in [&store, &other_program] {
        write(waiting, "after").await.unwrap();
    }
}

#[tokio::test]
async fn readers_that_are_all_busy_do_not_hang_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        readers: 1,
        deadline: Duration::from_secs(1),
        ..SqliteOptions::new(folder.path().join("clos.db"))
    };
    let store = Store::open(Options::Sqlite(options)).await.unwrap();
    let view = store.view().await.unwrap();
    assert!(matches!(store.view().await.err().unwrap(), Error::Unavailable(_)));
    assert!(matches!(store.ping().await.unwrap_err(), Error::Unavailable(_)));
    drop(view);
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_service_is_found_by_an_alias_of_v1() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clos.db");
    let store = open(&path).await.unwrap();
    let ids = clos_testkit::ids::SeqIds::default();
    let group = clos_testkit::store_suite::group(&ids, "shop");
    let service = clos_testkit::store_suite::service(&ids, &group, "web");
    let mut tx = store.begin().await.unwrap();
    tx.groups().insert(&group).await.unwrap();
    tx.services().insert(&service).await.unwrap();
    tx.commit().await.unwrap();
    let connection = beside(&path).await;
    let alias = format!("INSERT INTO service_aliases VALUES ('web-shop', '{}')", service.id);
    connection.execute_unprepared(&alias).await.unwrap();
    connection.close().await.unwrap();
    let mut view = store.view().await.unwrap();
    assert_eq!(view.services().find_alias("web-shop").await.unwrap(), Some(service));
    assert_eq!(view.services().find_alias("shop-web").await.unwrap(), None);
}

#[tokio::test]
async fn a_row_that_nothing_here_wrote_is_a_failure_that_names_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clos.db");
    let store = open(&path).await.unwrap();
    let ids = clos_testkit::ids::SeqIds::default();
    let group = clos_testkit::store_suite::group(&ids, "shop");
    let service = clos_testkit::store_suite::service(&ids, &group, "web");
    let mut tx = store.begin().await.unwrap();
    tx.groups().insert(&group).await.unwrap();
    tx.services().insert(&service).await.unwrap();
    tx.commit().await.unwrap();
    let connection = beside(&path).await;
    connection.execute_unprepared("UPDATE services SET status_reason = 'BORED'").await.unwrap();
    let error = store.view().await.unwrap().services().get(&service.id).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(matches!(error, Error::Failed(_)), "{error:?}");
    assert_eq!(cause, "services.status_reason holds `BORED`");
    for refused in [
        "UPDATE services SET status = 'bored'",
        "UPDATE services SET observed = 'exited'",
        "UPDATE services SET health = 'healthy'",
        "INSERT INTO ports VALUES (0, 'tcp', 'svc', 1, '', 0)",
        "INSERT INTO journal_head VALUES (2, 0)",
    ] {
        assert!(connection.execute_unprepared(refused).await.is_err(), "{refused}");
    }
    connection.execute_unprepared("UPDATE groups SET definition = '{'").await.unwrap();
    let error = store.view().await.unwrap().groups().get(&group.id).await.unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error:?}");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_temporary_store_remembers_until_it_is_closed() {
    let store = Store::temporary().await.unwrap();
    write(&store, "key").await.unwrap();
    assert_eq!(read(&store, "key").await.as_deref(), Some("1"));
    assert!(format!("{store:?}").contains("Sqlite"));
    store.close().await.unwrap();
}

#[tokio::test]
async fn two_programs_that_start_beside_each_other_migrate_once() {
    let schema = postgres::Schema::new();
    let open = || Store::open(Options::Postgres(schema.options()));
    let first = open().await.unwrap();
    write(&first, "one").await.unwrap();
    first.close().await.unwrap();
    let connection = schema.connect().await;
    connection
        .execute_unprepared(
            "DROP TABLE port_ranges; DELETE FROM seaql_migrations WHERE version = 'm0016_port_ranges'",
        )
        .await
        .unwrap();
    connection.close().await.unwrap();
    let (first, second) = tokio::join!(open(), open());
    let (first, second) = (first.unwrap(), second.unwrap());
    write(&first, "two").await.unwrap();
    assert_eq!(read(&second, "two").await.as_deref(), Some("1"));
    assert_eq!(read(&second, "one").await.as_deref(), Some("1"));
    second.ping().await.unwrap();
    drop((first, second));
    schema.drop().await;
}

#[tokio::test]
async fn a_postgres_database_of_a_newer_program_is_refused() {
    let schema = postgres::Schema::new();
    Store::open(Options::Postgres(schema.options())).await.unwrap().close().await.unwrap();
    let connection = schema.connect().await;
    connection
        .execute_unprepared("INSERT INTO seaql_migrations VALUES ('m9999_from_the_future', 0)")
        .await
        .unwrap();
    connection.close().await.unwrap();
    let error = Store::open(Options::Postgres(schema.options())).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { .. }), "{error:?}");
    schema.drop().await;
}

#[tokio::test]
async fn a_lock_of_another_program_ends_with_the_deadline() {
    let schema = postgres::Schema::new();
    let options = PostgresOptions { deadline: Duration::from_secs(1), ..schema.options() };
    let store = Store::open(Options::Postgres(options)).await.unwrap();
    let connection = schema.connect().await;
    connection.execute_unprepared("BEGIN; SELECT * FROM journal_head FOR UPDATE").await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.config().set("key", "1").await.unwrap();
    tx.journal().append(clos_domain::event::Draft::new(
        clos_domain::event::types::ENGINE_CHANGED,
        clos_domain::Timestamp::UNIX_EPOCH,
    ));
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    connection.execute_unprepared("ROLLBACK").await.unwrap();
    assert_eq!(read(&store, "key").await, None);
    connection.close().await.unwrap();
    store.close().await.unwrap();
    schema.drop().await;
}

#[tokio::test]
async fn a_postgres_that_is_not_there_is_named_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().display().to_string().replace('/', "%2F");
    let options = PostgresOptions::new(format!("postgresql://ann:secret@{socket}/clos"));
    let shown = format!("{options:?}");
    let error = Store::open(Options::Postgres(options)).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("`clos`") && !text.contains("secret") && !shown.contains("secret"),
        "{text} {shown}"
    );
}

#[tokio::test]
async fn options_that_cannot_be_used_are_refused_with_the_way_out() {
    let error = Store::open(Options::Postgres(PostgresOptions::new("no address"))).await.unwrap_err();
    assert!(error.to_string().contains("write `postgres://"), "{error}");
    let options = PostgresOptions {
        schema: Some("no\"schema".into()),
        ..PostgresOptions::new("postgres://ann@127.0.0.1/clos")
    };
    let error = Store::open(Options::Postgres(options)).await.unwrap_err();
    assert!(error.to_string().contains("must match [a-z0-9_]+"), "{error}");
}
