//! Who gets which host port: a pure decision over wishes, leases and what binds found taken.

use std::collections::{BTreeMap, BTreeSet};

use super::{Binding, Claim, Holder, Lease, Published, Range, Wish};
use crate::error::{Error, Reason};
use crate::id::ServiceId;
use crate::name::{GroupRef, ServiceRef};

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

/// What a decision is made over.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Everybody's leases.
    pub leases: &'a [Lease],
    /// Services that the same plan removes first: their leases yield to a fixed port.
    pub leaving: &'a BTreeSet<ServiceId>,
    /// Where a port comes from that nobody names.
    pub range: Option<&'a Range>,
    /// Where a port without an address is bound.
    pub addresses: &'a [String],
    /// What a bind found taken by somebody outside.
    pub refused: &'a BTreeSet<Claim>,
}

/// What was decided for one wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Whose.
    pub service: ServiceId,
    /// Resource name of whose.
    pub owner: ServiceRef,
    /// The decision.
    pub port: Published,
    /// Why this port, for the plan.
    pub why: &'static str,
    /// The choice was ours: another port would do.
    pub movable: bool,
    /// Services that are stopped or removed, and lose their lease to this one.
    pub taken_from: Vec<ServiceRef>,
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
/// of the range. Leases of services that ask are theirs to give away.
/// The result is stable: the same arguments give the same ports.
///
/// # Errors
/// Every clash at once, or a range without a free port.
pub fn assign(
    group: &GroupRef,
    requests: &[Request<'_>],
    terms: Terms<'_>,
) -> Result<Result<Vec<Assignment>, Vec<Clash>>, Error> {
    let asking: BTreeSet<&ServiceId> = requests.iter().map(|request| request.service).collect();
    let mut decided: BTreeMap<(usize, usize), Assignment> = BTreeMap::new();
    let mut clashes = Vec::new();
    let mut clashing: BTreeSet<(usize, usize)> = BTreeSet::new();

    // Fixed ports first, so that no choice of ours stands in the way of one.
    for (r, request) in requests.iter().enumerate() {
        for (w, wish) in request.wishes.iter().enumerate() {
            let Some(port) = wish.host_port else { continue };
            let is_fixed = group.instance.is_none() && wish.host_port_end.is_none_or(|end| end == port);
            if !is_fixed {
                continue;
            }
            let wanted = publish(wish, port, terms.addresses);
            let leases = terms.leases.iter().filter(|lease| {
                !asking.contains(&lease.service)
                    && wanted.bindings().any(|binding| binding.collides(&lease.binding))
            });
            let (firm, loose): (Vec<&Lease>, Vec<&Lease>) =
                leases.partition(|lease| lease.firm && !terms.leaving.contains(&lease.service));
            let before = clashes.len();
            let mut named: BTreeSet<&ServiceRef> = BTreeSet::new();
            for binding in wanted.bindings() {
                let decided = decided.values().filter(|one| holds(one, &binding)).map(|one| &one.owner);
                let leased = firm.iter().filter(|lease| lease.binding.collides(&binding));
                let owners: Vec<&ServiceRef> = decided.chain(leased.map(|lease| &lease.owner)).collect();
                let mut clash = |holder| {
                    clashes.push(Clash { owner: request.owner.clone(), binding: binding.clone(), holder });
                };
                if owners.is_empty() && terms.refused.contains(&binding.claim()) {
                    clash(Holder::Unknown);
                }
                for owner in owners {
                    if named.insert(owner) {
                        clash(Holder::Service { name: owner.to_string(), running: true });
                    }
                }
            }
            if clashes.len() > before {
                clashing.insert((r, w));
                continue;
            }
            let mut taken_from: Vec<ServiceRef> = loose.iter().map(|lease| lease.owner.clone()).collect();
            taken_from.dedup();
            decided.insert(
                (r, w),
                Assignment {
                    service: request.service.clone(),
                    owner: request.owner.clone(),
                    port: wanted,
                    why: "as the file says",
                    movable: false,
                    taken_from,
                },
            );
        }
    }

    for (r, request) in requests.iter().enumerate() {
        for (w, wish) in request.wishes.iter().enumerate() {
            if decided.contains_key(&(r, w)) || clashing.contains(&(r, w)) {
                continue;
            }
            let is_own = |lease: &Lease| {
                lease.service == *request.service
                    && lease.binding.container_port == wish.container_port
                    && lease.binding.protocol == wish.protocol
            };
            let is_free = |port: u16| {
                publish(wish, port, terms.addresses).bindings().all(|binding| {
                    let is_leased =
                        terms.leases.iter().any(|lease| lease.binding.collides(&binding) && !is_own(lease));
                    !is_leased
                        && !terms.refused.contains(&binding.claim())
                        && !decided.values().any(|one| holds(one, &binding))
                })
            };
            let at_its_address =
                |lease: &&Lease| wish.host_ip.as_ref().is_none_or(|ip| *ip == lease.binding.host_ip);
            let kept = terms
                .leases
                .iter()
                .filter(|lease| is_own(lease))
                .filter(at_its_address)
                .map(|lease| lease.binding.host_port)
                .find(|port| is_free(*port));
            let wished = wish
                .host_port
                .and_then(|first| (first..=wish.host_port_end.unwrap_or(first)).find(|port| is_free(*port)));
            let in_range =
                || terms.range.and_then(|range| (range.start..=range.end).find(|port| is_free(*port)));
            let (port, why) = if let Some(port) = kept {
                (port, "leased before")
            } else if let Some(port) = wished {
                (port, "as the file wishes")
            } else if let Some(port) = in_range() {
                (port, "first free of the range")
            } else {
                return Err(no_port_left(request, wish, terms.range));
            };
            decided.insert(
                (r, w),
                Assignment {
                    service: request.service.clone(),
                    owner: request.owner.clone(),
                    port: publish(wish, port, terms.addresses),
                    why,
                    movable: true,
                    taken_from: Vec::new(),
                },
            );
        }
    }

    Ok(if clashes.is_empty() { Ok(decided.into_values().collect()) } else { Err(clashes) })
}

fn holds(assignment: &Assignment, binding: &Binding) -> bool {
    assignment.port.host_port == binding.host_port
        && assignment.port.bindings().any(|held| held.collides(binding))
}

fn publish(wish: &Wish, port: u16, addresses: &[String]) -> Published {
    Published {
        container_port: wish.container_port,
        host_port: port,
        host_ip: wish.host_ip.clone(),
        addresses: wish.host_ip.clone().map_or_else(|| addresses.to_vec(), |named| vec![named]),
        protocol: wish.protocol,
    }
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
    use crate::port::{Protocol, default_ranges, range_for};

    fn loopback() -> Vec<String> {
        vec!["127.0.0.1".to_owned()]
    }

    fn refused(ports: &[u16]) -> BTreeSet<Claim> {
        let claim =
            |port: &u16| Claim { host_ip: "127.0.0.1".to_owned(), host_port: *port, protocol: Protocol::Tcp };
        ports.iter().map(claim).collect()
    }

    /// A decision over leases and a range alone.
    fn decide(
        group: &GroupRef,
        requests: &[Request<'_>],
        leases: &[Lease],
        range: Option<&Range>,
        taken: &[u16],
    ) -> Result<Result<Vec<Assignment>, Vec<Clash>>, Error> {
        let (leaving, addresses, refused) = (BTreeSet::new(), loopback(), refused(taken));
        let terms = Terms { leases, leaving: &leaving, range, addresses: &addresses, refused: &refused };
        assign(group, requests, terms)
    }

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
        let published = publish(&wish(container_port, None), host_port, &loopback());
        let binding = published.bindings().next().unwrap();
        Lease { service: id, owner, binding, firm }
    }

    fn one(
        wishes: &[Wish],
        leases: &[Lease],
        range: Option<&Range>,
        refused: &[u16],
    ) -> Result<Vec<Assignment>, Vec<Clash>> {
        let (id, owner) = service(0);
        decide(&shop(), &[Request { service: &id, owner: &owner, wishes }], leases, range, refused).unwrap()
    }

    #[test]
    fn a_fixed_port_is_bound_to_loopback() {
        let ports = one(&[wish(3000, Some(3000))], &[], None, &[]).unwrap();
        assert_eq!(
            ports[0].port,
            Published {
                container_port: 3000,
                host_port: 3000,
                host_ip: None,
                addresses: loopback(),
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
        assert_eq!(ports[0].taken_from[0].to_string(), "shop/s7");
    }

    #[test]
    fn a_chosen_port_is_kept_and_avoids_leases_and_refused_ports() {
        let ranges = default_ranges();
        let range = range_for(&ranges, "shop", None);
        let ports = one(&[wish(80, None)], &[lease(7, 80, 5000, false)], range, &[5001]).unwrap();
        assert_eq!(ports[0].port.host_port, 5002);
        let again = one(&[wish(80, None)], &[lease(0, 80, 5007, true)], range, &[]).unwrap();
        assert_eq!((again[0].port.host_port, again[0].why), (5007, "leased before"));
    }

    #[test]
    fn in_another_instance_a_fixed_port_is_only_a_wish() {
        let (id, owner) = service(0);
        let wishes = [wish(5432, Some(5432))];
        let requests = [Request { service: &id, owner: &owner, wishes: &wishes }];
        let copy = GroupRef::parse("group", "shop~x").unwrap();
        let ranges = default_ranges();
        let leases = [lease(7, 5432, 5432, true)];
        let ports =
            decide(&copy, &requests, &leases, range_for(&ranges, "shop", None), &[]).unwrap().unwrap();
        assert_eq!(ports[0].port.host_port, 5000);
    }

    #[test]
    fn a_full_range_has_no_free_port() {
        let (id, owner) = service(0);
        let wishes = [wish(1, None), wish(2, None)];
        let requests = [Request { service: &id, owner: &owner, wishes: &wishes }];
        let range = Range { project: "tiny".into(), start: 6000, end: 6000 };
        let error = decide(&shop(), &requests, &[], Some(&range), &[]).unwrap_err();
        assert_eq!(error.reason(), Reason::PortRangeFull);
        assert!(error.message().contains("tiny 6000-6000"), "{error}");
        let homeless = decide(&shop(), &requests, &[], None, &[]).unwrap_err();
        assert!(homeless.message().contains("no port range"), "{homeless}");
    }

    #[test]
    fn one_number_at_two_addresses_is_two_ports_and_the_choice_beside_them_is_kept() {
        let at = |ip: &str, host_port| Wish { host_ip: Some(ip.into()), ..wish(80, host_port) };
        let wishes = [at("::1", Some(8080)), at("127.0.0.1", Some(8080)), at("::1", None)];
        let range = Range { project: "core".into(), start: 5000, end: 5999 };
        let ports = one(&wishes, &[], Some(&range), &[]).unwrap();
        let shown: Vec<_> =
            ports.iter().map(|one| (one.port.host_port, one.port.addresses[0].as_str())).collect();
        assert_eq!(shown, [(8080, "::1"), (8080, "127.0.0.1"), (5000, "::1")]);

        let (id, owner) = service(0);
        let leases: Vec<Lease> = ports
            .iter()
            .flat_map(|one| one.port.bindings())
            .map(
                |binding| {
                    if binding.host_port == 5000 { Binding { host_port: 5007, ..binding } } else { binding }
                },
            )
            .map(|binding| Lease { service: id.clone(), owner: owner.clone(), binding, firm: true })
            .collect();
        let again = one(&wishes, &leases, Some(&range), &[]).unwrap();
        assert_eq!((again[2].port.host_port, again[2].why), (5007, "leased before"));
    }

    #[test]
    fn a_port_without_an_address_claims_every_local_one() {
        let (id, owner) = service(0);
        let wishes = [wish(80, Some(8080))];
        let requests = [Request { service: &id, owner: &owner, wishes: &wishes }];
        let addresses = ["127.0.0.1", "::1", "172.17.0.1"].map(str::to_owned);
        let elsewhere = |ip: &str| {
            let mut other = lease(7, 80, 8080, true);
            other.binding.host_ip = ip.to_owned();
            let (leaving, refused) = (BTreeSet::new(), BTreeSet::new());
            let leases = [other];
            let terms = Terms {
                leases: &leases,
                leaving: &leaving,
                range: None,
                addresses: &addresses,
                refused: &refused,
            };
            assign(&shop(), &requests, terms).unwrap()
        };
        assert_eq!(elsewhere("192.168.0.7").unwrap()[0].port.addresses, addresses);
        for taken in ["::1", "172.17.0.1", "0.0.0.0", "::"] {
            assert_eq!(elsewhere(taken).unwrap_err()[0].holder.to_string(), "service `shop/s7`", "{taken}");
        }
    }

    #[test]
    fn the_lease_of_a_service_that_is_removed_yields_to_a_fixed_port() {
        let (id, owner) = service(0);
        let wishes = [wish(80, Some(8080))];
        let requests = [Request { service: &id, owner: &owner, wishes: &wishes }];
        let (addresses, refused) = (loopback(), BTreeSet::new());
        let leases = [lease(7, 80, 8080, true)];
        let leaving = BTreeSet::from([service(7).0]);
        let terms = Terms {
            leases: &leases,
            leaving: &leaving,
            range: None,
            addresses: &addresses,
            refused: &refused,
        };
        let ports = assign(&shop(), &requests, terms).unwrap().unwrap();
        assert_eq!(ports[0].taken_from[0].to_string(), "shop/s7");
    }

    #[test]
    fn two_services_on_one_fixed_port_clash() {
        let ((a, a_ref), (b, b_ref)) = (service(0), service(1));
        let wishes = [wish(80, Some(8080))];
        let requests = [
            Request { service: &a, owner: &a_ref, wishes: &wishes },
            Request { service: &b, owner: &b_ref, wishes: &wishes },
        ];
        let clashes = decide(&shop(), &requests, &[], None, &[]).unwrap().unwrap_err();
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
            let refused: Vec<u16> = refused.into_iter().collect();
            let range = Range { project: "core".into(), start: 6000, end: 6100 };
            let again = || decide(&shop(), &requests, &leases, Some(&range), &refused).unwrap();
            let first = again();
            prop_assert_eq!(&first, &again());
            if let Ok(ports) = first {
                let mut owners = BTreeSet::new();
                for port in &ports {
                    prop_assert!(owners.insert((port.port.host_port, port.port.protocol)));
                    prop_assert!(!refused.contains(&port.port.host_port));
                }
                let wanted: usize = by_service.values().map(Vec::len).sum();
                prop_assert_eq!(ports.len(), wanted);
            }
        }
    }
}
