//! The words that `clos` understands.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clos_proto::v2 as pb;

/// Run and watch the containers of your projects.
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

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The daemon's address: unix:///path/to/closd.sock or http://127.0.0.1:8080 [env: CLOS_HOST]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) host: Option<String>,
    /// The daemon of this name in contexts.json [env: CLOS_CONTEXT]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Do not start the daemon if it is not running
    #[arg(long, global = true)]
    pub(crate) no_autostart: bool,
    /// Output format
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
    /// Print only these fields, by their JSON names: name,status,docker_config.image
    #[arg(long, global = true, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) fields: Vec<String>,
    /// Print names only, and no progress
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) color: When,
    /// How to show progress
    #[arg(long, global = true, value_enum, value_name = "HOW", default_value_t)]
    pub(crate) progress: Progress,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// A table
    #[default]
    Table,
    /// A table with more columns
    Wide,
    /// The API's message as JSON
    Json,
    /// The same as YAML
    Yaml,
    /// Names, one per line
    Name,
    /// One JSON object per line
    Jsonl,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always, also into a pipe
    Always,
    /// Never
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
    /// A JSON event per line
    Json,
    /// Nothing
    Quiet,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create and start a project from its compose files
    Up(Up),
    /// Show what `up` would do, and why
    Plan(Plan),
    /// Start services as they were last applied
    Start(Start),
    /// Stop services in reverse order; containers are kept
    Stop(Stop),
    /// Restart services; containers are kept
    Restart(Stop),
    /// Replace the containers of services with new ones
    Recreate(Recreate),
    /// Stop and remove containers and networks
    Down(Down),
    /// Forget a group that is down; its volumes are kept
    Forget(Forget),
    /// Show services and their state
    Status(Status),
    /// Show the logs of services
    Logs(Logs),
    /// Show events
    Events(Events),
    /// Wait until services reach a state
    Wait(Wait),
    /// List, show, follow or cancel operations
    Ops(Ops),
    /// Show the versions of clos, the daemon and the engine
    Version,
    /// Check the installation and suggest fixes
    Doctor,
    /// Explain an error reason or an API field
    Explain(Explain),
    /// Print a completion script for a shell
    Completion(Completion),
    /// Show help on a subject
    Help(Help),
}

/// Which project.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Place {
    /// The group's name [default: COMPOSE_PROJECT_NAME, `name:` in the files, the folder's name]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) project: Option<String>,
    /// A named copy of the project beside the first, with its own ports and data
    #[arg(long, value_name = "NAME")]
    pub(crate) instance: Option<String>,
    /// A compose file; later files override earlier ones; `-` is standard input
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
    /// The group's name [default: COMPOSE_PROJECT_NAME, `name:` in the files, the folder's name]
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
    /// Another file than `.env`; may be repeated, later ones win
    #[arg(long = "env-file", value_name = "FILE")]
    pub(crate) env_files: Vec<PathBuf>,
    /// Activate a profile [env: COMPOSE_PROFILES]
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
    /// Build images even if they exist
    #[arg(long)]
    pub(crate) build: bool,
    /// When to pull images; without a value: always
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, default_missing_value = "always")]
    pub(crate) pull: Option<Pull>,
    /// Take over existing containers with the names that are needed; volumes are kept
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Move the group to this folder from the one it belongs to
    #[arg(long = "move")]
    pub(crate) take_over: bool,
    /// Remove services that are no longer in the files
    #[arg(long)]
    pub(crate) remove_orphans: bool,
    /// Do not start dependencies
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Recreate containers even if nothing changed
    #[arg(long)]
    pub(crate) force_recreate: bool,
    /// Replace anonymous volumes with new, empty ones; the old ones are removed
    #[arg(short = 'V', long)]
    pub(crate) renew_anon_volumes: bool,
    /// Only these services and what they depend on
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// When images are pulled.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Pull {
    /// Before every create
    Always,
    /// If the engine does not have the image
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
    /// Undo everything if something fails
    #[arg(long)]
    pub(crate) atomic: bool,
    /// Do not wait for services to become healthy, unless others depend on it
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Store the configuration, but create and start nothing
    #[arg(long, conflicts_with = "no_wait")]
    pub(crate) no_start: bool,
    /// Show what would be done, without doing it
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Accepted for compatibility with docker compose; services always run in the background
    #[arg(short, long, hide = true)]
    pub(crate) detach: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) desired: Desired,
    /// Exit with 8 if there are changes
    #[arg(long)]
    pub(crate) exit_code: bool,
}

