//! Containers that live in another one's namespaces follow it, whatever happens to it.

use clos_tests::{Checkout, Daemon, docker, project_name};

fn compose(name: &str, value: &str) -> String {
    let sleeps = "image: 'clos-test/busybox', command: [sleep, '600'], stop_signal: KILL";
    format!(
        "name: {name}
services:
  owner: {{{sleeps}, ipc: shareable, environment: {{V: '{value}'}}}}
  guest: {{{sleeps}, network_mode: 'service:owner'}}
  peer: {{{sleeps}, pid: 'service:owner', ipc: 'service:owner'}}
"
    )
}

fn shown(container: &str, format: &str) -> String {
    docker(&["inspect", "-f", format, container]).well().trim().to_owned()
}

fn ids(name: &str) -> [String; 3] {
    ["owner", "guest", "peer"].map(|service| shown(&format!("{name}-{service}-1"), "{{.Id}}"))
}

/// Guest and peer run and are in the namespaces of the owner that is there now.
fn assert_attached(name: &str) {
    let [owner, _, _] = ids(name);
    let bound = format!("true container:{owner}");
    let guest = shown(&format!("{name}-guest-1"), "{{.State.Running}} {{.HostConfig.NetworkMode}}");
    assert_eq!(guest, bound);
    for mode in ["PidMode", "IpcMode"] {
        let format = format!("{{{{.State.Running}}}} {{{{.HostConfig.{mode}}}}}");
        assert_eq!(shown(&format!("{name}-peer-1"), &format), bound, "{mode}");
    }
    let network =
        |service: &str| docker(&["exec", &format!("{name}-{service}-1"), "cat", "/proc/net/fib_trie"]).well();
    assert_eq!(network("guest"), network("owner"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_shares_a_namespace_follows_its_owner() {
    let daemon = Daemon::start().await;
    let name = project_name("guests");
    let checkout = Checkout::new("guests", &compose(&name, "1"));
    let clos = |args: &[&str]| daemon.clos(checkout.path(), args).well();
    clos(&["up"]);
    assert_attached(&name);
    let first = ids(&name);
    clos(&["up"]);
    assert_eq!(ids(&name), first, "an unchanged up does nothing");

    clos(&["restart", &format!("{name}/owner")]);
    assert_eq!(ids(&name), first);
    assert_attached(&name);

    checkout.write("compose.yaml", &compose(&name, "2"));
    clos(&["up"]);
    assert_attached(&name);
    assert!(ids(&name).iter().zip(&first).all(|(now, before)| now != before));

    docker(&["rm", "-f", &format!("{name}-owner-1")]).well();
    clos(&["up"]);
    assert_attached(&name);
    clos(&["down"]);
}
