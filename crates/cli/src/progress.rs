//! Follows an operation to its end and shows what it does meanwhile.
//!
//! The first ^C asks the daemon to cancel and goes on following; a second one leaves.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use clos_client::Client;
use clos_proto::v2 as pb;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::Progress;
use crate::ending;
use crate::failure::{self, Failure};
use crate::output::words::{Paint, Tone};
use crate::output::{self, words};
use crate::session::Session;
use crate::time;

/// How often what waits is drawn anew.
const TICK: Duration = Duration::from_millis(100);

/// Follows an operation; returns it as it ended, well.
pub(crate) async fn follow(
    session: &Session<'_>,
    client: &Client,
    operation: &pb::Operation,
) -> Result<pb::Operation, Failure> {
    let ended = watch(session, client, operation).await?;
    match ended.status() {
        pb::OperationStatus::Completed => Ok(ended),
        pb::OperationStatus::Cancelled if ended.cancel_requested => {
            session.note(&format!(
                "{} cancelled; what is running was left running",
                words::verb(ended.r#type())
            ));
            Err(Failure::Interrupted)
        }
        _ => {
            let log = ending::last_lines(client, &ended).await;
            Err(Failure::Operation(Box::new(ended), log))
        }
    }
}

async fn watch(
    session: &Session<'_>,
    client: &Client,
    operation: &pb::Operation,
) -> Result<pb::Operation, Failure> {
    let mut display = Display::of(session, operation);
    let held = session.context.interrupts.hold();
    let mut watch = client.watch_operation(&operation.id).await?;
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            event = watch.next() => match event? {
                Some(event) => display.show(session, &event)?,
                None => break,
            },
            () = held.come() => {
                display.say(session, "cancelling; press ^C again to leave without waiting");
                client.cancel_operation(pb::CancelOperationRequest { id: operation.id.clone() }).await?;
            }
            _ = tick.tick() => display.tick(),
        }
    }
    let ended = client.get_operation(pb::GetOperationRequest { id: operation.id.clone() }).await?;
    display.end();
    Ok(ended)
}

enum Display {
    Quiet,
    Json,
    Plain { paint: Paint, takes_away: bool, lines: Lines },
    Tree(Box<Tree>),
}

impl Display {
    fn of(session: &Session<'_>, operation: &pb::Operation) -> Self {
        let paint = session.style.on_error;
        let takes_away = operation.r#type() == pb::OperationType::Down;
        let plain = || Self::Plain { paint, takes_away, lines: Lines::of(operation) };
        match session.global.progress {
            Progress::Quiet => Self::Quiet,
            Progress::Json => Self::Json,
            Progress::Plain => plain(),
            Progress::Tty => Self::Tree(Box::new(Tree::new(paint, operation))),
            Progress::Auto if session.global.quiet => Self::Quiet,
            Progress::Auto if session.context.streams.err_is_terminal => {
                Self::Tree(Box::new(Tree::new(paint, operation)))
            }
            Progress::Auto => plain(),
        }
    }

    fn show(&mut self, session: &Session<'_>, event: &pb::Event) -> Result<(), Failure> {
        match self {
            Self::Quiet => {}
            Self::Json => session.context.say(&format!("{}\n", output::text("Event", event, &[])?)),
            Self::Plain { paint, takes_away, lines } => {
                let step = Step::of(event, *takes_away).and_then(|step| lines.shown(step));
                if let Some(step) = step {
                    let (text, tone) = step.text();
                    session.context.say(&format!("{} {}\n", step.name, paint.word(tone, &text)));
                }
            }
            Self::Tree(tree) => tree.show(event),
        }
        Ok(())
    }

    fn say(&self, session: &Session<'_>, line: &str) {
        match self {
            Self::Tree(tree) => drop(tree.bars.println(line)),
            _ => session.note(line),
        }
    }

    fn tick(&self) {
        if let Self::Tree(tree) = self {
            tree.rows.values().filter(|row| !row.bar.is_finished()).for_each(|row| row.bar.tick());
        }
    }

