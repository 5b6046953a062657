//! Watches: one order for everybody, resume, positions outside history, ends.

use std::pin::pin;
use std::time::Duration;

use clos_control::ledger::{BOOKMARK_EVERY, Item, Ledger};
use clos_domain::Reason;
use clos_domain::event::{Draft, Filter, Sequence, types};
use futures::StreamExt as _;
use futures::stream::Stream;
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, assert_completed, assert_refused, within};

async fn take(
    items: impl Stream<Item = clos_domain::Result<Item>>,
    until: Sequence,
) -> Vec<(Sequence, String)> {
    let mut items = pin!(items);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(seq, _)| *seq < until) {
        match within(items.next()).await.expect("the stream goes on").unwrap() {
            Item::Event(event) => seen.push((event.seq, event.kind.clone())),
            Item::Bookmark(_) | Item::Progress { .. } => {}
            Item::Resync { oldest } => panic!("nothing was trimmed, and yet a resync to {oldest}"),
        }
    }
    seen
}

#[tokio::test]
async fn who_joins_late_sees_what_the_early_one_saw() {
    let bed = Bed::new().await;
    let events = bed.control.events();
    let early = events.watch(&bed.ctx, Some(0), Filter::default()).await.unwrap();
    assert_completed(&bed.up("services: {db: {image: app}, web: {image: app, depends_on: [db]}}").await);
    let head = events.head();
    let seen = take(early, head).await;
    let late = events.watch(&bed.ctx, Some(0), Filter::default()).await.unwrap();
    assert_eq!(take(late, head).await, seen);
    let numbers: Vec<Sequence> = seen.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, (1..=head).collect::<Vec<_>>(), "gapless");

    let middle = head / 2;
    let resumed = events.watch(&bed.ctx, Some(middle), Filter::default()).await.unwrap();
    assert_eq!(take(resumed, head).await, seen[usize::try_from(middle).unwrap()..]);
}

#[tokio::test]
async fn a_watch_of_an_operation_ends_after_its_terminal_event() {
    let bed = Bed::new().await;
    let held = bed.engine.hold("start", "shop-web-1");
    let operation = bed.begin_up("services: {web: {image: app}}").await;
    let operations = bed.control.operations();
    let live = operations.watch(&bed.ctx, operation.id.as_str(), None).await.unwrap();
    drop(held);
    let kinds = |items: Vec<clos_domain::Result<Item>>| -> Vec<(Sequence, String)> {
        items
            .into_iter()
            .filter_map(|item| match item.unwrap() {
                Item::Event(event) => Some((event.seq, event.kind.clone())),
                _ => None,
            })
            .collect()
    };
    let live = kinds(within(live.collect::<Vec<_>>()).await);
    let after = operations.watch(&bed.ctx, operation.id.as_str(), None).await.unwrap();
    let after = kinds(within(after.collect::<Vec<_>>()).await);
    assert_eq!(live, after);
    assert_eq!(live.first().unwrap().1, types::GROUP_OPERATION_STARTED);
    assert_eq!(live.last().unwrap().1, types::GROUP_OPERATION_COMPLETED);
    let beyond = bed.control.events().head();
    let nothing = operations.watch(&bed.ctx, operation.id.as_str(), Some(beyond)).await.unwrap();
    assert_eq!(within(nothing.collect::<Vec<_>>()).await.len(), 0, "it ended before");
}

#[tokio::test]
async fn positions_outside_history_are_refused_when_a_watch_opens() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app}}").await);
    let events = bed.control.events();
    let head = events.head();
    let beyond = events.watch(&bed.ctx, Some(head + 1), Filter::default()).await.map(drop);
    assert_refused(beyond, Reason::InvalidPosition, "head");
    let negative = events.watch(&bed.ctx, Some(-1), Filter::default()).await.map(drop);
    assert_refused(negative, Reason::InvalidField, "-1");
}

#[tokio::test]
async fn a_position_that_was_trimmed_is_too_old_and_zero_is_the_oldest_kept() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app}}").await);
    let head = bed.control.events().head();
    let mut tx = bed.world.store.begin().await.unwrap();
    tx.journal().trim(3, "2030-01-01T00:00:00Z".parse().unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    // A ledger of a later process has no ring of what came before it.
    let ledger = Ledger::open(bed.world.store.clone()).await.unwrap();
    let watch = |after| ledger.watch(Some(after), Filter::default(), CancellationToken::new());
    let error = assert_refused(watch(1).await.map(drop), Reason::SequenceTooOld, "oldest");
    assert_eq!(error.metadata()["oldest_seq"], (head - 2).to_string());
    let mut oldest = watch(0).await.unwrap();
    let Some(Item::Event(first)) = within(oldest.next()).await.unwrap() else { panic!("an event") };
    assert_eq!(first.seq, head - 2);
}

