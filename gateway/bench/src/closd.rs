//! A daemon without an engine, on a state folder of its own.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::http1::{self, Connection};
use crate::process::Server;

/// A daemon that serves over TCP.
pub(crate) struct Closd {
    pub(crate) server: Server,
    pub(crate) host: String,
    pub(crate) token: String,
}

impl Closd {
    pub(crate) async fn start(program: &Path, folder: &Path, name: &str) -> anyhow::Result<Self> {
        let home = folder.join(name);
        let (home, engine) = (home.display().to_string(), format!("unix://{}/no.sock", folder.display()));
        let program = program.display().to_string();
        let mut command = vec![program.as_str(), "--home", &home, "serve", "--listen", "127.0.0.1:0"];
        command.extend(["--engine", &engine, "--set", "server.max_connections=10000"]);
        let mut server = Server::start(folder, name, &command)?;
        server.said("closd is ready").await?;
        let endpoint = std::fs::read(Path::new(&home).join("run/endpoint.json"))?;
        let endpoint: Value = serde_json::from_slice(&endpoint)?;
        let host = endpoint["tcp"].as_str().context("closd serves no TCP")?.to_owned();
        let token = std::fs::read_to_string(Path::new(&home).join("token"))?.trim().to_owned();
        Ok(Self { server, host, token })
    }

    /// Registers services as a compose file would, and gives their ids.
    pub(crate) async fn fill(&self, services: usize) -> anyhow::Result<Vec<String>> {
        let mut connection = Connection::open(&self.host).await?;
        let mut ids = Vec::new();
        for at in 0..services {
            let service = json!({
                "name": format!("web-{at}"),
                "group": "shop",
                "docker_config": {"image": "registry.example/shop/web:1.27"},
                "environment": {"DATABASE_URL": "postgres://app@database:5432/shop"},
                "tags": ["frontend", "critical"],
            });
            let request =
                http1::send("POST", &self.host, "/api/v2/services", &self.token, &service.to_string());
            let (status, body) = connection.ask(&request).await?;
            ensure!(status == 201, "no service was made: {}", String::from_utf8_lossy(body));
            let made: Value = serde_json::from_slice(body)?;
            ids.push(made["id"].as_str().context("a service without an id")?.to_owned());
        }
        Ok(ids)
    }
}
