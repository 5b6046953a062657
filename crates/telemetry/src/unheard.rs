//! Requests that HTTP/2 refuses before anything of ours sees them.
//!
//! `h2` resets such a stream by itself, and tells why in its own log at the level of debug. One case befalls people who did
//! nothing wrong: grpcio makes an `:authority` of the path of a Unix socket, which is no host name. The layer in here
//! listens for that one and leaves word on the thread; whoever polls connections asks for it. It is not logged in
//! here: an event within an event would confuse the filters of the other layers.

use std::cell::Cell;
use std::fmt::Debug;

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Who tells.
const TARGET: &str = "h2::server";
/// What it says.
const WORDS: &str = "malformed headers: malformed authority";

thread_local! {
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a request was refused for its `:authority` on this thread since this was last asked.
pub fn authority_was_refused() -> bool {
    REFUSED.take()
}

/// Whether an event is listened for only, and not shown unless somebody asked for `h2` in the log.
pub(crate) fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET && *metadata.level() > tracing::Level::WARN
}

/// Listens.
pub(crate) struct Listening;

impl<S: Subscriber> Layer<S> for Listening {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut Words);
    }
}

struct Words;

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" && format!("{value:?}").starts_with(WORDS) {
            REFUSED.set(true);
        }
    }
}
