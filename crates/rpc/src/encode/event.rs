//! Events.

use clos_control::ledger::Item;
use clos_domain::Timestamp;
use clos_domain::event::{Data, Event, Severity, types};
use clos_proto::v2 as pb;

use super::{count, instance, number, timestamp};
use crate::tickets::Ticket;

/// A ticket, the only time that it is told.
pub(crate) fn ticket(ticket: &Ticket) -> pb::WsTicket {
    pb::WsTicket { ticket: ticket.text.clone(), expires_at: Some(timestamp(ticket.expires_at)) }
}

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
        resource_name: resource_name(event),
    }
}

/// Whom an event is about, as requests name it.
fn resource_name(event: &Event) -> String {
    let Some(group) = &event.group else { return String::new() };
    match (&event.data.service_name, &event.service) {
        (Some(service), _) => format!("{group}/{service}"),
        (None, None) => group.to_string(),
        // Of a service whose name was not written down.
        (None, Some(_)) => String::new(),
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

/// What a watch yields. `now` is the time of what is of the stream and not of the journal.
pub(crate) fn item(item: &Item, now: Timestamp) -> pb::Event {
    let outside = |kind: &str, seq: i64, data: pb::EventData| pb::Event {
        r#type: kind.to_owned(),
        seq,
        severity: pb::Severity::Debug.into(),
        data: Some(data),
        timestamp: Some(timestamp(now)),
        ..pb::Event::default()
    };
    match item {
        Item::Event(committed) => event(committed),
        Item::Bookmark(position) => outside(types::BOOKMARK, *position, pb::EventData::default()),
        Item::Resync { oldest } => {
            let data = pb::EventData { oldest_seq: Some(*oldest), ..pb::EventData::default() };
            pb::Event { severity: pb::Severity::Warning.into(), ..outside(types::RESYNC, *oldest, data) }
        }
        Item::Progress { operation, step, progress } => {
            let data = pb::EventData {
                step: Some(number(*step)),
                subject: (!progress.part.is_empty()).then(|| progress.part.clone()),
                message: (!progress.message.is_empty()).then(|| progress.message.clone()),
                progress_current: Some(count(progress.current)),
                progress_total: Some(count(progress.total)),
                ..pb::EventData::default()
            };
            pb::Event { operation_id: operation.to_string(), ..outside(types::PULL_PROGRESS, 0, data) }
        }
    }
}

#[cfg(test)]
mod tests {
    use clos_domain::id::OperationId;
    use clos_domain::seams::engine::Progress;

    use super::*;

    #[test]
    fn an_event_names_the_service_else_the_group() {
        let name = |service: Option<&str>, id: Option<&str>| {
            let data = Data { service_name: service.map(str::to_owned), ..Data::default() };
            event(&Event {
                seq: 1,
                kind: types::SERVICE_CREATED.into(),
                severity: Severity::Info,
                service: id.map(clos_domain::id::ServiceId::trusted),
                group: Some(clos_domain::name::GroupRef::parse("group", "shop~x").unwrap()),
                operation: None,
                data,
                at: Timestamp::UNIX_EPOCH,
            })
            .resource_name
        };
        assert_eq!(name(Some("web"), Some("svc_a")), "shop~x/web");
        assert_eq!(name(Some("web"), None), "shop~x/web", "of a service that was never made");
        assert_eq!(name(None, None), "shop~x");
        assert_eq!(name(None, Some("svc_a")), "");
    }

    #[test]
    fn what_is_of_the_stream_has_the_words_of_the_stream() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let bookmark = item(&Item::Bookmark(7), now);
        assert_eq!((bookmark.r#type.as_str(), bookmark.seq), ("watch.bookmark", 7));
        assert_eq!(bookmark.timestamp.unwrap().seconds, now.as_second());
        let resync = item(&Item::Resync { oldest: 40 }, now);
        assert_eq!((resync.r#type.as_str(), resync.seq), ("watch.resync", 40));
        assert_eq!(resync.data.unwrap().oldest_seq, Some(40));
        let progress =
            Progress { part: "layer 3".into(), message: "pulling".into(), current: 5, total: u64::MAX };
        let operation = OperationId::trusted("op_a");
        let progress = item(&Item::Progress { operation, step: 2, progress }, now);
        let data = progress.data.unwrap();
        assert_eq!((progress.seq, progress.operation_id.as_str()), (0, "op_a"));
        assert_eq!(
            (data.step, data.progress_current, data.progress_total),
            (Some(2), Some(5), Some(i64::MAX))
        );
    }
}
