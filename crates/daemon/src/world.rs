//! One of each seam, and the rooms that stand on them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clos_control::supervisor::Supervisor;
use clos_control::{Control, Engine, Settings, World};
use clos_domain::seams::{Clock as _, Store as _};
use clos_engine::{Docker, Environment};
use clos_host::{HttpProbe, Machine, RandomIds, RootedFiles, SystemClock};
use clos_rpc::{About, Layers, Look};
use clos_store::{Options, PostgresOptions, SqliteOptions, Store};
use clos_telemetry::metrics;
use tonic::service::Routes;

use crate::VERSION;
use crate::config::{Config, Sources};
use crate::state::{Home, Token};

/// The row of the installation's random id.
const INSTALLATION: &str = "installation";
/// Streams and long waits at a time, at least: many dashboards and every shell.
const STREAMS: usize = 4_096;

/// What `wire` made.
pub struct Wired {
    /// Every use case; its background tasks are not started.
    pub control: Control,
    /// Ends them, and with its token everything else.
    pub supervisor: Supervisor,
    /// Everything that is answered over gRPC.
    pub routes: Layers<Routes>,
}

/// Opens the store and builds the rooms on it. Does not speak to the engine.
///
/// # Errors
/// A store that cannot be opened, or an engine address that cannot be one.
pub async fn wire(config: &Config, sources: &Sources, home: &Home, token: &Token) -> anyhow::Result<Wired> {
    let (options, database) = store_options(config, home);
    let store = Store::open(options).await.context("the store cannot be opened")?;
    let installation = installation(&store).await.context("the store does not tell its installation")?;
    let world = World {
        store: Arc::new(store),
        engine: Engine::of(Arc::new(engine(config, sources).await?)),
        host: Arc::new(Machine),
        probe: Arc::new(HttpProbe),
        files: Arc::new(RootedFiles::new(sources.user_home.as_deref().unwrap_or(home.path()))),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
    };
    let supervisor = Supervisor::default();
    let settings = settings(config, &installation);
    let control = Control::open(world.clone(), settings, supervisor.clone())
        .await
        .context("the journal cannot be opened")?;
    let about = About {
        version: VERSION.to_owned(),
        commit: option_env!("CLOS_COMMIT").unwrap_or_default().to_owned(),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        installation,
        home: home.path().display().to_string(),
        pid: std::process::id(),
        started_at: SystemClock.now(),
        database: database.to_owned(),
    };
    let routes = clos_rpc::routes(
        control.clone(),
        clos_rpc::Settings {
            token: clos_rpc::Token::new(token.expose()),
            uid: clos_host::user_id(),
            limits: clos_rpc::Limits {
                in_flight: usize::try_from(config.server.max_in_flight).unwrap_or(usize::MAX),
                // Who lets more connections in means the sockets on them.
                streams: STREAMS.max(usize::try_from(config.server.max_connections).unwrap_or(usize::MAX)),
                timeout: config.server.request_timeout.0,
            },
            metrics: metrics().clone(),
            clock: world.clock,
            ids: world.ids,
            drain: supervisor.drain_token(),
            about,
            look: look(home.path().to_owned()),
        },
    )
    .context("the contract cannot be served")?;
    Ok(Wired { control, supervisor, routes })
}

fn store_options(config: &Config, home: &Home) -> (Options, &'static str) {
    let url = config.store.url.as_deref();
    match url {
        Some(url) if !url.starts_with("sqlite://") => {
            let options = PostgresOptions {
                schema: config.store.schema.clone(),
                connections: config.store.connections,
                ..PostgresOptions::new(url)
            };
            (Options::Postgres(options), "postgres")
        }
        _ => {
            let path = url
                .and_then(|url| url.strip_prefix("sqlite://"))
                .map_or_else(|| home.database(), PathBuf::from);
            let options = SqliteOptions { readers: config.store.connections, ..SqliteOptions::new(path) };
            (Options::Sqlite(options), "sqlite")
        }
    }
}

/// The random id that every container of ours carries; made with the store and never changed.
async fn installation(store: &Store) -> Result<String, clos_domain::seams::store::Error> {
    let known = store.view().await?.config().get(INSTALLATION).await?;
    if let Some(known) = known {
        return Ok(known);
    }
    let mut unit = store.begin().await?;
    // Two daemons on one PostgreSQL schema: the first one's id holds.
    if let Some(known) = unit.config().get(INSTALLATION).await? {
        return Ok(known);
    }
    let made: String =
        clos_host::random_token().chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    unit.config().set(INSTALLATION, &made).await?;
    unit.commit().await?;
    Ok(made)
}

/// The engine that is meant; it need not be there yet.
async fn engine(config: &Config, sources: &Sources) -> anyhow::Result<Docker> {
    let variable = |name: &str| sources.environment.get(name).cloned();
    let environment = Environment {
        docker_host: config.engine.host.clone().or_else(|| {
            // A context of ours is meant whatever the shell's DOCKER_HOST says.
            variable("DOCKER_HOST").filter(|_| config.engine.context.is_none())
        }),
        docker_context: config.engine.context.clone().or_else(|| variable("DOCKER_CONTEXT")),
        docker_config: variable("DOCKER_CONFIG").map(PathBuf::from),
        xdg_runtime_dir: variable("XDG_RUNTIME_DIR").map(PathBuf::from),
        home: sources.user_home.clone(),
    };
    match Docker::find(&environment).await {
        Ok(docker) => Ok(docker),
        Err(missing) => {
            tracing::warn!("{missing}; closd connects as soon as one is there");
            Docker::expected(&environment).await.context("the engine's address cannot be used")
        }
    }
}

fn settings(config: &Config, installation: &str) -> Settings {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let usual = Settings::for_cores(installation, cores);
    let given = |value: u32| usize::try_from(value).ok().filter(|value| *value > 0);
    Settings {
        parallel: given(config.operations.parallel).unwrap_or(usual.parallel),
        parallel_images: given(config.operations.parallel_images).unwrap_or(usual.parallel_images),
        roots: config.roots.iter().map(|root| root.display().to_string()).collect(),
        completion_patience: config.operations.wait_patience.0,
        journal_keep: config.journal.keep,
        journal_max_age: config.journal.max_age.0,
        ..usual
    }
}

/// Looks at the machine, from the blocking pool.
fn look(folder: PathBuf) -> Look {
    let runtime = tokio::runtime::Handle::current();
    Arc::new(move || {
        let seen = runtime.block_on(Machine.resources(&folder));
        clos_rpc::Machine {
            cores: seen.cpu_count,
            memory: seen.memory.map(|memory| memory.total),
            disk: seen.disk.map(|disk| disk.total),
            disk_free: seen.disk.map(|disk| disk.free),
        }
    })
}
