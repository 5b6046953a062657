//! `clos events`: what happened, and with `-f` what happens.

use clos_proto::v2 as pb;

use crate::args::{Events, Format};
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Table};
use crate::output::words::{self, Tone};
use crate::output::{self, Listing};
use crate::session::Session;
use crate::target::{self, Target};
use crate::{time, verbs::logs};

/// How many are shown when nothing is said.
const TAIL: i32 = 20;

pub(super) async fn run(session: &Session<'_>, args: &Events) -> Result<Exit, Failure> {
    let client = session.client().await?;
    let mut filter = pb::ListEventsRequest {
        event_type: args.types.clone(),
        severity: args.severity.map_or(pb::Severity::Unspecified, logs::severity).into(),
        operation_id: args.operation.clone().unwrap_or_default(),
        ..pb::ListEventsRequest::default()
    };
    let place = args.place.place();
    let names: Vec<String> = args.of.iter().cloned().collect();
    if names.is_empty() && !target::is_in_project(session, &client, &place).await? {
        // An operation names what it is about.
        if !args.all && args.operation.is_none() {
            return Err(Failure::usage("there is no project in this folder: whose events?")
                .hint("clos events GROUP|SERVICE")
                .hint("clos events --all"));
        }
    } else if !args.all && (args.operation.is_none() || !names.is_empty()) {
        match target::resolve(session, &client, &place, &names).await?.pop() {
            Some(target @ Target::Service { .. }) => filter.service_id = target.name(),
            Some(target) => filter.group_name = target.name(),
            None => {}
        }
    }
    if let Some(since) = &args.since {
        filter.since = Some(time::instant("--since", since, (session.context.now)())?);
    }
    if !args.follow {
        let events = past(&client, &filter, args).await?;
        let listing = Listing {
            field: "events",
            item: "Event",
            items: &events,
            name: |event: &pb::Event| event.r#type.clone(),
            table: &|_| table(session, &events),
            nothing: "No events",
        };
        output::list(session.context, session.global, session.style, &listing)?;
        return Ok(Exit::Ok);
    }
    let mut after = args.after;
    if args.tail.is_some() && args.after.is_none() {
        let events = past(&client, &filter, args).await?;
        for event in &events {
            show(session, event)?;
        }
        after = events.last().map(|event| event.seq);
    }
    let request = pb::WatchEventsRequest {
        event_type: filter.event_type,
        service_id: filter.service_id,
        group_name: filter.group_name,
        severity: filter.severity,
        after,
        operation_id: filter.operation_id,
    };
    let mut watch = client.watch_events(request).await?;
    loop {
        show(session, &watch.next().await?)?;
    }
}

/// The last events that the filter lets through, or those from a position on.
async fn past(
    client: &clos_client::Client,
    filter: &pb::ListEventsRequest,
    args: &Events,
) -> Result<Vec<pb::Event>, Failure> {
    let last = |mut events: Vec<pb::Event>, count: i32| {
        let count = usize::try_from(count).unwrap_or_default();
        let first = events.len().saturating_sub(count);
        events.split_off(first)
    };
    if args.after.is_some() || args.since.is_some() {
        let events = all_after(client, filter, args.after.unwrap_or(0)).await?;
        return Ok(match args.tail {
            Some(count) => last(events, count),
            None => events,
        });
    }
    let tail = args.tail.unwrap_or(TAIL);
    // Backwards by growing steps: what is asked for is mostly near the end.
    let newest = client.list_events(pb::ListEventsRequest { limit: Some(1), ..filter.clone() }).await?;
    let (head, oldest) = (newest.head_seq, newest.oldest_seq.max(1) - 1);
    let mut reach = i64::from(tail.max(1));
    loop {
        let after = (head - reach).max(oldest);
        let found = all_after(client, filter, after).await?;
        let is_enough = i64::try_from(found.len()).unwrap_or(i64::MAX) >= i64::from(tail);
        if is_enough || after == oldest {
            return Ok(last(found, tail));
        }
        reach = reach.saturating_mul(8);
    }
}

