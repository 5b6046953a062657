//! How long the engine may take. bollard's own timeout covers the head of a
//! response only, and a stopped engine accepts connections and then hangs.

use std::time::Duration;

/// The sign of life: longer, and the engine counts as away.
pub(crate) const PING: Duration = Duration::from_secs(2);
/// Questions: list, inspect, what the engine says of itself. 60 containers take 33 ms.
pub(crate) const READ: Duration = Duration::from_secs(15);
/// Create takes 20 ms; a volume that is copied from the image takes longer.
pub(crate) const CREATE: Duration = Duration::from_secs(60);
/// Start takes 150 ms, 16 at once over a second each; slow disks and cold images more.
pub(crate) const START: Duration = Duration::from_secs(60);
/// Stop takes the grace period, and then this long to kill and tidy up.
pub(crate) const AFTER_GRACE: Duration = Duration::from_secs(20);
/// Forced remove takes 35 ms; large layers and anonymous volumes more.
pub(crate) const REMOVE: Duration = Duration::from_secs(60);
/// A container that exits again and again is renamed during one of its runs. The pause between two of them
/// doubles from 100 ms on.
pub(crate) const BETWEEN_RUNS: Duration = Duration::from_secs(10);
/// Networks and volumes.
pub(crate) const RESOURCE: Duration = Duration::from_secs(30);
/// Between two looks at something that is being removed by somebody else.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Between two pieces of a log that is read to its end; a followed one may be silent for ever.
pub(crate) const LOG_IDLE: Duration = Duration::from_secs(30);
/// The first sample comes within milliseconds, the following every second.
pub(crate) const STATS_IDLE: Duration = Duration::from_secs(10);
/// A registry's answer, through the engine.
pub(crate) const REGISTRY: Duration = Duration::from_secs(10);
/// A credential helper is a program of the user's.
pub(crate) const CREDENTIALS: Duration = Duration::from_secs(10);
/// Between two words of a pull; extracting a layer talks all the time.
pub(crate) const PULL_IDLE: Duration = Duration::from_secs(300);
/// Between two words of a build; a compiler may be silent for long.
pub(crate) const BUILD_IDLE: Duration = Duration::from_secs(1800);
/// First pause before the event stream is opened again.
pub(crate) const RECONNECT_FIRST: Duration = Duration::from_millis(100);
/// Longest pause before the event stream is opened again.
pub(crate) const RECONNECT_LONGEST: Duration = Duration::from_secs(5);
