//! What `docker compose config --hash` takes the SHA-256 of: the service as compose keeps it, as the JSON that
//! Go writes of it.
//!
//! Docker Compose recreates a container whose label `com.docker.compose.config-hash` differs from the hash of the
//! file, so whoever writes that label has to agree on every byte: the order of the fields is that of compose's
//! types, an empty field is left out or not as they say, maps are sorted, and `<`, `>` and `&` are escaped.
//! What does not make a container (`build`, `pull_policy`, `depends_on`, `profiles`, the number of containers) is
//! not part of it.
//!
//! A new key of compose's needs a row in the tables below; `tests/differential.rs` compares the hashes.

use serde_json::{Map, Value};

use crate::json;
use crate::model::Service;

/// A piece of the text that is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    /// The full id of the container of this service, which is known when the container is made.
    ContainerOf(String),
}

/// The pieces of a service's text. Without references to containers of other services there is one.
/// With `resolved` false the references stand as the file has them: so `docker compose config --hash` hashes them.
pub fn config_text(service: &Service, resolved: bool) -> Vec<Piece> {
    let mut value = json::service(service);
    if let Some(deploy) = value.get_mut("deploy").and_then(Value::as_object_mut) {
        deploy.remove("replicas");
    }
    let mut out = Writer { pieces: Vec::new(), text: String::new(), resolved };
    out.structure(&value, SERVICE);
    out.pieces.push(Piece::Text(out.text));
    out.pieces
}

/// How a field is written.
#[derive(Clone, Copy)]
enum Shape {
    /// As it stands: scalars, lists of texts, maps of texts.
    Plain,
    /// As `Plain`, but also written when it is null, zero, false or empty.
    Always,
    /// Written whenever it is there, zero or not.
    Optional,
    /// A 32-bit float.
    Float,
    /// A number that is written as a text.
    Size,
    /// `all` or a number.
    Count,
    /// Left out when it is `0s`.
    Duration,
    /// `[A=1, B]` or a map.
    Variables,
    /// Texts, one or a list, below names.
    Lists,
    /// One number, or soft and hard ones.
    Ulimits,
    /// `service:NAME` means a container.
    Namespace,
    VolumesFrom,
    Struct(Fields),
    /// A structure that is written even if it is not there.
    StructAlways(Fields),
    List(Fields),
    Map(Fields),
}

/// Names in compose's order. A field that Go calls differently from the file has both: `Path=path`.
type Fields = &'static [(&'static str, Shape)];

use Shape::{
    Always, Count, Duration, Float, List, Lists, Namespace, Optional, Plain, Size, Struct, StructAlways,
    Ulimits, Variables, VolumesFrom,
};

const SERVICE: Fields = &[
    ("annotations", Plain),
    ("attach", Optional),
    ("develop", Struct(&[("watch", List(TRIGGER))])),
    ("blkio_config", Struct(BLKIO)),
    ("cap_add", Plain),
    ("cap_drop", Plain),
    ("cgroup_parent", Plain),
    ("cgroup", Plain),
    ("cpu_count", Plain),
    ("cpu_percent", Float),
    ("cpu_period", Plain),
    ("cpu_quota", Plain),
    ("cpu_rt_period", Plain),
    ("cpu_rt_runtime", Plain),
    ("cpus", Float),
    ("cpuset", Plain),
    ("cpu_shares", Plain),
    ("command", Always),
    ("configs", List(FILE)),
    ("container_name", Plain),
    ("credential_spec", Struct(&[("config", Plain), ("file", Plain), ("registry", Plain)])),
    ("deploy", Struct(DEPLOY)),
    ("device_cgroup_rules", Plain),
    ("devices", List(&[("source", Plain), ("target", Plain), ("permissions", Plain)])),
    ("dns", Plain),
    ("dns_opt", Plain),
    ("dns_search", Plain),
    ("dockerfile", Plain),
    ("domainname", Plain),
    ("entrypoint", Always),
    ("provider", Struct(&[("type", Plain), ("options", Lists)])),
    ("environment", Plain),
    ("expose", Plain),
    ("external_links", Plain),
    ("extra_hosts", Plain),
    ("group_add", Plain),
    ("gpus", List(DEVICE_REQUEST)),
    ("hostname", Plain),
    ("healthcheck", Struct(HEALTHCHECK)),
    ("image", Plain),
    ("init", Optional),
    ("ipc", Namespace),
    ("isolation", Plain),
    ("labels", Plain),
    ("label_file", Plain),
    ("links", Plain),
    ("logging", Struct(&[("driver", Plain), ("options", Plain)])),
    ("log_driver", Plain),
    ("log_opt", Plain),
    ("mem_limit", Plain),
    ("mem_reservation", Plain),
    ("memswap_limit", Plain),
    ("mem_swappiness", Plain),
    ("mac_address", Plain),
    ("models", Shape::Map(&[("endpoint_var", Plain), ("model_var", Plain)])),
    ("net", Plain),
    ("network_mode", Namespace),
    ("networks", Shape::Map(ATTACHMENT)),
    ("oom_kill_disable", Plain),
    ("oom_score_adj", Plain),
    ("pid", Namespace),
    ("pids_limit", Plain),
    ("platform", Plain),
    ("ports", List(PORT)),
    ("privileged", Plain),
    ("read_only", Plain),
    ("restart", Plain),
    ("runtime", Plain),
    ("secrets", List(FILE)),
    ("security_opt", Plain),
    ("shm_size", Plain),
    ("stdin_open", Plain),
    ("stop_grace_period", Optional),
    ("stop_signal", Plain),
    ("storage_opt", Plain),
    ("sysctls", Plain),
    ("tmpfs", Plain),
    ("tty", Plain),
    ("ulimits", Ulimits),
    ("use_api_socket", Plain),
    ("user", Plain),
    ("userns_mode", Plain),
    ("uts", Plain),
    ("volume_driver", Plain),
    ("volumes", List(MOUNT)),
    ("volumes_from", VolumesFrom),
    ("working_dir", Plain),
    ("pre_start", List(HOOK)),
    ("post_start", List(HOOK)),
    ("pre_stop", List(HOOK)),
];

