//! Host ports: what a file wishes, which range a project owns, who gets what.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Reason};
use crate::id::ServiceId;
use crate::name::{GroupRef, ServiceRef};

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
    /// The address outside; `None` is 127.0.0.1.
    pub host_ip: Option<String>,
    /// Transport.
    pub protocol: Protocol,
}

/// A port with its host side decided.
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

/// Where a port is bound unless the file says otherwise.
pub const LOOPBACK: &str = "127.0.0.1";

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

/// What is asked for one service.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Who asks.
    pub service: &'a ServiceId,
    /// Resource name of who asks.
    pub owner: &'a ServiceRef,
    /// What for.
    pub wishes: &'a [Wish],
}

/// What was decided for one wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Whose.
    pub service: ServiceId,
    /// Resource name of whose.
    pub owner: ServiceRef,
    /// The decision.
    pub binding: Binding,
    /// Why this port, for the plan.
    pub why: &'static str,
    /// The choice was ours: another port would do.
    pub movable: bool,
    /// A stopped service that loses its lease to this one.
    pub taken_from: Option<ServiceRef>,
}

/// Why a wish cannot be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// Who wants it.
    pub owner: ServiceRef,
    /// What it wants.
    pub binding: Binding,
    /// Who has it.
    pub holder: Holder,
}

