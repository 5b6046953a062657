//! Health checks and their verdicts.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How to ask a workload whether it is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The question.
    pub test: Test,
    /// Pause between two questions once the first has succeeded.
    #[serde(default = "default_interval")]
    pub interval: Duration,
    /// How long one question may take.
    #[serde(default = "default_interval")]
    pub timeout: Duration,
    /// Failures in a row, after the start period, that make it unhealthy.
    #[serde(default = "default_retries")]
    pub retries: u32,
    /// Failures in this time after the start do not count.
    #[serde(default)]
    pub start_period: Duration,
    /// The engine's pace during the start period, where the engine has one.
    #[serde(default)]
    pub start_interval: Option<Duration>,
}

fn default_interval() -> Duration {
    Duration::from_secs(30)
}

fn default_retries() -> u32 {
    3
}

impl Check {
    /// A check with the engine's defaults: every 30 s, 30 s each, three retries.
    pub fn new(test: Test) -> Self {
        Self {
            test,
            interval: default_interval(),
            timeout: default_interval(),
            retries: default_retries(),
            start_period: Duration::ZERO,
            start_interval: None,
        }
    }

    /// How long a gate on this check waits before it gives up: the start period,
    /// then every retry at its slowest, and never less than a minute.
    pub fn patience(&self) -> Duration {
        let tries = self.interval.saturating_add(self.timeout).saturating_mul(self.retries.max(1));
        self.start_period.saturating_add(tries).max(Duration::from_secs(60))
    }
}

/// The question of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// GET; any status in `expected` is well (empty: 200-399). `http://:8080/healthz` has no
    /// host and means the workload itself, its port being the container's.
    Http {
        /// The URL.
        url: String,
        /// Statuses that are well.
        #[serde(default)]
        expected: Vec<u16>,
    },
    /// A connection to this container port that is not closed at once.
    Tcp {
        /// The container's port.
        port: u16,
    },
    /// Exit code 0 of this argument vector inside the workload.
    Command {
        /// The program and its arguments; no shell unless it is named.
        argv: Vec<String>,
    },
    /// The file says that the image's own check is off.
    Disabled,
}

impl Test {
    /// Whether the engine can run it by itself.
    pub fn is_command(&self) -> bool {
        matches!(self, Self::Command { .. })
    }
}

/// What the last answers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nobody asks.
    None,
    /// No success yet, and failures do not count yet.
    Starting,
    /// The last answer was good.
    Healthy,
    /// Too many bad answers in a row.
    Unhealthy,
}

impl Verdict {
    /// The wire word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// The verdict of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::None, Self::Starting, Self::Healthy, Self::Unhealthy].into_iter().find(|v| v.as_str() == word)
    }
}

/// What the last question to a service gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastCheck {
    /// When the answer came.
    pub at: Timestamp,
    /// It was a good answer.
    pub healthy: bool,
    /// What the command printed, or why there was no good answer; see [`LastCheck::output`].
    pub output: String,
    /// Exit code of a command that ran to its end.
    pub exit_code: Option<i32>,
    /// Status of an HTTP answer.
    pub http_status: Option<u16>,
    /// Failures in a row that counted, this one included.
    pub failures: u32,
}

impl LastCheck {
    /// So much output is kept of one answer, in bytes.
    pub const OUTPUT_LIMIT: usize = 4 * 1024;

    /// Output as it is kept: cut between characters, and without the NUL that PostgreSQL and many
    /// terminals refuse.
    pub fn output(raw: &str) -> String {
        let end = raw.floor_char_boundary(Self::OUTPUT_LIMIT);
        let kept = crate::text::without_nul(&raw[..end]);
        // A replacement takes three bytes for one.
        let end = kept.floor_char_boundary(Self::OUTPUT_LIMIT);
        kept[..end].to_owned()
    }

    /// For people, on one line: how often it failed, and what was said last.
    pub fn failure(&self) -> String {
        let times = if self.failures == 1 { "once".to_owned() } else { format!("{} times", self.failures) };
        let output = one_line(&self.output);
        match (output.is_empty(), self.exit_code) {
            (false, Some(_)) => format!("health check failed {times}; last output: {output}"),
            // What no command printed says why there was no good answer.
            (false, None) => format!("health check failed {times}: {output}"),
            (true, Some(code)) => {
                format!("health check failed {times}; it exits with {code} and prints nothing")
            }
            (true, None) => format!("health check failed {times}"),
        }
    }
}

/// The first 200 characters, each run of white space as one blank.
fn one_line(output: &str) -> String {
    const LIMIT: usize = 200;
    let words: Vec<&str> = output.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Turns single answers into a verdict: the first success ends `starting`, and
/// `retries` failures in a row after the start period end `healthy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streak {
    verdict: Verdict,
    failures: u32,
}

impl Default for Streak {
    fn default() -> Self {
        Self { verdict: Verdict::Starting, failures: 0 }
    }
}

