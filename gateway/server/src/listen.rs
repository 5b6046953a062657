//! Taking connections: each listener has its own number of places, so that a
//! flood on TCP does not lock the owner out of the socket. When they are all taken, an
//! idle connection goes for a new one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use clos_telemetry::Watcher;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected as _;

use crate::connection::Visit;
use crate::door::{Names, Peer};
use crate::seats::Seats;
use crate::{Answers, connection};

/// A pause after an accept that failed, which is when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes that the kernel keeps of an answer for a reader who does not read: left alone it takes
/// megabytes before anybody here notices.
const SEND_BUFFER: usize = 64 * 1024;

/// Where connections come from.
#[derive(Debug)]
pub enum Listener {
    /// The Unix socket, for processes of this uid.
    Unix(UnixListener, u32),
    /// A loopback address, for callers under these names.
    Tcp(TcpListener, Arc<Names>),
}

/// How much is let in.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; more take the places of idle ones.
    pub connections: usize,
    /// How long the head of a request may take.
    pub header_timeout: Duration,
    /// How long connections may go on after the drain began.
    pub drain_timeout: Duration,
}

impl Listener {
    const fn transport(&self) -> &'static str {
        match self {
            Self::Unix(..) => "unix",
            Self::Tcp(..) => "tcp",
        }
    }

    /// Takes connections until the drain, then waits for those that are open;
    /// `false` when some had to be cut off.
    pub async fn serve(self, service: impl Answers, limits: Limits, drain: CancellationToken) -> bool {
        self.serve_until(CancellationToken::new(), service, limits, drain).await
    }

    /// As [`Self::serve`]; from `closing` on nobody new comes in, and those who are in stay.
    pub async fn serve_until(
        self,
        closing: CancellationToken,
        service: impl Answers,
        limits: Limits,
        drain: CancellationToken,
    ) -> bool {
        let seats = Seats::new(limits.connections);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = drain.cancelled() => break,
                () = closing.cancelled() => break,
                Some(_) = connections.join_next() => {}
                accepted = self.accept() => match accepted {
                    Ok(Some((stream, peer))) => {
                        let transport = self.transport();
                        // It sits at once: the next one may want the place before this task has run.
                        let (free, mut turn) = (seats.take().map(|permit| (permit, seats.sit())), None);
                        if free.is_none() {
                            turn = seats.turn();
                            if turn.is_none() {
                                full(transport);
                                continue;
                            }
                            idle(transport);
                        }
                        let (seats, service, drain) = (seats.clone(), service.clone(), drain.clone());
                        connections.spawn(async move {
                            let taken = match turn {
                                Some(turn) => seats.wait(turn).await.map(|permit| (permit, seats.sit())),
                                None => free,
                            };
                            let Some((permit, seat)) = taken else { return full(transport) };
                            let counted = clos_telemetry::metrics().connection(transport);
                            let place = Place { _permit: permit, _counted: counted };
                            let header_timeout = limits.header_timeout;
                            stream.serve(service, Visit { peer, place, seat, header_timeout, drain }).await;
                        });
                    }
                    Ok(None) => {}
                    Err(error) => {
                        if let Some(omitted) = clos_telemetry::metrics().refused("accept") {
                            let transport = self.transport();
                            tracing::warn!(%error, transport, omitted, "a connection was not accepted");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
        let transport = self.transport();
        // Nobody new comes in while the last ones go.
        drop(self);
        while !drain.is_cancelled() {
            tokio::select! {
                biased;
                () = drain.cancelled() => {}
                ended = connections.join_next() => if ended.is_none() { return true },
            }
        }
        let gone = async { while connections.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(limits.drain_timeout, gone).await.is_ok();
        if !in_time {
            tracing::warn!(transport, open = connections.len(), "connections are cut off");
            connections.shutdown().await;
        }
        in_time
    }

    /// The next connection and who is on its other end; nothing for somebody who may not come in.
    async fn accept(&self) -> io::Result<Option<(Stream, Peer)>> {
        match self {
            Self::Unix(listener, uid) => {
                let (stream, _) = listener.accept().await?;
                let info = stream.connect_info();
                let peer = info.peer_cred.as_ref().map(tokio::net::unix::UCred::uid);
                if peer == Some(*uid) {
                    return Ok(Some((Stream::Unix(stream), Peer::Unix(info))));
                }
                if let Some(omitted) = clos_telemetry::metrics().refused("peer") {
                    tracing::warn!(
                        ?peer,
                        omitted,
                        "a process of another user was turned away from the socket"
                    );
                }
                Ok(None)
            }
            Self::Tcp(listener, names) => {
                let (stream, _) = listener.accept().await?;
                // Small answers do not wait for more to send.
                let _ = stream.set_nodelay(true);
                let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER);
                let peer = Peer::Tcp(stream.connect_info(), Arc::clone(names));
                Ok(Some((Stream::Tcp(stream), peer)))
            }
        }
    }
}

/// Counts and logs an idle connection that goes for a new one.
fn idle(transport: &'static str) {
    if let Some(omitted) = clos_telemetry::metrics().refused("idle") {
        tracing::warn!(transport, omitted, "too many connections; an idle one was closed for a new one");
    }
}

/// Counts and logs a connection for which there was no place.
fn full(transport: &'static str) {
    if let Some(omitted) = clos_telemetry::metrics().refused("connections") {
        tracing::warn!(transport, omitted, "too many connections; one was closed at once");
    }
}

/// A place among the allowed connections, taken for as long as it is kept.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    _counted: Watcher,
}

/// A connection.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    async fn serve(self, service: impl Answers, visit: Visit) {
        match self {
            Self::Unix(stream) => connection::serve(stream, service, visit).await,
            Self::Tcp(stream) => connection::serve(stream, service, visit).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_who_does_not_read_is_noticed_early() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener::Tcp(listener, Arc::new(Names::new(address, &[], &[]).unwrap()));
        let (accepted, client) = tokio::join!(listener.accept(), TcpStream::connect(address));
        let Some((Stream::Tcp(stream), _)) = accepted.unwrap() else { panic!() };
        // The kernel doubles what it is told.
        let size = rustix::net::sockopt::socket_send_buffer_size(&stream).unwrap();
        assert!(size <= 2 * SEND_BUFFER, "{size}");
        drop(client);
    }

    #[tokio::test]
    async fn a_closed_port_takes_nobody_new_and_keeps_who_is_in() {
        use std::convert::Infallible;

        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener::Tcp(listener, Arc::new(Names::new(address, &[], &[]).unwrap()));
        let service = tower::service_fn(|_: http::Request<hyper::body::Incoming>| async {
            Ok::<_, Infallible>(http::Response::new(tonic::body::Body::empty()))
        });
        let limits = Limits {
            connections: 4,
            header_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(5),
        };
        let (closing, drain) = (CancellationToken::new(), CancellationToken::new());
        let mut serving = JoinSet::new();
        serving.spawn(listener.serve_until(closing.clone(), service, limits, drain.clone()));
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n");
        let mut answer = [0; 1024];
        client.write_all(request.as_bytes()).await.unwrap();
        assert!(client.read(&mut answer).await.unwrap() > 0);
        closing.cancel();
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        client.write_all(request.as_bytes()).await.unwrap();
        let read = client.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "under its name of before");
        drain.cancel();
        drop(client);
        assert!(serving.join_next().await.unwrap().unwrap());
    }
}