/// What a verb is about.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Targets {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Groups (`shop`, `shop~x`) and services (`shop/web`, or `web` of this folder's project) [default: this folder's project]
    #[arg(value_name = "GROUP|SERVICE")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// Do not start dependencies
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// Undo everything if something fails
    #[arg(long)]
    pub(crate) atomic: bool,
    /// Do not wait for services to become healthy, unless others depend on it
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
    pub(crate) place: Place,
    /// Services (`shop/web`, or `web` of this folder's project); for a whole project: `clos up --force-recreate`
    #[arg(value_name = "SERVICE", required = true)]
    pub(crate) names: Vec<String>,
    /// Seconds before a service is killed [default: its stop_grace_period, else 10]
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) timeout: Option<i32>,
    /// Build its image even if it exists
    #[arg(long)]
    pub(crate) build: bool,
    /// When to pull its image; without a value: always
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, default_missing_value = "always")]
    pub(crate) pull: Option<Pull>,
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// Also remove the project's volumes and all data in them
    #[arg(short, long)]
    pub(crate) volumes: bool,
    /// Seconds before a service is killed [default: its stop_grace_period, else 10]
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) timeout: Option<i32>,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Groups and services [default: this folder's project; outside of a project: every group that is up]
    #[arg(value_name = "GROUP|SERVICE")]
    pub(crate) names: Vec<String>,
    /// Show every group, including those that are down
    #[arg(short, long, conflicts_with_all = ["names", "project", "instance", "files"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Exit with 8 if a service that should run is not running and healthy
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
    /// Show the logs of every group
    #[arg(short, long, conflicts_with_all = ["names", "project", "instance", "files"])]
    pub(crate) all: bool,
    /// Follow the logs [default: on a terminal]
    #[arg(short, long, overrides_with = "no_follow")]
    pub(crate) follow: bool,
    /// Do not follow
    #[arg(long)]
    pub(crate) no_follow: bool,
    /// Number of lines to show from the end of each service's logs: 0-10000, or all
    #[arg(short = 'n', long = "tail", value_name = "LINES", default_value = "50", value_parser = lines)]
    pub(crate) tail: i32,
    /// Show only what is newer than a time (RFC 3339) or an age (10m)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Show only what is older than a time (RFC 3339) or an age (10m)
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Show the time of each line [default: on a terminal]
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Show only lines that contain this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,
    /// Show only lines of at least this level
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) level: Option<Level>,
    /// Do not print the service's name before each line
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
    /// Follow new events
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Start after this sequence number; 0 is the oldest event that is kept
    #[arg(long, value_name = "SEQ")]
    pub(crate) after: Option<i64>,
    /// Number of events to show from the end: 1-1000 [default: 20, with --follow none]
    #[arg(short = 'n', long = "tail", value_name = "COUNT")]
    pub(crate) tail: Option<i32>,
    /// Show only events of this type: service.status_changed, service.*
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Show only events of at least this severity
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) severity: Option<Level>,
    /// Show only events of this operation
    #[arg(long, value_name = "ID")]
    pub(crate) operation: Option<String>,
    /// Show only what is newer than a time (RFC 3339) or an age (10m)
    #[arg(long, value_name = "TIME", conflicts_with = "follow")]
    pub(crate) since: Option<String>,
    /// Show only events of this group or service [default: this folder's project]
    #[arg(value_name = "GROUP|SERVICE")]
    pub(crate) of: Option<String>,
    /// Show the events of every group and of the daemon itself
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
    /// Give up after this time: 90s, 5m
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub(crate) timeout: String,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum WaitFor {
    /// Running, and healthy if it has a health check; a job: exited with 0
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
    /// Cancel it
    #[arg(long, requires = "id")]
    pub(crate) cancel: bool,
    /// Follow it to its end
    #[arg(short, long, requires = "id")]
    pub(crate) follow: bool,
    /// Show only operations of this group
    #[arg(long, value_name = "GROUP", conflicts_with = "id")]
    pub(crate) group: Option<String>,
    /// Show only operations in progress
    #[arg(long, conflicts_with = "id")]
    pub(crate) open: bool,
    /// Number of operations to show from the end: 1-100
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

/// The subjects of `clos help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Exit codes
    ExitCodes,
    /// Environment variables
    Environment,
    /// Output formats
    Output,
}
