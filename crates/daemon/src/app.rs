//! One of each thing, wired; started in order and ended in the reverse.

use std::sync::{Arc, PoisonError};

use anyhow::Context as _;
use clos_domain::seams::Clock as _;
use clos_gateway::door::Names;
use clos_gateway::listen::{Limits, Listener};
use clos_gateway::surface::Surface;
use clos_host::SystemClock;
use clos_telemetry::{Format, metrics};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use crate::VERSION;
use crate::config::{Effective, Origin, Sources};
use crate::rest;
use crate::serve::own_port::{self, Means, Serving};
use crate::serve::port;
use crate::serve::signals::Signals;
use crate::state::{Endpoint, Home};
use crate::world::{self, Wired};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything that was begun was ended.
    Drained,
    /// The time for the drain ran out and something was cut off.
    CutOff,
    /// A second signal came.
    AtOnce,
}

/// What a log shows, by the configuration.
pub fn telemetry(effective: &Effective) -> clos_telemetry::Settings {
    let config = &effective.config;
    clos_telemetry::Settings {
        format: match config.log.format {
            crate::config::LogFormat::Text => Format::Text,
            crate::config::LogFormat::Json => Format::Json,
        },
        filter: config.log.level.clone(),
        file: config.log.file.clone(),
        stderr_file: None,
        otlp_endpoint: config.telemetry.otlp_endpoint.clone(),
        service_name: "closd",
        service_version: VERSION,
    }
}

/// Runs until a signal.
///
/// The order: state folder and lock, log, token, store and rooms, listeners, the endpoint
/// file, which whoever got an answer may read, serving, background tasks. The end goes
/// backwards: nobody new comes in, requests end or are cut off when the time is over, and
/// the last thing that goes is the lock.
///
/// # Errors
/// Whatever prevents serving, before anybody was served.
pub async fn run(effective: Effective, sources: &Sources) -> anyhow::Result<Ended> {
    let config = &effective.config;
    let mut signals = Signals::take().context("signals cannot be taken")?;
    let home = Home::prepare(&sources.home)?;
    let lock = home.lock()?;
    // Where `clos` sends the standard error of a daemon that it starts.
    let stderr_file = Some(sources.home.join("log/closd.log"));
    let guard = clos_telemetry::init(&clos_telemetry::Settings { stderr_file, ..telemetry(&effective) })?;
    for warning in &effective.warnings {
        tracing::warn!("{warning}");
    }
    metrics().build(VERSION);
    let token = lock.token()?;

    let Wired { control, supervisor, routes } = world::wire(config, sources, &home, &token).await?;
    let options = clos_transcoder::Options { drain: supervisor.drain_token(), ..rest::options() };
    let sockets = options.sockets.clone();
    let service =
        Surface::new(clos_proto::DESCRIPTOR_SET, routes, options, &rest::openapi_page(), metrics().clone())
            .context("the contract cannot be served over HTTP")?;

    let runtime_dir = sources.environment.get("XDG_RUNTIME_DIR").map(std::path::Path::new);
    let socket_path =
        home.socket_path(config.server.socket.as_deref(), runtime_dir, &std::env::temp_dir())?;
    let mut socket = lock.bind(&socket_path)?;
    let unix = socket.take().context("a socket has a listener until it is taken")?;
    let unix = UnixListener::from_std(unix).context("the socket cannot be waited on")?;
    let mut tcp = None;
    let mut tcp_listener = None;
    let may_move = *effective.origin("server.listen") == Origin::Default;
    if config.server.tcp {
        let listener = port::tcp(config.server.listen.0, may_move).await?;
        let address = listener.local_addr().context("a listener has an address")?;
        Names::new(address, &config.server.hosts, &config.server.origins)
            .context("server.hosts or server.origins")?;
        tcp_listener = Some(listener);
        tcp = Some(address);
    }

    let limits = Limits {
        connections: usize::try_from(config.server.max_connections).unwrap_or(usize::MAX),
        header_timeout: config.server.header_timeout.0,
        drain_timeout: config.server.drain_timeout.0,
    };
    let endpoint = Endpoint {
        socket: socket_path,
        tcp,
        pid: std::process::id(),
        version: VERSION.to_owned(),
        started_at: SystemClock.now(),
    };
    let announced = Arc::new(lock.announce(&endpoint)?);
    let drain = supervisor.drain_token();
    let serving: Serving = Arc::default();
    let means = Means {
        service,
        limits,
        drain,
        serving: Arc::clone(&serving),
        hosts: config.server.hosts.clone(),
        origins: config.server.origins.clone(),
    };
    means.serve(Listener::Unix(unix, clos_host::user_id()), CancellationToken::new());
    if let Some(listener) = tcp_listener {
        let port = own_port::Port::serve(means, listener, may_move, endpoint.clone(), Arc::clone(&announced))
            .context("the TCP port cannot be served")?;
        control.listens(Arc::new(port));
    }
    // From here on the engine is looked at; callers need not wait for that.
    control.start();
    let shown_tcp = tcp.map(|address| address.to_string()).unwrap_or_default();
    tracing::info!(version = VERSION, socket = %endpoint.socket.display(), tcp = shown_tcp, "closd is ready");

    let signal = signals.next().await;
    tracing::info!(signal, "closd drains");
    announced.withdraw();
    let drained = async {
        // The same word ends streams, tasks and the taking of connections.
        let mut in_time = supervisor.drain(limits.drain_timeout).await;
        sockets.close();
        in_time &= tokio::time::timeout(limits.drain_timeout, sockets.wait()).await.is_ok();
        let mut serving = std::mem::take(&mut *serving.lock().unwrap_or_else(PoisonError::into_inner));
        while let Some(served) = serving.join_next().await {
            in_time &= served.unwrap_or(false);
        }
        if in_time { Ended::Drained } else { Ended::CutOff }
    };
    let ended = tokio::select! {
        ended = drained => ended,
        signal = signals.next() => {
            tracing::warn!(signal, "a second signal: closd ends at once");
            Ended::AtOnce
        }
    };
    tracing::info!(?ended, "closd has ended");
    drop(socket);
    if ended != Ended::AtOnce {
        guard.shutdown().await;
    }
    drop(lock);
    Ok(ended)
}
