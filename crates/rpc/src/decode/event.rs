//! Which events.

use clos_domain::Result;
use clos_domain::event::{Filter, Pattern, Severity};
use clos_proto::v2 as pb;

use super::page::{self, Listing};
use super::{GroupWish, Violations, operation, some};

const DEFAULT_LIMIT: u32 = 100;
const MOST: i64 = 1_000;

/// Which events are wanted.
#[derive(Debug)]
pub(crate) struct Wish {
    /// Everything but group and service.
    pub(crate) filter: Filter,
    /// About this group.
    pub(crate) group: Option<GroupWish>,
    /// About this service, as the caller names it.
    pub(crate) service: Option<String>,
}

/// Which part of the journal is wanted.
#[derive(Debug)]
pub(crate) struct List {
    /// Which events.
    pub(crate) wish: Wish,
    /// After this position.
    pub(crate) after: i64,
    /// At most so many.
    pub(crate) limit: u32,
    /// What its tokens belong to.
    pub(crate) listing: Listing,
}

/// Reads a listing.
pub(crate) fn list(request: &pb::ListEventsRequest) -> Result<List> {
    let filters =
        pb::ListEventsRequest { after: None, limit: None, page_token: String::new(), ..request.clone() };
    read(request, Listing::of("ListEvents", &filters))
}

fn read(request: &pb::ListEventsRequest, listing: Listing) -> Result<List> {
    let mut v = Violations::default();
    let mut wish = wish(
        &mut v,
        &request.event_type,
        &request.service_id,
        &request.group_name,
        request.severity,
        &request.operation_id,
    );
    (wish.filter.since, wish.filter.until) = v.span(request.since.as_ref(), request.until.as_ref());
    let after = v.within("after", request.after.unwrap_or(0), 0, i64::MAX);
    // A token goes on from where `after` began.
    let after = match request.page_token.as_str() {
        "" => after,
        token => after.zip(page::position(&mut v, listing, token)).map(|(after, place)| place.max(after)),
    };
    let limit = match request.limit {
        None => Some(DEFAULT_LIMIT),
        Some(limit) => v.within("limit", limit.into(), 1, MOST),
    };
    let read = after.zip(limit).map(|(after, limit)| List { wish, after, limit, listing });
    v.finish(read)
}

/// Reads the listing of what happened to one service.
pub(crate) fn of_service(request: &pb::ListServiceEventsRequest) -> Result<List> {
    let filters = pb::ListServiceEventsRequest {
        after: None,
        limit: None,
        page_token: String::new(),
        ..request.clone()
    };
    let all = pb::ListEventsRequest {
        event_type: request.event_type.clone(),
        since: request.since,
        until: request.until,
        after: request.after,
        limit: request.limit,
        page_token: request.page_token.clone(),
        ..pb::ListEventsRequest::default()
    };
    read(&all, Listing::of("ListServiceEvents", &filters))
}

/// Reads a watch: which events, and after which position (`None` is from now on).
pub(crate) fn watch(request: &pb::WatchEventsRequest) -> Result<(Wish, Option<i64>)> {
    let mut v = Violations::default();
    let wish = wish(
        &mut v,
        &request.event_type,
        &request.service_id,
        &request.group_name,
        request.severity,
        &request.operation_id,
    );
    let after = request.after.and_then(|after| v.within("after", after, 0, i64::MAX));
    v.finish(Some((wish, after)))
}

fn wish(
    v: &mut Violations,
    types: &[String],
    service: &str,
    group: &str,
    severity_number: i32,
    operation: &str,
) -> Wish {
    let mut patterns = Vec::new();
    // A query of the web carries several types in one, with commas.
    let words =
        types.iter().flat_map(|types| types.split(',')).map(str::trim).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        patterns.extend(v.take(Pattern::parse(&format!("event_type[{index}]"), word)));
    }
    let group = GroupWish::parse(v, "group_name", group);
    let at_least = v.word("severity", severity_number).and_then(severity);
    let operation = operation::operation_wish(v, operation);
    let filter = Filter { types: patterns, operation, at_least, ..Filter::default() };
    Wish { filter, group, service: some(service) }
}

/// The domain's word; unspecified is none.
pub(crate) fn severity(severity: pb::Severity) -> Option<Severity> {
    Some(match severity {
        pb::Severity::Unspecified => return None,
        pb::Severity::Debug => Severity::Debug,
        pb::Severity::Info => Severity::Info,
        pb::Severity::Warning => Severity::Warning,
        pb::Severity::Error => Severity::Error,
        pb::Severity::Critical => Severity::Critical,
    })
}
