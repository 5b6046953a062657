//! A container's output as lines.
//!
//! The engine sends frames (stream, length, text) where there is no terminal, and
//! bare text where there is one. Each of its messages begins with a moment; a line
//! over 16 KiB comes in several, of which only the last ends with a newline. A
//! line of any length is handed on in pieces, so that nothing here grows with it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use clos_domain::seams::engine::{Error, LogLine, LogQuery};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};

use crate::call::{Effect, Fault, fault};
use crate::deadline;
use crate::docker::Docker;
use crate::events::seconds_and_nanos;
use crate::workloads::no_such;

/// The longest piece of a line; the engine cuts at the same length.
const PIECE: usize = 16 * 1024;
/// A followed line without an end is shown when nothing was written for so long.
const QUIET: Duration = Duration::from_millis(150);
/// A text without an end, and nothing more for so long: what comes then is of the next run.
const RUN_GAP: SignedDuration = SignedDuration::from_millis(100);
/// What is cut shorter than this was cut by the end of its writer, not by the engine's buffer
/// (16 KiB; Podman's is 8 KiB).
const FULL: usize = 8 * 1024 - 16;

/// Opens the log of a container that exists.
pub(crate) async fn open(
    docker: &Docker,
    name: &str,
    query: LogQuery,
) -> Result<BoxStream<'static, Result<LogLine, Error>>, Error> {
    let Some(found) = docker.inspect_exactly(name).await? else {
        return Err(Error::NotFound(name.to_owned()));
    };
    let driver = found.host_config.and_then(|config| config.log_config).and_then(|config| config.typ);
    if driver.as_deref() == Some("none") {
        return Err(unreadable());
    }
    let is_terminal = found.config.and_then(|config| config.tty).unwrap_or_default();
    let id = found.id.unwrap_or_else(|| name.to_owned());
    let bytes = docker.raw_get(&target(&id, &query));
    let lines = lines(Box::pin(bytes), Decoder::new(is_terminal), name.to_owned(), query.follow);
    let (since, until) = (query.since, query.until);
    let is_wanted = move |line: &Result<LogLine, Error>| {
        let Ok(LogLine { at: Some(at), .. }) = line else { return true };
        since.is_none_or(|since| since <= *at) && until.is_none_or(|until| *at < until)
    };
    Ok(lines.filter(move |line| futures::future::ready(is_wanted(line))).boxed())
}

fn unreadable() -> Error {
    Error::Unsupported("read the logs of a container whose logging driver keeps none".into())
}

/// The engine's answer where the driver cannot read what it wrote.
fn failed(name: &str, error: &bollard::errors::Error) -> Error {
    match fault("logs", Effect::Reads, error) {
        Fault::Answer { message, .. } if message.contains("does not support reading") => unreadable(),
        other => no_such(name, other),
    }
}

fn target(id: &str, query: &LogQuery) -> String {
    let LogQuery { tail, since, until, follow, stdout, stderr } = query;
    let mut target = format!(
        "/containers/{id}/logs?timestamps=true&follow={follow}&stdout={stdout}&stderr={stderr}&tail={}",
        tail.map_or("all".to_owned(), |tail| tail.to_string())
    );
    for (key, moment) in [("since", since), ("until", until)] {
        if let Some(moment) = moment {
            target.push_str(&format!("&{key}={}", seconds_and_nanos(*moment)));
        }
    }
    target
}

struct Reading<S> {
    bytes: Option<S>,
    /// Told behind the lines that came before it.
    error: Option<Error>,
    decoder: Decoder,
    name: String,
    follow: bool,
}

fn lines<S>(
    bytes: S,
    decoder: Decoder,
    name: String,
    follow: bool,
) -> impl Stream<Item = Result<LogLine, Error>> + Send
where
    S: Stream<Item = Result<Bytes, bollard::errors::Error>> + Send + Unpin,
{
    let reading = Reading { bytes: Some(bytes), error: None, decoder, name, follow };
    stream::unfold(reading, |mut reading| async move {
        loop {
            if let Some(line) = reading.decoder.ready.pop_front() {
                return Some((Ok(line), reading));
            }
            if let Some(error) = reading.error.take() {
                return Some((Err(error), reading));
            }
            let mut bytes = reading.bytes.take()?;
            // A followed log may be silent for as long as its container is.
            let patience = match (reading.follow, reading.decoder.holds()) {
                (false, _) => Some(deadline::LOG_IDLE),
                (true, true) => Some(QUIET),
                (true, false) => None,
            };
            let piece = match patience {
                None => bytes.next().await,
                Some(patience) => match tokio::time::timeout(patience, bytes.next()).await {
                    Ok(piece) => piece,
                    Err(_) if reading.follow => {
                        reading.decoder.release();
                        reading.bytes = Some(bytes);
                        continue;
                    }
                    Err(_) => {
                        let why = format!("logs of `{}`: nothing within {patience:?}", reading.name);
                        reading.decoder.release();
                        reading.error = Some(Error::Unreachable(why));
                        continue;
                    }
                },
            };
            match piece {
                Some(Ok(piece)) => {
                    reading.decoder.take(&piece);
                    reading.bytes = Some(bytes);
                }
                Some(Err(error)) => {
                    reading.decoder.release();
                    reading.error = Some(failed(&reading.name, &error));
                }
                None => reading.decoder.end(),
            }
        }
    })
}

