//! What went wrong, as people and programs read it, and the exit code that says it shortest.

use clos_client::Kind;
use clos_proto::v2 as pb;
use serde_json::json;

use crate::context::Context;
use crate::output;
use crate::output::words::{self, Paint, Tone};

/// How a command ends; `clos help exit-codes` prints this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// It failed.
    Failed = 1,
    /// The words of the command are wrong.
    Usage = 2,
    /// A port has another owner.
    PortConflict = 3,
    /// Not allowed.
    Denied = 4,
    /// There is no such thing.
    NotFound = 5,
    /// The daemon or the engine cannot be reached.
    Unreachable = 6,
    /// Not in this state of the world.
    Precondition = 7,
    /// It works, but not all of it; or there is something to do.
    Degraded = 8,
    /// A wait took too long.
    TimedOut = 124,
    /// ^C.
    Interrupted = 130,
}

impl Exit {
    pub(crate) const ALL: [(Self, &'static str); 11] = [
        (Self::Ok, "done"),
        (Self::Failed, "failed"),
        (Self::Usage, "wrong usage: an unknown command, flag or value"),
        (Self::PortConflict, "a port is already in use"),
        (
            Self::Denied,
            "not allowed: the token is missing or wrong, or only the owner on the Unix socket may do it",
        ),
        (Self::NotFound, "no such group, service, operation or file"),
        (Self::Unreachable, "the daemon or the container engine cannot be reached"),
        (
            Self::Precondition,
            "not possible in the current state: already exists, in use, or changed meanwhile",
        ),
        (
            Self::Degraded,
            "degraded; with --exit-code: there are changes, or a service is not running and healthy",
        ),
        (Self::TimedOut, "timed out"),
        (Self::Interrupted, "interrupted (^C)"),
    ];

    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The daemon said no, or nothing.
    Call(Box<clos_client::Error>),
    /// An operation ended badly; with the last log lines of the service that failed.
    Operation(Box<pb::Operation>, Vec<String>),
    /// A plan that cannot be done as it is: its group and what stands in the way.
    Plan(String, Vec<pb::Problem>),
    /// We found it out ourselves.
    Own(Box<Own>),
    /// ^C.
    Interrupted,
    /// Nobody reads the output any more.
    Unread,
}

/// What we found out ourselves.
#[derive(Debug)]
pub(crate) struct Own {
    exit: Exit,
    reason: &'static str,
    message: String,
    facts: Vec<(String, String)>,
    hints: Vec<String>,
}

impl From<clos_client::Error> for Failure {
    fn from(error: clos_client::Error) -> Self {
        Self::Call(Box::new(error))
    }
}

impl From<clos_client::EndpointError> for Failure {
    fn from(error: clos_client::EndpointError) -> Self {
        Self::usage(error.to_string())
    }
}

impl Failure {
    fn new(exit: Exit, reason: &'static str, message: String) -> Self {
        Self::Own(Box::new(Own { exit, reason, message, facts: Vec::new(), hints: Vec::new() }))
    }

    /// Something failed here.
    pub(crate) fn own(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, "", message.into())
    }

