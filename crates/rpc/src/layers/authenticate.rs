//! Who asks: the peer of the Unix socket by its uid, anybody else by the token or by a ticket that
//! was made for one connection ([`crate::tickets`]).
//!
//! A caller without either is nobody, which is enough for the methods that need no permission.
//! A request that does not say how it came in is treated as one over TCP.

use clos_domain::ctx::Principal;
use clos_domain::{Error, Reason, Result};
use http::Extensions;
use http::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest as _, Sha256};
use tonic::transport::server::{TcpConnectInfo, UdsConnectInfo};

use crate::tickets::Tickets;

/// The token of this installation, of which only a hash is kept. It does not print.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// The token that callers over TCP have to show.
    pub fn new(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Whether this is it; takes the same time whatever is shown.
    fn is(&self, shown: &str) -> bool {
        let shown = Self::new(shown);
        let difference =
            self.0.iter().zip(shown.0).fold(0, |difference, (one, other)| difference | (one ^ other));
        difference == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(********)")
    }
}

/// Judges who asks.
pub(crate) struct Authenticate {
    uid: u32,
    token: Token,
    tickets: Tickets,
}

impl Authenticate {
    pub(crate) fn new(uid: u32, token: Token, tickets: Tickets) -> Self {
        Self { uid, token, tickets }
    }

    /// Who asks; for an open method nobody is good enough.
    pub(crate) fn judge(
        &self,
        came_by: &Extensions,
        headers: &HeaderMap,
        is_open: bool,
    ) -> Result<Principal> {
        if let Some(peer) = came_by.get::<UdsConnectInfo>() {
            return self.judge_peer(peer);
        }
        match self.judge_shown(came_by, headers) {
            Ok(principal) => Ok(principal),
            Err(_) if is_open => Ok(Principal::Anonymous),
            Err(error) => Err(error),
        }
    }

    fn judge_peer(&self, peer: &UdsConnectInfo) -> Result<Principal> {
        match peer.peer_cred.map(|peer| peer.uid()) {
            Some(uid) if uid == self.uid => Ok(Principal::Owner { uid }),
            Some(uid) => Err(Error::new(
                Reason::PeerRefused,
                format!("uid {uid} is not uid {}, whose daemon this is; run your own", self.uid),
            )),
            None => Err(Error::new(
                Reason::PeerRefused,
                "the system does not tell who is at the other end of the socket; ask over TCP with the token",
            )),
        }
    }