/// Turns bytes, cut anywhere, into lines.
struct Decoder {
    framing: Framing,
    /// Standard output (or the terminal) and standard error.
    messages: [Message; 2],
    ready: VecDeque<LogLine>,
}

enum Framing {
    Terminal,
    /// Inside the eight bytes before a frame.
    Header {
        bytes: [u8; 8],
        filled: usize,
    },
    /// Inside a frame of this stream with so many bytes to come.
    Payload {
        stderr: bool,
        left: usize,
    },
}

impl Decoder {
    fn new(is_terminal: bool) -> Self {
        let framing =
            if is_terminal { Framing::Terminal } else { Framing::Header { bytes: [0; 8], filled: 0 } };
        let messages = [false, true].map(|stderr| Message::new(stderr, is_terminal));
        Self { framing, messages, ready: VecDeque::new() }
    }

    fn take(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            match &mut self.framing {
                Framing::Terminal => {
                    self.messages[0].take(input, &mut self.ready);
                    return;
                }
                Framing::Header { bytes, filled } => {
                    let count = input.len().min(8 - *filled);
                    bytes[*filled..*filled + count].copy_from_slice(&input[..count]);
                    *filled += count;
                    input = &input[count..];
                    if *filled == 8 {
                        let length = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
                        self.framing = Framing::Payload { stderr: bytes[0] == 2, left: length };
                        self.finish_empty();
                    }
                }
                Framing::Payload { stderr, left } => {
                    let count = input.len().min(*left);
                    *left -= count;
                    let message = &mut self.messages[usize::from(*stderr)];
                    message.take(&input[..count], &mut self.ready);
                    input = &input[count..];
                    if *left == 0 {
                        message.end_of_frame(&mut self.ready);
                        self.framing = Framing::Header { bytes: [0; 8], filled: 0 };
                    }
                }
            }
        }
    }

    fn finish_empty(&mut self) {
        if matches!(self.framing, Framing::Payload { left: 0, .. }) {
            self.framing = Framing::Header { bytes: [0; 8], filled: 0 };
        }
    }

    /// Whether there is text that waits for the rest of its line.
    fn holds(&self) -> bool {
        self.messages.iter().any(Message::holds)
    }

    /// Hands on what waits: its line may still go on.
    fn release(&mut self) {
        for message in &mut self.messages {
            message.release(&mut self.ready);
        }
    }

    fn end(&mut self) {
        for message in &mut self.messages {
            message.end_of_log(&mut self.ready);
        }
    }
}

/// The message of one stream that is being read.
struct Message {
    stderr: bool,
    is_terminal: bool,
    at: Option<Timestamp>,
    /// The moment stands at the beginning and was not read yet.
    at_start: bool,
    text: Vec<u8>,
    /// First bytes of a character whose others come with the next message.
    half: Vec<u8>,
    /// Where this piece is cut.
    limit: usize,
    /// The line that has no end yet.
    open: Option<Open>,
}

/// A line whose end did not come yet.
struct Open {
    at: Option<Timestamp>,
    /// What was not handed on of it: whether it is the last piece shows only with the next message.
    held: Vec<u8>,
    /// The engine cut it because its buffer was full.
    is_full: bool,
}

impl Message {
    fn new(stderr: bool, is_terminal: bool) -> Self {
        Self {
            stderr,
            is_terminal,
            at: None,
            at_start: true,
            text: Vec::new(),
            half: Vec::new(),
            limit: PIECE,
            open: None,
        }
    }

