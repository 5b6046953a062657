//! Lines of logs.

use clos_control::logs::Line;
use clos_proto::v2 as pb;

use super::{event, instance, timestamp};

/// A line and whose it is.
pub(crate) fn line(line: &Line) -> pb::LogEntry {
    let service = &line.service;
    let source = if line.line.stderr { pb::LogStream::Stderr } else { pb::LogStream::Stdout };
    pb::LogEntry {
        timestamp: line.line.at.map(timestamp),
        level: line.level.map(event::severity).unwrap_or_default().into(),
        message: line.line.text.clone(),
        source: source.into(),
        container_id: line.container_id.clone(),
        service_id: service.id.to_string(),
        resource_name: service.resource().to_string(),
        service: service.resource().to_string(),
        group_name: service.group.name.to_string(),
        instance: instance(&service.group),
        partial: line.line.partial,
        raw: line.line.raw.clone(),
        note: line.note.clone().unwrap_or_default(),
    }
}
