//! A container engine in memory that behaves as engines do, and as badly as a test says.
//!
//! It keeps what a test asks about: which calls came in which order ([`FakeEngine::log`]), how many
//! at once, what exists and runs. Faults are scripted by call and name: a reply that gets lost, an
//! error, a call that is held until the test lets it go, events that nobody hears. Nothing waits
//! for time; what takes time on a real engine takes one turn of the scheduler here.
//!
//! It is a driver of the conformance suite ([`mod@crate::engine_suite`]) like the real one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use clos_domain::Timestamp;
use clos_domain::copied::{CopiedFile, is_within};
use clos_domain::health::{LastCheck, Verdict};
use clos_domain::port::Binding;
use clos_domain::seams::Clock;
use clos_domain::seams::engine::{
    Error, Event, ExecOutcome, Images, Info, LogLine, LogQuery, Networks, OnProgress, Progress, Stats,
    Volumes, Workloads,
};
use clos_domain::service::Change;
use clos_domain::workload::{
    Build, Composed, Found, FoundNetwork, Image, MountKind, Network, Owner, Restart, Spec, State, Volume,
};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::{mpsc, watch};

use crate::clock::TickingClock;

/// What ends as soon as it is started is started so often by its policy, before it is left waiting.
const SCRIPTED_RESTARTS: u32 = 3;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// The engine.
pub struct FakeEngine {
    clock: Arc<dyn Clock>,
    state: Mutex<Engine>,
}

#[derive(Default)]
struct Engine {
    containers: BTreeMap<String, Container>,
    networks: BTreeMap<String, FoundNetwork>,
    gateways: BTreeMap<String, Ipv4Addr>,
    volumes: BTreeMap<String, Option<Owner>>,
    images: BTreeMap<String, Image>,
    /// Bytes in build contexts: what changes with [`FakeEngine::change_sources`].
    sources: u64,
    image_volumes: HashMap<String, Vec<String>>,
    /// The id that a registry's image has.
    remote_images: BTreeMap<String, String>,
    subscribers: Vec<mpsc::UnboundedSender<Event>>,
    next_id: u64,
    script: Script,
    log: Vec<String>,
    starts: HashMap<String, usize>,
    at_once: usize,
    most_at_once: usize,
}

/// What a test has said.
#[derive(Default)]
struct Script {
    exits: HashMap<String, i32>,
    answers: HashMap<String, (i64, String)>,
    deaf: BTreeSet<String>,
    stolen: HashMap<String, u16>,
    failures: HashMap<(String, String), Error>,
    lost: Vec<String>,
    holds: HashMap<(String, String), Arc<Gate>>,
    build_failure: Option<String>,
    torn: BTreeSet<String>,
    is_down: bool,
    drops_events: bool,
}

struct Container {
    found: Found,
    spec_ports: Vec<Binding>,
    volumes: BTreeSet<String>,
    files: Vec<CopiedFile>,
    has_check: bool,
    before_pause: Verdict,
    keeps_log: bool,
    restart: Restart,
    lines: Vec<LogLine>,
    /// Those who follow; they hear lines as long as it runs.
    followers: Vec<mpsc::UnboundedSender<LogLine>>,
}

impl Container {
    fn runs(&self) -> bool {
        matches!(self.found.state, State::Running { .. } | State::Paused)
    }

    /// Its lines from now on, until it ends.
    fn follow(&mut self) -> BoxStream<'static, LogLine> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.followers.push(sender);
        stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) }).boxed()
    }
}

/// A call that waits.
struct Gate {
    reached: watch::Sender<bool>,
    is_open: watch::Sender<bool>,
}

/// Holds a call until it is dropped.
pub struct Hold(Arc<Gate>);

