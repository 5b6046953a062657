//! What the transcoder decides, request by request.
#![allow(clippy::unwrap_used, reason = "a test may fail and reads where it is")]

mod support;

use bytes::Bytes;
use clos_transcoder::{Options, Refused, Transcoder};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use support::{Backend, Suite, descriptors, read, request};
use tower::ServiceExt as _;

fn suite() -> Suite {
    Suite::new(Options { auto_map: Some("/rpc".to_owned()), ..Options::default() })
}

#[tokio::test]
async fn paths_lead_to_fields() {
    let suite = suite();
    for (target, s) in [
        ("/v1/all/x", "x"),
        ("/v1/all/a%20b", "a b"),
        ("/v1/all/a%2Fb", "a/b"),
        ("/v1/all/a+b", "a+b"),
        ("/v1/all/%2541", "%41"),
        ("/v1/all/%F0%9F%98%80", "😀"),
        ("/files", ""),
        ("/files/", ""),
        ("/files/a", "a"),
        ("/files/a/b", "a/b"),
        ("/files/a%2Fb/c%20d", "a%2Fb/c d"),
        ("/v1/shelves/1/books/2%2F3", "shelves/1/books/2%2F3"),
        ("/k/abc:other", "abc:other"),
        ("/k/img:tag", "img:tag"),
        ("/k/abc%3Astart", "abc:start"),
        ("/k/special", ""),
        ("/v1/all/...", "..."),
        ("/v1/all/x;y", "x;y"),
    ] {
        assert_eq!(suite.ok(&format!("GET {target}")).await["s"], s, "{target}");
    }
    assert_eq!(suite.ok("GET /v1/sub/x").await["sub"]["s"], "x");
    assert_eq!(suite.ok("GET /v1/num/-7").await["i32"], -7);
    assert_eq!(suite.ok("GET /v1/when/2026-11-23T10:00:00+02:00").await["ts"], "2026-11-23T08:00:00Z");
    for kind in ["KIND_RED", "kind_red", "RED", "red", "1"] {
        assert_eq!(suite.ok(&format!("GET /v1/kind/{kind}")).await["kind"], "KIND_RED");
    }
    assert_eq!(suite.ok("POST /k/abc:start\n\n{}").await["s"], "abc");
    assert_eq!(suite.ok("DELETE /k/special").await["s"], "special");
    assert_eq!(suite.ok("PURGE /k/x").await["s"], "x");
    for method in ["GET", "POST", "OPTIONS", "BREW"] {
        suite.ok(&format!("{method} /any")).await;
    }
    assert_eq!(suite.ok("POST /rpc/conformance.v1.Echo/Hidden\n\n{\"s\":\"h\"}").await["s"], "h");
}

#[tokio::test]
async fn paths_that_lead_nowhere() {
    let suite = suite();
    for target in [
        "/",
        "/v1/all/",
        "/v1//all",
        "/V1/all",
        "/v1/all/a/b",
        "/v1/all//",
        "/files//a",
        "/v1/shelves/1/books/",
        "/k/:start",
    ] {
        let answer = suite.ask(&format!("GET {target}")).await;
        assert_eq!((answer.status, answer.json()["code"].as_str().unwrap()), (404, "NOT_FOUND"), "{target}");
    }
    for (target, field) in [
        ("/v1/all/%zz", "s"),
        ("/v1/all/%2", "s"),
        ("/v1/all/%ff", "s"),
        ("/v1/all/%00", "s"),
        ("/v1/all/..", "s"),
        ("/v1/all/%2e%2e", "s"),
        ("/v1/all/a%2F..", "s"),
        ("/files/a/../b", "s"),
        ("/v1/sub/%c3%28", "sub.s"),
        ("/nothing/../x", "path"),
        ("/v1/all/.", "s"),
        ("/v1/./all", "path"),
        ("/%2e%2e/v1/all", "path"),
    ] {
        suite.bad(&format!("GET {target}"), &[field]).await;
    }
    suite.bad("GET /v1/num/x", &["i32"]).await;
    suite.bad("GET /v1/kind/GREEN", &["kind"]).await;
    suite.bad("GET /v1/kind/9", &["kind"]).await;
}

#[tokio::test]
async fn methods() {
    let suite = suite();
    let answer = suite.ask("PUT /v1/all").await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, OPTIONS, POST"));
    assert_eq!(answer.json()["code"], "UNIMPLEMENTED");
    assert_eq!(suite.ask("DELETE /v1/chat/x").await.status, 405, "only GET can become a socket");
    let answer = suite.ask("GET /k/abc:start").await;
    assert_eq!((answer.status, answer.header("allow")), (405, "OPTIONS, POST"));
    let answer = suite.ask("OPTIONS /v1/all").await;
    assert_eq!(
        (answer.status, answer.header("allow"), answer.body.as_str()),
        (204, "GET, HEAD, OPTIONS, POST", "")
    );
    let whole = suite.ask("GET /v1/all/x").await;
    let head = suite.ask("HEAD /v1/all/x").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), whole.header("content-length"));
    assert_eq!(suite.ask("GET /v1/all\nX-HTTP-Method-Override: DELETE").await.status, 200);
}

