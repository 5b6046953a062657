//! Pages of a listing.

/// Which part of a listing is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// At most so many; 1 to [`Request::MAX`].
    pub limit: u32,
    /// After so many.
    pub offset: u64,
}

impl Default for Request {
    fn default() -> Self {
        Self { limit: Self::DEFAULT, offset: 0 }
    }
}

impl Request {
    /// What holds when nothing is said.
    pub const DEFAULT: u32 = 50;
    /// The most that one page has.
    pub const MAX: u32 = 100;

    /// Everything, for the daemon's own reading.
    pub const ALL: Self = Self { limit: u32::MAX, offset: 0 };
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
}

impl<T> Page<T> {
    /// Whether something comes after this part.
    pub fn has_more(&self) -> bool {
        self.next_offset() < self.total
    }

    /// Where the next part begins.
    pub fn next_offset(&self) -> u64 {
        self.offset + self.items.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_page_has_no_more() {
        let first = Page { items: vec![1, 2], total: 3, offset: 0 };
        assert!(first.has_more());
        let last = Page { items: vec![3], total: 3, offset: first.next_offset() };
        assert!(!last.has_more());
    }
}
