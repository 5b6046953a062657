//! Host ports: what a file wishes, which range a project owns, who gets what.

mod assign;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::ServiceId;
use crate::name::ServiceRef;

pub use assign::{Assignment, Clash, Request, Terms, assign};

/// Transport of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The wire word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The protocol of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|p| p.as_str() == word)
    }
}

/// What a definition asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The port inside.
    pub container_port: u16,
    /// The port outside; `None` leaves the choice to CLOS.
    pub host_port: Option<u16>,
    /// Last port outside that will do, when the file gives a range.
    #[serde(default)]
    pub host_port_end: Option<u16>,
    /// The address outside; `None` is every local address of [`Terms::addresses`].
    pub host_ip: Option<String>,
    /// Transport.
    pub protocol: Protocol,
}

/// A port with its host side decided: one claim, and what one listener takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Binding {
    /// The port inside.
    pub container_port: u16,
    /// The port outside.
    pub host_port: u16,
    /// The address outside.
    pub host_ip: String,
    /// Transport.
    pub protocol: Protocol,
}

/// Where a port without an address is bound on every machine.
pub const LOOPBACK: &str = "127.0.0.1";
/// Where it is bound too when the machine has IPv6.
pub const LOOPBACK_V6: &str = "::1";

impl Binding {
    /// Whether only one of the two can be had. Two specific addresses coexist, a wildcard
    /// coexists with nothing of its family. Engines bind `::` for IPv6 only, so it leaves IPv4 alone.
    pub fn collides(&self, other: &Self) -> bool {
        self.host_port == other.host_port
            && self.protocol == other.protocol
            && addresses_collide(&self.host_ip, &other.host_ip)
    }

    /// The part of it that is claimed, whatever it is for.
    pub fn claim(&self) -> Claim {
        Claim { host_ip: self.host_ip.clone(), host_port: self.host_port, protocol: self.protocol }
    }
}

/// What a listener takes of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    /// The address.
    pub host_ip: String,
    /// The port.
    pub host_port: u16,
    /// Transport.
    pub protocol: Protocol,
}

fn addresses_collide(one: &str, other: &str) -> bool {
    let (Some(one), Some(other)) = (address(one), address(other)) else { return one == other };
    one == other || one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified())
}

/// Engines report no address where they listen on every one.
fn address(host_ip: &str) -> Option<IpAddr> {
    if host_ip.is_empty() {
        return Some(IpAddr::from([0, 0, 0, 0]));
    }
    host_ip.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// A published port as people see it: one entry, at however many addresses it is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The port inside.
    pub container_port: u16,
    /// The port outside.
    pub host_port: u16,
    /// The address that was asked for, if one was.
    pub host_ip: Option<String>,
    /// The addresses that it is bound at.
    pub addresses: Vec<String>,
    /// Transport.
    pub protocol: Protocol,
}

impl Published {
    /// Addresses and port as a URL has them: `127.0.0.1:80`, `[::1]:80`, `{127.0.0.1,[::1]}:80`.
    pub fn outside(&self) -> String {
        let bracketed =
            |address: &String| if address.contains(':') { format!("[{address}]") } else { address.clone() };
        let addresses: Vec<String> = self.addresses.iter().map(bracketed).collect();
        match addresses.as_slice() {
            [only] => format!("{only}:{}", self.host_port),
            several => format!("{{{}}}:{}", several.join(","), self.host_port),
        }
    }

    /// A claim for each address.
    pub fn bindings(&self) -> impl Iterator<Item = Binding> {
        self.addresses.iter().map(|address| Binding {
            container_port: self.container_port,
            host_port: self.host_port,
            host_ip: address.clone(),
            protocol: self.protocol,
        })
    }
}

/// What became of each wish, in their order: the host port that it has, and where.
pub fn published(wishes: &[Wish], bindings: &[Binding]) -> Vec<Option<Published>> {
    let mut left: Vec<&Binding> = bindings.iter().collect();
    let mut found: Vec<Option<Published>> = vec![None; wishes.len()];
    // A wish for a certain port or address goes before one for any, so that nothing is shown at the wrong one.
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    order.sort_by_key(|at| (wishes[*at].host_port.is_none(), wishes[*at].host_ip.is_none()));
    for exact in [true, false] {
        for at in order.iter().copied() {
            let wish = &wishes[at];
            let fits = |binding: &Binding| {
                wish.container_port == binding.container_port
                    && wish.protocol == binding.protocol
                    && (!exact || wish.host_port.is_none_or(|port| port == binding.host_port))
                    && wish.host_ip.as_ref().is_none_or(|ip| *ip == binding.host_ip)
            };
            if found[at].is_some() {
                continue;
            }
            let Some(first) = left.iter().find(|binding| fits(binding)) else { continue };
            let port = first.host_port;
            let is_of_it = |binding: &Binding| fits(binding) && binding.host_port == port;
            let (own, others): (Vec<&Binding>, Vec<&Binding>) =
                left.into_iter().partition(|binding| is_of_it(binding));
            left = others;
            found[at] = Some(Published {
                container_port: wish.container_port,
                host_port: port,
                host_ip: wish.host_ip.clone(),
                addresses: own.iter().map(|binding| binding.host_ip.clone()).collect(),
                protocol: wish.protocol,
            });
        }
    }
    found
}

