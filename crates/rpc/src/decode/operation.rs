//! Which operations, and how long to wait for one.

use std::time::Duration;

use clos_domain::Result;
use clos_domain::name::shown;
use clos_domain::operation::{State, Verb};
use clos_domain::page::Request;
use clos_domain::seams::store::OperationFilter;
use clos_proto::v2 as pb;

use super::{GroupWish, Violations, page, some};

/// Which operations are wanted, and which part of them.
#[derive(Debug)]
pub(crate) struct List {
    /// Everything but group and service.
    pub(crate) filter: OperationFilter,
    /// On this group.
    pub(crate) group: Option<GroupWish>,
    /// That touch this service, as the caller names it.
    pub(crate) service: Option<String>,
    /// The part.
    pub(crate) page: Request,
    /// What its tokens belong to.
    pub(crate) listing: page::Listing,
}

/// Reads a listing.
pub(crate) fn list(request: &pb::ListOperationsRequest) -> Result<List> {
    let filters =
        pb::ListOperationsRequest { limit: None, offset: 0, page_token: String::new(), ..request.clone() };
    read(request, page::Listing::of("ListOperations", &filters))
}

fn read(request: &pb::ListOperationsRequest, listing: page::Listing) -> Result<List> {
    let mut v = Violations::default();
    let state = states(&mut v, &request.status);
    let group = GroupWish::parse(&mut v, "group_name", &request.group_name);
    let verb = v.word("type", request.r#type).and_then(verb);
    let page = page::page(&mut v, listing, request.limit, request.offset, &request.page_token);
    let filter = OperationFilter { state, verb, ..OperationFilter::default() };
    let service = some(&request.service_id);
    v.finish(page.map(|page| List { filter, group, service, page, listing }))
}

/// Reads the listing of what touched one service.
pub(crate) fn of_service(request: &pb::ListServiceOperationsRequest) -> Result<List> {
    let filters = pb::ListServiceOperationsRequest {
        limit: None,
        offset: 0,
        page_token: String::new(),
        ..request.clone()
    };
    let all = pb::ListOperationsRequest {
        status: request.status.clone(),
        limit: request.limit,
        offset: request.offset,
        page_token: request.page_token.clone(),
        ..pb::ListOperationsRequest::default()
    };
    read(&all, page::Listing::of("ListServiceOperations", &filters))
}

fn states(v: &mut Violations, numbers: &[i32]) -> Vec<State> {
    let mut states = Vec::new();
    for (index, number) in numbers.iter().enumerate() {
        states.extend(match v.word(&format!("status[{index}]"), *number) {
            None | Some(pb::OperationStatus::Unspecified) => None,
            Some(pb::OperationStatus::Pending) => Some(State::Pending),
            Some(pb::OperationStatus::InProgress) => Some(State::InProgress),
            Some(pb::OperationStatus::Completed) => Some(State::Completed),
            Some(pb::OperationStatus::Failed) => Some(State::Failed),
            Some(pb::OperationStatus::Cancelled) => Some(State::Cancelled),
        });
    }
    states
}

fn verb(verb: pb::OperationType) -> Option<Verb> {
    Some(match verb {
        pb::OperationType::Unspecified => return None,
        pb::OperationType::Up => Verb::Up,
        pb::OperationType::Start => Verb::Start,
        pb::OperationType::Stop => Verb::Stop,
        pb::OperationType::Restart => Verb::Restart,
        pb::OperationType::Recreate => Verb::Recreate,
        pb::OperationType::Down => Verb::Down,
    })
}

/// How long to wait at most; `None` is until the call's own deadline.
pub(crate) fn wait(request: &pb::WaitOperationRequest) -> Result<Option<Duration>> {
    const LONGEST: Duration = Duration::from_secs(24 * 3_600);
    let mut v = Violations::default();
    let timeout = v.duration("timeout", request.timeout.as_ref(), Duration::ZERO, LONGEST);
    v.finish(Some(timeout))
}

/// After which position an operation is watched; 0 is from its first event.
pub(crate) fn watch(request: &pb::WatchOperationRequest) -> Result<Option<i64>> {
    let mut v = Violations::default();
    let after = request.after.and_then(|after| v.within("after", after, 0, i64::MAX));
    v.finish(Some(after.filter(|after| *after > 0)))
}

/// An operation's id as a filter.
pub(crate) fn operation_wish(v: &mut Violations, raw: &str) -> Option<clos_domain::id::OperationId> {
    if raw.is_empty() {
        return None;
    }
    let id = clos_domain::id::OperationId::parse(raw);
    if id.is_none() {
        v.add("operation_id", format!("`{}` is not an operation id like `op_…`", shown(raw)));
    }
    id
}
