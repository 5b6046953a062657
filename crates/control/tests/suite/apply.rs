//! Compose files through the whole use case: bad input leaves nothing, `plan` writes nothing,
//! checkouts do not replace each other, variables and files are asked for.

use std::collections::BTreeMap;

use clos_control::apply::Request;
use clos_control::verbs::StartOptions;
use clos_domain::Reason;
use clos_domain::ctx::Principal;
use clos_domain::group::Status as GroupStatus;
use clos_domain::operation::State;
use clos_domain::service::{Desired, Status};

use crate::bed::{Bed, FOLDER, assert_completed, assert_refused, request, request_in, steps};

/// What is wrong, the reason, and a word that the message must name.
fn bad_input() -> Vec<(&'static str, String, Reason, &'static str)> {
    let long = "x".repeat(10_000);
    let mut bomb = String::from("x-0: &x0 [a, a, a, a, a, a, a, a, a, a]\n");
    for level in 1..9 {
        let before = format!("*x{}", level - 1);
        bomb += &format!("x-{level}: &x{level} [{}]\n", vec![before; 10].join(", "));
    }
    bomb += "services: {web: {image: app, labels: *x8}}";
    vec![
        (
            "a cycle",
            "services: {a: {image: app, depends_on: [b]}, b: {image: app, depends_on: [a]}}".into(),
            Reason::DependencyCycle,
            "a",
        ),
        (
            "an unknown dependency",
            "services: {web: {image: app, depends_on: [db]}}".into(),
            Reason::UnknownDependency,
            "db",
        ),
        (
            "a group that is not there",
            "x-clos: {depends_on: [infra]}\nservices: {web: {image: app}}".into(),
            Reason::UnknownDependency,
            "infra",
        ),
        (
            "one port twice",
            "services: {a: {image: app, ports: ['80:1']}, b: {image: app, ports: ['80:2']}}".into(),
            Reason::PortConflict,
            "80",
        ),
        ("an image that is nowhere", "services: {web: {image: none}}".into(), Reason::ImageNotFound, "none"),
        ("malformed YAML", "services: {web: {image: app".into(), Reason::InvalidFile, "compose.yaml"),
        ("a name with a slash", "services: {a/b: {image: app}}".into(), Reason::InvalidFile, "a/b"),
        (
            "a value of 10,000 characters",
            format!("services: {{web: {{image: app, environment: {{A: '{long}'}}}}}}"),
            Reason::InvalidFile,
            "services.web.environment",
        ),
        ("an alias bomb", bomb, Reason::InvalidFile, "aliases"),
        (
            "two replicas",
            "services: {web: {image: app, deploy: {replicas: 2}}}".into(),
            Reason::InvalidFile,
            "replicas",
        ),
        ("no services", "services: {}".into(), Reason::InvalidFile, "services"),
        (
            "a build context outside the project",
            "services: {web: {build: {context: ../../etc}}}".into(),
            Reason::OutsideRoot,
            "services.web.build.context",
        ),
        (
            "a build context that is not there",
            "services: {web: {build: ./none}}".into(),
            Reason::FileNotFound,
            "services.web.build.context",
        ),
        (
            "an env_file outside the project",
            "services: {web: {image: app, env_file: /etc/passwd}}".into(),
            Reason::OutsideRoot,
            "/etc/passwd",
        ),
    ]
}

#[tokio::test]
async fn bad_input_is_named_and_leaves_nothing() {
    let mut bed = Bed::new().await;
    bed.ctx.principal = Principal::TokenBearer;
    let head = bed.control.events().head();
    for (what, text, reason, word) in bad_input() {
        let answer = bed.apply(request(&text)).await;
        let error = answer.map(|applied| applied.plan.render()).expect_err(what);
        assert_eq!(error.reason(), reason, "{what}: {error}");
        assert!(error.message().contains(word), "{what}: `{error}` does not name `{word}`");
        assert!(error.message().len() < 4_096, "{what}: an error of {} bytes", error.message().len());
        assert_eq!(bed.groups().await, Vec::<String>::new(), "{what}");
    }
    let made = bed.engine.log().into_iter().filter(|line| line.starts_with("create")).count();
    assert_eq!(made, 0);
    let journaled = bed.events().await.into_iter().filter(|event| event.seq > head);
    let other: Vec<_> =
        journaled.filter(|event| event.kind != clos_domain::event::types::PORT_CONFLICT_DETECTED).collect();
    assert!(other.is_empty(), "{other:#?}");
}

