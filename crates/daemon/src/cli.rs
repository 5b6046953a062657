//! What `closd` is told on its command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::config::Sources;

/// The control plane for the containers of a developer machine.
#[derive(Debug, Parser)]
#[command(name = "closd", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// State folder [default: $CLOS_HOME, else ~/.clos]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub home: Option<PathBuf>,
    /// Configuration file [default: closd.yaml in the state folder]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `closd` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run in the foreground until SIGTERM
    Serve(Overrides),
    /// Print the configuration that holds, with the origin of each value
    Config {
        /// Say what each setting means
        #[arg(long)]
        explain: bool,
        /// What holds with these flags.
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Print the OpenAPI document of the REST surface
    Openapi,
    /// Print the version
    Version,
}

/// Settings that a flag can give.
#[derive(Debug, Clone, Default, Args)]
pub struct Overrides {
    /// Loopback address with port, or port, for gRPC, REST and /metrics
    #[arg(long, value_name = "ADDRESS", conflicts_with = "no_tcp")]
    pub listen: Option<String>,
    /// Serve on the Unix socket only
    #[arg(long)]
    pub no_tcp: bool,
    /// Unix socket [default: run/closd.sock in the state folder]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<String>,
    /// Store: sqlite:///path or postgres://…
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Address of the container engine
    #[arg(long, value_name = "HOST")]
    pub engine: Option<String>,
    /// Log level, or directives
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Also log into this file
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<String>,
    /// Send traces to this collector
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Any setting, such as journal.keep=20000; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub settings: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| "expected KEY=VALUE".to_owned())?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl Overrides {
    /// As flag, key, value.
    fn flags(&self) -> Vec<(String, String, String)> {
        let given = [
            ("--listen", "server.listen", &self.listen),
            ("--socket", "server.socket", &self.socket),
            ("--store", "store.url", &self.store),
            ("--engine", "engine.host", &self.engine),
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
            ("--log-file", "log.file", &self.log_file),
            ("--otlp-endpoint", "telemetry.otlp_endpoint", &self.otlp_endpoint),
        ];
        let owned = |flag: &str, key: &str, value: &str| (flag.to_owned(), key.to_owned(), value.to_owned());
        let named = given.iter().filter_map(|(flag, key, value)| Some(owned(flag, key, value.as_deref()?)));
        let no_tcp = self.no_tcp.then(|| owned("--no-tcp", "server.tcp", "false"));
        let set = self.settings.iter().map(|(key, value)| owned("--set", key, value));
        set.chain(named).chain(no_tcp).collect()
    }
}

impl Cli {
    /// Where the configuration comes from.
    ///
    /// # Errors
    /// No state folder: neither a flag nor the environment says where.
    pub fn sources(
        &self,
        overrides: &Overrides,
        environment: BTreeMap<String, String>,
    ) -> anyhow::Result<Sources> {
        let named = |name: &str| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let user_home = named("HOME").filter(|home| home.is_absolute());
        let home = self
            .home
            .clone()
            .or_else(|| named("CLOS_HOME"))
            .or_else(|| user_home.as_ref().map(|home| home.join(".clos")))
            .context("no state folder: HOME is not set; use --home or CLOS_HOME")?;
        let home = std::path::absolute(&home)
            .with_context(|| format!("{} is no state folder", Path::display(&home)))?;
        let file = self.config.clone();
        Ok(Sources { home, user_home, file, environment, flags: overrides.flags() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Sources> {
        let cli = Cli::try_parse_from([&["closd"], arguments].concat()).unwrap();
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let overrides = match &cli.command {
            Command::Serve(overrides) | Command::Config { overrides, .. } => overrides.clone(),
            Command::Openapi | Command::Version => Overrides::default(),
        };
        cli.sources(&overrides, environment)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
        assert!(Cli::try_parse_from(["closd", "version"]).is_ok());
    }

    #[test]
    fn the_state_folder_is_named_by_flag_then_variable_then_home() {
        let environment = [("HOME", "/home/ann"), ("CLOS_HOME", "/srv/clos")];
        let home =
            |arguments: &[&str], environment: &[(&str, &str)]| sources(arguments, environment).unwrap().home;
        assert_eq!(home(&["serve", "--home", "/x"], &environment), Path::new("/x"));
        assert_eq!(home(&["serve"], &environment), Path::new("/srv/clos"));
        assert_eq!(home(&["serve"], &environment[..1]), Path::new("/home/ann/.clos"));
        assert!(home(&["--home", "relative", "config"], &environment).is_absolute());
        let error = sources(&["serve"], &[("CLOS_HOME", "")]).unwrap_err().to_string();
        assert_eq!(error, "no state folder: HOME is not set; use --home or CLOS_HOME");
    }

    #[test]
    fn flags_become_settings_and_the_named_ones_win_over_set() {
        let arguments =
            ["serve", "--no-tcp", "--log-format", "json", "--set", "log.format=text", "--set", "a=b=c"];
        let flags = sources(&arguments, &[("HOME", "/home/ann")]).unwrap().flags;
        let keys: Vec<(&str, &str)> =
            flags.iter().map(|(_, key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            keys,
            [("log.format", "text"), ("a", "b=c"), ("log.format", "json"), ("server.tcp", "false")]
        );
    }

    #[test]
    fn what_contradicts_itself_is_a_usage_error() {
        for arguments in [
            &["closd", "serve", "--listen", "1", "--no-tcp"][..],
            &["closd", "serve", "--set", "novalue"],
            &["closd"],
            &["closd", "run"],
        ] {
            assert!(Cli::try_parse_from(arguments).is_err(), "{arguments:?}");
        }
    }
}
