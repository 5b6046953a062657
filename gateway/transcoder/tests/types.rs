//! Every type on its way in and out: paths, queries and bodies that an ordinary message does not meet.
#![allow(clippy::unwrap_used, reason = "a test may fail and reads where it is")]

mod support;

use clos_transcoder::{Enums, Int64, Names, Options, Spelling};
use serde_json::{Value, json};
use support::Suite;

fn suite() -> Suite {
    Suite::new(Options::default())
}

/// What of an answer is not as it should be: `field` is a way into it.
async fn difference(suite: &Suite, text: &str, field: &str, value: &Value) -> Option<String> {
    let answer = suite.ask(text).await;
    if answer.status != 200 {
        return Some(format!("{text}: {} {}", answer.status, answer.body));
    }
    let whole = answer.json();
    let found = field.split('/').filter(|part| !part.is_empty()).try_fold(&whole, |at, part| match at {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        Value::Object(members) => members.get(part),
        _ => None,
    });
    (found != Some(value)).then(|| format!("{text}: {field} is {found:?}, not {value}"))
}

/// Requests that are refused, with the only field that is to blame.
async fn refused(suite: &Suite, requests: &[(String, &str)]) {
    let mut differs = Vec::new();
    for (text, field) in requests {
        let answer = suite.ask(text).await;
        if answer.status != 400 || answer.fields() != [*field] {
            differs.push(format!("{text}: {} {}", answer.status, answer.body));
        }
    }
    assert!(differs.is_empty(), "{differs:#?}");
}

#[tokio::test]
async fn a_url_spells_every_type_that_is_no_object() {
    let suite = suite();
    let mut differs = Vec::new();
    for (target, field, value) in [
        ("/t/choice/x", "one_self/a", json!("x")),
        ("/t/mask/a,oneSelf.by", "mask", json!("a,oneSelf.by")),
        ("/t/mask/*", "mask", json!("*")),
        ("/t/bytes/-_8", "by", json!("+/8=")),
        ("/t/bytes/-_", "by", json!("+w==")),
        ("/t/bytes/+%2F8=", "by", json!("+/8=")),
        ("/t/flag/1", "flag", json!(true)),
        ("/t/wrapped/0", "wi", json!(0)),
        ("/t/wrapped/-9223372036854775808", "wi", json!(i64::MIN)),
        ("/t/span/1h", "dur", json!("3600s")),
        ("/t/span/-0.5s", "dur", json!("-0.500s")),
        ("/t/sign/minus", "sign", json!("SIGN_MINUS")),
        ("/t/sign/-1", "sign", json!("SIGN_MINUS")),
        ("/t/sign/3RD", "sign", json!("SIGN_3RD")),
        ("/t/sign/lower", "sign", json!("lower")),
        ("/t/sign/positive", "sign", json!("PLUS")),
        ("/t/sign/2147483647", "sign", json!("SIGN_LAST")),
        ("/t/end/x", "a", json!("x")),
        ("/t/a/b/end/x", "a", json!("x")),
        ("/t/all/x/y/z", "a", json!("x/y")),
        ("/t/all/z", "c", json!("z")),
        ("/t/all/x/y:peek", "a", json!("x/y")),
        ("/t?by=+/8=", "by", json!("+/8=")),
        ("/t?wby=+/8", "wby", json!("+/8=")),
        ("/t?by=+w%3D%3D", "by", json!("+w==")),
        ("/t?flag", "flag", json!(true)),
        ("/t?wb", "wb", json!(true)),
        ("/t?rb=1&rb&rb=false", "rb", json!([true, true, false])),
        ("/t?mu32[7]", "mu32/7", json!(true)),
        ("/t?rd=-0&rd=1e300&rd=NaN&rd=-Infinity", "rd", json!([-0.0, 1e300, "NaN", "-Infinity"])),
        ("/t?wf=0.1", "wf", json!(0.1)),
        ("/t?wd=5e-324", "wd", json!(5e-324)),
        ("/t?wu=18446744073709551615", "wu", json!("18446744073709551615")),
        ("/t?wi=7&rwi=8&mwi[a.b]=9&r64=10", "mwi", json!({"a.b":9})),
        ("/t?rwi=8", "rwi", json!([8])),
        ("/t?r64=9007199254740993", "r64", json!([9_007_199_254_740_993_i64])),
        ("/t?m64[-1]=x&m64[10]=y&m64[9]=z", "m64", json!({"-1":"x","9":"z","10":"y"})),
        ("/t?ms64[-9223372036854775808]=1.5", "ms64/-9223372036854775808", json!(1.5)),
        ("/t?mts[a]=2026-11-23T10:00:00+02:00", "mts/a", json!("2026-11-23T08:00:00Z")),
        ("/t?rts=2026-11-23T10:00:00+02:00", "rts/0", json!("2026-11-23T08:00:00Z")),
        ("/t?ts=0001-01-01T00:00:00Z", "ts", json!("0001-01-01T00:00:00Z")),
        ("/t?ts=9999-12-31T23:59:59.999999999Z", "ts", json!("9999-12-31T23:59:59.999999999Z")),
        ("/t?ts=9999-12-31T23:59:59-00:00", "ts", json!("9999-12-31T23:59:59Z")),
        ("/t?ts=2024-02-29T00:00:00.120Z", "ts", json!("2024-02-29T00:00:00.120Z")),
        ("/t?dur=315576000000s", "dur", json!("315576000000s")),
        ("/t?dur=-315576000000s", "dur", json!("-315576000000s")),
        ("/t?dur=0.000000001s", "dur", json!("0.000000001s")),
        ("/t?dur=100ms", "dur", json!("0.100s")),
        ("/t?nil=NULL_VALUE", "nil", json!(null)),
        ("/t?one_ws=", "one_ws", json!("")),
        ("/t?oneTs=2026-11-23T10:00:00Z", "one_ts", json!("2026-11-23T10:00:00Z")),
        ("/t?one_self.one_self.a=x&oneSelf.c=y", "one_self/one_self/a", json!("x")),
        ("/t?rcsv=1,2&rcsv=3", "rcsv", json!([1, 2, 3])),
        ("/t?rcsv=1%2C2", "rcsv", json!([1, 2])),
        ("/t?mask=oneSelf.one_self.a,m64", "mask", json!("oneSelf.oneSelf.a,m64")),
        ("/t?mask=st.any.thing,mts.someKey", "mask", json!("st.any.thing,mts.someKey")),
        ("/t?mask=", "mask", json!("")),
        ("/t?a=x;c=y", "a", json!("x;c=y")),
        ("/t?a=%F0%9F%98%80%C3%A9", "a", json!("😀é")),
        ("/t?a=1=2", "a", json!("1=2")),
        ("/t?%61=x", "a", json!("x")),
    ] {
        differs.extend(difference(&suite, &format!("GET {target}"), field, &value).await);
    }
    assert!(differs.is_empty(), "{differs:#?}");
}

