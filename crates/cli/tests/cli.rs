//! The command line as people and programs see it, against a daemon that says what a test wants.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[path = "../../client/tests/scripted/mod.rs"]
mod scripted;

use prost::Message as _;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clos_cli::{Context, Interrupts, Streams};
use clos_proto::v2 as pb;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use scripted::{Reply, Server};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

const NOW: i64 = 1_767_225_600;

/// A folder, a state folder and a daemon.
struct Bed {
    home: TempDir,
    folder: PathBuf,
    env: BTreeMap<String, String>,
    server: Server,
    on_terminal: bool,
    input: String,
    closd: Option<PathBuf>,
    interrupts: RefCell<Option<mpsc::UnboundedReceiver<()>>>,
}

#[derive(Debug)]
struct Ran {
    code: u8,
    out: String,
    err: String,
}

#[derive(Clone, Default)]
struct Page(Rc<RefCell<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Bed {
    /// A daemon that knows the group `shop` of this folder.
    fn new() -> Self {
        let bed = Self::without_daemon();
        bed.server.listen(&bed.home.path().join("run/closd.sock"));
        let folder = bed.folder.to_string_lossy().into_owned();
        let groups = vec![group("shop", &folder), group("infra", "/elsewhere")];
        bed.server.on("ListGroups", move |_| {
            Reply::one(&pb::ListGroupsResponse { groups: groups.clone(), ..Default::default() })
        });
        bed.server.on("ListServices", |call| {
            let asked: pb::ListServicesRequest = call.read();
            let mut services = services();
            services.retain(|service| asked.group.is_empty() || service.group == asked.group);
            Reply::one(&pb::ListServicesResponse { services, ..Default::default() })
        });
        bed
    }

    fn without_daemon() -> Self {
        let home = TempDir::new().unwrap();
        let folder = home.path().join("checkout/shop");
        std::fs::create_dir_all(&folder).unwrap();
        let folder = std::fs::canonicalize(folder).unwrap();
        std::fs::write(folder.join("compose.yaml"), "services: {web: {image: \"app:${TAG}\"}}\n").unwrap();
        let home_text = home.path().to_string_lossy().into_owned();
        Self {
            env: BTreeMap::from([("CLOS_HOME".to_owned(), home_text)]),
            home,
            folder,
            server: Server::default(),
            on_terminal: false,
            input: String::new(),
            closd: None,
            interrupts: RefCell::new(None),
        }
    }

    fn context(&self, out: Box<dyn Write>, err: Box<dyn Write>) -> Context {
        Context {
            env: self.env.clone(),
            folder: self.folder.clone(),
            closd: self.closd.clone(),
            streams: Streams {
                out: RefCell::new(out),
                err: RefCell::new(err),
                input: RefCell::new(Box::new(io::Cursor::new(self.input.clone().into_bytes()))),
                out_is_terminal: self.on_terminal,
                err_is_terminal: false,
            },
            interrupts: match self.interrupts.borrow_mut().take() {
                Some(channel) => Interrupts::by(channel),
                None => Interrupts::none(),
            },
            now: || Timestamp::from_second(NOW).unwrap(),
            zone: TimeZone::UTC,
        }
    }

    async fn run(&self, line: &str) -> Ran {
        let (out, err) = (Page::default(), Page::default());
        let context = self.context(Box::new(out.clone()), Box::new(err.clone()));
        let args = std::iter::once("clos").chain(line.split_whitespace()).map(Into::into).collect();
        let code = clos_cli::run(args, &context).await;
        let text = |page: &Page| {
            let text = String::from_utf8(page.0.borrow().clone()).unwrap();
            text.replace(&self.folder.to_string_lossy().into_owned(), "FOLDER")
                .replace(&self.home.path().to_string_lossy().into_owned(), "HOME")
        };
        Ran { code, out: text(&out), err: text(&err) }
    }

    /// An operation that goes well, with one step.
    fn operation_goes(&self, method: &'static str, kind: pb::OperationType, status: pb::OperationStatus) {
        let begun = operation(kind, pb::OperationStatus::InProgress);
        self.server.on(method, move |_| Reply::one(&begun));
        self.server.on("WatchOperation", |_| {
            Reply::many(&[
                step(1, "network", "", "shop_default", "completed", ""),
                step(2, "start", "web", "shop-web-1", "in_progress", ""),
                step(2, "start", "web", "shop-web-1", "completed", ""),
                step(3, "wait", "api", "shop-api-1", "failed", "the container exited with 3"),
            ])
        });
        self.server.on("GetOperation", move |_| Reply::one(&operation(kind, status)));
    }
}

fn group(name: &str, folder: &str) -> pb::Group {
    pb::Group {
        id: format!("grp_{name}"),
        name: name.into(),
        working_dir: folder.into(),
        services: if name == "shop" { vec!["web".into(), "api".into()] } else { vec!["db".into()] },
        total_services: 2,
        ..Default::default()
    }
}

fn at(seconds_ago: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: NOW - seconds_ago, nanos: 0 })
}

