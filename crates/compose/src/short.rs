//! The short forms: `127.0.0.1:8080-8081:80-81/udp`, `./src:/app:ro,z`, `/dev/a:/dev/b:rw`.

use std::net::IpAddr;

use crate::limits;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Problem(String);

fn problem<T>(message: impl Into<String>) -> Result<T, Problem> {
    Err(Problem(message.into()))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) host_ip: Option<String>,
    /// One port, or a range to choose from: `8080`, `8000-8010`.
    pub(crate) published: Option<String>,
    pub(crate) target: u16,
    pub(crate) protocol: String,
}

/// `[[ip:]host:]container[/protocol]`; a range stands for as many ports.
pub(crate) fn ports(spec: &str) -> Result<Vec<Port>, Problem> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (ip, host, container) = match parts.as_slice() {
        [container] => (String::new(), "", *container),
        [host, container] => (String::new(), *host, *container),
        [before @ .., host, container] => (before.join(":"), *host, *container),
        [] => return problem("a port is empty"),
    };
    let (container, protocol) = match container.split_once('/') {
        Some((container, "")) => (container, "tcp".to_owned()),
        Some((container, protocol)) => (container, protocol.to_ascii_lowercase()),
        None => (container, "tcp".to_owned()),
    };
    if container.is_empty() {
        return problem(format!("`{spec}` names no container port"));
    }
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return problem(format!("`{protocol}` in `{spec}` is not a protocol: tcp, udp or sctp"));
    }
    let host_ip = address(&ip, spec)?;
    let (first, last) = range(container, spec)?;
    let count = u32::from(last) - u32::from(first) + 1;
    if count > limits::PORT_RANGE {
        return problem(format!("`{spec}` stands for {count} ports; the limit is {}", limits::PORT_RANGE));
    }
    let host = if host.is_empty() { None } else { Some(range(host, spec)?) };
    if let Some((host_first, host_last)) = host
        && first != last
        && last - first != host_last - host_first
    {
        return problem(format!("the two ranges in `{spec}` differ in length"));
    }
    let mut ports = Vec::new();
    for offset in 0..=(last - first) {
        let published = host.map(|(host_first, host_last)| {
            let choice = first == last && host_first != host_last;
            if choice { format!("{host_first}-{host_last}") } else { (host_first + offset).to_string() }
        });
        ports.push(Port {
            host_ip: host_ip.clone(),
            published,
            target: first + offset,
            protocol: protocol.clone(),
        });
    }
    // Ports of one range are told apart by their text, as compose sorts them.
    ports.sort_by_key(|port| format!("{}/{}", port.target, port.protocol));
    Ok(ports)
}

fn address(ip: &str, spec: &str) -> Result<Option<String>, Problem> {
    if ip.is_empty() {
        return Ok(None);
    }
    let bare = ip.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(ip);
    if bare.parse::<IpAddr>().is_err() {
        return problem(format!("`{ip}` in `{spec}` is not an IP address"));
    }
    Ok(Some(bare.to_owned()))
}

pub(crate) fn range(text: &str, spec: &str) -> Result<(u16, u16), Problem> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u16>().ok();
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => problem(format!("`{text}` in `{spec}` is not a port or range of ports (1-65535)")),
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) source: Option<String>,
    pub(crate) target: String,
    pub(crate) bind: bool,
    pub(crate) read_only: bool,
    pub(crate) no_copy: bool,
    pub(crate) propagation: Option<String>,
    pub(crate) selinux: Option<String>,
}

/// `[source:]target[:options]`
pub(crate) fn mount(spec: &str) -> Result<Mount, Problem> {
    let sections = mount_sections(spec);
    if spec.is_empty() || sections.iter().any(String::is_empty) {
        return problem(format!("a part of the volume `{spec}` is empty"));
    }
    let mut mount = Mount::default();
    let options = match sections.as_slice() {
        [target] => {
            mount.target.clone_from(target);
            ""
        }
        [source, target] => {
            mount.source = Some(source.clone());
            mount.target.clone_from(target);
            ""
        }
        [source, target, options] => {
            mount.source = Some(source.clone());
            mount.target.clone_from(target);
            options.as_str()
        }
        _ => return problem(format!("the volume `{spec}` has too many colons; use the long form")),
    };
    for option in options.split(',') {
        match option {
            "ro" => mount.read_only = true,
            "rw" => mount.read_only = false,
            "nocopy" => mount.no_copy = true,
            "z" | "Z" => mount.selinux = Some(option.to_owned()),
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => {
                mount.propagation = Some(option.to_owned());
            }
            // `cached`, `delegated` and their kin are hints of another platform.
            _ => {}
        }
    }
    mount.bind = mount.source.as_deref().is_some_and(is_path);
    Ok(mount)
}

