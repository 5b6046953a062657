//! Services: a row each, and rows in other tables for the parts of the definition that are lists.
//!
//! A read finds ids first, in order and where it is to be so locked, and then reads all that stands
//! under these in one statement. So what a unit that writes has waited for, it sees as it was left.

use std::collections::BTreeMap;

use async_trait::async_trait;
use clos_domain::health::Verdict;
use clos_domain::id::{GroupId, ServiceId};
use clos_domain::name::{GroupFilter, GroupRef, ServiceName};
use clos_domain::operation::Action;
use clos_domain::page::{Key, Page, Request};
use clos_domain::port::{Protocol, Wish};
use clos_domain::seams::store::{self, Error, ServiceFilter, ServiceKey, ServiceOrder};
use clos_domain::service::{
    Condition as Gate, Definition, Dependency, Desired, Ended, Observed, OpenStep, Service, Status,
};
use clos_domain::workload::{Join, Mount, MountKind};
use sea_orm::sea_query::{BinOper, Expr, ExprTrait, LockType, Query, SimpleExpr};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, DbBackend, EntityTrait, JoinType, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, QueryTrait, RelationDef, Select,
};
use serde::Deserialize;

use crate::convert::{
    at, containing, corrupt, from_json, group_ref, instance_text, json, micros, number, of_groups, time,
    time_if, word,
};
use crate::keyset::{self, Holds, Sort};
use crate::operations::reason;
use crate::ports::binding;
use crate::tables::{
    groups, ports, service_aliases, service_anonymous_volumes, service_dependencies, service_environment,
    service_made_from, service_networks, service_ports, service_tags, service_volumes, services,
};
use crate::unit::Unit;
use crate::whole::{self, ByIds};

pub(crate) struct Services<'a>(pub(crate) &'a mut Unit);

/// The way from a service to its group.
pub(crate) fn to_group() -> RelationDef {
    services::Entity::belongs_to(groups::Entity).from(services::Column::GroupId).to(groups::Column::Id).into()
}

/// The ids of services.
fn ids() -> Select<services::Entity> {
    services::Entity::find().select_only().column(services::Column::Id)
}

fn with_group() -> Select<services::Entity> {
    ids().join(JoinType::InnerJoin, to_group())
}

/// Services and their groups, the table first whose index gives the order. SQLite goes through
/// the tables of a cross join as they are written, else it would read and sort everything; for
/// PostgreSQL this is a join like any other. With a filter that finds few rows it may choose.
fn joined_for(filter: &ServiceFilter) -> Select<services::Entity> {
    if !filter.status.is_empty() || !filter.tags.is_empty() {
        return with_group();
    }
    let mut joined = ids();
    let query = QueryTrait::query(&mut joined);
    if filter.order.is_empty() {
        query.from_clear().from(groups::Entity).cross_join(services::Entity);
    } else {
        query.cross_join(groups::Entity);
    }
    let is_its_group = at(services::Column::GroupId).equals((groups::Entity, groups::Column::Id));
    joined.filter(is_its_group)
}

/// The listing, without its order and its page: ids.
pub(crate) fn listing(filter: &ServiceFilter) -> Select<services::Entity> {
    let mut wanted = Condition::all();
    if let Some(group) = &filter.group {
        wanted = wanted.add(of_groups(group, groups::Column::Name, groups::Column::Instance));
    }
    if !filter.status.is_empty() {
        let words = filter.status.iter().map(|status| status.as_str());
        wanted = wanted.add(services::Column::Status.is_in(words));
    }
    if let Some(health) = filter.health {
        wanted = wanted.add(services::Column::Health.eq(health.as_str()));
    }
    for tag in &filter.tags {
        let tagged = Query::select()
            .column(service_tags::Column::ServiceId)
            .from(service_tags::Entity)
            .and_where(service_tags::Column::Tag.eq(tag.as_str()))
            .to_owned();
        wanted = wanted.add(services::Column::Id.in_subquery(tagged));
    }
    if let Some(text) = &filter.text {
        let text = text.to_lowercase();
        let and = |left: SimpleExpr, right: SimpleExpr| left.binary(BinOper::Custom("||"), right);
        let copy = and(and(at(groups::Column::Name), Expr::val("~")), at(groups::Column::Instance));
        let group: SimpleExpr =
            Expr::case(at(groups::Column::Instance).eq(""), at(groups::Column::Name)).finally(copy).into();
        wanted = wanted.add(
            Condition::any()
                .add(at(services::Column::Search).like(containing(&text)))
                .add(group.like(containing(&text))),
        );
    }
    joined_for(filter).filter(wanted)
}