const TRIGGER: Fields = &[
    ("path", Always),
    ("action", Always),
    ("target", Plain),
    ("exec", StructAlways(HOOK)),
    ("include", Plain),
    ("ignore", Plain),
    ("initial_sync", Plain),
];

const HOOK: Fields = &[
    ("command", Always),
    ("image", Plain),
    ("user", Plain),
    ("privileged", Plain),
    ("working_dir", Plain),
    ("environment", Variables),
    ("per_replica", Plain),
];

const BLKIO: Fields = &[
    ("weight", Plain),
    ("weight_device", List(&[("Path=path", Always), ("Weight=weight", Always)])),
    ("device_read_bps", List(THROTTLE)),
    ("device_read_iops", List(THROTTLE)),
    ("device_write_bps", List(THROTTLE)),
    ("device_write_iops", List(THROTTLE)),
];
const THROTTLE: Fields = &[("Path=path", Always), ("Rate=rate", Size)];

const FILE: Fields =
    &[("source", Plain), ("target", Plain), ("uid", Plain), ("gid", Plain), ("mode", Optional)];

const DEPLOY: Fields = &[
    ("mode", Plain),
    ("labels", Plain),
    ("update_config", Struct(UPDATE)),
    ("rollback_config", Struct(UPDATE)),
    ("resources", StructAlways(&[("limits", Struct(RESOURCE)), ("reservations", Struct(RESOURCE))])),
    ("restart_policy", Struct(RESTART_POLICY)),
    ("placement", StructAlways(PLACEMENT)),
    ("endpoint_mode", Plain),
];
const UPDATE: Fields = &[
    ("parallelism", Optional),
    ("delay", Duration),
    ("failure_action", Plain),
    ("monitor", Duration),
    ("max_failure_ratio", Float),
    ("order", Plain),
];
const RESTART_POLICY: Fields =
    &[("condition", Plain), ("delay", Optional), ("max_attempts", Optional), ("window", Optional)];
const PLACEMENT: Fields =
    &[("constraints", Plain), ("preferences", List(&[("spread", Plain)])), ("max_replicas_per_node", Plain)];
const RESOURCE: Fields = &[
    ("cpus", Float),
    ("memory", Plain),
    ("pids", Plain),
    ("devices", List(DEVICE_REQUEST)),
    (
        "generic_resources",
        List(&[("discrete_resource_spec", Struct(&[("kind", Always), ("value", Always)]))]),
    ),
];
const DEVICE_REQUEST: Fields = &[
    ("capabilities", Plain),
    ("driver", Plain),
    ("count", Count),
    ("device_ids", Plain),
    ("options", Variables),
];

const HEALTHCHECK: Fields = &[
    ("test", Plain),
    ("timeout", Optional),
    ("interval", Optional),
    ("retries", Optional),
    ("start_period", Optional),
    ("start_interval", Optional),
    ("disable", Plain),
];

