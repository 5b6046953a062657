//! The API as `curl` sees it: every route of the served document answers as that says, and a watch goes on after a
//! break, framed as lines and as server-sent events.

use std::collections::BTreeSet;

use clos_tests::{Answer, Curl, Daemon, IMAGE, project_name};
use serde_json::{Value, json};

const SERVICE: &str = "/api/v2/services/{id}";
/// The same service below its group.
const NESTED: &str = "/api/v2/groups/{name}/services/web";

/// Asks every route once, and knows what the document says of it.
struct Walk {
    curl: Curl,
    document: Value,
    group: String,
    /// The operation that was begun last.
    operation: String,
    walked: BTreeSet<String>,
}

impl Walk {
    /// Asks a route as the document writes it, with a query behind it; it has to go well.
    fn ask(&mut self, method: &str, route: &str, body: &Value) -> Answer {
        let path = route.split_once('?').map_or(route, |(path, _)| path);
        self.ask_as(path, method, route, body)
    }

    /// Asks another spelling of a route of the document.
    fn ask_as(&mut self, path: &str, method: &str, route: &str, body: &Value) -> Answer {
        let responses = &self.document["paths"][path][method.to_lowercase()]["responses"];
        let documented =
            responses.as_object().unwrap_or_else(|| panic!("{method} {path} is not in the document"));
        self.walked.insert(format!("{method} {path}"));
        let id = if path.contains("/operations/{id}") {
            self.operation.clone()
        } else {
            format!("{}%2Fweb", self.group)
        };
        let path = route.replace("{name}", &self.group).replace("{id}", &id);
        let answer = self.curl.ask(method, &path, body);
        let is_success =
            (200..300).contains(&answer.status) && documented.contains_key(&answer.status.to_string());
        assert!(is_success, "{method} {path}: {}\n{}\n{responses}", answer.head, answer.body);
        if answer.status == 204 {
            assert_eq!(answer.body, "", "{method} {path}");
        }
        answer
    }

    fn get(&mut self, route: &str) -> Value {
        self.ask("GET", route, &Value::Null).json()
    }

    /// Begins something, in every spelling of its route, and waits for its end each time.
    fn act(&mut self, on: &str, verb: &str, body: &Value) {
        let documented = format!("{on}/{verb}");
        for on in [Some(on), (on == SERVICE).then_some(NESTED)].into_iter().flatten() {
            for separator in ["/", ":"] {
                let route = format!("{on}{separator}{verb}");
                let begun = self.ask_as(&documented, "POST", &route, body);
                self.end(&begun);
            }
        }
    }

    fn end(&mut self, begun: &Answer) {
        self.begun(begun, &begun.json());
        let ended = self.get("/api/v2/operations/{id}/wait?timeout=1m");
        assert_eq!(ended["status"], "completed", "{ended}");
    }

