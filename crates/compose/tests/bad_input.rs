//! What people read when a file is wrong: every case of `tests/refused`, and what we refuse and compose does not.

mod support;

use std::collections::BTreeMap;

use clos_compose::{Code, Errors, File, Input, Outcome, SourceError, load};

use support::{answer, cases};

fn input(text: &str) -> Input {
    Input {
        working_dir: "/home/dev/shop".to_owned(),
        files: vec![File { path: "compose.yaml".to_owned(), text: text.to_owned() }],
        ..Input::default()
    }
}

fn errors(text: &str) -> Errors {
    match answer(input(text), &BTreeMap::new()) {
        Outcome::Failed(errors) => errors,
        other => panic!("{text}: {other:?}"),
    }
}

fn service(text: &str) -> String {
    errors(&format!("services:\n  web: {{image: x, {text}}}\n")).to_string()
}

#[test]
fn every_refused_file_says_where_and_why() {
    let mut table = String::new();
    for case in cases("refused") {
        let Outcome::Failed(errors) = case.load() else { panic!("{} is taken", case.name) };
        let folder = case.folder.to_string_lossy().into_owned();
        let text = errors.to_string().replace(&folder, "…");
        table.push_str(&format!("{}\n", case.name));
        for line in text.lines() {
            table.push_str(&format!("    {line}\n"));
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let text = "
services:
  web:
    image: 5
    ports: [\"80000:80\", {published: 1}]
    restart: sometimes
    depends_on: [ghost]
  a/b: {image: x}
  db:
    command: run
";
    insta::assert_snapshot!(errors(text));
}

#[test]
fn a_misspelt_key_is_an_error_with_the_key_that_was_meant() {
    for (text, expected) in [
        (
            "enviroment: {A: 1}",
            "services.web.enviroment: unknown key `enviroment`; did you mean `environment`?",
        ),
        ("healthcheck: {test: [CMD, a], intervall: 1s}", "unknown key `intervall`; did you mean `interval`?"),
        ("build: {context: ., dockerfiel: x}", "unknown key `dockerfiel`; did you mean `dockerfile`?"),
        ("ports: [{target: 80, publish: 1}]", "unknown key `publish`; did you mean `published`?"),
        ("deploy: {resources: {limits: {cpu: 1}}}", "unknown key `cpu`; did you mean `cpus`?"),
        ("strange: 1", "unknown key `strange`; remove it, or begin its name with `x-`"),
    ] {
        assert!(service(text).contains(expected), "{text}: {}", service(text));
    }
    let root = errors("services: {a: {image: x}}\nvolume: {}\n").to_string();
    assert!(
        root.contains("compose.yaml:2:1: volume: unknown key `volume`; did you mean `volumes`?"),
        "{root}"
    );
}

#[test]
fn what_would_change_the_service_is_an_error_unless_its_profile_is_off() {
    for text in [
        "gpus: all",
        "models: [m]",
        "provider: {type: x}",
        "pre_start: [{command: a}]",
        "post_start: [{command: a}]",
        "pre_stop: [{command: a}]",
        "use_api_socket: true",
        "volume_driver: nfs",
        "build: {context: ., entitlements: [network.host]}",
        "deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}",
    ] {
        let errors = errors(&format!("services:\n  web: {{image: x, {text}}}\n"));
        assert_eq!(errors.findings[0].code, Code::UnsupportedKey, "{text}: {errors}");
        assert_eq!(errors.findings.len(), 1, "{text}: {errors}");
        let off = format!("services:\n  web: {{image: x}}\n  off: {{image: x, profiles: [off], {text}}}\n");
        let outcome = load(&input(&off));
        assert!(matches!(outcome, Outcome::Ready(_)), "{text}: {outcome:?}");
    }
    let off = "services:\n  web: {image: x}\n  off: {image: x, profiles: [off], scale: 3}\n";
    assert!(matches!(load(&input(off)), Outcome::Ready(_)));
}

#[test]
fn variables_that_are_not_set_are_told_beside_the_error_that_they_cause() {
    let mut input = input("services:\n  web: {image: \"app:$TAG\", ports: [\"$PORT:http\"]}\n");
    input.variables.extend([("TAG".to_owned(), None), ("PORT".to_owned(), None)]);
    let Outcome::Failed(errors) = load(&input) else { panic!("the port is taken") };
    let text = errors.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("services.web.ports[0]"), "errors come first: {text}");
    assert!(
        text.contains("warning: compose.yaml:2:16: services.web.image: the variable TAG is not set"),
        "{text}"
    );
    assert!(text.contains("the variable PORT is not set"), "{text}");
}

#[test]
fn two_services_that_want_one_port_are_both_named() {
    let pair = |one: &str, other: &str| {
        format!(
            "services:\n  web: {{image: x, ports: [\"{one}\"]}}\n  api: {{image: x, ports: [\"{other}\"]}}\n"
        )
    };
    for (one, other) in [
        ("8080:80", "8080:90"),
        ("8080:80", "127.0.0.1:8080:90"),
        ("0.0.0.0:8080:80", "127.0.0.2:8080:90"),
        ("8000-8085:8000-8085", "8080:90"),
    ] {
        let errors = errors(&pair(one, other));
        assert_eq!(errors.findings[0].code, Code::DuplicatePort);
        assert_eq!(
            errors.to_string(),
            "compose.yaml:3:27: services.api.ports[0]: `web` and `api` both want port 8080 of the host"
        );
    }
    for (one, other) in [
        ("8080:80", "8080:80/udp"),
        ("127.0.0.1:8080:80", "127.0.0.2:8080:90"),
        ("8080-8090:80", "8080:80"),
        ("80", "80"),
    ] {
        let outcome = load(&input(&pair(one, other)));
        assert!(matches!(outcome, Outcome::Ready(_)), "{one} {other}: {outcome:?}");
    }
    assert!(service("ports: [\"1:1\", \"1:2\"]").contains("the service wants port 1 of the host twice"));
}

#[test]
fn more_than_one_container_of_a_service_is_an_error_of_its_own() {
    for text in ["scale: 3", "deploy: {replicas: 3}", "deploy: {replicas: \"3\"}"] {
        let errors = errors(&format!("services:\n  web: {{image: x, {text}}}\n"));
        assert_eq!(errors.findings[0].code, Code::UnsupportedReplicas, "{text}");
        assert!(errors.to_string().contains("3 containers of one service are not supported"), "{errors}");
    }
    assert!(service("scale: -1").contains("-1 is not a number of containers"));
}

#[test]
fn a_value_of_ten_thousand_characters_names_its_key() {
    let long = "v".repeat(10_000);
    for (text, key) in [
        (format!("environment: {{LONG: {long}}}"), "services.web.environment.LONG"),
        (format!("labels: [\"a={long}\"]"), "services.web.labels[0]"),
        (format!("hostname: {long}"), "services.web.hostname"),
        ("command: $LONG$LONG".to_owned(), "services.web.command"),
    ] {
        let mut input = input(&format!("services:\n  web: {{image: x, {text}}}\n"));
        input.variables.insert("LONG".to_owned(), Some(long[..5_000].to_owned()));
        let Outcome::Failed(errors) = load(&input) else { panic!("{key} is taken") };
        let message = errors.to_string();
        assert!(message.contains(&format!("{key}: the value has 1000")), "{message}");
        assert!(message.contains("characters; the limit is 8192; put it into a file"), "{message}");
        assert!(message.len() < 300, "the value is not repeated: {message}");
    }
    let name = errors(&format!("services:\n  {long}: {{image: x}}\n")).to_string();
    assert!(name.contains("has 10000 characters; the limit is 1024"), "{name}");
    let name = errors(&format!("services:\n  {}: {{image: x}}\n", &long[..200])).to_string();
    assert!(name.contains("is not a service name"), "{name}");
}

#[test]
fn a_document_in_a_config_may_be_longer() {
    let text = "y".repeat(10_000);
    let file = format!("services: {{a: {{image: x, configs: [c]}}}}\nconfigs: {{c: {{content: {text}}}}}\n");
    assert!(matches!(load(&input(&file)), Outcome::Ready(_)));
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let row = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{row}]\n"));
    }
    text.push_str("services: {a: {image: x, command: *a9}}\n");
    let errors = errors(&text);
    assert_eq!(errors.findings[0].code, Code::TooLarge);
    assert!(errors.to_string().contains("more than 20000 values with its aliases expanded"), "{errors}");
}

