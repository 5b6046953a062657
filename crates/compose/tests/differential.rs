//! Our reading of compose files beside that of `docker compose config --format json`, field by field.
//!
//! One more case: a folder in `tests/cases` with a `compose.yaml` (and what it names), written as real projects
//! write them. What compose refuses goes into `tests/refused`: we have to refuse it too.
#![allow(clippy::disallowed_methods, reason = "a test reads its environment")]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use clos_compose::config_hash::{Piece, config_text};
use clos_compose::{File, Input, Outcome, load, to_compose_json};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use support::{Case, HOME, answer, cases};

/// Where we differ on purpose: the case, the path, and why.
const DEVIATIONS: &[(&str, &str, &str)] = &[
    (
        "31-optional-dependency-out-of-profile",
        "services.a.depends_on.b",
        "an optional dependency on a service that is not there is none, so nobody has to look twice",
    ),
    (
        "61-long-syntax-merge",
        "services.a.ports",
        "the same port published as a number and as a string is one port, not two that collide",
    ),
    (
        "67-dates",
        "services.a.environment.DAY",
        "YAML 1.2 knows no dates: what was written is what the container gets",
    ),
];

fn compose() -> PathBuf {
    let path = std::env::var_os("CLOS_TEST_COMPOSE").map(PathBuf::from);
    path.expect(
        "CLOS_TEST_COMPOSE names no docker compose to compare with; `make test` builds one and sets it",
    )
}

fn config(case: &Case, what: &[&str]) -> Output {
    let mut command = Command::new(compose());
    command.current_dir(&case.folder).env_clear();
    command.env("PATH", "/usr/bin:/bin").env("HOME", HOME).env("PWD", &case.folder);
    command.envs(&case.shell);
    for file in case.files().iter().filter(|_| !case.args.iter().any(|arg| arg == "-f")) {
        command.args(["-f", file]);
    }
    command.args(&case.args).arg("config").args(what);
    command.output().expect("docker compose runs")
}

/// What is empty counts as absent, except where an empty list says something.
fn without_empties(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut kept = serde_json::Map::new();
            for (name, value) in map {
                let command = name == "command" || name == "entrypoint";
                let value = without_empties(value);
                let empty = match &value {
                    Value::Array(items) => items.is_empty() && !command,
                    Value::Object(map) => map.is_empty(),
                    Value::Null => true,
                    _ => false,
                };
                if !empty {
                    kept.insert(name, value);
                }
            }
            Value::Object(kept)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_empties).collect()),
        other => other,
    }
}

fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours.as_f64(), theirs.as_f64()) {
        // Shares of a core go through a 32-bit float over there.
        (Some(ours), Some(theirs)) => (ours - theirs).abs() <= 1e-6 * theirs.abs().max(1.0),
        _ => ours == theirs,
    }
}

fn compare(path: &str, ours: &Value, theirs: &Value, differences: &mut Vec<(String, String)>) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let names: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let nothing = Value::Null;
                compare(
                    &path,
                    ours.get(name).unwrap_or(&nothing),
                    theirs.get(name).unwrap_or(&nothing),
                    differences,
                );
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                compare(&format!("{path}[{index}]"), ours, theirs, differences);
            }
        }
        _ if same(ours, theirs) => {}
        _ => differences.push((path.to_owned(), format!("\n      ours:   {ours}\n      theirs: {theirs}"))),
    }
}

fn differences(case: &Case) -> Vec<(String, String)> {
    let output = config(case, &["--format", "json"]);
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        return vec![(String::new(), format!("compose refuses it: {message}"))];
    }
    let theirs: Value = serde_json::from_slice(&output.stdout).expect("compose prints JSON");
    match case.load() {
        Outcome::Ready(project) => {
            let mut found = Vec::new();
            let ours = without_empties(to_compose_json(&project));
            compare("", &ours, &without_empties(theirs), &mut found);
            found
        }
        other => vec![(String::new(), format!("we do not load it: {other:?}"))],
    }
}

