//! What `load` asks for, what it warns of, and what the model says that `config` does not print.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use clos_compose::model::{Condition, FileSource, GroupEdge, NameSource, ProbeKind, Restart};
use clos_compose::{Code, File, Input, Outcome, Project, Purpose, Severity, SourceError, load};

use support::answer;

fn input(text: &str) -> Input {
    Input {
        working_dir: "/home/dev/shop".to_owned(),
        files: vec![File { path: "compose.yaml".to_owned(), text: text.to_owned() }],
        home: Some("/home/dev".to_owned()),
        ..Input::default()
    }
}

fn ready(input: Input) -> Box<Project> {
    match answer(input, &BTreeMap::new()) {
        Outcome::Ready(project) => project,
        other => panic!("{other:?}"),
    }
}

fn project(text: &str) -> Box<Project> {
    ready(input(text))
}

#[test]
fn names_of_all_files_are_asked_for_at_once() {
    let mut input = input(
        "include: [more.yaml]\nservices:\n  web: {image: \"x:$TAG\", env_file: web.env, environment: [PASSED, A=1]}\n",
    );
    input.env_files =
        vec![File { path: ".env".to_owned(), text: "FROM_DOTENV=1\nMADE=${BASE}\n".to_owned() }];
    let Outcome::NeedsFiles(wanted) = load(&input) else { panic!("it does not ask for files") };
    let asked: Vec<_> = wanted.iter().map(|file| (file.path.as_str(), file.purpose, file.required)).collect();
    assert_eq!(
        asked,
        [
            ("/home/dev/shop/more.yaml", Purpose::Include, true),
            ("/home/dev/shop/.env", Purpose::EnvFile, false),
            ("/home/dev/shop/web.env", Purpose::EnvFile, true),
        ]
    );
    assert_eq!(wanted[2].at.to_string(), "compose.yaml:3:36");
    assert_eq!(wanted[2].key.to_string(), "services.web.env_file[0]");

    let mut give = |name: &str, text: &str| {
        input.fetched.insert(format!("/home/dev/shop/{name}"), Ok(text.to_owned()));
    };
    give(
        "more.yaml",
        "services:\n  db: {image: \"db:${DBTAG:-${DEFAULT_TAG}}\", environment: {M: \"$MADE $FROM_DOTENV\"}}\n",
    );
    give(".env", "");
    give("web.env", "X=${IN_ENV_FILE}\nALONE\n");
    let Outcome::NeedsVariables(names) = load(&input) else { panic!("it does not ask for variables") };
    assert_eq!(names, ["ALONE", "BASE", "DBTAG", "DEFAULT_TAG", "IN_ENV_FILE", "PASSED", "TAG"]);

    for name in names {
        let value = if name == "BASE" { None } else { Some(format!("<{name}>")) };
        input.variables.insert(name, value);
    }
    let Outcome::Ready(project) = load(&input) else { panic!("it asks again") };
    assert_eq!(project.services[0].image.as_deref(), Some("x:<TAG>"));
    let environment = &project.services[0].environment;
    assert_eq!(environment["PASSED"].as_deref(), Some("<PASSED>"));
    assert_eq!(environment["X"].as_deref(), Some("<IN_ENV_FILE>"));
    assert_eq!(environment["ALONE"].as_deref(), Some("<ALONE>"));
    assert_eq!(project.services[1].image.as_deref(), Some("db:<DBTAG>"));
}

#[test]
fn a_path_made_of_an_unknown_variable_waits_for_it() {
    let mut input =
        input("services:\n  web: {image: x, env_file: \"${STAGE}.env\", ports: [\"${PORT}:80\"]}\n");
    let Outcome::NeedsVariables(names) = load(&input) else { panic!("it does not ask") };
    assert_eq!(names, ["PORT", "STAGE"]);
    input.variables.insert("STAGE".to_owned(), Some("dev".to_owned()));
    input.variables.insert("PORT".to_owned(), Some("8080".to_owned()));
    let Outcome::NeedsFiles(wanted) = load(&input) else { panic!("it does not ask") };
    assert_eq!(wanted[0].path, "/home/dev/shop/dev.env");
}

#[test]
fn a_required_variable_is_asked_for_before_it_is_missed() {
    let mut input = input("services: {a: {image: \"${IMAGE:?which one}\"}}\n");
    assert!(matches!(load(&input), Outcome::NeedsVariables(names) if names == ["IMAGE"]));
    input.variables.insert("IMAGE".to_owned(), None);
    let Outcome::Failed(errors) = load(&input) else { panic!("it is not missed") };
    assert_eq!(
        errors.to_string(),
        "compose.yaml:1:23: services.a.image: the variable IMAGE is required: which one"
    );
}