#[test]
fn services_that_extend_a_large_one_cannot_multiply_it() {
    let items: Vec<String> = (0..2_000).map(|number| format!("K{number}=1")).collect();
    let mut text = format!("services:\n  base: {{image: x, labels: [{}]}}\n", items.join(", "));
    for number in 0..100 {
        text.push_str(&format!("  s{number}: {{extends: base}}\n"));
    }
    let errors = errors(&text);
    assert!(errors.to_string().contains("the project holds more than 100000 values"), "{errors}");
}

#[test]
fn text_cannot_be_multiplied_without_end() {
    let fails = |input: &Input| match load(input) {
        Outcome::Failed(errors) => errors.to_string(),
        other => panic!("{other:?}"),
    };
    let long = "v".repeat(60_000);

    let mut in_extensions =
        input(&format!("x-a: [{}]\nservices: {{a: {{image: x}}}}\n", vec!["$LONG"; 1_000].join(", ")));
    in_extensions.variables.insert("LONG".to_owned(), Some(long.clone()));
    assert!(fails(&in_extensions).contains("the project holds more than 33554432 bytes"));

    let services: String =
        (0..1_000).map(|n| format!("  s{n}: {{image: x, environment: [LONG]}}\n")).collect();
    let mut passed_on = input(&format!("services:\n{services}"));
    passed_on.variables.insert("LONG".to_owned(), Some(long.clone()));
    assert!(fails(&passed_on).contains("the project holds more than 33554432 bytes"));

    let services: String = (0..1_000).map(|n| format!("  s{n}: {{image: x, env_file: a.env}}\n")).collect();
    let mut from_files = input(&format!("services:\n{services}"));
    from_files.fetched.insert("/home/dev/shop/a.env".to_owned(), Ok(format!("A={long}\n")));
    assert!(fails(&from_files).contains("the project holds more than 33554432 bytes"));

    let services: String = (0..1_000).map(|n| format!("  s{n}: {{image: x, label_file: a.env}}\n")).collect();
    let mut from_labels = input(&format!("services:\n{services}"));
    from_labels.fetched.insert("/home/dev/shop/a.env".to_owned(), Ok(format!("A={long}\n")));
    assert!(fails(&from_labels).contains("the project holds more than 33554432 bytes"));

    let mut too_long = input("services: {a: {image: x}}\n");
    too_long.variables.insert("LONG".to_owned(), Some("v".repeat(70_000)));
    assert_eq!(fails(&too_long), "LONG: the variable has 70000 characters; the limit is 65536");

    let mut big_file = input("services: {a: {image: x, env_file: a.env}}\n");
    big_file.fetched.insert("/home/dev/shop/a.env".to_owned(), Ok("#".repeat(1_048_577)));
    assert!(fails(&big_file).contains("/home/dev/shop/a.env has 1048577 bytes; the limit is 1048576"));
    let mut big_dotenv = input("services: {a: {image: x}}\n");
    big_dotenv.env_files = vec![File { path: ".env".to_owned(), text: "#".repeat(1_048_577) }];
    assert!(fails(&big_dotenv).contains(".env: the file has 1048577 bytes"));
}

