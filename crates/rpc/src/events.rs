//! `EventsApi`: decode, ask control, encode.

use std::sync::Arc;

use clos_control::Control;
use clos_control::ledger::Item;
use clos_domain::event::{Sequence, types};
use clos_domain::seams::Clock;
use clos_domain::{Ctx, Result};
use clos_proto::codec::EncodedEvent;
use clos_proto::v2 as pb;
use futures::future;
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::call::{self, answer};
use crate::encodings::Encodings;
use crate::status::{draining, to_status};
use crate::tickets::Tickets;
use crate::{decode, encode, listing};

/// Metadata of a watch's head: the position after which it begins. Who was cut off before the first
/// event goes on from there.
const POSITION: &str = "watch-position";

/// The service of events.
pub(crate) struct Events {
    control: Control,
    tickets: Tickets,
    watched: Watched,
}

impl Events {
    pub(crate) fn new(control: Control, tickets: Tickets, watched: Watched) -> Self {
        Self { control, tickets, watched }
    }

    async fn list(&self, ctx: &Ctx, request: &pb::ListEventsRequest) -> Result<pb::ListEventsResponse> {
        listing::events(&self.control, ctx, decode::event::list(request)?).await
    }

    async fn watch(
        &self,
        ctx: &Ctx,
        request: &pb::WatchEventsRequest,
    ) -> Result<(Sequence, impl Stream<Item = Result<Item>> + Send + use<>)> {
        let (wish, after) = decode::event::watch(request)?;
        let filter = listing::events_filter(&self.control, ctx, wish).await?;
        listing::can_come(&self.control, ctx, &filter).await?;
        let position = after.unwrap_or_else(|| self.control.events().head());
        Ok((position, self.control.events().watch(ctx, Some(position), filter).await?))
    }
}

#[tonic::async_trait]
impl pb::events_api_server::EventsApi for Events {
    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.list(&ctx, &request).await)
    }

    type WatchEventsStream = BoxStream<'static, Result<EncodedEvent, Status>>;

    async fn watch_events(
        &self,
        request: Request<pb::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let (ctx, request) = call::open(request);
        let (position, items) =
            self.watch(&ctx, &request).await.map_err(|error| to_status(&error, &ctx.request_id))?;
        let mut response = Response::new(shown(&ctx, items, self.watched.clone()));
        response.metadata_mut().insert(POSITION, position.into());
        Ok(response)
    }

    async fn create_ws_ticket(
        &self,
        request: Request<pb::CreateWsTicketRequest>,
    ) -> Result<Response<pb::WsTicket>, Status> {
        let (ctx, _) = call::open(request);
        answer(&ctx, self.tickets.make().map(|ticket| encode::event::ticket(&ticket)))
    }
}

/// What the items of a watch do not tell by themselves.
#[derive(Clone)]
pub(crate) struct Watched {
    /// Events that were told to others.
    pub(crate) encodings: Arc<Encodings>,
    /// When a bookmark was sent.
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether the end of a watch is the end of the daemon.
    pub(crate) drain: CancellationToken,
}

/// The items of a watch as messages. An error is the last of them; so is the word that the daemon
/// drains, without which a caller could not tell a broken watch from one that is over.
pub(crate) fn shown(
    ctx: &Ctx,
    items: impl Stream<Item = Result<Item>> + Send + 'static,
    watched: Watched,
) -> BoxStream<'static, Result<EncodedEvent, Status>> {
    let request_id = ctx.request_id.clone();
    let mut is_over = false;
    let end = stream::once(future::ready(None));
    let messages = items.map(Some).chain(end).scan(false, move |has_failed, item| {
        let message = match item {
            _ if *has_failed => None,
            Some(Ok(Item::Event(event))) => {
                is_over = event.kind == types::GROUP_OPERATION_COMPLETED;
                Some(Ok(watched.encodings.of(&event)))
            }
            Some(Ok(item)) => {
                is_over = false;
                Some(Ok(EncodedEvent::new(&encode::event::item(&item, watched.clock.now()))))
            }
            Some(Err(error)) => Some(Err(error)),
            None if watched.drain.is_cancelled() && !is_over => Some(Err(draining())),
            None => None,
        };
        *has_failed = matches!(message, Some(Err(_)));
        future::ready(message.map(|message| message.map_err(|error| to_status(&error, &request_id))))
    });
    messages.boxed()
}

#[cfg(test)]
mod tests {
    use clos_domain::Reason;
    use clos_domain::event::{Data, Event, Severity};
    use clos_testkit::clock::FrozenClock;
    use tonic_types::StatusExt as _;

    use super::*;

    fn event(seq: i64, kind: &str) -> Result<Item> {
        Ok(Item::Event(Arc::new(Event {
            seq,
            kind: kind.into(),
            severity: Severity::Info,
            service: None,
            group: None,
            operation: None,
            data: Data::default(),
            at: clos_domain::Timestamp::UNIX_EPOCH,
        })))
    }

    async fn told(items: Vec<Result<Item>>, drains: bool) -> (Vec<pb::Event>, Option<Status>) {
        let drain = CancellationToken::new();
        if drains {
            drain.cancel();
        }
        let watched = Watched { encodings: Arc::default(), clock: Arc::new(FrozenClock::default()), drain };
        let mut stream = shown(&Ctx::system("req_1"), stream::iter(items), watched);
        let mut events = Vec::new();
        while let Some(message) = stream.next().await {
            match message {
                Ok(event) => events.push(event.message()),
                Err(status) => {
                    assert!(stream.next().await.is_none(), "an error is the last");
                    return (events, Some(status));
                }
            }
        }
        (events, None)
    }

    fn reason(status: Option<Status>) -> String {
        status.unwrap().get_details_error_info().unwrap().reason
    }

    #[tokio::test]
    async fn a_watch_that_ends_with_the_daemon_says_so() {
        let (events, status) = told(vec![event(1, types::SERVICE_CREATED)], true).await;
        assert_eq!(events.len(), 1);
        assert_eq!(reason(status), "DRAINING");
    }

    #[tokio::test]
    async fn a_watch_that_is_over_just_ends() {
        let over = vec![event(1, types::OPERATION_PROGRESS), event(2, types::GROUP_OPERATION_COMPLETED)];
        let (events, status) = told(over, true).await;
        assert_eq!(events.last().unwrap().seq, 2);
        assert!(status.is_none());
        let (events, status) = told(vec![], false).await;
        assert!(events.is_empty() && status.is_none());
    }

    #[tokio::test]
    async fn an_error_is_the_last_word() {
        let broken = Err(clos_domain::Error::new(Reason::StoreUnavailable, "the database does not answer"));
        let items = vec![event(1, types::SERVICE_CREATED), broken, event(2, types::SERVICE_CREATED)];
        let (events, status) = told(items, false).await;
        assert_eq!(events.len(), 1);
        assert_eq!(reason(status), "STORE_UNAVAILABLE");
    }
}
