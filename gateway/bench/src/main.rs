//! What the gateway costs, beside what others cost.
//!
//! `run` starts every server as a process of its own on one core, asks it from the other, and prints
//! the figures and their goals as Markdown; `scripts/bench-gateway.sh` puts them into
//! `docs/benchmarks.md`. Processor time is what the kernel counts for the server's process, so it
//! holds whatever the load itself costs. [`calls`] is requests, [`codec`] JSON alone, [`fanout`]
//! sockets; [`server`] has the servers that are not there already.
//!
//! Nothing here is timed in a test.

mod calls;
mod closd;
mod codec;
mod envoy;
mod fanout;
mod histogram;
mod http1;
mod load;
mod process;
mod report;
mod server;
mod shelf;
mod ws;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Figures of the gateway.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve what is measured, until it is ended
    Server { kind: server::Kind },
    /// Measure, and print the figures
    Run(Run),
}

/// What stands ready.
#[derive(Debug, Args)]
struct Programs {
    /// The daemon, built for release
    #[arg(long)]
    closd: PathBuf,
    /// The gateway, built for release
    #[arg(long)]
    gateway: PathBuf,
    /// Envoy; without it its rows are left out
    #[arg(long)]
    envoy: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    programs: Programs,
    /// Seconds of one round of calls; sockets are listened to ten times as long
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Only this part
    #[arg(long)]
    only: Option<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Calls,
    Codec,
    Fanout,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Server { kind } => server::serve(kind).await,
        Command::Run(run) => measure(&run).await,
    }
}

async fn measure(run: &Run) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("clos-bench").tempdir()?;
    let time = Duration::try_from_secs_f64(run.seconds)?;
    let is_wanted = |part| run.only.is_none_or(|only| only == part);
    let mut report = report::Report::default();
    if is_wanted(Part::Codec) {
        codec::measure(time * 2, &mut report)?;
    }
    if is_wanted(Part::Calls) {
        calls::measure(&run.programs, folder.path(), time, &mut report).await?;
    }
    if is_wanted(Part::Fanout) {
        fanout::measure(&run.programs.closd, folder.path(), time * 10, &mut report).await?;
    }
    say(&report.markdown());
    Ok(())
}

/// What a program or a person reads.
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn say(text: &str) {
    println!("{text}");
}

/// What a person reads meanwhile.
#[expect(clippy::print_stderr, reason = "minutes without a word look like a hang")]
fn tell(text: &str) {
    eprintln!("{text}");
}
