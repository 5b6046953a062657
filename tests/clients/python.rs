//! Native gRPC as grpcio speaks it, over TCP and over the socket.

use std::path::Path;
use std::process::Command;

use clos_tests::{Daemon, Ran, root, tool};

/// Generates what Python imports.
fn generate(into: &Path) {
    let protos = root().join("proto");
    let files = ["clos/v2", "transcoding/v1"].into_iter().flat_map(|folder| {
        let entries = std::fs::read_dir(protos.join(folder)).unwrap();
        entries.map(move |entry| format!("{folder}/{}", entry.unwrap().file_name().display()))
    });
    let mut protoc = Command::new(tool("CLOS_TEST_PYTHON"));
    protoc.args(["-m", "grpc_tools.protoc"]).arg("-I").arg(&protos);
    for out in ["python_out", "grpc_python_out"] {
        protoc.arg(format!("--{out}={}", into.display()));
    }
    Ran::from(protoc.args(files).output().unwrap()).well();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_generated_python_client_lists_creates_watches_and_reads_errors() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path());
    let daemon = Daemon::start().await;
    let mut client = Command::new(tool("CLOS_TEST_PYTHON"));
    client
        .arg(root().join("tests/clients/python/client.py"))
        .args([&daemon.tcp(), &daemon.token()])
        .arg(daemon.socket())
        .env("PYTHONPATH", folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let ran = Ran::from(client.output().unwrap());
    assert!(ran.code == 0 && ran.out.ends_with("all is well\n"), "{}{}", ran.out, ran.err);
    let log = daemon.log();
    assert_eq!(log.matches("grpc.default_authority=localhost").count(), 1, "{log}");
}
