//! From a read compose project to rows: a group, its services, and what is worth saying about them.
//!
//! Nothing of the file is lost in silence. What the domain has a word for is carried over; what would make a
//! service another one than its file says is an error with file, line, key and the way out; what only tunes it is
//! a warning. Names stay the file's: which container, network or volume that is on the engine is decided by
//! `domain::spec`. Files are not opened, ports not chosen and nothing is admitted here.
//!
//! To carry one more key over: a line in `service` (what any workload has) or `container` (what only a container
//! has), a row in the tables of `tests`.

mod build;
mod container;
mod files;
mod limits;
mod links;
mod mounts;
mod service;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use clos_compose::{self as compose, Code, Key, Location, model};
use clos_domain::error::{Finding, Severity};
use clos_domain::name::{GroupName, GroupRef, ServiceName, shown};
use clos_domain::workload::{Network, Subnet, Volume};
use clos_domain::{Error, Reason, Result, group, service as rows};

/// What a project becomes.
#[derive(Debug, Clone)]
pub(crate) struct Converted {
    /// The group, without what only the API sets (description, start order, automatic restart).
    pub(crate) group: group::Definition,
    /// Its services, in the order of the files.
    pub(crate) services: Vec<rows::Definition>,
    /// Services that the files have and no active profile asks for: no rows, and no orphans either.
    pub(crate) disabled: Vec<String>,
    /// Warnings, in the order of the files.
    pub(crate) findings: Vec<Finding>,
    /// Those of them about variables that are not set: often the cause of what fails later.
    pub(crate) unset: Vec<Finding>,
    /// What a plan should mention: narrowed addresses, services with no containers.
    pub(crate) notes: Vec<String>,
}

/// Carries a project over into the domain's words, for the group that it is to be.
///
/// # Errors
/// Everything in it that cannot be carried over, all at once, with its places in the files.
pub(crate) fn convert(project: &compose::Project, group: &GroupRef) -> Result<Converted> {
    let mut report = Report::default();
    for finding in &project.findings {
        if !is_ours(finding) {
            report.take(finding);
        }
    }
    let definition = group_of(project, group, &mut report);
    let mut services = Vec::new();
    for service in &project.services {
        services.extend(service::definition(project, service, &mut report));
    }
    links::share(project, &mut services, &mut report);
    let disabled = project.disabled.iter().map(|service| service.name.clone()).collect();
    let (findings, unset, notes) = report.finish()?;
    Ok(Converted { group: definition, services, disabled, findings, unset, notes })
}

/// The answer to a caller whose files hold errors.
pub(crate) fn compose_errors(errors: &compose::Errors) -> Error {
    let code = errors.findings.first().map(|finding| finding.code.as_str());
    let (bad, others): (Vec<_>, Vec<_>) =
        errors.findings.iter().partition(|found| found.severity == compose::Severity::Error);
    let all = bad.iter().map(|found| (reason(found), finding(found, Severity::Error))).collect();
    let others = others.iter().map(|found| finding(found, Severity::Warning)).collect();
    let error = failure(all, others, errors.omitted);
    match code {
        Some(code) => error.with("code", code),
        None => error,
    }
}

fn reason(found: &compose::Finding) -> Reason {
    match found.code {
        Code::UnsupportedKey if found.key.is("services.*.provider") => Reason::KindUnsupported,
        Code::DependencyCycle => Reason::DependencyCycle,
        Code::UnknownDependency => Reason::UnknownDependency,
        Code::OutsideRoot => Reason::OutsideRoot,
        Code::FileNotFound => Reason::FileNotFound,
        Code::DuplicatePort => Reason::PortConflict,
        _ => Reason::InvalidFile,
    }
}

/// A message lists so many errors; the findings hold them all.
const LISTED: usize = 10;

/// One error of many. Its reason is theirs if they share one.
fn failure(errors: Vec<(Reason, Finding)>, others: Vec<Finding>, omitted: usize) -> Error {
    let first = errors.first().map_or(Reason::InvalidFile, |(reason, _)| *reason);
    let shared = errors.iter().all(|(reason, _)| *reason == first);
    let findings: Vec<Finding> = errors.into_iter().map(|(_, finding)| finding).collect();
    let mut lines: Vec<String> = findings.iter().take(LISTED).map(rendered).collect();
    let more = findings.len().saturating_sub(LISTED) + omitted;
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    if lines.is_empty() {
        lines.push("the files cannot be read as a compose project".to_owned());
    }
    let error = Error::new(if shared { first } else { Reason::InvalidFile }, lines.join("\n"))
        .with_findings(findings.into_iter().chain(others).collect());
    if omitted > 0 { error.with("omitted", omitted) } else { error }
}

fn finding(found: &compose::Finding, severity: Severity) -> Finding {
    located(severity, &found.at, &found.key, found.message.clone())
}

