//! Logs and traces, set up once.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use crate::redact::redact;
use crate::rotating::Rotating;
use crate::unheard;

/// Libraries that tell more than anybody asked for; a filter can bring each back. The events of `h2::server` are
/// for [`unheard`] and not shown.
const QUIET: &str = "hyper=warn,hyper_util=warn,h2=warn,h2::server=debug,tonic=warn,tower=warn,sqlx=warn,sea_orm=warn,bollard=warn,rustls=warn,\
     opentelemetry=warn,opentelemetry_sdk=warn,opentelemetry-otlp=warn";

/// Lines that wait for a slow terminal or disk; what comes on top is dropped, and counted by nobody.
const LINES_WAITING: usize = 16_384;
/// Bytes of the log file before it is turned over.
const FILE_LIMIT: u64 = 10 * 1024 * 1024;
/// How long one export may take.
const EXPORT_PATIENCE: Duration = Duration::from_secs(5);
/// How long the last export may take when the process ends.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What to show, and where.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// How a line looks.
    pub format: Format,
    /// A level (`info`), or directives such as `info,clos_engine=debug`; empty is `info`.
    pub filter: String,
    /// Also into this file, turned over at 10 MiB with one predecessor.
    pub file: Option<PathBuf>,
    /// The file to which whoever starts this process may send its standard error. When it is that file, it
    /// is turned over likewise.
    pub stderr_file: Option<PathBuf>,
    /// Where an OpenTelemetry collector takes OTLP over gRPC: `http://127.0.0.1:4317`.
    pub otlp_endpoint: Option<String>,
    /// The service that traces name.
    pub service_name: &'static str,
    /// Its version.
    pub service_version: &'static str,
}

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is no filter.
    #[error("log filter `{filter}` is not a level or a list of `target=level`")]
    Filter {
        /// As it was given.
        filter: String,
        /// Which part.
        #[source]
        source: ParseError,
    },
    /// The log file cannot be written.
    #[error("log file {path} cannot be written")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The collector's address is no address.
    #[error("OTLP endpoint `{endpoint}` cannot be used: {why}")]
    Otlp {
        /// Without credentials.
        endpoint: String,
        /// The exporter's words.
        why: String,
    },
    /// Somebody has set up logs in this process already.
    #[error("logs are set up already")]
    Again,
}

/// Flushes what was not written yet. Keep it until the end of `main`.
#[derive(Debug)]
#[must_use = "logs and traces end when it is dropped"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
    _writers: Vec<WorkerGuard>,
}

impl Guard {
    /// Sends the last spans and writes the last lines, within two seconds.
    pub async fn shutdown(mut self) {
        let Some(provider) = self.provider.take() else { return };
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_PATIENCE));
        // A collector that is away is no reason to stay; its exporter has said so in the log.
        let _ = tokio::time::timeout(FLUSH_PATIENCE, flush).await;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take() {
            let _ = provider.shutdown_with_timeout(FLUSH_PATIENCE);
        }
    }
}

/// Shows logs and traces from now on. Inside a tokio runtime, once in a process.
///
/// # Errors
/// A setting that cannot be followed, named.
pub fn init(settings: &Settings) -> Result<Guard, Error> {
    let is_terminal = io::stderr().is_terminal();
    let mut settings = settings.clone();
    let shared = settings.stderr_file.take().filter(|path| is_stderr(path));
    let main: Box<dyn io::Write + Send> = match &shared {
        Some(path) => {
            let shared = Rotating::open_shared(path, FILE_LIMIT);
            // The same file need not get each line twice.
            settings.file = settings.file.filter(|file| !is_stderr(file));
            Box::new(shared.map_err(|source| cannot_write(path, source))?)
        }
        None => Box::new(io::stderr()),
    };
    let (subscriber, guard) = build(&settings, main, is_terminal)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| Error::Again)?;
    Ok(guard)
}

/// The subscriber and its guard; `main` is where lines go, `colour` whether it shows colours.
pub(crate) fn build(
    settings: &Settings,
    main: impl io::Write + Send + 'static,
    colour: bool,
) -> Result<(impl Subscriber + Send + Sync + 'static, Guard), Error> {
    let filter = filter(&settings.filter)?;
    let (to_main, main_guard) = background(main);
    let mut writers = vec![main_guard];
    let to_file = match &settings.file {
        Some(path) => {
            let (to_file, guard) = background(open(path)?);
            writers.push(guard);
            Some(to_file)
        }
        None => None,
    };
    let provider =
        settings.otlp_endpoint.as_deref().map(|endpoint| exporter(endpoint, settings)).transpose()?;
    let traces = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer(settings.service_name)));
    let wants_h2 = settings.filter.contains("h2");
    let shown = move || filter_fn(move |metadata| wants_h2 || !unheard::is_ours(metadata));
    let subscriber = Registry::default()
        .with(filter)
        .with(unheard::Listening.with_filter(filter_fn(unheard::is_ours)))
        .with(traces.with_filter(shown()))
        .with(lines(settings.format, to_main, colour).with_filter(shown()))
        .with(to_file.map(|to_file| lines(settings.format, to_file, false)).with_filter(shown()));
    Ok((subscriber, Guard { provider, _writers: writers }))
}

fn filter(directives: &str) -> Result<EnvFilter, Error> {
    let directives = if directives.trim().is_empty() { "info" } else { directives.trim() };
    EnvFilter::builder()
        .parse(format!("{QUIET},{directives}"))
        .map_err(|source| Error::Filter { filter: directives.to_owned(), source })
}