fn services() -> Vec<pb::Service> {
    let running = pb::Service {
        id: "svc_web".into(),
        name: "web".into(),
        group: "shop".into(),
        port: Some(3000),
        ports: vec![pb::ServicePort {
            container_port: 80,
            host_port: Some(3000),
            host_ip: "127.0.0.1".into(),
            ..Default::default()
        }],
        status: pb::ServiceStatus::Running.into(),
        desired_state: pb::DesiredState::Running.into(),
        enabled: true,
        started_at: at(90),
        health_check: Some(pb::HealthCheck {
            status: Some(pb::HealthStatus::Healthy.into()),
            last_check: Some(pb::CheckResult {
                time: at(5),
                healthy: false,
                output: "curl: (7) Failed to connect\n  to localhost port 80: Connection refused".into(),
                exit_code: Some(7),
                http_status: None,
            }),
            ..Default::default()
        }),
        docker_config: Some(pb::DockerConfig {
            image: "app:1".into(),
            container_id: "0123456789abcdef".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let failed = pb::Service {
        id: "svc_api".into(),
        name: "api".into(),
        group: "shop".into(),
        status: pb::ServiceStatus::Failed.into(),
        status_reason: "EXITED".into(),
        exit_code: Some(3),
        desired_state: pb::DesiredState::Running.into(),
        enabled: true,
        ..Default::default()
    };
    let other = pb::Service {
        id: "svc_db".into(),
        name: "db".into(),
        group: "infra".into(),
        instance: String::new(),
        status: pb::ServiceStatus::Stopped.into(),
        ..Default::default()
    };
    vec![running, failed, other]
}

fn operation(kind: pb::OperationType, status: pb::OperationStatus) -> pb::Operation {
    let failed = status == pb::OperationStatus::Failed;
    let why = |text: &str| if failed { text.to_owned() } else { String::new() };
    let of = |service: &str, status: pb::OperationStatus, message: String| pb::ServiceOperation {
        service: service.into(),
        status: status.into(),
        message,
        ..Default::default()
    };
    pb::Operation {
        id: "op_a".into(),
        r#type: kind.into(),
        group_name: "shop".into(),
        status: status.into(),
        reason: why("EXITED"),
        message: why("api exited with 3"),
        cancel_requested: status == pb::OperationStatus::Cancelled,
        total_services: 2,
        completed_services: 1,
        service_operations: vec![
            of("web", pb::OperationStatus::Completed, String::new()),
            of("api", status, why("exited with 3")),
        ],
        steps: vec![pb::Step {
            number: 1,
            service: "web".into(),
            action: pb::StepAction::Start.into(),
            status: pb::OperationStatus::Completed.into(),
            why: "depends on nothing".into(),
            started_at: at(3),
            ended_at: at(1),
            ..Default::default()
        }],
        leftovers: if failed { vec!["container shop-api-1".into()] } else { Vec::new() },
        created_at: at(4),
        started_at: at(4),
        ended_at: at(0),
        ..Default::default()
    }
}

fn step(number: i32, action: &str, service: &str, subject: &str, status: &str, message: &str) -> pb::Event {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    pb::Event {
        r#type: "operation.progress".into(),
        seq: i64::from(number) * 10 + if status == "in_progress" { 0 } else { 1 },
        group_name: "shop".into(),
        severity: if status == "failed" { pb::Severity::Error.into() } else { pb::Severity::Info.into() },
        timestamp: at(0),
        data: Some(pb::EventData {
            step: Some(number),
            action: some(action),
            service_name: some(service),
            subject: some(subject),
            status: some(status),
            message: some(message),
            ..Default::default()
        }),
        ..Default::default()
    }
}

// ---- status

#[tokio::test]
async fn status_is_one_question_and_a_table() {
    let bed = Bed::new();
    let ran = bed.run("status --all").await;
    insta::assert_snapshot!("status", ran.out);
    assert_eq!((ran.code, ran.err.as_str(), bed.server.log()), (0, "", vec!["ListServices".to_owned()]));
    insta::assert_snapshot!("status_wide", bed.run("status -o wide shop").await.out);
    assert_eq!(bed.run("status --exit-code").await.code, 8);
    assert_eq!(bed.run("status --exit-code shop/web").await.code, 0);
}

#[tokio::test]
async fn status_says_that_the_engine_is_away_and_since_when_its_word_is_old() {
    let bed = Bed::new();
    bed.server.on("ListServices", |_| {
        let mut web = services().remove(0);
        web.status_reason = "ENGINE_UNREACHABLE".into();
        web.observed_at = at(150);
        Reply::one(&pb::ListServicesResponse { services: vec![web], ..Default::default() })
    });
    let ran = bed.run("status --exit-code").await;
    assert_eq!(ran.code, 8, "what runs may have ended meanwhile");
    assert!(ran.out.contains("running (ENGINE_UNREACHABLE, last seen 20"), "{}", ran.out);
}

#[tokio::test]
async fn in_a_folder_its_project_is_meant_and_outside_the_machine() {
    let mut bed = Bed::new();
    assert_eq!(bed.run("status -o name").await.out, "shop/web\nshop/api\n");
    let compose = bed.folder.join("compose.yaml").to_string_lossy().into_owned();
    bed.folder = bed.home.path().to_owned();
    let other = bed.folder.join("notes");
    std::fs::create_dir_all(&other).unwrap();
    bed.server.on("ListServices", |call| {
        let asked: pb::ListServicesRequest = call.read();
        let mut services = services();
        for service in services.iter_mut().filter(|service| service.group == "infra") {
            service.desired_state = pb::DesiredState::Absent.into();
        }
        services.retain(|service| asked.group.is_empty() || service.group == asked.group);
        Reply::one(&pb::ListServicesResponse { services, ..Default::default() })
    });
    assert_eq!(bed.run("status -o name").await.out, "shop/web\nshop/api\n", "what is down is not shown");
    assert_eq!(bed.run("status --all -o name").await.out.lines().count(), 3);
    let named = bed.run(&format!("status -f {compose} -o name")).await;
    assert_eq!(named.out, "shop/web\nshop/api\n", "{}", named.err);
    for verb in ["events", "logs"] {
        let ran = bed.run(verb).await;
        assert_eq!((ran.code, ran.err.contains("--all")), (2, true), "{verb}: {}", ran.err);
    }
    bed.folder = other;
    std::fs::write(bed.folder.join("compose.yaml"), "services: {a: {image: a}}\n").unwrap();
    let ran = bed.run("status").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "No services registered\n"));
    assert!(ran.err.contains("is not registered"), "{}", ran.err);
}

#[tokio::test]
async fn a_folder_without_a_usual_file_means_the_project_of_its_last_up() {
    let mut bed = Bed::new();
    std::fs::rename(bed.folder.join("compose.yaml"), bed.folder.join("dev.yaml")).unwrap();
    assert_eq!(bed.run("status -o name").await.out, "shop/web\nshop/api\n");
    bed.server.on("GroupLogs", |_| Reply::many::<pb::LogEntry>(&[]));
    bed.server.on("GetGroupLogs", |_| Reply::many::<pb::LogEntry>(&[]));
    bed.server.on("ListEvents", |_| Reply::one(&pb::ListEventsResponse::default()));
    for verb in ["logs", "events"] {
        let ran = bed.run(verb).await;
        assert_eq!(ran.code, 0, "{verb}: {}", ran.err);
    }
    let asked: pb::ListEventsRequest = bed.server.calls("ListEvents").pop().unwrap().read();
    assert_eq!(asked.group_name, "shop");
    bed.folder = bed.home.path().to_owned();
    std::fs::write(bed.folder.join("other.yaml"), "services: {a: {image: a}}\n").unwrap();
    let ran = bed.run("stop -f other.yaml").await;
    assert!(ran.err.contains(" clos up -f other.yaml\n"), "{}", ran.err);
}

#[tokio::test]
async fn an_override_that_came_after_the_last_up_is_read() {
    let bed = Bed::new();
    let folder = std::fs::canonicalize(&bed.folder).unwrap().to_string_lossy().into_owned();
    let known = pb::Group { compose_files: vec!["compose.yaml".into()], ..group("shop", &folder) };
    bed.server.on("ListGroups", move |_| {
        Reply::one(&pb::ListGroupsResponse { groups: vec![known.clone()], ..Default::default() })
    });
    bed.server.on("ApplyGroup", |_| Reply::one(&pb::ApplyGroupResponse::default()));
    std::fs::write(bed.folder.join("compose.override.yaml"), "services: {web: {image: new}}\n").unwrap();
    let ran = bed.run("plan").await;
    assert!(!ran.err.contains("with the files of the last"), "{}", ran.err);
    let asked: pb::ApplyGroupRequest = bed.server.calls("ApplyGroup").pop().unwrap().read();
    let sent: Vec<String> = asked.source.unwrap().files.into_iter().map(|file| file.path).collect();
    assert_eq!(sent, ["compose.yaml", "compose.override.yaml"]);
}

#[tokio::test]
async fn a_folder_with_an_instance_only_means_it_and_its_last_files_are_used_again() {
    let bed = Bed::new();
    let folder = bed.folder.to_string_lossy().into_owned();
    std::fs::write(bed.folder.join("dev.yaml"), "services: {web: {image: dev}}\n").unwrap();
    let only = pb::Group {
        instance: "x".into(),
        compose_files: vec!["dev.yaml".into()],
        volumes: vec![pb::GroupVolume { key: "data".into(), ..Default::default() }],
        ..group("shop", &folder)
    };
    bed.server.on("ListGroups", move |_| {
        Reply::one(&pb::ListGroupsResponse { groups: vec![only.clone()], ..Default::default() })
    });
    bed.server.on("ApplyGroup", |_| Reply::one(&pb::ApplyGroupResponse::default()));
    let ran = bed.run("plan --pull never").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("with the files of the last `clos up`: dev.yaml"), "{}", ran.err);
    let asked: pb::ApplyGroupRequest = bed.server.calls("ApplyGroup").pop().unwrap().read();
    assert_eq!(asked.source.as_ref().unwrap().files[0].path, "dev.yaml");
    assert_eq!((asked.instance.as_str(), asked.pull()), ("x", pb::PullPolicy::Never));
    bed.run("plan -f compose.yaml").await;
    let asked: pb::ApplyGroupRequest = bed.server.calls("ApplyGroup").pop().unwrap().read();
    assert_eq!(asked.source.unwrap().files[0].path, "compose.yaml");
    bed.server.on("DeleteGroup", |_| Reply::one(&()));
    let ran = bed.run("forget").await;
    assert_eq!(ran.err, "shop~x is forgotten\nnote: volumes that still exist are kept: shop__x_data\n");
    let asked: pb::DeleteGroupRequest = bed.server.calls("DeleteGroup").pop().unwrap().read();
    assert_eq!((asked.name.as_str(), asked.force), ("shop~x", false));
}

#[tokio::test]
async fn on_a_terminal_times_are_ages_and_colours_have_glyphs() {
    let mut bed = Bed::new();
    bed.on_terminal = true;
    let colourful = bed.run("status shop").await.out;
    assert!(
        colourful.contains("90s ago") && colourful.contains("✔ running") && colourful.contains("✘ failed"),
        "{colourful}"
    );
    assert!(colourful.contains('\u{1b}'));
    bed.env.insert("NO_COLOR".into(), "1".into());
    let plain = bed.run("status shop").await.out;
    assert!(!plain.contains('\u{1b}') && !plain.contains('✔') && plain.contains("90s ago"), "{plain}");
    assert!(bed.run("status --color always").await.out.contains('\u{1b}'));
    bed.env.remove("NO_COLOR");
    assert!(!bed.run("status --color never").await.out.contains('\u{1b}'));
    bed.on_terminal = false;
    bed.env.insert("CLICOLOR_FORCE".into(), "1".into());
    assert!(bed.run("status").await.out.contains('\u{1b}'));
}

#[tokio::test]
async fn the_same_answer_in_every_format() {
    let bed = Bed::new();
    insta::assert_snapshot!("status_json", bed.run("status shop/api -o json").await.out);
    insta::assert_snapshot!(
        "status_yaml",
        bed.run("status shop/api -o yaml --fields name,status,exit_code").await.out
    );
    assert_eq!(bed.run("status -a -o name").await.out, "shop/web\nshop/api\ninfra/db\n");
    assert_eq!(bed.run("status -q api").await.out, "shop/api\n");
    assert_eq!(
        bed.run("status -o jsonl --fields name,port shop").await.out,
        "{\"name\":\"web\",\"port\":3000}\n{\"name\":\"api\",\"port\":null}\n"
    );
    insta::assert_snapshot!(
        "status_fields",
        bed.run("status shop --fields name,docker_config.image").await.out
    );
}

#[tokio::test]
async fn nothing_registered_is_said_in_the_old_words() {
    let bed = Bed::new();
    bed.server.on("ListServices", |_| Reply::one(&pb::ListServicesResponse::default()));
    assert_eq!(bed.run("status").await.out, "No services registered\n");
}

#[tokio::test]
async fn a_word_that_means_nothing_gets_the_nearest_one() {
    let bed = Bed::new();
    for (line, near) in [
        ("status shpo", "shop"),
        ("status wbe", "web"),
        ("stop shop/wbe", "shop/web"),
        ("stop shpo/web", "shop"),
    ] {
        let ran = bed.run(line).await;
        assert_eq!(ran.code, 5, "{line}");
        assert!(ran.err.contains(&format!("did you mean  {near}\n")), "{line}: {}", ran.err);
    }
    let far = bed.run("status zzzzzz").await;
    assert!(far.err.contains("there are  api, infra, shop, web"), "{}", far.err);
    insta::assert_snapshot!("unknown_service", bed.run("stop shop/zzzzzz").await.err);
}

