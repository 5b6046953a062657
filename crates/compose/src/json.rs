//! The project as `docker compose config --format json` prints it, for what the model holds.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::model::{
    Attachment, Build, Deploy, ExtraHost, FileMount, FileObject, FileSource, HealthCheck, Mount, Network,
    Port, Project, PullPolicy, Resources, Service, Ulimit, Volume,
};
use crate::units::duration_text;

/// Fields in, what is empty left out, as compose's printer does.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn some<T: Into<Value>>(&mut self, name: &str, value: Option<T>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        self.some(name, value.filter(|text| !text.is_empty()));
    }

    fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.put(name, true);
        }
    }

    fn list<T>(&mut self, name: &str, items: &[T], each: impl FnMut(&T) -> Value) {
        if !items.is_empty() {
            self.put(name, Value::Array(items.iter().map(each).collect()));
        }
    }

    fn texts(&mut self, name: &str, items: &[String]) {
        self.list(name, items, |text| Value::from(text.as_str()));
    }

    fn map<T>(&mut self, name: &str, map: &BTreeMap<String, T>, mut each: impl FnMut(&T) -> Value) {
        if !map.is_empty() {
            self.put(
                name,
                Value::Object(map.iter().map(|(key, value)| (key.clone(), each(value))).collect()),
            );
        }
    }

    fn labels(&mut self, name: &str, map: &BTreeMap<String, String>) {
        self.map(name, map, |text| Value::from(text.as_str()));
    }

    fn object(&mut self, name: &str, object: Option<Object>) {
        if let Some(object) = object {
            self.put(name, Value::Object(object.0));
        }
    }

    fn number(&mut self, name: &str, value: Option<i64>) {
        self.some(name, value.filter(|number| *number != 0));
    }

    /// Sizes are printed as strings.
    fn size(&mut self, name: &str, value: Option<i64>) {
        self.some(name, value.filter(|number| *number != 0).map(|number| number.to_string()));
    }

    fn others(&mut self, others: &BTreeMap<String, Value>) {
        for (name, value) in others {
            if !name.starts_with("x-") {
                self.put(name, value.clone());
            }
        }
    }
}

/// What `docker compose config --format json` prints. Secrets' values are not in it.
pub fn to_compose_json(project: &Project) -> Value {
    let mut out = Object::default();
    out.put("name", project.name.as_str());
    let services = project.services.iter().map(|one| (one.name.clone(), service(one)));
    out.put("services", Value::Object(services.collect()));
    let mut section = |name: &str, entries: Map<String, Value>| {
        if !entries.is_empty() {
            out.put(name, Value::Object(entries));
        }
    };
    section("networks", project.networks.iter().map(|one| (one.key.clone(), network(one))).collect());
    section("volumes", project.volumes.iter().map(|one| (one.key.clone(), volume(one))).collect());
    section("configs", project.configs.iter().map(|one| (one.key.clone(), file(one))).collect());
    section("secrets", project.secrets.iter().map(|one| (one.key.clone(), file(one))).collect());
    for (name, value) in &project.extensions {
        out.put(name, value.clone());
    }
    doubled_dollars(Value::Object(out.0))
}

/// The output is a compose file again, in which a dollar sign is written twice.
fn doubled_dollars(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace('$', "$$")),
        Value::Array(items) => Value::Array(items.into_iter().map(doubled_dollars).collect()),
        Value::Object(map) => {
            let entries =
                map.into_iter().map(|(name, value)| (name.replace('$', "$$"), doubled_dollars(value)));
            Value::Object(entries.collect())
        }
        other => other,
    }
}

pub(crate) fn service(service: &Service) -> Value {
    let mut out = Object::default();
    // A null is printed here: an empty list would say something else.
    out.put("command", json!(service.command));
    out.put("entrypoint", json!(service.entrypoint));
    identity(&mut out, service);
    connections(&mut out, service);
    runtime(&mut out, service);
    out.others(&service.others);
    Value::Object(out.0)
}

