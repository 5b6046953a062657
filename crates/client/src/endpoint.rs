//! Which daemon is meant, and what it wants to be shown.
//!
//! One rule: a host that was named, else a context that was named or is current, else the Unix
//! socket of the state folder. Only in the last case may the caller start a daemon.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Port of a daemon whose address names none.
const DEFAULT_PORT: u16 = 8080;
/// No token and no file of ours is longer.
const FILE_LIMIT: u64 = 256 * 1024;

/// What the caller knows of where the daemon is.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The state folder, `CLOS_HOME`.
    pub home: PathBuf,
    /// A host that was named: `unix:///run/x.sock`, `/run/x.sock`, `http://127.0.0.1:8080`, `127.0.0.1:8080`.
    pub host: Option<String>,
    /// A context that was named; `default` is the state folder's socket.
    pub context: Option<String>,
    /// The bearer token, where the caller has one.
    pub token: Option<String>,
}

/// Where a daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// Host and port.
    Tcp(String),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "http://{host}"),
        }
    }
}

/// Which part of the rule decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A host was named.
    Host,
    /// This context.
    Context(String),
    /// Nothing was named: the socket of the state folder.
    Home,
}

/// A daemon's address with what it wants to be shown.
#[derive(Clone)]
pub struct Endpoint {
    /// Where.
    pub address: Address,
    /// Why there.
    pub origin: Origin,
    token: Option<String>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.address)
            .field("origin", &self.origin)
            .field("token", &self.token.as_ref().map(|_| "********"))
            .finish()
    }
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The host is none.
    #[error(
        "`{value}` is not a daemon address: {why}; write unix:///path/to/closd.sock or http://127.0.0.1:8080"
    )]
    Host {
        /// What was given.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such context.
    #[error("there is no context `{name}` in {file}; there are {known}")]
    Context {
        /// What was given.
        name: String,
        /// Where it was looked for.
        file: String,
        /// The contexts that there are.
        known: String,
    },
    /// A file cannot be used.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
}

/// `contexts.json` of the state folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one that holds when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// A daemon that has a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// As in [`Options::host`].
    pub host: String,
    /// The file with the token; a relative path is beneath the state folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}

impl Contexts {
    /// Reads the file of a state folder; none there is an empty one.
    ///
    /// # Errors
    /// A file that cannot be read as one.
    pub fn read(home: &Path) -> Result<Self, EndpointError> {
        let path = home.join("contexts.json");
        match read_short(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| unusable(&path, &error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(unusable(&path, &error)),
        }
    }
}

/// What the daemon tells of itself in `run/endpoint.json`.
#[derive(Deserialize)]
struct Announced {
    socket: PathBuf,
    tcp: Option<String>,
}

impl Endpoint {
    /// Applies the rule.
    ///
    /// # Errors
    /// What was named and is none, and the way out.
    pub fn resolve(options: &Options) -> Result<Self, EndpointError> {
        if let Some(host) = options.host.as_deref().filter(|host| !host.is_empty()) {
            let address = parse(host)?;
            let token = token(options, &address, None)?;
            return Ok(Self { address, origin: Origin::Host, token });
        }
        let contexts = Contexts::read(&options.home)?;
        let named =
            options.context.clone().filter(|name| !name.is_empty()).or_else(|| contexts.current.clone());
        if let Some(name) = named.filter(|name| name != "default") {
            let Some(context) = contexts.contexts.get(&name) else {
                let mut known: Vec<&str> = contexts.contexts.keys().map(String::as_str).collect();
                known.push("default");
                return Err(EndpointError::Context {
                    name,
                    file: options.home.join("contexts.json").display().to_string(),
                    known: known.join(", "),
                });
            };
            let address = parse(&context.host)?;
            let token = token(options, &address, context.token_file.as_deref())?;
            return Ok(Self { address, origin: Origin::Context(name), token });
        }
        let socket = announced(&options.home)
            .map_or_else(|| options.home.join("run/closd.sock"), |announced| announced.socket);
        Ok(Self { address: Address::Unix(socket), origin: Origin::Home, token: None })
    }

