//! Beside docker compose: what one has made, the other goes on with.

use std::collections::BTreeMap;
use std::process::Command;

use clos_proto::v2 as pb;
use clos_tests::{Checkout, Daemon, IMAGE, Ran, docker, engine, free_port, project_name, tool};
use serde_json::Value;

struct Project {
    name: String,
    checkout: Checkout,
}

impl Project {
    fn new(word: &str) -> Self {
        let port = free_port();
        Self::of(
            word,
            &format!(
                "
services:
  db: {{image: {IMAGE}, stop_signal: KILL, ipc: shareable, volumes: ['data:/data'], environment: {{LISTEN: '5432'}}}}
  web:
    image: {IMAGE}
    stop_signal: KILL
    environment: {{LISTEN: '8080'}}
    ports: ['{port}:8080']
    depends_on: [db]
  side: {{image: {IMAGE}, stop_signal: KILL, network_mode: 'service:db'}}
  peer: {{image: {IMAGE}, stop_signal: KILL, ipc: 'service:db', pid: 'service:db'}}
  backup: {{image: {IMAGE}, stop_signal: KILL, volumes_from: ['db:ro']}}
volumes: {{data: }}
"
            ),
        )
    }

    /// One of this file, without its name.
    fn of(word: &str, text: &str) -> Self {
        let name = project_name(word);
        let project = Self { checkout: Checkout::new(&name, ""), name };
        project.write(text);
        project
    }

    fn write(&self, text: &str) {
        self.checkout.write("compose.yaml", &format!("name: {}\n{text}", self.name));
    }

    fn compose(&self, args: &[&str]) -> Ran {
        let mut compose = Command::new(tool("CLOS_TEST_COMPOSE"));
        compose.current_dir(self.checkout.path()).args(args).env("DOCKER_HOST", engine());
        compose.output().unwrap().into()
    }

    fn clos(&self, daemon: &Daemon, args: &[&str]) -> Ran {
        daemon.clos(self.checkout.path(), args)
    }

