//! What stands in the way of a plan, one thing each, and the way out.
//!
//! A plan collects its problems instead of stopping at the first; `up` refuses with
//! the same list that `plan` shows ([`refusal`]).

use std::collections::BTreeMap;

use crate::error::{Error, Finding, PortConflict, Reason};

/// One thing that stands in the way of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The word for programs.
    pub reason: Reason,
    /// What it is about: `shop/web`, or an image, network or volume by the engine's name.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// The way out; empty where the message says it already.
    pub hint: String,
    /// Facts for programs.
    pub facts: BTreeMap<String, String>,
    /// The port that somebody else has, if it is about one.
    pub conflict: Option<PortConflict>,
    /// The place in the files, if it is about one.
    pub finding: Option<Finding>,
}

impl Problem {
    /// A problem and its way out.
    pub fn new(
        reason: Reason,
        subject: impl ToString,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            reason,
            subject: subject.to_string(),
            message: message.into(),
            hint: hint.into(),
            facts: BTreeMap::new(),
            conflict: None,
            finding: None,
        }
    }

    /// Adds a fact that programs read.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.facts.insert(key.to_owned(), value.to_string());
        self
    }

    /// Names the place in the files.
    #[must_use]
    pub fn at(mut self, finding: Finding) -> Self {
        self.finding = Some(finding);
        self
    }

    /// The problems that an error names: one for each port conflict, else the error itself.
    pub fn of(error: &Error, subject: impl ToString) -> Vec<Self> {
        let about = |message: String, subject: String| Self {
            reason: error.reason(),
            subject,
            message,
            hint: String::new(),
            facts: error.metadata().clone(),
            conflict: None,
            finding: error.findings().first().cloned(),
        };
        if error.conflicts().is_empty() {
            return vec![about(error.message().to_owned(), subject.to_string())];
        }
        let each = error.conflicts().iter().map(|conflict| Self {
            conflict: Some(conflict.clone()),
            ..about(conflict.to_string(), conflict.wanted_by.clone())
                .with("port", conflict.port)
                .with("holder", &conflict.holder)
                .with("wanted_by", &conflict.wanted_by)
        });
        each.collect()
    }

    /// What is wrong and the way out, in one line.
    fn line(&self) -> String {
        if self.hint.is_empty() { self.message.clone() } else { format!("{}; {}", self.message, self.hint) }
    }
}

/// The error that refuses a plan with these problems; its reason is that of the first.
pub fn refusal(problems: &[Problem]) -> Option<Error> {
    let first = problems.first()?;
    let message = match problems {
        [only] => only.line(),
        _ => {
            let lines: Vec<String> = problems.iter().map(Problem::line).collect();
            format!("{} problems: {}", problems.len(), lines.join("; "))
        }
    };
    let mut error = Error::new(first.reason, message);
    for (key, value) in &first.facts {
        error = error.with(key, value);
    }
    let conflicts = problems.iter().filter_map(|problem| problem.conflict.clone()).collect();
    let findings = problems.iter().filter_map(|problem| problem.finding.clone()).collect();
    Some(error.with_conflicts(conflicts).with_findings(findings).with_problems(problems.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::{Holder, Protocol};

    fn taken(port: u16) -> PortConflict {
        PortConflict {
            port,
            protocol: Protocol::Tcp,
            host_ip: "127.0.0.1".into(),
            wanted_by: "shop/web".into(),
            holder: Holder::Container { name: "other".into() },
        }
    }

    #[test]
    fn a_refusal_has_the_reason_of_the_first_and_names_all() {
        assert!(refusal(&[]).is_none());
        let image = Problem::new(Reason::ImageNotFound, "none:1", "nobody has `none:1`", "build it");
        let alone = refusal(std::slice::from_ref(&image)).unwrap();
        assert_eq!(
            (alone.reason(), alone.message()),
            (Reason::ImageNotFound, "nobody has `none:1`; build it")
        );

        let ports = Error::new(Reason::PortConflict, "both").with_conflicts(vec![taken(80), taken(81)]);
        let mut all = Problem::of(&ports, "shop");
        all.push(image);
        let error = refusal(&all).unwrap();
        assert_eq!(
            (error.reason(), error.conflicts().len(), error.problems().len()),
            (Reason::PortConflict, 2, 3)
        );
        assert_eq!(error.metadata()["port"], "80");
        for word in ["3 problems", "port 80 ", "port 81 ", "none:1"] {
            assert!(error.message().contains(word), "{error}");
        }
    }
}