#[tokio::test]
async fn a_long_list_is_read_to_its_end() {
    let bed = Bed::new();
    bed.server.on("ListServices", |call| {
        let asked: pb::ListServicesRequest = call.read();
        let more = asked.page_token.is_empty();
        let next_page_token = if more { "next".to_owned() } else { String::new() };
        let pagination = Some(pb::Pagination { has_more: more, next_page_token, ..Default::default() });
        Reply::one(&pb::ListServicesResponse { services: services(), pagination, ..Default::default() })
    });
    assert_eq!(bed.run("status -o name").await.out.lines().count(), 6);
}

// ---- lifecycle

#[tokio::test]
async fn start_says_the_old_words_and_shows_the_steps() {
    let bed = Bed::new();
    bed.operation_goes("StartGroup", pb::OperationType::Start, pb::OperationStatus::Completed);
    let ran = bed.run("start shop --no-deps --no-wait --atomic").await;
    assert_eq!(ran.out, "Starting service group: shop\nService group 'shop' started successfully\n");
    insta::assert_snapshot!("start_progress", ran.err);
    let asked: pb::StartGroupRequest = bed.server.calls("StartGroup")[0].read();
    assert_eq!((asked.with_dependencies, asked.wait, asked.atomic), (Some(false), Some(false), true));
}

#[tokio::test]
async fn without_words_it_is_the_project_of_the_folder() {
    let mut bed = Bed::new();
    bed.operation_goes("StopGroup", pb::OperationType::Stop, pb::OperationStatus::Completed);
    let below = bed.folder.join("src/deep");
    std::fs::create_dir_all(&below).unwrap();
    bed.folder = below;
    let ran = bed.run("stop -t 3").await;
    assert_eq!(ran.out, "Stopping service group: shop\nService group 'shop' stopped successfully\n");
    assert_eq!(bed.server.calls("StopGroup")[0].read::<pb::StopGroupRequest>().timeout, Some(3));
    bed.env.insert("COMPOSE_PROJECT_NAME".into(), "infra".into());
    assert!(bed.run("stop").await.out.contains("infra"));
    assert!(bed.run("stop -p shop").await.out.contains("'shop'"));
    assert_eq!(bed.run("stop -p shop --instance x").await.code, 5);
    bed.env.remove("COMPOSE_PROJECT_NAME");
    bed.folder = bed.home.path().to_owned();
    let nowhere = bed.run("stop").await;
    assert_eq!(nowhere.code, 5);
    insta::assert_snapshot!("no_project_here", nowhere.err);
}

#[tokio::test]
async fn two_projects_of_one_folder_have_to_be_told_apart() {
    let bed = Bed::new();
    let folder = bed.folder.to_string_lossy().into_owned();
    bed.server.on("ListGroups", move |_| {
        let groups = vec![group("shop", &folder), group("shop2", &folder)];
        Reply::one(&pb::ListGroupsResponse { groups, ..Default::default() })
    });
    let ran = bed.run("stop").await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("shop, shop2") && ran.err.contains("-p NAME"), "{}", ran.err);
}

#[tokio::test]
async fn several_services_are_one_operation() {
    let bed = Bed::new();
    bed.operation_goes("BatchServices", pb::OperationType::Stop, pb::OperationStatus::Completed);
    for (verb, action) in [
        ("stop", pb::BatchAction::Stop),
        ("start", pb::BatchAction::Start),
        ("restart", pb::BatchAction::Restart),
    ] {
        assert_eq!(bed.run(&format!("{verb} web api web")).await.code, 0);
        let asked: pb::BatchServicesRequest = bed.server.calls("BatchServices").pop().unwrap().read();
        assert_eq!((asked.action(), asked.ids), (action, vec!["shop/web".to_owned(), "shop/api".to_owned()]));
    }
}

