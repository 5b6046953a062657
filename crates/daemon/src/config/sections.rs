//! Every setting, one struct a section. The comments are what `closd config --explain` shows.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layers::Problem;
use super::values::{Listen, LogFormat, Span};
use super::{Origin, Setting};

/// The explanation of one key: its lines as they stand in the source.
pub(crate) type Explained = (&'static str, &'static [&'static str]);

/// A section: its fields with their defaults, and what stands above each as data.
macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $line:literal])+ $key:ident: $type:ty = $default:expr,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $line])+ pub $key: $type,)+
        }

        impl $name {
            pub(crate) const EXPLAINED: &[Explained] = &[$((stringify!($key), &[$($line),+]),)+];
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }
    };
}

section! {
    /// Who may come in, and how.
    Server {
        /// Where gRPC, REST and /metrics are served over TCP: a loopback address with a port.
        /// When port 8080 was not asked for and is taken, the next free one is used.
        listen: Listen = Listen::loopback(8_080),
        /// Whether TCP is served at all; the Unix socket always is.
        tcp: bool = true,
        /// The Unix socket; absent is run/closd.sock in the state folder.
        socket: Option<PathBuf> = None,
        /// Host names besides localhost under which TCP callers may ask, with or without a port.
        hosts: Vec<String> = Vec::new(),
        /// Web origins besides our own that may ask: http://localhost:3000.
        origins: Vec<String> = Vec::new(),
        /// Connections at a time, on the socket and on TCP each. One more takes the place of an idle one, and
        /// is closed at once when all are in use.
        max_connections: u32 = 1_024,
        /// Requests in progress at a time; more are refused with TOO_MANY_REQUESTS.
        max_in_flight: u32 = 512,
        /// How long a request may take that is no stream and brings no deadline of its own.
        request_timeout: Span = Span::seconds(60),
        /// How long a client may take to send the head of a request.
        header_timeout: Span = Span::seconds(10),
        /// How long requests and operations may go on after SIGTERM.
        drain_timeout: Span = Span::seconds(15),
    }
}

section! {
    /// Where state is kept.
    Store {
        /// sqlite:///absolute/path or postgres://user:password@host/database;
        /// absent is clos.db in the state folder.
        url: Option<String> = None,
        /// Schema of a PostgreSQL database; absent is the connection's own.
        schema: Option<String> = None,
        /// Connections that read, or for PostgreSQL connections in all.
        connections: u32 = 4,
    }
}

section! {
    /// Where workloads run.
    Engine {
        /// The engine's address, as in DOCKER_HOST; absent is the usual search.
        host: Option<String> = None,
        /// The Docker context to take; absent is the current one.
        context: Option<String> = None,
    }
}

section! {
    /// What is logged, and where.
    Log {
        /// A level (error, warn, info, debug, trace), or directives such as info,clos_engine=debug.
        level: String = "info".to_owned(),
        /// text for people, json for programs.
        format: LogFormat = LogFormat::Text,
        /// A file that gets every line besides standard error; turned over at 10 MiB.
        file: Option<PathBuf> = None,
    }
}

section! {
    /// What is told to others.
    Telemetry {
        /// Where an OpenTelemetry collector takes traces over gRPC: http://127.0.0.1:4317.
        otlp_endpoint: Option<String> = None,
    }
}

section! {
    /// How much of the past is kept.
    Journal {
        /// The newest events are kept whatever their age.
        keep: u64 = 10_000,
        /// Older events go.
        max_age: Span = Span(std::time::Duration::from_secs(7 * 86_400)),
    }
}

section! {
    /// How operations run.
    Operations {
        /// Engine calls that change something, at a time; 0 is four a core.
        parallel: u32 = 0,
        /// Pulls and builds at a time.
        parallel_images: u32 = 3,
        /// How long a start waits for a one-shot to complete.
        wait_patience: Span = Span::seconds(3_600),
    }
}

/// Everything that can be set in `closd.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who may come in, and how.
    pub server: Server,
    /// Where state is kept.
    pub store: Store,
    /// Where workloads run.
    pub engine: Engine,
    /// What is logged, and where.
    pub log: Log,
    /// What is told to others.
    pub telemetry: Telemetry,
    /// How much of the past is kept.
    pub journal: Journal,
    /// How operations run.
    pub operations: Operations,
    /// Folders besides the project's own from which compose files may read.
    pub roots: Vec<PathBuf>,
}

