//! Texts of messages that many sockets bring at the same time: each is printed once.
//!
//! A message is known by its position, and taken for another's only when all of its bytes are the same, so
//! a wrong position costs a print and never a wrong text.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::status::Failure;

/// Texts that are kept. Who is further behind than that prints for itself.
const KEPT: usize = 256;

/// The texts that were printed last.
#[derive(Debug)]
pub(crate) struct Printed {
    places: Vec<Mutex<Pair>>,
}

/// A message and its text.
#[derive(Debug, Default)]
struct Pair {
    message: Bytes,
    text: Bytes,
}

impl Default for Printed {
    fn default() -> Self {
        Self { places: (0..KEPT).map(|_| Mutex::default()).collect() }
    }
}

impl Printed {
    /// The text of a message at a position, printed if nobody did before.
    pub(crate) fn of(
        &self,
        position: i64,
        message: &[u8],
        print: impl FnOnce(&mut Vec<u8>) -> Result<(), Failure>,
    ) -> Result<Bytes, Failure> {
        let at = usize::try_from(position.rem_euclid(KEPT as i64)).unwrap_or_default();
        let mut pair = self.places[at].lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever comes at the same time waits for the text instead of printing it too.
        if pair.text.is_empty() || pair.message != message {
            let mut text = Vec::with_capacity(message.len() * 2);
            print(&mut text)?;
            // A copy: the buffer that the message is a part of is larger and belongs to a call.
            *pair = Pair { message: Bytes::copy_from_slice(message), text: text.into() };
        }
        Ok(pair.text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_printed_once_and_another_at_its_place_is_not_taken_for_it() {
        let printed = Printed::default();
        let mut count = 0;
        let mut ask = |position, message: &'static [u8]| {
            let text = printed.of(position, message, |out| {
                count += 1;
                out.extend_from_slice(message);
                Ok(())
            });
            (text.unwrap_or_default(), count)
        };
        assert_eq!(ask(7, b"a"), (Bytes::from("a"), 1));
        assert_eq!(ask(7, b"a"), (Bytes::from("a"), 1));
        assert_eq!(ask(7, b"b"), (Bytes::from("b"), 2));
        assert_eq!(ask(7 + KEPT as i64, b"c"), (Bytes::from("c"), 3));
        assert_eq!(ask(7, b"b"), (Bytes::from("b"), 4));
        assert_eq!(ask(-1, b"d"), (Bytes::from("d"), 5));
    }

    #[test]
    fn what_cannot_be_printed_is_not_kept() {
        let printed = Printed::default();
        assert!(printed.of(1, b"x", |_| Err(Failure::internal("no"))).is_err());
        let text = printed.of(1, b"x", |out| {
            out.push(b'x');
            Ok(())
        });
        assert_eq!(text.unwrap_or_default(), Bytes::from("x"));
    }
}
