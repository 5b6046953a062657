//! A service's definition, new or laid over the one that there is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clos_domain::name::{GroupName, GroupRef, Instance, ServiceName, shown};
use clos_domain::operation::Verb;
use clos_domain::seams::store::{ServiceFilter, ServiceOrder};
use clos_domain::service::{Condition, Definition, Dependency, Service, Status};
use clos_domain::workload::{Limits, Logging, PullPolicy, Stop};
use clos_domain::{Error, Result};
use clos_proto::v2 as pb;
use indexmap::IndexMap;

use super::{GroupWish, Violations, container, health, page, port, some};
use crate::encode::{self, MASK, masked_words};

const TAGS: usize = 10;
const WORD: usize = 100;
const LINE: usize = 1_000;
const TEXT: usize = 10_000;

/// What a new service is, and where.
#[derive(Debug)]
pub(crate) struct Create {
    /// Its group.
    pub(crate) group: GroupRef,
    /// What it is; enabled unless it has profiles.
    pub(crate) definition: Definition,
}

/// Reads a service to be made.
pub(crate) fn create(request: &pb::CreateServiceRequest) -> Result<Create> {
    let mut v = Violations::default();
    super::request_id(&mut v, &request.request_id);
    let missing = pb::Service::default();
    let wanted = request.service.as_ref().unwrap_or(&missing);
    // As `resource_name` of a group writes it: `shop~x`.
    let (group, instance) = match wanted.group.split_once('~') {
        Some((group, instance)) if ["", instance].contains(&&*wanted.instance) => (group, instance),
        _ => (&*wanted.group, &*wanted.instance),
    };
    let name = v.take(GroupName::parse("group", group));
    let instance = match instance {
        "" => Some(None),
        raw => v.take(Instance::parse("instance", raw)).map(Some),
    };
    let definition = definition(&mut v, wanted, None);
    let read = match (name, instance, definition) {
        (Some(name), Some(instance), Some(definition)) => {
            Some(Create { group: GroupRef { name, instance }, definition })
        }
        _ => None,
    };
    v.finish(read)
}

/// Reads a change of a service: what the mask names, or what is set, laid over what there is.
pub(crate) fn update(request: &pb::UpdateServiceRequest, before: &Service) -> Result<Definition> {
    let mut v = Violations::default();
    super::request_id(&mut v, &request.request_id);
    let Some(wanted) = &request.service else {
        v.add("service", "it is missing; send the fields to change");
        return v.finish(None);
    };
    match super::mask_of("Service", request.update_mask.as_ref(), wanted)? {
        None => replaced(v, wanted.clone(), before),
        Some(paths) => replaced(v, merged(before, wanted, &paths)?, before),
    }
}

/// Reads the whole definition of a service that there is.
pub(crate) fn replace(request: &pb::ReplaceServiceRequest, before: &Service) -> Result<Definition> {
    let mut v = Violations::default();
    super::request_id(&mut v, &request.request_id);
    let Some(wanted) = &request.service else {
        // An absent definition would read as an empty one, which takes everything away.
        v.add("service", "it is missing; send the whole definition");
        return v.finish(None);
    };
    replaced(v, wanted.clone(), before)
}

fn replaced(mut v: Violations, wanted: pb::Service, before: &Service) -> Result<Definition> {
    unmoved(&mut v, &wanted, before);
    let wanted = pb::Service { name: before.definition.name.to_string(), ..wanted };
    let definition = definition(&mut v, &wanted, Some(before));
    v.finish(definition)
}

fn merged(before: &Service, wanted: &pb::Service, paths: &[String]) -> Result<pb::Service> {
    let shown = encode::service::service(before);
    let merged = clos_proto::mask::merge("Service", &shown, wanted, paths);
    let mut merged = merged.map_err(|error| Error::field("update_mask", error.to_string()))?;
    // Of two forms of one thing, the one that the mask names holds.
    let names = |field: &str| paths.iter().any(|path| path.split('.').next() == Some(field));
    match (names("port"), names("ports")) {
        (true, false) => merged.ports.clear(),
        (false, true) => merged.port = None,
        _ => {}
    }
    match (names("health_url"), names("health_check")) {
        (true, false) if wanted.health_url.is_empty() => merged.health_check = None,
        (false, true) => merged.health_url.clear(),
        _ => {}
    }
    Ok(merged)
}

