//! A group: services that start and stop together, usually one compose project.

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::GroupId;
use crate::name::{GroupRef, ServiceName};
use crate::service::{Desired, Service, Status as ServiceStatus};
use crate::workload::{Network, Volume};

/// What a group is, in the words of its files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Definition {
    /// For people.
    pub description: String,
    /// The folder its files are in; the group belongs to it.
    pub working_dir: String,
    /// Paths of its files as they were given.
    pub compose_files: Vec<String>,
    /// Its name was not asked for: it is what the files, or their folder, say.
    pub is_named_by_files: bool,
    /// Active profiles.
    pub profiles: Vec<String>,
    /// Owner of the port range, when it is not the group's own name.
    pub project: Option<String>,
    /// Networks by the file's name.
    pub networks: IndexMap<String, Network>,
    /// Volumes by the file's name.
    pub volumes: IndexMap<String, Volume>,
    /// What must be up first.
    pub depends_on: Vec<Dependency>,
    /// closd starts it by itself.
    pub auto_restart: bool,
    /// Lower first among equals of the graph.
    pub start_order: i32,
}

/// Something of another group that must be up first: `infra` or `other/db`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dependency {
    /// The group; its base instance unless one is named.
    pub group: GroupRef,
    /// One service of it; `None` is all of it.
    pub service: Option<ServiceName>,
}

impl std::fmt::Display for Dependency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.service {
            None => write!(f, "{}", self.group),
            Some(service) => write!(f, "{}/{service}", self.group),
        }
    }
}

/// A group as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Its id for ever.
    pub id: GroupId,
    /// Its name and instance.
    pub name: GroupRef,
    /// What it is.
    pub definition: Definition,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
}

impl Group {
    /// The engine's name of one of its networks: a fixed name in the base instance, else `P_default`.
    pub fn network_name(&self, key: &str) -> String {
        let network = self.definition.networks.get(key);
        let fixed = network.map(|network| (network.name.as_str(), network.external));
        self.engine_name(key, fixed)
    }

    /// The engine's name of one of its volumes.
    pub fn volume_name(&self, key: &str) -> String {
        let volume = self.definition.volumes.get(key);
        let fixed = volume.map(|volume| (volume.name.as_str(), volume.external));
        self.engine_name(key, fixed)
    }

    fn engine_name(&self, key: &str, fixed: Option<(&str, bool)>) -> String {
        match (fixed, &self.name.instance) {
            (Some(("", true)), _) => key.to_owned(),
            (Some((name, true)), _) => name.to_owned(),
            (Some((name, false)), None) if !name.is_empty() => name.to_owned(),
            (Some((name, false)), Some(instance)) if !name.is_empty() => format!("{name}__{instance}"),
            _ => format!("{}_{key}", self.name.engine_prefix()),
        }
    }
}

/// The words of the API for a group's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every enabled service is up and well, or has done its work.
    Running,
    /// Nothing runs, and nothing should.
    Stopped,
    /// Something else.
    Partial,
    /// An operation is bringing it up.
    Starting,
    /// An operation is taking it down.
    Stopping,
}

impl Status {
    /// The wire word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Partial => "partial",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
        }
    }
}

/// Which way an open operation moves a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Towards running.
    Up,
    /// Towards stopped or absent.
    Down,
}

/// The status of a group and the share of its services that is up and well.
pub fn status(services: &[Service], open: Option<Direction>) -> (Status, f64) {
    let enabled: Vec<&Service> = services.iter().filter(|service| service.definition.enabled).collect();
    let well = enabled.iter().filter(|service| service.counts_as_running()).count();
    let score = if enabled.is_empty() { 0.0 } else { ratio(well, enabled.len()) };
    let status = match open {
        Some(Direction::Up) => Status::Starting,
        Some(Direction::Down) => Status::Stopping,
        None if !enabled.is_empty() && well == enabled.len() => Status::Running,
        None => {
            let any_runs = enabled.iter().any(|service| service.observed.is_running());
            let any_wanted = enabled.iter().any(|service| {
                service.desired == Desired::Running || service.status == ServiceStatus::Failed
            });
            if any_runs || any_wanted { Status::Partial } else { Status::Stopped }
        }
    };
    (status, score)
}

