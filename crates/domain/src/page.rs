//! Pages of a listing.
//!
//! A page begins after a number of rows, or at a [`Cursor`]: after a row, which is named by the values that order the
//! listing. Rows that come and go elsewhere move the first and not the second.

/// Which part of a listing is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// At most so many; 1 to [`Request::MAX`].
    pub limit: u32,
    /// Where it begins.
    pub start: Start,
}

/// Where a part of a listing begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// After so many rows.
    Offset(u64),
    /// At a cursor.
    After(Cursor),
}

impl Default for Request {
    fn default() -> Self {
        Self::at(Self::DEFAULT, 0)
    }
}

impl Request {
    /// What holds when nothing is said.
    pub const DEFAULT: u32 = 50;
    /// The most that one page has.
    pub const MAX: u32 = 100;

    /// Everything, for the daemon's own reading.
    pub const ALL: Self = Self::at(u32::MAX, 0);

    /// At most `limit` rows, after `offset` of them.
    pub const fn at(limit: u32, offset: u64) -> Self {
        Self { limit, start: Start::Offset(offset) }
    }

    /// At most `limit` rows, after a cursor.
    pub const fn after(limit: u32, cursor: Cursor) -> Self {
        Self { limit, start: Start::After(cursor) }
    }

    /// How many rows come before the part, as far as the caller has seen them.
    pub fn offset(&self) -> u64 {
        match &self.start {
            Start::Offset(offset) => *offset,
            Start::After(cursor) => cursor.seen,
        }
    }
}

/// A place in a listing: after the row with these keys, whether or not that row is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The values that order the listing, the first one first. Together they name one row.
    pub keys: Vec<Key>,
    /// How many rows were on the pages before.
    pub seen: u64,
}

/// A value that orders a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A name or a word.
    Text(String),
    /// A number, or a time in microseconds.
    Number(i64),
    /// There is none, which comes last.
    Nothing,
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The part.
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: u64,
    /// How many come before this part.
    pub offset: u64,
    /// Where the next part begins; `None` when this is the last one.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// The part of `request`, from rows that begin where it begins and go on for one row more than its limit, if there
    /// is one.
    pub fn of(mut rows: Vec<T>, request: &Request, total: u64, keys: impl Fn(&T) -> Vec<Key>) -> Self {
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let offset = request.offset();
        let last = if has_more { rows.last() } else { None };
        let next = last.map(|last| Cursor { keys: keys(last), seen: offset + rows.len() as u64 });
        Self { items: rows, total, offset, next }
    }

    /// Whether something comes after this part.
    pub fn has_more(&self) -> bool {
        self.next.is_some()
    }

    /// The same part of other things.
    pub fn map<U>(self, each: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(each).collect(),
            total: self.total,
            offset: self.offset,
            next: self.next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(row: &i64) -> Vec<Key> {
        vec![Key::Number(*row)]
    }

    #[test]
    fn a_row_more_than_the_limit_tells_that_there_is_more() {
        let first = Page::of(vec![1, 2, 3], &Request::at(2, 0), 3, number);
        let next = Cursor { keys: vec![Key::Number(2)], seen: 2 };
        assert_eq!((first.items.as_slice(), first.next.clone()), ([1, 2].as_slice(), Some(next.clone())));
        let last = Page::of(vec![3], &Request::after(2, next), 3, number);
        assert_eq!((last.offset, last.has_more()), (2, false));
        assert!(!Page::of(vec![1, 2], &Request::at(2, 0), 2, number).has_more());
    }
}