    /// Whether the caller may start a daemon when none answers there.
    pub fn is_ours_to_start(&self) -> bool {
        self.origin == Origin::Home
    }

    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

fn parse(host: &str) -> Result<Address, EndpointError> {
    let refuse = |why: &str| EndpointError::Host { value: host.to_owned(), why: why.to_owned() };
    if let Some(path) = host.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return if path.starts_with('/') {
            Ok(Address::Unix(path.into()))
        } else {
            Err(refuse("the path of a socket begins with `/`"))
        };
    }
    if host.starts_with('/') {
        return Ok(Address::Unix(host.into()));
    }
    if host.starts_with("https://") {
        return Err(refuse("the daemon speaks no TLS; reach it through a tunnel that does"));
    }
    let bare = ["http://", "tcp://"].iter().find_map(|scheme| host.strip_prefix(scheme)).unwrap_or(host);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    if bare.contains("://") {
        return Err(refuse("the scheme is none of unix, http, tcp"));
    }
    let authority: http::uri::Authority =
        bare.parse().map_err(|_| refuse("it is no host with an optional port"))?;
    if authority.host().is_empty() || bare.contains('@') {
        return Err(refuse("it is no host with an optional port"));
    }
    let port = match authority.port() {
        Some(port) => port.as_u16(),
        None if authority.as_str() == authority.host() => DEFAULT_PORT,
        None => return Err(refuse("a port is 1-65535")),
    };
    if port == 0 {
        return Err(refuse("a port is 1-65535"));
    }
    Ok(Address::Tcp(format!("{}:{port}", authority.host())))
}

/// What was given, else the context's file, else the state folder's when the address is its daemon.
fn token(options: &Options, address: &Address, file: Option<&Path>) -> Result<Option<String>, EndpointError> {
    let Address::Tcp(host) = address else { return Ok(None) };
    if let Some(token) = options.token.as_deref().map(str::trim).filter(|token| !token.is_empty()) {
        return printable(token, "the token").map(Some);
    }
    if let Some(file) = file {
        let path = options.home.join(file);
        let text = read_short(&path).map_err(|error| unusable(&path, &error))?;
        return printable(text.trim(), &path.display().to_string()).map(Some);
    }
    // A token is shown to nobody but the daemon that it belongs to.
    let is_ours = announced(&options.home)
        .and_then(|announced| announced.tcp)
        .is_some_and(|tcp| same_loopback(&tcp, host));
    let path = options.home.join("token");
    match read_short(&path) {
        Ok(text) if is_ours => printable(text.trim(), &path.display().to_string()).map(Some),
        _ => Ok(None),
    }
}

fn same_loopback(announced: &str, asked: &str) -> bool {
    let Ok(announced) = announced.parse::<std::net::SocketAddr>() else { return false };
    match asked.parse::<std::net::SocketAddr>() {
        Ok(asked) => asked == announced,
        Err(_) => asked == format!("localhost:{}", announced.port()) && announced.ip().is_loopback(),
    }
}

fn printable(token: &str, whence: &str) -> Result<String, EndpointError> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = "it holds no token, which is one line of printable ASCII".to_owned();
        return Err(EndpointError::File { path: whence.to_owned(), why });
    }
    Ok(token.to_owned())
}

fn announced(home: &Path) -> Option<Announced> {
    let text = read_short(&home.join("run/endpoint.json")).ok()?;
    // Written whole or not at all; what is no endpoint is as good as none.
    serde_json::from_str(&text).ok()
}

