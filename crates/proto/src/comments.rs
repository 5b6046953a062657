//! What the contract's comments say of a message, a field or an enum's value.

use prost_reflect::{FileDescriptor, MessageDescriptor};

/// Something of the contract that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// `Service.desired_state`, `ErrorReason.PORT_CONFLICT`.
    pub name: String,
    /// What it is: a type with `repeated` or `optional`, `message`, `enum`.
    pub kind: String,
    /// The comment, without line breaks inside of a paragraph.
    pub comment: String,
    /// What it is made of.
    pub parts: Vec<Subject>,
}

/// Finds `Service`, `Service.ports`, `DesiredState` or `ErrorReason.PORT_CONFLICT`; letters may be of either case.
pub fn find(name: &str) -> Option<Subject> {
    let pool = crate::pool();
    let ours = |package: &str| package == crate::PACKAGE;
    let (head, part) = name.split_once('.').map_or((name, None), |(head, part)| (head, Some(part)));
    if let Some(message) =
        pool.all_messages().find(|it| ours(it.package_name()) && it.name().eq_ignore_ascii_case(head))
    {
        let whole = of_message(&message);
        return match part {
            None => Some(whole),
            Some(part) => whole.parts.into_iter().find(|field| is_named(field, part)),
        };
    }
    let known =
        pool.all_enums().find(|it| ours(it.package_name()) && it.name().eq_ignore_ascii_case(head))?;
    let prefix = format!("{}_", upper_snake(known.name()));
    let parts: Vec<Subject> = known
        .values()
        .filter(|value| value.number() != 0)
        .map(|value| Subject {
            name: format!("{}.{}", known.name(), value.name().strip_prefix(&prefix).unwrap_or(value.name())),
            kind: "word".to_owned(),
            comment: comment(&known.parent_file(), value.path()),
            parts: Vec::new(),
        })
        .collect();
    match part {
        None => Some(Subject {
            name: known.name().to_owned(),
            kind: "enum".to_owned(),
            comment: comment(&known.parent_file(), known.path()),
            parts,
        }),
        Some(part) => parts.into_iter().find(|value| is_named(value, part)),
    }
}

fn of_message(message: &MessageDescriptor) -> Subject {
    let file = message.parent_file();
    let parts = message.fields().map(|field| {
        let kind = match field.kind() {
            prost_reflect::Kind::Message(of) if field.is_map() => {
                format!("map of {}", short(&format!("{:?}", of.map_entry_value_field().kind())))
            }
            prost_reflect::Kind::Message(of) => of.name().to_owned(),
            prost_reflect::Kind::Enum(of) => of.name().to_owned(),
            scalar => short(&format!("{scalar:?}")),
        };
        let kind = match (field.is_list(), field.supports_presence() && field.kind().as_message().is_none()) {
            (true, _) => format!("list of {kind}"),
            (false, true) => format!("optional {kind}"),
            (false, false) => kind,
        };
        Subject {
            name: format!("{}.{}", message.name(), field.name()),
            kind,
            comment: comment(&file, field.path()),
            parts: Vec::new(),
        }
    });
    Subject {
        name: message.name().to_owned(),
        kind: "message".to_owned(),
        comment: comment(&file, message.path()),
        parts: parts.collect(),
    }
}

fn is_named(subject: &Subject, part: &str) -> bool {
    subject.name.rsplit('.').next().is_some_and(|name| name.eq_ignore_ascii_case(part))
}

/// `Kind` prints a scalar as its name and a message with its path.
fn short(kind: &str) -> String {
    kind.to_lowercase().trim_start_matches("clos.v2.").to_owned()
}

fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|it| it.path == path));
    let text = location.and_then(|it| it.leading_comments.as_deref().or(it.trailing_comments.as_deref()));
    text.unwrap_or_default().lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn upper_snake(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for (at, letter) in camel.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_uppercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_contract_says_is_found_by_name() {
        let reason = find("ErrorReason.port_conflict").unwrap();
        assert_eq!(reason.name, "ErrorReason.PORT_CONFLICT");
        assert!(reason.comment.len() > 10, "{reason:?}");
        let field = find("service.Desired_State").unwrap();
        assert_eq!((field.name.as_str(), field.kind.as_str()), ("Service.desired_state", "DesiredState"));
        let message = find("Group").unwrap();
        assert!(message.parts.iter().any(|part| part.kind == "list of GroupNetwork"), "{message:?}");
        assert_eq!(find("Nothing").or_else(|| find("Service.nothing")), None);
    }

    #[test]
    fn every_message_and_field_has_a_comment() {
        for message in crate::pool().all_messages().filter(|it| it.package_name() == crate::PACKAGE) {
            if message.is_map_entry() {
                continue;
            }
            let subject = of_message(&message);
            for part in subject.parts.iter().chain([&subject]) {
                assert!(!part.comment.is_empty(), "{} has no comment", part.name);
            }
        }
    }
}
