//! Input that cannot be used: it is named, and nothing comes of it.

use clos_tests::{Checkout, Daemon, IMAGE, project_name};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bad_input_is_named_and_nothing_comes_of_it() {
    let daemon = Daemon::start().await;
    let name = project_name("bad");
    let one = |body: &str| format!("name: {name}\nservices: {{web: {{image: {IMAGE}, {body}}}}}\n");
    let two = |first: &str, second: &str| {
        format!(
            "name: {name}\nservices:\n  a: {{image: {IMAGE}, {first}}}\n  b: {{image: {IMAGE}, {second}}}\n"
        )
    };
    let bomb = {
        let mut text = "x-0: &x0 [a, a, a, a, a, a, a, a, a, a]\n".to_owned();
        for level in 1..9 {
            let before = format!("*x{}", level - 1);
            text.push_str(&format!("x-{level}: &x{level} [{}]\n", vec![before; 10].join(", ")));
        }
        format!("{text}services: {{web: {{image: {IMAGE}}}}}\n")
    };
    let cases = [
        ("a cycle", two("depends_on: [b]", "depends_on: [a]"), 2, "a → b → a"),
        ("an unknown dependency", one("depends_on: [dbx]"), 2, "dbx"),
        ("one port twice", two("ports: ['5432:1']", "ports: ['5432:2']"), 3, "5432"),
        (
            "a missing image",
            format!("name: {name}\nservices: {{web: {{image: 'clos-test/nowhere:1'}}}}\n"),
            7,
            "clos-test/nowhere:1",
        ),
        ("malformed YAML", format!("name: {name}\nservices: {{web: [}}\n"), 2, "compose.yaml:2"),
        ("a name with a slash", format!("name: {name}\nservices: {{'a/b': {{image: {IMAGE}}}}}\n"), 2, "a/b"),
        ("an endless value", one(&format!("hostname: {}", "x".repeat(10_000))), 2, "hostname"),
        ("an alias bomb", bomb, 2, "aliases"),
        ("a file that is not there", one("env_file: /etc/nowhere.env"), 5, "/etc/nowhere.env"),
        ("two replicas", one("deploy: {replicas: 2}"), 2, "replicas"),
        ("a variable that must be set", one("hostname: '${MUST:?say which}'"), 2, "say which"),
    ];
    for (what, text, code, word) in cases {
        let checkout = Checkout::new("bad", &text);
        let ran = daemon.clos(checkout.path(), &["up"]);
        assert_eq!(ran.code, code, "{what}: {}", ran.err);
        assert!(ran.err.starts_with("error: ") && ran.err.contains(word), "{what}: {}", ran.err);
        assert!(ran.err.len() < 6_000, "{what}: an error of {} bytes", ran.err.len());
        assert_eq!(daemon.clos(checkout.path(), &["status"]).well(), "No services registered\n", "{what}");
        assert_eq!(daemon.containers(true), Vec::<String>::new(), "{what}");
    }
    let client = daemon.client().await;
    let groups = client.list_groups(clos_proto::v2::ListGroupsRequest::default()).await.unwrap();
    assert_eq!(groups.groups, []);
}