#[tokio::test]
async fn one_service_has_a_call_of_its_own() {
    let bed = Bed::new();
    for (line, method) in [
        ("start web", "StartService"),
        ("stop web", "StopService"),
        ("restart shop/web", "RestartService"),
        ("recreate web --build --pull", "RecreateService"),
        ("down web", "DownService"),
        ("restart shop", "RestartGroup"),
        ("down shop --volumes", "DownGroup"),
    ] {
        bed.operation_goes(method, pb::OperationType::Down, pb::OperationStatus::Completed);
        let ran = bed.run(&format!("{line} -o json")).await;
        assert_eq!((ran.code, bed.server.calls(method).len()), (0, 1), "{line}: {}", ran.err);
        assert!(ran.out.contains("\"id\": \"op_a\""), "{line}: {}", ran.out);
    }
    let recreated: pb::RecreateServiceRequest = bed.server.calls("RecreateService")[0].read();
    assert_eq!((recreated.build, recreated.pull()), (true, pb::PullPolicy::Always));
    assert!(bed.server.calls("DownGroup")[0].read::<pb::DownGroupRequest>().volumes);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_the_way_out() {
    let bed = Bed::new();
    for (line, way_out) in [
        ("start web --atomic", "clos start --atomic shop"),
        ("start web --no-wait", "clos start --no-wait shop"),
        ("recreate shop", "clos recreate shop/web"),
        ("down web --volumes", "clos down --volumes shop"),
        ("logs --since yesterday", "10m"),
        ("logs -f /x/compose.yaml", "--file /x/compose.yaml"),
        ("events -f compose.yaml", "--file compose.yaml"),
        ("wait --timeout soon", "90s"),
        ("up -f - -f -", "only once"),
        ("up -f .", "it is a folder"),
        ("--host ftp://x status", "unix:///path"),
        ("--context nowhere status", "default"),
    ] {
        let ran = bed.run(line).await;
        assert_eq!(ran.code, 2, "{line}: {}", ran.err);
        assert!(ran.err.starts_with("error: ") && ran.err.contains(way_out), "{line}: {}", ran.err);
    }
}

#[tokio::test]
async fn a_build_that_fails_shows_its_log_once() {
    let bed = Bed::new();
    bed.operation_goes("StartGroup", pb::OperationType::Start, pb::OperationStatus::Failed);
    let mut failed = operation(pb::OperationType::Start, pb::OperationStatus::Failed);
    failed.message =
        "shop/web: image `shop-web` cannot be built: [1/2] FROM app\n[2/2] RUN false\nexit code: 1".into();
    failed.reason = "BUILD_FAILED".into();
    failed.service_operations[0] = pb::ServiceOperation {
        service: "shop/web".into(),
        status: pb::OperationStatus::Cancelled.into(),
        reason: "SKIPPED".into(),
        message: "not started: `shop/web` failed to build".into(),
        ..Default::default()
    };
    failed.service_operations.truncate(1);
    bed.server.on("GetOperation", move |_| Reply::one(&failed));
    let ran = bed.run("start shop --progress quiet").await;
    insta::assert_snapshot!("build_failed", ran.err);
}

#[tokio::test]
async fn an_operation_that_fails_says_who_and_what_to_try() {
    let bed = Bed::new();
    bed.operation_goes("StartGroup", pb::OperationType::Start, pb::OperationStatus::Failed);
    let ran = bed.run("start shop --progress quiet").await;
    assert_eq!((ran.code, ran.out.as_str()), (1, "Starting service group: shop\n"));
    insta::assert_snapshot!("operation_failed", ran.err);
    let json = bed.run("start shop -o json --progress quiet").await;
    let error: serde_json::Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!((error["error"]["reason"].as_str(), error["exit_code"].as_i64()), (Some("EXITED"), Some(1)));
}

#[tokio::test]
async fn the_last_log_lines_of_what_failed_are_shown_once() {
    let bed = Bed::new();
    bed.operation_goes("StartGroup", pb::OperationType::Start, pb::OperationStatus::Failed);
    bed.server.on("GetOperation", |_| {
        let mut ended = operation(pb::OperationType::Start, pb::OperationStatus::Failed);
        ended.steps.push(pb::Step {
            number: 2,
            service: "shop/api".into(),
            service_id: "svc_api".into(),
            action: pb::StepAction::Wait.into(),
            status: pb::OperationStatus::Failed.into(),
            ..Default::default()
        });
        Reply::one(&ended)
    });
    bed.server.on("GetServiceLogs", |_| {
        let entry = |message: &str| pb::LogEntry { message: message.into(), ..Default::default() };
        Reply::many(&[entry("connecting to db"), entry("panic: no such host")])
    });
    let ran = bed.run("start shop --progress quiet").await;
    assert!(
        ran.err.contains("  last log   connecting to db\n             panic: no such host\n"),
        "{}",
        ran.err
    );
    let asked: pb::GetServiceLogsRequest = bed.server.calls("GetServiceLogs")[0].read();
    assert_eq!((asked.id.as_str(), asked.lines, asked.follow), ("svc_api", Some(10), false));
    assert_eq!(ran.err.matches("shop/api").count(), 1, "{}", ran.err);
}

#[tokio::test]
async fn an_engine_that_is_away_is_named_with_its_address() {
    let mut bed = Bed::new();
    bed.server.on("StartGroup", |_| {
        Reply::error(Code::Unavailable, "ENGINE_UNREACHABLE", "the engine does not answer", &[])
    });
    bed.server.on("GetSystemInfo", |_| {
        Reply::one(&pb::SystemInfo {
            docker_info: Some(pb::DockerInfo {
                found_by: "DOCKER_HOST".into(),
                address: "unix:///run/a.sock".into(),
                ..Default::default()
            }),
            ..Default::default()
        })
    });
    let ran = bed.run("start shop").await;
    assert_eq!(ran.code, 6);
    let head = "error: cannot reach Docker at unix:///run/a.sock: is it running? (the daemon's DOCKER_HOST";
    assert!(ran.err.contains(&format!("{head})")), "{}", ran.err);
    bed.env.insert("DOCKER_HOST".into(), "unix:///run/b.sock".into());
    let ran = bed.run("start shop").await;
    assert!(ran.err.contains(&format!("{head}; your shell's is unix:///run/b.sock)")), "{}", ran.err);
    assert!(ran.err.contains("restart closd"), "{}", ran.err);
}

#[tokio::test]
async fn progress_for_programs_is_an_event_a_line() {
    let bed = Bed::new();
    bed.operation_goes("StartGroup", pb::OperationType::Start, pb::OperationStatus::Completed);
    let ran = bed.run("start shop --progress json").await;
    let first: serde_json::Value = serde_json::from_str(ran.err.lines().next().unwrap()).unwrap();
    assert_eq!(first["data"]["action"], "network");
    assert_eq!(bed.run("start shop --progress quiet").await.err, "");
    assert_eq!(bed.run("start shop -q").await.err, "");
    assert_eq!(bed.run("start shop --progress tty").await.code, 0);
}

#[tokio::test]
async fn the_first_interrupt_cancels_and_the_operation_is_followed_to_its_end() {
    let bed = Bed::new();
    let begun = operation(pb::OperationType::Up, pb::OperationStatus::InProgress);
    bed.server.on("StartGroup", move |_| Reply::one(&begun));
    let (events, watched) = mpsc::unbounded_channel();
    let mut watched = Some(watched);
    let (press, pressed) = mpsc::unbounded_channel();
    bed.server.on("WatchOperation", move |_| {
        press.send(()).unwrap();
        Reply::Stream(watched.take().unwrap())
    });
    let mut events = Some(events);
    bed.server.on("CancelOperation", move |_| {
        // Cancelled: the stream has its good end.
        events.take();
        Reply::one(&operation(pb::OperationType::Up, pb::OperationStatus::InProgress))
    });
    bed.server.on("GetOperation", |_| {
        Reply::one(&operation(pb::OperationType::Up, pb::OperationStatus::Cancelled))
    });
    *bed.interrupts.borrow_mut() = Some(pressed);
    let ran = bed.run("start shop").await;
    assert_eq!(ran.code, 130);
    assert!(ran.err.contains("cancelling") && ran.err.contains("up cancelled"), "{}", ran.err);
}

#[tokio::test]
async fn an_interrupt_where_nothing_is_to_be_cancelled_leaves() {
    let bed = Bed::new();
    let (press, pressed) = mpsc::unbounded_channel();
    let (open, channel) = mpsc::unbounded_channel();
    let mut channel = Some(channel);
    bed.server.on("WatchEvents", move |_| {
        press.send(()).unwrap();
        Reply::Stream(channel.take().unwrap())
    });
    *bed.interrupts.borrow_mut() = Some(pressed);
    let ran = bed.run("events -f --after 0").await;
    assert_eq!((ran.code, ran.err.as_str()), (130, ""));
    drop(open);
}

// ---- up and plan

fn applied(with_operation: bool) -> pb::ApplyGroupResponse {
    let finding = pb::Finding {
        severity: pb::Severity::Warning.into(),
        file: "compose.yaml".into(),
        line: 3,
        column: 5,
        key: "services.web.cgroup".into(),
        message: "not known".into(),
    };
    pb::ApplyGroupResponse {
        operation: with_operation.then(|| operation(pb::OperationType::Up, pb::OperationStatus::InProgress)),
        plan: Some(pb::Plan {
            group_name: "shop".into(),
            steps: vec![
                pb::PlanStep { number: 1, service: "web".into(), ..Default::default() },
                pb::PlanStep { number: 2, service: "infra/db".into(), ..Default::default() },
            ],
            notes: vec!["shop/old is no longer in the files; --remove-orphans removes it".into()],
            findings: vec![finding],
            text: "plan: up shop\n".into(),
            ..Default::default()
        }),
        group: Some(group("shop", "/x")),
    }
}

#[tokio::test]
async fn up_sends_the_files_with_the_variables_that_they_name() {
    let mut bed = Bed::new();
    bed.operation_goes("ApplyGroup", pb::OperationType::Up, pb::OperationStatus::Completed);
    bed.server.on("ApplyGroup", |_| Reply::one(&applied(true)));
    std::fs::write(bed.folder.join(".env"), "TAG=1\nNODE_ENV\n").unwrap();
    std::fs::write(
        bed.folder.join("compose.override.yaml"),
        "services: {web: {environment: [NODE_ENV, '$MISSING']}}\n",
    )
    .unwrap();
    for (name, value) in [("TAG", "2"), ("NODE_ENV", "dev"), ("SECRET", "x"), ("COMPOSE_PROFILES", "a")] {
        bed.env.insert(name.into(), value.into());
    }
    let ran = bed.run("up --atomic --no-wait --profile b --pull=never -p blog --instance x web").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    insta::assert_snapshot!("up", ran.err);
    let asked: pb::ApplyGroupRequest = bed.server.calls("ApplyGroup")[0].read();
    let source = asked.source.clone().unwrap();
    assert_eq!(
        source.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
        ["compose.yaml", "compose.override.yaml"]
    );
    assert_eq!(source.dotenv.as_deref(), Some("TAG=1\nNODE_ENV\n"));
    let of = |name: &str| source.variables.get(name).map(|value| value.value.clone());
    assert_eq!(of("TAG"), Some(Some("2".into())));
    assert_eq!(of("NODE_ENV"), Some(Some("dev".into())));
    assert_eq!((of("MISSING"), of("SECRET")), (Some(None), None));
    assert_eq!(of("COMPOSE_PROFILES"), Some(Some("a".into())));
    assert_eq!(
        (asked.name.as_str(), asked.instance.as_str(), asked.pull()),
        ("blog", "x", pb::PullPolicy::Never)
    );
    assert_eq!(
        (asked.services, asked.profiles, asked.start),
        (vec!["web".to_owned()], vec!["b".to_owned()], None)
    );
    assert!(asked.atomic && asked.wait == Some(false) && !asked.dry_run);
}

#[tokio::test]
async fn a_plan_that_only_runs_a_finished_job_again_is_no_change() {
    let bed = Bed::new();
    bed.server.on("ListServices", |_| {
        let mut services = services();
        services[1].status_reason = "COMPLETED".into();
        Reply::one(&pb::ListServicesResponse { services, ..Default::default() })
    });
    let planned = |service: &'static str, action: pb::StepAction| pb::PlanStep {
        service: service.into(),
        action: action.into(),
        ..Default::default()
    };
    let again = vec![
        planned("shop/api", pb::StepAction::Start),
        planned("shop/api", pb::StepAction::Wait),
        planned("shop/web", pb::StepAction::Wait),
    ];
    let made_anew = [vec![planned("shop/api", pb::StepAction::Create)], again.clone()].concat();
    let started = vec![planned("shop/web", pb::StepAction::Start)];
    for (steps, code) in [(Vec::new(), 0), (again, 0), (made_anew, 8), (started, 8)] {
        bed.server.on("ApplyGroup", move |_| {
            let mut answer = applied(false);
            answer.plan.as_mut().unwrap().steps = steps.clone();
            Reply::one(&answer)
        });
        assert_eq!(bed.run("plan --exit-code").await.code, code);
        assert_eq!(bed.run("plan").await.code, 0);
    }
}

