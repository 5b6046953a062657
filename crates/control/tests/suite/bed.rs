//! A control over a store in memory, the fake engine and a written-down machine.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clos_control::apply::{Applied, Request, Source};
use clos_control::supervisor::Supervisor;
use clos_control::{Control, Engine, Settings, World};
use clos_domain::ctx::Principal;
use clos_domain::event::{Event, Filter};
use clos_domain::operation::{Operation, State};
use clos_domain::service::{Service, Status};
use clos_domain::{Ctx, Error, Reason, Result};
use clos_store::Store;
use clos_testkit::clock::TickingClock;
use clos_testkit::fake_engine::FakeEngine;
use clos_testkit::fake_files::FakeFiles;
use clos_testkit::fake_host::{FakeHost, FakeProbe};
use clos_testkit::ids::SeqIds;

use crate::store::Flaky;

/// Nothing in these tests takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const FOLDER: &str = "/home/ann/shop";
pub(crate) const INSTALLATION: &str = "inst-of-the-tests";

pub(crate) struct Bed {
    pub(crate) control: Control,
    pub(crate) engine: Arc<FakeEngine>,
    pub(crate) host: Arc<FakeHost>,
    pub(crate) probe: Arc<FakeProbe>,
    pub(crate) files: Arc<FakeFiles>,
    pub(crate) store: Arc<Flaky>,
    pub(crate) world: World,
    pub(crate) clock: Arc<TickingClock>,
    pub(crate) supervisor: Supervisor,
    pub(crate) ctx: Ctx,
}

impl Bed {
    /// A control whose background tasks run, on an engine that has the image `app`.
    pub(crate) async fn new() -> Self {
        let bed = Self::still().await;
        let mut lists = bed.control.system().lists();
        bed.control.start();
        within(lists.wait_for(|lists| *lists > 0)).await.unwrap();
        // That the engine is there is an event, which may come a moment after the first list.
        let watch = bed.control.events().watch(&bed.ctx, Some(0), Filter::default()).await.unwrap();
        within(futures::StreamExt::next(&mut pin!(watch))).await;
        bed
    }

    /// The same without background tasks.
    pub(crate) async fn still() -> Self {
        let clock = Arc::new(TickingClock::default());
        let engine = Arc::new(FakeEngine::by(clock.clone()));
        engine.add_image("app");
        let store = Arc::new(Flaky::over(Arc::new(Store::temporary().await.unwrap())));
        let (host, probe, files) =
            (Arc::new(FakeHost::new()), Arc::new(FakeProbe::new()), Arc::new(FakeFiles::new()));
        let world = World {
            store: store.clone(),
            engine: Engine::of(engine.clone()),
            host: host.clone(),
            probe: probe.clone(),
            files: files.clone(),
            clock: clock.clone(),
            ids: Arc::new(SeqIds::default()),
        };
        let (control, supervisor) = open(&world).await;
        Self {
            control,
            engine,
            host,
            probe,
            files,
            store,
            world,
            clock,
            supervisor,
            ctx: Ctx { principal: Principal::Owner { uid: 1000 }, ..Ctx::system("test") },
        }
    }

    /// A second process on the same store and engine; the first one is gone.
    pub(crate) async fn restarted(self) -> Self {
        // Killed: its tasks do nothing more, and what it was committing is committed or is not. Two that write
        // would each have events that the other one never hears of.
        self.supervisor.drain(Duration::ZERO).await;
        drop(clos_domain::seams::Store::begin(&*self.store).await.unwrap());
        let (control, supervisor) = open(&self.world).await;
        Self { control, supervisor, ..self }
    }

    /// `up` of a compose text in the usual folder, waited for.
    pub(crate) async fn up(&self, text: &str) -> Operation {
        let applied = self.apply(request(text)).await.unwrap();
        self.ended(&applied.operation.unwrap()).await
    }

    /// `up`, not waited for.
    pub(crate) async fn begin_up(&self, text: &str) -> Operation {
        self.apply(request(text)).await.unwrap().operation.unwrap()
    }

    pub(crate) async fn apply(&self, request: Request) -> Result<Applied> {
        // Boxed: whoever awaits it in a test need not have room for all of it.
        within(Box::pin(self.control.groups().apply(&self.ctx, request))).await
    }

