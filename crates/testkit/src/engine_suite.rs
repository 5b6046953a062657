//! What every engine does: the seams `Workloads`, `Images`, `Networks` and `Volumes`.
#![allow(clippy::unwrap_used, reason = "a case that fails panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clos_domain::copied::CopiedFile;
use clos_domain::health::{Check, Test, Verdict};
use clos_domain::id::{OperationId, ServiceId};
use clos_domain::name::{GroupRef, ServiceRef};
use clos_domain::port::{Binding, Protocol};
use clos_domain::seams::engine::{Error, Event, Images, LogLine, LogQuery, Networks, Volumes, Workloads};
use clos_domain::secret::Hidden;
use clos_domain::service::{Change, Condition};
use clos_domain::workload::{
    ConfigHash, Container, Found, FoundNetwork, Identity, Join, Limits, Mount, MountKind, Network, Owner,
    Restart, Run, Spec, State, Stop, Volume,
};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use indexmap::IndexMap;

/// Long enough for a machine under load, short enough for a hanging test.
const PATIENCE: Duration = Duration::from_secs(60);
const INSTALLATION: &str = "inst-of-the-suite";

/// An engine, and a way to say how a workload behaves there.
#[async_trait]
pub trait EngineWorld: Send {
    /// The engine under test.
    type Engine: Workloads + Images + Networks + Volumes;
    /// The engine under test.
    fn engine(&self) -> Arc<Self::Engine>;
    /// A name that nobody else uses, and that the world takes away in the end.
    fn name(&mut self, word: &str) -> String;
    /// An image that runs.
    fn image(&self) -> String;
    /// Makes a workload behave so from its start on.
    fn behave(&self, spec: &mut Spec, behaviour: Behaviour);
    /// A started workload whose behaviour is [`Behaviour::Speaks`] has written its lines.
    async fn spoken(&self, name: &str);
    /// The engine's own check of a workload comes to this verdict.
    async fn judge(&self, name: &str, verdict: Verdict);
    /// Somebody of the host listens on a port of 127.0.0.1, as far as this workload is concerned.
    async fn take_port(&mut self, name: &str) -> u16;
    /// A port of 127.0.0.1 that nobody has.
    async fn free_port(&mut self) -> u16;
    /// A file of the workload; its digest is not looked at.
    async fn file(&self, name: &str, target: &str) -> CopiedFile;
}

/// How a workload behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Until it is asked to end.
    Runs,
    /// It ends by itself at once.
    ExitsWith(i32),
    /// It does not hear the signal.
    IgnoresTerm,
    /// It writes `flood 1 …`, `flood 2 …`, `flood 3 …`, and runs on.
    Speaks,
    /// Its check answers so.
    Checks(bool),
}

/// A test for each case of the suite, on the world that the expression makes.
#[macro_export]
macro_rules! engine_suite {
    ($world:expr) => {
        $crate::suite_cases! { engine_suite, $world;
            the_engine_says_what_it_is
            what_is_created_is_shown_with_whose_it_is
            a_name_is_taken_once
            files_are_copied_in_before_the_start
            a_file_is_not_copied_into_a_volume_or_a_read_only_container
            starting_stopping_and_removing_twice_is_fine
            a_renamed_one_goes_on_under_its_new_name
            a_shared_namespace_is_of_one_container_and_ends_with_it
            what_is_not_there_is_said_so
            an_exit_code_is_told_and_shown
            what_is_paused_goes_on_when_it_is_told_to_or_stopped
            who_does_not_hear_the_signal_is_killed
            an_image_that_is_not_there_is_no_image
            a_container_says_which_image_it_was_created_from
            a_port_of_another_container_is_allocated
            a_port_of_the_host_is_in_use_and_the_container_stays
            the_life_of_a_container_is_told_in_order
            the_engines_own_verdict_is_told
            lines_come_from_where_they_were_asked_for
            a_followed_log_ends_with_its_container
            a_command_inside_says_how_it_ended
            figures_are_there_while_it_runs
            a_network_is_made_once_and_kept_while_somebody_is_on_it
            a_network_is_shown_with_its_definition
            a_network_is_replaced_under_who_was_on_it
            a_container_whose_network_is_gone_does_not_start
            a_volume_is_made_once_and_kept_while_somebody_has_it
        }
    };
}