#[tokio::test]
async fn what_a_url_cannot_say_is_refused_by_name() {
    let suite = suite();
    let requests = [
        ("/t/choice/x?one_s=y", "one_s"),
        ("/t/choice/x?oneSelf.a=x", "one_self.a"),
        ("/t?one_self.a=x&one_nil=NULL_VALUE", "one_nil"),
        ("/t?one_self.one_s=x&one_self.one_self.a=y", "one_self.one_self.a"),
        ("/t/mask/nope", "mask"),
        ("/t/mask/ts.seconds", "mask"),
        ("/t/mask/selves.a", "mask"),
        ("/t/flag/yes", "flag"),
        ("/t/flag/TRUE", "flag"),
        ("/t/bytes/a", "by"),
        ("/t/bytes/a%3D%3D%3D", "by"),
        ("/t/sign/LOWER", "sign"),
        ("/t/sign/1", "sign"),
        ("/t/sign/-2147483649", "sign"),
        ("/t/wrapped/9223372036854775808", "wi"),
        ("/t/wrapped/1.0", "wi"),
        ("/t/all/x/..:peek", "a"),
        ("/t/all/x/%2e%2E:peek", "a"),
        ("/t?rcsv", "rcsv"),
        ("/t?rcsv=", "rcsv"),
        ("/t?rcsv=1,x", "rcsv"),
        ("/t?m64[x]=1", "m64[x]"),
        ("/t?m64[1]=1&m64[01]=2", "m64[01]"),
        ("/t?m64[1", "m64[1"),
        ("/t?mts[a]", "mts[a]"),
        ("/t?mts", "mts"),
        ("/t?mself[a]=1", "mself[a]"),
        ("/t?mself[a].a=1", "mself[a].a"),
        ("/t?any=%7B%7D", "any"),
        ("/t?rval=1", "rval"),
        ("/t?empty=%7B%7D", "empty"),
        ("/t?file.data=AA==&file.nope=1", "file.nope"),
        ("/t?st.a=1", "st.a"),
        ("/t?wi.value=1", "wi.value"),
        ("/t?dur.seconds=1", "dur.seconds"),
        ("/t?mask.paths=a", "mask.paths"),
        ("/t?ts=2026-11-23T23:59:60Z", "ts"),
        ("/t?ts=0000-12-31T23:59:59Z", "ts"),
        ("/t?ts=9999-12-31T23:59:59-00:01", "ts"),
        ("/t?ts=2025-02-29T00:00:00Z", "ts"),
        ("/t?ts=2026-11-23t10:00:00z", "ts"),
        ("/t?dur=315576000000.000000001s", "dur"),
        ("/t?dur=1", "dur"),
        ("/t?dur=1.0000000001s", "dur"),
        ("/t?rd=1.", "rd"),
        ("/t?rd=inf", "rd"),
        ("/t?rd=1e400", "rd"),
        ("/t?wf=3.5e38", "wf"),
        ("/t?wd=%201", "wd"),
        ("/t?rwi=1&rwi=x", "rwi"),
        ("/t?flag=&a=x", "flag"),
        ("/t?nil=0.0", "nil"),
        ("/t?A=x", "A"),
        ("/t?access_token=x", "access_token"),
        ("/t?a[]=x", "a[]"),
        ("/t?one_self..a=x", "one_self..a"),
        ("/t?.a=x", ".a"),
        ("/t?fields", "fields"),
        ("/t?fields=", "fields"),
        ("/t?fields=a,", "fields"),
        ("/t?fields=st.x", "fields"),
        ("/t?fields=mself.a", "fields"),
        ("/t?pretty=2", "pretty"),
        ("/t?%ff=1", "%ff"),
        ("/t?a=%c3%28", "a"),
        ("/t?a=%", "a"),
        ("/t?a=%00", "a"),
    ];
    refused(&suite, &requests.map(|(target, field)| (format!("GET {target}"), field))).await;
    for target in ["/t/choice/", "/t/sign//", "/t/sign/x/"] {
        let answer = suite.ask(&format!("GET {target}")).await;
        assert!(answer.status == 200 || answer.status == 404, "{target}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_body_spells_every_type() {
    let suite = suite();
    let any =
        |name: &str, rest: &str| format!("{{\"any\":{{\"@type\":\"type.googleapis.com/{name}\"{rest}}}}}");
    let mut differs = Vec::new();
    for (body, field, value) in [
        (r#"{"by":"-_"}"#.to_owned(), "by", json!("+w==")),
        (r#"{"by":""}"#.to_owned(), "by", json!("")),
        (r#"{"sign":-1.0}"#.to_owned(), "sign", json!("SIGN_MINUS")),
        (r#"{"sign":20e-1}"#.to_owned(), "sign", json!("lower")),
        (r#"{"sign":"POSITIVE"}"#.to_owned(), "sign", json!("PLUS")),
        (r#"{"rsign":[3,"3rd","SIGN_3RD"]}"#.to_owned(), "rsign/1", json!("SIGN_3RD")),
        (r#"{"maybe":"PLUS"}"#.to_owned(), "maybe", json!("PLUS")),
        (r#"{"nil":null}"#.to_owned(), "nil", json!(null)),
        (r#"{"nil":"NULL_VALUE"}"#.to_owned(), "nil", json!(null)),
        (r#"{"one_nil":null}"#.to_owned(), "one_nil", json!(null)),
        (r#"{"rnil":[null,"NULL_VALUE",0]}"#.to_owned(), "rnil", json!([null, null, null])),
        (r#"{"mnil":{"a":null}}"#.to_owned(), "mnil", json!({"a":null})),
        (r#"{"one_val":null}"#.to_owned(), "one_val", json!(null)),
        (r#"{"one_s":null,"one_ts":"1970-01-01T00:00:00Z"}"#.to_owned(), "one_ts", json!("1970-01-01T00:00:00Z")),
        (r#"{"rval":[null,1,"x",[null],{"a":null}]}"#.to_owned(), "rval", json!([null, 1, "x", [null], {"a":null}])),
        (r#"{"mval":{"a":null,"":1}}"#.to_owned(), "mval", json!({"":1,"a":null})),
        (r#"{"rb":[true,false],"rby":["AA==","AA"],"rd":[1e2,-0.0,"Infinity"]}"#.to_owned(), "rd", json!([100, -0.0, "Infinity"])),
        (r#"{"rd":[0.1,1.7976931348623157e308,5e-324,9007199254740993]}"#.to_owned(), "rd", json!([0.1, f64::MAX, 5e-324, 9_007_199_254_740_992_i64])),
        (r#"{"wf":3.4028235e38}"#.to_owned(), "wf", json!(3.4028235e38)),
        (r#"{"wi":"9223372036854775807"}"#.to_owned(), "wi", json!(i64::MAX)),
        (r#"{"wi":9.223372036854775807e18}"#.to_owned(), "wi", json!(i64::MAX)),
        (r#"{"wu":1.8446744073709551615E+19}"#.to_owned(), "wu", json!("18446744073709551615")),
        (r#"{"wi":-0}"#.to_owned(), "wi", json!(0)),
        (r#"{"wi":1e2}"#.to_owned(), "wi", json!(100)),
        (r#"{"wb":false,"ws":"","wby":"","wi32":0}"#.to_owned(), "wby", json!("")),
        (r#"{"rwi":["1",2]}"#.to_owned(), "rwi", json!([1, 2])),
        (r#"{"m64":{"10":"a","-1":"b","9":"c"}}"#.to_owned(), "m64", json!({"-1":"b","9":"c","10":"a"})),
        (r#"{"mu32":{"4294967295":true}}"#.to_owned(), "mu32", json!({"4294967295":true})),
        (r#"{"mself":{"x":{"mself":{"y":{"a":"z"}}}}}"#.to_owned(), "mself/x/mself/y/a", json!("z")),
        (r#"{"msign":{"a":"minus","b":0}}"#.to_owned(), "msign", json!({"a":"SIGN_MINUS","b":"PLUS"})),
        (r#"{"selves":[{"selves":[{"a":"x"}]}]}"#.to_owned(), "selves/0/selves/0/a", json!("x")),
        (r#"{"ts":"2026-11-23T10:00:00.123456789+14:00"}"#.to_owned(), "ts", json!("2026-11-22T20:00:00.123456789Z")),
        (r#"{"ts":"1969-12-31T23:59:59.999Z"}"#.to_owned(), "ts", json!("1969-12-31T23:59:59.999Z")),
        (r#"{"ts":null,"dur":"-0.000001s"}"#.to_owned(), "dur", json!("-0.000001s")),
        (r#"{"dur":"-0s"}"#.to_owned(), "dur", json!("0s")),
        (r#"{"mask":"a,one_self.by , oneSelf.a"}"#.to_owned(), "mask", json!("a,oneSelf.by,oneSelf.a")),
        (r#"{"one_self":{"mask":"any.thing"}}"#.to_owned(), "one_self/mask", json!("any.thing")),
        (r#"{"st":{"":{"a":[]},"b":1e2,"c":"\u0000"}}"#.to_owned(), "st", json!({"":{"a":[]},"b":100,"c":"\u{0}"})),
        (r#"{"empty":{}}"#.to_owned(), "empty", json!({})),
        (r#"{"file":{"contentType":"a/b","data":"AAE"}}"#.to_owned(), "file", json!({"content_type":"a/b","data":"AAE=","extensions":[]})),
        (r#"{"any":{}}"#.to_owned(), "any", json!({})),
        (any("google.protobuf.Empty", ""), "any", json!({"@type":"type.googleapis.com/google.protobuf.Empty"})),
        (any("google.protobuf.Empty", ",\"value\":{}"), "any", json!({"@type":"type.googleapis.com/google.protobuf.Empty"})),
        (any("google.protobuf.Value", ",\"value\":null"), "any/value", json!(null)),
        (any("google.protobuf.Int64Value", ",\"value\":\"5\""), "any/value", json!("5")),
        (any("google.protobuf.Struct", ",\"value\":{\"@type\":1}"), "any/value", json!({"@type":1})),
        (any("google.protobuf.FieldMask", ",\"value\":\"aB\""), "any/value", json!("aB")),
        (
            any("google.protobuf.Any", ",\"value\":{\"@type\":\"type.googleapis.com/conformance.v1.Sub\",\"n\":1}"),
            "any/value/n",
            json!(1),
        ),
        (any("conformance.v1.OddNames", ",\"with.dot\":\"x\",\"class\":\"y\""), "any/alias", json!("x")),
        (
            r#"{"rany":[{"a":"x","@type":"x/conformance.v1.Many","any":{"value":"1s","@type":"x/google.protobuf.Duration"}}]}"#.to_owned(),
            "rany/0/any/value",
            json!("1s"),
        ),
    ] {
        differs.extend(difference(&suite, &format!("POST /t\n\n{body}"), field, &value).await);
    }
    for (target, body, field, value) in [
        ("/t/map", r#"{"a":"1970-01-01T00:00:00Z"}"#, "mts/a", json!("1970-01-01T00:00:00Z")),
        ("/t/val", "null", "val", json!(null)),
        ("/t/val", "[1,{}]", "val", json!([1, {}])),
        ("/t/list", "[null,{\"a\":1}]", "rval", json!([null, {"a":1}])),
        ("/t/list", "[]", "rval", json!([])),
        ("/t/wrapper", "\"7\"", "wi", json!(7)),
        ("/t/wrapper?a=x", "0", "wi", json!(0)),
        ("/t/ts", "\"1970-01-01T00:00:00Z\"", "ts", json!("1970-01-01T00:00:00Z")),
        ("/t/sign", "\"minus\"", "sign", json!("SIGN_MINUS")),
        ("/t/sign", "3", "sign", json!("SIGN_3RD")),
        ("/t/any", "{}", "any", json!({})),
        ("/t/one", "{\"a\":\"x\"}", "one_self/a", json!("x")),
        ("/t/one?a=y", "", "a", json!("y")),
        ("/t/choice/x", "{\"one_self\":{\"a\":\"x\",\"c\":\"y\"}}", "one_self/c", json!("y")),
        ("/t/choice/x", "{\"oneSelf\":{\"a\":null}}", "one_self/a", json!("x")),
        ("/t/choice/x", "{\"one_s\":null}", "one_self/a", json!("x")),
    ] {
        let body = if body.is_empty() { String::new() } else { format!("\n\n{body}") };
        differs.extend(difference(&suite, &format!("POST {target}{body}"), field, &value).await);
    }
    assert!(differs.is_empty(), "{differs:#?}");
}

#[tokio::test]
async fn what_a_body_cannot_say_is_refused_by_name() {
    let suite = suite();
    let post = |body: &str| format!("POST /t\n\n{body}");
    let mut requests: Vec<(String, &str)> = [
        (r#"{"one_nil":null,"one_s":"x"}"#, "one_s"),
        (r#"{"one_self":{"one_s":"a","one_ws":"b"}}"#, "one_self.one_ws"),
        (r#"{"a":null,"a":"x"}"#, "a"),
        (r#"{"oneS":"x","one_s":"x"}"#, "one_s"),
        (r#"{"sign":1}"#, "sign"),
        (r#"{"sign":1.5}"#, "sign"),
        (r#"{"sign":true}"#, "sign"),
        (r#"{"sign":"Minus"}"#, "sign"),
        (r#"{"rsign":["minus","x"]}"#, "rsign[1]"),
        (r#"{"msign":{"a.b":9}}"#, "msign[a.b]"),
        (r#"{"rb":[null]}"#, "rb[0]"),
        (r#"{"rb":[1]}"#, "rb[0]"),
        (r#"{"rby":["a"]}"#, "rby[0]"),
        (r#"{"rd":["inf"]}"#, "rd[0]"),
        (r#"{"rd":[""]}"#, "rd[0]"),
        (r#"{"r64":[1,9223372036854775808]}"#, "r64[1]"),
        (r#"{"r64":[""]}"#, "r64[0]"),
        (r#"{"r64":[" 1"]}"#, "r64[0]"),
        (r#"{"rwi":[null]}"#, "rwi[0]"),
        (r#"{"wi":true}"#, "wi"),
        (r#"{"wi":{"value":1}}"#, "wi"),
        (r#"{"wi32":2147483648}"#, "wi32"),
        (r#"{"wu32":-1}"#, "wu32"),
        (r#"{"wf":-3.5e38}"#, "wf"),
        (r#"{"wb":"true"}"#, "wb"),
        (r#"{"rts":[null]}"#, "rts[0]"),
        (r#"{"ts":1}"#, "ts"),
        (r#"{"ts":{"seconds":1}}"#, "ts"),
        (r#"{"ts":""}"#, "ts"),
        (r#"{"ts":"2026-11-23T10:00:00"}"#, "ts"),
        (r#"{"ts":"2026-11-23T10:00:00.1234567890Z"}"#, "ts"),
        (r#"{"dur":"1"}"#, "dur"),
        (r#"{"dur":"1m"}"#, "dur"),
        (r#"{"dur":"315576000001s"}"#, "dur"),
        (r#"{"mask":["a"]}"#, "mask"),
        (r#"{"mask":{"paths":["a"]}}"#, "mask"),
        (r#"{"mask":"a,,c"}"#, "mask"),
        (r#"{"mask":"nope"}"#, "mask"),
        (r#"{"mask":"ts.seconds"}"#, "mask"),
        (r#"{"m64":{"1":"a","01":"b"}}"#, "m64[01]"),
        (r#"{"m64":{"":"a"}}"#, "m64[]"),
        (r#"{"m64":{"1.0":"a"}}"#, "m64[1.0]"),
        (r#"{"m64":[]}"#, "m64"),
        (r#"{"mu32":{"-1":true}}"#, "mu32[-1]"),
        (r#"{"mself":{"a":null}}"#, "mself[a]"),
        (r#"{"mself":{"a":{"nope":1}}}"#, "mself[a].nope"),
        (r#"{"selves":[{},{"selves":[{"a":1}]}]}"#, "selves[1].selves[0].a"),
        (r#"{"selves":{}}"#, "selves"),
        (r#"{"st":{"a":{"b":1,"b":2}}}"#, "st[a][b]"),
        (r#"{"st":null,"val":1e400}"#, "val"),
        (r#"{"empty":{"a":1}}"#, "empty.a"),
        (r#"{"empty":1}"#, "empty"),
        (r#"{"any":{"@type":5}}"#, "any"),
        (r#"{"any":{"@type":""}}"#, "any"),
        (r#"{"any":{"@type":"x/conformance.v1.Sub","@type":"x/conformance.v1.Sub"}}"#, "any"),
        (r#"{"any":{"@type":"x/conformance.v1.Sub","nope":1}}"#, "any.nope"),
        (r#"{"any":{"@type":"x/conformance.v1.Sub","n":1,"n":2}}"#, "any.n"),
        (r#"{"any":{"@type":"x/google.protobuf.Duration"}}"#, "any"),
        (r#"{"any":{"@type":"x/google.protobuf.Duration","value":"1s","seconds":1}}"#, "any"),
        (r#"{"any":{"@type":"x/google.protobuf.Duration","value":"1m"}}"#, "any"),
        (r#"{"any":[]}"#, "any"),
        (r#"{"rany":[null]}"#, "rany[0]"),
        (r#"{"a":"\u0000","c":"\ud83d"}"#, "c"),
        (r#"{"a":"\x41"}"#, "a"),
        ("{\"a\":\"\t\"}", "a"),
        (r#"{"r64":[01]}"#, "r64[0]"),
        (r#"{"rd":[NaN]}"#, "rd[0]"),
        (r#"{"rd":[+1]}"#, "rd[0]"),
        (r#"{"flag":True}"#, "flag"),
        (
            r#"{"a":"x"//
}"#,
            "body",
        ),
        (r#"{a:"x"}"#, "body"),
        (r#""#, "body"),
        ("   ", "body"),
        ("{\"a\":\"x\"}\u{0}", "body"),
    ]
    .into_iter()
    .filter(|(body, _)| !body.is_empty())
    .map(|(body, field)| (post(body), field))
    .collect();
    for (target, body, field) in [
        ("/t/map", "[]", "body"),
        ("/t/map", "null", "body"),
        ("/t/map", "{\"a\":1}", "[a]"),
        ("/t/list", "{}", "body"),
        ("/t/list", "null", "body"),
        ("/t/wrapper", "null", "body"),
        ("/t/wrapper", "1.5", "body"),
        ("/t/sign", "9", "body"),
        ("/t/one", "{\"nope\":1}", "nope"),
        ("/t/one?one_s=x", "{}", "one_self"),
        ("/t/one?one_self.a=x", "{}", "one_self.a"),
        ("/t/choice/x", "{\"one_s\":\"y\"}", "one_s"),
        ("/t/choice/x", "{\"one_self\":{\"a\":\"\"}}", "one_self.a"),
        ("/t/choice/x?c=1", "{}", "c"),
    ] {
        requests.push((format!("POST {target}\n\n{body}"), field));
    }
    refused(&suite, &requests).await;
}

#[tokio::test]
async fn names_that_mean_something_elsewhere_are_fields_first() {
    let proto = suite();
    let json = Suite::new(Options {
        spelling: Spelling { names: Names::Json, int64: Int64::Number, enums: Enums::Short },
        ..Options::default()
    });
    let mut differs = Vec::new();
    for (target, field, value) in [
        ("/odd?fields=etag", "fields", json!("etag")),
        ("/odd?pretty", "pretty", json!(true)),
        ("/odd?field1=x", "field_1", json!("x")),
        ("/odd?field_1=x", "field_1", json!("x")),
        ("/odd?left=x", "left", json!("x")),
        ("/odd?right=x", "right", json!("x")),
        ("/odd?%40type=x", "type", json!("x")),
        ("/odd?class=x", "class", json!("x")),
        ("/odd?camelCase=x", "camelCase", json!("x")),
        ("/odd?mask=field1,requestId,camelCase", "mask", json!("field1,requestId,camelCase")),
        ("/odd?self[with.dot]=x", "self/with.dot", json!("x")),
        ("/odd\nif-match: \"7\"\nidempotency-key: k", "etag", json!("7")),
        ("/odd\nif-match: W/\"7\"\nidempotency-key: k", "request_id", json!("k")),
    ] {
        differs.extend(difference(&proto, &format!("GET {target}"), field, &value).await);
    }
    for (target, field, value) in [
        // By its own spelling each of the two is the other.
        ("/odd?left=x", "left", json!("x")),
        ("/odd?right=x", "right", json!("x")),
        ("/odd?alias=x", "with.dot", json!("x")),
        ("/odd?class=x&request_id=r", "requestId", json!("r")),
        ("/t?sign=SIGN_MINUS&wu=7", "sign", json!("minus")),
        ("/t?wu=7", "wu", json!(7)),
        ("/t?one_self.a=x", "oneSelf/a", json!("x")),
        ("/t?mask=one_self", "mask", json!("oneSelf")),
    ] {
        differs.extend(difference(&json, &format!("GET {target}"), field, &value).await);
    }
    let body = r#"{"left":"l","right":"r","field1":"f"}"#;
    differs.extend(difference(&proto, &format!("POST /odd\n\n{body}"), "left", &json!("l")).await);
    differs.extend(difference(&json, &format!("POST /odd\n\n{body}"), "left", &json!("l")).await);
    assert!(differs.is_empty(), "{differs:#?}");
    assert_ne!(*proto.backend.message.lock().unwrap(), *json.backend.message.lock().unwrap());
    let requests = [
        ("GET /odd?fields=a&fields=b", "fields"),
        ("POST /odd?fields=a\n\n{}", "fields"),
        ("GET /odd?field_1=a&field1=b", "field_1"),
        ("GET /odd?with.dot=a", "with.dot"),
        ("GET /odd?etag=6\nif-match: \"7\"", "if-match"),
        ("GET /odd\nif-match: \"7\", \"8\"", "if-match"),
        ("POST /odd\nidempotency-key: a\n\n{\"request_id\":\"b\"}", "idempotency-key"),
    ];
    refused(&proto, &requests.map(|(text, field)| (text.to_owned(), field))).await;
}

#[tokio::test]
async fn a_part_of_an_answer_is_an_answer() {
    let suite = suite();
    for (target, body, text) in [
        ("/p/list", "{}", "[]"),
        ("/p/list", "{\"rval\":[null,{\"a\":1}]}", "[null,{\"a\":1}]"),
        ("/p/map", "{}", "{}"),
        ("/p/map", "{\"mts\":{\"a\":\"1970-01-01T00:00:00Z\"}}", "{\"a\":\"1970-01-01T00:00:00Z\"}"),
        ("/p/struct", "{}", "{}"),
        ("/p/struct", "{\"st\":{\"a\":[]}}", "{\"a\":[]}"),
        ("/p/val", "{}", "null"),
        ("/p/val", "{\"val\":[1]}", "[1]"),
        ("/p/wrapper", "{}", "null"),
        ("/p/wrapper", "{\"wi\":0}", "0"),
        ("/p/ts", "{}", "null"),
        ("/p/sign", "{}", "\"PLUS\""),
        ("/p/sign", "{\"sign\":3}", "\"SIGN_3RD\""),
        ("/p/optional", "{}", "null"),
        ("/p/optional", "{\"maybe\":0}", "\"PLUS\""),
        ("/p/selves?fields=a", "{\"selves\":[{\"a\":\"x\",\"c\":\"y\"},{}]}", "[{\"a\":\"x\"},{\"a\":\"\"}]"),
        ("/p/self", "{}", "{}"),
        ("/p/self?fields=a", "{}", "{}"),
        (
            "/p/self?fields=st,a,one_self.c",
            "{\"one_self\":{\"one_self\":{\"a\":\"x\"}}}",
            "{\"a\":\"\",\"one_self\":{\"c\":\"\"}}",
        ),
    ] {
        let answer = suite.ask(&format!("POST {target}\n\n{body}")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, text), "{target} {body}");
    }
    let file =
        suite.ask("POST /p/file\n\n{\"file\":{\"content_type\":\"image/png\",\"data\":\"eA==\"}}").await;
    assert_eq!((file.status, file.header("content-type"), file.body.as_str()), (200, "image/png", "x"));
    let file = suite.ask("POST /p/file\n\n{}").await;
    assert_eq!(
        (file.status, file.header("content-type"), file.body.as_str()),
        (200, "application/octet-stream", "")
    );
    let file = suite.ask("POST /t/file?a=x\ncontent-type: text/csv\n\na,b").await.json();
    assert_eq!(file["file"], json!({"content_type":"text/csv","data":"YSxi","extensions":[]}));
    for target in ["/p/map?fields=a", "/p/ts?fields=seconds", "/p/struct?fields=fields", "/p/sign?fields=a"] {
        refused(&suite, &[(format!("POST {target}\n\n{{}}"), "fields")]).await;
    }
}

#[tokio::test]
async fn what_is_kept_is_masked_bound_and_required() {
    let suite = suite();
    let mut differs = Vec::new();
    for (text, field, value) in [
        ("PATCH /kept/x\n\n{\"size\":1,\"inner\":{\"inner\":{}}}", "update_mask", "size,inner.inner"),
        ("PATCH /kept/x\n\n{\"note\":null,\"labels\":{\"a\":\"b\"}}", "update_mask", "note,labels"),
        (
            "PATCH /kept/x\n\n{\"inner\":{\"size\":null,\"note\":{\"a\":1}}}",
            "update_mask",
            "inner.size,inner.note",
        ),
        (
            "PATCH /kept/x?update_mask=field1,otherName,labels.someKey\n\n{}",
            "update_mask",
            "field1,alias,labels.someKey",
        ),
        ("PATCH /kept/x?updateMask=size\n\n{\"note\":1}", "update_mask", "size"),
        ("PATCH /kept/x\nx-rest-unknown-fields: ignore\n\n{\"inner\":{\"typo\":1}}", "update_mask", ""),
        ("PATCH /kept/x\n\n{\"name\":\"x\"}", "kept/name", "x"),
        ("PATCH /kept/x", "update_mask", ""),
        ("POST /kept/x:keep", "kept/name", "x"),
        ("POST /kept\nidempotency-key: k", "request_id", "k"),
        ("POST /kept\n\n{\"update_mask\":\"otherName,inner.field1\"}", "update_mask", "alias,inner.field1"),
    ] {
        let response = suite.ask(text).await;
        if text.contains("/kept") && response.status == 200 {
            // The answer is another message: what was asked is seen by the backend.
            let codec = clos_protojson::Codec::new(&support::descriptors(), Spelling::default()).unwrap();
            let mut out = Vec::new();
            codec
                .print("conformance.v1.KeepRequest", &suite.backend.message.lock().unwrap(), &mut out)
                .unwrap();
            let seen: Value = serde_json::from_slice(&out).unwrap();
            let found = field.split('/').fold(&seen, |at, part| &at[part]);
            if found != value {
                differs.push(format!("{text}: {field} is {found}, not {value}"));
            }
        } else {
            differs.push(format!("{text}: {} {}", response.status, response.body));
        }
    }
    assert!(differs.is_empty(), "{differs:#?}");
    let requests = [
        ("POST /kept", "request_id"),
        ("PATCH /kept/x\n\n{\"name\":\"y\"}", "kept.name"),
        ("PATCH /kept/x\n\n{\"name\":\"\"}", "kept.name"),
        ("PATCH /kept/x?update_mask=nope\n\n{}", "update_mask"),
        ("PATCH /kept/x?update_mask=note.a,size.b\n\n{}", "update_mask"),
        ("PATCH /kept/x?update_mask\n\n{}", "update_mask"),
        ("PATCH /kept/x?kept.size=1\n\n{}", "kept.size"),
        ("POST /kept\n\n{\"update_mask\":\"nope\"}", "update_mask"),
        ("PATCH /kept/x\n\n{\"inner\":{\"typo\":null}}", "inner.typo"),
    ];
    refused(&suite, &requests.map(|(text, field)| (text.to_owned(), field))).await;
}

/// A field of a message on the wire.
fn piece(number: u8, bytes: &[u8]) -> Vec<u8> {
    let tag = u32::from(number) << 3 | 2;
    let mut out = if tag < 128 { vec![tag as u8] } else { vec![tag as u8 | 128, (tag >> 7) as u8] };
    out.push(u8::try_from(bytes.len()).unwrap());
    out.extend_from_slice(bytes);
    out
}

#[test]
fn whatever_a_backend_encodes_is_printed_or_refused() {
    let codec = clos_protojson::Codec::new(&support::descriptors(), Spelling::default()).unwrap();
    let print = |message: &str, wire: &[u8]| {
        let mut out = Vec::new();
        codec
            .print(&format!("conformance.v1.{message}"), wire, &mut out)
            .map(|()| String::from_utf8(out).unwrap())
    };
    let many = |wire: &[u8]| print("Many", wire);
    let has = |wire: &[u8], text: &str| {
        let printed = many(wire).unwrap();
        assert!(printed.contains(text), "{text} is not in {printed}");
        serde_json::from_str::<Value>(&printed).unwrap();
    };
    // Enums: a number without a name, negative ones, in lists packed or not, in maps.
    has(&[0x28, 9], "\"sign\":9");
    has(&[0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "\"sign\":\"SIGN_MINUS\"");
    has(&[piece(33, &[0, 9, 3]), vec![0x88, 2, 9]].concat(), "\"rsign\":[\"PLUS\",9,\"SIGN_3RD\",9]");
    has(&[0xd2, 3, 2, 0x10, 9], "\"msign\":{\"\":9}");
    has(&[0xa2, 3, 0], "\"mnil\":{\"\":null}");
    // Maps: a key or value that is left out, the same key again, a value in pieces.
    has(&piece(51, &[]), "\"mts\":{\"\":\"1970-01-01T00:00:00Z\"}");
    has(
        &[piece(54, &[8, 1, 0x12, 1, b'a']), piece(54, &[0x12, 1, b'b', 8, 1])].concat(),
        "\"m64\":{\"1\":\"b\"}",
    );
    let pieces = [piece(2, &piece(1, b"x")), piece(2, &piece(2, b"y"))].concat();
    has(&piece(57, &pieces), "\"mself\":{\"\":{\"a\":\"x\",\"c\":\"y\"");
    has(&piece(55, &[0x10, 1, 0x18, 9]), "\"mu32\":{\"0\":true}");
    // A message in pieces is one; a member of a oneof takes the place of another.
    has(
        &[piece(72, &piece(1, b"x")), piece(72, &piece(2, b"y"))].concat(),
        "\"one_self\":{\"a\":\"x\",\"c\":\"y\"",
    );
    let oneof = many(&[piece(74, b"x"), piece(72, b"")].concat()).unwrap();
    assert!(oneof.contains("\"one_self\"") && !oneof.contains("\"one_s\""), "{oneof}");
    // Values: none is null, what nobody knows is passed over, and no number is without an end.
    has(&piece(12, &[]), "\"val\":null");
    has(&piece(12, &[0x20, 1, 0x78, 1]), "\"val\":true");
    has(&piece(35, &[]), "\"rval\":[null]");
    assert!(many(&piece(12, &[0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f])).is_err(), "infinity");
    // What is no text, no time, no span, no message, or of another type.
    for wire in [
        piece(1, &[0xff]),
        piece(50, &[0x0a, 1, 0xff]),
        piece(11, &piece(1, &[0x0a, 1, 0xff])),
        piece(10, &[0x0a, 1, 0xff]),
        piece(13, &[0x0a, 1, 0xff]),
        piece(8, &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        piece(9, &[8, 1, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        piece(72, &[0x0a, 9]),
        vec![8, 1],
        vec![0x0b, 0x0c],
        vec![0x0a],
    ] {
        assert!(many(&wire).is_err(), "{wire:?}: {:?}", many(&wire));
    }
    has(&[0xf8, 0x3f, 1, 0xfb, 0x3f, 0xfc, 0x3f, 0x0a, 1, b'x'], "{\"a\":\"x\"");
    // Any: of what nobody knows, of nothing, of something broken.
    has(
        &piece(13, &[piece(1, b"x/no.Such"), piece(2, &[1])].concat()),
        "\"any\":{\"@type\":\"x/no.Such\",\"value\":\"AQ==\"}",
    );
    assert!(many(&piece(13, &[piece(1, b"x/conformance.v1.Sub"), piece(2, &[1])].concat())).is_err());
    // The older language.
    let old = print("Old", &[&[0x0a, 1, b'x', 0x20, 1, 0x20, 2, 0x28, 3][..], &piece(4, &[3])].concat());
    assert_eq!(old.unwrap(), "{\"name\":\"x\",\"numbers\":[1,2,3],\"many\":[3],\"row\":[]}");
}

#[tokio::test]
async fn an_older_language_is_spoken_as_well() {
    let suite = suite();
    for (body, text) in [
        ("{\"name\":\"x\"}", "{\"name\":\"x\",\"numbers\":[],\"many\":[],\"row\":[]}"),
        ("{\"name\":\"\",\"size\":0}", "{\"name\":\"\",\"size\":0,\"numbers\":[],\"many\":[],\"row\":[]}"),
        (
            "{\"name\":\"x\",\"closed\":\"two\",\"numbers\":[1],\"many\":[1,\"CLOSED_TWO\"],\"row\":[]}",
            "{\"name\":\"x\",\"closed\":\"CLOSED_TWO\",\"numbers\":[1],\"many\":[\"CLOSED_ONE\",\"CLOSED_TWO\"],\"row\":[]}",
        ),
    ] {
        let answer = suite.ask(&format!("POST /old\n\n{body}")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, text), "{body}");
    }
    // Groups have no length on the wire, and look as any other message does.
    let body = r#"{"name":"x","pair":{"key":"k","value":{"name":"y"}},"row":[{"cell":1},{}]}"#;
    let answer = suite.ok(&format!("POST /old\n\n{body}")).await;
    assert_eq!((&answer["pair"]["key"], &answer["row"]), (&json!("k"), &json!([{"cell":1},{}])));
    assert_eq!(answer["pair"]["value"]["name"], "y");
    assert_eq!(suite.backend.message.lock().unwrap()[3..5], [0x3b, 0x0a], "a tag and no length");
    assert_eq!(suite.ok("GET /old?pair.value.pair.key=l").await["pair"]["value"]["pair"]["key"], "l");
    assert_eq!(suite.ok("GET /old/k?pair.left=l").await["pair"], json!({"key":"k","left":"l"}));
    let body = r#"{"pair":{"right":"r"}}"#;
    assert_eq!(suite.ok(&format!("POST /old/k\n\n{body}")).await["pair"], json!({"key":"k","right":"r"}));
    assert_eq!(suite.ok("PATCH /old/pair\n\n{\"key\":\"k\"}").await["pair"], json!({"key":"k"}));
    assert_eq!(suite.ok("PATCH /old/pair").await["pair"], json!({}));
    assert_eq!(suite.ok("GET /old?name=x&next.name=y").await["next"]["name"], "y");
    refused(
        &suite,
        &[
            ("POST /old\n\n{\"closed\":0}".to_owned(), "closed"),
            ("POST /old\n\n{\"next\":1}".to_owned(), "next"),
            ("POST /old\n\n{\"pair\":{\"nope\":1}}".to_owned(), "pair.nope"),
            ("POST /old/k\n\n{\"pair\":{\"key\":\"\"}}".to_owned(), "pair.key"),
            ("GET /old?pair.left=l&pair.right=r".to_owned(), "pair.right"),
            ("GET /old?row.cell=1".to_owned(), "row.cell"),
            ("GET /old?next=1".to_owned(), "next"),
        ],
    )
    .await;
}

#[tokio::test]
async fn nothing_that_is_sent_takes_long_or_deep() {
    let suite = suite();
    let body =
        |members: &mut dyn Iterator<Item = String>| format!("{{{}}}", members.collect::<Vec<_>>().join(","));
    // Each of these is a matter of minutes to whoever looks at every other one.
    let unknown = body(&mut (0..80_000).map(|at| format!("\"x{at}\":1")));
    let answer = suite.ask(&format!("POST /t\n\n{unknown}")).await;
    assert_eq!((answer.status, answer.fields().len()), (400, 50));
    let map = body(&mut (0..70_000).map(|at| format!("\"{at}\":\"\"")));
    assert_eq!(suite.ask(&format!("POST /t\n\n{{\"m64\":{map}}}")).await.status, 200);
    let many = body(&mut (0..70_000).map(|at| format!("\"{at}\":0")));
    assert_eq!(suite.ask(&format!("POST /t\n\n{{\"st\":{many}}}")).await.status, 200);
    let list = vec!["{\"a\":1}"; 100_000].join(",");
    assert_eq!(suite.ask(&format!("POST /t\n\n{{\"selves\":[{list}]}}")).await.status, 400);
    let digits = "1".repeat(300_000);
    assert_eq!(
        suite
            .ask(&format!("POST /t\n\n{{\"r64\":[{digits}.0,\"{digits}\"],\"rd\":[{digits}]}}"))
            .await
            .status,
        400
    );
    let span = "18446744073709551615h".repeat(45_000);
    assert_eq!(suite.ask(&format!("POST /v1/all\n\n{{\"easy\":\"{span}\"}}")).await.status, 400);
    // Fields out of their order at every level, in bytes that no backend writes anew.
    let nested =
        |depth: usize, open: &str, close: &str| format!("{}{{}}{}", open.repeat(depth), close.repeat(depth));
    let turned = nested(50, "{\"one_self\":", ",\"a\":\"x\"}");
    let turned =
        format!("{{\"any\":{{\"@type\":\"x/conformance.v1.Many\",\"one_self\":{turned},\"a\":\"x\"}}}}");
    assert_eq!(suite.ask(&format!("POST /t\n\n{turned}")).await.status, 200);
    let anys = nested(30, "{\"@type\":\"x/google.protobuf.Any\",\"value\":", "}");
    assert_eq!(suite.ask(&format!("POST /t\n\n{{\"any\":{anys}}}")).await.status, 200);

    // 64 levels of JSON, and of messages as many as decoders read.
    for (what, depth, status) in [
        ("one_self", 63, 200),
        ("one_self", 64, 400),
        ("mself", 31, 200),
        ("mself", 32, 400),
        ("val", 31, 200),
        ("val", 34, 400),
        ("any", 64, 400),
        ("nothing", 200, 400),
    ] {
        let value = match what {
            "mself" => nested(depth, "{\"mself\":{\"k\":", "}}"),
            "val" => format!("{{\"val\":{}}}", nested(depth, "{\"k\":", "}")),
            what => nested(depth, &format!("{{\"{what}\":"), "}"),
        };
        for head in ["", "\nx-rest-unknown-fields: ignore"] {
            let answer = suite.ask(&format!("POST /t{head}\n\n{value}")).await;
            assert_eq!(answer.status, status, "{what} {depth}: {}", answer.body);
        }
    }
    let path = |depth: usize| format!("GET /t?{}a=x", "one_self.".repeat(depth));
    assert_eq!(suite.ask(&path(63)).await.status, 200);
    assert_eq!(suite.ask(&path(64)).await.status, 400);
    // A list in a list is no message more than a value and its list.
    let lists = format!("{}{}", "[".repeat(48), "]".repeat(48));
    assert_eq!(suite.ask(&format!("POST /t\n\n{{\"val\":{lists}}}")).await.status, 200);
}
