//! Operations and their steps.

use async_trait::async_trait;
use clos_domain::Reason;
use clos_domain::id::{GroupId, OperationId, ServiceId};
use clos_domain::name::ServiceRef;
use clos_domain::operation::{Action, FailurePolicy, Operation, State, Step, Verb};
use clos_domain::page::{Key, Page, Request};
use clos_domain::seams::store::{self, Error, OperationFilter};
use sea_orm::sea_query::Query;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, DbBackend, EntityTrait, IntoActiveModel, PaginatorTrait,
    QueryFilter, QuerySelect, Select,
};
use serde::Deserialize;

use crate::convert::{
    at, corrupt, from_json, group_ref, instance_text, json, micros, number, of_groups, time, time_if, word,
};
use crate::keyset::{self, Holds, Sort};
use crate::tables::{operation_steps, operations};
use crate::unit::Unit;
use crate::whole::{self, ByIds};

pub(crate) struct Operations<'a>(pub(crate) &'a mut Unit);

/// An operation as it is read: its row, and its steps.
#[derive(Deserialize)]
struct Whole {
    row: operations::Model,
    steps: Vec<operation_steps::Model>,
}

pub(crate) static BY_IDS: ByIds = ByIds::new(by_ids);

fn by_ids(backend: DbBackend) -> String {
    let row = whole::columns::<operations::Entity>(&[]);
    let of_it = operation_steps::Column::OperationId;
    let operation = whole::object(&[
        ("row", whole::values(backend, &row)),
        ("steps", whole::rows::<operation_steps::Entity>(backend, of_it, "operations.id")),
    ]);
    whole::select(backend, &operation, "operations", "operations.id")
}

/// The ids of operations.
fn ids() -> Select<operations::Entity> {
    operations::Entity::find().select_only().column(operations::Column::Id)
}

/// The listing, without its page: ids.
pub(crate) fn listing(filter: &OperationFilter) -> Select<operations::Entity> {
    let mut wanted = Condition::all();
    if !filter.state.is_empty() {
        let words = filter.state.iter().map(|state| state.as_str());
        wanted = wanted.add(operations::Column::State.is_in(words));
    }
    if filter.open {
        let open = State::ALL.into_iter().filter(|state| !state.is_terminal()).map(State::as_str);
        wanted = wanted.add(operations::Column::State.is_in(open));
    }
    if let Some(group) = &filter.group {
        wanted =
            wanted.add(of_groups(group, operations::Column::GroupName, operations::Column::GroupInstance));
    }
    if let Some(service) = &filter.service {
        let with_a_step = Query::select()
            .column(operation_steps::Column::OperationId)
            .from(operation_steps::Entity)
            .and_where(operation_steps::Column::ServiceId.eq(service.as_str()))
            .to_owned();
        wanted = wanted.add(
            Condition::any()
                .add(operations::Column::ServiceId.eq(service.as_str()))
                .add(operations::Column::Id.in_subquery(with_a_step)),
        );
    }
    if let Some(verb) = filter.verb {
        wanted = wanted.add(operations::Column::Verb.eq(verb.as_str()));
    }
    ids().filter(wanted)
}

/// The newest first.
pub(crate) fn order() -> Vec<Sort<Operation>> {
    let descending = |column, holds, value| Sort { column: at(column), descending: true, holds, value };
    vec![
        descending(operations::Column::CreatedAt, Holds::Number, |operation: &Operation| {
            Key::Number(micros(operation.created_at))
        }),
        descending(operations::Column::Id, Holds::Text, |operation| Key::Text(operation.id.to_string())),
    ]
}

impl Operations<'_> {
    async fn all(&self, wanted: Select<operations::Entity>) -> Result<Vec<Operation>, Error> {
        let ids: Vec<String> = self.0.run(wanted.into_tuple().all(&self.0.connection)).await?;
        self.read(&ids).await
    }

    /// The operations of these ids, in their order.
    async fn read(&self, ids: &[String]) -> Result<Vec<Operation>, Error> {
        let found = self.0.whole(&BY_IDS, ids, |whole: &Whole| &whole.row.id).await?;
        found.into_iter().map(operation).collect()
    }
}

fn row(operation: &Operation) -> Result<operations::Model, Error> {
    Ok(operations::Model {
        id: operation.id.to_string(),
        verb: operation.verb.as_str().to_owned(),
        group_id: operation.group_id.to_string(),
        group_name: operation.group.name.to_string(),
        group_instance: instance_text(&operation.group),
        service_id: operation.service.as_ref().map(ToString::to_string),
        state: operation.state.as_str().to_owned(),
        reason: operation.reason.map(|reason| reason.as_str().to_owned()),
        message: operation.message.clone(),
        policy: operation.policy.as_str().to_owned(),
        cancel_requested: operation.cancel_requested,
        leftovers: json(&operation.leftovers)?,
        request_id: operation.request_id.clone(),
        created_at: micros(operation.created_at),
        started_at: operation.started_at.map(micros),
        ended_at: operation.ended_at.map(micros),
    })
}

