//! An engine of a few lines for the handlers' tests: what is made runs at once and is well.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use clos_domain::Timestamp;
use clos_domain::health::Verdict;
use clos_domain::seams::engine::{Error, Event, ExecOutcome, Info, LogLine, LogQuery, OnProgress, Stats};
use clos_domain::seams::{Images, Networks, Volumes, Workloads};
use clos_domain::workload::{Build, Found, Network, Owner, Spec, State, Volume};
use futures::StreamExt as _;
use futures::stream::BoxStream;

#[derive(Default)]
pub(crate) struct SmallEngine {
    workloads: Mutex<BTreeMap<String, Found>>,
    networks: Mutex<BTreeMap<String, Option<Owner>>>,
}

impl SmallEngine {
    fn workloads(&self) -> MutexGuard<'_, BTreeMap<String, Found>> {
        self.workloads.lock().unwrap()
    }

    fn set(&self, name: &str, state: State) -> Result<(), Error> {
        let mut workloads = self.workloads();
        let found = workloads.get_mut(name).ok_or_else(|| Error::NotFound(name.to_owned()))?;
        found.state = state;
        found.started_at = Some(Timestamp::UNIX_EPOCH);
        Ok(())
    }
}

#[tonic::async_trait]
impl Workloads for SmallEngine {
    async fn ping(&self) -> Result<Info, Error> {
        Ok(Info { kind: "small".into(), ..Info::default() })
    }

    async fn create(&self, spec: &Spec) -> Result<String, Error> {
        let id = format!("id-of-{}", spec.name);
        let found = Found {
            id: id.clone(),
            name: spec.name.clone(),
            identity: Some(spec.identity.clone()),
            labels: BTreeMap::new(),
            image: spec.container().image.clone(),
            state: State::Created,
            addresses: BTreeMap::new(),
            ports: spec.ports.clone(),
            started_at: None,
            finished_at: None,
            restarts: 0,
        };
        self.workloads().insert(spec.name.clone(), found);
        Ok(id)
    }

    async fn start(&self, name: &str) -> Result<(), Error> {
        self.set(name, State::Running { health: Verdict::None })
    }

    async fn stop(&self, name: &str, _grace: Duration) -> Result<(), Error> {
        self.set(name, State::Exited { code: 0, oom: false })
    }

    async fn remove(&self, name: &str) -> Result<(), Error> {
        self.workloads().remove(name);
        Ok(())
    }

    async fn inspect(&self, name: &str) -> Result<Option<Found>, Error> {
        Ok(self.workloads().get(name).cloned())
    }

    async fn list(&self) -> Result<Vec<Found>, Error> {
        Ok(self.workloads().values().cloned().collect())
    }

    async fn logs(
        &self,
        name: &str,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, Error>>, Error> {
        if !self.workloads().contains_key(name) {
            return Err(Error::NotFound(name.to_owned()));
        }
        let line =
            |stderr, text: &str| Ok(LogLine { at: None, stderr, text: text.to_owned(), partial: false });
        let lines =
            [line(false, "INFO up"), line(true, "ERROR no coffee"), Err(Error::Failed("torn".into()))];
        let wanted = if query.follow { 3 } else { 2 };
        Ok(futures::stream::iter(lines).take(wanted).boxed())
    }

    fn events(&self) -> BoxStream<'static, Event> {
        futures::stream::iter([Event::Connected]).chain(futures::stream::pending()).boxed()
    }

    async fn stats(&self, _name: &str) -> Result<BoxStream<'static, Result<Stats, Error>>, Error> {
        let at = Some(Timestamp::UNIX_EPOCH);
        let sample =
            Stats { at, cpu_percent: 50.0, memory: 2_000_000, memory_limit: 8_000_000, ..Stats::default() };
        Ok(futures::stream::iter([Ok(sample.clone()), Ok(sample)]).boxed())
    }

    async fn exec(&self, _name: &str, _argv: &[String], _timeout: Duration) -> Result<ExecOutcome, Error> {
        Ok(ExecOutcome { code: 0, output: String::new() })
    }
}

#[tonic::async_trait]
impl Images for SmallEngine {
    async fn exists(&self, image: &str) -> Result<bool, Error> {
        Ok(image == "app")
    }

    async fn resolvable(&self, image: &str) -> Result<(), Error> {
        Err(Error::PullRefused { image: image.to_owned(), why: "there is no registry".to_owned() })
    }

    async fn pull(&self, image: &str, _: Option<&str>, _: OnProgress<'_>) -> Result<(), Error> {
        self.resolvable(image).await
    }

    async fn build(&self, image: &str, _: &Build, _: OnProgress<'_>) -> Result<(), Error> {
        Err(Error::BuildFailed { image: image.to_owned(), why: "nothing is built here".to_owned() })
    }
}

#[tonic::async_trait]
impl Networks for SmallEngine {
    async fn create(&self, network: &Network) -> Result<(), Error> {
        self.networks.lock().unwrap().insert(network.name.clone(), network.owner.clone());
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<(), Error> {
        self.networks.lock().unwrap().remove(name);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(String, Option<Owner>)>, Error> {
        Ok(self.networks.lock().unwrap().clone().into_iter().collect())
    }
}

#[tonic::async_trait]
impl Volumes for SmallEngine {
    async fn create(&self, _: &Volume) -> Result<(), Error> {
        Ok(())
    }

    async fn remove(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(String, Option<Owner>)>, Error> {
        Ok(Vec::new())
    }
}
