//! Where a page stands.

use clos_domain::page::{Page, Request};
use clos_proto::v2 as pb;

use super::small;
use crate::decode::page::{Listing, token};

/// Where a page stands, and how many there are in all.
pub(crate) fn page<T>(page: &Page<T>, request: &Request, listing: Listing) -> (pb::Pagination, i32) {
    let next = page.next.as_ref();
    let pagination = pb::Pagination {
        limit: super::number(request.limit),
        offset: i32::try_from(page.offset).unwrap_or(i32::MAX),
        has_more: page.has_more(),
        next_page_token: next.map(|cursor| token(listing, cursor)).unwrap_or_default(),
    };
    (pagination, small(usize::try_from(page.total).unwrap_or(usize::MAX)))
}
