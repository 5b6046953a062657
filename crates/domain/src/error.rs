//! One error vocabulary: what went wrong as a reason from a closed catalogue,
//! and what a caller can do about it as a kind.
//!
//! Two strings travel with an error from its birth: `message` is for the
//! caller, the `source` chain is for the log. Only `rpc/src/status.rs` turns
//! kinds into wire codes.
//!
//! To add a reason: a line in the `catalogue!` below with its kind and one sentence of
//! explanation. `clos explain` and the wire get it from there.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::problem::Problem;

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request itself is wrong; the same request never succeeds.
    InvalidArgument,
    /// The thing named does not exist.
    NotFound,
    /// The thing to be made exists.
    AlreadyExists,
    /// The request is fine, the state of the world is not; something else has to happen first.
    FailedPrecondition,
    /// Somebody else changed it at the same time; read again and repeat.
    Aborted,
    /// A position outside what is kept.
    OutOfRange,
    /// Nobody known is asking.
    Unauthenticated,
    /// Somebody known may not.
    PermissionDenied,
    /// A limit was reached; later is better.
    ResourceExhausted,
    /// Something outside is away; repeat later.
    Unavailable,
    /// The deadline passed.
    DeadlineExceeded,
    /// The caller gave up.
    Cancelled,
    /// Not on this machine or engine.
    Unimplemented,
    /// Our fault.
    Internal,
}

macro_rules! catalogue {
    ($($variant:ident $word:literal $kind:ident $explain:literal;)*) => {
        /// The closed catalogue of reasons, stable words on the wire.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum Reason { $(#[doc = $explain] #[serde(rename = $word)] $variant,)* }

        impl Reason {
            /// Every reason there is, in the catalogue's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// What a caller can do about it.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)* }
            }

            /// One sentence for people.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $explain,)* }
            }

            /// The reason with this word.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
            }
        }
    };
}