impl Hold {
    /// Returns when the call has come and waits.
    pub async fn reached(&self) {
        let mut reached = self.0.reached.subscribe();
        // The sender lives as long as we do.
        let _ = reached.wait_for(|reached| *reached).await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.is_open.send_replace(true);
    }
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeEngine {
    /// An empty engine with a clock of its own.
    pub fn new() -> Self {
        Self::by(Arc::new(TickingClock::default()))
    }

    /// An empty engine on the test's clock: what it tells is then later than what was seen before.
    pub fn by(clock: Arc<dyn Clock>) -> Self {
        let gateways = BTreeMap::from([("bridge".to_owned(), Ipv4Addr::new(172, 17, 0, 1))]);
        Self { clock, state: Mutex::new(Engine { gateways, ..Engine::default() }) }
    }

    // ---- what a test prepares

    /// It was started without a network of its own.
    pub fn remove_bridge(&self) {
        self.state().gateways.clear();
    }

    /// It has the image; when it had one of that name, the name means another now.
    pub fn add_image(&self, image: &str) {
        let mut state = self.state();
        let id = state.new_id();
        state.images.insert(tagged(image), Image { id, build_digest: None });
    }

    /// Something in the build contexts changed: the next build makes other images.
    pub fn change_sources(&self) {
        self.state().sources += 1;
    }

    /// The image declares a volume there.
    pub fn declare_volume(&self, image: &str, target: &str) {
        self.state().image_volumes.entry(tagged(image)).or_default().push(target.to_owned());
    }

    /// A registry has the image; when it had one of that name, it is another now.
    pub fn add_remote_image(&self, image: &str) {
        let mut state = self.state();
        let id = state.new_id();
        state.remote_images.insert(tagged(image), id);
    }

    /// A running container of somebody else.
    pub fn add_foreign(&self, name: &str, image: &str) {
        self.add_unlabelled(name, image, None);
    }

    /// A running container that docker compose made.
    pub fn add_composed(&self, name: &str, image: &str, composed: Composed) {
        self.add_unlabelled(name, image, Some(composed));
    }

    fn add_unlabelled(&self, name: &str, image: &str, composed: Option<Composed>) {
        let now = self.clock.now();
        let mut state = self.state();
        let id = state.new_id();
        let image_id = state.images.get(&tagged(image)).map(|image| image.id.clone()).unwrap_or_default();
        let found = Found {
            id: id.clone(),
            name: name.to_owned(),
            identity: None,
            composed,
            labels: BTreeMap::new(),
            image: image.to_owned(),
            image_id,
            state: State::Running { health: Verdict::None },
            addresses: BTreeMap::new(),
            networks: BTreeMap::new(),
            ports: Vec::new(),
            anonymous_volumes: BTreeMap::new(),
            shares_with: BTreeSet::new(),
            started_at: Some(now),
            finished_at: None,
            restarts: 0,
            last_check: None,
        };
        state.containers.insert(name.to_owned(), container(found));
        for change in [Change::Created, Change::Started] {
            state.tell(&id, name, change, now);
        }
    }

    /// It ends with this code as soon as it is started.
    pub fn exits_with(&self, name: &str, code: i32) {
        self.state().script.exits.insert(name.to_owned(), code);
    }

    /// What a command in it answers; without a word of the test 0 and nothing.
    pub fn exec_answers(&self, name: &str, code: i64, output: &str) {
        self.state().script.answers.insert(name.to_owned(), (code, output.to_owned()));
    }

    /// It has to be killed.
    pub fn ignores_term(&self, name: &str) {
        self.state().script.deaf.insert(name.to_owned());
    }

    /// Between the bind test and its start somebody takes the port.
    pub fn port_stolen(&self, name: &str, port: u16) {
        self.state().script.stolen.insert(name.to_owned(), port);
    }

    /// The call on this name fails from now on.
    pub fn fail_always(&self, call: &str, name: &str, error: Error) {
        self.state().script.failures.insert((call.to_owned(), name.to_owned()), error);
    }

    /// The call on this name does not fail any more.
    pub fn heal(&self, call: &str, name: &str) {
        self.state().script.failures.remove(&(call.to_owned(), name.to_owned()));
    }

    /// The next such call has its effect, and nobody hears of it.
    pub fn lose_next_reply(&self, call: &str) {
        self.state().script.lost.push(call.to_owned());
    }

    /// The next call on this name waits, before its effect, until the hold is dropped.
    pub fn hold(&self, call: &str, name: &str) -> Hold {
        let gate = Arc::new(Gate { reached: watch::Sender::new(false), is_open: watch::Sender::new(false) });
        self.state().script.holds.insert((call.to_owned(), name.to_owned()), gate.clone());
        Hold(gate)
    }

    /// Its log breaks off behind the last line.
    pub fn tear_log(&self, name: &str, is_torn: bool) {
        let torn = &mut self.state().script.torn;
        if is_torn {
            torn.insert(name.to_owned());
        } else {
            torn.remove(name);
        }
    }

    /// Every build ends with these words.
    pub fn fail_builds(&self, why: &str) {
        self.state().script.build_failure = Some(why.to_owned());
    }

    // ---- what happens by hand

    /// It ends, as by `docker kill`.
    pub fn kill(&self, name: &str, code: i32) {
        let now = self.clock.now();
        let mut state = self.state();
        state.signal(name, SIGKILL, now);
        state.end(name, code, now);
    }

    /// It gets a signal, as by `docker kill -s`, and goes on.
    pub fn signal(&self, name: &str, signal: i32) {
        let now = self.clock.now();
        self.state().signal(name, signal, now);
    }

    /// It ends with this code after a signal that asks it to, as by `docker stop`.
    pub fn stop_by_hand(&self, name: &str, code: i32) {
        let now = self.clock.now();
        self.state().stop(name, code, now);
    }

    /// It is frozen, as by `docker pause`.
    pub fn pause_by_hand(&self, name: &str) {
        let now = self.clock.now();
        self.state().freeze(name, now);
    }

    /// It goes on, as by `docker unpause`.
    pub fn unpause_by_hand(&self, name: &str) {
        let now = self.clock.now();
        self.state().thaw(name, now);
    }

    /// It is removed, as by `docker rm -f`.
    pub fn remove_by_hand(&self, name: &str) {
        let now = self.clock.now();
        self.state().take_away(name, now);
    }

    /// It ends by itself: the engine waits to start it again where its policy says so.
    pub fn crash(&self, name: &str, code: i32) {
        let now = self.clock.now();
        self.state().crash(name, code, now);
    }

    /// The engine starts again what has crashed.
    pub fn restart_by_policy(&self, name: &str) {
        let now = self.clock.now();
        let mut state = self.state();
        let container = state.containers.get(name).expect("a container that the test made");
        assert_eq!(container.found.state, State::Restarting, "{name} has not crashed");
        state.begin(name, now);
    }

    /// It is started, as by `docker start`.
    pub fn start_by_hand(&self, name: &str) {
        let now = self.clock.now();
        let mut state = self.state();
        if let Some(container) = state.containers.get_mut(name) {
            container.found.restarts = 0;
        }
        state.begin(name, now);
    }

    /// The engine's own check has another verdict.
    pub fn set_health(&self, name: &str, verdict: Verdict) {
        let now = self.clock.now();
        let mut state = self.state();
        let container = state.containers.get_mut(name).expect("a container that the test made");
        container.found.state = State::Running { health: verdict };
        let id = container.found.id.clone();
        state.tell(&id, name, Change::Health(verdict), now);
    }

    /// What the engine's own check was last told; the verdict is another matter.
    pub fn answer_check(&self, name: &str, check: LastCheck) {
        let mut state = self.state();
        let container = state.containers.get_mut(name).expect("a container that the test made");
        container.found.last_check = Some(check);
    }

    /// It writes a line.
    pub fn say(&self, name: &str, line: &str) {
        self.write(name, line, false);
    }

    /// It writes a line to its standard error.
    pub fn complain(&self, name: &str, line: &str) {
        self.write(name, line, true);
    }

    fn write(&self, name: &str, line: &str, stderr: bool) {
        let at = Some(self.clock.now());
        let mut state = self.state();
        let container = state.containers.get_mut(name).expect("a container that the test made");
        let line = LogLine { at, stderr, text: line.to_owned(), raw: None, partial: false };
        container.followers.retain(|follower| follower.send(line.clone()).is_ok());
        container.lines.push(line);
    }

    /// It wrote exactly this, then and in these pieces.
    pub fn put_line(&self, name: &str, line: LogLine) {
        let mut state = self.state();
        let container = state.containers.get_mut(name).expect("a container that the test made");
        container.followers.retain(|follower| follower.send(line.clone()).is_ok());
        container.lines.push(line);
    }

    /// It starts, writes a line and ends before anybody looks.
    pub fn run_shortly(&self, name: &str, line: &str, code: i32) {
        let now = self.clock.now();
        let at = Some(self.clock.now());
        let end = self.clock.now();
        let mut state = self.state();
        state.begin(name, now);
        let container = state.containers.get_mut(name).expect("a container that the test made");
        container.lines.push(LogLine { at, stderr: false, text: line.to_owned(), raw: None, partial: false });
        state.end(name, code, end);
    }

    /// It publishes a port.
    pub fn publish(&self, name: &str, host_port: u16, container_port: u16) {
        let mut state = self.state();
        let container = state.containers.get_mut(name).expect("a container that the test made");
        let host_ip = "0.0.0.0".to_owned();
        container.found.ports.push(Binding {
            host_port,
            container_port,
            host_ip,
            protocol: Default::default(),
        });
    }

    /// It joins a network.
    pub fn join(&self, name: &str, network: &str) {
        let mut state = self.state();
        let id = state.networks.get(network).map(|found| found.id.clone()).unwrap_or_default();
        let container = state.containers.get_mut(name).expect("a container that the test made");
        container.found.networks.insert(network.to_owned(), id);
        container.found.addresses.insert(network.to_owned(), "10.9.0.9".to_owned());
    }

    /// A container is taken off a network, as by `docker network disconnect`.
    pub fn disconnect(&self, name: &str, network: &str) {
        let mut state = self.state();
        let container = state.containers.get_mut(name).expect("a container that the test made");
        container.found.networks.remove(network);
        container.found.addresses.remove(network);
    }

    /// Somebody makes a network.
    pub fn add_network(&self, network: Network) {
        self.state().make_network(network);
    }

    /// A network is removed, as by `docker network rm`.
    pub fn remove_network_by_hand(&self, name: &str) {
        self.state().networks.remove(name);
    }

    /// From now on nobody hears what happens; the stream stands.
    pub fn drop_events(&self, drops: bool) {
        self.state().script.drops_events = drops;
    }

    /// The event stream breaks and is made anew.
    pub fn reconnect(&self) {
        let state = self.state();
        state.tell_all(&Event::Disconnected("the test says so".to_owned()));
        state.tell_all(&Event::Connected);
    }

    /// An event that was underway for long: from before everything that the clock has shown.
    pub fn tell_late(&self, id: &str, name: &str, change: Change) {
        let long_ago = Timestamp::UNIX_EPOCH;
        self.state().tell(id, name, change, long_ago);
    }

    /// Nobody answers any more.
    pub fn down(&self) {
        let mut state = self.state();
        state.script.is_down = true;
        state.tell_all(&Event::Disconnected("connection refused".to_owned()));
    }

    /// It answers again.
    pub fn up(&self) {
        let mut state = self.state();
        state.script.is_down = false;
        state.tell_all(&Event::Connected);
    }

    // ---- what a test asks

    /// The id of a container.
    pub fn id(&self, name: &str) -> Option<String> {
        self.state().containers.get(name).map(|container| container.found.id.clone())
    }

    /// Ids of the containers whose namespaces it shares.
    pub fn shared_by(&self, name: &str) -> Vec<String> {
        let state = self.state();
        let shared = state.containers.get(name).map(|container| container.found.shares_with.clone());
        shared.into_iter().flatten().collect()
    }

    /// Every call so far, `start shop-web-1`.
    pub fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    /// How often a call came for a name.
    pub fn calls(&self, call: &str, name: &str) -> usize {
        let line = format!("{call} {name}");
        self.state().log.iter().filter(|it| **it == line).count()
    }

    /// How often it was really started.
    pub fn starts_of(&self, name: &str) -> usize {
        self.state().starts.get(name).copied().unwrap_or_default()
    }

    /// The most calls that change something at one time.
    pub fn most_at_once(&self) -> usize {
        self.state().most_at_once
    }

    /// Whether there is such a container.
    pub fn has(&self, name: &str) -> bool {
        self.state().containers.contains_key(name)
    }

    /// Whether it runs.
    pub fn runs(&self, name: &str) -> bool {
        self.state().containers.get(name).is_some_and(Container::runs)
    }

    /// What was copied into the container.
    pub fn files(&self, name: &str) -> Vec<CopiedFile> {
        self.state().containers.get(name).map(|it| it.files.clone()).unwrap_or_default()
    }

    /// Every network.
    pub fn network_names(&self) -> Vec<String> {
        self.state().networks.keys().cloned().collect()
    }

    /// A network as it is.
    pub fn network(&self, name: &str) -> Option<FoundNetwork> {
        self.state().networks.get(name).cloned()
    }

    /// The names of the networks that a container is on, and whether each is the one that is there.
    pub fn joined(&self, name: &str) -> Vec<(String, bool)> {
        let state = self.state();
        let joined = state.containers.get(name).map(|container| container.found.networks.clone());
        let is_there = |network: &str, id: &str| state.networks.get(network).is_some_and(|it| it.id == id);
        joined
            .into_iter()
            .flatten()
            .map(|(network, id)| {
                let is = is_there(&network, &id);
                (network, is)
            })
            .collect()
    }

    /// Every volume.
    pub fn volume_names(&self) -> Vec<String> {
        self.state().volumes.keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, Engine> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call comes in: it is counted, held, refused.
    async fn enter(&self, call: &str, name: &str) -> Result<(), Error> {
        let key = (call.to_owned(), name.to_owned());
        let gate = {
            let mut state = self.state();
            state.log.push(format!("{call} {name}"));
            if state.script.is_down {
                return Err(Error::Unreachable("connection refused".to_owned()));
            }
            state.script.holds.remove(&key)
        };
        if let Some(gate) = gate {
            gate.reached.send_replace(true);
            // An error would mean that the hold is gone, which opens the gate too.
            let _ = gate.is_open.subscribe().wait_for(|open| *open).await;
        }
        match self.state().script.failures.get(&key) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// The same for a call that changes something.
    async fn enter_change(&self, call: &str, name: &str) -> Result<(), Error> {
        {
            let mut state = self.state();
            state.at_once += 1;
            state.most_at_once = state.most_at_once.max(state.at_once);
        }
        let _underway = Underway(self);
        // Others come in between, as they do when an answer takes its time.
        tokio::task::yield_now().await;
        self.enter(call, name).await
    }

    /// A call goes out: its answer may get lost.
    fn leave<T>(&self, call: &str, answer: Result<T, Error>) -> Result<T, Error> {
        let mut state = self.state();
        match state.script.lost.iter().position(|lost| lost == call) {
            Some(at) => {
                state.script.lost.remove(at);
                Err(Error::UnknownOutcome(call.to_owned()))
            }
            None => answer,
        }
    }
}

struct Underway<'a>(&'a FakeEngine);

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.0.state().at_once -= 1;
    }
}

