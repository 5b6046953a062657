//! PUT, and PATCH with a mask and without one, change the same over gRPC, over REST, and over REST behind a real Envoy.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use clos_client::Client;
use clos_proto::v2 as pb;
use clos_tests::{Curl, Daemon, IMAGE, program, project_name, tool};
use serde_json::{Value, json};

/// What the made configuration says of where it listens; this Envoy does so on a socket of its own.
const LISTEN: &str = "127.0.0.1:8081";

struct Envoy {
    process: Child,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Envoy {
    /// One in front of a daemon, by the configuration that `make envoy-config` makes.
    fn before(daemon: &Daemon) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("clos.binpb"), clos_proto::DESCRIPTOR_SET).unwrap();
        let made = Command::new(program("clos-gateway"))
            .args(["--envoy-config", "--listen", LISTEN, "--upstream", &format!("http://{}", daemon.tcp())])
            .arg("--descriptor-set")
            .arg(at("clos.binpb"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut config: Value = serde_json::from_slice(&made.stdout).unwrap();
        let socket = at("envoy.sock");
        config["static_resources"]["listeners"][0]["address"] = json!({"pipe": {"path": socket}});
        std::fs::write(at("envoy.json"), config.to_string()).unwrap();
        let mut process = Command::new(tool("CLOS_TEST_ENVOY"))
            .args(["--disable-hot-restart", "--concurrency", "1", "-c"])
            .arg(at("envoy.json"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut told = Vec::new();
        let is_ready = lines.by_ref().any(|line| {
            let is_ready = line.contains("starting main dispatch loop");
            told.push(line);
            is_ready
        });
        std::thread::spawn(move || lines.for_each(drop));
        let started = Self { process, socket, _folder: folder };
        assert!(is_ready, "Envoy does not start:\n{}", told.join("\n"));
        started
    }
}

/// One change: over HTTP by method, query and body, over gRPC by what these mean.
struct Change {
    method: &'static str,
    query: &'static str,
    body: Value,
    service: pb::Service,
    mask: Option<&'static [&'static str]>,
}

fn changes(name: &str, group: &str) -> Vec<Change> {
    let whole = pb::Service {
        name: name.into(),
        group: group.into(),
        docker_config: Some(pb::DockerConfig { image: IMAGE.into(), ..Default::default() }),
        description: "replaced".into(),
        tags: vec!["a".into(), "b".into()],
        environment: [("DB_PASSWORD".into(), "********".into())].into(),
        start_order: 4,
        ..Default::default()
    };
    let json_of_whole = json!({
        "name": name, "group": group, "docker_config": {"image": IMAGE}, "description": "replaced",
        "tags": ["a", "b"], "environment": {"DB_PASSWORD": "********"}, "start_order": 4,
    });
    let change = |method, query, body, service, mask| Change { method, query, body, service, mask };
    vec![
        change("PUT", "", json_of_whole.clone(), whole.clone(), None),
        change(
            "PATCH",
            "",
            json!({"owner": "ann", "docker_config": {"user": "1000"}}),
            pb::Service {
                owner: "ann".into(),
                docker_config: Some(pb::DockerConfig { user: "1000".into(), ..Default::default() }),
                ..Default::default()
            },
            None,
        ),
        change(
            "PATCH",
            "?update_mask=version,description",
            json!({"version": "2", "owner": "not named"}),
            pb::Service { version: "2".into(), owner: "not named".into(), ..Default::default() },
            Some(&["version", "description"]),
        ),
        change(
            "PATCH",
            "?update_mask=*",
            json!({"docker_config": {"image": IMAGE}, "environment": {"DB_PASSWORD": "********"}}),
            pb::Service {
                docker_config: Some(pb::DockerConfig { image: IMAGE.into(), ..Default::default() }),
                environment: [("DB_PASSWORD".into(), "********".into())].into(),
                ..Default::default()
            },
            Some(&["*"]),
        ),
        change("PUT", "", json_of_whole, whole, None),
    ]
}

async fn by_grpc(client: &Client, id: &str, change: &Change) {
    let service = Some(change.service.clone());
    let id = id.to_owned();
    if change.method == "PUT" {
        let request = pb::ReplaceServiceRequest { id, service, ..Default::default() };
        client.replace_service(request).await.unwrap();
        return;
    }
    let update_mask = change
        .mask
        .map(|paths| prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() });
    let request = pb::UpdateServiceRequest { id, service, update_mask, ..Default::default() };
    client.update_service(request).await.unwrap();
}

fn by_http(curl: &Curl, args: &[&str], id: &str, change: &Change) {
    let path = format!("/api/v2/services/{id}{}", change.query);
    let answer = curl.with(change.method, &path, args, &change.body.to_string());
    assert_eq!(answer.status, 200, "{} {path}: {}", change.method, answer.body);
}

/// The definition, without what tells one service from another.
fn definition(shown: pb::Service) -> pb::Service {
    let (id, name, etag) = (String::new(), String::new(), String::new());
    let resource_name = String::new();
    pb::Service { id, name, etag, resource_name, created_at: None, updated_at: None, ..shown }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_the_same_on_every_transport() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let envoy = Envoy::before(&daemon);
    let ours = Curl::of(&daemon);
    let theirs = Curl { base: format!("http://{LISTEN}"), token: ours.token.clone() };
    let socket = envoy.socket.to_str().unwrap();
    let group = project_name("changing");
    let mut ids = Vec::new();
    for name in ["grpc", "rest", "envoy"] {
        let service = pb::Service {
            name: name.into(),
            group: group.clone(),
            docker_config: Some(pb::DockerConfig { image: IMAGE.into(), ..Default::default() }),
            environment: [("DB_PASSWORD".into(), "hunter2".into())].into(),
            ..Default::default()
        };
        let create = pb::CreateServiceRequest { service: Some(service), ..Default::default() };
        ids.push(client.create_service(create).await.unwrap().id);
    }
    let of = |name| changes(name, &group);
    for ((grpc, rest), envoy) in of("grpc").into_iter().zip(of("rest")).zip(of("envoy")) {
        by_grpc(&client, &ids[0], &grpc).await;
        by_http(&ours, &[], &ids[1], &rest);
        by_http(&theirs, &["--unix-socket", socket], &ids[2], &envoy);
        let mut shown = Vec::new();
        for id in &ids {
            let request = pb::GetServiceRequest { id: id.clone(), ..Default::default() };
            shown.push(definition(client.get_service(request).await.unwrap()));
        }
        let told = format!("{} {}", grpc.method, grpc.query);
        assert_eq!(shown[0], shown[1], "{told}: gRPC and REST");
        assert_eq!(shown[0], shown[2], "{told}: gRPC and Envoy");
        let config = shown[0].docker_config.clone().unwrap();
        match told.as_str() {
            "PUT " => assert_eq!((shown[0].description.as_str(), shown[0].start_order), ("replaced", 4)),
            "PATCH " => {
                assert_eq!((shown[0].owner.as_str(), shown[0].description.as_str()), ("ann", "replaced"));
                assert_eq!((config.user.as_str(), config.image.as_str()), ("1000", IMAGE));
            }
            "PATCH ?update_mask=*" => assert_eq!((shown[0].tags.len(), config.user.as_str()), (0, "")),
            _ => assert_eq!((shown[0].owner.as_str(), shown[0].description.as_str()), ("ann", "")),
        }
        assert_eq!(shown[0].environment["DB_PASSWORD"], "********", "{told}: the secret is kept");
    }
}
