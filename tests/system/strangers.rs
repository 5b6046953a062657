//! Callers without credentials: however many connections and calls they keep open, others are answered; and
//! however often they are refused, the log stays short.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use clos_proto::v2 as pb;
use clos_tests::{Curl, Daemon, PATIENCE};
use futures::channel::mpsc;
use tokio::task::JoinSet;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct Asked {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Health {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Reflect {
    #[prost(string, tag = "7")]
    list_services: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Reflected {
    #[prost(bytes = "vec", tag = "6")]
    list_services: Vec<u8>,
}

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
/// More calls of each kind than there are places.
const CALLS: usize = 70;
/// And connections.
const CONNECTIONS: usize = 48;

async fn grpc(daemon: &Daemon) -> Grpc<Channel> {
    let channel = Channel::from_shared(format!("http://{}", daemon.tcp())).unwrap().connect().await.unwrap();
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    grpc
}

async fn watch(grpc: &mut Grpc<Channel>) -> Streaming<Health> {
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<Asked, Health>::default();
    let answer = grpc.server_streaming(Request::new(Asked::default()), WATCH.parse().unwrap(), codec).await;
    answer.unwrap().into_inner()
}

/// What a caller without credentials may ask.
async fn check(daemon: &Daemon) -> Result<i32, Status> {
    let (asked, codec) = (Request::new(Asked::default()), ProstCodec::<Asked, Health>::default());
    let answer = grpc(daemon).await.unary(asked, CHECK.parse().unwrap(), codec).await?;
    Ok(answer.into_inner().status)
}

async fn reflect(daemon: &Daemon) -> Result<usize, Status> {
    let asked = futures::stream::iter([Reflect { list_services: "*".into() }]);
    let codec = ProstCodec::<Reflect, Reflected>::default();
    let mut grpc = grpc(daemon).await;
    let answer = grpc.streaming(Request::new(asked), REFLECT.parse().unwrap(), codec).await?;
    let first = answer.into_inner().message().await?.unwrap_or_default();
    Ok(first.list_services.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_connections_of_strangers_keep_nobody_out() {
    let most = CONNECTIONS.to_string();
    let daemon = Daemon::start_with(&[("CLOSD_SERVER__MAX_CONNECTIONS", &most)]).await;
    let mut stranger = grpc(&daemon).await;
    let mut watching = Vec::new();
    for _ in 0..CALLS {
        let mut stream = watch(&mut stranger).await;
        stream.message().await.unwrap();
        watching.push(stream);
    }
    // Calls whose request does not come as long as these are there.
    let mut unsaid = Vec::new();
    let mut unasked = JoinSet::new();
    for _ in 0..CALLS {
        let (mut checking, mut reflecting) = (stranger.clone(), stranger.clone());
        let (one, asked) = mpsc::unbounded();
        let (other, reflect) = mpsc::unbounded();
        unsaid.push((one, other));
        unasked.spawn(async move {
            let codec = ProstCodec::<Asked, Health>::default();
            let _ = checking.ready().await;
            let _ = checking.streaming(Request::new(asked), CHECK.parse().unwrap(), codec).await;
        });
        unasked.spawn(async move {
            let codec = ProstCodec::<Reflect, Reflected>::default();
            let _ = reflecting.ready().await;
            let answer = reflecting.streaming(Request::new(reflect), REFLECT.parse().unwrap(), codec).await;
            futures::future::pending::<()>().await;
            drop(answer);
        });
    }
    let mut idle = Vec::new();
    let heads = [
        "",
        "G",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /api/v2/health HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
        "GET /api/v2/ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
    ];
    for at in 0..2 * CONNECTIONS {
        let mut stream = TcpStream::connect(daemon.tcp()).unwrap();
        stream.write_all(heads[at % heads.len()].as_bytes()).unwrap();
        idle.push(stream);
    }

    let nobody = Curl { base: format!("http://{}", daemon.tcp()), token: None };
    let asking = async {
        for _ in 0..3 {
            assert_eq!(nobody.get("/api/v2/health").status, 200);
            assert_eq!(check(&daemon).await.unwrap(), 1);
            assert!(reflect(&daemon).await.unwrap() > 0);
            assert_eq!(Curl::of(&daemon).get("/api/v2/groups").status, 200);
            let owner = daemon.client().await;
            owner.list_groups(pb::ListGroupsRequest::default()).await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("everybody is answered");

    // The oldest calls went, and hear why.
    let mut first = watching.remove(0);
    let gone = tokio::time::timeout(PATIENCE, async {
        loop {
            match first.message().await {
                Ok(Some(_)) => {}
                ended => return ended,
            }
        }
    });
    let gone = gone.await.unwrap().unwrap_err();
    assert_eq!(gone.code(), tonic::Code::ResourceExhausted, "{gone}");
    drop((watching, idle, unsaid, unasked));
}

/// The same request so often, one after the other on one connection; how many answers have the status.
fn flood(address: &str, request: &str, times: usize, status: &str) -> usize {
    const AT_ONCE: usize = 50;
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let line = format!("HTTP/1.1 {status}");
    let mut count = 0;
    for _ in 0..times / AT_ONCE {
        stream.write_all(request.repeat(AT_ONCE).as_bytes()).unwrap();
        let mut text = String::new();
        while text.matches("HTTP/1.1 ").count() < AT_ONCE || !text.ends_with('}') {
            let mut bytes = [0; 64 << 10];
            let read = stream.read(&mut bytes).unwrap();
            assert!(read > 0, "the connection ended: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        count += text.matches(&line).count();
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_flood_of_refused_callers_is_counted_and_fills_no_log() {
    let daemon = Daemon::start().await;
    let address = daemon.tcp();
    let before = daemon.log().lines().count();
    let own = format!("host: {address}\r\n");
    for (head, times, status) in [
        (format!("POST /api/v2/groups HTTP/1.1\r\n{own}origin: http://evil.example\r\n"), 3_000, "403"),
        ("GET /api/v2/groups HTTP/1.1\r\nhost: evil.example\r\n".to_owned(), 500, "403"),
        (format!("GET /api/v2/groups HTTP/1.1\r\n{own}"), 500, "401"),
        (format!("GET /api/v2/groups HTTP/1.1\r\n{own}authorization: Bearer wrong\r\n"), 500, "401"),
    ] {
        let request = format!("{head}content-length: 0\r\n\r\n");
        assert_eq!(flood(&address, &request, times, status), times, "{head}");
    }
    let metrics = Curl::of(&daemon).get("/metrics").body;
    for (reason, count) in [("origin", 3_000), ("host", 500), ("token", 1_000)] {
        let line = format!("clos_connections_refused_total{{reason=\"{reason}\"}} {count}");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
    let log = daemon.log();
    let told: Vec<&str> = log.lines().skip(before).collect();
    for wanted in ["origin `http://evil.example` may not write here", "host `evil.example`", "authorization"]
    {
        assert_eq!(told.iter().filter(|line| line.contains(wanted)).count(), 1, "{wanted}: {told:#?}");
    }
    assert!(told.len() < 10, "{told:#?}");
}
