//! The variables that a compose file names: in `${…}`, and bare where the value is the shell's.
//!
//! The daemon parses; this only has to find every name, and may find some that are none.

use std::collections::BTreeSet;

/// Every word of a text that could be a variable's name.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !is_of_a_name(letter))
}

/// The names that a text asks the shell for.
pub(crate) fn used(text: &str) -> BTreeSet<&str> {
    let mut used = BTreeSet::new();
    for after in text.split('$').skip(1) {
        let name = after.strip_prefix('{').unwrap_or(after);
        let end = name.find(|letter: char| !is_of_a_name(letter));
        used.extend(Some(&name[..end.unwrap_or(name.len())]).filter(|name| is_name(name)));
    }
    let lines: Vec<&str> = text.lines().map(without_comment).filter(|line| !line.trim().is_empty()).collect();
    for (at, line) in lines.iter().enumerate() {
        let has_children = lines.get(at + 1).is_some_and(|next| {
            indent(next) > indent(line)
                || (indent(next) == indent(line) && is_item(next.trim()) && !is_item(line.trim()))
        });
        for piece in line.split([',', '[', ']', '{', '}']) {
            used.extend(bare(piece, has_children));
        }
    }
    used
}

/// `- NAME`, `NAME:` without a value, and `environment: NAME` of a secret or config.
fn bare(piece: &str, has_children: bool) -> Option<&str> {
    let mut rest = piece.trim();
    while is_item(rest) {
        rest = rest[1..].trim_start();
    }
    if let Some(value) = rest.strip_prefix("environment:") {
        rest = value.trim_start();
    }
    let name = match rest.strip_suffix(':') {
        Some(_) if has_children => return None,
        Some(key) => key.trim_end(),
        None => rest,
    };
    let name = name.trim_matches(['"', '\'']);
    is_name(name).then_some(name)
}

fn is_item(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    line.split(" #").next().unwrap_or_default()
}

fn is_of_a_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

fn is_name(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && text.chars().all(is_of_a_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_wherever_its_value_is_the_shells() {
        let text = "
services:
  web:
    image: app:${TAG:-1}   # $IN_A_COMMENT is harmless
    environment:
    - LISTED
    - \"QUOTED\" # why
    - SET=1
    # - COMMENTED
  api:
    environment:
      MAPPED:
      WITH_VALUE: 1
      LAST:
  flow: {environment: [ONE, 'TWO', THREE=3]}
  lines:
    environment: [
      FOUR, FIVE,
      SIX
    ]
secrets:
  token:
    environment: TOKEN
";
        let used = used(text);
        for name in
            ["TAG", "LISTED", "QUOTED", "MAPPED", "LAST", "ONE", "TWO", "FOUR", "FIVE", "SIX", "TOKEN"]
        {
            assert!(used.contains(name), "{name}");
        }
        for name in ["services", "web", "environment", "SET", "COMMENTED", "WITH_VALUE", "THREE", "token"] {
            assert!(!used.contains(name), "{name}");
        }
    }
}
