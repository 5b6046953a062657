//! Starts the daemon of this state folder when nobody answers there.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clos_client::{Client, Kind};

use crate::failure::Failure;
use crate::session::Session;

/// How long it may take until it answers: a new store is made in a fraction of that.
const LIMIT: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes of the log's end that an error shows at most.
const TAIL: u64 = 2_000;

/// Starts it and waits until it answers.
pub(crate) async fn start(session: &Session<'_>) -> Result<Client, Failure> {
    let home = session.context.home()?;
    let program = program(session)?;
    let log = home.join("log/closd.log");
    let mut child = spawn(&program, &home, &log)
        .map_err(|error| Failure::unreachable(format!("{} cannot be started: {error}", program.display())))?;
    session.note(&format!("closd was not running: starting it (its log: {})", log.display()));
    let waiting = async {
        loop {
            match session.client_as_it_is().await {
                Err(Failure::Call(error)) if error.kind == Kind::Unreachable => {}
                outcome => return outcome,
            }
            if let Ok(Some(status)) = child.try_wait() {
                // Another command may have been faster; its daemon holds the lock and answers soon.
                if status.code() != Some(LOCKED) {
                    return Err(failed(&format!("closd ended at once: {status}"), &log));
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(LIMIT, waiting).await {
        Ok(outcome) => outcome,
        Err(_) => Err(failed(&format!("closd does not answer after {} s", LIMIT.as_secs()), &log)),
    }
}

/// What closd exits with when another one has the state folder.
const LOCKED: i32 = 3;

fn program(session: &Session<'_>) -> Result<PathBuf, Failure> {
    let context = session.context;
    if let Some(named) = context.var("CLOSD") {
        return Ok(context.folder.join(named));
    }
    if let Some(beside) = &context.closd {
        return Ok(beside.clone());
    }
    let path = context.var("PATH").unwrap_or_default();
    let found = path.split(':').map(|folder| Path::new(folder).join("closd")).find(|path| path.is_file());
    found.ok_or_else(|| {
        Failure::unreachable("closd is not running, and its program is neither beside clos nor on the PATH")
            .hint("CLOSD=/path/to/closd clos …")
    })
}

/// In a process group of its own, so that ^C in our terminal is not for it.
fn spawn(program: &Path, home: &Path, log: &Path) -> std::io::Result<Child> {
    let folder = log.parent().unwrap_or(home);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let out = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
    let err = out.try_clone()?;
    Command::new(program)
        .arg("serve")
        .env("CLOS_HOME", home)
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0)
        .spawn()
}

fn failed(what: &str, log: &Path) -> Failure {
    let mut failure = Failure::unreachable(what).fact("its log", log.display().to_string());
    for line in tail(log).lines().rev().take(5).collect::<Vec<_>>().into_iter().rev() {
        failure = failure.fact("", line);
    }
    failure.hint("clos doctor")
}

fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
