//! The journal: sequences are given at commit, reading goes by position.

use async_trait::async_trait;
use clos_domain::Timestamp;
use clos_domain::event::{Data, Draft, Event, Filter, Sequence, Severity, types};
use clos_domain::id::{OperationId, ServiceId};
use clos_domain::name::GroupFilter;
use clos_domain::seams::store::{self, Error};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    Select, Statement,
};

use crate::convert::{from_json, group_ref, instance_text, json, micros, time, word};
use crate::tables::{journal, journal_head};
use crate::unit::Unit;

/// Events that one trim drops at most, so that a long history does not hold the writer.
const TRIM: i64 = 10_000;

pub(crate) struct Journal<'a>(pub(crate) &'a mut Unit);

/// Gives the drafts their sequences and writes them: the last statements before the commit. The
/// row of the head stays locked until then, so that commits are in the order of their sequences.
pub(crate) async fn write(unit: &Unit, drafts: Vec<Draft>) -> Result<Vec<Event>, Error> {
    if drafts.is_empty() {
        return Ok(Vec::new());
    }
    let count = i64::try_from(drafts.len()).unwrap_or(i64::MAX);
    let last = unit.run(advance(unit, count)).await?;
    let events: Vec<Event> = (last - count + 1..=last)
        .zip(drafts)
        .map(|(seq, draft)| Event {
            seq,
            kind: draft.kind.to_owned(),
            severity: draft.severity,
            service: draft.service,
            group: draft.group,
            operation: draft.operation,
            data: draft.data,
            at: draft.at,
        })
        .collect();
    let rows = events.iter().map(row).collect::<Result<Vec<_>, Error>>()?;
    unit.insert(rows).await?;
    Ok(events)
}

async fn advance(unit: &Unit, count: i64) -> Result<Sequence, DbErr> {
    let update = Statement::from_sql_and_values(
        unit.connection.get_database_backend(),
        "UPDATE journal_head SET seq = seq + $1 WHERE id = 1 RETURNING seq",
        [count.into()],
    );
    let Some(head) = unit.connection.query_one_raw(update).await? else {
        return Err(DbErr::RecordNotFound("journal_head has no row".into()));
    };
    head.try_get("", "seq")
}

fn row(event: &Event) -> Result<journal::Model, Error> {
    Ok(journal::Model {
        seq: event.seq,
        kind: event.kind.clone(),
        severity: event.severity.as_str().to_owned(),
        service_id: event.service.as_ref().map(ToString::to_string),
        group_name: event.group.as_ref().map(|group| group.name.to_string()),
        group_instance: event.group.as_ref().map(instance_text),
        operation_id: event.operation.as_ref().map(ToString::to_string),
        data: json(&event.data)?,
        at: micros(event.at),
    })
}

fn event(row: journal::Model) -> Result<Event, Error> {
    Ok(Event {
        seq: row.seq,
        severity: word("journal.severity", &row.severity, Severity::parse)?,
        service: row.service_id.map(ServiceId::trusted),
        group: row.group_name.zip(row.group_instance).map(|(name, instance)| group_ref(name, instance)),
        operation: row.operation_id.map(OperationId::trusted),
        data: from_json::<Data>(&row.data)?,
        at: time("journal.at", row.at)?,
        kind: row.kind,
    })
}

