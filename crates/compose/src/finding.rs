//! What was found in the files and where: a place, a dotted key, a severity, a code and a sentence.
//!
//! Errors are collected as far as the work can go on, so that one look at the output mends the whole file.

use std::fmt;
use std::sync::Arc;

/// A place in a file. Lines and columns count from 1; line 0 means "no place in a file", for what comes from
/// a flag or a variable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// As people know it: relative to the folder the command was given in where it lies under it.
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
}

impl Location {
    pub fn new(file: &str, line: u32, column: u32) -> Self {
        Self { file: Arc::from(file), line, column }
    }

    /// For what has a name but no line: a whole file, a flag.
    pub fn whole(file: &str) -> Self {
        Self::new(file, 0, 0)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return f.write_str(&self.file);
        }
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The dotted path of a value, `services.web.ports[0]`, in the merged project.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Segment {
    Name(String),
    Item(usize),
}

impl Key {
    pub fn root() -> Self {
        Self::default()
    }

    pub fn of(names: &[&str]) -> Self {
        Self(names.iter().map(|name| Segment::Name((*name).to_owned())).collect())
    }

    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let mut segments = self.0.clone();
        segments.push(Segment::Name(name.to_owned()));
        Self(segments)
    }

    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        let mut segments = self.0.clone();
        segments.push(Segment::Item(index));
        Self(segments)
    }

    /// Whether the path has the shape of `pattern`, where `*` stands for any one name or item.
    pub fn is(&self, pattern: &str) -> bool {
        let mut expected = pattern.split('.');
        for segment in &self.0 {
            let fits = match (expected.next(), segment) {
                (Some("*"), _) => true,
                (Some(name), Segment::Name(own)) => name == own,
                _ => false,
            };
            if !fits {
                return false;
            }
        }
        expected.next().is_none()
    }

    /// Whether any name on the way starts with `x-`, where anything goes.
    pub(crate) fn in_extension(&self) -> bool {
        let names_of_others = self.0.first().is_some_and(|first| {
            matches!(first, Segment::Name(name) if ["services", "networks", "volumes", "configs", "secrets"].contains(&name.as_str()))
        });
        self.0.iter().enumerate().any(|(depth, segment)| {
            let is_a_name = names_of_others && depth == 1;
            !is_a_name && matches!(segment, Segment::Name(name) if name.starts_with("x-"))
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Name(name) if depth == 0 => f.write_str(name)?,
                Segment::Name(name) => write!(f, ".{name}")?,
                Segment::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is done with the file.
    Error,
    /// It works, and probably not as meant.
    Warning,
    /// Worth a line in a plan.
    Note,
}

/// What kind of finding it is, for programs: the caller maps these to its own reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Not YAML, or YAML that no compose file may hold (duplicate keys, keys that are no words).
    Syntax,
    /// Over one of the bounds in `limits`.
    TooLarge,
    /// Another kind of value than the key takes.
    WrongType,
    /// The right kind, and not one of the values it may have.
    InvalidValue,
    /// A service, group, network or volume name that cannot be one.
    InvalidName,
    /// A key that has to be there.
    MissingKey,
    /// A `${…}` that cannot be read, or a required variable without value.
    Interpolation,
    /// A variable without value and default, taken as empty.
    VariableUnset,
    /// A key that compose does not know.
    UnknownKey,
    /// A key that compose knows and we do not act on; see `keys`.
    UnsupportedKey,
    /// More than one container of a service.
    UnsupportedReplicas,
    /// A key that has a better successor.
    Deprecated,
    /// A file that another file names and that is not there.
    FileNotFound,
    OutsideRoot,
    FileUnreadable,
    /// Files that include, or services that extend, each other in a ring.
    ReferenceCycle,
    /// Services that depend on each other in a ring.
    DependencyCycle,
    UnknownDependency,
    /// A network, volume, config, secret or base service that nobody declares.
    UnknownReference,
    /// Two services that want one port of the host.
    DuplicatePort,
    /// Two services, volumes or targets under one name or path.
    Duplicate,
    /// Keys that exclude each other.
    Conflict,
    /// A service that is neither pulled nor built.
    NoImage,
    /// No services at all.
    Empty,
}

impl Code {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "SYNTAX",
            Self::TooLarge => "TOO_LARGE",
            Self::WrongType => "WRONG_TYPE",
            Self::InvalidValue => "INVALID_VALUE",
            Self::InvalidName => "INVALID_NAME",
            Self::MissingKey => "MISSING_KEY",
            Self::Interpolation => "INTERPOLATION",
            Self::VariableUnset => "VARIABLE_UNSET",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::UnsupportedKey => "UNSUPPORTED_KEY",
            Self::UnsupportedReplicas => "UNSUPPORTED_REPLICAS",
            Self::Deprecated => "DEPRECATED",
            Self::FileNotFound => "FILE_NOT_FOUND",
            Self::OutsideRoot => "OUTSIDE_ROOT",
            Self::FileUnreadable => "FILE_UNREADABLE",
            Self::ReferenceCycle => "REFERENCE_CYCLE",
            Self::DependencyCycle => "DEPENDENCY_CYCLE",
            Self::UnknownDependency => "UNKNOWN_DEPENDENCY",
            Self::UnknownReference => "UNKNOWN_REFERENCE",
            Self::DuplicatePort => "DUPLICATE_PORT",
            Self::Duplicate => "DUPLICATE",
            Self::Conflict => "CONFLICT",
            Self::NoImage => "NO_IMAGE",
            Self::Empty => "EMPTY",
        }
    }
}

