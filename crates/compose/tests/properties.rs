//! What holds for every text.

use std::collections::BTreeMap;

use clos_compose::{File, Input, Outcome, SourceError, load, to_compose_json};
use proptest::prelude::*;

fn input(texts: &[String]) -> Input {
    let files = texts.iter().enumerate();
    Input {
        working_dir: "/home/dev/shop".to_owned(),
        files: files
            .map(|(index, text)| File { path: format!("f{index}.yaml"), text: text.clone() })
            .collect(),
        home: Some("/home/dev".to_owned()),
        ..Input::default()
    }
}

/// Every question is answered by nothing; every round asks something new, so it ends.
fn load_to_the_end(mut input: Input) -> Outcome {
    for _ in 0..100 {
        match load(&input) {
            Outcome::NeedsFiles(wanted) => {
                assert!(!wanted.is_empty());
                for file in wanted {
                    let missing = Err(SourceError::NotFound { path: file.path.clone() });
                    assert!(input.fetched.insert(file.path, missing).is_none());
                }
            }
            Outcome::NeedsVariables(names) => {
                assert!(!names.is_empty());
                for name in names {
                    assert!(input.variables.insert(name, None).is_none());
                }
            }
            done => return done,
        }
    }
    panic!("there is no end to the questions");
}

/// Words out of which something like a compose file falls now and then.
fn fragments() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "services",
        "web",
        "db",
        "image",
        "build",
        "ports",
        "80:80",
        "volumes",
        "./a:/b",
        "environment",
        "A=1",
        "$X",
        "${Y:-z}",
        "${Z",
        "depends_on",
        "extends",
        "include",
        "f0.yaml",
        "env_file",
        "networks",
        "command",
        "null",
        "true",
        "5",
        "1.5",
        "!reset",
        "!override",
        "&a",
        "*a",
        "<<",
        "name",
        "deploy",
        "replicas",
        "healthcheck",
        "test",
        "x-clos",
        "health_check",
        "secrets",
        "configs",
        "content",
        "profiles",
        "scale",
        "labels",
        "''",
        "\"q\"",
        "~/x",
    ]);
    let glue = prop::sample::select(vec![
        ": ", ":\n  ", ":\n    ", "\n", "\n  ", "\n    - ", " {", "}", "[", "]", ", ", "\n---\n", " ",
    ]);
    prop::collection::vec((words, glue), 0..40)
        .prop_map(|parts| parts.into_iter().flat_map(|(word, glue)| [word, glue]).collect())
}

/// A small project that is right.
fn project() -> impl Strategy<Value = String> {
    let service = (
        prop::sample::subsequence(vec!["A=1", "B=$X", "C", "D=x y"], 0..4),
        prop::option::of(1_u16..60_000),
        prop::sample::subsequence(vec!["data:/data", "./src:/src:ro", "/anon"], 0..3),
        prop::sample::subsequence(
            vec!["restart: always", "init: true", "cpus: 0.5", "labels: {a: 1}", "networks: [front]"],
            0..5,
        ),
    );
    prop::collection::vec(service, 1..6).prop_map(|services| {
        let mut text = "services:\n".to_owned();
        for (index, (environment, port, volumes, keys)) in services.iter().enumerate() {
            text.push_str(&format!("  s{index}:\n    image: i{index}\n"));
            let list = |name: &str, items: &[&str]| {
                let quoted: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
                format!("    {name}: [{}]\n", quoted.join(", "))
            };
            text.push_str(&list("environment", environment));
            text.push_str(&list("volumes", volumes));
            if let Some(port) = port {
                text.push_str(&format!("    expose: [{port}]\n"));
            }
            for key in keys {
                text.push_str(&format!("    {key}\n"));
            }
            if index > 0 {
                text.push_str(&format!("    depends_on: [s{}]\n", index - 1));
            }
        }
        text.push_str("volumes: {data: }\nnetworks: {front: }\n");
        text
    })
}

fn printed(texts: &[String]) -> serde_json::Value {
    match load_to_the_end(input(texts)) {
        Outcome::Ready(project) => to_compose_json(&project),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn loading_never_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        load_to_the_end(input(std::slice::from_ref(&text)));
        let mut input = input(&["services: {a: {image: x}}".to_owned()]);
        input.env_files = vec![File { path: ".env".to_owned(), text }];
        load_to_the_end(input);
    }

    #[test]
    fn loading_never_panics_on_near_misses(one in fragments(), other in fragments()) {
        load_to_the_end(input(&[one, other]));
    }

    #[test]
    fn no_template_panics(template in "[$${}a-zA-Z:?+\\-_ 0-9\"ü\n]{0,60}") {
        let quoted = serde_json::to_string(&template).unwrap();
        load_to_the_end(input(&[format!("services: {{a: {{image: x, command: [{quoted}], env_file: e}}}}")]));
        let mut with_env = input(&["services: {a: {image: x, env_file: e}}".to_owned()]);
        with_env.fetched.insert("/home/dev/shop/e".to_owned(), Ok(template));
        load_to_the_end(with_env);
    }

    #[test]
    fn merging_with_nothing_changes_nothing(text in project()) {
        let alone = printed(std::slice::from_ref(&text));
        for nothing in ["services: {}\n", "{}\n", "x-a: &a 1\n---\nservices: {}\n"] {
            let mut over = printed(&[text.clone(), nothing.to_owned()]);
            over.as_object_mut().unwrap().remove("x-a");
            prop_assert_eq!(&alone, &over);
        }
    }

    #[test]
    fn merging_a_file_with_itself_changes_nothing(text in project()) {
        let alone = printed(std::slice::from_ref(&text));
        prop_assert_eq!(alone, printed(&[text.clone(), text]));
    }

    #[test]
    fn the_same_input_gives_the_same_project(text in project()) {
        let (one, other) = (printed(std::slice::from_ref(&text)), printed(std::slice::from_ref(&text)));
        prop_assert_eq!(one, other);
    }

    /// What we print is a compose file, and says the same again.
    #[test]
    fn what_is_printed_can_be_read_again(text in project()) {
        let once = printed(std::slice::from_ref(&text));
        prop_assert_eq!(&once, &printed(&[once.to_string()]));
    }
}

#[test]
fn variables_of_hostile_size_do_not_grow_without_end() {
    let mut hostile = input(&[format!("services: {{a: {{image: x, command: \"{}\"}}}}", "$A".repeat(4_000))]);
    hostile.variables = BTreeMap::from([("A".to_owned(), Some("x".repeat(100_000)))]);
    assert!(matches!(load(&hostile), Outcome::Failed(_)));
}
