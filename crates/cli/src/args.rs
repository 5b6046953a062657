//! The words that `clos` understands.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clos_proto::v2 as pb;

/// Start, watch, order and explain the containers of your projects.
#[derive(Debug, Parser)]
#[command(
    name = "clos",
    version,
    disable_help_subcommand = true,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What holds for every verb.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// The daemon's address: unix:///path/to/closd.sock or http://127.0.0.1:8080 [env: CLOS_HOST]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) host: Option<String>,
    /// A daemon by the name it has in contexts.json [env: CLOS_CONTEXT]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Do not start the daemon when it is not there
    #[arg(long, global = true)]
    pub(crate) no_autostart: bool,
    /// How to print
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = false
    )]
    pub(crate) output: Format,
    /// Only these fields, by their names in JSON: name,status,docker_config.image
    #[arg(long, global = true, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) fields: Vec<String>,
    /// Names only, and no progress
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) color: When,
    /// How to show what happens
    #[arg(long, global = true, value_enum, value_name = "HOW", default_value_t)]
    pub(crate) progress: Progress,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// With more columns
    Wide,
    /// The API's message
    Json,
    /// The same as YAML
    Yaml,
    /// Names, one a line
    Name,
    /// One JSON object a line
    Jsonl,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Also on a pipe
    Always,
    /// Not even on a terminal
    Never,
}

/// How to show what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Progress {
    /// A tree on a terminal, else lines
    #[default]
    Auto,
    /// A tree that changes in place
    Tty,
    /// A line for each step
    Plain,
    /// An event a line
    Json,
    /// Nothing
    Quiet,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring a project up from its compose files
    Up(Up),
    /// Say what `up` would do, and why
    Plan(Plan),
    /// Start what is registered, as it is registered
    Start(Start),
    /// Stop, in reverse order; containers stay
    Stop(Stop),
    /// Stop and start the same containers
    Restart(Stop),
    /// Replace containers by new ones
    Recreate(Recreate),
    /// Stop and remove containers and networks
    Down(Down),
    /// Remove what is remembered of a group that is down; its volumes stay
    Forget(Forget),
    /// What is there, and how it is
    Status(Status),
    /// What services say
    Logs(Logs),
    /// What happened, and what happens
    Events(Events),
    /// Wait until services are in a state
    Wait(Wait),
    /// Operations: what was done, is done, and how far
    Ops(Ops),
    /// Versions of this program and of the daemon
    Version,
    /// What is wrong here, and what to do
    Doctor,
    /// What an error or a field means
    Explain(Explain),
    /// Completion for a shell
    Completion(Completion),
    /// More on a subject
    Help(Help),
}

/// Which project.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Place {
    /// The group's name [default: COMPOSE_PROJECT_NAME, what the files say, the folder]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) project: Option<String>,
    /// A second one beside the first, with ports and data of its own
    #[arg(long, value_name = "NAME")]
    pub(crate) instance: Option<String>,
    /// A compose file; more than one are laid over each other; `-` is standard input
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<String>,
}

impl Place {
    /// Whether a flag says which project is meant.
    pub(crate) fn is_said(&self) -> bool {
        self.project.is_some() || self.instance.is_some() || !self.files.is_empty()
    }
}

/// Which project, where `-f` is `--follow`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FollowedPlace {
    /// The group's name [default: COMPOSE_PROJECT_NAME, what the files say, the folder]
    #[arg(short, long, value_name = "NAME")]
    project: Option<String>,
    /// The instance of the project
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// A compose file of the project; can be repeated
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<String>,
}

impl FollowedPlace {
    pub(crate) fn place(&self) -> Place {
        Place { project: self.project.clone(), instance: self.instance.clone(), files: self.files.clone() }
    }
}

