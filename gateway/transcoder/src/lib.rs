//! HTTP/JSON in front of gRPC, by descriptors.
//!
//! A [`Transcoder`] takes an encoded `FileDescriptorSet` and a tower service that speaks gRPC
//! (tonic's `Routes` in process, or a `Channel`), and is a tower service that speaks REST, NDJSON,
//! server-sent events and WebSocket. What is served where comes from `google.api.http`; what that
//! does not know (201 and Location, statuses of single errors, ETag, renditions of logs) from
//! `transcoding.v1`, if the descriptors have it. Adding an annotated method needs no change here.
//!
//! At the start every message becomes a table and every route a plan, and whatever could not be
//! served is [refused](Refused) by name. A request is then one pass from JSON to wire bytes, a call
//! with bytes, and one pass back: no message is ever built in between.
//!
//! What it does not do: listen, authenticate, judge `Host` and `Origin`, compress, log. Those are
//! layers of whoever mounts it.
//!
//! ```
//! use clos_transcoder::{Options, Transcoder};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("transcoder-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # std::fs::write(folder.join("greet.proto"), r#"
//! #   syntax = "proto3"; package greet.v1;
//! #   service Greeter { rpc Greet(Hello) returns (Hello); }
//! #   message Hello { string name = 1; }"#)?;
//! # let mut compiler = protox::Compiler::new([&folder])?;
//! # compiler.include_imports(true).open_file("greet.proto")?;
//! # let descriptors = compiler.encode_file_descriptor_set();
//! # let routes = tonic::service::Routes::default();
//! // The bytes of `protoc --include_imports --descriptor_set_out`, and the servers of tonic.
//! let options = Options { auto_map: Some("/rpc".to_owned()), ..Options::default() };
//! let rest = Transcoder::new(&descriptors, routes, options)?;
//! assert_eq!(rest.routes().next().as_deref(), Some("POST /rpc/greet.v1.Greeter/Greet"));
//! // `rest` is a tower service: give it to hyper, axum, or a layer of your own.
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! ```
//!
//! Where to look: `route` compiles annotations, `bind` makes a message of a request's parts, `call`
//! speaks gRPC, `answer` makes responses, `status` errors. JSON and wire bytes are `clos_protojson`.
//! `shared` is what was compiled at the start, `asked` the request that is answered, `serve` puts the rest
//! together. No two modules use each other; a test of the workspace holds them to it.
#![warn(missing_docs)]

mod answer;
mod asked;
mod bind;
mod call;
mod headers;
mod metadata;
mod negotiate;
mod openapi;
mod options;
mod printed;
mod route;
mod rules;
mod serve;
mod shared;
mod status;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use clos_protojson::schema::Schema;
use http::{Request, Response};
use prost_reflect::DescriptorPool;
use tonic::body::Body;
use tower::Service;

pub use crate::answer::stream::Streamed;
pub use crate::call::Upstream;
pub use crate::openapi::Document;
pub use crate::options::{Limits, Multiplex, Options, Source};
pub use crate::route::Refused;
pub use crate::serve::RouteTemplate;
pub use clos_protojson::{Enums, Int64, Names, Spelling};

use crate::printed::Printed;
use crate::route::Routes;
use crate::route::multiplex::Place;
use crate::shared::Shared;

/// REST, NDJSON, server-sent events and WebSocket in front of a service of gRPC.
#[derive(Debug)]
pub struct Transcoder<S> {
    upstream: S,
    shared: Arc<Shared>,
}

impl<S: Clone> Clone for Transcoder<S> {
    fn clone(&self) -> Self {
        Self { upstream: self.upstream.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S: Upstream> Transcoder<S> {
    /// Compiles the descriptors.
    ///
    /// # Errors
    /// Bytes that are no descriptor set, and annotations that cannot be served, each with the name
    /// of its method.
    pub fn new(descriptor_set: &[u8], upstream: S, options: Options) -> Result<Self, Refused> {
        let broken =
            |error: prost_reflect::DescriptorError| Refused(vec![format!("no descriptor set: {error}")]);
        let mut pool = clos_protojson::pool(descriptor_set).map_err(broken)?;
        // Errors carry these whether or not the set has them.
        let known = DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).map_err(broken)?;
        for file in known.files() {
            if pool.get_file_by_name(file.name()).is_none() && !defines(&pool, &file) {
                pool.add_file_descriptor_proto(file.file_descriptor_proto().clone()).map_err(broken)?;
            }
        }
        let schema = Schema::new(&pool, options.spelling);
        let routes = Routes::compile(&pool, &schema, &options)?;
        for overlap in &routes.overlaps {
            tracing::info!(%overlap, "some paths match two routes; the literal that comes first wins");
        }
        let multiplex =
            options.multiplex.as_ref().map(|wanted| Place::of(&schema, &routes, wanted)).transpose();
        let multiplex = multiplex.map_err(|fault| Refused(vec![fault]))?.map(Arc::new);
        let printed = Printed::default();
        let shared = Shared { schema, routes, options, multiplex, printed };
        Ok(Self { upstream, shared: Arc::new(shared) })
    }

    /// What is served: `GET /v1/things/{id}`.
    pub fn routes(&self) -> impl Iterator<Item = String> {
        self.shared.routes.routes.iter().map(|route| format!("{} {}", route.verb, route.shown))
    }

    /// What is served as OpenAPI 3.1, with the comments of the descriptors if they have any.
    pub fn openapi(&self, about: &Document) -> serde_json::Value {
        openapi::document(&self.shared, about)
    }

    /// Pairs of templates that some paths match both, for the log of a start.
    pub fn overlaps(&self) -> &[String] {
        &self.shared.routes.overlaps
    }
}

/// A refusal in the shape that every error of a transcoder has, for layers in front of one:
/// who is turned away at the door reads the same object as who asks for something that is not there.
/// A field is named as the place where the request is not as it should be.
pub fn refusal(
    status: http::StatusCode,
    field: Option<&str>,
    message: &str,
    headers: &http::HeaderMap,
    options: &Options,
) -> Response<Body> {
    static NOTHING: std::sync::LazyLock<Schema> =
        std::sync::LazyLock::new(|| Schema::new(&DescriptorPool::new(), Spelling::default()));
    let named = headers::Named::of(headers, options);
    let about = status::About {
        request_id: named.request_id.clone(),
        trace_id: named.trace_id(),
        now: (options.source.now)(),
    };
    let failure = match field {
        Some(field) => status::Failure::field(field, message),
        None => status::Failure::own(status, message),
    };
    let mut response = answer::json(status, failure.object(&NOTHING, &about));
    response.headers_mut().extend(failure.all_headers(options));
    if let Ok(id) = http::HeaderValue::from_str(&named.request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// Whether a message of the file is in the pool, from a file of another name.
fn defines(pool: &DescriptorPool, file: &prost_reflect::FileDescriptor) -> bool {
    file.messages().any(|message| pool.get_message_by_name(message.full_name()).is_some())
}

impl<S, B> Service<Request<B>> for Transcoder<S>
where
    S: Upstream,
    B: http_body::Body<Data: Buf + Send> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (upstream, shared) = (self.upstream.clone(), Arc::clone(&self.shared));
        let (head, body) = request.into_parts();
        let body = call::body::Incoming::new(body);
        Box::pin(async move { Ok(serve::request(upstream, shared, head, body).await) })
    }
}
