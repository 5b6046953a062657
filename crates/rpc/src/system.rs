//! `SystemApi`: what the daemon is, on what it stands, and how both are.

use std::sync::Arc;
use std::time::Duration;

use clos_control::Control;
use clos_control::system::Health;
use clos_domain::seams::Clock;
use clos_domain::seams::engine::Info;
use clos_domain::{Ctx, Error, Reason, Result, Timestamp};
use clos_proto::v2 as pb;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::call::{self, answer};
use crate::encode::{count, timestamp};
use crate::status::draining;

/// A look at the machine takes no longer than this; a network file system may hang.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of the state folder's file system below which it is getting scarce.
const SCARCE: u64 = 2 << 30;
/// Bytes below which writes are about to fail.
const CRITICAL: u64 = 200 << 20;

/// What does not change while the daemon runs.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Version of the source.
    pub version: String,
    /// Commit of the source; empty when unknown.
    pub commit: String,
    /// What it was built for: `x86_64-unknown-linux-gnu`.
    pub target: String,
    /// `debug` or `release`.
    pub profile: String,
    /// Random id of the state folder.
    pub installation: String,
    /// The state folder.
    pub home: String,
    /// Process id.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// `sqlite` or `postgres`.
    pub database: String,
}

/// The machine as it is now; what it does not tell is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Machine {
    /// Cores that the daemon may use.
    pub cores: Option<u32>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of the state folder's file system.
    pub disk: Option<u64>,
    /// Bytes of it that can still be written.
    pub disk_free: Option<u64>,
}

/// Looks at the machine; may block.
pub type Look = Arc<dyn Fn() -> Machine + Send + Sync>;

/// The service of the system.
pub(crate) struct System {
    control: Control,
    about: About,
    look: Look,
    clock: Arc<dyn Clock>,
    drain: CancellationToken,
}

impl System {
    pub(crate) fn new(
        control: Control,
        about: About,
        look: Look,
        clock: Arc<dyn Clock>,
        drain: CancellationToken,
    ) -> Self {
        Self { control, about, look, clock, drain }
    }

    async fn machine(&self) -> Machine {
        let look = Arc::clone(&self.look);
        let looked = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(move || look())).await;
        match looked {
            Ok(Ok(machine)) => machine,
            _ => {
                tracing::warn!("the machine could not be looked at");
                Machine::default()
            }
        }
    }

    async fn health(&self, ctx: &Ctx) -> pb::GetHealthResponse {
        let (health, machine) =
            tokio::join!(async { self.control.system().health(ctx).await }, self.machine());
        shown_health(&health, &machine, &self.about.version)
    }

    async fn ready(&self, ctx: &Ctx) -> Result<pb::GetReadyResponse> {
        if self.drain.is_cancelled() {
            return Err(draining());
        }
        if !self.control.system().ready(ctx).await {
            return Err(Error::new(
                Reason::StoreUnavailable,
                "the database does not answer; ask again later",
            ));
        }
        Ok(pb::GetReadyResponse { timestamp: Some(timestamp(self.clock.now())) })
    }

    async fn info(&self) -> pb::SystemInfo {
        let (engine, machine) = tokio::join!(async { self.control.system().engine().await }, self.machine());
        shown_info(&self.about, &machine, engine)
    }
}

fn shown_health(health: &Health, machine: &Machine, version: &str) -> pb::GetHealthResponse {
    let part = |answers: bool| match answers {
        true => pb::ComponentStatus::Healthy.into(),
        false => pb::ComponentStatus::Unhealthy.into(),
    };
    let disk = machine.disk_free.map(room);
    let has_room = disk.is_none_or(|disk| disk == pb::DiskStatus::Healthy);
    let status = match () {
        () if !health.database => pb::SystemStatus::Unhealthy,
        () if health.engine == Some(false) || !has_room => pb::SystemStatus::Degraded,
        () => pb::SystemStatus::Healthy,
    };
    let checks = pb::HealthChecks {
        database: Some(part(health.database)),
        docker: health.engine.map(part),
        cache: None,
        disk_space: disk.map(i32::from),
    };
    pb::GetHealthResponse {
        status: status.into(),
        timestamp: Some(timestamp(health.at)),
        version: version.to_owned(),
        uptime: count(health.uptime.as_secs()),
        checks: Some(checks),
    }
}

fn room(free: u64) -> pb::DiskStatus {
    match free {
        ..CRITICAL => pb::DiskStatus::Critical,
        CRITICAL..SCARCE => pb::DiskStatus::Warning,
        _ => pb::DiskStatus::Healthy,
    }
}