    /// The words of the command, or the files that they name, are wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "", message.into())
    }

    /// There is no such thing.
    pub(crate) fn not_found(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, reason, message.into())
    }

    /// The daemon is not there.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, "", message.into())
    }

    /// The engine does not answer the daemon.
    pub(crate) fn engine_away(message: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, "ENGINE_UNREACHABLE", message.into())
    }

    /// It took too long.
    pub(crate) fn timed_out(message: impl Into<String>) -> Self {
        Self::new(Exit::TimedOut, "TIMED_OUT", message.into())
    }

    /// Adds a line `label  value`.
    pub(crate) fn fact(mut self, label: &str, value: impl Into<String>) -> Self {
        if let Self::Own(own) = &mut self {
            own.facts.push((label.to_owned(), value.into()));
        }
        self
    }

    /// Adds what to try.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Own(own) = &mut self {
            own.hints.push(hint.into());
        }
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Call(error) => of_call(error),
            Self::Operation(operation, _) => of_reason(&operation.reason).unwrap_or(Exit::Failed),
            Self::Plan(_, problems) => {
                problems.first().map_or(Exit::Failed, |first| of_problem(&first.reason))
            }
            Self::Own(own) => own.exit,
            Self::Interrupted => Exit::Interrupted,
            Self::Unread => Exit::Ok,
        }
    }

    /// In the shape of `error: what [REASON]`, why, and what to try.
    pub(crate) fn print(&self, context: &Context, paint: Paint) {
        let page = match self {
            Self::Call(error) => Page::of_call(error),
            Self::Operation(operation, log) => Page::of_operation(operation, log),
            Self::Plan(group, problems) => Page::of_problems(group, problems),
            Self::Own(own) => Page {
                message: own.message.clone(),
                reason: own.reason.to_owned(),
                lines: own.facts.clone(),
                hints: own.hints.clone(),
            },
            Self::Interrupted | Self::Unread => return,
        };
        context.say(&page.text(paint));
    }

    /// One line of JSON.
    pub(crate) fn print_json(&self, context: &Context) {
        let error = match self {
            Self::Call(error) => json!({
                "reason": error.reason, "message": error.message, "metadata": error.metadata,
                "fields": error.fields.iter()
                    .map(|it| json!({"field": it.field, "description": it.description})).collect::<Vec<_>>(),
                "conflicts": messages("PortConflict", &error.conflicts),
                "problems": messages("Problem", &error.problems),
                "findings": messages("Finding", &error.findings),
            }),
            Self::Operation(operation, _) => json!({
                "reason": operation.reason, "message": operation.message,
                "operation": output::value("Operation", operation.as_ref()).unwrap_or_default(),
            }),
            Self::Plan(_, problems) => json!({
                "reason": problems.first().map(|first| first.reason.as_str()).unwrap_or_default(),
                "message": problems.first().map(|first| first.message.as_str()).unwrap_or_default(),
                "problems": messages("Problem", problems),
            }),
            Self::Own(own) => json!({"reason": own.reason, "message": own.message}),
            Self::Interrupted => json!({"reason": "CANCELLED", "message": "interrupted"}),
            Self::Unread => return,
        };
        context.say(&format!("{}\n", json!({"error": error, "exit_code": self.exit().code()})));
    }
}

fn messages<M: prost::Message>(name: &str, messages: &[M]) -> Vec<serde_json::Value> {
    messages.iter().filter_map(|message| output::value(name, message).ok()).collect()
}

fn of_call(error: &clos_client::Error) -> Exit {
    of_reason(&error.reason).unwrap_or(match error.kind {
        Kind::InvalidArgument | Kind::OutOfRange => Exit::Usage,
        Kind::Unauthenticated | Kind::PermissionDenied => Exit::Denied,
        Kind::NotFound => Exit::NotFound,
        Kind::Unreachable | Kind::Unavailable => Exit::Unreachable,
        Kind::FailedPrecondition | Kind::AlreadyExists | Kind::Aborted => Exit::Precondition,
        Kind::Cancelled => Exit::Interrupted,
        Kind::DeadlineExceeded => Exit::TimedOut,
        _ => Exit::Failed,
    })
}

fn of_reason(reason: &str) -> Option<Exit> {
    match reason {
        "PORT_CONFLICT" | "PORT_RANGE_FULL" => Some(Exit::PortConflict),
        "ENGINE_UNREACHABLE" | "NO_ENGINE" => Some(Exit::Unreachable),
        _ => None,
    }
}

/// The exit code of a problem, as if a call had failed with its reason.
fn of_problem(reason: &str) -> Exit {
    of_reason(reason).unwrap_or(match reason {
        "INVALID_FILE" | "INVALID_FIELD" => Exit::Usage,
        "FILE_NOT_FOUND" => Exit::NotFound,
        _ => Exit::Precondition,
    })
}

