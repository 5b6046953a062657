//! Published ports, long and short.

use std::collections::BTreeSet;
use std::net::IpAddr;

use clos_domain::name::shown;
use clos_domain::port::{Protocol, Wish};
use clos_proto::v2 as pb;

use super::Violations;
use crate::encode;

/// What the request says of ports, beside what the caller was shown before.
pub(crate) fn ports(
    v: &mut Violations,
    wanted: &pb::Service,
    before: Option<&clos_domain::service::Service>,
) -> Vec<Wish> {
    let shown = before.map(encode::port::ports).unwrap_or_default();
    let shown: Vec<pb::ServicePort> = shown.iter().map(said).collect();
    let wanted_ports: Vec<pb::ServicePort> = wanted.ports.iter().map(said).collect();
    let shown_short = encode::port::short(&shown);
    // What was shown comes back with the rest of the message; only another value is a wish.
    let short = wanted.port.filter(|port| wanted.ports.is_empty() || Some(*port) != shown_short);
    match short {
        None => long(v, &wanted_ports, &shown, before),
        Some(port) if wanted.ports.is_empty() || wanted_ports == shown => {
            let port: Option<u16> = v.within("port", port.into(), 1024, 65_535);
            port.map(same_inside_and_outside).into_iter().collect()
        }
        Some(port) if encode::port::short(&wanted.ports) == Some(port) => {
            long(v, &wanted_ports, &shown, before)
        }
        Some(port) => {
            v.add("port", format!("{port} stands beside ports; give one of them"));
            long(v, &wanted_ports, &shown, before)
        }
    }
}

/// The part of a port that a caller decides.
fn said(port: &pb::ServicePort) -> pb::ServicePort {
    pb::ServicePort { addresses: Vec::new(), ..port.clone() }
}

fn same_inside_and_outside(port: u16) -> Wish {
    Wish {
        container_port: port,
        host_port: Some(port),
        host_port_end: None,
        host_ip: None,
        protocol: Protocol::Tcp,
    }
}

fn long(
    v: &mut Violations,
    wanted: &[pb::ServicePort],
    shown: &[pb::ServicePort],
    before: Option<&clos_domain::service::Service>,
) -> Vec<Wish> {
    let wishes = before.map(|service| service.definition.ports.as_slice()).unwrap_or_default();
    let mut kept: Vec<(&pb::ServicePort, &Wish)> = shown.iter().zip(wishes).collect();
    let mut published = BTreeSet::new();
    let mut read = Vec::with_capacity(wanted.len());
    for (index, port) in wanted.iter().enumerate() {
        let field = format!("ports[{index}]");
        let wish = match kept.iter().position(|(shown, _)| *shown == port) {
            // A port that CLOS chose is shown with its number and stays a choice.
            Some(at) => Some(kept.remove(at).1.clone()),
            None => one(v, &field, port),
        };
        let Some(wish) = wish else { continue };
        let is_fixed = wish.host_port.is_some() && wish.host_port_end.is_none();
        if is_fixed && !published.insert((wish.host_port, wish.host_ip.clone(), wish.protocol)) {
            let host_port = wish.host_port.unwrap_or_default();
            let protocol = wish.protocol.as_str();
            v.add(
                format!("{field}.host_port"),
                format!("{host_port}/{protocol} is published twice; once is enough"),
            );
        }
        read.push(wish);
    }
    read
}

fn one(v: &mut Violations, field: &str, port: &pb::ServicePort) -> Option<Wish> {
    let before = v.count();
    let container_port = v.within(&format!("{field}.container_port"), port.container_port.into(), 1, 65_535);
    let mut outside = |name: &str, number: Option<i32>| -> Option<u16> {
        number.and_then(|number| v.within(&format!("{field}.{name}"), number.into(), 1, 65_535))
    };
    let host_port = outside("host_port", port.host_port);
    let host_port_end = outside("host_port_end", port.host_port_end);
    match (host_port, host_port_end) {
        (Some(first), Some(last)) if last < first => {
            v.add(format!("{field}.host_port_end"), format!("{last} is below host_port, {first}"));
        }
        (None, Some(last)) if port.host_port.is_none() => {
            v.add(
                format!("{field}.host_port_end"),
                format!("{last} ends a range without a host_port that begins it"),
            );
        }
        _ => {}
    }
    if !port.host_ip.is_empty() && port.host_ip.parse::<IpAddr>().is_err() {
        let message =
            format!("`{}` is not an IP address; leave it out for the local addresses", shown(&port.host_ip));
        v.add(format!("{field}.host_ip"), message);
    }
    let protocol = protocol(v, &format!("{field}.protocol"), port.protocol)?;
    if v.count() > before {
        return None;
    }
    let host_ip = super::some(&port.host_ip);
    Some(Wish { container_port: container_port?, host_port, host_port_end, host_ip, protocol })
}

fn protocol(v: &mut Violations, field: &str, number: i32) -> Option<Protocol> {
    Some(match v.word(field, number)? {
        pb::Protocol::Unspecified | pb::Protocol::Tcp => Protocol::Tcp,
        pb::Protocol::Udp => Protocol::Udp,
        pb::Protocol::Sctp => Protocol::Sctp,
    })
}
