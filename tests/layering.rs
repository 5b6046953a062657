//! Who may use whom: the direction is checked, not hoped for.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail and reads where it is")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Our crates, and which of ours each may use.
const OURS: [(&str, &[&str]); 20] = [
    ("clos-domain", &[]),
    ("clos-proto", &[]),
    ("clos-telemetry", &[]),
    ("clos-migrations", &[]),
    ("clos-testapp", &[]),
    ("clos-protojson", &[]),
    ("clos-transcoder", &["clos-protojson"]),
    ("clos-gateway", &["clos-telemetry", "clos-transcoder"]),
    ("clos-gateway-bench", &["clos-protojson", "clos-transcoder"]),
    ("clos-compose", &["clos-domain"]),
    ("clos-control", &["clos-compose", "clos-domain", "clos-telemetry"]),
    ("clos-engine", &["clos-domain", "clos-telemetry"]),
    ("clos-host", &["clos-domain"]),
    ("clos-store", &["clos-domain", "clos-migrations", "clos-telemetry"]),
    ("clos-testkit", &["clos-domain"]),
    ("clos-rpc", &["clos-control", "clos-domain", "clos-proto", "clos-telemetry"]),
    (
        "clos-daemon",
        &[
            "clos-control",
            "clos-domain",
            "clos-engine",
            "clos-gateway",
            "clos-host",
            "clos-proto",
            "clos-rpc",
            "clos-store",
            "clos-telemetry",
            "clos-transcoder",
        ],
    ),
    ("clos-client", &["clos-proto"]),
    ("clos-cli", &["clos-client", "clos-proto", "clos-protojson"]),
    ("clos-tests", &["clos-client", "clos-proto"]),
];

/// Libraries that have a home: nobody else may use them. Every other one is for all.
const HOMES: [(&str, &[&str]); 47] = [
    ("axum", &["clos-gateway-bench"]),
    ("brotli", &["clos-transcoder"]),
    ("flate2", &["clos-transcoder"]),
    ("tokio-tungstenite", &["clos-transcoder"]),
    ("tonic-web", &["clos-gateway"]),
    ("tower-http", &["clos-gateway"]),
    ("zstd", &["clos-transcoder"]),
    ("anyhow", &["clos-daemon", "clos-gateway", "clos-gateway-bench"]),
    ("anstyle", &["clos-cli"]),
    ("bollard", &["clos-engine"]),
    ("clap", &["clos-cli", "clos-daemon", "clos-gateway", "clos-gateway-bench"]),
    ("clap_complete", &["clos-cli"]),
    ("comfy-table", &["clos-cli"]),
    ("docker_credential", &["clos-engine"]),
    ("http-body", &["clos-gateway", "clos-rpc", "clos-transcoder"]),
    ("http-body-util", &["clos-daemon", "clos-gateway", "clos-host", "clos-rpc", "clos-transcoder"]),
    // The probe of `host`, the sockets of `daemon`, `engine` and `client`.
    ("hyper", &["clos-daemon", "clos-gateway", "clos-host", "clos-transcoder"]),
    (
        "hyper-util",
        &[
            "clos-client",
            "clos-daemon",
            "clos-engine",
            "clos-gateway",
            "clos-gateway-bench",
            "clos-host",
            "clos-transcoder",
        ],
    ),
    ("ignore", &["clos-engine"]),
    ("indicatif", &["clos-cli"]),
    ("opentelemetry", &["clos-telemetry"]),
    ("opentelemetry-otlp", &["clos-telemetry"]),
    ("opentelemetry_sdk", &["clos-telemetry"]),
    ("petgraph", &["clos-domain"]),
    ("prometheus", &["clos-telemetry"]),
    ("prost", &["clos-cli", "clos-client", "clos-gateway-bench", "clos-proto", "clos-rpc"]),
    (
        "prost-reflect",
        &["clos-gateway", "clos-gateway-bench", "clos-proto", "clos-protojson", "clos-transcoder"],
    ),
    ("prost-types", &["clos-cli", "clos-client", "clos-gateway-bench", "clos-proto", "clos-rpc"]),
    ("protox", &["clos-gateway-bench", "clos-proto", "clos-tests"]),
    ("rand", &["clos-host", "clos-transcoder"]),
    ("rustix", &["clos-engine", "clos-gateway", "clos-host"]),
    ("sea-orm", &["clos-store"]),
    ("sea-orm-migration", &["clos-migrations"]),
    ("serde-saphyr", &["clos-cli", "clos-compose", "clos-daemon"]),
    ("signal-hook", &["clos-testapp"]),
    ("tar", &["clos-engine"]),
    (
        "tonic",
        &[
            "clos-client",
            "clos-daemon",
            "clos-gateway",
            "clos-gateway-bench",
            "clos-proto",
            "clos-rpc",
            "clos-transcoder",
        ],
    ),
    ("tonic-health", &["clos-gateway", "clos-rpc"]),
    ("tonic-prost", &["clos-gateway-bench", "clos-proto"]),
    ("tonic-prost-build", &["clos-gateway-bench", "clos-proto", "clos-tests"]),
    ("tonic-reflection", &["clos-rpc"]),
    ("tonic-types", &["clos-client", "clos-daemon", "clos-gateway", "clos-rpc", "clos-transcoder"]),
    ("tower", &["clos-client", "clos-daemon", "clos-engine", "clos-gateway", "clos-rpc", "clos-transcoder"]),
    ("tracing-appender", &["clos-telemetry"]),
    ("tracing-opentelemetry", &["clos-telemetry"]),
    ("tracing-subscriber", &["clos-telemetry"]),
    ("uuid", &["clos-host", "clos-transcoder"]),
];

