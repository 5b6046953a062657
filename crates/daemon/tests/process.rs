//! `closd serve` as a process: who may run, who may come in, and how it ends.
#![allow(clippy::disallowed_methods, reason = "a test waits in its own threads and may kill what it started")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A daemon of this test, on a state folder of its own and a free port.
struct Closd {
    child: Child,
    home: PathBuf,
}

fn command(home: &std::path::Path) -> Command {
    let engine = home.join("no-engine.sock");
    // A socket that nobody listens on any more: an engine that is down.
    drop(std::os::unix::net::UnixListener::bind(&engine));
    let mut command = Command::new(env!("CARGO_BIN_EXE_closd"));
    command.env_clear().env("CLOS_HOME", home).env("HOME", home);
    command.env("DOCKER_HOST", format!("unix://{}", engine.display()));
    command.args(["serve", "--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

impl Closd {
    fn start(home: &std::path::Path) -> Self {
        Self::started(command(home), home)
    }

    fn started(mut command: Command, home: &std::path::Path) -> Self {
        let mut child = command.spawn().expect("closd is built with its tests");
        let mut said = Vec::new();
        let lines = BufReader::new(child.stderr.take().expect("piped"));
        let mut lines = lines.lines();
        for line in lines.by_ref() {
            said.push(line.expect("text"));
            if said.last().is_some_and(|line| line.contains("closd is ready")) {
                // Nobody may wait for us to read on.
                std::thread::spawn(move || lines.for_each(drop));
                return Self { child, home: home.to_owned() };
            }
        }
        let _ = child.wait();
        panic!("closd was never ready: {said:?}");
    }

    fn endpoint(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.home.join("run/endpoint.json")).expect("an endpoint file");
        serde_json::from_str(&text).expect("JSON")
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill runs").success());
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("our child")
    }

    /// The whole answer to one HTTP/1 request over TCP.
    fn http(&self, head: &str) -> String {
        let address = self.endpoint()["tcp"].as_str().expect("a TCP address").to_owned();
        let mut stream = TcpStream::connect(&address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        let head = head.replace("{address}", &address);
        write!(stream, "{head}\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

impl Drop for Closd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn sigterm_drains_and_leaves_nothing_that_points_to_us() {
    let home = TempDir::new().unwrap();
    let mut closd = Closd::start(home.path());
    let socket = home.path().join("run/closd.sock");
    let metadata = std::fs::symlink_metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(closd.endpoint()["pid"], closd.child.id());
    closd.signal("TERM");
    assert!(closd.wait().success());
    assert!(!socket.exists() && !home.path().join("run/endpoint.json").exists());
}

#[test]
fn a_second_daemon_on_the_same_folder_is_refused_and_names_the_first() {
    let home = TempDir::new().unwrap();
    let first = Closd::start(home.path());
    let second = command(home.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(3));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&first.child.id().to_string()), "{said}");
}

#[test]
fn after_a_kill_the_next_one_takes_over_the_stale_socket_and_the_same_installation() {
    let home = TempDir::new().unwrap();
    let mut first = Closd::start(home.path());
    first.signal("KILL");
    assert!(!first.wait().success());
    assert!(home.path().join("run/closd.sock").exists());
    let mut second = Closd::start(home.path());
    second.signal("TERM");
    assert!(second.wait().success());
}

#[test]
fn a_wrong_host_and_a_foreign_origin_do_not_come_in() {
    let home = TempDir::new().unwrap();
    let closd = Closd::start(home.path());
    let own = closd.http("GET /nothing HTTP/1.1\r\nHost: {address}");
    assert!(own.starts_with("HTTP/1.1 404"), "{own}");
    let rebound = closd.http("GET /nothing HTTP/1.1\r\nHost: evil.example");
    assert!(rebound.starts_with("HTTP/1.1 403") || rebound.starts_with("HTTP/1.1 421"), "{rebound}");
    let page = closd.http("POST /nothing HTTP/1.1\r\nHost: {address}\r\nOrigin: http://evil.example");
    assert!(page.starts_with("HTTP/1.1 403"), "{page}");
    let read = closd.http("GET /nothing HTTP/1.1\r\nHost: {address}\r\nOrigin: http://evil.example");
    assert!(read.starts_with("HTTP/1.1 404") && !read.contains("access-control"), "{read}");
}

#[test]
fn what_keeps_it_from_starting_is_one_line_with_its_causes() {
    let home = TempDir::new().unwrap();
    std::fs::write(home.path().join("closd.yaml"), "server:\n  listen: [1\n").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let elsewhere = TempDir::new().unwrap();
    for (state, args, why) in [
        (home.path(), ["serve", "--listen", "127.0.0.1:0"], "closd.yaml"),
        (std::path::Path::new("/dev/null/clos"), ["serve", "--listen", "127.0.0.1:0"], "/dev/null/clos"),
        (elsewhere.path(), ["serve", "--listen", &port], "is held by"),
        (elsewhere.path(), ["serve", "--listen", "nowhere"], "`nowhere` cannot be used"),
    ] {
        let mut closd = Command::new(env!("CARGO_BIN_EXE_closd"));
        closd.env_clear().env("CLOS_HOME", state).env("HOME", elsewhere.path()).env("RUST_BACKTRACE", "1");
        let ended = closd.args(args).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success(), "{said}");
        // What was logged before has a time in front.
        let own: Vec<&str> = said.lines().filter(|line| !line.starts_with("20")).collect();
        assert!(own.len() == 1 && own[0].starts_with("error: ") && own[0].contains(why), "{said}");
    }
}

#[test]
fn metrics_are_text_for_prometheus() {
    let home = TempDir::new().unwrap();
    let closd = Closd::start(home.path());
    let answer = closd.http("GET /metrics HTTP/1.1\r\nHost: {address}");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("# TYPE"), "{answer}");
}

#[test]
fn an_unknown_key_is_named_with_its_file() {
    let home = TempDir::new().unwrap();
    std::fs::write(home.path().join("closd.yaml"), "server:\n  lisen: 127.0.0.1:0\n").unwrap();
    let ended = command(home.path()).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("lisen") && said.contains("closd.yaml"), "{said}");
}

#[test]
fn a_daemon_without_an_engine_starts_and_stays() {
    let home = TempDir::new().unwrap();
    let mut absent = command(home.path());
    // Not even the socket's file is there: an engine that was never started.
    absent.env("DOCKER_HOST", format!("unix://{}", home.path().join("absent/docker.sock").display()));
    let mut closd = Closd::started(absent, home.path());
    assert!(closd.child.try_wait().unwrap().is_none());
    closd.signal("TERM");
    assert!(closd.wait().success());
}