    fn end(&self) {
        if let Self::Tree(tree) = self {
            tree.rows.values().filter(|row| !row.bar.is_finished()).for_each(|row| row.bar.abandon());
            tree.head.finish();
        }
    }
}

/// One row a service, network or volume, in the order in which they begin.
struct Tree {
    paint: Paint,
    bars: MultiProgress,
    head: ProgressBar,
    title: String,
    takes_away: bool,
    rows: HashMap<String, Row>,
    /// Whose row a step is: progress in bytes names the step only.
    steps: HashMap<i32, String>,
}

struct Row {
    bar: ProgressBar,
    open: usize,
}

impl Tree {
    fn new(paint: Paint, operation: &pb::Operation) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let head = bars.add(ProgressBar::new_spinner());
        head.set_style(style("{msg}"));
        let whole = words::group_name(&operation.group_name, &operation.instance);
        let title = format!("{} {whole}", words::verb(operation.r#type()));
        head.set_message(title.trim().to_owned());
        let takes_away = operation.r#type() == pb::OperationType::Down;
        Self { paint, bars, head, title, takes_away, rows: HashMap::new(), steps: HashMap::new() }
    }

    fn show(&mut self, event: &pb::Event) {
        if let Some(step) = Step::of(event, self.takes_away) {
            self.steps.insert(step.number, step.name.clone());
            self.step(&step);
            let done = self.rows.values().filter(|row| row.bar.is_finished()).count();
            self.head.set_message(format!("{} {done}/{}", self.title, self.rows.len()));
            return;
        }
        let Some(data) = &event.data else { return };
        let (Some(current), Some(step)) = (data.progress_current, data.step) else { return };
        if let Some(row) = self.steps.get(&step).and_then(|name| self.rows.get(name)) {
            let of = match data.progress_total {
                Some(total) if total > 0 => format!(" of {}", bytes(total)),
                _ => String::new(),
            };
            row.bar.set_message(format!(
                "{} {}{of}",
                data.message.as_deref().unwrap_or("pulling"),
                bytes(current)
            ));
        }
    }

    fn step(&mut self, step: &Step) {
        let row = self.rows.entry(step.name.clone()).or_insert_with(|| {
            let bar = self.bars.add(ProgressBar::new_spinner());
            bar.set_style(style(" {spinner} {prefix:24} {msg} {elapsed}"));
            bar.set_prefix(step.name.clone());
            Row { bar, open: 0 }
        });
        let (text, tone) = step.text();
        if step.status == "in_progress" {
            row.open += 1;
            row.bar.reset();
            row.bar.set_style(style(" {spinner} {prefix:24} {msg} {elapsed}"));
            row.bar.set_message(text);
            return;
        }
        row.open = row.open.saturating_sub(1);
        if row.open > 0 {
            return;
        }
        // No spinner any more: a glyph, that the next step of the same name takes away again.
        let glyph = self.paint.apply(tone, words::glyph(tone).unwrap_or("-"));
        row.bar.set_style(style(&format!(" {glyph} {{prefix:24}} {{msg}} {{elapsed}}")));
        row.bar.finish_with_message(self.paint.apply(tone, &text));
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn bytes(count: i64) -> String {
    indicatif::HumanBytes(u64::try_from(count).unwrap_or_default()).to_string()
}

/// Which steps have a line of their own.
struct Lines {
    /// The steps of replacements: of these, people see only that a service is recreated.
    swaps: HashMap<i32, Place>,
    /// Services that were said to be skipped.
    skipped: HashSet<String>,
}

/// Where a step is in a replacement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Within,
    Last,
}

impl Lines {
    fn of(operation: &pb::Operation) -> Self {
        let mut swaps = HashMap::new();
        let steps = &operation.steps;
        for first in steps.iter().filter(|step| step.action() == pb::StepAction::Create) {
            let of_it = |step: &&pb::Step| step.service == first.service && step.number >= first.number;
            let own: Vec<&pb::Step> = steps.iter().filter(of_it).collect();
            let removes = own.iter().any(|step| step.action() == pb::StepAction::Remove);
            let last = own.iter().rfind(|step| step.action() == pb::StepAction::Rename);
            let Some(last) = last.filter(|_| removes) else { continue };
            for step in own.iter().filter(|step| step.number <= last.number) {
                let place = match step.number {
                    number if number == first.number => Place::First,
                    number if number == last.number => Place::Last,
                    _ => Place::Within,
                };
                swaps.insert(step.number, place);
            }
        }
        Self { swaps, skipped: HashSet::new() }
    }

    /// The step as people see it, if at all.
    fn shown(&mut self, step: Step) -> Option<Step> {
        if step.is_skipped() && !self.skipped.insert(step.name.clone()) {
            return None;
        }
        let Some(place) = self.swaps.get(&step.number) else { return Some(step) };
        let is_shown = match step.status.as_str() {
            "in_progress" => *place == Place::First,
            "completed" => *place == Place::Last,
            _ => true,
        };
        is_shown.then(|| Step { action: "recreate".into(), ..step })
    }
}

/// A step of the operation that began or ended.
struct Step {
    number: i32,
    name: String,
    action: String,
    status: String,
    reason: String,
    message: String,
}

impl Step {
    fn of(event: &pb::Event, takes_away: bool) -> Option<Self> {
        let data = event.data.as_ref().filter(|_| event.r#type == "operation.progress")?;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let (service, subject, action) = (text(&data.service_name), text(&data.subject), text(&data.action));
        let name = match action.as_str() {
            "network" | "volume" => format!("{action} {subject}"),
            _ if service.is_empty() => subject,
            _ => service,
        };
        let (status, reason, message) = (text(&data.status), text(&data.reason), text(&data.message));
        // The same word for both ways: what is taken down has its networks and volumes removed.
        let is_thing = matches!(action.as_str(), "network" | "volume");
        let action = if takes_away && is_thing { "remove".to_owned() } else { action };
        Some(Self { number: data.step?, name, action, status, reason, message })
    }

    /// It was not begun because of another one's failure; its message says which.
    fn is_skipped(&self) -> bool {
        self.status == "cancelled" && self.reason == "SKIPPED" && !self.message.is_empty()
    }

    fn text(&self) -> (String, Tone) {
        let (doing, done) = match self.action.as_str() {
            "pull" => ("pulling", "pulled"),
            "build" => ("building", "built"),
            "network" | "volume" | "create" => ("creating", "created"),
            "start" => ("starting", "started"),
            "wait" => ("waiting", "ready"),
            "stop" => ("stopping", "stopped"),
            "remove" => ("removing", "removed"),
            "rename" => ("renaming", "renamed"),
            "recreate" => ("recreating", "recreated"),
            "pause" => ("pausing", "paused"),
            "unpause" => ("unpausing", "unpaused"),
            "kill" => ("killing", "killed"),
            "hook" => ("running its hook", "its hook has run"),
            other => (other, other),
        };
        let why = if self.message.is_empty() { &self.reason } else { &self.message };
        let (why, _) = failure::without_log(why);
        let with_why = |text: String| if why.is_empty() { text } else { format!("{text}: {why}") };
        let failed = if self.action == "wait" { "not ready".to_owned() } else { format!("{doing} failed") };
        match self.status.as_str() {
            _ if self.is_skipped() => (self.message.clone(), Tone::Warn),
            "pending" => ("pending".to_owned(), Tone::Faint),
            "in_progress" => (doing.to_owned(), Tone::Plain),
            // A removal that found somebody else on the thing says so.
            "completed" if self.message.starts_with("kept: ") => (self.message.clone(), Tone::Warn),
            "completed" => (done.to_owned(), Tone::Good),
            "failed" => (with_why(failed), Tone::Bad),
            _ => (with_why(format!("{doing} cancelled")), Tone::Warn),
        }
    }
}

/// How long an operation took, once it has ended.
pub(crate) fn took(operation: &pb::Operation) -> Option<String> {
    let started = time::of(operation.started_at.as_ref())?;
    let ended = time::of(operation.ended_at.as_ref())?;
    let millis = ended.as_millisecond() - started.as_millisecond();
    #[expect(clippy::cast_precision_loss, reason = "for people: a tenth of a second")]
    let seconds = millis as f64 / 1000.0;
    Some(format!("{seconds:.1} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_never_said_to_be_removed() {
        let step = |message: &str| Step {
            number: 1,
            name: "network shop_default".into(),
            action: "remove".into(),
            status: "completed".into(),
            reason: String::new(),
            message: message.into(),
        };
        assert_eq!(step("").text(), ("removed".to_owned(), Tone::Good));
        let kept = "kept: container `other` uses it";
        assert_eq!(step(kept).text(), (kept.to_owned(), Tone::Warn));
    }

    fn planned(number: i32, action: pb::StepAction) -> pb::Step {
        pb::Step { number, service: "shop/web".into(), action: action.into(), ..pb::Step::default() }
    }

    fn lines(operation: &pb::Operation, told: &[(i32, &str, &str, &str, &str)]) -> Vec<String> {
        let mut lines = Lines::of(operation);
        let steps = told.iter().filter_map(|(number, action, status, reason, message)| {
            lines.shown(Step {
                number: *number,
                name: "web".into(),
                action: (*action).into(),
                status: (*status).into(),
                reason: (*reason).into(),
                message: (*message).into(),
            })
        });
        steps.map(|step| step.text().0).collect()
    }

    #[test]
    fn a_replacement_is_one_thing() {
        use pb::StepAction as A;
        let steps = [A::Create, A::Stop, A::Start, A::Remove, A::Rename, A::Wait];
        let steps = (1..).zip(steps).map(|(number, action)| planned(number, action)).collect();
        let operation = pb::Operation { steps, ..pb::Operation::default() };
        let mut told = Vec::new();
        for (number, action) in (1..).zip(["create", "stop", "start", "remove", "rename", "wait"]) {
            told.extend([(number, action, "in_progress", "", ""), (number, action, "completed", "", "")]);
        }
        assert_eq!(lines(&operation, &told), ["recreating", "recreated", "waiting", "ready"]);
        let failed =
            [(1, "create", "in_progress", "", ""), (3, "start", "failed", "EXITED", "no such program")];
        assert_eq!(lines(&operation, &failed), ["recreating", "recreating failed: no such program"]);
    }

    #[test]
    fn a_first_container_is_created_and_started() {
        let steps = vec![planned(1, pb::StepAction::Create), planned(2, pb::StepAction::Start)];
        let operation = pb::Operation { steps, ..pb::Operation::default() };
        let told = [(1, "create", "completed", "", ""), (2, "start", "in_progress", "", "")];
        assert_eq!(lines(&operation, &told), ["created", "starting"]);
        assert_eq!(lines(&operation, &[(9, "rename", "completed", "", "")]), ["renamed"]);
    }

    #[test]
    fn the_log_of_a_build_is_left_to_the_error() {
        let log = "image `shop-web` cannot be built: [1/2] FROM app\n[2/2] RUN false\nexit code: 1";
        let told = [(1, "build", "failed", "BUILD_FAILED", log)];
        assert_eq!(
            lines(&pb::Operation::default(), &told),
            ["building failed: image `shop-web` cannot be built"]
        );
    }

    #[test]
    fn a_skipped_service_is_told_once() {
        let why = "not started: `shop/db` exited";
        let told = [(1, "start", "cancelled", "SKIPPED", why), (2, "wait", "cancelled", "SKIPPED", why)];
        assert_eq!(lines(&pb::Operation::default(), &told), [why]);
    }
}
