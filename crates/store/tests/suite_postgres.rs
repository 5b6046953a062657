//! The store's suite on PostgreSQL, each case in a schema of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use clos_store::{Options, Store};
use clos_testkit::store_suite::Fixture;

mod postgres;

async fn schema() -> Fixture {
    let schema = postgres::Schema::new();
    let store = Store::open(Options::Postgres(schema.options())).await.unwrap();
    Fixture { store: Arc::new(store), clean: Box::pin(schema.drop()) }
}

clos_testkit::store_suite!(schema);
