//! Secrets from variables and configs whose content stands in the file: what Compose copies into a container, and
//! nothing of it anywhere else.

use std::process::Command;

use clos_tests::{Checkout, Curl, Daemon, docker, engine, project_name, tool};

const CANARY: &str = "canary-5d1f";
const SHOWN: &str = "cd /run/secrets; for f in token sub/other /site.conf /etc/app/made.conf; do stat -c '%n %a %u:%g' $f; cat $f; echo; done; stat -c '%n %a %u:%g' /etc/app";

fn compose(name: &str) -> String {
    format!(
        "name: {name}
services:
  a:
    image: clos-test/busybox
    command: [sleep, '600']
    stop_signal: KILL
    secrets: [token, {{source: token, target: sub/other, uid: '12', gid: '13', mode: 0440}}]
    configs: [site.conf, {{source: made, target: /etc/app/made.conf, mode: 0600}}]
secrets: {{token: {{environment: TOKEN}}}}
configs:
  site.conf: {{environment: SITE}}
  made: {{content: \"listen 80\\nkey $$x ${{TOKEN}}\\n\"}}
"
    )
}

/// Everything that there is to read of the files, and the container's hash for Compose.
fn read(name: &str) -> (String, String) {
    let container = format!("{name}-a-1");
    let hash = "{{index .Config.Labels \"com.docker.compose.config-hash\"}}";
    (
        docker(&["exec", &container, "sh", "-c", SHOWN]).well(),
        docker(&["inspect", "-f", hash, &container]).well(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_no_file_is_copied_as_compose_copies_it_and_shown_nowhere() {
    let daemon = Daemon::start().await;
    let name = project_name("secrets");
    let checkout = Checkout::new("secrets", &compose(&name));
    checkout.write(".env", &format!("TOKEN={CANARY}-1\nSITE={CANARY}-site\n"));
    let compose = |args: &[&str]| {
        let mut compose = Command::new(tool("CLOS_TEST_COMPOSE"));
        compose.current_dir(checkout.path()).env_clear().env("PATH", "/usr/bin:/bin");
        compose.env("HOME", checkout.path()).env("DOCKER_HOST", engine()).args(args);
        assert!(compose.output().unwrap().status.success(), "docker compose {args:?}");
    };
    compose(&["up", "-d", "--wait"]);
    let theirs = read(&name);
    assert!(theirs.0.contains(&format!("{CANARY}-1")), "{}", theirs.0);
    compose(&["down"]);

    let mut told = Vec::new();
    // The shell's value is stronger than that of `.env`.
    let mut clos = |args: &[&str], token: &str| {
        let value = format!("{CANARY}-{token}");
        let output = daemon.clos_in(checkout.path(), args).env("TOKEN", value).output().unwrap();
        let said = format!(
            "{args:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "{said}");
        told.push(said.clone());
        said
    };
    clos(&["plan"], "1");
    clos(&["up"], "1");
    assert_eq!(read(&name), theirs);
    let container = format!("{name}-a-1");
    let id = || docker(&["inspect", "-f", "{{.Id}}", &container]).well();
    let first = id();
    clos(&["up"], "1");
    assert_eq!(id(), first, "nothing has changed");

    let plan = clos(&["plan"], "2");
    assert!(plan.contains("files./run/secrets/token.content changed"), "{plan}");
    clos(&["up"], "2");
    assert_ne!(id(), first);
    assert_eq!(read(&name).0, theirs.0.replace(&format!("{CANARY}-1"), &format!("{CANARY}-2")));

    // Compose compares the file and not the content; it leaves the container alone.
    let second = id();
    compose(&["up", "-d"]);
    assert_eq!(id(), second);

    let service = format!("{name}/a");
    for args in [
        &["status", "-o", "json"][..],
        &["status", "-o", "wide"],
        &["status", &service, "-o", "yaml"],
        &["events", "-n", "1000", "-o", "json"],
        &["events", "--all", "-n", "1000"],
        &["ops", "-o", "json"],
        &["logs"],
    ] {
        clos(args, "2");
    }
    let curl = Curl::of(&daemon);
    for path in [format!("/api/v2/groups/{name}/manifest"), "/api/v2/services".to_owned()] {
        let answer = curl.get(&path);
        assert_eq!(answer.status, 200, "{answer:?}");
        told.push(answer.body);
    }
    told.push(docker(&["inspect", &container]).well());
    told.push(daemon.log());
    let leaks: Vec<&String> = told.iter().filter(|said| said.contains(CANARY)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
    daemon.clos(checkout.path(), &["down"]).well();
}