/// Everything behind a position that the filter lets through, page by page.
async fn all_after(
    client: &clos_client::Client,
    filter: &pb::ListEventsRequest,
    after: i64,
) -> Result<Vec<pb::Event>, Failure> {
    /// The most that a page has.
    const PAGE: i32 = 1_000;
    let mut found = Vec::new();
    let mut request = pb::ListEventsRequest { after: Some(after), limit: Some(PAGE), ..filter.clone() };
    loop {
        let page = client.list_events(request.clone()).await?;
        found.extend(page.events);
        if !page.has_more {
            return Ok(found);
        }
        request.after = Some(page.next_after);
    }
}

fn show(session: &Session<'_>, event: &pb::Event) -> Result<(), Failure> {
    let context = session.context;
    match session.global.output {
        Format::Json | Format::Jsonl | Format::Yaml => {
            context.print_line(&output::text("Event", event, &session.global.fields)?)
        }
        Format::Name => context.print_line(&event.r#type),
        Format::Table | Format::Wide => {
            let paint = session.style.on_output;
            let tone = words::severity(event.severity());
            let when = paint.apply(Tone::Faint, &when(session, event));
            let subject = format!("{:24}", subject(event));
            let kind = paint.apply(tone, &format!("{:28}", event.r#type));
            context.print_line(
                format!("{when}  {:>6}  {kind}  {subject}  {}", event.seq, what(event)).trim_end(),
            )
        }
    }
}

fn table(session: &Session<'_>, events: &[pb::Event]) -> Table {
    let mut table = Table::new(["TIME", "SEQ", "TYPE", "OF", "WHAT"]);
    for event in events {
        table.row([
            when(session, event).into(),
            event.seq.to_string().into(),
            Cell::toned(event.r#type.clone(), words::severity(event.severity())),
            subject(event).into(),
            what(event).into(),
        ]);
    }
    table
}

fn when(session: &Session<'_>, event: &pb::Event) -> String {
    let Some(at) = time::of(event.timestamp.as_ref()) else { return "-".to_owned() };
    if session.context.streams.out_is_terminal {
        return at.to_zoned_datetime(session.context.zone.clone()).strftime("%H:%M:%S").to_string();
    }
    format!("{at:.3}")
}

/// Whom it is about.
fn subject(event: &pb::Event) -> String {
    let group = words::group_name(&event.group_name, &event.instance);
    let service = event.data.as_ref().and_then(|data| data.service_name.clone()).unwrap_or_default();
    match (group.as_str(), service.as_str()) {
        ("", "") => "-".to_owned(),
        ("", service) => service.to_owned(),
        (group, "") => group.to_owned(),
        (group, service) => format!("{group}/{service}"),
    }
}

/// What happened, in a few words.
pub(super) fn what(event: &pb::Event) -> String {
    let data = event.data.clone().unwrap_or_default();
    let mut parts: Vec<String> = Vec::new();
    let change = |old: &Option<String>, new: &Option<String>| match (old, new) {
        // Only the reason is another one.
        (Some(old), Some(new)) if old == new => Some(new.clone()),
        (Some(old), Some(new)) => Some(format!("{old} → {new}")),
        (None, Some(new)) => Some(new.clone()),
        _ => None,
    };
    parts.extend(change(&data.old_status, &data.new_status));
    parts.extend(change(&data.old_health, &data.new_health));
    parts.extend(data.verb.clone());
    parts.extend(data.action.clone());
    parts.extend(data.subject.clone());
    parts.extend(data.status.clone());
    parts.extend(data.port.map(|port| format!("port {port}")));
    parts.extend(data.holder.clone().map(|holder| format!("held by {holder}")));
    parts.extend(data.status_reason.clone().or(data.reason.clone()).filter(|reason| !reason.is_empty()));
    parts.extend(data.exit_code.map(|code| format!("exit code {code}")));
    if let (Some(current), Some(total)) = (data.progress_current, data.progress_total) {
        parts.push(format!("{current} of {total} bytes"));
    }
    parts.extend(data.oldest_seq.map(|seq| format!("history begins at {seq}")));
    let mut text = parts.join(" ");
    if let Some(message) = data.message.filter(|message| !message.is_empty()) {
        text = if text.is_empty() { message } else { format!("{text}: {message}") };
    }
    text
}
