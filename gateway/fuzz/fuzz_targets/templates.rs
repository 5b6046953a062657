//! Annotations that are taken print as they are read, and a path that is made of one is served;
//! those that are not are refused by the name of their method.
//!
//! Each line of the input is a binding: `GET /v1/{a}`, and the body behind a space.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use clos_fuzz::{Backend, ask, still};
use clos_transcoder::{Options, Refused, Transcoder};
use http::{Request, Uri};
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;

/// A message to bind, and the annotation.
static CONTRACT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut compiler = protox::Compiler::new([
        concat!(env!("CARGO_MANIFEST_DIR"), "/proto"),
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto"),
    ]);
    let compiler = compiler.as_mut().expect("the folders are there");
    compiler.include_imports(true).open_file("fuzz.proto").expect("the contract compiles");
    compiler.encode_file_descriptor_set()
});

/// A field with a length.
fn field(out: &mut Vec<u8>, number: u64, value: impl AsRef<[u8]>) {
    let mut varint = |mut value: u64| {
        while value > 0x7f {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    };
    varint(number << 3 | 2);
    varint(value.as_ref().len() as u64);
    out.extend_from_slice(value.as_ref());
}

fn message(fields: &[(u64, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    fields.iter().for_each(|(number, value)| field(&mut out, *number, value));
    out
}

/// A transcoder of one method with these bindings.
fn served<'l>(lines: impl Iterator<Item = &'l str>) -> Result<Transcoder<Backend>, Refused> {
    let mut rules = lines.map(|line| {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
        let custom = message(&[(1, verb.as_bytes()), (2, path.as_bytes())]);
        message(&[(7, body.as_bytes()), (8, &custom)])
    });
    let mut rule = rules.next().unwrap_or_default();
    rules.for_each(|other| field(&mut rule, 11, other));
    // `google.api.http`
    let options = message(&[(72_295_728, &rule)]);
    let method = message(&[(1, b"R"), (2, b".fuzz.M"), (3, b".fuzz.M"), (4, &options)]);
    let service = message(&[(1, b"S"), (2, &method)]);
    let file =
        message(&[(1, b"made.proto"), (2, b"made"), (3, b"fuzz.proto"), (6, &service), (12, b"proto3")]);
    let mut set = CONTRACT.clone();
    field(&mut set, 1, file);
    let options = Options { source: still(), ..Options::default() };
    Transcoder::new(&set, Backend::default(), options)
}

fuzz_target!(|text: &str| {
    let rest = match served(text.lines().take(12)) {
        Ok(rest) => rest,
        Err(Refused(faults)) => {
            assert!(!faults.is_empty());
            for fault in faults {
                assert!(fault.starts_with("made.S.R: "), "{fault}");
            }
            return;
        }
    };
    let shown: Vec<String> = rest.routes().collect();
    if !shown.iter().eq(text.lines().take(12)) {
        let again = served(shown.iter().map(String::as_str)).expect("what was shown can be served");
        assert_eq!(shown, again.routes().collect::<Vec<_>>());
    }

    for route in &shown {
        let Some((verb, template)) = route.split_once(' ') else { continue };
        let verb = if verb == "*" { "GET" } else { verb };
        let path = filled(template);
        // Not every literal can stand in a target.
        let Ok(uri) = path.parse::<Uri>() else { continue };
        if uri.path() != path {
            continue;
        }
        let request = Request::builder().method(verb).uri(uri).body(Full::new(Bytes::new()));
        let answer = ask(&rest, request.expect("a good request"));
        assert!(matches!(answer.status, 200 | 400), "{route} at {path}: {}", answer.status);
    }
});

/// A path that fits a template.
fn filled(template: &str) -> String {
    let mut path = String::new();
    let mut rest = template;
    while let Some((before, variable)) = rest.split_once('{') {
        path.push_str(before);
        let (variable, after) = variable.split_once('}').unwrap_or((variable, ""));
        path.push_str(variable.split_once('=').map_or("*", |(_, pattern)| pattern));
        rest = after;
    }
    path.push_str(rest);
    path.replace("**", "v/w").replace('*', "v")
}