/// The crates without I/O, and all that they may use of others.
const PURE: [(&str, &[&str]); 2] = [
    ("clos-domain", &["async-trait", "futures-core", "indexmap", "jiff", "petgraph", "serde", "thiserror"]),
    ("clos-compose", &["indexmap", "serde-saphyr", "serde_json", "thiserror"]),
];

/// What stands at the top.
const TOP: [&str; 17] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "buf.lock",
    "buf.yaml",
    "clippy.toml",
    "crates",
    "deny.toml",
    "docs",
    "gateway",
    "migrations",
    "proto",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "scripts",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// By crate: what it uses when it is built, its tests left out.
fn used() -> BTreeMap<String, BTreeSet<String>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut used = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let dependencies = package["dependencies"].as_array().unwrap();
        let names = dependencies
            .iter()
            .filter(|it| it["kind"] != "dev")
            .map(|it| it["name"].as_str().unwrap().to_owned());
        used.insert(package["name"].as_str().unwrap().to_owned(), names.collect());
    }
    used
}

#[test]
fn every_crate_uses_only_those_that_it_may() {
    let allowed: BTreeMap<&str, &[&str]> = OURS.into_iter().collect();
    for (name, uses) in used() {
        let may = allowed.get(name.as_str());
        let may = may.unwrap_or_else(|| panic!("{name} has no row in OURS: say whom it may use"));
        for other in uses.iter().filter(|other| other.starts_with("clos-")) {
            assert!(may.contains(&other.as_str()), "{name} uses {other}; it may use {may:?}");
        }
    }
}

#[test]
fn a_library_is_used_where_it_is_at_home() {
    let homes: BTreeMap<&str, &[&str]> = HOMES.into_iter().collect();
    let used = used();
    for (name, uses) in &used {
        for library in uses {
            if let Some(homes) = homes.get(library.as_str()) {
                assert!(homes.contains(&name.as_str()), "{name} uses {library}, whose home is {homes:?}");
            }
        }
    }
    for (library, homes) in HOMES {
        for home in homes {
            assert!(
                used[*home].contains(library),
                "{home} does not use {library} any more: take the row away"
            );
        }
    }
}

#[test]
fn what_is_pure_stays_pure() {
    let used = used();
    for (name, may) in PURE {
        for library in used[name].iter().filter(|library| !library.starts_with("clos-")) {
            assert!(may.contains(&library.as_str()), "{name} is pure and uses {library}; it may use {may:?}");
        }
    }
    let testapp: Vec<&String> = used["clos-testapp"].iter().collect();
    assert_eq!(testapp, ["signal-hook"], "what is tested with shares no code with what is tested");
}

#[test]
fn the_gateways_libraries_have_no_word_of_clos() {
    let files = |folder: &Path| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    for library in ["protojson", "transcoder", "server"] {
        let mut left = files(&root().join("gateway").join(library).join("src"));
        while let Some(path) = left.pop() {
            // The program's flags have defaults.
            let is_program = path.ends_with("server/src/main.rs");
            match path.is_dir() {
                true => left.extend(files(&path)),
                false if is_program => {}
                false => {
                    let text = std::fs::read_to_string(&path).unwrap();
                    for word in ["api/v2", "clos.v2", "clos.dev", "x-clos"] {
                        assert!(!text.contains(word), "{} has `{word}`: make it an option", path.display());
                    }
                }
            }
        }
    }
}

/// By module at the top of a crate: the others that it uses; what stands in `lib.rs` is of `lib`.
fn modules(source: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let names = |folder: &Path| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let known: BTreeSet<String> = names(source).iter().map(|path| name(path)).collect();
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for module in names(source) {
        let files = if module.is_dir() { names(&module) } else { vec![module.clone()] };
        for file in files.iter().filter(|file| file.extension().is_some_and(|it| it == "rs")) {
            let text = std::fs::read_to_string(file).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            // What `lib.rs` hands on it does not use.
            let is_code = |line: &&str| !line.trim_start().starts_with("//") && !line.starts_with("pub use");
            let text: String = text.lines().filter(is_code).flat_map(|line| [line, "\n"]).collect();
            for (at, _) in text.match_indices("crate::") {
                let rest = &text[at + "crate::".len()..];
                let end = rest.find(if rest.starts_with('{') { '}' } else { ';' }).unwrap_or(rest.len());
                let group = rest[..end].trim_start_matches('{');
                let count = if rest.starts_with('{') { usize::MAX } else { 1 };
                for item in group.split(',').take(count) {
                    let item =
                        item.trim().split(|it: char| !it.is_alphanumeric() && it != '_').next().unwrap();
                    let used = if known.contains(item) { item } else { "lib" };
                    uses.entry(name(&module)).or_default().insert(used.to_owned());
                }
            }
        }
    }
    uses
}

#[test]
fn the_modules_of_the_gateways_libraries_have_no_circle() {
    for library in ["protojson", "transcoder"] {
        let mut uses = modules(&root().join("gateway").join(library).join("src"));
        uses.iter_mut().for_each(|(module, used)| _ = used.remove(module));
        // Whoever uses none of the rest cannot be in a circle.
        loop {
            let left: BTreeSet<String> = uses.keys().cloned().collect();
            uses.retain(|_, used| used.iter().any(|it| left.contains(it)));
            if uses.len() == left.len() {
                break;
            }
        }
        assert!(
            uses.is_empty(),
            "{library}: these modules use each other, or one of such a circle: {uses:#?}"
        );
    }
}

#[test]
fn the_top_level_is_what_it_is_meant_to_be() {
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_known = TOP.contains(&name.as_str()) || name == "tests" || name == "target";
        assert!(is_known || name.starts_with('.'), "{name} has no place at the top level");
    }
}
