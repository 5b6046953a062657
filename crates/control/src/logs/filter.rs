//! Which lines are wanted. A long line comes in pieces and is judged as one.

use std::collections::VecDeque;
use std::sync::Arc;

use clos_domain::event::Severity;
use clos_domain::seams::engine::LogLine;
use clos_domain::service::Service;

use super::{Line, LogRequest, level};

/// So much of a line without the wanted text is kept, in case the text comes.
const HELD: usize = 1024 * 1024;

/// Judges the lines of one service.
pub(super) struct Wanted {
    service: Arc<Service>,
    contains: Option<String>,
    at_least: Option<Severity>,
    /// Standard output and standard error.
    open: [OpenLine; 2],
}

/// The line that is being read.
#[derive(Default)]
struct OpenLine {
    has_begun: bool,
    level: Option<Severity>,
    /// The text that is looked for was found.
    is_found: bool,
    held: VecDeque<Line>,
    /// Bytes of `held`.
    size: usize,
    /// The end of the last piece, where the beginning of the text may stand.
    end: String,
}

impl Wanted {
    pub(super) fn new(service: Arc<Service>, request: &LogRequest) -> Self {
        let LogRequest { contains, at_least, .. } = request.clone();
        Self { service, contains, at_least, open: Default::default() }
    }

    /// What is to be told now that this piece is known.
    pub(super) fn judge(&mut self, container_id: &str, piece: LogLine) -> VecDeque<Line> {
        let open = &mut self.open[usize::from(piece.stderr)];
        if !open.has_begun {
            *open = OpenLine { has_begun: true, level: level(&piece.text), ..OpenLine::default() };
        }
        let goes_on = piece.partial;
        if let Some(text) = &self.contains {
            open.end.push_str(&piece.text);
            open.is_found = open.is_found || open.end.contains(text.as_str());
            let mut from = open.end.len().saturating_sub(text.len());
            while !open.end.is_char_boundary(from) {
                from -= 1;
            }
            open.end.drain(..from);
        } else {
            open.is_found = true;
        }
        let is_heavy = self.at_least.is_none_or(|least| open.level.is_some_and(|level| level >= least));
        if is_heavy {
            open.size += piece.text.len();
            open.held.push_back(Line {
                service: self.service.clone(),
                container_id: container_id.to_owned(),
                line: piece,
                level: open.level,
                note: None,
            });
        }
        let told = if open.is_found {
            open.size = 0;
            std::mem::take(&mut open.held)
        } else {
            while open.size > HELD
                && let Some(oldest) = open.held.pop_front()
            {
                open.size -= oldest.line.text.len();
            }
            VecDeque::new()
        };
        if !goes_on {
            *open = OpenLine::default();
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(request: &LogRequest, pieces: &[(&str, bool)]) -> Vec<String> {
        let mut wanted = Wanted::new(Arc::new(super::super::tests::service()), request);
        let pieces = pieces.iter().flat_map(|(text, partial)| {
            let piece =
                LogLine { at: None, stderr: false, text: (*text).to_owned(), raw: None, partial: *partial };
            wanted.judge("c", piece)
        });
        pieces.map(|line| line.line.text).collect()
    }

    #[test]
    fn a_long_line_is_wanted_as_a_whole_wherever_the_text_stands() {
        let request = LogRequest { contains: Some("needle".into()), ..Default::default() };
        let pieces = [("hay ", true), ("nee", true), ("dle", true), (" hay", false), ("hay", false)];
        assert_eq!(judged(&request, &pieces), ["hay ", "nee", "dle", " hay"]);
    }

    #[test]
    fn a_long_line_has_the_level_of_its_beginning() {
        let request = LogRequest { at_least: Some(Severity::Error), ..Default::default() };
        let pieces = [("ERROR a", true), ("bc", false), ("INFO a", true), ("error", false)];
        assert_eq!(judged(&request, &pieces), ["ERROR a", "bc"]);
    }

    #[test]
    fn a_line_without_end_and_without_the_text_grows_nothing() {
        let request = LogRequest { contains: Some("needle".into()), ..Default::default() };
        let piece = "x".repeat(64 * 1024);
        let mut wanted = Wanted::new(Arc::new(super::super::tests::service()), &request);
        for _ in 0..64 {
            let piece = LogLine { at: None, stderr: false, text: piece.clone(), raw: None, partial: true };
            assert!(wanted.judge("c", piece).is_empty());
            assert!(wanted.open[0].size <= HELD);
        }
    }
}