    /// The operation when it has ended.
    pub(crate) async fn ended(&self, operation: &Operation) -> Operation {
        let ended = self.control.operations().wait(&self.ctx, operation.id.as_str(), PATIENCE).await.unwrap();
        if !ended.state.is_terminal() {
            let mut view = clos_domain::seams::Store::view(&*self.store).await.unwrap();
            let rows = view.services().of_group(&ended.group_id).await.unwrap();
            panic!("the operation hangs: {ended:#?}\n{rows:#?}");
        }
        ended
    }

    pub(crate) async fn service(&self, name: &str) -> Service {
        self.control.services().get(&self.ctx, name).await.unwrap()
    }

    pub(crate) async fn status(&self, name: &str) -> (Status, Option<Reason>) {
        let service = self.service(name).await;
        (service.status, service.status_reason)
    }

    /// Waits until a service is so, following the journal's head.
    pub(crate) async fn until(&self, name: &str, wanted: impl Fn(&Service) -> bool) -> Service {
        let mut last = None;
        let seen = tokio::time::timeout(PATIENCE, async {
            let mut watch =
                pin!(self.control.events().watch(&self.ctx, None, Filter::default()).await.unwrap());
            loop {
                let service = self.service(name).await;
                if wanted(&service) {
                    return service;
                }
                last = Some(service);
                futures::StreamExt::next(&mut watch).await;
            }
        });
        let seen = seen.await;
        seen.unwrap_or_else(|_| panic!("{name} never got there: {last:#?}"))
    }

    /// Everything in the journal.
    pub(crate) async fn events(&self) -> Vec<Event> {
        self.control.events().list(&self.ctx, &Filter::default(), 0, 1_000).await.unwrap()
    }

    /// Names of all groups.
    pub(crate) async fn groups(&self) -> Vec<String> {
        let page = &clos_domain::page::Request::ALL;
        let all = self.control.groups().list(&self.ctx, None, &[], page).await.unwrap();
        all.items.into_iter().map(|view| view.group.name.to_string()).collect()
    }
}

async fn open(world: &World) -> (Control, Supervisor) {
    let supervisor = Supervisor::default();
    let mut settings = Settings::for_cores(INSTALLATION, 2);
    settings.settles_after = Duration::from_millis(10);
    (Control::open(world.clone(), settings, supervisor.clone()).await.unwrap(), supervisor)
}

/// An `up` of one file `compose.yaml` with every flag off.
pub(crate) fn request(text: &str) -> Request {
    request_in(FOLDER, text)
}

pub(crate) fn request_in(folder: &str, text: &str) -> Request {
    Request {
        group: None,
        instance: None,
        source: Source {
            working_dir: folder.to_owned(),
            files: vec![(format!("{folder}/compose.yaml"), text.to_owned())],
            ..Source::default()
        },
        profiles: Vec::new(),
        dry_run: false,
        start: true,
        build: false,
        pull: None,
        atomic: false,
        adopt: false,
        move_here: false,
        remove_orphans: false,
        services: Vec::new(),
        no_deps: false,
        force_recreate: false,
        renew_anon_volumes: false,
        no_wait: false,
    }
}

/// Fails the test instead of hanging it.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("takes too long")
}

/// The states of an operation's steps as `action subject state REASON`.
pub(crate) fn steps(operation: &Operation) -> Vec<String> {
    let line = |step: &clos_domain::operation::Step| {
        let reason = step.reason.map(|reason| format!(" {}", reason.as_str())).unwrap_or_default();
        format!("{} {} {}{reason}", step.action.as_str(), step.subject, step.state.as_str())
    };
    operation.steps.iter().map(line).collect()
}

#[track_caller]
pub(crate) fn assert_completed(operation: &Operation) {
    assert_eq!(operation.state, State::Completed, "{}\n{:#?}", operation.message, steps(operation));
}

#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(answer: Result<T>, reason: Reason, words: &str) -> Error {
    let error = answer.expect_err("should have been refused");
    assert_eq!(error.reason(), reason, "{error}");
    assert!(error.message().contains(words), "`{}` does not say `{words}`", error.message());
    error
}