/// The ports of a project, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The owner.
    pub project: String,
    /// First port.
    pub start: u16,
    /// Last port.
    pub end: u16,
}

/// The ranges that hold until somebody configures others.
pub fn default_ranges() -> Vec<Range> {
    [
        ("core", 5000, 5999),
        ("candlefish-frontend", 3000, 3099),
        ("security-dashboard", 3100, 3199),
        ("pkb", 3200, 3299),
        ("apis", 4000, 4999),
        ("monitoring", 8000, 8099),
        ("development", 9000, 9999),
    ]
    .into_iter()
    .map(|(project, start, end)| Range { project: project.to_owned(), start, end })
    .collect()
}

/// The range a group belongs to: its own name's, else the one that it names,
/// else the first whose project is contained in the group's name, else `core`.
pub fn range_for<'a>(ranges: &'a [Range], group: &str, named: Option<&str>) -> Option<&'a Range> {
    let by_name = |name: &str| ranges.iter().find(|range| range.project == name);
    by_name(group)
        .or_else(|| named.and_then(by_name))
        .or_else(|| ranges.iter().find(|range| group.contains(&range.project)))
        .or_else(|| by_name("core"))
}

/// Who holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A service of ours.
    Service {
        /// Its resource name.
        name: String,
        /// Whether it is meant to run; a lease of a stopped one yields.
        running: bool,
    },
    /// A container that CLOS does not manage.
    Container {
        /// Its name.
        name: String,
    },
    /// A process of the host.
    Process {
        /// Its command name.
        name: String,
        /// Its pid.
        pid: u32,
        /// Owner's uid.
        uid: Option<u32>,
    },
    /// Somebody; this machine does not tell who.
    Unknown,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Service { name, .. } => write!(f, "service `{name}`"),
            Self::Container { name } => write!(f, "container `{name}`"),
            Self::Process { name, pid, uid: Some(uid) } => {
                write!(f, "process `{name}` (pid {pid}, uid {uid})")
            }
            Self::Process { name, pid, uid: None } => write!(f, "process `{name}` (pid {pid})"),
            Self::Unknown => f.write_str("somebody outside CLOS"),
        }
    }
}

/// The right of one service port to one host port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who has it.
    pub service: ServiceId,
    /// Resource name of who has it.
    pub owner: ServiceRef,
    /// Which host port, and which port inside.
    pub binding: Binding,
    /// The service is meant to run or does run; only then the lease is firm.
    pub firm: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host_ip: &str, host_port: u16) -> Binding {
        Binding { container_port: 80, host_port, host_ip: host_ip.into(), protocol: Protocol::Tcp }
    }

    #[test]
    fn two_specific_addresses_coexist_and_a_wildcard_with_nothing_of_its_family() {
        for (one, other, collide) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "172.17.0.1", false),
            ("127.0.0.1", "::1", false),
            ("0.0.0.0", "127.0.0.1", true),
            ("0.0.0.0", "0.0.0.0", true),
            ("", "192.168.0.7", true),
            ("::", "::1", true),
            ("::", "127.0.0.1", false),
            ("::", "0.0.0.0", false),
            ("0:0:0:0:0:0:0:1", "::1", true),
            ("::ffff:127.0.0.1", "127.0.0.1", true),
        ] {
            assert_eq!(at(one, 80).collides(&at(other, 80)), collide, "{one} {other}");
            assert_eq!(at(other, 80).collides(&at(one, 80)), collide, "{other} {one}");
            assert!(!at(one, 80).collides(&at(other, 81)), "another port");
        }
        let udp = Binding { protocol: Protocol::Udp, ..at("127.0.0.1", 80) };
        assert!(!udp.collides(&at("127.0.0.1", 80)), "another protocol");
    }

    #[test]
    fn a_port_without_an_address_is_one_entry_with_its_addresses() {
        let wish = |host_port, host_ip: Option<&str>| Wish {
            container_port: 80,
            host_port,
            host_port_end: None,
            host_ip: host_ip.map(str::to_owned),
            protocol: Protocol::Tcp,
        };
        let wishes = [wish(None, Some("::1")), wish(None, None), wish(Some(8080), None)];
        let bindings = [
            at("127.0.0.1", 8080),
            at("::1", 8080),
            at("127.0.0.1", 5000),
            at("172.17.0.1", 5000),
            at("::1", 5001),
        ];
        // The fixed port is looked for first, then the one with an address.
        let found: Vec<(u16, Vec<String>)> = published(&wishes, &bindings)
            .into_iter()
            .map(Option::unwrap)
            .map(|one| (one.host_port, one.addresses))
            .collect();
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            found,
            [
                (5001, words(&["::1"])),
                (5000, words(&["127.0.0.1", "172.17.0.1"])),
                (8080, words(&["127.0.0.1", "::1"])),
            ]
        );
        assert_eq!(published(&wishes, &[]), [None, None, None]);
    }
}