const BESIDE: &str = "
include: [../shared/more.yaml]
services:
  web:
    image: app
    env_file: [/etc/app.env, {path: ../none.env, required: false}]
    volumes: [data:/data, '../assets:/assets', './own:/own', 'disguised:/d']
    secrets: [key]
  api: {build: {context: ../lib, dockerfile: ../docker/api.Dockerfile}}
  own: {build: {context: ., dockerfile: ../lib/Dockerfile}}
volumes:
  data: {}
  disguised: {driver_opts: {type: none, o: bind, device: /home/ann/disguised}}
secrets: {key: {file: /home/ann/key}}
";

async fn bed_with_files_beside() -> Bed {
    let bed = Bed::new().await;
    for (path, text) in [
        ("shared/more.yaml", "services: {more: {image: app}}"),
        ("assets/a", ""),
        ("lib/Dockerfile", "FROM app"),
        ("docker/api.Dockerfile", "FROM app"),
        ("key", "k"),
        ("shop/own/a", ""),
    ] {
        bed.files.write(&format!("/home/ann/{path}"), text);
    }
    bed.files.write("/etc/app.env", "A=1\n");
    bed
}

#[tokio::test]
async fn what_lies_outside_the_project_is_noted_for_the_owner() {
    let bed = bed_with_files_beside().await;
    let mut plan = request(BESIDE);
    plan.dry_run = true;
    let applied = bed.apply(plan).await.unwrap();
    assert_eq!(applied.plan.problems, []);
    let mut notes: Vec<&str> = applied
        .plan
        .notes
        .iter()
        .filter_map(|note| note.strip_suffix(", which is outside the project folder"))
        .collect();
    notes.sort_unstable();
    assert_eq!(
        notes,
        [
            "compose.yaml:10:16: services.own.build.dockerfile: reads ../lib/Dockerfile",
            "compose.yaml:13:3: volumes.disguised.driver_opts.device: mounts /home/ann/disguised",
            "compose.yaml:14:11: secrets.key.file: mounts /home/ann/key",
            "compose.yaml:2:11: include[0].path: reads ../shared/more.yaml",
            "compose.yaml:6:16: services.web.env_file[0]: reads /etc/app.env",
            "compose.yaml:7:27: services.web.volumes[1]: mounts /home/ann/assets",
            "compose.yaml:9:16: services.api.build.context: builds from ../lib",
            "compose.yaml:9:16: services.api.build.dockerfile: reads ../docker/api.Dockerfile",
        ]
    );
}

#[tokio::test]
async fn what_lies_outside_the_project_is_refused_to_everybody_else() {
    let mut bed = bed_with_files_beside().await;
    bed.ctx.principal = Principal::TokenBearer;
    let error = assert_refused(bed.apply(request(BESIDE)).await, Reason::OutsideRoot, "/etc/app.env");
    let places: Vec<String> =
        error.findings().iter().map(|found| format!("{}:{} {}", found.file, found.line, found.key)).collect();
    assert_eq!(
        places,
        [
            "compose.yaml:2 include[0].path",
            "compose.yaml:6 services.web.env_file[0]",
            "compose.yaml:6 services.web.env_file[1]",
        ]
    );
    // What is written in the files that could be read is judged when all of them could.
    let rest = BESIDE.replace("include: [../shared/more.yaml]", "").replace("/etc/app.env, ", "");
    let rest = rest.replace("{path: ../none.env, required: false}", "");
    let mut plan = request(&rest);
    plan.dry_run = true;
    let planned = bed.apply(plan).await.unwrap();
    let told: Vec<String> = planned
        .plan
        .problems
        .iter()
        .map(|one| {
            let found = one.finding.as_ref().unwrap();
            format!("{} {} {}:{} {}", one.reason.as_str(), one.subject, found.file, found.line, found.key)
        })
        .collect();
    assert_eq!(
        told,
        [
            "OUTSIDE_ROOT shop/web compose.yaml:7 services.web.volumes[1]",
            "OUTSIDE_ROOT shop/web compose.yaml:13 volumes.disguised.driver_opts.device",
            "OUTSIDE_ROOT shop/web compose.yaml:14 secrets.key.file",
            "OUTSIDE_ROOT shop/api compose.yaml:9 services.api.build.context",
            "OUTSIDE_ROOT shop/own compose.yaml:10 services.own.build.dockerfile",
        ]
    );
    assert_refused(bed.apply(request(&rest)).await, Reason::OutsideRoot, "services.own.build.dockerfile");
}

