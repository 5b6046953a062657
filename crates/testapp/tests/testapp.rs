//! The binary as a container engine sees it: arguments, environment, signals,
//! exit code, two streams.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testapp"));
    command.env_clear();
    command
}

fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A running service; killed with the value.
struct Service {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Service {
    fn start(environment: &[(&str, &str)]) -> Self {
        let mut child = command()
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// The first line with this beginning, without it.
    fn line(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).unwrap();
            assert!(read > 0, "ended before a line that begins with `{beginning}`");
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.trim_end().to_owned();
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    fn stderr(&mut self) -> String {
        let mut all = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut all).unwrap();
        all
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(10), "waited 10 s for {what}");
        std::thread::yield_now();
    }
}

#[test]
fn it_listens_and_answers_health_after_its_delay() {
    let mut service = Service::start(&[("LISTEN", "127.0.0.1:0"), ("HEALTH_DELAY", "300")]);
    let address = service.line("listening on ");
    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 503 "));
    until("health", || get(&address, "/healthz").starts_with("HTTP/1.1 200 "));
    assert!(get(&address, "/").contains("testapp, up for"));
    assert!(get(&address, "/nowhere").starts_with("HTTP/1.1 404 "));
}

#[test]
fn the_check_command_tells_healthy_from_not() {
    let mut good = Service::start(&[("LISTEN", "127.0.0.1:0")]);
    let mut bad = Service::start(&[("LISTEN", "127.0.0.1:0"), ("HEALTH_STATUS", "500")]);
    let good = format!("http://{}/healthz", good.line("listening on "));
    let bad = format!("http://{}/healthz", bad.line("listening on "));

    assert!(run(&["check", &good]).status.success());
    assert!(run(&["check", &good.replace("http", "tcp").replace("/healthz", "")]).status.success());
    let refused = run(&["check", &bad]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("status 500"));
}

#[test]
fn a_tcp_check_is_not_fooled_by_a_proxy_that_hangs_up() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", proxy.local_addr().unwrap());
    let child = command().args(["check", &url]).stderr(Stdio::piped()).spawn().unwrap();
    drop(proxy.accept().unwrap());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("closed at once"));
}

#[test]
fn a_check_of_nothing_fails_and_says_what_it_tried() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = run(&["check", &format!("http://{free}/healthz")]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).starts_with(&format!("http://{free}/healthz: ")));
    let unknown = run(&["check", "ftp://x"]);
    assert!(text(&unknown.stderr).contains("neither http://HOST:PORT/PATH nor tcp://HOST:PORT"));
}

#[test]
fn sigterm_ends_it_at_once_and_well() {
    let mut service = Service::start(&[]);
    service.line("ready");
    service.signal("TERM");
    service.line("SIGTERM, stopping");
    assert_eq!(service.exit_code(), Some(0));
}

#[test]
fn told_to_ignore_sigterm_it_stays_until_it_is_killed() {
    let mut service = Service::start(&[("IGNORE_TERM", "1"), ("LISTEN", "127.0.0.1:0")]);
    let address = service.line("listening on ");
    service.line("ready");
    service.signal("TERM");
    let mut said = String::new();
    BufReader::new(service.child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "SIGTERM ignored\n");
    assert!(get(&address, "/").contains("testapp"));
    service.child.kill().unwrap();
    assert_eq!(service.exit_code(), None);
}

#[test]
fn it_runs_once_or_crashes_with_the_code_it_was_given() {
    assert_eq!(Service::start(&[("RUN_ONCE", "1")]).exit_code(), Some(0));
    let mut crashing = Service::start(&[("CRASH_AFTER", "1"), ("EXIT_CODE", "42")]);
    assert_eq!(crashing.exit_code(), Some(42));
    assert_eq!(crashing.stderr(), "ending with code 42\n");
}

#[test]
fn it_waits_for_a_dependency_and_gives_up_in_time() {
    let dependency = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = dependency.local_addr().unwrap().to_string();
    let mut service = Service::start(&[("WAIT_FOR", &address), ("RUN_ONCE", "1")]);
    assert_eq!(service.line("dependency "), format!("{address} answers"));
    assert_eq!(service.exit_code(), Some(0));

    drop(dependency);
    let mut alone = Service::start(&[("WAIT_FOR", &address), ("WAIT_FOR_TIMEOUT", "100")]);
    assert_eq!(alone.exit_code(), Some(1));
    assert!(alone.stderr().starts_with(&format!("dependency {address} is unreachable")));
}

#[test]
fn it_prints_its_environment_and_floods_both_streams() {
    let mut printing = Service::start(&[("PRINT_ENV", "1"), ("GREETING", "hello"), ("RUN_ONCE", "0")]);
    assert_eq!(printing.line("env GREETING="), "hello");

    let mut out = Service::start(&[("FLOOD", "1000"), ("FLOOD_LINES", "3"), ("LINE_BYTES", "12")]);
    assert_eq!([out.line("flood "), out.line("flood "), out.line("flood ")], ["1 xxxx", "2 xxxx", "3 xxxx"]);

    let flood = [("FLOOD", "max"), ("FLOOD_LINES", "2"), ("FLOOD_STREAM", "stderr"), ("RUN_ONCE", "300")];
    let stderr = Service::start(&flood).stderr();
    assert_eq!(stderr.lines().filter(|line| line.starts_with("flood ")).count(), 2);
}

#[test]
fn it_writes_and_reads_files_and_knows_true_from_false() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("note").to_str().unwrap().to_owned();
    assert!(run(&["write", &file, "version 3"]).status.success());
    assert_eq!(text(&run(&["read", &file]).stdout), "version 3\n");
    assert_eq!(run(&["true"]).status.code(), Some(0));
    assert_eq!(run(&["false"]).status.code(), Some(1));

    let missing = run(&["read", &format!("{file}.none")]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).starts_with(&format!("cannot read `{file}.none`: ")));
}

#[test]
fn misuse_is_told_apart_from_failure() {
    let words = run(&["dance"]);
    assert_eq!(words.status.code(), Some(2));
    assert!(text(&words.stderr).starts_with("usage: testapp "));
    let mut value = Service::start(&[("HEALTH_DELAY", "soon")]);
    assert_eq!(value.exit_code(), Some(2));
    assert_eq!(value.stderr(), "HEALTH_DELAY is `soon`, expected milliseconds\n");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut service = Service::start(&[("LISTEN", &address)]);
    assert_eq!(service.exit_code(), Some(1));
    assert!(service.stderr().starts_with(&format!("cannot listen on {address}: ")));
}