/// Name, group and instance are for ever.
fn unmoved(v: &mut Violations, wanted: &pb::Service, before: &Service) {
    let instance = before.group.instance.as_ref().map(ToString::to_string).unwrap_or_default();
    let is_whole = wanted.group == before.group.to_string();
    let group = if is_whole { before.group.name.to_string() } else { wanted.group.clone() };
    let fixed = [
        ("name", &wanted.name, before.definition.name.to_string()),
        ("group", &group, before.group.name.to_string()),
        ("instance", &wanted.instance, instance),
    ];
    for (field, wanted, is) in fixed {
        if !wanted.is_empty() && *wanted != is {
            v.add(
                field,
                format!("`{}` cannot become `{}`; create another service", before.resource(), shown(wanted)),
            );
        }
    }
}

/// The definition that a message says, beside the service that it is to replace.
fn definition(v: &mut Violations, wanted: &pb::Service, before: Option<&Service>) -> Option<Definition> {
    let old = before.map(|service| &service.definition);
    let name = v.take(ServiceName::parse("name", &wanted.name));
    let ports = port::ports(v, wanted, before);
    let probe = health::probe(v, wanted, before);
    let environment = environment(v, &wanted.environment, old.map(|old| &old.environment));
    let tags = tags(v, &wanted.tags);
    let depends_on = dependencies(v, &wanted.depends_on, name.as_ref());
    let limits = limits(v, wanted.resources.as_ref(), old.map(|old| &old.limits));
    let docker = container::docker(v, wanted.docker_config.as_ref(), before);
    let profiles = wanted
        .profiles
        .iter()
        .enumerate()
        .map(|(index, profile)| word(v, &format!("profiles[{index}]"), profile))
        .collect();
    let grace = match old.and_then(|old| old.stop.grace) {
        Some(grace) if Some(encode::duration(grace)) == wanted.stop_grace_period => Some(grace),
        _ => v.duration(
            "stop_grace_period",
            wanted.stop_grace_period.as_ref(),
            Duration::ZERO,
            Duration::from_secs(3_600),
        ),
    };
    if !wanted.stop_signal.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'-') {
        let message = format!("`{}` is not a signal like SIGTERM", shown(&wanted.stop_signal));
        v.add("stop_signal", message);
    }
    let description = v.text("description", &wanted.description, TEXT);
    let owner = v.text("owner", &wanted.owner, LINE);
    let version = v.text("version", &wanted.version, LINE);
    let name = name?;
    let docker = docker?;
    let enabled = wanted.profiles.is_empty();
    let mut read = Definition {
        enabled,
        scale: before.and_then(|before| before.definition.scale),
        profiles,
        environment,
        ports,
        depends_on,
        health: docker.health,
        probe,
        restart: docker.restart,
        stop: Stop { signal: some(&wanted.stop_signal), grace },
        limits,
        logging: docker.logging,
        labels: docker.labels,
        container_name: docker.container_name,
        run: docker.run,
        start_order: wanted.start_order,
        tags,
        description,
        owner,
        version,
        name,
        config_hash: None,
    };
    if old.is_some_and(|old| old.runs_the_same(&read)) {
        read.config_hash = old.and_then(|old| old.config_hash.clone());
    }
    Some(read)
}

/// A map in the order that it has already, with what is new at its end.
pub(crate) fn in_order<A, B>(
    mut wanted: BTreeMap<String, A>,
    before: Option<&IndexMap<String, B>>,
) -> IndexMap<String, A> {
    let known = before.into_iter().flat_map(IndexMap::keys);
    let mut ordered: IndexMap<String, A> =
        known.filter_map(|key| Some((key.clone(), wanted.remove(key)?))).collect();
    ordered.extend(wanted);
    ordered
}

fn environment(
    v: &mut Violations,
    wanted: &BTreeMap<String, String>,
    before: Option<&IndexMap<String, String>>,
) -> IndexMap<String, String> {
    let mut read = BTreeMap::new();
    for (key, value) in wanted {
        let field = format!("environment[{}]", shown(key));
        if key.is_empty() || key.contains('=') || key.chars().any(|c| c.is_whitespace() || c.is_control()) {
            v.add(&field, "a variable's name must not be empty and has neither `=` nor white space");
        }
        if value.contains('\0') {
            v.add(&field, "its value has a zero byte, which no process can be given");
        }
        let known = before.and_then(|before| before.get(key));
        read.insert(key.clone(), unmasked(v, &field, value, known.map(String::as_str)));
    }
    in_order(read, before)
}