fn shown_info(about: &About, machine: &Machine, engine: Info) -> pb::SystemInfo {
    let docker = pb::DockerInfo {
        kind: engine.kind,
        version: engine.version,
        api_version: engine.api_version,
        found_by: engine.found_by,
        address: engine.address,
        platform: engine.platform,
        buildkit: engine.buildkit,
        rootless: engine.rootless,
    };
    let resources = pb::SystemResources {
        cpu_count: machine.cores.and_then(|cores| i32::try_from(cores).ok()).unwrap_or_default(),
        memory_total: machine.memory.map(count),
        disk_total: machine.disk.map(count),
        docker_version: docker.version.clone(),
    };
    pb::SystemInfo {
        version: about.version.clone(),
        build_info: Some(pb::BuildInfo {
            version: about.version.clone(),
            commit: about.commit.clone(),
            target: about.target.clone(),
            profile: about.profile.clone(),
        }),
        system_resources: Some(resources),
        docker_info: Some(docker),
        daemon: Some(pb::DaemonInfo {
            installation: about.installation.clone(),
            home: about.home.clone(),
            pid: i32::try_from(about.pid).unwrap_or_default(),
            started_at: Some(timestamp(about.started_at)),
            database: about.database.clone(),
        }),
    }
}

#[tonic::async_trait]
impl pb::system_api_server::SystemApi for System {
    async fn get_health(
        &self,
        request: Request<pb::GetHealthRequest>,
    ) -> Result<Response<pb::GetHealthResponse>, Status> {
        let (ctx, _) = call::open(request);
        answer(&ctx, Ok(self.health(&ctx).await))
    }

    async fn get_live(
        &self,
        request: Request<pb::GetLiveRequest>,
    ) -> Result<Response<pb::GetLiveResponse>, Status> {
        let (ctx, _) = call::open(request);
        answer(&ctx, Ok(pb::GetLiveResponse { timestamp: Some(timestamp(self.clock.now())) }))
    }

    async fn get_ready(
        &self,
        request: Request<pb::GetReadyRequest>,
    ) -> Result<Response<pb::GetReadyResponse>, Status> {
        let (ctx, _) = call::open(request);
        answer(&ctx, self.ready(&ctx).await)
    }

    async fn get_system_info(
        &self,
        request: Request<pb::GetSystemInfoRequest>,
    ) -> Result<Response<pb::SystemInfo>, Status> {
        let (ctx, _) = call::open(request);
        answer(&ctx, Ok(self.info().await))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(database: bool, engine: Option<bool>, free: Option<u64>) -> pb::GetHealthResponse {
        let health =
            Health { database, engine, at: Timestamp::UNIX_EPOCH, uptime: Duration::from_millis(61_900) };
        shown_health(&health, &Machine { disk_free: free, ..Machine::default() }, "2.0.0")
    }

    #[test]
    fn one_word_tells_how_all_of_it_is() {
        let table = [
            (true, Some(true), Some(SCARCE), pb::SystemStatus::Healthy),
            (true, None, None, pb::SystemStatus::Healthy),
            (true, Some(false), None, pb::SystemStatus::Degraded),
            (true, Some(true), Some(SCARCE - 1), pb::SystemStatus::Degraded),
            (true, Some(true), Some(0), pb::SystemStatus::Degraded),
            (false, Some(true), None, pb::SystemStatus::Unhealthy),
        ];
        for (database, engine, free, wanted) in table {
            assert_eq!(health(database, engine, free).status(), wanted, "{database} {engine:?} {free:?}");
        }
    }

    #[test]
    fn a_part_that_is_not_looked_at_is_absent() {
        let told = health(true, None, None);
        assert_eq!(told.uptime, 61);
        let checks = told.checks.unwrap();
        assert_eq!((checks.docker, checks.cache, checks.disk_space), (None, None, None));
        assert_eq!(checks.database(), pb::ComponentStatus::Healthy);
        let checks = health(false, Some(false), Some(CRITICAL - 1)).checks.unwrap();
        assert_eq!(checks.database(), pb::ComponentStatus::Unhealthy);
        assert_eq!(checks.docker(), pb::ComponentStatus::Unhealthy);
        assert_eq!(checks.disk_space(), pb::DiskStatus::Critical);
    }

    #[test]
    fn what_is_known_of_the_machine_and_the_engine_is_shown() {
        let about = About { version: "2.0.0".into(), pid: 7, database: "sqlite".into(), ..About::default() };
        let machine = Machine { cores: Some(2), memory: Some(1 << 30), ..Machine::default() };
        let place = Info { address: "unix:///run/docker.sock".into(), ..Info::default() };
        let without = shown_info(&about, &machine, place);
        assert_eq!(without.docker_info.unwrap().address, "unix:///run/docker.sock");
        let resources = without.system_resources.unwrap();
        assert_eq!(
            (resources.cpu_count, resources.memory_total, resources.disk_total),
            (2, Some(1 << 30), None)
        );
        assert_eq!(without.daemon.unwrap().pid, 7);
        let engine =
            Info { kind: "docker".into(), version: "29.1".into(), buildkit: true, ..Info::default() };
        let with = shown_info(&about, &machine, engine);
        assert_eq!(with.system_resources.unwrap().docker_version, "29.1");
        assert!(with.docker_info.unwrap().buildkit);
    }
}