/// The files, and how to read them.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Desired {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Another file than `.env`
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
    /// Activate a profile [env: COMPOSE_PROFILES]
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
    /// Build images even when the engine has them
    #[arg(long)]
    pub(crate) build: bool,
    /// Pull images, also those that the engine has
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, default_missing_value = "always")]
    pub(crate) pull: Option<Pull>,
    /// Replace others' containers that have the names we need; their volumes stay
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Take the group over from the folder that it belongs to now
    #[arg(long = "move")]
    pub(crate) take_over: bool,
    /// Remove services that have left the files
    #[arg(long)]
    pub(crate) remove_orphans: bool,
    /// Leave out what the services depend on
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Recreate containers that have not changed
    #[arg(long)]
    pub(crate) force_recreate: bool,
    /// Only these services and what they depend on
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// When images are pulled.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Pull {
    /// Before every create
    Always,
    /// When the engine has none
    Missing,
    /// Never: a missing image is an error
    Never,
}

impl Pull {
    /// The API's word; without a flag it is as the files say.
    pub(crate) fn policy(flag: Option<Self>) -> pb::PullPolicy {
        match flag {
            None => pb::PullPolicy::Unspecified,
            Some(Self::Always) => pb::PullPolicy::Always,
            Some(Self::Missing) => pb::PullPolicy::Missing,
            Some(Self::Never) => pb::PullPolicy::Never,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) desired: Desired,
    /// Undo everything when something fails
    #[arg(long)]
    pub(crate) atomic: bool,
    /// Return when all is started, without waiting for health that nothing depends on
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Register only
    #[arg(long, conflicts_with = "no_wait")]
    pub(crate) no_start: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Accepted for compose's sake: closd works in the background anyway
    #[arg(short, long, hide = true)]
    pub(crate) detach: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) desired: Desired,
    /// Exit with 8 when there is something to do
    #[arg(long)]
    pub(crate) exit_code: bool,
}

/// What a verb is about.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Targets {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Groups (`shop`, `shop~x`) and services (`shop/web`, or `web` of this folder's project); none is this folder's project
    #[arg(value_name = "GROUP|SERVICE")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// Leave out what they depend on
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Undo everything when something fails
    #[arg(long)]
    pub(crate) atomic: bool,
    /// Return when all is started, without waiting for health that nothing depends on
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// Seconds before a service is killed [default: its stop_grace_period, else 10]
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) timeout: Option<i32>,
}

#[derive(Debug, Args)]
pub(crate) struct Recreate {
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// Seconds before a service is killed [default: its stop_grace_period, else 10]
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) timeout: Option<i32>,
    /// Build its image even when the engine has it
    #[arg(long)]
    pub(crate) build: bool,
    /// Pull its image, also when the engine has it
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, default_missing_value = "always")]
    pub(crate) pull: Option<Pull>,
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// Remove the project's volumes as well, with all that is in them
    #[arg(short, long)]
    pub(crate) volumes: bool,
    /// Seconds before a service is killed [default: its stop_grace_period, else 10]
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) timeout: Option<i32>,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Groups and services [default: this folder's project; outside of one, everything]
    #[arg(value_name = "GROUP|SERVICE")]
    pub(crate) names: Vec<String>,
    /// Show every group, those that are down too
    #[arg(short, long, conflicts_with_all = ["names", "project", "instance", "files"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Exit with 8 when something should be up and well, and is not
    #[arg(long)]
    pub(crate) exit_code: bool,
}