/// So many of the last lines of a failed build are shown.
const BUILD_LINES: usize = 20;

/// A message of several lines is one of a failed build: what happened, and the build's output.
pub(crate) fn without_log(message: &str) -> (&str, &str) {
    const BUILD: &str = "cannot be built";
    let Some(at) = message.find(BUILD).filter(|_| message.contains('\n')) else { return (message, "") };
    let (what, log) = message.split_at(at + BUILD.len());
    (what, log.trim_start_matches([':', ' ', '\n']))
}

/// What an error looks like.
struct Page {
    message: String,
    reason: String,
    lines: Vec<(String, String)>,
    hints: Vec<String>,
}

impl Page {
    fn of_problems(group: &str, problems: &[pb::Problem]) -> Self {
        let count = problems.len();
        let message = format!(
            "`{group}` cannot be brought up: {count} {}",
            if count == 1 { "problem" } else { "problems" }
        );
        let reason = problems.first().map(|first| first.reason.clone()).unwrap_or_default();
        let mut page = Self { message, reason, lines: Vec::new(), hints: Vec::new() };
        page.problems(problems, 0);
        page.explain();
        page
    }

    /// The first of them, and how many more there are with those that the answer had no room for.
    fn problems(&mut self, problems: &[pb::Problem], omitted: usize) {
        const SHOWN: usize = 50;
        for problem in problems.iter().take(SHOWN) {
            let line = if problem.hint.is_empty() {
                problem.message.clone()
            } else {
                format!("{}\n→ {}", problem.message, problem.hint)
            };
            self.lines.push((problem.subject.clone(), line));
        }
        let more = problems.len().saturating_sub(SHOWN) + omitted;
        if more > 0 {
            self.lines.push((String::new(), format!("and {more} more")));
        }
    }