impl Engine {
    fn new_id(&mut self) -> String {
        self.next_id += 1;
        // The beginning tells them apart, as it does on a real engine.
        format!("{:012x}{:052x}", self.next_id, 0)
    }

    fn make_network(&mut self, network: Network) {
        let id = self.new_id();
        self.networks.insert(network.name.clone(), FoundNetwork { id, network });
    }

    /// A container that runs on it.
    fn is_on(&self, network: &str) -> bool {
        self.containers.values().any(|it| it.runs() && it.found.networks.contains_key(network))
    }

    /// The id of what is named so, or of what has this id.
    fn id_of(&self, name: &str) -> Result<String, Error> {
        Ok(self.containers[&self.name_of(name)?].found.id.clone())
    }

    fn tell(&self, id: &str, name: &str, change: Change, at: Timestamp) {
        if !self.script.drops_events {
            self.tell_all(&Event::Workload { id: id.to_owned(), name: name.to_owned(), change, at });
        }
    }

    fn tell_all(&self, event: &Event) {
        for subscriber in &self.subscribers {
            // Who has gone hears nothing.
            let _ = subscriber.send(event.clone());
        }
    }

    /// It starts, and ends at once where the test says so.
    fn begin(&mut self, name: &str, now: Timestamp) {
        let Some(container) = self.containers.get_mut(name) else { return };
        let health = if container.has_check { Verdict::Starting } else { Verdict::None };
        container.found.state = State::Running { health };
        container.found.started_at = Some(now);
        container.found.finished_at = None;
        container.found.ports = container.spec_ports.clone();
        for (network, id) in &mut container.found.networks {
            if let Some(found) = self.networks.get(network) {
                id.clone_from(&found.id);
            }
        }
        let joined = container.found.networks.keys().cloned();
        container.found.addresses = joined.map(|network| (network, "10.77.0.2".to_owned())).collect();
        let id = container.found.id.clone();
        *self.starts.entry(name.to_owned()).or_default() += 1;
        self.tell(&id, name, Change::Started, now);
        if let Some(code) = self.script.exits.get(name).copied() {
            self.crash(name, code, now);
        }
    }

