//! Ports that are published.

use clos_domain::port::{Binding, Protocol, Wish};
use clos_domain::service::Service;
use clos_proto::v2 as pb;

/// The ports of a service, with the host ports that it has; one for each wish, in their order.
pub(crate) fn ports(service: &Service) -> Vec<pb::ServicePort> {
    let mut leases: Vec<&Binding> = service.ports.iter().collect();
    let wishes = &service.definition.ports;
    // A wish for a certain port goes before one for any, so that no lease is shown at the wrong one.
    let mut bound: Vec<Option<u16>> = wishes
        .iter()
        .map(|wish| {
            let at = leases
                .iter()
                .position(|lease| fits(wish, lease) && wish.host_port == Some(lease.host_port))?;
            Some(leases.remove(at).host_port)
        })
        .collect();
    for (wish, bound) in wishes.iter().zip(&mut bound).filter(|(_, bound)| bound.is_none()) {
        if let Some(at) = leases.iter().position(|lease| fits(wish, lease)) {
            *bound = Some(leases.remove(at).host_port);
        }
    }
    wishes.iter().zip(bound).map(|(wish, bound)| port(wish, bound.or(wish.host_port))).collect()
}

/// The ports as they are wished for, without what was chosen.
pub(crate) fn wishes(wishes: &[Wish]) -> Vec<pb::ServicePort> {
    wishes.iter().map(|wish| port(wish, wish.host_port)).collect()
}

fn fits(wish: &Wish, lease: &Binding) -> bool {
    wish.container_port == lease.container_port && wish.protocol == lease.protocol
}

fn port(wish: &Wish, host_port: Option<u16>) -> pb::ServicePort {
    pb::ServicePort {
        container_port: wish.container_port.into(),
        host_port: host_port.map(i32::from),
        host_ip: super::text(wish.host_ip.as_ref()),
        protocol: protocol(wish.protocol).into(),
        host_port_end: wish.host_port_end.map(i32::from),
    }
}

/// The short form: the first host port.
pub(crate) fn short(ports: &[pb::ServicePort]) -> Option<i32> {
    ports.iter().find_map(|port| port.host_port)
}

pub(crate) fn protocol(protocol: Protocol) -> pb::Protocol {
    match protocol {
        Protocol::Tcp => pb::Protocol::Tcp,
        Protocol::Udp => pb::Protocol::Udp,
        Protocol::Sctp => pb::Protocol::Sctp,
    }
}