fn operation(read: Whole) -> Result<Operation, Error> {
    let row = read.row;
    let steps = whole::in_order(read.steps, |row| row.number).map(step);
    Ok(Operation {
        id: OperationId::trusted(row.id),
        verb: word("operations.verb", &row.verb, Verb::parse)?,
        group_id: GroupId::trusted(row.group_id),
        group: group_ref(row.group_name, row.group_instance),
        service: row.service_id.map(ServiceId::trusted),
        state: word("operations.state", &row.state, State::parse)?,
        reason: reason("operations.reason", row.reason.as_deref())?,
        message: row.message,
        policy: word("operations.policy", &row.policy, FailurePolicy::parse)?,
        cancel_requested: row.cancel_requested,
        steps: steps.collect::<Result<_, _>>()?,
        leftovers: from_json(&row.leftovers)?,
        request_id: row.request_id,
        created_at: time("operations.created_at", row.created_at)?,
        started_at: time_if("operations.started_at", row.started_at)?,
        ended_at: time_if("operations.ended_at", row.ended_at)?,
    })
}

pub(crate) fn reason(field: &'static str, stored: Option<&str>) -> Result<Option<Reason>, Error> {
    stored.map(|stored| word(field, stored, Reason::parse)).transpose()
}

fn step_row(operation: &OperationId, step: &Step) -> Result<operation_steps::Model, Error> {
    Ok(operation_steps::Model {
        operation_id: operation.to_string(),
        number: i32::try_from(step.number).map_err(|_| corrupt("operation_steps.number", step.number))?,
        service_id: step.service.as_ref().map(ToString::to_string),
        service_name: step.service_name.as_ref().map(ToString::to_string),
        subject: step.subject.clone(),
        action: step.action.as_str().to_owned(),
        why: step.why.clone(),
        needs: json(&step.needs)?,
        state: step.state.as_str().to_owned(),
        reason: step.reason.map(|reason| reason.as_str().to_owned()),
        message: step.message.clone(),
        started_at: step.started_at.map(micros),
        ended_at: step.ended_at.map(micros),
    })
}

fn step(row: operation_steps::Model) -> Result<Step, Error> {
    let service_name = row.service_name.map(|stored| {
        ServiceRef::parse("service_name", &stored)
            .map_err(|_| corrupt("operation_steps.service_name", stored))
    });
    Ok(Step {
        number: number("operation_steps.number", row.number)?,
        service: row.service_id.map(ServiceId::trusted),
        service_name: service_name.transpose()?,
        subject: row.subject,
        action: word("operation_steps.action", &row.action, Action::parse)?,
        why: row.why,
        needs: from_json(&row.needs)?,
        state: word("operation_steps.state", &row.state, State::parse)?,
        reason: reason("operation_steps.reason", row.reason.as_deref())?,
        message: row.message,
        started_at: time_if("operation_steps.started_at", row.started_at)?,
        ended_at: time_if("operation_steps.ended_at", row.ended_at)?,
    })
}

#[async_trait]
impl store::Operations for Operations<'_> {
    async fn get(&mut self, id: &OperationId) -> Result<Option<Operation>, Error> {
        // Nothing has to be found, so that only a unit that writes asks twice: it locks.
        if self.0.writes {
            let wanted = ids().filter(operations::Column::Id.eq(id.as_str()));
            return Ok(self.all(wanted.lock_exclusive()).await?.pop());
        }
        Ok(self.read(&[id.to_string()]).await?.pop())
    }

    async fn list(&mut self, filter: &OperationFilter, page: &Request) -> Result<Page<Operation>, Error> {
        let (listing, order) = (listing(filter), order());
        let rows = self.all(keyset::part(listing.clone(), &order, page)?).await?;
        let total = match keyset::known_total(page, rows.len()) {
            Some(total) => total,
            None => self.0.run(listing.count(&self.0.connection)).await?,
        };
        Ok(keyset::page(rows, &order, page, total))
    }

    async fn insert(&mut self, operation: &Operation) -> Result<(), Error> {
        self.0.insert(vec![row(operation)?]).await?;
        self.append_steps(&operation.id, &operation.steps).await
    }

    async fn update(&mut self, operation: &Operation) -> Result<(), Error> {
        let update = operations::Entity::update_many()
            .set(row(operation)?.into_active_model().reset_all())
            .filter(operations::Column::Id.eq(operation.id.as_str()));
        let done = self.0.run(update.exec(&self.0.connection)).await?;
        if done.rows_affected == 0 { Err(Error::Stale) } else { Ok(()) }
    }

    async fn append_steps(&mut self, id: &OperationId, steps: &[Step]) -> Result<(), Error> {
        let rows = steps.iter().map(|step| step_row(id, step)).collect::<Result<Vec<_>, Error>>()?;
        self.0.insert(rows).await
    }

    async fn update_step(&mut self, id: &OperationId, step: &Step) -> Result<(), Error> {
        let row = step_row(id, step)?;
        let (operation, number) = (row.operation_id.clone(), row.number);
        let update = operation_steps::Entity::update_many()
            .set(row.into_active_model().reset_all())
            .filter(operation_steps::Column::OperationId.eq(operation))
            .filter(operation_steps::Column::Number.eq(number));
        let done = self.0.run(update.exec(&self.0.connection)).await?;
        if done.rows_affected == 0 { Err(Error::Stale) } else { Ok(()) }
    }
}
