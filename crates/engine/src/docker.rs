//! A connection to one engine, and what that engine says of itself.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::API_DEFAULT_VERSION;
use bytes::Bytes;
use clos_domain::seams::engine::{Error, Info};
use futures::Stream;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;

use crate::call::{Effect, Fault, within};
use crate::find::{self, Address, Environment, NotFound, Place};
use crate::{deadline, name};

/// A Docker engine, or one that speaks its API. Cheap to clone.
#[derive(Clone)]
pub struct Docker {
    inner: Arc<Inner>,
}

struct Inner {
    client: bollard::Docker,
    place: Place,
    config_dir: Option<PathBuf>,
    /// Asked once, and again after the engine was away: it may come back as another version.
    facts: Mutex<Option<Arc<Facts>>>,
}

/// What decides how this engine is spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) info: Info,
    pub(crate) api: Api,
    pub(crate) log_driver: String,
    /// Bytes of the engine's machine; what an unlimited container reports as its limit.
    pub(crate) memory: u64,
    /// The engine's wall clock when it was asked.
    pub(crate) now: Option<jiff::Timestamp>,
}

/// Version of the engine's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Api(pub(crate) u32, pub(crate) u32);

impl Api {
    /// Several networks at create, fixed hardware addresses, `StartInterval`.
    pub(crate) const NETWORKS_AT_CREATE: Self = Self(1, 44);
    /// Mounts of a part of a volume.
    pub(crate) const SUBPATH: Self = Self(1, 45);
    /// Mounts that make the folder of the host.
    pub(crate) const CREATE_MOUNTPOINT: Self = Self(1, 42);
    /// BuildKit is no experiment any more.
    pub(crate) const BUILDKIT: Self = Self(1, 39);

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

/// bollard's own timeout would end a long pull and a stop with a long grace; the
/// deadlines are ours.
const NO_CLIENT_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 3600);

/// bollard's own connection over a socket refuses a path where nothing is yet; ours fails by the
/// call, so that a daemon may start before the engine was ever there.
fn over_socket(path: PathBuf, timeout: u64) -> Result<bollard::Docker, bollard::errors::Error> {
    let connector = tower::service_fn(move |_: http::Uri| {
        let path = path.clone();
        Box::pin(async move { UnixStream::connect(path).await.map(TokioIo::new) })
    });
    // A kept connection that the engine has closed meanwhile would fail a call for nothing.
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let transport = move |request: bollard::BollardRequest| {
        let answer = client.request(request);
        async move { answer.await.map_err(bollard::errors::Error::from) }
    };
    bollard::Docker::connect_with_custom_transport(
        transport,
        Some("http://localhost"),
        timeout,
        API_DEFAULT_VERSION,
    )
}

impl Docker {
    /// Finds the engine that this environment means. Does not ask whether it
    /// answers, where a person named it.
    ///
    /// # Errors
    /// The places that were looked at, each with what is the matter there.
    pub async fn find(environment: &Environment) -> Result<Self, NotFound> {
        Self::to(find::find(environment).await?, environment)
    }

    /// The engine that this environment will mean when it comes: for a daemon that starts
    /// before the engine does. Every call says that it cannot be reached until then.
    ///
    /// # Errors
    /// An address or a context that cannot be one.
    pub async fn expected(environment: &Environment) -> Result<Self, NotFound> {
        Self::to(find::expected(environment).await?, environment)
    }

    fn to(place: Place, environment: &Environment) -> Result<Self, NotFound> {
        let looked_at = format!("{} {}", place.found_by, place.address);
        Self::at(place, environment.config_dir())
            .map_err(|error| NotFound { looked_at: vec![format!("{looked_at}: {error}")] })
    }

    fn at(place: Place, config_dir: Option<PathBuf>) -> Result<Self, bollard::errors::Error> {
        let timeout = NO_CLIENT_TIMEOUT.as_secs();
        let client = match &place.address {
            Address::Unix(path) => over_socket(path.clone(), timeout),
            Address::Tcp(host) => bollard::Docker::connect_with_http(host, timeout, API_DEFAULT_VERSION),
            Address::Tls { host, certificates } => bollard::Docker::connect_with_ssl(
                host,
                &certificates.join("key.pem"),
                &certificates.join("cert.pem"),
                &certificates.join("ca.pem"),
                timeout,
                API_DEFAULT_VERSION,
            ),
        }?;
        Ok(Self { inner: Arc::new(Inner { client, place, config_dir, facts: Mutex::new(None) }) })
    }

    pub(crate) fn client(&self) -> &bollard::Docker {
        &self.inner.client
    }

