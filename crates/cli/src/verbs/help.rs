//! `clos help`: what no single verb can say.

use clap::CommandFactory as _;

use crate::args::{Cli, Help, Subject};
use crate::failure::{Exit, Failure};
use crate::session::Session;

const ENVIRONMENT: &str = "\
Environment variables that clos reads:

  CLOS_HOME              the state folder [~/.clos]
  CLOS_HOST              the daemon's address, as --host
  CLOS_CONTEXT           a daemon by name, as --context
  CLOS_TOKEN             the token of a daemon that is reached over TCP
  CLOSD                  path of closd, to start it if it is not running
  COMPOSE_FILE           the files of the project, as -f
  COMPOSE_PATH_SEPARATOR separator of COMPOSE_FILE [:]
  COMPOSE_PROJECT_NAME   the group's name, as -p
  COMPOSE_PROFILES       profiles to activate, as --profile
  NO_COLOR               turn colours off
  CLICOLOR_FORCE         turn colours on, also into a pipe

Flags override variables; variables of the shell override those of `.env`.
";

const OUTPUT: &str = "\
Data goes to standard output; progress, hints and errors go to standard error.

  -o table   a table; on a terminal with colours and relative times
  -o wide    the same with more columns
  -o json    the API's message: snake_case, enum words in lower case, RFC 3339 times
  -o yaml    the same as YAML
  -o jsonl   one JSON object per line; followed output (-f) is always so
  -o name    names, one per line; -q is the same, without progress

--fields name,docker_config.image selects fields, in tables too. With json, yaml and jsonl
errors are one JSON object on standard error. --progress plain|json|quiet|tty selects how
progress is shown.
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
            format!("Exit codes:\n\n{lines}")
        }
        Some(Subject::Environment) => ENVIRONMENT.to_owned(),
        Some(Subject::Output) => OUTPUT.to_owned(),
    };
    session.context.print(&text)?;
    Ok(Exit::Ok)
}
