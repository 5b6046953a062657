//! Lines to stdout and stderr, whole ones, from any thread.
//!
//! A reader that went away is no reason to die: a container whose log nobody
//! reads keeps serving.

use std::io::Write;

pub(crate) fn out(line: &str) {
    let mut stream = std::io::stdout().lock();
    let _ = writeln!(stream, "{line}");
    let _ = stream.flush();
}

pub(crate) fn err(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
