//! The servers that are ours to write: each on one thread, on a port of its own.

use anyhow::Context as _;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use clap::ValueEnum;
use clos_transcoder::{Options, Transcoder};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;

use crate::shelf::pb::shelf_server::ShelfServer;
use crate::shelf::{DESCRIPTOR_SET, Shelf};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// gRPC, for what stands in front of it
    Tonic,
    /// REST as one writes it by hand
    Axum,
    /// REST by the transcoder, with gRPC in the same process
    Transcoder,
}

/// Says where it listens, and serves until it is ended.
pub(crate) async fn serve(kind: Kind) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    crate::say(&format!("listening on {}", listener.local_addr()?));
    match kind {
        Kind::Tonic => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let server = tonic::transport::Server::builder().add_service(ShelfServer::new(Shelf::new()));
            server.serve_with_incoming(incoming).await.context("tonic")
        }
        Kind::Axum => axum::serve(listener, by_hand()).await.context("axum"),
        Kind::Transcoder => transcoder(listener).await,
    }
}

fn by_hand() -> axum::Router {
    let item = async |State(shelf): State<Shelf>, Path(id): Path<String>| {
        shelf.get(&id).map(Json).ok_or(StatusCode::NOT_FOUND)
    };
    let items = async |State(shelf): State<Shelf>| Json(shelf.list());
    axum::Router::new()
        .route("/v1/items/{id}", get(item))
        .route("/v1/items", get(items))
        .with_state(Shelf::new())
}

/// As axum serves: the same connections, and nothing between them and the transcoder.
async fn transcoder(listener: TcpListener) -> anyhow::Result<()> {
    let routes = Routes::new(ShelfServer::new(Shelf::new()));
    let rest = Transcoder::new(DESCRIPTOR_SET, routes, Options::default())?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(rest.clone());
        connections.spawn(async move {
            let http = auto::Builder::new(TokioExecutor::new());
            // How a connection ends is its client's affair.
            let _ = http.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}
