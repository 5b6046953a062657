//! Files beside the project: `~` and `..` for the owner, a border for everybody else; and many names at once.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use clos_tests::{Checkout, Daemon, docker, project_name};
use serde_json::{Value, json};

use crate::rest::Rest;

const NAMES: usize = 434;

/// A project that takes something of every kind from beside its folder, and what lies there.
fn project(name: &str, home: &std::path::Path) -> Checkout {
    let bare = |prefix: &str| -> String {
        (0..NAMES).fold(String::new(), |mut text, number| {
            text.push_str(&format!("      - {prefix}_{number}\n"));
            text
        })
    };
    let checkout = Checkout::new(
        "shop",
        &format!(
            "name: {name}
include: [~/clos/lib.yaml]
services:
  web:
    extends: {{file: ../shared/base.yaml, service: base}}
    build: {{context: ../lib, dockerfile: ../docker/web.Dockerfile}}
    env_file: [~/clos/web.env, ../shared/more.env]
    volumes: ['~/clos:/clos:ro', '../shared:/shared:ro']
    secrets: [key]
    environment:
{}secrets: {{key: {{file: ~/clos/key}}}}
",
            bare("NEAR")
        ),
    );
    let write = |folder: &std::path::Path, file: &str, text: &str| {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let above = checkout.path().parent().unwrap();
    let base = format!(
        "services:\n  base:\n    command: [sleep, '600']\n    stop_signal: KILL\n    environment:\n{}",
        bare("FAR")
    );
    write(above, "shared/base.yaml", &base);
    write(above, "shared/more.env", "MORE=2\n");
    write(above, "lib/content", "from lib\n");
    write(
        above,
        "docker/web.Dockerfile",
        "FROM clos-test/busybox\nCOPY content /content\nLABEL from=outside\n",
    );
    let lib = "services: {lib: {image: clos-test/busybox, command: [sleep, '600'], stop_signal: KILL, env_file: lib.env}}\n";
    write(home, "clos/lib.yaml", lib);
    write(home, "clos/lib.env", "LIB=1\n");
    write(home, "clos/web.env", "WEB=1\n");
    write(home, "clos/key", "secret\n");
    checkout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_owner_takes_files_from_beside_the_project_and_nobody_else() {
    let daemon = Daemon::start().await;
    let name = project_name("paths");
    let checkout = project(&name, daemon.home());
    let clos = |args: &[&str]| -> clos_tests::Ran {
        let mut clos = daemon.clos_in(checkout.path(), args);
        clos.env("NEAR_433", "near").env("FAR_433", "far").output().unwrap().into()
    };

    let refused = clos(&["--host", &daemon.tcp(), "plan"]);
    assert_eq!(refused.code, 7, "{}", refused.err);
    for word in ["OUTSIDE_ROOT", "compose.yaml:2:11 include[0]", "clos/lib.yaml", "compose.yaml:5:"] {
        assert!(refused.err.contains(word), "{word}: {}", refused.err);
    }

    let plan = clos(&["plan"]).well();
    for note in [
        "reads ../shared/base.yaml, which is outside the project folder",
        "reads ../shared/more.env, which",
        "builds from ../lib, which",
        "reads ../docker/web.Dockerfile, which",
        "services.web.volumes[1]: mounts ",
        "secrets.key.file: mounts ",
    ] {
        assert!(plan.contains(note), "{note}: {plan}");
    }
    clos(&["up"]).well();
    let web = format!("{name}-web-1");
    let environment = docker(&["exec", &web, "env"]).well();
    let mut lines: Vec<&str> = environment.lines().collect();
    lines.retain(|line| ["NEAR_", "FAR_", "WEB=", "MORE="].iter().any(|start| line.starts_with(start)));
    lines.sort_unstable();
    assert_eq!(lines, ["FAR_433=far", "MORE=2", "NEAR_433=near", "WEB=1"]);
    let files = ["/content", "/clos/key", "/shared/more.env", "/run/secrets/key"];
    let read = docker(&[&["exec", &web, "cat"], &files[..]].concat()).well();
    assert_eq!(read, "from lib\nsecret\nMORE=2\nsecret\n");
    let label = docker(&["inspect", "-f", "{{.Config.Labels.from}}", &web]).well();
    assert_eq!(label.trim(), "outside");
    let again = clos(&["plan", "-o", "json"]).json();
    assert!(again["steps"].as_array().is_none_or(Vec::is_empty), "{again:#}");
    clos(&["down"]).well();
}

/// A call as the owner: over the Unix socket, without a token.
fn owner(daemon: &Daemon, line: &str, body: &Value) -> String {
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    let body = body.to_string();
    let length = body.len();
    let head = "host: localhost\r\nconnection: close\r\ncontent-type: application/json";
    let request = format!("{line} HTTP/1.1\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rights_over_the_machine_are_the_owners_on_the_unix_socket() {
    let daemon = Daemon::start().await;
    let rest = Rest::of(&daemon);
    let group = project_name("rights");
    let spec = |name: &str| {
        json!({
            "group": group, "name": name,
            "docker_config": {
                "image": "clos-test/app", "privileged": true, "pid": "host",
                "volumes": [{"type": "bind", "source": "/etc", "target": "/host"}],
            },
        })
    };
    let refused = rest.ask("POST /api/v2/services", &spec("web"));
    assert_eq!(refused.status(), 403, "{}", refused.json());
    let error = refused.json().to_string();
    for word in [
        "ADMISSION_REFUSED",
        "docker_config.privileged",
        "docker_config.pid",
        "docker_config.volumes[0].source",
    ] {
        assert!(error.contains(word), "{word}: {error}");
    }
    let made = owner(&daemon, "POST /api/v2/services", &spec("web"));
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    let changed = json!({"environment": {"A": "1"}});
    let refused = rest.ask(&format!("PATCH /api/v2/services/{group}%2Fweb"), &changed);
    assert_eq!(refused.status(), 403, "{}", refused.json());

    let text = format!("name: {group}2\nservices:\n  web:\n    image: clos-test/app\n    privileged: true\n");
    let checkout = Checkout::new("rights", &text);
    let refused = daemon.clos(checkout.path(), &["--host", &daemon.tcp(), "up"]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    for word in ["ADMISSION_REFUSED", "compose.yaml:5:17: services.web.privileged", "Unix socket"] {
        assert!(refused.err.contains(word), "{word}: {}", refused.err);
    }
    let explained = daemon.clos(checkout.path(), &["explain", "ADMISSION_REFUSED"]).well();
    assert!(explained.contains("privileged"), "{explained}");
    let plan = daemon.clos(checkout.path(), &["plan"]);
    assert!(
        plan.code == 0 && plan.err.contains("warning: compose.yaml:5:17 services.web.privileged"),
        "{plan:?}"
    );
}