/// What services are ordered by, in the store's words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    GroupName,
    Instance,
    StartOrder,
    Name,
    Status,
    CreatedAt,
    UpdatedAt,
    StartedAt,
}

impl By {
    fn sort(self, descending: bool) -> Sort<Service> {
        type Value = fn(&Service) -> Key;
        let (column, holds, value): (_, _, Value) = match self {
            Self::GroupName => {
                (at(groups::Column::Name), Holds::Text, |service| Key::Text(service.group.name.to_string()))
            }
            Self::Instance => (at(groups::Column::Instance), Holds::Text, |service| {
                Key::Text(instance_text(&service.group))
            }),
            Self::StartOrder => (at(services::Column::StartOrder), Holds::Number, |service| {
                Key::Number(service.definition.start_order.into())
            }),
            Self::Name => (at(services::Column::Name), Holds::Text, |service| {
                Key::Text(service.definition.name.to_string())
            }),
            Self::Status => (at(services::Column::Status), Holds::Text, |service| {
                Key::Text(service.status.as_str().to_owned())
            }),
            Self::CreatedAt => (at(services::Column::CreatedAt), Holds::Number, |service| {
                Key::Number(micros(service.created_at))
            }),
            Self::UpdatedAt => (at(services::Column::UpdatedAt), Holds::Number, |service| {
                Key::Number(micros(service.updated_at))
            }),
            Self::StartedAt => (at(services::Column::StartedAt), Holds::NumberOrNothing, |service| {
                service.started_at.map_or(Key::Nothing, |at| Key::Number(micros(at)))
            }),
        };
        Sort { column, descending, holds, value }
    }
}

/// The order that is asked for; group, start order and name complete it, so that it names one service.
pub(crate) fn order(asked: &[ServiceOrder]) -> Vec<Sort<Service>> {
    let mut all: Vec<(By, bool)> = Vec::new();
    let keys = asked.iter().flat_map(|key| {
        let by = match key.by {
            ServiceKey::Name => &[By::Name][..],
            ServiceKey::Group => &[By::GroupName, By::Instance],
            ServiceKey::Status => &[By::Status],
            ServiceKey::CreatedAt => &[By::CreatedAt],
            ServiceKey::UpdatedAt => &[By::UpdatedAt],
            ServiceKey::StartedAt => &[By::StartedAt],
        };
        by.iter().map(|by| (*by, key.descending))
    });
    let rest = [By::GroupName, By::Instance, By::StartOrder, By::Name].map(|by| (by, false));
    for (by, descending) in keys.chain(rest) {
        // Where it stood before, there is nothing left to order.
        if all.iter().all(|(known, _)| *known != by) {
            all.push((by, descending));
        }
    }
    all.into_iter().map(|(by, descending)| by.sort(descending)).collect()
}

pub(crate) fn of_group(group: &GroupId) -> Select<services::Entity> {
    ids()
        .filter(services::Column::GroupId.eq(group.as_str()))
        .order_by_asc(services::Column::StartOrder)
        .order_by_asc(services::Column::Name)
}

/// A service as it is read: its row, its group, and what other tables hold of it.
#[derive(Deserialize)]
struct Whole {
    row: services::Model,
    group: (String, String),
    definition: Definition,
    restart_times: Vec<i64>,
    environment: Vec<service_environment::Model>,
    tags: Vec<service_tags::Model>,
    ports: Vec<service_ports::Model>,
    volumes: Vec<service_volumes::Model>,
    networks: Vec<service_networks::Model>,
    dependencies: Vec<service_dependencies::Model>,
    leases: Vec<ports::Model>,
}

pub(crate) static BY_IDS: ByIds = ByIds::new(by_ids);

