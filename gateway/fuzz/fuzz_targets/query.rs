//! A query that is taken says the same when all of it is spelled in another way, and none of
//! them is an error of the server.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use clos_fuzz::{ALL, Answer, Backend, POOL, ask, json, transcoder};
use clos_transcoder::{Options, Transcoder};
use http::{Request, Uri};
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use prost_reflect::DynamicMessage;

static BACKEND: LazyLock<Backend> = LazyLock::new(Backend::default);
static REST: LazyLock<Transcoder<Backend>> =
    LazyLock::new(|| transcoder(BACKEND.clone(), Options::default()));

fn get(target: &str) -> Option<(Answer, Option<Bytes>)> {
    let uri = target.parse::<Uri>().ok()?;
    let request = Request::get(uri).body(Full::new(Bytes::new())).expect("a good request");
    let answer = ask(&REST, request);
    Some((answer, BACKEND.taken()))
}

/// Every byte escaped.
fn respelled(part: &str) -> String {
    let plain = part.replace('+', " ");
    percent_encode(&percent_decode_str(&plain).collect::<Vec<u8>>(), NON_ALPHANUMERIC).to_string()
}

fuzz_target!(|query: &str| {
    let Some((answer, message)) = get(&format!("/v1/all?{query}")) else { return };
    assert!(matches!(answer.status, 200 | 400 | 414), "{}", answer.status);
    json(&answer.body);
    let Some(message) = message.filter(|_| answer.status == 200) else { return };
    let all = POOL.get_message_by_name(ALL).expect("the contract has it");
    DynamicMessage::decode(all, message.clone()).expect("it is a message");

    // What stands behind `#` is not sent.
    let query = query.split('#').next().unwrap_or_default();
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) => format!("{}={}", respelled(name), respelled(value)),
        None => respelled(pair),
    });
    let other = format!("/v1/all?{}", pairs.collect::<Vec<_>>().join("&"));
    if other.len() <= 8 << 10 {
        let (again, same) = get(&other).expect("escapes are a good target");
        assert_eq!(again.status, 200, "{other}");
        assert_eq!(Some(message), same, "{other}");
        assert_eq!(answer.body, again.body, "{other}");
    }
});
