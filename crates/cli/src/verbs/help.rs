//! `clos help`: what no single verb can say.

use clap::CommandFactory as _;

use crate::args::{Cli, Help, Subject};
use crate::failure::{Exit, Failure};
use crate::session::Session;

const ENVIRONMENT: &str = "\
Variables that clos reads:

  CLOS_HOME              the state folder [~/.clos]
  CLOS_HOST              the daemon's address, as --host
  CLOS_CONTEXT           a daemon by name, as --context
  CLOS_TOKEN             what a daemon on TCP wants to be shown
  CLOSD                  the daemon's program, when it has to be started
  COMPOSE_FILE           the files of the project, as -f
  COMPOSE_PATH_SEPARATOR what stands between them [:]
  COMPOSE_PROJECT_NAME   the group's name, as -p
  COMPOSE_PROFILES       profiles to activate, as --profile
  NO_COLOR               no colours
  CLICOLOR_FORCE         colours also where nobody reads

A flag is before a variable, a variable of the shell before the same of `.env`.
";

const OUTPUT: &str = "\
Data goes to standard output; progress, hints and errors go to standard error.

  -o table   for people; on a terminal with colours and with times as ages
  -o wide    the same with more columns
  -o json    the API's message: snake_case, enum words in lower case, RFC 3339 times
  -o yaml    the same as YAML
  -o jsonl   one JSON object a line; what follows (-f) is always a line each
  -o name    names, one a line; -q is that, without progress

--fields name,docker_config.image picks fields, in a table too. With json, yaml and jsonl
an error is one JSON object on standard error. --progress plain|json|quiet|tty says how
an operation is shown.
";

pub(super) fn run(session: &Session<'_>, args: &Help) -> Result<Exit, Failure> {
    let text = match args.subject {
        None => format!(
            "{}\nMore: clos help exit-codes, clos help environment, clos help output, clos VERB --help\n",
            Cli::command().render_help()
        ),
        Some(Subject::ExitCodes) => {
            let lines: String = Exit::ALL
                .iter()
                .map(|(exit, meaning)| format!("  {:>3}  {meaning}\n", exit.code()))
                .collect();
            format!("How a command ends:\n\n{lines}")
        }
        Some(Subject::Environment) => ENVIRONMENT.to_owned(),
        Some(Subject::Output) => OUTPUT.to_owned(),
    };
    session.context.print(&text)?;
    Ok(Exit::Ok)
}
