//! A machine whose ports and answers are written down.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use clos_domain::port::{Holder, Protocol};
use clos_domain::seams::host::{Answer, BindTest, Target};
use clos_domain::seams::{Host, Probe};

/// A host with the listeners that a test gave it.
#[derive(Debug, Default)]
pub struct FakeHost {
    state: Mutex<Ports>,
}

#[derive(Debug, Default)]
struct Ports {
    listeners: Vec<Listener>,
    refused: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Listener {
    ip: String,
    port: u16,
    protocol: Protocol,
    holder: Holder,
}

impl FakeHost {
    /// A host on which every port is free.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on `holder` listens there.
    pub fn take(&self, ip: &str, port: u16, protocol: Protocol, holder: Holder) {
        self.state().listeners.push(Listener { ip: ip.to_owned(), port, protocol, holder });
    }

    /// From now on a process called `name` listens on every address.
    pub fn take_by_process(&self, port: u16, name: &str) {
        let holder = Holder::Process { name: name.to_owned(), pid: 4_711, uid: Some(1_000) };
        self.take("0.0.0.0", port, Protocol::Tcp, holder);
    }

    /// Whoever listens on the port goes.
    pub fn release(&self, port: u16) {
        self.state().listeners.retain(|listener| listener.port != port);
    }

    /// From now on this address is not one of the machine.
    pub fn refuse(&self, ip: &str, why: &str) {
        self.state().refused.insert(ip.to_owned(), why.to_owned());
    }

    fn state(&self) -> MutexGuard<'_, Ports> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Host for FakeHost {
    async fn bind_test(&self, host_ip: &str, port: u16, protocol: Protocol) -> BindTest {
        let host_ip = if host_ip.is_empty() { "0.0.0.0" } else { host_ip };
        let Ok(wanted) = host_ip.parse::<IpAddr>() else {
            return BindTest::Refused(format!("`{host_ip}` is not an IP address"));
        };
        let state = self.state();
        if let Some(why) = state.refused.get(host_ip) {
            return BindTest::Refused(why.clone());
        }
        let is_taken =
            state.listeners.iter().any(|listener| listener.has(port, protocol) && listener.collides(wanted));
        if is_taken { BindTest::Taken } else { BindTest::Free }
    }

    async fn holder(&self, port: u16, protocol: Protocol) -> Holder {
        let state = self.state();
        let found = state.listeners.iter().find(|listener| listener.has(port, protocol));
        found.map_or(Holder::Unknown, |listener| listener.holder.clone())
    }
}

impl Listener {
    fn has(&self, port: u16, protocol: Protocol) -> bool {
        (self.port, self.protocol) == (port, protocol)
    }

    /// A wildcard collides with every address of its family.
    fn collides(&self, wanted: IpAddr) -> bool {
        self.ip.parse::<IpAddr>().is_ok_and(|own| {
            let same_family = own.is_ipv4() == wanted.is_ipv4();
            own == wanted || (same_family && (own.is_unspecified() || wanted.is_unspecified()))
        })
    }
}

/// A probe that answers as a test wrote down: `connection refused` where it wrote nothing.
#[derive(Debug, Default)]
pub struct FakeProbe {
    state: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    scripted: BTreeMap<String, VecDeque<Answer>>,
    silent: Vec<String>,
    otherwise: Option<Answer>,
    asked: Vec<Target>,
}

impl FakeProbe {
    /// A probe to which nothing answers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The answers of a target in order; the last one stays. A target is named by
    /// its URL, or by `host:port`.
    pub fn script(&self, target: &str, answers: impl IntoIterator<Item = Answer>) {
        let mut state = self.state();
        state.silent.retain(|silent| silent != target);
        state.scripted.insert(target.to_owned(), answers.into_iter().collect());
    }

    /// What every target says for which nothing was written down.
    pub fn answer_everything(&self, answer: Answer) {
        self.state().otherwise = Some(answer);
    }

    /// The target takes connections and never says a word.
    pub fn silence(&self, target: &str) {
        self.state().silent.push(target.to_owned());
    }

    /// What was asked so far, in order.
    pub fn asked(&self) -> Vec<Target> {
        self.state().asked.clone()
    }