/// The value that is meant: a mask that is sent back stands for the value that there is.
pub(crate) fn unmasked(v: &mut Violations, field: &str, value: &str, known: Option<&str>) -> String {
    if value != MASK {
        return value.to_owned();
    }
    if known.is_none() {
        v.add(field, format!("`{MASK}` stands for a value that is kept, and there is none; send the value"));
    }
    known.unwrap_or(value).to_owned()
}

fn tags(v: &mut Violations, wanted: &[String]) -> Vec<String> {
    if wanted.len() > TAGS {
        v.add("tags", format!("there are {}; at most {TAGS} are allowed", wanted.len()));
    }
    let tags: Vec<String> =
        wanted.iter().enumerate().map(|(index, tag)| word(v, &format!("tags[{index}]"), tag)).collect();
    tags
}

/// A free word that a list with commas can hold.
fn word(v: &mut Violations, field: &str, raw: &str) -> String {
    let is_good = !raw.trim().is_empty() && !raw.contains(',') && !raw.chars().any(char::is_control);
    if !is_good || raw.chars().count() > WORD {
        let message = format!(
            "`{}` must be 1-{WORD} characters without commas",
            shown(&raw.escape_debug().to_string())
        );
        v.add(field, message);
    }
    raw.to_owned()
}

fn dependencies(
    v: &mut Violations,
    wanted: &[pb::Dependency],
    name: Option<&ServiceName>,
) -> Vec<Dependency> {
    let mut seen = BTreeSet::new();
    let mut read = Vec::with_capacity(wanted.len());
    for (index, need) in wanted.iter().enumerate() {
        let field = format!("depends_on[{index}]");
        let service = v.take(ServiceName::parse(&format!("{field}.service"), &need.service));
        let condition = condition(v, &format!("{field}.condition"), need.condition);
        let (Some(service), Some(condition)) = (service, condition) else { continue };
        if Some(&service) == name {
            v.add(format!("{field}.service"), format!("`{service}` cannot depend on itself; leave it out"));
        }
        if !seen.insert(service.clone()) {
            v.add(format!("{field}.service"), format!("`{service}` is named twice; once is enough"));
        }
        read.push(Dependency {
            service,
            condition,
            required: need.required.unwrap_or(true),
            restart: need.restart,
        });
    }
    read
}

fn condition(v: &mut Violations, field: &str, number: i32) -> Option<Condition> {
    Some(match v.word(field, number)? {
        pb::DependencyCondition::Unspecified | pb::DependencyCondition::Started => Condition::Started,
        pb::DependencyCondition::Healthy => Condition::Healthy,
        pb::DependencyCondition::Completed => Condition::Completed,
    })
}

fn limits(v: &mut Violations, wanted: Option<&pb::Resources>, before: Option<&Limits>) -> Limits {
    let Some(wanted) = wanted else { return Limits::default() };
    if let Some(before) = before
        && encode::service::resources(before).as_ref() == Some(wanted)
    {
        return before.clone();
    }
    Limits {
        cpu_millis: wanted.cpu_limit.and_then(|cores| millis(v, "resources.cpu_limit", cores)),
        memory: v.positive("resources.memory_limit", wanted.memory_limit),
        memory_reservation: v.positive("resources.memory_reservation", wanted.memory_reservation),
        memory_swap: unlimited_or(v, "resources.memory_swap", wanted.memory_swap),
        pids: unlimited_or(v, "resources.pids_limit", wanted.pids_limit),
        cpuset: cpuset(v, &wanted.cpuset),
        cpu_shares: wanted.cpu_shares.and_then(|shares| v.within("resources.cpu_shares", shares, 2, 262_144)),
    }
}

fn millis(v: &mut Violations, field: &str, cores: f64) -> Option<u64> {
    const MOST: f64 = 4_096.0;
    if !(0.001..=MOST).contains(&cores) {
        v.add(field, format!("{cores} is not between 0.001 and {MOST}; leave it out for no limit"));
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked above"
    )]
    Some((cores * 1_000.0).round() as u64)
}

