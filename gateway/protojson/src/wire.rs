//! The wire format of protobuf: varints, tags, lengths.
//! <https://protobuf.dev/programming-guides/encoding/>

/// How a value is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    /// Where a group begins, and where it ends.
    Group = 3,
    End = 4,
    Fixed32 = 5,
}

/// A message that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no message: {0}")]
pub struct Malformed(pub &'static str);

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than 0x80")]
    out.push(value as u8);
}

pub(crate) fn put_tag(out: &mut Vec<u8>, number: u32, of: Type) {
    put_varint(out, u64::from(number) << 3 | of as u64);
}

/// Writes a length-delimited field.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_tag(out, number, Type::Bytes);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a message that is encoded already, as a group if the field is one.
pub fn put_message(out: &mut Vec<u8>, number: u32, is_group: bool, bytes: &[u8]) {
    if !is_group {
        return put_bytes(out, number, bytes);
    }
    put_tag(out, number, Type::Group);
    out.extend_from_slice(bytes);
    put_tag(out, number, Type::End);
}

/// Writes a length-delimited field whose length is known when it has been written.
pub fn put_nested<E>(
    out: &mut Vec<u8>,
    number: u32,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    put_tag(out, number, Type::Bytes);
    let mark = open(out);
    write(out)?;
    close(out, mark);
    Ok(())
}

/// A place for a length; most are short, so one byte is kept for it.
pub fn open(out: &mut Vec<u8>) -> usize {
    out.push(0);
    out.len()
}

/// Fills the place in.
pub fn close(out: &mut Vec<u8>, mark: usize) {
    let length = out.len() - mark;
    if let Ok(short) = u8::try_from(length)
        && short < 0x80
    {
        out[mark - 1] = short;
        return;
    }
    // The length takes more than the byte that was kept: what follows moves behind it.
    let more = varint_len(length as u64) - 1;
    out.resize(out.len() + more, 0);
    out.copy_within(mark..mark + length, mark + more);
    let mut left = length;
    for (at, byte) in out[mark - 1..mark + more].iter_mut().enumerate() {
        #[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
        let bits = (left & 0x7f) as u8;
        *byte = bits | if at < more { 0x80 } else { 0 };
        left >>= 7;
    }
}

/// How many bytes a number takes.
const fn varint_len(value: u64) -> usize {
    (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

pub(crate) const fn zigzag32(value: i32) -> u32 {
    value.cast_unsigned() << 1 ^ (value >> 31).cast_unsigned()
}

pub(crate) const fn zigzag64(value: i64) -> u64 {
    value.cast_unsigned() << 1 ^ (value >> 63).cast_unsigned()
}

pub(crate) const fn unzigzag32(value: u32) -> i32 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

pub(crate) const fn unzigzag64(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// A value as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw<'a> {
    /// A number in groups of seven bits.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// A length, and so many bytes.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32(u32),
    /// What is in a group, which proto3 does not have.
    Group(&'a [u8]),
}

/// Reads fields one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Stands at the beginning of a message.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all of it was read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes were not read yet.
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// Reads a number without a tag, as packed lists have them.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        // Tags, and most lengths and numbers, have one byte or two.
        match *self.rest {
            [first, ref rest @ ..] if first < 0x80 => {
                self.rest = rest;
                Ok(first.into())
            }
            [first, second, ref rest @ ..] if second < 0x80 => {
                self.rest = rest;
                Ok(u64::from(first & 0x7f) | u64::from(second) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (at, &byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                if at == 9 && byte > 1 {
                    return Err(Malformed("a number has more than 64 bits"));
                }
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(Malformed("a number does not end"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn fixed32(&mut self) -> Result<u32, Malformed> {
        let bytes = self.take(4)?.try_into().map_err(|_| Malformed("it ends too early"))?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(crate) fn fixed64(&mut self) -> Result<u64, Malformed> {
        let bytes = self.take(8)?.try_into().map_err(|_| Malformed("it ends too early"))?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The next field, or nothing at the end.
    #[inline]
    pub fn field(&mut self) -> Result<Option<(u32, Raw<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = u32::try_from(self.varint()?).map_err(|_| Malformed("a field number is too large"))?;
        let number = tag >> 3;
        if number == 0 {
            return Err(Malformed("a field has the number 0"));
        }
        Ok(Some((number, self.value(number, tag & 7)?)))
    }

    #[inline]
    fn value(&mut self, number: u32, of: u32) -> Result<Raw<'a>, Malformed> {
        Ok(match of {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed64(self.fixed64()?),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed("it ends too early"))?;
                Raw::Bytes(self.take(length)?)
            }
            3 => {
                let whole = self.rest;
                let left = self.skip_group(number, 0)?;
                Raw::Group(&whole[..whole.len() - left])
            }
            5 => Raw::Fixed32(self.fixed32()?),
            _ => return Err(Malformed("a field has an unknown layout")),
        })
    }

    /// How many bytes were left before the tag that ends it.
    fn skip_group(&mut self, opened: u32, depth: u32) -> Result<usize, Malformed> {
        if depth > 100 {
            return Err(Malformed("it is nested too deeply"));
        }
        loop {
            let left = self.rest.len();
            let tag = u32::try_from(self.varint()?).map_err(|_| Malformed("a field number is too large"))?;
            let (number, of) = (tag >> 3, tag & 7);
            match of {
                4 if number == opened => return Ok(left),
                4 => return Err(Malformed("a group ends that did not begin")),
                3 => _ = self.skip_group(number, depth + 1)?,
                _ => _ = self.value(number, of)?,
            }
        }
    }
}

/// The last value of a field, as a decoder would take it; pieces of a message are not merged.
pub fn last(bytes: &[u8], wanted: u32) -> Option<Raw<'_>> {
    let mut reader = Reader::new(bytes);
    let mut found = None;
    while let Ok(Some((number, value))) = reader.field() {
        if number == wanted {
            found = Some(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_there_and_back() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, 1 << 21, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(Reader::new(&out).varint(), Ok(value));
        }
        for value in [0, 1, -1, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag64(zigzag64(value)), value);
        }
        for value in [0, 1, -1, i32::MAX, i32::MIN] {
            assert_eq!(unzigzag32(zigzag32(value)), value);
        }
    }

    #[test]
    fn a_long_nested_field_gets_its_longer_length() {
        for length in [0, 127, 128, 16_383, 16_384, 20_000] {
            let mut out = Vec::new();
            let fill = |out: &mut Vec<u8>| {
                out.extend(std::iter::repeat_n(7_u8, length));
                Ok::<(), ()>(())
            };
            put_nested(&mut out, 3, fill).unwrap();
            let Ok(Some((3, Raw::Bytes(read)))) = Reader::new(&out).field() else { panic!("{length}") };
            assert_eq!(read.len(), length);
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let cases: [&[u8]; 8] = [
            &[0x80],
            &[0x08],
            &[0x0a, 5, 1],
            &[0x09, 1],
            &[0x0d, 1],
            &[0x07],
            &[0x00, 0],
            &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
        ];
        for bytes in cases {
            assert!(Reader::new(bytes).field().is_err(), "{bytes:?}");
        }
        assert!(Reader::new(&[0x0b, 0x14]).field().is_err(), "a group closed by another number");
        assert_eq!(Reader::new(&[0x0b, 0x08, 1, 0x0c]).field(), Ok(Some((1, Raw::Group(&[0x08, 1])))));
        let deep: Vec<u8> = std::iter::repeat_n(0x0b, 200).collect();
        assert!(Reader::new(&deep).field().is_err());
    }
}
