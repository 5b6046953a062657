//! A store that refuses to write while a test says so, as a full disk does.

use std::sync::Arc;

use async_trait::async_trait;
use clos_domain::seams::store::{Error, Store, Tx};
use tokio::sync::watch;

pub(crate) struct Flaky {
    inner: Arc<dyn Store>,
    refuses: watch::Sender<bool>,
    refused: watch::Sender<usize>,
}

impl Flaky {
    pub(crate) fn over(inner: Arc<dyn Store>) -> Self {
        Self { inner, refuses: watch::Sender::new(false), refused: watch::Sender::new(0) }
    }

    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.send_replace(refuses);
    }

    /// Returns when so many units of work were refused.
    pub(crate) async fn refused(&self, count: usize) {
        self.refused.subscribe().wait_for(|refused| *refused >= count).await.unwrap();
    }
}

#[async_trait]
impl Store for Flaky {
    async fn begin(&self) -> Result<Box<dyn Tx>, Error> {
        if *self.refuses.borrow() {
            self.refused.send_modify(|count| *count += 1);
            return Err(Error::Unavailable("the disk is full".into()));
        }
        self.inner.begin().await
    }

    async fn view(&self) -> Result<Box<dyn Tx>, Error> {
        self.inner.view().await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.inner.ping().await
    }
}
