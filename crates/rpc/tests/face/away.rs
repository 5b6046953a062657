//! An engine that shows nothing, and is away whenever something is to be done.

use std::time::Duration;

use async_trait::async_trait;
use clos_domain::seams::engine::{Error, Event, ExecOutcome, Info, LogLine, LogQuery, OnProgress, Stats};
use clos_domain::seams::{Images, Networks, Volumes, Workloads};
use clos_domain::workload::{Build, Found, FoundNetwork, Image, Network, Owner, Spec, Volume};
use futures::StreamExt as _;
use futures::stream::BoxStream;

pub(crate) struct Away;

fn away<T>() -> Result<T, Error> {
    Err(Error::Unreachable("nobody is there".into()))
}

#[async_trait]
impl Workloads for Away {
    fn known(&self) -> Info {
        Info { found_by: "DOCKER_HOST".into(), address: "unix:///nowhere.sock".into(), ..Info::default() }
    }
    async fn ping(&self) -> Result<Info, Error> {
        away()
    }
    async fn create(&self, _: &Spec) -> Result<String, Error> {
        away()
    }
    async fn start(&self, _: &str) -> Result<(), Error> {
        away()
    }
    async fn stop(&self, _: &str, _: Duration) -> Result<(), Error> {
        away()
    }
    async fn pause(&self, _: &str) -> Result<(), Error> {
        away()
    }
    async fn unpause(&self, _: &str) -> Result<(), Error> {
        away()
    }
    async fn remove(&self, _: &str) -> Result<(), Error> {
        away()
    }
    async fn rename(&self, _: &str, _: &str) -> Result<(), Error> {
        away()
    }
    async fn inspect(&self, _: &str) -> Result<Option<Found>, Error> {
        away()
    }
    async fn list(&self) -> Result<Vec<Found>, Error> {
        Ok(Vec::new())
    }
    async fn logs(&self, _: &str, _: LogQuery) -> Result<BoxStream<'static, Result<LogLine, Error>>, Error> {
        away()
    }
    fn events(&self) -> BoxStream<'static, Event> {
        futures::stream::pending().boxed()
    }
    async fn stats(&self, _: &str) -> Result<BoxStream<'static, Result<Stats, Error>>, Error> {
        away()
    }
    async fn exec(&self, _: &str, _: &[String], _: Duration) -> Result<ExecOutcome, Error> {
        away()
    }
}

#[async_trait]
impl Images for Away {
    async fn find(&self, _: &str) -> Result<Option<Image>, Error> {
        Ok(Some(Image::default()))
    }
    async fn resolvable(&self, _: &str) -> Result<(), Error> {
        away()
    }
    async fn pull(&self, _: &str, _: Option<&str>, _: OnProgress<'_>) -> Result<(), Error> {
        away()
    }
    async fn build(&self, _: &str, _: &Build, _: OnProgress<'_>) -> Result<(), Error> {
        away()
    }
}

#[async_trait]
impl Networks for Away {
    async fn create(&self, _: &Network) -> Result<(), Error> {
        away()
    }
    async fn remove(&self, _: &str) -> Result<(), Error> {
        away()
    }
    async fn replace(&self, _: &Network, _: &[String]) -> Result<(), Error> {
        away()
    }
    async fn list(&self) -> Result<Vec<FoundNetwork>, Error> {
        Ok(Vec::new())
    }
    async fn gateway(&self, _: &str) -> Result<Option<std::net::Ipv4Addr>, Error> {
        away()
    }
}

#[async_trait]
impl Volumes for Away {
    async fn create(&self, _: &Volume) -> Result<(), Error> {
        away()
    }
    async fn remove(&self, _: &str) -> Result<(), Error> {
        away()
    }
    async fn list(&self) -> Result<Vec<(String, Option<Owner>)>, Error> {
        Ok(Vec::new())
    }
}
