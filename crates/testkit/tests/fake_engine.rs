//! The fake engine passes what the real one passes.
#![allow(missing_docs, reason = "the cases are named for what they show")]

use std::sync::Arc;

use async_trait::async_trait;
use clos_domain::copied::CopiedFile;
use clos_domain::health::Verdict;
use clos_domain::workload::Spec;
use clos_testkit::engine_suite::{Behaviour, EngineWorld};
use clos_testkit::fake_engine::FakeEngine;

const IMAGE: &str = "clos-test/app:latest";

struct Fake(Arc<FakeEngine>);

fn fake() -> Fake {
    let engine = FakeEngine::new();
    engine.add_image(IMAGE);
    Fake(Arc::new(engine))
}

#[async_trait]
impl EngineWorld for Fake {
    type Engine = FakeEngine;

    fn engine(&self) -> Arc<FakeEngine> {
        self.0.clone()
    }

    fn name(&mut self, word: &str) -> String {
        format!("suite-{word}-1")
    }

    fn image(&self) -> String {
        IMAGE.to_owned()
    }

    fn behave(&self, spec: &mut Spec, behaviour: Behaviour) {
        match behaviour {
            Behaviour::Runs | Behaviour::Speaks => {}
            Behaviour::ExitsWith(code) => self.0.exits_with(&spec.name, code),
            Behaviour::IgnoresTerm => self.0.ignores_term(&spec.name),
            Behaviour::Checks(is_well) => self.0.exec_answers(&spec.name, i64::from(!is_well), ""),
        }
    }

    async fn spoken(&self, name: &str) {
        for number in 1..=3 {
            self.0.say(name, &format!("flood {number} x"));
        }
    }

    async fn judge(&self, name: &str, verdict: Verdict) {
        self.0.set_health(name, verdict);
    }

    async fn take_port(&mut self, name: &str) -> u16 {
        self.0.port_stolen(name, 5432);
        5432
    }

    async fn free_port(&mut self) -> u16 {
        8081
    }

    async fn file(&self, name: &str, target: &str) -> CopiedFile {
        self.0.files(name).into_iter().find(|file| file.target == target).expect("it was copied")
    }
}

clos_testkit::engine_suite!(fake());
