//! `clos completion`.

use clap::CommandFactory as _;

use crate::args::{Cli, Completion};
use crate::failure::{Exit, Failure};
use crate::session::Session;

pub(super) fn run(session: &Session<'_>, args: &Completion) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "clos", &mut script);
    session.context.print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
