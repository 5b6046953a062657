//! What every `Host` and every `Probe` does.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use clos_domain::port::{Holder, Protocol};
use clos_domain::seams::host::{Answer, BindTest, Target};
use clos_domain::seams::{Host, Probe};

/// Long enough for a machine under load, short enough for a hanging test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A host, and somebody who takes ports on it.
#[async_trait]
pub trait HostWorld: Send {
    /// The host under test.
    fn host(&self) -> &dyn Host;
    /// This process listens on the address; on which port is the world's choice.
    async fn listen(&mut self, ip: &str, protocol: Protocol) -> u16;
    /// Whoever listens on the port goes.
    async fn leave(&mut self, port: u16);
    /// An address that is not one of the machine.
    fn foreign_address(&self) -> String;
}

/// What a service does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers every request with this status.
    Status(u16),
    /// Takes the connection and says nothing.
    Silent,
    /// Takes the connection and closes it, as a proxy with nobody behind it does.
    ClosesAtOnce,
    /// Nobody listens.
    Absent,
}

/// A probe, and a service on 127.0.0.1 for it to ask.
#[async_trait]
pub trait ProbeWorld: Send {
    /// The probe under test.
    fn probe(&self) -> &dyn Probe;
    /// Starts the service; its health page is `/healthz`. Returns its port.
    async fn serve(&mut self, behaviour: Behaviour) -> u16;
}

/// A test for each case of the suite, on the world that the expression makes.
#[macro_export]
macro_rules! host_suite {
    ($world:expr) => {
        $crate::suite_cases! { host_suite, $world;
            a_listener_on_loopback_takes_loopback_and_the_wildcard
            a_listener_on_the_wildcard_takes_loopback
            tcp_and_udp_ports_are_apart
            a_port_that_was_left_is_free
            a_foreign_address_is_refused_and_not_taken
            what_is_no_address_is_refused
            the_holder_of_a_free_port_is_unknown
            a_known_holder_is_the_process_that_listens
        }
    };
}

/// A test for each case of the suite, on the world that the expression makes.
#[macro_export]
macro_rules! probe_suite {
    ($world:expr) => {
        $crate::suite_cases! { host_suite, $world;
            a_good_status_is_well
            a_redirect_is_well_and_not_followed
            a_bad_status_is_ill_and_named
            an_expected_status_is_well
            an_open_port_is_well
            a_connection_that_is_closed_at_once_is_ill
            nobody_there_is_refused_and_not_unreachable
            a_silent_service_is_ill_when_the_time_is_over
        }
    };
}

/// A test for each named case of a suite.
#[doc(hidden)]
#[macro_export]
macro_rules! suite_cases {
    ($suite:ident, $world:expr; $($case:ident)*) => {
        $(#[tokio::test]
        async fn $case() {
            $crate::$suite::$case(&mut $world).await;
        })*
    };
}

pub async fn a_listener_on_loopback_takes_loopback_and_the_wildcard(world: &mut impl HostWorld) {
    let port = world.listen("127.0.0.1", Protocol::Tcp).await;
    assert_eq!(world.host().bind_test("127.0.0.1", port, Protocol::Tcp).await, BindTest::Taken);
    assert_eq!(world.host().bind_test("0.0.0.0", port, Protocol::Tcp).await, BindTest::Taken);
    assert_eq!(world.host().bind_test("", port, Protocol::Tcp).await, BindTest::Taken);
}

pub async fn a_listener_on_the_wildcard_takes_loopback(world: &mut impl HostWorld) {
    let port = world.listen("0.0.0.0", Protocol::Tcp).await;
    assert_eq!(world.host().bind_test("127.0.0.1", port, Protocol::Tcp).await, BindTest::Taken);
    assert_eq!(world.host().bind_test("0.0.0.0", port, Protocol::Tcp).await, BindTest::Taken);
}

pub async fn tcp_and_udp_ports_are_apart(world: &mut impl HostWorld) {
    let port = world.listen("127.0.0.1", Protocol::Udp).await;
    assert_eq!(world.host().bind_test("127.0.0.1", port, Protocol::Udp).await, BindTest::Taken);
    let held = world.host().holder(port, Protocol::Tcp).await;
    assert_eq!(held, Holder::Unknown, "nobody listens on TCP");
}

pub async fn a_port_that_was_left_is_free(world: &mut impl HostWorld) {
    let port = world.listen("127.0.0.1", Protocol::Tcp).await;
    world.leave(port).await;
    assert_eq!(world.host().bind_test("127.0.0.1", port, Protocol::Tcp).await, BindTest::Free);
    assert_eq!(world.host().bind_test("127.0.0.1", port, Protocol::Tcp).await, BindTest::Free);
}

