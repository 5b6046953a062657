//! One message and a hundred, through everything that can answer them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

use crate::closd::Closd;
use crate::http1::{self, Connection};
use crate::load::{Asks, Http, Pace, Seen, drive};
use crate::process::{Server, Spent};
use crate::report::{Goal, Report, shown};
use crate::shelf::pb::shelf_client::ShelfClient;
use crate::shelf::{self, DESCRIPTOR_SET, pb};
use crate::{Programs, envoy};

/// Rounds of each, in turn; the medians count.
const ROUNDS: usize = 3;
/// Share of a round's time that goes before it, uncounted.
const WARM: u32 = 4;

const BY_HAND: &str = "hand-written axum";
const IN_PROCESS: &str = "transcoder in process";
const DAEMON: &str = "closd, all layers and its store";
const GATEWAY: &str = "clos-gateway before tonic";
const ENVOY: &str = "Envoy before tonic";
const NATIVE: &str = "native gRPC, tonic";

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    Hundred,
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::One => "one message",
            Self::Hundred => "list of 100",
        }
    }
}

/// How it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mode {
    connections: usize,
    pace: Pace,
}

const ALONE: Mode = Mode { connections: 1, pace: Pace::Closed };
const MANY: Mode = Mode { connections: 32, pace: Pace::Closed };
const STEADY: Mode = Mode { connections: 32, pace: Pace::Open(2_000) };

impl Mode {
    fn name(self) -> String {
        match self.pace {
            Pace::Closed if self.connections == 1 => "1 connection".to_owned(),
            Pace::Closed => format!("{} connections", self.connections),
            Pace::Open(rate) => format!("{rate} a second"),
        }
    }
}

/// Somebody who answers.
struct Subject {
    name: &'static str,
    host: String,
    speaks: Speaks,
    /// The process that is judged, and the one behind it.
    process: u32,
    backend: Option<u32>,
}

enum Speaks {
    Rest { one: String, hundred: String, token: Option<String> },
    Grpc,
}

impl Subject {
    fn shelf(name: &'static str, host: String, server: &Server, backend: Option<&Server>) -> Self {
        let speaks = Speaks::Rest { one: "/v1/items/itm_7".into(), hundred: "/v1/items".into(), token: None };
        Self { name, host, speaks, process: server.id(), backend: backend.map(Server::id) }
    }

    fn request(&self, shape: Shape) -> Option<Vec<u8>> {
        let Speaks::Rest { one, hundred, token } = &self.speaks else { return None };
        let target = if shape == Shape::One { one } else { hundred };
        Some(http1::get(&self.host, target, token.as_deref()))
    }

    /// What it answers, for the size and to see that all say the same.
    async fn answer(&self, shape: Shape) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(request) = self.request(shape) else { return Ok(None) };
        let mut connection = Connection::open(&self.host).await?;
        let (status, body) = connection.ask(&request).await?;
        ensure!(status == 200, "{}: {status} {}", self.name, String::from_utf8_lossy(body));
        Ok(Some(body.to_vec()))
    }

    async fn measure(&self, shape: Shape, mode: Mode, time: Duration) -> anyhow::Result<Measure> {
        match self.request(shape) {
            Some(request) => {
                let (mut askers, request) = (Vec::new(), Arc::<[u8]>::from(request));
                for _ in 0..mode.connections {
                    let connection = Connection::open(&self.host).await?;
                    askers.push(Http { connection, request: Arc::clone(&request) });
                }
                self.observe(askers, mode.pace, time).await
            }
            None => {
                let mut askers = Vec::new();
                for _ in 0..mode.connections {
                    let channel = Endpoint::from_shared(format!("http://{}", self.host))?;
                    let client = ShelfClient::new(channel.tcp_nodelay(true).connect().await?);
                    askers.push(Grpc { client, shape });
                }
                self.observe(askers, mode.pace, time).await
            }
        }
    }

    async fn observe<A: Asks>(&self, askers: Vec<A>, pace: Pace, time: Duration) -> anyhow::Result<Measure> {
        let processes: Vec<u32> = [self.process].into_iter().chain(self.backend).collect();
        let look = || processes.iter().map(|&process| Spent::of(process)).collect::<anyhow::Result<Vec<_>>>();
        let (askers, _) = drive(askers, pace, time / WARM).await?;
        let before = look()?;
        let (_, seen) = drive(askers, pace, time).await?;
        let spent: Vec<f64> = look()?
            .iter()
            .zip(&before)
            .map(|(after, before)| after.since(before).as_secs_f64() * 1e6 / seen.times.total() as f64)
            .collect();
        Ok(Measure::new(&seen, &spent))
    }
}

/// Asks over a channel of its own.
struct Grpc {
    client: ShelfClient<Channel>,
    shape: Shape,
}

impl Asks for Grpc {
    async fn ask(&mut self) -> anyhow::Result<()> {
        match self.shape {
            Shape::One => drop(self.client.get_item(pb::GetItemRequest { id: "itm_7".into() }).await?),
            Shape::Hundred => drop(self.client.list_items(pb::ListItemsRequest {}).await?),
        }
        Ok(())
    }
}

