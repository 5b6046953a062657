//! Which lines of a log.

use clos_control::logs::LogRequest;
use clos_domain::Result;
use clos_domain::seams::engine::LogQuery;
use clos_proto::v2 as pb;

use super::{Violations, event, some};

const DEFAULT_LINES: u32 = 100;
const ALL_LINES: i32 = -1;
const MOST_LINES: i64 = 10_000;

/// Reads which lines of a service's log are wanted.
pub(crate) fn service(request: &pb::GetServiceLogsRequest) -> Result<LogRequest> {
    // Both requests say the same of lines.
    group(&pb::GetGroupLogsRequest {
        name: request.id.clone(),
        services: Vec::new(),
        lines: request.lines,
        since: request.since,
        until: request.until,
        follow: request.follow,
        grep: request.grep.clone(),
        level: request.level,
        stream: request.stream,
    })
}

/// Reads which lines of a group's logs are wanted.
pub(crate) fn group(request: &pb::GetGroupLogsRequest) -> Result<LogRequest> {
    let mut v = Violations::default();
    let tail = match request.lines {
        None => Some(DEFAULT_LINES),
        Some(ALL_LINES) => None,
        Some(lines) => v.within("lines", lines.into(), 0, MOST_LINES),
    };
    let (since, until) = v.span(request.since.as_ref(), request.until.as_ref());
    if request.follow && until.is_some() {
        v.add("until", "what is followed has no end; leave out until or follow");
    }
    let contains = some(&v.text("grep", &request.grep, 1_000));
    let at_least = v.word("level", request.level).and_then(event::severity);
    let (stdout, stderr) = match v.word("stream", request.stream) {
        Some(pb::LogStream::Stdout) => (true, false),
        Some(pb::LogStream::Stderr) => (false, true),
        Some(pb::LogStream::Unspecified) | None => (true, true),
    };
    let query = LogQuery { tail, since, until, follow: request.follow, stdout, stderr };
    v.finish(Some(LogRequest { query, contains, at_least }))
}
