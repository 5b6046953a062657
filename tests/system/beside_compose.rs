//! `clos up` beside `docker compose up --wait`: the same files on the same engine make the same containers.
//!
//! Each case is brought up by Compose, described, taken down, and brought up again by CLOS under the same
//! project name in the same folder, so that what differs afterwards is what the two make of the file. What
//! differs on purpose is taken out by [`intended`], which is the list of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use clos_tests::{Checkout, Daemon, Ran, docker, engine, free_port, project_name, tool};
use serde_json::{Value, json};

/// Cases that are on the engine at the same time.
const AT_ONCE: usize = 3;

struct Case {
    /// A word for its project's name.
    word: &'static str,
    /// Its `compose.yaml`; `PORT` stands for a free port of the host.
    compose: &'static str,
    /// Other files beside it.
    files: &'static [(&'static str, &'static str)],
    /// Exit codes of Compose and of CLOS.
    codes: (i32, i32),
}

const CASES: &[Case] = &[
    Case {
        word: "words",
        compose: "services: {a: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, environment: {A: '1', B: 'x y', EMPTY: ''}, env_file: settings.env, labels: {team: blue, level: '3'}, working_dir: /tmp, user: '1000:1000', hostname: box, domainname: example.test}}",
        files: &[("settings.env", "FROM_FILE=yes\nA=overridden\n")],
        codes: (0, 0),
    },
    Case {
        word: "ports",
        compose: "services: {a: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, ports: ['PORT:80', '127.0.0.1:PORT2:81/udp'], expose: ['9000']}}",
        files: &[],
        codes: (0, 0),
    },
    Case {
        word: "mounts",
        compose: "services: {a: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, tmpfs: [/scratch], volumes: ['data:/data', './here:/here:ro', '/anonymous', {type: tmpfs, target: /memory, tmpfs: {size: 1048576}}]}}\nvolumes: {data: {labels: {kept: 'yes'}}}",
        files: &[],
        codes: (0, 0),
    },
    Case {
        word: "nets",
        compose: "services:\n  a: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, networks: {front: {aliases: [web, site]}, back: {}}}\n  b: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, networks: [back]}\n  c: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL}\nnetworks: {front: {}, back: {internal: true, labels: {side: back}}}",
        files: &[],
        codes: (0, 0),
    },
    Case {
        word: "alone",
        compose: "services: {a: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, network_mode: none}}",
        files: &[],
        codes: (0, 0),
    },
    Case {
        word: "shared",
        compose: "services:\n  owner: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, ipc: shareable}\n  guest: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, network_mode: 'service:owner'}\n  peer: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, pid: 'service:owner', ipc: 'service:owner'}",
        files: &[],
        codes: (0, 0),
    },
    Case {
        word: "gates",
        compose: "services:\n  db: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, healthcheck: {test: [CMD, 'true'], interval: 1s, timeout: 2s, retries: 4, start_period: 5s}}\n  api: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, depends_on: {db: {condition: service_healthy, restart: true}}}",
        files: &[],
        codes: (0, 0),
    },
    Case {
        word: "job",
        compose: "services:\n  job: {image: 'clos-test/busybox', command: ['true']}\n  after: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, depends_on: {job: {condition: service_completed_successfully}}}",
        files: &[],
        codes: (0, 0),
    },
    Case {
        word: "limits",
        compose: "services: {a: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, mem_limit: 64m, cpus: 0.5, pids_limit: 50, shm_size: 16m, init: true, ulimits: {nofile: {soft: 1000, hard: 2000}}, cap_drop: [NET_RAW], cap_add: [SYS_NICE], sysctls: {net.core.somaxconn: 1024}, oom_score_adj: 100, read_only: true, security_opt: ['no-new-privileges:true']}}",
        files: &[],
        codes: (0, 0),
    },
    Case {
        word: "hosts",
        compose: "services: {a: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, extra_hosts: ['one.test:10.1.2.3'], dns: [10.0.0.53], dns_search: [example.test], dns_opt: ['timeout:2'], tty: true, stdin_open: true, group_add: ['44']}}",
        files: &[],
        codes: (0, 0),
    },
    Case {
        word: "policies",
        compose: "services:\n  a: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, restart: unless-stopped, stop_grace_period: 3s}\n  b: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, restart: 'on-failure:3', logging: {driver: json-file, options: {max-size: 1m}}}",
        files: &[],
        codes: (0, 0),
    },
    Case {
        word: "commands",
        compose: "services:\n  a: {image: 'clos-test/busybox', entrypoint: [sleep], command: ['600'], stop_signal: KILL}\n  b: {image: 'clos-test/busybox', command: 'sh -c \"sleep 600\"', stop_signal: KILL}\n  c: {image: 'clos-test/app', entrypoint: /testapp serve, stop_signal: KILL}",
        files: &[],
        codes: (0, 0),
    },
    Case {
        word: "off",
        compose: "services:\n  a: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL}\n  debug: {image: 'clos-test/busybox', command: [sleep, '600'], profiles: [debug]}\n  none: {image: 'clos-test/busybox', command: [sleep, '600'], scale: 0}",
        files: &[],
        codes: (0, 0),
    },
    Case {
        word: "files",
        compose: "services: {a: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, secrets: [token], configs: [{source: site, target: /etc/site.conf}]}}\nsecrets: {token: {file: ./token.txt}}\nconfigs: {site: {file: ./site.conf}}",
        files: &[("token.txt", "secret"), ("site.conf", "listen 80")],
        codes: (0, 0),
    },
    Case {
        word: "extended",
        compose: "services: {a: {extends: {file: base.yaml, service: base}, environment: {LEVEL: top}}}",
        files: &[
            (
                "base.yaml",
                "services: {base: {image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL, environment: {LEVEL: base, KEPT: 'yes'}, labels: [from=base]}}",
            ),
            ("compose.override.yaml", "services: {a: {labels: {added: 'yes'}}}"),
        ],
        codes: (0, 0),
    },
    Case {
        word: "failing",
        compose: "services: {job: {image: 'clos-test/busybox', command: [sh, -c, 'exit 3']}}",
        files: &[],
        codes: (1, 1),
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_same_files_make_the_same_containers() {
    let daemon = Daemon::start().await;
    let open = Mutex::new(CASES.iter());
    let findings = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(case) = open.lock().unwrap().next() else { break };
                    let found = compare(&daemon, case);
                    findings.lock().unwrap().extend(found);
                }
            });
        }
    });
    let findings = findings.into_inner().unwrap();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