#[tokio::test]
async fn queries_fill_fields() {
    let suite = suite();
    for (query, field, value) in [
        ("s=a+b", "s", json!("a b")),
        ("s=a%2Bb", "s", json!("a+b")),
        ("s=;", "s", json!(";")),
        ("&&s=a&", "s", json!("a")),
        ("s=", "s", json!("")),
        ("i32=5", "i32", json!(5)),
        ("i64=9223372036854775807", "i64", json!("9223372036854775807")),
        ("u64=18446744073709551615", "u64", json!("18446744073709551615")),
        ("b", "b", json!(true)),
        ("b=1", "b", json!(true)),
        ("b=0", "b", json!(false)),
        ("wb", "wb", json!(true)),
        ("d=NaN", "d", json!("NaN")),
        ("d=1e3", "d", json!(1000)),
        ("by=_-8", "by", json!("/+8=")),
        ("by=%2F%2B8%3D", "by", json!("/+8=")),
        ("kind=dark_blue", "kind", json!("KIND_DARK_BLUE")),
        ("rs=a&rs=b", "rs", json!(["a", "b"])),
        ("rs=a,b", "rs", json!(["a,b"])),
        ("csv=a,b&csv=c", "csv", json!(["a", "b", "c"])),
        ("sub.s=x&sub.n=3", "sub", json!({"s":"x","n":3,"long_name":""})),
        ("sub.longName=x", "sub", json!({"s":"","n":0,"long_name":"x"})),
        ("sub%2Es=x", "sub", json!({"s":"x","n":0,"long_name":""})),
        ("labels[a]=b&labels[c]=", "labels", json!({"a":"b","c":""})),
        ("mk[a]=red", "mk", json!({"a":"KIND_RED"})),
        ("ts=2026-11-23T10:00:00+02:00", "ts", json!("2026-11-23T08:00:00Z")),
        ("dur=1.5s", "dur", json!("1.500s")),
        ("dur=1h30m", "dur", json!("5400s")),
        ("mask=sub.longName,i32", "mask", json!("sub.longName,i32")),
        ("mask=sub.long_name", "mask", json!("sub.longName")),
        ("wi=0", "wi", json!("0")),
        ("oi=0", "oi", json!(0)),
        ("otherName=x", "renamed", json!("x")),
        ("renamed=x", "renamed", json!("x")),
        ("ws=", "ws", json!("")),
        ("pickI=3", "pick_i", json!(3)),
        ("big=12", "big", json!(12)),
    ] {
        assert_eq!(suite.ok(&format!("GET /v1/all?{query}")).await[field], value, "{query}");
    }
}

#[tokio::test]
async fn queries_that_say_nothing_or_too_much() {
    let suite = suite();
    for (query, field) in [
        ("nothing=1", "nothing"),
        ("s=a&s=b", "s"),
        ("long=1", "long"),
        ("i32=1.5", "i32"),
        ("i32=1e2", "i32"),
        ("i32=%201", "i32"),
        ("i32=2147483648", "i32"),
        ("i32=null", "i32"),
        ("i32", "i32"),
        ("u32=-1", "u32"),
        ("b=yes", "b"),
        ("b=TRUE", "b"),
        ("kind=green", "kind"),
        ("kind=9", "kind"),
        ("rsub=x", "rsub"),
        ("rsub.s=x", "rsub.s"),
        ("sub=x", "sub"),
        ("st=%7B%7D", "st"),
        ("val=1", "val"),
        ("ts.seconds=5", "ts.seconds"),
        ("ts=now", "ts"),
        ("dur=fast", "dur"),
        ("mask=nothing", "mask"),
        ("pickS=a&pickI=1", "pick_i"),
        ("labels=x", "labels"),
        ("labels[a]=b&labels[a]=c", "labels[a]"),
        ("s[a]=b", "s[a]"),
        ("s=%zz", "s"),
        ("s=%ff", "s"),
        ("s=%00", "s"),
        ("by=?", "by"),
        ("fields=nothing", "fields"),
        ("fields=s.x", "fields"),
        ("pretty=maybe", "pretty"),
        ("sub.s=1&sub.s=2", "sub.s"),
        ("renamed=x&otherName=y", "renamed"),
        ("i32=0x1", "i32"),
        ("msub[x].s=1", "msub[x].s"),
    ] {
        suite.bad(&format!("GET /v1/all?{query}"), &[field]).await;
    }
    suite.bad("GET /v1/all/x?s=y", &["s"]).await;
    suite.bad("GET /v1/all/x?s=x", &["s"]).await;
    suite.bad("POST /v1/all?i32=1\n\n{}", &["i32"]).await;
    suite.bad("POST /v1/all/x/sub?sub.n=1\n\n{}", &["sub.n"]).await;
    suite.bad("GET /v1/all?i32=x&u32=y&nothing=1", &["i32", "u32", "nothing"]).await;
    let deep = vec!["sub"; 70].join(".");
    assert_eq!(suite.ask(&format!("GET /v1/all?{deep}=1")).await.status, 400);
    let many = vec!["rs=a"; 257].join("&");
    suite.bad(&format!("GET /v1/all?{many}"), &["query"]).await;
    let long = "x".repeat(9_000);
    assert_eq!(suite.ask(&format!("GET /v1/all?s={long}")).await.status, 414);
    assert_eq!(suite.ask(&format!("GET /v1/all\nx-long: {}", "y".repeat(40_000))).await.status, 431);
    assert_eq!(suite.ask("POST /v1/all/x/sub?i32=4\n\n{\"n\":1}").await.json()["i32"], 4);
}

