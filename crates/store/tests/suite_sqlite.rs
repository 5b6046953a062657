//! The store's suite on a SQLite file with the settings of the product.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use clos_store::{Options, SqliteOptions, Store};
use clos_testkit::store_suite::Fixture;

async fn file() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(folder.path().join("a name?with %signs #1.db"));
    let store = Store::open(Options::Sqlite(options)).await.unwrap();
    Fixture { store: Arc::new(store), clean: Box::pin(async move { folder.close().unwrap() }) }
}

clos_testkit::store_suite!(file);
