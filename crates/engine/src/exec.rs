//! A command inside a container, for probes: short, bounded, no terminal.

use std::time::Duration;

use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use clos_domain::seams::engine::{Error, ExecOutcome};
use clos_domain::text::without_nul;
use futures::StreamExt;

use crate::call::{Effect, Fault, fault};
use crate::deadline;
use crate::docker::Docker;
use crate::workloads::no_such;

/// What is kept of both streams; the rest is read and dropped, so that the command
/// never waits for a reader.
const OUTPUT: usize = 4 * 1024;

/// Runs it and waits. The engine cannot end a command: one that outlives `timeout`
/// goes on inside the container, and the answer is an unknown outcome.
pub(crate) async fn run(
    docker: &Docker,
    name: &str,
    argv: &[String],
    timeout: Duration,
) -> Result<ExecOutcome, Error> {
    if argv.is_empty() {
        return Err(Error::Refused("argv: a command needs at least one word".into()));
    }
    let what = format!("exec `{}` in `{name}`", argv[0]);
    let late = || Error::UnknownOutcome(format!("{what} (not ended within {timeout:?})"));
    tokio::time::timeout(timeout, run_to_end(docker, name, argv, &what)).await.unwrap_or_else(|_| Err(late()))
}

/// The cause alone, where a command could not be started: `exec: "curl": executable file not found in $PATH`.
pub(crate) fn plain(output: &str) -> &str {
    let Some(cause) = output.trim_end().strip_prefix("OCI runtime exec failed: ") else { return output };
    let cause = cause.strip_prefix("exec failed: ").unwrap_or(cause);
    let cause = cause.strip_prefix("unable to start container process: ").unwrap_or(cause);
    cause.strip_suffix(": unknown").unwrap_or(cause)
}

async fn run_to_end(docker: &Docker, name: &str, argv: &[String], what: &str) -> Result<ExecOutcome, Error> {
    let target = docker.container(name).await?;
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(argv.to_vec()),
        ..ExecConfig::default()
    };
    let read = |error| -> Fault { fault(what, Effect::Changes, &error) };
    let exec =
        docker.client().create_exec(&target, config).await.map_err(|error| no_such(name, read(error)))?;
    let started = docker.client().start_exec(&exec.id, None::<StartExecOptions>).await;
    let mut kept = Vec::new();
    if let StartExecResults::Attached { mut output, .. } =
        started.map_err(|error| Error::from(read(error)))?
    {
        while let Some(piece) = output.next().await {
            let bytes = piece.map_err(|error| Error::from(read(error)))?.into_bytes();
            let room = OUTPUT.saturating_sub(kept.len()).min(bytes.len());
            kept.extend_from_slice(&bytes[..room]);
        }
    }
    let output = plain(&without_nul(&String::from_utf8_lossy(&kept))).to_owned();
    loop {
        let shown = docker.client().inspect_exec(&exec.id).await;
        let shown = shown.map_err(|error| Error::from(read(error)))?;
        // The streams end a moment before the engine knows the code.
        if let (Some(code), Some(false)) = (shown.exit_code, shown.running) {
            return Ok(ExecOutcome { code, output });
        }
        tokio::time::sleep(deadline::LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_command_that_could_not_be_started_only_the_cause_is_told() {
        let cause = r#"exec: "curl": executable file not found in $PATH"#;
        let told = format!(
            "OCI runtime exec failed: exec failed: unable to start container process: {cause}: unknown\r\n"
        );
        assert_eq!(plain(&told), cause);
        assert_eq!(plain("no route to db\n"), "no route to db\n");
    }
}