/// Splits on colons, but not on that of a drive letter.
fn mount_sections(spec: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    for c in spec.chars() {
        let current = sections.last_mut().expect("there is always a last section");
        let mut letters = current.chars();
        let drive = letters.next().is_some_and(char::is_alphabetic) && letters.next().is_none();
        // `a:b` of two letters and less is a target, not a drive.
        if c == ':' && !(drive && spec.len() > 2) {
            sections.push(String::new());
        } else {
            current.push(c);
        }
    }
    sections
}

/// Whether a source is a place on the disk and not the name of a volume.
fn is_path(source: &str) -> bool {
    let mut letters = source.chars();
    let drive = letters.next().is_some_and(char::is_alphabetic) && letters.next() == Some(':');
    source.starts_with(['.', '/', '~']) || source.starts_with(r"\\") || drive
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) permissions: String,
}

/// `source[:target[:permissions]]`
pub(crate) fn device(spec: &str) -> Result<Device, Problem> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (source, target, permissions) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, target] => (*source, *target, "rwm"),
        [source, target, permissions] => (*source, *target, *permissions),
        _ => return problem(format!("the device `{spec}` has too many colons; use the long form")),
    };
    let target = if target.is_empty() { source } else { target };
    Ok(Device { source: source.to_owned(), target: target.to_owned(), permissions: permissions.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(spec: &str) -> Vec<String> {
        let one = |port: &Port| {
            let ip = port.host_ip.as_deref().unwrap_or("*");
            let published = port.published.as_deref().unwrap_or("?");
            format!("{ip} {published} {}/{}", port.target, port.protocol)
        };
        ports(spec).unwrap().iter().map(one).collect()
    }

    #[test]
    fn ports_in_every_form() {
        for (spec, expected) in [
            ("80", vec!["* ? 80/tcp"]),
            ("8080:80", vec!["* 8080 80/tcp"]),
            ("8080:80/UDP", vec!["* 8080 80/udp"]),
            ("127.0.0.1:8080:80", vec!["127.0.0.1 8080 80/tcp"]),
            ("127.0.0.1::80", vec!["127.0.0.1 ? 80/tcp"]),
            ("[::1]:8080:80", vec!["::1 8080 80/tcp"]),
            ("::1:8080:80", vec!["::1 8080 80/tcp"]),
            ("9000-9001:90-91", vec!["* 9000 90/tcp", "* 9001 91/tcp"]),
            ("8000-8010:80", vec!["* 8000-8010 80/tcp"]),
            ("3000-3001", vec!["* ? 3000/tcp", "* ? 3001/tcp"]),
        ] {
            assert_eq!(shown(spec), expected, "{spec}");
        }
    }

    #[test]
    fn bad_ports_say_what_is_bad() {
        for (spec, part) in [
            ("", "names no container port"),
            ("80:", "names no container port"),
            ("a:80", "is not a port or range"),
            ("70000:80", "is not a port or range"),
            ("9001-9000:80", "is not a port or range"),
            ("1-3:1-2", "differ in length"),
            ("127.0.1:80:80", "is not an IP address"),
            ("80/tpc", "is not a protocol"),
            ("1-60000", "stands for 60000 ports"),
        ] {
            let message = ports(spec).unwrap_err().to_string();
            assert!(message.contains(part), "{spec}: {message}");
        }
    }

    #[test]
    fn mounts_in_every_form() {
        let named = mount("data:/var/lib:ro,nocopy").unwrap();
        assert_eq!(named.source.as_deref(), Some("data"));
        assert!(named.read_only && named.no_copy && !named.bind);
        let bind = mount("./src:/app:z,rshared,cached").unwrap();
        assert!(bind.bind && !bind.read_only);
        assert_eq!(bind.selinux.as_deref(), Some("z"));
        assert_eq!(bind.propagation.as_deref(), Some("rshared"));
        assert_eq!(mount("/anon").unwrap().source, None);
        assert_eq!(mount(r"c:\data:/x").unwrap().source.as_deref(), Some(r"c:\data"));
        assert!(mount("~/x:/y").unwrap().bind);
        for spec in ["", ":/x", "a:", "aa::b", "aa:/b:ro:x"] {
            assert!(mount(spec).is_err(), "{spec}");
        }
    }

    #[test]
    fn devices_in_every_form() {
        assert_eq!(device("/dev/a").unwrap().target, "/dev/a");
        assert_eq!(device("/dev/a:/dev/b:r").unwrap().permissions, "r");
        assert!(device("a:b:c:d").is_err());
    }
}