    /// It ends by itself, and begins again where its policy says so. An engine does that for ever,
    /// with ever longer pauses; here it gives up waiting after a few times.
    fn crash(&mut self, name: &str, code: i32, now: Timestamp) {
        let Some(container) = self.containers.get_mut(name).filter(|container| container.runs()) else {
            return;
        };
        let goes_on = match container.restart {
            Restart::No => false,
            Restart::OnFailure { max_retries } => {
                code != 0 && (max_retries == 0 || container.found.restarts < max_retries)
            }
            Restart::Always | Restart::UnlessStopped => true,
        };
        if goes_on {
            container.found.restarts += 1;
        }
        let (is_scripted, restarts) = (self.script.exits.contains_key(name), container.found.restarts);
        self.end(name, code, now);
        if !goes_on {
            return;
        }
        if let Some(container) = self.containers.get_mut(name) {
            container.found.state = State::Restarting;
        }
        if is_scripted && restarts <= SCRIPTED_RESTARTS {
            self.begin(name, now);
        }
    }

    fn signal(&mut self, name: &str, signal: i32, now: Timestamp) {
        let Some(container) = self.containers.get(name).filter(|container| container.runs()) else { return };
        self.tell(&container.found.id, name, Change::Signalled(signal), now);
    }

    /// Asks it to end; a paused one goes on to do so.
    fn stop(&mut self, name: &str, code: i32, now: Timestamp) {
        let Some(container) = self.containers.get(name) else { return };
        let (id, runs) = (container.found.id.clone(), container.runs());
        self.signal(name, SIGTERM, now);
        self.thaw(name, now);
        if runs && code == 128 + SIGKILL {
            self.signal(name, SIGKILL, now);
        }
        self.end(name, code, now);
        if runs {
            self.tell(&id, name, Change::Stopped, now);
        }
    }

