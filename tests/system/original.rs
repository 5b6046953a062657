//! `docs/api/original.md` says which of the original operations are served, and how: its tables are compared with the
//! document that a daemon serves.

use std::collections::{BTreeMap, BTreeSet};

use clos_tests::{Curl, Daemon, root};
use serde_json::{Value, json};

/// A row of the table of operations.
struct Row {
    method: String,
    path: String,
    /// Parameters and properties, each with whether it is there.
    parameters: Vec<(String, bool)>,
    is_body: bool,
    statuses: Vec<String>,
    properties: Vec<(String, bool)>,
    is_here: bool,
}

/// The words in backticks; one with `(not yet)` behind it is not there.
fn words(cell: &str) -> Vec<(String, bool)> {
    let parts: Vec<&str> = cell.split('`').collect();
    let inside = parts.iter().skip(1).step_by(2);
    let behind = parts.iter().skip(2).step_by(2);
    inside
        .zip(behind)
        .map(|(word, behind)| ((*word).to_owned(), !behind.trim().starts_with("(not yet)")))
        .collect()
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// The tables of a page, without their heads.
fn tables(page: &str) -> Vec<Vec<Vec<&str>>> {
    let mut tables = Vec::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("| ") && lines.next_if(|rule| rule.starts_with("| --- ")).is_some() {
            let rows = std::iter::from_fn(|| lines.next_if(|line| line.starts_with("| ")));
            tables.push(rows.map(cells).collect());
        }
    }
    tables
}

fn row(cells: &[&str]) -> Row {
    let [operation, parameters, statuses, properties, status] = cells else {
        panic!("not five cells: {cells:?}")
    };
    let (method, path) = operation.split_once(' ').unwrap();
    assert!(["here", "not yet"].contains(status), "{operation}: `{status}`");
    Row {
        method: method.to_owned(),
        path: format!("/api/v2{path}"),
        parameters: words(parameters),
        is_body: parameters.starts_with("body:"),
        statuses: statuses.split(' ').map(str::to_owned).collect(),
        properties: words(properties),
        is_here: *status == "here",
    }
}

struct Document(Value);

impl Document {
    /// What a schema stands for.
    fn resolved<'v>(&'v self, schema: &'v Value) -> &'v Value {
        match schema["$ref"].as_str() {
            Some(at) => self.0.pointer(at.trim_start_matches('#')).unwrap_or_else(|| panic!("no {at}")),
            None => schema,
        }
    }

    /// Whether values of a schema can have a property, in lists and alternatives too.
    fn has(&self, schema: &Value, path: &[&str]) -> bool {
        let schema = self.resolved(schema);
        let Some((first, rest)) = path.split_first() else { return true };
        let alternatives = ["oneOf", "anyOf", "allOf"].iter().filter_map(|word| schema[word].as_array());
        schema["properties"].get(first).is_some_and(|inner| self.has(inner, rest))
            || schema.get("items").is_some_and(|items| self.has(items, path))
            || alternatives.flatten().any(|one| self.has(one, path))
    }

    /// What of a row is not as it says.
    fn faults(&self, row: &Row, renamed: &BTreeMap<String, String>) -> Vec<String> {
        let operation = &self.0["paths"][&row.path][row.method.to_lowercase()];
        if operation.is_null() || !row.is_here {
            let is_right = operation.is_null() && !row.is_here;
            return if is_right { vec![] } else { vec![format!("served: {}", !operation.is_null())] };
        }
        let mut faults = Vec::new();
        let mut check = |what: String, is_there: bool, says: bool| {
            if is_there != says {
                faults.push(format!("{what}: {}", if is_there { "it is there" } else { "it is not there" }));
            }
        };
        let parameters: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|parameter| self.resolved(parameter)["name"].as_str())
            .collect();
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        for (name, says) in &row.parameters {
            let is_there =
                if row.is_body { self.has(body, &[name]) } else { parameters.contains(name.as_str()) };
            check(format!("parameter {name}"), is_there, *says);
        }
        let responses = operation["responses"].as_object().unwrap();
        for status in &row.statuses {
            check(format!("status {status}"), responses.contains_key(status), true);
        }
        let answer = &responses[&row.statuses[0]]["content"]["application/json"]["schema"];
        for (name, says) in &row.properties {
            let here = renamed.get(name).unwrap_or(name);
            let path: Vec<&str> = here.split('.').collect();
            check(format!("property {here}"), self.has(answer, &path), *says);
            assert!(
                here == name || !self.has(answer, &name.split('.').collect::<Vec<_>>()),
                "{name} has no other name"
            );
        }
        faults
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_original_operations_are_served_as_their_page_says() {
    let page = std::fs::read_to_string(root().join("docs/api/original.md")).unwrap();
    let [operations, names] = tables(&page).try_into().expect("a table of operations and one of other names");
    let rows: Vec<Row> = operations.iter().map(|cells| row(cells)).collect();
    let distinct: BTreeSet<_> = rows.iter().map(|row| (&row.method, &row.path)).collect();
    assert_eq!((rows.len(), distinct.len()), (27, 27));
    let renamed: BTreeMap<String, String> = names
        .iter()
        .map(|cells| (cells[0].trim_matches('`').to_owned(), cells[1].trim_matches('`').to_owned()))
        .collect();
    assert!(
        renamed.keys().all(|name| rows.iter().any(|row| row.properties.iter().any(|(one, _)| one == name)))
    );

    let daemon = Daemon::start().await;
    let curl = Curl::of(&daemon);
    let document = Document(curl.get("/api/v2/openapi.json").json());
    let mut faults = Vec::new();
    for row in &rows {
        if row.statuses == ["101"] {
            // No operation of the document: what makes it a socket is beside the contract.
            assert_eq!(upgraded(&daemon, &row.path), "101", "{}", row.path);
            continue;
        }
        let told = document.faults(row, &renamed);
        faults.extend(told.into_iter().map(|fault| format!("{} {}: {fault}", row.method, row.path)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    // The document is not all: what answers are like.
    let none = curl.get("/api/v2/services?limit=1").json();
    assert_eq!(
        none["pagination"],
        json!({"limit": 1, "offset": 0, "has_more": false, "next_page_token": ""})
    );
    let health = curl.get("/api/v2/health").json();
    for check in ["database", "docker", "disk_space"] {
        assert!(health["checks"][check].is_string(), "{health}");
    }
}

/// The status with which a socket is opened.
fn upgraded(daemon: &Daemon, path: &str) -> String {
    use std::io::{BufRead as _, BufReader, Write as _};
    let mut stream = std::net::TcpStream::connect(daemon.tcp()).unwrap();
    stream.set_read_timeout(Some(clos_tests::PATIENCE)).unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        daemon.tcp(),
        daemon.token()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let first = BufReader::new(stream).lines().next().unwrap().unwrap();
    first.split(' ').nth(1).unwrap().to_owned()
}