fn open(path: &Path) -> Result<Rotating, Error> {
    Rotating::open(path, FILE_LIMIT).map_err(|source| cannot_write(path, source))
}

fn cannot_write(path: &Path, source: io::Error) -> Error {
    Error::File { path: path.display().to_string(), source }
}

/// Whether standard error goes to this file.
fn is_stderr(path: &Path) -> bool {
    let judge = || -> io::Result<bool> {
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?).metadata()?;
        let file = fs::metadata(path)?;
        Ok((stderr.dev(), stderr.ino()) == (file.dev(), file.ino()))
    };
    judge().unwrap_or(false)
}

/// A writer that never waits: a terminal that nobody reads must not hold up the daemon.
fn background(writer: impl io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_WAITING)
        .thread_name("closd-log")
        .finish(writer)
}

fn lines<S>(format: Format, writer: NonBlocking, colour: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        Format::Text => layer.with_ansi(colour).with_target(false).boxed(),
        Format::Json => {
            layer.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    }
}

fn exporter(endpoint: &str, settings: &Settings) -> Result<SdkTracerProvider, Error> {
    let refused = |why: String| Error::Otlp { endpoint: redact(endpoint), why };
    let is_url = endpoint.starts_with("http://") || endpoint.starts_with("https://");
    if !is_url {
        return Err(refused("it must begin with http:// or https://".to_owned()));
    }
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_PATIENCE)
        .build()
        .map_err(|error| refused(redact(&error.to_string())))?;
    let resource = Resource::builder()
        .with_service_name(settings.service_name)
        .with_attribute(KeyValue::new("service.version", settings.service_version))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `work` logs.
    fn shown(settings: &Settings, work: impl FnOnce()) -> String {
        let written = Shared::default();
        let (subscriber, guard) = build(settings, written.clone(), false).unwrap();
        tracing::subscriber::with_default(subscriber, work);
        drop(guard);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_carry_the_fields_and_the_span_with_its_request_id() {
        let text = shown(&Settings { format: Format::Json, ..Settings::default() }, || {
            let span = tracing::info_span!("service.start", request_id = "req_1");
            span.in_scope(|| tracing::info!(port = 4_001, "port reserved"));
        });
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["message"], "port reserved");
        assert_eq!(line["port"], 4_001);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["span"]["request_id"], "req_1");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn text_lines_have_no_colour_where_nobody_shows_it() {
        let text = shown(&Settings::default(), || tracing::warn!(path = "/x", "disk is full"));
        assert!(text.contains("WARN disk is full path=\"/x\""), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn the_filter_decides_and_noisy_libraries_need_to_be_asked_for() {
        let log = || {
            tracing::debug!("ours in detail");
            tracing::info!(target: "hyper::client", "theirs");
        };
        assert_eq!(shown(&Settings::default(), log), "");
        let asked = Settings { filter: "debug,hyper=info".into(), ..Settings::default() };
        let text = shown(&asked, log);
        assert!(text.contains("ours in detail") && text.contains("theirs"), "{text}");
    }

    #[test]
    fn a_refused_authority_is_heard_and_shown_only_to_who_asks() {
        let log = || {
            tracing::debug!(target: "h2::server", "malformed headers: missing path");
            assert!(!unheard::authority_was_refused());
            tracing::debug!(target: "h2::server", "malformed headers: malformed authority ({:?}): {}", "%2Fx", "no");
            assert!(unheard::authority_was_refused());
            assert!(!unheard::authority_was_refused());
        };
        assert_eq!(shown(&Settings::default(), log), "");
        assert_eq!(shown(&Settings { filter: "debug".into(), ..Settings::default() }, log), "");
        let text = shown(&Settings { filter: "info,h2=debug".into(), ..Settings::default() }, log);
        assert!(text.contains("malformed authority"), "{text}");
    }

    #[test]
    fn a_filter_that_is_none_is_named() {
        let settings = Settings { filter: "clos=loud".into(), ..Settings::default() };
        let error = build(&settings, io::sink(), false).err().unwrap();
        assert_eq!(error.to_string(), "log filter `clos=loud` is not a level or a list of `target=level`");
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn lines_also_go_into_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("closd.log");
        let settings = Settings { file: Some(file.clone()), ..Settings::default() };
        let text = shown(&settings, || tracing::info!("twice"));
        let filed = std::fs::read_to_string(file).unwrap();
        assert!(text.contains("twice") && filed.contains("twice"));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let settings = Settings { file: Some("/no/such/folder/closd.log".into()), ..Settings::default() };
        let error = build(&settings, io::sink(), false).err().unwrap();
        assert_eq!(error.to_string(), "log file /no/such/folder/closd.log cannot be written");
    }

    #[tokio::test]
    async fn an_endpoint_that_is_none_is_named_without_its_password() {
        for endpoint in ["collector:4317", "ftp://ann:secret@collector"] {
            let settings = Settings { otlp_endpoint: Some(endpoint.into()), ..Settings::default() };
            let error = build(&settings, io::sink(), false).err().unwrap().to_string();
            assert!(error.contains("must begin with http://") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_reader_that_is_stuck_holds_nobody_up() {
        struct Stuck(std::sync::mpsc::Receiver<()>);
        impl io::Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, wait) = std::sync::mpsc::channel();
        let (subscriber, guard) = build(&Settings::default(), Stuck(wait), false).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..(LINES_WAITING * 2) {
                tracing::info!(number, "line");
            }
        });
        drop(release);
        drop(guard);
    }
}