impl Streak {
    /// Goes on after this verdict.
    pub fn after(verdict: Verdict, check: &Check) -> Self {
        match verdict {
            Verdict::Healthy => Self { verdict, failures: 0 },
            Verdict::Unhealthy => Self { verdict, failures: check.retries.max(1) },
            Verdict::None | Verdict::Starting => Self::default(),
        }
    }

    /// Takes one answer, `age` after the start of the workload.
    pub fn record(&mut self, check: &Check, age: Duration, well: bool) -> Verdict {
        if well {
            self.failures = 0;
            self.verdict = Verdict::Healthy;
            return self.verdict;
        }
        let forgiven = age < check.start_period && self.verdict == Verdict::Starting;
        if !forgiven {
            self.failures = self.failures.saturating_add(1);
        }
        if self.failures >= check.retries.max(1) {
            self.verdict = Verdict::Unhealthy;
        }
        self.verdict
    }

    /// The verdict so far.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Failures in a row that counted.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> Check {
        Check { start_period: Duration::from_secs(10), ..Check::new(Test::Tcp { port: 80 }) }
    }

    #[test]
    fn what_was_unhealthy_stays_so_until_a_good_answer() {
        let check = Check::new(Test::Tcp { port: 1 });
        let mut streak = Streak::after(Verdict::Unhealthy, &check);
        assert_eq!(streak.record(&check, Duration::ZERO, false), Verdict::Unhealthy);
        assert_eq!(streak.record(&check, Duration::ZERO, true), Verdict::Healthy);
        let mut streak = Streak::after(Verdict::Healthy, &check);
        assert_eq!(streak.record(&check, Duration::ZERO, false), Verdict::Healthy);
        assert_eq!(Streak::after(Verdict::Starting, &check), Streak::default());
    }

    #[test]
    fn failures_in_the_start_period_do_not_count() {
        let (check, mut streak) = (check(), Streak::default());
        for _ in 0..20 {
            assert_eq!(streak.record(&check, Duration::from_secs(9), false), Verdict::Starting);
        }
        for _ in 0..2 {
            assert_eq!(streak.record(&check, Duration::from_secs(11), false), Verdict::Starting);
        }
        assert_eq!(streak.record(&check, Duration::from_secs(11), false), Verdict::Unhealthy);
    }

    #[test]
    fn one_success_heals_and_the_count_begins_anew() {
        let (check, mut streak) = (check(), Streak::default());
        assert_eq!(streak.record(&check, Duration::ZERO, true), Verdict::Healthy);
        assert_eq!(streak.record(&check, Duration::from_secs(1), false), Verdict::Healthy);
        assert_eq!(streak.record(&check, Duration::from_secs(2), true), Verdict::Healthy);
        assert_eq!(streak.failures(), 0);
        assert_eq!(streak.verdict(), Verdict::Healthy);
    }

    #[test]
    fn patience_covers_every_retry_and_at_least_a_minute() {
        assert_eq!(check().patience(), Duration::from_secs(190));
        let quick =
            Check { interval: Duration::from_millis(100), timeout: Duration::from_secs(1), ..check() };
        assert_eq!(quick.patience(), Duration::from_secs(60));
    }

    fn failed(output: &str, exit_code: Option<i32>, failures: u32) -> LastCheck {
        let output = LastCheck::output(output);
        LastCheck {
            at: Timestamp::UNIX_EPOCH,
            healthy: false,
            output,
            exit_code,
            http_status: None,
            failures,
        }
    }

    #[test]
    fn output_is_cut_between_characters_and_has_no_nul() {
        assert_eq!(LastCheck::output("a\0b"), "a\u{fffd}b");
        let long = LastCheck::output(&"é".repeat(3000));
        assert_eq!((long.len(), long.chars().all(|c| c == 'é')), (4096, true));
        let long = LastCheck::output(&format!("a{}", "é".repeat(3000)));
        assert_eq!(long.len(), 4095);
        assert!(LastCheck::output(&"\0".repeat(5000)).len() <= LastCheck::OUTPUT_LIMIT);
    }

    #[test]
    fn a_failure_says_how_often_and_what_was_said_last() {
        for (check, said) in [
            (failed("no\r\n  route\n", Some(1), 3), "health check failed 3 times; last output: no route"),
            (failed("", Some(1), 1), "health check failed once; it exits with 1 and prints nothing"),
            (failed("status 503", None, 2), "health check failed 2 times: status 503"),
        ] {
            assert_eq!(check.failure(), said);
        }
        let long = failed(&"é".repeat(500), Some(1), 3).failure();
        assert!(long.ends_with("é…") && long.chars().count() < 260, "{long}");
    }

    #[test]
    fn verdict_words_read_back() {
        for verdict in [Verdict::None, Verdict::Starting, Verdict::Healthy, Verdict::Unhealthy] {
            assert_eq!(Verdict::parse(verdict.as_str()), Some(verdict));
        }
        assert_eq!(Verdict::parse("well"), None);
    }
}
