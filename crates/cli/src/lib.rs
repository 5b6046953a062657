//! The command line of CLOS.
//!
//! It reads arguments, files and the environment, asks the daemon through `clos-client`, and
//! prints. It decides nothing about containers: what a verb means is the daemon's to say.
//!
//! A command runs so: [`run`] parses (`args`), a verb of `verbs/` asks (with `session` for the
//! connection, `target` for what the words mean, `project` for the files), `progress` follows
//! an operation, `output` prints, `failure` says what went wrong and chooses the exit code. What
//! comes from outside (environment, folder, streams, ^C) is in [`Context`] and nowhere else, so
//! that a test owns all of it.
//!
//! To add a verb: its arguments in `args.rs`, a file in `verbs/`, a line in `verbs::run`.

mod args;
mod autostart;
mod context;
mod ending;
mod failure;
mod names;
mod output;
mod progress;
mod project;
mod session;
mod target;
mod time;
mod verbs;

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _};

pub use context::{Context, Interrupts, Streams};

use crate::args::{Cli, Format};
use crate::failure::{Exit, Failure};
use crate::output::Style;
use crate::session::Session;

/// Runs one command; returns the exit code.
pub async fn run(args: Vec<OsString>, context: &Context) -> u8 {
    let matches = match Cli::command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return usage(&error, context),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, context),
    };
    let as_json = matches!(cli.global.output, Format::Json | Format::Jsonl | Format::Yaml);
    let style = Style::of(&cli.global, context);
    let session = Session::new(&cli.global, context, style);
    let outcome = uninterrupted(verbs::run(&session, cli.command), context).await;
    match outcome {
        Ok(exit) => exit.code(),
        Err(failure) => {
            let exit = failure.exit();
            if as_json {
                failure.print_json(context);
            } else {
                ending::engine_away(&session, failure).await.print(context, style.on_error);
            }
            exit.code()
        }
    }
}

/// The first ^C ends a command, unless it follows an operation and asks the daemon to cancel that;
/// the second one always does.
async fn uninterrupted(
    work: impl Future<Output = Result<Exit, Failure>>,
    context: &Context,
) -> Result<Exit, Failure> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            () = context.interrupts.come() => {
                if !context.interrupts.is_taken() {
                    return Err(Failure::Interrupted);
                }
            }
        }
    }
}

fn usage(error: &clap::Error, context: &Context) -> u8 {
    let text = error.render();
    if error.use_stderr() {
        context.say(&text.to_string());
        return Exit::Usage.code();
    }
    match context.print(&text.to_string()) {
        Ok(()) => Exit::Ok.code(),
        Err(failure) => failure.exit().code(),
    }
}