#[test]
fn what_a_source_refuses_is_told_where_the_file_is_named() {
    let refusals = [
        (
            SourceError::OutsideRoot { path: "/etc/x.env".to_owned(), root: "/home/dev/shop".to_owned() },
            Code::OutsideRoot,
            "/etc/x.env is outside the project folder /home/dev/shop",
        ),
        (
            SourceError::TooLarge { path: "/etc/x.env".to_owned(), bytes: 9, limit: 5 },
            Code::TooLarge,
            "/etc/x.env has 9 bytes; the limit is 5",
        ),
        (
            SourceError::Unreadable { path: "/etc/x.env".to_owned(), reason: "permission denied".to_owned() },
            Code::FileUnreadable,
            "/etc/x.env cannot be read: permission denied",
        ),
        (
            SourceError::NotFound { path: "/etc/x.env".to_owned() },
            Code::FileNotFound,
            "there is no file /etc/x.env",
        ),
    ];
    for (refusal, code, message) in refusals {
        let mut input = input("services:\n  web: {image: x, env_file: /etc/x.env}\n");
        input.fetched.insert("/etc/x.env".to_owned(), Err(refusal));
        let Outcome::Failed(errors) = load(&input) else { panic!("{message}") };
        assert_eq!(errors.findings[0].code, code);
        assert_eq!(errors.to_string(), format!("compose.yaml:2:29: services.web.env_file[0]: {message}"));
    }
    let mut input = input("services:\n  web: {image: x, env_file: [{path: a.env, required: false}]}\n");
    let refusal = SourceError::OutsideRoot { path: "/x".to_owned(), root: "/home".to_owned() };
    input.fetched.insert("/home/dev/shop/a.env".to_owned(), Err(refusal));
    assert!(matches!(load(&input), Outcome::Failed(_)), "an optional file outside the root is no absent one");
}