#[tokio::test]
async fn a_missing_dockerfile_is_in_the_way_of_a_build_and_of_nothing_else() {
    let bed = Bed::new().await;
    bed.files.write(&format!("{FOLDER}/web/a"), "");
    let text = "services:\n  web: {build: web}\n  db: {image: app}\n";
    let error =
        assert_refused(bed.apply(request(text)).await, Reason::FileNotFound, "web/Dockerfile does not exist");
    let [problem] = error.problems() else { panic!("{error:?}") };
    assert_eq!(problem.subject, "shop/web");
    assert_eq!(problem.finding.as_ref().unwrap().key, "services.web.build.dockerfile");
    bed.engine.add_image("shop-web");
    assert_completed(&bed.up(text).await);
}

/// The variable, and what fails because of it or beside it.
#[tokio::test]
async fn variables_that_are_not_set_are_told_whatever_fails() {
    for (text, reason) in [
        ("services: {web: {image: 'app:${TAG}'}}", Reason::InvalidFile),
        ("services: {web: {image: 'gone${TAG}'}}", Reason::ImageNotFound),
        ("services: {web: {image: app, command: '$TAG', enviroment: {}}}", Reason::InvalidFile),
        (
            "services: {web: {image: app, command: '$TAG', volumes: [{type: bind, source: ./no, target: /a, bind: {create_host_path: false}}]}}",
            Reason::FileNotFound,
        ),
        ("services: {web: {image: app, command: '$TAG', build: ./no}}", Reason::FileNotFound),
        (
            "services: {web: {image: app, command: '$TAG', secrets: [a]}}\nsecrets: {a: {external: true}}",
            Reason::InvalidFile,
        ),
    ] {
        let bed = Bed::new().await;
        let mut wanted = request(text);
        wanted.source.variables.insert("TAG".into(), None);
        let error = assert_refused(bed.apply(wanted).await, reason, "");
        let told =
            error.findings().iter().filter(|found| found.message.contains("the variable TAG is not set"));
        assert_eq!(told.count(), 1, "{text}: {error:?}");
    }
}

#[tokio::test]
async fn everything_in_the_way_is_told_at_once_by_plan_and_by_up() {
    const TEXT: &str = "
services:
  db: {image: app, ports: ['5432:5432', '5433:5433']}
  api: {build: ./none}
  web: {image: nowhere}
  job: {image: nothing}
  old: {image: app, networks: [lan]}
  vol:
    image: app
    volumes: [{type: bind, source: /gone, target: /d, bind: {create_host_path: false}}]
networks: {lan: {external: true}}
";
    let bed = Bed::new().await;
    bed.host.take_by_process(5432, "postgres");
    bed.host.take_by_process(5433, "postgres");
    bed.engine.add_foreign("shop-old-1", "app");
    let mut plan = request(TEXT);
    plan.dry_run = true;
    let planned = bed.apply(plan).await.unwrap();
    let told: Vec<(Reason, String)> =
        planned.plan.problems.iter().map(|one| (one.reason, one.subject.clone())).collect();
    let expected = [
        (Reason::FileNotFound, "shop/api"),
        (Reason::FileNotFound, "shop/vol"),
        (Reason::PortConflict, "shop/db"),
        (Reason::PortConflict, "shop/db"),
        (Reason::NameTaken, "shop/old"),
        (Reason::InvalidFile, "shop"),
        (Reason::ImageNotFound, "shop/job"),
        (Reason::ImageNotFound, "shop/web"),
    ];
    assert_eq!(told, expected.map(|(reason, subject)| (reason, subject.to_owned())));
    assert!(!planned.plan.steps.is_empty());
    let error = assert_refused(bed.apply(request(TEXT)).await, Reason::FileNotFound, "shop/none");
    assert_eq!(error.problems(), planned.plan.problems);
    assert_eq!(error.conflicts().len(), 2);
    assert_eq!(bed.groups().await, Vec::<String>::new());
    assert!(!bed.engine.log().iter().any(|line| line.starts_with("create")));
}