#[tokio::test]
async fn files_are_found_as_compose_finds_them() {
    let mut bed = Bed::new();
    bed.server.on("ApplyGroup", |_| Reply::one(&applied(false)));
    let asked = |bed: &Bed| -> (String, Vec<String>) {
        let asked: pb::ApplyGroupRequest = bed.server.calls("ApplyGroup").pop().unwrap().read();
        let source = asked.source.unwrap();
        let shown = |text: &str| {
            text.replace(&bed.home.path().canonicalize().unwrap().to_string_lossy().into_owned(), "HOME")
        };
        (shown(&source.working_dir), source.files.iter().map(|file| shown(&file.path)).collect())
    };
    let write = |path: &Path, text: &str| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let root = bed.folder.clone();
    write(&root.join("ops/a.yaml"), "services: {}\n");
    write(&root.join("b.yaml"), "services: {}\n");
    bed.input = "services: {}\n".into();
    bed.run("up --no-start -f ops/a.yaml -f b.yaml -f -").await;
    let paths = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        asked(&bed),
        ("HOME/checkout/shop/ops".into(), paths(&["a.yaml", "HOME/checkout/shop/b.yaml", "-"]))
    );
    bed.env.insert("COMPOSE_FILE".into(), "b.yaml:ops/a.yaml".into());
    bed.run("up --no-start").await;
    assert_eq!(asked(&bed), ("HOME/checkout/shop".into(), paths(&["b.yaml", "ops/a.yaml"])));
    bed.env.remove("COMPOSE_FILE");
    write(&root.join(".env"), "COMPOSE_PATH_SEPARATOR=;\nCOMPOSE_FILE=b.yaml;compose.yaml\n");
    bed.folder = root.join("ops");
    bed.run("up --no-start").await;
    assert_eq!(asked(&bed), ("HOME/checkout/shop".into(), paths(&["b.yaml", "compose.yaml"])));
    bed.run("up --no-start -f a.yaml --env-file ../.env").await;
    let last: pb::ApplyGroupRequest = bed.server.calls("ApplyGroup").pop().unwrap().read();
    assert!(last.source.unwrap().env_files[0].content.contains("COMPOSE_FILE"));
    write(&root.join("more.env"), "MORE=1\n");
    bed.env.insert("HOME".into(), "/home/dev".into());
    bed.run("up --no-start -f a.yaml --env-file ../.env --env-file ../more.env").await;
    let last: pb::ApplyGroupRequest = bed.server.calls("ApplyGroup").pop().unwrap().read();
    let source = last.source.unwrap();
    assert_eq!((source.home.as_str(), &source.dotenv), ("/home/dev", &None));
    assert!(!source.variables.contains_key("HOME"), "no file names it");
    let [all, more] = &source.env_files[..] else { panic!("two files") };
    assert!(all.path.ends_with("/shop/.env") && more.path.ends_with("/shop/more.env"), "{source:?}");
    assert_eq!(more.content, "MORE=1\n");
    bed.env.insert("HOME".into(), root.parent().unwrap().to_string_lossy().into_owned());
    bed.env.insert("COMPOSE_FILE".into(), "~/shop/ops/a.yaml;~/shop/b.yaml".into());
    bed.run("up --no-start --env-file=~/shop/more.env").await;
    assert_eq!(
        asked(&bed),
        ("HOME/checkout/shop/ops".into(), paths(&["a.yaml", "HOME/checkout/shop/b.yaml"]))
    );
    bed.env.remove("COMPOSE_FILE");
    assert_eq!(bed.run("up -f nowhere.yaml").await.code, 5);
    assert_eq!(bed.run("up --env-file nowhere").await.code, 5);
    std::fs::write(root.join("ops/bad.yaml"), [0x61, 0xff]).unwrap();
    let bad = bed.run("up -f bad.yaml").await;
    assert!(bad.code == 2 && bad.err.contains("byte 1 is no UTF-8"), "{}", bad.err);
    bed.folder = bed.home.path().to_owned();
    let none = bed.run("up").await;
    assert!(none.code == 5 && none.err.contains("FILE_NOT_FOUND"), "{}", none.err);
}

#[tokio::test]
async fn a_daemon_that_needs_variables_gets_them() {
    let mut bed = Bed::new();
    bed.env.insert("DEEP".into(), "1".into());
    let needs = || {
        let details =
            ErrorDetails::with_error_info("VARIABLES_NEEDED", "clos.dev", [] as [(String, String); 0]);
        let status = Status::with_error_details(Code::FailedPrecondition, "variables", details);
        let mut whole: tonic_types::pb::Status = prost::Message::decode(status.details()).unwrap();
        whole.details.push(prost_types::Any {
            type_url: "type.googleapis.com/clos.v2.VariablesNeeded".into(),
            value: prost::Message::encode_to_vec(&pb::VariablesNeeded {
                names: vec!["DEEP".into(), "GONE".into()],
            }),
        });
        let bytes = prost::Message::encode_to_vec(&whole);
        Reply::Status(Status::with_details(Code::FailedPrecondition, "variables", bytes.into()))
    };
    let mut rounds = vec![Reply::one(&applied(false)), needs()];
    bed.server.on("ApplyGroup", move |_| rounds.pop().unwrap());
    assert_eq!(bed.run("up --no-start").await.out, "Group 'shop' is registered with 2 services\n");
    let asked: pb::ApplyGroupRequest = bed.server.calls("ApplyGroup")[1].read();
    let variables = asked.source.unwrap().variables;
    assert_eq!((variables["DEEP"].value.as_deref(), variables["GONE"].value.as_deref()), (Some("1"), None));
    bed.server.on("ApplyGroup", move |_| needs());
    let ran = bed.run("up").await;
    assert!(
        ran.code == 1 && bed.server.calls("ApplyGroup").len() == 7,
        "five rounds and no more: {}",
        ran.err
    );
}

#[tokio::test]
async fn a_list_of_variables_that_was_cut_short_goes_on_in_the_next_round() {
    let bed = Bed::new();
    let needs = |round: usize| {
        let facts = [("omitted".to_owned(), (900 - 100 * round).to_string())];
        let details = ErrorDetails::with_error_info("VARIABLES_NEEDED", "clos.dev", facts);
        let status = Status::with_error_details(Code::FailedPrecondition, "variables", details);
        let mut whole: tonic_types::pb::Status = prost::Message::decode(status.details()).unwrap();
        let names = (0..100).map(|number| format!("N_{}", 100 * round + number)).collect();
        whole.details.push(prost_types::Any {
            type_url: "type.googleapis.com/clos.v2.VariablesNeeded".into(),
            value: prost::Message::encode_to_vec(&pb::VariablesNeeded { names }),
        });
        let bytes = prost::Message::encode_to_vec(&whole);
        Reply::Status(Status::with_details(Code::FailedPrecondition, "variables", bytes.into()))
    };
    let mut rounds: Vec<Reply> = (0..9).map(needs).collect();
    rounds.push(Reply::one(&applied(false)));
    rounds.reverse();
    bed.server.on("ApplyGroup", move |_| rounds.pop().unwrap());
    let ran = bed.run("up --no-start").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let asked: pb::ApplyGroupRequest = bed.server.calls("ApplyGroup").pop().unwrap().read();
    assert_eq!(asked.source.unwrap().variables.keys().filter(|name| name.starts_with("N_")).count(), 900);
    bed.server.on("ApplyGroup", move |_| needs(0));
    let ran = bed.run("up").await;
    assert!(ran.code == 1 && ran.err.contains("5 times"), "the same names again are counted: {}", ran.err);
}

#[tokio::test]
async fn a_plan_is_printed_and_its_exit_code_says_whether_there_is_something_to_do() {
    let bed = Bed::new();
    bed.server.on("ApplyGroup", |_| Reply::one(&applied(false)));
    let ran = bed.run("plan").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "plan: up shop\n"));
    assert_eq!(ran.err, "warning: compose.yaml:3:5 services.web.cgroup: not known\n");
    assert_eq!(bed.run("plan --exit-code").await.code, 8);
    assert_eq!(bed.run("plan -o name").await.out, "infra/db\nshop/web\n");
    assert_eq!(bed.run("up --dry-run").await.out, "plan: up shop\n");
    let asked: Vec<pb::ApplyGroupRequest> =
        bed.server.calls("ApplyGroup").iter().map(scripted::Call::read).collect();
    assert!(asked.iter().all(|asked| asked.dry_run && asked.name == "-"));
}

// ---- errors

#[tokio::test]
async fn a_port_conflict_says_who_wants_and_who_holds() {
    let bed = Bed::new();
    bed.server.on("ApplyGroup", |_| {
        let details = ErrorDetails::with_error_info(
            "PORT_CONFLICT",
            "clos.dev",
            [("omitted".to_owned(), "2".to_owned())],
        );
        let status =
            Status::with_error_details(Code::FailedPrecondition, "port 3000 is already taken", details);
        let mut whole: tonic_types::pb::Status = prost::Message::decode(status.details()).unwrap();
        let conflicts = vec![pb::PortConflict {
            port: 3000,
            wanted_by: "shop/web".into(),
            holder: Some(pb::PortHolder {
                r#type: pb::PortHolderType::SystemProcess.into(),
                name: "node".into(),
                pid: Some(15395),
                user: "ann".into(),
            }),
            suggestion: "give `shop/web` another host port: 3004 is free".into(),
            ..Default::default()
        }];
        whole.details.push(prost_types::Any {
            type_url: "type.googleapis.com/clos.v2.PortConflicts".into(),
            value: prost::Message::encode_to_vec(&pb::PortConflicts { conflicts }),
        });
        let bytes = prost::Message::encode_to_vec(&whole);
        Reply::Status(Status::with_details(
            Code::FailedPrecondition,
            "port 3000 is already taken",
            bytes.into(),
        ))
    });
    let ran = bed.run("up").await;
    assert_eq!(ran.code, 3);
    insta::assert_snapshot!("port_conflict", ran.err);
    let json: serde_json::Value = serde_json::from_str(&bed.run("up -o json").await.err).unwrap();
    assert_eq!(json["error"]["conflicts"][0]["holder"]["type"], "system_process");
}

/// A refusal with one more detail.
fn refusal(reason: &str, message: &str, name: &str, detail: &impl prost::Message) -> Reply {
    refusal_with(reason, message, &[(name, detail.encode_to_vec())])
}

fn refusal_with(reason: &str, message: &str, more: &[(&str, Vec<u8>)]) -> Reply {
    let details = ErrorDetails::with_error_info(reason, "clos.dev", []);
    let status = Status::with_error_details(Code::FailedPrecondition, message, details);
    let mut whole: tonic_types::pb::Status = prost::Message::decode(status.details()).unwrap();
    whole.details.extend(more.iter().map(|(name, value)| prost_types::Any {
        type_url: format!("type.googleapis.com/clos.v2.{name}"),
        value: value.clone(),
    }));
    let bytes = prost::Message::encode_to_vec(&whole);
    Reply::Status(Status::with_details(Code::FailedPrecondition, message, bytes.into()))
}

