//! Everything that a command gets from outside, in one place.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::{Notify, mpsc};

use crate::failure::Failure;

/// No compose file that one types is longer.
const STDIN_LIMIT: u64 = 16 * 1024 * 1024;

/// What surrounds a command.
pub struct Context {
    /// The environment, as far as it is text.
    pub env: BTreeMap<String, String>,
    /// The folder that the command runs in.
    pub folder: PathBuf,
    /// The daemon's program, looked for beside ours; absent when ours is nowhere.
    pub closd: Option<PathBuf>,
    /// Where people and programs read and type.
    pub streams: Streams,
    /// ^C.
    pub interrupts: Interrupts,
    /// Wall time.
    pub now: fn() -> Timestamp,
    /// The zone that times are shown in.
    pub zone: TimeZone,
}

/// The three streams.
pub struct Streams {
    /// Data.
    pub out: RefCell<Box<dyn Write>>,
    /// Progress, hints and errors.
    pub err: RefCell<Box<dyn Write>>,
    /// Files that are named `-`.
    pub input: RefCell<Box<dyn Read>>,
    /// Whether data is read by a person.
    pub out_is_terminal: bool,
    /// Whether progress is read by a person.
    pub err_is_terminal: bool,
}

impl Context {
    /// The process that we are. To be called inside of the runtime.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the command line reads its surroundings"
    )]
    pub fn of_the_process() -> Self {
        let text = |value: std::ffi::OsString| value.into_string().ok();
        let env = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
        let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("closd")));
        Self {
            env,
            folder: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            closd: beside.filter(|path| path.is_file()),
            streams: Streams {
                out: RefCell::new(Box::new(io::stdout())),
                err: RefCell::new(Box::new(io::stderr())),
                input: RefCell::new(Box::new(io::stdin())),
                out_is_terminal: io::stdout().is_terminal(),
                err_is_terminal: io::stderr().is_terminal(),
            },
            interrupts: Interrupts::of_the_process(),
            now: Timestamp::now,
            zone: TimeZone::system(),
        }
    }

    /// A variable that says something.
    pub(crate) fn var(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The state folder.
    pub(crate) fn home(&self) -> Result<PathBuf, Failure> {
        if let Some(home) = self.var("CLOS_HOME") {
            return Ok(self.folder.join(home));
        }
        let home = self.var("HOME").ok_or_else(|| {
            Failure::usage("neither CLOS_HOME nor HOME is set").hint("CLOS_HOME=/path/to/state clos …")
        })?;
        Ok(self.folder.join(home).join(".clos"))
    }

    /// Writes data.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        self.print_bytes(text.as_bytes())
    }

    /// Writes data that may be no text.
    pub(crate) fn print_bytes(&self, data: &[u8]) -> Result<(), Failure> {
        let mut out = self.streams.out.borrow_mut();
        out.write_all(data).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            // `clos logs | head`: the reader has what it wanted.
            io::ErrorKind::BrokenPipe => Failure::Unread,
            _ => Failure::own(format!("the output cannot be written: {error}")),
        })
    }

    /// Writes a line of data.
    pub(crate) fn print_line(&self, line: &str) -> Result<(), Failure> {
        self.print(&format!("{line}\n"))
    }

    /// Writes to the stream of errors. Where that is gone there is nobody to tell.
    pub(crate) fn say(&self, text: &str) {
        let mut err = self.streams.err.borrow_mut();
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }

    /// All of standard input, as text.
    pub(crate) fn read_input(&self) -> Result<String, Failure> {
        let mut text = String::new();
        let mut limited = self.streams.input.borrow_mut();
        let mut limited = (&mut *limited).take(STDIN_LIMIT + 1);
        limited
            .read_to_string(&mut text)
            .map_err(|error| Failure::usage(format!("standard input cannot be read as a file: {error}")))?;
        if text.len() as u64 > STDIN_LIMIT {
            return Err(Failure::usage(format!("standard input is longer than {STDIN_LIMIT} bytes")));
        }
        Ok(text)
    }
}

/// ^C, which one follower may take once.
pub struct Interrupts {
    source: Source,
    holders: Cell<u32>,
    was_taken: Cell<bool>,
    taken: Notify,
}

enum Source {
    Signal(RefCell<tokio::signal::unix::Signal>),
    Channel(RefCell<mpsc::UnboundedReceiver<()>>),
    None,
}

impl Interrupts {
    fn of_the_process() -> Self {
        let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
        Self::from(signal.map_or(Source::None, |signal| Source::Signal(RefCell::new(signal))))
    }

    /// One for each message.
    pub fn by(channel: mpsc::UnboundedReceiver<()>) -> Self {
        Self::from(Source::Channel(RefCell::new(channel)))
    }

    /// None will come.
    pub fn none() -> Self {
        Self::from(Source::None)
    }

    fn from(source: Source) -> Self {
        Self { source, holders: Cell::new(0), was_taken: Cell::new(false), taken: Notify::new() }
    }

    /// The next one.
    pub(crate) async fn come(&self) {
        std::future::poll_fn(|waker| {
            let came = match &self.source {
                Source::Signal(signal) => signal.borrow_mut().poll_recv(waker),
                Source::Channel(channel) => channel.borrow_mut().poll_recv(waker),
                Source::None => std::task::Poll::Pending,
            };
            // A source that has ended tells nothing any more.
            if came == std::task::Poll::Ready(None) { std::task::Poll::Pending } else { came.map(drop) }
        })
        .await;
    }

    /// Whether a follower took it; the first one only.
    pub(crate) fn is_taken(&self) -> bool {
        let takes = self.holders.get() > 0 && !self.was_taken.get();
        if takes {
            self.was_taken.set(true);
            self.taken.notify_one();
        }
        takes
    }

    /// From now on the first one is for the holder.
    pub(crate) fn hold(&self) -> Hold<'_> {
        self.holders.set(self.holders.get() + 1);
        Hold(self)
    }
}

/// The first ^C, held.
pub(crate) struct Hold<'a>(&'a Interrupts);

impl Hold<'_> {
    /// It came.
    pub(crate) async fn come(&self) {
        self.0.taken.notified().await;
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.holders.set(self.0.holders.get() - 1);
    }
}
