//! Streams of lines as one, in order of time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use clos_domain::Result;
use futures::Stream;
use futures::stream::BoxStream;
use tokio::time::{Sleep, sleep};

use super::Line;

/// How long a line waits at most for an earlier one of another service.
const WINDOW: Duration = Duration::from_millis(120);
/// The same at the beginning, where each log has to be opened first.
const OPENING: Duration = Duration::from_millis(500);

/// One service's lines.
struct Source {
    lines: BoxStream<'static, Result<Line>>,
    /// The next line; at most one is held, so that a slow reader grows nothing.
    head: Option<Result<Line>>,
    /// Waiting for its next line ends here; then it is quiet until it speaks again.
    patience: Option<Pin<Box<Sleep>>>,
}

/// The lines of all, the earliest of those that are there first.
pub(super) struct Merge {
    sources: Vec<Source>,
    /// A line that goes on is not interrupted by others that wait.
    unended: Option<usize>,
    /// Followed logs may be quiet; of others the next line or the end is always near.
    follow: bool,
}

impl Merge {
    pub(super) fn new(streams: Vec<BoxStream<'static, Result<Line>>>, follow: bool) -> Self {
        let patience = || (follow && streams.len() > 1).then(|| Box::pin(sleep(OPENING)));
        let patience: Vec<_> = streams.iter().map(|_| patience()).collect();
        let sources = streams.into_iter().zip(patience);
        let sources = sources.map(|(lines, patience)| Source { lines, head: None, patience }).collect();
        Self { sources, unended: None, follow }
    }

    /// Which line comes next; an error and a line without an instant wait for nothing.
    fn earliest(&self) -> Option<usize> {
        let goes_on = self.unended.filter(|index| self.sources[*index].head.is_some());
        goes_on.or_else(|| {
            let heads = self.sources.iter().enumerate();
            let heads = heads.filter_map(|(index, source)| Some((index, source.head.as_ref()?)));
            let at = |line: &Result<Line>| line.as_ref().ok().and_then(|line| line.line.at);
            heads.min_by_key(|(_, line)| at(line)).map(|(index, _)| index)
        })
    }
}

impl Stream for Merge {
    type Item = Result<Line>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let mut is_complete = true;
        let mut index = 0;
        while let Some(source) = this.sources.get_mut(index) {
            if source.head.is_none() {
                match source.lines.as_mut().poll_next(task) {
                    Poll::Ready(Some(line)) => source.head = Some(line),
                    Poll::Ready(None) => {
                        this.sources.remove(index);
                        this.unended = None;
                        continue;
                    }
                    Poll::Pending if !this.follow => is_complete = false,
                    Poll::Pending => {
                        if let Some(patience) = &mut source.patience {
                            match patience.as_mut().poll(task) {
                                Poll::Ready(()) => source.patience = None,
                                Poll::Pending => is_complete = false,
                            }
                        }
                    }
                }
            }
            index += 1;
        }
        if this.sources.is_empty() {
            return Poll::Ready(None);
        }
        let Some(next) = this.earliest().filter(|next| is_complete || this.unended == Some(*next)) else {
            return Poll::Pending;
        };
        let is_shared = this.sources.len() > 1;
        let source = &mut this.sources[next];
        source.patience = (this.follow && is_shared).then(|| Box::pin(sleep(WINDOW)));
        let line = source.head.take();
        let goes_on = line.as_ref().is_some_and(|line| line.as_ref().is_ok_and(|line| line.line.partial));
        this.unended = goes_on.then_some(next);
        Poll::Ready(line)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clos_domain::Timestamp;
    use clos_domain::seams::engine::LogLine;
    use futures::{StreamExt as _, stream};

    use super::*;

    fn line(second: i64, text: &str, partial: bool) -> Result<Line> {
        let at = Some(Timestamp::from_second(second).unwrap());
        let line = LogLine { at, stderr: false, text: text.to_owned(), raw: None, partial };
        Ok(Line {
            service: Arc::new(super::super::tests::service()),
            container_id: String::new(),
            line,
            level: None,
            note: None,
        })
    }

    fn texts(lines: Vec<Result<Line>>) -> Vec<String> {
        lines.into_iter().map(|line| line.unwrap().line.text).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn lines_of_several_come_in_order_of_time_and_a_long_one_in_one_piece() {
        let a = stream::iter([line(1, "a1", false), line(3, "a3", true), line(9, "a9", false)]).boxed();
        let b = stream::iter([line(2, "b2", false), line(4, "b4", false)]).boxed();
        let merged = Merge::new(vec![a, b], false).collect::<Vec<_>>().await;
        assert_eq!(texts(merged), ["a1", "b2", "a3", "a9", "b4"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_follows_waits_a_little_for_the_slower_and_never_for_the_silent() {
        let late = Duration::from_millis(60);
        let slow = stream::once(async move {
            sleep(late).await;
            line(1, "slow", false)
        });
        let slow = slow.chain(stream::pending()).boxed();
        let fast = stream::iter([line(2, "fast", false)]).chain(stream::pending()).boxed();
        let silent = stream::pending().boxed();
        let merged = Merge::new(vec![fast, slow, silent], true).take(2).collect::<Vec<_>>().await;
        assert_eq!(texts(merged), ["slow", "fast"]);
    }
}