#[tokio::test]
async fn a_plan_tells_all_and_writes_nothing() {
    let bed = Bed::new().await;
    let head = bed.control.events().head();
    let mut plan =
        request("services: {db: {image: app, ports: ['5432:5432']}, web: {image: app, depends_on: [db]}}");
    plan.dry_run = true;
    let applied = bed.apply(plan).await.unwrap();
    assert!(applied.operation.is_none());
    let text = applied.plan.render();
    assert!(text.contains("shop-web-1") && text.contains("5432"), "{text}");
    assert_eq!(applied.group.services.len(), 2);
    assert_eq!(bed.groups().await, Vec::<String>::new());
    assert_eq!(bed.control.events().head(), head);
}

#[tokio::test]
async fn an_import_writes_rows_and_starts_nothing() {
    let bed = Bed::new().await;
    let applied = bed
        .control
        .groups()
        .import(&bed.ctx, request("services: {web: {image: 'none/such:1'}}"))
        .await
        .unwrap();
    assert!(applied.operation.is_none());
    assert_eq!(bed.status("shop/web").await, (Status::Stopped, None));
    assert!(!bed.engine.has("shop-web-1"));
}

#[tokio::test]
async fn two_checkouts_of_one_project_do_not_replace_each_other() {
    let bed = Bed::new().await;
    let text =
        "services: {web: {image: app, ports: ['8080:80'], volumes: ['data:/data']}}\nvolumes: {data: {}}";
    assert_completed(&bed.up(text).await);
    let second = "/home/ann/copy/shop";
    let error = assert_refused(bed.apply(request_in(second, text)).await, Reason::ProjectMismatch, FOLDER);
    assert!(error.message().contains("--instance"), "{error}");

    let mut instance = request_in(second, text);
    instance.instance = Some("two".into());
    bed.host.take_by_process(8080, "docker-proxy");
    let operation = bed.apply(instance).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert!(bed.engine.runs("shop-web-1") && bed.engine.runs("shop__two-web-1"));
    assert_ne!(bed.service("shop~two/web").await.ports[0].host_port, 8080, "only a wish in an instance");
    assert_eq!(bed.engine.volume_names(), ["shop__two_data", "shop_data"]);
    assert_eq!(bed.groups().await, ["shop", "shop~two"]);

    let mut moved = request_in(second, text);
    moved.move_here = true;
    let applied = bed.apply(moved).await.unwrap();
    assert_eq!(applied.group.group.definition.working_dir, second);
    bed.ended(&applied.operation.unwrap()).await;
}

#[tokio::test]
async fn variables_that_only_the_daemon_meets_are_asked_for_with_nothing_written() {
    let bed = Bed::new().await;
    bed.files
        .write(&format!("{FOLDER}/more.yaml"), "services: {web: {image: app, environment: {A: '$SECRET'}}}");
    let text = "include: [more.yaml]\nservices: {db: {image: app}}";
    let error = assert_refused(bed.apply(request(text)).await, Reason::VariablesNeeded, "SECRET");
    assert_eq!(error.variables(), ["SECRET"]);
    assert_eq!(bed.groups().await, Vec::<String>::new());
    let mut known = request(text);
    known.source.variables = BTreeMap::from([("SECRET".to_owned(), Some("42".to_owned()))]);
    let operation = bed.apply(known).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert_eq!(bed.service("shop/web").await.definition.environment["A"], "42");
}