const ATTACHMENT: Fields = &[
    ("aliases", Plain),
    ("driver_opts", Plain),
    ("gw_priority", Plain),
    ("interface_name", Plain),
    ("ipv4_address", Plain),
    ("ipv6_address", Plain),
    ("link_local_ips", Plain),
    ("mac_address", Plain),
    ("priority", Plain),
];

const PORT: Fields = &[
    ("name", Plain),
    ("mode", Plain),
    ("host_ip", Plain),
    ("target", Plain),
    ("published", Plain),
    ("protocol", Plain),
    ("app_protocol", Plain),
];

const MOUNT: Fields = &[
    ("type", Plain),
    ("source", Plain),
    ("target", Plain),
    ("read_only", Plain),
    ("consistency", Plain),
    (
        "bind",
        Struct(&[
            ("selinux", Plain),
            ("propagation", Plain),
            ("create_host_path", Optional),
            ("recursive", Plain),
        ]),
    ),
    ("volume", Struct(&[("labels", Plain), ("nocopy", Plain), ("subpath", Plain)])),
    ("tmpfs", Struct(&[("size", Plain), ("mode", Plain)])),
    ("image", Struct(&[("subpath", Plain)])),
];

struct Writer {
    pieces: Vec<Piece>,
    text: String,
    resolved: bool,
}

impl Writer {
    fn structure(&mut self, value: &Value, fields: Fields) {
        self.text.push('{');
        let mut is_first = true;
        for (names, shape) in fields {
            let (name, key) = names.split_once('=').unwrap_or((names, names));
            let value = value.get(key).unwrap_or(&Value::Null);
            if is_written(value, *shape) {
                if !std::mem::take(&mut is_first) {
                    self.text.push(',');
                }
                self.string(name);
                self.text.push(':');
                self.field(value, *shape);
            }
        }
        self.text.push('}');
    }

    fn field(&mut self, value: &Value, shape: Shape) {
        match shape {
            Plain | Always | Optional | Duration => self.plain(value),
            Float => self.text.push_str(&float(value)),
            Size => self.string(&value.as_str().map_or_else(|| value.to_string(), size)),
            Count => {
                let count = match value.as_str() {
                    Some(text) if text.eq_ignore_ascii_case("all") => "-1",
                    Some(text) => text,
                    None => return self.plain(value),
                };
                self.text.push_str(count);
            }
            Variables => self.plain(&variables(value)),
            Lists => {
                let lists = value.as_object().into_iter().flatten().map(|(name, value)| {
                    let items = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
                    (name.clone(), Value::Array(items.iter().map(as_text).collect()))
                });
                self.plain(&Value::Object(lists.collect()));
            }
            Ulimits => self.map(value, |out, limit| match limit {
                Value::Number(number) if number.as_i64() != Some(0) => out.plain(limit),
                _ => out.structure(limit, &[("soft", Plain), ("hard", Plain)]),
            }),
            Namespace => match value.as_str().and_then(|mode| mode.strip_prefix("service:")) {
                Some(service) if self.resolved => self.reference("container:", service),
                _ => self.plain(value),
            },
            VolumesFrom => self.volumes_from(value),
            Struct(fields) | StructAlways(fields) => self.structure(value, fields),
            List(fields) => self.list(value, |out, item| out.structure(item, fields)),
            Shape::Map(fields) => self.map(value, |out, item| {
                if item.is_null() {
                    out.text.push_str("null");
                } else {
                    out.structure(item, fields);
                }
            }),
        }
    }

    fn reference(&mut self, before: &str, service: &str) {
        self.text.push('"');
        self.text.push_str(before);
        let text = std::mem::take(&mut self.text);
        self.pieces.extend([Piece::Text(text), Piece::ContainerOf(service.to_owned())]);
        self.text.push('"');
    }

    /// Compose names the container only: it drops the mode here.
    fn volumes_from(&mut self, value: &Value) {
        self.list(value, |out, item| {
            let from = item.as_str().unwrap_or_default();
            let mut parts = from.split(':');
            match (out.resolved, parts.next(), parts.next()) {
                (true, Some("container"), Some(name)) => out.string(name),
                (true, Some(service), _) => out.reference("", service),
                _ => out.plain(item),
            }
        });
    }