    fn judge_shown(&self, came_by: &Extensions, headers: &HeaderMap) -> Result<Principal> {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let Some(header) = given.next() else {
            return Err(Error::new(
                Reason::TokenMissing,
                "the call has no `authorization: Bearer` header; send the content of the file `token` in the state folder",
            ));
        };
        let shown = header.to_str().ok().and_then(|header| header.split_once(' '));
        let (scheme, secret) = shown.unwrap_or_default();
        if given.next().is_none() {
            if scheme.eq_ignore_ascii_case("bearer") && self.token.is(secret.trim()) {
                return Ok(Principal::TokenBearer);
            }
            if scheme.eq_ignore_ascii_case("ticket") {
                let peer = came_by.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
                return self.tickets.spend(secret.trim(), peer).map(|()| Principal::TicketBearer);
            }
        }
        Err(Error::new(
            Reason::TokenInvalid,
            "the authorization header is not one `Bearer` with this installation's token; send the content of the file `token` in the state folder",
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clos_testkit::clock::FrozenClock;
    use clos_testkit::ids::SeqIds;
    use http::HeaderValue;
    use tokio::net::UnixStream;
    use tonic::transport::server::Connected as _;

    use super::*;

    const SECRET: &str = "4nUb6cJxw3TqVZ";

    fn headers(given: &[&str]) -> HeaderMap {
        let values = given.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(name, value);
        }
        headers
    }

    fn authenticate(uid: u32) -> Authenticate {
        let tickets = Tickets::new(Arc::new(FrozenClock::default()), Arc::new(SeqIds::default()));
        Authenticate::new(uid, Token::new(SECRET), tickets)
    }

    fn over_tcp(given: &[&str], is_open: bool) -> Result<Principal, Reason> {
        let judge = authenticate(1_000);
        judge.judge(&Extensions::new(), &headers(given), is_open).map_err(|error| error.reason())
    }

    #[test]
    fn the_token_lets_in() {
        for given in ["Bearer 4nUb6cJxw3TqVZ", "bearer 4nUb6cJxw3TqVZ", "BEARER  4nUb6cJxw3TqVZ "] {
            assert_eq!(over_tcp(&[given], false), Ok(Principal::TokenBearer), "{given}");
            assert_eq!(over_tcp(&[given], true), Ok(Principal::TokenBearer), "{given}");
        }
    }

    #[test]
    fn nothing_and_everything_else_stays_out() {
        assert_eq!(over_tcp(&[], false), Err(Reason::TokenMissing));
        for given in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 4nUb6cJxw3TqV",
            "Bearer 4nUb6cJxw3TqVZ4",
            "Bearer 4NUB6CJXW3TQVZ",
            "Basic 4nUb6cJxw3TqVZ",
            "4nUb6cJxw3TqVZ",
            "Bearer4nUb6cJxw3TqVZ",
            "Bearer 4nUb6cJxw3TqVZ, Bearer 4nUb6cJxw3TqVZ",
            "Ticket 4nUb6cJxw3TqVZ",
            "Ticket ",
        ] {
            assert_eq!(over_tcp(&[given], false), Err(Reason::TokenInvalid), "{given}");
        }
        let twice = ["Bearer 4nUb6cJxw3TqVZ", "Bearer wrong"];
        assert_eq!(over_tcp(&twice, false), Err(Reason::TokenInvalid));
    }

    #[test]
    fn a_ticket_lets_in_for_less() {
        let judge = authenticate(1_000);
        let ticket = judge.tickets.make().unwrap().text;
        let shown = headers(&[&format!("Ticket {ticket}")]);
        for _ in 0..2 {
            let principal = judge.judge(&Extensions::new(), &shown, false);
            assert_eq!(principal.unwrap(), Principal::TicketBearer);
        }
        let twice = headers(&[&format!("Ticket {ticket}"), "Bearer wrong"]);
        assert_eq!(
            judge.judge(&Extensions::new(), &twice, false).unwrap_err().reason(),
            Reason::TokenInvalid
        );
    }

    #[test]
    fn an_open_method_takes_anybody_as_nobody() {
        assert_eq!(over_tcp(&[], true), Ok(Principal::Anonymous));
        assert_eq!(over_tcp(&["Bearer wrong"], true), Ok(Principal::Anonymous));
    }

    #[tokio::test]
    async fn the_peer_of_the_socket_is_known_by_its_uid() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let info = ours.connect_info();
        let uid = info.peer_cred.unwrap().uid();
        let mut extensions = Extensions::new();
        extensions.insert(info.clone());
        let owner = authenticate(uid);
        assert_eq!(owner.judge(&extensions, &HeaderMap::new(), false).unwrap(), Principal::Owner { uid });

        let stranger = authenticate(uid + 1);
        let shown = headers(&["Bearer 4nUb6cJxw3TqVZ"]);
        for is_open in [false, true] {
            let refused = stranger.judge(&extensions, &shown, is_open).unwrap_err();
            assert_eq!(refused.reason(), Reason::PeerRefused, "a token does not help another user");
        }
        extensions.insert(UdsConnectInfo { peer_cred: None, ..info });
        assert_eq!(owner.judge(&extensions, &shown, true).unwrap_err().reason(), Reason::PeerRefused);
    }

    #[test]
    fn a_token_does_not_print() {
        assert_eq!(format!("{:?}", Token::new(SECRET)), "Token(********)");
    }
}
