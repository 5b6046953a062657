//! Errors of the domain as statuses of gRPC: the only place that knows gRPC codes.
//!
//! A status carries the reason as `google.rpc.ErrorInfo` and whatever the error knows besides:
//! every bad field, when to come back, which resource, which ports, variables and places in files.
//! The cause of an error goes to the log, once, and never over the wire.
//!
//! To add a detail: its message in `proto/`, a line in [`details`], and a case in the tests.

use clos_domain::error::PortConflict;
use clos_domain::port::Holder;
use clos_domain::{Error, Kind, Reason};
use clos_proto::v2 as pb;
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::pb as rpc;

use crate::encode;

/// The domain of our reasons.
pub const ERROR_DOMAIN: &str = "clos.dev";
/// Bytes of a message on the wire, where it stands twice: in a header of its own and in the details. Clients take
/// 16 KiB of headers in all.
const MESSAGE_MAX: usize = 2 * 1024;
/// Bytes of the details before base64 makes them a third longer.
const DETAILS_MAX: usize = 6 * 1024;
/// Bytes of one fact for programs.
const FACT_MAX: usize = 512;
/// Bytes of one sentence of many: a finding, a problem.
const TEXT_MAX: usize = 1024;

/// The status of an error, which is logged here with its whole chain.
pub(crate) fn to_status(error: &Error, request_id: &str) -> Status {
    log(error, request_id);
    let code = code(error.kind());
    let message = cut(error.message(), MESSAGE_MAX);
    let trace_id = clos_telemetry::propagation::trace_id(&tracing::Span::current());
    let details = details(error, request_id, trace_id);
    let status = rpc::Status { code: code.into(), message: message.clone(), details };
    Status::with_details(code, message, status.encode_to_vec().into())
}

/// What a caller can do about it, in the words of gRPC.
fn code(kind: Kind) -> Code {
    match kind {
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::Aborted => Code::Aborted,
        Kind::OutOfRange => Code::OutOfRange,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        Kind::Cancelled => Code::Cancelled,
        Kind::Unimplemented => Code::Unimplemented,
        Kind::Internal => Code::Internal,
    }
}

/// A code as the label of a metric.
pub(crate) fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

fn log(error: &Error, request_id: &str) {
    let reason = error.reason().as_str();
    let cause = chain(error);
    match error.kind() {
        Kind::Internal => tracing::error!(request_id, reason, cause, "a call failed: {error}"),
        // Everybody is told of a drain and of a limit, often many at once; the figures count them.
        Kind::Unavailable if error.reason() != Reason::Draining => {
            tracing::warn!(request_id, reason, cause, "a call failed: {error}");
        }
        _ => tracing::debug!(request_id, reason, cause, "a call was refused: {error}"),
    }
}

/// Every cause beneath an error, the nearest first.
fn chain(error: &Error) -> String {
    let mut causes = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.join(": ")
}

fn details(error: &Error, request_id: &str, trace_id: Option<String>) -> Vec<Any> {
    // What is left out here comes on top of what the error leaves out itself.
    let omitted = error.metadata().get("omitted").and_then(|count| count.parse().ok()).unwrap_or_default();
    let mut room = Room { left: DETAILS_MAX, omitted, is_empty: true };
    let mut info = error_info(error, request_id, trace_id);
    room.left = room.left.saturating_sub(info.encoded_len());
    let mut details = Vec::new();
    if let Some(after) = error.retry_delay() {
        details.push(any(
            "google.rpc.RetryInfo",
            &rpc::RetryInfo { retry_delay: Some(encode::duration(after)) },
        ));
    }
    if let Some((resource_type, name)) = error.resource() {
        let resource = rpc::ResourceInfo {
            resource_type: resource_type.to_owned(),
            resource_name: cut(name, FACT_MAX),
            ..rpc::ResourceInfo::default()
        };
        room.left = room.left.saturating_sub(resource.encoded_len());
        details.push(any("google.rpc.ResourceInfo", &resource));
    }
    let fields = error.violations().iter().map(|violation| rpc::bad_request::FieldViolation {
        field: cut(&violation.field, FACT_MAX),
        description: cut(&violation.description, FACT_MAX),
        ..rpc::bad_request::FieldViolation::default()
    });
    let field_violations = room.fit(fields);
    if !field_violations.is_empty() {
        details.push(any("google.rpc.BadRequest", &rpc::BadRequest { field_violations }));
    }
    // Conflicts and findings of problems are counted with the problems.
    let counted_before = room.omitted;
    let conflicts = room.fit(error.conflicts().iter().map(conflict));
    if !error.problems().is_empty() {
        room.omitted = counted_before;
    }
    if !conflicts.is_empty() {
        details.push(any("clos.v2.PortConflicts", &pb::PortConflicts { conflicts }));
    }
    let problems = room.fit(error.problems().iter().map(|problem| {
        let problem = encode::plan::problem(problem);
        pb::Problem {
            message: cut(&problem.message, TEXT_MAX),
            hint: cut(&problem.hint, FACT_MAX),
            ..problem
        }
    }));
    if !problems.is_empty() {
        details.push(any("clos.v2.Problems", &pb::Problems { problems }));
    }
    let names = room.fit(error.variables().iter().map(|name| cut(name, FACT_MAX)));
    if !names.is_empty() {
        details.push(any("clos.v2.VariablesNeeded", &pb::VariablesNeeded { names }));
    }
    let counted_before = room.omitted;
    let findings =
        room.fit(error.findings().iter().map(|finding| short_finding(encode::plan::finding(finding))));
    if !error.problems().is_empty() {
        room.omitted = counted_before;
    }
    if !findings.is_empty() {
        details.push(any("clos.v2.SourceFindings", &pb::SourceFindings { findings }));
    }
    if room.omitted > 0 {
        info.metadata.insert("omitted".to_owned(), room.omitted.to_string());
    }
    details.insert(0, any("google.rpc.ErrorInfo", &info));
    details
}

