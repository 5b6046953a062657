//! What a client says on a socket: an object whose members are told apart before anybody knows what
//! they mean. No name may stand in it twice, since two readers could take different ones.

use clos_protojson::json::{Cursor, Peek, Syntax, put_string};
use clos_protojson::{DEPTH, Violation};

/// An object by its members.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Names, and values as they are written.
    members: Vec<(String, String)>,
}

impl Frame {
    pub(crate) fn read(text: &str) -> Result<Self, Violation> {
        let mut frame = Self::default();
        let mut cursor = Cursor::new(text);
        match frame.fill(&mut cursor) {
            Ok(None) => Ok(frame),
            Ok(Some(twice)) => Err(Violation::new(twice, "it stands there twice")),
            Err(syntax) => {
                Err(Violation::new("frame", format!("{} (column {})", syntax.message, syntax.at + 1)))
            }
        }
    }

    /// The first name that stands there twice.
    fn fill(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<String>, Syntax> {
        let mut twice = None;
        cursor.expect(b'{', "expected an object")?;
        if !cursor.eat(b'}') {
            loop {
                let name = cursor.string()?.into_owned();
                cursor.expect(b':', "expected `:` after a name")?;
                cursor.peek()?;
                let from = cursor.at();
                cursor.skip(DEPTH - 1)?;
                let value = cursor.text()[from..cursor.at()].to_owned();
                if self.has(&name) {
                    twice = twice.or(Some(name));
                } else {
                    self.members.push((name, value));
                }
                if cursor.eat(b'}') {
                    break;
                }
                cursor.expect(b',', "expected `,` or `}`")?;
            }
        }
        cursor.end()?;
        Ok(twice)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(known, _)| known == name)
    }

    /// Takes a member out; what is no string is none.
    pub(crate) fn take_string(&mut self, name: &str) -> Option<String> {
        let at = self.members.iter().position(|(known, _)| known == name)?;
        let (_, value) = self.members.remove(at);
        let mut cursor = Cursor::new(&value);
        (cursor.peek() == Ok(Peek::String)).then(|| cursor.string().ok())?.map(|text| text.into_owned())
    }

    /// Gives a member another name.
    pub(crate) fn rename(&mut self, name: &str, other: &str) -> Result<(), Violation> {
        if !self.has(name) {
            return Ok(());
        }
        if self.has(other) {
            return Err(Violation::new(name, format!("`{other}` says the same; send one of them")));
        }
        self.members
            .iter_mut()
            .filter(|(known, _)| known == name)
            .for_each(|(known, _)| other.clone_into(known));
        Ok(())
    }

    /// The object as JSON.
    pub(crate) fn text(&self) -> String {
        let mut text = b"{".to_vec();
        for (name, value) in &self.members {
            if text.len() > 1 {
                text.push(b',');
            }
            put_string(&mut text, name);
            text.push(b':');
            text.extend_from_slice(value.as_bytes());
        }
        text.push(b'}');
        String::from_utf8(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stay_as_they_are_written() {
        let mut frame =
            Frame::read(r#" {"op" : "subscribe","after":9007199254740993,"a\"b":[1, {"x":null}]} "#).unwrap();
        assert_eq!(frame.take_string("op").as_deref(), Some("subscribe"));
        assert_eq!(frame.take_string("op"), None);
        assert_eq!(frame.text(), r#"{"after":9007199254740993,"a\"b":[1, {"x":null}]}"#);
        assert_eq!(frame.take_string("after"), None, "it is no string");
        assert_eq!(Frame::read("{}").unwrap().text(), "{}");
    }

    #[test]
    fn a_name_stands_there_once_under_any_name() {
        assert_eq!(Frame::read(r#"{"a":1,"b":2,"\u0061":3}"#).unwrap_err().field, "a");
        let mut frame = Frame::read(r#"{"types":[],"x":1}"#).unwrap();
        frame.rename("types", "event_type").unwrap();
        frame.rename("nothing", "x").unwrap();
        assert_eq!(frame.text(), r#"{"event_type":[],"x":1}"#);
        assert_eq!(frame.rename("event_type", "x").unwrap_err().field, "event_type");
    }

    #[test]
    fn what_is_no_object_is_told_with_its_place() {
        for text in
            ["", "[]", "1", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{} {}", "{a:1}", "{\"a\":1 \"b\":2}"]
        {
            assert_eq!(Frame::read(text).unwrap_err().field, "frame", "{text}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100), "]".repeat(100));
        assert!(Frame::read(&deep).is_err());
    }
}
