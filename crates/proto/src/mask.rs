//! Field masks: one message laid over another, only where a path says so.
//!
//! Paths are those of `google.protobuf.FieldMask`: names joined by dots, through messages and into
//! maps (``environment.`a.b` `` for a key with dots). What a path names is taken over as it is in
//! the second message, also when it is absent there. Lists are replaced whole. Which fields may be
//! changed at all is not decided here.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};

/// A path that names nothing, or a name that the contract does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    fn new(message: String) -> Self {
        Self(message)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// `base`, with what `paths` name taken from `from`. Both are the message `name` of the package.
///
/// # Errors
/// The first path that names nothing of the message, with the way out.
pub fn merge<M: prost::Message + Default>(
    name: &str,
    base: &M,
    from: &M,
    paths: &[String],
) -> Result<M, Error> {
    let (mut merged, from) = (dynamic(name, base)?, dynamic(name, from)?);
    for path in paths {
        take(&mut merged, &from, path, path)?;
    }
    merged.transcode_to().map_err(|error| Error::new(format!("the message is no `{name}`: {error}")))
}

/// The paths of what is set in a message `name` of the package: the mask that an absent one stands for (AIP-134).
///
/// Lists, maps and messages of `google.protobuf` are named whole, other messages by what is set in them.
///
/// # Errors
/// A name that the contract does not have.
pub fn populated<M: prost::Message>(name: &str, message: &M) -> Result<Vec<String>, Error> {
    let message = dynamic(name, message)?;
    let mut paths = Vec::new();
    add_populated(&mut paths, "", &message);
    Ok(paths)
}

fn add_populated(paths: &mut Vec<String>, before: &str, message: &DynamicMessage) {
    for (field, value) in message.fields() {
        let path = format!("{before}{}", field.name());
        match value {
            Value::Message(inner)
                if inner.fields().next().is_some()
                    && inner.descriptor().package_name() != "google.protobuf" =>
            {
                add_populated(paths, &format!("{path}."), inner);
            }
            _ => paths.push(path),
        }
    }
}

fn dynamic<M: prost::Message>(name: &str, message: &M) -> Result<DynamicMessage, Error> {
    let descriptor = crate::pool()
        .get_message_by_name(&format!("{}.{name}", crate::PACKAGE))
        .ok_or_else(|| Error::new(format!("the contract has no message `{name}`")))?;
    DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|error| Error::new(format!("the message is no `{name}`: {error}")))
}

fn take(into: &mut DynamicMessage, from: &DynamicMessage, whole: &str, path: &str) -> Result<(), Error> {
    let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
    let Some(field) = into.descriptor().get_field_by_name(head) else {
        let names: Vec<String> = into.descriptor().fields().map(|field| field.name().to_owned()).collect();
        return Err(Error::new(format!(
            "`{whole}`: there is no field `{head}`; there are {}",
            names.join(", ")
        )));
    };
    match rest {
        None if from.has_field(&field) => into.set_field(&field, from.get_field(&field).into_owned()),
        None => into.clear_field(&field),
        Some(key) if field.is_map() => take_entry(into, from, &field, key),
        Some(rest) => take_inside(into, from, &field, whole, rest)?,
    }
    Ok(())
}

/// Every map of the contract has names for keys.
fn take_entry(into: &mut DynamicMessage, from: &DynamicMessage, field: &FieldDescriptor, key: &str) {
    let bare = key.strip_prefix('`').and_then(|key| key.strip_suffix('`')).unwrap_or(key);
    let key = MapKey::String(bare.to_owned());
    let value = match &*from.get_field(field) {
        Value::Map(entries) => entries.get(&key).cloned(),
        _ => None,
    };
    if let Value::Map(entries) = into.get_field_mut(field) {
        match value {
            Some(value) => drop(entries.insert(key, value)),
            None => drop(entries.remove(&key)),
        }
    }
}