/// One thing that a person should know about their files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub severity: Severity,
    pub code: Code,
    pub at: Location,
    pub key: Key,
    pub message: String,
}

impl Finding {
    pub(crate) fn error(code: Code, at: &Location, key: &Key, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, at: at.clone(), key: key.clone(), message: message.into() }
    }

    pub(crate) fn warning(code: Code, at: &Location, key: &Key, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, at, key, message) }
    }

    pub(crate) fn note(code: Code, at: &Location, key: &Key, message: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(code, at, key, message) }
    }
}

/// `compose.yaml:12:5: services.web.ports[0]: …`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.at)?;
        if self.key != Key::default() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Why there is no project: every error that could be found at once, in the order of the files; after them the
/// variables that are not set, which are often the cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.render())]
pub struct Errors {
    pub findings: Vec<Finding>,
    /// Errors beyond the bound of what is kept.
    pub omitted: usize,
}

impl Errors {
    fn render(&self) -> String {
        let line = |finding: &Finding| match finding.severity {
            Severity::Error => finding.to_string(),
            _ => format!("warning: {finding}"),
        };
        let mut lines: Vec<String> = self.findings.iter().map(line).collect();
        if self.omitted > 0 {
            lines.push(format!("and {} more errors", self.omitted));
        }
        lines.join("\n")
    }
}

/// Collects findings; the same one met twice (a file included on two ways) is kept once.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    all: Vec<Finding>,
    /// What was beyond the bounds: errors, and everything else.
    omitted: usize,
    omitted_others: usize,
}

impl Findings {
    /// More than this helps nobody, and a hostile file must not make us write without end.
    const MOST: usize = 200;

    pub(crate) fn push(&mut self, finding: Finding) {
        if self.all.contains(&finding) {
            return;
        }
        let is_error = finding.severity == Severity::Error;
        let most = if is_error { 2 * Self::MOST } else { Self::MOST };
        if self.all.len() < most {
            self.all.push(finding);
        } else if is_error {
            self.omitted += 1;
        } else {
            self.omitted_others += 1;
        }
    }

    pub(crate) fn error(&mut self, code: Code, at: &Location, key: &Key, message: impl Into<String>) {
        self.push(Finding::error(code, at, key, message));
    }

    pub(crate) fn warning(&mut self, code: Code, at: &Location, key: &Key, message: impl Into<String>) {
        self.push(Finding::warning(code, at, key, message));
    }