#[tokio::test]
async fn a_build_is_done_before_its_container() {
    let bed = Bed::new().await;
    bed.files.write(&format!("{FOLDER}/web/Dockerfile"), "FROM scratch");
    let operation = bed.up("services: {web: {build: ./web}}").await;
    assert_completed(&operation);
    assert!(steps(&operation)[0].starts_with("build "), "{:#?}", steps(&operation));
    bed.engine.fail_builds("step 3: no such file");
    let mut again = request("services: {web: {build: ./web}}");
    again.build = true;
    let operation = bed.apply(again).await.unwrap().operation.unwrap();
    let operation = bed.ended(&operation).await;
    assert_eq!((operation.state, operation.reason), (State::Failed, Some(Reason::BuildFailed)));
    assert!(operation.message.contains("no such file"), "{}", operation.message);
}

#[tokio::test]
async fn profiles_choose_and_what_is_disabled_keeps_its_row() {
    let bed = Bed::new().await;
    let text = "services: {web: {image: app}, debug: {image: app, profiles: [tools]}}";
    assert_completed(&bed.up(text).await);
    assert!(!bed.engine.has("shop-debug-1"));
    let mut tools = request(text);
    tools.profiles = vec!["tools".into()];
    let operation = bed.apply(tools).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert!(bed.engine.runs("shop-debug-1"));
}

#[tokio::test]
async fn a_service_that_is_named_needs_no_profile() {
    let bed = Bed::new().await;
    let mut debug = request(
        "services: {web: {image: app}, debug: {image: app, profiles: [tools]}, other: {image: app, profiles: [tools]}}",
    );
    debug.services = vec!["debug".into()];
    let operation = bed.apply(debug).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert!(bed.engine.runs("shop-debug-1"));
    assert!(!bed.engine.has("shop-other-1") && !bed.engine.has("shop-web-1"));
}

#[tokio::test]
async fn a_profile_that_is_no_longer_asked_for_takes_no_part() {
    let bed = Bed::new().await;
    let text = "services: {web: {image: app, depends_on: {debug: {condition: service_started, required: false}}}, debug: {image: app, profiles: [tools]}}";
    let tools = || Request { profiles: vec!["tools".into()], ..request(text) };
    let operation = bed.apply(tools()).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert_completed(&bed.up(text).await);
    assert!(bed.engine.runs("shop-debug-1"), "what runs is left alone");
    bed.engine.kill("shop-debug-1", 1);
    let view = bed.control.groups().get(&bed.ctx, "shop").await.unwrap();
    assert_eq!(view.status, GroupStatus::Running);
    let debug = view.services.iter().find(|one| one.definition.name.as_str() == "debug").unwrap();
    assert!(!debug.definition.enabled);
    let started = bed.control.groups().start(&bed.ctx, "shop", StartOptions::default()).await.unwrap();
    assert_completed(&bed.ended(&started).await);
    assert!(!bed.engine.runs("shop-debug-1"));
}

#[tokio::test]
async fn an_optional_dependency_that_is_off_is_not_started() {
    let bed = Bed::new().await;
    let text = "services: {web: {image: app, depends_on: {db: {condition: service_started, required: false}, cache: {condition: service_started}}}, db: {image: app, profiles: [data]}, cache: {image: app, scale: 0}}";
    let data = Request { profiles: vec!["data".into()], start: false, ..request(text) };
    bed.apply(data).await.unwrap();
    let text = "services: {web: {image: app, depends_on: {db: {condition: service_started, required: false}, cache: {condition: service_started}}}, db: {image: app, scale: 0}, cache: {image: app, scale: 0}}";
    let only = Request { services: vec!["web".into()], ..request(text) };
    let operation = bed.apply(only).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert!(bed.engine.runs("shop-web-1"));
    assert!(!bed.engine.has("shop-db-1") && !bed.engine.has("shop-cache-1"));
}