fn compare(daemon: &Daemon, case: &Case) -> Vec<String> {
    let name = project_name(case.word);
    let text =
        case.compose.replace("PORT2", &free_port().to_string()).replace("PORT", &free_port().to_string());
    let checkout = Checkout::new(&name, &text);
    for (file, text) in case.files {
        checkout.write(file, text);
    }
    std::fs::create_dir_all(checkout.path().join("here")).unwrap();

    let theirs = compose(checkout.path(), &["up", "-d", "--wait"]);
    let by_compose = describe(&name);
    compose(checkout.path(), &["down", "-v"]).well();
    let ours = daemon.clos(checkout.path(), &["up"]);
    let by_clos = describe(&name);
    let down = daemon.clos(checkout.path(), &["down", "-v"]);

    let mut found = Vec::new();
    if (theirs.code, ours.code) != case.codes {
        found.push(format!(
            "{}: exit codes are {:?}, not {:?}\n  compose: {}\n  clos: {}",
            case.word,
            (theirs.code, ours.code),
            case.codes,
            theirs.err,
            ours.err
        ));
    }
    if down.code != 0 {
        found.push(format!("{}: clos down: {}", case.word, down.err));
    }
    differences(case.word, &intended(by_compose), &intended(by_clos), &mut found);
    found
}

fn compose(folder: &Path, args: &[&str]) -> Ran {
    let mut compose = Command::new(tool("CLOS_TEST_COMPOSE"));
    compose.current_dir(folder).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", folder);
    compose.env("DOCKER_HOST", engine()).args(args).output().unwrap().into()
}

/// Everything that the engine says of a project's containers, networks and volumes.
fn describe(project: &str) -> Value {
    let filter = format!("label=com.docker.compose.project={project}");
    let inspect = |list: &[&str], kind: &str| -> Value {
        let words: Vec<&str> = list.iter().copied().chain(["-q", "--filter", &filter]).collect();
        let ids = docker(&words).well();
        let ids: Vec<&str> = ids.lines().collect();
        if ids.is_empty() {
            return json!([]);
        }
        docker(&[&["inspect", "--type", kind][..], &ids].concat()).json()
    };
    let containers = inspect(&["ps", "-a"], "container");
    let names: BTreeMap<String, String> =
        each(&containers).map(|one| (text(&one["Id"]), text(&one["Name"]))).collect();
    let mut described = json!({});
    for one in each(&containers) {
        described[text(&one["Name"])] = container(one, &names);
    }
    for one in each(&inspect(&["network", "ls"], "network")) {
        let kept = ["Driver", "EnableIPv6", "Internal", "Attachable", "Options", "Labels"];
        described[format!("network {}", text(&one["Name"]))] = only(one, &kept);
    }
    for one in each(&inspect(&["volume", "ls"], "volume")) {
        // An anonymous volume has a name that nobody knows.
        if text(&one["Name"]).len() != 64 {
            described[format!("volume {}", text(&one["Name"]))] = only(one, &["Driver", "Options", "Labels"]);
        }
    }
    described
}

