//! Projects beside each other: same names, same ports, shared dependencies.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use clos_proto::v2 as pb;
use clos_tests::{Checkout, Daemon, Foreign, IMAGE, docker, engine, free_port, project_name};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn two_checkouts_of_one_project_do_not_replace_each_other() {
    let daemon = Daemon::start().await;
    let name = project_name("twin");
    let text = format!(
        "services: {{web: {{image: {IMAGE}, environment: {{LISTEN: '8080'}}, volumes: ['data:/data']}}}}\nvolumes: {{data: }}\n"
    );
    let (first, second) = (Checkout::new(&name, &text), Checkout::new(&name, &text));
    daemon.clos(first.path(), &["up"]).well();
    let refused = daemon.clos(second.path(), &["up"]);
    assert_eq!(refused.code, 7, "{}", refused.err);
    assert!(
        refused.err.contains("PROJECT_MISMATCH") && refused.err.contains("--instance"),
        "{}",
        refused.err
    );
    daemon.clos(second.path(), &["up", "--instance", "two"]).well();
    assert_eq!(daemon.containers(false), [format!("{name}-web-1"), format!("{name}__two-web-1")]);
    let status = daemon.clos(second.path(), &["status", "--all", "-o", "name"]).well();
    assert_eq!(status, format!("{name}/web\n{name}~two/web\n"));
    // Each folder's own one is meant.
    daemon.clos(second.path(), &["stop", "--instance", "two"]).well();
    assert_eq!(daemon.containers(false), [format!("{name}-web-1")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_port_that_somebody_has_is_told_with_who_has_it() {
    let daemon = Daemon::start().await;
    let port = free_port();
    let text = |name: &str| {
        format!(
            "name: {name}\nservices: {{db: {{image: {IMAGE}, environment: {{LISTEN: '5432'}}, ports: ['{port}:5432']}}, web: {{image: {IMAGE}}}}}\n"
        )
    };
    let (one, two) = (project_name("one"), project_name("two"));
    let (first, second) = (Checkout::new("one", &text(&one)), Checkout::new("two", &text(&two)));
    daemon.clos(first.path(), &["up"]).well();
    let made = daemon.containers(true);
    let refused = daemon.clos(second.path(), &["up"]);
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(
        refused.err.contains(&port.to_string()) && refused.err.contains(&format!("{one}/db")),
        "{}",
        refused.err
    );
    assert_eq!(daemon.containers(true), made, "nothing of it is created");
    assert_eq!(daemon.clos(second.path(), &["status", &two]).code, 5, "no rows either");
    daemon.clos(first.path(), &["down"]).well();

    // A process of the host, and a container of somebody else.
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let refused = daemon.clos(second.path(), &["up", "-o", "json"]);
    assert_eq!(refused.code, 3, "{}", refused.err);
    let error: serde_json::Value = serde_json::from_str(&refused.err).unwrap();
    let holder = &error["error"]["conflicts"][0]["holder"];
    assert_eq!(
        (holder["type"].as_str(), holder["pid"].as_u64()),
        (Some("system_process"), Some(std::process::id().into()))
    );
    drop(listener);
    let stranger = Foreign::start(&["-e", "LISTEN=80", "-p", &format!("127.0.0.1:{port}:80")]);
    let refused = daemon.clos(second.path(), &["up"]);
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(refused.err.contains(stranger.name()), "{}", refused.err);
    drop(stranger);
    daemon.clos(second.path(), &["up"]).well();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_shared_dependency_is_started_once_each_time() {
    const ROUNDS: usize = 50;
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let infra = project_name("infra");
    let base = Checkout::new(
        "infra",
        &format!("name: {infra}\nservices: {{db: {{image: {IMAGE}, stop_signal: KILL}}}}\n"),
    );
    daemon.clos(base.path(), &["up", "--no-start"]).well();
    let names = [project_name("left"), project_name("right")];
    for name in &names {
        let text = format!(
            "name: {name}\nx-clos: {{depends_on: [{infra}]}}\nservices: {{web: {{image: {IMAGE}, stop_signal: KILL}}}}\n"
        );
        let checkout = Checkout::new(name, &text);
        daemon.clos(checkout.path(), &["up", "--no-start"]).well();
    }
    let container = format!("{infra}-db-1");
    let mut events = Command::new("docker");
    events.arg("-H").arg(engine()).args([
        "events",
        "--format",
        "{{.Action}}",
        "--filter",
        "event=start",
        "--filter",
        "event=die",
    ]);
    events.args(["--filter", &format!("container={container}")]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut events = events.spawn().unwrap();
    for _ in 0..ROUNDS {
        let start = |name: &String| {
            let request =
                pb::StartGroupRequest { name: name.clone(), wait: Some(false), ..Default::default() };
            client.start_group(request)
        };
        let (left, right) = tokio::join!(start(&names[0]), start(&names[1]));
        for operation in [left.unwrap(), right.unwrap()] {
            let ended = daemon.ended(&operation).await;
            assert_eq!(ended.status(), pb::OperationStatus::Completed, "{ended:#?}");
        }
        for name in names.iter().chain([&infra]) {
            let stop = client
                .stop_group(pb::StopGroupRequest { name: name.clone(), ..Default::default() })
                .await
                .unwrap();
            assert_eq!(daemon.ended(&stop).await.status(), pb::OperationStatus::Completed);
        }
    }
    let lines = BufReader::new(events.stdout.take().unwrap()).lines();
    let told: Vec<String> = lines.map(Result::unwrap).take(2 * ROUNDS).collect();
    events.kill().unwrap();
    events.wait().unwrap();
    let expected: Vec<&str> = ["start", "die"].into_iter().cycle().take(2 * ROUNDS).collect();
    assert_eq!(told, expected);
    assert_eq!(docker(&["inspect", "-f", "{{.State.Running}}", &container]).well().trim(), "false");
}