#[tokio::test]
async fn a_service_that_is_scaled_to_0_loses_its_container_and_keeps_its_row() {
    let bed = Bed::new().await;
    let text = |scale| {
        format!(
            "services: {{web: {{image: app}}, other: {{image: app}}, job: {{image: app, scale: {scale}, volumes: [/cache], ports: ['4000:80']}}}}"
        )
    };
    assert_completed(&bed.up(&text(1)).await);
    let only = Request { services: vec!["web".into()], ..request(&text(0)) };
    let operation = bed.apply(only).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert!(bed.engine.runs("shop-job-1"), "nothing was said of it");
    assert_completed(&bed.up(&text(0)).await);
    assert!(!bed.engine.has("shop-job-1") && bed.engine.runs("shop-web-1"));
    let job = bed.service("shop/job").await;
    assert_eq!((job.desired, job.status, job.status_reason), (Desired::Absent, Status::Stopped, None));
    assert!(bed.apply(request(&text(0))).await.unwrap().plan.is_empty());

    let volumes = bed.engine.volume_names();
    assert_completed(&bed.up(&text(1)).await);
    assert!(bed.engine.runs("shop-job-1"));
    assert_eq!(bed.engine.volume_names(), volumes, "it has its volume again");
    let moved = "services: {web: {image: app, ports: ['4000:80']}, job: {image: app, scale: 0}}";
    assert_completed(&bed.up(moved).await);
    assert!(bed.engine.runs("shop-web-1") && !bed.engine.has("shop-job-1"));
}

#[tokio::test]
async fn chosen_services_come_with_what_they_need() {
    let bed = Bed::new().await;
    let text = "services: {db: {image: app}, web: {image: app, depends_on: [db]}, other: {image: app}}";
    let only = |no_deps| Request { services: vec!["web".into()], no_deps, ..request(text) };
    let operation = bed.apply(only(false)).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert!(bed.engine.runs("shop-db-1") && !bed.engine.has("shop-other-1"));
    let unknown = Request { services: vec!["wab".into()], ..request(text) };
    assert_refused(bed.apply(unknown).await, Reason::ServiceNotFound, "did you mean `web`");
}

#[tokio::test]
async fn what_is_only_known_is_told_as_a_finding() {
    let bed = Bed::new().await;
    let text = "services: {web: {image: app, privileged: true, x-mine: 1, credential_spec: {file: a.json}, volumes: ['/:/host']}}";
    let mut plan = request(text);
    plan.dry_run = true;
    let applied = bed.apply(plan).await.unwrap();
    let keys: Vec<&str> = applied.findings.iter().map(|finding| finding.key.as_str()).collect();
    assert!(keys.iter().any(|key| key.contains("services.web.privileged")), "{keys:?}");
    assert!(keys.iter().any(|key| key.contains("credential_spec")), "{keys:?}");
    assert!(keys.iter().any(|key| key.contains("services.web.volumes")), "{keys:?}");
}

#[tokio::test]
async fn force_recreate_replaces_what_did_not_change() {
    let bed = Bed::new().await;
    let text = "services: {web: {image: app}}";
    assert_completed(&bed.up(text).await);
    let force = Request { force_recreate: true, ..request(text) };
    let operation = bed.apply(force).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert_eq!(bed.engine.calls("remove", "shop-web-1"), 1);
    assert!(bed.engine.runs("shop-web-1"));
}

#[tokio::test]
async fn no_wait_returns_before_gates_that_nobody_needs() {
    let bed = Bed::new().await;
    bed.engine.exec_answers("shop-web-1", 1, "not yet");
    let text = "services: {web: {image: app, healthcheck: {test: [CMD, check], interval: 10s}}}";
    let operation = bed.apply(Request { no_wait: true, ..request(text) }).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert_eq!(bed.status("shop/web").await, (Status::Starting, None));
}

#[tokio::test]
async fn what_left_the_files_is_noted_each_time_and_the_rest_when_a_container_is_made() {
    const BOTH: &str = "services: {web: {image: app, ports: ['3010:80']}, old: {image: app}}";
    const ONE: &str = "services: {web: {image: app, ports: ['3010:80']}}";
    let bed = Bed::new().await;
    let first = bed.apply(request(BOTH)).await.unwrap();
    assert!(first.plan.notes.iter().any(|note| note.contains("web 3010")), "{:?}", first.plan.notes);
    assert_completed(&bed.ended(&first.operation.unwrap()).await);
    for _ in 0..2 {
        let again = bed.apply(request(ONE)).await.unwrap();
        assert_eq!(again.plan.notes, ["shop/old is no longer in the files; --remove-orphans removes it"]);
        assert_completed(&bed.ended(&again.operation.unwrap()).await);
    }
}
