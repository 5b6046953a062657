//! What differs between what a container was made from and what is wanted now.

/// So many differences of a service are told in a sentence, the rest is counted.
const TOLD: usize = 5;

/// One difference. Values are for people: shortened, and masked where they may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key, as the compose file has it: `environment.LOG_LEVEL`.
    pub field: String,
    /// The value that the container was made with; `None` when it was not set.
    pub from: Option<String>,
    /// The value that is wanted; `None` when it is not set any more.
    pub to: Option<String>,
}

/// `environment.WORKER_NAME: w1 → w2, image: a → b, and 2 more`.
pub fn sentence(changes: &[Change]) -> String {
    let mut told: Vec<String> = changes.iter().take(TOLD).map(Change::text).collect();
    let more = changes.len().saturating_sub(TOLD);
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    told.join(", ")
}

impl Change {
    fn text(&self) -> String {
        // Equal once shortened or masked: that it changed is all that can be told.
        if self.from == self.to {
            return format!("{} changed", self.field);
        }
        let shown = |value: &Option<String>| match value.as_deref() {
            None => "not set".to_owned(),
            Some("") => "\"\"".to_owned(),
            Some(value) => value.to_owned(),
        };
        format!("{}: {} → {}", self.field, shown(&self.from), shown(&self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_changes_are_counted() {
        let change = |field: &str, from: Option<&str>, to: Option<&str>| Change {
            field: field.into(),
            from: from.map(Into::into),
            to: to.map(Into::into),
        };
        let all = [
            change("environment.A", Some("1"), Some("2")),
            change("environment.B", None, Some("")),
            change("environment.TOKEN", Some("********"), Some("********")),
            change("image", Some("a"), None),
            change("ports", Some("[]"), Some("[80:80]")),
            change("tty", None, Some("true")),
        ];
        assert_eq!(
            sentence(&all),
            "environment.A: 1 → 2, environment.B: not set → \"\", environment.TOKEN changed, image: a → not set, \
             ports: [] → [80:80], and 1 more"
        );
    }
}
