//! The user's own credentials for a registry, from the docker configuration and
//! its helpers. Asked for when they are needed, handed to the engine, kept nowhere:
//! no type here can be printed, and a helper's words are not repeated, for they may
//! hold the secret.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};

use crate::{deadline, name};

/// Docker Hub's name in the configuration.
const HUB: &str = "https://index.docker.io/v1/";
/// Registries whose credentials a build gets.
const MOST: usize = 32;

/// What the configuration calls the registry of an image.
fn server_of(image: &str) -> &str {
    match name::registry_of(image) {
        None | Some("docker.io" | "index.docker.io" | "registry-1.docker.io") => HUB,
        Some(host) => host,
    }
}

/// The credentials for an image, if the user has any.
pub(crate) async fn for_image(config_dir: Option<&Path>, image: &str) -> Option<DockerCredentials> {
    ask(config_dir?.to_path_buf(), server_of(image).to_owned()).await
}

/// The credentials for every registry of the configuration: a build may start from any.
pub(crate) async fn all(config_dir: Option<&Path>) -> HashMap<String, DockerCredentials> {
    let Some(dir) = config_dir else { return HashMap::new() };
    let Ok(text) = tokio::fs::read(dir.join("config.json")).await else { return HashMap::new() };
    let mut found = HashMap::new();
    for server in servers(&text).into_iter().take(MOST) {
        if let Some(credentials) = ask(dir.to_path_buf(), server.clone()).await {
            found.insert(server, credentials);
        }
    }
    found
}

/// The registries that a configuration names.
fn servers(config: &[u8]) -> Vec<String> {
    let Ok(config) = serde_json::from_slice::<serde_json::Value>(config) else { return Vec::new() };
    let mut servers: Vec<String> = ["auths", "credHelpers"]
        .iter()
        .filter_map(|key| config.get(key)?.as_object())
        .flat_map(|named| named.keys().cloned())
        .collect();
    servers.sort_unstable();
    servers.dedup();
    servers
}

async fn ask(dir: PathBuf, server: String) -> Option<DockerCredentials> {
    let asked = {
        let server = server.clone();
        // A helper is a program that is waited for; one that hangs keeps a thread, and no pull.
        tokio::task::spawn_blocking(move || {
            let config = std::fs::File::open(dir.join("config.json"))
                .map_err(|_| CredentialRetrievalError::ConfigNotFound)?;
            get_credential_from_reader(std::io::BufReader::new(config), &server)
        })
    };
    let answer = match tokio::time::timeout(deadline::CREDENTIALS, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => {
            tracing::warn!(server, "the credential helper did not answer; going on without credentials");
            return None;
        }
    };
    match answer {
        Ok(DockerCredential::IdentityToken(token)) => Some(DockerCredentials {
            identitytoken: Some(token),
            serveraddress: Some(server),
            ..DockerCredentials::default()
        }),
        Ok(DockerCredential::UsernamePassword(username, password)) => Some(DockerCredentials {
            username: Some(username),
            password: Some(password),
            serveraddress: Some(server),
            ..DockerCredentials::default()
        }),
        Err(CredentialRetrievalError::NoCredentialConfigured | CredentialRetrievalError::ConfigNotFound) => {
            None
        }
        Err(_) => {
            tracing::warn!(server, "the docker configuration gave no credentials; going on without");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), text).unwrap();
        dir
    }

    #[tokio::test]
    async fn a_login_of_the_configuration_is_used_for_its_registry_only() {
        // ann:secret
        let dir = config(r#"{"auths": {"ghcr.io": {"auth": "YW5uOnNlY3JldA=="}}}"#);
        let found = for_image(Some(dir.path()), "ghcr.io/team/app:1").await.unwrap();
        assert_eq!((found.username.as_deref(), found.password.as_deref()), (Some("ann"), Some("secret")));
        assert_eq!(found.serveraddress.as_deref(), Some("ghcr.io"));
        assert!(for_image(Some(dir.path()), "postgres:17").await.is_none());
        assert!(for_image(None, "ghcr.io/team/app:1").await.is_none());
        assert_eq!(all(Some(dir.path())).await.len(), 1);
    }

    #[tokio::test]
    async fn docker_hub_goes_by_its_old_address_and_tokens_are_passed_on() {
        let dir = config(
            r#"{"auths": {"https://index.docker.io/v1/": {"auth": "YW5uOg==", "identitytoken": "token"}}}"#,
        );
        for image in ["postgres:17", "team/app", "docker.io/library/postgres"] {
            let found = for_image(Some(dir.path()), image).await.unwrap();
            assert_eq!(found.identitytoken.as_deref(), Some("token"), "{image}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_and_a_broken_configuration_are_no_credentials() {
        let helper = config(r#"{"credHelpers": {"ghcr.io": "clos-no-such-helper"}}"#);
        assert!(for_image(Some(helper.path()), "ghcr.io/a").await.is_none());
        assert!(all(Some(helper.path())).await.is_empty());
        let broken = config("{");
        assert!(for_image(Some(broken.path()), "ghcr.io/a").await.is_none());
        assert!(all(Some(broken.path())).await.is_empty());
        assert!(all(Some(Path::new("/nowhere"))).await.is_empty());
    }
}