    fn freeze(&mut self, name: &str, now: Timestamp) {
        let Some(container) = self.containers.get_mut(name) else { return };
        if let State::Running { health } = container.found.state {
            container.before_pause = health;
            container.found.state = State::Paused;
            let id = container.found.id.clone();
            self.tell(&id, name, Change::Paused, now);
        }
    }

    fn thaw(&mut self, name: &str, now: Timestamp) {
        let Some(container) = self.containers.get_mut(name) else { return };
        if container.found.state == State::Paused {
            container.found.state = State::Running { health: container.before_pause };
            let id = container.found.id.clone();
            self.tell(&id, name, Change::Unpaused, now);
        }
    }

    fn end(&mut self, name: &str, code: i32, now: Timestamp) {
        let is_up = |it: &&mut Container| it.runs() || it.found.state == State::Restarting;
        let Some(container) = self.containers.get_mut(name).filter(is_up) else {
            return;
        };
        container.found.state = State::Exited { code, oom: false };
        container.found.finished_at = Some(now);
        container.found.ports.clear();
        container.found.addresses.clear();
        container.followers.clear();
        let id = container.found.id.clone();
        self.tell(&id, name, Change::Died { code }, now);
    }

    fn take_away(&mut self, name: &str, now: Timestamp) {
        self.signal(name, SIGKILL, now);
        self.end(name, 137, now);
        if let Some(container) = self.containers.remove(name) {
            self.tell(&container.found.id, name, Change::Removed, now);
        }
    }

    /// The name of a container by its name or id.
    fn name_of(&self, name: &str) -> Result<String, Error> {
        let found = self.containers.values().find(|it| it.found.name == name || it.found.id == name);
        found.map(|it| it.found.name.clone()).ok_or_else(|| Error::NotFound(name.to_owned()))
    }
}

fn container(found: Found) -> Container {
    Container {
        found,
        spec_ports: Vec::new(),
        volumes: BTreeSet::new(),
        files: Vec::new(),
        has_check: false,
        before_pause: Verdict::None,
        keeps_log: true,
        restart: Restart::No,
        lines: Vec::new(),
        followers: Vec::new(),
    }
}

/// Images without a tag are `latest`.
fn tagged(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains(':') || name.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}

#[async_trait]
impl Workloads for FakeEngine {
    fn known(&self) -> Info {
        Info { found_by: "the test".to_owned(), address: "memory".to_owned(), ..Info::default() }
    }

    async fn ping(&self) -> Result<Info, Error> {
        self.enter("ping", "").await?;
        Ok(Info {
            kind: "fake".to_owned(),
            version: "1".to_owned(),
            api_version: "1.0".to_owned(),
            platform: "linux/amd64".to_owned(),
            ..self.known()
        })
    }