    fn take(&mut self, mut input: &[u8], ready: &mut VecDeque<LogLine>) {
        while let Some(next) = input.first() {
            // Only when more of the line comes is it known that this was not all.
            if !self.at_start && self.text.len() >= self.limit && *next != b'\n' {
                self.emit(true, ready);
            }
            let room = if self.at_start { MOMENT } else { self.limit + 1 } - self.text.len();
            let window = &input[..input.len().min(room)];
            let newline = window.iter().position(|byte| *byte == b'\n');
            let fits = if self.at_start { room } else { room - 1 };
            let count = newline.unwrap_or(window.len().min(fits));
            self.text.extend_from_slice(&window[..count]);
            input = &input[count..];
            self.read_moment(newline.is_some(), ready);
            if newline.is_some() {
                input = &input[1..];
                self.emit(false, ready);
            }
        }
    }

    /// A frame is one message: without a newline the line goes on in the next one, if there is one.
    fn end_of_frame(&mut self, ready: &mut VecDeque<LogLine>) {
        self.read_moment(true, ready);
        if !self.text.is_empty() {
            let held = std::mem::take(&mut self.text);
            self.open = Some(Open { at: self.at, is_full: held.len() >= FULL, held });
        }
        self.at_start = true;
    }

    fn end_of_log(&mut self, ready: &mut VecDeque<LogLine>) {
        if !self.text.is_empty() {
            self.read_moment(true, ready);
            self.emit(false, ready);
        }
        self.close(ready);
    }

    /// Takes the moment off the text once it is there as a whole.
    fn read_moment(&mut self, is_whole: bool, ready: &mut VecDeque<LogLine>) {
        if !self.at_start || (self.text.len() < MOMENT && !is_whole) {
            return;
        }
        if let Some(space) = self.text.iter().position(|byte| *byte == b' ')
            && let Some(at) = std::str::from_utf8(&self.text[..space]).ok().and_then(|text| text.parse().ok())
        {
            self.at = Some(at);
            self.text.drain(..=space);
        }
        self.go_on(ready);
        self.limit = PIECE + self.half.len();
        self.text.splice(0..0, self.half.drain(..));
        self.at_start = false;
    }

    /// More came: the open line goes on with it, or had ended.
    fn go_on(&mut self, ready: &mut VecDeque<LogLine>) {
        let Some(open) = &self.open else { return };
        let pause = open.at.zip(self.at).map(|(then, now)| now.duration_since(then));
        if !open.is_full && pause.is_some_and(|pause| pause > RUN_GAP) {
            self.close(ready);
        } else {
            self.release(ready);
        }
    }

    /// Hands on what there is of the message that is read.
    fn emit(&mut self, partial: bool, ready: &mut VecDeque<LogLine>) {
        let mut text = std::mem::take(&mut self.text);
        self.at_start = true;
        self.open = None;
        if partial {
            self.open = Some(Open { at: self.at, held: text, is_full: true });
            return self.release(ready);
        }
        if self.is_terminal && text.last() == Some(&b'\r') {
            text.pop();
        }
        ready.push_back(self.line(self.at, text, false));
    }

    fn holds(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !open.held.is_empty())
    }

    /// Hands on what is held, but for the beginning of a character.
    fn release(&mut self, ready: &mut VecDeque<LogLine>) {
        let Some(open) = &mut self.open else { return };
        if open.held.is_empty() {
            return;
        }
        let mut text = std::mem::take(&mut open.held);
        self.half = text.split_off(text.len() - unfinished(&text));
        let at = open.at;
        ready.push_back(self.line(at, text, true));
    }

    /// The open line is as long as it will get. What was told of it before needs its end too, be it empty.
    fn close(&mut self, ready: &mut VecDeque<LogLine>) {
        let Some(open) = self.open.take() else { return };
        let text = if open.held.is_empty() { std::mem::take(&mut self.half) } else { open.held };
        ready.push_back(self.line(open.at, text, false));
    }

    fn line(&self, at: Option<Timestamp>, text: Vec<u8>, partial: bool) -> LogLine {
        let (text, raw) = match String::from_utf8(text) {
            Ok(text) => (text, None),
            Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(error.into_bytes())),
        };
        LogLine { at, stderr: self.stderr, text, raw, partial }
    }
}

/// Length of `2026-11-23T10:11:12.123456789Z ` and a little more for an offset.
const MOMENT: usize = 40;

