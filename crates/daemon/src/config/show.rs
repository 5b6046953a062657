//! The configuration as text that could be a file again.

use std::fmt::Write as _;

use clos_telemetry::redact;
use serde_json::Value;

use super::sections::SECTIONS;
use super::{Effective, Setting};

pub(crate) fn render(effective: &Effective, explain: bool) -> String {
    let mut text = format!("# {}\n", effective.file.display());
    for (section, about, keys) in SECTIONS {
        if explain {
            let _ = write!(text, "\n# {about}");
        }
        text.push('\n');
        if keys.is_empty() {
            line(&mut text, "", section, find(effective, section));
            continue;
        }
        let _ = writeln!(text, "{section}:");
        for (key, lines) in *keys {
            if explain {
                for line in *lines {
                    let _ = writeln!(text, "  #{line}");
                }
            }
            line(&mut text, "  ", key, find(effective, &format!("{section}.{key}")));
        }
    }
    text
}

fn find<'a>(effective: &'a Effective, key: &str) -> Option<&'a Setting> {
    effective.settings.iter().find(|setting| setting.key == key)
}

fn line(text: &mut String, indent: &str, key: &str, setting: Option<&Setting>) {
    let Some(Setting { value, origin, .. }) = setting else { return };
    let shown = match value {
        Value::String(word) => Value::String(redact(word)).to_string(),
        other => other.to_string(),
    };
    let _ = writeln!(text, "{:<40} # {origin}", format!("{indent}{key}: {shown}"));
}