    /// The folder of the user's docker configuration.
    pub(crate) fn config_dir(&self) -> Option<&std::path::Path> {
        self.inner.config_dir.as_deref()
    }

    /// Where it is, before it says anything of itself.
    pub(crate) fn place(&self) -> Info {
        let place = &self.inner.place;
        Info { found_by: place.found_by.clone(), address: place.address.to_string(), ..Info::default() }
    }

    /// What the engine said of itself, asked once.
    pub(crate) async fn facts(&self) -> Result<Arc<Facts>, Error> {
        if let Some(facts) = self.remembered() {
            return Ok(facts);
        }
        let facts = Arc::new(self.ask_facts().await?);
        *self.inner.facts.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&facts));
        Ok(facts)
    }

    pub(crate) fn forget_facts(&self) {
        *self.inner.facts.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn remembered(&self) -> Option<Arc<Facts>> {
        self.inner.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) async fn ask_facts(&self) -> Result<Facts, Error> {
        let version = within(deadline::READ, "version", Effect::Reads, self.client().version()).await?;
        let system = within(deadline::READ, "info", Effect::Reads, self.client().info()).await?;

        let is_podman = version
            .components
            .iter()
            .flatten()
            .any(|component| component.name.to_ascii_lowercase().contains("podman"));
        let api_version = version.api_version.unwrap_or_default();
        let api = Api::parse(&api_version).unwrap_or(Api(1, 40));
        let os = version.os.unwrap_or_else(|| "linux".into());
        let rootless = system.security_options.iter().flatten().any(|option| option.contains("rootless"));
        let info = Info {
            kind: if is_podman { "podman" } else { "docker" }.into(),
            version: version.version.unwrap_or_default(),
            api_version,
            platform: format!("{os}/{}", version.arch.unwrap_or_default()),
            buildkit: !is_podman && os == "linux" && api >= Api::BUILDKIT,
            rootless,
            ..self.place()
        };
        Ok(Facts {
            info,
            api,
            log_driver: system.logging_driver.unwrap_or_default(),
            memory: system.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(),
            now: system.system_time.and_then(|text| text.parse().ok()),
        })
    }

    /// The bytes of a GET, undecoded. bollard decodes a terminal's log by waiting for
    /// a newline, without bound; its only raw stream is the export of a container,
    /// so that request is sent to another path.
    pub(crate) fn raw_get(
        &self,
        path_and_query: &str,
    ) -> impl Stream<Item = Result<Bytes, bollard::errors::Error>> + use<> {
        let target = path_and_query.to_owned();
        let client = self.client().clone().with_request_modifier(move |mut request| {
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = target.parse().ok();
            if let Ok(uri) = parts.try_into() {
                *request.uri_mut() = uri;
            }
            request
        });
        // The name is replaced with the path.
        client.export_container("x")
    }

    /// What to put into the path for a container's name: the name, or the id where the
    /// engine might take the name for the beginning of an id and find a stranger.
    pub(crate) async fn container(&self, raw: &str) -> Result<String, Error> {
        let checked = name::check("container", raw)?;
        if !name::looks_like_id(checked) {
            return Ok(checked.to_owned());
        }
        match self.inspect_exactly(checked).await? {
            Some(found) => Ok(found.id.unwrap_or_else(|| checked.to_owned())),
            None => Err(Error::NotFound(checked.to_owned())),
        }
    }

    /// The container of exactly this name or full id.
    pub(crate) async fn inspect_exactly(
        &self,
        raw: &str,
    ) -> Result<Option<bollard::models::ContainerInspectResponse>, Error> {
        let checked = name::check("container", raw)?;
        let what = format!("inspect `{checked}`");
        let options = None::<bollard::query_parameters::InspectContainerOptions>;
        match within(deadline::READ, &what, Effect::Reads, self.client().inspect_container(checked, options))
            .await
        {
            Ok(found) => {
                let has_name =
                    found.name.as_deref().map(|name| name.trim_start_matches('/')) == Some(checked);
                let is_meant = has_name || found.id.as_deref() == Some(checked);
                Ok(is_meant.then_some(found))
            }
            Err(Fault::Answer { status: 404, .. }) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }
}

impl std::fmt::Debug for Docker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Docker").field("place", &self.inner.place).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_compare_as_numbers() {
        assert!(Api::parse("1.44").unwrap() >= Api::NETWORKS_AT_CREATE);
        assert!(Api::parse("1.9").unwrap() < Api::parse("1.41").unwrap());
        assert_eq!(Api::parse("next"), None);
    }
}