fn take_inside(
    into: &mut DynamicMessage,
    from: &DynamicMessage,
    field: &FieldDescriptor,
    whole: &str,
    rest: &str,
) -> Result<(), Error> {
    let is_message = matches!(field.kind(), Kind::Message(_)) && !field.is_list();
    if !is_message {
        return Err(Error::new(format!(
            "`{whole}`: `{}` has nothing inside that could be changed alone; name the whole field",
            field.name()
        )));
    }
    let from = from.get_field(field);
    let (Value::Message(inside), Value::Message(from)) = (into.get_field_mut(field), &*from) else {
        return Err(Error::new(format!("`{whole}`: `{}` is no message", field.name())));
    };
    take(inside, from, whole, rest)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::v2 as pb;

    fn service(description: &str, image: &str) -> pb::Service {
        pb::Service {
            description: description.into(),
            tags: vec![description.into()],
            environment: BTreeMap::from([("A".into(), description.into()), ("a.b".into(), image.into())]),
            docker_config: Some(pb::DockerConfig { image: image.into(), ..pb::DockerConfig::default() }),
            ..pb::Service::default()
        }
    }

    fn merged(from: &pb::Service, paths: &[&str]) -> Result<pb::Service, Error> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        merge("Service", &service("old", "old:1"), from, &paths)
    }

    #[test]
    fn only_what_is_named_is_taken() {
        let from = service("new", "new:1");
        let described = merged(&from, &["description"]).unwrap();
        assert_eq!(described, pb::Service { description: "new".into(), ..service("old", "old:1") });
        assert_eq!(merged(&from, &[]).unwrap(), service("old", "old:1"));
        let inside = merged(&from, &["docker_config.image"]).unwrap();
        assert_eq!(inside.docker_config.unwrap().image, "new:1");
    }

    #[test]
    fn what_is_absent_is_cleared() {
        let cleared = merged(&pb::Service::default(), &["tags", "docker_config", "description"]).unwrap();
        assert_eq!((cleared.tags.len(), cleared.docker_config, cleared.description.as_str()), (0, None, ""));
        let one_left = merged(&pb::Service::default(), &["environment.A"]).unwrap();
        assert_eq!(one_left.environment, BTreeMap::from([("a.b".to_owned(), "old:1".to_owned())]));
    }

    #[test]
    fn one_entry_of_a_map_is_taken_by_its_key() {
        let from = service("new", "new:1");
        let one = merged(&from, &["environment.`a.b`"]).unwrap();
        assert_eq!(one.environment["A"], "old");
        assert_eq!(one.environment["a.b"], "new:1");
        let made = merge("Service", &pb::Service::default(), &from, &["environment.A".to_owned()]).unwrap();
        assert_eq!(made.environment, BTreeMap::from([("A".to_owned(), "new".to_owned())]));
    }

    #[test]
    fn an_absent_mask_names_what_is_set() {
        let mut from = service("new", "new:1");
        from.stop_grace_period = Some(prost_types::Duration { seconds: 3, nanos: 0 });
        from.port = Some(0);
        from.resources = Some(pb::Resources::default());
        let paths = populated("Service", &from).unwrap();
        let wanted = [
            "port",
            "environment",
            "tags",
            "resources",
            "docker_config.image",
            "stop_grace_period",
            "description",
        ];
        assert_eq!(paths, wanted);
        assert_eq!(populated("Service", &pb::Service::default()).unwrap(), [""; 0]);
        assert!(populated("Nothing", &from).is_err());
    }

    #[test]
    fn a_path_that_names_nothing_is_told() {
        let from = service("new", "new:1");
        let unknown = merged(&from, &["colour"]).unwrap_err().to_string();
        assert!(unknown.starts_with("`colour`: there is no field `colour`; there are id, name"), "{unknown}");
        let deep = merged(&from, &["docker_config.colour"]).unwrap_err().to_string();
        assert!(deep.starts_with("`docker_config.colour`: there is no field `colour`"), "{deep}");
        let list = merged(&from, &["tags.0"]).unwrap_err().to_string();
        assert!(list.contains("name the whole field"), "{list}");
        assert!(merge("Nothing", &from, &from, &[]).is_err());
    }
}