#[tokio::test]
async fn warnings_stand_below_what_is_in_the_way() {
    let bed = Bed::new();
    let problem = |service: &str| pb::Problem {
        reason: "IMAGE_NOT_FOUND".into(),
        subject: service.into(),
        message: format!("image `x` of `{service}` is not on this engine"),
        hint: "correct its name".into(),
    };
    let warning = pb::Finding {
        severity: pb::Severity::Warning.into(),
        file: "compose.yaml".into(),
        line: 4,
        column: 12,
        key: "services.web.image".into(),
        message: "the variable TAG is not set and is taken as empty".into(),
    };
    let findings = pb::SourceFindings { findings: vec![warning] }.encode_to_vec();
    for count in [1, 2] {
        let problems: Vec<_> = ["shop/web", "shop/api"][..count].iter().map(|one| problem(one)).collect();
        let problems = pb::Problems { problems }.encode_to_vec();
        let findings = findings.clone();
        bed.server.on("ApplyGroup", move |_| {
            let details = [("Problems", problems.clone()), ("SourceFindings", findings.clone())];
            refusal_with("IMAGE_NOT_FOUND", "image `x` is not on this engine", &details)
        });
        let ran = bed.run("up").await;
        let told = "compose.yaml:4:12 services.web.image";
        assert!(ran.err.contains(told) && ran.err.contains("warning: the variable TAG"), "{}", ran.err);
    }
}

#[tokio::test]
async fn of_many_problems_the_first_are_shown_and_the_rest_is_counted() {
    let bed = Bed::new();
    bed.server.on("ApplyGroup", |_| {
        let problems = (0..60).map(|number| pb::Problem {
            reason: "FILE_NOT_FOUND".into(),
            message: format!("folder {number} does not exist"),
            ..pb::Problem::default()
        });
        let problems = pb::Problems { problems: problems.collect() };
        refusal("FILE_NOT_FOUND", "60 problems", "Problems", &problems)
    });
    let ran = bed.run("up").await;
    assert!(ran.err.starts_with("error: nothing was changed: 60 problems"), "{}", ran.err);
    assert!(ran.err.contains("folder 49") && !ran.err.contains("folder 50"), "{}", ran.err);
    assert!(ran.err.contains("and 10 more"), "{}", ran.err);
}

#[tokio::test]
async fn a_path_outside_names_the_way_out() {
    let bed = Bed::new();
    bed.server.on("ApplyGroup", |_| Reply::error(Code::FailedPrecondition, "OUTSIDE_ROOT", "no", &[]));
    let ran = bed.run("up").await;
    assert!(ran.err.contains("`roots:` in closd.yaml, or leave out --host"), "{}", ran.err);
}

#[tokio::test]
async fn what_is_wrong_is_told_once() {
    let bed = Bed::new();
    let finding = |severity: pb::Severity, line: i32, key: &str, message: &str| pb::Finding {
        severity: severity.into(),
        file: "compose.yaml".into(),
        line,
        column: 5,
        key: key.into(),
        message: message.into(),
    };
    let findings = vec![
        finding(pb::Severity::Error, 3, "services.a.comand", "unknown key `comand`"),
        finding(pb::Severity::Error, 4, "services.a.imgae", "unknown key `imgae`"),
        finding(pb::Severity::Warning, 9, "services.b.command", "the variable A is not set"),
    ];
    let all = "compose.yaml:3:5: services.a.comand: unknown key `comand`\n\
               compose.yaml:4:5: services.a.imgae: unknown key `imgae`";
    let many = pb::SourceFindings { findings: findings.clone() };
    bed.server.on("ApplyGroup", move |_| refusal("INVALID_FILE", all, "SourceFindings", &many));
    insta::assert_snapshot!("findings", bed.run("up").await.err);

    let one = pb::SourceFindings { findings: vec![findings[0].clone(), findings[2].clone()] };
    let message = "compose.yaml:3:5: services.a.comand: unknown key `comand`";
    bed.server.on("ApplyGroup", move |_| refusal("INVALID_FILE", message, "SourceFindings", &one));
    insta::assert_snapshot!("finding", bed.run("up").await.err);

    let problems = vec![pb::Problem {
        reason: "NAME_TAKEN".into(),
        subject: "shop".into(),
        message: "container `shop-web-1` was made by docker compose from these files".into(),
        hint: "`clos up --adopt` takes it over".into(),
    }];
    let problems = pb::Problems { problems };
    let message =
        "container `shop-web-1` was made by docker compose from these files; `clos up --adopt` takes it over";
    bed.server.on("ApplyGroup", move |_| refusal("NAME_TAKEN", message, "Problems", &problems));
    insta::assert_snapshot!("problem", bed.run("up").await.err);
}

#[tokio::test]
async fn every_kind_of_refusal_has_its_exit_code() {
    let bed = Bed::new();
    for (code, reason, exit) in [
        (Code::InvalidArgument, "INVALID_FIELD", 2),
        (Code::Unauthenticated, "TOKEN_MISSING", 4),
        (Code::PermissionDenied, "PEER_REFUSED", 4),
        (Code::NotFound, "GROUP_NOT_FOUND", 5),
        (Code::Unavailable, "ENGINE_UNREACHABLE", 6),
        (Code::FailedPrecondition, "PROJECT_MISMATCH", 7),
        (Code::AlreadyExists, "NAME_TAKEN", 7),
        (Code::DeadlineExceeded, "TIMED_OUT", 124),
        (Code::Internal, "INTERNAL", 1),
    ] {
        bed.server.on("ApplyGroup", move |_| Reply::error(code, reason, "no", &[]));
        let ran = bed.run("up").await;
        assert_eq!(ran.code, exit, "{reason}");
        assert!(
            ran.err.contains(&format!("[{reason}]")) && ran.err.contains(&format!("clos explain {reason}")),
            "{}",
            ran.err
        );
    }
    bed.server.on("ApplyGroup", |_| {
        Reply::error(Code::FailedPrecondition, "PROJECT_MISMATCH", "`shop` belongs to /other", &[])
    });
    insta::assert_snapshot!("project_mismatch", bed.run("up").await.err);
}

#[tokio::test]
async fn who_reads_no_further_is_no_error() {
    let bed = Bed::new();
    let context = bed.context(Box::new(Closed), Box::new(Page::default()));
    assert_eq!(clos_cli::run(vec!["clos".into(), "status".into()], &context).await, 0);
}

// ---- logs, events, wait, ops