#[test]
fn text_that_is_no_yaml_fails_before_anything_is_asked() {
    let mut input = input("services: {a: {image: $X, env_file: y}\n");
    assert!(matches!(load(&input), Outcome::Failed(_)));
    input.env_files = vec![File { path: ".env".to_owned(), text: "A='open".to_owned() }];
    let Outcome::Failed(errors) = load(&input) else { panic!("a broken .env is taken") };
    assert!(errors.to_string().starts_with(".env:1:1: the quote is not closed"), "{errors}");
}

#[test]
fn env_files_are_laid_over_each_other_and_their_errors_name_the_file() {
    let env_file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
    let mut input = input("services: {a: {image: \"$NAME:$TAG\"}}\n");
    input.env_files =
        vec![env_file("base.env", "NAME=app\nTAG=1"), env_file("../ops/more.env", "TAG=${TAG}.5\n")];
    assert_eq!(ready(input.clone()).services[0].image.as_deref(), Some("app:1.5"));
    input.env_files.push(env_file("/etc/last.env", "A=1\nB='open\n"));
    let Outcome::Failed(errors) = load(&input) else { panic!("a broken file is taken") };
    assert!(errors.to_string().starts_with("/etc/last.env:2:1: the quote is not closed"), "{errors}");
}

#[test]
fn unset_variables_and_keys_without_effect_are_warned_of_with_their_place() {
    let mut input = input(
        "version: '3'\nservices:\n  web:\n    image: x\n    command: $NOPE\n    develop: {}\n    init: yes\nmodels: {}\n",
    );
    input.variables.insert("NOPE".to_owned(), None);
    let project = ready(input);
    let told: Vec<_> = project.findings.iter().map(|finding| (finding.code, finding.to_string())).collect();
    let expected = [
        (Code::Deprecated, "compose.yaml:1:10: version: it has no meaning any more and can go"),
        (
            Code::VariableUnset,
            "compose.yaml:5:14: services.web.command: the variable NOPE is not set and is taken as empty",
        ),
        (
            Code::UnsupportedKey,
            "compose.yaml:6:5: services.web.develop: `docker compose watch` uses it; it is ignored",
        ),
        (Code::Deprecated, "compose.yaml:7:11: services.web.init: `yes` is read as true; write `true`"),
        (Code::UnsupportedKey, "compose.yaml:8:1: models: models are not started; it is ignored"),
    ];
    for ((code, text), (expected_code, expected_text)) in told.iter().zip(expected) {
        assert_eq!((*code, text.as_str()), (expected_code, expected_text));
    }
    assert_eq!(told.len(), expected.len());
    assert!(project.findings.iter().all(|finding| finding.severity != Severity::Error));
    assert!(project.services[0].others.contains_key("develop"));
    assert!(project.extensions.contains_key("models"));
}

#[test]
fn a_tilde_is_the_callers_home_in_include_and_extends_too() {
    let mut input = input(
        "include: [{path: ~/a.yaml, project_directory: ~/a, env_file: ~/a.env}]\nservices:\n  web: {extends: {file: ~/b.yaml, service: base}}\n",
    );
    input.home = Some("/home/dev".to_owned());
    let mut asked = Vec::new();
    for _ in 0..3 {
        let Outcome::NeedsFiles(wanted) = load(&input) else { break };
        for file in wanted {
            let text = if file.path.ends_with(".env") { "" } else { "services: {base: {image: x}}" };
            asked.push(file.path.clone());
            input.fetched.insert(file.path, Ok(text.to_owned()));
        }
    }
    asked.sort();
    assert_eq!(asked, ["/home/dev/a.env", "/home/dev/a.yaml", "/home/dev/b.yaml"]);
    assert!(matches!(load(&input), Outcome::Ready(_)));
    input.home = None;
    let Outcome::Failed(errors) = load(&input) else { panic!("a home that is not known is none") };
    assert!(errors.to_string().contains("`~` stands for a home folder and none is known"), "{errors}");
}

#[test]
fn a_dockerfile_may_be_in_the_callers_home() {
    let mut input = input("services: {web: {build: {context: ., dockerfile: ~/web.Dockerfile}}}\n");
    input.home = Some("/home/dev".to_owned());
    let build = ready(input).services[0].build.clone().unwrap();
    assert_eq!(build.dockerfile.as_deref(), Some("/home/dev/web.Dockerfile"));
}

#[test]
fn an_env_file_that_cannot_be_read_shows_no_value() {
    for text in ["KEY='canary\n", "A KEY=canary\n", "A!=canary\n"] {
        let mut input = input("services: {web: {image: x}}\n");
        input.env_files = vec![File { path: ".env".to_owned(), text: text.to_owned() }];
        let Outcome::Failed(errors) = load(&input) else { panic!("{text} is taken") };
        assert!(!errors.to_string().contains("canary"), "{errors}");
    }
}

