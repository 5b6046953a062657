//! What the words of a command mean: groups and services, or this folder's project.

use clos_client::Client;
use clos_proto::v2 as pb;

use crate::args::Place;
use crate::failure::{Exit, Failure};
use crate::output::words;
use crate::project;
use crate::session::Session;

/// The most that a list gives at once.
const PAGE: i32 = 100;

/// A group, or a service of one.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// The whole group.
    Group(Box<pb::Group>),
    /// One of its services.
    Service {
        /// Whose.
        group: Box<pb::Group>,
        /// Its name there.
        name: String,
    },
}

impl Target {
    /// Its resource name.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Group(group) => full_name(group),
            Self::Service { group, name } => format!("{}/{name}", full_name(group)),
        }
    }
}

/// `shop`, `shop~x`.
pub(crate) fn full_name(group: &pb::Group) -> String {
    words::group_name(&group.name, &group.instance)
}

/// What the words mean; without words, this folder's project.
pub(crate) async fn resolve(
    session: &Session<'_>,
    client: &Client,
    place: &Place,
    names: &[String],
) -> Result<Vec<Target>, Failure> {
    let groups = groups(client).await?;
    if names.is_empty() {
        return Ok(vec![Target::Group(Box::new(here(session, place, &groups)?.clone()))]);
    }
    let mut targets: Vec<Target> = Vec::new();
    for name in names {
        let target = meant(session, place, &groups, name)?;
        if !targets.iter().any(|known| known.name() == target.name()) {
            targets.push(target);
        }
    }
    Ok(targets)
}

/// What one word means.
fn meant(session: &Session<'_>, place: &Place, groups: &[pb::Group], word: &str) -> Result<Target, Failure> {
    if is_file(session, word) {
        return Err(Failure::usage(format!("`{word}` is a file, not a group or service")).hint(format!(
            "--file {word}     (-f is short for --file, but means --follow with `logs` and `events`)"
        )));
    }
    if let Some((group, service)) = word.split_once('/') {
        let group = named(groups, group)?;
        return within(group, service);
    }
    // Who says which project means its services.
    let in_project = place.is_said();
    if !in_project
        && let Some(group) = groups.iter().find(|group| full_name(group) == word || group.id == word)
    {
        return Ok(Target::Group(Box::new(group.clone())));
    }
    match here(session, place, groups) {
        Ok(group) => within(group, word)
            .map_err(|failure| if in_project { failure } else { not_found(groups, Some(group), word) }),
        Err(failure) if in_project => Err(failure),
        Err(_) => Err(not_found(groups, None, word)),
    }
}

/// Whether a word is the path of a file, as `logs -f compose.yaml` has it.
fn is_file(session: &Session<'_>, word: &str) -> bool {
    let word = std::path::Path::new(word);
    let is_yaml = word.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    word.is_absolute() || is_yaml && session.context.folder.join(word).is_file()
}

fn within(group: &pb::Group, service: &str) -> Result<Target, Failure> {
    if group.services.iter().any(|name| name == service) {
        return Ok(Target::Service { group: Box::new(group.clone()), name: service.to_owned() });
    }
    let whole = full_name(group);
    let message = format!("group `{whole}` has no service `{service}`");
    let failure = Failure::not_found("SERVICE_NOT_FOUND", message);
    Err(match nearest(service, group.services.iter().map(String::as_str)) {
        Some(near) => failure.fact("did you mean", format!("{whole}/{near}")),
        None => failure.fact("there are", listed(group.services.iter().cloned())),
    })
}

fn not_found(groups: &[pb::Group], here: Option<&pb::Group>, word: &str) -> Failure {
    let services = here.map(|group| group.services.as_slice()).unwrap_or_default();
    let known: Vec<String> = groups.iter().map(full_name).chain(services.iter().cloned()).collect();
    let message = format!("there is no group or service `{word}`");
    let failure = Failure::not_found("GROUP_NOT_FOUND", message);
    match nearest(word, known.iter().map(String::as_str)) {
        Some(near) => failure.fact("did you mean", near),
        None if known.is_empty() => failure.hint("clos up -f path/to/compose.yaml"),
        None => failure.fact("there are", listed(known.into_iter())),
    }
}

/// The group of this name or id.
fn named<'a>(groups: &'a [pb::Group], name: &str) -> Result<&'a pb::Group, Failure> {
    let found = groups.iter().find(|group| full_name(group) == name || group.id == name);
    found.ok_or_else(|| not_found(groups, None, name))
}