    async fn create(&self, spec: &Spec) -> Result<String, Error> {
        self.enter_change("create", &spec.name).await?;
        let now = self.clock.now();
        let made = {
            let mut state = self.state();
            let run = spec.container();
            if state.containers.contains_key(&spec.name) {
                return Err(Error::NameTaken(spec.name.clone()));
            }
            let Some(Image { id: image_id, .. }) = state.images.get(&tagged(&run.image)).cloned() else {
                return Err(Error::NoImage(run.image.clone()));
            };
            let shared = run.shared_with().into_iter().map(|owner| state.id_of(owner));
            let shares_with = shared.collect::<Result<BTreeSet<_>, _>>()?;
            if let Some(file) = run.files.iter().find(|file| {
                let declared = state.image_volumes.get(&tagged(&run.image)).into_iter().flatten();
                let mut targets = declared.chain(run.mounts.iter().map(|mount| &mount.target));
                run.read_only || targets.any(|target| is_within(&file.target, target))
            }) {
                return Err(Error::Refused(format!("`{}` cannot be copied there", file.target)));
            }
            let id = state.new_id();
            // What the definition or the image declares without a name, as it was or anew.
            let declared = state.image_volumes.get(&tagged(&run.image)).cloned().unwrap_or_default();
            let unnamed =
                run.mounts.iter().filter(|mount| mount.kind == MountKind::Volume && mount.source.is_none());
            let mut targets: BTreeSet<String> = unnamed.map(|mount| mount.target.clone()).collect();
            targets.extend(
                declared.into_iter().filter(|target| run.mounts.iter().all(|mount| mount.target != *target)),
            );
            let mut anonymous = BTreeMap::new();
            for target in targets {
                let volume = spec.inherited.get(&target).cloned().unwrap_or_else(|| state.new_id());
                state.volumes.entry(volume.clone()).or_default();
                anonymous.insert(target, volume);
            }
            let found = Found {
                id: id.clone(),
                name: spec.name.clone(),
                identity: Some(spec.identity.clone()),
                composed: None,
                labels: spec.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
                image: run.image.clone(),
                image_id,
                state: State::Created,
                addresses: BTreeMap::new(),
                // It gets their ids with its first start.
                networks: run.networks.iter().map(|join| (join.network.clone(), String::new())).collect(),
                ports: Vec::new(),
                anonymous_volumes: anonymous.clone(),
                shares_with,
                started_at: None,
                finished_at: None,
                restarts: 0,
                last_check: None,
            };
            let named = run.mounts.iter().filter(|mount| mount.kind == MountKind::Volume);
            let made = Container {
                spec_ports: spec.ports.clone(),
                volumes: named
                    .filter_map(|mount| mount.source.clone())
                    .chain(anonymous.into_values())
                    .collect(),
                files: run.files.clone(),
                has_check: spec.health.is_some(),
                keeps_log: spec.logging.as_ref().and_then(|it| it.driver.as_deref()) != Some("none"),
                restart: spec.restart,
                ..container(found)
            };
            state.containers.insert(spec.name.clone(), made);
            state.tell(&id, &spec.name, Change::Created, now);
            id
        };
        self.leave("create", Ok(made))
    }

    async fn start(&self, name: &str) -> Result<(), Error> {
        self.enter_change("start", name).await?;
        let now = self.clock.now();
        {
            let mut state = self.state();
            let name = state.name_of(name)?;
            let wanted = &state.containers[&name];
            if wanted.found.state == State::Paused {
                return Err(Error::Refused(
                    "cannot start a paused container, try unpause instead".to_owned(),
                ));
            }
            if wanted.runs() {
                return Ok(());
            }
            for owner in &wanted.found.shares_with {
                let owner = state.containers.values().find(|other| other.found.id == *owner);
                match owner {
                    None => return Err(Error::Refused("joining namespace: No such container".to_owned())),
                    Some(owner) if !owner.runs() => {
                        return Err(Error::Refused(
                            "cannot join namespace of a non running container".to_owned(),
                        ));
                    }
                    Some(_) => {}
                }
            }
            for (network, id) in &wanted.found.networks {
                let is_there = match id.as_str() {
                    "" => state.networks.contains_key(network),
                    id => state.networks.values().any(|found| found.id == id),
                };
                if !is_there {
                    let sought = if id.is_empty() { network } else { id };
                    return Err(Error::Refused(format!("network {sought} not found")));
                }
            }
            if wanted.found.state == State::Restarting {
                // Only a stop ends that; a start is taken and changes nothing.
                return Ok(());
            }
            let is_taken = |port: &&Binding| {
                state.containers.values().any(|other| {
                    other.runs() && other.found.ports.iter().any(|it| it.host_port != 0 && it.collides(port))
                })
            };
            if let Some(port) = wanted.spec_ports.iter().find(is_taken) {
                return Err(Error::PortAllocated { port: port.host_port });
            }
            if let Some(port) = state.script.stolen.get(&name).copied() {
                return Err(Error::PortInUse { port });
            }
            state.begin(&name, now);
        }
        self.leave("start", Ok(()))
    }

    async fn stop(&self, name: &str, _grace: Duration) -> Result<(), Error> {
        self.enter_change("stop", name).await?;
        let now = self.clock.now();
        {
            let mut state = self.state();
            let name = state.name_of(name)?;
            let code = if state.script.deaf.contains(&name) { 128 + SIGKILL } else { 128 + SIGTERM };
            state.stop(&name, code, now);
        }
        self.leave("stop", Ok(()))
    }