fn short_finding(finding: pb::Finding) -> pb::Finding {
    pb::Finding {
        file: cut(&finding.file, FACT_MAX),
        key: cut(&finding.key, FACT_MAX),
        message: cut(&finding.message, TEXT_MAX),
        ..finding
    }
}

fn error_info(error: &Error, request_id: &str, trace_id: Option<String>) -> rpc::ErrorInfo {
    let facts = error.metadata().iter().map(|(key, value)| (key.clone(), cut(value, FACT_MAX)));
    let mut info = rpc::ErrorInfo {
        reason: error.reason().as_str().to_owned(),
        domain: ERROR_DOMAIN.to_owned(),
        metadata: facts.collect(),
    };
    if !request_id.is_empty() {
        info.metadata.insert("request_id".to_owned(), request_id.to_owned());
    }
    if let Some(trace_id) = trace_id {
        info.metadata.insert("trace_id".to_owned(), trace_id);
    }
    info
}

/// What is left of the details, and how many things did not find room in it.
struct Room {
    left: usize,
    omitted: usize,
    is_empty: bool,
}

impl Room {
    /// The first things that find room; of the first list at least one.
    fn fit<M: Message>(&mut self, things: impl Iterator<Item = M>) -> Vec<M> {
        /// A tag and a length around each.
        const AROUND: usize = 4;
        let mut fitting = Vec::new();
        let mut is_full = false;
        for thing in things {
            let length = thing.encoded_len() + AROUND;
            is_full = is_full || (length > self.left && !self.is_empty);
            if is_full {
                self.omitted += 1;
                continue;
            }
            self.left = self.left.saturating_sub(length);
            self.is_empty = false;
            fitting.push(thing);
        }
        fitting
    }
}

fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

/// The beginning of a text that takes at most so many bytes when it is written into a header.
fn cut(text: &str, most: usize) -> String {
    const MORE: &str = "…";
    let width =
        |letter: char| if letter.is_ascii_graphic() || letter == ' ' { 1 } else { 3 * letter.len_utf8() };
    if text.chars().map(width).sum::<usize>() <= most {
        return text.to_owned();
    }
    let mut left = most.saturating_sub(MORE.chars().map(width).sum());
    let fits = |letter: &char| {
        let fits = width(*letter) <= left;
        left = left.saturating_sub(width(*letter));
        fits
    };
    let mut short: String = text.chars().take_while(fits).collect();
    short.push_str(MORE);
    short
}

fn conflict(conflict: &PortConflict) -> pb::PortConflict {
    pb::PortConflict {
        port: conflict.port.into(),
        protocol: encode::port::protocol(conflict.protocol).into(),
        host_ip: conflict.host_ip.clone(),
        wanted_by: conflict.wanted_by.clone(),
        holder: Some(holder(&conflict.holder)),
        suggestion: suggestion(conflict),
    }
}