#[test]
fn we_read_files_as_compose_does() {
    let cases = cases("cases");
    let mut report = String::new();
    let mut unused: Vec<_> = DEVIATIONS.to_vec();
    for case in &cases {
        for (path, difference) in differences(case) {
            let allowed = |(name, allowed, _): &(&str, &str, &str)| *name == case.name && *allowed == path;
            if DEVIATIONS.iter().any(allowed) {
                unused.retain(|deviation| !allowed(deviation));
            } else {
                report.push_str(&format!("  {} {path}: {difference}\n", case.name));
            }
        }
    }
    assert!(report.is_empty(), "we differ from compose:\n{report}");
    assert!(cases.len() >= 60, "there are only {} cases", cases.len());
    assert!(unused.is_empty(), "these deviations are none any more: {unused:?}");
}

/// Services whose hash differs, because the reading does.
const OTHER_HASHES: &[(&str, &str)] = &[("61-long-syntax-merge", "a"), ("67-dates", "a")];

#[test]
fn the_hash_of_a_service_is_the_one_of_compose() {
    let mut report = String::new();
    let mut unused = OTHER_HASHES.to_vec();
    for case in cases("cases") {
        let output = config(&case, &["--hash", "*"]);
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            report.push_str(&format!("  {}: compose refuses it: {message}\n", case.name));
            continue;
        }
        let Outcome::Ready(project) = case.load() else { continue };
        let theirs = String::from_utf8_lossy(&output.stdout);
        let theirs: BTreeMap<_, _> = theirs.lines().filter_map(|line| line.split_once(' ')).collect();
        for service in &project.services {
            let text = match &config_text(service, false)[..] {
                [Piece::Text(text)] => text.clone(),
                pieces => panic!("{}: unresolved references are text: {pieces:?}", case.name),
            };
            let ours = data_encoding::HEXLOWER.encode(&Sha256::digest(&text));
            if theirs.get(service.name.as_str()) == Some(&ours.as_str()) {
                continue;
            }
            let excepted = (case.name.as_str(), service.name.as_str());
            if OTHER_HASHES.contains(&excepted) {
                unused.retain(|one| *one != excepted);
            } else {
                report.push_str(&format!("  {} {}: {text}\n", case.name, service.name));
            }
        }
    }
    assert!(report.is_empty(), "other hashes than compose's:\n{report}");
    assert!(unused.is_empty(), "these hashes are equal: {unused:?}");
}

#[test]
fn we_refuse_what_compose_refuses() {
    let mut report = String::new();
    for case in cases("refused") {
        if config(&case, &["--format", "json"]).status.success() {
            report.push_str(&format!("  {}: compose takes it\n", case.name));
        }
        if !matches!(case.load(), Outcome::Failed(_)) {
            report.push_str(&format!("  {}: we take it\n", case.name));
        }
    }
    assert!(report.is_empty(), "{report}");
}

/// In a service, with the key that was meant.
const MISSPELT: &[(&str, &str)] = &[
    ("enviroment: {A: b}", "environment"),
    ("build: {context: ., dockerFile: x}", "dockerfile"),
    ("build: {context: ., secrets: [{source: s, tar: x}]}", "target"),
    ("build: {context: ., ulimits: {nofile: {soft: 1, hard: 2, sof: 3}}}", "soft"),
    ("ulimits: {nofile: {soft: 1, hrd: 2}}", "hard"),
    ("deploy: {resource: {limits: {cpus: '1'}}}", "resources"),
    ("deploy: {resources: {limits: {cpu: '1'}}}", "cpus"),
    ("deploy: {restart_policy: {conditon: any}}", "condition"),
    ("deploy: {update_config: {paralelism: 1}}", "parallelism"),
    ("deploy: {rollback_config: {oder: x}}", "order"),
    ("deploy: {placement: {constraint: [a]}}", "constraints"),
    ("deploy: {placement: {preferences: [{spred: a}]}}", "spread"),
    ("healthcheck: {test: [CMD, a], intervall: 1s}", "interval"),
    ("networks: {n: {alias: [b]}}", "aliases"),
    ("volumes: [{type: volume, source: v, target: /v, volume: {nocpy: true}}]", "nocopy"),
    ("volumes: [{type: image, source: v, target: /v, image: {subpat: a}}]", "subpath"),
    ("secrets: [{source: s, tarjet: x}]", "target"),
    ("depends_on: {db: {condition: service_started, restarts: true}}", "restart"),
    ("ports: [{target: 80, publish: 80}]", "published"),
    ("env_file: [{path: a, require: false}]", "required"),
    ("logging: {drivr: none}", "driver"),
    ("blkio_config: {weigth: 2}", "weight"),
    ("blkio_config: {device_read_bps: [{pth: /dev/sda, rate: 1m}]}", "path"),
    ("credential_spec: {fil: a}", "file"),
    ("develop: {wach: []}", "watch"),
    ("develop: {watch: [{action: sync, path: ., targt: /a}]}", "target"),
    ("extends: {servce: db}", "service"),
];

