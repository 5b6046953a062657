//! Whether a port can be bound: the only way to know is to bind it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use clos_domain::port::Protocol;
use clos_domain::seams::host::BindTest;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketType, ipproto, sockopt};

use crate::holder;

/// Ports below are for privileged processes only.
const FIRST_UNPRIVILEGED: u16 = 1_024;
/// A connection to an address of this machine is made or refused at once.
const CONNECT_PATIENCE: Duration = Duration::from_millis(200);

/// Binds and lets go.
pub(crate) fn test(host_ip: &str, port: u16, protocol: Protocol) -> BindTest {
    let Some(wanted) = address(host_ip) else {
        return BindTest::Refused(format!("`{host_ip}` is not an IP address"));
    };
    for ip in addresses_that_collide(wanted) {
        match try_bind(SocketAddr::new(ip, port), protocol) {
            Ok(()) => {}
            Err(Errno::ADDRINUSE) => return BindTest::Taken,
            Err(_) if ip != wanted => {}
            // The engine binds, and it may: only whether somebody is there counts.
            Err(Errno::ACCESS | Errno::PERM) if port < FIRST_UNPRIVILEGED => {
                return if somebody_listens(ip, port, protocol) { BindTest::Taken } else { BindTest::Free };
            }
            Err(errno) => return BindTest::Refused(explain(errno, wanted, port, protocol)),
        }
    }
    BindTest::Free
}

/// Whether a port that we may not bind is taken, as far as can be seen without binding it.
fn somebody_listens(ip: IpAddr, port: u16, protocol: Protocol) -> bool {
    match protocol {
        Protocol::Tcp => {
            let reachable = match ip {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                specific => specific,
            };
            TcpStream::connect_timeout(&SocketAddr::new(reachable, port), CONNECT_PATIENCE).is_ok()
        }
        Protocol::Udp | Protocol::Sctp => holder::is_open(port, protocol, Instant::now() + holder::PATIENCE),
    }
}

/// An engine reads no address as every address.
fn address(host_ip: &str) -> Option<IpAddr> {
    let bare = host_ip.trim_start_matches('[').trim_end_matches(']');
    match bare {
        "" => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => bare.parse().ok(),
    }
}

/// Linux lets a wildcard and a loopback listener collide. The BSDs do not when
/// `SO_REUSEADDR` is set, so there each is tried by itself.
fn addresses_that_collide(wanted: IpAddr) -> Vec<IpAddr> {
    if cfg!(target_os = "linux") {
        return vec![wanted];
    }
    let (any, own): (IpAddr, IpAddr) = match wanted {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()),
    };
    let mut addresses = vec![wanted, any];
    if wanted == any {
        addresses.push(own);
    }
    addresses.dedup();
    addresses
}

fn try_bind(address: SocketAddr, protocol: Protocol) -> Result<(), Errno> {
    let socket = open(address, protocol)?;
    // With SO_REUSEADDR a connection in TIME_WAIT does not count and a listener
    // does. For UDP the same option would let two sockets share the port.
    if protocol != Protocol::Udp {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    // Engines bind `::` for IPv6 only.
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    net::bind(&socket, &address)
}

fn open(address: SocketAddr, protocol: Protocol) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let (kind, wire) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, Some(ipproto::TCP)),
        Protocol::Udp => (SocketType::DGRAM, Some(ipproto::UDP)),
        #[cfg(target_os = "linux")]
        Protocol::Sctp => (SocketType::STREAM, Some(ipproto::SCTP)),
        #[cfg(not(target_os = "linux"))]
        Protocol::Sctp => return Err(Errno::PROTONOSUPPORT),
    };
    #[cfg(target_os = "linux")]
    return net::socket_with(family, kind, net::SocketFlags::CLOEXEC, wire);
    #[cfg(not(target_os = "linux"))]
    return net::socket(family, kind, wire);
}

