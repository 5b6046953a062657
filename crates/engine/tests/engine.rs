//! The real engine passes what the fake one passes. `make test` starts one of its own and names it
//! in `CLOS_TEST_DOCKER_HOST`.
#![allow(clippy::disallowed_methods, reason = "a test reads which engine it is to use")]
#![allow(missing_docs, reason = "the cases are named for what they show")]

use std::io::Read as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use clos_domain::copied::CopiedFile;
use clos_domain::health::{Test, Verdict};
use clos_domain::seams::engine::{Error, Images as _, LogQuery, Progress, Workloads};
use clos_domain::secret::Hidden;
use clos_domain::workload::{Build, Container, Limits, Logging, Mount, MountKind, Restart, Run, Spec, Stop};
use clos_engine::{Docker, Environment};
use clos_testkit::engine_suite::{self, Behaviour, EngineWorld};
use futures::StreamExt as _;

const IMAGE: &str = "clos-test/app:latest";

struct Real {
    engine: Arc<Docker>,
    host: String,
    names: Vec<String>,
    taken: Vec<TcpListener>,
}

async fn real() -> Real {
    let host = std::env::var("CLOS_TEST_DOCKER_HOST")
        .expect("CLOS_TEST_DOCKER_HOST names no engine: run the tests by `make test`, or start one by scripts/dockerd.sh");
    let environment = Environment { docker_host: Some(host.clone()), ..Environment::default() };
    let engine = Docker::find(&environment).await.expect("an address");
    Real { engine: Arc::new(engine), host, names: Vec::new(), taken: Vec::new() }
}