/// How many bytes at the end are the beginning of a character.
fn unfinished(text: &[u8]) -> usize {
    for back in 1..=3.min(text.len()) {
        let byte = text[text.len() - back];
        if byte & 0b1100_0000 == 0b1000_0000 {
            continue;
        }
        let width = match byte {
            0b1100_0000..=0b1101_1111 => 2,
            0b1110_0000..=0b1110_1111 => 3,
            0b1111_0000..=0b1111_0111 => 4,
            _ => 1,
        };
        return if back < width { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-11-23T10:11:12.123456789Z";

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let payload = format!("{AT} {text}");
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(payload.as_bytes());
        frame
    }

    /// Fed in pieces of every size, the lines are the same.
    fn decode(is_terminal: bool, input: &[u8]) -> Vec<LogLine> {
        let mut results: Vec<Vec<LogLine>> = Vec::new();
        for size in [1, 2, 7, 8, 9, 31, 1000, usize::MAX] {
            let mut decoder = Decoder::new(is_terminal);
            for piece in input.chunks(size.min(input.len().max(1))) {
                decoder.take(piece);
            }
            decoder.end();
            results.push(decoder.ready.into_iter().collect());
        }
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "cut differently, read differently");
        results.remove(0)
    }

    fn brief(lines: &[LogLine]) -> Vec<(&str, bool, bool)> {
        lines.iter().map(|line| (line.text.as_str(), line.stderr, line.partial)).collect()
    }

    #[test]
    fn frames_are_lines_of_their_stream_with_their_moment() {
        let input = [frame(1, "out\n"), frame(2, "err\n"), frame(1, "\n"), frame(1, "end")].concat();
        let lines = decode(false, &input);
        assert_eq!(
            brief(&lines),
            [("out", false, false), ("err", true, false), ("", false, false), ("end", false, false)]
        );
        assert!(lines.iter().all(|line| line.at == Some(AT.parse().unwrap())));
    }

    #[test]
    fn a_long_line_comes_in_pieces_and_only_the_last_is_whole() {
        let pieces = ["a".repeat(PIECE), "b".repeat(PIECE), "c\n".to_owned()];
        let input = pieces.iter().flat_map(|piece| frame(1, piece)).collect::<Vec<u8>>();
        let lines = decode(false, &input);
        assert_eq!(
            lines.iter().map(|line| (line.text.len(), line.partial)).collect::<Vec<_>>(),
            [(PIECE, true), (PIECE, true), (1, false)]
        );
    }

    #[test]
    fn a_line_of_exactly_one_piece_is_whole() {
        let lines = decode(false, &frame(1, &format!("{}\n", "a".repeat(PIECE))));
        assert_eq!(
            lines.iter().map(|line| (line.text.len(), line.partial)).collect::<Vec<_>>(),
            [(PIECE, false)]
        );
    }

    #[test]
    fn a_frame_of_ten_megabytes_never_grows_the_decoder() {
        let mut decoder = Decoder::new(false);
        let input = frame(1, &"x".repeat(10 << 20));
        let mut read = 0;
        for piece in input.chunks(64 * 1024) {
            decoder.take(piece);
            let held: usize = decoder.messages.iter().map(|message| message.text.capacity()).sum();
            assert!(held <= 4 * PIECE, "{held}");
            read += decoder.ready.drain(..).map(|line| line.text.len()).sum::<usize>();
        }
        decoder.end();
        read += decoder.ready.drain(..).map(|line| line.text.len()).sum::<usize>();
        assert_eq!(read, 10 << 20);
    }

    #[test]
    fn a_terminals_text_is_read_with_and_without_line_ends() {
        let input = format!("{AT} one\r\n{AT} two\r\n{AT} prompt> ");
        assert_eq!(
            brief(&decode(true, input.as_bytes())),
            [("one", false, false), ("two", false, false), ("prompt> ", false, false)]
        );
    }

    #[test]
    fn a_terminals_long_line_keeps_the_engines_moments_out_of_the_text() {
        let input = format!("{AT} {}{AT} {}\r\n", "a".repeat(PIECE), "b".repeat(5));
        let lines = decode(true, input.as_bytes());
        assert_eq!(
            lines.iter().map(|line| (line.text.len(), line.partial)).collect::<Vec<_>>(),
            [(PIECE, true), (5, false)]
        );
    }

    #[test]
    fn a_character_cut_in_two_is_put_together_again() {
        let mut first = frame(1, &"a".repeat(PIECE - 1));
        // The first byte of `ä` ends the engine's piece.
        first.push(0xC3);
        let length = u32::from_be_bytes([first[4], first[5], first[6], first[7]]) + 1;
        first[4..8].copy_from_slice(&length.to_be_bytes());
        let payload = [format!("{AT} ").as_bytes(), &[0xA4, b'\n']].concat();
        let mut second = vec![1, 0, 0, 0];
        second.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
        second.extend_from_slice(&payload);
        let lines = decode(false, &[first, second].concat());
        assert_eq!(lines[0].text.len(), PIECE - 1);
        assert_eq!(brief(&lines[1..]), [("ä", false, false)]);
    }

    fn pieces(count: usize, text: &str) -> Vec<u8> {
        let text = text.repeat(count);
        let frames = text.as_bytes().chunks(PIECE).map(|piece| {
            let payload = [format!("{AT} ").as_bytes(), piece].concat();
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            [&[1, 0, 0, 0], length.as_slice(), &payload].concat()
        });
        frames.flatten().collect()
    }

    #[test]
    fn the_pieces_of_a_long_line_joined_are_its_bytes() {
        let lines = decode(false, &pieces(13_335, "\u{20ac}"));
        assert!(lines.iter().all(|line| line.raw.is_none() && !line.text.contains('\u{fffd}')));
        let joined: String = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(joined, "\u{20ac}".repeat(13_335));
        assert!(lines.iter().rev().skip(1).all(|line| line.partial) && !lines.last().unwrap().partial);
    }

    #[test]
    fn a_character_that_never_ends_is_not_lost() {
        let mut input = pieces(PIECE, "a");
        input.extend([1, 0, 0, 0, 0, 0, 0, 32]);
        input.extend_from_slice(format!("{AT} ").as_bytes());
        input.push(0xE2);
        let lines = decode(false, &input);
        let last = lines.last().unwrap();
        assert_eq!((last.raw.as_deref(), last.partial), (Some([0xE2].as_slice()), false));
    }

    #[test]
    fn what_waits_for_its_end_is_released_and_then_closed() {
        let mut decoder = Decoder::new(false);
        decoder.take(&frame(1, "prompt> "));
        assert!(decoder.holds() && decoder.ready.is_empty());
        decoder.release();
        decoder.release();
        decoder.take(&frame(1, "yes\n"));
        decoder.take(&frame(1, "bye"));
        decoder.release();
        decoder.end();
        let lines: Vec<LogLine> = decoder.ready.into_iter().collect();
        assert_eq!(
            brief(&lines),
            [("prompt> ", false, true), ("yes", false, false), ("bye", false, true), ("", false, false)]
        );
    }

    #[test]
    fn the_last_words_of_one_run_are_not_joined_with_the_next() {
        let later = frame(1, "again\n");
        let text = String::from_utf8(later[8..].to_vec()).unwrap().replace("10:11:12", "10:11:13");
        let later = [&later[..8], text.as_bytes()].concat();
        let lines = decode(false, &[frame(1, "end"), later].concat());
        assert_eq!(brief(&lines), [("end", false, false), ("again", false, false)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_followed_line_without_an_end_is_shown_after_a_quiet_time() {
        let bytes = stream::iter([Ok(Bytes::from(frame(1, "prompt> ")))]).chain(stream::pending());
        let mut lines = Box::pin(lines(bytes, Decoder::new(false), "x".to_owned(), true));
        let line = lines.next().await.unwrap().unwrap();
        assert_eq!((line.text.as_str(), line.partial), ("prompt> ", true));
    }

    #[test]
    fn bytes_that_are_no_text_are_kept_and_a_missing_moment_is_none() {
        let payload = b"\xff\xfe no moment\n";
        let mut input = vec![1, 0, 0, 0, 0, 0, 0, u8::try_from(payload.len()).unwrap()];
        input.extend_from_slice(payload);
        let lines = decode(false, &input);
        assert_eq!(lines[0].at, None);
        assert!(lines[0].text.ends_with(" no moment"), "{}", lines[0].text);
        assert_eq!(lines[0].raw.as_deref(), Some(&payload[..payload.len() - 1]));
    }

    #[test]
    fn an_empty_frame_is_no_line() {
        let input = [vec![1, 0, 0, 0, 0, 0, 0, 0], frame(1, "a\n")].concat();
        assert_eq!(brief(&decode(false, &input)), [("a", false, false)]);
    }

    #[test]
    fn the_query_is_spelled_as_the_engine_reads_it() {
        let query = LogQuery {
            tail: None,
            since: Some("2026-01-02T03:04:05.5Z".parse().unwrap()),
            until: None,
            follow: true,
            stdout: true,
            stderr: false,
        };
        assert_eq!(
            target("abc", &query),
            "/containers/abc/logs?timestamps=true&follow=true&stdout=true&stderr=false&tail=all&since=1767323045.500000000"
        );
    }
}
