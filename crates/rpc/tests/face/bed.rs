//! A face over a control, and callers who come to it in different ways.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use clos_control::supervisor::Supervisor;
use clos_control::{Control, Engine, World};
use clos_domain::Timestamp;
use clos_domain::seams::Clock as _;
use clos_proto::v2 as pb;
use clos_rpc::{About, Layers, Limits, Machine, Settings, Token};
use clos_store::Store;
use clos_telemetry::Metrics;
use clos_testkit::clock::{FrozenClock, TickingClock};
use clos_testkit::fake_files::FakeFiles;
use clos_testkit::fake_host::{FakeHost, FakeProbe};
use clos_testkit::ids::SeqIds;
use http::{HeaderValue, Request, Response};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::{Connected as _, UdsConnectInfo};
use tonic_types::StatusExt as _;
use tower::Service;

use crate::away::Away;

/// Nothing in these tests takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const SECRET: &str = "5mZqKcV0aTtNbRWe";

pub(crate) struct Bed {
    pub(crate) control: Control,
    pub(crate) supervisor: Supervisor,
    pub(crate) settings: Settings,
    pub(crate) face: Layers<Routes>,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let world = World {
            store: Arc::new(Store::temporary().await.unwrap()),
            engine: Engine::of(Arc::new(Away)),
            host: Arc::new(FakeHost::new()),
            probe: Arc::new(FakeProbe::new()),
            files: Arc::new(FakeFiles::new()),
            clock: Arc::new(TickingClock::default()),
            ids: Arc::new(SeqIds::default()),
        };
        let supervisor = Supervisor::default();
        let settings = clos_control::Settings::for_cores("inst-of-the-tests", 2);
        let control = Control::open(world, settings, supervisor.clone()).await.unwrap();
        let settings = Settings {
            token: Token::new(SECRET),
            uid: owner().1,
            limits,
            metrics: Metrics::new(),
            clock: Arc::new(FrozenClock::default()),
            ids: Arc::new(SeqIds::default()),
            drain: supervisor.drain_token(),
            about: About {
                version: "2.0.0".into(),
                database: "sqlite".into(),
                started_at: started_at(),
                ..About::default()
            },
            look: Arc::new(|| Machine { cores: Some(2), disk_free: Some(100 << 30), ..Machine::default() }),
        };
        let face = clos_rpc::routes(control.clone(), settings.clone()).unwrap();
        Self { control, supervisor, settings, face }
    }

    /// Whoever owns the daemon, over its socket.
    pub(crate) fn owner(&self) -> Caller {
        Caller { face: self.face.clone(), peer: Some(owner().0), authorization: None }
    }

    /// Somebody over TCP, with this in the authorization header.
    pub(crate) fn over_tcp(&self, authorization: Option<&'static str>) -> Caller {
        Caller { face: self.face.clone(), peer: None, authorization }
    }

    pub(crate) fn services(&self) -> pb::services_api_client::ServicesApiClient<Caller> {
        pb::services_api_client::ServicesApiClient::new(self.owner())
    }

    pub(crate) fn operations(&self) -> pb::operations_api_client::OperationsApiClient<Caller> {
        pb::operations_api_client::OperationsApiClient::new(self.owner())
    }

    pub(crate) fn events(&self) -> pb::events_api_client::EventsApiClient<Caller> {
        pb::events_api_client::EventsApiClient::new(self.owner())
    }

    pub(crate) fn system(&self) -> pb::system_api_client::SystemApiClient<Caller> {
        pb::system_api_client::SystemApiClient::new(self.owner())
    }

    pub(crate) fn drain(&self) -> &CancellationToken {
        &self.settings.drain
    }

    /// One more service of the group `shop`.
    pub(crate) async fn create(&self, name: &str) -> pb::Service {
        let service = pb::Service {
            name: name.into(),
            group: "shop".into(),
            docker_config: Some(pb::DockerConfig { image: "app".into(), ..pb::DockerConfig::default() }),
            ..pb::Service::default()
        };
        let request = pb::CreateServiceRequest { service: Some(service), request_id: String::new() };
        let mut services = self.services();
        within(Box::pin(services.create_service(request))).await.unwrap().into_inner()
    }
}

fn started_at() -> Timestamp {
    FrozenClock::default().now()
}

/// What the kernel says of a socket whose other end is ours.
fn owner() -> (UdsConnectInfo, u32) {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let info = ours.connect_info();
    let uid = info.peer_cred.unwrap().uid();
    (info, uid)
}

/// A caller who came in by one way.
#[derive(Clone)]
pub(crate) struct Caller {
    face: Layers<Routes>,
    peer: Option<UdsConnectInfo>,
    authorization: Option<&'static str>,
}

impl Service<Request<Body>> for Caller {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.face, context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(peer) = &self.peer {
            request.extensions_mut().insert(peer.clone());
        }
        if let Some(authorization) = self.authorization {
            request.headers_mut().insert("authorization", HeaderValue::from_static(authorization));
        }
        self.face.call(request)
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("takes too long")
}

/// The reason word of an error.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_else(|| format!("{status:?}"))
}
