//! Methods that stream both ways, over a WebSocket: each text frame of the client is a message, and each message of
//! the backend a text frame.
//!
//! A frame has what the body of the binding would have; where the binding has no body, it is the whole request.
//! What path and query say holds for each message. The client has sent its last message when it sends
//! [`HALF_CLOSE`] or a close frame, and hears the rest of the answers after either. The frame exists because
//! a browser drops what comes after its `close()`.

use std::pin::pin;

use bytes::Bytes;
use clos_protojson::print::Filter;
use futures::{Stream, StreamExt as _};
use http::Response;
use http::StatusCode;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tonic::body::Body;

use super::Encoder;
use super::socket::{Came, Talk, judged};
use crate::bind::{self, Bound};
use crate::call::body::text_of;
use crate::call::messages::Messages;
use crate::status::Failure;

/// The text frame after which a client sends no more messages. It is not JSON, so no message looks like it.
pub(crate) const HALF_CLOSE: &[u8] = b"half_close";

/// From frames to messages, and the way to the backend.
pub(crate) struct Frames {
    bound: Bound,
    ignore_unknown: bool,
    /// Gone when the client has sent its last message.
    sender: Option<mpsc::Sender<Bytes>>,
}

impl Frames {
    /// And the messages as the backend gets them.
    pub(crate) fn new(
        bound: Bound,
        ignore_unknown: bool,
    ) -> (Self, impl Stream<Item = Result<Bytes, tonic::Status>> + Send + 'static) {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
        let messages = futures::stream::poll_fn(move |context| receiver.poll_recv(context)).map(Ok);
        (Self { bound, ignore_unknown, sender: Some(sender) }, messages)
    }

    /// The parts of each answer that were asked for.
    pub(crate) fn filter(&self) -> Option<Filter> {
        self.bound.filter.clone()
    }

    fn message(&self, encoder: &Encoder, text: &[u8]) -> Result<Bytes, Failure> {
        let (schema, route) = (&encoder.shared.schema, encoder.route());
        if text.len() > route.max_body {
            let message = format!("the frame has {} bytes, more than {}", text.len(), route.max_body);
            return Err(Failure::own(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        let message = bind::with_body(schema, route, &self.bound, text_of(text)?, self.ignore_unknown);
        let message = message.map_err(|violations| Failure::fields(&violations))?;
        crate::status::framed(&message).ok_or_else(|| Failure::internal("the message is too large"))
    }
}

/// How much the client still says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Sends,
    /// No more messages; it answers pings.
    Listens,
    /// Nothing at all: it sent a close frame.
    Closed,
}

/// Carries messages both ways until the backend ends, or the client is gone.
pub(crate) async fn run(
    mut talk: Talk,
    mut frames: Frames,
    call: impl Future<Output = Result<Response<Body>, Failure>>,
) {
    let mut call = pin!(call);
    let drain = talk.encoder.shared.options.drain.clone();
    let mut draining = pin!(drain.cancelled());
    let most = talk.encoder.shared.options.limits.answer;
    let mut messages: Option<Messages> = None;
    // A message that waits until the backend takes it; nothing is read meanwhile.
    let mut waiting: Option<Bytes> = None;
    let mut client = Client::Sends;
    loop {
        let deadline = talk.deadline;
        let sender = frames.sender.clone();
        // In no order: neither side can keep the other from being heard.
        tokio::select! {
            () = &mut draining => return talk.close(CloseCode::Away, "the server is shutting down").await,
            permit = async { match &sender {
                Some(sender) => sender.reserve().await.ok(),
                None => None,
            }}, if waiting.is_some() => {
                // Without a permit the backend reads no more, and may still answer.
                if let (Some(permit), Some(message)) = (permit, waiting.take()) {
                    permit.send(message);
                }
            }
            came = talk.socket.next(), if waiting.is_none() && client != Client::Closed => match judged(came) {
                Some(Came::Text(text)) if text.trim_ascii() == HALF_CLOSE => {
                    client = Client::Listens;
                    frames.sender = None;
                }
                Some(Came::Text(_)) if client == Client::Listens => {
                    return talk.fail(&Failure::field("body", "a frame came after `half_close`")).await;
                }
                Some(Came::Text(text)) => match frames.message(&talk.encoder, &text) {
                    Ok(message) => waiting = Some(message),
                    Err(failure) => return talk.fail(&failure).await,
                },
                Some(Came::Other) => {
                    return talk.fail(&Failure::field("body", "the frame is binary; send text frames")).await;
                }
                // Who has nothing more to say and closes does not want to hear the rest.
                Some(Came::Closed) if client == Client::Listens => return talk.leave().await,
                Some(Came::Closed) => {
                    client = Client::Closed;
                    frames.sender = None;
                    talk = talk.half_closed().await;
                }
                Some(Came::Gone) => return,
                Some(Came::Broken(code, why)) => return talk.close(code, why).await,
                None => talk.heard(),
            },
            head = &mut call, if messages.is_none() => {
                match head.and_then(|response| Messages::begin(response, most)) {
                    Ok((_, begun)) => messages = Some(begun),
                    Err(failure) => return talk.fail(&failure).await,
                }
            }
            message = next_of(&mut messages), if messages.is_some() => match message {
                Some(Ok(message)) => {
                    if !talk.say(&message).await {
                        return;
                    }
                }
                Some(Err(failure)) => return talk.fail(&failure).await,
                None => return talk.close(CloseCode::Normal, "").await,
            },
            _ = deadline.wait(std::future::pending::<()>()) => return talk.fail(&Failure::late()).await,
            () = talk.next_beat.as_mut() => {
                let is_there = match client {
                    Client::Closed => false,
                    _ if waiting.is_some() => talk.ping_unheard().await,
                    _ => talk.ping().await,
                };
                if !is_there {
                    return;
                }
            }
        }
    }
}

async fn next_of(messages: &mut Option<Messages>) -> Option<Result<Bytes, Failure>> {
    match messages {
        Some(messages) => messages.next().await,
        None => std::future::pending().await,
    }
}