fn identity(out: &mut Object, service: &Service) {
    out.text("image", service.image.as_deref());
    out.object("build", service.build.as_ref().map(build));
    out.some("pull_policy", service.pull_policy.map(pull_policy));
    out.text("platform", service.platform.as_deref());
    out.map("environment", &service.environment, |value| json!(value));
    out.texts("label_file", &service.label_files);
    out.text("working_dir", service.working_dir.as_deref());
    out.text("user", service.user.as_deref());
    out.texts("group_add", &service.group_add);
    out.text("hostname", service.hostname.as_deref());
    out.text("domainname", service.domainname.as_deref());
    out.text("container_name", service.container_name.as_deref());
    out.labels("labels", &service.labels);
    out.labels("annotations", &service.annotations);
    out.texts("profiles", &service.profiles);
    let mut edges = Map::new();
    for dependency in &service.depends_on {
        let mut edge = Object::default();
        edge.put("condition", dependency.condition.as_str());
        edge.flag("restart", dependency.restart);
        edge.put("required", dependency.required);
        edges.insert(dependency.service.clone(), Value::Object(edge.0));
    }
    out.some("depends_on", (!edges.is_empty()).then_some(Value::Object(edges)));
    out.some("restart", service.restart.map(|restart| restart.to_string()));
    out.object("healthcheck", service.healthcheck.as_ref().map(healthcheck));
    out.some("stop_grace_period", service.stop_grace_period.map(duration_text));
    out.text("stop_signal", service.stop_signal.as_deref());
    out.some("scale", service.scale);
    out.object("deploy", service.deploy.as_ref().map(deploy));
    if let Some(logging) = &service.logging {
        let mut object = Object::default();
        object.text("driver", logging.driver.as_deref());
        object.labels("options", &logging.options);
        out.object("logging", Some(object));
    }
    out.some("attach", service.attach);
}

fn connections(out: &mut Object, service: &Service) {
    out.list("ports", &service.ports, port);
    out.texts("expose", &service.expose);
    let networks = service.networks.iter().map(|one| (one.network.clone(), attachment(one)));
    let networks: Map<String, Value> = networks.collect();
    out.some("networks", (!networks.is_empty()).then_some(Value::Object(networks)));
    out.text("network_mode", service.network_mode.as_deref());
    out.text("mac_address", service.mac_address.as_deref());
    extra_hosts(out, &service.extra_hosts);
    out.texts("dns", &service.dns);
    out.texts("dns_search", &service.dns_search);
    out.texts("dns_opt", &service.dns_opt);
    out.texts("links", &service.links);
    out.texts("external_links", &service.external_links);
    out.list("volumes", &service.volumes, mount);
    out.texts("volumes_from", &service.volumes_from);
    out.texts("tmpfs", &service.tmpfs);
    out.list("configs", &service.configs, file_mount);
    out.list("secrets", &service.secrets, file_mount);
    out.list("devices", &service.devices, |device| {
        let mut object = Object::default();
        object.text("source", Some(&device.source));
        object.text("target", Some(&device.target));
        object.text("permissions", Some(&device.permissions));
        Value::Object(object.0)
    });
    out.labels("storage_opt", &service.storage_opt);
}

fn runtime(out: &mut Object, service: &Service) {
    out.some("init", service.init);
    out.flag("tty", service.tty);
    out.flag("stdin_open", service.stdin_open);
    out.flag("read_only", service.read_only);
    out.flag("privileged", service.privileged);
    out.texts("cap_add", &service.cap_add);
    out.texts("cap_drop", &service.cap_drop);
    out.texts("security_opt", &service.security_opt);
    out.texts("device_cgroup_rules", &service.device_cgroup_rules);
    out.labels("sysctls", &service.sysctls);
    out.map("ulimits", &service.ulimits, ulimit);
    let words = [
        ("pid", &service.pid),
        ("ipc", &service.ipc),
        ("uts", &service.uts),
        ("userns_mode", &service.userns_mode),
        ("cgroup", &service.cgroup),
        ("cgroup_parent", &service.cgroup_parent),
        ("runtime", &service.runtime),
        ("cpuset", &service.cpuset),
    ];
    for (name, value) in words {
        out.text(name, value.as_deref());
    }
    out.flag("oom_kill_disable", service.oom_kill_disable);
    out.number("oom_score_adj", Some(service.oom_score_adj));
    let sizes = [
        ("shm_size", service.shm_size),
        ("mem_limit", service.mem_limit),
        ("mem_reservation", service.mem_reservation),
        ("memswap_limit", service.memswap_limit),
        ("mem_swappiness", service.mem_swappiness),
    ];
    for (name, value) in sizes {
        out.size(name, value);
    }
    out.some("cpus", service.cpus.filter(|cpus| *cpus != 0.0));
    let numbers = [
        ("cpu_shares", service.cpu_shares),
        ("cpu_quota", service.cpu_quota),
        ("cpu_period", service.cpu_period),
        ("pids_limit", service.pids_limit),
    ];
    for (name, value) in numbers {
        out.number(name, value);
    }
}

