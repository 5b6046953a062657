//! A schema for one test in the PostgreSQL that `CLOS_TEST_POSTGRES_URL` names.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::atomic::{AtomicU32, Ordering};

use clos_store::PostgresOptions;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};

pub(crate) struct Schema(String);

impl Schema {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("clos_test_{}_{count}", std::process::id()))
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresOptions { schema: Some(self.0.clone()), connections: 5, ..PostgresOptions::new(url()) }
    }

    /// A connection beside the store, whose statements see the tables of this schema.
    pub(crate) async fn connect(&self) -> DatabaseConnection {
        let mut options = sea_orm::ConnectOptions::new(url());
        options.max_connections(1).set_schema_search_path(&self.0).sqlx_logging(false);
        Database::connect(options).await.expect("CLOS_TEST_POSTGRES_URL names a PostgreSQL that answers")
    }

    pub(crate) async fn drop(self) {
        let connection = self.connect().await;
        let drop = format!("DROP SCHEMA IF EXISTS \"{}\" CASCADE", self.0);
        connection.execute_unprepared(&drop).await.unwrap();
        connection.close().await.unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where their databases are")]
fn url() -> String {
    std::env::var("CLOS_TEST_POSTGRES_URL").unwrap_or_else(|_| {
        panic!(
            "CLOS_TEST_POSTGRES_URL is not set: the store is tested on a real PostgreSQL; `make test` starts one, \
             or set it to `postgres://user@host/database`"
        )
    })
}
