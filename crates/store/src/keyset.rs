//! Pages by key: a listing goes on after the values that its last row had in what orders it, so that rows which come
//! and go elsewhere neither repeat nor hide another.

use clos_domain::page::{Cursor, Key, Page, Request, Start};
use clos_domain::seams::store::Error;
use sea_orm::sea_query::{Condition, ExprTrait, NullOrdering, SimpleExpr};
use sea_orm::{EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect, Select};

/// What a listing is ordered by, of rows that are read as `T`.
pub(crate) struct Sort<T> {
    pub(crate) column: SimpleExpr,
    pub(crate) descending: bool,
    pub(crate) holds: Holds,
    pub(crate) value: fn(&T) -> Key,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Text,
    Number,
    /// A number, or nothing, which comes last whichever way.
    NumberOrNothing,
}

pub(crate) fn in_order<E: EntityTrait, T>(mut listing: Select<E>, sorts: &[Sort<T>]) -> Select<E> {
    for sort in sorts {
        let way = if sort.descending { Order::Desc } else { Order::Asc };
        let column = sort.column.clone();
        listing = match sort.holds {
            // The two databases do not agree on where nothing goes.
            Holds::NumberOrNothing => listing.order_by_with_nulls(column, way, NullOrdering::Last),
            Holds::Text | Holds::Number => listing.order_by(column, way),
        };
    }
    listing
}

/// The part of a listing, in its order, and one row more that tells whether it goes on.
pub(crate) fn part<E: EntityTrait, T>(
    listing: Select<E>,
    sorts: &[Sort<T>],
    request: &Request,
) -> Result<Select<E>, Error> {
    let ordered = in_order(listing, sorts).limit(u64::from(request.limit) + 1);
    Ok(match &request.start {
        Start::Offset(offset) => ordered.offset(*offset),
        Start::After(cursor) => ordered.filter(after(sorts, cursor)?),
    })
}

/// The page that was read by [`part`].
pub(crate) fn page<T>(rows: Vec<T>, sorts: &[Sort<T>], request: &Request, total: u64) -> Page<T> {
    Page::of(rows, request, total, |row| sorts.iter().map(|sort| (sort.value)(row)).collect())
}

/// The size of the whole listing, where the rows that [`part`] found tell it: they go to its end.
pub(crate) fn known_total(request: &Request, got: usize) -> Option<u64> {
    let Start::Offset(offset) = request.start else { return None };
    let got = got as u64;
    let ends_here = got <= u64::from(request.limit) && (got > 0 || offset == 0);
    ends_here.then_some(offset + got)
}

/// The rows that come after these keys.
fn after<T>(sorts: &[Sort<T>], cursor: &Cursor) -> Result<Condition, Error> {
    if sorts.len() != cursor.keys.len() {
        return Err(Error::BadCursor);
    }
    let mut later = Condition::any();
    let mut equal = Condition::all();
    for (sort, key) in sorts.iter().zip(&cursor.keys) {
        let value = match (sort.holds, key) {
            // PostgreSQL has no text with a zero byte.
            (Holds::Text, Key::Text(text)) if !text.contains('\0') => Some(SimpleExpr::from(text.as_str())),
            (Holds::Number | Holds::NumberOrNothing, Key::Number(number)) => Some(SimpleExpr::from(*number)),
            (Holds::NumberOrNothing, Key::Nothing) => None,
            _ => return Err(Error::BadCursor),
        };
        let column = || sort.column.clone();
        let Some(value) = value else {
            equal = equal.add(column().is_null());
            continue;
        };
        let beyond = if sort.descending { column().lt(value.clone()) } else { column().gt(value.clone()) };
        let beyond = match sort.holds {
            Holds::NumberOrNothing => Condition::any().add(beyond).add(column().is_null()),
            Holds::Text | Holds::Number => Condition::all().add(beyond),
        };
        later = later.add(equal.clone().add(beyond));
        equal = equal.add(column().eq(value));
    }
    // By this an index is entered where the page begins.
    let entry = sorts.first().zip(cursor.keys.first()).and_then(|(sort, key)| {
        let value = match (sort.holds, key) {
            (Holds::Text, Key::Text(text)) => SimpleExpr::from(text.as_str()),
            (Holds::Number, Key::Number(number)) => SimpleExpr::from(*number),
            _ => return None,
        };
        Some(if sort.descending { sort.column.clone().lte(value) } else { sort.column.clone().gte(value) })
    });
    Ok(Condition::all().add_option(entry).add(later))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_that_go_to_the_end_tell_the_total() {
        assert_eq!(known_total(&Request::at(10, 0), 3), Some(3));
        assert_eq!(known_total(&Request::at(10, 20), 3), Some(23));
        assert_eq!(known_total(&Request::at(10, 0), 0), Some(0));
        assert_eq!(known_total(&Request::at(10, 20), 0), None, "the offset may lie far behind the end");
        assert_eq!(known_total(&Request::at(10, 0), 10), Some(10));
        assert_eq!(known_total(&Request::at(10, 0), 11), None);
        let cursor = Cursor { keys: vec![], seen: 20 };
        assert_eq!(known_total(&Request::after(10, cursor), 3), None, "what was seen may be gone");
    }
}
