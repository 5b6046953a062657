//! Names that people type, parsed once.
//!
//! The patterns are those of semantics.md; inside the system a name is always good.

use serde::{Deserialize, Serialize};

use crate::error::Error;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $noun:literal, $pattern:literal, $max:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The pattern, for messages.
            pub const PATTERN: &'static str = $pattern;

            /// The name, or an error that names the field, the value and the pattern.
            pub fn parse(field: &str, raw: &str) -> Result<Self, Error> {
                let check: fn(&str) -> bool = $check;
                if raw.len() <= $max && check(raw) {
                    return Ok(Self(raw.to_owned()));
                }
                Err(Error::field(field, format!("`{}` is not {} name: it must match {}", shown(raw), $noun, $pattern)))
            }

            /// A name from our own store, which was parsed when it went in.
            pub fn trusted(raw: impl Into<String>) -> Self {
                Self(raw.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A service's name inside its group.
    ServiceName, "a service", "[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", 100, |raw| {
        starts_with(raw, |b| b.is_ascii_alphanumeric())
            && raw.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    }
}
name! {
    /// A group's name; `__` is kept for instances on the engine.
    GroupName, "a group", "[a-z0-9][a-z0-9_-]{0,49} without `__`", 50, |raw| {
        starts_with(raw, lower_or_digit)
            && raw.bytes().all(|b| lower_or_digit(b) || matches!(b, b'_' | b'-'))
            && !raw.contains("__")
    }
}
name! {
    /// The name of a copy of a group.
    Instance, "an instance", "[a-z0-9][a-z0-9-]{0,30}", 31, |raw| {
        starts_with(raw, lower_or_digit) && raw.bytes().all(|b| lower_or_digit(b) || b == b'-')
    }
}

fn lower_or_digit(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn starts_with(raw: &str, good: fn(u8) -> bool) -> bool {
    raw.bytes().next().is_some_and(good)
}

/// Whether an engine can take this for an image: `postgres:17`, `ghcr.io/a/b@sha256:…`.
pub fn is_image_reference(raw: &str) -> bool {
    let (named, digest) = match raw.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (raw, None),
    };
    let is_digest = |digest: &str| {
        digest.split_once(':').is_some_and(|(algorithm, hex)| {
            !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
        })
    };
    let last = named.rfind('/').map_or(0, |slash| slash + 1);
    let (path, tag) = match named[last..].find(':') {
        Some(colon) => (&named[..last + colon], Some(&named[last + colon + 1..])),
        None => (named, None),
    };
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let is_tag = |tag: &str| {
        tag.len() <= 128
            && tag.bytes().next().is_some_and(is_word)
            && tag.bytes().all(|b| is_word(b) || b"-.".contains(&b))
    };
    let parts: Vec<&str> = path.split('/').collect();
    let is_part = |(index, part): (usize, &&str)| {
        // The first of several may be a registry's host with its port.
        let is_host = index == 0 && parts.len() > 1;
        let is_good = |b: u8| {
            b.is_ascii_lowercase()
                || b.is_ascii_digit()
                || b"-._".contains(&b)
                || (is_host && (b.is_ascii_uppercase() || b":[]".contains(&b)))
        };
        let ends =
            |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || (is_host && b"[]".contains(&b)));
        part.bytes().all(is_good) && ends(part.bytes().next()) && ends(part.bytes().last())
    };
    raw.len() <= 512
        && parts.iter().enumerate().all(is_part)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest)
}

/// A value as an error shows it: never longer than a line.
pub fn shown(raw: &str) -> String {
    const LIMIT: usize = 60;
    if raw.chars().count() <= LIMIT {
        return raw.to_owned();
    }
    let head: String = raw.chars().take(LIMIT).collect();
    format!("{head}… ({} characters)", raw.chars().count())
}

/// A group and which copy of it: `shop`, `shop~x`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupRef {
    /// The group's name.
    pub name: GroupName,
    /// `None` is the base instance.
    pub instance: Option<Instance>,
}

impl GroupRef {
    /// A base instance.
    pub fn base(name: GroupName) -> Self {
        Self { name, instance: None }
    }

    /// `shop` or `shop~x`.
    pub fn parse(field: &str, raw: &str) -> Result<Self, Error> {
        let (name, instance) = match raw.split_once('~') {
            Some((name, instance)) => (name, Some(Instance::parse(field, instance)?)),
            None => (raw, None),
        };
        Ok(Self { name: GroupName::parse(field, name)?, instance })
    }

    /// What containers, networks and volumes of it start with: `shop`, `shop__x`.
    pub fn engine_prefix(&self) -> String {
        match &self.instance {
            None => self.name.to_string(),
            Some(instance) => format!("{}__{instance}", self.name),
        }
    }
}

impl std::fmt::Display for GroupRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.instance {
            None => write!(f, "{}", self.name),
            Some(instance) => write!(f, "{}~{instance}", self.name),
        }
    }
}

