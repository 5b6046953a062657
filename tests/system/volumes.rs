//! Whatever is done to a service, what it wrote into its volumes is still there.

use clos_tests::{Checkout, Daemon, docker, project_name};

/// The verbs, and how each is said.
const VERBS: [&str; 6] = ["change", "recreate", "restart", "stop", "start", "down"];

struct Shop {
    name: String,
    image: String,
    checkout: Checkout,
    changes: u32,
}

impl Shop {
    /// An image that declares a volume, and a service of it that has two more.
    fn new() -> Self {
        let name = project_name("volumes");
        let image = format!("{name}:latest");
        docker(&["create", "--name", &name, "clos-test/busybox"]).well();
        docker(&["commit", "-c", "VOLUME /declared", &name, &image]).well();
        docker(&["rm", &name]).well();
        let checkout = Checkout::new(&name, "");
        let shop = Self { name, image, checkout, changes: 0 };
        shop.write();
        shop
    }

    fn write(&self) {
        let Self { name, image, changes, .. } = self;
        let text = format!(
            "name: {name}
services:
  web:
    image: '{image}'
    command: [sleep, '600']
    stop_signal: KILL
    environment: {{CHANGES: '{changes}'}}
    volumes: ['named:/named', '/anonymous']
    healthcheck: {{test: [CMD, 'true'], interval: 60s}}
volumes: {{named: }}
"
        );
        self.checkout.write("compose.yaml", &text);
    }

    fn clos(&self, daemon: &Daemon, args: &[&str]) {
        daemon.clos(self.checkout.path(), args).well();
    }

    fn verb(&mut self, daemon: &Daemon, verb: &str) {
        let service = format!("{}/web", self.name);
        match verb {
            "change" => {
                self.changes += 1;
                self.write();
                self.clos(daemon, &["up"]);
            }
            "down" => {
                self.clos(daemon, &["down"]);
                self.clos(daemon, &["up"]);
            }
            verb => self.clos(daemon, &[verb, &service]),
        }
    }

    fn container(&self) -> String {
        format!("{}-web-1", self.name)
    }

    fn put(&self) {
        let script = "for at in named anonymous declared; do echo kept > /$at/file; done";
        docker(&["exec", &self.container(), "sh", "-c", script]).well();
    }

    /// Whether the file is there, in a container that may be stopped.
    fn has(&self, volume: &str) -> bool {
        let file = format!("{}:/{volume}/file", self.container());
        docker(&["cp", &file, "-"]).code == 0
    }

    fn volumes(&self) -> Vec<String> {
        let format = "{{range .Mounts}}{{.Name}}\n{{end}}";
        let shown = docker(&["inspect", "-f", format, &self.container()]).well();
        let mut volumes: Vec<String> = shown.split_whitespace().map(str::to_owned).collect();
        volumes.sort();
        volumes
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        docker(&["rm", "-f", "-v", &self.container()]);
        docker(&["rmi", &self.image]);
    }
}

/// Every verb after every verb, itself too, once: a de Bruijn sequence of pairs.
fn every_pair() -> Vec<&'static str> {
    let mut sequence = Vec::new();
    for (i, first) in VERBS.iter().enumerate() {
        sequence.push(*first);
        for second in &VERBS[i + 1..] {
            sequence.extend([*first, *second]);
        }
    }
    sequence.push(VERBS[0]);
    sequence
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_two_verbs_lose_a_file_in_any_volume() {
    let daemon = Daemon::start().await;
    let mut shop = Shop::new();
    shop.clos(&daemon, &["up"]);
    shop.put();
    let volumes = shop.volumes();
    assert_eq!(volumes.len(), 3, "{volumes:?}");
    let mut before = "up";
    for verb in every_pair() {
        shop.verb(&daemon, verb);
        assert_eq!(shop.volumes(), volumes, "{verb} after {before}");
        for volume in ["named", "anonymous", "declared"] {
            assert!(shop.has(volume), "{volume} is empty: {verb} after {before}");
        }
        before = verb;
    }

    let plan = daemon.clos(shop.checkout.path(), &["plan", "-V"]).well();
    shop.clos(&daemon, &["up", "-V"]);
    assert!(shop.has("named") && !shop.has("anonymous") && !shop.has("declared"));
    for old in volumes.iter().filter(|volume| !volume.ends_with("_named")) {
        assert!(plan.contains(&format!("`docker volume rm {old}` removes it")), "{plan}");
        docker(&["volume", "rm", old]).well();
    }

    let last = shop.volumes();
    shop.clos(&daemon, &["down", "--volumes"]);
    let left = docker(&["volume", "ls", "-q"]).well();
    assert!(last.iter().all(|volume| !left.contains(volume.as_str())), "{last:?}");
}
