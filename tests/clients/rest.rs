//! REST clients that the tools of others generate from the OpenAPI document, as docs/clients.md tells: each starts a
//! group, watches that, and stops it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clos_tests::{Curl, Daemon, Ran, project_name, root, tool};
use serde_json::json;
use tempfile::TempDir;

/// A folder with a client of ours, the document that closd serves, and what is generated from both.
struct Client {
    folder: TempDir,
    daemon: Daemon,
    group: String,
}

impl Client {
    async fn new(language: &str) -> Self {
        let daemon = Daemon::start().await;
        let (curl, group) = (Curl::of(&daemon), project_name("rest"));
        for (name, depends_on) in [("db", json!([])), ("web", json!([{"service": "db"}]))] {
            let service = json!({
                "name": name, "group": group, "depends_on": depends_on,
                "docker_config": {"image": "clos-test/app"}, "environment": {"LISTEN": "8080"},
            });
            let made = curl.ask("POST", "/api/v2/services", &service);
            assert_eq!(made.status, 201, "{}", made.body);
        }
        let folder = tempfile::tempdir().unwrap();
        for entry in
            fs::read_dir(root().join("tests/clients/rest").join(language)).unwrap().map(Result::unwrap)
        {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        fs::write(folder.path().join("openapi.json"), curl.get("/api/v2/openapi.json").body).unwrap();
        Self { folder, daemon, group }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Generates, checks or builds.
    fn make(&self, command: &mut Command) {
        Ran::from(command.current_dir(self.path()).output().unwrap()).well();
    }

    /// Runs the client.
    fn run(&self, command: &mut Command) {
        self.make(command.args([&self.daemon.tcp(), &self.daemon.token(), &self.group]));
        assert_eq!(self.daemon.containers(false), Vec::<String>::new());
        assert_eq!(self.daemon.containers(true).len(), 2, "{:?}", self.daemon.containers(true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_typescript_client_starts_watches_and_stops_a_group() {
    let client = Client::new("typescript").await;
    let modules = tool("CLOS_TEST_REST_MODULES");
    let program = |name: &str| -> Command { Command::new(modules.join(".bin").join(name)) };
    std::os::unix::fs::symlink(&modules, client.path().join("node_modules")).unwrap();
    client.make(&mut program("openapi-ts"));
    client.make(&mut program("tsc"));
    let bundle = ["client.ts", "--bundle", "--platform=node", "--format=esm", "--outfile=client.mjs"];
    client.make(program("esbuild").args(bundle));
    client.run(Command::new("node").arg("client.mjs"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_python_client_starts_watches_and_stops_a_group() {
    let client = Client::new("python").await;
    let python: PathBuf = tool("CLOS_TEST_REST_PYTHON");
    let generator = python.with_file_name("openapi-python-client");
    let wanted = ["generate", "--path", "openapi.json", "--output-path", "clos", "--meta", "none"];
    client.make(Command::new(generator).args(wanted));
    client.run(Command::new(python).arg("client.py").env("PYTHONDONTWRITEBYTECODE", "1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_go_client_starts_watches_and_stops_a_group() {
    let client = Client::new("go").await;
    fs::create_dir(client.path().join("clos")).unwrap();
    let wanted = ["-generate", "types,client", "-package", "clos", "-o", "clos/clos.go", "openapi.json"];
    client.make(Command::new(tool("CLOS_TEST_OAPI_CODEGEN")).args(wanted));
    client.make(Command::new("go").args(["build", "-o", "client", "."]));
    client.run(&mut Command::new(client.path().join("client")));
}
