//! The ways in: the socket, TCP with its token, and a daemon that is started when it is missing.

use std::process::Command;

use clos_client::{Client, Endpoint, Kind, Options};
use clos_proto::v2 as pb;
use clos_tests::{Daemon, PATIENCE, program};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn tcp_wants_the_token() {
    let daemon = Daemon::start().await;
    let host = daemon.endpoint()["tcp"].as_str().unwrap().to_owned();
    let ask = async |options: Options| {
        let client = Client::connect(&Endpoint::resolve(&options).unwrap(), PATIENCE).await.unwrap();
        client.list_groups(pb::ListGroupsRequest::default()).await
    };
    let stranger = Options { home: "/nowhere".into(), host: Some(host.clone()), ..Options::default() };
    let error = ask(stranger.clone()).await.unwrap_err();
    assert_eq!((error.kind, error.reason.as_str()), (Kind::Unauthenticated, "TOKEN_MISSING"));
    let error = ask(Options { token: Some("wrong".into()), ..stranger.clone() }).await.unwrap_err();
    assert_eq!((error.kind, error.reason.as_str()), (Kind::Unauthenticated, "TOKEN_INVALID"));
    let token = std::fs::read_to_string(daemon.home().join("token")).unwrap();
    ask(Options { token: Some(token), ..stranger }).await.unwrap();
    // The state folder's own client finds it by itself.
    ask(Options { home: daemon.home().to_owned(), host: Some(host.clone()), ..Options::default() })
        .await
        .unwrap();

    let home = std::env::temp_dir();
    let mut clos = Command::new(program("clos"));
    clos.env_clear().env("CLOS_HOME", home.join("clos-of-nobody")).args(["--host", &host, "status"]);
    let refused: clos_tests::Ran = clos.output().unwrap().into();
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("CLOS_TOKEN"), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_daemon_is_started_when_it_is_not_there() {
    let home = tempfile::Builder::new().prefix("clos").tempdir().unwrap();
    // The log of the daemons before it is full.
    let log = home.path().join("log/closd.log");
    std::fs::create_dir(home.path().join("log")).unwrap();
    std::fs::write(&log, vec![b'x'; 10 << 20]).unwrap();
    let mut clos = Command::new(program("clos"));
    clos.env_clear()
        .env("CLOS_HOME", home.path())
        .env("HOME", home.path())
        .env("DOCKER_HOST", clos_tests::engine());
    // A port of its own: the usual one may be somebody's.
    clos.env("CLOSD_SERVER__LISTEN", "127.0.0.1:0").arg("status");
    let ran: clos_tests::Ran = clos.output().unwrap().into();
    let endpoint = std::fs::read_to_string(home.path().join("run/endpoint.json"));
    let pid =
        endpoint.ok().and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok()?["pid"].as_u64());
    if let Some(pid) = pid {
        assert!(Command::new("kill").args(["-TERM", &pid.to_string()]).status().unwrap().success());
    }
    assert_eq!((ran.code, ran.out.as_str()), (0, "No services registered\n"), "{}", ran.err);
    assert!(ran.err.contains("closd was not running: starting it"), "{}", ran.err);
    assert!(pid.is_some(), "it runs on after us");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("closd is ready") && !text.contains('x'.to_string().repeat(99).as_str()), "{text}");
    let previous = std::fs::metadata(home.path().join("log/closd.log.1")).unwrap();
    assert_eq!(previous.len(), 10 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_verb_has_its_exit_code() {
    let daemon = Daemon::start().await;
    let folder = std::env::temp_dir();
    for (args, code) in [
        (&["version"][..], 0),
        (&["doctor"], 0),
        (&["status"], 0),
        (&["events", "--all"], 0),
        (&["ops"], 0),
        (&["explain", "PORT_CONFLICT"], 0),
        (&["help", "exit-codes"], 0),
        (&["completion", "bash"], 0),
        (&["start", "nothing"], 5),
        (&["stop", "nothing"], 5),
        (&["restart", "nothing"], 5),
        (&["recreate", "nothing"], 5),
        (&["down", "nothing"], 5),
        (&["logs", "nothing"], 5),
        (&["wait", "nothing"], 5),
        (&["ops", "op_2al2ui2em3uu74pcsea6d736qg"], 5),
        (&["up"], 5),
        (&["plan"], 5),
        (&["--nothing"], 2),
    ] {
        let ran = daemon.clos(&folder, args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.err);
    }
}