pub(crate) fn located(severity: Severity, at: &Location, key: &Key, message: String) -> Finding {
    let (file, key) = (at.file.to_string(), key.to_string());
    Finding { severity, file, line: at.line, column: at.column, key, message }
}

/// `compose.yaml:12:5: services.web.ports[0]: …`
pub(crate) fn rendered(finding: &Finding) -> String {
    let mut text = finding.file.clone();
    if finding.line > 0 {
        text.push_str(&format!(":{}:{}", finding.line, finding.column));
    }
    for part in [&finding.key, &finding.message] {
        if !text.is_empty() && !part.is_empty() {
            text.push_str(": ");
        }
        text.push_str(part);
    }
    text
}

/// Collects what is found on the way.
#[derive(Default)]
struct Report {
    errors: Vec<(Reason, Finding)>,
    warnings: Vec<Finding>,
    unset: Vec<Finding>,
    notes: Vec<String>,
    /// Ports that are bound to this machine only, `web 3000`.
    narrowed: Vec<String>,
}

impl Report {
    fn take(&mut self, found: &compose::Finding) {
        match found.severity {
            compose::Severity::Error => {
                self.errors.push((reason(found), finding(found, Severity::Error)));
            }
            compose::Severity::Warning => {
                let warning = finding(found, Severity::Warning);
                if found.code == Code::VariableUnset {
                    self.unset.push(warning.clone());
                }
                self.warnings.push(warning);
            }
            compose::Severity::Note => self.notes.push(found.to_string()),
        }
    }

    fn error(&mut self, reason: Reason, at: &Location, key: &Key, message: impl Into<String>) {
        self.errors.push((reason, located(Severity::Error, at, key, message.into())));
    }

    fn warn(&mut self, at: &Location, key: &Key, message: impl Into<String>) {
        self.warnings.push(located(Severity::Warning, at, key, message.into()));
    }

    fn note(&mut self, at: &Location, key: &Key, message: impl Into<String>) {
        self.notes.push(rendered(&located(Severity::Warning, at, key, message.into())));
    }

    /// Warnings, those of variables that are not set, and notes.
    fn finish(mut self) -> Result<(Vec<Finding>, Vec<Finding>, Vec<String>)> {
        if !self.errors.is_empty() {
            return Err(failure(self.errors, self.unset, 0));
        }
        let narrowed = self.narrowed.len();
        if narrowed > LISTED {
            self.narrowed.truncate(LISTED);
            self.narrowed.push(format!("and {} more", narrowed - LISTED));
        }
        if narrowed > 0 {
            self.notes.push(format!(
                "ports without an address are reachable only from this machine and its containers: {} (write `0.0.0.0:3000:3000` to publish one to other machines)",
                self.narrowed.join(", ")
            ));
        }
        Ok((self.warnings, self.unset, self.notes))
    }
}

/// A service of the file and where to report about it. Fields are dotted below the service: `build.secrets`.
struct Site<'a> {
    service: &'a model::Service,
    report: &'a mut Report,
}

impl Site<'_> {
    fn key(&self, field: &str) -> Key {
        field.split('.').fold(self.service.key(), |key, part| key.child(part))
    }

    fn at(&self, field: &str) -> Location {
        self.service.place(field.split('.').next().unwrap_or_default())
    }

    fn error(&mut self, field: &str, message: impl Into<String>) {
        let (at, key) = (self.at(field), self.key(field));
        self.report.error(Reason::InvalidFile, &at, &key, message);
    }

    fn warn(&mut self, field: &str, message: impl Into<String>) {
        let (at, key) = (self.at(field), self.key(field));
        self.report.warn(&at, &key, message);
    }

    /// About one item of a list that knows its own place.
    fn error_in(&mut self, field: &str, index: usize, at: &Location, message: impl Into<String>) {
        let key = self.key(field).item(index);
        self.report.error(Reason::InvalidFile, at, &key, message);
    }

    fn warn_in(&mut self, field: &str, index: usize, at: &Location, message: impl Into<String>) {
        let key = self.key(field).item(index);
        self.report.warn(at, &key, message);
    }
}

const PROJECT_KEY: &str = "x-clos.project";

/// `compose` does not know the keys of `x-clos` that are read here.
fn is_ours(finding: &compose::Finding) -> bool {
    finding.code == Code::UnknownKey && finding.key.to_string() == PROJECT_KEY
}

