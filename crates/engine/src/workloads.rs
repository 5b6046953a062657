//! Containers: create, start, stop, remove, and what they show.

use std::time::Duration;

use async_trait::async_trait;
use bollard::models::{ContainerCreateBody, NetworkConnectRequest};
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptions, RemoveContainerOptions, RenameContainerOptions,
    StartContainerOptions, StopContainerOptions,
};
use clos_domain::seams::Workloads;
use clos_domain::seams::engine::{Error, Event, ExecOutcome, Info, LogLine, LogQuery, Stats};
use clos_domain::workload::{ConfigHash, ConfigPiece, Found, Spec, State};
use futures::stream::BoxStream;
use sha2::{Digest as _, Sha256};

use crate::call::{Effect, Fault, within};
use crate::docker::Docker;
use crate::{copy, create, deadline, events, exec, find, found, logs, name, stats};

#[async_trait]
impl Workloads for Docker {
    fn known(&self) -> Info {
        self.place()
    }

    async fn ping(&self) -> Result<Info, Error> {
        let answer = async {
            within(deadline::PING, "ping", Effect::Reads, self.client().ping()).await?;
            Ok::<_, Error>(self.facts().await?.info.clone())
        };
        let late = || Error::Unreachable(format!("ping: nothing within {:?}", deadline::PING));
        let outcome = tokio::time::timeout(deadline::PING, answer).await.unwrap_or_else(|_| Err(late()));
        if outcome.is_err() {
            self.forget_facts();
        }
        outcome
    }

    async fn create(&self, spec: &Spec) -> Result<String, Error> {
        let name = name::check("container", &spec.name)?;
        let facts = self.facts().await?;
        let (image_id, declared) = self.image(&spec.container().image).await?;
        let spec = &create::with_inherited(spec, &declared);
        let create::Creation { body, join_after } =
            create::creation(spec, &image_id, &self.config_hash(spec).await?, &facts)?;

        let id = self.create_container(name, body, spec).await?;
        if let Err(error) = self.complete(&id, name, join_after, spec).await {
            // A container on half of its networks, or without a file, must not be taken for a good one later.
            if let Err(left) = self.remove(&id).await {
                tracing::warn!(container = name, error = %left, "a half-made container is left behind");
            }
            return Err(error);
        }
        Ok(id)
    }

    async fn start(&self, name: &str) -> Result<(), Error> {
        let target = self.container(name).await?;
        let what = format!("start `{name}`");
        let call = self.client().start_container(&target, None::<StartContainerOptions>);
        within(deadline::START, &what, Effect::Changes, call).await.map_err(|fault| no_such(name, fault))
    }

    async fn stop(&self, name: &str, grace: Duration) -> Result<(), Error> {
        let target = self.container(name).await?;
        let seconds = create::whole_seconds(grace);
        let options =
            StopContainerOptions { signal: None, t: Some(i32::try_from(seconds).unwrap_or(i32::MAX)) };
        let what = format!("stop `{name}`");
        let limit = grace.saturating_add(deadline::AFTER_GRACE);
        let call = self.client().stop_container(&target, Some(options));
        within(limit, &what, Effect::Changes, call).await.map_err(|fault| no_such(name, fault))
    }

    async fn pause(&self, name: &str) -> Result<(), Error> {
        let target = self.container(name).await?;
        let call = self.client().pause_container(&target);
        let answer = within(deadline::START, &format!("pause `{name}`"), Effect::Changes, call).await;
        self.unless(name, answer, |state| *state == State::Paused).await
    }

    async fn unpause(&self, name: &str) -> Result<(), Error> {
        let target = self.container(name).await?;
        let call = self.client().unpause_container(&target);
        let answer = within(deadline::START, &format!("unpause `{name}`"), Effect::Changes, call).await;
        self.unless(name, answer, |state| matches!(state, State::Running { .. })).await
    }

    async fn remove(&self, name: &str) -> Result<(), Error> {
        let target = match self.container(name).await {
            Err(Error::NotFound(_)) => return Ok(()),
            other => other?,
        };
        let what = format!("remove `{name}`");
        let options = RemoveContainerOptions { v: false, force: true, link: false };
        let call = self.client().remove_container(&target, Some(options));
        match within(deadline::REMOVE, &what, Effect::Changes, call).await {
            Ok(()) | Err(Fault::Answer { status: 404, .. }) => Ok(()),
            // Somebody else is at it: gone is what was asked for.
            Err(Fault::Answer { status: 409, message }) if message.contains("already in progress") => {
                self.wait_gone(&target, &what).await
            }
            Err(fault) => Err(fault.into()),
        }
    }

    async fn rename(&self, name: &str, to: &str) -> Result<(), Error> {
        let target = self.container(name).await?;
        let to = name::check("container", to)?.to_owned();
        let what = format!("rename `{name}` to `{to}`");
        let began = tokio::time::Instant::now();
        loop {
            let options = RenameContainerOptions { name: to.clone() };
            let call = self.client().rename_container(&target, options);
            match within(deadline::CREATE, &what, Effect::Changes, call).await {
                Ok(()) => return Ok(()),
                Err(Fault::Answer { status: 409, .. }) => return Err(Error::NameTaken(to)),
                Err(Fault::Answer { message, .. })
                    if is_between_runs(&message) && began.elapsed() < deadline::BETWEEN_RUNS =>
                {
                    tokio::time::sleep(deadline::LOOK_AGAIN).await;
                }
                Err(fault) => return Err(no_such(name, fault)),
            }
        }
    }

