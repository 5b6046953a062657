//! The document says what is served. That answers are as it says is judged by every test that asks
//! through the suite.
#![allow(clippy::unwrap_used, reason = "a test may fail and reads where it is")]

mod support;

use std::collections::BTreeSet;

use clos_transcoder::{Document, Enums, Int64, Names, Options, Spelling};
use serde_json::{Value, json};
use support::contract::Contract;
use support::{Answer, Suite};

fn document(options: Options) -> Value {
    Suite::new(options).rest.openapi(&Document {
        title: "T".to_owned(),
        open: Some(["conformance.v1.Echo.Slow".to_owned()].into()),
        ..Document::default()
    })
}

fn parameter<'d>(document: &'d Value, path: &str, name: &str) -> &'d Value {
    let all = document["paths"][path]["get"]["parameters"].as_array().unwrap();
    all.iter().find(|it| it["name"] == name).unwrap_or(&Value::Null)
}

#[test]
fn every_reference_leads_somewhere_and_every_id_is_one() {
    fn walk<'d>(value: &'d Value, found: &mut Vec<&'d str>) {
        found.extend(value["$ref"].as_str());
        match value {
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            Value::Object(members) => members.values().for_each(|member| walk(member, found)),
            _ => {}
        }
    }
    let document = document(Options::default());
    let mut references = Vec::new();
    walk(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{verb} {path}");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let mut known = BTreeSet::new();
            for it in &parameters {
                assert!(
                    known.insert((it["in"].as_str(), it["name"].as_str())),
                    "{verb} {path} has {} twice",
                    it["name"]
                );
            }
            let bound = parameters.iter().filter(|it| it["in"] == "path").count();
            assert_eq!(path.matches('{').count(), bound, "{verb} {path}");
        }
    }
}

#[test]
fn operations_and_tags_are_named_for_the_clients_that_are_made_of_them() {
    let document = document(Options::default());
    let of = |verb: &str, path: &str| {
        let operation = &document["paths"][path][verb];
        (operation["tags"][0].as_str().unwrap(), operation["operationId"].as_str().unwrap())
    };
    assert_eq!(of("post", "/old"), ("older", "older.echo"));
    assert_eq!(of("get", "/old"), ("older", "older.echoGet"));
    let tags = document["tags"].as_array().unwrap();
    let older = tags.iter().find(|tag| tag["name"] == "older").unwrap();
    assert!(older["description"].as_str().unwrap().starts_with("The same in the older language"));
}

#[test]
fn paths_and_parameters_are_those_that_are_read() {
    let document = document(Options::default());
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/v1/shelves/{s_1}/books/{s_2}",
        "/files/{s}",
        "/k/{s}:start",
        "/t/{segment_2}/end/{a}",
        "/t/all/x/{a}:peek",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    assert_eq!(parameter(&document, "/v1/all", "csv")["explode"], json!(false));
    assert_eq!(parameter(&document, "/v1/all", "rs")["explode"], json!(true));
    assert_eq!(parameter(&document, "/v1/all", "labels")["style"], "deepObject");
    assert_eq!(parameter(&document, "/v1/all", "sub.deep.s")["in"], "query");
    assert_eq!(parameter(&document, "/v1/all", "st"), &Value::Null, "no object stands in a URL");
    assert_eq!(parameter(&document, "/v1/all/{s}", "s")["in"], "path");
    assert_eq!(parameter(&document, "/v1/all", "easy")["schema"]["examples"], json!(["90s", "1h30m"]));
    assert_eq!(parameter(&document, "/odd", "fields")["schema"]["type"], "string", "the request's own");
    assert_eq!(parameter(&document, "/v1/things/{name}", "If-None-Match")["in"], "header");
    assert_eq!(parameter(&document, "/v1/stream", "Last-Event-ID")["in"], "header");
    let post = &document["paths"]["/v1/all"]["post"];
    assert!(
        post["parameters"].as_array().unwrap().iter().all(|it| it["in"] != "query" || it["name"] == "fields")
    );
}

#[test]
fn other_spellings_of_a_route_leave_the_document_where_the_file_says_so() {
    let document = document(Options::default());
    let paths = document["paths"].as_object().unwrap();
    let shown: Vec<String> = paths
        .iter()
        .filter(|(path, _)| path.starts_with("/old"))
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |verb| format!("{verb} {path}")))
        .collect();
    assert_eq!(shown, ["post /old", "get /old", "patch /old/pair"]);
}

#[test]
fn names_are_those_that_are_printed() {
    let spelling = Spelling { names: Names::Json, ..Spelling::default() };
    let document = document(Options { spelling, ..Options::default() });
    assert_eq!(parameter(&document, "/v1/all", "sub.longName")["in"], "query");
    assert_eq!(parameter(&document, "/v1/all", "otherName")["in"], "query");
    assert!(document["components"]["schemas"]["All"]["properties"]["pickSub"].is_object());
    let body = &document["paths"]["/kept"]["post"]["requestBody"];
    assert_eq!(body["required"], json!(true));
    assert_eq!(body["content"]["application/json"]["schema"]["allOf"][1]["required"], json!(["requestId"]));
}

