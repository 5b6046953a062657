//! The same daemon over HTTP: resources, errors, streams and a socket, as `curl` and a browser see them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use clos_tests::{Checkout, Daemon, PATIENCE, project_name};
use serde_json::{Value, json};

/// What came back.
pub(crate) struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
        Some(line.split_once(':')?.1.trim())
    }
}

pub(crate) struct Rest {
    host: String,
    token: String,
}

impl Rest {
    pub(crate) fn of(daemon: &Daemon) -> Self {
        let token = std::fs::read_to_string(daemon.home().join("token")).unwrap();
        Self { host: daemon.endpoint()["tcp"].as_str().unwrap().to_owned(), token: token.trim().to_owned() }
    }

    fn open(&self, line: &str, head: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len())
        };
        let text = format!(
            "{line} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n{length}{head}\r\n{body}",
            self.host, self.token
        );
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    fn ask_with(&self, line: &str, head: &str, body: &str) -> Answer {
        let mut stream = self.open(line, &format!("connection: close\r\n{head}"), body);
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head[9..12].parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn ask(&self, line: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask_with(line, "", &body)
    }

    /// Reads a stream until it has so many lines that begin like this.
    fn lines(&self, line: &str, head: &str, begin: &str, count: usize) -> Vec<String> {
        use std::io::BufRead as _;
        let stream = self.open(line, head, "");
        let lines = std::io::BufReader::new(stream).lines().map(|line| line.unwrap());
        lines.filter(|line| line.starts_with(begin)).take(count).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn resources_are_made_read_changed_and_removed_over_http() {
    let daemon = Daemon::start().await;
    let rest = Rest::of(&daemon);
    let made = rest.ask("POST /api/v2/groups", &json!({"name": "desk"}));
    assert_eq!(made.status, 201, "{}", made.body);
    let service = json!({
        "name": "web", "group": "desk", "docker_config": {"image": "clos-test/app"}, "tags": ["a", "b"],
        "health_check": {"url": "http://localhost:1/", "interval": "1m"}, "environment": {"DB_PASSWORD": "s3cret"},
    });
    let made = rest.ask("POST /api/v2/services", &service);
    assert_eq!(made.status, 201, "{}", made.body);
    let shown = made.json();
    let id = shown["id"].as_str().unwrap();
    assert_eq!(made.header("location"), Some(format!("/api/v2/services/{id}").as_str()));
    assert_eq!((&shown["status"], &shown["health_check"]["interval"]), (&json!("stopped"), &json!("60s")));
    assert!(shown["started_at"].is_null() && shown.as_object().unwrap().contains_key("started_at"));
    assert!(!made.body.contains("s3cret"), "{}", made.body);

    let told = daemon.clos(daemon.home(), &["status", "--all", "-o", "json"]).json();
    assert_eq!(told["services"][0].to_string(), shown.to_string(), "nulls too");

    let listed =
        rest.ask("GET /api/v2/services?tags=a,b&fields=services.name,total_count", &Value::Null).json();
    assert_eq!(listed, json!({"services": [{"name": "web"}], "total_count": 1}));
    let one = rest.ask("GET /api/v2/services/desk%2Fweb", &Value::Null);
    let etag = one.header("etag").unwrap().to_owned();
    assert_eq!(etag, format!("\"{}\"", one.json()["etag"].as_str().unwrap()));
    let patched = rest.ask_with(
        &format!("PATCH /api/v2/services/{id}"),
        &format!("if-match: {etag}\r\n"),
        &json!({"description": "new", "tags": null}).to_string(),
    );
    assert_eq!(patched.status, 200, "{}", patched.body);
    assert_eq!((&patched.json()["description"], &patched.json()["tags"]), (&json!("new"), &json!([])));
    let stale = rest.ask_with(
        &format!("PATCH /api/v2/services/{id}"),
        &format!("if-match: {etag}\r\n"),
        "{\"owner\":\"x\"}",
    );
    assert_eq!((stale.status, stale.json()["code"].as_str().unwrap()), (412, "ETAG_MISMATCH"));
    let gone = rest.ask(&format!("DELETE /api/v2/services/{id}"), &Value::Null);
    assert_eq!((gone.status, gone.body.as_str()), (204, ""));
    let missing = rest.ask(&format!("GET /api/v2/services/{id}"), &Value::Null);
    assert_eq!((missing.status, missing.json()["code"].as_str().unwrap()), (404, "SERVICE_NOT_FOUND"));
    let bad = rest.ask("POST /api/v2/services", &json!({"name": "web", "grupp": "desk"}));
    assert_eq!((bad.status, &bad.json()["details"]["field_violations"][0]["field"]), (400, &json!("grupp")));
    let health = rest.ask("GET /api/v2/health", &Value::Null);
    assert_eq!((health.status, &health.json()["checks"]["database"]), (200, &json!("healthy")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_project_runs_and_is_watched_over_http() {
    let name = project_name("rest");
    let project = Checkout::new(
        &name,
        "services:\n  web:\n    image: clos-test/app\n    environment: {LISTEN: '8080'}\n",
    );
    let daemon = Daemon::start().await;
    let rest = Rest::of(&daemon);
    daemon.clos(project.path(), &["up", "--no-wait"]);
    let events = rest.lines("GET /api/v2/events/watch?after=0", "", "{", 3);
    let seqs: Vec<i64> = events
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_i64().unwrap())
        .collect();
    assert_eq!(seqs, [1, 2, 3]);
    let resumed = rest.lines(
        "GET /api/v2/events/watch?after=0",
        "accept: text/event-stream\r\nlast-event-id: 2\r\n",
        "id: ",
        1,
    );
    assert_eq!(resumed, ["id: 3"]);
    daemon
        .until(&format!("{name}/web"), |service| service.status() == clos_proto::v2::ServiceStatus::Running)
        .await;
    let stopped = rest.ask(&format!("POST /api/v2/groups/{name}/stop"), &json!({"timeout": 1}));
    assert_eq!(stopped.status, 200, "{}", stopped.body);
    let operation = stopped.json()["id"].as_str().unwrap().to_owned();
    let ended = rest.ask(&format!("GET /api/v2/operations/{operation}/wait?timeout=1m"), &Value::Null).json();
    assert_eq!(ended["status"], "completed", "{ended}");
    let logs = rest.ask(&format!("GET /api/v2/services/{name}%2Fweb/logs?lines=5"), &Value::Null);
    assert!(logs.json()["logs"].is_array(), "{}", logs.body);
    let plain =
        rest.ask_with(&format!("GET /api/v2/services/{name}%2Fweb/logs"), "accept: text/plain\r\n", "");
    assert_eq!(plain.header("content-type"), Some("text/plain; charset=utf-8"));
    // A script reads the same text from `clos` and from the REST API.
    for (command, path) in [
        ("status".to_owned(), "services?fields=services".to_owned()),
        ("ops".to_owned(), "operations?fields=operations".to_owned()),
        (format!("ops {operation}"), format!("operations/{operation}?")),
        ("events --after 0".to_owned(), format!("events?after=0&fields=events&group_name={name}")),
    ] {
        let words: Vec<&str> = command.split(' ').chain(["-o", "json"]).collect();
        let told = daemon.clos(project.path(), &words).well();
        let answer = rest.ask(&format!("GET /api/v2/{path}&pretty"), &Value::Null);
        assert_eq!((answer.status, told.trim_end()), (200, answer.body.trim_end()), "clos {command}");
    }
    let running = rest.ask(&format!("DELETE /api/v2/groups/{name}"), &Value::Null);
    assert_eq!((running.status, running.json()["code"].as_str().unwrap()), (409, "NOT_DOWN"));
    daemon.clos(project.path(), &["down", "-v"]);
}