    /// An action answers 200 with its operation and says where that is found.
    fn begun(&mut self, answer: &Answer, operation: &Value) {
        operation["id"].as_str().unwrap().clone_into(&mut self.operation);
        let location = format!("/api/v2/operations/{}", self.operation);
        assert_eq!((answer.status, answer.header("location")), (200, Some(location.as_str())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_route_answers_curl_as_the_document_says() {
    let daemon = Daemon::start().await;
    let curl = Curl::of(&daemon);
    let document = curl.get("/api/v2/openapi.json").json();
    let group = project_name("surface");
    let mut walk =
        Walk { curl, document, group: group.clone(), operation: String::new(), walked: BTreeSet::new() };

    for path in ["/api/v2/health", "/api/v2/health/live", "/api/v2/health/ready", "/api/v2/system/info"] {
        walk.get(path);
    }
    let made = walk.ask("POST", "/api/v2/groups", &json!({"name": group}));
    assert_eq!(
        made.header("location"),
        Some(format!("/api/v2/groups/{}", made.json()["id"].as_str().unwrap()).as_str())
    );
    let service = json!({"name": "web", "group": group, "docker_config": {"image": IMAGE}, "environment": {"LISTEN": "8080"}});
    let made = walk.ask("POST", "/api/v2/services", &service);
    assert_eq!(
        made.header("location"),
        Some(format!("/api/v2/services/{}", made.json()["id"].as_str().unwrap()).as_str())
    );
    for (list, one) in
        [("/api/v2/groups", "/api/v2/groups/{name}"), ("/api/v2/services", "/api/v2/services/{id}")]
    {
        assert_eq!(walk.get(&format!("{list}?limit=1"))["total_count"], 1);
        let mut shown = walk.get(one);
        shown["description"] = json!("put");
        assert_eq!(walk.ask("PUT", one, &shown).json()["description"], "put");
        assert_eq!(
            walk.ask("PATCH", one, &json!({"description": "patched"})).json()["description"],
            "patched"
        );
    }
    assert_eq!(
        walk.ask_as("/api/v2/services", "GET", "/api/v2/groups/{name}/services", &Value::Null).json()["total_count"],
        1
    );
    for (method, body) in [("GET", Value::Null), ("PATCH", json!({"description": "nested"}))] {
        assert_eq!(walk.ask_as(SERVICE, method, NESTED, &body).json()["name"], "web");
    }
    let shown = walk.get(SERVICE);
    assert_eq!(walk.ask_as(SERVICE, "PUT", NESTED, &shown).json()["description"], "nested");

    let stop = json!({"timeout": 1});
    for on in [SERVICE, "/api/v2/groups/{name}"] {
        walk.act(on, "start", &Value::Null);
        walk.act(on, "restart", &Value::Null);
        if on == SERVICE {
            walk.act(on, "recreate", &Value::Null);
        }
        walk.act(on, "stop", &stop);
        walk.act(on, "down", &stop);
    }
    let batch = json!({"action": "start", "ids": [format!("{group}/web")]});
    let begun = walk.ask("POST", "/api/v2/services:batch", &batch);
    walk.end(&begun);
    for what in ["logs?lines=5", "metrics", "health", "operations", "events"] {
        walk.get(&format!("{SERVICE}/{what}"));
        let documented = format!("{SERVICE}/{}", what.split('?').next().unwrap());
        walk.ask_as(&documented, "GET", &format!("{NESTED}/{what}"), &Value::Null);
    }
    for what in ["graph", "manifest", "logs?lines=5"] {
        walk.get(&format!("/api/v2/groups/{{name}}/{what}"));
    }
    assert!(walk.get("/api/v2/operations?limit=100")["operations"].as_array().unwrap().len() > 10);
    assert_eq!(walk.get("/api/v2/operations/{id}")["status"], "completed");
    // It has ended, and so does its stream.
    let watched = walk.ask("GET", "/api/v2/operations/{id}/watch", &Value::Null);
    assert!(watched.body.contains("\"operation.progress\""), "{}", watched.body);

    let files = |name: &str| {
        let text = format!(
            "name: {name}\nservices:\n  web: {{image: {IMAGE}, healthcheck: {{test: [CMD, /testapp, 'false'], interval: 1s}}}}\n"
        );
        json!({"working_dir": daemon.home(), "files": [{"path": "compose.yaml", "content": text}]})
    };
    let import = json!({"source": files(&project_name("surface")), "dry_run": true});
    walk.ask("POST", "/api/v2/services:import", &import);
    let name = project_name("surface");
    walk.group.clone_from(&name);
    let plan = json!({"source": files(&name), "dry_run": true});
    let planned = walk.ask_as("/api/v2/groups/{name}/apply", "POST", "/api/v2/groups/{name}:apply", &plan);
    assert!(planned.json()["operation"].is_null() && planned.header("location").is_none());
    for separator in ["/", ":"] {
        // Never healthy, so that there is something to cancel.
        let applied = walk.ask("POST", "/api/v2/groups/{name}/apply", &json!({"source": files(&name)}));
        walk.begun(&applied, &applied.json()["operation"]);
        let route = format!("/api/v2/operations/{{id}}{separator}cancel");
        let cancelled = walk.ask_as("/api/v2/operations/{id}/cancel", "POST", &route, &Value::Null);
        walk.begun(&cancelled, &cancelled.json());
        assert_eq!(walk.get("/api/v2/operations/{id}/wait?timeout=1m")["status"], "cancelled");
    }
    let ticket = walk.ask("POST", "/api/v2/ws-tickets", &json!({})).json();
    assert!(ticket["ticket"].is_string() && ticket["expires_at"].is_string(), "{ticket}");
    assert_eq!(walk.get("/api/v2/events?limit=1")["has_more"], true);
    // This one has no end; it is read below.
    walk.walked.insert("GET /api/v2/events/watch".into());

    walk.ask("DELETE", "/api/v2/services/{id}?force", &Value::Null);
    walk.ask("DELETE", "/api/v2/groups/{name}?force=true", &Value::Null);
    let paths = walk.document["paths"].as_object().unwrap();
    let documented = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    assert_eq!(documented.collect::<BTreeSet<_>>(), walk.walked, "every route is walked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_stream_of_what_is_not_there_is_404_however_it_is_asked_for() {
    const UPGRADE: [&str; 8] = [
        "-H",
        "connection: upgrade",
        "-H",
        "upgrade: websocket",
        "-H",
        "sec-websocket-version: 13",
        "-H",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let daemon = Daemon::start().await;
    let curl = Curl::of(&daemon);
    let unknown = "abcdefghijklmnopqrstuvwx23";
    for path in [
        format!("operations/op_{unknown}/watch"),
        format!("events/watch?operation_id=op_{unknown}"),
        format!("events/watch?service_id=svc_{unknown}"),
        "events/watch?service_id=nothing/web".to_owned(),
        "services/nothing%2Fweb/logs?follow=true".to_owned(),
        "groups/nothing/logs?follow=true".to_owned(),
    ] {
        let path = format!("/api/v2/{path}");
        for kind in ["application/x-ndjson", "text/event-stream", "application/json"] {
            let accept = format!("accept: {kind}");
            let answer = curl.with("GET", &path, &["-H", &accept], "");
            assert_eq!(answer.status, 404, "{path} {kind}: {}", answer.body);
            assert!(answer.json()["code"].as_str().unwrap().ends_with("_NOT_FOUND"), "{}", answer.body);
        }
        assert_eq!(curl.with("GET", &path, &UPGRADE, "").status, 404, "{path}");
        assert_eq!(curl.with("HEAD", &path, &["--head"], "").status, 404, "{path}");
    }
}

/// Reads a watch in parts: one curl after the other is killed while more happens.
async fn resumes(read: impl Fn(&Curl, Option<i64>, usize) -> Vec<(i64, String)> + Send + 'static) {
    let daemon = Daemon::start().await;
    let curl = Curl::of(&daemon);
    let names: Vec<String> = (0..9).map(|at| format!("group-{at}")).collect();
    let seen = tokio::task::spawn_blocking({
        let names = names.clone();
        move || {
            let mut seen: Vec<(i64, String)> = Vec::new();
            for part in names.chunks(3) {
                for name in part {
                    assert_eq!(curl.ask("POST", "/api/v2/groups", &json!({"name": name})).status, 201);
                }
                // Two are read, the third is on its way when the reader is killed.
                let count = if part[2] == names[8] { names.len() - seen.len() } else { 2 };
                seen.extend(read(&curl, seen.last().map(|(seq, _)| *seq), count));
            }
            seen
        }
    });
    let seen = tokio::time::timeout(clos_tests::PATIENCE, seen).await.unwrap().unwrap();
    assert_eq!(seen.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>(), names);
    assert!(seen.is_sorted_by(|(one, _), (next, _)| one < next), "{seen:?}");
}

fn fact(text: &str) -> (i64, String) {
    let event: Value = serde_json::from_str(text).unwrap();
    (event["seq"].as_i64().unwrap(), event["group_name"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_watch_as_lines_goes_on_after_a_kill() {
    resumes(|curl, last, count| {
        let path = format!("/api/v2/events/watch?event_type=group.created&after={}", last.unwrap_or(0));
        let lines = curl.stream(&path, &[]);
        lines.filter(|line| line.contains("\"group.created\"")).take(count).map(|line| fact(&line)).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_watch_as_server_sent_events_goes_on_by_last_event_id() {
    resumes(|curl, last, count| {
        // As EventSource does: the same address every time, and the last id in a header.
        let resume = format!("last-event-id: {}", last.unwrap_or(0));
        let mut args = vec!["-H", "accept: text/event-stream"];
        if last.is_some() {
            args.extend(["-H", &resume]);
        }
        let mut lines = curl.stream("/api/v2/events/watch?event_type=group.created&after=0", &args);
        let mut seen = Vec::new();
        while seen.len() < count {
            let Some(id) = lines.next().unwrap().strip_prefix("id: ").map(str::to_owned) else { continue };
            if lines.next().unwrap() == "event: group.created" {
                let data = lines.next().unwrap();
                seen.push(fact(data.strip_prefix("data: ").unwrap()));
                assert_eq!(seen.last().unwrap().0.to_string(), id);
            }
        }
        seen
    })
    .await;
}