#[test]
fn x_clos_brings_health_checks_and_edges() {
    let project = project(
        "services:\n  web:\n    image: x\n    x-clos:\n      prefer: process\n      process: {command: run}\n      \
         health_check: {url: \"http://:8080/healthz\", interval: 1s, timeout: 500ms, retries: 3, start_period: 10s, expected_status: 204}\n  \
         db: {image: x, x-clos: {health_check: {tcp: 5432}}}\n  cli: {image: x, x-clos: {health_check: {command: \"pg_isready -q\"}}}\n\
         x-clos: {depends_on: [infra, infra~feature, other/db], more: 1}\n",
    );
    let web = project.services[0].clos.health_check.as_ref().unwrap();
    assert_eq!(
        web.kind,
        ProbeKind::Http { url: "http://:8080/healthz".to_owned(), expected_status: Some(204) }
    );
    assert_eq!((web.interval, web.retries), (Some(Duration::from_secs(1)), Some(3)));
    assert_eq!(project.services[0].clos.prefer.as_deref(), Some("process"));
    assert_eq!(project.services[0].clos.others["process"]["command"], "run");
    assert_eq!(
        project.services[1].clos.health_check.as_ref().unwrap().kind,
        ProbeKind::Tcp(":5432".to_owned())
    );
    let command = ProbeKind::Command(vec!["pg_isready".to_owned(), "-q".to_owned()]);
    assert_eq!(project.services[2].clos.health_check.as_ref().unwrap().kind, command);
    let edges: Vec<_> = project
        .depends_on
        .iter()
        .map(|GroupEdge { group, instance, service, .. }| {
            (group.as_str(), instance.as_deref(), service.as_deref())
        })
        .collect();
    assert_eq!(edges, [("infra", None, None), ("infra", Some("feature"), None), ("other", None, Some("db"))]);
    assert!(project.findings.iter().any(|finding| finding.key.to_string() == "x-clos.more"));
}

#[test]
fn services_stand_in_the_order_of_the_files() {
    let project =
        project("services: {zeta: {image: x}, alpha: {image: x, depends_on: [zeta]}, mid: {image: x}}\n");
    let names: Vec<_> = project.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["zeta", "alpha", "mid"]);
    assert_eq!(project.services[1].depends_on[0].condition, Condition::Started);
    assert_eq!((project.name.as_str(), project.name_source), ("shop", NameSource::Folder));
    assert_eq!(project.working_dir, "/home/dev/shop");
    assert_eq!(project.config_files, ["/home/dev/shop/compose.yaml"]);
}

#[test]
fn the_folder_of_the_first_file_is_where_paths_start() {
    let mut input = input("services: {a: {build: ., volumes: [\"./x:/x\"]}}\n");
    input.files[0].path = "deploy/compose.yaml".to_owned();
    let project = ready(input.clone());
    assert_eq!(project.working_dir, "/home/dev/shop/deploy");
    assert_eq!(project.name, "deploy");
    assert_eq!(project.services[0].build.as_ref().unwrap().context, "/home/dev/shop/deploy");
    input.project_dir = Some(".".to_owned());
    let project = ready(input);
    assert_eq!(project.services[0].volumes[0].source.as_deref(), Some("/home/dev/shop/x"));
    assert_eq!(project.services[0].volumes[0].at.to_string(), "deploy/compose.yaml:1:36");
}

#[test]
fn disabled_services_are_named_with_their_profiles() {
    let project = project("services: {a: {image: x}, b: {image: x, profiles: [dev, test]}}\n");
    assert_eq!(project.services.len(), 1);
    assert_eq!(project.disabled[0].name, "b");
    assert_eq!(project.disabled[0].profiles, ["dev", "test"]);
}

#[test]
fn a_service_that_is_named_brings_its_profiles() {
    let mut input = input(
        "services: {a: {image: x}, b: {image: x, profiles: [dev, test]}, c: {image: x, profiles: [ops]}}\n",
    );
    input.services = vec!["b".to_owned(), "nobody".to_owned()];
    let project = ready(input);
    let names: Vec<&str> = project.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(project.profiles, ["dev", "test"]);
    assert_eq!(project.disabled[0].name, "c");
}

#[test]
fn an_optional_dependency_out_of_profile_is_noted_and_dropped() {
    let project = project(
        "services: {a: {image: x, depends_on: {b: {condition: service_started, required: false}}}, b: {image: x, profiles: [p]}}\n",
    );
    assert!(project.services[0].depends_on.is_empty());
    assert!(project.findings.iter().any(|finding| finding.code == Code::UnknownDependency));
}

