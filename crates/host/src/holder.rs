//! Who holds a port: the socket tables of `/proc/net` name an inode, and the
//! open files of every process are searched for it.
//!
//! This explains; it never decides whether a port is free. A process of
//! another user shows its files to root only, so "unknown" is a normal answer.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use clos_domain::port::{Holder, Protocol};

/// How long a look-up may take: it stands in the way of an error message.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);

/// Who listens on the port, as far as can be found before `deadline`.
#[cfg(target_os = "linux")]
pub(crate) fn find(port: u16, protocol: Protocol, deadline: Instant) -> Holder {
    let inodes = linux::inodes(port, protocol, deadline);
    if inodes.is_empty() {
        return Holder::Unknown;
    }
    linux::process(&inodes, deadline).unwrap_or(Holder::Unknown)
}

/// Whether somebody listens on the port, at whatever address.
#[cfg(target_os = "linux")]
pub(crate) fn is_open(port: u16, protocol: Protocol, deadline: Instant) -> bool {
    !linux::inodes(port, protocol, deadline).is_empty()
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_open(_port: u16, _protocol: Protocol, _deadline: Instant) -> bool {
    false
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn find(_port: u16, _protocol: Protocol, _deadline: Instant) -> Holder {
    Holder::Unknown
}

/// The container behind a `docker-proxy`, by its command line.
pub(crate) fn proxy_target(pid: u32) -> Option<(IpAddr, u16)> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<&str> =
        line.split(|byte| *byte == 0).filter_map(|word| str::from_utf8(word).ok()).collect();
    parse_proxy(&words)
}

fn parse_proxy(words: &[&str]) -> Option<(IpAddr, u16)> {
    let (program, options) = words.split_first()?;
    if program.rsplit('/').next()? != "docker-proxy" {
        return None;
    }
    let option = |name: &str| {
        options.iter().enumerate().find_map(|(at, word)| {
            let rest = word.trim_start_matches('-').strip_prefix(name)?;
            match rest.strip_prefix('=') {
                Some(value) => Some(value),
                None if rest.is_empty() => options.get(at + 1).copied(),
                None => None,
            }
        })
    };
    Some((option("container-ip")?.parse().ok()?, option("container-port")?.parse().ok()?))
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeSet;
    use std::fs::{self, File};
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    use super::{Holder, Instant, Protocol};

    /// TCP's LISTEN.
    const LISTENING: &str = "0A";
    /// UDP's word for a socket without a peer.
    const UNCONNECTED: &str = "07";

    /// The inodes of the sockets that listen on the port.
    pub(super) fn inodes(port: u16, protocol: Protocol, deadline: Instant) -> BTreeSet<u64> {
        let tables: &[&str] = match protocol {
            Protocol::Tcp => &["/proc/net/tcp", "/proc/net/tcp6"],
            Protocol::Udp => &["/proc/net/udp", "/proc/net/udp6"],
            Protocol::Sctp => &[],
        };
        let mut found = BTreeSet::new();
        for table in tables {
            let Ok(file) = File::open(table) else { continue };
            for line in BufReader::new(file).lines().map_while(Result::ok) {
                found.extend(listening_inode(&line, port, protocol));
                if Instant::now() >= deadline {
                    return found;
                }
            }
        }
        found
    }

    /// The inode of one line of a socket table, if that socket listens on the port.
    pub(super) fn listening_inode(line: &str, port: u16, protocol: Protocol) -> Option<u64> {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
        let wanted = if protocol == Protocol::Udp { UNCONNECTED } else { LISTENING };
        if *state != wanted {
            return None;
        }
        let (_, local_port) = local.rsplit_once(':')?;
        if u16::from_str_radix(local_port, 16).ok()? != port {
            return None;
        }
        inode.parse().ok().filter(|inode| *inode != 0)
    }

    /// The first process, by pid, that has one of the sockets open. Several have
    /// when a listener was inherited; pid 1 is named only when nobody else has it,
    /// because it keeps the sockets that it hands to others.
    pub(super) fn process(inodes: &BTreeSet<u64>, deadline: Instant) -> Option<Holder> {
        let wanted: BTreeSet<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
        let mut pids: Vec<u32> = fs::read_dir("/proc")
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        pids.sort_unstable_by_key(|pid| (*pid == 1, *pid));
        for pid in pids {
            if Instant::now() >= deadline {
                return None;
            }
            if has_open(pid, &wanted) {
                return describe(pid);
            }
        }
        None
    }

    fn has_open(pid: u32, wanted: &BTreeSet<String>) -> bool {
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        entries.filter_map(Result::ok).any(|entry| {
            fs::read_link(entry.path())
                .is_ok_and(|link| link.to_str().is_some_and(|link| wanted.contains(link)))
        })
    }

    fn describe(pid: u32) -> Option<Holder> {
        let folder = format!("/proc/{pid}");
        let comm = fs::read_to_string(format!("{folder}/comm")).ok()?;
        let mut name = comm.trim().to_owned();
        // Some runtimes name their first thread, which hides the program's name.
        if name.ends_with("MainThread") {
            let program = fs::read_link(format!("{folder}/exe")).ok();
            let program = program.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
            name = program.map_or(name, str::to_owned);
        }
        let uid = fs::metadata(&folder).ok().map(|metadata| metadata.uid());
        Some(Holder::Process { name, pid, uid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_tells_its_container_by_its_command_line() {
        let told = Some(("172.17.0.2".parse().unwrap(), 80));
        let classic = [
            "/usr/bin/docker-proxy",
            "-proto",
            "tcp",
            "-host-ip",
            "0.0.0.0",
            "-host-port",
            "8080",
            "-container-ip",
            "172.17.0.2",
            "-container-port",
            "80",
            "-use-listen-fd",
            "",
        ];
        assert_eq!(parse_proxy(&classic), told);
        let joined = ["docker-proxy", "--container-ip=172.17.0.2", "--container-port=80"];
        assert_eq!(parse_proxy(&joined), told);
    }

    #[test]
    fn what_is_no_proxy_tells_no_container() {
        for words in [
            &[][..],
            &["node", "-container-ip", "172.17.0.2", "-container-port", "80"],
            &["docker-proxy"],
            &["docker-proxy", "-container-ip"],
            &["docker-proxy", "-container-ip", "nowhere", "-container-port", "80"],
            &["docker-proxy", "-container-ip", "172.17.0.2", "-container-port", "80000"],
        ] {
            assert_eq!(parse_proxy(words), None, "{words:?}");
        }
        assert_eq!(proxy_target(std::process::id()), None);
        assert_eq!(proxy_target(u32::MAX), None);
    }

    #[cfg(target_os = "linux")]
    mod on_linux {
        use std::net::{TcpListener, TcpStream, UdpSocket};

        use super::*;

        const TCP: &str = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 23456 1 0000000000000000 100 0 0 10 0";
        const TCP6: &str = "   1: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0 100 0 0 10 0";
        const ESTABLISHED: &str = "   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 77 1 0 20 4 30 10 -1";
        const UDP: &str = "  3: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 55 2 0 0";

        fn far() -> Instant {
            Instant::now() + Duration::from_secs(20)
        }

        #[test]
        fn listeners_are_read_from_both_tables_and_clients_are_not() {
            assert_eq!(linux::listening_inode(TCP, 8080, Protocol::Tcp), Some(23_456));
            assert_eq!(linux::listening_inode(TCP6, 8080, Protocol::Tcp), Some(99));
            assert_eq!(linux::listening_inode(UDP, 53, Protocol::Udp), Some(55));
            assert_eq!(linux::listening_inode(ESTABLISHED, 8080, Protocol::Tcp), None);
            assert_eq!(linux::listening_inode(TCP, 8081, Protocol::Tcp), None);
            assert_eq!(linux::listening_inode(TCP, 8080, Protocol::Udp), None);
            for broken in ["", "  sl  local_address rem_address   st", "0: x y 0A"] {
                assert_eq!(linux::listening_inode(broken, 8080, Protocol::Tcp), None, "{broken}");
            }
        }

        #[test]
        fn a_listener_of_this_process_is_found_with_its_name_pid_and_uid() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let Holder::Process { name, pid, uid } = find(port, Protocol::Tcp, far()) else {
                panic!("not found");
            };
            assert_eq!(pid, std::process::id());
            assert_eq!(uid, Some(rustix::process::getuid().as_raw()));
            assert!(!name.is_empty() && !name.contains('\n'), "{name:?}");
        }

        #[test]
        fn a_udp_socket_of_this_process_is_found() {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let port = socket.local_addr().unwrap().port();
            let found = find(port, Protocol::Udp, far());
            assert!(matches!(found, Holder::Process { pid, .. } if pid == std::process::id()), "{found:?}");
            assert_eq!(find(port, Protocol::Sctp, far()), Holder::Unknown);
        }

        #[test]
        fn a_free_port_and_a_passed_deadline_have_no_known_holder() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            assert_eq!(find(port, Protocol::Tcp, Instant::now()), Holder::Unknown);
            drop(listener);
            assert_eq!(find(port, Protocol::Tcp, far()), Holder::Unknown);
        }
    }
}
