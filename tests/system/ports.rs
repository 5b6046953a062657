//! Ports of services: which addresses they are bound to, and closd's own port out of their way.

use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use clos_tests::{Checkout, Curl, Daemon, IMAGE, PATIENCE, docker, free_port, project_name};
use serde_json::json;

use crate::socket::Socket;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_service_gets_the_default_port_of_closd_under_an_open_socket() {
    let daemon = Daemon::start_on_its_default_port().await;
    let old = daemon.tcp();
    let port = old.rsplit(':').next().unwrap();
    let mut socket = Socket::open(&daemon, &daemon.token()).await.unwrap();
    socket.say(json!({"op": "subscribe", "id": "all", "types": []})).await;
    socket.until("ack").await;

    let name = project_name("taker");
    let text = format!(
        "services: {{web: {{image: {IMAGE}, stop_signal: KILL, environment: {{LISTEN: '80'}}, ports: ['{port}:80']}}}}\n"
    );
    let checkout = Checkout::new(&name, &text);
    let plan = daemon.clos(checkout.path(), &["plan"]).well();
    assert_eq!(daemon.tcp(), old, "a plan moves nothing: {plan}");
    daemon.clos(checkout.path(), &["up"]).well();

    let new = daemon.tcp();
    assert_ne!(new, old);
    let told = Curl::of(&daemon).get("/api/v2/system/info").json();
    assert!(told["daemon"].is_object(), "{told}");
    // The old address is the service's: it knows no route of ours.
    let service = Curl { base: format!("http://{old}"), token: None };
    assert_eq!(service.get("/").status, 200);
    assert_ne!(service.get("/api/v2/system/info").body, Curl::of(&daemon).get("/api/v2/system/info").body);

    // The socket of before goes on: it told of the move, and tells of what comes after it.
    let seen = until_the_end(&mut socket).await;
    assert!(seen.iter().any(|kind| kind == "system.endpoint_changed"), "{seen:?}");
    daemon.clos(checkout.path(), &["down"]).well();
    until_the_end(&mut socket).await;
    assert_eq!(daemon.tcp(), new, "it never moves back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_port_without_an_address_is_reached_from_containers_and_not_from_the_network() {
    let daemon = Daemon::start().await;
    let (port, wide) = (free_port(), free_port());
    let name = project_name("published");
    let text = format!(
        "services: {{web: {{image: {IMAGE}, stop_signal: KILL, environment: {{LISTEN: '80'}}, ports: ['{port}:80', '0.0.0.0:{wide}:80']}}}}\n"
    );
    let checkout = Checkout::new(&name, &text);
    daemon.clos(checkout.path(), &["up"]).well();

    // A project of its own is in a network of its own.
    let caller = project_name("caller");
    let text = format!(
        "services: {{ask: {{image: {IMAGE}, command: [check, 'http://host.docker.internal:{port}/'], extra_hosts: ['host.docker.internal:host-gateway']}}}}\n"
    );
    let other = Checkout::new(&caller, &text);
    let up = daemon.clos(other.path(), &["up"]);
    assert_eq!(up.code, 0, "{}{}", up.err, docker(&["logs", &format!("{caller}-ask-1")]).err);

    let reached = |address: &str, port: u16| {
        let address = format!("{address}:{port}").parse().unwrap();
        TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_ok()
    };
    assert!(reached("127.0.0.1", port));
    let mut addresses = vec![gateway(&format!("{name}_default"))];
    // The address by which this machine is seen on its network, where it has one; no packet is sent.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    if socket.connect("198.51.100.1:9").is_ok() {
        addresses.push(socket.local_addr().unwrap().ip().to_string());
    }
    for address in addresses {
        assert!(reached(&address, wide), "{address} is an address of this machine");
        assert!(!reached(&address, port), "{address} reaches a port that was published without an address");
    }
}

/// The types of the events up to the end of an operation.
async fn until_the_end(socket: &mut Socket) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    let reading = async {
        while seen.last().is_none_or(|kind| kind != "group.operation_completed") {
            seen.push(socket.until("event").await["type"].as_str().unwrap().to_owned());
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the operation's end is told");
    seen
}

fn gateway(network: &str) -> String {
    let format = "{{(index .IPAM.Config 0).Gateway}}";
    docker(&["network", "inspect", "-f", format, network]).well().trim().to_owned()
}
