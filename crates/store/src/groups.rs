//! Groups: a row each, and a row for each thing that they need first.

use async_trait::async_trait;
use clos_domain::group::{Definition, Dependency, Group};
use clos_domain::id::GroupId;
use clos_domain::name::{GroupFilter, GroupRef, ServiceName};
use clos_domain::page::{Key, Page, Request};
use clos_domain::seams::store::{self, Error};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DbBackend, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter,
    QuerySelect, Select,
};
use serde::Deserialize;

use crate::convert::{at, group_ref, instance_text, json, micros, of_groups, time};
use crate::keyset::{self, Holds, Sort};
use crate::tables::{group_dependencies, groups};
use crate::unit::Unit;
use crate::whole::{self, ByIds};

pub(crate) struct Groups<'a>(pub(crate) &'a mut Unit);

/// A group as it is read: its row, and what it needs.
#[derive(Deserialize)]
struct Whole {
    row: groups::Model,
    definition: Definition,
    dependencies: Vec<group_dependencies::Model>,
}

pub(crate) static BY_IDS: ByIds = ByIds::new(by_ids);

fn by_ids(backend: DbBackend) -> String {
    let row = whole::columns::<groups::Entity>(&[groups::Column::Definition]);
    let of_it = group_dependencies::Column::GroupId;
    let group = whole::object(&[
        ("row", whole::values(backend, &row)),
        // The column is JSON already.
        ("definition", "groups.definition".to_owned()),
        ("dependencies", whole::rows::<group_dependencies::Entity>(backend, of_it, "groups.id")),
    ]);
    whole::select(backend, &group, "groups", "groups.id")
}

/// The ids of groups.
fn ids() -> Select<groups::Entity> {
    groups::Entity::find().select_only().column(groups::Column::Id)
}

/// The listing, without its page: ids.
pub(crate) fn listing(filter: Option<&GroupFilter>) -> Select<groups::Entity> {
    match filter {
        None => ids(),
        Some(filter) => ids().filter(of_groups(filter, groups::Column::Name, groups::Column::Instance)),
    }
}

/// By name and instance.
pub(crate) fn order() -> Vec<Sort<Group>> {
    let ascending = |column, value| Sort { column: at(column), descending: false, holds: Holds::Text, value };
    vec![
        ascending(groups::Column::Name, |group: &Group| Key::Text(group.name.name.to_string())),
        ascending(groups::Column::Instance, |group| Key::Text(instance_text(&group.name))),
    ]
}

impl Groups<'_> {
    /// In a unit that writes, nobody else changes its row until it ends.
    async fn one(&self, wanted: Select<groups::Entity>) -> Result<Option<Group>, Error> {
        let wanted = if self.0.writes { wanted.lock_exclusive() } else { wanted };
        Ok(self.all(wanted).await?.pop())
    }

    async fn all(&self, wanted: Select<groups::Entity>) -> Result<Vec<Group>, Error> {
        let ids: Vec<String> = self.0.run(wanted.into_tuple().all(&self.0.connection)).await?;
        let found = self.0.whole(&BY_IDS, &ids, |whole: &Whole| &whole.row.id).await?;
        found.into_iter().map(group).collect()
    }
}

fn group(read: Whole) -> Result<Group, Error> {
    let Whole { row, mut definition, dependencies } = read;
    let needs = whole::in_order(dependencies, |row| row.position).map(|row| Dependency {
        group: group_ref(row.needs_name, row.needs_instance),
        service: row.needs_service.map(ServiceName::trusted),
    });
    definition.depends_on = needs.collect();
    Ok(Group {
        id: GroupId::trusted(row.id),
        name: group_ref(row.name, row.instance),
        definition,
        created_at: time("groups.created_at", row.created_at)?,
        updated_at: time("groups.updated_at", row.updated_at)?,
    })
}

fn row(group: &Group) -> Result<groups::Model, Error> {
    let mut definition = group.definition.clone();
    definition.depends_on.clear();
    Ok(groups::Model {
        id: group.id.to_string(),
        name: group.name.name.to_string(),
        instance: instance_text(&group.name),
        definition: json(&definition)?,
        created_at: micros(group.created_at),
        updated_at: micros(group.updated_at),
    })
}

fn dependency_rows(group: &Group) -> Vec<group_dependencies::Model> {
    (0..)
        .zip(&group.definition.depends_on)
        .map(|(position, need)| group_dependencies::Model {
            group_id: group.id.to_string(),
            position,
            needs_name: need.group.name.to_string(),
            needs_instance: instance_text(&need.group),
            needs_service: need.service.as_ref().map(ToString::to_string),
        })
        .collect()
}

#[async_trait]
impl store::Groups for Groups<'_> {
    async fn get(&mut self, id: &GroupId) -> Result<Option<Group>, Error> {
        self.one(ids().filter(groups::Column::Id.eq(id.as_str()))).await
    }

    async fn find(&mut self, name: &GroupRef) -> Result<Option<Group>, Error> {
        self.one(listing(Some(&GroupFilter::One(name.clone())))).await
    }

    async fn list(&mut self, filter: Option<&GroupFilter>, page: &Request) -> Result<Page<Group>, Error> {
        let (listing, order) = (listing(filter), order());
        let rows = self.all(keyset::part(listing.clone(), &order, page)?).await?;
        let total = match keyset::known_total(page, rows.len()) {
            Some(total) => total,
            None => self.0.run(listing.count(&self.0.connection)).await?,
        };
        Ok(keyset::page(rows, &order, page, total))
    }

    async fn insert(&mut self, group: &Group) -> Result<(), Error> {
        self.0.insert(vec![row(group)?]).await?;
        self.0.insert(dependency_rows(group)).await
    }

    async fn update(&mut self, group: &Group) -> Result<(), Error> {
        let update = groups::Entity::update_many()
            .set(row(group)?.into_active_model().reset_all())
            .filter(groups::Column::Id.eq(group.id.as_str()));
        let done = self.0.run(update.exec(&self.0.connection)).await?;
        if done.rows_affected == 0 {
            return Err(Error::Stale);
        }
        let old = group_dependencies::Entity::delete_many()
            .filter(group_dependencies::Column::GroupId.eq(group.id.as_str()));
        self.0.run(old.exec(&self.0.connection)).await?;
        self.0.insert(dependency_rows(group)).await
    }

    async fn delete(&mut self, id: &GroupId) -> Result<(), Error> {
        let delete = groups::Entity::delete_many().filter(groups::Column::Id.eq(id.as_str()));
        let done = self.0.run(delete.exec(&self.0.connection)).await?;
        if done.rows_affected == 0 { Err(Error::Stale) } else { Ok(()) }
    }
}