fn ratio(part: usize, whole: usize) -> f64 {
    let part = u32::try_from(part).unwrap_or(u32::MAX);
    let whole = u32::try_from(whole).unwrap_or(u32::MAX);
    f64::from(part) / f64::from(whole)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::error::Reason;
    use crate::health::Verdict;
    use crate::id::ServiceId;
    use crate::service::{Definition as ServiceDefinition, Observed};

    pub(crate) fn group(name: &str) -> Group {
        Group {
            id: GroupId::trusted(format!("grp_{name}")),
            name: GroupRef::parse("group", name).unwrap(),
            definition: Definition::default(),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    pub(crate) fn service(group: &Group, name: &str) -> Service {
        let definition = ServiceDefinition::of_image(ServiceName::parse("name", name).unwrap(), "app:1");
        Service {
            id: ServiceId::trusted(format!("svc_{}_{name}", group.name)),
            group_id: group.id.clone(),
            group: group.name.clone(),
            definition,
            desired: Desired::Running,
            observed: Observed::Absent,
            observed_at: None,
            container_id: None,
            step: None,
            status: ServiceStatus::Stopped,
            status_reason: None,
            status_detail: String::new(),
            restart_times: Vec::new(),
            ended_by: None,
            ports: Vec::new(),
            generation: 1,
            started_at: None,
            stopped_at: None,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn seen(name: &str, desired: Desired, observed: Observed) -> Service {
        let mut one = service(&group("shop"), name);
        one.desired = desired;
        one.observed = observed;
        (one.status, one.status_reason) = one.derive_status(Timestamp::UNIX_EPOCH);
        one
    }

    #[test]
    fn a_group_runs_when_every_service_runs_or_is_done() {
        let up = seen("a", Desired::Running, Observed::Running(Verdict::Healthy));
        let done = seen("b", Desired::Running, Observed::Exited(0));
        assert_eq!(done.status_reason, Some(Reason::Completed));
        assert_eq!(status(&[up.clone(), done], None), (Status::Running, 1.0));
        let ill = seen("c", Desired::Running, Observed::Running(Verdict::Unhealthy));
        assert_eq!(status(&[up, ill], None), (Status::Partial, 0.5));
    }

    #[test]
    fn all_failed_is_partial_and_nothing_wanted_is_stopped() {
        let failed = seen("a", Desired::Running, Observed::Exited(1));
        assert_eq!(status(&[failed], None), (Status::Partial, 0.0));
        let off = seen("a", Desired::Stopped, Observed::Exited(1));
        assert_eq!(status(&[off], None), (Status::Stopped, 0.0));
        assert_eq!(status(&[], None), (Status::Stopped, 0.0));
    }

    #[test]
    fn an_open_operation_says_which_way_it_goes() {
        let up = seen("a", Desired::Running, Observed::Running(Verdict::Healthy));
        assert_eq!(status(std::slice::from_ref(&up), Some(Direction::Up)).0, Status::Starting);
        assert_eq!(status(&[up], Some(Direction::Down)).0, Status::Stopping);
    }

    #[test]
    fn a_disabled_service_does_not_count() {
        let up = seen("a", Desired::Running, Observed::Running(Verdict::None));
        let mut off = seen("b", Desired::Absent, Observed::Absent);
        off.definition.enabled = false;
        assert_eq!(status(&[up, off], None), (Status::Running, 1.0));
    }

    #[test]
    fn engine_names_are_composes_own_and_carry_the_instance() {
        let mut shop = group("shop");
        shop.definition
            .networks
            .insert("back".into(), Network { name: "shared".into(), ..Network::default() });
        shop.definition.networks.insert("lan".into(), Network { external: true, ..Network::default() });
        shop.definition.volumes.insert("data".into(), Volume::default());
        assert_eq!(shop.network_name("default"), "shop_default");
        assert_eq!(shop.network_name("back"), "shared");
        assert_eq!(shop.network_name("lan"), "lan");
        assert_eq!(shop.volume_name("data"), "shop_data");
        shop.name = GroupRef::parse("group", "shop~x").unwrap();
        assert_eq!(shop.network_name("default"), "shop__x_default");
        assert_eq!(shop.network_name("back"), "shared__x");
        assert_eq!(shop.network_name("lan"), "lan");
        assert_eq!(shop.volume_name("data"), "shop__x_data");
    }
}