catalogue! {
    InvalidField "INVALID_FIELD" InvalidArgument "one or more fields of the request are wrong; every one is named with its value and the way out";
    InvalidFile "INVALID_FILE" InvalidArgument "a compose file cannot be read as one; each finding names file, line and key";
    InvalidPosition "INVALID_POSITION" InvalidArgument "the sequence asked for lies beyond the head of the journal";
    DependencyCycle "DEPENDENCY_CYCLE" InvalidArgument "services or groups need each other in a circle, so none can start first";
    UnknownDependency "UNKNOWN_DEPENDENCY" InvalidArgument "a service or group depends on one that does not exist";
    ServiceNotFound "SERVICE_NOT_FOUND" NotFound "no service has this id, name or alias";
    GroupNotFound "GROUP_NOT_FOUND" NotFound "no group has this id or name";
    OperationNotFound "OPERATION_NOT_FOUND" NotFound "no operation has this id";
    FileNotFound "FILE_NOT_FOUND" NotFound "a file that the project names does not exist";
    ServiceExists "SERVICE_EXISTS" AlreadyExists "the group has a service of this name";
    GroupExists "GROUP_EXISTS" AlreadyExists "a group of this name and instance exists";
    NameTaken "NAME_TAKEN" FailedPrecondition "the container name is in use; `--adopt` replaces a container that clos does not manage and keeps its volumes";
    PortConflict "PORT_CONFLICT" FailedPrecondition "a host port is needed twice, or something else is using it";
    PortRangeFull "PORT_RANGE_FULL" FailedPrecondition "every port of the project's range is taken";
    VariablesNeeded "VARIABLES_NEEDED" FailedPrecondition "files that the daemon opened use variables that the caller did not send";
    ProjectMismatch "PROJECT_MISMATCH" FailedPrecondition "a group of this name belongs to another folder; use --instance, --project or --move";
    OutsideRoot "OUTSIDE_ROOT" FailedPrecondition "a path leaves the project root; add the folder to `roots:` in closd.yaml or move the file";
    NotDown "NOT_DOWN" FailedPrecondition "the service or group is not down; run `clos down` first, or use force";
    DependantsRunning "DEPENDANTS_RUNNING" FailedPrecondition "other groups that are running depend on this";
    ImageNotFound "IMAGE_NOT_FOUND" FailedPrecondition "an image is neither on this engine nor can it be pulled or built";
    ImagePullFailed "IMAGE_PULL_FAILED" FailedPrecondition "the registry refused or could not be reached";
    BuildFailed "BUILD_FAILED" FailedPrecondition "an image build ended with an error";
    SpecRefused "SPEC_REFUSED" FailedPrecondition "the engine refused the container's settings";
    NoRows "NO_ROWS" FailedPrecondition "the group has no services; apply a compose file first";
    KindUnsupported "KIND_UNSUPPORTED" InvalidArgument "this kind of workload cannot do that";
    EtagMismatch "ETAG_MISMATCH" Aborted "the resource changed since it was read; read again and repeat";
    Superseded "SUPERSEDED" Aborted "a later operation with the opposite intent took the service over";
    Skipped "SKIPPED" FailedPrecondition "something this step needs did not succeed";
    Interrupted "INTERRUPTED" Aborted "the daemon ended while the operation was open";
    CancelRequested "CANCEL_REQUESTED" Cancelled "the operation was cancelled on request";
    UndoStuck "UNDO_STUCK" FailedPrecondition "an undo failed; the operation lists what is left over";
    Unhealthy "UNHEALTHY" FailedPrecondition "the health check failed until its retries were used up";
    NeverHealthy "NEVER_HEALTHY" DeadlineExceeded "the health gate did not pass within its time";
    Exited "EXITED" FailedPrecondition "the container ended although it should run";
    Gone "GONE" FailedPrecondition "the container was removed outside of CLOS";
    CrashLooping "CRASH_LOOPING" FailedPrecondition "the engine restarted the container three times within a minute";
    Completed "COMPLETED" FailedPrecondition "a one-shot ended with code 0, which counts as success";
    Drifted "DRIFTED" FailedPrecondition "it runs although it should not";
    Restarting "RESTARTING" FailedPrecondition "the engine is restarting the container";
    SequenceTooOld "SEQUENCE_TOO_OLD" OutOfRange "the journal no longer keeps events from there; read again from the oldest";
    TokenMissing "TOKEN_MISSING" Unauthenticated "a call over TCP carries `authorization: Bearer` with the content of the token file";
    TokenInvalid "TOKEN_INVALID" Unauthenticated "the bearer token is not this installation's";
    HostRefused "HOST_REFUSED" PermissionDenied "the Host header or :authority is not on the allow-list";
    OriginRefused "ORIGIN_REFUSED" PermissionDenied "the Origin is not on the allow-list";
    PeerRefused "PEER_REFUSED" PermissionDenied "the peer of the socket runs as another user";
    TooManyRequests "TOO_MANY_REQUESTS" ResourceExhausted "the daemon is at its limit of requests in progress; repeat later";
    EngineUnreachable "ENGINE_UNREACHABLE" Unavailable "the container engine does not answer";
    NoEngine "NO_ENGINE" Unavailable "no container engine was found";
    StoreUnavailable "STORE_UNAVAILABLE" Unavailable "the database does not answer";
    Draining "DRAINING" Unavailable "the daemon is shutting down";
    TimedOut "TIMED_OUT" DeadlineExceeded "the deadline passed first";
    NotKnownHere "NOT_KNOWN_HERE" Unimplemented "this machine or engine cannot tell or do that";
    Internal "INTERNAL" Internal "a fault of CLOS itself; the log has the whole chain under the request id";
    Paused "PAUSED" FailedPrecondition "somebody paused the container; `clos up` or `docker unpause` lets it go on";
    StoppedOutside "STOPPED_OUTSIDE" FailedPrecondition "somebody stopped the container outside of CLOS; `clos up` or `clos start` starts it again";
    AdmissionRefused "ADMISSION_REFUSED" PermissionDenied "a spec asks for a right over this machine: privileged, a namespace or device of the host, a capability, an unconfined profile, the engine's socket; leave it out, or ask over the Unix socket, where the owner may have it";
}

/// One bad field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path in the request's message, snake_case: `ports[0].host_port`.
    pub field: String,
    /// What is wrong and the way out.
    pub description: String,
}

/// Where in a file something was found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Finding {
    /// `error` or `warning`.
    pub severity: Severity,
    /// Path of the file as the caller gave it; empty when it is about no file.
    pub file: String,
    /// 1-based; 0 when unknown.
    pub line: u32,
    /// 1-based; 0 when unknown.
    pub column: u32,
    /// Dotted path of the key: `services.web.ports[0]`.
    pub key: String,
    /// What is the matter and the way out.
    pub message: String,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth reading.
    Warning,
    /// Nothing is done.
    Error,
}

/// Two claims on one host port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConflict {
    /// The host port.
    pub port: u16,
    /// `tcp` or `udp`.
    pub protocol: crate::port::Protocol,
    /// The address that was wanted.
    pub host_ip: String,
    /// Resource name of the service that wants it.
    pub wanted_by: String,
    /// Who has it, as far as known.
    pub holder: crate::port::Holder,
}

impl std::fmt::Display for PortConflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "port {} wanted by `{}` is held by {}", self.port, self.wanted_by, self.holder)
    }
}