    async fn inspect(&self, name: &str) -> Result<Option<Found>, Error> {
        Ok(self.inspect_exactly(name).await?.map(found::inspected))
    }

    async fn list(&self) -> Result<Vec<Found>, Error> {
        let options = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        let call = self.client().list_containers(Some(options));
        let listed = within(deadline::READ, "list", Effect::Reads, call).await?;
        Ok(listed.into_iter().map(found::listed).collect())
    }

    async fn logs(
        &self,
        name: &str,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, Error>>, Error> {
        logs::open(self, name, query).await
    }

    fn events(&self) -> BoxStream<'static, Event> {
        events::subscribe(self)
    }

    async fn stats(&self, name: &str) -> Result<BoxStream<'static, Result<Stats, Error>>, Error> {
        stats::open(self, name).await
    }

    async fn exec(&self, name: &str, argv: &[String], timeout: Duration) -> Result<ExecOutcome, Error> {
        exec::run(self, name, argv, timeout).await
    }
}

impl Docker {
    /// What docker compose is to compare the container with. Containers without any such label are invisible
    /// to it, so one of no file gets our own hash.
    async fn config_hash(&self, spec: &Spec) -> Result<String, Error> {
        let pieces = match &spec.identity.config_hash {
            None => return Ok(spec.identity.spec_hash.clone()),
            Some(ConfigHash::Known(hash)) => return Ok(hash.clone()),
            Some(ConfigHash::Of(pieces)) => pieces,
        };
        let mut text = Sha256::new();
        for piece in pieces {
            match piece {
                ConfigPiece::Text(part) => text.update(part),
                ConfigPiece::IdOf(name) => {
                    let found = self.inspect_exactly(name).await?.and_then(|found| found.id);
                    text.update(found.ok_or_else(|| Error::NotFound(name.clone()))?);
                }
            }
        }
        Ok(find::hex(&text.finalize()))
    }

    async fn create_container(
        &self,
        name: &str,
        body: ContainerCreateBody,
        spec: &Spec,
    ) -> Result<String, Error> {
        let container = spec.container();
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            platform: container.platform.clone().unwrap_or_default(),
        };
        let what = format!("create `{name}`");
        let call = self.client().create_container(Some(options), body);
        match within(deadline::CREATE, &what, Effect::Changes, call).await {
            Ok(created) => Ok(created.id),
            Err(Fault::Answer { status: 409, .. }) => Err(Error::NameTaken(name.to_owned())),
            Err(Fault::Answer { status: 404, message }) if message.contains("No such image") => {
                Err(Error::NoImage(container.image.clone()))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// What a container needs after its create and before its start.
    async fn complete(
        &self,
        id: &str,
        name: &str,
        join_after: Vec<(String, NetworkConnectRequest)>,
        spec: &Spec,
    ) -> Result<(), Error> {
        for (network, request) in join_after {
            let what = format!("connect `{name}` to `{network}`");
            let call = self.client().connect_network(&network, request);
            within(deadline::CREATE, &what, Effect::Changes, call).await.map_err(|fault| match fault {
                Fault::Answer { status: 404, .. } => Error::NotFound(network.clone()),
                other => other.into(),
            })?;
        }
        let files = &spec.container().files;
        if files.is_empty() { Ok(()) } else { copy::into(self, id, name, files).await }
    }

    /// An engine refuses what is so already, each version in its own words.
    async fn unless(
        &self,
        name: &str,
        answer: Result<(), Fault>,
        is_so: impl Fn(&State) -> bool + Send,
    ) -> Result<(), Error> {
        let Err(fault) = answer else { return Ok(()) };
        if matches!(fault, Fault::Answer { .. })
            && let Some(found) = self.inspect(name).await?
            && is_so(&found.state)
        {
            return Ok(());
        }
        Err(no_such(name, fault))
    }

    async fn wait_gone(&self, name: &str, what: &str) -> Result<(), Error> {
        let gone = async {
            while self.inspect_exactly(name).await?.is_some() {
                tokio::time::sleep(deadline::LOOK_AGAIN).await;
            }
            Ok(())
        };
        let late = || Error::UnknownOutcome(what.to_owned());
        tokio::time::timeout(deadline::REMOVE, gone).await.unwrap_or_else(|_| Err(late()))
    }
}

/// The container has exited and waits for its restart: it counts as running, but has no network that could be
/// told of its new name, so the engine takes the rename back.
fn is_between_runs(message: &str) -> bool {
    message.contains("sandbox") && message.contains("not found")
}

/// 404 is about this container, unless the words name something else, such as a
/// network that was removed since.
pub(crate) fn no_such(name: &str, fault: Fault) -> Error {
    match fault {
        Fault::Answer { status: 404, message }
            if message.to_ascii_lowercase().contains("no such container") =>
        {
            Error::NotFound(name.to_owned())
        }
        other => other.into(),
    }
}
