//! Columns that line up.

use comfy_table::{Attribute, Color, presets};

use super::words::{self, Paint, Tone};

/// A table without lines.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// What stands in a field of a table.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A word with its tone, and a glyph where there is colour.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    fn drawn(&self, paint: Paint) -> comfy_table::Cell {
        // Lines of a row stay one: a table is cut by line.
        let flat = self.text.replace(['\n', '\r', '\t'], " ");
        if flat.is_empty() {
            return comfy_table::Cell::new("-");
        }
        let text = match words::glyph(self.tone) {
            Some(glyph) if paint.is_on() => format!("{glyph} {flat}"),
            _ => flat,
        };
        let cell = comfy_table::Cell::new(text);
        match self.tone {
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::Green),
            Tone::Warn => cell.fg(Color::Yellow),
            Tone::Bad => cell.fg(Color::Red),
            Tone::Faint => cell.add_attribute(Attribute::Dim),
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }
}

impl Table {
    pub(crate) fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row; a cell without text is a dash.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn text(&self, paint: Paint) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).force_no_tty();
        if paint.is_on() {
            table.enforce_styling();
        }
        table.set_header(self.head.clone());
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| cell.drawn(paint)).collect::<Vec<_>>());
        }
        let columns = self.head.len();
        for (at, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if at + 1 == columns { 0 } else { 3 }));
        }
        let lines: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        lines
    }
}