    fn findings<'f>(&mut self, findings: impl Iterator<Item = &'f pb::Finding>) {
        for finding in findings {
            if self.message.contains(&finding.message) {
                continue;
            }
            let message = match finding.severity() {
                pb::Severity::Warning => format!("warning: {}", finding.message),
                _ => finding.message.clone(),
            };
            self.lines.push((place(finding), message));
        }
    }

    fn of_call(error: &clos_client::Error) -> Self {
        if error.problems.len() > 1 {
            let omitted = omitted(error);
            let count = error.problems.len() + omitted;
            let mut page = Self {
                message: format!("nothing was changed: {count} problems"),
                reason: error.reason.clone(),
                lines: Vec::new(),
                hints: Vec::new(),
            };
            page.problems(&error.problems, omitted);
            page.findings(error.findings.iter().filter(|one| one.severity() == pb::Severity::Warning));
            page.explain();
            return page;
        }
        let mut page = Self {
            message: headline(error),
            reason: error.reason.clone(),
            lines: Vec::new(),
            hints: Vec::new(),
        };
        // What one problem says of the way out is nearer than what its port conflict says.
        let hint =
            error.problems.first().map(|problem| problem.hint.as_str()).filter(|hint| !hint.is_empty());
        page.hints.extend(hint.map(str::to_owned));
        for conflict in &error.conflicts {
            page.conflict(conflict, error.conflicts.len() > 1);
        }
        for field in &error.fields {
            // The message of a single one says it already.
            if error.fields.len() == 1 && error.message.contains(&field.description) {
                break;
            }
            page.lines.push((field.field.clone(), field.description.clone()));
        }
        page.findings(error.findings.iter());
        if let Some(omitted) = error.metadata.get("omitted") {
            page.lines.push((String::new(), format!("and {omitted} more")));
        }
        page.try_by_reason(error);
        page
    }

    fn conflict(&mut self, conflict: &pb::PortConflict, with_port: bool) {
        let label =
            |word: &str| if with_port { format!("{} {word}", conflict.port) } else { word.to_owned() };
        if !conflict.wanted_by.is_empty() {
            self.lines.push((label("wanted by"), conflict.wanted_by.clone()));
        }
        if let Some(holder) = &conflict.holder {
            self.lines.push((label("held by"), held_by(holder)));
        }
        if !conflict.suggestion.is_empty() && self.hints.is_empty() {
            self.hints.push(conflict.suggestion.clone());
        }
    }

    fn of_operation(operation: &pb::Operation, log: &[String]) -> Self {
        let verb = words::verb(operation.r#type());
        let whole = words::group_name(&operation.group_name, &operation.instance);
        let ended = words::operation_status(operation.status()).0;
        let what = if whole.is_empty() { verb.to_owned() } else { format!("{verb} of {whole}") };
        let mut lines = Vec::new();
        // What was skipped for another's sake says less than that other one.
        for service in &operation.service_operations {
            let is_bad =
                matches!(service.status(), pb::OperationStatus::Failed | pb::OperationStatus::Cancelled);
            if is_bad {
                // The message of the operation is that of the first one that failed.
                let is_told = operation.message.starts_with(&service.service)
                    && (operation.message.ends_with(&service.message)
                        || service.message.starts_with(&format!("not started: `{}`", service.service)));
                if is_told && !service.message.is_empty() {
                    continue;
                }
                let why =
                    if service.message.is_empty() { service.reason.clone() } else { service.message.clone() };
                lines.push((service.service.clone(), why));
            }
        }
        if !log.is_empty() {
            lines.push(("last log".to_owned(), log.join("\n")));
        }
        for leftover in &operation.leftovers {
            lines.push(("left over".to_owned(), leftover.clone()));
        }
        let (why, build_log) = without_log(&operation.message);
        if !build_log.is_empty() {
            let lines_of_it: Vec<&str> = build_log.lines().collect();
            let from = lines_of_it.len().saturating_sub(BUILD_LINES);
            lines.insert(0, ("build log".to_owned(), lines_of_it[from..].join("\n")));
        }
        let message = match why {
            "" => format!("{what} {ended}"),
            why => format!("{what} {ended}: {why}"),
        };
        let mut page = Self { message, reason: operation.reason.clone(), lines, hints: Vec::new() };
        let failed = operation
            .service_operations
            .iter()
            .find(|service| service.status() == pb::OperationStatus::Failed);
        if let Some(service) = failed {
            // The daemon names a service with its group.
            let name = &service.service;
            let is_whole = name.contains('/');
            let name = if is_whole { name.clone() } else { format!("{whole}/{name}") };
            page.hints.push(format!("clos logs {name}"));
        }
        page.hints.push(format!("clos ops {}", operation.id));
        page.explain();
        page
    }

    fn try_by_reason(&mut self, error: &clos_client::Error) {
        match (error.reason.as_str(), error.kind) {
            ("PROJECT_MISMATCH", _) => {
                self.hints.push("clos up --instance NAME     start a second copy beside it".to_owned());
                self.hints.push("clos up -p NAME             use another name".to_owned());
                self.hints.push("clos up --move              move the project to this folder".to_owned());
            }
            ("ENGINE_UNREACHABLE" | "NO_ENGINE", _) => self.hints.push("clos doctor".to_owned()),
            ("TOKEN_MISSING" | "TOKEN_INVALID", _) => {
                self.hints.push(
                    "CLOS_TOKEN=… clos …         the content of `token` in the daemon's state folder"
                        .to_owned(),
                );
            }
            ("OUTSIDE_ROOT", _) if self.hints.is_empty() => self.hints.push(
                "move it into the project, add its folder to `roots:` in closd.yaml, or leave out --host to be the owner on the Unix socket"
                    .to_owned(),
            ),
            ("ADMISSION_REFUSED", _) if self.hints.is_empty() => self.hints.push(
                "leave it out of the files, or leave out --host to be the owner on the Unix socket".to_owned(),
            ),
            ("", Kind::Unreachable) => self.hints.push("clos doctor".to_owned()),
            _ => {}
        }
        self.explain();
    }

    fn explain(&mut self) {
        if !self.reason.is_empty() {
            self.hints.push(format!("clos explain {}", self.reason));
        }
    }

    fn text(&self, paint: Paint) -> String {
        let mut text = format!("{} {}", paint.apply(Tone::Bad, "error:"), self.message);
        if !self.reason.is_empty() {
            let first = self.message.lines().next().unwrap_or_default();
            let gap = if self.message.contains('\n') {
                1
            } else {
                64_usize.saturating_sub(7 + first.chars().count()).max(1)
            };
            text.push_str(&format!(
                "{}{}",
                " ".repeat(gap),
                paint.apply(Tone::Faint, &format!("[{}]", self.reason))
            ));
        }
        text.push('\n');
        let mut lines = self.lines.clone();
        for (at, hint) in self.hints.iter().enumerate() {
            lines.push((if at == 0 { "try".to_owned() } else { String::new() }, hint.clone()));
        }
        let widest = lines.iter().map(|(label, _)| label.chars().count()).filter(|width| *width <= 30).max();
        let width = widest.unwrap_or(0).max(9);
        for (label, value) in &lines {
            let indent = " ".repeat(width + 4);
            let value = value.replace('\n', &format!("\n{indent}"));
            // A place in a file is longer than a label should be: its message goes below.
            let gap = match label.chars().count() {
                long if long > width => format!("\n{indent}"),
                short => " ".repeat(width - short + 2),
            };
            text.push_str(format!("  {label}{gap}{value}").trim_end());
            text.push('\n');
        }
        text
    }
}

