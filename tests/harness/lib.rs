//! What the whole-system tests stand on: a daemon of their own, the programs as they are built, and
//! the engine that `make test` started.
//!
//! A [`Daemon`] has a state folder of its own, serves on its socket and a free port, and takes with
//! it what it made on the engine. Names of projects come from [`project_name`], so that tests may
//! run beside each other on one engine.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a harness reads where it is, waits for what it started, and fails by panicking"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clos_client::{Client, Endpoint, Options};
use clos_proto::v2 as pb;
use tempfile::TempDir;

/// Nothing here takes longer, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The image of the test program.
pub const IMAGE: &str = "clos-test/app:latest";

/// The engine of the tests.
pub fn engine() -> String {
    std::env::var("CLOS_TEST_DOCKER_HOST").expect(
        "CLOS_TEST_DOCKER_HOST names no engine: run the tests by `make test`, or start one by scripts/dockerd.sh",
    )
}

/// A tool that `make test` has prepared.
pub fn tool(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: run the tests by `make test`"))
        .into()
}

/// A program of the workspace, beside which this test was built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join(name);
    assert!(path.is_file(), "{} is not there: cargo build --workspace --bins", path.display());
    path
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A name that no other test uses.
pub fn project_name(word: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{word}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A port of the host that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; -1 for a signal.
    pub code: i32,
    /// What it said.
    pub out: String,
    /// What it said beside.
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// What it said, when it went well.
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self.out
    }

    /// Its answer as JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let text = self.well();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its first line and headers.
    pub head: String,
    /// What follows.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.head, self.body))
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(':'));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// `curl`, as people have it.
#[derive(Debug, Clone)]
pub struct Curl {
    /// `http://127.0.0.1:8080`.
    pub base: String,
    /// What lets us in.
    pub token: Option<String>,
}

impl Curl {
    /// One that a daemon lets in.
    pub fn of(daemon: &Daemon) -> Self {
        Self { base: format!("http://{}", daemon.tcp()), token: Some(daemon.token()) }
    }

    fn command(&self, path: &str, args: &[&str]) -> Command {
        let mut curl = Command::new("curl");
        // No settings of whoever runs the tests.
        curl.args(["-q", "-sS", "--noproxy", "*"]).args(args).stdin(Stdio::null());
        if let Some(token) = &self.token {
            curl.arg("-H").arg(format!("authorization: Bearer {token}"));
        }
        curl.arg(format!("{}{path}", self.base));
        curl
    }

    /// Asks with more arguments of curl, and a body if there is one.
    #[track_caller]
    pub fn with(&self, method: &str, path: &str, args: &[&str], body: &str) -> Answer {
        let patience = PATIENCE.as_secs().to_string();
        let mut all = vec!["-i", "-X", method, "--max-time", &patience];
        if !body.is_empty() {
            all.extend(["-H", "content-type: application/json", "--data-binary", body]);
        }
        all.extend(args);
        let text = Ran::from(self.command(path, &all).output().expect("a curl")).well();
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Sends JSON, or nothing for null.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: &serde_json::Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.with(method, path, &[], &body)
    }

    /// Reads.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.with("GET", path, &[], "")
    }

    /// Reads line by line with `curl -N`, which is killed when nobody wants more.
    pub fn stream(&self, path: &str, args: &[&str]) -> impl Iterator<Item = String> + use<> {
        let mut command = self.command(path, &[&["-N"], args].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a curl");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let reader = Reader(child);
        lines.inspect(move |_| _ = &reader)
    }
}

/// Killed with us.
struct Reader(Child);

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The docker client on the engine of the tests.
pub fn docker(args: &[&str]) -> Ran {
    let mut docker = Command::new("docker");
    docker.arg("-H").arg(engine()).args(args).stdin(Stdio::null());
    docker.output().expect("a docker client").into()
}

/// A running container of somebody else; gone at the end.
pub struct Foreign(String);

impl Foreign {
    /// Starts one.
    pub fn start(args: &[&str]) -> Self {
        let name = project_name("foreign");
        let mut words = vec!["run", "-d", "--name", &name];
        words.extend(args);
        words.push(IMAGE);
        docker(&words).well();
        Self(name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        docker(&["inspect", "-f", "{{.State.Running}}", &self.0]).well().trim() == "true"
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        docker(&["rm", "-f", "-v", &self.0]);
    }
}

/// A folder with files, as a checkout of a project.
pub struct Checkout {
    inside: PathBuf,
    /// Gone with us.
    _folder: TempDir,
}

impl Checkout {
    /// A folder of this name with a `compose.yaml`.
    pub fn new(name: &str, compose: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let inside = folder.path().join(name);
        std::fs::create_dir(&inside).unwrap();
        let checkout = Self { inside: std::fs::canonicalize(inside).unwrap(), _folder: folder };
        checkout.write("compose.yaml", compose);
        checkout
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.inside.join(name), text).unwrap();
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.inside
    }
}

/// `closd` on a state folder of its own. Ends, with all that it made, when it is dropped.
pub struct Daemon {
    child: Option<Child>,
    home: TempDir,
    log: Arc<Mutex<Vec<String>>>,
    installation: String,
    settings: Vec<(String, String)>,
    args: &'static [&'static str],
}