/// The least that an engine can run.
pub fn spec(name: &str, image: &str) -> Spec {
    let service: ServiceRef = ServiceRef::parse("service", "suite/web").expect("a resource name");
    Spec {
        name: name.to_owned(),
        identity: Identity {
            installation: INSTALLATION.to_owned(),
            service_id: ServiceId::trusted("svc_2al2ui2ehhu2z3eqepz7vv25nc"),
            service,
            operation: Some(OperationId::trusted("op_2al2ui2em3uu74pcsea6d736qg")),
            generation: 3,
            spec_hash: "0123abcd".to_owned(),
            working_dir: "/home/ann/suite".to_owned(),
            config_files: vec!["/home/ann/suite/compose.yaml".to_owned()],
            depends_on: vec![("db".to_owned(), Condition::Healthy, true)],
            config_hash: Some(ConfigHash::Known("fedcba98".to_owned())),
        },
        labels: IndexMap::from([("tier".to_owned(), "front".to_owned())]),
        environment: IndexMap::new(),
        ports: Vec::new(),
        health: None,
        restart: Restart::No,
        stop: Stop::default(),
        limits: Limits::default(),
        logging: None,
        run: Run::Container(Box::new(Container { image: image.to_owned(), ..Container::default() })),
        inherited: std::collections::BTreeMap::new(),
    }
}

fn container(spec: &mut Spec) -> &mut Container {
    let Run::Container(container) = &mut spec.run;
    container
}

/// A workload that was created, and its name.
async fn created(world: &mut impl EngineWorld, word: &str, behaviour: Behaviour) -> String {
    let name = world.name(word);
    let mut spec = spec(&name, &world.image());
    world.behave(&mut spec, behaviour);
    Workloads::create(&*world.engine(), &spec).await.unwrap();
    name
}

async fn started(world: &mut impl EngineWorld, word: &str, behaviour: Behaviour) -> String {
    let name = created(world, word, behaviour).await;
    world.engine().start(&name).await.unwrap();
    name
}

async fn shown(world: &impl EngineWorld, name: &str) -> Found {
    world.engine().inspect(name).await.unwrap().expect("it is there")
}

/// The stream of changes, once it stands.
async fn listening(world: &impl EngineWorld) -> BoxStream<'static, Event> {
    let mut events = world.engine().events();
    let first = tokio::time::timeout(PATIENCE, events.next()).await.expect("a stream connects");
    assert_eq!(first, Some(Event::Connected));
    events
}