/// What the page of a refused call begins with: the problem itself, or how many there are when they are listed below.
fn headline(error: &clos_client::Error) -> String {
    if let [problem] = error.problems.as_slice() {
        return problem.message.clone();
    }
    let errors: Vec<&pb::Finding> =
        error.findings.iter().filter(|finding| finding.severity() != pb::Severity::Warning).collect();
    let Some(first) = errors.first().filter(|_| errors.len() > 1) else { return error.message.clone() };
    let file = if errors.iter().all(|finding| finding.file == first.file) {
        &first.file
    } else {
        "the project's files"
    };
    let verb = if file == first.file { "has" } else { "have" };
    format!("{file} {verb} {} errors", errors.len() + omitted(error))
}

/// What the answer had no room for.
fn omitted(error: &clos_client::Error) -> usize {
    error.metadata.get("omitted").and_then(|count| count.parse().ok()).unwrap_or_default()
}

/// `compose.yaml:3:5 services.web`.
pub(crate) fn place(finding: &pb::Finding) -> String {
    let mut place = finding.file.clone();
    if finding.line > 0 {
        place = format!("{place}:{}", finding.line);
        if finding.column > 0 {
            place = format!("{place}:{}", finding.column);
        }
    }
    if !finding.key.is_empty() {
        place = format!("{place} {}", finding.key);
    }
    place.trim().to_owned()
}

fn held_by(holder: &pb::PortHolder) -> String {
    let name = if holder.name.is_empty() { "an unknown process" } else { holder.name.as_str() };
    let kind = match holder.r#type() {
        pb::PortHolderType::Service => "service ",
        pb::PortHolderType::Container => "container ",
        _ => "",
    };
    let mut known = Vec::new();
    if let Some(pid) = holder.pid {
        known.push(format!("pid {pid}"));
    }
    if !holder.user.is_empty() {
        known.push(format!("user {}", holder.user));
    }
    if known.is_empty() { format!("{kind}{name}") } else { format!("{kind}{name} ({})", known.join(", ")) }
}