fn container(one: &Value, names: &BTreeMap<String, String>) -> Value {
    let mut config = one["Config"].clone();
    // A generated name is the beginning of the id, of the container's own or of the one whose network it shares.
    let hostname = text(&config["Hostname"]);
    if hostname.len() == 12 && names.keys().any(|id| id.starts_with(&hostname)) {
        config["Hostname"] = json!("");
    }
    let mut env: Vec<String> = each(&config["Env"]).map(text).collect();
    env.sort();
    config["Env"] = json!(env);
    let mut host = one["HostConfig"].clone();
    for key in ["NetworkMode", "PidMode", "IpcMode"] {
        if let Some(id) = text(&host[key]).strip_prefix("container:") {
            host[key] = json!(names.get(id).map(|name| format!("container:{name}")));
        }
    }
    // How a mount was asked for may differ; what is mounted is compared below.
    for key in ["Binds", "Mounts", "Links", "ContainerIDFile"] {
        host.as_object_mut().unwrap().remove(key);
    }
    let mut mounts: Vec<Value> = each(&one["Mounts"])
        .map(|mount| {
            let mut kept = only(mount, &["Type", "Name", "Source", "Destination", "RW"]);
            if text(&kept["Name"]).len() == 64 {
                kept["Name"] = json!("anonymous");
            }
            if text(&kept["Type"]) == "volume" {
                kept["Source"] = Value::Null;
            }
            kept
        })
        .collect();
    mounts.sort_by_key(|mount| text(&mount["Destination"]));
    let mut networks = json!({});
    if let Some(joined) = one["NetworkSettings"]["Networks"].as_object() {
        for (name, end) in joined {
            let id = text(&one["Id"]);
            let mut aliases: Vec<String> =
                each(&end["Aliases"]).map(text).filter(|alias| *alias != id[..12]).collect();
            aliases.sort();
            aliases.dedup();
            networks[name] = json!({"aliases": aliases, "addresses": end["IPAMConfig"]});
        }
    }
    let state = json!({"status": one["State"]["Status"], "exit_code": one["State"]["ExitCode"]});
    json!({"config": config, "host": host, "mounts": mounts, "networks": networks, "state": state, "path": one["Path"], "args": one["Args"]})
}

/// What differs on purpose, taken out.
fn intended(mut described: Value) -> Value {
    let all = described.as_object_mut().unwrap();
    for one in all.values_mut() {
        let is_container = one["config"].is_object();
        let labels = if is_container { &mut one["config"]["Labels"] } else { &mut one["Labels"] };
        if let Some(labels) = labels.as_object_mut() {
            // Ours say whose a thing is. The version is that of whoever made it; networks and volumes carry
            // no hash of ours that Compose could take for its own.
            labels.retain(|label, _| {
                !label.starts_with("clos.")
                    && label != "com.docker.compose.version"
                    && (is_container || label != "com.docker.compose.config-hash")
            });
        }
        if !is_container {
            continue;
        }
        // The hash of whoever shares a namespace has the id of the container it shares it with.
        let shares = ["NetworkMode", "PidMode", "IpcMode"].map(|key| text(&one["host"][key]));
        if shares.iter().any(|mode| mode.starts_with("container:")) {
            one["config"]["Labels"]["com.docker.compose.config-hash"] = Value::Null;
        }
        // Logs are bounded unless the file says otherwise.
        if let Some(options) = one["host"]["LogConfig"]["Config"].as_object_mut() {
            options.retain(|key, value| {
                !(key == "max-size" && value == "10m" || key == "max-file" && value == "3")
            });
        }
        // Two spellings of the same: no restart policy is `no`, a capability may do without its prefix, and
        // what is attached at create is for a client that stays.
        if one["host"]["RestartPolicy"]["Name"] == "no" {
            one["host"]["RestartPolicy"]["Name"] = json!("");
        }
        for key in ["CapAdd", "CapDrop"] {
            let names: Vec<String> = each(&one["host"][key])
                .map(|name| text(name).trim_start_matches("CAP_").to_owned())
                .collect();
            one["host"][key] = json!(names);
        }
        for key in ["AttachStdout", "AttachStderr"] {
            one["config"][key] = Value::Null;
        }
        // A port without an address is for this machine and its containers, not for the network around it.
        if let Some(ports) = one["host"]["PortBindings"].as_object_mut() {
            for bindings in ports.values_mut() {
                let mut numbers: Vec<String> = each(bindings).map(|one| text(&one["HostPort"])).collect();
                numbers.dedup();
                *bindings = json!(numbers);
            }
        }
    }
    described
}

fn differences(path: &str, compose: &Value, clos: &Value, found: &mut Vec<String>) {
    match (compose, clos) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for key in keys {
                differences(&format!("{path} {key}"), &compose[key.as_str()], &clos[key.as_str()], found);
            }
        }
        _ if is_empty(compose) && is_empty(clos) || compose == clos => {}
        _ => found.push(format!("{path}: compose {compose}, clos {clos}")),
    }
}

/// The engine prints null, an empty list, an empty map and 0 for "not said".
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
    }
}

fn only(value: &Value, keys: &[&str]) -> Value {
    keys.iter().map(|key| ((*key).to_owned(), value[key].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().trim_start_matches('/').to_owned()
}