fn build(build: &Build) -> Object {
    let mut out = Object::default();
    out.text("context", Some(&build.context));
    out.text("dockerfile", build.dockerfile.as_deref());
    out.text("dockerfile_inline", build.dockerfile_inline.as_deref());
    out.labels("args", &build.args);
    out.text("target", build.target.as_deref());
    out.labels("labels", &build.labels);
    out.texts("cache_from", &build.cache_from);
    out.texts("cache_to", &build.cache_to);
    out.flag("no_cache", build.no_cache);
    out.flag("pull", build.pull);
    out.text("network", build.network.as_deref());
    out.size("shm_size", build.shm_size);
    extra_hosts(&mut out, &build.extra_hosts);
    out.texts("tags", &build.tags);
    out.texts("platforms", &build.platforms);
    out.labels("additional_contexts", &build.additional_contexts);
    out.list("secrets", &build.secrets, file_mount);
    let keys: Vec<String> =
        build.ssh.iter().map(|(id, path)| path.clone().unwrap_or_else(|| id.clone())).collect();
    out.texts("ssh", &keys);
    out.map("ulimits", &build.ulimits, ulimit);
    out.flag("privileged", build.privileged);
    out.others(&build.others);
    out
}

fn pull_policy(policy: PullPolicy) -> String {
    const DAY: u64 = 86_400;
    match policy {
        PullPolicy::Always => "always".to_owned(),
        PullPolicy::Never => "never".to_owned(),
        PullPolicy::Missing => "missing".to_owned(),
        PullPolicy::Build => "build".to_owned(),
        PullPolicy::Refresh(None) => "refresh".to_owned(),
        PullPolicy::Refresh(Some(age)) if age.as_secs() == DAY => "daily".to_owned(),
        PullPolicy::Refresh(Some(age)) if age.as_secs() == 7 * DAY => "weekly".to_owned(),
        PullPolicy::Refresh(Some(age)) => {
            let text = duration_text(age);
            let text = text.strip_suffix("m0s").map_or(text.clone(), |short| format!("{short}m"));
            let text = text.strip_suffix("h0m").map_or(text.clone(), |short| format!("{short}h"));
            format!("every_{text}")
        }
    }
}

fn healthcheck(check: &HealthCheck) -> Object {
    let mut out = Object::default();
    out.texts("test", check.test.as_deref().unwrap_or_default());
    out.some("interval", check.interval.map(duration_text));
    out.some("timeout", check.timeout.map(duration_text));
    out.some("retries", check.retries);
    out.some("start_period", check.start_period.map(duration_text));
    out.some("start_interval", check.start_interval.map(duration_text));
    out.flag("disable", check.disable);
    out
}

fn deploy(deploy: &Deploy) -> Object {
    let mut out = Object::default();
    out.text("mode", deploy.mode.as_deref());
    out.some("replicas", deploy.replicas);
    out.labels("labels", &deploy.labels);
    out.text("endpoint_mode", deploy.endpoint_mode.as_deref());
    let mut resources = Object::default();
    resources.object("limits", deploy.limits.as_ref().map(resource));
    resources.object("reservations", deploy.reservations.as_ref().map(resource));
    out.object("resources", Some(resources));
    if let Some(policy) = &deploy.restart_policy {
        let mut object = Object::default();
        object.text("condition", policy.condition.as_deref());
        object.some("delay", policy.delay.map(duration_text));
        object.some("max_attempts", policy.max_attempts);
        object.some("window", policy.window.map(duration_text));
        out.object("restart_policy", Some(object));
    }
    out.put("placement", json!({}));
    out.others(&deploy.others);
    out
}

fn resource(resources: &Resources) -> Object {
    let mut out = Object::default();
    out.some("cpus", resources.cpus.filter(|cpus| *cpus != 0.0));
    out.size("memory", resources.memory);
    out.number("pids", resources.pids);
    out.others(&resources.others);
    out
}

fn port(port: &Port) -> Value {
    let mut out = Object::default();
    out.text("name", port.name.as_deref());
    out.text("mode", Some(&port.mode));
    out.text("host_ip", port.host_ip.as_deref());
    out.put("target", port.target);
    out.some("published", port.published.map(|published| published.to_string()));
    out.put("protocol", port.protocol.as_str());
    out.text("app_protocol", port.app_protocol.as_deref());
    Value::Object(out.0)
}

fn attachment(attachment: &Attachment) -> Value {
    let mut out = Object::default();
    out.texts("aliases", &attachment.aliases);
    out.text("ipv4_address", attachment.ipv4_address.as_deref());
    out.text("ipv6_address", attachment.ipv6_address.as_deref());
    out.texts("link_local_ips", &attachment.link_local_ips);
    out.text("mac_address", attachment.mac_address.as_deref());
    out.labels("driver_opts", &attachment.driver_opts);
    out.text("interface_name", attachment.interface_name.as_deref());
    out.number("priority", Some(attachment.priority));
    out.number("gw_priority", Some(attachment.gw_priority));
    if out.0.is_empty() && !attachment.is_map { Value::Null } else { Value::Object(out.0) }
}

