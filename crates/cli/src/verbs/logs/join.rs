//! Pieces of long lines, put together again.

use std::collections::BTreeMap;

use clos_proto::v2 as pb;

/// A line that is longer is handed on in pieces of this size.
const LONGEST: usize = 1024 * 1024;

/// Whose line: the service, its container and the stream.
pub(super) type Key = (String, String, i32);

pub(super) fn key(entry: &pb::LogEntry) -> Key {
    (entry.service.clone(), entry.container_id.clone(), entry.source)
}

/// The bytes of an entry's line.
pub(super) fn bytes(entry: &pb::LogEntry) -> &[u8] {
    entry.raw.as_deref().unwrap_or(entry.message.as_bytes())
}

/// The lines that have no end yet.
#[derive(Default)]
pub(super) struct Joiner {
    open: BTreeMap<Key, (pb::LogEntry, Vec<u8>)>,
}

impl Joiner {
    /// Takes a piece; gives the line when this was its last, or when it is too long to wait for.
    pub(super) fn take(&mut self, entry: pb::LogEntry) -> Option<pb::LogEntry> {
        let key = key(&entry);
        if !entry.partial && !self.open.contains_key(&key) {
            return Some(entry);
        }
        let is_last = !entry.partial;
        let (_, text) = self.open.entry(key.clone()).or_insert_with(|| (entry.clone(), Vec::new()));
        text.extend_from_slice(bytes(&entry));
        let is_long = text.len() >= LONGEST;
        let (first, text) = (is_last || is_long).then(|| self.open.remove(&key)).flatten()?;
        Some(joined(first, text, !is_last))
    }

    pub(super) fn holds(&self) -> bool {
        !self.open.is_empty()
    }

    /// What there is of every open line; `partial` where it may go on.
    pub(super) fn release(&mut self, partial: bool) -> Vec<pb::LogEntry> {
        let open = std::mem::take(&mut self.open).into_values();
        open.map(|(first, text)| joined(first, text, partial)).collect()
    }
}

fn joined(mut entry: pb::LogEntry, text: Vec<u8>, partial: bool) -> pb::LogEntry {
    entry.partial = partial;
    (entry.message, entry.raw) = match String::from_utf8(text) {
        Ok(text) => (text, None),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(error.into_bytes())),
    };
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(service: &str, text: &[u8], partial: bool) -> pb::LogEntry {
        let entry = pb::LogEntry { service: service.to_owned(), ..pb::LogEntry::default() };
        joined(entry, text.to_vec(), partial)
    }

    #[test]
    fn pieces_are_one_line_byte_for_byte_also_between_those_of_others() {
        let mut joiner = Joiner::default();
        assert!(joiner.take(piece("web", b"a\xff", true)).is_none());
        assert_eq!(joiner.take(piece("api", b"b", false)).unwrap().message, "b");
        assert!(joiner.take(piece("web", b"c\xe2\x82", true)).is_none());
        let line = joiner.take(piece("web", b"\xac", false)).unwrap();
        assert_eq!((bytes(&line), line.partial), (b"a\xffc\xe2\x82\xac".as_slice(), false));
        assert!(!joiner.holds());
    }

    #[test]
    fn a_line_without_end_is_handed_on_in_long_pieces() {
        let mut joiner = Joiner::default();
        let text = vec![b'x'; 64 * 1024];
        let told: Vec<_> = (0..20).filter_map(|_| joiner.take(piece("web", &text, true))).collect();
        assert_eq!(
            told.iter().map(|line| (line.message.len(), line.partial)).collect::<Vec<_>>(),
            [(LONGEST, true)]
        );
        assert_eq!(joiner.release(false)[0].message.len(), 4 * 64 * 1024);
    }
}
