//! One request: judged, routed, bound, called, answered.

use std::sync::Arc;

use bytes::Bytes;
use clos_protojson::{Violation, shown};
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH, UPGRADE};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use tonic::body::Body;

use crate::answer::{self, Encoder, Kind};
use crate::asked::Asked;
use crate::bind::{self, Bound, text};
use crate::call::body::{Decoder, Incoming, Splitter, judge_length, text_of};
use crate::call::messages::Messages;
use crate::call::{self, Deadline, Upstream};
use crate::headers::{self, Named};
use crate::metadata;
use crate::negotiate::{self, Accept};
use crate::route::router::Found;
use crate::route::{self, Route};
use crate::shared::Shared;
use crate::status::Failure;

const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What a route of google.api.HttpBody takes, among others.
const RAW_TYPES: &str = "application/json, application/merge-patch+json, application/octet-stream";
/// What a stream of messages is taken as.
const STREAM_TYPES: &str = "application/x-ndjson, application/json";
/// The media type of google.rpc.Status.
const RPC_STATUS: &str = "application/vnd.google.rpc.status+json";

/// The template of the route that answered, in the extensions of a response: `/v1/things/{id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTemplate(pub Arc<str>);

/// Answers a request.
pub(crate) async fn request<S: Upstream>(
    upstream: S,
    shared: Arc<Shared>,
    head: Parts,
    body: Incoming,
) -> Response<Body> {
    let named = Named::of(&head.headers, &shared.options);
    let accept = Accept::of(&head.headers);
    let is_head = head.method == Method::HEAD;
    let has_if_match = head.headers.contains_key(IF_MATCH);
    let mut asked = Asked { shared: Arc::clone(&shared), head, named, accept };
    let mut place: Option<usize> = None;
    let answered = serve(&upstream, &mut asked, body, &mut place).await;
    let route = place.map(|index| &shared.routes.routes[index]);
    let mut response = match answered {
        Ok(response) => response,
        Err(failure) => refused(&asked, &failure, route, has_if_match),
    };
    if let Some(route) = route {
        response.extensions_mut().insert(RouteTemplate(Arc::clone(&route.shown)));
    }
    if let Ok(id) = HeaderValue::from_str(&asked.named.request_id) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    if is_head {
        *response.body_mut() = Body::empty();
    }
    response
}