fn unlimited_or(v: &mut Violations, field: &str, number: Option<i64>) -> Option<i64> {
    let number = number?;
    if number < -1 || number == 0 {
        v.add(field, format!("{number} must be more than 0, or -1 for no limit"));
    }
    Some(number)
}

fn cpuset(v: &mut Violations, raw: &str) -> Option<String> {
    let is_set = raw.bytes().all(|byte| byte.is_ascii_digit() || byte == b',' || byte == b'-');
    if !is_set {
        v.add("resources.cpuset", format!("`{}` is not a set of cores like `0-2,5`", shown(raw)));
    }
    some(raw)
}

/// Where output goes; the driver `none` and options without a driver are fine.
pub(crate) fn logging(v: &mut Violations, wanted: &pb::Logging, before: Option<&Logging>) -> Logging {
    let known = before.map(|before| &before.options);
    let options = options(v, "docker_config.logging.options", &wanted.options, known);
    Logging { driver: some(&wanted.driver), options }
}

/// Options of a driver; a mask that is sent back keeps the value that there is.
pub(crate) fn options(
    v: &mut Violations,
    field: &str,
    wanted: &BTreeMap<String, String>,
    before: Option<&BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let read = wanted.iter().map(|(key, value)| {
        let known = before.and_then(|before| before.get(key)).map(String::as_str);
        (key.clone(), unmasked(v, &format!("{field}[{}]", shown(key)), value, known))
    });
    read.collect()
}

/// The words of a command. A word that is sent back as it was shown, mask and all, is the one that there is: at its
/// place, or anywhere if only one is shown like it. Any other word with a mask is refused.
pub(crate) fn unmasked_words(
    v: &mut Violations,
    field: &str,
    wanted: Option<Vec<String>>,
    before: Option<&[String]>,
) -> Option<Vec<String>> {
    let before = before.unwrap_or_default();
    let before_shown = masked_words(before);
    let mut words = wanted?;
    for (at, word) in words.iter_mut().enumerate() {
        if !word.contains(MASK) {
            continue;
        }
        let mut alike =
            before.iter().zip(&before_shown).filter(|(_, shown)| *shown == word).map(|(old, _)| old);
        let known = match before_shown.get(at) {
            Some(shown) if shown == word => before.get(at),
            _ => alike.next().filter(|only| alike.all(|other| other == *only)),
        };
        match known {
            Some(known) => known.clone_into(word),
            None => v.add(
                format!("{field}[{at}]"),
                format!(
                    "`{MASK}` stands for a value that is kept, and no word here was shown so; send the value"
                ),
            ),
        }
    }
    Some(words)
}

/// Which services are wanted, and which part of them.
#[derive(Debug)]
pub(crate) struct List {
    /// Everything but the group.
    pub(crate) filter: ServiceFilter,
    /// Of this group.
    pub(crate) group: Option<GroupWish>,
    /// The part.
    pub(crate) page: clos_domain::page::Request,
    /// What its tokens belong to.
    pub(crate) listing: page::Listing,
}

/// Reads a listing.
pub(crate) fn list(request: &pb::ListServicesRequest) -> Result<List> {
    let mut v = Violations::default();
    let group = GroupWish::parse(&mut v, "group", &request.group);
    let filters = pb::ListServicesRequest {
        limit: None,
        offset: 0,
        page_token: String::new(),
        include_metrics: false,
        ..request.clone()
    };
    let listing = page::Listing::of("ListServices", &filters);
    let page = page::page(&mut v, listing, request.limit, request.offset, &request.page_token);
    let mut status = Vec::new();
    for (index, number) in request.status.iter().enumerate() {
        status.extend(v.word(&format!("status[{index}]"), *number).and_then(status_word));
    }
    // A query of the web carries several tags in one, with commas.
    let tags: Vec<String> = request
        .tags
        .iter()
        .flat_map(|tags| tags.split(','))
        .map(|tag| tag.trim().to_owned())
        .filter(|tag| !tag.is_empty())
        .collect();
    if tags.len() > TAGS {
        v.add("tags", format!("there are {}; at most {TAGS} are allowed", tags.len()));
    }
    let health = v.word("health", request.health).and_then(health_word);
    let text = some(&v.text("q", &request.q, LINE));
    let order = v.take(order(&request.order_by));
    let read = page.zip(order).map(|(page, order)| List {
        filter: ServiceFilter { group: None, status, tags, health, text, order },
        group,
        page,
        listing,
    });
    v.finish(read)
}