fn line(service: &str, text: &str) -> pb::LogEntry {
    pb::LogEntry {
        timestamp: at(5),
        message: text.into(),
        service: format!("shop/{service}"),
        group_name: "shop".into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn logs_of_a_project_have_the_service_before_each_line() {
    let mut bed = Bed::new();
    bed.server.on("GetGroupLogs", |_| Reply::many(&[line("web", "hello"), line("api", "there")]));
    assert_eq!(bed.run("logs").await.out, "web | hello\napi | there\n");
    assert_eq!(bed.run("logs web -t").await.out.lines().next().unwrap(), "web | 2025-12-31T23:59:55Z hello");
    assert_eq!(bed.run("logs web --no-prefix").await.out, "hello\nthere\n");
    assert!(bed.run("logs -o json").await.out.starts_with("{\"timestamp\":\"2025-12-31T23:59:55Z\""));
    let asked: pb::GetGroupLogsRequest = bed.server.calls("GetGroupLogs")[1].read();
    assert_eq!((asked.services, asked.lines, asked.follow), (vec!["web".to_owned()], Some(50), false));
    bed.run("logs -f -n 7 --since 10m --grep x --level error shop").await;
    let asked: pb::GetGroupLogsRequest = bed.server.calls("GetGroupLogs").pop().unwrap().read();
    assert_eq!((asked.since.unwrap().seconds, asked.lines, asked.follow), (NOW - 600, Some(7), true));
    assert_eq!((asked.grep.as_str(), asked.level()), ("x", pb::Severity::Error));
    bed.folder = bed.home.path().to_owned();
    let ran = bed.run("logs").await;
    assert_eq!((ran.code, ran.err.contains("clos logs --all")), (2, true), "no project here: {}", ran.err);
    assert_eq!(bed.run("logs --all").await.out.lines().count(), 4);
    assert!(bed.run("logs --all").await.out.contains("shop/web | hello"));
    bed.on_terminal = true;
    let ran = bed.run("logs shop --color never").await;
    assert_eq!(ran.out.lines().next().unwrap(), "web | 23:59:55 hello");
    assert!(bed.server.calls("GetGroupLogs").pop().unwrap().read::<pb::GetGroupLogsRequest>().follow);
}

#[tokio::test]
async fn pieces_of_a_long_line_are_one_line_and_a_note_is_no_line() {
    let bed = Bed::new();
    let piece = |service: &str, text: &str, partial| pb::LogEntry { partial, ..line(service, text) };
    let raw = pb::LogEntry { raw: Some(b"\xff".to_vec()), ..line("web", "\u{fffd}") };
    let mute = pb::LogEntry { note: "its logging driver keeps none".into(), ..line("mute", "") };
    let all = [
        piece("web", "a€", true),
        line("api", "there"),
        piece("web", "b", false),
        mute,
        piece("api", "no end", true),
    ];
    bed.server.on("GetGroupLogs", move |_| Reply::many(&all));
    let ran = bed.run("logs --tail all").await;
    assert_eq!(ran.out, "api | there\nweb | a€b\napi | no end\n");
    assert_eq!(ran.err, "note: no logs of shop/mute: its logging driver keeps none\n");
    let asked: pb::GetGroupLogsRequest = bed.server.calls("GetGroupLogs")[0].read();
    assert_eq!(asked.lines, Some(-1));
    assert_eq!(bed.run("logs --tail 10001").await.code, 2);
    bed.server.on("GetGroupLogs", move |_| Reply::many(std::slice::from_ref(&raw)));
    assert_eq!(bed.run("logs --tail 0 -o jsonl --fields raw").await.out, "{\"raw\":\"/w==\"}\n");
}

#[tokio::test]
async fn events_are_the_last_ones_or_those_that_come() {
    let bed = Bed::new();
    let changed = pb::Event {
        r#type: "service.status_changed".into(),
        seq: 7,
        group_name: "shop".into(),
        severity: pb::Severity::Error.into(),
        timestamp: at(0),
        data: Some(pb::EventData {
            service_name: Some("web".into()),
            old_status: Some("running".into()),
            new_status: Some("failed".into()),
            status_reason: Some("EXITED".into()),
            exit_code: Some(137),
            ..Default::default()
        }),
        ..Default::default()
    };
    let listed = vec![changed, step(1, "start", "web", "shop-web-1", "completed", "")];
    let watched = listed.clone();
    bed.server.on("ListEvents", move |call| {
        let asked: pb::ListEventsRequest = call.read();
        let events = listed.iter().filter(|event| event.seq > asked.after.unwrap_or(0)).cloned().collect();
        Reply::one(&pb::ListEventsResponse { events, head_seq: 11, oldest_seq: 1, ..Default::default() })
    });
    insta::assert_snapshot!("events", bed.run("events").await.out);
    assert_eq!(bed.run("events -n 1 -o name").await.out.lines().count(), 1);
    assert_eq!(bed.run("events --after 10 -o jsonl").await.out.lines().count(), 1);
    bed.run("events shop/web --type service.* --severity error --since 1h --operation op_a").await;
    let asked: pb::ListEventsRequest = bed.server.calls("ListEvents").pop().unwrap().read();
    assert_eq!(
        (asked.service_id.as_str(), asked.event_type, asked.operation_id.as_str()),
        ("shop/web", vec!["service.*".to_owned()], "op_a")
    );
    assert_eq!(asked.since.unwrap().seconds, NOW - 3600);
    let mut rounds = 0;
    bed.server.on("WatchEvents", move |_| {
        rounds += 1;
        if rounds % 2 == 1 {
            Reply::many(&watched)
        } else {
            Reply::error(Code::InvalidArgument, "INVALID_POSITION", "beyond", &[])
        }
    });
    let ran = bed.run("events -f --after 0 shop").await;
    assert_eq!(ran.code, 2, "the script ends it: {}", ran.err);
    insta::assert_snapshot!("events_follow", ran.out);
    let json = bed.run("events -f -n 1 -o json").await;
    assert!(json.out.lines().all(|line| line.starts_with('{')), "{}", json.out);
}

#[tokio::test]
async fn events_since_a_time_are_read_to_their_end() {
    let bed = Bed::new();
    bed.server.on("ListEvents", |call| {
        let asked: pb::ListEventsRequest = call.read();
        let first = asked.after.unwrap_or(0) + 1;
        let events = (first..first + 2)
            .map(|seq| pb::Event { r#type: "service.updated".into(), seq, ..Default::default() })
            .collect();
        Reply::one(&pb::ListEventsResponse {
            events,
            has_more: first < 5,
            next_after: first + 1,
            ..Default::default()
        })
    });
    assert_eq!(bed.run("events --since 1h -o name").await.out.lines().count(), 6);
    let last = bed.run("events --after 0 -n 2 -o jsonl --fields seq").await;
    assert_eq!(last.out, "{\"seq\":5}\n{\"seq\":6}\n", "the last ones, not the first");
}

#[tokio::test]
async fn wait_returns_when_it_is_so() {
    let bed = Bed::new();
    bed.server.on("ListEvents", |_| Reply::one(&pb::ListEventsResponse::default()));
    bed.server.on("WatchEvents", |_| Reply::many(&[step(1, "start", "", "", "", "")]));
    let mut looks = 0;
    bed.server.on("ListServices", move |_| {
        looks += 1;
        let mut services = services();
        services.retain(|service| service.group == "shop");
        services[1].status = pb::ServiceStatus::Starting.into();
        if looks > 1 {
            services[1].status = pb::ServiceStatus::Running.into();
        }
        Reply::one(&pb::ListServicesResponse { services, ..Default::default() })
    });
    assert_eq!(bed.run("wait").await.code, 0);
    assert_eq!(bed.run("wait web --for running").await.code, 0);
    let late = bed.run("wait web --for stopped --timeout 0").await;
    assert_eq!(late.code, 124);
    insta::assert_snapshot!("wait_late", late.err);
}

#[tokio::test]
async fn wait_does_not_wait_for_what_has_failed() {
    let bed = Bed::new();
    bed.server.on("ListEvents", |_| Reply::one(&pb::ListEventsResponse::default()));
    bed.server.on("WatchEvents", |_| Reply::many(&[step(1, "start", "", "", "", "")]));
    bed.server.on("ListServices", |_| {
        let mut services = services();
        services.retain(|service| service.group == "shop");
        services[1].status = pb::ServiceStatus::Failed.into();
        services[1].status_reason = "EXITED".to_owned();
        services[1].desired_state = pb::DesiredState::Running.into();
        Reply::one(&pb::ListServicesResponse { services, ..Default::default() })
    });
    bed.server.on("GetGroup", |_| {
        let status = pb::GroupStatus::Partial.into();
        Reply::one(&pb::Group { name: "shop".to_owned(), status, ..Default::default() })
    });
    let ran = bed.run("wait").await;
    assert_eq!(ran.code, 1, "{}", ran.err);
    insta::assert_snapshot!("wait_failed", ran.err);
}

#[tokio::test]
async fn what_was_skipped_says_why_and_has_no_log() {
    let bed = Bed::new();
    bed.server.on("ListEvents", |_| Reply::one(&pb::ListEventsResponse::default()));
    bed.server.on("WatchEvents", |_| Reply::many(&[step(1, "start", "", "", "", "")]));
    bed.server.on("ListServices", |_| {
        let mut services = services();
        services.retain(|service| service.group == "shop");
        services[1].status = pb::ServiceStatus::Stopped.into();
        services[1].status_reason = "SKIPPED".to_owned();
        services[1].status_detail = "not started: `shop/db` exited".to_owned();
        services[1].desired_state = pb::DesiredState::Running.into();
        Reply::one(&pb::ListServicesResponse { services, ..Default::default() })
    });
    bed.server.on("GetGroup", |_| Reply::one(&group("shop", "/x")));
    let ran = bed.run("wait").await;
    assert!(ran.err.contains("stopped (SKIPPED): not started: `shop/db` exited"), "{}", ran.err);
    assert!(ran.err.contains("clos start shop") && !ran.err.contains("clos logs"), "{}", ran.err);
}

#[tokio::test]
async fn the_last_word_of_an_engine_that_is_away_ends_no_wait() {
    let bed = Bed::new();
    bed.server.on("ListEvents", |_| Reply::one(&pb::ListEventsResponse::default()));
    bed.server.on("WatchEvents", |_| Reply::many(&[step(1, "start", "", "", "", "")]));
    bed.server.on("ListServices", |_| {
        let mut services = services();
        services.truncate(1);
        services[0].status_reason = "ENGINE_UNREACHABLE".to_owned();
        Reply::one(&pb::ListServicesResponse { services, ..Default::default() })
    });
    for state in ["healthy", "running", "stopped"] {
        let ran = bed.run(&format!("wait web --for {state} --timeout 0")).await;
        assert_eq!(ran.code, 124, "{state}: {}", ran.err);
        assert!(ran.err.contains("running (ENGINE_UNREACHABLE)"), "{}", ran.err);
    }
}

#[tokio::test]
async fn an_event_of_another_reason_only_is_no_change_of_the_word() {
    let bed = Bed::new();
    bed.server.on("ListEvents", |_| {
        let data = pb::EventData {
            old_status: Some("running".into()),
            new_status: Some("running".into()),
            status_reason: Some("DRIFTED".into()),
            ..Default::default()
        };
        let event = pb::Event {
            r#type: "service.status_changed".into(),
            seq: 1,
            data: Some(data),
            ..Default::default()
        };
        Reply::one(&pb::ListEventsResponse {
            events: vec![event],
            head_seq: 1,
            oldest_seq: 1,
            ..Default::default()
        })
    });
    let told = bed.run("events -n 1").await.out;
    assert!(told.contains("running DRIFTED") && !told.contains('→'), "{told}");
}

#[tokio::test]
async fn operations_are_listed_shown_and_cancelled() {
    let bed = Bed::new();
    let all = vec![
        operation(pb::OperationType::Up, pb::OperationStatus::Completed),
        operation(pb::OperationType::Stop, pb::OperationStatus::Failed),
    ];
    bed.server.on("ListOperations", move |_| {
        Reply::one(&pb::ListOperationsResponse { operations: all.clone(), ..Default::default() })
    });
    bed.server.on("GetOperation", |_| {
        Reply::one(&operation(pb::OperationType::Up, pb::OperationStatus::Completed))
    });
    bed.server.on("CancelOperation", |_| {
        Reply::one(&operation(pb::OperationType::Up, pb::OperationStatus::Cancelled))
    });
    bed.server.on("WatchOperation", |_| Reply::many::<pb::Event>(&[]));
    insta::assert_snapshot!("ops", bed.run("ops --open -o wide").await.out);
    insta::assert_snapshot!("ops_one", bed.run("ops op_a").await.out);
    assert!(bed.run("ops op_a --cancel").await.out.contains("cancel requested"));
    assert_eq!(bed.run("ops op_a -f -o name").await.out, "op_a\n");
    assert_eq!(bed.run("ops --cancel").await.code, 2);
}

// ---- versions, doctor, help

fn answers_about_itself(bed: &Bed, well: bool) {
    bed.server.on("GetSystemInfo", move |_| {
        Reply::one(&pb::SystemInfo {
            version: if well { env!("CARGO_PKG_VERSION").into() } else { "1.9.0".into() },
            docker_info: Some(pb::DockerInfo {
                kind: "docker".into(),
                version: if well { "28.0".into() } else { String::new() },
                api_version: "1.49".into(),
                found_by: "DOCKER_HOST".into(),
                address: "unix:///run/docker.sock".into(),
                ..Default::default()
            }),
            daemon: Some(pb::DaemonInfo { database: "sqlite".into(), ..Default::default() }),
            ..Default::default()
        })
    });
    bed.server.on("GetHealth", move |_| {
        let component = if well { pb::ComponentStatus::Healthy } else { pb::ComponentStatus::Unhealthy };
        let disk = if well { pb::DiskStatus::Healthy } else { pb::DiskStatus::Critical };
        Reply::one(&pb::GetHealthResponse {
            checks: Some(pb::HealthChecks {
                database: Some(component.into()),
                docker: Some(component.into()),
                disk_space: Some(disk.into()),
                ..Default::default()
            }),
            ..Default::default()
        })
    });
}

#[tokio::test]
async fn version_shows_both_sides_and_starts_nothing() {
    let bed = Bed::new();
    answers_about_itself(&bed, true);
    insta::assert_snapshot!("version", bed.run("version").await.out);
    let json: serde_json::Value = serde_json::from_str(&bed.run("version -o json").await.out).unwrap();
    assert_eq!(json["daemon"]["docker_info"]["version"], "28.0");
    let alone = Bed::without_daemon();
    let ran = alone.run("version").await;
    assert_eq!(ran.code, 6);
    assert!(
        ran.out.starts_with("clos ") && ran.err.contains("no daemon answers at unix://HOME/run/closd.sock"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn the_doctor_says_what_is_wrong_and_what_to_do() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut bed = Bed::new();
    answers_about_itself(&bed, false);
    std::fs::set_permissions(bed.home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let socket = bed.home.path().join("run/closd.sock");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let ran = bed.run("doctor").await;
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!("doctor_ill", ran.out);
    answers_about_itself(&bed, true);
    std::fs::set_permissions(bed.home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(bed.run("doctor").await.code, 8, "closd's program is nowhere");
    bed.closd = Some("/opt/closd".into());
    let ran = bed.run("doctor").await;
    assert_eq!(ran.code, 0);
    insta::assert_snapshot!("doctor_well", ran.out);
    let json: serde_json::Value = serde_json::from_str(&bed.run("doctor -o json").await.out).unwrap();
    assert_eq!(json["checks"][0]["verdict"], "ok");
    bed.server.on("GetHealth", |_| {
        let checks = pb::HealthChecks {
            database: Some(pb::ComponentStatus::Healthy.into()),
            ..pb::HealthChecks::default()
        };
        Reply::one(&pb::GetHealthResponse { checks: Some(checks), ..Default::default() })
    });
    let ran = bed.run("doctor").await;
    assert!(ran.code == 8 && ran.out.contains("has not answered yet"), "{}", ran.out);
    let alone = Bed::without_daemon();
    let ran = alone.run("doctor").await;
    assert!(ran.code == 6 && ran.out.contains("✘ daemon"), "{}", ran.out);
}

#[tokio::test]
async fn words_are_explained_and_help_is_there() {
    let bed = Bed::without_daemon();
    insta::assert_snapshot!("explain_reason", bed.run("explain port_conflict").await.out);
    assert!(bed.run("explain Service.desired_state").await.out.starts_with("desired_state  (DesiredState)"));
    assert!(bed.run("explain Group").await.out.contains("working_dir"));
    let wrong = bed.run("explain PORT_CONFLIKT").await;
    assert!(wrong.code == 5 && wrong.err.contains("did you mean  PORT_CONFLICT"), "{}", wrong.err);
    assert!(bed.run("explain zzz").await.err.contains("clos explain ErrorReason"));
    insta::assert_snapshot!("exit_codes", bed.run("help exit-codes").await.out);
    assert!(bed.run("help environment").await.out.contains("CLOS_HOST"));
    assert!(bed.run("help output").await.out.contains("-o jsonl"));
    assert!(bed.run("help").await.out.contains("clos help exit-codes"));
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(bed.run(&format!("completion {shell}")).await.out.contains("clos"), "{shell}");
    }
    assert!(bed.run("--version").await.out.contains(env!("CARGO_PKG_VERSION")));
    assert_eq!((bed.run("--help").await.code, bed.run("").await.code, bed.run("fly").await.code), (0, 2, 2));
}

// ---- the daemon that is not there

fn program(bed: &Bed, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = bed.home.path().join("closd-of-the-test");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_started_and_one_that_cannot_says_why() {
    let mut bed = Bed::without_daemon();
    let ran = bed.run("--no-autostart status").await;
    assert!(ran.code == 6 && ran.err.contains("clos doctor"), "{}", ran.err);
    bed.env.insert("PATH".into(), String::new());
    let ran = bed.run("status").await;
    assert!(ran.code == 6 && ran.err.contains("neither beside clos nor on the PATH"), "{}", ran.err);
    bed.closd = Some(bed.home.path().join("absent"));
    assert!(bed.run("status").await.err.contains("cannot be started"));
    bed.env.insert(
        "CLOSD".into(),
        program(&bed, "echo 'the store is broken' >&2; exit 1").display().to_string(),
    );
    let ran = bed.run("status").await;
    assert_eq!(ran.code, 6);
    insta::assert_snapshot!("closd_ends_at_once", ran.err);
    bed.env.insert("CLOS_HOST".into(), "unix:///nowhere.sock".into());
    let ran = bed.run("status").await;
    assert!(ran.code == 6 && !ran.err.contains("starting"), "a named host is not ours to start: {}", ran.err);
}

#[tokio::test]
async fn a_daemon_that_never_answers_is_not_waited_for_without_end() {
    let mut bed = Bed::without_daemon();
    let pid = bed.home.path().join("pid");
    bed.closd = Some(program(&bed, &format!("echo $$ >{}; exec sleep 600", pid.display())));
    tokio::time::pause();
    let ran = bed.run("status").await;
    tokio::time::resume();
    while std::fs::read_to_string(&pid).unwrap_or_default().trim().is_empty() {
        tokio::task::yield_now().await;
    }
    let pid = std::fs::read_to_string(&pid).unwrap();
    assert!(std::process::Command::new("kill").arg(pid.trim()).status().unwrap().success());
    assert_eq!(ran.code, 6);
    assert!(ran.err.contains("closd does not answer after 10 s"), "{}", ran.err);
}

#[tokio::test]
async fn a_daemon_that_somebody_else_has_just_started_is_waited_for() {
    let mut bed = Bed::without_daemon();
    // It finds the lock held and ends with 3; meanwhile the other one begins to answer.
    bed.closd = Some(program(&bed, "exit 3"));
    bed.server.on("ListServices", |_| Reply::one(&pb::ListServicesResponse::default()));
    let server = bed.server.clone();
    let socket = bed.home.path().join("run/closd.sock");
    let log = bed.home.path().join("log/closd.log");
    let (ran, ()) = tokio::join!(bed.run("status --all"), async {
        while !log.exists() {
            tokio::task::yield_now().await;
        }
        server.listen(&socket);
    });
    assert_eq!((ran.code, ran.out.as_str()), (0, "No services registered\n"), "{}", ran.err);
    assert!(ran.err.contains("closd was not running: starting it"));
}

#[test]
fn what_keeps_the_program_from_starting_is_one_line_with_its_causes() {
    let mut clos = std::process::Command::new(env!("CARGO_BIN_EXE_clos"));
    clos.env_clear().env("CLOS_HOME", "/dev/null/clos").env("RUST_BACKTRACE", "1");
    let ended = clos.args(["--no-autostart", "status"]).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success() && ended.stdout.is_empty(), "{said}");
    assert_eq!(said, "error: /dev/null/clos/contexts.json: Not a directory (os error 20)\n");
}
