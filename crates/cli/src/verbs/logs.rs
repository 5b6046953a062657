//! `clos logs`: the lines of many services as one stream.

mod join;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clos_client::watch::LogWatch;
use clos_proto::v2 as pb;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

use self::join::{Joiner, Key};
use crate::args::{Format, Level, Logs};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::output::words::Tone;
use crate::session::Session;
use crate::target::{self, Target};
use crate::time;

/// A followed line without an end is shown when nothing comes for so long.
const QUIET: Duration = Duration::from_millis(200);

pub(super) async fn run(session: &Session<'_>, args: &Logs) -> Result<Exit, Failure> {
    let context = session.context;
    let client = session.client().await?;
    let place = args.place.place();
    let meant = if args.all {
        target::groups(&client).await?.into_iter().map(|group| Target::Group(Box::new(group))).collect()
    } else if args.names.is_empty() && !target::is_in_project(session, &client, &place).await? {
        return Err(Failure::usage("there is no project in this folder: whose logs?")
            .hint("clos logs GROUP|SERVICE")
            .hint("clos logs --all"));
    } else {
        target::resolve(session, &client, &place, &args.names).await?
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
    let mut show = Show {
        with_group,
        width,
        with_time: args.timestamps || on_terminal,
        with_name: !args.no_prefix,
        unended: None,
        begun: BTreeSet::new(),
    };
    let mut lines = if follow { stream::select_all(watches).boxed() } else { in_order(watches) };
    let mut joiner = Joiner::default();
    loop {
        let next = if follow && joiner.holds() {
            tokio::time::timeout(QUIET, lines.next()).await.map_err(drop)
        } else {
            Ok(lines.next().await)
        };
        let is_over = matches!(next, Ok(None));
        let told = match next {
            Ok(Some(entry)) => {
                let entry = entry?;
                if !entry.note.is_empty() {
                    session.note(&format!("note: no logs of {}: {}", entry.service, entry.note));
                    continue;
                }
                joiner.take(entry).into_iter().collect()
            }
            Ok(None) => joiner.release(false),
            Err(()) => joiner.release(true),
        };
        for entry in told {
            match session.global.output {
                Format::Json | Format::Jsonl | Format::Yaml => {
                    context.print_line(&output::text("LogEntry", &entry, &session.global.fields)?)?;
                }
                _ => context.print_bytes(&show.line(session, &entry))?,
            }
        }
        if is_over {
            return Ok(Exit::Ok);
        }
    }
}

/// Lines of several groups in order of time; each group's own are in order already.
fn in_order<'a>(
    watches: Vec<BoxStream<'a, Result<pb::LogEntry, Failure>>>,
) -> BoxStream<'a, Result<pb::LogEntry, Failure>> {
    type Head<'a> = (BoxStream<'a, Result<pb::LogEntry, Failure>>, Option<Result<pb::LogEntry, Failure>>);
    let heads: Vec<Head<'a>> = watches.into_iter().map(|watch| (watch, None)).collect();
    stream::unfold(heads, |mut heads| async {
        for (watch, head) in &mut heads {
            if head.is_none() {
                *head = watch.next().await;
            }
        }
        heads.retain(|(_, head)| head.is_some());
        let at = |head: &Option<Result<pb::LogEntry, Failure>>| {
            let entry = head.as_ref()?.as_ref().ok()?;
            entry.timestamp.map(|at| (at.seconds, at.nanos))
        };
        let (_, head) = heads.iter_mut().min_by_key(|(_, head)| at(head))?;
        let entry = head.take()?;
        Some((entry, heads))
    })
    .boxed()
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
    /// What was printed last has no end yet, and is of this line.
    unended: Option<Key>,
    /// Lines of which a part was printed.
    begun: BTreeSet<Key>,
}

impl Show {
    fn line(&mut self, session: &Session<'_>, entry: &pb::LogEntry) -> Vec<u8> {
        let key = join::key(entry);
        let mut line = Vec::new();
        let has_begun = self.begun.contains(&key);
        let goes_on = self.unended.as_ref() == Some(&key);
        let is_bare_end = has_begun && !goes_on && !entry.partial && join::bytes(entry).is_empty();
        if entry.partial {
            self.begun.insert(key.clone());
        } else {
            self.begun.remove(&key);
        }
        // Another's line came between: that ended this one already.
        if is_bare_end {
            return line;
        }
        if !goes_on {
            if self.unended.take().is_some() {
                line.push(b'\n');
            }
            line.extend_from_slice(self.head(session, entry).as_bytes());
        }
        line.extend_from_slice(join::bytes(entry));
        self.unended = entry.partial.then_some(key);
        if !entry.partial {
            line.push(b'\n');
        }
        line
    }

    /// What stands before the text.
    fn head(&self, session: &Session<'_>, entry: &pb::LogEntry) -> String {
        let paint = session.style.on_output;
        let mut head = String::new();
        if self.with_name {
            let of_group = entry.service.split_once('/').map_or(&*entry.service, |(_, name)| name);
            let name = if self.with_group { &entry.service } else { of_group };
            let gap = " ".repeat(self.width.saturating_sub(name.chars().count()));
            head.push_str(&paint.named(name, &format!("{name}{gap} |")));
            head.push(' ');
        }
        if let Some(at) = time::of(entry.timestamp.as_ref()).filter(|_| self.with_time) {
            let text = if session.context.streams.out_is_terminal {
                at.to_zoned_datetime(session.context.zone.clone()).strftime("%H:%M:%S").to_string()
            } else {
                at.to_string()
            };
            head.push_str(&paint.apply(Tone::Faint, &text));
            head.push(' ');
        }
        head
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
