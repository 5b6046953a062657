//! The store's suite on a store that goes with the test.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use clos_store::Store;
use clos_testkit::store_suite::Fixture;

async fn temporary() -> Fixture {
    let store = Store::temporary().await.unwrap();
    Fixture { store: Arc::new(store), clean: Box::pin(async {}) }
}

clos_testkit::store_suite!(temporary);
