//! Values to columns and back. What goes in was parsed; what comes out is
//! checked only as far as its type needs it.

use clos_domain::Timestamp;
use clos_domain::name::{GroupFilter, GroupName, GroupRef, Instance};
use clos_domain::seams::store::Error;
use sea_orm::ColumnTrait;
use sea_orm::sea_query::{Condition, Expr, SimpleExpr};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Corrupt;

pub(crate) fn corrupt(field: &'static str, value: impl ToString) -> Error {
    Error::Failed(Box::new(Corrupt { field, value: value.to_string() }))
}

/// The value of a stored word.
pub(crate) fn word<T>(
    field: &'static str,
    stored: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Error> {
    parse(stored).ok_or_else(|| corrupt(field, stored))
}

/// A number that a wider column holds.
pub(crate) fn number<T: TryFrom<i64>>(field: &'static str, stored: impl Into<i64>) -> Result<T, Error> {
    let stored = stored.into();
    T::try_from(stored).map_err(|_| corrupt(field, stored))
}

pub(crate) fn time(field: &'static str, micros: i64) -> Result<Timestamp, Error> {
    Timestamp::from_microsecond(micros).map_err(|_| corrupt(field, micros))
}

pub(crate) fn time_if(field: &'static str, micros: Option<i64>) -> Result<Option<Timestamp>, Error> {
    micros.map(|micros| time(field, micros)).transpose()
}

pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Failed(Box::new(error)))
}

pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Failed(Box::new(error)))
}

/// The base instance is the empty text, so that a unique key holds for it too.
pub(crate) fn instance_text(group: &GroupRef) -> String {
    group.instance.as_ref().map(ToString::to_string).unwrap_or_default()
}

pub(crate) fn group_ref(name: String, instance: String) -> GroupRef {
    let instance = (!instance.is_empty()).then(|| Instance::trusted(instance));
    GroupRef { name: GroupName::trusted(name), instance }
}

/// The rows of these groups, by the columns that hold name and instance.
pub(crate) fn of_groups<C: ColumnTrait>(filter: &GroupFilter, name: C, instance: C) -> Condition {
    match filter {
        GroupFilter::One(group) => {
            Condition::all().add(name.eq(group.name.as_str())).add(instance.eq(instance_text(group)))
        }
        GroupFilter::AllInstances(group) => Condition::all().add(name.eq(group.as_str())),
    }
}

/// Where `column` stands in its table, for statements over several tables.
pub(crate) fn at<C: ColumnTrait>(column: C) -> SimpleExpr {
    Expr::col((column.entity_name(), column))
}

/// A pattern for `LIKE` that matches whatever contains this text.
pub(crate) fn containing(text: &str) -> sea_orm::sea_query::LikeExpr {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    sea_orm::sea_query::LikeExpr::new(pattern).escape('\\')
}