/// Figures of one round, or their medians; processor time in µs a request, latency in µs.
#[derive(Debug, Clone, Copy)]
struct Measure {
    rate: f64,
    own: f64,
    all: f64,
    p50: f64,
    p95: f64,
    p99: f64,
}

impl Measure {
    fn new(seen: &Seen, spent: &[f64]) -> Self {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| seen.times.quantile(share).as_secs_f64() * 1e6);
        Self { rate: seen.rate(), own: spent[0], all: spent.iter().sum(), p50, p95, p99 }
    }

    fn median(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| {
            let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Self {
            rate: of(|it| it.rate),
            own: of(|it| it.own),
            all: of(|it| it.all),
            p50: of(|it| it.p50),
            p95: of(|it| it.p95),
            p99: of(|it| it.p99),
        }
    }
}

/// What was measured of whom.
struct Row {
    name: &'static str,
    shape: Shape,
    mode: Mode,
    bytes: Option<usize>,
    measure: Measure,
}

/// Starts everything, asks all of them in turn, and judges.
pub(crate) async fn measure(
    programs: &Programs,
    folder: &Path,
    time: Duration,
    report: &mut Report,
) -> anyhow::Result<()> {
    let own = std::env::current_exe()?.display().to_string();
    let descriptors = folder.join("shelf.pb");
    std::fs::write(&descriptors, DESCRIPTOR_SET)?;
    let start = async |kind: &'static str| {
        let mut server = Server::start(folder, kind, &[&own, "server", kind])?;
        let host = server.said("listening on ").await?;
        anyhow::Ok((server, host))
    };
    let (axum, axum_host) = start("axum").await?;
    let (transcoder, transcoder_host) = start("transcoder").await?;
    let (tonic, tonic_host) = start("tonic").await?;

    let closd = Closd::start(&programs.closd, folder, "closd").await?;
    let services = closd.fill(shelf::ITEMS).await?;
    let rest = Speaks::Rest {
        one: format!("/api/v2/services/{}", services[7]),
        hundred: "/api/v2/services?limit=100".to_owned(),
        token: Some(closd.token.clone()),
    };
    let daemon = Subject {
        name: DAEMON,
        host: closd.host.clone(),
        speaks: rest,
        process: closd.server.id(),
        backend: None,
    };

    let (set, upstream) = (descriptors.display().to_string(), format!("http://{tonic_host}"));
    let program = programs.gateway.display().to_string();
    let command = [&program, "--descriptor-set", &set, "--upstream", &upstream, "--listen", "127.0.0.1:0"];
    let mut gateway = Server::start(folder, "gateway", &command)?;
    let gateway_host = gateway.said("url=http://").await?;

    let mut subjects = vec![
        Subject::shelf(BY_HAND, axum_host, &axum, None),
        Subject::shelf(IN_PROCESS, transcoder_host, &transcoder, None),
        daemon,
        Subject::shelf(GATEWAY, gateway_host, &gateway, Some(&tonic)),
        Subject {
            name: NATIVE,
            host: tonic_host.clone(),
            speaks: Speaks::Grpc,
            process: tonic.id(),
            backend: None,
        },
    ];
    let envoy = match &programs.envoy {
        Some(program) => {
            let host = free_address()?;
            let file = folder.join("envoy.json");
            let configuration = envoy::configuration(&descriptors, host, tonic_host.parse()?);
            std::fs::write(&file, configuration.to_string())?;
            let (program, file) = (program.display().to_string(), file.display().to_string());
            let command =
                [&program, "-c", &file, "--concurrency", "1", "--use-dynamic-base-id", "-l", "warn"];
            let mut envoy = Server::start(folder, "envoy", &command)?;
            envoy.listens(&host.to_string()).await?;
            subjects.insert(4, Subject::shelf(ENVOY, host.to_string(), &envoy, Some(&tonic)));
            Some(envoy)
        }
        None => None,
    };

    let mut rows: Vec<Row> = Vec::new();
    for shape in [Shape::One, Shape::Hundred] {
        let mut sizes = Vec::new();
        let mut said: Option<Value> = None;
        for subject in &subjects {
            let body = subject.answer(shape).await?;
            sizes.push(body.as_ref().map(Vec::len));
            if let Some(body) = body.filter(|_| subject.name != DAEMON) {
                let body: Value = serde_json::from_slice(&body)?;
                let first = said.get_or_insert_with(|| body.clone());
                ensure!(*first == body, "{} answers differently: {body}", subject.name);
            }
        }
        for mode in [ALONE, MANY, STEADY] {
            let mut rounds: Vec<Vec<Measure>> = vec![Vec::new(); subjects.len()];
            for _ in 0..ROUNDS {
                for (subject, rounds) in subjects.iter().zip(&mut rounds) {
                    let measured = subject.measure(shape, mode, time).await;
                    rounds.push(measured.with_context(|| format!("{}, {}", subject.name, mode.name()))?);
                }
            }
            for ((subject, rounds), bytes) in subjects.iter().zip(&rounds).zip(&sizes) {
                let measure = Measure::median(rounds);
                crate::tell(&format!(
                    "{}, {}, {}: {} µs, {}/s",
                    shape.name(),
                    mode.name(),
                    subject.name,
                    shown(measure.all),
                    shown(measure.rate)
                ));
                rows.push(Row { name: subject.name, shape, mode, bytes: *bytes, measure });
            }
        }
    }

    goals(&rows, report);
    if envoy.is_none() {
        report.note(
            "Envoy is not installed here (`CLOS_TEST_ENVOY` names none): its rows and goals are left out.",
        );
    }
    let resident = gateway.resident()? as f64 / 1e6;
    report.goal(Goal::at_most("clos-gateway after all of this, resident", resident, "MB", 20.0));
    let all = [
        (BY_HAND, Some(&axum)),
        (IN_PROCESS, Some(&transcoder)),
        (DAEMON, Some(&closd.server)),
        (GATEWAY, Some(&gateway)),
        (ENVOY, envoy.as_ref()),
        (NATIVE, Some(&tonic)),
    ];
    let mut residents = Vec::new();
    for (name, server) in all {
        if let Some(server) = server {
            residents.push((name, server.resident()? as f64 / 1e6));
        }
    }
    table(&rows, &residents, report);
    Ok(())
}