#[test]
fn statuses_media_types_and_security_are_those_that_come() {
    let document = document(Options::default());
    let of = |path: &str, verb: &str| document["paths"][path][verb]["responses"].clone();
    let made = of("/v1/things", "post");
    assert_eq!(made["201"]["headers"].as_object().unwrap().keys().collect::<Vec<_>>(), ["ETag", "Location"]);
    assert!(made["200"].is_null() && made["413"].is_object() && made["415"].is_object());
    assert!(of("/v1/things/{name}", "delete")["204"]["content"].is_null());
    assert!(of("/v1/things/{name}", "get")["304"]["headers"]["ETag"].is_object());
    assert!(of("/v1/things/{name}", "patch")["412"].is_object());
    assert!(of("/v1/chat/{s}", "post")["426"].is_object());
    assert!(of("/v1/raw", "post")["200"]["content"]["*/*"].is_object());
    let kinds =
        |value: &Value| value["content"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let streamed = kinds(&of("/v1/stream", "get")["200"]);
    assert_eq!(
        streamed,
        ["application/x-ndjson", "text/event-stream", "application/json", "text/plain"]
            .map(str::to_owned)
            .into()
    );
    let sent = kinds(&document["paths"]["/v1/collect"]["post"]["requestBody"]);
    assert_eq!(sent, ["application/x-ndjson", "application/json"].map(str::to_owned).into());
    let teapot =
        &document["components"]["responses"]["Error"]["content"]["application/json"]["examples"]["TEAPOT"];
    assert_eq!((&teapot["summary"], &teapot["value"]["code"]), (&json!("418"), &json!("TEAPOT")));
    assert_eq!(document["paths"]["/v1/slow"]["get"]["security"], json!([]));
    assert!(of("/v1/all", "get")["401"].is_object() && of("/v1/slow", "get")["401"].is_null());
    assert!(
        document["paths"]["/v1/all"]["post"]["requestBody"]["description"]
            .as_str()
            .unwrap()
            .contains("1048576")
    );
}

#[tokio::test]
async fn schemas_are_spelled_as_answers_are() {
    for spelling in [
        Spelling::default(),
        Spelling { names: Names::Json, int64: Int64::String, enums: Enums::Full },
        Spelling { names: Names::Json, int64: Int64::Number, enums: Enums::Short },
    ] {
        let suite = Suite::new(Options { spelling, ..Options::default() });
        // The suite compares each with the document.
        for body in [
            "{}",
            r#"{"sign":"minus","maybe":3,"nil":null,"ts":"1970-01-01T00:00:00Z","dur":"1s","mask":"a","st":{"a":[1]},"val":[null]}"#,
            r#"{"wi":1,"wu":2,"wi32":3,"wd":"NaN","wf":1.5,"wb":true,"ws":"x","wby":"AA==","rwi":[1],"r64":[2],"mwi":{"a":3}}"#,
            r#"{"any":{"@type":"x/conformance.v1.Sub","n":1},"rnil":[null],"mnil":{"a":null},"rval":[1,"a"],"mval":{"a":{}},"msign":{"a":2}}"#,
            r#"{"one_self":{"selves":[{"mself":{"a":{"ms64":{"1":2.5},"m64":{"1":"x"},"mts":{"a":"1970-01-01T00:00:00Z"}}}}]}}"#,
        ] {
            assert_eq!(suite.ask(&format!("POST /t\n\n{body}")).await.status, 200, "{body}");
        }
        let body = r#"{"i64":1,"u64":"2","big":3,"kind":"red","rk":[2],"mk":{"a":1},"mb":{"true":1},"maybe":null,"wi":4,"otherName":"x"}"#;
        assert_eq!(suite.ask(&format!("POST /v1/all\n\n{body}")).await.status, 200);
    }
}

#[test]
fn an_answer_of_another_kind_is_noticed() {
    let contract = Contract::new(document(Options::default()));
    let judged = |method: &str, path: &str, status: u16, kind: &'static str, body: &str| {
        let mut headers = http::HeaderMap::new();
        headers.insert("content-type", http::HeaderValue::from_static(kind));
        let answer = Answer { status, headers, body: body.to_owned(), broke: false };
        std::panic::catch_unwind(|| contract.judge(method, path, &answer)).is_ok()
    };
    let json = "application/json";
    assert!(judged("GET", "/v1/all", 200, json, "{\"s\":\"x\",\"i64\":\"1\"}"));
    for (status, kind, body) in [
        (200, json, "{\"s\":1}"),
        (200, json, "{\"i64\":1}"),
        (200, json, "{\"nothing\":1}"),
        (200, json, "{\"rsub\":[{\"n\":\"1\"}]}"),
        (200, json, "{\"kind\":\"red\"}"),
        (200, "text/html", "x"),
        (201, json, "{}"),
        (400, json, "{}"),
        (
            400,
            json,
            "{\"code\":\"X\",\"message\":\"\",\"details\":[],\"request_id\":\"\",\"trace_id\":\"\",\"timestamp\":\"\"}",
        ),
    ] {
        assert!(!judged("GET", "/v1/all", status, kind, body), "{status} {kind} {body}");
    }
}
