//! One call to the engine: its deadline, and what its failure says about the
//! effect. A change that was sent and not answered may have happened; a question
//! that was not answered says only that nobody answers.

use std::future::Future;
use std::time::Duration;

use bollard::errors::Error as Api;
use clos_domain::seams::engine::Error;
use clos_domain::text::without_nul;

/// Whether a call changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Reads,
    Changes,
}

/// Why a call has no result: the engine's own words with their status, which the
/// caller reads by the noun it asked about, or an error that is the same for all.
#[derive(Debug)]
pub(crate) enum Fault {
    Answer { status: u16, message: String },
    Seam(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Seam(error)
    }
}

impl From<Fault> for Error {
    /// What an answer means when the noun has no better reading.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Seam(error) => error,
            Fault::Answer { status, message } => {
                if let Some(error) = port_error(&message) {
                    return error;
                }
                match status {
                    501 => Self::Unsupported(message),
                    400..=499 => Self::Refused(message),
                    _ => Self::Failed(message),
                }
            }
        }
    }
}

/// Runs one call under its deadline.
pub(crate) async fn within<T>(
    deadline: Duration,
    what: &str,
    effect: Effect,
    call: impl Future<Output = Result<T, Api>>,
) -> Result<T, Fault> {
    let began = tokio::time::Instant::now();
    let answer = match tokio::time::timeout(deadline, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(fault(what, effect, &error)),
        Err(_) => Err(Fault::Seam(no_answer(what, effect, &format!("nothing within {deadline:?}")))),
    };
    let outcome = match &answer {
        Ok(_) => "ok",
        Err(Fault::Seam(Error::Unreachable(_))) => "unreachable",
        Err(Fault::Seam(Error::UnknownOutcome(_))) => "unknown",
        Err(_) => "refused",
    };
    // The first word is the call, what follows names whom it is about.
    let word = what.split(' ').next().unwrap_or_default();
    clos_telemetry::metrics().engine_call(word, outcome, began.elapsed());
    answer
}

/// Reads one of bollard's errors.
pub(crate) fn fault(what: &str, effect: Effect, error: &Api) -> Fault {
    match error {
        Api::DockerResponseServerError { status_code, message } => {
            Fault::Answer { status: *status_code, message: words(message) }
        }
        Api::DockerStreamError { error } => Fault::Seam(Error::Failed(words(error))),
        Api::SocketNotFoundError(path) => Fault::Seam(Error::Unreachable(format!("{path} does not exist"))),
        Api::HyperLegacyError { err } if err.is_connect() => Fault::Seam(Error::Unreachable(chain(err))),
        other => Fault::Seam(no_answer(what, effect, &chain(other))),
    }
}

/// The engine's own words; a command with NUL comes back in the error about it.
fn words(message: &str) -> String {
    without_nul(message.trim()).into_owned()
}

fn no_answer(what: &str, effect: Effect, why: &str) -> Error {
    match effect {
        Effect::Reads => Error::Unreachable(format!("{what}: {why}")),
        Effect::Changes => Error::UnknownOutcome(format!("{what} ({why})")),
    }
}

/// The innermost cause: hyper's own words (`client error (Connect)`) tell people nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

/// The two errors of a taken port. They come at start, with status 500, and leave
/// the container `created`.
pub(crate) fn port_error(message: &str) -> Option<Error> {
    if let Some(end) = message.find("port is already allocated") {
        return Some(Error::PortAllocated { port: last_port(&message[..end]) });
    }
    let end = message.find("address already in use")?;
    Some(Error::PortInUse { port: last_port(&message[..end]) })
}

/// The last `:digits` of a text, 0 when there is none.
fn last_port(text: &str) -> u16 {
    let mut port = 0;
    for (colon, _) in text.match_indices(':') {
        let digits: String = text[colon + 1..].chars().take_while(char::is_ascii_digit).collect();
        if let Ok(number) = digits.parse() {
            port = number;
        }
    }
    port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_port_errors_are_told_apart_with_their_port() {
        let allocated = "driver failed programming external connectivity on endpoint shop-web-1 (8f4a): \
                         Bind for 127.0.0.1:3000 failed: port is already allocated";
        assert_eq!(port_error(allocated), Some(Error::PortAllocated { port: 3000 }));
        let in_use = "driver failed programming external connectivity on endpoint x (0a): Error starting userland \
                      proxy: listen tcp4 127.0.0.1:5432: bind: address already in use";
        assert_eq!(port_error(in_use), Some(Error::PortInUse { port: 5432 }));
        let newer = "failed to set up container networking: failed to bind host port 127.0.0.1:8080/tcp: address already in use";
        assert_eq!(port_error(newer), Some(Error::PortInUse { port: 8080 }));
        let v6 = "listen tcp6 [::1]:8081: bind: address already in use";
        assert_eq!(port_error(v6), Some(Error::PortInUse { port: 8081 }));
        assert_eq!(port_error("port is already allocated"), Some(Error::PortAllocated { port: 0 }));
        assert_eq!(port_error("no space left on device"), None);
    }

    #[test]
    fn a_status_says_who_is_wrong() {
        let error = |status| Error::from(Fault::Answer { status, message: "m".into() });
        assert_eq!(error(400), Error::Refused("m".into()));
        assert_eq!(error(409), Error::Refused("m".into()));
        assert_eq!(error(500), Error::Failed("m".into()));
        assert_eq!(error(501), Error::Unsupported("m".into()));
    }

    #[tokio::test]
    async fn a_change_without_an_answer_may_have_happened_and_a_question_says_nothing() {
        let never = || std::future::pending::<Result<(), Api>>();
        let changed = within(Duration::from_millis(1), "start `a`", Effect::Changes, never()).await;
        assert!(matches!(changed, Err(Fault::Seam(Error::UnknownOutcome(why))) if why.contains("start `a`")));
        let asked = within(Duration::from_millis(1), "list", Effect::Reads, never()).await;
        assert!(matches!(asked, Err(Fault::Seam(Error::Unreachable(_)))));
    }

    #[test]
    fn the_words_of_an_error_have_no_nul() {
        let refused =
            Api::DockerResponseServerError { status_code: 400, message: "exec: \"a\0b\": invalid\n".into() };
        let broken = Api::DockerStreamError { error: "\0".into() };
        for (error, words) in [(refused, "exec: \"a\u{fffd}b\": invalid"), (broken, "\u{fffd}")] {
            let (Error::Refused(told) | Error::Failed(told)) =
                fault("start `a`", Effect::Changes, &error).into()
            else {
                panic!("{error:?}")
            };
            assert_eq!(told, words);
        }
    }

    #[test]
    fn a_reply_that_was_cut_short_counts_as_lost() {
        let cut = Api::IOError { err: std::io::Error::other("connection reset") };
        assert!(matches!(
            fault("create `a`", Effect::Changes, &cut),
            Fault::Seam(Error::UnknownOutcome(why)) if why.contains("connection reset")
        ));
        let gone = Api::SocketNotFoundError("/run/x.sock".into());
        assert!(matches!(fault("create `a`", Effect::Changes, &gone), Fault::Seam(Error::Unreachable(_))));
    }
}
