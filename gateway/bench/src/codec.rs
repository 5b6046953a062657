//! The codec alone, beside the only other one that works from descriptors.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clos_protojson::{Codec, Spelling};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

use crate::process::Spent;
use crate::report::{Goal, Report};
use crate::shelf::{self, DESCRIPTOR_SET};

const MESSAGE: &str = "bench.v1.Item";
/// Variables of an item of about 1.2 kB of JSON.
const VARIABLES: usize = 8;
/// Rounds of each, in turn; the fastest one counts, since nothing makes code faster than it is.
const ROUNDS: usize = 5;

/// Measures both ways.
pub(crate) fn measure(time: Duration, report: &mut Report) -> anyhow::Result<()> {
    let wire = shelf::item(7, VARIABLES).encode_to_vec();
    let codec = Codec::new(DESCRIPTOR_SET, Spelling::default())?;
    let pool = DescriptorPool::decode(DESCRIPTOR_SET)?;
    let message = pool.get_message_by_name(MESSAGE).context("the message")?;
    let options = SerializeOptions::new().skip_default_fields(false).use_proto_field_name(true);

    let print_plan = || {
        let mut out = Vec::with_capacity(2048);
        codec.print(MESSAGE, black_box(&wire), &mut out).map(|()| out)
    };
    let print_reflect = || -> anyhow::Result<Vec<u8>> {
        let read = DynamicMessage::decode(message.clone(), black_box(&wire[..]))?;
        let mut out = serde_json::Serializer::new(Vec::with_capacity(2048));
        read.serialize_with_options(&mut out, &options)?;
        Ok(out.into_inner())
    };
    let json = String::from_utf8(print_plan()?)?;
    let parse_plan = || codec.parse(MESSAGE, black_box(&json));
    let parse_reflect = || -> anyhow::Result<Vec<u8>> {
        let mut text = serde_json::Deserializer::from_str(black_box(&json));
        let read = DynamicMessage::deserialize(message.clone(), &mut text)?;
        text.end()?;
        Ok(read.encode_to_vec())
    };

    // What does not say the same is not the same work.
    let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text);
    ensure!(value(json.as_bytes())? == value(&print_reflect()?)?, "the two print different JSON");
    let read = |wire: &[u8]| DynamicMessage::decode(message.clone(), wire);
    ensure!(read(&parse_plan()?)? == read(&parse_reflect()?)?, "the two read different messages");

    let round = time / ROUNDS as u32;
    let [mut print, mut parse] = [[Duration::MAX; 2]; 2];
    for _ in 0..ROUNDS {
        print[0] = print[0].min(each(round, || print_plan().is_ok())?);
        print[1] = print[1].min(each(round, || print_reflect().is_ok())?);
        parse[0] = parse[0].min(each(round, || parse_plan().is_ok())?);
        parse[1] = parse[1].min(each(round, || parse_reflect().is_ok())?);
    }
    for (way, [plan, reflect]) in [("wire to JSON", print), ("JSON to wire", parse)] {
        let [plan, reflect] = [plan, reflect].map(|time| time.as_secs_f64() * 1e6);
        let what = format!("codec, {way}, {} B of JSON, plan to prost-reflect", json.len());
        report.goal(
            Goal::at_least(what, reflect / plan, "×", 6.0).of(format!("{plan:.2} µs, {reflect:.2} µs")),
        );
    }
    Ok(())
}

/// How much processor time one call takes.
fn each(time: Duration, call: impl Fn() -> bool) -> anyhow::Result<Duration> {
    const BATCH: u32 = 100;
    let before = Spent::of(std::process::id())?;
    let (begin, mut calls) = (Instant::now(), 0);
    while begin.elapsed() < time {
        for _ in 0..BATCH {
            assert!(black_box(call()), "it went well before");
        }
        calls += BATCH;
    }
    Ok(Spent::of(std::process::id())?.since(&before) / calls)
}