fn status_word(status: pb::ServiceStatus) -> Option<Status> {
    Some(match status {
        pb::ServiceStatus::Unspecified => return None,
        pb::ServiceStatus::Running => Status::Running,
        pb::ServiceStatus::Stopped => Status::Stopped,
        pb::ServiceStatus::Failed => Status::Failed,
        pb::ServiceStatus::Starting => Status::Starting,
        pb::ServiceStatus::Stopping => Status::Stopping,
        pb::ServiceStatus::Unhealthy => Status::Unhealthy,
    })
}

fn health_word(health: pb::HealthStatus) -> Option<clos_domain::health::Verdict> {
    use clos_domain::health::Verdict;
    Some(match health {
        pb::HealthStatus::Unspecified => return None,
        pb::HealthStatus::Healthy => Verdict::Healthy,
        pb::HealthStatus::Unhealthy => Verdict::Unhealthy,
        pb::HealthStatus::Starting => Verdict::Starting,
    })
}

/// `name`, `created_at desc`; several with commas.
fn order(raw: &str) -> Result<Vec<ServiceOrder>> {
    let mut orders = Vec::new();
    for part in raw.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let mut words = part.split_whitespace();
        let by = words.next().and_then(clos_domain::seams::store::ServiceKey::parse);
        let descending = match words.next() {
            None | Some("asc") => Some(false),
            Some("desc") => Some(true),
            Some(_) => None,
        };
        let (Some(by), Some(descending), None) = (by, descending, words.next()) else {
            let words: Vec<&str> =
                clos_domain::seams::store::ServiceKey::ALL.iter().map(|key| key.as_str()).collect();
            return Err(Error::field(
                "order_by",
                format!("`{}` is not one of {}, each alone or with ` desc`", shown(part), words.join(", ")),
            ));
        };
        orders.push(ServiceOrder { by, descending });
    }
    Ok(orders)
}

/// One thing for several services.
#[derive(Debug, PartialEq)]
pub(crate) struct Batch {
    /// What.
    pub(crate) verb: Verb,
    /// For whom.
    pub(crate) ids: Vec<String>,
    /// Time before a stopping one is killed.
    pub(crate) grace: Option<Duration>,
}

/// Reads a batch.
pub(crate) fn batch(request: &pb::BatchServicesRequest) -> Result<Batch> {
    const MOST: usize = 100;
    let mut v = Violations::default();
    super::request_id(&mut v, &request.request_id);
    let verb = match v.word("action", request.action) {
        Some(pb::BatchAction::Start) => Some(Verb::Start),
        Some(pb::BatchAction::Stop) => Some(Verb::Stop),
        Some(pb::BatchAction::Restart) => Some(Verb::Restart),
        Some(pb::BatchAction::Recreate) => Some(Verb::Recreate),
        Some(pb::BatchAction::Down) => Some(Verb::Down),
        Some(pb::BatchAction::Unspecified) => {
            v.add("action", "it is missing; give start, stop, restart, recreate or down");
            None
        }
        None => None,
    };
    if request.ids.is_empty() || request.ids.len() > MOST {
        v.add("ids", format!("there are {}; name 1-{MOST} services of one group", request.ids.len()));
    }
    let grace = v.grace(request.timeout);
    if verb == Some(Verb::Start) && request.timeout.is_some() {
        v.add("timeout", "starting has none; leave it out");
    }
    let ids = request.ids.clone();
    v.finish(verb.map(|verb| Batch { verb, ids, grace }))
}

/// The grace period of a verb on one service or group.
pub(crate) fn grace(timeout: Option<i32>, request_id: &str) -> Result<Option<Duration>> {
    let mut v = Violations::default();
    super::request_id(&mut v, request_id);
    let grace = v.grace(timeout);
    v.finish(Some(grace))
}

/// How a service is recreated: what overrides its pull policy, and the grace period.
pub(crate) fn recreate(
    request: &pb::RecreateServiceRequest,
) -> Result<(Option<PullPolicy>, Option<Duration>)> {
    let mut v = Violations::default();
    super::request_id(&mut v, &request.request_id);
    let grace = v.grace(request.timeout);
    let pull = super::apply::pull(&mut v, request.pull);
    v.finish(Some((pull, grace)))
}
