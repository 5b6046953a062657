//! Events.

use clos_domain::event::{Data, Event, Severity};
use clos_proto::v2 as pb;

use super::{instance, number, timestamp};

/// A committed fact.
pub(crate) fn event(event: &Event) -> pb::Event {
    pb::Event {
        r#type: event.kind.clone(),
        seq: event.seq,
        severity: severity(event.severity).into(),
        service_id: event.service.as_ref().map(ToString::to_string).unwrap_or_default(),
        group_name: event.group.as_ref().map(|group| group.name.to_string()).unwrap_or_default(),
        instance: event.group.as_ref().map(instance).unwrap_or_default(),
        operation_id: event.operation.as_ref().map(ToString::to_string).unwrap_or_default(),
        data: Some(data(&event.data)),
        timestamp: Some(timestamp(event.at)),
    }
}

/// The facts of an event.
pub(crate) fn data(data: &Data) -> pb::EventData {
    pb::EventData {
        old_status: data.old_status.clone(),
        new_status: data.new_status.clone(),
        status_reason: data.status_reason.clone(),
        old_health: data.old_health.clone(),
        new_health: data.new_health.clone(),
        exit_code: data.exit_code,
        container_id: data.container_id.clone(),
        service_name: data.service_name.clone(),
        verb: data.verb.clone(),
        step: data.step.map(number),
        action: data.action.clone(),
        subject: data.subject.clone(),
        status: data.state.clone(),
        reason: data.reason.clone(),
        message: data.message.clone(),
        progress_current: data.progress_current,
        progress_total: data.progress_total,
        port: data.port.map(number),
        holder: data.holder.clone(),
        oldest_seq: data.oldest_seq,
    }
}

pub(crate) fn severity(severity: Severity) -> pb::Severity {
    match severity {
        Severity::Debug => pb::Severity::Debug,
        Severity::Info => pb::Severity::Info,
        Severity::Warning => pb::Severity::Warning,
        Severity::Error => pb::Severity::Error,
        Severity::Critical => pb::Severity::Critical,
    }
}