/// A service's resource name: `shop/web`, `shop~x/web`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceRef {
    /// Its group.
    pub group: GroupRef,
    /// Its name there.
    pub name: ServiceName,
}

impl ServiceRef {
    /// `shop/web`, `shop~x/web`, or as a path has it: `groups/shop/services/web`.
    pub fn parse(field: &str, raw: &str) -> Result<Self, Error> {
        let Some((group, name)) = Self::split(raw) else {
            return Err(Error::field(
                field,
                format!("`{}` is neither an id nor a resource name like `shop/web`", shown(raw)),
            ));
        };
        Ok(Self { group: GroupRef::parse(field, group)?, name: ServiceName::parse(field, name)? })
    }

    /// Group and service of both spellings, as they are written.
    pub fn split(raw: &str) -> Option<(&str, &str)> {
        // Neither part of a resource name has a slash, so that nothing can be read both ways.
        let nested = raw.strip_prefix("groups/").and_then(|rest| rest.split_once("/services/"));
        nested.or_else(|| raw.split_once('/'))
    }
}

impl std::fmt::Display for ServiceRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.group, self.name)
    }
}

/// A filter on groups: `shop` is the base only, `shop~*` every instance, `shop~x` that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupFilter {
    /// Exactly this copy.
    One(GroupRef),
    /// Every copy of the name, the base included.
    AllInstances(GroupName),
}

impl GroupFilter {
    /// Reads the three forms.
    pub fn parse(field: &str, raw: &str) -> Result<Self, Error> {
        match raw.strip_suffix("~*") {
            Some(name) => Ok(Self::AllInstances(GroupName::parse(field, name)?)),
            None => Ok(Self::One(GroupRef::parse(field, raw)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_reference_is_what_an_engine_takes() {
        let digest = format!("app@sha256:{}", "a".repeat(64));
        let id = format!("sha256:{}", "a".repeat(64));
        for good in [
            "postgres",
            "postgres:17",
            "ghcr.io/a/b:1.0-rc_1",
            "localhost:5000/x",
            "[::1]:5000/x",
            "A.example/x",
            "a__b/c--d:V1",
            &digest,
            &id,
        ] {
            assert!(is_image_reference(good), "{good}");
        }
        for bad in [
            "",
            ":",
            "app:",
            ":17",
            "/app",
            "app/",
            "a//b",
            "App",
            "app 1",
            "app:-1",
            "app@",
            "app@sha256:",
            "app:1:2",
            "reg:5000/",
            "-a",
            "../x",
        ] {
            assert!(!is_image_reference(bad), "{bad}");
        }
    }

    #[test]
    fn a_name_with_a_slash_names_field_value_and_pattern() {
        let error = ServiceName::parse("name", "a/b").unwrap_err();
        assert_eq!(
            error.message(),
            "name: `a/b` is not a service name: it must match [A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
        );
    }

    #[test]
    fn a_very_long_value_is_shown_short() {
        let error = GroupName::parse("group", &"x".repeat(10_000)).unwrap_err();
        assert!(error.message().len() < 250, "{}", error.message());
        assert!(error.message().contains("(10000 characters)"));
    }

    #[test]
    fn group_names_keep_the_double_underscore_for_instances() {
        assert!(GroupName::parse("group", "shop__x").is_err());
        let copy = GroupRef::parse("group", "shop~feature-x").unwrap();
        assert_eq!(copy.engine_prefix(), "shop__feature-x");
        assert_eq!(copy.to_string(), "shop~feature-x");
        assert_eq!(GroupRef::parse("group", "shop").unwrap().engine_prefix(), "shop");
    }

    #[test]
    fn resource_names_read_back_as_written() {
        for text in ["shop/web", "shop~x/web.v2", "a_b-c/D"] {
            assert_eq!(ServiceRef::parse("id", text).unwrap().to_string(), text);
        }
        for (path, name) in [
            ("groups/shop/services/web", "shop/web"),
            ("groups/shop~x/services/web", "shop~x/web"),
            ("groups/groups/services/services", "groups/services"),
            ("groups/services", "groups/services"),
        ] {
            assert_eq!(ServiceRef::parse("id", path).unwrap().to_string(), name);
        }
        for bad in [
            "web",
            "shop/",
            "/web",
            "Shop/web",
            "shop~/web",
            "shop~X/web",
            "shop/we b",
            "groups/shop/services/",
            "groups//services/web",
            "groups/shop/services/web/",
            "groups/shop/web",
        ] {
            assert!(ServiceRef::parse("id", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_filter_tells_the_base_from_all_instances() {
        let shop = GroupName::parse("group", "shop").unwrap();
        assert_eq!(GroupFilter::parse("group", "shop~*").unwrap(), GroupFilter::AllInstances(shop.clone()));
        assert_eq!(GroupFilter::parse("group", "shop").unwrap(), GroupFilter::One(GroupRef::base(shop)));
    }
}
