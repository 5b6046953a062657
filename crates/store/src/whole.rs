//! Rows with all that belongs to them in other tables, however many, in one statement and one text.
//!
//! A row of the driver costs more than what it holds: a way between two threads, a place in a
//! channel, and allocations for each value. So the database makes one JSON text of what is asked for,
//! which serde reads: an object for each row, in which a row of a table is a list of its values in
//! the order of the table's columns.
//!
//! To read a table in this way: `#[serde(skip)]` on the columns of its model that are left out (a
//! column that names the owner, for one), [`flag`] on its booleans, and a member in the object of
//! the [`ByIds`] of its noun.

use std::sync::OnceLock;

use clos_domain::seams::store;
use sea_orm::{DbBackend, EntityTrait, IdenStatic, Iterable, Statement};
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use crate::convert::json;

/// So many rows are read into one text.
pub(crate) const ROWS: usize = 100;

/// The statement that reads rows of one kind by their ids. It is the same for any ids, and made once.
pub(crate) struct ByIds {
    make: fn(DbBackend) -> String,
    sqlite: OnceLock<String>,
    postgres: OnceLock<String>,
}

impl ByIds {
    /// See [`select`].
    pub(crate) const fn new(make: fn(DbBackend) -> String) -> Self {
        Self { make, sqlite: OnceLock::new(), postgres: OnceLock::new() }
    }

    /// For these.
    pub(crate) fn statement(&self, backend: DbBackend, ids: &[String]) -> Result<Statement, store::Error> {
        let made = if backend == DbBackend::Postgres { &self.postgres } else { &self.sqlite };
        let sql = made.get_or_init(|| (self.make)(backend));
        Ok(Statement::from_sql_and_values(backend, sql, [json(&ids)?.into()]))
    }
}

/// SQL for a list of the values of these columns.
pub(crate) fn values(backend: DbBackend, columns: &[String]) -> String {
    let columns = columns.join(", ");
    match backend {
        DbBackend::Postgres => format!("json_build_array({columns})::text"),
        _ => format!("json_array({columns})"),
    }
}

/// The columns of a table but for some.
pub(crate) fn columns<E: EntityTrait>(except: &[E::Column]) -> Vec<String> {
    let table = E::default().table_name();
    let except: Vec<&str> = except.iter().map(IdenStatic::as_str).collect();
    let names = E::Column::iter().map(|column| column.as_str());
    names.filter(|name| !except.contains(name)).map(|name| format!("{table}.{name}")).collect()
}

/// SQL for a list of all rows of a table whose column `owner` has the value `is`. They come in no order.
pub(crate) fn rows<E: EntityTrait>(backend: DbBackend, owner: E::Column, is: &str) -> String {
    let (table, column) = (E::default().table_name(), owner.as_str());
    let row = values(backend, &columns::<E>(&[owner]));
    format!("(SELECT {} FROM {table} WHERE {table}.{column} = {is})", list(&row))
}

/// SQL for an object of JSON texts, none of which is null. `format` writes it in one go, where `||`
/// would copy what there is for each member anew.
pub(crate) fn object(members: &[(&str, String)]) -> String {
    let names: Vec<String> = members.iter().map(|(name, _)| format!("\"{name}\":%s")).collect();
    let texts: Vec<&str> = members.iter().map(|(_, text)| text.as_str()).collect();
    format!("format('{{{}}}', {})", names.join(","), texts.join(", "))
}

/// SQL for a list of a JSON text for each row; without any, `format` writes nothing for the null.
fn list(text: &str) -> String {
    format!("format('[%s]', string_agg({text}, ','))")
}

/// The statement that makes a list of a JSON text for each row of `from` whose `id` is one of a JSON list.
pub(crate) fn select(backend: DbBackend, text: &str, from: &str, id: &str) -> String {
    let ids = match backend {
        DbBackend::Postgres => "SELECT json_array_elements_text($1::json)",
        _ => "SELECT value FROM json_each(?)",
    };
    format!("SELECT {} FROM {from} WHERE {id} IN ({ids})", list(text))
}

/// Rows in the order of a key.
pub(crate) fn in_order<R, K: Ord>(mut rows: Vec<R>, key: impl FnMut(&R) -> K) -> std::vec::IntoIter<R> {
    rows.sort_by_key(key);
    rows.into_iter()
}

/// Reads a boolean as either database writes it into JSON: SQLite has numbers for them.
pub(crate) fn flag<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    struct Flag;

    impl Visitor<'_> for Flag {
        type Value = bool;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a boolean, 0 or 1")
        }

        fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
            match value {
                0 => Ok(false),
                1 => Ok(true),
                other => Err(E::invalid_value(Unexpected::Unsigned(other), &self)),
            }
        }
    }

    value.deserialize_any(Flag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::service_tags;

    #[test]
    fn rows_are_lists_of_what_the_owner_does_not_say() {
        let sql =
            |backend| rows::<service_tags::Entity>(backend, service_tags::Column::ServiceId, "services.id");
        assert_eq!(
            sql(DbBackend::Sqlite),
            "(SELECT format('[%s]', string_agg(json_array(service_tags.position, service_tags.tag), ',')) \
             FROM service_tags WHERE service_tags.service_id = services.id)"
        );
        assert_eq!(
            sql(DbBackend::Postgres),
            "(SELECT format('[%s]', string_agg(json_build_array(service_tags.position, service_tags.tag)::text, ',')) \
             FROM service_tags WHERE service_tags.service_id = services.id)"
        );
    }

    #[test]
    fn an_object_names_its_members() {
        let members = [("a", "(1)".to_owned()), ("b", "(2)".to_owned())];
        assert_eq!(object(&members), r#"format('{"a":%s,"b":%s}', (1), (2))"#);
    }

    #[test]
    fn a_flag_is_read_as_either_database_writes_it() {
        let read = |text: &str| flag(&mut serde_json::Deserializer::from_str(text));
        for (text, wanted) in [("true", true), ("false", false), ("1", true), ("0", false)] {
            assert_eq!(read(text).unwrap(), wanted, "{text}");
        }
        for text in ["2", "-1", "null", "\"true\""] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