    async fn pause(&self, name: &str) -> Result<(), Error> {
        self.enter_change("pause", name).await?;
        let now = self.clock.now();
        {
            let mut state = self.state();
            let name = state.name_of(name)?;
            if !state.containers[&name].runs() {
                return Err(Error::Refused(format!("container {name} is not running")));
            }
            state.freeze(&name, now);
        }
        self.leave("pause", Ok(()))
    }

    async fn unpause(&self, name: &str) -> Result<(), Error> {
        self.enter_change("unpause", name).await?;
        let now = self.clock.now();
        {
            let mut state = self.state();
            let name = state.name_of(name)?;
            if !state.containers[&name].runs() {
                return Err(Error::Refused(format!("container {name} is not paused")));
            }
            state.thaw(&name, now);
        }
        self.leave("unpause", Ok(()))
    }

    async fn remove(&self, name: &str) -> Result<(), Error> {
        self.enter_change("remove", name).await?;
        let now = self.clock.now();
        {
            let mut state = self.state();
            if let Ok(name) = state.name_of(name) {
                state.take_away(&name, now);
            }
        }
        self.leave("remove", Ok(()))
    }

    async fn rename(&self, name: &str, to: &str) -> Result<(), Error> {
        self.enter_change("rename", name).await?;
        {
            let mut state = self.state();
            let name = state.name_of(name)?;
            if state.containers.contains_key(to) {
                return Err(Error::NameTaken(to.to_owned()));
            }
            let mut container = state.containers.remove(&name).expect("it was just found");
            container.found.name = to.to_owned();
            let starts = state.starts.remove(&name).unwrap_or_default();
            *state.starts.entry(to.to_owned()).or_default() += starts;
            state.containers.insert(to.to_owned(), container);
        }
        self.leave("rename", Ok(()))
    }

    async fn inspect(&self, name: &str) -> Result<Option<Found>, Error> {
        self.enter("inspect", name).await?;
        let state = self.state();
        let found = state.name_of(name).ok().map(|name| state.containers[&name].found.clone());
        Ok(found)
    }

    async fn list(&self) -> Result<Vec<Found>, Error> {
        self.enter("list", "").await?;
        // The list of a real engine knows no moments and no restarts either.
        let brief = |it: &Container| Found {
            shares_with: BTreeSet::new(),
            started_at: None,
            finished_at: None,
            restarts: 0,
            last_check: None,
            ..it.found.clone()
        };
        Ok(self.state().containers.values().map(brief).collect())
    }

    async fn logs(
        &self,
        name: &str,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, Error>>, Error> {
        self.enter("logs", name).await?;
        let mut state = self.state();
        let name = state.name_of(name)?;
        let is_torn = state.script.torn.contains(&name);
        let container = state.containers.get_mut(&name).expect("it was just found");
        if !container.keeps_log {
            return Err(Error::Unsupported(
                "read the logs of a container whose logging driver keeps none".into(),
            ));
        }
        let is_asked_for = {
            let query = query.clone();
            move |line: &LogLine| {
                (if line.stderr { query.stderr } else { query.stdout })
                    && query.since.is_none_or(|since| line.at.is_none_or(|at| since <= at))
                    && query.until.is_none_or(|until| line.at.is_none_or(|at| at < until))
            }
        };
        let mut past: Vec<LogLine> =
            container.lines.iter().filter(|line| is_asked_for(line)).cloned().collect();
        if let Some(tail) = query.tail {
            let tail = usize::try_from(tail).unwrap_or(usize::MAX);
            past.drain(..past.len().saturating_sub(tail));
        }
        let past = stream::iter(past.into_iter().map(Ok));
        if is_torn {
            return Ok(past.chain(stream::iter([Err(Error::Failed("the log is torn".to_owned()))])).boxed());
        }
        if !query.follow || !container.runs() {
            return Ok(past.boxed());
        }
        let coming = container.follow().filter(move |line| std::future::ready(is_asked_for(line)));
        Ok(past.chain(coming.map(Ok)).boxed())
    }

    fn events(&self) -> BoxStream<'static, Event> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state();
        if !state.script.is_down {
            let _ = sender.send(Event::Connected);
        }
        state.subscribers.push(sender);
        stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) }).boxed()
    }

    async fn stats(&self, name: &str) -> Result<BoxStream<'static, Result<Stats, Error>>, Error> {
        self.enter("stats", name).await?;
        let mut state = self.state();
        let name = state.name_of(name)?;
        let container = state.containers.get_mut(&name).expect("it was just found");
        if !container.runs() {
            return Ok(stream::empty().boxed());
        }
        let one = Stats {
            at: Some(self.clock.now()),
            cpu_percent: 50.0,
            memory: 2_000_000,
            memory_limit: 8_000_000,
            pids: 1,
            ..Stats::default()
        };
        // One a second on a real engine: here two at once, and no other before the end.
        let end = container.follow().filter_map(|_| std::future::ready(None));
        Ok(stream::iter([Ok(one.clone()), Ok(one)]).chain(end).boxed())
    }

    async fn exec(&self, name: &str, _argv: &[String], _timeout: Duration) -> Result<ExecOutcome, Error> {
        self.enter("exec", name).await?;
        // A command takes a moment, and others get their turn.
        tokio::task::yield_now().await;
        let state = self.state();
        let name = state.name_of(name)?;
        if state.containers[&name].found.state == State::Paused {
            return Err(Error::Refused(format!("container {name} is paused, unpause it before exec")));
        }
        if !state.containers[&name].runs() {
            return Err(Error::Refused(format!("container {name} is not running")));
        }
        let (code, output) = state.script.answers.get(&name).cloned().unwrap_or_default();
        Ok(ExecOutcome { code, output })
    }
}