impl Daemon {
    /// Starts one on the engine of the tests, and waits until it is ready.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more in its environment.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_as(&["serve", "--listen", "127.0.0.1:0"], settings).await
    }

    /// One whose configuration names no port: it serves 8080 or the next free one.
    pub async fn start_on_its_default_port() -> Self {
        Self::start_as(&["serve"], &[]).await
    }

    async fn start_as(args: &'static [&'static str], settings: &[(&str, &str)]) -> Self {
        let mut daemon = Self {
            args,
            child: None,
            home: tempfile::Builder::new().prefix("clos").tempdir().unwrap(),
            log: Arc::default(),
            installation: String::new(),
            settings: settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        };
        daemon.run();
        let info = daemon.client().await.get_system_info(pb::GetSystemInfoRequest {}).await.unwrap();
        daemon.installation = info.daemon.unwrap().installation;
        daemon
    }

    /// Starts the process, again after it was ended.
    pub fn run(&mut self) {
        let mut command = Command::new(program("closd"));
        command.env_clear().envs(self.env()).envs(self.settings.clone());
        command.args(self.args);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = self.log.clone();
        let is_ready = lines.by_ref().map_while(Result::ok).any(|line| {
            let is_ready = line.contains("closd is ready");
            log.lock().unwrap().push(line);
            is_ready
        });
        self.child = Some(child);
        assert!(is_ready, "closd was never ready: {:#?}", self.log.lock().unwrap());
        // Whoever writes a log wants it read.
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| log.lock().unwrap().push(line));
        });
    }

    fn env(&self) -> BTreeMap<String, String> {
        let home = self.home.path().to_string_lossy().into_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        BTreeMap::from([
            ("CLOS_HOME".to_owned(), home.clone()),
            ("HOME".to_owned(), home),
            ("DOCKER_HOST".to_owned(), engine()),
            ("PATH".to_owned(), path),
        ])
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Its state folder.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.home().join("run/closd.sock")
    }

    /// What it tells of itself.
    pub fn endpoint(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.home().join("run/endpoint.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Its TCP address.
    pub fn tcp(&self) -> String {
        self.endpoint()["tcp"].as_str().unwrap().to_owned()
    }

    /// What lets a TCP caller in.
    pub fn token(&self) -> String {
        std::fs::read_to_string(self.home().join("token")).unwrap().trim().to_owned()
    }

    /// A connection over its socket.
    pub async fn client(&self) -> Client {
        let options = Options { home: self.home().to_owned(), ..Options::default() };
        Client::connect(&Endpoint::resolve(&options).unwrap(), PATIENCE).await.unwrap()
    }

    /// `clos` in a folder.
    pub fn clos_in(&self, folder: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program("clos"));
        command.env_clear().envs(self.env()).current_dir(folder).arg("--no-autostart").args(args);
        command.stdin(Stdio::null());
        command
    }

    /// `clos`, waited for.
    pub fn clos(&self, folder: &Path, args: &[&str]) -> Ran {
        self.clos_in(folder, args).output().unwrap().into()
    }

    /// Ends the process by a signal and waits for it.
    pub fn end(&mut self, signal: &str) {
        if let Some(mut child) = self.child.take() {
            let _ = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }

    /// Names of the containers that it made: all, or those that run.
    pub fn containers(&self, all: bool) -> Vec<String> {
        let filter = format!("label=clos.v2.installation={}", self.installation);
        let mut words = vec!["ps", "--format", "{{.Names}}", "--filter", &filter];
        if all {
            words.push("-a");
        }
        let mut names: Vec<String> = docker(&words).well().lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Waits until a service is so, as its events tell.
    pub async fn until(&self, service: &str, wanted: impl Fn(&pb::Service) -> bool) -> pb::Service {
        let client = self.client().await;
        let mut watch = client.watch_events(pb::WatchEventsRequest::default()).await.unwrap();
        let mut last = None;
        let seen = tokio::time::timeout(PATIENCE, async {
            loop {
                let request = pb::GetServiceRequest { id: service.to_owned(), ..Default::default() };
                let found = client.get_service(request).await.unwrap();
                if wanted(&found) {
                    return found;
                }
                last = Some(found);
                watch.next().await.unwrap();
            }
        });
        let seen = seen.await;
        seen.unwrap_or_else(|_| panic!("{service} never got there: {last:#?}"))
    }

    /// The operation as it ended.
    pub async fn ended(&self, operation: &pb::Operation) -> pb::Operation {
        let client = self.client().await;
        let mut watch = client.watch_operation(&operation.id).await.unwrap();
        let reading = async { while watch.next().await.unwrap().is_some() {} };
        tokio::time::timeout(PATIENCE, reading).await.expect("the operation ends");
        client.get_operation(pb::GetOperationRequest { id: operation.id.clone() }).await.unwrap()
    }

    fn sweep(&self) {
        let filter = format!("label=clos.v2.installation={}", self.installation);
        for (list, remove) in [
            (&["ps", "-a", "-q"][..], &["rm", "-f", "-v"][..]),
            (&["network", "ls", "-q"], &["network", "rm"]),
            (&["volume", "ls", "-q"], &["volume", "rm", "-f"]),
        ] {
            let words: Vec<&str> = list.iter().copied().chain(["--filter", &filter]).collect();
            let found = docker(&words).out;
            let ids: Vec<&str> = found.lines().collect();
            if !ids.is_empty() {
                let words: Vec<&str> = remove.iter().copied().chain(ids).collect();
                docker(&words);
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end("TERM");
        if !self.installation.is_empty() {
            self.sweep();
        }
        if std::thread::panicking() {
            let log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            #[expect(clippy::print_stderr, reason = "what the daemon said is what explains a failed test")]
            for line in log.iter().rev().take(60).rev() {
                eprintln!("closd: {line}");
            }
        }
    }
}