#[tokio::test]
async fn bodies_fill_fields() {
    let suite = suite();
    for (body, field, value) in [
        (r#"{"s":"a\u00e9"}"#, "s", json!("aé")),
        (r#"{"i32":5.0}"#, "i32", json!(5)),
        (r#"{"i32":"5"}"#, "i32", json!(5)),
        (r#"{"i64":5}"#, "i64", json!("5")),
        (r#"{"i32":null}"#, "i32", json!(0)),
        (r#"{"d":"NaN"}"#, "d", json!("NaN")),
        (r#"{"d":1.25}"#, "d", json!(1.25)),
        (r#"{"kind":1}"#, "kind", json!("KIND_RED")),
        (r#"{"kind":"red"}"#, "kind", json!("KIND_RED")),
        (r#"{"by":"-_8"}"#, "by", json!("+/8=")),
        (r#"{"rs":["a"],"ri":[1,"2"]}"#, "ri", json!([1, 2])),
        (r#"{"rk":["red",2]}"#, "rk", json!(["KIND_RED", "KIND_DARK_BLUE"])),
        (r#"{"labels":{"b":"","a":"1"}}"#, "labels", json!({"a":"1","b":""})),
        (
            r#"{"msub":{"2":{"s":"x"},"-1":{}}}"#,
            "msub",
            json!({"-1":{"s":"","n":0,"long_name":""},"2":{"s":"x","n":0,"long_name":""}}),
        ),
        (r#"{"mb":{"true":1}}"#, "mb", json!({"true":"1"})),
        (r#"{"ts":"2026-11-23T10:00:00.5Z"}"#, "ts", json!("2026-11-23T10:00:00.500Z")),
        (r#"{"dur":"1.5s"}"#, "dur", json!("1.500s")),
        (r#"{"easy":"1h30m"}"#, "easy", json!("5400s")),
        (r#"{"mask":"sub.longName"}"#, "mask", json!("sub.longName")),
        (r#"{"st":{"a":[1,"x",null,true,{}]}}"#, "st", json!({"a":[1,"x",null,true,{}]})),
        (r#"{"val":null}"#, "val", json!(null)),
        (r#"{"val":[1]}"#, "val", json!([1])),
        (r#"{"lv":[null]}"#, "lv", json!([null])),
        (
            r#"{"any":{"@type":"type.googleapis.com/conformance.v1.Sub","s":"x"}}"#,
            "any",
            json!({"@type":"type.googleapis.com/conformance.v1.Sub","s":"x","n":0,"long_name":""}),
        ),
        (
            r#"{"any":{"value":"1.5s","@type":"x/google.protobuf.Duration"}}"#,
            "any",
            json!({"@type":"x/google.protobuf.Duration","value":"1.500s"}),
        ),
        (r#"{"any":{}}"#, "any", json!({})),
        (r#"{"wi":"7","ws":null}"#, "wi", json!("7")),
        (r#"{"otherName":"x"}"#, "renamed", json!("x")),
        (r#"{"oi":0}"#, "oi", json!(0)),
        (r#"{"os":""}"#, "os", json!("")),
    ] {
        assert_eq!(suite.ok(&format!("POST /v1/all\n\n{body}")).await[field], value, "{body}");
    }
    assert!(suite.ok("POST /v1/all\n\n{\"val\":null}").await.as_object().unwrap().contains_key("val"));
    assert_eq!(suite.ok("POST /v1/all/x/sub\n\n{\"n\":3}").await["sub"]["n"], 3);
    assert_eq!(suite.ok("POST /v1/all/x/list\n\n[\"a\",\"b\"]").await["rs"], json!(["a", "b"]));
    assert_eq!(suite.ok("POST /v1/all/x/number\n\n7").await["i32"], 7);
    assert_eq!(suite.ok("POST /v1/all").await["s"], "");
    assert_eq!(
        suite.ok("POST /v1/all\nX-Rest-Unknown-Fields: ignore\n\n{\"nope\":{\"a\":[1]},\"s\":\"x\"}").await["s"],
        "x"
    );
    for kind in [
        "application/json",
        "application/json; charset=UTF-8",
        "application/merge-patch+json",
        "application/x+json",
        "APPLICATION/JSON",
    ] {
        assert_eq!(
            suite.ok(&format!("POST /v1/all\ncontent-type: {kind}\n\n{{\"s\":\"x\"}}")).await["s"],
            "x",
            "{kind}"
        );
    }
}

#[tokio::test]
async fn bodies_that_do_not_fit() {
    let suite = suite();
    for (body, field) in [
        ("null", "body"),
        ("{", "body"),
        ("{} {}", "body"),
        ("[]", "body"),
        ("1", "body"),
        ("{\"nope\":1}", "nope"),
        ("{\"sub\":{\"nope\":1}}", "sub.nope"),
        ("{\"s\":\"a\",\"s\":\"b\"}", "s"),
        ("{\"otherName\":\"a\",\"renamed\":\"b\"}", "renamed"),
        ("{\"i32\":1.5}", "i32"),
        ("{\"i32\":true}", "i32"),
        ("{\"i32\":2147483648}", "i32"),
        ("{\"s\":1}", "s"),
        ("{\"b\":\"true\"}", "b"),
        ("{\"b\":1}", "b"),
        ("{\"kind\":\"green\"}", "kind"),
        ("{\"kind\":9}", "kind"),
        ("{\"rs\":[null]}", "rs[0]"),
        ("{\"rs\":\"a\"}", "rs"),
        ("{\"ri\":[1,\"x\"]}", "ri[1]"),
        ("{\"rsub\":[{},{\"n\":\"x\"}]}", "rsub[1].n"),
        ("{\"labels\":{\"a\":null}}", "labels[a]"),
        ("{\"labels\":{\"a\":1}}", "labels[a]"),
        ("{\"msub\":{\"x\":{}}}", "msub[x]"),
        ("{\"labels\":{\"a\":\"1\",\"a\":\"2\"}}", "labels[a]"),
        ("{\"pick_s\":\"a\",\"pick_i\":1}", "pick_i"),
        ("{\"ts\":\"today\"}", "ts"),
        ("{\"dur\":\"1h\"}", "dur"),
        ("{\"dur\":5}", "dur"),
        ("{\"mask\":5}", "mask"),
        ("{\"st\":[]}", "st"),
        ("{\"st\":{\"a\":1,\"a\":2}}", "st[a]"),
        ("{\"any\":{\"s\":\"x\"}}", "any"),
        ("{\"any\":{\"@type\":\"x/nope.Nope\"}}", "any"),
        ("{\"by\":\"?\"}", "by"),
        ("{\"s\":\"\\ud800\"}", "s"),
        ("{\"d\":1e400}", "d"),
        ("{\"f\":1e39}", "f"),
        ("\u{feff}{}", "body"),
        ("{\"s\":\"a\"}x", "body"),
        ("{'s':1}", "body"),
        ("{\"s\":\"a\",}", "body"),
    ] {
        suite.bad(&format!("POST /v1/all\n\n{body}"), &[field]).await;
    }
    suite
        .bad(
            "POST /v1/all\n\n{\"i32\":\"x\",\"s\":5,\"nope\":1,\"sub\":{\"n\":[]}}",
            &["i32", "s", "nope", "sub.n"],
        )
        .await;
    let answer = suite.ask("POST /v1/all\n\n{\n  \"i32\": \"x\"}").await;
    assert!(answer.body.contains("(line 2, column 10)"), "{}", answer.body);
    suite.bad("POST /v1/all\nX-Rest-Unknown-Fields: ignore\n\n{\"kind\":\"green\"}", &["kind"]).await;
    let deep = format!("{}{}", "{\"inner\":".repeat(70), "{}".to_owned() + &"}".repeat(70));
    assert_eq!(suite.ask(&format!("POST /v1/all\n\n{deep}")).await.status, 400);
    let fine = format!("{}{}", "{\"inner\":".repeat(63), "{}".to_owned() + &"}".repeat(63));
    assert_eq!(suite.ask(&format!("POST /v1/all\n\n{fine}")).await.status, 200);
    // A key twice is noticed in a small map and in a large one.
    for size in [2, 16, 17, 40] {
        let keys: Vec<String> = (0..size).map(|at| format!("\"k{at}\":\"\"")).collect();
        let labels = format!("{{\"labels\":{{{}}}}}", keys.join(","));
        assert_eq!(suite.ask(&format!("POST /v1/all\n\n{labels}")).await.status, 200, "{size}");
        for twice in [0, size - 1] {
            let labels = format!("{{\"labels\":{{{},\"k{twice}\":\"\"}}}}", keys.join(","));
            suite.bad(&format!("POST /v1/all\n\n{labels}"), &[&format!("labels[k{twice}]")]).await;
        }
    }
    suite.bad("GET /v1/all\n\n{}", &["body"]).await;
    suite.bad("DELETE /k/x\n\n{}", &["body"]).await;
    suite.bad("POST /v1/needy", &["s"]).await;
    assert_eq!(suite.ask("POST /v1/needy\n\n{}").await.status, 200);
    for (head, status) in [
        ("content-type: text/plain", 415),
        ("content-type: application/x-www-form-urlencoded", 415),
        ("content-type: application/json; charset=latin1", 415),
        ("content-type: application/json\ncontent-encoding: lzma", 415),
        ("content-type: application/xml", 415),
        ("content-type: application/json\ncontent-encoding: gzip", 400),
        ("content-type: application/json\ncontent-length: 2000000", 413),
        ("content-type: application/json\naccept: text/html", 406),
    ] {
        let answer = suite.ask(&format!("POST /v1/all\n{head}\n\n{{}}")).await;
        assert_eq!(answer.status, status, "{head}: {}", answer.body);
        assert_eq!(answer.header("content-type"), "application/json");
    }
    // As `curl -d` sends it.
    let answer = suite.ask("POST /v1/all\ncontent-type: application/x-www-form-urlencoded\n\n{}").await;
    assert_eq!(answer.header("accept-post"), "application/json");
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.ends_with("send `Content-Type: application/json`"), "{message}");
    let large = format!("{{\"s\":\"{}\"}}", "x".repeat(1 << 20));
    assert_eq!(suite.ask(&format!("POST /v1/all\n\n{large}")).await.status, 413);
}

#[tokio::test]
async fn nothing_overrides_what_the_path_says() {
    let suite = suite();
    for body in ["{}", "{\"s\":null}", "{\"s\":\"x\"}"] {
        assert_eq!(suite.ok(&format!("POST /v1/all/x\n\n{body}")).await["s"], "x", "{body}");
    }
    suite.bad("POST /v1/all/x\n\n{\"s\":\"y\"}", &["s"]).await;
    suite.bad("POST /v1/all/x\n\n{\"s\":\"\"}", &["s"]).await;
    suite.bad("POST /v1/pick/x\n\n{\"pick_i\":1}", &["pick_i"]).await;
    assert_eq!(suite.ok("POST /v1/pick/x\n\n{\"pick_s\":\"x\"}").await["pick_s"], "x");
}

#[tokio::test]
async fn answers_are_spelled_the_same_way_every_time() {
    let suite = suite();
    let answer = suite.ask("POST /v1/all\n\n{\"sub\":{\"n\":1},\"s\":\"x\"}").await;
    let expected = concat!(
        r#"{"d":0,"f":0,"i32":0,"i64":"0","u32":0,"u64":"0","si32":0,"si64":"0","f32":0,"f64":"0","sf32":0,"sf64":"0","b":false,"s":"x","by":"","kind":"KIND_UNSPECIFIED","#,
        r#""sub":{"s":"","n":1,"long_name":""},"rs":[],"ri":[],"rk":[],"rsub":[],"labels":{},"msub":{},"csv":[],"big":0,"maybe":null,"renamed":"","mk":{},"mb":{}}"#
    );
    assert_eq!(answer.body, expected);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(
        (answer.header("x-leading"), answer.header("x-trailing"), answer.header("secret-bin")),
        ("l", "t", "")
    );
    assert_eq!(
        suite.ask("GET /v1/all?s=x&fields=s,sub.n&sub.n=2").await.body,
        "{\"s\":\"x\",\"sub\":{\"n\":2}}"
    );
    assert_eq!(suite.ask("GET /v1/all?i32=3&fields=i32&pretty").await.body, "{\n  \"i32\": 3\n}");
    assert_eq!(suite.ask("GET /v1/only/sub?sub.n=4").await.body, "{\"s\":\"\",\"n\":4,\"long_name\":\"\"}");
    assert_eq!(suite.ask("GET /v1/only/sub").await.body, "{}");
    assert_eq!(suite.ask("GET /v1/only/list").await.body, "[]");
    assert_eq!(suite.ask("GET /v1/only/list?rs=a&rs=b").await.body, "[\"a\",\"b\"]");
}

#[tokio::test]
async fn patches_make_their_masks() {
    let suite = suite();
    for (body, mask) in [
        ("{\"size\":1}", "size"),
        ("{\"size\":null}", "size"),
        ("{}", ""),
        ("{\"sub\":{\"n\":1,\"deep\":{\"s\":\"x\"}}}", "sub.n,sub.deep.s"),
        ("{\"sub\":{}}", "sub"),
        ("{\"sub\":null}", "sub"),
        ("{\"labels\":{\"a\":\"b\"},\"tags\":[\"x\"],\"data\":{\"k\":1}}", "labels,tags,data"),
        ("{\"requestId\":\"x\"}", "requestId"),
    ] {
        assert_eq!(suite.ok(&format!("PATCH /v1/things/x\n\n{body}")).await["update_mask"], mask, "{body}");
    }
    assert_eq!(suite.ok("PUT /v1/things/x\n\n{\"size\":1}").await["update_mask"], "size");
    assert_eq!(suite.ok("PATCH /v1/things/x?update_mask=tags\n\n{\"size\":1}").await["update_mask"], "tags");
    assert_eq!(suite.ok("PATCH /v1/things/x?update_mask=*\n\n{\"size\":1}").await["update_mask"], "*");
    suite.bad("PATCH /v1/things/x?update_mask=nothing\n\n{}", &["update_mask"]).await;
}

#[tokio::test]
async fn tags_and_ids_travel_in_headers() {
    let suite = suite();
    let answer = suite.ask("POST /v1/things\n\n{\"name\":\"a b\",\"etag\":\"7\"}").await;
    assert_eq!(
        (answer.status, answer.header("location"), answer.header("etag")),
        (201, "/v1/things/a%20b", "\"7\"")
    );
    let answer = suite.ask("GET /v1/things/x?etag=7\nif-none-match: \"6\", W/\"7\"").await;
    assert_eq!((answer.status, answer.body.as_str(), answer.header("etag")), (304, "", "\"7\""));
    assert_eq!(suite.ask("GET /v1/things/x?etag=7\nif-none-match: \"6\"").await.status, 200);
    assert_eq!(suite.ok("PATCH /v1/things/x\nif-match: \"7\"\n\n{}").await["etag"], "7");
    assert_eq!(
        suite.ask("POST /v1/things\nidempotency-key: job-1\n\n{\"name\":\"x\"}").await.json()["request_id"],
        "job-1"
    );
    assert_eq!(
        suite.ask("POST /v1/things\nidempotency-key: job-1\n\n{\"request_id\":\"job-2\"}").await.status,
        400
    );
    let answer = suite.ask("DELETE /v1/things/x").await;
    assert_eq!((answer.status, answer.body.as_str(), answer.header("content-type")), (204, "", ""));
}

/// `google.rpc.Status` with details, as the backend is asked to answer it.
fn failing(code: i32, message: &str, details: &[(&str, Vec<u8>)]) -> String {
    let bytes = |number: u8, bytes: &[u8]| {
        let mut out = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length >= 128 {
            out.push((length & 127) as u8 | 128);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(bytes);
        out
    };
    let mut status = vec![8, 99];
    for (name, value) in details {
        let url = format!("type.googleapis.com/{name}");
        status.extend(bytes(3, &[bytes(1, url.as_bytes()), bytes(2, value)].concat()));
    }
    let encoded = data_encoding::BASE64.encode(&status);
    let body =
        json!({"code": code, "message": message, "details": if details.is_empty() { "" } else { &encoded }});
    format!("POST /v1/fail\n\n{body}")
}

#[tokio::test]
async fn errors_have_one_shape() {
    let suite = suite();
    for (code, status, word) in [
        (1, 499, "CANCELLED"),
        (2, 500, "UNKNOWN"),
        (3, 400, "INVALID_ARGUMENT"),
        (4, 504, "DEADLINE_EXCEEDED"),
        (5, 404, "NOT_FOUND"),
        (6, 409, "ALREADY_EXISTS"),
        (7, 403, "PERMISSION_DENIED"),
        (8, 429, "RESOURCE_EXHAUSTED"),
        (9, 400, "FAILED_PRECONDITION"),
        (10, 409, "ABORTED"),
        (11, 400, "OUT_OF_RANGE"),
        (12, 501, "UNIMPLEMENTED"),
        (13, 500, "INTERNAL"),
        (14, 503, "UNAVAILABLE"),
        (15, 500, "DATA_LOSS"),
        (16, 401, "UNAUTHENTICATED"),
    ] {
        let answer = suite.ask(&failing(code, "so é 100%", &[])).await;
        assert_eq!(answer.status, status, "{word}");
        let error = answer.json();
        assert_eq!(
            (error["code"].as_str().unwrap(), error["message"].as_str().unwrap()),
            (word, "so é 100%")
        );
        let keys: Vec<&String> = error.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["code", "message", "details", "request_id", "trace_id", "timestamp"]);
        assert_eq!(error["request_id"], answer.header("x-request-id"));
    }
    let answer = suite.ask(&failing(16, "", &[])).await;
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"api\", error=\"invalid_token\"");

    // ErrorInfo{reason, domain, metadata}, BadRequest, RetryInfo 1.5 s, ResourceInfo, one of the contract, one that nobody knows.
    let info = [&b"\x0a\x06TEAPOT\x12\x01d\x1a\x06\x0a\x01k\x12\x01v"[..]].concat();
    let bad = b"\x0a\x08\x0a\x01f\x12\x03bad".to_vec();
    let retry = b"\x0a\x08\x08\x01\x10\x80\xca\xb5\xee\x01".to_vec();
    let resource = b"\x0a\x01t\x12\x01n".to_vec();
    let extra = b"\x0a\x03\x0a\x01x".to_vec();
    let details = [
        ("google.rpc.ErrorInfo", info.clone()),
        ("google.rpc.BadRequest", bad),
        ("google.rpc.RetryInfo", retry),
        ("google.rpc.ResourceInfo", resource),
        ("conformance.v1.Extra", extra),
        ("nobody.Knows", vec![1, 2]),
    ];
    let answer = suite.ask(&failing(9, "m", &details)).await;
    assert_eq!((answer.status, answer.header("retry-after")), (418, "2"));
    let error = answer.json();
    assert_eq!(error["code"], "TEAPOT");
    let told = &error["details"];
    assert_eq!(told["field_violations"], json!([{"field":"f","description":"bad"}]));
    assert_eq!(told["metadata"], json!({"k":"v"}));
    assert_eq!(told["resource"]["resource_name"], "n");
    assert_eq!(told["conflicts"][0]["s"], "x");
    let other: Vec<&str> =
        told["other"].as_array().unwrap().iter().map(|it| it["@type"].as_str().unwrap()).collect();
    assert_eq!(other, ["type.googleapis.com/google.rpc.RetryInfo", "type.googleapis.com/nobody.Knows"]);
    assert_eq!(told["other"][1]["value"], "AQI=");
    let text =
        failing(9, "m", &details).replacen("\n\n", "\naccept: application/vnd.google.rpc.status+json\n\n", 1);
    let answer = suite.ask(&text).await;
    assert_eq!(answer.header("content-type"), "application/vnd.google.rpc.status+json");
    assert_eq!(answer.json()["code"], 9);
    assert_eq!(answer.json()["details"].as_array().unwrap().len(), 6);

    let mismatch = failing(10, "m", &[("google.rpc.ErrorInfo", b"\x0a\x0dETAG_MISMATCH".to_vec())]);
    assert_eq!(suite.ask(&mismatch).await.status, 409);
    assert_eq!(suite.ask(&mismatch.replacen("\n\n", "\nif-match: \"1\"\n\n", 1)).await.status, 412);
    assert_eq!(
        suite.ask(&failing(11, "Error, decoded message length too large: found 9 bytes", &[])).await.status,
        413
    );
}

#[tokio::test(start_paused = true)]
async fn deadlines_belong_to_the_gateway() {
    let suite = suite();
    for head in ["x-request-timeout: 0.1", "grpc-timeout: 100m", "grpc-timeout: 1H\nx-request-timeout: 0.1"] {
        let answer = suite.ask(&format!("GET /v1/slow\n{head}")).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str().unwrap()),
            (504, "DEADLINE_EXCEEDED"),
            "{head}"
        );
        assert_eq!(
            suite.backend.waiting.load(std::sync::atomic::Ordering::SeqCst),
            0,
            "the call was dropped"
        );
        assert!(suite.backend.seen.lock().unwrap().contains_key("grpc-timeout"));
    }
    for head in ["x-request-timeout: 9999999999999999999", "grpc-timeout: 99999999H"] {
        assert_eq!(suite.ask(&format!("GET /v1/all\n{head}")).await.status, 200, "{head}");
    }
    for head in ["x-request-timeout: -1", "x-request-timeout: NaN", "grpc-timeout: soon"] {
        assert_eq!(suite.ask(&format!("GET /v1/all\n{head}")).await.status, 400, "{head}");
    }
}

#[tokio::test]
async fn streams_are_framed_as_they_are_wanted() {
    let suite = suite();
    let ask = async |query: &str, head: &str| suite.ask(&format!("GET /v1/stream?{query}{head}")).await;
    let answer = ask("count=2", "").await;
    assert_eq!(
        (answer.header("content-type"), answer.header("cache-control")),
        ("application/x-ndjson", "no-store")
    );
    assert_eq!(answer.body.lines().count(), 2);
    assert!(answer.body.ends_with('\n') && answer.body.contains("\"i64\":\"2\""));
    let answer = ask("count=2&word=tick", "\naccept: text/event-stream").await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert!(answer.body.starts_with("id: 1\nevent: tick\ndata: {"), "{}", answer.body);
    let answer = ask("count=2", "\naccept: text/event-stream\nlast-event-id: 5").await;
    assert!(answer.body.starts_with("id: 6\n"), "{}", answer.body);
    let answer = ask("count=3", "\naccept: application/json").await;
    assert_eq!(
        (answer.header("content-type"), answer.json().as_array().unwrap().len()),
        ("application/json", 3)
    );
    assert_eq!(ask("count=0", "\naccept: application/json").await.body, "[]");
    assert_eq!(ask("count=0", "").await.body, "");
    assert_eq!(ask("count=2&word=hi", "\naccept: text/plain").await.body, "hi\nhi\n");
    assert_eq!(ask("count=1", "\naccept: image/png").await.status, 406);

    let early = ask("fail_code=5", "").await;
    assert_eq!((early.status, early.json()["code"].as_str().unwrap()), (404, "NOT_FOUND"));
    assert_eq!(early.header("x-leading"), "l", "metadata of a failure are headers");
    let late = ask("count=1&fail_code=5", "").await;
    let last: serde_json::Value = serde_json::from_str(late.body.lines().last().unwrap()).unwrap();
    assert_eq!((late.status, last["error"]["code"].as_str().unwrap()), (200, "NOT_FOUND"));
    let late = ask("count=1&fail_code=5", "\naccept: text/event-stream").await;
    assert!(
        late.body.contains("\n\nevent: error\ndata: {\"error\":{\"code\":\"NOT_FOUND\""),
        "{}",
        late.body
    );
    let late = ask("count=1&fail_code=5", "\naccept: application/json").await;
    assert!(late.broke && late.body.starts_with("[{") && late.body.ends_with('}'), "{}", late.body);

    let logs = suite.ask("GET /v1/logs?count=2").await;
    assert_eq!(logs.json()["logs"].as_array().unwrap().len(), 2);
    assert_eq!(suite.ask("GET /v1/logs?count=2&follow").await.header("content-type"), "application/x-ndjson");
    assert_eq!(suite.ask("GET /v1/logs?fail_code=5").await.status, 404);
    let head = suite.ask("HEAD /v1/stream?count=1&forever=1").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(suite.backend.waiting.load(std::sync::atomic::Ordering::SeqCst), 0, "the call was dropped");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_shows_that_it_lives() {
    let suite = suite();
    for (accept, first, sign) in [
        ("application/x-ndjson", "{\"i64\":\"1\"}\n", "\n"),
        ("text/event-stream", "id: 1\ndata: {\"i64\":\"1\"}\n\n", ":\n\n"),
        ("application/json", "[{\"i64\":\"1\"}", "\n"),
    ] {
        let request = Request::get("/v1/stream?count=1&forever=1&fields=i64").header("accept", accept);
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let mut body = suite.rest.clone().oneshot(request).await.unwrap().into_body();
        let mut next = async || body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(next().await, first);
        let began = tokio::time::Instant::now();
        for _ in 0..3 {
            assert_eq!(next().await, sign, "{accept}");
        }
        assert_eq!(began.elapsed().as_secs(), 45, "each fifteen seconds");
        drop(body);
        assert_eq!(
            suite.backend.waiting.load(std::sync::atomic::Ordering::SeqCst),
            0,
            "the call was dropped"
        );
    }
}

#[tokio::test]
async fn streams_come_in_as_lines_or_as_a_list() {
    let suite = suite();
    for (kind, body, count) in [
        ("application/x-ndjson", "{}\n{\"s\":\"x\"}\n", 2),
        ("application/json", "[{},{},{}]", 3),
        ("application/json", "{}\n{}", 2),
        ("application/x-ndjson", "", 0),
        ("application/json", "[]", 0),
        ("application/json", " [ { } , { } ] ", 2),
    ] {
        let answer = suite.ask(&format!("POST /v1/collect\ncontent-type: {kind}\n\n{body}")).await;
        assert_eq!((answer.status, &answer.json()["i32"]), (200, &json!(count)), "{body}");
    }
    suite.bad("POST /v1/collect\ncontent-type: application/x-ndjson\n\n{}\n{\"nope\":1}\n", &["nope"]).await;
    for body in ["[{},]", "[,{}]", "[{}", "[{}] {}", "[{} {}]", "[null]", "1"] {
        suite.bad(&format!("POST /v1/collect\n\n{body}"), &["body"]).await;
    }
    assert_eq!(suite.ask("POST /v1/collect").await.status, 200, "an empty body needs no type");
    assert_eq!(suite.ask("POST /v1/collect\ncontent-type: text/plain\n\n{}").await.status, 415);
    for asked in [
        "POST /v1/chat/x",
        "GET /v1/chat/x",
        "HEAD /v1/chat/x",
        "GET /v1/talk/x",
        "HEAD /v1/talk/x",
        "GET /v1/talk/x?i32=1",
        "PUT /v1/all/x/talk\n\n{}",
    ] {
        let answer = suite.ask(asked).await;
        assert_eq!((answer.status, answer.header("upgrade")), (426, "websocket"), "{asked}");
    }
    let answer = suite.ask("GET /v1/all/x/talk").await;
    assert_eq!((answer.status, &answer.json()["s"]), (200, &json!("x")), "the method that has GET there");
    let answer = suite.ask("PUT /v1/chat/x").await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, OPTIONS, POST"));
}

/// A socket for many subscriptions to `Stream`.
fn multiplexed() -> Options {
    let multiplex = clos_transcoder::Multiplex {
        path: "/v1/ws".to_owned(),
        method: "conformance.v1.Echo.Stream".to_owned(),
        rename: Vec::new(),
        after: "after".to_owned(),
        begins: None,
        kind: "s".to_owned(),
        position: "i64".to_owned(),
        bookmark: "bookmark".to_owned(),
        resync: "resync".to_owned(),
    };
    Options { multiplex: Some(multiplex), ..Options::default() }
}

#[tokio::test]
async fn the_socket_for_many_is_upgraded_and_nothing_else() {
    let rest = Transcoder::new(&descriptors(), Backend::default(), multiplexed()).unwrap();
    let ask = async |text: &str| read(rest.clone().oneshot(request(text)).await.unwrap()).await;
    let answer = ask("OPTIONS /v1/ws").await;
    assert_eq!((answer.status, answer.header("allow")), (204, "GET, HEAD, OPTIONS"));
    let answer = ask("POST /v1/ws\n\n{}").await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, OPTIONS"));
    assert_eq!(answer.json()["message"], "POST is not served here; allowed: GET, HEAD, OPTIONS");
    for method in ["GET", "HEAD"] {
        let answer = ask(&format!("{method} /v1/ws")).await;
        assert_eq!((answer.status, answer.header("upgrade")), (426, "websocket"), "{method}");
    }
    let upgrade = "GET /v1/ws\nconnection: upgrade\nupgrade: websocket\nsec-websocket-version: 13";
    assert_eq!(ask(upgrade).await.fields(), ["sec-websocket-key"]);
    let answer = ask(&upgrade.replace("13", "8")).await;
    assert_eq!((answer.status, answer.header("sec-websocket-version")), (426, "13"));
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_never_says_who_may_watch_is_not_waited_for() {
    let silent = tower::service_fn(|_: Request<tonic::body::Body>| {
        std::future::pending::<Result<http::Response<tonic::body::Body>, std::convert::Infallible>>()
    });
    let rest = Transcoder::new(&descriptors(), silent, multiplexed()).unwrap();
    let mut asked = request(
        "GET /v1/ws\nconnection: upgrade\nupgrade: websocket\nsec-websocket-version: 13
         sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
    );
    // As hyper leaves it for whoever takes the connection over.
    let upgrade = hyper::upgrade::on(&mut asked);
    asked.extensions_mut().insert(upgrade);
    let before = tokio::time::Instant::now();
    let answer = read(rest.oneshot(asked).await.unwrap()).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (504, Some("DEADLINE_EXCEEDED")));
    assert_eq!(before.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn bytes_pass_as_they_are() {
    let suite = suite();
    let answer = suite.ask("POST /v1/raw\ncontent-type: image/png\n\nnot json").await;
    assert_eq!(
        (answer.status, answer.header("content-type"), answer.body.as_str()),
        (200, "image/png", "not json")
    );
    let refused = suite.ask("POST /v1/raw\ncontent-type: text/plain\n\nx").await;
    assert_eq!(refused.status, 415);
    assert!(refused.header("accept-post").starts_with("application/json,"), "{refused:?}");
    assert_eq!(suite.ask("POST /v1/raw\ncontent-type: image/png\naccept: image/gif\n\nx").await.status, 200);
}

/// The suite's contract with one more service.
fn refused(rpc: &str) -> String {
    let folder = std::env::temp_dir().join(format!(
        "transcoder-refused-{}-{:x}",
        std::process::id(),
        rpc.len() * 31 + rpc.bytes().map(usize::from).sum::<usize>()
    ));
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "syntax = \"proto3\"; package bad; import \"google/api/annotations.proto\"; import \"transcoding/v1/rest.proto\";
         service S {{ rpc A(M) returns (M) {{ {rpc} }} }} message M {{ string s = 1; M m = 2; repeated string r = 3; }}"
    );
    std::fs::write(folder.join("bad.proto"), text).unwrap();
    let google = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let mut compiler = protox::Compiler::new([folder.clone(), google]).unwrap();
    compiler.include_imports(true).open_file("bad.proto").unwrap();
    let built =
        Transcoder::new(&compiler.encode_file_descriptor_set(), Backend::default(), Options::default());
    std::fs::remove_dir_all(&folder).unwrap();
    let Err(Refused(faults)) = built else { panic!("{rpc} was taken") };
    faults.join("; ")
}

#[test]
fn what_cannot_be_served_is_refused_by_name() {
    for (rpc, fault) in [
        ("option (google.api.http) = {get: \"/a/{nope}\"};", "bad.S.A: `bad.M` has no field `nope`"),
        ("option (google.api.http) = {get: \"/a/{s=x/{r}}\"};", "has a variable in it"),
        ("option (google.api.http) = {get: \"/a/{r}\"};", "no single value"),
        ("option (google.api.http) = {get: \"/a/{s}/{s}\"};", "stands in it twice"),
        (
            "option (google.api.http) = {post: \"/a/{s}\" body: \"s\"};",
            "the path binds `s`, which is the body",
        ),
        ("option (google.api.http) = {post: \"/a\" body: \"nope\"};", "the body `nope` is no field"),
        (
            "option (google.api.http) = {get: \"/a\" response_body: \"nope\"};",
            "the response body `nope` is no field",
        ),
        (
            "option (google.api.http) = {get: \"/a\" additional_bindings: {get: \"/a\"}};",
            "`GET /a` is already served by bad.S.A",
        ),
        (
            "option (google.api.http) = {get: \"/a/{s}\" additional_bindings: {get: \"/a/{m.s}\"}};",
            "`GET /a/{m.s}` is already served by bad.S.A as `/a/{s}`, which differs in the names",
        ),
        (
            "option (google.api.http) = {get: \"/a\" additional_bindings: {get: \"/b\" additional_bindings: {get: \"/c\"}}};",
            "additional bindings of its own",
        ),
        ("option (google.api.http) = {get: \"/a/{s}:\"};", "the verb after `:`"),
        ("option (google.api.http) = {get: \"a\"};", "a path begins with `/`"),
        (
            "option (google.api.http) = {get: \"/a\"}; option (transcoding.v1.method) = {success_status: 404};",
            "its success status is none",
        ),
        (
            "option (google.api.http) = {get: \"/a\"}; option (transcoding.v1.method) = {reason_statuses: {reason: \"X\"}};",
            "the status of the reason `X` is missing or none",
        ),
        (
            "option (google.api.http) = {get: \"/a\"}; option (transcoding.v1.method) = {location: \"/a/{nope}\"};",
            "the location",
        ),
        (
            "option (google.api.http) = {get: \"/a\"}; option (transcoding.v1.method) = {etag_field: \"r\"};",
            "the etag field `r`",
        ),
    ] {
        let faults = refused(rpc);
        assert!(faults.contains(fault), "{rpc}: {faults}");
    }
    let Err(Refused(faults)) = Transcoder::new(b"nope", Backend::default(), Options::default()) else {
        panic!()
    };
    assert!(faults[0].starts_with("no descriptor set"), "{faults:?}");
}