    /// Names and ids of what there is.
    fn containers(&self) -> Vec<String> {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        let listed =
            docker(&["ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}}", "--filter", &filter]);
        let mut lines: Vec<String> = listed.well().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// What `clos status` says of each service.
    fn status(&self, daemon: &Daemon) -> BTreeMap<String, String> {
        let status = self.clos(daemon, &["status", "-o", "json"]).json();
        let services = status["services"].as_array().unwrap_or_else(|| panic!("{status}"));
        let word = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let said = services.iter().map(|one| {
            let said = format!("{} {}", word(one, "status"), word(one, "status_reason"));
            (word(one, "name"), said.trim_end().to_owned())
        });
        said.collect()
    }

    fn volumes(&self) -> String {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        docker(&["volume", "ls", "-q", "--filter", &filter]).well()
    }

    fn networks(&self) -> String {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        docker(&["network", "ls", "-q", "--filter", &filter]).well()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.compose(&["down", "-v", "-t", "0", "--remove-orphans"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_compose_started_is_adopted_and_nothing_is_recreated() {
    let daemon = Daemon::start().await;
    let shop = Project::new("adopt");
    shop.compose(&["up", "-d"]).well();
    let made = shop.containers();
    assert_eq!(made.len(), 5, "{made:?}");

    let refused = shop.clos(&daemon, &["up"]);
    assert!(refused.code != 0 && refused.err.contains("--adopt"), "{refused:?}");
    shop.clos(&daemon, &["up", "--adopt"]).well();
    assert_eq!(shop.containers(), made, "adopting recreates nothing");
    let db = daemon.until(&format!("{}/db", shop.name), |_| true).await;
    assert!(db.started_at.is_some(), "{db:#?}");
    shop.clos(&daemon, &["up"]).well();
    assert_eq!(shop.containers(), made, "nor does the next `up`");

    shop.compose(&["up", "-d"]).well();
    shop.compose(&["run", "--rm", "--no-deps", "db", "exit", "0"]);
    assert_eq!(shop.containers(), made, "nor does compose afterwards");

    let status = shop.clos(&daemon, &["status", "-o", "json"]).well();
    assert!(status.contains("running") && !status.contains("failed"), "{status}");
    shop.clos(&daemon, &["down"]).well();
    assert_eq!(shop.containers(), Vec::<String>::new());
    assert_eq!(shop.networks(), "", "the network of the project goes with it");
    assert_ne!(shop.volumes(), "", "the volume stays");
    let gone = shop.clos(&daemon, &["down", "--volumes"]);
    let said = format!("removes with its data: volume `{}_data` (made by docker compose)", shop.name);
    assert!(gone.code == 0 && gone.err.contains(&said), "{gone:?}");
    assert_eq!(shop.volumes(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn compose_recreates_nothing_that_clos_started() {
    let daemon = Daemon::start().await;
    let shop = Project::new("beside");
    shop.clos(&daemon, &["up"]).well();
    let made = shop.containers();
    assert_eq!(made.len(), 5, "{made:?}");
    shop.compose(&["up", "-d"]).well();
    assert_eq!(shop.containers(), made, "nor those that share what `db` has");

    shop.compose(&["down", "-t", "0"]).well();
    assert_eq!(shop.containers(), Vec::<String>::new());
    shop.clos(&daemon, &["up"]).well();
    assert_eq!(daemon.containers(false).len(), 5);
}

const PLAIN: &str = "
services:
  db: {image: clos-test/app, volumes: ['data:/data', /var/cache], environment: {LISTEN: '5432'}}
  web: {image: clos-test/app, environment: {LISTEN: '8080'}, depends_on: [db]}
volumes: {data: }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_verb_of_compose_leaves_what_clos_started_in_order() {
    let daemon = Daemon::start().await;
    let shop = Project::of("verbs", PLAIN);
    shop.clos(&daemon, &["up"]).well();
    after_each_verb(&daemon, &shop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_verb_of_compose_leaves_what_was_adopted_in_order() {
    let daemon = Daemon::start().await;
    let shop = Project::of("taken", PLAIN);
    shop.compose(&["up", "-d"]).well();
    shop.clos(&daemon, &["up", "--adopt"]).well();
    after_each_verb(&daemon, &shop).await;
}

async fn after_each_verb(daemon: &Daemon, shop: &Project) {
    let web = format!("{}/web", shop.name);
    let all_run = |shop: &Project| {
        let status = shop.status(daemon);
        assert!(status.len() == 2 && status.values().all(|said| said == "running"), "{status:?}");
    };
    let made = shop.containers();
    assert_eq!(made.len(), 2, "{made:?}");
    shop.compose(&["exec", "-T", "web", "/testapp", "true"]).well();
    shop.compose(&["run", "--rm", "--no-deps", "db", "true"]).well();
    let before = daemon.until(&web, |web| web.status() == pb::ServiceStatus::Running).await;
    shop.compose(&["restart", "web"]).well();
    daemon
        .until(&web, |web| web.started_at != before.started_at && web.status() == pb::ServiceStatus::Running)
        .await;
    shop.clos(daemon, &["up"]).well();
    assert_eq!(shop.containers(), made, "`exec`, `run --rm` and `restart`");

    shop.compose(&["stop", "web"]).well();
    daemon.until(&web, |web| web.status() == pb::ServiceStatus::Stopped).await;
    shop.clos(daemon, &["up"]).well();
    all_run(shop);
    assert_eq!(shop.containers(), made, "`stop`");

    shop.compose(&["rm", "-s", "-f", "web"]).well();
    daemon.until(&web, |web| web.status_reason == "GONE").await;
    shop.clos(daemon, &["up"]).well();
    all_run(shop);
    let again = shop.containers();
    assert_eq!(again.len(), 2, "{again:?}");
    assert_eq!(again[0], made[0], "`rm` of one is not about the other");
    shop.compose(&["up", "-d"]).well();
    assert_eq!(shop.containers(), again, "`up -d`");

    shop.compose(&["down"]).well();
    daemon.until(&web, |web| web.status_reason == "GONE").await;
    shop.clos(daemon, &["up"]).well();
    all_run(shop);
    let again = shop.containers();
    assert_eq!(again.len(), 2, "{again:?}");

    shop.compose(&["run", "--no-deps", "db", "true"]).well();
    shop.compose(&["up", "-d", "--scale", "web=2"]).well();
    let beside = shop.containers();
    assert_eq!(beside.len(), 4, "{beside:?}");
    shop.clos(daemon, &["up"]).well();
    assert_eq!(shop.containers(), beside, "what compose added is left alone");
    all_run(shop);
    let down = shop.clos(daemon, &["down"]);
    assert_eq!(down.code, 0, "{down:?}");
    let left = shop.containers();
    assert_eq!(left.len(), 2, "{left:?}");
    for line in &left {
        let name = line.split(' ').next().unwrap();
        let how = if name.contains("-db-run-") { "docker compose run" } else { "docker compose" };
        assert!(name.ends_with("-web-2") || name.contains("-db-run-"), "{left:?}");
        let said = format!("kept: container `{name}`, which was made by {how}\n");
        assert!(down.err.contains(&said), "{down:?}");
    }
    let network =
        down.err.lines().find(|line| line.contains("_default kept: containers ")).unwrap_or_default();
    assert!(left.iter().all(|line| network.contains(line.split(' ').next().unwrap())), "{down:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_adopted_container_is_replaced_with_its_anonymous_volume_or_put_back() {
    let daemon = Daemon::start().await;
    let shop = Project::of("swap", PLAIN);
    shop.compose(&["up", "-d"]).well();
    shop.compose(&["exec", "-T", "db", "/testapp", "write", "/var/cache/file", "kept"]).well();
    shop.clos(&daemon, &["up", "--adopt"]).well();
    let made = shop.containers();

    let missing = "volumes: ['data:/data', /var/cache, {type: bind, source: ./missing, target: /x, bind: {create_host_path: false}}]";
    shop.write(&PLAIN.replace("volumes: ['data:/data', /var/cache]", missing));
    let failed = shop.clos(&daemon, &["up"]);
    assert!(failed.code != 0 && failed.err.contains("missing"), "{failed:?}");
    assert_eq!(shop.containers(), made, "what could not be replaced is as it was");
    assert!(shop.status(&daemon).values().all(|said| said == "running"), "{:?}", shop.status(&daemon));
    shop.write(PLAIN);
    shop.clos(&daemon, &["up"]).well();
    assert_eq!(shop.containers(), made, "it is still known as adopted");

    shop.write(&PLAIN.replace("LISTEN: '5432'", "LISTEN: '5433'"));
    shop.clos(&daemon, &["up"]).well();
    let now = shop.containers();
    assert!(now.len() == 2 && now[0] != made[0] && now[1] == made[1], "{made:?} {now:?}");
    let read = shop.compose(&["exec", "-T", "db", "/testapp", "read", "/var/cache/file"]);
    assert_eq!(read.well().trim(), "kept");
    shop.compose(&["up", "-d"]).well();
    assert_eq!(shop.containers(), now, "and compose has nothing to add");
}