pub async fn a_foreign_address_is_refused_and_not_taken(world: &mut impl HostWorld) {
    let port = world.listen("127.0.0.1", Protocol::Tcp).await;
    let foreign = world.foreign_address();
    let BindTest::Refused(why) = world.host().bind_test(&foreign, port, Protocol::Tcp).await else {
        panic!("{foreign} is not refused");
    };
    assert!(why.contains(&foreign), "{why}");
}

pub async fn what_is_no_address_is_refused(world: &mut impl HostWorld) {
    let outcome = world.host().bind_test("example.com", 40_000, Protocol::Tcp).await;
    assert_eq!(outcome, BindTest::Refused("`example.com` is not an IP address".to_owned()));
}

pub async fn the_holder_of_a_free_port_is_unknown(world: &mut impl HostWorld) {
    let port = world.listen("127.0.0.1", Protocol::Tcp).await;
    world.leave(port).await;
    assert_eq!(world.host().holder(port, Protocol::Tcp).await, Holder::Unknown);
}

pub async fn a_known_holder_is_the_process_that_listens(world: &mut impl HostWorld) {
    let port = world.listen("127.0.0.1", Protocol::Tcp).await;
    match world.host().holder(port, Protocol::Tcp).await {
        Holder::Process { pid, .. } => assert_eq!(pid, std::process::id()),
        Holder::Unknown if cfg!(not(target_os = "linux")) => {}
        other => panic!("{other:?}"),
    }
}

pub async fn a_good_status_is_well(world: &mut impl ProbeWorld) {
    assert_eq!(get(world, Behaviour::Status(204), &[]).await, Answer::Http { status: 204, is_well: true });
}

pub async fn a_redirect_is_well_and_not_followed(world: &mut impl ProbeWorld) {
    assert_eq!(get(world, Behaviour::Status(302), &[]).await, Answer::Http { status: 302, is_well: true });
}

pub async fn a_bad_status_is_ill_and_named(world: &mut impl ProbeWorld) {
    assert_eq!(get(world, Behaviour::Status(503), &[]).await, Answer::Http { status: 503, is_well: false });
}

pub async fn an_expected_status_is_well(world: &mut impl ProbeWorld) {
    assert_eq!(
        get(world, Behaviour::Status(418), &[200, 418]).await,
        Answer::Http { status: 418, is_well: true }
    );
}

pub async fn an_open_port_is_well(world: &mut impl ProbeWorld) {
    assert_eq!(connect(world, Behaviour::Silent).await, Answer::Well);
}

pub async fn a_connection_that_is_closed_at_once_is_ill(world: &mut impl ProbeWorld) {
    assert!(matches!(connect(world, Behaviour::ClosesAtOnce).await, Answer::Ill(_)));
    assert!(matches!(get(world, Behaviour::ClosesAtOnce, &[]).await, Answer::Ill(_)));
}

pub async fn nobody_there_is_refused_and_not_unreachable(world: &mut impl ProbeWorld) {
    let refused = Answer::Ill("connection refused".to_owned());
    assert_eq!(connect(world, Behaviour::Absent).await, refused);
    assert_eq!(get(world, Behaviour::Absent, &[]).await, refused);
}

pub async fn a_silent_service_is_ill_when_the_time_is_over(world: &mut impl ProbeWorld) {
    let target = http(world.serve(Behaviour::Silent).await, &[]);
    let patience = Duration::from_millis(150);
    let started = Instant::now();
    let answer = world.probe().ask(&target, patience).await;
    assert_eq!(answer, Answer::Ill("no answer within 150 ms".to_owned()));
    assert!(patience <= started.elapsed() && started.elapsed() < PATIENCE);
}

async fn get(world: &mut impl ProbeWorld, behaviour: Behaviour, expected: &[u16]) -> Answer {
    let target = http(world.serve(behaviour).await, expected);
    world.probe().ask(&target, PATIENCE).await
}

async fn connect(world: &mut impl ProbeWorld, behaviour: Behaviour) -> Answer {
    let target = Target::Tcp { host: "127.0.0.1".to_owned(), port: world.serve(behaviour).await };
    world.probe().ask(&target, PATIENCE).await
}

fn http(port: u16, expected: &[u16]) -> Target {
    Target::Http { url: format!("http://127.0.0.1:{port}/healthz"), expected: expected.to_vec() }
}
