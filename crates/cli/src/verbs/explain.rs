//! `clos explain`: what the contract says of a word.

use clos_proto::comments::{self, Subject};

use crate::args::Explain;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::target;

pub(super) fn run(session: &Session<'_>, args: &Explain) -> Result<Exit, Failure> {
    let word = args.word.trim();
    let found = comments::find(&format!("ErrorReason.{word}")).or_else(|| comments::find(word));
    let Some(subject) = found else { return Err(unknown(word)) };
    let mut text = format!("{}  ({})\n  {}\n", last(&subject.name), subject.kind, subject.comment);
    let width = subject.parts.iter().map(|part| last(&part.name).chars().count()).max().unwrap_or_default();
    if width > 0 {
        text.push('\n');
    }
    for part in &subject.parts {
        let name = last(&part.name);
        let kind = if part.kind == "word" { String::new() } else { format!(" ({})", part.kind) };
        text.push_str(&format!("  {name:width$}  {}{kind}\n", part.comment));
    }
    session.context.print(&text)?;
    Ok(Exit::Ok)
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn unknown(word: &str) -> Failure {
    let reasons = comments::find("ErrorReason").map(|subject| subject.parts).unwrap_or_default();
    let known: Vec<&str> = reasons.iter().map(|part: &Subject| last(&part.name)).collect();
    let failure = Failure::not_found("", format!("there is no reason, message or field `{word}`"));
    match target::nearest(&word.to_uppercase(), known.into_iter()) {
        Some(near) => failure.fact("did you mean", near),
        None => failure
            .hint("clos explain ErrorReason    every reason")
            .hint("clos explain Service        a message"),
    }
}