fn explain(errno: Errno, ip: IpAddr, port: u16, protocol: Protocol) -> String {
    match errno {
        Errno::ADDRNOTAVAIL => format!("`{ip}` is not an address of this machine"),
        Errno::ACCESS | Errno::PERM => format!("port {port} may not be bound by this user"),
        Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT | Errno::AFNOSUPPORT => {
            format!("this machine has no {} on `{ip}`", protocol.as_str())
        }
        other => format!("`{ip}` port {port} cannot be bound: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn has_ipv6() -> bool {
        TcpListener::bind("[::1]:0").is_ok()
    }

    /// A listener, and the port that it took.
    fn listen(ip: &str) -> (TcpListener, u16) {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[test]
    fn a_listener_on_loopback_takes_loopback_and_the_wildcard() {
        let (_listener, port) = listen("127.0.0.1");
        for wanted in ["127.0.0.1", "0.0.0.0", "", "localhost"] {
            assert_eq!(test(wanted, port, Protocol::Tcp), BindTest::Taken, "{wanted}");
        }
    }

    #[test]
    fn a_listener_on_the_wildcard_takes_every_address() {
        let (_listener, port) = listen("0.0.0.0");
        for wanted in ["127.0.0.1", "0.0.0.0", "127.0.0.2"] {
            assert_eq!(test(wanted, port, Protocol::Tcp), BindTest::Taken, "{wanted}");
        }
    }

    #[test]
    fn a_dual_stack_listener_takes_both_families() {
        if !has_ipv6() {
            return;
        }
        let (_listener, port) = listen("::");
        for wanted in ["::", "::1", "[::1]", "127.0.0.1", "0.0.0.0"] {
            assert_eq!(test(wanted, port, Protocol::Tcp), BindTest::Taken, "{wanted}");
        }
    }

    #[test]
    fn an_ipv6_loopback_listener_takes_ipv6_only() {
        if !has_ipv6() {
            return;
        }
        let (_listener, port) = listen("::1");
        assert_eq!(test("::1", port, Protocol::Tcp), BindTest::Taken);
        assert_eq!(test("::", port, Protocol::Tcp), BindTest::Taken);
        assert_eq!(test("0.0.0.0", port, Protocol::Tcp), BindTest::Free);
    }

    #[test]
    fn a_udp_socket_takes_udp_and_leaves_tcp() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(test("127.0.0.1", port, Protocol::Udp), BindTest::Taken);
        assert_eq!(test("0.0.0.0", port, Protocol::Udp), BindTest::Taken);
        drop(socket);
        assert_eq!(test("127.0.0.1", port, Protocol::Udp), BindTest::Free);
    }

    #[test]
    fn a_connection_in_time_wait_does_not_take_its_port() {
        let (listener, port) = listen("127.0.0.1");
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        // The side that closes first is the one that waits: the server.
        drop(server);
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
        let _ = client.write(&[]);
        drop(client);
        drop(listener);
        assert_eq!(test("127.0.0.1", port, Protocol::Tcp), BindTest::Free);
    }

    #[test]
    fn a_port_is_free_again_when_its_listener_is_gone() {
        let (listener, port) = listen("127.0.0.1");
        drop(listener);
        assert_eq!(test("127.0.0.1", port, Protocol::Tcp), BindTest::Free);
        assert_eq!(test("127.0.0.1", port, Protocol::Tcp), BindTest::Free, "the test itself leaves nothing");
    }

    #[test]
    fn what_is_no_address_of_ours_is_refused_by_name() {
        for (wanted, words) in
            [("192.0.2.1", "is not an address of this machine"), ("example.com", "is not an IP address")]
        {
            let BindTest::Refused(why) = test(wanted, 39_999, Protocol::Tcp) else {
                panic!("{wanted} is not refused");
            };
            assert!(why.contains(wanted) && why.contains(words), "{why}");
        }
    }

    #[test]
    fn a_port_that_only_the_engine_may_bind_is_judged_by_who_listens() {
        let (_listener, port) = listen("127.0.0.1");
        for ip in ["127.0.0.1", "0.0.0.0"] {
            assert!(somebody_listens(ip.parse().unwrap(), port, Protocol::Tcp), "{ip}");
        }
        assert!(!somebody_listens("127.0.0.2".parse().unwrap(), port, Protocol::Tcp), "another address");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(somebody_listens("127.0.0.1".parse().unwrap(), port, Protocol::Udp));
    }

    #[test]
    fn each_refusal_has_its_words() {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(explain(Errno::ACCESS, ip, 80, Protocol::Tcp), "port 80 may not be bound by this user");
        assert_eq!(
            explain(Errno::PROTONOSUPPORT, ip, 80, Protocol::Sctp),
            "this machine has no sctp on `127.0.0.1`"
        );
        assert!(explain(Errno::MFILE, ip, 80, Protocol::Tcp).contains("cannot be bound"));
    }
}
