//! Where the engine is. What is named by a person is taken or refused; what is
//! merely usual is taken when somebody listens there.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::deadline;

/// What the search may look at. The binaries fill it from the environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// `DOCKER_CONFIG`; `None` is `.docker` below the home folder.
    pub docker_config: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// The home folder.
    pub home: Option<PathBuf>,
}

impl Environment {
    /// The folder of the user's docker configuration.
    pub(crate) fn config_dir(&self) -> Option<PathBuf> {
        self.docker_config.clone().or_else(|| self.home.as_ref().map(|home| home.join(".docker")))
    }
}

/// No engine answers at any of the usual places, or the one that was named cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no container engine found; looked at {}", looked_at.join("; "))]
pub struct NotFound {
    /// Each place with what is the matter there, in the order of the search.
    pub looked_at: Vec<String>,
}

/// How to speak to an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(String),
    Tls { host: String, certificates: PathBuf },
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) | Self::Tls { host, .. } => write!(f, "tcp://{host}"),
        }
    }
}

/// An engine's address and what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: Address,
    pub(crate) found_by: String,
}

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// Looks in the order of `DOCKER_HOST`, `DOCKER_CONTEXT`, the current context,
/// rootless, Podman, the default socket.
pub(crate) async fn find(environment: &Environment) -> Result<Place, NotFound> {
    find_with(environment, Path::new(DEFAULT_SOCKET)).await
}

/// Where the engine will be when it comes: what was named, or the default socket.
pub(crate) async fn expected(environment: &Environment) -> Result<Place, NotFound> {
    let usual = || Place { address: Address::Unix(DEFAULT_SOCKET.into()), found_by: "default socket".into() };
    Ok(chosen(environment).await?.unwrap_or_else(usual))
}

/// What a person named, whether or not it is there.
async fn chosen(environment: &Environment) -> Result<Option<Place>, NotFound> {
    let refuse = |found_by: &str, why: String| NotFound { looked_at: vec![format!("{found_by}: {why}")] };
    if let Some(host) = environment.docker_host.as_deref().filter(|host| !host.is_empty()) {
        let address = parse(host, None).map_err(|why| refuse("DOCKER_HOST", why))?;
        return Ok(Some(Place { address, found_by: "DOCKER_HOST".into() }));
    }
    let wanted = environment.docker_context.clone().filter(|name| !name.is_empty());
    let by_environment = wanted.is_some();
    let context = match wanted {
        Some(context) => Some(context),
        None => current_context(environment).await,
    };
    let Some(context) = context.filter(|name| name != "default") else { return Ok(None) };
    let found_by =
        if by_environment { format!("DOCKER_CONTEXT {context}") } else { format!("context {context}") };
    let address = read_context(environment, &context).await.map_err(|why| refuse(&found_by, why))?;
    Ok(Some(Place { address, found_by }))
}

async fn find_with(environment: &Environment, default_socket: &Path) -> Result<Place, NotFound> {
    if let Some(place) = chosen(environment).await? {
        return named(place).await;
    }
    let runtime = environment.xdg_runtime_dir.as_deref();
    let usual = [
        ("rootless socket", runtime.map(|dir| dir.join("docker.sock"))),
        ("podman socket", runtime.map(|dir| dir.join("podman/podman.sock"))),
        ("default socket", Some(default_socket.to_owned())),
    ];
    let mut looked_at = vec!["DOCKER_HOST: not set".to_owned(), "docker context: none".to_owned()];
    for (found_by, path) in usual {
        let Some(path) = path else {
            looked_at.push(format!("{found_by}: XDG_RUNTIME_DIR is not set"));
            continue;
        };
        match listens(&path).await {
            Ok(()) => return Ok(Place { address: Address::Unix(path), found_by: found_by.into() }),
            Err(why) => looked_at.push(format!("{found_by} {}: {why}", path.display())),
        }
    }
    Err(NotFound { looked_at })
}

/// A named socket is taken even if nobody listens just now: the engine may come
/// back, and to take another one would surprise. It must exist, though.
async fn named(place: Place) -> Result<Place, NotFound> {
    if let Address::Unix(path) = &place.address
        && let Err(error) = tokio::fs::metadata(path).await
    {
        let looked_at = vec![format!("{} {}: {error}", place.found_by, path.display())];
        return Err(NotFound { looked_at });
    }
    Ok(place)
}

async fn listens(path: &Path) -> Result<(), String> {
    match tokio::time::timeout(deadline::PING, tokio::net::UnixStream::connect(path)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("nothing within {:?}", deadline::PING)),
    }
}

