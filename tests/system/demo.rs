//! The demo: up, seen, killed by hand, stopped, and understood by Docker Compose.

use std::collections::BTreeMap;
use std::process::Command;

use clos_proto::v2 as pb;
use clos_tests::{Daemon, Foreign, docker, engine, free_port, project_name, root, tool};

const SERVICES: [&str; 7] = ["cache", "catalog", "db", "frontend", "migrate", "orders", "worker"];

fn healthy(status: &serde_json::Value) -> usize {
    let services = status["services"].as_array().unwrap();
    services.iter().filter(|service| service["health_check"]["status"] == "healthy").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_shop_comes_up_is_watched_stops_and_goes() {
    let daemon = Daemon::start().await;
    let strangers = [Foreign::start(&[]), Foreign::start(&["--label", "com.docker.compose.project=shop"])];
    let shop = root().join("tests/fixtures/shop");
    let name = project_name("shop");
    let ports: BTreeMap<&str, String> =
        ["CATALOG_PORT", "ORDERS_PORT", "SHOP_PORT"].map(|port| (port, free_port().to_string())).into();
    let clos = |args: &[&str]| -> clos_tests::Ran {
        daemon.clos_in(&shop, args).envs(&ports).output().unwrap().into()
    };

    let plan = clos(&["plan", "-p", &name]).well();
    assert!(plan.contains("wait") && plan.contains(&format!("{name}-frontend-1")), "{plan}");
    assert_eq!(daemon.containers(true), Vec::<String>::new(), "a plan changes nothing");

    let up = clos(&["up", "--build", "-p", &name]);
    assert_eq!(up.code, 0, "{}", up.err);
    assert!(up.err.contains("frontend ready") && up.err.contains("(6 running, 1 completed)"), "{}", up.err);
    let status = clos(&["status", &name, "-o", "json"]).json();
    assert_eq!((status["services"].as_array().unwrap().len(), healthy(&status)), (7, 6), "{status:#}");
    let frontend = format!("http://127.0.0.1:{}/healthz", ports["SHOP_PORT"]);
    assert!(Command::new("curl").args(["-fsS", &frontend]).output().unwrap().status.success(), "{frontend}");
    // What runs once would run again, as with Compose; nothing is made anew or stopped. Where the
    // engine's own check is not as far as ours was, it is waited for.
    let again = clos(&["plan", "-p", &name, "-o", "json"]).json();
    for step in again["steps"].as_array().unwrap() {
        let is_migrate = step["subject"].as_str().unwrap().ends_with("-migrate-1");
        assert!(step["action"] == "wait" || (is_migrate && step["action"] == "start"), "{step:#}");
    }

    // Compose sees what is its own kind.
    let compose = |args: &[&str]| -> clos_tests::Ran {
        let mut compose = Command::new(tool("CLOS_TEST_COMPOSE"));
        compose.args(["-p", &name, "-f"]).arg(shop.join("compose.yaml")).args(args);
        compose.env("DOCKER_HOST", engine()).envs(&ports).output().unwrap().into()
    };
    let seen = compose(&["ps", "--services"]).well();
    let mut seen: Vec<&str> = seen.lines().collect();
    seen.sort_unstable();
    assert_eq!(seen, SERVICES.iter().copied().filter(|name| *name != "migrate").collect::<Vec<_>>());

    // What somebody does by hand shows.
    docker(&["kill", &format!("{name}-cache-1")]).well();
    let killed = daemon.until(&format!("{name}/cache"), |it| it.status() == pb::ServiceStatus::Failed).await;
    assert_eq!((killed.status_reason.as_str(), killed.exit_code), ("EXITED", Some(137)));
    let events =
        clos(&["events", &format!("{name}/cache"), "--type", "service.status_changed", "-n", "1"]).well();
    assert!(events.contains("running → failed"), "{events}");

    let stop = clos(&["stop", &name]);
    assert!(stop.out.contains(&format!("Service group '{name}' stopped successfully")), "{stop:?}");
    assert_eq!(daemon.containers(false), Vec::<String>::new());
    assert_eq!(daemon.containers(true).len(), 7);
    assert!(strangers.iter().all(Foreign::runs));

    let start = clos(&["start", &name]).well();
    assert!(start.contains(&format!("Service group '{name}' started successfully")), "{start}");
    assert_eq!(healthy(&clos(&["status", &name, "-o", "json"]).json()), 6);
    let logs = clos(&["logs", "-p", &name, "worker", "-n", "3"]).well();
    assert!(logs.lines().all(|line| line.starts_with("worker | ")) && !logs.is_empty(), "{logs}");

    compose(&["down"]).well();
    assert_eq!(daemon.containers(true), Vec::<String>::new());
    daemon.until(&format!("{name}/db"), |it| it.status_reason == "GONE").await;
    assert!(clos(&["down", &name, "--volumes"]).code == 0);
    let left = docker(&["volume", "ls", "-q", "--filter", &format!("name={name}")]).well();
    assert_eq!(left, "");
    assert!(strangers.iter().all(Foreign::runs));
}
