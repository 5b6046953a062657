//! `clos logs`: the lines of many services as one stream.

use std::collections::BTreeMap;

use clos_client::watch::LogWatch;
use clos_proto::v2 as pb;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

use crate::args::{Format, Level, Logs};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::output::words::{self, Tone};
use crate::project;
use crate::session::Session;
use crate::target::{self, Target};
use crate::time;

pub(super) async fn run(session: &Session<'_>, args: &Logs) -> Result<Exit, Failure> {
    let context = session.context;
    let client = session.client().await?;
    let targets = &args.targets;
    let names_nothing =
        targets.names.is_empty() && targets.place.project.is_none() && targets.place.instance.is_none();
    let meant = if names_nothing && project::folder(context)?.is_none() {
        target::groups(&client).await?.into_iter().map(|group| Target::Group(Box::new(group))).collect()
    } else {
        target::resolve(session, &client, &targets.place, &targets.names).await?
    };
    let wanted = by_group(&meant);
    let now = (context.now)();
    let instant =
        |flag, text: &Option<String>| text.as_deref().map(|text| time::instant(flag, text, now)).transpose();
    let until = instant("--until", &args.until)?;
    let on_terminal = context.streams.out_is_terminal;
    let follow = args.follow || (on_terminal && !args.no_follow && until.is_none());
    let mut watches: Vec<BoxStream<'_, Result<pb::LogEntry, Failure>>> = Vec::new();
    for (name, (services, _)) in &wanted {
        let request = pb::GetGroupLogsRequest {
            name: name.clone(),
            services: services.clone(),
            lines: Some(args.tail),
            since: instant("--since", &args.since)?,
            until,
            follow,
            grep: args.grep.clone().unwrap_or_default(),
            level: args.level.map_or(pb::Severity::Unspecified, severity).into(),
            ..pb::GetGroupLogsRequest::default()
        };
        watches.push(lines(client.group_logs(request).await?));
    }
    let with_group = wanted.len() > 1;
    let width = wanted
        .iter()
        .flat_map(|(group, (_, all))| {
            all.iter().map(move |name| label(with_group, group, name).chars().count())
        })
        .max()
        .unwrap_or_default();
    let show =
        Show { with_group, width, with_time: args.timestamps || on_terminal, with_name: !args.no_prefix };
    let mut lines = stream::select_all(watches);
    while let Some(entry) = lines.next().await {
        let entry = entry?;
        match session.global.output {
            Format::Json | Format::Jsonl | Format::Yaml => {
                let value = output::select(output::value("LogEntry", &entry)?, &session.global.fields)?;
                context.print_line(&value.to_string())?;
            }
            _ => context.print(&show.line(session, &entry))?,
        }
    }
    Ok(Exit::Ok)
}

/// By group: the services that were named, and those whose names may stand before a line.
fn by_group(targets: &[Target]) -> BTreeMap<String, (Vec<String>, Vec<String>)> {
    let mut wanted: BTreeMap<String, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for target in targets {
        if let Target::Service { group, name } = target {
            let (named, shown) = wanted.entry(target::full_name(group)).or_default();
            named.push(name.clone());
            shown.push(name.clone());
        }
    }
    // A whole group is more than services of it.
    for target in targets {
        if let Target::Group(group) = target {
            wanted.insert(target::full_name(group), (Vec::new(), group.services.clone()));
        }
    }
    wanted
}

fn lines(watch: LogWatch) -> BoxStream<'static, Result<pb::LogEntry, Failure>> {
    stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(Some(entry)) => Some((Ok(entry), Some(watch))),
            Ok(None) => None,
            Err(error) => Some((Err(Failure::from(error)), None)),
        }
    })
    .boxed()
}

fn label(with_group: bool, group: &str, service: &str) -> String {
    if with_group { format!("{group}/{service}") } else { service.to_owned() }
}

/// How a line looks.
struct Show {
    with_group: bool,
    width: usize,
    with_time: bool,
    with_name: bool,
}

impl Show {
    fn line(&self, session: &Session<'_>, entry: &pb::LogEntry) -> String {
        let paint = session.style.on_output;
        let mut line = String::new();
        if self.with_name {
            let group = words::group_name(&entry.group_name, &entry.instance);
            let name = label(self.with_group, &group, &entry.service);
            let gap = " ".repeat(self.width.saturating_sub(name.chars().count()));
            line.push_str(&paint.named(&name, &format!("{name}{gap} |")));
            line.push(' ');
        }
        if let Some(at) = time::of(entry.timestamp.as_ref()).filter(|_| self.with_time) {
            let text = if session.context.streams.out_is_terminal {
                at.to_zoned_datetime(session.context.zone.clone()).strftime("%H:%M:%S").to_string()
            } else {
                at.to_string()
            };
            line.push_str(&paint.apply(Tone::Faint, &text));
            line.push(' ');
        }
        line.push_str(&entry.message);
        line.push('\n');
        line
    }
}

pub(super) fn severity(level: Level) -> pb::Severity {
    match level {
        Level::Debug => pb::Severity::Debug,
        Level::Info => pb::Severity::Info,
        Level::Warning => pb::Severity::Warning,
        Level::Error => pb::Severity::Error,
        Level::Critical => pb::Severity::Critical,
    }
}
