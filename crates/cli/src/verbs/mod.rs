//! The verbs, one a file.

mod completion;
mod doctor;
mod events;
mod explain;
mod forget;
mod help;
mod lifecycle;
mod logs;
mod ops;
mod status;
mod up;
mod version;
mod wait;

use crate::args::Command;
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// Runs a verb. Boxed each: a command is one of them, and need not have room for all.
pub(crate) async fn run(session: &Session<'_>, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Up(args) => Box::pin(up::up(session, &args)).await,
        Command::Plan(args) => Box::pin(up::plan(session, &args)).await,
        Command::Start(args) => Box::pin(lifecycle::start(session, &args)).await,
        Command::Stop(args) => Box::pin(lifecycle::stop(session, &args)).await,
        Command::Restart(args) => Box::pin(lifecycle::restart(session, &args)).await,
        Command::Recreate(args) => Box::pin(lifecycle::recreate(session, &args)).await,
        Command::Down(args) => Box::pin(lifecycle::down(session, &args)).await,
        Command::Forget(args) => Box::pin(forget::run(session, &args)).await,
        Command::Status(args) => Box::pin(status::run(session, &args)).await,
        Command::Logs(args) => Box::pin(logs::run(session, &args)).await,
        Command::Events(args) => Box::pin(events::run(session, &args)).await,
        Command::Wait(args) => Box::pin(wait::run(session, &args)).await,
        Command::Ops(args) => Box::pin(ops::run(session, &args)).await,
        Command::Version => Box::pin(version::run(session)).await,
        Command::Doctor => Box::pin(doctor::run(session)).await,
        Command::Explain(args) => explain::run(session, &args),
        Command::Completion(args) => completion::run(session, &args),
        Command::Help(args) => help::run(session, &args),
    }
}
