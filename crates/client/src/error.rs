//! What went wrong, with everything that the daemon said of it.

use std::collections::BTreeMap;
use std::time::Duration;

use clos_proto::v2 as pb;
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::endpoint::Address;

/// What a caller can do about it, coarsely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Nobody answers at the address.
    Unreachable,
    /// The request is wrong.
    InvalidArgument,
    /// There is no such thing.
    NotFound,
    /// There is one already.
    AlreadyExists,
    /// Not in this state of the world.
    FailedPrecondition,
    /// Somebody else was faster.
    Aborted,
    /// Beyond what is kept.
    OutOfRange,
    /// Who is asking is not known.
    Unauthenticated,
    /// Who is asking may not.
    PermissionDenied,
    /// Too much at once.
    ResourceExhausted,
    /// Not now: the daemon, its store or the engine is away.
    Unavailable,
    /// It took too long.
    DeadlineExceeded,
    /// It was cancelled.
    Cancelled,
    /// This daemon does not know the call.
    Unimplemented,
    /// A fault of CLOS.
    Internal,
}

/// A call or a stream that failed.
#[derive(Debug, Clone)]
pub struct Error(Box<Failure>);

/// What is known of it.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What can be done about it.
    pub kind: Kind,
    /// A word of the catalogue, `PORT_CONFLICT`; empty where the daemon had no say.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Facts for programs.
    pub metadata: BTreeMap<String, String>,
    /// Every bad field.
    pub fields: Vec<FieldProblem>,
    /// Every port that somebody else has.
    pub conflicts: Vec<pb::PortConflict>,
    /// Everything that stands in the way of a plan.
    pub problems: Vec<pb::Problem>,
    /// Places in files.
    pub findings: Vec<pb::Finding>,
    /// Variables that the daemon needs to know.
    pub variables: Vec<String>,
    /// When to ask again.
    pub retry_after: Option<Duration>,
}

/// A field of the request and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// Its path.
    pub field: String,
    /// What is wrong, and the way out.
    pub description: String,
}

impl std::ops::Deref for Error {
    type Target = Failure;

    fn deref(&self) -> &Failure {
        &self.0
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl Error {
    fn bare(kind: Kind, message: String) -> Self {
        Self(Box::new(Failure {
            kind,
            reason: String::new(),
            message,
            metadata: BTreeMap::new(),
            fields: Vec::new(),
            conflicts: Vec::new(),
            problems: Vec::new(),
            findings: Vec::new(),
            variables: Vec::new(),
            retry_after: None,
        }))
    }

    pub(crate) fn unreachable(address: &Address, why: &dyn std::error::Error) -> Self {
        let mut deepest = why;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        Self::bare(Kind::Unreachable, format!("no daemon answers at {address}: {deepest}"))
    }

    pub(crate) fn late(limit: Duration) -> Self {
        Self::bare(
            Kind::DeadlineExceeded,
            format!("the daemon did not answer within {} s", limit.as_secs_f64()),
        )
    }

    pub(crate) fn of(status: &Status, address: &Address) -> Self {
        let info = status.get_details_error_info();
        let Some(info) = info else { return Self::without_details(status, address) };
        let mut error = Self::bare(kind(status.code()), status.message().to_owned());
        let failure = &mut *error.0;
        failure.reason = info.reason;
        failure.metadata = info.metadata.into_iter().collect();
        failure.retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let fields = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
        failure.fields = fields
            .into_iter()
            .map(|field| FieldProblem { field: field.field, description: field.description })
            .collect();
        let details = tonic_types::pb::Status::decode(status.details()).unwrap_or_default().details;
        for detail in details {
            let bytes = detail.value.as_slice();
            match detail.type_url.rsplit('/').next() {
                Some("clos.v2.PortConflicts") => {
                    failure.conflicts =
                        pb::PortConflicts::decode(bytes).map(|it| it.conflicts).unwrap_or_default();
                }
                Some("clos.v2.Problems") => {
                    failure.problems = pb::Problems::decode(bytes).map(|it| it.problems).unwrap_or_default();
                }
                Some("clos.v2.VariablesNeeded") => {
                    failure.variables =
                        pb::VariablesNeeded::decode(bytes).map(|it| it.names).unwrap_or_default();
                }
                Some("clos.v2.SourceFindings") => {
                    failure.findings =
                        pb::SourceFindings::decode(bytes).map(|it| it.findings).unwrap_or_default();
                }
                _ => {}
            }
        }
        error
    }

    /// Not a word of our daemon: the connection, or somebody else at that address.
    fn without_details(status: &Status, address: &Address) -> Self {
        match status.code() {
            Code::Unavailable | Code::Unknown => {
                let why = match std::error::Error::source(status) {
                    Some(source) => return Self::unreachable(address, source),
                    None => status.message(),
                };
                Self::bare(Kind::Unreachable, format!("no daemon answers at {address}: {why}"))
            }
            Code::Unimplemented => {
                let message = format!(
                    "the server at {address} does not know this call: it is not closd, or older than this client"
                );
                Self::bare(Kind::Unimplemented, message)
            }
            Code::Internal if std::error::Error::source(status).is_some() => Self::bare(
                Kind::Unreachable,
                format!("the connection to {address} broke: {}", status.message()),
            ),
            // What tonic says when a deadline passes, at either end.
            Code::Cancelled if status.message() == "Timeout expired" => {
                Self::bare(Kind::DeadlineExceeded, "the daemon did not answer in time".to_owned())
            }
            code => Self::bare(kind(code), status.message().to_owned()),
        }
    }

    /// Whether a repetition may find the daemon back.
    pub(crate) fn may_pass(&self) -> bool {
        self.kind == Kind::Unreachable || self.reason == "DRAINING" || self.reason == "TOO_MANY_REQUESTS"
    }
}

fn kind(code: Code) -> Kind {
    match code {
        Code::InvalidArgument => Kind::InvalidArgument,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists => Kind::AlreadyExists,
        Code::FailedPrecondition => Kind::FailedPrecondition,
        Code::Aborted => Kind::Aborted,
        Code::OutOfRange => Kind::OutOfRange,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::PermissionDenied => Kind::PermissionDenied,
        Code::ResourceExhausted => Kind::ResourceExhausted,
        Code::Unavailable => Kind::Unavailable,
        Code::DeadlineExceeded => Kind::DeadlineExceeded,
        Code::Cancelled => Kind::Cancelled,
        Code::Unimplemented => Kind::Unimplemented,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Kind::Internal,
    }
}
