//! Ports that are published.

use clos_domain::port::{self, Protocol, Wish};
use clos_domain::service::Service;
use clos_proto::v2 as pb;

/// The ports of a service, with the host ports that it has; one for each wish, in their order.
pub(crate) fn ports(service: &Service) -> Vec<pb::ServicePort> {
    let wishes = &service.definition.ports;
    let had = port::published(wishes, &service.ports);
    wishes
        .iter()
        .zip(had)
        .map(|(wish, had)| match had {
            Some(had) => of_wish(wish, Some(had.host_port), had.addresses),
            None => of_wish(wish, wish.host_port, Vec::new()),
        })
        .collect()
}

/// The ports as they are wished for, without what was chosen.
pub(crate) fn wishes(wishes: &[Wish]) -> Vec<pb::ServicePort> {
    wishes.iter().map(|wish| of_wish(wish, wish.host_port, Vec::new())).collect()
}

fn of_wish(wish: &Wish, host_port: Option<u16>, addresses: Vec<String>) -> pb::ServicePort {
    pb::ServicePort {
        container_port: wish.container_port.into(),
        host_port: host_port.map(i32::from),
        host_ip: super::text(wish.host_ip.as_ref()),
        protocol: protocol(wish.protocol).into(),
        host_port_end: wish.host_port_end.map(i32::from),
        addresses,
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
