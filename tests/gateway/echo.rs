//! An echo server of tonic, as anybody would write one.

use std::pin::Pin;
use std::sync::Arc;

use clos_tests::PATIENCE;
use futures::{Stream, StreamExt as _};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tonic::transport::{Identity, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
pub(crate) mod v1 {
    tonic::include_proto!("echo.v1");
}

use v1::echo_server::{Echo, EchoServer};
use v1::words_server::{Words, WordsServer};
use v1::{Message, RepeatRequest};

/// What the server was compiled from.
pub(crate) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo.pb"));

/// One that runs; it ends with us.
pub(crate) struct Server {
    pub(crate) url: String,
    /// Calls of `Hold` that have come.
    pub(crate) held: Arc<Semaphore>,
    /// Lets one of them go on.
    pub(crate) release: Arc<Semaphore>,
    /// It ends when this is gone.
    _life: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(None).await
    }

    /// One that shows this certificate, asked for as `localhost`.
    pub(crate) async fn start_secure(identity: Identity) -> Self {
        Self::with(Some(identity)).await
    }

    async fn with(identity: Option<Identity>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = match identity {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let (held, release) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let service = Service { held: held.clone(), release: release.clone() };
        let mut builder = tonic::transport::Server::builder();
        if let Some(identity) = identity {
            builder = builder.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        }
        let routes =
            builder.add_service(EchoServer::new(service.clone())).add_service(WordsServer::new(service));
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let (life, end) = oneshot::channel::<()>();
        let serving = routes.serve_with_incoming_shutdown(incoming, async {
            let _ = end.await;
        });
        let task = tokio::spawn(async { serving.await.unwrap() });
        Self { url, held, release, _life: life, task }
    }

    /// Ends it, its connections too.
    pub(crate) async fn end(self) {
        let Self { task, _life: life, .. } = self;
        drop(life);
        task.await.unwrap();
    }
}

#[derive(Clone)]
struct Service {
    held: Arc<Semaphore>,
    release: Arc<Semaphore>,
}

#[tonic::async_trait]
impl Echo for Service {
    type RepeatStream = Pin<Box<dyn Stream<Item = Result<Message, Status>> + Send>>;
    type ConverseStream = Self::RepeatStream;

    async fn say(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let message = request.into_inner();
        if message.text.is_empty() {
            return Err(Status::invalid_argument("there is nothing to say"));
        }
        Ok(Response::new(message))
    }

    async fn repeat(&self, request: Request<RepeatRequest>) -> Result<Response<Self::RepeatStream>, Status> {
        let RepeatRequest { text, times } = request.into_inner();
        let messages = (1..=times)
            .map(move |at| Ok(Message { text: text.clone(), how_often: at.into(), ..Message::default() }));
        Ok(Response::new(futures::stream::iter(messages).boxed()))
    }

    async fn converse(
        &self,
        request: Request<Streaming<Message>>,
    ) -> Result<Response<Self::ConverseStream>, Status> {
        let messages = request.into_inner().map(|message| match message {
            Ok(message) if message.text.is_empty() => Err(Status::aborted("there is nothing to say")),
            message => message,
        });
        Ok(Response::new(messages.boxed()))
    }

    async fn hold(&self, _: Request<()>) -> Result<Response<Message>, Status> {
        self.held.add_permits(1);
        let told = tokio::time::timeout(PATIENCE, self.release.acquire()).await;
        told.map_err(|_| Status::aborted("nobody told it to go on"))?.unwrap().forget();
        Ok(Response::new(Message { text: "held".into(), ..Message::default() }))
    }
}

#[tonic::async_trait]
impl Words for Service {
    async fn reverse(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let text = request.into_inner().text.chars().rev().collect();
        Ok(Response::new(Message { text, ..Message::default() }))
    }
}
