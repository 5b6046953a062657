//! What a text has named already: names that come twice are noted, wherever they stand.

use std::borrow::Cow;
use std::collections::HashSet;

/// What was seen of a message's fields.
#[derive(Default)]
pub(crate) struct Seen {
    /// A bit for each: the first of them, which are all that most messages have, and the others.
    first: u64,
    others: Vec<u64>,
    /// The oneofs of which a field is set.
    pub(crate) oneofs: Vec<u16>,
}

impl Seen {
    /// Whether the field is new.
    pub(crate) fn insert(&mut self, at: usize) -> bool {
        let (word, bit) = (at / 64, 1_u64 << (at % 64));
        let word = match word.checked_sub(1) {
            None => &mut self.first,
            Some(at) => {
                if self.others.len() <= at {
                    self.others.resize(at + 1, 0);
                }
                &mut self.others[at]
            }
        };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

/// The keys of a map that were seen. Most maps are small, and comparing a few is faster than hashing them.
#[derive(Default)]
pub(crate) struct Keys<'t> {
    few: Vec<Cow<'t, str>>,
    many: HashSet<Cow<'t, str>>,
}

impl<'t> Keys<'t> {
    /// So many are compared.
    const FEW: usize = 16;

    /// Whether the key is new.
    pub(crate) fn insert(&mut self, key: Cow<'t, str>) -> bool {
        if !self.many.is_empty() {
            return self.many.insert(key);
        }
        if self.few.contains(&key) {
            return false;
        }
        self.few.push(key);
        if self.few.len() > Self::FEW {
            self.many.extend(self.few.drain(..));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_new_once() {
        let mut seen = Seen::default();
        for at in [0, 63, 64, 65, 200, 1] {
            assert!(seen.insert(at) && !seen.insert(at), "{at}");
        }
    }

    #[test]
    fn a_key_is_new_once_however_many_there_are() {
        let mut keys = Keys::default();
        for round in 0..2 {
            for at in 0..40 {
                assert_eq!(keys.insert(format!("key-{at}").into()), round == 0, "{round} {at}");
            }
        }
    }
}