fn extra_hosts(out: &mut Object, hosts: &[ExtraHost]) {
    let mut lines: Vec<String> =
        hosts.iter().map(|entry| format!("{}={}", entry.host, entry.address)).collect();
    lines.sort();
    out.texts("extra_hosts", &lines);
}

fn mount(mount: &Mount) -> Value {
    let mut out = Object::default();
    out.put("type", mount.kind.as_str());
    out.text("source", mount.source.as_deref());
    out.text("target", Some(&mount.target));
    out.flag("read_only", mount.read_only);
    out.text("consistency", mount.consistency.as_deref());
    if let Some(bind) = &mount.bind {
        let mut object = Object::default();
        object.text("selinux", bind.selinux.as_deref());
        object.text("propagation", bind.propagation.as_deref());
        object.text("recursive", bind.recursive.as_deref());
        if !bind.create_host_path {
            object.put("create_host_path", false);
        }
        out.object("bind", Some(object));
    }
    if let Some(volume) = &mount.volume {
        let mut object = Object::default();
        object.labels("labels", &volume.labels);
        object.flag("nocopy", volume.no_copy);
        object.text("subpath", volume.subpath.as_deref());
        out.object("volume", Some(object));
    }
    if let Some(tmpfs) = &mount.tmpfs {
        let mut object = Object::default();
        object.size("size", tmpfs.size);
        object.number("mode", tmpfs.mode.map(i64::from));
        out.object("tmpfs", Some(object));
    }
    if let Some(subpath) = &mount.image_subpath {
        out.put("image", json!({ "subpath": subpath }));
    }
    Value::Object(out.0)
}

fn file_mount(mount: &FileMount) -> Value {
    let mut out = Object::default();
    out.text("source", Some(&mount.source));
    out.text("target", mount.target.as_deref());
    out.text("uid", mount.uid.as_deref());
    out.text("gid", mount.gid.as_deref());
    out.some("mode", mount.mode.map(|mode| format!("0{mode:o}")));
    Value::Object(out.0)
}

fn ulimit(limit: &Ulimit) -> Value {
    match limit {
        Ulimit::Both(number) => json!(number),
        Ulimit::Each { soft, hard } => json!({ "soft": soft, "hard": hard }),
    }
}

fn network(network: &Network) -> Value {
    let mut out = Object::default();
    out.put("name", network.name.as_str());
    out.text("driver", network.driver.as_deref());
    out.labels("driver_opts", &network.driver_opts);
    let mut ipam = Object::default();
    ipam.text("driver", network.ipam.driver.as_deref());
    ipam.labels("options", &network.ipam.options);
    ipam.list("config", &network.ipam.pools, |pool| {
        let mut object = Object::default();
        object.text("subnet", pool.subnet.as_deref());
        object.text("gateway", pool.gateway.as_deref());
        object.text("ip_range", pool.ip_range.as_deref());
        object.labels("aux_addresses", &pool.aux_addresses);
        Value::Object(object.0)
    });
    out.object("ipam", Some(ipam));
    out.flag("external", network.external);
    out.flag("internal", network.internal);
    out.flag("attachable", network.attachable);
    out.labels("labels", &network.labels);
    out.some("enable_ipv4", network.enable_ipv4);
    out.some("enable_ipv6", network.enable_ipv6);
    Value::Object(out.0)
}

fn volume(volume: &Volume) -> Value {
    let mut out = Object::default();
    out.put("name", volume.name.as_str());
    out.text("driver", volume.driver.as_deref());
    out.labels("driver_opts", &volume.driver_opts);
    out.flag("external", volume.external);
    out.labels("labels", &volume.labels);
    Value::Object(out.0)
}

fn file(file: &FileObject) -> Value {
    let mut out = Object::default();
    out.put("name", file.name.as_str());
    match &file.source {
        FileSource::File(path) => out.put("file", path.as_str()),
        FileSource::Variable { name, .. } => out.put("environment", name.as_str()),
        FileSource::Inline(text) => out.text("content", Some(text.reveal())),
        FileSource::Elsewhere => {}
    }
    out.flag("external", file.external);
    out.labels("labels", &file.labels);
    out.text("driver", file.driver.as_deref());
    out.labels("driver_opts", &file.driver_opts);
    out.text("template_driver", file.template_driver.as_deref());
    Value::Object(out.0)
}