#[async_trait]
impl Images for FakeEngine {
    async fn find(&self, image: &str) -> Result<Option<Image>, Error> {
        self.enter("image-find", image).await?;
        Ok(self.state().images.get(&tagged(image)).cloned())
    }

    async fn resolvable(&self, image: &str) -> Result<(), Error> {
        self.enter("image-resolve", image).await?;
        let state = self.state();
        let name = tagged(image);
        if state.images.contains_key(&name) || state.remote_images.contains_key(&name) {
            return Ok(());
        }
        Err(Error::PullRefused { image: image.to_owned(), why: "manifest unknown".to_owned() })
    }

    async fn pull(&self, image: &str, _: Option<&str>, progress: OnProgress<'_>) -> Result<(), Error> {
        self.enter("pull", image).await?;
        let name = tagged(image);
        let Some(id) = self.state().remote_images.get(&name).cloned() else {
            return Err(Error::PullRefused { image: image.to_owned(), why: "manifest unknown".to_owned() });
        };
        for current in [512, 1024] {
            progress(Progress { part: "layer".into(), message: "Downloading".into(), current, total: 1024 });
        }
        self.state().images.insert(name, Image { id, build_digest: None });
        self.leave("pull", Ok(()))
    }

    async fn build(&self, image: &str, build: &Build, progress: OnProgress<'_>) -> Result<(), Error> {
        self.enter("build", image).await?;
        let message = format!("from {}", build.context);
        progress(Progress { part: String::new(), message, current: 0, total: 0 });
        let mut state = self.state();
        if let Some(why) = state.script.build_failure.clone() {
            return Err(Error::BuildFailed { image: image.to_owned(), why });
        }
        // Everything of it cached: the same image as before.
        let what = Build { tags: Vec::new(), no_cache: false, pull: false, ..build.clone() };
        let mut id = format!("{what:?} {}", state.sources);
        if build.no_cache {
            id = state.new_id();
        }
        let made = Image { id, build_digest: Some(build.digest.clone()) };
        let names = build.tags.iter().map(String::as_str).chain([image]);
        state.images.extend(names.map(|name| (tagged(name), made.clone())));
        Ok(())
    }
}

#[async_trait]
impl Networks for FakeEngine {
    async fn create(&self, network: &Network) -> Result<(), Error> {
        self.enter("network-create", &network.name).await?;
        let mut state = self.state();
        if state.networks.contains_key(&network.name) {
            return Err(Error::NameTaken(network.name.clone()));
        }
        state.make_network(network.clone());
        drop(state);
        self.leave("network-create", Ok(()))
    }

    async fn remove(&self, name: &str) -> Result<(), Error> {
        self.enter("network-remove", name).await?;
        let mut state = self.state();
        if state.is_on(name) {
            return Err(Error::InUse(name.to_owned()));
        }
        state.networks.remove(name);
        Ok(())
    }

    async fn replace(&self, network: &Network, containers: &[String]) -> Result<(), Error> {
        self.enter_change("network-replace", &network.name).await?;
        {
            let mut state = self.state();
            if state.is_on(&network.name) {
                return Err(Error::InUse(network.name.clone()));
            }
            let shown = state.networks.get(&network.name);
            if shown.is_none_or(|found| found.network.spec_hash != network.spec_hash) {
                state.make_network(network.clone());
            }
            let id = state.networks[&network.name].id.clone();
            for container in containers {
                let Ok(name) = state.name_of(container) else { continue };
                let container = state.containers.get_mut(&name).expect("it was just found");
                container
                    .found
                    .networks
                    .entry(network.name.clone())
                    .and_modify(|joined| joined.clone_from(&id));
            }
        }
        self.leave("network-replace", Ok(()))
    }

    async fn list(&self) -> Result<Vec<FoundNetwork>, Error> {
        self.enter("network-list", "").await?;
        Ok(self.state().networks.values().cloned().collect())
    }

    async fn gateway(&self, name: &str) -> Result<Option<Ipv4Addr>, Error> {
        self.enter("network-gateway", name).await?;
        Ok(self.state().gateways.get(name).copied())
    }
}

#[async_trait]
impl Volumes for FakeEngine {
    async fn create(&self, volume: &Volume) -> Result<(), Error> {
        self.enter("volume-create", &volume.name).await?;
        self.state().volumes.entry(volume.name.clone()).or_insert_with(|| volume.owner.clone());
        self.leave("volume-create", Ok(()))
    }

    async fn remove(&self, name: &str) -> Result<(), Error> {
        self.enter("volume-remove", name).await?;
        let mut state = self.state();
        if state.containers.values().any(|it| it.volumes.contains(name)) {
            return Err(Error::InUse(name.to_owned()));
        }
        state.volumes.remove(name);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(String, Option<Owner>)>, Error> {
        self.enter("volume-list", "").await?;
        Ok(self.state().volumes.clone().into_iter().collect())
    }
}
