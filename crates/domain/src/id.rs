//! Opaque, stable ids: a prefix that says the noun, and a UUIDv7 in lower-case
//! base32, so that ids sort by the time of their making.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// What every id of this noun starts with.
            pub const PREFIX: &'static str = $prefix;

            /// An id from the unique part that an [`IdSource`](crate::seams::IdSource) gave.
            pub fn from_unique(unique: &str) -> Self {
                Self(format!("{}{}", $prefix, unique))
            }

            /// The id if the text has its form.
            pub fn parse(raw: &str) -> Option<Self> {
                let unique = raw.strip_prefix($prefix)?;
                let well_formed = unique.len() == UNIQUE_LEN
                    && unique.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b));
                well_formed.then(|| Self(raw.to_owned()))
            }

            /// An id from our own store, which was well formed when it went in.
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

/// Base32 of 16 bytes without padding.
pub const UNIQUE_LEN: usize = 26;

id! {
    /// Names a service row for ever.
    ServiceId, "svc_"
}
id! {
    /// Names a group row for ever.
    GroupId, "grp_"
}
id! {
    /// Names an operation for ever.
    OperationId, "op_"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_its_prefix_and_twenty_six_base32_letters() {
        let id = ServiceId::from_unique("abcdefghijklmnopqrstuvwx23");
        assert_eq!(ServiceId::parse(id.as_str()), Some(id.clone()));
        for bad in ["", "svc_", "grp_abcdefghijklmnopqrstuvwx23", "svc_ABCDEFGHIJKLMNOPQRSTUVWX23", "svc_abc"]
        {
            assert_eq!(ServiceId::parse(bad), None, "{bad}");
        }
        assert_eq!(id.to_string(), "svc_abcdefghijklmnopqrstuvwx23");
    }
}
