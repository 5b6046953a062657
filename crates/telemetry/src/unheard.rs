//! Requests that `h2` refuses before our code sees them.
//!
//! `h2` resets such a stream by itself and gives the reason in its own log, at debug level. One case hits people who did
//! nothing wrong: grpcio derives `:authority` from the path of a Unix socket, which is not a valid host name. The layer in
//! here watches for that event and sets a flag on the thread; the code that polls the connection reads it. The
//! layer does not log by itself: an event inside of an event confuses the filters of other layers.

use std::cell::Cell;
use std::fmt::Debug;

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Target of the event.
const TARGET: &str = "h2::server";
/// How its message begins.
const WORDS: &str = "malformed headers: malformed authority";

thread_local! {
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// Whether `h2` refused a request for its `:authority` on this thread since the last call of this function.
pub fn authority_was_refused() -> bool {
    REFUSED.take()
}

/// Whether an event is only for this layer, and not shown unless the log filter names `h2`.
pub(crate) fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET && *metadata.level() > tracing::Level::WARN
}

/// Sets the flag.
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