/// This folder's project: by name where one is given, else the one that belongs to the folder.
fn here<'a>(session: &Session<'_>, place: &Place, groups: &'a [pb::Group]) -> Result<&'a pb::Group, Failure> {
    let instance = place.instance.as_deref().unwrap_or_default();
    if let Some(name) = &place.project {
        // `-p shop~x` says both.
        let whole = if name.contains('~') { name.clone() } else { words::group_name(name, instance) };
        return named(groups, &whole);
    }
    let folder = project::folder_of(session.context, place)?;
    // Without a file of a usual name the folder may still be one of a group: that of its last `up -f`.
    let folder = folder.or_else(|| std::fs::canonicalize(&session.context.folder).ok());
    let folder = folder.map(|folder| folder.to_string_lossy().into_owned());
    let belongs = |group: &&pb::Group| Some(&group.working_dir) == folder.as_ref();
    let mut ours: Vec<&pb::Group> =
        groups.iter().filter(belongs).filter(|group| group.instance == instance).collect();
    // A worktree that was only ever brought up as an instance means that one.
    if ours.is_empty() && place.instance.is_none() {
        ours = groups.iter().filter(belongs).collect();
    }
    if let Some(name) = project::name_of_the_shell(session.context)? {
        match groups.iter().find(|group| group.name == name && group.instance == instance) {
            Some(group) => return Ok(group),
            None => ours.retain(|group| group.name == name),
        }
    } else if (ours.len() > 1 || !place.files.is_empty())
        && let Some(name) = project::name_of_the_files(session.context, place)?
    {
        ours.retain(|group| group.name == name);
    }
    match ours.as_slice() {
        [group] => Ok(group),
        [] => {
            let shown = folder.unwrap_or_else(|| session.context.folder.to_string_lossy().into_owned());
            let what =
                if instance.is_empty() { "project".to_owned() } else { format!("instance `{instance}`") };
            let mut failure =
                Failure::not_found("GROUP_NOT_FOUND", format!("no {what} of {shown} is registered"));
            if !groups.is_empty() {
                failure = failure.fact("registered", listed(groups.iter().map(full_name)));
            }
            let files: String = place.files.iter().map(|file| format!(" -f {file}")).collect();
            Err(failure.hint(format!("clos up{files}")))
        }
        several => {
            let names = listed(several.iter().map(|group| full_name(group)));
            Err(Failure::usage("more than one group belongs to this folder")
                .fact("they are", names)
                .hint("say which, with -p NAME"))
        }
    }
}

/// Whether a command without a name means a project: one that flags name, one whose files are here or above, or
/// one whose last `up -f` was of this folder.
pub(crate) async fn is_in_project(
    session: &Session<'_>,
    client: &Client,
    place: &Place,
) -> Result<bool, Failure> {
    if place.is_said() || project::folder(session.context)?.is_some() {
        return Ok(true);
    }
    let Ok(folder) = std::fs::canonicalize(&session.context.folder) else { return Ok(false) };
    let folder = folder.to_string_lossy();
    Ok(groups(client).await?.iter().any(|group| group.working_dir == folder))
}

/// This folder's project, if it is registered; none is an error only when flags say which one is meant.
pub(crate) async fn project(
    session: &Session<'_>,
    client: &Client,
    place: &Place,
) -> Result<Option<pb::Group>, Failure> {
    let groups = groups(client).await?;
    match here(session, place, &groups) {
        Ok(group) => Ok(Some(group.clone())),
        Err(failure) if !place.is_said() && failure.exit() == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Every group.
pub(crate) async fn groups(client: &Client) -> Result<Vec<pb::Group>, Failure> {
    let mut all = Vec::new();
    let mut request = pb::ListGroupsRequest { limit: Some(PAGE), ..pb::ListGroupsRequest::default() };
    loop {
        let page = client.list_groups(request.clone()).await?;
        all.extend(page.groups);
        match page.pagination {
            Some(more) if more.has_more && !more.next_page_token.is_empty() => {
                request.page_token = more.next_page_token;
            }
            _ => return Ok(all),
        }
    }
}

/// Every service that a filter lets through.
pub(crate) async fn services(
    client: &Client,
    mut request: pb::ListServicesRequest,
) -> Result<Vec<pb::Service>, Failure> {
    request.limit = Some(PAGE);
    let mut all = Vec::new();
    loop {
        let page = client.list_services(request.clone()).await?;
        all.extend(page.services);
        match page.pagination {
            Some(more) if more.has_more && !more.next_page_token.is_empty() => {
                request.page_token = more.next_page_token;
            }
            _ => return Ok(all),
        }
    }
}

/// The nearest of some words, if one is near.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Two letters changed places, or one in four is wrong: that is a slip, more is another word.
    let slips = 1 + word.chars().count() / 4;
    let (distance, nearest) = known
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= slips).then_some(nearest)
}

fn listed(names: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 10;
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let shown = names.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