#[test]
fn what_deploy_says_counts_where_the_service_is_silent() {
    let project = project(
        "services:\n  a:\n    image: x\n    deploy:\n      resources: {limits: {cpus: '0.5', memory: 1g, pids: 9}, reservations: {memory: 1m}}\n      \
         restart_policy: {condition: on-failure, max_attempts: 2}\n  b: {image: x, restart: always, cpus: 2, mem_limit: 2g, pids_limit: 3, mem_reservation: 4m}\n  \
         c: {image: x, deploy: {restart_policy: {condition: any}}}\n  d: {image: x, deploy: {replicas: 0}}\n  e: {image: x}\n",
    );
    let [a, b, c, d, e] = project.services.as_slice() else { panic!("five services") };
    assert_eq!(
        (a.effective_cpus(), a.effective_memory(), a.effective_pids()),
        (Some(0.5), Some(1 << 30), Some(9))
    );
    assert_eq!(a.effective_memory_reservation(), Some(1 << 20));
    assert_eq!(a.effective_restart(), Restart::OnFailure { attempts: Some(2) });
    assert_eq!(
        (b.effective_cpus(), b.effective_memory(), b.effective_pids()),
        (Some(2.0), Some(2 << 30), Some(3))
    );
    assert_eq!((b.effective_restart(), b.effective_memory_reservation()), (Restart::Always, Some(4 << 20)));
    assert_eq!(c.effective_restart(), Restart::Always);
    assert_eq!((d.replicas, e.replicas), (0, 1));
    assert_eq!((e.effective_restart(), e.effective_memory()), (Restart::No, None));
}

#[test]
fn values_of_secrets_are_held_and_do_not_print() {
    let mut input = input(
        "services: {a: {image: x, secrets: [s], configs: [c]}}\nsecrets: {s: {environment: TOKEN}}\nconfigs: {c: {content: hush}}\n",
    );
    input.variables.insert("TOKEN".to_owned(), Some("very-secret".to_owned()));
    let project = ready(input);
    let FileSource::Variable { name, value } = &project.secrets[0].source else { panic!("a variable") };
    assert_eq!((name.as_str(), value.as_ref().unwrap().reveal()), ("TOKEN", "very-secret"));
    let printed = format!("{:?} {:?}", project.secrets, project.configs);
    assert!(!printed.contains("very-secret") && !printed.contains("hush"), "{printed}");
    assert!(!clos_compose::to_compose_json(&project).to_string().contains("very-secret"));
}

#[test]
fn keys_know_their_places() {
    let project = project("services:\n  web:\n    image: x\n    privileged: true\n");
    let web = &project.services[0];
    assert_eq!(web.place("privileged").to_string(), "compose.yaml:4:17");
    assert_eq!(web.place("nothing").to_string(), "compose.yaml:3:5");
    assert_eq!(web.key().to_string(), "services.web");
    let places = "x-base: &base\n  privileged: true\nservices:\n  web:\n    <<: *base\n    image: x\n";
    let project = ready(input(places));
    assert_eq!(project.services[0].place("privileged").to_string(), "compose.yaml:2:15");
}

#[test]
fn a_service_that_two_files_declare_is_noted() {
    let mut input = input("include: [lib.yaml]\nservices: {db: {ports: [\"80\"]}}\n");
    input.fetched.insert("/home/dev/shop/lib.yaml".to_owned(), Ok("services: {db: {image: x}}\n".to_owned()));
    let dotenv = "/home/dev/shop/.env".to_owned();
    input.fetched.insert(dotenv.clone(), Err(SourceError::NotFound { path: dotenv }));
    let project = ready(input);
    let finding = project.findings.iter().find(|finding| finding.code == Code::Duplicate).unwrap();
    assert_eq!(
        finding.to_string(),
        "compose.yaml:2:16: services.db: `db` is also in lib.yaml:1:16, and is merged over it"
    );
}

#[test]
fn a_shell_variable_wins_over_an_included_env_file_and_is_asked_for() {
    let mut input = input("include: [lib/c.yaml]\n");
    let mut give = |name: &str, text: &str| {
        input.fetched.insert(format!("/home/dev/shop/lib/{name}"), Ok(text.to_owned()));
    };
    give("c.yaml", "services: {db: {image: \"db:$TAG\"}}\n");
    give(".env", "TAG=from-file\n");
    assert!(matches!(load(&input), Outcome::NeedsVariables(names) if names == ["TAG"]));
    input.variables.insert("TAG".to_owned(), None);
    let Outcome::Ready(project) = load(&input) else { panic!("it asks again") };
    assert_eq!(project.services[0].image.as_deref(), Some("db:from-file"));
    input.variables.insert("TAG".to_owned(), Some("from-shell".to_owned()));
    let Outcome::Ready(project) = load(&input) else { panic!("it asks again") };
    assert_eq!(project.services[0].image.as_deref(), Some("db:from-shell"));
}
