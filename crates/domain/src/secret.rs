//! Which values look secret, and what is shown for them.

use serde::{Deserialize, Serialize};

/// What is shown for a value that looks secret.
pub const MASK: &str = "********";

/// Parts of names whose values are shown to nobody.
const SECRET_WORDS: [&str; 13] = [
    "PASSWORD",
    "REQUIREPASS",
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

/// The value of an option of a driver as callers see it. One that is a list itself (`o: username=me,password=x`) is
/// hidden as a whole.
pub fn masked_option(name: &str, value: &str) -> String {
    let has_secret = value
        .split(',')
        .filter_map(|part| part.split_once('='))
        .any(|(name, value)| !value.is_empty() && is_secret(name));
    if has_secret { MASK.to_owned() } else { masked(name, value) }
}

/// The words of a command as callers see them: the values of `--password=x`, `--password x` and `TOKEN=x` and URLs with
/// a password are hidden, also inside a text that a shell is given.
pub fn masked_words(words: &[String]) -> Vec<String> {
    let mut follows_flag = false;
    words.iter().map(|word| masked_text(word, &mut follows_flag)).collect()
}

/// One word, or the many of a text for a shell.
fn masked_text(text: &str, follows_flag: &mut bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for part in text.split_inclusive(char::is_whitespace) {
        let word = part.trim_end_matches(char::is_whitespace);
        if word.is_empty() {
            shown.push_str(part);
            continue;
        }
        shown.push_str(&masked_word(word, follows_flag));
        shown.push_str(&part[word.len()..]);
    }
    shown
}

fn masked_word(word: &str, follows_flag: &mut bool) -> String {
    let is_flag = word.starts_with('-');
    let is_value = std::mem::replace(follows_flag, is_flag && !word.contains('=') && is_secret(word));
    if is_value && !is_flag {
        return MASK.to_owned();
    }
    match word.split_once('=') {
        Some((name, value)) if !name.contains("://") => format!("{name}={}", masked(name, value)),
        _ => without_password(word),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        masked_words(&words).join("|")
    }

    #[test]
    fn a_command_shows_its_secrets_to_nobody() {
        for (words, wanted) in [
            (&["serve", "--port", "80", "--verbose"][..], "serve|--port|80|--verbose"),
            (&["serve", "--password", "hunter2", "x"], "serve|--password|********|x"),
            (&["serve", "--token=hunter2", "x"], "serve|--token=********|x"),
            (&["serve", "--token", "--verbose", "x"], "serve|--token|--verbose|x"),
            (&["redis-server", "--requirepass", "hunter2"], "redis-server|--requirepass|********"),
            (&["env", "API_KEY=hunter2", "A=1"], "env|API_KEY=********|A=1"),
            (&["--db=postgres://me:hunter2@db/x"], "--db=********"),
            (&["amqp://me:hunter2@mq/"], "********"),
            (&["http://db/?a=b"], "http://db/?a=b"),
            (
                &["sh", "-c", "TOKEN=hunter2 run --password hunter2\n  && echo"],
                "sh|-c|TOKEN=******** run --password ********\n  && echo",
            ),
            (&["--password="], "--password="),
        ] {
            assert_eq!(shown(words), wanted);
        }
    }

    #[test]
    fn an_option_that_is_a_list_is_hidden_as_a_whole() {
        assert_eq!(masked_option("o", "addr=nas,username=me,password=hunter2"), MASK);
        assert_eq!(masked_option("splunk-token", "hunter2"), MASK);
        for open in ["addr=nas,rw", "bind", "password=", ""] {
            assert_eq!(masked_option("o", open), open);
        }
    }
}
