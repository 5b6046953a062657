//! A network changes under the services that are on it.

use clos_tests::{Checkout, Daemon, docker, project_name};

fn compose(name: &str, network: &str) -> String {
    let sleeps = "image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL";
    format!(
        "name: {name}
services:
  db: {{{sleeps}, volumes: ['data:/data', /anonymous]}}
  web: {{{sleeps}, depends_on: [db]}}
volumes: {{data: {{}}}}
networks: {{default: {{{network}}}}}
"
    )
}

fn shown(what: &str, format: &str) -> String {
    docker(&["inspect", "-f", format, what]).well().trim().to_owned()
}

/// Both run on the network that is there, find each other, and the volumes have what was written.
fn assert_well(name: &str) {
    let network = format!("{name}_default");
    let id = shown(&network, "{{.Id}}");
    for service in ["web", "db"] {
        let format = "{{.State.Running}} {{range .NetworkSettings.Networks}}{{.NetworkID}}{{end}}";
        assert_eq!(shown(&format!("{name}-{service}-1"), format), format!("true {id}"), "{service}");
    }
    docker(&["exec", &format!("{name}-web-1"), "ping", "-c", "1", "-W", "5", "db"]).well();
    let db = format!("{name}-db-1");
    assert_eq!(docker(&["exec", &db, "cat", "/data/kept", "/anonymous/kept"]).well(), "one\ntwo\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_changed_network_is_replaced_under_running_services() {
    let daemon = Daemon::start().await;
    let name = project_name("networks");
    let network = format!("{name}_default");
    let checkout = Checkout::new("networks", &compose(&name, ""));
    let clos = |args: &[&str]| daemon.clos(checkout.path(), args);
    clos(&["up"]).well();
    let write = "echo one > /data/kept; echo two > /anonymous/kept";
    docker(&["exec", &format!("{name}-db-1"), "sh", "-c", write]).well();
    let mut before = shown(&network, "{{.Id}}");
    for change in ["internal: true", "internal: true, labels: {tier: back}"] {
        checkout.write("compose.yaml", &compose(&name, change));
        let plan = clos(&["plan"]).well();
        assert!(plan.contains(&network), "{plan}");
        clos(&["up"]).well();
        let now = shown(&network, "{{.Id}}");
        assert_ne!(now, before, "{change}");
        before = now;
        assert_well(&name);
    }
    assert_eq!(shown(&network, "{{.Internal}} {{.Labels.tier}}"), "true back");

    // An address pool that overlaps another network's cannot be made: the network of before is back.
    let taken = shown("bridge", "{{(index .IPAM.Config 0).Subnet}}");
    checkout.write("compose.yaml", &compose(&name, &format!("ipam: {{config: [{{subnet: {taken}}}]}}")));
    assert_ne!(clos(&["up"]).code, 0);
    assert_well(&name);

    // A stranger on it: nothing is touched.
    let stranger = project_name("stranger");
    docker(&[
        "run",
        "-d",
        "--rm",
        "--name",
        &stranger,
        "--network",
        &network,
        "clos-test/busybox",
        "sleep",
        "600",
    ])
    .well();
    let started = || shown(&format!("{name}-db-1"), "{{.State.StartedAt}}");
    let (id, since) = (shown(&network, "{{.Id}}"), started());
    checkout.write("compose.yaml", &compose(&name, "attachable: true"));
    let refused = clos(&["up"]);
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains(&stranger), "{}", refused.err);
    assert_eq!((shown(&network, "{{.Id}}"), started()), (id, since));
    docker(&["rm", "-f", &stranger]).well();
    clos(&["up"]).well();
    assert_well(&name);

    // Removed by hand while nothing runs.
    clos(&["stop"]).well();
    docker(&["network", "rm", &network]).well();
    clos(&["up"]).well();
    assert_well(&name);
    clos(&["down", "--volumes"]).well();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_network_of_somebody_else_is_joined_only_when_asked() {
    let daemon = Daemon::start().await;
    let name = project_name("theirs");
    let network = format!("{name}_default");
    docker(&["network", "create", &network]).well();
    let checkout = Checkout::new("theirs", &compose(&name, ""));
    let refused = daemon.clos(checkout.path(), &["up"]);
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("external: true"), "{}", refused.err);
    daemon.clos(checkout.path(), &["up", "--adopt"]).well();
    daemon.clos(checkout.path(), &["down", "--volumes"]).well();
    docker(&["network", "rm", &network]).well();
}