fn by_ids(backend: DbBackend) -> String {
    use services::Column::{Definition, RestartTimes, Search};
    macro_rules! of {
        ($table:ident) => {
            whole::rows::<$table::Entity>(backend, $table::Column::ServiceId, "services.id")
        };
    }
    let row = whole::columns::<services::Entity>(&[Definition, RestartTimes, Search]);
    let group = ["groups.name".to_owned(), "groups.instance".to_owned()];
    let service = whole::object(&[
        ("row", whole::values(backend, &row)),
        ("group", whole::values(backend, &group)),
        // These columns are JSON already.
        ("definition", "services.definition".to_owned()),
        ("restart_times", "services.restart_times".to_owned()),
        ("environment", of!(service_environment)),
        ("tags", of!(service_tags)),
        ("ports", of!(service_ports)),
        ("volumes", of!(service_volumes)),
        ("networks", of!(service_networks)),
        ("dependencies", of!(service_dependencies)),
        ("leases", of!(ports)),
    ]);
    let from = "services JOIN groups ON groups.id = services.group_id";
    whole::select(backend, &service, from, "services.id")
}

impl Services<'_> {
    async fn one(&self, wanted: Select<services::Entity>) -> Result<Option<Service>, Error> {
        Ok(self.all(self.locked(wanted)).await?.pop())
    }

    /// In a unit that writes, nobody else changes these rows until it ends.
    fn locked(&self, mut wanted: Select<services::Entity>) -> Select<services::Entity> {
        if self.0.writes {
            QueryTrait::query(&mut wanted).lock_with_tables(LockType::Update, [services::Entity]);
        }
        wanted
    }

    async fn all(&self, wanted: Select<services::Entity>) -> Result<Vec<Service>, Error> {
        let ids: Vec<String> = self.0.run(wanted.into_tuple().all(&self.0.connection)).await?;
        self.read(&ids).await
    }

    /// The services of these ids, in their order.
    async fn read(&self, ids: &[String]) -> Result<Vec<Service>, Error> {
        let found = self.0.whole(&BY_IDS, ids, |whole: &Whole| &whole.row.id).await?;
        found.into_iter().map(service).collect()
    }

    async fn insert_parts(&self, service: &Service) -> Result<(), Error> {
        let id = || service.id.to_string();
        let definition = &service.definition;
        let environment = (0..).zip(&definition.environment).map(|(position, (key, value))| {
            service_environment::Model { service_id: id(), key: key.clone(), position, value: value.clone() }
        });
        self.0.insert(environment.collect()).await?;
        let tags = (0..).zip(&definition.tags).map(|(position, tag)| service_tags::Model {
            service_id: id(),
            position,
            tag: tag.clone(),
        });
        self.0.insert(tags.collect()).await?;
        let wishes = (0..).zip(&definition.ports).map(|(position, wish)| service_ports::Model {
            service_id: id(),
            position,
            container_port: i32::from(wish.container_port),
            host_port: wish.host_port.map(i32::from),
            host_port_end: wish.host_port_end.map(i32::from),
            host_ip: wish.host_ip.clone(),
            protocol: wish.protocol.as_str().to_owned(),
        });
        self.0.insert(wishes.collect()).await?;
        let mounts =
            (0..).zip(&definition.container().mounts).map(|(position, mount)| service_volumes::Model {
                service_id: id(),
                position,
                kind: mount.kind.as_str().to_owned(),
                source: mount.source.clone(),
                target: mount.target.clone(),
                read_only: mount.read_only,
                create_host_path: mount.create_host_path,
                propagation: mount.propagation.clone(),
                selinux: mount.selinux.clone(),
                no_copy: mount.no_copy,
                subpath: mount.subpath.clone(),
                size: mount.size.map(u64::cast_signed),
                mode: mount.mode.map(i64::from),
            });
        self.0.insert(mounts.collect()).await?;
        let networks = (0..)
            .zip(&definition.container().networks)
            .map(|(position, join)| {
                Ok(service_networks::Model {
                    service_id: id(),
                    position,
                    network: join.network.clone(),
                    aliases: json(&join.aliases)?,
                    ipv4_address: join.ipv4_address.clone(),
                    ipv6_address: join.ipv6_address.clone(),
                    mac_address: join.mac_address.clone(),
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        self.0.insert(networks).await?;
        let needs = (0..).zip(&definition.depends_on).map(|(position, need)| service_dependencies::Model {
            service_id: id(),
            position,
            needs: need.service.to_string(),
            condition: need.condition.as_str().to_owned(),
            required: need.required,
            restart: need.restart,
        });
        self.0.insert(needs.collect()).await
    }

    async fn delete_parts(&self, id: &ServiceId) -> Result<(), Error> {
        macro_rules! delete {
            ($($table:ident)*) => {$(
                let old = $table::Entity::delete_many().filter($table::Column::ServiceId.eq(id.as_str()));
                self.0.run(old.exec(&self.0.connection)).await?;
            )*};
        }
        delete!(service_environment service_tags service_ports service_volumes service_networks service_dependencies);
        Ok(())
    }

    async fn change(&self, id: &ServiceId, columns: services::ActiveModel) -> Result<(), Error> {
        let update =
            services::Entity::update_many().set(columns).filter(services::Column::Id.eq(id.as_str()));
        let done = self.0.run(update.exec(&self.0.connection)).await?;
        if done.rows_affected == 0 { Err(Error::Stale) } else { Ok(()) }
    }
}

fn wish(row: service_ports::Model) -> Result<Wish, Error> {
    let port = |stored: Option<i32>| stored.map(|port| number("service_ports.host_port", port)).transpose();
    Ok(Wish {
        container_port: number("service_ports.container_port", row.container_port)?,
        host_port: port(row.host_port)?,
        host_port_end: port(row.host_port_end)?,
        host_ip: row.host_ip,
        protocol: word("service_ports.protocol", &row.protocol, Protocol::parse)?,
    })
}

fn join(row: service_networks::Model) -> Result<Join, Error> {
    Ok(Join {
        network: row.network,
        aliases: from_json(&row.aliases)?,
        ipv4_address: row.ipv4_address,
        ipv6_address: row.ipv6_address,
        mac_address: row.mac_address,
    })
}

fn dependency(row: service_dependencies::Model) -> Result<Dependency, Error> {
    Ok(Dependency {
        condition: word("service_dependencies.condition", &row.condition, Gate::parse)?,
        service: ServiceName::trusted(row.needs),
        required: row.required,
        restart: row.restart,
    })
}

fn mount(row: service_volumes::Model) -> Result<Mount, Error> {
    let kinds = [MountKind::Bind, MountKind::Volume, MountKind::Tmpfs];
    Ok(Mount {
        kind: word("service_volumes.kind", &row.kind, |stored| {
            kinds.into_iter().find(|kind| kind.as_str() == stored)
        })?,
        source: row.source,
        target: row.target,
        read_only: row.read_only,
        create_host_path: row.create_host_path,
        propagation: row.propagation,
        selinux: row.selinux,
        no_copy: row.no_copy,
        subpath: row.subpath,
        size: row.size.map(i64::cast_unsigned),
        mode: row.mode.map(|mode| number("service_volumes.mode", mode)).transpose()?,
    })
}

/// The definition without what stands in columns and other tables: nothing is kept twice.
fn rest_of(definition: &Definition) -> Result<String, Error> {
    let mut rest = definition.clone();
    rest.name = ServiceName::trusted("");
    rest.start_order = 0;
    rest.description.clear();
    rest.environment.clear();
    rest.tags.clear();
    rest.ports.clear();
    rest.depends_on.clear();
    rest.container_mut().mounts.clear();
    rest.container_mut().networks.clear();
    json(&rest)
}

/// Every column.
fn row(service: &Service) -> Result<services::ActiveModel, Error> {
    let definition = &service.definition;
    Ok(services::ActiveModel {
        id: Set(service.id.to_string()),
        group_id: Set(service.group_id.to_string()),
        name: Set(definition.name.to_string()),
        start_order: Set(definition.start_order),
        description: Set(definition.description.clone()),
        search: Set(format!(
            "{}\n{}\n{}",
            definition.name,
            definition.description,
            definition.container().image
        )
        .to_lowercase()),
        definition: Set(rest_of(definition)?),
        generation: Set(service.generation),
        created_at: Set(micros(service.created_at)),
        ..state(service)?
    })
}

/// The columns that the engine and the operations change.
fn state(service: &Service) -> Result<services::ActiveModel, Error> {
    let restart_times: Vec<i64> = service.restart_times.iter().copied().map(micros).collect();
    Ok(services::ActiveModel {
        desired: Set(service.desired.as_str().to_owned()),
        observed: Set(service.observed.as_str().to_owned()),
        health: Set(service.observed.health().as_str().to_owned()),
        exit_code: Set(service.observed.exit_code()),
        observed_at: Set(service.observed_at.map(micros)),
        container_id: Set(service.container_id.clone()),
        step_action: Set(service.step.map(|step| step.action.as_str().to_owned())),
        status: Set(service.status.as_str().to_owned()),
        status_reason: Set(service.status_reason.map(|reason| reason.as_str().to_owned())),
        status_detail: Set(service.status_detail.clone()),
        restart_times: Set(json(&restart_times)?),
        ended_by: Set(service.ended_by.map(|ended| ended.as_str().to_owned())),
        paused: Set(service.observed.is_paused()),
        started_at: Set(service.started_at.map(micros)),
        stopped_at: Set(service.stopped_at.map(micros)),
        updated_at: Set(micros(service.updated_at)),
        ..services::ActiveModel::default()
    })
}

fn service(read: Whole) -> Result<Service, Error> {
    let Whole { row, group, mut definition, restart_times, .. } = read;
    definition.name = ServiceName::trusted(row.name);
    definition.start_order = row.start_order;
    definition.description = row.description;
    definition.environment =
        whole::in_order(read.environment, |row| row.position).map(|row| (row.key, row.value)).collect();
    definition.tags = whole::in_order(read.tags, |row| row.position).map(|row| row.tag).collect();
    definition.ports = whole::in_order(read.ports, |row| row.position).map(wish).collect::<Result<_, _>>()?;
    definition.depends_on =
        whole::in_order(read.dependencies, |row| row.position).map(dependency).collect::<Result<_, _>>()?;
    definition.container_mut().mounts =
        whole::in_order(read.volumes, |row| row.position).map(mount).collect::<Result<_, _>>()?;
    definition.container_mut().networks =
        whole::in_order(read.networks, |row| row.position).map(join).collect::<Result<_, _>>()?;
    let leases = whole::in_order(read.leases, |row| (row.container_port, row.host_port));

    let health = word("services.health", &row.health, Verdict::parse)?;
    let observed = Observed::from_parts(&row.observed, health, row.exit_code, row.paused)
        .ok_or_else(|| corrupt("services.observed", &row.observed))?;
    let step = row.step_action.as_deref().map(|stored| word("services.step_action", stored, Action::parse));
    Ok(Service {
        id: ServiceId::trusted(row.id),
        group_id: GroupId::trusted(row.group_id),
        group: group_ref(group.0, group.1),
        definition,
        desired: word("services.desired", &row.desired, Desired::parse)?,
        observed,
        observed_at: time_if("services.observed_at", row.observed_at)?,
        container_id: row.container_id,
        step: step.transpose()?.map(|action| OpenStep { action }),
        status: word("services.status", &row.status, Status::parse)?,
        status_reason: reason("services.status_reason", row.status_reason.as_deref())?,
        status_detail: row.status_detail,
        restart_times: restart_times
            .into_iter()
            .map(|at| time("services.restart_times", at))
            .collect::<Result<_, _>>()?,
        ended_by: row.ended_by.map(|stored| word("services.ended_by", &stored, Ended::parse)).transpose()?,
        ports: leases.map(binding).collect::<Result<_, _>>()?,
        generation: row.generation,
        started_at: time_if("services.started_at", row.started_at)?,
        stopped_at: time_if("services.stopped_at", row.stopped_at)?,
        created_at: time("services.created_at", row.created_at)?,
        updated_at: time("services.updated_at", row.updated_at)?,
    })
}

#[async_trait]
impl store::Services for Services<'_> {
    async fn anonymous_volumes(&mut self, id: &ServiceId) -> Result<BTreeMap<String, String>, Error> {
        let of_it = service_anonymous_volumes::Column::ServiceId.eq(id.as_str());
        let wanted = service_anonymous_volumes::Entity::find().filter(of_it);
        let rows = self.0.run(wanted.all(&self.0.connection)).await?;
        Ok(rows.into_iter().map(|row| (row.target, row.volume)).collect())
    }

    async fn set_anonymous_volumes(
        &mut self,
        id: &ServiceId,
        volumes: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let of_it = service_anonymous_volumes::Column::ServiceId.eq(id.as_str());
        let old = service_anonymous_volumes::Entity::delete_many().filter(of_it);
        self.0.run(old.exec(&self.0.connection)).await?;
        let row = |(target, volume): (&String, &String)| service_anonymous_volumes::Model {
            service_id: id.to_string(),
            number: 1,
            target: target.clone(),
            volume: volume.clone(),
        };
        self.0.insert(volumes.iter().map(row).collect()).await
    }

    async fn made_from(&mut self, id: &ServiceId) -> Result<BTreeMap<String, String>, Error> {
        let of_it = service_made_from::Column::ServiceId.eq(id.as_str());
        let wanted = service_made_from::Entity::find().filter(of_it);
        let rows = self.0.run(wanted.all(&self.0.connection)).await?;
        Ok(rows.into_iter().map(|row| (row.spec_hash, row.made_from)).collect())
    }

    async fn set_made_from(&mut self, id: &ServiceId, made: &BTreeMap<String, String>) -> Result<(), Error> {
        let of_it = service_made_from::Column::ServiceId.eq(id.as_str());
        let old = service_made_from::Entity::delete_many().filter(of_it);
        self.0.run(old.exec(&self.0.connection)).await?;
        let row = |(hash, text): (&String, &String)| service_made_from::Model {
            service_id: id.to_string(),
            spec_hash: hash.clone(),
            made_from: text.clone(),
        };
        self.0.insert(made.iter().map(row).collect()).await
    }

    async fn get(&mut self, id: &ServiceId) -> Result<Option<Service>, Error> {
        // Nothing has to be found, so that only a unit that writes asks twice: it locks.
        if self.0.writes {
            return self.one(ids().filter(services::Column::Id.eq(id.as_str()))).await;
        }
        Ok(self.read(&[id.to_string()]).await?.pop())
    }

    async fn find(&mut self, group: &GroupRef, name: &ServiceName) -> Result<Option<Service>, Error> {
        let group = GroupFilter::One(group.clone());
        let of_group = of_groups(&group, groups::Column::Name, groups::Column::Instance);
        self.one(with_group().filter(of_group).filter(services::Column::Name.eq(name.as_str()))).await
    }

    async fn find_alias(&mut self, alias: &str) -> Result<Option<Service>, Error> {
        let owner = Query::select()
            .column(service_aliases::Column::ServiceId)
            .from(service_aliases::Entity)
            .and_where(service_aliases::Column::Alias.eq(alias))
            .to_owned();
        self.one(ids().filter(services::Column::Id.in_subquery(owner))).await
    }

    async fn list(&mut self, filter: &ServiceFilter, page: &Request) -> Result<Page<Service>, Error> {
        let (listing, order) = (listing(filter), order(&filter.order));
        let rows = self.all(keyset::part(listing.clone(), &order, page)?).await?;
        let total = match keyset::known_total(page, rows.len()) {
            Some(total) => total,
            None => self.0.run(listing.count(&self.0.connection)).await?,
        };
        Ok(keyset::page(rows, &order, page, total))
    }

    async fn of_group(&mut self, group: &GroupId) -> Result<Vec<Service>, Error> {
        self.all(self.locked(of_group(group))).await
    }

    async fn insert(&mut self, service: &Service) -> Result<(), Error> {
        let insert = services::Entity::insert(row(service)?);
        self.0.run(insert.exec_without_returning(&self.0.connection)).await?;
        self.insert_parts(service).await
    }

    async fn update(&mut self, service: &Service) -> Result<(), Error> {
        self.change(&service.id, row(service)?).await?;
        self.delete_parts(&service.id).await?;
        self.insert_parts(service).await
    }

    async fn update_state(&mut self, service: &Service) -> Result<(), Error> {
        self.change(&service.id, state(service)?).await
    }

    async fn delete(&mut self, id: &ServiceId) -> Result<(), Error> {
        let delete = services::Entity::delete_many().filter(services::Column::Id.eq(id.as_str()));
        let done = self.0.run(delete.exec(&self.0.connection)).await?;
        if done.rows_affected == 0 { Err(Error::Stale) } else { Ok(()) }
    }
}