fn parse(host: &str, certificates: Option<PathBuf>) -> Result<Address, String> {
    match host.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(Address::Unix(path.into())),
        Some(("tcp" | "http", rest)) if !rest.is_empty() => {
            let host = rest.trim_end_matches('/').to_owned();
            Ok(match certificates {
                None => Address::Tcp(host),
                Some(certificates) => Address::Tls { host, certificates },
            })
        }
        Some(("ssh", _)) => Err(format!(
            "`{host}` is not supported; forward the socket (`ssh -L /tmp/docker.sock:/var/run/docker.sock …`) and name it unix://"
        )),
        _ => Err(format!("`{host}` is not an address: use unix:///path or tcp://host:port")),
    }
}

/// `currentContext` of the user's `config.json`. A file that is not there or not
/// readable as JSON names none, as for the docker command.
async fn current_context(environment: &Environment) -> Option<String> {
    let text = tokio::fs::read(environment.config_dir()?.join("config.json")).await.ok()?;
    let config: serde_json::Value = serde_json::from_slice(&text).ok()?;
    config.get("currentContext")?.as_str().filter(|name| !name.is_empty()).map(str::to_owned)
}

async fn read_context(environment: &Environment, name: &str) -> Result<Address, String> {
    let Some(config) = environment.config_dir() else { return Err("there is no home folder".into()) };
    let digest = hex(&Sha256::digest(name.as_bytes()));
    let path = config.join("contexts/meta").join(&digest).join("meta.json");
    let text = tokio::fs::read(&path)
        .await
        .map_err(|error| format!("there is no such context ({}: {error})", path.display()))?;
    let meta: serde_json::Value = serde_json::from_slice(&text)
        .map_err(|error| format!("{} is not readable: {error}", path.display()))?;
    let Some(host) = meta.pointer("/Endpoints/docker/Host").and_then(serde_json::Value::as_str) else {
        return Err(format!("{} has no Endpoints.docker.Host", path.display()));
    };
    let tls = config.join("contexts/tls").join(&digest).join("docker");
    let certificates = tokio::fs::metadata(tls.join("ca.pem")).await.is_ok().then_some(tls);
    parse(host, certificates)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn socket(dir: &Path, name: &str) -> (UnixListener, PathBuf) {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        (UnixListener::bind(&path).unwrap(), path)
    }

    fn write_context(config: &Path, name: &str, host: &str) -> String {
        let digest = hex(&Sha256::digest(name.as_bytes()));
        let dir = config.join("contexts/meta").join(&digest);
        std::fs::create_dir_all(&dir).unwrap();
        let meta = serde_json::json!({"Name": name, "Endpoints": {"docker": {"Host": host}}});
        std::fs::write(dir.join("meta.json"), meta.to_string()).unwrap();
        digest
    }

    #[tokio::test]
    async fn docker_host_wins_over_everything() {
        let dir = tempfile::tempdir().unwrap();
        let (_default, default) = socket(dir.path(), "default.sock");
        let (_mine, mine) = socket(dir.path(), "mine.sock");
        let environment = Environment {
            docker_host: Some(format!("unix://{}", mine.display())),
            docker_context: Some("other".into()),
            ..Environment::default()
        };
        let place = find_with(&environment, &default).await.unwrap();
        assert_eq!(place, Place { address: Address::Unix(mine), found_by: "DOCKER_HOST".into() });
    }

    #[tokio::test]
    async fn a_named_engine_that_is_missing_is_not_replaced_by_another() {
        let dir = tempfile::tempdir().unwrap();
        let (_default, default) = socket(dir.path(), "default.sock");
        let environment =
            Environment { docker_host: Some("unix:///nowhere/x.sock".into()), ..Environment::default() };
        let error = find_with(&environment, &default).await.unwrap_err();
        assert!(error.to_string().contains("DOCKER_HOST /nowhere/x.sock: No such file"), "{error}");
    }

    #[tokio::test]
    async fn a_context_is_taken_from_the_environment_before_the_current_one() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join(".docker");
        let (_a, a) = socket(dir.path(), "a.sock");
        write_context(&config, "a", &format!("unix://{}", a.display()));
        write_context(&config, "remote", "tcp://10.0.0.1:2375");
        std::fs::write(config.join("config.json"), r#"{"currentContext": "a"}"#).unwrap();
        let mut environment = Environment { home: Some(dir.path().into()), ..Environment::default() };
        let place = find_with(&environment, Path::new("/nowhere")).await.unwrap();
        assert_eq!((place.address, place.found_by.as_str()), (Address::Unix(a), "context a"));

        environment.docker_context = Some("remote".into());
        let place = find_with(&environment, Path::new("/nowhere")).await.unwrap();
        assert_eq!(place.address, Address::Tcp("10.0.0.1:2375".into()));
        assert_eq!(place.found_by, "DOCKER_CONTEXT remote");
    }

    #[tokio::test]
    async fn a_context_with_certificates_speaks_tls() {
        let dir = tempfile::tempdir().unwrap();
        let digest = write_context(dir.path(), "far", "tcp://engine:2376");
        let tls = dir.path().join("contexts/tls").join(digest).join("docker");
        std::fs::create_dir_all(&tls).unwrap();
        std::fs::write(tls.join("ca.pem"), "").unwrap();
        let environment = Environment {
            docker_config: Some(dir.path().into()),
            docker_context: Some("far".into()),
            ..Environment::default()
        };
        let place = find_with(&environment, Path::new("/nowhere")).await.unwrap();
        assert_eq!(place.address, Address::Tls { host: "engine:2376".into(), certificates: tls });
    }

    #[tokio::test]
    async fn the_context_named_default_means_the_usual_places() {
        let dir = tempfile::tempdir().unwrap();
        let (_default, default) = socket(dir.path(), "default.sock");
        let environment = Environment {
            home: Some(dir.path().into()),
            docker_context: Some("default".into()),
            ..Environment::default()
        };
        assert_eq!(find_with(&environment, &default).await.unwrap().found_by, "default socket");
    }

    #[tokio::test]
    async fn a_context_that_is_not_there_or_broken_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut environment = Environment {
            docker_config: Some(dir.path().into()),
            docker_context: Some("gone".into()),
            ..Environment::default()
        };
        let error = find_with(&environment, Path::new("/nowhere")).await.unwrap_err();
        assert!(error.to_string().contains("DOCKER_CONTEXT gone: there is no such context"), "{error}");

        let digest = write_context(dir.path(), "odd", "ssh://host");
        environment.docker_context = Some("odd".into());
        let error = find_with(&environment, Path::new("/nowhere")).await.unwrap_err();
        assert!(error.to_string().contains("`ssh://host` is not supported"), "{error}");

        let meta = dir.path().join("contexts/meta").join(digest).join("meta.json");
        std::fs::write(&meta, "{}").unwrap();
        let error = find_with(&environment, Path::new("/nowhere")).await.unwrap_err();
        assert!(error.to_string().contains("has no Endpoints.docker.Host"), "{error}");
        std::fs::write(&meta, "{").unwrap();
        let error = find_with(&environment, Path::new("/nowhere")).await.unwrap_err();
        assert!(error.to_string().contains("is not readable"), "{error}");
    }

    #[tokio::test]
    async fn rootless_comes_before_podman_before_the_default_and_dead_sockets_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (_default, default) = socket(dir.path(), "default.sock");
        let environment = Environment { xdg_runtime_dir: Some(dir.path().into()), ..Environment::default() };
        assert_eq!(find_with(&environment, &default).await.unwrap().found_by, "default socket");
        let (_podman, _) = socket(dir.path(), "podman/podman.sock");
        assert_eq!(find_with(&environment, &default).await.unwrap().found_by, "podman socket");
        let (rootless, _) = socket(dir.path(), "docker.sock");
        assert_eq!(find_with(&environment, &default).await.unwrap().found_by, "rootless socket");
        drop(rootless);
        assert_eq!(find_with(&environment, &default).await.unwrap().found_by, "podman socket");
    }

    #[tokio::test]
    async fn nothing_found_says_where_it_looked_and_what_was_there() {
        let error = find_with(&Environment::default(), Path::new("/nowhere/docker.sock")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no container engine found; looked at DOCKER_HOST: not set; docker context: none; \
             rootless socket: XDG_RUNTIME_DIR is not set; podman socket: XDG_RUNTIME_DIR is not set; \
             default socket /nowhere/docker.sock: No such file or directory (os error 2)"
        );
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_refused_with_the_way_out() {
        for bad in ["docker.sock", "unix://relative", "tcp://", "npipe:////./pipe/x"] {
            let environment = Environment { docker_host: Some(bad.into()), ..Environment::default() };
            let error = find_with(&environment, Path::new("/nowhere")).await.unwrap_err();
            assert!(error.to_string().contains("use unix:///path or tcp://host:port"), "{bad}: {error}");
        }
    }
}