/// Reads `--tail`; `all` travels as -1.
fn lines(text: &str) -> Result<i32, String> {
    match text {
        "all" => Ok(-1),
        _ => text
            .parse()
            .ok()
            .filter(|lines| (0..=10_000).contains(lines))
            .ok_or_else(|| "use a number from 0 to 10000, or `all`".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Groups (`shop`, `shop~x`) and services (`shop/web`, or `web` of this folder's project) [default: this folder's project]
    #[arg(value_name = "GROUP|SERVICE")]
    pub(crate) names: Vec<String>,
    /// Logs of every group
    #[arg(short, long, conflicts_with_all = ["names", "project", "instance", "files"])]
    pub(crate) all: bool,
    /// Go on with new lines until ^C [default: on a terminal]
    #[arg(short, long, overrides_with = "no_follow")]
    pub(crate) follow: bool,
    /// End after the last line
    #[arg(long)]
    pub(crate) no_follow: bool,
    /// Number of lines to show from the end of each service's logs: 0-10000, or all
    #[arg(short = 'n', long = "tail", value_name = "LINES", default_value = "50", value_parser = lines)]
    pub(crate) tail: i32,
    /// Not before: an instant, or how long ago (10m)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Before
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// With the time of each line [default: on a terminal]
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Only lines with this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,
    /// Only lines of at least this level
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) level: Option<Level>,
    /// Lines as they are, without the service's name
    #[arg(long)]
    pub(crate) no_prefix: bool,
    #[command(flatten)]
    pub(crate) place: FollowedPlace,
}

/// How grave.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Level {
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Go on with new ones until ^C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// From this sequence on; 0 is the oldest that is kept
    #[arg(long, value_name = "SEQ")]
    pub(crate) after: Option<i64>,
    /// So many of the last ones, 1-1000 [default: 20, with --follow none]
    #[arg(short = 'n', long = "tail", value_name = "COUNT")]
    pub(crate) tail: Option<i32>,
    /// Only of this type: service.status_changed, service.*
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only of at least this severity
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) severity: Option<Level>,
    /// Only of this operation
    #[arg(long, value_name = "ID")]
    pub(crate) operation: Option<String>,
    /// Not before: an instant, or how long ago (10m)
    #[arg(long, value_name = "TIME", conflicts_with = "follow")]
    pub(crate) since: Option<String>,
    /// Only of this group or service [default: this folder's project]
    #[arg(value_name = "GROUP|SERVICE")]
    pub(crate) of: Option<String>,
    /// Events of every group and of the daemon itself
    #[arg(short, long, conflicts_with_all = ["of", "project", "instance", "files"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) place: FollowedPlace,
}

#[derive(Debug, Args)]
pub(crate) struct Forget {
    #[command(flatten)]
    pub(crate) place: Place,
    /// A group that is down [default: this folder's project]
    #[arg(value_name = "GROUP")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// What to wait for
    #[arg(long = "for", value_enum, value_name = "STATE", default_value_t)]
    pub(crate) state: WaitFor,
    /// How long at most: 90s, 5m
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub(crate) timeout: String,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum WaitFor {
    /// Running, and healthy where it has a check; a one-shot: ended with 0
    #[default]
    Healthy,
    /// Running, healthy or not
    Running,
    /// Not running
    Stopped,
}

#[derive(Debug, Args)]
pub(crate) struct Ops {
    /// One operation, with its steps
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Ask the daemon to end it
    #[arg(long, requires = "id")]
    pub(crate) cancel: bool,
    /// Follow it to its end
    #[arg(short, long, requires = "id")]
    pub(crate) follow: bool,
    /// Only of this group
    #[arg(long, value_name = "GROUP", conflicts_with = "id")]
    pub(crate) group: Option<String>,
    /// Only those that have not ended
    #[arg(long, conflicts_with = "id")]
    pub(crate) open: bool,
    /// So many of the last ones, 1-100
    #[arg(short = 'n', long = "tail", value_name = "COUNT", default_value_t = 20)]
    pub(crate) tail: i32,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A reason (PORT_CONFLICT), a message (Service) or a field of one (Service.desired_state)
    #[arg(value_name = "WORD", required = true, action = ArgAction::Set)]
    pub(crate) word: String,
}

#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Help {
    /// Which subject
    #[arg(value_enum)]
    pub(crate) subject: Option<Subject>,
}

/// What there is more to say on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// What a command's exit code means
    ExitCodes,
    /// Variables that clos reads
    Environment,
    /// How to get the output that a program wants
    Output,
}