/// The changes of one workload, up to the one that is waited for.
async fn changes(
    events: &mut BoxStream<'static, Event>,
    of: &str,
    last: impl Fn(&Change) -> bool,
) -> Vec<Change> {
    let mut seen = Vec::new();
    let reading = async {
        while let Some(event) = events.next().await {
            if let Event::Workload { name, change, .. } = event
                && name == of
            {
                seen.push(change);
                if last(&change) {
                    break;
                }
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, reading).await.is_ok();
    assert!(in_time, "it never came: {seen:?}");
    seen
}

pub async fn the_engine_says_what_it_is(world: &mut impl EngineWorld) {
    let info = world.engine().ping().await.unwrap();
    let known = world.engine().known();
    assert_eq!(
        (&known.found_by, &known.address),
        (&info.found_by, &info.address),
        "known before it is asked"
    );
    for (what, word) in [
        ("kind", info.kind),
        ("version", info.version),
        ("API version", info.api_version),
        ("found by", info.found_by),
        ("address", info.address),
    ] {
        assert!(!word.is_empty(), "{what}");
    }
}

pub async fn what_is_created_is_shown_with_whose_it_is(world: &mut impl EngineWorld) {
    let name = created(world, "shown", Behaviour::Runs).await;
    let found = shown(world, &name).await;
    assert_eq!((found.name.as_str(), &found.state), (name.as_str(), &State::Created));
    assert_eq!(found.labels.get("tier").map(String::as_str), Some("front"));
    let identity = found.identity.expect("ours");
    assert_eq!(identity, spec(&name, "").identity);
    let listed = Workloads::list(&*world.engine()).await.unwrap();
    let listed = listed.into_iter().find(|it| it.name == name).expect("it is in the list");
    assert_eq!((listed.id, listed.identity), (found.id.clone(), Some(identity)));
    world.engine().start(&found.id).await.unwrap();
    let running = shown(world, &name).await;
    assert_eq!(running.state, State::Running { health: Verdict::None });
    assert!(running.started_at.is_some());
}

pub async fn a_name_is_taken_once(world: &mut impl EngineWorld) {
    let name = created(world, "taken", Behaviour::Runs).await;
    let again = Workloads::create(&*world.engine(), &spec(&name, &world.image())).await;
    assert!(matches!(again, Err(Error::NameTaken(_))), "{again:?}");
}

fn copied(target: &str, content: &str) -> CopiedFile {
    CopiedFile {
        target: target.to_owned(),
        content: Hidden::new(content),
        digest: String::new(),
        uid: 0,
        gid: 0,
        mode: 0o444,
    }
}

pub async fn files_are_copied_in_before_the_start(world: &mut impl EngineWorld) {
    let name = world.name("files");
    let mut spec = spec(&name, &world.image());
    world.behave(&mut spec, Behaviour::Runs);
    let files = vec![
        copied("/run/secrets/key", "s3cret"),
        CopiedFile { uid: 1000, gid: 1001, mode: 0o640, ..copied("/etc/new/app.conf", "a = 1\n") },
        copied("/empty", ""),
    ];
    container(&mut spec).files.clone_from(&files);
    // A user of the container's that the host does not know changes no owner.
    container(&mut spec).user = Some("1234:1234".to_owned());
    Workloads::create(&*world.engine(), &spec).await.unwrap();
    for file in &files {
        assert_eq!(world.file(&name, &file.target).await, *file, "before the start");
    }
    world.engine().start(&name).await.unwrap();
    for file in &files {
        assert_eq!(world.file(&name, &file.target).await, *file, "after the start");
    }
    // A new container of the same name has what it is made with.
    Workloads::remove(&*world.engine(), &name).await.unwrap();
    container(&mut spec).files = vec![copied("/run/secrets/key", "other")];
    Workloads::create(&*world.engine(), &spec).await.unwrap();
    assert_eq!(world.file(&name, "/run/secrets/key").await.content.reveal(), "other");
}

pub async fn a_file_is_not_copied_into_a_volume_or_a_read_only_container(world: &mut impl EngineWorld) {
    let name = world.name("covered");
    let mut spec = spec(&name, &world.image());
    world.behave(&mut spec, Behaviour::Runs);
    container(&mut spec).files = vec![copied("/data/key", "s3cret")];
    container(&mut spec).mounts = vec![Mount::new(MountKind::Volume, None, "/data")];
    let refused = Workloads::create(&*world.engine(), &spec).await;
    assert!(matches!(&refused, Err(Error::Refused(why)) if why.contains("/data/key")), "{refused:?}");
    assert_eq!(world.engine().inspect(&name).await.unwrap(), None, "nothing half-made is left");

    container(&mut spec).mounts.clear();
    container(&mut spec).read_only = true;
    let refused = Workloads::create(&*world.engine(), &spec).await;
    assert!(matches!(refused, Err(Error::Refused(_) | Error::Failed(_))), "{refused:?}");
    assert_eq!(world.engine().inspect(&name).await.unwrap(), None, "nothing half-made is left");
}

pub async fn starting_stopping_and_removing_twice_is_fine(world: &mut impl EngineWorld) {
    let name = started(world, "twice", Behaviour::Runs).await;
    let engine = world.engine();
    engine.start(&name).await.unwrap();
    for _ in 0..2 {
        engine.stop(&name, Duration::from_secs(5)).await.unwrap();
        assert!(matches!(shown(world, &name).await.state, State::Exited { .. }));
    }
    engine.start(&name).await.unwrap();
    for _ in 0..2 {
        // Also while it runs.
        Workloads::remove(&*engine, &name).await.unwrap();
        assert_eq!(engine.inspect(&name).await.unwrap(), None);
    }
}

pub async fn a_renamed_one_goes_on_under_its_new_name(world: &mut impl EngineWorld) {
    let name = started(world, "before", Behaviour::Runs).await;
    let id = shown(world, &name).await.id;
    let (to, other) = (world.name("after"), created(world, "other", Behaviour::Runs).await);
    let engine = world.engine();
    let taken = engine.rename(&name, &other).await;
    assert!(matches!(taken, Err(Error::NameTaken(_))), "{taken:?}");
    engine.rename(&name, &to).await.unwrap();
    assert_eq!(engine.inspect(&name).await.unwrap(), None);
    let renamed = shown(world, &to).await;
    assert_eq!((renamed.id, renamed.name.as_str()), (id, to.as_str()));
    assert!(matches!(renamed.state, State::Running { .. }), "it was not stopped");
    let gone = engine.rename(&name, &to).await;
    assert!(matches!(gone, Err(Error::NotFound(_))), "{gone:?}");
}

pub async fn a_shared_namespace_is_of_one_container_and_ends_with_it(world: &mut impl EngineWorld) {
    let owner = started(world, "owner", Behaviour::Runs).await;
    let name = world.name("guest");
    let mut spec = spec(&name, &world.image());
    world.behave(&mut spec, Behaviour::Runs);
    container(&mut spec).network_mode = Some(format!("container:{owner}"));
    container(&mut spec).pid = Some(format!("container:{owner}"));
    let engine = world.engine();
    Workloads::create(&*engine, &spec).await.unwrap();
    let id = shown(world, &owner).await.id;
    assert_eq!(shown(world, &name).await.shares_with, BTreeSet::from([id]));
    engine.start(&name).await.unwrap();
    engine.stop(&name, Duration::ZERO).await.unwrap();
    Workloads::remove(&*engine, &owner).await.unwrap();
    let again = started(world, "another", Behaviour::Runs).await;
    engine.rename(&again, &owner).await.unwrap();
    // The name says nothing any more.
    engine.start(&name).await.unwrap_err();
}

pub async fn what_is_not_there_is_said_so(world: &mut impl EngineWorld) {
    let name = world.name("absent");
    let engine = world.engine();
    assert_eq!(engine.inspect(&name).await.unwrap(), None);
    let started = engine.start(&name).await;
    assert!(matches!(started, Err(Error::NotFound(_))), "{started:?}");
    let stopped = engine.stop(&name, Duration::ZERO).await;
    assert!(matches!(stopped, Err(Error::NotFound(_))), "{stopped:?}");
    let logs = engine.logs(&name, LogQuery::default()).await.map(drop);
    assert!(matches!(logs, Err(Error::NotFound(_))), "{logs:?}");
    let exec = engine.exec(&name, &["true".to_owned()], PATIENCE).await;
    assert!(matches!(exec, Err(Error::NotFound(_))), "{exec:?}");
}

pub async fn an_exit_code_is_told_and_shown(world: &mut impl EngineWorld) {
    let mut events = listening(world).await;
    let name = started(world, "exits", Behaviour::ExitsWith(7)).await;
    let seen = changes(&mut events, &name, |change| matches!(change, Change::Died { .. })).await;
    assert_eq!(seen.last(), Some(&Change::Died { code: 7 }));
    let found = shown(world, &name).await;
    assert_eq!(found.state, State::Exited { code: 7, oom: false });
    assert!(found.finished_at.is_some());
}

pub async fn what_is_paused_goes_on_when_it_is_told_to_or_stopped(world: &mut impl EngineWorld) {
    let mut events = listening(world).await;
    let name = started(world, "paused", Behaviour::Runs).await;
    let engine = world.engine();
    for _ in 0..2 {
        engine.pause(&name).await.unwrap();
        assert_eq!(shown(world, &name).await.state, State::Paused);
    }
    engine.start(&name).await.unwrap_err();
    engine.exec(&name, &["true".to_owned()], PATIENCE).await.unwrap_err();
    for _ in 0..2 {
        engine.unpause(&name).await.unwrap();
        assert!(matches!(shown(world, &name).await.state, State::Running { .. }));
    }
    engine.pause(&name).await.unwrap();
    engine.stop(&name, Duration::from_secs(5)).await.unwrap();
    assert!(matches!(shown(world, &name).await.state, State::Exited { .. }));
    engine.unpause(&name).await.unwrap_err();
    engine.pause(&name).await.unwrap_err();
    let seen = changes(&mut events, &name, |change| *change == Change::Stopped).await;
    let code = seen.iter().find_map(|change| match change {
        Change::Died { code } => Some(*code),
        _ => None,
    });
    let mut paused: Vec<&Change> =
        seen.iter().filter(|it| matches!(it, Change::Paused | Change::Unpaused)).collect();
    paused.dedup();
    assert_eq!(paused, [&Change::Paused, &Change::Unpaused, &Change::Paused, &Change::Unpaused]);
    assert!(code.is_some() && seen.contains(&Change::Signalled(15)), "{seen:?}");
}

pub async fn who_does_not_hear_the_signal_is_killed(world: &mut impl EngineWorld) {
    let name = started(world, "deaf", Behaviour::IgnoresTerm).await;
    world.engine().stop(&name, Duration::from_secs(1)).await.unwrap();
    assert_eq!(shown(world, &name).await.state, State::Exited { code: 137, oom: false });
}

pub async fn an_image_that_is_not_there_is_no_image(world: &mut impl EngineWorld) {
    let name = world.name("imageless");
    let answer = Workloads::create(&*world.engine(), &spec(&name, "clos-test/nowhere:1")).await;
    assert!(matches!(answer, Err(Error::NoImage(_))), "{answer:?}");
    assert!(!world.engine().exists("clos-test/nowhere:1").await.unwrap());
    assert!(world.engine().exists(&world.image()).await.unwrap());
}

pub async fn a_container_says_which_image_it_was_created_from(world: &mut impl EngineWorld) {
    let image = world.engine().find(&world.image()).await.unwrap().expect("an image that runs");
    assert!(!image.id.is_empty() && image.build_digest.is_none(), "{image:?}");
    let name = started(world, "imaged", Behaviour::Runs).await;
    assert_eq!(shown(world, &name).await.image_id, image.id);
    let listed: Vec<Found> = Workloads::list(&*world.engine()).await.unwrap();
    assert_eq!(listed.iter().find(|found| found.name == name).unwrap().image_id, image.id);
}

async fn publishing(world: &mut impl EngineWorld, name: &str, host_port: u16) -> Result<(), Error> {
    let mut spec = spec(name, &world.image());
    world.behave(&mut spec, Behaviour::Runs);
    let binding =
        Binding { container_port: 8080, host_port, host_ip: "127.0.0.1".to_owned(), protocol: Protocol::Tcp };
    spec.ports = vec![binding];
    Workloads::create(&*world.engine(), &spec).await?;
    world.engine().start(name).await
}

pub async fn a_port_of_another_container_is_allocated(world: &mut impl EngineWorld) {
    let port = world.free_port().await;
    let (first, second) = (world.name("first"), world.name("second"));
    publishing(world, &first, port).await.unwrap();
    let binding = shown(world, &first).await.ports.first().cloned().expect("a published port");
    assert_eq!(
        (binding.host_port, binding.container_port, binding.host_ip.as_str()),
        (port, 8080, "127.0.0.1")
    );
    assert_eq!(publishing(world, &second, port).await, Err(Error::PortAllocated { port }));
}

pub async fn a_port_of_the_host_is_in_use_and_the_container_stays(world: &mut impl EngineWorld) {
    let name = world.name("late");
    let port = world.take_port(&name).await;
    assert_eq!(publishing(world, &name, port).await, Err(Error::PortInUse { port }));
    assert!(!matches!(shown(world, &name).await.state, State::Running { .. }));
}

pub async fn the_life_of_a_container_is_told_in_order(world: &mut impl EngineWorld) {
    let mut events = listening(world).await;
    let name = started(world, "life", Behaviour::IgnoresTerm).await;
    world.engine().stop(&name, Duration::from_millis(1)).await.unwrap();
    Workloads::remove(&*world.engine(), &name).await.unwrap();
    let seen = changes(&mut events, &name, |change| *change == Change::Removed).await;
    let told = [
        Change::Created,
        Change::Started,
        Change::Signalled(15),
        Change::Signalled(9),
        Change::Died { code: 137 },
        Change::Stopped,
        Change::Removed,
    ];
    assert_eq!(seen, told);
}

pub async fn the_engines_own_verdict_is_told(world: &mut impl EngineWorld) {
    for (is_well, verdict) in [(true, Verdict::Healthy), (false, Verdict::Unhealthy)] {
        let mut events = listening(world).await;
        let name = world.name(verdict.as_str());
        let mut spec = spec(&name, &world.image());
        spec.health = Some(Check {
            test: Test::Command { argv: Vec::new() },
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            retries: 1,
            start_period: Duration::ZERO,
            start_interval: None,
        });
        world.behave(&mut spec, Behaviour::Checks(is_well));
        Workloads::create(&*world.engine(), &spec).await.unwrap();
        world.engine().start(&name).await.unwrap();
        world.judge(&name, verdict).await;
        changes(&mut events, &name, |change| *change == Change::Health(verdict)).await;
        assert_eq!(shown(world, &name).await.state, State::Running { health: verdict });
    }
}

async fn texts(logs: BoxStream<'static, Result<LogLine, Error>>) -> Vec<String> {
    let reading = logs.map(|line| line.expect("a line").text).collect::<Vec<_>>();
    let texts = tokio::time::timeout(PATIENCE, reading).await.expect("it ends");
    texts.into_iter().filter(|text| text.starts_with("flood")).map(|text| text[..7].to_owned()).collect()
}

pub async fn lines_come_from_where_they_were_asked_for(world: &mut impl EngineWorld) {
    let name = started(world, "speaks", Behaviour::Speaks).await;
    world.spoken(&name).await;
    let engine = world.engine();
    let ask = async |query: LogQuery| texts(engine.logs(&name, query).await.unwrap()).await;
    let all = LogQuery { tail: None, ..LogQuery::default() };
    assert_eq!(ask(all.clone()).await, ["flood 1", "flood 2", "flood 3"]);
    assert_eq!(ask(LogQuery { tail: Some(2), ..all.clone() }).await, ["flood 2", "flood 3"]);
    assert_eq!(ask(LogQuery { stdout: false, ..all.clone() }).await, Vec::<String>::new());
    let first = engine.logs(&name, all.clone()).await.unwrap().next().await.unwrap().unwrap();
    let began = first.at.expect("engines tell when");
    assert_eq!(ask(LogQuery { until: Some(began), ..all.clone() }).await, Vec::<String>::new());
    assert_eq!(ask(LogQuery { since: Some(began), ..all }).await.len(), 3);
}

pub async fn a_followed_log_ends_with_its_container(world: &mut impl EngineWorld) {
    let name = started(world, "followed", Behaviour::Speaks).await;
    world.spoken(&name).await;
    let query = LogQuery { follow: true, tail: None, ..LogQuery::default() };
    let logs = world.engine().logs(&name, query).await.unwrap();
    world.engine().stop(&name, Duration::from_secs(5)).await.unwrap();
    assert_eq!(texts(logs).await, ["flood 1", "flood 2", "flood 3"]);
}

pub async fn a_command_inside_says_how_it_ended(world: &mut impl EngineWorld) {
    let name = started(world, "exec-well", Behaviour::Checks(true)).await;
    let argv = |word: &str| vec!["/testapp".to_owned(), word.to_owned()];
    assert_eq!(world.engine().exec(&name, &argv("true"), PATIENCE).await.unwrap().code, 0);
    let ill = started(world, "exec-ill", Behaviour::Checks(false)).await;
    assert_eq!(world.engine().exec(&ill, &argv("false"), PATIENCE).await.unwrap().code, 1);
    world.engine().stop(&name, Duration::from_secs(5)).await.unwrap();
    let refused = world.engine().exec(&name, &argv("true"), PATIENCE).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
}

pub async fn figures_are_there_while_it_runs(world: &mut impl EngineWorld) {
    let name = started(world, "figures", Behaviour::Runs).await;
    let mut stats = world.engine().stats(&name).await.unwrap();
    let first = tokio::time::timeout(PATIENCE, stats.next()).await.expect("in time").unwrap().unwrap();
    assert!(first.memory > 0 && first.pids > 0, "{first:?}");
    Workloads::remove(&*world.engine(), &name).await.unwrap();
    let rest = tokio::time::timeout(PATIENCE, stats.count()).await;
    assert!(rest.is_ok(), "figures end with the container");
}

fn owner(key: &str) -> Owner {
    let group = GroupRef::parse("group", "suite").expect("a resource name");
    Owner { installation: INSTALLATION.to_owned(), group, key: key.to_owned() }
}

pub async fn a_network_is_made_once_and_kept_while_somebody_is_on_it(world: &mut impl EngineWorld) {
    let engine = world.engine();
    let name = world.name("net");
    let network = Network { name: name.clone(), owner: Some(owner("back")), ..Network::default() };
    Networks::create(&*engine, &network).await.unwrap();
    let again = Networks::create(&*engine, &network).await;
    assert!(matches!(again, Err(Error::NameTaken(_))), "{again:?}");
    assert_eq!(found_network(world, &name).await.unwrap().network.owner, Some(owner("back")));

    let user = world.name("user");
    let mut spec = spec(&user, &world.image());
    world.behave(&mut spec, Behaviour::Runs);
    container(&mut spec).networks =
        vec![Join { network: name.clone(), aliases: vec!["web".to_owned()], ..Join::default() }];
    Workloads::create(&*engine, &spec).await.unwrap();
    engine.start(&user).await.unwrap();
    assert!(shown(world, &user).await.addresses.contains_key(&name));
    let kept = Networks::remove(&*engine, &name).await;
    assert!(matches!(kept, Err(Error::InUse(_))), "{kept:?}");
    Workloads::remove(&*engine, &user).await.unwrap();
    for _ in 0..2 {
        Networks::remove(&*engine, &name).await.unwrap();
    }
}

async fn found_network(world: &impl EngineWorld, name: &str) -> Option<FoundNetwork> {
    let listed = Networks::list(&*world.engine()).await.unwrap();
    listed.into_iter().find(|found| found.network.name == name)
}

pub async fn a_network_is_shown_with_its_definition(world: &mut impl EngineWorld) {
    let network = Network {
        name: world.name("shown-net"),
        owner: Some(owner("back")),
        driver: Some("bridge".to_owned()),
        driver_opts: BTreeMap::from([("com.docker.network.driver.mtu".to_owned(), "1400".to_owned())]),
        internal: true,
        attachable: true,
        enable_ipv6: Some(false),
        labels: BTreeMap::from([("tier".to_owned(), "back".to_owned())]),
        spec_hash: "abc".to_owned(),
        ..Network::default()
    };
    Networks::create(&*world.engine(), &network).await.unwrap();
    let found = found_network(world, &network.name).await.unwrap();
    // The engine has chosen its pool.
    assert_eq!(Network { subnets: Vec::new(), ..found.network }, network);
    assert!(!found.id.is_empty());
    Networks::remove(&*world.engine(), &network.name).await.unwrap();
}

/// A container on a network that was made for it; both names.
async fn on_a_network(world: &mut impl EngineWorld) -> (Network, String) {
    let name = world.name("changing");
    let network =
        Network { name, owner: Some(owner("back")), spec_hash: "one".to_owned(), ..Network::default() };
    Networks::create(&*world.engine(), &network).await.unwrap();
    let user = world.name("member");
    let mut spec = spec(&user, &world.image());
    world.behave(&mut spec, Behaviour::Runs);
    container(&mut spec).networks =
        vec![Join { network: network.name.clone(), aliases: vec!["web".to_owned()], ..Join::default() }];
    Workloads::create(&*world.engine(), &spec).await.unwrap();
    world.engine().start(&user).await.unwrap();
    (network, user)
}

pub async fn a_network_is_replaced_under_who_was_on_it(world: &mut impl EngineWorld) {
    let engine = world.engine();
    let (network, user) = on_a_network(world).await;
    let before = found_network(world, &network.name).await.unwrap().id;
    assert_eq!(shown(world, &user).await.networks.get(&network.name), Some(&before));
    let changed = Network { internal: true, spec_hash: "two".to_owned(), ..network.clone() };
    let refused = engine.replace(&changed, std::slice::from_ref(&user)).await;
    assert!(matches!(refused, Err(Error::InUse(_))), "{refused:?}");
    engine.stop(&user, Duration::ZERO).await.unwrap();
    let listed: Vec<Found> = Workloads::list(&*engine).await.unwrap();
    let listed = listed.into_iter().find(|found| found.name == user).unwrap();
    assert_eq!(listed.networks.get(&network.name), Some(&before), "also while it does not run");
    for _ in 0..2 {
        engine.replace(&changed, std::slice::from_ref(&user)).await.unwrap();
    }
    let found = found_network(world, &network.name).await.unwrap();
    assert!(found.network.internal && found.id != before && found.network.spec_hash == "two");
    engine.start(&user).await.unwrap();
    let started = shown(world, &user).await;
    assert_eq!(started.networks.get(&network.name), Some(&found.id));
    assert!(started.addresses.contains_key(&network.name));
    Workloads::remove(&*engine, &user).await.unwrap();
    Networks::remove(&*engine, &network.name).await.unwrap();
}

pub async fn a_container_whose_network_is_gone_does_not_start(world: &mut impl EngineWorld) {
    let engine = world.engine();
    let (network, user) = on_a_network(world).await;
    engine.stop(&user, Duration::ZERO).await.unwrap();
    // One that does not run holds nothing.
    Networks::remove(&*engine, &network.name).await.unwrap();
    let gone = engine.start(&user).await;
    assert!(matches!(&gone, Err(Error::Refused(why)) if why.contains("not found")), "{gone:?}");
    // Another one of the same name is not its network.
    Networks::create(&*engine, &network).await.unwrap();
    engine.start(&user).await.unwrap_err();
    Workloads::remove(&*engine, &user).await.unwrap();
    Networks::remove(&*engine, &network.name).await.unwrap();
}

pub async fn a_volume_is_made_once_and_kept_while_somebody_has_it(world: &mut impl EngineWorld) {
    let engine = world.engine();
    let name = world.name("data");
    let volume = Volume { name: name.clone(), owner: Some(owner("data")), ..Volume::default() };
    for _ in 0..2 {
        Volumes::create(&*engine, &volume).await.unwrap();
    }
    let known: BTreeMap<_, _> = Volumes::list(&*engine).await.unwrap().into_iter().collect();
    assert_eq!(known.get(&name), Some(&Some(owner("data"))));

    let user = world.name("keeper");
    let mut spec = spec(&user, &world.image());
    container(&mut spec).mounts = vec![Mount::new(MountKind::Volume, Some(name.clone()), "/data")];
    Workloads::create(&*engine, &spec).await.unwrap();
    let kept = Volumes::remove(&*engine, &name).await;
    assert!(matches!(kept, Err(Error::InUse(_))), "{kept:?}");
    Workloads::remove(&*engine, &user).await.unwrap();
    for _ in 0..2 {
        Volumes::remove(&*engine, &name).await.unwrap();
    }
}
