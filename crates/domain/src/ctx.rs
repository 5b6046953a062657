//! Who asks, under which request, until when.

use jiff::Timestamp;

/// Who is asking. Users, roles and keys come with their own room; until then
/// whoever passes the door is the owner of this installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The peer of the Unix socket, checked by uid.
    Owner {
        /// The uid that the kernel reported.
        uid: u32,
    },
    /// A TCP caller who showed the owner's token.
    TokenBearer,
    /// Who showed a ticket, which is good for watching events only.
    TicketBearer,
    /// A background task of the daemon itself.
    System,
    /// A caller of a method that needs no credentials.
    Anonymous,
}

/// The first argument of every use case.
#[derive(Debug, Clone)]
pub struct Ctx {
    /// Who asks.
    pub principal: Principal,
    /// Names this request in logs, errors and the operation it starts.
    pub request_id: String,
    /// When the caller stops waiting; `None` for background work.
    pub deadline: Option<Timestamp>,
}

impl Ctx {
    /// A context for the daemon's own work.
    pub fn system(request_id: impl Into<String>) -> Self {
        Self { principal: Principal::System, request_id: request_id.into(), deadline: None }
    }
}
