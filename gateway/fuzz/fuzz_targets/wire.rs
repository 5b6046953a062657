//! Whatever a backend answers, nobody gets half a JSON text, and two encodings of one message
//! print the same.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use clos_fuzz::{ALL, Backend, DESCRIPTORS, POOL, Says, ask, framed, json, transcoder};
use clos_protojson::{Codec, Spelling};
use clos_transcoder::{Options, Transcoder};
use http::Request;
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use prost_reflect::DynamicMessage;
use prost_reflect::prost::Message as _;

static CODEC: LazyLock<Codec> =
    LazyLock::new(|| Codec::new(&DESCRIPTORS, Spelling::default()).expect("the contract compiles"));
static BACKEND: LazyLock<Backend> = LazyLock::new(Backend::default);
static REST: LazyLock<Transcoder<Backend>> =
    LazyLock::new(|| transcoder(BACKEND.clone(), Options::default()));

fuzz_target!(|wire: &[u8]| {
    let mut printed = Vec::new();
    let is_printed = CODEC.print(ALL, wire, &mut printed).is_ok();
    if is_printed {
        json(&printed);
        let text = std::str::from_utf8(&printed).expect("JSON is UTF-8");
        // A number without a name is printed and not read, and so is what nests too deeply.
        if let Ok(read) = CODEC.parse(ALL, text) {
            let mut again = Vec::new();
            CODEC.print(ALL, &read, &mut again).expect("what was read can be printed");
            assert_eq!(text, String::from_utf8_lossy(&again), "another message");
        }
        let all = POOL.get_message_by_name(ALL).expect("the contract has it");
        if let Ok(message) = DynamicMessage::decode(all, wire) {
            let mut other = Vec::new();
            CODEC.print(ALL, &message.encode_to_vec(), &mut other).expect("the same message");
            assert_eq!(text, String::from_utf8_lossy(&other), "the same message in another order");
        }
    }

    // As one message, which is answered whole or as an error; and as bytes that are no frames.
    for (body, is_framed) in [(framed(wire), true), (Bytes::copy_from_slice(wire), false)] {
        BACKEND.says(Says::Body(body));
        let get = |path: &str, accept: &str| {
            let request = Request::get(path).header("accept", accept).body(Full::new(Bytes::new()));
            ask(&REST, request.expect("a good request"))
        };
        let answer = get("/v1/all", "application/json");
        json(&answer.body);
        assert!(matches!(answer.status, 200 | 500), "{}", answer.status);
        assert!(!is_framed || (answer.status == 200) == is_printed, "{}", answer.status);

        let lines = get("/v1/stream", "application/x-ndjson");
        lines
            .body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .for_each(|line| _ = json(line));
        let array = get("/v1/stream", "application/json");
        if !array.broke {
            json(&array.body);
        }
    }
});