#[derive(Debug, Default)]
struct Details {
    metadata: BTreeMap<String, String>,
    fields: Vec<FieldViolation>,
    findings: Vec<Finding>,
    conflicts: Vec<PortConflict>,
    problems: Vec<Problem>,
    variables: Vec<String>,
    resource: Option<(String, String)>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What a use case answers when it cannot do what was asked.
#[derive(Debug)]
pub struct Error {
    reason: Reason,
    message: String,
    details: Box<Details>,
}

impl Error {
    /// An error for the caller: lower case, no full stop, names the thing.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), details: Box::default() }
    }

    /// A fault of ours; the cause is for the log only.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Reason::Internal, "an internal error; the daemon's log has the details").with_source(source)
    }

    /// One bad field.
    pub fn field(field: impl Into<String>, description: impl Into<String>) -> Self {
        let description = description.into();
        let field = field.into();
        Self::new(Reason::InvalidField, format!("{field}: {description}"))
            .with_fields(vec![FieldViolation { field, description }])
    }

    /// Every bad field at once.
    pub fn fields(violations: Vec<FieldViolation>) -> Self {
        let listed: Vec<String> =
            violations.iter().map(|one| format!("{}: {}", one.field, one.description)).collect();
        Self::new(Reason::InvalidField, listed.join("; ")).with_fields(violations)
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.details.source = Some(source.into());
        self
    }

    /// Adds a fact that programs read.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.details.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Names the bad fields.
    #[must_use]
    pub fn with_fields(mut self, fields: Vec<FieldViolation>) -> Self {
        self.details.fields = fields;
        self
    }

    /// Names the places in files.
    #[must_use]
    pub fn with_findings(mut self, findings: Vec<Finding>) -> Self {
        self.details.findings = findings;
        self
    }

    /// Adds what else is worth knowing about the files.
    #[must_use]
    pub fn and_findings(mut self, more: impl IntoIterator<Item = Finding>) -> Self {
        for finding in more {
            if !self.details.findings.contains(&finding) {
                self.details.findings.push(finding);
            }
        }
        self
    }

    /// Names the ports and their holders.
    #[must_use]
    pub fn with_conflicts(mut self, conflicts: Vec<PortConflict>) -> Self {
        self.details.conflicts = conflicts;
        self
    }

    /// Names everything that stands in the way.
    #[must_use]
    pub fn with_problems(mut self, problems: Vec<Problem>) -> Self {
        self.details.problems = problems;
        self
    }

    /// Names the variables that are missing.
    #[must_use]
    pub fn with_variables(mut self, variables: Vec<String>) -> Self {
        self.details.variables = variables;
        self
    }

    /// Names the resource that is meant: its type and its name.
    #[must_use]
    pub fn about(mut self, resource_type: &str, name: impl ToString) -> Self {
        self.details.resource = Some((resource_type.to_owned(), name.to_string()));
        self
    }

    /// Says when to come back.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.details.retry_after = Some(after);
        self
    }

    /// The reason word.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What the caller can do.
    pub fn kind(&self) -> Kind {
        self.reason.kind()
    }

    /// What the caller may read.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Facts for programs.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.details.metadata
    }

    /// The bad fields.
    pub fn violations(&self) -> &[FieldViolation] {
        &self.details.fields
    }

    /// The places in files.
    pub fn findings(&self) -> &[Finding] {
        &self.details.findings
    }

    /// The port conflicts.
    pub fn conflicts(&self) -> &[PortConflict] {
        &self.details.conflicts
    }

    /// Everything that stands in the way.
    pub fn problems(&self) -> &[Problem] {
        &self.details.problems
    }

    /// The variables that are missing.
    pub fn variables(&self) -> &[String] {
        &self.details.variables
    }

    /// Type and name of the resource that is meant.
    pub fn resource(&self) -> Option<(&str, &str)> {
        self.details.resource.as_ref().map(|(kind, name)| (kind.as_str(), name.as_str()))
    }

    /// When to come back.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.details.retry_after
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.details.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_by_its_word() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
            assert!(!reason.explanation().ends_with('.'), "{}", reason.as_str());
        }
        assert_eq!(Reason::parse("NO_SUCH_REASON"), None);
    }

    #[test]
    fn several_bad_fields_are_named_in_one_message() {
        let error = Error::fields(vec![
            FieldViolation { field: "name".into(), description: "must not be empty".into() },
            FieldViolation { field: "port".into(), description: "80 is below 1024".into() },
        ]);
        assert_eq!(error.to_string(), "name: must not be empty; port: 80 is below 1024");
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert_eq!(error.violations().len(), 2);
    }

    #[test]
    fn the_cause_is_for_the_log_and_not_in_the_message() {
        let error = Error::internal(std::io::Error::other("secret path"));
        assert!(!error.to_string().contains("secret"));
        assert!(std::error::Error::source(&error).is_some());
    }
}
