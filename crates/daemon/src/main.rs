//! `closd`: reads its command line and environment once, and runs.
//!
//! Exit codes: 0 it ended as it was told, 1 it failed, 2 the command line or the
//! configuration is wrong, 3 another closd runs on the state folder.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use clos_daemon::app::{self, Ended};
use clos_daemon::cli::{Cli, Command, Overrides};
use clos_daemon::config::{self, Effective, Sources};
use clos_daemon::{VERSION, state};

const FAILED: u8 = 1;
const MISUSED: u8 = 2;
const RUNNING: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.command {
        Command::Openapi => match clos_daemon::rest::openapi() {
            Ok(document) => say(&format!("{document}\n")),
            Err(error) => {
                complain(&error);
                ExitCode::FAILURE
            }
        },
        Command::Version => say(&format!("closd {VERSION}\n")),
        Command::Config { explain, overrides } => match configuration(&cli, overrides) {
            Ok((effective, _)) => {
                for warning in &effective.warnings {
                    let _ = writeln!(std::io::stderr(), "warning: {warning}");
                }
                say(&effective.render(*explain))
            }
            Err(error) => fail(&error),
        },
        Command::Serve(overrides) => match configuration(&cli, overrides) {
            Ok((effective, sources)) => serve(effective, &sources),
            Err(error) => fail(&error),
        },
    }
}

fn configuration(cli: &Cli, overrides: &Overrides) -> anyhow::Result<(Effective, Sources)> {
    let sources = cli.sources(overrides, environment())?;
    Ok((config::load(&sources)?, sources))
}

/// The environment, read once; what is no text is nothing of ours.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn serve(effective: Effective, sources: &Sources) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("closd").build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("threads cannot be started")),
    };
    match runtime.block_on(app::run(effective, sources)) {
        // Nothing is waited for, not even a blocking call.
        Ok(Ended::AtOnce) => std::process::exit(i32::from(FAILED)),
        Ok(Ended::Drained | Ended::CutOff) => {
            runtime.shutdown_background();
            ExitCode::SUCCESS
        }
        Err(error) => {
            runtime.shutdown_background();
            fail(&error)
        }
    }
}

fn say(text: &str) -> ExitCode {
    // A reader that has gone has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn fail(error: &anyhow::Error) -> ExitCode {
    complain(error);
    let running = matches!(error.downcast_ref(), Some(state::Error::Running { .. }));
    let misused = error.is::<config::Error>() || error.is::<clos_telemetry::Error>();
    ExitCode::from(match (running, misused) {
        (true, _) => RUNNING,
        (_, true) => MISUSED,
        _ => FAILED,
    })
}

/// The whole chain of causes in one line.
fn complain(error: &anyhow::Error) {
    let told = format!("{error:#}").lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let _ = writeln!(std::io::stderr(), "error: {told}");
}
