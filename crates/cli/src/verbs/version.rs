//! `clos version`: both sides.

use clos_proto::v2 as pb;
use serde_json::json;

use crate::args::Format;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::session::Session;

/// The version of this program.
pub(super) const OURS: &str = env!("CARGO_PKG_VERSION");

pub(super) async fn run(session: &Session<'_>) -> Result<Exit, Failure> {
    let context = session.context;
    let format = session.global.output;
    let for_people = matches!(format, Format::Table | Format::Wide | Format::Name);
    // Ours is known in any case, and a question about versions starts nothing.
    if for_people {
        context.print_line(&format!("clos    {OURS}"))?;
    }
    let client = session.client_as_it_is().await?;
    let info = client.get_system_info(pb::GetSystemInfoRequest {}).await?;
    if !for_people {
        let whole = json!({"client": {"version": OURS}, "daemon": output::value("SystemInfo", &info)?});
        output::print(context, format, &whole.to_string())?;
        return Ok(Exit::Ok);
    }
    let build = info.build_info.unwrap_or_default();
    let known = [build.commit, build.target, build.profile].into_iter().filter(|it| !it.is_empty());
    context.print_line(&format!(
        "closd   {}  {}  at {}",
        info.version,
        known.collect::<Vec<_>>().join(" "),
        client.address()
    ))?;
    let engine = info.docker_info.unwrap_or_default();
    let line = if engine.version.is_empty() {
        format!("engine  not reached {}", at(&engine.address))
    } else {
        format!(
            "engine  {} {}, API {}, at {}",
            engine.kind, engine.version, engine.api_version, engine.address
        )
    };
    context.print_line(&line)?;
    Ok(Exit::Ok)
}

/// Where the daemon looks for it, once it has found a place to look.
fn at(address: &str) -> String {
    if address.is_empty() { "yet".to_owned() } else { format!("at {address}") }
}