pub(crate) fn listing(filter: &Filter, after: Sequence, limit: u32) -> Select<journal::Entity> {
    let mut wanted = Condition::all().add(journal::Column::Seq.gt(after));
    if !filter.types.is_empty() {
        let mut any_type = Condition::any();
        for pattern in &filter.types {
            any_type = match pattern {
                clos_domain::event::Pattern::Word(word) => {
                    any_type.add(journal::Column::Kind.eq(word.as_str()))
                }
                // A family is the words in it: that is the same in both databases, whatever their collation.
                clos_domain::event::Pattern::Family(_) => {
                    let words = types::JOURNALED.into_iter().filter(|word| pattern.matches(word));
                    any_type.add(journal::Column::Kind.is_in(words))
                }
            };
        }
        wanted = wanted.add(any_type);
    }
    if let Some(service) = &filter.service {
        wanted = wanted.add(journal::Column::ServiceId.eq(service.as_str()));
    }
    if let Some(group) = &filter.group {
        let name = match group {
            GroupFilter::One(group) => &group.name,
            GroupFilter::AllInstances(name) => name,
        };
        wanted = wanted.add(journal::Column::GroupName.eq(name.as_str()));
        if let GroupFilter::One(group) = group {
            wanted = wanted.add(journal::Column::GroupInstance.eq(instance_text(group)));
        }
    }
    if let Some(operation) = &filter.operation {
        wanted = wanted.add(journal::Column::OperationId.eq(operation.as_str()));
    }
    if let Some(least) = filter.at_least {
        let severe = Severity::ALL.into_iter().filter(|severity| *severity >= least).map(Severity::as_str);
        wanted = wanted.add(journal::Column::Severity.is_in(severe));
    }
    if let Some(since) = filter.since {
        wanted = wanted.add(journal::Column::At.gte(micros(since)));
    }
    if let Some(until) = filter.until {
        wanted = wanted.add(journal::Column::At.lt(micros(until)));
    }
    journal::Entity::find().filter(wanted).order_by_asc(journal::Column::Seq).limit(u64::from(limit))
}

impl Journal<'_> {
    async fn all(&self, events: Select<journal::Entity>) -> Result<Vec<Event>, Error> {
        let rows = self.0.run(events.all(&self.0.connection)).await?;
        rows.into_iter().map(event).collect()
    }

    /// The first sequence of these.
    async fn first(&self, events: Select<journal::Entity>) -> Result<Option<Sequence>, Error> {
        let first = events
            .select_only()
            .column(journal::Column::Seq)
            .order_by_asc(journal::Column::Seq)
            .limit(1)
            .into_tuple::<i64>();
        self.0.run(first.one(&self.0.connection)).await
    }
}

#[async_trait]
impl store::Journal for Journal<'_> {
    fn append(&mut self, draft: Draft) {
        self.0.drafts.push(draft);
    }

    async fn head(&mut self) -> Result<Sequence, Error> {
        let head = self.0.run(journal_head::Entity::find().one(&self.0.connection)).await?;
        Ok(head.map(|head| head.seq).unwrap_or_default())
    }

    async fn oldest(&mut self) -> Result<Option<Sequence>, Error> {
        self.first(journal::Entity::find()).await
    }

    async fn after(&mut self, position: Sequence, limit: u32) -> Result<Vec<Event>, Error> {
        self.all(listing(&Filter::default(), position, limit)).await
    }

    async fn list(&mut self, filter: &Filter, after: Sequence, limit: u32) -> Result<Vec<Event>, Error> {
        self.all(listing(filter, after, limit)).await
    }

    async fn first_of(&mut self, operation: &OperationId) -> Result<Option<Sequence>, Error> {
        self.first(journal::Entity::find().filter(journal::Column::OperationId.eq(operation.as_str()))).await
    }

    async fn trim(&mut self, keep: u64, before: Timestamp) -> Result<u64, Error> {
        let Some(oldest) = self.oldest().await? else { return Ok(0) };
        let kept = i64::try_from(keep).unwrap_or(i64::MAX);
        let head = self.head().await?;
        // Only a beginning goes, whatever the times say: what is kept has no gaps.
        let young = journal::Entity::find().filter(journal::Column::At.gte(micros(before)));
        let first_young = self.first(young).await?.unwrap_or(i64::MAX);
        let end =
            first_young.min(head.saturating_sub(kept).saturating_add(1)).min(oldest.saturating_add(TRIM));
        let old = journal::Entity::delete_many().filter(journal::Column::Seq.lt(end));
        Ok(self.0.run(old.exec(&self.0.connection)).await?.rows_affected)
    }
}