    fn state(&self) -> MutexGuard<'_, Answers> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer, or nothing for a target that says nothing.
    fn next(&self, target: &Target) -> Option<Answer> {
        let name = match target {
            Target::Http { url, .. } => url.clone(),
            Target::Tcp { host, port } => format!("{host}:{port}"),
        };
        let mut state = self.state();
        state.asked.push(target.clone());
        if state.silent.contains(&name) {
            return None;
        }
        let refused = Answer::Ill("connection refused".to_owned());
        let otherwise = state.otherwise.clone().unwrap_or(refused);
        let Some(answers) = state.scripted.get_mut(&name) else { return Some(otherwise) };
        if answers.len() > 1 {
            answers.pop_front()
        } else {
            Some(answers.front().cloned().unwrap_or(otherwise))
        }
    }
}

#[async_trait]
impl Probe for FakeProbe {
    async fn ask(&self, target: &Target, timeout: Duration) -> Answer {
        let answer = self.next(target);
        if answer.is_none() {
            tokio::time::sleep(timeout).await;
        }
        answer.unwrap_or_else(|| Answer::Ill(format!("no answer within {} ms", timeout.as_millis())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_suite::{Behaviour, HostWorld, ProbeWorld};

    #[derive(Default)]
    struct ScriptedHost {
        host: FakeHost,
        next: u16,
    }

    #[async_trait]
    impl HostWorld for ScriptedHost {
        fn host(&self) -> &dyn Host {
            &self.host
        }

        async fn listen(&mut self, ip: &str, protocol: Protocol) -> u16 {
            self.next += 1;
            let holder = Holder::Process { name: "test".into(), pid: std::process::id(), uid: None };
            self.host.take(ip, 40_000 + self.next, protocol, holder);
            40_000 + self.next
        }

        async fn leave(&mut self, port: u16) {
            self.host.release(port);
        }

        fn foreign_address(&self) -> String {
            self.host.refuse("192.0.2.1", "`192.0.2.1` is not an address of this machine");
            "192.0.2.1".to_owned()
        }
    }

    crate::host_suite!(ScriptedHost::default());

    #[derive(Default)]
    struct ScriptedProbe {
        probe: FakeProbe,
    }

    #[async_trait]
    impl ProbeWorld for ScriptedProbe {
        fn probe(&self) -> &dyn Probe {
            &self.probe
        }

        async fn serve(&mut self, behaviour: Behaviour) -> u16 {
            let (tcp, url) = ("127.0.0.1:40000", "http://127.0.0.1:40000/healthz");
            let ill = |why: &str| [Answer::Ill(why.to_owned())];
            match behaviour {
                Behaviour::Status(status) => {
                    self.probe.script(tcp, [Answer::Well]);
                    let is_well = (200..400).contains(&status) || status == 418;
                    self.probe.script(url, [Answer::Http { status, is_well }]);
                }
                Behaviour::Silent => {
                    self.probe.script(tcp, [Answer::Well]);
                    self.probe.silence(url);
                }
                Behaviour::ClosesAtOnce => {
                    self.probe.script(tcp, ill("the connection was closed at once"));
                    self.probe.script(url, ill("the connection was closed before an answer"));
                }
                Behaviour::Absent => {}
            }
            40_000
        }
    }

    crate::probe_suite!(ScriptedProbe::default());

    #[tokio::test]
    async fn everything_answers_where_a_test_says_so() {
        let probe = FakeProbe::new();
        probe.answer_everything(Answer::Well);
        let target = Target::Tcp { host: "api".into(), port: 80 };
        assert_eq!(probe.ask(&target, Duration::from_secs(1)).await, Answer::Well);
    }

    #[tokio::test]
    async fn answers_come_in_the_order_of_the_script_and_the_last_one_stays() {
        let probe = FakeProbe::new();
        let target = Target::Tcp { host: "api".into(), port: 80 };
        probe.script("api:80", [Answer::Ill("status 503".into()), Answer::Well]);
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push(probe.ask(&target, Duration::from_secs(1)).await);
        }
        assert_eq!(answers, [Answer::Ill("status 503".into()), Answer::Well, Answer::Well]);
        assert_eq!(probe.asked().len(), 3);
    }
}
