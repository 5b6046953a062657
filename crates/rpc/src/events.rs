//! `EventsApi`: decode, ask control, encode.

use std::sync::Arc;

use clos_control::Control;
use clos_control::ledger::Item;
use clos_domain::event::{Sequence, types};
use clos_domain::seams::Clock;
use clos_domain::{Ctx, Result};
use clos_proto::v2 as pb;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::call::{self, answer};
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
    clock: Arc<dyn Clock>,
    drain: CancellationToken,
}

impl Events {
    pub(crate) fn new(
        control: Control,
        tickets: Tickets,
        clock: Arc<dyn Clock>,
        drain: CancellationToken,
    ) -> Self {
        Self { control, tickets, clock, drain }
    }

    async fn list(&self, ctx: &Ctx, request: &pb::ListEventsRequest) -> Result<pb::ListEventsResponse> {
        listing::events(&self.control, ctx, decode::event::list(request)?).await
    }

    async fn watch(
        &self,
        ctx: &Ctx,
        request: &pb::WatchEventsRequest,
    ) -> Result<(Sequence, BoxStream<'static, Result<Item>>)> {
        let (wish, after) = decode::event::watch(request)?;
        let filter = listing::events_filter(&self.control, ctx, wish).await?;
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

    type WatchEventsStream = BoxStream<'static, Result<pb::Event, Status>>;

    async fn watch_events(
        &self,
        request: Request<pb::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let (ctx, request) = call::open(request);
        let watched = Watched { clock: self.clock.clone(), drain: self.drain.clone() };
        let (position, items) =
            self.watch(&ctx, &request).await.map_err(|error| to_status(&error, &ctx.request_id))?;
        let mut response = Response::new(shown(&ctx, items, watched));
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
pub(crate) struct Watched {
    /// When a bookmark was sent.
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether the end of a watch is the end of the daemon.
    pub(crate) drain: CancellationToken,
}

/// The items of a watch as messages. An error is the last of them; so is the word that the daemon
/// drains, without which a caller could not tell a broken watch from one that is over.
pub(crate) fn shown(
    ctx: &Ctx,
    items: BoxStream<'static, Result<Item>>,
    watched: Watched,
) -> BoxStream<'static, Result<pb::Event, Status>> {
    struct State {
        items: BoxStream<'static, Result<Item>>,
        watched: Watched,
        request_id: String,
        is_over: bool,
    }
    let state = State { items, watched, request_id: ctx.request_id.clone(), is_over: false };
    futures::stream::unfold((state, false), |(mut state, failed)| async move {
        if failed {
            return None;
        }
        match state.items.next().await {
            Some(Ok(item)) => {
                state.is_over =
                    matches!(&item, Item::Event(event) if event.kind == types::GROUP_OPERATION_COMPLETED);
                let message = encode::event::item(&item, state.watched.clock.now());
                Some((Ok(message), (state, false)))
            }
            Some(Err(error)) => Some((Err(to_status(&error, &state.request_id)), (state, true))),
            None if state.watched.drain.is_cancelled() && !state.is_over => {
                Some((Err(to_status(&draining(), &state.request_id)), (state, true)))
            }
            None => None,
        }
    })
    .boxed()
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
        let watched = Watched { clock: Arc::new(FrozenClock::default()), drain };
        let mut stream = shown(&Ctx::system("req_1"), futures::stream::iter(items).boxed(), watched);
        let mut events = Vec::new();
        while let Some(message) = stream.next().await {
            match message {
                Ok(event) => events.push(event),
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
