//! A browser: gRPC-Web, REST and WebSocket from a page of an allowed origin, the page of closd itself, and what a
//! foreign page cannot do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use clos_tests::{Daemon, Ran, root, tool};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The page as the browser gets it, made once: generated from the contract, checked, bundled.
static PAGE: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let sources = root().join("tests/clients/web");
    for entry in std::fs::read_dir(sources).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    std::os::unix::fs::symlink(tool("CLOS_TEST_NODE_MODULES"), folder.path().join("node_modules")).unwrap();
    run(Command::new(tool("CLOS_TEST_BUF")).arg("generate").arg(root()), folder.path());
    run(&mut program("tsc"), folder.path());
    run(program("esbuild").args(["page.ts", "--bundle", "--outfile=page.js"]), folder.path());
    folder
});

fn program(name: &str) -> Command {
    let path: PathBuf = tool("CLOS_TEST_NODE_MODULES").join(".bin").join(name);
    Command::new(path)
}

fn run(command: &mut Command, folder: &Path) {
    Ran::from(command.current_dir(folder).output().unwrap()).well();
}

/// Runs one case of `web/drive.mjs` against a daemon that allows the page's origin.
async fn drive(case: &str) {
    let mut driver = Command::new("node");
    driver.arg("drive.mjs").arg(case).current_dir(PAGE.path()).env("CHROMIUM", tool("CLOS_TEST_CHROMIUM"));
    let pipes = driver.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut driver = pipes.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(driver.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: Value = serde_json::from_str(&line).expect("the driver says its origin");
    let daemon = Daemon::start_with(&[("CLOSD_SERVER__ORIGINS", said["origin"].as_str().unwrap())]).await;
    let about = json!({"api": format!("http://{}", daemon.tcp()), "token": daemon.token()});
    writeln!(driver.stdin.take().unwrap(), "{about}").unwrap();
    let ran = Ran::from(driver.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_typescript_client_calls_watches_and_reads_errors_over_grpc_web() {
    drive("calls").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn thirty_subscriptions_of_a_page_share_one_socket() {
    drive("sockets").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_page_opens_its_socket_by_a_ticket() {
    drive("ticket").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn seven_tabs_are_not_too_many() {
    drive("tabs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_foreign_page_neither_writes_nor_reads() {
    drive("foreign").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_docs_page_sends_what_is_typed_and_loads_nothing_from_elsewhere() {
    drive("docs").await;
}
