//! Ports, mounts, and the configs and secrets of a service.

use crate::finding::{Code, Key};
use crate::model::{
    BindOptions, FileMount, Mount, MountKind, Port, Protocol, Published, TmpfsOptions, VolumeOptions,
};
use crate::node::{Map, Node};
use crate::paths;
use crate::short;

use super::read::Reader;
use super::service::one_of;

pub(super) fn ports(r: &mut Reader<'_>, node: &Node, key: &Key) -> Vec<Port> {
    let mut ports = Vec::new();
    for (index, item) in r.list(node, key).unwrap_or_default().iter().enumerate() {
        if !item.pending {
            ports.extend(port(r, item, &key.item(index)));
        }
    }
    ports
}

fn port(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<Port> {
    let map = r.map(node, key)?;
    let mut target = None;
    let mut port = Port {
        target: 0,
        published: None,
        host_ip: None,
        protocol: Protocol::Tcp,
        mode: "ingress".to_owned(),
        name: None,
        app_protocol: None,
        at: node.at.clone(),
    };
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "target" => target = Some(container_port(r, value, &own)),
            "published" => port.published = published(r, value, &own),
            "host_ip" => port.host_ip = host_ip(r, value, &own),
            "protocol" => port.protocol = protocol(r, value, &own).unwrap_or(Protocol::Tcp),
            "mode" => port.mode = r.some_text(value, &own).unwrap_or(port.mode),
            "name" => port.name = r.some_text(value, &own),
            "app_protocol" => port.app_protocol = r.some_text(value, &own),
            _ if field.starts_with("x-") => {}
            _ => r.unknown(field, entry, key),
        }
    }
    match target {
        Some(Some(target)) => {
            port.target = target;
            Some(port)
        }
        Some(None) => None,
        None => {
            r.error(
                Code::MissingKey,
                node,
                &key.child("target"),
                "a port needs a target, the port in the container",
            );
            None
        }
    }
}

fn container_port(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<u16> {
    let number = r.integer(node, key)?;
    match u16::try_from(number) {
        Ok(port) if port > 0 => Some(port),
        _ => {
            r.error(Code::InvalidValue, node, key, format!("{number} is no port (1-65535)"));
            None
        }
    }
}

fn published(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<Published> {
    let text = r.text_or_number(node, key).filter(|text| !text.is_empty())?;
    match short::range(&text, &text) {
        // The engine's way to say "any".
        Ok((0, 0)) => None,
        Ok((first, last)) if first == last => Some(Published::Port(first)),
        Ok((first, last)) => Some(Published::OneOf { first, last }),
        Err(_) => {
            let shown = crate::node::shorten(&text);
            r.error(
                Code::InvalidValue,
                node,
                key,
                format!("`{shown}` is not a port or range of ports (1-65535)"),
            );
            None
        }
    }
}

fn host_ip(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<String> {
    let text = r.some_text(node, key)?;
    if text.parse::<std::net::IpAddr>().is_err() {
        r.error(
            Code::InvalidValue,
            node,
            key,
            format!("`{}` is not an IP address", crate::node::shorten(&text)),
        );
        return None;
    }
    Some(text)
}

fn protocol(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<Protocol> {
    let word = one_of(r, node, key, &["tcp", "udp", "sctp"])?;
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|protocol| protocol.as_str() == word)
}

pub(super) fn mounts(r: &mut Reader<'_>, node: &Node, key: &Key) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for (index, item) in r.list(node, key).unwrap_or_default().iter().enumerate() {
        if !item.pending {
            mounts.extend(mount(r, item, &key.item(index)));
        }
    }
    mounts
}

fn mount(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<Mount> {
    const KINDS: [MountKind; 6] = [
        MountKind::Bind,
        MountKind::Volume,
        MountKind::Tmpfs,
        MountKind::Image,
        MountKind::NamedPipe,
        MountKind::Cluster,
    ];
    let map = r.map(node, key)?;
    let Some(kind) = map.get("type") else {
        r.error(Code::MissingKey, node, &key.child("type"), "a volume in the long form needs a type");
        return None;
    };
    let word = one_of(r, kind, &key.child("type"), &KINDS.map(MountKind::as_str))?;
    let mut mount = Mount {
        kind: KINDS.into_iter().find(|kind| kind.as_str() == word)?,
        source: None,
        target: String::new(),
        read_only: false,
        consistency: None,
        bind: None,
        volume: None,
        tmpfs: None,
        image_subpath: None,
        at: node.at.clone(),
    };
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "type" => {}
            "source" => mount.source = r.some_text(value, &own),
            "target" => {
                mount.target = r.text(value, &own).map(|target| paths::clean(&target)).unwrap_or_default();
            }
            "read_only" => mount.read_only = r.boolean(value, &own).unwrap_or_default(),
            "consistency" => mount.consistency = r.some_text(value, &own),
            "bind" => mount.bind = r.map(value, &own).map(|map| bind(r, map, &own)),
            "volume" => mount.volume = r.map(value, &own).map(|map| volume(r, map, &own)),
            "tmpfs" => mount.tmpfs = r.map(value, &own).map(|map| tmpfs(r, map, &own)),
            "image" => mount.image_subpath = r.map(value, &own).and_then(|map| image(r, map, &own)),
            _ if field.starts_with("x-") => {}
            _ => r.unknown(field, entry, key),
        }
    }
    if mount.target.is_empty() {
        r.error(
            Code::MissingKey,
            node,
            &key.child("target"),
            "a volume needs a target, the path in the container",
        );
        return None;
    }
    if mount.kind == MountKind::Bind && mount.source.is_none() {
        r.error(
            Code::MissingKey,
            node,
            &key.child("source"),
            "a bind mount needs a source, the path on the host",
        );
        return None;
    }
    Some(mount)
}

fn bind(r: &mut Reader<'_>, map: &Map, key: &Key) -> BindOptions {
    let mut options =
        BindOptions { propagation: None, create_host_path: true, recursive: None, selinux: None };
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "propagation" => options.propagation = r.some_text(value, &own),
            "create_host_path" => options.create_host_path = r.boolean(value, &own).unwrap_or(true),
            "recursive" => {
                options.recursive = one_of(r, value, &own, &["enabled", "disabled", "writable", "readonly"]);
            }
            "selinux" => options.selinux = one_of(r, value, &own, &["z", "Z"]),
            _ if field.starts_with("x-") => {}
            _ => r.unknown(field, entry, key),
        }
    }
    options
}