fn group_of(project: &compose::Project, group: &GroupRef, report: &mut Report) -> group::Definition {
    let mut definition = group::Definition {
        working_dir: project.working_dir.clone(),
        compose_files: project.config_files.clone(),
        profiles: project.profiles.clone(),
        project: range_owner(project, report),
        ..group::Definition::default()
    };
    for network in &project.networks {
        definition.networks.insert(network.key.clone(), network_of(network, report));
    }
    for volume in &project.volumes {
        let key = Key::of(&["volumes", &volume.key]);
        let labels = labels(&volume.labels, &volume.at, &key.child("labels"), report);
        let converted = Volume {
            name: fixed(&volume.name, volume.named),
            owner: None,
            external: volume.external,
            driver: volume.driver.clone(),
            driver_opts: volume.driver_opts.clone(),
            labels,
        };
        definition.volumes.insert(volume.key.clone(), converted);
    }
    let mut named = BTreeSet::new();
    for (index, edge) in project.depends_on.iter().enumerate() {
        let key = Key::of(&["x-clos", "depends_on"]).item(index);
        match dependency(edge) {
            Ok(dependency) if dependency.group == *group => {
                let message = format!(
                    "the group `{group}` cannot wait for itself; services wait for each other by their own `depends_on`"
                );
                report.error(Reason::DependencyCycle, &edge.at, &key, message);
            }
            Ok(dependency) => {
                if named.insert(dependency.clone()) {
                    definition.depends_on.push(dependency);
                }
            }
            Err(error) => report.error(Reason::InvalidFile, &edge.at, &key, error.message()),
        }
    }
    definition
}

fn dependency(edge: &model::GroupEdge) -> Result<group::Dependency> {
    let named = match &edge.instance {
        Some(instance) => format!("{}~{instance}", edge.group),
        None => edge.group.clone(),
    };
    let group = GroupRef::parse("group", &named)?;
    let service = match &edge.service {
        Some(service) => Some(ServiceName::parse("service", service)?),
        None => None,
    };
    Ok(group::Dependency { group, service })
}

/// `x-clos: {project: apis}`: whose port range the group takes its ports from.
fn range_owner(project: &compose::Project, report: &mut Report) -> Option<String> {
    let value = project.extensions.get("x-clos")?.get("project")?;
    let told = project.findings.iter().find(|finding| is_ours(finding)).map(|finding| finding.at.clone());
    let file = project.config_files.first().map(String::as_str).unwrap_or_default();
    let at = told.unwrap_or_else(|| Location::whole(file));
    let text = value.as_str().unwrap_or_default();
    match GroupName::parse("project", text) {
        Ok(name) => Some(name.to_string()),
        Err(_) => {
            let raw = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let message = format!(
                "`{}` is not the name of a port range's project: it must match {}",
                shown(&raw),
                GroupName::PATTERN
            );
            report.error(Reason::InvalidFile, &at, &Key::of(&["x-clos", "project"]), message);
            None
        }
    }
}

/// The name on the engine where the file fixes one; otherwise it follows from the group.
fn fixed(name: &str, named: bool) -> String {
    if named { name.to_owned() } else { String::new() }
}

fn network_of(network: &model::Network, report: &mut Report) -> Network {
    let key = Key::of(&["networks", &network.key]);
    let at = network.at.clone().unwrap_or_else(|| Location::whole(""));
    if network.enable_ipv4 == Some(false) {
        let message = "a network without IPv4 is not made; leave the key out";
        report.error(Reason::InvalidFile, &at, &key.child("enable_ipv4"), message);
    }
    let ipam = &network.ipam;
    if let Some(driver) = ipam.driver.as_deref().filter(|driver| *driver != "default") {
        let message = format!("the address driver `{}` is not supported; use `default`", shown(driver));
        report.error(Reason::InvalidFile, &at, &key.child("ipam").child("driver"), message);
    }
    if !ipam.options.is_empty() {
        report.warn(&at, &key.child("ipam").child("options"), IGNORED_TEXT);
    }
    let subnet = |pool: &model::Pool| Subnet {
        subnet: pool.subnet.clone(),
        ip_range: pool.ip_range.clone(),
        gateway: pool.gateway.clone(),
        aux_addresses: pool.aux_addresses.clone(),
    };
    Network {
        name: fixed(&network.name, network.named),
        owner: None,
        external: network.external,
        driver: network.driver.clone(),
        driver_opts: network.driver_opts.clone(),
        internal: network.internal,
        attachable: network.attachable,
        enable_ipv6: network.enable_ipv6,
        labels: labels(&network.labels, &at, &key.child("labels"), report),
        subnets: ipam.pools.iter().map(subnet).collect(),
        spec_hash: String::new(),
    }
}

const IGNORED_TEXT: &str = "it has no effect here";

/// Labels that say whose something is are ours to write.
const RESERVED_LABELS: [&str; 2] = ["clos.v2.", "com.docker.compose."];

fn labels(
    labels: &BTreeMap<String, String>,
    at: &Location,
    key: &Key,
    report: &mut Report,
) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    for (name, value) in labels {
        if RESERVED_LABELS.iter().any(|reserved| name.starts_with(reserved)) {
            let message = "labels of this name say whose a thing is and are written by CLOS; it is left out";
            report.warn(at, &key.child(name), message);
            continue;
        }
        kept.insert(name.clone(), value.clone());
    }
    kept
}