fn read_short(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

fn unusable(path: &Path, why: &impl ToString) -> EndpointError {
    EndpointError::File { path: path.display().to_string(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bed {
        folder: tempfile::TempDir,
    }

    impl Bed {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("run")).unwrap();
            Self { folder }
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.folder.path().join(name), text).unwrap();
        }

        fn options(&self) -> Options {
            Options { home: self.folder.path().to_owned(), ..Options::default() }
        }

        fn with_host(&self, host: &str) -> Result<Endpoint, EndpointError> {
            Endpoint::resolve(&Options { host: Some(host.to_owned()), ..self.options() })
        }

        fn announce(&self) {
            self.write(
                "run/endpoint.json",
                r#"{"socket": "/run/user/0/clos.sock", "tcp": "127.0.0.1:9191", "pid": 7, "version": "2"}"#,
            );
            self.write("token", "tok_0123456789\n");
        }
    }

    #[test]
    fn nothing_named_is_the_socket_of_the_state_folder() {
        let bed = Bed::new();
        let endpoint = Endpoint::resolve(&bed.options()).unwrap();
        assert_eq!(endpoint.address, Address::Unix(bed.folder.path().join("run/closd.sock")));
        assert!(endpoint.is_ours_to_start());
        bed.announce();
        let endpoint = Endpoint::resolve(&bed.options()).unwrap();
        assert_eq!(endpoint.address, Address::Unix("/run/user/0/clos.sock".into()));
    }

    #[test]
    fn a_host_goes_before_a_context_and_a_context_before_the_socket() {
        let bed = Bed::new();
        bed.write("contexts.json", r#"{"current": "work", "contexts": {"work": {"host": "10.0.0.1:81"}}}"#);
        let current = Endpoint::resolve(&bed.options()).unwrap();
        assert_eq!(current.address, Address::Tcp("10.0.0.1:81".to_owned()));
        assert_eq!(current.origin, Origin::Context("work".to_owned()));
        assert!(!current.is_ours_to_start());
        let by_name = Options { context: Some("default".to_owned()), ..bed.options() };
        assert_eq!(Endpoint::resolve(&by_name).unwrap().origin, Origin::Home);
        assert_eq!(bed.with_host("/x.sock").unwrap().address, Address::Unix("/x.sock".into()));
        let unknown = Options { context: Some("wrok".to_owned()), ..bed.options() };
        let error = Endpoint::resolve(&unknown).unwrap_err().to_string();
        assert!(error.contains("no context `wrok`") && error.ends_with("there are work, default"), "{error}");
        bed.write("contexts.json", "{");
        assert!(Endpoint::resolve(&bed.options()).unwrap_err().to_string().contains("contexts.json"));
    }

    #[test]
    fn hosts_are_written_in_many_ways() {
        let bed = Bed::new();
        for (host, address) in [
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("unix:/run/x.sock", "unix:///run/x.sock"),
            ("localhost", "http://localhost:8080"),
            ("tcp://127.0.0.1:81", "http://127.0.0.1:81"),
            ("http://127.0.0.1:81/", "http://127.0.0.1:81"),
            ("[::1]:81", "http://[::1]:81"),
        ] {
            assert_eq!(bed.with_host(host).unwrap().address.to_string(), address);
        }
    }

    #[test]
    fn a_host_that_is_none_is_told() {
        let bed = Bed::new();
        for host in ["unix://x", "https://a", "ftp://a", "a:99999", "a:0", "a b", "u@a:1", ":80"] {
            let error = bed.with_host(host).unwrap_err().to_string();
            assert!(error.contains(&format!("`{host}` is not a daemon address")), "{error}");
        }
    }

    #[test]
    fn the_token_of_the_folder_is_shown_only_to_its_own_daemon() {
        let bed = Bed::new();
        bed.announce();
        assert_eq!(bed.with_host("127.0.0.1:9191").unwrap().token(), Some("tok_0123456789"));
        assert_eq!(bed.with_host("localhost:9191").unwrap().token(), Some("tok_0123456789"));
        assert_eq!(bed.with_host("10.1.1.1:9191").unwrap().token(), None);
        assert_eq!(bed.with_host("127.0.0.1:9192").unwrap().token(), None);
        let mut given =
            Options { host: Some("10.1.1.1".into()), token: Some(" own\n".into()), ..bed.options() };
        assert_eq!(Endpoint::resolve(&given).unwrap().token(), Some("own"));
        assert!(!format!("{:?}", Endpoint::resolve(&given).unwrap()).contains("own"));
        given.token = Some("two words".into());
        assert!(Endpoint::resolve(&given).is_err());
    }

    #[test]
    fn a_context_may_name_the_file_of_its_token() {
        let bed = Bed::new();
        bed.write(
            "contexts.json",
            r#"{"contexts": {"far": {"host": "10.0.0.1", "token_file": "far.token"}}}"#,
        );
        let options = Options { context: Some("far".into()), ..bed.options() };
        assert!(Endpoint::resolve(&options).unwrap_err().to_string().contains("far.token"));
        bed.write("far.token", "abc\n");
        assert_eq!(Endpoint::resolve(&options).unwrap().token(), Some("abc"));
    }
}
