//! One command's connection: found by the rule, started when that is ours to do.

use std::time::Duration;

use clos_client::{Client, Endpoint, Kind, Options};
use tokio::sync::OnceCell;

use crate::args::{Format, Global};
use crate::autostart;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::Style;

/// How long one call may take; applying the files of a large project is the longest.
const PATIENCE: Duration = Duration::from_secs(60);

/// What every verb works with.
pub(crate) struct Session<'a> {
    pub(crate) global: &'a Global,
    pub(crate) context: &'a Context,
    pub(crate) style: Style,
    client: OnceCell<Client>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(global: &'a Global, context: &'a Context, style: Style) -> Self {
        Self { global, context, style, client: OnceCell::new() }
    }

    /// Where the daemon is.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, Failure> {
        let context = self.context;
        let or_env =
            |flag: &Option<String>, name| flag.clone().or_else(|| context.var(name).map(str::to_owned));
        // A flag is before every variable, also before one that would win among variables.
        let host = match &self.global.context {
            Some(_) => self.global.host.clone(),
            None => or_env(&self.global.host, "CLOS_HOST"),
        };
        let options = Options {
            home: context.home()?,
            host,
            context: or_env(&self.global.context, "CLOS_CONTEXT"),
            token: context.var("CLOS_TOKEN").map(str::to_owned),
        };
        Ok(Endpoint::resolve(&options)?)
    }

    /// The daemon, started when it is not there and ours to start.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        let client = self.client.get_or_try_init(|| async {
            let endpoint = self.endpoint()?;
            match Client::connect(&endpoint, PATIENCE).await {
                Err(error)
                    if error.kind == Kind::Unreachable
                        && endpoint.is_ours_to_start()
                        && !self.global.no_autostart =>
                {
                    autostart::start(self).await
                }
                outcome => Ok(outcome?),
            }
        });
        client.await.cloned()
    }

    /// The daemon, if it is there.
    pub(crate) async fn client_as_it_is(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.endpoint()?, PATIENCE).await?)
    }

    /// Says something to people beside the data, unless they want it quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.global.quiet {
            self.context.say(&format!("{text}\n"));
        }
    }

    /// Prints a line that only people read.
    pub(crate) fn tell(&self, line: &str) -> Result<(), Failure> {
        let for_people = matches!(self.global.output, Format::Table | Format::Wide) && !self.global.quiet;
        if for_people { self.context.print_line(line) } else { Ok(()) }
    }
}
