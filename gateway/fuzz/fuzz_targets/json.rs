//! A text that is read prints as one that reads as the same message; what is read at all is JSON
//! for others as well; and what a body may be, the service decides without an error of its own.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use clos_fuzz::{ALL, Backend, DESCRIPTORS, POOL, ask, json, transcoder};
use clos_protojson::{Codec, Enums, Int64, Names, Spelling};
use clos_transcoder::{Options, Transcoder};
use http::Request;
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use prost_reflect::DynamicMessage;
use prost_reflect::prost::Message as _;
use serde_json::Value;

static CODECS: LazyLock<[Codec; 2]> = LazyLock::new(|| {
    let other = Spelling { names: Names::Json, int64: Int64::Number, enums: Enums::Short };
    [Spelling::default(), other].map(|it| Codec::new(&DESCRIPTORS, it).expect("the contract compiles"))
});
static REST: LazyLock<Transcoder<Backend>> =
    LazyLock::new(|| transcoder(Backend::default(), Options::default()));

/// The same value; serde_json reads floats quickly and not to the last digit.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            let (Some(one), Some(other)) = (one.as_f64(), other.as_f64()) else { return false };
            one == other || (one - other).abs() <= one.abs() * 1e-6
        }
        (Value::Array(ones), Value::Array(others)) => {
            ones.len() == others.len() && ones.iter().zip(others).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(ones), Value::Object(others)) => {
            let is_there = |(name, one)| others.get(name).is_some_and(|other| is_same(one, other));
            ones.len() == others.len() && ones.iter().all(is_there)
        }
        _ => one == other,
    }
}

fuzz_target!(|text: &str| {
    let all = POOL.get_message_by_name(ALL).expect("the contract has it");
    for codec in &*CODECS {
        let Ok(wire) = codec.parse(ALL, text) else { continue };
        serde_json::from_str::<serde::de::IgnoredAny>(text).expect("others read it as well");
        DynamicMessage::decode(all.clone(), wire.as_slice()).expect("it is a message");

        let mut printed = Vec::new();
        codec.print(ALL, &wire, &mut printed).expect("what was read can be printed");
        json(&printed);
        let printed = String::from_utf8(printed).expect("JSON is UTF-8");
        let again = codec.parse(ALL, &printed).expect("what was printed can be read");
        let mut twice = Vec::new();
        codec.print(ALL, &again, &mut twice).expect("what was read can be printed");
        assert_eq!(printed.as_bytes(), twice, "another message");

        // A second reader, which is stricter, does not read another message.
        let mut deserializer = serde_json::Deserializer::from_str(text);
        if let Ok(theirs) = DynamicMessage::deserialize(all.clone(), &mut deserializer) {
            let mut other = Vec::new();
            codec.print(ALL, &theirs.encode_to_vec(), &mut other).expect("theirs is a message");
            let (ours, theirs) = (json(printed.as_bytes()), json(&other));
            assert!(is_same(&ours, &theirs), "others read it otherwise: {ours} and {theirs}");
        }
    }
    for (method, path) in [("POST", "/v1/all"), ("PATCH", "/v1/things/a"), ("POST", "/v1/collect")] {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.body(Full::new(Bytes::copy_from_slice(text.as_bytes())));
        let answer = ask(&REST, request.expect("a good request"));
        assert!(matches!(answer.status, 200 | 400), "{method} {path}: {}", answer.status);
    }
});