fn goals(rows: &[Row], report: &mut Report) {
    let find = |name: &str, shape: Shape, mode: Mode| {
        rows.iter()
            .find(|row| row.name == name && row.shape == shape && row.mode == mode)
            .map(|row| row.measure)
    };
    let mut ratio = |what: String, [a, b]: [f64; 2], unit: &str, limit: f64, at_most: bool| {
        let of = format!("{} {unit}, {} {unit}", shown(a), shown(b));
        let goal = if at_most {
            Goal::at_most(what, a / b, "×", limit)
        } else {
            Goal::at_least(what, a / b, "×", limit)
        };
        report.goal(goal.of(of));
    };
    for shape in [Shape::One, Shape::Hundred] {
        let (name, many) = (shape.name(), MANY.name());
        let Some(hand) = find(BY_HAND, shape, MANY) else { continue };
        let Some(own) = find(IN_PROCESS, shape, MANY) else { continue };
        ratio(
            format!("{name}, {many}, CPU: transcoder in process to hand-written"),
            [own.all, hand.all],
            "µs",
            1.3,
            true,
        );
        if let (Some(own), Some(hand)) = (find(IN_PROCESS, shape, ALONE), find(BY_HAND, shape, ALONE)) {
            ratio(
                format!("{name}, 1 connection, p50: transcoder in process to hand-written"),
                [own.p50, hand.p50],
                "µs",
                1.25,
                true,
            );
        }
        let Some(envoy) = find(ENVOY, shape, MANY) else { continue };
        ratio(
            format!("{name}, {many}, CPU: transcoder in process to Envoy with its backend"),
            [own.all, envoy.all],
            "µs",
            0.2,
            true,
        );
        ratio(
            format!("{name}, {many}, throughput: transcoder in process to Envoy"),
            [own.rate, envoy.rate],
            "/s",
            5.0,
            false,
        );
        let Some(gateway) = find(GATEWAY, shape, MANY) else { continue };
        ratio(
            format!("{name}, {many}, CPU: clos-gateway to Envoy, each without its backend"),
            [gateway.own, envoy.own],
            "µs",
            0.5,
            true,
        );
        ratio(
            format!("{name}, {many}, CPU: the same, each with its backend"),
            [gateway.all, envoy.all],
            "µs",
            0.5,
            true,
        );
    }
    for (shape, mode) in
        [(Shape::One, STEADY), (Shape::One, MANY), (Shape::Hundred, ALONE), (Shape::Hundred, MANY)]
    {
        if let Some(measure) = find(DAEMON, shape, mode) {
            let what = format!("API of closd, {}, {}, p95", shape.name(), mode.name());
            report.goal(Goal::at_most(what, measure.p95 / 1e3, "ms", 100.0));
        }
    }
}

fn table(rows: &[Row], residents: &[(&'static str, f64)], report: &mut Report) {
    let columns = [
        "asked",
        "how",
        "through",
        "answers/s",
        "CPU µs",
        "with backend",
        "p50 µs",
        "p99 µs",
        "bytes",
        "MB resident",
    ];
    let lines = rows.iter().map(|row| {
        let it = row.measure;
        let resident = residents.iter().find(|(name, _)| *name == row.name);
        vec![
            row.shape.name().to_owned(),
            row.mode.name(),
            row.name.to_owned(),
            shown(it.rate),
            shown(it.own),
            if it.all > it.own { shown(it.all) } else { "-".to_owned() },
            shown(it.p50),
            shown(it.p99),
            row.bytes.map_or("-".to_owned(), |bytes| bytes.to_string()),
            resident.map_or("-".to_owned(), |(_, resident)| shown(*resident)),
        ]
    });
    report.table(&columns, &lines.collect::<Vec<_>>());
}

/// An address where nobody listens.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