#[test]
fn values_that_compose_leaves_to_the_engine_are_refused_here() {
    for (text, part) in [
        ("restart: sometimes", "`sometimes` is not one of no, always, unless-stopped, on-failure"),
        ("restart: \"on-failure:x\"", "is not one of"),
        ("container_name: \"-x\"", "is not a container name"),
        ("networks: {default: {ipv4_address: 1.2.3}}", "`1.2.3` is not an IP address"),
        ("ports: [{target: 0}]", "0 is no port (1-65535)"),
        ("ports: [{target: 80, published: \"99999\"}]", "is not a port or range"),
        ("ports: [{target: 80, protocol: http}]", "`http` is not one of tcp, udp, sctp"),
        ("oom_score_adj: 2000", "2000 is not between -1000 and 1000"),
        ("profiles: [\"a b\"]", "is not a profile name"),
        ("env_file: [{required: false}]", "an env file needs a path"),
        ("env_file: [{path: a, format: json}]", "is not one of raw"),
        ("devices: [{target: /x}]", "a device needs a source"),
        ("devices: [\"a:b:c:d\"]", "has too many colons"),
        ("volumes: [{target: /x}]", "needs a type"),
        ("volumes: [{type: volume}]", "a volume needs a target"),
        ("volumes: [{type: disk, target: /x}]", "`disk` is not one of bind, volume"),
        ("volumes: [\"~/x:/y\"]", "stands for a home folder and none is known"),
        ("secrets: [{target: x}]", "it has to name what is mounted"),
        ("cgroup: other", "is not one of host, private"),
        ("healthcheck: {retries: -1}", "-1 is below zero"),
        ("healthcheck: {interval: 1 minute}", "is not a duration; write it as `90s`"),
        ("shm_size: big", "`big` is not a size; write it as `512m`"),
        ("tty: 5", "true or false is expected and this is the number 5"),
        ("cpus: many", "a number is expected and this is `many`"),
        ("pids_limit: [1]", "a whole number is expected and this is a list"),
        ("dns: 5", "a string or a list of strings is expected"),
        ("environment: 5", "a mapping or a list of `NAME=value` is expected"),
        ("environment: [\"=x\"]", "a value has an empty name"),
        ("extra_hosts: 5", "a mapping or a list of `host=address` is expected"),
        ("extra_hosts: {\"a:b\": 1.1.1.1}", "`a:b` is not a host name"),
        ("extra_hosts: [\"a:b=1.1.1.1\"]", "`a:b` is not a host name"),
        ("ulimits: {nofile: {soft: 1}}", "`hard` is missing"),
        ("configs: [{source: c, mode: rwx}]", "a file mode as `0440` is expected"),
        ("extends: {file: x}", "it has to name a service"),
        ("extends: [x]", "the name of a service is expected"),
        ("extends: {service: a, file: 5}", "a path is expected"),
        ("build: {ssh: [other]}", "only `default` may go without a path"),
        ("build: {ssh: default}", "a list or a mapping is expected"),
        ("build: {additional_contexts: [x]}", "a context is written `name=place`"),
        ("build: {additional_contexts: [\"x=service:ghost\"]}", "there is no service `ghost`"),
        (
            "build: {additional_contexts: [\"x=service:web\"]}, depends_on: [ghost]",
            "there is no service `ghost`",
        ),
        (
            "deploy: {resources: {limits: {pids: 1}}}, pids_limit: 2",
            "it differs from `deploy.resources.limits.pids`",
        ),
        (
            "deploy: {resources: {reservations: {memory: 1g}}}, mem_reservation: 2g",
            "it differs from `deploy.resources.reservations.memory`",
        ),
    ] {
        let message = service(text);
        assert!(message.contains(part), "{text}: {message}");
        assert!(message.starts_with("compose.yaml:2:"), "{message}");
    }
}

