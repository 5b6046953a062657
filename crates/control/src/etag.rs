//! Etags: what a caller has seen of a resource. They are plain words; the quotes belong to the header of HTTP,
//! and a caller who sends them along is understood.

use clos_domain::group::Group;
use clos_domain::service::Service;
use clos_domain::{Error, Reason, Result};

/// Changes with every change of the definition, and not with the state.
pub fn service(service: &Service) -> String {
    service.generation.to_string()
}

/// Changes with every change of the row.
pub fn group(group: &Group) -> String {
    format!("{:x}", group.updated_at.as_microsecond())
}

/// Refuses a change that was made on an older sight.
pub(crate) fn check(seen: Option<&str>, now: &str, what: impl std::fmt::Display) -> Result<()> {
    match seen {
        None | Some("" | "*") => Ok(()),
        Some(seen) if seen.trim_start_matches("W/").trim_matches('"') == now => Ok(()),
        Some(seen) => Err(Error::new(
            Reason::EtagMismatch,
            format!(
                "`{what}` changed since it was read: its etag is {now}, not {seen}; read it again and repeat"
            ),
        )
        .with("etag", now)),
    }
}