#[tokio::test]
async fn a_position_that_falls_out_of_history_is_told_and_the_stream_goes_on() {
    let bed = Bed::still().await;
    let write = |count: usize| {
        let store = bed.world.store.clone();
        let now = bed.world.clock.now();
        async move {
            let mut tx = store.begin().await.unwrap();
            for _ in 0..count {
                tx.journal().append(Draft::new(types::ENGINE_CHANGED, now));
            }
            tx.commit().await.unwrap();
        }
    };
    write(10).await;
    let ledger = Ledger::open(bed.world.store.clone()).await.unwrap();
    let mut watch = ledger.watch(Some(0), Filter::default(), CancellationToken::new()).await.unwrap();
    let mut tx = bed.world.store.begin().await.unwrap();
    tx.journal().trim(2, "2030-01-01T00:00:00Z".parse().unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(within(watch.next()).await.unwrap(), Some(Item::Resync { oldest: 9 }));
    let Some(Item::Event(first)) = within(watch.next()).await.unwrap() else { panic!("an event") };
    assert_eq!(first.seq, 9);
}

#[tokio::test]
async fn what_was_committed_without_an_answer_is_told_after_all() {
    let bed = Bed::still().await;
    let ledger = Ledger::open(bed.world.store.clone()).await.unwrap();
    let mut watch = ledger.watch(None, Filter::default(), CancellationToken::new()).await.unwrap();
    let mut tx = bed.world.store.begin().await.unwrap();
    tx.journal().append(Draft::new(types::ENGINE_CHANGED, bed.world.clock.now()));
    tx.commit().await.unwrap();
    ledger.catch_up().await.unwrap();
    let Some(Item::Event(event)) = within(watch.next()).await.unwrap() else { panic!("an event") };
    assert_eq!(event.kind, types::ENGINE_CHANGED);
}

#[tokio::test]
async fn an_idle_stream_tells_its_position() {
    let bed = Bed::still().await;
    let ledger = Ledger::open(bed.world.store.clone()).await.unwrap();
    let mut watch = ledger.watch(None, Filter::default(), CancellationToken::new()).await.unwrap();
    // Not before: the store's threads work in real time.
    tokio::time::pause();
    assert_eq!(watch.next().await.unwrap(), Some(Item::Bookmark(0)));
}

#[tokio::test]
async fn a_stream_is_idle_from_its_last_event_on() {
    let bed = Bed::still().await;
    let ledger = Ledger::open(bed.world.store.clone()).await.unwrap();
    let mut watch = ledger.watch(None, Filter::default(), CancellationToken::new()).await.unwrap();
    let mut tx = bed.world.store.begin().await.unwrap();
    tx.journal().append(Draft::new(types::ENGINE_CHANGED, bed.world.clock.now()));
    ledger.commit(tx).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(BOOKMARK_EVERY / 2).await;
    let Some(Item::Event(_)) = watch.next().await.unwrap() else { panic!("an event") };
    for _ in 0..2 {
        let since = tokio::time::Instant::now();
        assert_eq!(watch.next().await.unwrap(), Some(Item::Bookmark(1)));
        let idle = since.elapsed();
        assert!(BOOKMARK_EVERY <= idle && idle < BOOKMARK_EVERY + Duration::from_secs(1), "{idle:?}");
    }
}

#[tokio::test]
async fn a_filter_takes_whole_families_and_one_service() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {db: {image: app}, web: {image: app}}").await);
    let web = bed.service("shop/web").await.id;
    let family = clos_domain::event::Pattern::parse("types", "service.*").unwrap();
    let filter = Filter { types: vec![family], service: Some(web.clone()), ..Filter::default() };
    let found = bed.control.events().list(&bed.ctx, &filter, 0, 100).await.unwrap();
    assert!(!found.is_empty());
    for event in &found {
        assert!(event.kind.starts_with("service.") && event.service.as_ref() == Some(&web), "{event:?}");
    }
}

#[tokio::test]
async fn a_drain_ends_every_watch() {
    let bed = Bed::new().await;
    let watch = bed.control.events().watch(&bed.ctx, None, Filter::default()).await.unwrap();
    assert!(bed.supervisor.drain(Duration::from_secs(5)).await);
    within(watch.collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn a_commit_that_nobody_published_is_told_with_the_next_one() {
    let bed = Bed::still().await;
    let ledger = Ledger::open(bed.world.store.clone()).await.unwrap();
    let head = ledger.head();
    let mut watch = ledger.watch(None, Filter::default(), CancellationToken::new()).await.unwrap();
    let now = bed.world.clock.now();
    // Its caller was dropped between the commit and its publication.
    let mut lost = bed.world.store.begin().await.unwrap();
    lost.journal().append(Draft::new(types::ENGINE_CHANGED, now));
    lost.commit().await.unwrap();
    let mut next = bed.world.store.begin().await.unwrap();
    next.journal().append(Draft::new(types::ENGINE_CHANGED, now));
    ledger.commit(next).await.unwrap();
    assert_eq!(ledger.head(), head + 2);
    for seq in [head + 1, head + 2] {
        let Some(Item::Event(event)) = within(watch.next()).await.unwrap() else { panic!("an event") };
        assert_eq!(event.seq, seq);
    }
}