#[test]
fn what_is_wrong_in_x_clos_is_told_like_the_rest() {
    for (text, part) in [
        ("{}", "a health check needs one of url, tcp and command"),
        ("{url: \"http://:80\", tcp: \":80\"}", "a health check needs one of url, tcp and command"),
        ("{url: \"localhost:80\"}", "is not an address; write it as `http://:8080/healthz`"),
        ("{url: \"http://:99999/\"}", "is not an address"),
        ("{tcp: db}", "names no port; write it as `:5432`"),
        ("{command: []}", "the command is empty"),
        ("{tcp: 80, expected_status: 200}", "goes with `url` only"),
        ("{url: \"http://:80\", expected_status: 99}", "99 is no HTTP status"),
        ("{url: \"http://:80\", interval: 1}", "a string is expected"),
    ] {
        let message = service(&format!("x-clos: {{health_check: {text}}}"));
        assert!(message.contains(part), "{text}: {message}");
        assert!(message.contains("services.web.x-clos.health_check"), "{message}");
    }
    assert!(service("x-clos: {prefer: vm}").contains("`vm` is not one of container, process"));
    for edge in ["Shop", "a b", "a/b/c", "a~", "~x", "a__b"] {
        let text = format!("services: {{a: {{image: x}}}}\nx-clos: {{depends_on: [\"{edge}\"]}}\n");
        let message = errors(&text).to_string();
        assert!(
            message.contains("x-clos.depends_on[0]: ") && message.contains("is not a group"),
            "{message}"
        );
    }
}

#[test]
fn names_of_projects_and_resources_are_checked() {
    let fails = |input: &Input| match load(input) {
        Outcome::Failed(errors) => errors.to_string(),
        other => panic!("{other:?}"),
    };
    let good = "services: {a: {image: x}}\n";
    let mut flagged = input(good);
    flagged.project_name = Some("Shop".to_owned());
    assert!(fails(&flagged).starts_with("--project: `Shop` is not a project name"));
    let mut by_variable = input(good);
    by_variable.variables.insert("COMPOSE_PROJECT_NAME".to_owned(), Some("a/b".to_owned()));
    assert!(fails(&by_variable).starts_with("COMPOSE_PROJECT_NAME: `a/b` is not a project name"));
    let mut nameless = input(good);
    nameless.working_dir = "/".to_owned();
    assert!(fails(&nameless).contains("the project has no name: give one by `--project` or `name:`"));
    assert!(
        fails(&input(&format!("name: a__b\n{good}")))
            .starts_with("compose.yaml:1:7: name: the project name `a__b` holds `__`")
    );
    assert!(
        fails(&input(&format!("name: {}\n{good}", "a".repeat(60))))
            .contains("has 60 characters; the limit is 50")
    );
    assert!(
        fails(&input(&format!("{good}networks: {{\"a/b\": }}\n")))
            .contains("networks: `a/b` is not allowed as a name here")
    );
    assert!(fails(&input("name: x\n")).contains("services: there are no services in it"));
    let mut none = input(good);
    none.files.clear();
    assert!(fails(&none).contains("there is no compose file"));
}

#[test]
fn too_many_files_and_too_long_chains_are_refused() {
    let names: Vec<String> = (0..200).map(|number| format!("f{number}.env")).collect();
    let text = format!("services:\n  web: {{image: x, env_file: [{}]}}\n", names.join(", "));
    let Outcome::Failed(errors) = load(&input(&text)) else { panic!("200 files are taken") };
    assert!(errors.to_string().contains("the project names more than 128 files"), "{errors}");

    let mut chained = input("include: [f0/c.yaml]\nservices: {a: {image: x}}\n");
    for number in 0..60 {
        let path = format!("/home/dev/shop/f{number}/c.yaml");
        let text = format!("include: [../f{}/c.yaml]\n", number + 1);
        chained.fetched.insert(path, Ok(text));
        let dotenv = format!("/home/dev/shop/f{number}/.env");
        chained.fetched.insert(dotenv.clone(), Err(SourceError::NotFound { path: dotenv }));
    }
    let Outcome::Failed(errors) = load(&chained) else { panic!("a chain of 60 is taken") };
    assert!(errors.to_string().contains("files include each other more than 32 deep"), "{errors}");

    let mut text = "services:\n".to_owned();
    for number in 0..60 {
        text.push_str(&format!("  s{number}: {{extends: s{}}}\n", number + 1));
    }
    text.push_str("  s60: {image: x}\n");
    let Outcome::Failed(errors) = load(&input(&text)) else { panic!("a chain of 60 is taken") };
    assert!(errors.to_string().contains("services extend each other more than 32 deep"), "{errors}");
}
