//! The real engine passes what the fake one passes. `make test` starts one of its own and names it
//! in `CLOS_TEST_DOCKER_HOST`.
#![allow(clippy::disallowed_methods, reason = "a test reads which engine it is to use")]
#![allow(missing_docs, reason = "the cases are named for what they show")]

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use clos_domain::health::{Test, Verdict};
use clos_domain::seams::engine::{LogQuery, Workloads as _};
use clos_domain::workload::Spec;
use clos_engine::{Docker, Environment};
use clos_testkit::engine_suite::{Behaviour, EngineWorld};
use futures::StreamExt as _;

const IMAGE: &str = "clos-test/app:latest";

struct Real {
    engine: Arc<Docker>,
    host: String,
    names: Vec<String>,
    taken: Vec<TcpListener>,
}

async fn real() -> Real {
    let host = std::env::var("CLOS_TEST_DOCKER_HOST")
        .expect("CLOS_TEST_DOCKER_HOST names no engine: run the tests by `make test`, or start one by scripts/dockerd.sh");
    let environment = Environment { docker_host: Some(host.clone()), ..Environment::default() };
    let engine = Docker::find(&environment).await.expect("an address");
    Real { engine: Arc::new(engine), host, names: Vec::new(), taken: Vec::new() }
}

impl Drop for Real {
    /// Also after a case that failed.
    fn drop(&mut self) {
        for words in [&["rm", "-f", "-v"][..], &["network", "rm"], &["volume", "rm", "-f"]] {
            let mut docker = Command::new("docker");
            docker.arg("-H").arg(&self.host).args(words).args(&self.names);
            let _ = docker.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

#[async_trait]
impl EngineWorld for Real {
    type Engine = Docker;

    fn engine(&self) -> Arc<Docker> {
        self.engine.clone()
    }

    fn name(&mut self, word: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("suite-{}-{count}-{word}", std::process::id());
        self.names.push(name.clone());
        name
    }

    fn image(&self) -> String {
        IMAGE.to_owned()
    }

    fn behave(&self, spec: &mut Spec, behaviour: Behaviour) {
        let mut set = |name: &str, value: &str| drop(spec.environment.insert(name.into(), value.into()));
        match behaviour {
            Behaviour::Runs => set("LISTEN", "8080"),
            Behaviour::ExitsWith(code) => {
                set("RUN_ONCE", "1");
                set("EXIT_CODE", &code.to_string());
            }
            Behaviour::IgnoresTerm => set("IGNORE_TERM", "1"),
            Behaviour::Speaks => {
                set("FLOOD", "max");
                set("FLOOD_LINES", "3");
            }
            Behaviour::Checks(is_well) => {
                let word = if is_well { "true" } else { "false" };
                if let Some(check) = &mut spec.health {
                    check.test = Test::Command { argv: vec!["/testapp".into(), word.into()] };
                }
            }
        }
    }

    async fn spoken(&self, name: &str) {
        let query = LogQuery { follow: true, tail: None, ..LogQuery::default() };
        let mut lines = self.engine.logs(name, query).await.expect("a log");
        let third = async {
            while let Some(line) = lines.next().await {
                if line.expect("a line").text.starts_with("flood 3") {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), third).await.expect("it speaks");
    }

    async fn judge(&self, _: &str, _: Verdict) {
        // The engine asks by itself.
    }

    async fn take_port(&mut self, _: &str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        self.taken.push(listener);
        port
    }

    async fn free_port(&mut self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address").port()
    }
}

clos_testkit::engine_suite!(real().await);