fn holder(holder: &Holder) -> pb::PortHolder {
    match holder {
        Holder::Service { name, .. } => pb::PortHolder {
            r#type: pb::PortHolderType::Service.into(),
            name: name.clone(),
            ..pb::PortHolder::default()
        },
        Holder::Container { name } => pb::PortHolder {
            r#type: pb::PortHolderType::Container.into(),
            name: name.clone(),
            ..pb::PortHolder::default()
        },
        Holder::Process { name, pid, uid } => pb::PortHolder {
            r#type: pb::PortHolderType::SystemProcess.into(),
            name: name.clone(),
            pid: i32::try_from(*pid).ok(),
            user: uid.map(|uid| uid.to_string()).unwrap_or_default(),
        },
        Holder::Unknown => {
            pb::PortHolder { r#type: pb::PortHolderType::Unknown.into(), ..pb::PortHolder::default() }
        }
    }
}

/// Processes that listen for a container.
fn is_of_the_engine(name: &str) -> bool {
    ["docker-proxy", "rootlesskit", "rootlessport", "slirp4netns", "pasta", "dockerd", "conmon"]
        .iter()
        .any(|known| name == *known || name.starts_with("rootlesskit"))
}

/// What to do about a conflict, for people.
pub(crate) fn suggestion(conflict: &PortConflict) -> String {
    let other = format!("give `{}` another host port", conflict.wanted_by);
    match &conflict.holder {
        Holder::Service { name, running: true } if group_of(name) != group_of(&conflict.wanted_by) => {
            format!("stop `{name}`, {other}, or start this project as an instance: `clos up --instance NAME`")
        }
        Holder::Service { name, running: true } => format!("stop `{name}`, or {other}"),
        Holder::Service { name, running: false } => {
            format!("take `{name}` down, which keeps the port, or {other}")
        }
        Holder::Container { name } => format!("stop the container `{name}`, or {other}"),
        // Whoever ended one of these would take more away than the port.
        Holder::Process { name, .. } if name == "closd" => {
            format!("give closd another port with `server.listen` in closd.yaml or --listen, or {other}")
        }
        Holder::Process { name, .. } if is_of_the_engine(name) => {
            format!("stop the container that publishes port {}, or {other}", conflict.port)
        }
        Holder::Process { name, pid, .. } => format!("stop `{name}` (pid {pid}), or {other}"),
        Holder::Unknown => other,
    }
}

fn group_of(service: &str) -> &str {
    service.split_once('/').map_or(service, |(group, _)| group)
}

/// The error of a request that tonic could not read. Its own word for it has no details, and calls
/// a caller's mistake an internal error.
pub(crate) fn unread(head: &http::HeaderMap) -> Option<Error> {
    let status = Status::from_header_map(head)?;
    let is_of_the_codec =
        matches!(status.code(), Code::Internal | Code::OutOfRange | Code::ResourceExhausted);
    (is_of_the_codec && status.details().is_empty()).then(|| {
        Error::new(Reason::InvalidField, format!("the request cannot be read: {}", status.message()))
    })
}

/// The error of a daemon that is about to end.
pub(crate) fn draining() -> Error {
    Error::new(Reason::Draining, "the daemon is shutting down; ask again when it is back")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use clos_domain::error::{FieldViolation, Finding, Severity};
    use clos_domain::port::Protocol;
    use tonic_types::StatusExt as _;

    use super::*;

    /// What a client makes of the status that comes over the wire.
    fn received(error: &Error) -> Status {
        let response = to_status(error, "req_1").into_http::<tonic::body::Body>();
        let bytes: usize =
            response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(bytes < 15 * 1024, "{bytes} bytes of headers");
        Status::from_header_map(response.headers()).unwrap()
    }

    fn detail<M: Message + Default>(status: &Status, name: &str) -> Option<M> {
        let status = rpc::Status::decode(status.details()).unwrap();
        let url = format!("type.googleapis.com/clos.v2.{name}");
        let found = status.details.into_iter().find(|detail| detail.type_url == url)?;
        Some(M::decode(found.value.as_slice()).unwrap())
    }

    #[test]
    fn every_reason_goes_there_and_back() {
        for reason in Reason::ALL {
            let status = received(&Error::new(*reason, "`shop/wéb` is in the way"));
            assert_eq!(status.message(), "`shop/wéb` is in the way");
            assert_eq!(status.code(), code(reason.kind()), "{}", reason.as_str());
            let info = status.get_details_error_info().unwrap();
            assert_eq!(Reason::parse(&info.reason), Some(*reason));
            assert_eq!(info.domain, "clos.dev");
            assert_eq!(info.metadata["request_id"], "req_1");
        }
    }

    #[test]
    fn every_code_has_its_own_word() {
        let words: BTreeSet<&str> = (0..17).map(|number| word(Code::from(number))).collect();
        assert_eq!(words.len(), 17);
    }

    #[test]
    fn the_reasons_of_the_contract_and_of_the_domain_are_the_same_words() {
        let catalogue = clos_proto::pool().get_enum_by_name("clos.v2.ErrorReason").unwrap();
        let contract: Vec<String> = catalogue
            .values()
            .filter(|value| value.number() != 0)
            .map(|value| value.name().trim_start_matches("ERROR_REASON_").to_owned())
            .collect();
        let domain: Vec<String> = Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect();
        assert_eq!(contract, domain);
    }

    #[test]
    fn every_bad_field_arrives() {
        let violation =
            |field: &str| FieldViolation { field: field.into(), description: format!("bad {field}") };
        let status = received(&Error::fields(vec![violation("name"), violation("ports[0].host_port")]));
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields.len(), 2);
        assert_eq!(fields[1].field, "ports[0].host_port");
        assert_eq!(fields[1].description, "bad ports[0].host_port");
    }

    #[test]
    fn what_an_error_knows_besides_arrives() {
        let error = Error::new(Reason::SequenceTooOld, "events after 3 are no longer kept")
            .with("oldest_seq", 40)
            .about("clos.dev/Service", "shop/web")
            .retry_after(Duration::from_millis(1_500));
        let status = received(&error);
        assert_eq!(status.get_details_error_info().unwrap().metadata["oldest_seq"], "40");
        let resource = status.get_details_resource_info().unwrap();
        assert_eq!(
            (resource.resource_type.as_str(), resource.resource_name.as_str()),
            ("clos.dev/Service", "shop/web")
        );
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_millis(1_500)));
    }

    #[test]
    fn port_conflicts_arrive_with_their_holders_and_the_way_out() {
        let held = |port, holder| PortConflict {
            port,
            protocol: Protocol::Tcp,
            host_ip: "127.0.0.1".into(),
            wanted_by: "shop/web".into(),
            holder,
        };
        let conflicts = vec![
            held(1, Holder::Service { name: "pay/web".into(), running: true }),
            held(2, Holder::Service { name: "pay/db".into(), running: false }),
            held(3, Holder::Container { name: "redis".into() }),
            held(4, Holder::Process { name: "node".into(), pid: 77, uid: Some(1_000) }),
            held(5, Holder::Unknown),
            held(6, Holder::Process { name: "docker-proxy".into(), pid: 78, uid: Some(0) }),
            held(7, Holder::Process { name: "closd".into(), pid: 79, uid: Some(1_000) }),
        ];
        let status = received(&Error::new(Reason::PortConflict, "taken").with_conflicts(conflicts));
        let told: pb::PortConflicts = detail(&status, "PortConflicts").unwrap();
        let suggestions: Vec<&str> = told.conflicts.iter().map(|one| one.suggestion.as_str()).collect();
        assert_eq!(
            suggestions,
            [
                "stop `pay/web`, give `shop/web` another host port, or start this project as an instance: `clos up --instance NAME`",
                "take `pay/db` down, which keeps the port, or give `shop/web` another host port",
                "stop the container `redis`, or give `shop/web` another host port",
                "stop `node` (pid 77), or give `shop/web` another host port",
                "give `shop/web` another host port",
                "stop the container that publishes port 6, or give `shop/web` another host port",
                "give closd another port with `server.listen` in closd.yaml or --listen, or give `shop/web` another host port",
            ]
        );
        let process = told.conflicts[3].holder.as_ref().unwrap();
        assert_eq!(process.r#type(), pb::PortHolderType::SystemProcess);
        assert_eq!((process.pid, process.user.as_str()), (Some(77), "1000"));
        let kinds: Vec<_> = told.conflicts.iter().map(|one| one.holder.as_ref().unwrap().r#type()).collect();
        assert_eq!(kinds[0], pb::PortHolderType::Service);
        assert_eq!(kinds[2], pb::PortHolderType::Container);
        assert_eq!(kinds[4], pb::PortHolderType::Unknown);
    }

    #[test]
    fn variables_and_places_in_files_arrive() {
        let finding = Finding {
            severity: Severity::Error,
            file: "compose.yaml".into(),
            line: 3,
            column: 5,
            key: "services.web.ports".into(),
            message: "no list".into(),
        };
        let error = Error::new(Reason::VariablesNeeded, "variables are missing")
            .with_variables(vec!["A".into(), "B".into()])
            .with_findings(vec![finding]);
        let status = received(&error);
        assert_eq!(detail::<pb::VariablesNeeded>(&status, "VariablesNeeded").unwrap().names, ["A", "B"]);
        let findings = detail::<pb::SourceFindings>(&status, "SourceFindings").unwrap().findings;
        assert_eq!((findings[0].line, findings[0].key.as_str()), (3, "services.web.ports"));
    }

    #[test]
    fn what_would_not_fit_into_headers_is_counted() {
        let violation = |number: usize| FieldViolation {
            field: format!("environment[{number}]"),
            description: "ä".repeat(400),
        };
        let status = received(&Error::fields((0..200).map(violation).collect()));
        assert!(status.message().ends_with('…'));
        let shown = status.get_details_bad_request().unwrap().field_violations.len();
        let omitted: usize = status.get_details_error_info().unwrap().metadata["omitted"].parse().unwrap();
        assert!(shown > 3, "{shown}");
        assert_eq!(shown + omitted, 200);
    }

    #[test]
    fn a_thousand_names_and_long_findings_stay_within_the_headers() {
        let names: Vec<String> = (0..1_000).map(|number| format!("A_RATHER_LONG_NAME_{number}")).collect();
        let status = received(&Error::new(Reason::VariablesNeeded, "x".repeat(30_000)).with_variables(names));
        let told = detail::<pb::VariablesNeeded>(&status, "VariablesNeeded").unwrap().names.len();
        let omitted: usize = status.get_details_error_info().unwrap().metadata["omitted"].parse().unwrap();
        assert!(told > 150, "{told}");
        assert_eq!(told + omitted, 1_000);

        let long = |line| Finding {
            severity: Severity::Error,
            file: "f".repeat(9_000),
            line,
            column: 1,
            key: "k".repeat(9_000),
            message: "m".repeat(9_000),
        };
        let status =
            received(&Error::new(Reason::InvalidFile, "no").with_findings((0..300).map(long).collect()));
        let told = detail::<pb::SourceFindings>(&status, "SourceFindings").unwrap().findings.len();
        let omitted: usize = status.get_details_error_info().unwrap().metadata["omitted"].parse().unwrap();
        assert_eq!(told + omitted, 300);
        let problems: Vec<_> = (0..300)
            .map(|number| {
                clos_domain::problem::Problem::new(Reason::FileNotFound, "shop/web", "x".repeat(60), "y")
                    .at(long(number))
            })
            .collect();
        let status = received(&clos_domain::problem::refusal(&problems).unwrap());
        let told = detail::<pb::Problems>(&status, "Problems").unwrap().problems.len();
        let left: usize = status.get_details_error_info().unwrap().metadata["omitted"].parse().unwrap();
        assert_eq!(told + left, 300);
        let bounded = Error::new(Reason::InvalidFile, "no").with("omitted", 2_600);
        let status = received(&bounded.with_findings((0..300).map(long).collect()));
        assert_eq!(
            status.get_details_error_info().unwrap().metadata["omitted"],
            (omitted + 2_600).to_string()
        );
    }

    #[test]
    fn what_tonic_cannot_read_is_the_callers_mistake() {
        let head = |status: Status| status.into_http::<tonic::body::Body>().into_parts().0.headers;
        let unread_one = unread(&head(Status::internal("invalid wire type"))).unwrap();
        assert_eq!(unread_one.message(), "the request cannot be read: invalid wire type");
        assert_eq!(unread_one.kind(), Kind::InvalidArgument);
        assert!(unread(&head(Status::out_of_range("too large"))).is_some());
        assert!(unread(&head(Status::not_found("no such service"))).is_none());
        assert!(unread(&head(to_status(&Error::internal("ours"), "req_1"))).is_none());
        assert!(unread(&http::HeaderMap::new()).is_none());
    }

    #[test]
    fn the_cause_stays_here() {
        let status = received(&Error::internal(std::io::Error::other("/secret/path")));
        assert_eq!(status.code(), Code::Internal);
        assert!(!format!("{status:?}").contains("secret"));
        let nested = Error::internal(
            Error::new(Reason::Internal, "outer").with_source(std::io::Error::other("inner")),
        );
        assert_eq!(chain(&nested), "outer: inner");
    }
}
