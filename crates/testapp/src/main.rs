//! `testapp`: the program inside the test and demo images.
//!
//! One static binary that behaves as its environment says: it listens, answers
//! health late or never, crashes, floods its log, ignores SIGTERM, runs once and
//! exits. With a word behind its name it is the tool that an image without a
//! shell needs for health checks: `check`, `true`, `false`, `read`, `write`.
//!
//! It knows nothing of CLOS and uses none of its crates, so that what the tests
//! run against cannot share a fault with what they test.
//!
//! To add one more behaviour: a field in [`settings::Settings`] with its variable,
//! the doing in [`serve`], a test in `tests/testapp.rs` that watches it from
//! outside, and the row in `tests/fixtures/README.md`.

mod check;
mod log;
mod serve;
mod settings;

use std::collections::BTreeMap;
use std::process::ExitCode;

const USAGE: &str = "usage: testapp [serve | check http://HOST:PORT/PATH | check tcp://HOST:PORT | true | false | write FILE TEXT | read FILE]";

/// Exit code of a wrong command line or a variable that cannot be read, as a shell has it.
const MISUSE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();

    match words.as_slice() {
        [] | ["serve"] => run_service(),
        ["check", url] => report(check::check(url)),
        ["true"] => ExitCode::SUCCESS,
        ["false"] => ExitCode::FAILURE,
        ["write", file, text] => report(
            std::fs::write(file, format!("{text}\n")).map_err(|e| format!("cannot write `{file}`: {e}")),
        ),
        ["read", file] => match std::fs::read_to_string(file) {
            Ok(text) => {
                log::out(text.trim_end());
                ExitCode::SUCCESS
            }
            Err(e) => report(Err(format!("cannot read `{file}`: {e}"))),
        },
        _ => {
            log::err(USAGE);
            ExitCode::from(MISUSE)
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this binary's configuration is its environment, read here and once"
)]
fn run_service() -> ExitCode {
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    match settings::Settings::read(&environment) {
        Ok(settings) => serve::run(&settings, &environment),
        Err(problem) => {
            log::err(&problem);
            ExitCode::from(MISUSE)
        }
    }
}

fn report(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            log::err(&problem);
            ExitCode::FAILURE
        }
    }
}