/// The same at the top of the file.
const MISSPELT_AT_THE_TOP: &[(&str, &str)] = &[
    ("servces: {a: {image: x}}", "services"),
    ("volume: {a: {}}", "volumes"),
    ("networks: {n: {drivers: bridge}}", "driver"),
    ("networks: {n: {ipam: {conf: []}}}", "config"),
    ("volumes: {v: {driver_opt: {a: b}}}", "driver_opts"),
    ("secrets: {s: {flie: ./a}}", "file"),
    ("configs: {s: {contents: a}}", "content"),
    ("models: {m: {modle: a}}", "model"),
];

#[test]
fn a_misspelt_key_is_refused_wherever_compose_refuses_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("compose.yaml");
    let mut report = String::new();
    let asked = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(compose());
        command.current_dir(folder.path()).env_clear().env("HOME", folder.path());
        command.args(["-f", "compose.yaml", "config", "--no-interpolate", "-q"]).output().unwrap()
    };
    let in_a_service = MISSPELT.iter().map(|(text, meant)| {
        (format!("name: a\nservices: {{web: {{image: x, {text}}}, db: {{image: x}}}}\n"), meant)
    });
    let at_the_top = MISSPELT_AT_THE_TOP
        .iter()
        .map(|(text, meant)| (format!("name: a\nservices: {{web: {{image: x}}}}\n{text}\n"), meant));
    for (file, meant) in in_a_service.chain(at_the_top) {
        if asked(&file).status.success() {
            report.push_str(&format!("  {file}: compose takes it\n"));
        }
        let said = match answer(input(&file), &BTreeMap::new()) {
            Outcome::Failed(errors) => errors.to_string(),
            other => format!("{other:?}"),
        };
        if !said.contains(&format!("did you mean `{meant}`?")) {
            report.push_str(&format!("  {file}: {said}\n"));
        }
    }
    let extensions = "name: a\nx-a: 1\ninclude: []\nservices:\n  web:\n    image: x\n    x-a: 1\n    develop: {x-a: 1, watch: []}\n    deploy: {placement: {x-a: 1}, update_config: {x-a: 1}}\n    extends: {service: db, x-a: 1}\n  db: {image: x}\nmodels: {m: {model: a, x-a: 1}}\n";
    let theirs = asked(extensions);
    assert!(theirs.status.success(), "{theirs:?}");
    match load(&input(extensions)) {
        Outcome::Ready(project) => {
            let unknown = project.findings.iter().filter(|one| one.message.contains("x-a"));
            assert_eq!(unknown.count(), 0, "{:?}", project.findings);
        }
        other => panic!("{other:?}"),
    }
    assert!(report.is_empty(), "\n{report}");
}

fn input(text: &str) -> Input {
    Input {
        working_dir: "/home/dev/a".to_owned(),
        files: vec![File { path: "compose.yaml".to_owned(), text: text.to_owned() }],
        ..Input::default()
    }
}
