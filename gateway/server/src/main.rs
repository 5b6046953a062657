//! `clos-gateway`: REST, streams and sockets in front of any server of gRPC.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use clos_gateway::door::Names;
use clos_gateway::envoy;
use clos_gateway::listen::{Limits, Listener};
use clos_gateway::pages::Openapi;
use clos_gateway::surface::Surface;
use clos_gateway::upstreams::{Checks, Upstreams};
use clos_transcoder::{Document, Enums, Int64, Names as FieldNames, Options, Spelling};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// REST, NDJSON, server-sent events, WebSocket and gRPC-Web in front of a gRPC server.
#[derive(Debug, Parser)]
#[command(name = "clos-gateway", version, about)]
struct Args {
    /// Descriptors of what is served: `protoc --include_imports --descriptor_set_out=FILE`
    #[arg(long, value_name = "FILE")]
    descriptor_set: PathBuf,
    /// gRPC server: http://host:port, or package.Service=http://host:port; may be repeated
    #[arg(long, value_name = "URL", required = true)]
    upstream: Vec<String>,
    /// Certificates in PEM, besides this machine's own, that may have signed those of https upstreams
    #[arg(long, value_name = "FILE")]
    upstream_ca: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Which names of fields are printed; both are read
    #[arg(long, value_enum, default_value_t = JsonNames::Proto)]
    json_names: JsonNames,
    /// How 64-bit integers are printed; both are read
    #[arg(long, value_enum, default_value_t = IntForm::String)]
    int64: IntForm,
    /// How enum values are printed; every form is read
    #[arg(long, value_enum, default_value_t = EnumForm::Full)]
    enums: EnumForm,
    /// Host name besides our own under which we may be asked; may be repeated
    #[arg(long = "allow-host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Web origin besides our own that may ask; may be repeated
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// Serve methods without an annotation as POST <PREFIX>/<package.Service>/<Method>
    #[arg(long, value_name = "PREFIX", num_args = 0..=1, default_missing_value = "/rpc")]
    auto_map: Option<String>,
    /// Longest deadline in seconds, and the one of calls without; streams have none [default: none]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// Largest body in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    max_body: usize,
    /// Realm of WWW-Authenticate
    #[arg(long, default_value = "clos")]
    realm: String,
    /// Prefix of the headers that speak to the gateway itself
    #[arg(long, value_name = "PREFIX", default_value = "x-clos-")]
    header_prefix: String,
    /// WebSocket subprotocol
    #[arg(long, value_name = "NAME", default_value = "clos.v2")]
    subprotocol: String,
    /// Domain of the reasons in the gateway's own gRPC errors (google.rpc.ErrorInfo)
    #[arg(long, value_name = "NAME", default_value = "clos.dev")]
    error_domain: String,
    /// Path of the OpenAPI document
    #[arg(long, value_name = "PATH", default_value = "/api/v2/openapi.json", value_parser = absolute)]
    openapi_path: String,
    /// Title of the OpenAPI document
    #[arg(long, default_value = "API")]
    title: String,
    /// Version of the OpenAPI document
    #[arg(long, default_value = "1")]
    api_version: String,
    /// Connections at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    max_connections: usize,
    /// How long requests may go on after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    drain: u64,
    /// Print the configuration of an Envoy that serves the same, and end
    #[arg(long)]
    envoy_config: bool,
    /// Log level, or directives
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum JsonNames {
    Proto,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum IntForm {
    Number,
    String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EnumForm {
    Short,
    Full,
}

/// A path as a request has it.
fn absolute(path: &str) -> Result<String, String> {
    if path.starts_with('/') { Ok(path.to_owned()) } else { Err("a path begins with `/`".to_owned()) }
}

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, whatever the causes are made of.
            let told = format!("{error:#}").lines().map(str::trim).collect::<Vec<_>>().join(" ");
            let _ = writeln!(std::io::stderr(), "error: {told}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    if args.envoy_config {
        return print_envoy(&args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("threads cannot be started")?.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let guard = clos_telemetry::init(&clos_telemetry::Settings {
        format: clos_telemetry::Format::Text,
        filter: args.log_level.clone(),
        file: None,
        stderr_file: None,
        otlp_endpoint: None,
        service_name: "clos-gateway",
        service_version: env!("CARGO_PKG_VERSION"),
    })?;
    let set = descriptor_set(&args)?;
    let authority = args.upstream_ca.as_ref().map(|path| {
        std::fs::read(path).with_context(|| format!("--upstream-ca: {} cannot be read", path.display()))
    });
    let upstreams = Upstreams::new(&args.upstream, authority.transpose()?.as_deref())?;
    let mut options = options(&args)?;
    options.limits.body = args.max_body;
    let about = Document {
        title: args.title.clone(),
        version: args.api_version.clone(),
        description: "Made from the descriptors of the server behind this gateway.".to_owned(),
        open: None,
    };
    let openapi = Openapi { about, path: args.openapi_path.clone() };
    let (drain, sockets) = (options.drain.clone(), options.sockets.clone());
    let metrics = clos_telemetry::metrics();
    metrics.build(env!("CARGO_PKG_VERSION"));
    let surface = Surface::new(&set, upstreams.clone(), options, &openapi, metrics.clone())
        .with_context(|| format!("--descriptor-set: {}", args.descriptor_set.display()))?;

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("--listen: {} cannot be listened on", args.listen))?;
    let address = listener.local_addr()?;
    let names = Names::new(address, &args.hosts, &args.origins)
        .context("--allow-host or --allow-origin")?
        .with_error_domain(&args.error_domain);
    let limits = Limits {
        connections: args.max_connections,
        header_timeout: HEAD,
        drain_timeout: Duration::from_secs(args.drain),
    };
    let routes = surface.rest().routes().count();
    tracing::info!(url = %format!("http://{address}"), routes, "clos-gateway is ready");
    let watching = upstreams.watch(Checks::default(), metrics.clone(), drain.clone());
    let serving = Listener::Tcp(listener, Arc::new(names)).serve(surface, limits, drain.clone());
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        _ = &mut serving => {}
        () = watching => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("clos-gateway drains");
    drain.cancel();
    sockets.close();
    let ended = async {
        let in_time = serving.await;
        sockets.wait().await;
        in_time
    };
    tokio::select! {
        ended = tokio::time::timeout(limits.drain_timeout, ended) => tracing::info!(in_time = ended == Ok(true), "clos-gateway has ended"),
        _ = terminate.recv() => tracing::warn!("a second signal: clos-gateway ends at once"),
        _ = interrupt.recv() => tracing::warn!("a second signal: clos-gateway ends at once"),
    }
    guard.shutdown().await;
    Ok(())
}

fn print_envoy(args: &Args) -> anyhow::Result<()> {
    let set = descriptor_set(args)?;
    let options = options(args)?;
    let names = Names::new(args.listen, &args.hosts, &args.origins)?;
    let wanted = envoy::Wanted {
        descriptor_set: args.descriptor_set.to_str().context("--descriptor-set: the path is no UTF-8")?,
        listen: args.listen,
        names: &names,
        upstreams: &args.upstream,
        authorities: args.upstream_ca.as_ref().and_then(|path| path.to_str()),
        spelling: options.spelling,
        auto_map: options.auto_map.as_deref(),
        body: args.max_body,
        answer: options.limits.answer,
        header_bytes: options.limits.header_bytes,
        headers: options.limits.headers,
        header_timeout: HEAD,
        timeout: options.max_timeout,
        connections: args.max_connections,
    };
    let config = envoy::config(&set, &wanted).context("--envoy-config")?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &config)?;
    writeln!(out)?;
    Ok(())
}

fn descriptor_set(args: &Args) -> anyhow::Result<Vec<u8>> {
    std::fs::read(&args.descriptor_set)
        .with_context(|| format!("--descriptor-set: {} cannot be read", args.descriptor_set.display()))
}

fn options(args: &Args) -> anyhow::Result<Options> {
    let spelling = Spelling {
        names: match args.json_names {
            JsonNames::Proto => FieldNames::Proto,
            JsonNames::Json => FieldNames::Json,
        },
        int64: match args.int64 {
            IntForm::Number => Int64::Number,
            IntForm::String => Int64::String,
        },
        enums: match args.enums {
            EnumForm::Short => Enums::Short,
            EnumForm::Full => Enums::Full,
        },
    };
    let max_timeout = args
        .timeout
        .map(|seconds| {
            Duration::try_from_secs_f64(seconds).with_context(|| format!("--timeout: `{seconds}` is no time"))
        })
        .transpose()?;
    Ok(Options {
        spelling,
        realm: args.realm.clone(),
        header_prefix: args.header_prefix.to_ascii_lowercase(),
        subprotocol: Some(args.subprotocol.clone()),
        auto_map: args.auto_map.clone(),
        max_timeout,
        // A connection that broke while nobody used it is noticed by the next call.
        retries: 2,
        ..Options::default()
    })
}