/// The response of an error.
fn refused(asked: &Asked, failure: &Failure, route: Option<&Route>, has_if_match: bool) -> Response<Body> {
    let shared = &asked.shared;
    let status = failure.status(&shared.routes, route, has_if_match);
    if status.is_server_error() {
        tracing::debug!(code = ?failure.code, request_id = %asked.named.request_id, "{}", failure.message);
    }
    let wants_status = asked.accept.names(RPC_STATUS)
        && asked.accept.quality(RPC_STATUS)
            >= if asked.accept.names("application/json") {
                asked.accept.quality("application/json")
            } else {
                0.0
            };
    let (text, kind) = if wants_status {
        (failure.rpc_status(&shared.schema), RPC_STATUS)
    } else {
        (failure.object(&shared.schema, &asked.about()), "application/json")
    };
    let mut response = answer::json(status, text);
    response.headers_mut().extend(failure.all_headers(&shared.options));
    if let Ok(kind) = HeaderValue::from_str(kind) {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}

async fn serve<S: Upstream>(
    upstream: &S,
    asked: &mut Asked,
    mut body: Incoming,
    place: &mut Option<usize>,
) -> Result<Response<Body>, Failure> {
    let shared = Arc::clone(&asked.shared);
    judge_size(asked)?;
    let uri = asked.head.uri.clone();
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    if let Some(place) = &shared.multiplex
        && place.wanted.path == path
    {
        if !matches!(asked.head.method, Method::GET | Method::HEAD) {
            return other_method(&asked.head.method, allow(&std::collections::BTreeSet::new(), true));
        }
        return Box::pin(answer::multiplex::open(upstream, asked, place)).await;
    }
    let found = find(&shared, &asked.head, path);
    judge_path(&shared, path, &found)?;
    let (index, segments) = match found {
        Found::Route(index, segments) => (index, segments),
        Found::OtherMethods(methods) => {
            let bidi = bidi(&shared, path);
            let allow = allow(&methods, bidi.is_some());
            if let (Some(index), &Method::GET | &Method::HEAD) = (bidi, &asked.head.method) {
                *place = Some(index);
                return Err(upgrade_needed());
            }
            return other_method(&asked.head.method, allow);
        }
        Found::Nothing => {
            return Err(Failure::own(
                StatusCode::NOT_FOUND,
                format!("nothing is served at `{}`", shown(path)),
            ));
        }
    };
    *place = Some(index);
    let route = &shared.routes.routes[index];
    let limit = shared.options.limits.parameters;
    let bound = bind::head(&shared.schema, route, &segments, query, &asked.head.headers, limit);
    let bound = bound.map_err(|violations| Failure::fields(&violations))?;
    let deadline = headers::deadline(&asked.head.headers, route.max_timeout)?;
    let deadline = Deadline::new(
        if route.is_server_stream
            && !asked.head.headers.contains_key("grpc-timeout")
            && !asked.head.headers.contains_key("x-request-timeout")
        {
            None
        } else {
            deadline
        },
    );

    // What is rare is boxed, so that the usual way is not the size of all of them.
    let is_upgrade = answer::socket::is_upgrade(&asked.head);
    if is_upgrade && route.is_server_stream {
        return Box::pin(answer::socket::open(upstream, asked, index, bound, deadline)).await;
    }
    if route.is_client_stream && route.is_server_stream {
        return Err(upgrade_needed());
    }
    let kind = answer::kind(asked, route, None)?;
    let metadata = headers::to_metadata(&asked.head.headers, &shared.options, &asked.named)?;
    let mut extensions = std::mem::take(&mut asked.head.extensions);
    extensions.remove::<hyper::upgrade::OnUpgrade>();

    if route.is_client_stream {
        let (messages, failed) = stream_of(&shared, index, bound, asked, body)?;
        let request = call::request(&route.rpc, metadata, extensions, &deadline, call::many(messages));
        let encoder = Encoder::new(&shared, index, None, false, asked);
        let finished = Box::pin(finish(upstream, request, asked, route, encoder, Kind::Json));
        let answered = deadline.wait(finished).await;
        // What the caller sent wrong is why the call failed.
        if let Some(failure) = failed.lock().ok().and_then(|mut failed| failed.take()) {
            return Err(failure);
        }
        return answered?.map_err(|failure| deadline.judge(failure));
    }

    let message = match route.body {
        route::Body::None => {
            if !body.is_empty().await? {
                return Err(Failure::field("body", "this method takes none"));
            }
            drop(body);
            bind::without_body(&shared.schema, route, &bound).map_err(|it| Failure::fields(&it))?
        }
        _ => deadline.wait(message_of(&shared, route, &bound, asked, body)).await??,
    };
    // Whether a stream is collected depends on what was asked.
    let kind = if route.is_server_stream { answer::kind(asked, route, Some(&message))? } else { kind };
    let retries = if route.is_idempotent && !route.is_server_stream { shared.options.retries } else { 0 };
    for _ in 0..retries {
        let again =
            call::request(&route.rpc, metadata.clone(), extensions.clone(), &deadline, call::one(&message)?);
        let encoder = Encoder::new(&shared, index, bound.filter.clone(), bound.pretty, asked);
        let finished = Box::pin(finish(upstream, again, asked, route, encoder, kind));
        let answered = deadline.wait(finished).await?;
        match answered {
            Err(failure) if failure.is_unreachable() => {}
            answered => return answered.map_err(|failure| deadline.judge(failure)),
        }
    }
    let request = call::request(&route.rpc, metadata, extensions, &deadline, call::one(&message)?);
    let encoder = Encoder::new(&shared, index, bound.filter, bound.pretty, asked);
    if route.is_server_stream && kind != Kind::Collected {
        let opened = Box::pin(answer::stream::open(upstream, request, asked, encoder, kind, &deadline));
        let answered = deadline.wait(opened).await;
        return answered?.map_err(|failure| deadline.judge(failure));
    }
    let answered = deadline.wait(finish(upstream, request, asked, route, encoder, kind)).await;
    answered?.map_err(|failure| deadline.judge(failure))
}

fn judge_size(asked: &Asked) -> Result<(), Failure> {
    let limits = &asked.shared.options.limits;
    let target = asked.head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > limits.target {
        let message = format!("the target has {target} bytes, more than {}", limits.target);
        return Err(Failure::own(StatusCode::URI_TOO_LONG, message));
    }
    let headers = &asked.head.headers;
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers.len() > limits.headers || bytes > limits.header_bytes {
        let message = format!(
            "the request has {} header lines of {bytes} bytes, more than {} or {}",
            headers.len(),
            limits.headers,
            limits.header_bytes
        );
        return Err(Failure::own(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message));
    }
    Ok(())
}

fn find<'p>(shared: &Shared, head: &Parts, path: &'p str) -> Found<'p> {
    let router = &shared.routes.router;
    let found = router.find(head.method.as_str(), path);
    if !answer::socket::is_upgrade(head) {
        return found;
    }
    let has_stream =
        matches!(&found, Found::Route(index, _) if shared.routes.routes[*index].is_server_stream);
    // A method of both directions is upgraded by GET, whatever its own verb.
    match bidi(shared, path).filter(|_| !has_stream) {
        Some(index) => router.find(&shared.routes.routes[index].verb, path),
        None => found,
    }
}