/// Decides a host port for every wish.
///
/// A fixed host port is taken as it is, in the base instance; elsewhere it is a
/// wish only. What was leased before is kept. The rest gets the first free port
/// of `range`. `refused` are ports that a bind found taken by somebody outside.
/// The result is stable: the same arguments give the same ports.
///
/// # Errors
/// Every clash at once, or a range without a free port.
pub fn assign(
    group: &GroupRef,
    requests: &[Request<'_>],
    leases: &[Lease],
    range: Option<&Range>,
    refused: &BTreeSet<(u16, Protocol)>,
) -> Result<Result<Vec<Assignment>, Vec<Clash>>, Error> {
    let asking: BTreeSet<&ServiceId> = requests.iter().map(|request| request.service).collect();
    let mut assigned: BTreeMap<(u16, Protocol), ServiceRef> = BTreeMap::new();
    let mut decided: BTreeMap<(usize, usize), Assignment> = BTreeMap::new();
    let mut clashes = Vec::new();

    // Fixed ports first, so that no choice of ours stands in the way of one.
    for (r, request) in requests.iter().enumerate() {
        for (w, wish) in request.wishes.iter().enumerate() {
            let Some(port) = wish.host_port else { continue };
            let is_fixed = group.instance.is_none() && wish.host_port_end.is_none_or(|end| end == port);
            if !is_fixed {
                continue;
            }
            let binding = bind(wish, port);
            let key = (port, wish.protocol);
            if let Some(first) = assigned.get(&key) {
                let holder = Holder::Service { name: first.to_string(), running: true };
                clashes.push(Clash { owner: request.owner.clone(), binding, holder });
                continue;
            }
            let other = leases.iter().find(|lease| {
                lease.binding.host_port == port
                    && lease.binding.protocol == wish.protocol
                    && !asking.contains(&lease.service)
            });
            if let Some(lease) = other.filter(|lease| lease.firm) {
                let holder = Holder::Service { name: lease.owner.to_string(), running: true };
                clashes.push(Clash { owner: request.owner.clone(), binding, holder });
                continue;
            }
            if refused.contains(&key) {
                clashes.push(Clash { owner: request.owner.clone(), binding, holder: Holder::Unknown });
                continue;
            }
            assigned.insert(key, request.owner.clone());
            decided.insert(
                (r, w),
                Assignment {
                    service: request.service.clone(),
                    owner: request.owner.clone(),
                    binding,
                    why: "as the file says",
                    movable: false,
                    taken_from: other.map(|lease| lease.owner.clone()),
                },
            );
        }
    }

    for (r, request) in requests.iter().enumerate() {
        for (w, wish) in request.wishes.iter().enumerate() {
            if decided.contains_key(&(r, w))
                || (wish.host_port.is_some() && is_clashing(&clashes, request, wish))
            {
                continue;
            }
            let is_free = |port: u16| {
                let key = (port, wish.protocol);
                let leased_elsewhere = leases.iter().any(|lease| {
                    (lease.binding.host_port, lease.binding.protocol) == key
                        && !(lease.service == *request.service
                            && lease.binding.container_port == wish.container_port)
                });
                !assigned.contains_key(&key) && !refused.contains(&key) && !leased_elsewhere
            };
            let kept = leases
                .iter()
                .find(|lease| {
                    lease.service == *request.service
                        && lease.binding.container_port == wish.container_port
                        && lease.binding.protocol == wish.protocol
                })
                .map(|lease| lease.binding.host_port)
                .filter(|port| is_free(*port));
            let wished = wish
                .host_port
                .and_then(|first| (first..=wish.host_port_end.unwrap_or(first)).find(|port| is_free(*port)));
            let in_range = || range.and_then(|range| (range.start..=range.end).find(|port| is_free(*port)));
            let (port, why) = if let Some(port) = kept {
                (port, "leased before")
            } else if let Some(port) = wished {
                (port, "as the file wishes")
            } else if let Some(port) = in_range() {
                (port, "first free of the range")
            } else {
                return Err(no_port_left(request, wish, range));
            };
            assigned.insert((port, wish.protocol), request.owner.clone());
            decided.insert(
                (r, w),
                Assignment {
                    service: request.service.clone(),
                    owner: request.owner.clone(),
                    binding: bind(wish, port),
                    why,
                    movable: true,
                    taken_from: None,
                },
            );
        }
    }

    Ok(if clashes.is_empty() { Ok(decided.into_values().collect()) } else { Err(clashes) })
}

fn bind(wish: &Wish, port: u16) -> Binding {
    Binding {
        container_port: wish.container_port,
        host_port: port,
        host_ip: wish.host_ip.clone().unwrap_or_else(|| LOOPBACK.to_owned()),
        protocol: wish.protocol,
    }
}

fn is_clashing(clashes: &[Clash], request: &Request<'_>, wish: &Wish) -> bool {
    clashes.iter().any(|clash| {
        clash.owner == *request.owner
            && Some(clash.binding.host_port) == wish.host_port
            && clash.binding.container_port == wish.container_port
            && clash.binding.protocol == wish.protocol
    })
}

fn no_port_left(request: &Request<'_>, wish: &Wish, range: Option<&Range>) -> Error {
    let place = match range {
        Some(range) => format!("range {} {}-{} has no free port", range.project, range.start, range.end),
        None => "the project has no port range".to_owned(),
    };
    Error::new(
        Reason::PortRangeFull,
        format!(
            "{place} for `{}` port {}; release one, or write a host port into the file",
            request.owner, wish.container_port
        ),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn service(n: usize) -> (ServiceId, ServiceRef) {
        (ServiceId::trusted(format!("svc_{n}")), ServiceRef::parse("id", &format!("shop/s{n}")).unwrap())
    }

    fn wish(container_port: u16, host_port: Option<u16>) -> Wish {
        Wish { container_port, host_port, host_port_end: None, host_ip: None, protocol: Protocol::Tcp }
    }

    fn shop() -> GroupRef {
        GroupRef::parse("group", "shop").unwrap()
    }

    fn lease(n: usize, container_port: u16, host_port: u16, firm: bool) -> Lease {
        let (id, owner) = service(n);
        Lease { service: id, owner, binding: bind(&wish(container_port, None), host_port), firm }
    }

    fn one(
        wishes: &[Wish],
        leases: &[Lease],
        range: Option<&Range>,
        refused: &[u16],
    ) -> Result<Vec<Assignment>, Vec<Clash>> {
        let (id, owner) = service(0);
        let refused = refused.iter().map(|port| (*port, Protocol::Tcp)).collect();
        assign(&shop(), &[Request { service: &id, owner: &owner, wishes }], leases, range, &refused).unwrap()
    }

    #[test]
    fn a_fixed_port_is_bound_to_loopback() {
        let ports = one(&[wish(3000, Some(3000))], &[], None, &[]).unwrap();
        assert_eq!(
            ports[0].binding,
            Binding {
                container_port: 3000,
                host_port: 3000,
                host_ip: "127.0.0.1".into(),
                protocol: Protocol::Tcp
            }
        );
    }

    #[test]
    fn a_firm_lease_of_another_service_is_a_clash_that_names_it() {
        let clashes = one(&[wish(5432, Some(5432))], &[lease(7, 5432, 5432, true)], None, &[]).unwrap_err();
        assert_eq!(clashes[0].holder.to_string(), "service `shop/s7`");
    }

    #[test]
    fn the_lease_of_a_stopped_service_yields_to_a_fixed_port() {
        let ports = one(&[wish(5432, Some(5432))], &[lease(7, 5432, 5432, false)], None, &[]).unwrap();
        assert_eq!(ports[0].taken_from.as_ref().unwrap().to_string(), "shop/s7");
    }

    #[test]
    fn a_chosen_port_is_kept_and_avoids_leases_and_refused_ports() {
        let ranges = default_ranges();
        let range = range_for(&ranges, "shop", None);
        let ports = one(&[wish(80, None)], &[lease(7, 80, 5000, false)], range, &[5001]).unwrap();
        assert_eq!(ports[0].binding.host_port, 5002);
        let again = one(&[wish(80, None)], &[lease(0, 80, 5007, true)], range, &[]).unwrap();
        assert_eq!((again[0].binding.host_port, again[0].why), (5007, "leased before"));
    }

    #[test]
    fn in_another_instance_a_fixed_port_is_only_a_wish() {
        let (id, owner) = service(0);
        let wishes = [wish(5432, Some(5432))];
        let requests = [Request { service: &id, owner: &owner, wishes: &wishes }];
        let copy = GroupRef::parse("group", "shop~x").unwrap();
        let ranges = default_ranges();
        let leases = [lease(7, 5432, 5432, true)];
        let ports = assign(&copy, &requests, &leases, range_for(&ranges, "shop", None), &BTreeSet::new())
            .unwrap()
            .unwrap();
        assert_eq!(ports[0].binding.host_port, 5000);
    }

    #[test]
    fn a_full_range_has_no_free_port() {
        let (id, owner) = service(0);
        let wishes = [wish(1, None), wish(2, None)];
        let requests = [Request { service: &id, owner: &owner, wishes: &wishes }];
        let range = Range { project: "tiny".into(), start: 6000, end: 6000 };
        let error = assign(&shop(), &requests, &[], Some(&range), &BTreeSet::new()).unwrap_err();
        assert_eq!(error.reason(), Reason::PortRangeFull);
        assert!(error.message().contains("tiny 6000-6000"), "{error}");
        let homeless = assign(&shop(), &requests, &[], None, &BTreeSet::new()).unwrap_err();
        assert!(homeless.message().contains("no port range"), "{homeless}");
    }

    #[test]
    fn two_services_on_one_fixed_port_clash() {
        let ((a, a_ref), (b, b_ref)) = (service(0), service(1));
        let wishes = [wish(80, Some(8080))];
        let requests = [
            Request { service: &a, owner: &a_ref, wishes: &wishes },
            Request { service: &b, owner: &b_ref, wishes: &wishes },
        ];
        let clashes = assign(&shop(), &requests, &[], None, &BTreeSet::new()).unwrap().unwrap_err();
        assert_eq!(clashes[0].owner, b_ref);
    }

    #[test]
    fn a_group_finds_its_range_by_name_then_by_wish_then_by_part_then_core() {
        let ranges = default_ranges();
        let project =
            |group: &str, named: Option<&str>| range_for(&ranges, group, named).unwrap().project.clone();
        assert_eq!(project("pkb", Some("apis")), "pkb");
        assert_eq!(project("shop", Some("apis")), "apis");
        assert_eq!(project("my-pkb-tools", None), "pkb");
        assert_eq!(project("shop", None), "core");
    }

    proptest! {
        #[test]
        fn no_port_ever_has_two_owners_and_the_choice_is_stable(
            wishes in proptest::collection::vec((0usize..6, 1u16..5, proptest::option::of(6000u16..6010)), 1..12),
            leased in proptest::collection::vec((0usize..9, 1u16..5, 6000u16..6012, any::<bool>()), 0..6),
            refused in proptest::collection::btree_set(6000u16..6010, 0..3),
        ) {
            let mut by_service: BTreeMap<usize, Vec<Wish>> = BTreeMap::new();
            for (n, container, host) in wishes {
                let list = by_service.entry(n).or_default();
                if list.iter().all(|wish| wish.container_port != container) {
                    list.push(wish(container, host));
                }
            }
            let names: BTreeMap<usize, _> = by_service.keys().map(|n| (*n, service(*n))).collect();
            let requests: Vec<Request<'_>> = by_service
                .iter()
                .map(|(n, wishes)| Request { service: &names[n].0, owner: &names[n].1, wishes })
                .collect();
            let mut seen = BTreeSet::new();
            let leases: Vec<Lease> = leased
                .into_iter()
                .filter(|(_, _, port, _)| seen.insert(*port))
                .map(|(n, container, port, firm)| lease(n, container, port, firm))
                .collect();
            let refused: BTreeSet<_> = refused.into_iter().map(|port| (port, Protocol::Tcp)).collect();
            let range = Range { project: "core".into(), start: 6000, end: 6100 };
            let decide = || assign(&shop(), &requests, &leases, Some(&range), &refused).unwrap();
            let first = decide();
            prop_assert_eq!(&first, &decide());
            if let Ok(ports) = first {
                let mut owners = BTreeSet::new();
                for port in &ports {
                    prop_assert!(owners.insert((port.binding.host_port, port.binding.protocol)));
                    prop_assert!(!refused.contains(&(port.binding.host_port, port.binding.protocol)));
                }
                let wanted: usize = by_service.values().map(Vec::len).sum();
                prop_assert_eq!(ports.len(), wanted);
            }
        }
    }
}