    pub(crate) fn note(&mut self, code: Code, at: &Location, key: &Key, message: impl Into<String>) {
        self.push(Finding::note(code, at, key, message));
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.all.iter().any(|finding| finding.severity == Severity::Error)
    }

    pub(crate) fn into_errors(self) -> Errors {
        let omitted = self.omitted;
        let (errors, others): (Vec<_>, Vec<_>) =
            self.into_vec().into_iter().partition(|finding| finding.severity == Severity::Error);
        let unset = others.into_iter().filter(|finding| finding.code == Code::VariableUnset);
        Errors { findings: errors.into_iter().chain(unset).collect(), omitted }
    }

    /// File by file in the order in which they were met, each from top to bottom.
    pub(crate) fn into_vec(mut self) -> Vec<Finding> {
        let mut files: Vec<Arc<str>> = Vec::new();
        for finding in &self.all {
            if !files.contains(&finding.at.file) {
                files.push(finding.at.file.clone());
            }
        }
        let rank = |finding: &Finding| files.iter().position(|file| *file == finding.at.file);
        self.all.sort_by_cached_key(|finding| {
            (rank(finding), finding.at.line, finding.at.column, finding.key.clone())
        });
        if let Some(last) = self.all.last().filter(|_| self.omitted_others > 0) {
            let message = format!("{} more warnings and notes are not listed", self.omitted_others);
            let at = Location { line: 0, column: 0, ..last.at.clone() };
            self.all.push(Finding::warning(Code::TooLarge, &at, &Key::root(), message));
        }
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_prints_names_with_dots_and_items_in_brackets() {
        let key = Key::of(&["services", "web", "ports"]).item(0).child("target");
        assert_eq!(key.to_string(), "services.web.ports[0].target");
        assert!(key.is("services.*.ports.*.target"));
        assert!(!key.is("services.*.ports"));
        assert!(!key.is("services.*.ports.*.target.more"));
    }

    #[test]
    fn a_finding_names_file_line_column_and_key() {
        let at = Location::new("compose.yaml", 12, 5);
        let finding = Finding::error(Code::InvalidValue, &at, &Key::of(&["services", "web"]), "no");
        assert_eq!(finding.to_string(), "compose.yaml:12:5: services.web: no");
        let bare = Finding::error(Code::InvalidValue, &Location::whole("--project"), &Key::root(), "no");
        assert_eq!(bare.to_string(), "--project: no");
    }

    #[test]
    fn a_service_may_be_called_like_an_extension() {
        assert!(Key::of(&["x-common", "image"]).in_extension());
        assert!(Key::of(&["services", "web", "x-note"]).in_extension());
        assert!(!Key::of(&["services", "x-ray", "image"]).in_extension());
    }

    #[test]
    fn the_same_finding_is_kept_once_and_the_number_is_bounded() {
        let mut findings = Findings::default();
        let at = Location::new("a", 1, 1);
        for _ in 0..3 {
            findings.warning(Code::UnknownKey, &at, &Key::root(), "x");
        }
        assert_eq!(findings.all.len(), 1);
        for line in 0..1000 {
            findings.error(Code::UnknownKey, &Location::new("a", line, 1), &Key::root(), "x");
        }
        assert_eq!(findings.all.len(), 2 * Findings::MOST);
        let errors = findings.into_errors();
        assert_eq!(errors.findings.len() + errors.omitted, 1000);
        assert!(errors.to_string().ends_with("\nand 601 more errors"), "{errors}");
    }

    #[test]
    fn warnings_beyond_the_bound_are_counted() {
        let mut findings = Findings::default();
        for line in 1..=500 {
            findings.warning(Code::VariableUnset, &Location::new("a", line, 1), &Key::root(), "x");
        }
        let all = findings.into_vec();
        assert_eq!(all.len(), Findings::MOST + 1);
        assert_eq!(all[Findings::MOST].to_string(), "a: 300 more warnings and notes are not listed");
    }
}