impl Drop for Real {
    /// Also after a case that failed.
    fn drop(&mut self) {
        for words in [&["rm", "-f", "-v"][..], &["network", "rm"], &["volume", "rm", "-f"]] {
            let mut docker = Command::new("docker");
            docker.arg("-H").arg(&self.host).args(words).args(&self.names);
            let _ = docker.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

#[async_trait]
impl EngineWorld for Real {
    type Engine = Docker;

    fn engine(&self) -> Arc<Docker> {
        self.engine.clone()
    }

    fn name(&mut self, word: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("suite-{}-{count}-{word}", std::process::id());
        self.names.push(name.clone());
        name
    }

    fn image(&self) -> String {
        IMAGE.to_owned()
    }

    fn behave(&self, spec: &mut Spec, behaviour: Behaviour) {
        let mut set = |name: &str, value: &str| drop(spec.environment.insert(name.into(), value.into()));
        match behaviour {
            Behaviour::Runs => set("LISTEN", "8080"),
            Behaviour::ExitsWith(code) => {
                set("RUN_ONCE", "1");
                set("EXIT_CODE", &code.to_string());
            }
            Behaviour::IgnoresTerm => set("IGNORE_TERM", "1"),
            Behaviour::Speaks => {
                set("FLOOD", "max");
                set("FLOOD_LINES", "3");
            }
            Behaviour::Checks(is_well) => {
                let word = if is_well { "true" } else { "false" };
                if let Some(check) = &mut spec.health {
                    check.test = Test::Command { argv: vec!["/testapp".into(), word.into()] };
                }
            }
        }
    }

    async fn spoken(&self, name: &str) {
        let query = LogQuery { follow: true, tail: None, ..LogQuery::default() };
        let mut lines = self.engine.logs(name, query).await.expect("a log");
        let third = async {
            while let Some(line) = lines.next().await {
                if line.expect("a line").text.starts_with("flood 3") {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), third).await.expect("it speaks");
    }

    async fn judge(&self, _: &str, _: Verdict) {
        // The engine asks by itself.
    }

    async fn take_port(&mut self, _: &str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        self.taken.push(listener);
        port
    }

    async fn free_port(&mut self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address").port()
    }

    async fn file(&self, name: &str, target: &str) -> CopiedFile {
        let mut docker = Command::new("docker");
        docker.arg("-H").arg(&self.host).args(["cp", &format!("{name}:{target}"), "-"]);
        let output = docker.output().expect("a docker client");
        let mut archive = tar::Archive::new(output.stdout.as_slice());
        let mut entry = archive.entries().expect("an archive").next().expect("a file").expect("a file");
        let mut content = String::new();
        entry.read_to_string(&mut content).expect("a text");
        let header = entry.header();
        let id = |number: std::io::Result<u64>| u32::try_from(number.expect("a number")).expect("an id");
        CopiedFile {
            target: target.to_owned(),
            content: Hidden::new(content),
            digest: String::new(),
            uid: id(header.uid()),
            gid: id(header.gid()),
            // Docker adds the bits of the kind of file.
            mode: header.mode().expect("a mode") & 0o7777,
        }
    }
}

clos_testkit::engine_suite!(real().await);

// ---- what only Docker has

fn docker_inspect(world: &Real, name: &str) -> serde_json::Value {
    let output = Command::new("docker").arg("-H").arg(&world.host).args(["inspect", name]).output();
    serde_json::from_slice(&output.expect("a docker client").stdout).expect("JSON")
}

#[tokio::test]
async fn a_container_that_exits_again_and_again_can_be_renamed() {
    let mut world = real().await;
    let name = world.name("restless");
    let mut spec = engine_suite::spec(&name, IMAGE);
    spec.restart = Restart::Always;
    let Run::Container(container) = &mut spec.run;
    container.command = Some(vec!["false".into()]);
    world.engine.create(&spec).await.expect("it is made");
    world.engine.start(&name).await.expect("it starts");
    let restarting = async {
        while world.engine.inspect(&name).await.expect("an answer").expect("it is there").state
            != clos_domain::workload::State::Restarting
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), restarting).await.expect("it exits");
    world.engine.rename(&name, &format!("{name}-b")).await.expect("it is renamed");
}

#[tokio::test]
async fn a_container_with_everything_is_made_as_it_was_asked() {
    let mut world = real().await;
    let name = world.name("everything");
    let mut spec = engine_suite::spec(&name, IMAGE);
    spec.environment.insert("LISTEN".into(), "8080".into());
    spec.restart = Restart::OnFailure { max_retries: 2 };
    spec.stop = Stop { signal: Some("SIGINT".into()), grace: Some(Duration::from_secs(3)) };
    spec.limits = Limits {
        cpu_millis: Some(500),
        memory: Some(64 << 20),
        memory_reservation: Some(32 << 20),
        memory_swap: Some(-1),
        pids: Some(50),
        cpuset: Some("0".into()),
        cpu_shares: Some(512),
    };
    spec.logging = Some(Logging {
        driver: Some("json-file".into()),
        options: [("max-size".into(), "1m".into())].into(),
    });
    let bind = std::env::temp_dir().to_string_lossy().into_owned();
    let Run::Container(container) = &mut spec.run;
    **container = Container {
        command: Some(vec!["serve".into()]),
        entrypoint: Some(vec!["/testapp".into()]),
        mounts: vec![
            Mount { read_only: true, ..Mount::new(MountKind::Bind, Some(bind), "/host") },
            Mount::new(MountKind::Volume, None, "/anonymous"),
            Mount {
                size: Some(1 << 20),
                mode: Some(0o1777),
                ..Mount::new(MountKind::Tmpfs, None, "/memory")
            },
        ],
        working_dir: Some("/host".into()),
        user: Some("1000:1000".into()),
        group_add: vec!["2000".into()],
        hostname: Some("web".into()),
        domainname: Some("example.test".into()),
        extra_hosts: vec![("db".into(), "10.0.0.9".into())],
        dns: vec!["10.0.0.53".into()],
        dns_search: vec!["example.test".into()],
        dns_opt: vec!["ndots:2".into()],
        expose: vec!["9090/tcp".into()],
        init: Some(false),
        tty: true,
        stdin_open: true,
        read_only: true,
        cap_add: vec!["NET_ADMIN".into()],
        cap_drop: vec!["MKNOD".into()],
        security_opt: vec!["no-new-privileges:true".into()],
        devices: vec!["/dev/null:/dev/nothing:r".into()],
        sysctls: [("net.core.somaxconn".into(), "256".into())].into(),
        pid: Some("host".into()),
        ipc: Some("private".into()),
        shm_size: Some(8 << 20),
        tmpfs: [("/run".into(), "size=1m".into())].into(),
        ulimits: [("nofile".into(), (1024, 2048))].into(),
        oom_score_adj: Some(100),
        ..(**container).clone()
    };
    world.engine.create(&spec).await.expect("it is made");
    world.engine.start(&name).await.expect("it starts");

    let shown = &docker_inspect(&world, &name)[0];
    let (config, host) = (&shown["Config"], &shown["HostConfig"]);
    for (what, got, wanted) in [
        ("user", &config["User"], serde_json::json!("1000:1000")),
        ("host name", &config["Hostname"], serde_json::json!("web")),
        ("stop signal", &config["StopSignal"], serde_json::json!("SIGINT")),
        ("terminal", &config["Tty"], serde_json::json!(true)),
        ("restart", &host["RestartPolicy"]["Name"], serde_json::json!("on-failure")),
        ("retries", &host["RestartPolicy"]["MaximumRetryCount"], serde_json::json!(2)),
        ("cores", &host["NanoCpus"], serde_json::json!(500_000_000)),
        ("memory", &host["Memory"], serde_json::json!(64 << 20)),
        ("processes", &host["PidsLimit"], serde_json::json!(50)),
        ("shm", &host["ShmSize"], serde_json::json!(8 << 20)),
        ("read-only", &host["ReadonlyRootfs"], serde_json::json!(true)),
        ("hosts", &host["ExtraHosts"], serde_json::json!(["db:10.0.0.9"])),
        ("DNS", &host["Dns"], serde_json::json!(["10.0.0.53"])),
        ("limits", &host["Ulimits"], serde_json::json!([{"Name": "nofile", "Hard": 2048, "Soft": 1024}])),
        ("log", &host["LogConfig"]["Config"]["max-size"], serde_json::json!("1m")),
        ("sysctl", &host["Sysctls"]["net.core.somaxconn"], serde_json::json!("256")),
    ] {
        assert_eq!(*got, wanted, "{what}: {got}");
    }
    assert_eq!(config["Labels"]["com.docker.compose.project"], "suite");
}

#[tokio::test]
async fn a_build_makes_an_image_and_one_that_fails_says_why() {
    let world = real().await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("hello"), "hello").expect("a file");
    std::fs::write(
        folder.path().join("Dockerfile"),
        "ARG BASE\nFROM clos-test/app:latest\nCOPY hello /hello\n",
    )
    .expect("a file");
    let image = format!("clos-test/built-{}:1", std::process::id());
    let tag = format!("clos-test/built-{}:also", std::process::id());
    let mut build = Build {
        context: folder.path().to_string_lossy().into_owned(),
        args: [("BASE".to_owned(), Some("x".to_owned()))].into_iter().collect(),
        labels: [("made-by".to_owned(), "suite".to_owned())].into(),
        tags: vec![tag.clone()],
        no_cache: true,
        extra_hosts: vec![("db".into(), "10.0.0.9".into())],
        digest: "d1".into(),
        ..Build::default()
    };
    let told = Mutex::new(Vec::new());
    let progress = |one: Progress| told.lock().expect("no panic holds it").push(one.message);
    world.engine.build(&image, &build, &progress).await.expect("it is built");
    assert!(!told.lock().expect("no panic holds it").is_empty());
    for name in [&image, &tag] {
        let found = world.engine.find(name).await.expect("an answer").expect(name);
        assert_eq!(found.build_digest.as_deref(), Some("d1"), "{name}");
    }

    build.dockerfile_inline = Some("FROM clos-test/app:latest\nRUN [\"/testapp\", \"false\"]\n".into());
    build.tags.clear();
    let failed = world.engine.build(&format!("{image}-not"), &build, &progress).await;
    assert!(matches!(&failed, Err(Error::BuildFailed { why, .. }) if why.contains("/testapp")), "{failed:?}");
    build.context = "/nowhere/at/all".into();
    let absent = world.engine.build(&image, &build, &progress).await;
    assert!(matches!(absent, Err(Error::BuildFailed { .. })), "{absent:?}");
    let _ = Command::new("docker").arg("-H").arg(&world.host).args(["rmi", "-f", &image, &tag]).output();
}

#[tokio::test]
async fn a_pull_that_nobody_answers_is_refused_with_the_engines_words() {
    let world = real().await;
    // Nobody listens there, and the engine says so at once.
    let image = "127.0.0.1:1/clos-test/nowhere:1";
    let refused = world.engine.pull(image, Some("linux/amd64"), &|_| {}).await;
    assert!(
        matches!(&refused, Err(Error::PullRefused { image: named, .. }) if named == image),
        "{refused:?}"
    );
    let unresolved = world.engine.resolvable(image).await;
    assert!(matches!(unresolved, Err(Error::PullRefused { .. })), "{unresolved:?}");
    let wrong = world.engine.pull("../containers/x", None, &|_| {}).await;
    assert!(matches!(wrong, Err(Error::Refused(_))), "{wrong:?}");
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unreachable_by_every_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = format!("unix://{}", folder.path().join("absent.sock").display());
    let environment = Environment { docker_host: Some(socket.clone()), ..Environment::default() };
    let engine = Docker::expected(&environment).await.expect("an address");
    assert!(matches!(engine.ping().await, Err(Error::Unreachable(_))));
    assert_eq!((engine.known().found_by.as_str(), engine.known().address), ("DOCKER_HOST", socket));
    assert!(matches!(Workloads::list(&engine).await, Err(Error::Unreachable(_))));
    let started = engine.start("web").await;
    assert!(matches!(started, Err(Error::Unreachable(_))), "nothing was sent: {started:?}");
    let networks = clos_domain::seams::Networks::list(&engine).await;
    assert!(matches!(networks, Err(Error::Unreachable(_))), "{networks:?}");
}
