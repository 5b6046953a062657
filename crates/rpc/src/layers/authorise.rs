//! Whether whoever asks may.
//!
//! Until there are users with roles there is the owner, who may everything, and nobody, who may
//! what needs no permission. The shape is already the one that roles need: a method has a
//! permission, a principal holds some.

use clos_domain::ctx::Principal;
use clos_domain::{Error, Reason, Result};

use super::methods::Method;

/// What a ticket is good for, where it is a stream.
const OF_A_TICKET: &str = "events:read";

/// Whether the method is for this principal.
pub(crate) fn judge(method: &Method, principal: &Principal) -> Result<()> {
    if holds(principal, method) {
        return Ok(());
    }
    let of_a_ticket = if *principal == Principal::TicketBearer { ", a ticket has not enough" } else { "" };
    Err(Error::new(
        Reason::TokenMissing,
        format!("the permission `{}` is needed; show the token{of_a_ticket}", method.permission),
    )
    .with("permission", &method.permission))
}

fn holds(principal: &Principal, method: &Method) -> bool {
    match principal {
        Principal::Owner { .. } | Principal::TokenBearer | Principal::System => true,
        // It watches; above all it makes no other tickets.
        Principal::TicketBearer => method.is_open() || (method.is_stream && method.permission == OF_A_TICKET),
        Principal::Anonymous => method.is_open(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::methods::Methods;

    #[test]
    fn every_method_and_who_may_call_it() {
        let methods = Methods::of_the_contract().unwrap();
        let tick = |may: bool| if may { "yes" } else { "-" };
        let mut table = format!(
            "{:<72} {:<20} {:<7} {:<6} {:<6} nobody\n",
            "method", "permission", "answer", "owner", "ticket"
        );
        for method in methods.all() {
            let owner = judge(method, &Principal::Owner { uid: 1 }).is_ok();
            assert_eq!(owner, judge(method, &Principal::TokenBearer).is_ok());
            let ticket = judge(method, &Principal::TicketBearer).is_ok();
            let nobody = judge(method, &Principal::Anonymous);
            if let Err(error) = &nobody {
                assert_eq!(error.metadata()["permission"], method.permission);
            }
            let answer = if method.is_stream { "stream" } else { "one" };
            table.push_str(&format!(
                "{:<72} {:<20} {:<7} {:<6} {:<6} {}\n",
                method.path,
                method.permission,
                answer,
                tick(owner),
                tick(ticket),
                tick(nobody.is_ok())
            ));
        }
        insta::assert_snapshot!(table);
    }
}