/// What stands above each section and each key.
pub(crate) const SECTIONS: &[(&str, &str, &[Explained])] = &[
    ("server", "Who may come in, and how.", Server::EXPLAINED),
    ("store", "Where state is kept.", Store::EXPLAINED),
    ("engine", "Where workloads run.", Engine::EXPLAINED),
    ("log", "What is logged, and where.", Log::EXPLAINED),
    ("telemetry", "What is told to others.", Telemetry::EXPLAINED),
    ("journal", "How much of the past is kept.", Journal::EXPLAINED),
    ("operations", "How operations run.", Operations::EXPLAINED),
    ("roots", "Folders besides the project's own from which compose files may read.", &[]),
];

impl Config {
    /// `~` at the beginning of a path is the user's home.
    pub(crate) fn expand(&mut self, user_home: Option<&Path>) {
        let Some(user_home) = user_home else { return };
        let paths = self.roots.iter_mut().chain(&mut self.server.socket).chain(&mut self.log.file);
        for path in paths {
            if let Ok(rest) = path.strip_prefix("~") {
                *path = if rest.as_os_str().is_empty() { user_home.to_owned() } else { user_home.join(rest) };
            }
        }
    }

    /// What each value by itself does not show to be wrong.
    pub(crate) fn problems(&self, settings: &[Setting], user_home: Option<&Path>) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut complain = |key: &str, why: String| {
            let origin = settings.iter().find(|setting| setting.key == key);
            let origin = origin.map_or(Origin::Default, |setting| setting.origin.clone());
            problems.push(Problem { origin, key: key.to_owned(), why });
        };
        let listen = self.server.listen.0;
        if self.server.tcp && !listen.ip().is_loopback() {
            complain(
                "server.listen",
                format!(
                    "`{listen}` is not a loopback address, and nothing else is served without TLS; use 127.0.0.1 or [::1]"
                ),
            );
        }
        for (key, value) in [
            ("server.max_connections", self.server.max_connections),
            ("server.max_in_flight", self.server.max_in_flight),
            ("store.connections", self.store.connections),
            ("operations.parallel_images", self.operations.parallel_images),
        ] {
            if value == 0 {
                complain(key, "`0` would let nothing through; use 1 or more".to_owned());
            }
        }
        for (key, span) in [
            ("server.request_timeout", self.server.request_timeout),
            ("server.header_timeout", self.server.header_timeout),
            ("operations.wait_patience", self.operations.wait_patience),
        ] {
            if span.0.is_zero() {
                complain(key, "`0s` would end everything at once; use 1s or more".to_owned());
            }
        }
        for (key, path) in [("server.socket", &self.server.socket), ("log.file", &self.log.file)] {
            if let Some(path) = path.as_ref().filter(|path| !path.is_absolute()) {
                complain(key, format!("`{}` is not absolute; write the whole path", path.display()));
            }
        }
        if let Some(why) = self.store.url.as_deref().and_then(wrong_store) {
            complain("store.url", why);
        }
        for root in &self.roots {
            if let Some(why) = wrong_root(root, user_home) {
                complain("roots", why);
            }
        }
        problems
    }
}

fn wrong_store(url: &str) -> Option<String> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return None;
    }
    let Some(path) = url.strip_prefix("sqlite://") else {
        return Some(format!(
            "`{}` is not a store; use sqlite:///absolute/path or postgres://…",
            clos_telemetry::redact(url)
        ));
    };
    let path = Path::new(path);
    if !path.is_absolute() {
        return Some(format!("`{url}` has no absolute path; use sqlite:///absolute/path"));
    }
    let is_v1 = path.file_name().is_some_and(|name| name == "registry.db");
    is_v1
        .then(|| format!("`{url}` is the database of version 1, which is never written; choose another name"))
}

fn wrong_root(root: &Path, user_home: Option<&Path>) -> Option<String> {
    let shown = root.display();
    if !root.is_absolute() {
        return Some(format!("`{shown}` is not absolute; write the whole path"));
    }
    let is_too_wide = root.parent().is_none() || user_home.is_some_and(|home| home.starts_with(root));
    is_too_wide.then(|| format!("`{shown}` holds the whole home folder; name a folder below it"))
}
