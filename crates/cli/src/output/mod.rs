//! Printing: the same answer as a table, as JSON, as YAML, or as names.

mod json;
pub(crate) mod table;
pub(crate) mod words;

use prost::Message;
use serde_json::Value as Json;

use crate::args::{Format, Global, When};
use crate::context::Context;
use crate::failure::Failure;
use json::unprintable;
pub(crate) use json::{text, value};
use table::Table;
use words::Paint;

/// How this command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Colours of data.
    pub(crate) on_output: Paint,
    /// Colours of progress and errors.
    pub(crate) on_error: Paint,
}

impl Style {
    pub(crate) fn of(global: &Global, context: &Context) -> Self {
        let forced = context.var("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        let refused = context.var("NO_COLOR").is_some() || context.var("TERM") == Some("dumb");
        let paint = |is_terminal: bool| match global.color {
            When::Always => Paint::on(),
            When::Never => Paint::off(),
            When::Auto if refused => Paint::off(),
            When::Auto if forced || is_terminal => Paint::on(),
            When::Auto => Paint::off(),
        };
        Self {
            on_output: paint(context.streams.out_is_terminal),
            on_error: paint(context.streams.err_is_terminal),
        }
    }
}

/// A list as the API told it.
pub(crate) struct Listing<'a, M> {
    /// The list's field in the answer: `services`.
    pub(crate) field: &'a str,
    /// The message of an item: `Service`.
    pub(crate) item: &'a str,
    /// The items.
    pub(crate) items: &'a [M],
    /// The name of each.
    pub(crate) name: fn(&M) -> String,
    /// The table; `true` asks for the wide one.
    pub(crate) table: &'a dyn Fn(bool) -> Table,
    /// What a table without rows says.
    pub(crate) nothing: &'a str,
}

/// Prints a list.
pub(crate) fn list<M: Message>(
    context: &Context,
    global: &Global,
    style: Style,
    listing: &Listing<'_, M>,
) -> Result<(), Failure> {
    let texts = || -> Result<Vec<String>, Failure> {
        listing.items.iter().map(|item| text(listing.item, item, &global.fields)).collect()
    };
    match format(global) {
        Format::Name => {
            let names: String = listing.items.iter().map(|item| (listing.name)(item) + "\n").collect();
            context.print(&names)
        }
        Format::Jsonl => {
            let lines: String = texts()?.iter().map(|text| format!("{text}\n")).collect();
            context.print(&lines)
        }
        Format::Json | Format::Yaml => {
            let whole = format!("{{\"{}\":[{}]}}", listing.field, texts()?.join(","));
            print(context, format(global), &whole)
        }
        Format::Table | Format::Wide if listing.items.is_empty() => context.print_line(listing.nothing),
        Format::Table | Format::Wide if global.fields.is_empty() => {
            context.print(&(listing.table)(global.output == Format::Wide).text(style.on_output))
        }
        Format::Table | Format::Wide => {
            let mut table = Table::new(global.fields.iter().map(|field| field.to_uppercase()));
            for text in texts()? {
                let value: Json = serde_json::from_str(&text).map_err(|error| unprintable(&error))?;
                table.row(global.fields.iter().map(|field| cell(&value[field]).into()));
            }
            context.print(&table.text(style.on_output))
        }
    }
}

/// Prints one message; `for_people` is what they read.
pub(crate) fn one<M: Message>(
    context: &Context,
    global: &Global,
    name: &str,
    message: &M,
    title: &str,
    for_people: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let chosen = || text(name, message, &global.fields);
    match format(global) {
        Format::Name => context.print_line(title),
        Format::Jsonl => context.print_line(&chosen()?),
        Format::Json | Format::Yaml => print(context, format(global), &chosen()?),
        Format::Table | Format::Wide if global.fields.is_empty() => context.print(&for_people()),
        Format::Table | Format::Wide => {
            let chosen: Json = serde_json::from_str(&chosen()?).map_err(|error| unprintable(&error))?;
            let lines: String =
                global.fields.iter().map(|field| format!("{field}: {}\n", cell(&chosen[field]))).collect();
            context.print(&lines)
        }
    }
}

fn format(global: &Global) -> Format {
    match global.output {
        Format::Table | Format::Wide if global.quiet => Format::Name,
        format => format,
    }
}

/// Whether the output is for programs.
pub(crate) fn is_for_programs(global: &Global) -> bool {
    !matches!(format(global), Format::Table | Format::Wide)
}

/// Prints a JSON text, or what it says in YAML.
pub(crate) fn print(context: &Context, format: Format, text: &str) -> Result<(), Failure> {
    if format == Format::Yaml {
        let value: Json = serde_json::from_str(text).map_err(|error| unprintable(&error))?;
        return context.print(&serde_saphyr::to_string(&value).map_err(|error| unprintable(&error))?);
    }
    let laid_out = clos_protojson::json::indent(text.as_bytes());
    context.print_line(&String::from_utf8(laid_out).map_err(|error| unprintable(&error))?)
}

fn cell(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) if text.is_empty() => "-".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}
