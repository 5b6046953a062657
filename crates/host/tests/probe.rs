//! What HTTP servers of the wild do to a probe.

mod server;

use std::time::{Duration, Instant};

use clos_domain::seams::Probe as _;
use clos_domain::seams::host::{Answer, Target};
use clos_host::HttpProbe;
use server::Server;

const PATIENCE: Duration = Duration::from_secs(20);

async fn get(url: impl Into<String>) -> Answer {
    HttpProbe.ask(&Target::Http { url: url.into(), expected: Vec::new() }, PATIENCE).await
}

fn well(status: u16) -> Answer {
    Answer::Http { status, is_well: true }
}

fn ill(why: &str) -> Answer {
    Answer::Ill(why.to_owned())
}

#[tokio::test]
async fn the_question_is_one_plain_get_with_the_host_of_the_url() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert_eq!(get(server.url()).await, well(200));
    let requests = server.requests();
    let [head] = requests.as_slice() else { panic!("{requests:?}") };
    let head = head.to_lowercase();
    assert!(head.starts_with("get /healthz http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: 127.0.0.1:{}\r\n", server.port())), "{head}");
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    assert!(head.contains("\r\nuser-agent: clos-probe/"), "{head}");
}

#[tokio::test]
async fn a_redirect_to_a_dead_place_is_not_followed() {
    let server =
        Server::answering("HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(get(server.url()).await, well(301));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_body_without_end_does_not_hold_the_answer_up() {
    let endless = Server::flooding("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
    let started = Instant::now();
    assert_eq!(get(endless.url()).await, well(200));
    let stuck = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this");
    assert_eq!(get(stuck.url()).await, well(200));
    assert!(started.elapsed() < PATIENCE);
}

#[tokio::test]
async fn what_is_no_http_is_ill_and_said_so() {
    let ssh = Server::answering("SSH-2.0-OpenSSH_9.2\r\n");
    assert_eq!(get(ssh.url()).await, ill("the answer is not HTTP"));
    let closing = Server::closing();
    let Answer::Ill(why) = get(closing.url()).await else { panic!("well") };
    assert!(why == "the connection was closed before an answer" || why == "connection reset", "{why}");
}

#[tokio::test]
async fn a_head_without_end_is_ill() {
    let flood = Server::flooding("HTTP/1.1 200 OK\r\nx-long: ");
    let Answer::Ill(why) = get(flood.url()).await else { panic!("well") };
    assert!(!why.contains("no answer within"), "the limit ends it, not the clock: {why}");
}

#[tokio::test]
async fn a_name_with_two_addresses_is_asked_at_the_one_that_answers() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(get(format!("http://localhost:{}/", server.port())).await, well(200));
    let target = Target::Tcp { host: "localhost".into(), port: server.port() };
    assert_eq!(HttpProbe.ask(&target, PATIENCE).await, Answer::Well);
}

#[tokio::test]
async fn a_url_that_cannot_be_asked_is_ill_with_the_reason() {
    assert_eq!(get("https://127.0.0.1/").await, ill("`https://127.0.0.1/` does not begin with http://"));
    assert_eq!(get("http://ann:secret@127.0.0.1/").await, ill("a health URL must not carry credentials"));
}

#[tokio::test]
async fn a_service_that_speaks_first_is_well_by_tcp() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::Tcp { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    let greet = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 ready\r\n").await.unwrap();
        stream
    };
    let (answer, _stream) = tokio::join!(HttpProbe.ask(&target, PATIENCE), greet);
    assert_eq!(answer, Answer::Well);
}

#[tokio::test]
async fn resources_and_proxies_of_this_machine_are_seen_or_absent() {
    let machine = clos_host::Machine;
    let resources = machine.resources(std::path::Path::new("/")).await;
    assert!(resources.cpu_count.is_some() && resources.disk.is_some());
    assert_eq!(machine.docker_proxy_target(std::process::id()).await, None);
}
