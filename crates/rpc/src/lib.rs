//! The gRPC face: decode a request, ask `control`, encode its answer.
//!
//! [`routes`] gives everything that is answered over gRPC as one tower service: the APIs of the
//! contract, `grpc.health.v1` and reflection, inside the [`Layers`] that stand around every call.
//! Whoever serves it puts tonic's `UdsConnectInfo` or `TcpConnectInfo` into the extensions of each
//! request; a request without either is judged as one over TCP.
//!
//! There is no rule about services or groups in here, no store and no engine, and no listener:
//! those are `domain`, `control`, `store`, `engine` and the daemon. `Host` and `Origin` are judged
//! at the daemon's door, before anything here.
//!
//! To add an RPC: write it in `proto/` with its route and its permission, its request in `decode`,
//! its answer in `encode`, and a handler of three lines in the module of its noun. Its permission
//! row, its figures, its deadline and its limit are there without a word; the permission table of
//! the tests shows it.
#![warn(missing_docs)]

mod call;
mod decode;
mod encode;
mod encodings;
mod events;
mod groups;
mod health;
mod layers;
mod listing;
mod once;
mod operations;
mod services;
mod status;
mod system;
#[cfg(test)]
mod tests;
mod tickets;

use std::sync::Arc;
use std::time::Duration;

use clos_control::Control;
use clos_domain::seams::{Clock, IdSource};
use clos_domain::{Error, Result};
use clos_proto::v2 as pb;
use clos_telemetry::Metrics;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

pub use self::layers::{Layers, Token};
pub use self::status::ERROR_DOMAIN;
pub use self::system::{About, Look, Machine};

/// Bytes of a request, decoded.
const DECODED: usize = 4 << 20;
/// Bytes of an answer, or of one message of a stream.
const ENCODED: usize = 16 << 20;

/// How much at a time, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests in progress at a time that are no streams.
    pub in_flight: usize,
    /// Streams and long waits at a time.
    pub streams: usize,
    /// How long a request may take that is no stream and brings no deadline of its own.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { in_flight: 512, streams: 4_096, timeout: Duration::from_secs(60) }
    }
}

/// What the face needs besides `control`.
#[derive(Clone)]
pub struct Settings {
    /// What callers over TCP show.
    pub token: Token,
    /// Whose daemon this is; nobody else comes in by the socket.
    pub uid: u32,
    /// How much at a time.
    pub limits: Limits,
    /// Where calls are counted.
    pub metrics: Metrics,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Names for requests that have none, and the secrets of tickets.
    pub ids: Arc<dyn IdSource>,
    /// Cancelled when the daemon drains; streams end then.
    pub drain: CancellationToken,
    /// What does not change while the daemon runs.
    pub about: About,
    /// Looks at the machine.
    pub look: Look,
}

/// Everything that is answered over gRPC.
///
/// # Errors
/// A contract that does not say who may call each method, or that cannot be reflected.
pub fn routes(control: Control, settings: Settings) -> Result<Layers<Routes>> {
    /// The servers of the contract, all with the same limits of sizes.
    macro_rules! add {
        ($routes:ident, $($server:expr),+ $(,)?) => {
            $($routes.add_service($server.max_decoding_message_size(DECODED).max_encoding_message_size(ENCODED));)+
        };
    }
    let (clock, drain) = (&settings.clock, &settings.drain);
    let system = system::System::new(
        control.clone(),
        settings.about.clone(),
        settings.look.clone(),
        clock.clone(),
        drain.clone(),
    );
    let watched = events::Watched { encodings: Arc::default(), clock: clock.clone(), drain: drain.clone() };
    let operations = operations::Operations::new(control.clone(), clock.clone(), watched.clone());
    let tickets = tickets::Tickets::new(clock.clone(), settings.ids.clone());
    let events = events::Events::new(control.clone(), tickets.clone(), watched);
    let mut routes = Routes::builder();
    add!(
        routes,
        pb::services_api_server::ServicesApiServer::new(services::Services::new(control.clone())),
        pb::groups_api_server::GroupsApiServer::new(groups::Groups::new(control.clone())),
        pb::operations_api_server::OperationsApiServer::new(operations),
        pb::events_api_server::EventsApiServer::new(events),
        pb::system_api_server::SystemApiServer::new(system),
        HealthServer::new(health::Health::new(control, drain.clone())),
    );
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(clos_proto::DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    routes.add_service(reflection().build_v1().map_err(Error::internal)?);
    routes.add_service(reflection().build_v1alpha().map_err(Error::internal)?);
    Layers::new(routes.routes().prepare(), settings, tickets)
}