    fn plain(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.string(text),
            Value::Array(_) => self.list(value, Self::plain),
            Value::Object(_) => self.map(value, Self::plain),
            Value::Number(_) | Value::Bool(_) | Value::Null => self.text.push_str(&value.to_string()),
        }
    }

    fn list(&mut self, value: &Value, mut each: impl FnMut(&mut Self, &Value)) {
        self.text.push('[');
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            each(self, item);
        }
        self.text.push(']');
    }

    fn map(&mut self, value: &Value, mut each: impl FnMut(&mut Self, &Value)) {
        let empty = Map::new();
        let map = value.as_object().unwrap_or(&empty);
        let mut names: Vec<&String> = map.keys().collect();
        names.sort();
        self.text.push('{');
        for (index, name) in names.into_iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            self.string(name);
            self.text.push(':');
            each(self, &map[name]);
        }
        self.text.push('}');
    }

    /// Go's escapes are those of serde, and five more.
    fn string(&mut self, text: &str) {
        for c in Value::from(text).to_string().chars() {
            match c {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    self.text.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                c => self.text.push(c),
            }
        }
    }
}

fn is_written(value: &Value, shape: Shape) -> bool {
    match shape {
        Always | StructAlways(_) | Size => true,
        Optional | Struct(_) => !value.is_null(),
        Duration => value.as_str().is_some_and(|text| text != "0s"),
        _ => match value {
            Value::Null | Value::Bool(false) => false,
            Value::Bool(true) => true,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(map) => !map.is_empty(),
        },
    }
}

/// The shortest text that reads back as the same 32-bit float; Go writes very small and very large ones with an
/// exponent of at least two digits, a negative one without its leading zero.
fn float(value: &Value) -> String {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, reason = "compose keeps it in 32 bits")]
    let number = number as f32;
    if number != 0.0 && (number.abs() < 1e-6 || number.abs() >= 1e21) {
        let text = format!("{number:e}");
        return match text.split_once('e') {
            Some((digits, power)) if !power.starts_with('-') => format!("{digits}e+{power:0>2}"),
            _ => text,
        };
    }
    number.to_string()
}

fn size(text: &str) -> String {
    crate::units::bytes(text).map_or_else(|| text.to_owned(), |bytes| bytes.to_string())
}

fn variables(value: &Value) -> Value {
    let Value::Array(items) = value else {
        let entries = value.as_object().into_iter().flatten();
        return Value::Object(entries.map(|(name, value)| (name.clone(), as_text(value))).collect());
    };
    let pairs = items.iter().filter_map(Value::as_str).map(|item| match item.split_once('=') {
        Some((name, value)) => (name.to_owned(), Value::from(value)),
        None => (item.to_owned(), Value::Null),
    });
    Value::Object(pairs.collect())
}

fn as_text(value: &Value) -> Value {
    match value {
        Value::Number(_) | Value::Bool(_) => Value::from(value.to_string()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(service: &Service, resolved: bool) -> String {
        let pieces = config_text(service, resolved);
        let shown = pieces.into_iter().map(|piece| match piece {
            Piece::Text(text) => text,
            Piece::ContainerOf(service) => format!("<{service}>"),
        });
        shown.collect()
    }

    #[test]
    fn text_is_escaped_as_go_does() {
        let service = Service {
            command: Some(vec!["a <b> & \"c\"\u{2028}\u{7f}\u{1}\n".to_owned()]),
            ..Service::default()
        };
        assert_eq!(
            text(&service, true),
            "{\"command\":[\"a \\u003cb\\u003e \\u0026 \\\"c\\\"\\u2028\u{7f}\\u0001\\n\"],\"entrypoint\":null}"
        );
    }

    #[test]
    fn references_are_the_containers_of_the_services() {
        let service = Service {
            network_mode: Some("service:vpn".to_owned()),
            pid: Some("host".to_owned()),
            ipc: Some("service:vpn".to_owned()),
            volumes_from: vec!["data:ro".to_owned(), "container:other:ro".to_owned()],
            ..Service::default()
        };
        assert_eq!(
            text(&service, true),
            "{\"command\":null,\"entrypoint\":null,\"ipc\":\"container:<vpn>\",\
             \"network_mode\":\"container:<vpn>\",\"pid\":\"host\",\"volumes_from\":[\"<data>\",\"other\"]}"
        );
        assert!(text(&service, false).contains("\"network_mode\":\"service:vpn\""));
    }

    #[test]
    fn shares_of_a_core_are_floats_of_32_bits() {
        for (number, expected) in [
            (0.5, "0.5"),
            (0.1, "0.1"),
            (2.0, "2"),
            (1.0 / 3.0, "0.33333334"),
            (1e-7, "1e-7"),
            (1e21, "1e+21"),
        ] {
            assert_eq!(float(&Value::from(number)), expected);
        }
    }
}