/// The method at this path that streams both ways.
fn bidi(shared: &Shared, path: &str) -> Option<usize> {
    let mut all = shared.routes.router.all(path).into_iter();
    all.find(|index| {
        let route = &shared.routes.routes[*index];
        route.is_client_stream && route.is_server_stream
    })
}

/// Escapes, NUL and dot segments are looked at before anything is made of a path.
fn judge_path(shared: &Shared, path: &str, found: &Found<'_>) -> Result<(), Failure> {
    // A verb is no part of the segment that it stands behind.
    let without_verb = match found {
        Found::Route(_, segments) => segments.clone(),
        _ => path.split('/').skip(1).collect(),
    };
    for (at, segment) in without_verb.into_iter().enumerate() {
        let Err(why) = text::judge_segment(segment) else { continue };
        let field = match found {
            Found::Route(index, segments) => {
                let route = &shared.routes.routes[*index];
                let of = route
                    .template
                    .variables
                    .iter()
                    .find(|variable| route.template.range(variable, segments.len()).contains(&at));
                of.map_or("path", |variable| variable.path.as_str())
            }
            _ => "path",
        };
        return Err(Failure::fields(&[Violation::new(field, format!("`{}`: {why}", shown(segment)))]));
    }
    Ok(())
}

/// Where messages go both ways, GET asks for a socket.
fn allow(methods: &std::collections::BTreeSet<String>, is_bidi: bool) -> HeaderValue {
    let mut all = methods.clone();
    if is_bidi {
        all.insert("GET".to_owned());
    }
    if all.contains("GET") {
        all.insert("HEAD".to_owned());
    }
    all.insert("OPTIONS".to_owned());
    let all: Vec<String> = all.into_iter().collect();
    HeaderValue::from_str(&all.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

/// The answer to a method that is not served where others are.
fn other_method(method: &Method, allow: HeaderValue) -> Result<Response<Body>, Failure> {
    if *method == Method::OPTIONS {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(ALLOW, allow);
        return Ok(response);
    }
    let served = allow.to_str().unwrap_or_default();
    let message = format!("{method} is not served here; allowed: {served}");
    let mut failure = Failure::own(StatusCode::METHOD_NOT_ALLOWED, message);
    failure.headers.insert(ALLOW, allow);
    Err(failure)
}

fn upgrade_needed() -> Failure {
    Failure::own(
        StatusCode::UPGRADE_REQUIRED,
        "this method streams both ways; ask with GET and `Upgrade: websocket`",
    )
    .with_header(UPGRADE, "websocket")
}

/// Refuses media types that the body cannot be.
fn judge_type(asked: &Asked, takes_raw: bool, streams: bool, is_empty: bool) -> Result<(), Failure> {
    let refuse = |message: String| {
        // Where any bytes are taken, JSON is what a caller who did not choose has in mind.
        let (types, instead) = match (takes_raw, streams) {
            (true, _) => (RAW_TYPES, "the type of the body, for example `Content-Type: application/json`"),
            (false, true) => (STREAM_TYPES, "`Content-Type: application/x-ndjson`"),
            (false, false) => ("application/json", "`Content-Type: application/json`"),
        };
        let failure = Failure::own(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{message}; send {instead}"));
        Err(failure.with_header(ACCEPT_POST, types))
    };
    if asked.head.headers.get_all(CONTENT_TYPE).iter().count() > 1 {
        return refuse("the body has more than one Content-Type".to_owned());
    }
    let Some((kind, charset)) = negotiate::content_type(&asked.head.headers) else {
        return if is_empty { Ok(()) } else { refuse("the body has no Content-Type".to_owned()) };
    };
    let is_good = if takes_raw {
        !negotiate::is_simple(&kind) && kind.contains('/')
    } else {
        negotiate::is_json(&kind) || (streams && kind == "application/x-ndjson")
    };
    if kind == "application/x-www-form-urlencoded" {
        return refuse("a body of type `application/x-www-form-urlencoded`, which `curl -d` sends by itself, is not taken here".to_owned());
    }
    if !is_good {
        return refuse(format!("a body of type `{}` is not taken here", shown(&kind)));
    }
    match charset {
        Some(charset) if !takes_raw && charset != "utf-8" && charset != "utf8" => {
            refuse(format!("the charset `{}` is not utf-8", shown(&charset)))
        }
        _ => Ok(()),
    }
}

/// Reads the body of a request that has one message.
async fn message_of(
    shared: &Shared,
    route: &Route,
    bound: &Bound,
    asked: &Asked,
    body: Incoming,
) -> Result<Vec<u8>, Failure> {
    let takes_raw = bind::takes_raw(&shared.schema, route);
    judge_length(&asked.head.headers, route.max_body)?;
    let promised = asked.head.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    judge_type(asked, takes_raw, false, !promised)?;
    let mut decoder = Decoder::of(&asked.head.headers, shared.options.limits.ratio)?;
    let bytes = body.whole(&mut decoder, route.max_body).await?;
    if bytes.is_empty() && !takes_raw {
        return bind::without_body(&shared.schema, route, bound).map_err(|it| Failure::fields(&it));
    }
    judge_type(asked, takes_raw, false, bytes.is_empty())?;
    if takes_raw {
        return Ok(raw(shared, route, bound, asked, &bytes));
    }
    let text = text_of(&bytes)?;
    bind::with_body(&shared.schema, route, bound, text, asked.ignores_unknown())
        .map_err(|it| Failure::fields(&it))
}

fn raw(shared: &Shared, route: &Route, bound: &Bound, asked: &Asked, bytes: &[u8]) -> Vec<u8> {
    let kind = asked.header("content-type").unwrap_or_default();
    bind::raw_body(&shared.schema, route, bound, kind, bytes)
}

type Failed = Arc<std::sync::Mutex<Option<Failure>>>;
type MessageStream = std::pin::Pin<Box<dyn futures::Stream<Item = Result<Bytes, tonic::Status>> + Send>>;

/// The messages of a streamed body, as they come.
fn stream_of(
    shared: &Arc<Shared>,
    index: usize,
    bound: Bound,
    asked: &Asked,
    body: Incoming,
) -> Result<(MessageStream, Failed), Failure> {
    let route = &shared.routes.routes[index];
    let takes_raw = bind::takes_raw(&shared.schema, route);
    judge_type(asked, takes_raw, true, body.is_end())?;
    let decoder = Decoder::of(&asked.head.headers, shared.options.limits.ratio)?;
    let failed = Failed::default();
    let state = Cutting {
        shared: Arc::clone(shared),
        index,
        bound,
        body,
        decoder,
        splitter: Splitter::default(),
        is_over: false,
        ignore_unknown: asked.ignores_unknown(),
        content_type: takes_raw.then(|| asked.header("content-type").unwrap_or_default().to_owned()),
        failed: Arc::clone(&failed),
    };
    let messages = futures::stream::unfold(state, |mut state| async move {
        match state.next().await {
            Ok(Some(message)) => Some((Ok(message), state)),
            Ok(None) => None,
            Err(failure) => {
                state.is_over = true;
                let status = tonic::Status::cancelled("the request's body is no stream of messages");
                if let Ok(mut failed) = state.failed.lock() {
                    *failed = Some(failure);
                }
                Some((Err(status), state))
            }
        }
    });
    Ok((Box::pin(messages), failed))
}

/// A streamed body on its way.
struct Cutting {
    shared: Arc<Shared>,
    index: usize,
    bound: Bound,
    body: Incoming,
    decoder: Decoder,
    splitter: Splitter,
    is_over: bool,
    ignore_unknown: bool,
    /// Of bodies that are handed on as they are.
    content_type: Option<String>,
    failed: Failed,
}

impl Cutting {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let shared = Arc::clone(&self.shared);
        let route = &shared.routes.routes[self.index];
        loop {
            if self.content_type.is_none()
                && let Some(value) = self.splitter.next(route.max_body)?
            {
                return self.message(route, &value).map(Some);
            }
            if self.is_over {
                return Ok(None);
            }
            let chunk = std::future::poll_fn(|context| self.body.poll_chunk(context)).await.transpose()?;
            let Some(chunk) = chunk else {
                self.is_over = true;
                self.decoder.end()?;
                return match self.splitter.last()? {
                    Some(value) => self.message(route, &value).map(Some),
                    None => Ok(None),
                };
            };
            let chunk = self.decoder.push(chunk, route.max_body.saturating_mul(2))?;
            match &self.content_type {
                Some(_) if chunk.is_empty() => {}
                Some(kind) => {
                    let message = bind::raw_body(&shared.schema, route, &self.bound, kind, &chunk);
                    return framed(&message).map(Some);
                }
                None => self.splitter.push(&chunk),
            }
        }
    }

    fn message(&self, route: &Route, value: &[u8]) -> Result<Bytes, Failure> {
        let text = text_of(value)?;
        let message = bind::with_body(&self.shared.schema, route, &self.bound, text, self.ignore_unknown);
        framed(&message.map_err(|it| Failure::fields(&it))?)
    }
}

fn framed(message: &[u8]) -> Result<Bytes, Failure> {
    crate::status::framed(message).ok_or_else(|| Failure::internal("the message is too large"))
}

/// Calls a method that answers with one message, or collects those of a stream.
async fn finish<S: Upstream>(
    upstream: &S,
    request: http::Request<Body>,
    asked: &Asked,
    route: &Route,
    encoder: Encoder,
    kind: Kind,
) -> Result<Response<Body>, Failure> {
    let response = call::call(upstream, request).await?;
    let (head, mut messages) = Messages::begin(response, asked.shared.options.limits.answer)?;
    let mut metadata = metadata::to_headers(&head);
    if kind == Kind::Collected {
        return match encoder.collected(&mut messages).await {
            Ok(response) => Ok(answer::with_metadata(response, metadata)),
            Err(failure) => Err(failure.behind(metadata)),
        };
    }
    let message = match single(&mut messages).await {
        Ok(message) => message,
        Err(failure) => return Err(failure.behind(metadata)),
    };
    if let Some(trailers) = messages.trailers() {
        metadata.extend(metadata::to_headers(trailers));
    }
    let response = answer::unary(asked, route, &encoder, &message)?;
    Ok(answer::with_metadata(response, metadata))
}

/// The only message of an answer.
async fn single(messages: &mut Messages) -> Result<Bytes, Failure> {
    let message =
        messages.next().await.ok_or_else(|| Failure::internal("the backend's answer has no message"))??;
    match messages.next().await {
        None => Ok(message),
        Some(Ok(_)) => Err(Failure::internal("the backend's answer has more than one message")),
        Some(Err(failure)) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allow_lists_what_comes_by_itself() {
        let methods = ["POST", "GET"].map(str::to_owned).into();
        assert_eq!(allow(&methods, false), "GET, HEAD, OPTIONS, POST");
        let methods = ["POST"].map(str::to_owned).into();
        assert_eq!(allow(&methods, false), "OPTIONS, POST");
        assert_eq!(allow(&methods, true), "GET, HEAD, OPTIONS, POST");
    }
}
