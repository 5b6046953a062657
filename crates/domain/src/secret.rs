//! Which values look secret, and what is shown for them.

use serde::{Deserialize, Serialize};

/// What is shown for a value that looks secret.
pub const MASK: &str = "********";

/// Parts of names whose values are shown to nobody.
const SECRET_WORDS: [&str; 12] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "APIKEY",
    "API_KEY",
    "PRIVATE",
    "COOKIE",
    "SIGNING",
    "SALT",
];
/// The same, but only as a whole word between underscores: `SSH_KEY`, not `KEYBOARD`.
const SECRET_PARTS: [&str; 6] = ["KEY", "KEYS", "PASS", "PWD", "PIN", "AUTH"];

/// Whether the value of a variable of this name is shown to nobody.
pub fn is_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let mut parts = upper.split(|c: char| !c.is_ascii_alphanumeric());
    SECRET_WORDS.iter().any(|word| upper.contains(word)) || parts.any(|part| SECRET_PARTS.contains(&part))
}

/// A value as callers see it. An empty one hides nothing.
pub fn masked(name: &str, value: &str) -> String {
    if value.is_empty() || !is_secret(name) {
        return without_password(value);
    }
    MASK.to_owned()
}

/// A URL that carries a password is shown as a whole secret: `postgres://me:secret@db/shop`.
fn without_password(value: &str) -> String {
    let authority =
        value.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let user = authority.and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
    let has_password =
        user.and_then(|user| user.split_once(':')).is_some_and(|(_, password)| !password.is_empty());
    if has_password { MASK.to_owned() } else { value.to_owned() }
}

/// A text that is not to be printed: `Debug` shows the mask. Its JSON is the text itself, for the store.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl Hidden {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}
