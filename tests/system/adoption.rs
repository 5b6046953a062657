//! Beside docker compose: what one has made, the other goes on with.

use std::process::Command;

use clos_tests::{Checkout, Daemon, IMAGE, Ran, docker, engine, free_port, project_name, tool};

struct Project {
    name: String,
    checkout: Checkout,
}

impl Project {
    fn new(word: &str) -> Self {
        let name = project_name(word);
        let port = free_port();
        let text = format!(
            "name: {name}
services:
  db: {{image: {IMAGE}, stop_signal: KILL, volumes: ['data:/data'], environment: {{LISTEN: '5432'}}}}
  web:
    image: {IMAGE}
    stop_signal: KILL
    environment: {{LISTEN: '8080'}}
    ports: ['{port}:8080']
    depends_on: [db]
  side: {{image: {IMAGE}, stop_signal: KILL, network_mode: 'service:db'}}
volumes: {{data: }}
"
        );
        Self { checkout: Checkout::new(&name, &text), name }
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
    assert_eq!(made.len(), 3, "{made:?}");

    let refused = shop.clos(&daemon, &["up"]);
    assert!(refused.code != 0 && refused.err.contains("--adopt"), "{refused:?}");
    shop.clos(&daemon, &["up", "--adopt"]).well();
    assert_eq!(shop.containers(), made, "adopting recreates nothing");
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn compose_recreates_nothing_that_clos_started() {
    let daemon = Daemon::start().await;
    let shop = Project::new("beside");
    shop.clos(&daemon, &["up"]).well();
    let made = shop.containers();
    assert_eq!(made.len(), 3, "{made:?}");
    shop.compose(&["up", "-d"]).well();
    assert_eq!(shop.containers(), made, "`side` too, which shares the network of `db`");

    shop.compose(&["down", "-t", "0"]).well();
    assert_eq!(shop.containers(), Vec::<String>::new());
    shop.clos(&daemon, &["up"]).well();
    assert_eq!(daemon.containers(false).len(), 3);
}
