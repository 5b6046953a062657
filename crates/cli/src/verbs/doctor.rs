//! `clos doctor`: what is wrong here, and what to do about it.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use clos_client::{Address, Endpoint, Kind};
use clos_proto::v2 as pb;
use serde_json::json;

use super::version::OURS;
use crate::args::Format;
use crate::failure::{Exit, Failure};
use crate::output::words::Tone;
use crate::output::{self, words};
use crate::session::Session;

/// One thing that was looked at.
struct Check {
    name: &'static str,
    tone: Tone,
    message: String,
    /// What to do; empty when there is nothing.
    remedy: String,
}

pub(super) async fn run(session: &Session<'_>) -> Result<Exit, Failure> {
    let endpoint = session.endpoint()?;
    let mut checks = vec![folder(&session.context.home()?), program(session)];
    if let Address::Unix(socket) = &endpoint.address {
        checks.extend(socket_mode(socket));
    }
    let reached = daemon(session, &endpoint, &mut checks).await?;
    print(session, &checks)?;
    Ok(match () {
        () if !reached => Exit::Unreachable,
        () if checks.iter().any(|check| check.tone == Tone::Bad) => Exit::Failed,
        () if checks.iter().any(|check| check.tone == Tone::Warn) => Exit::Degraded,
        () => Exit::Ok,
    })
}

fn check(name: &'static str, tone: Tone, message: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { name, tone, message: message.into(), remedy: remedy.into() }
}

fn folder(home: &Path) -> Check {
    let shown = home.display();
    match std::fs::metadata(home) {
        Ok(found) if !found.is_dir() => {
            check("state folder", Tone::Bad, format!("{shown} is not a folder"), "CLOS_HOME=/another/folder")
        }
        Ok(found) if found.permissions().mode() & 0o077 != 0 => check(
            "state folder",
            Tone::Warn,
            format!("other users can read {shown}"),
            format!("chmod 0700 {shown}"),
        ),
        Ok(_) => check("state folder", Tone::Good, shown.to_string(), ""),
        Err(_) => {
            check("state folder", Tone::Plain, format!("{shown} does not exist yet"), "closd creates it")
        }
    }
}

fn program(session: &Session<'_>) -> Check {
    let on_path =
        session.context.var("PATH").unwrap_or_default().split(':').map(|it| Path::new(it).join("closd"));
    match session.context.closd.clone().or_else(|| on_path.into_iter().find(|path| path.is_file())) {
        Some(path) => check("closd", Tone::Good, path.display().to_string(), ""),
        None => check(
            "closd",
            Tone::Warn,
            "not found beside clos or on the PATH",
            "install it beside clos, or set CLOSD=/path/to/closd",
        ),
    }
}

fn socket_mode(socket: &Path) -> Option<Check> {
    let found = std::fs::symlink_metadata(socket).ok()?;
    let shown = socket.display();
    let mode = found.permissions().mode() & 0o777;
    Some(if !found.file_type().is_socket() {
        check("socket", Tone::Bad, format!("{shown} is not a socket"), format!("rm {shown}"))
    } else if mode & 0o077 != 0 {
        check(
            "socket",
            Tone::Bad,
            format!("other users can use {shown} (mode {mode:04o})"),
            format!("chmod 0600 {shown}"),
        )
    } else {
        check("socket", Tone::Good, format!("{shown}, yours only"), "")
    })
}

/// The daemon and what it says of itself; whether it said anything.
async fn daemon(
    session: &Session<'_>,
    endpoint: &Endpoint,
    checks: &mut Vec<Check>,
) -> Result<bool, Failure> {
    let answered = async {
        let client = session.client_as_it_is().await?;
        let info = client.get_system_info(pb::GetSystemInfoRequest {}).await?;
        let health = client.get_health(pb::GetHealthRequest {}).await?;
        Ok::<_, Failure>((info, health))
    };
    let (info, health) = match answered.await {
        Ok(answers) => answers,
        Err(Failure::Call(error)) => {
            let remedy = match error.kind {
                Kind::Unauthenticated | Kind::PermissionDenied => {
                    "CLOS_TOKEN=… (the content of `token` in its state folder)"
                }
                _ if endpoint.is_ours_to_start() => "closd serve (or any clos command: it starts the daemon)",
                _ => "is it running there? else leave out --host and --context",
            };
            checks.push(check("daemon", Tone::Bad, error.message.clone(), remedy));
            return Ok(false);
        }
        Err(other) => return Err(other),
    };
    checks.push(check("daemon", Tone::Good, format!("{} at {}", info.version, endpoint.address), ""));
    if info.version != OURS {
        let message = format!("clos is {OURS}, closd is {}", info.version);
        checks.push(check("versions", Tone::Warn, message, "restart closd, so that both are of one build"));
    }
    let told = health.checks.unwrap_or_default();
    let component = |status: Option<i32>| status.and_then(|it| pb::ComponentStatus::try_from(it).ok());
    let daemon = info.daemon.unwrap_or_default();
    checks.push(match component(told.database) {
        Some(pb::ComponentStatus::Healthy) => check("store", Tone::Good, daemon.database, ""),
        _ => check("store", Tone::Bad, format!("{} does not answer", daemon.database), "see closd's log"),
    });
    let engine = info.docker_info.unwrap_or_default();
    checks.push(match component(told.docker) {
        Some(pb::ComponentStatus::Healthy) => check(
            "engine",
            Tone::Good,
            format!(
                "{} {} at {} (found by {})",
                engine.kind, engine.version, engine.address, engine.found_by
            ),
            "",
        ),
        None => check(
            "engine",
            Tone::Warn,
            "has not answered yet; closd has only just started",
            "try again in a moment",
        ),
        Some(_) => check(
            "engine",
            Tone::Bad,
            format!("does not answer at {} (found by {})", engine.address, engine.found_by),
            "start it (sudo systemctl start docker), or set DOCKER_HOST and restart closd",
        ),
    });
    let disk = told.disk_space.and_then(|it| pb::DiskStatus::try_from(it).ok()).unwrap_or_default();
    checks.push(match disk {
        pb::DiskStatus::Healthy => check("disk", Tone::Good, "enough room for the state folder", ""),
        pb::DiskStatus::Warning => {
            check("disk", Tone::Warn, "getting full", "docker system df; docker image prune")
        }
        pb::DiskStatus::Critical => {
            check("disk", Tone::Bad, "nearly full", "docker system df; docker system prune")
        }
        pb::DiskStatus::Unspecified => check("disk", Tone::Plain, "not known", ""),
    });
    Ok(true)
}

fn print(session: &Session<'_>, checks: &[Check]) -> Result<(), Failure> {
    let verdict = |tone| match tone {
        Tone::Good => "ok",
        Tone::Warn => "warning",
        Tone::Bad => "error",
        Tone::Plain | Tone::Faint => "note",
    };
    let context = session.context;
    if !matches!(session.global.output, Format::Table | Format::Wide | Format::Name) {
        let checks: Vec<_> = checks
            .iter()
            .map(|it| json!({"name": it.name, "verdict": verdict(it.tone), "message": it.message, "remedy": it.remedy}))
            .collect();
        return output::print(context, session.global.output, &json!({ "checks": checks }).to_string());
    }
    for it in checks {
        // The glyph is the verdict here, with colour or without.
        let glyph = session.style.on_output.apply(it.tone, words::glyph(it.tone).unwrap_or("-"));
        context.print_line(&format!("{glyph} {:13} {}", it.name, it.message))?;
        if !it.remedy.is_empty() {
            context.print_line(&format!("                {}", it.remedy))?;
        }
    }
    Ok(())
}