fn volume(r: &mut Reader<'_>, map: &Map, key: &Key) -> VolumeOptions {
    let mut options = VolumeOptions::default();
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "nocopy" => options.no_copy = r.boolean(value, &own).unwrap_or_default(),
            "subpath" => options.subpath = r.some_text(value, &own),
            "labels" => options.labels = r.labels(value, &own),
            _ if field.starts_with("x-") => {}
            _ => r.unknown(field, entry, key),
        }
    }
    options
}

fn tmpfs(r: &mut Reader<'_>, map: &Map, key: &Key) -> TmpfsOptions {
    let mut options = TmpfsOptions::default();
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "size" => options.size = r.bytes(value, &own),
            "mode" => options.mode = r.file_mode(value, &own),
            _ if field.starts_with("x-") => {}
            _ => r.unknown(field, entry, key),
        }
    }
    options
}

fn image(r: &mut Reader<'_>, map: &Map, key: &Key) -> Option<String> {
    let mut subpath = None;
    for (field, entry) in map.iter() {
        match field.as_str() {
            "subpath" => subpath = r.some_text(&entry.value, &key.child(field)),
            _ if field.starts_with("x-") => {}
            _ => r.unknown(field, entry, key),
        }
    }
    subpath
}

pub(super) fn file_mounts(r: &mut Reader<'_>, node: &Node, key: &Key) -> Vec<FileMount> {
    let mut mounts = Vec::new();
    for (index, item) in r.list(node, key).unwrap_or_default().iter().enumerate() {
        let key = key.item(index);
        if item.pending {
            continue;
        }
        let Some(map) = r.map(item, &key) else { continue };
        let mut mount = FileMount {
            source: String::new(),
            target: None,
            uid: None,
            gid: None,
            mode: None,
            at: item.at.clone(),
        };
        for (field, entry) in map.iter() {
            let (value, own) = (&entry.value, key.child(field));
            match field.as_str() {
                "source" => mount.source = r.text(value, &own).unwrap_or_default(),
                "target" => mount.target = r.some_text(value, &own),
                "uid" => mount.uid = r.some_text(value, &own),
                "gid" => mount.gid = r.some_text(value, &own),
                "mode" => mount.mode = r.file_mode(value, &own),
                _ if field.starts_with("x-") => {}
                _ => r.unknown(field, entry, &key),
            }
        }
        if mount.source.is_empty() {
            r.error(Code::MissingKey, item, &key.child("source"), "it has to name what is mounted");
            continue;
        }
        mounts.push(mount);
    }
    mounts
}
