//! Images that are built again: a container goes on as it is unless its image has changed.

use clos_tests::{Checkout, Daemon, docker, project_name};

fn compose(name: &str, who: u32) -> String {
    format!(
        "name: {name}
services:
  web: {{build: {{context: ., args: {{WHO: '{who}'}}}}, command: [sleep, '600'], stop_signal: KILL}}
  job: {{image: '{name}-web', command: ['true'], depends_on: [web]}}
"
    )
}

const DOCKERFILE: &str = "FROM clos-test/busybox\nARG WHO\nLABEL who=$WHO\nCOPY greeting /greeting\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_container_is_replaced_only_if_its_image_has_changed() {
    let daemon = Daemon::start().await;
    let name = project_name("rebuilt");
    let checkout = Checkout::new("rebuilt", &compose(&name, 1));
    checkout.write("Dockerfile", DOCKERFILE);
    checkout.write("greeting", "hello");
    let clos = |args: &[&str]| {
        let ran = daemon.clos(checkout.path(), args);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran
    };
    let shown = |service: &str, format: &str| {
        docker(&["inspect", "-f", format, &format!("{name}-{service}-1")]).well().trim().to_owned()
    };
    let ids = || ["web", "job"].map(|service| shown(service, "{{.Id}}"));
    let greeting = || docker(&["exec", &format!("{name}-web-1"), "cat", "/greeting"]).well();
    clos(&["up"]);
    let first = ids();

    // Everything is cached: the server goes on, and the job runs once more in the container that it has.
    let ran_at = shown("job", "{{.State.StartedAt}}");
    let again = clos(&["up", "--build"]);
    assert_eq!(ids(), first, "{}", again.err);
    assert_ne!(shown("job", "{{.State.StartedAt}}"), ran_at);
    assert!(!again.err.contains("created"), "{}", again.err);
    let alone = clos(&["up", "--build", "web"]);
    assert_eq!(ids(), first);
    assert!(alone.err.contains(&format!("{name} is up to date (1 running, 1 completed)")), "{}", alone.err);

    // Contents are looked at by --build only.
    checkout.write("greeting", "hello again");
    clos(&["up"]);
    assert_eq!(ids(), first);
    let plan = clos(&["plan", "--build"]).out;
    assert!(plan.contains("if its image changes"), "{plan}");
    clos(&["up", "--build"]);
    let second = ids();
    assert!(second.iter().zip(&first).all(|(now, before)| now != before), "{second:?}");
    assert_eq!(greeting(), "hello again");

    // Another definition is built without being asked to.
    checkout.write("compose.yaml", &compose(&name, 2));
    clos(&["up"]);
    let third = ids();
    assert!(third.iter().zip(&second).all(|(now, before)| now != before), "{third:?}");
    assert_eq!(shown("web", "{{.Config.Labels.who}}"), "2");

    // What somebody else builds under that name is noticed.
    let image = format!("{name}-web");
    checkout.write("greeting", "by hand");
    let folder = checkout.path().to_str().unwrap();
    docker(&["build", "-q", "-t", &image, folder]).well();
    let plan = clos(&["plan"]).out;
    assert!(plan.contains(&format!("`{image}` is another image by now")), "{plan}");
    clos(&["up"]);
    assert_ne!(ids(), third);
    assert_eq!(greeting(), "by hand");
    clos(&["up", "--pull", "always"]);
    clos(&["down"]);
    docker(&["rmi", "-f", &image]).well();
}
