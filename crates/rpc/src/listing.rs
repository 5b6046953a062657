//! What several services ask of control in the same way: operations with their position in the
//! journal, and listings whose filters name groups and services as callers do.

use clos_control::Control;
use clos_domain::event::Filter;
use clos_domain::id::ServiceId;
use clos_domain::name::GroupFilter;
use clos_domain::operation::Operation;
use clos_domain::{Ctx, Error, Result};
use clos_proto::v2 as pb;

use crate::decode::{self, GroupWish};
use crate::encode;

/// An operation as it is shown when it is asked for by itself.
pub(crate) async fn operation(control: &Control, ctx: &Ctx, operation: &Operation) -> Result<pb::Operation> {
    let first_seq = control.operations().first_seq(ctx, operation.id.as_str()).await?;
    Ok(encode::operation::operation(operation, first_seq))
}

/// The groups that a caller means.
pub(crate) async fn group(
    control: &Control,
    ctx: &Ctx,
    wish: Option<GroupWish>,
) -> Result<Option<GroupFilter>> {
    Ok(match wish {
        None => None,
        Some(GroupWish::Named(filter)) => Some(filter),
        Some(GroupWish::Id(id)) => Some(GroupFilter::One(control.groups().get(ctx, &id).await?.group.name)),
    })
}

/// The service that a caller means. An id stays good when its service is gone: its history is not.
pub(crate) async fn service(control: &Control, ctx: &Ctx, wish: Option<&str>) -> Result<Option<ServiceId>> {
    let Some(raw) = wish else { return Ok(None) };
    if let Some(id) = ServiceId::parse(raw) {
        return Ok(Some(id));
    }
    Ok(Some(control.services().get_by(ctx, "service_id", raw).await?.id))
}

/// A page of operations.
pub(crate) async fn operations(
    control: &Control,
    ctx: &Ctx,
    list: decode::operation::List,
) -> Result<pb::ListOperationsResponse> {
    let mut filter = list.filter;
    filter.group = group(control, ctx, list.group).await?;
    filter.service = service(control, ctx, list.service.as_deref()).await?;
    let page = control.operations().list(ctx, &filter, &list.page).await?;
    let (pagination, total_count) = encode::page::page(&page, &list.page, list.listing);
    let mut operations = Vec::with_capacity(page.items.len());
    for operation in &page.items {
        let first_seq = control.operations().first_seq(ctx, operation.id.as_str()).await?;
        operations.push(encode::operation::summary(operation, first_seq));
    }
    Ok(pb::ListOperationsResponse { operations, pagination: Some(pagination), total_count })
}

/// The filter that a caller means.
pub(crate) async fn events_filter(control: &Control, ctx: &Ctx, wish: decode::event::Wish) -> Result<Filter> {
    let mut filter = wish.filter;
    filter.group = group(control, ctx, wish.group).await?;
    filter.service = service(control, ctx, wish.service.as_deref()).await?;
    Ok(filter)
}

/// Refuses to watch what will never be: an id that nothing has and of which no history is kept. A group that is
/// named may still be made.
pub(crate) async fn can_come(control: &Control, ctx: &Ctx, filter: &Filter) -> Result<()> {
    if let Some(id) = &filter.service
        && let Err(error) = control.services().get(ctx, id.as_str()).await
    {
        let of = Filter { service: Some(id.clone()), ..Filter::default() };
        has_history(control, ctx, &of, error).await?;
    }
    if let Some(id) = &filter.operation
        && let Err(error) = control.operations().get(ctx, id.as_str()).await
    {
        let of = Filter { operation: Some(id.clone()), ..Filter::default() };
        has_history(control, ctx, &of, error).await?;
    }
    Ok(())
}

async fn has_history(control: &Control, ctx: &Ctx, of: &Filter, otherwise: Error) -> Result<()> {
    if control.events().list(ctx, of, 0, 1).await?.is_empty() { Err(otherwise) } else { Ok(()) }
}

/// A part of the journal.
pub(crate) async fn events(
    control: &Control,
    ctx: &Ctx,
    list: decode::event::List,
) -> Result<pb::ListEventsResponse> {
    let filter = events_filter(control, ctx, list.wish).await?;
    // One more than asked for tells whether more follow.
    let mut found = control.events().list(ctx, &filter, list.after, list.limit.saturating_add(1)).await?;
    let limit = list.limit as usize;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let head_seq = control.events().head();
    // At the end of what fits, everything up to the head has been looked at.
    let next_after = match found.last() {
        Some(last) if has_more => last.seq,
        last => head_seq.max(last.map_or(list.after, |last| last.seq)),
    };
    let oldest_seq = control.events().oldest(ctx).await?;
    let next_page_token = match has_more {
        true => decode::page::token_of_position(list.listing, next_after),
        false => String::new(),
    };
    let events = found.iter().map(encode::event::event).collect();
    Ok(pb::ListEventsResponse { events, has_more, next_after, head_seq, oldest_seq, next_page_token })
}
