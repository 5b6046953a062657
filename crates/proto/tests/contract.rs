//! What every method, enum and comment of the contract has to be.

#![allow(clippy::expect_used, reason = "tests may")]

use std::collections::{BTreeMap, BTreeSet};

use clos_proto::{methods, path, permissions, pool};
use prost_reflect::{DynamicMessage, EnumDescriptor, MessageDescriptor, ReflectMessage};

/// Verb and template of every binding of a method.
fn routes(rule: &DynamicMessage) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for verb in ["get", "put", "post", "delete", "patch"] {
        let template = rule.get_field_by_name(verb).expect("HttpRule has it");
        let template = template.as_str().expect("a path").to_owned();
        if !template.is_empty() {
            found.push((verb.to_owned(), template));
        }
    }
    let more = rule.get_field_by_name("additional_bindings").expect("HttpRule has it");
    for rule in more.as_list().expect("a list") {
        found.extend(routes(rule.as_message().expect("a rule")));
    }
    found
}

fn all_routes() -> BTreeMap<String, Vec<(String, String)>> {
    let http = pool().get_extension_by_name("google.api.http").expect("annotations are in the set");
    methods()
        .filter(|method| method.options().has_extension(&http))
        .map(|method| {
            let options = method.options();
            let rule = options.get_extension(&http);
            (path(&method), routes(rule.as_message().expect("a rule")))
        })
        .collect()
}

/// The template without the names of its variables.
fn shape(template: &str) -> String {
    let mut shape = String::new();
    let mut inside = false;
    for letter in template.chars() {
        match letter {
            '{' => {
                inside = true;
                shape.push('*');
            }
            '}' => inside = false,
            _ if inside => {}
            other => shape.push(other),
        }
    }
    shape
}

fn enums() -> Vec<EnumDescriptor> {
    pool().all_enums().filter(|one| one.package_name() == clos_proto::PACKAGE).collect()
}

fn messages() -> Vec<MessageDescriptor> {
    pool()
        .all_messages()
        .filter(|one| one.package_name() == clos_proto::PACKAGE && !one.is_map_entry())
        .collect()
}

#[test]
fn every_method_says_who_may_call_it() {
    let known = permissions();
    let without: Vec<String> =
        methods().map(|method| path(&method)).filter(|path| !known.contains_key(path)).collect();
    assert!(without.is_empty(), "methods without (clos.v2.authz): {without:?}");
    assert_eq!(known.len(), methods().count());
    for (path, permission) in known {
        let well_formed = permission == clos_proto::NO_PERMISSION
            || permission.split_once(':').is_some_and(|(noun, verb)| {
                let is_word =
                    |word: &str| word.chars().all(|it| it.is_ascii_lowercase() || "{}".contains(it));
                !noun.is_empty() && !verb.is_empty() && is_word(noun) && is_word(verb)
            });
        assert!(well_formed, "{path}: `{permission}` is neither `-` nor `noun:verb`");
    }
}

#[test]
fn only_health_needs_no_credentials() {
    let open: Vec<&str> = permissions()
        .iter()
        .filter(|(_, permission)| *permission == clos_proto::NO_PERMISSION)
        .map(|(path, _)| path.as_str())
        .collect();
    assert_eq!(
        open,
        ["/clos.v2.SystemApi/GetHealth", "/clos.v2.SystemApi/GetLive", "/clos.v2.SystemApi/GetReady"]
    );
}

#[test]
fn a_pattern_of_a_permission_names_an_enum_field_of_the_request() {
    let mut patterns = 0;
    for method in methods() {
        let permission = &permissions()[&path(&method)];
        let Some((_, rest)) = permission.split_once('{') else { continue };
        let name = rest.strip_suffix('}').expect("a pattern ends with its brace");
        let field = method.input().get_field_by_name(name);
        assert!(
            field.is_some_and(|field| field.kind().as_enum().is_some()),
            "{}: {permission}",
            path(&method)
        );
        patterns += 1;
    }
    assert_eq!(patterns, 1);
}

#[test]
fn a_batch_needs_the_permission_of_each_single_call() {
    let word = pool().get_extension_by_name("clos.v2.authz_word").expect("it is in the set");
    let actions = pool().get_enum_by_name("clos.v2.BatchAction").expect("it is in the set");
    let needed: Vec<String> = actions
        .values()
        .filter(|value| value.number() != 0)
        .map(|value| {
            let own = value.name().trim_start_matches("BATCH_ACTION_").to_ascii_lowercase();
            let options = value.options();
            let stated = options.has_extension(&word).then(|| options.get_extension(&word).into_owned());
            let word = stated.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or(own.clone());
            let mut single = own[..1].to_ascii_uppercase();
            single.push_str(&own[1..]);
            let single = &permissions()[&format!("/clos.v2.ServicesApi/{single}Service")];
            assert_eq!(*single, format!("services:{word}"), "{own}");
            own
        })
        .collect();
    assert_eq!(needed, ["start", "stop", "restart", "recreate", "down"]);
}

#[test]
fn every_list_of_a_query_may_be_written_with_commas() {
    let rules = pool().get_extension_by_name("transcoding.v1.field").expect("it is in the set");
    let routes = all_routes();
    let mut count = 0;
    for method in methods().filter(|method| routes[&path(method)].iter().any(|(verb, _)| verb == "get")) {
        for field in method.input().fields().filter(|field| field.is_list()) {
            let options = field.options();
            let stated = options.get_extension(&rules);
            let csv = stated.as_message().and_then(|rules| rules.get_field_by_name("csv")?.as_bool());
            assert_eq!(csv, Some(true), "{}", field.full_name());
            count += 1;
        }
    }
    assert!(count > 5, "{count}");
}

#[test]
fn every_method_has_routes_below_api_v2() {
    let routes = all_routes();
    for method in methods() {
        let path = path(&method);
        let bound = routes.get(&path).map(Vec::as_slice).unwrap_or_default();
        assert!(!bound.is_empty(), "{path} has no route");
        for (verb, template) in bound {
            assert!(template.starts_with("/api/v2/"), "{path}: {verb} {template}");
        }
    }
}

#[test]
fn no_route_is_bound_twice() {
    let mut owners: BTreeMap<(String, String), String> = BTreeMap::new();
    for (path, bound) in all_routes() {
        for (verb, template) in bound {
            let key = (verb, shape(&template));
            if let Some(first) = owners.insert(key.clone(), path.clone()) {
                panic!("{} {} is bound by {first} and by {path}", key.0, key.1);
            }
        }
    }
}

#[test]
fn every_variable_of_a_route_is_a_string_field_of_the_request() {
    let routes = all_routes();
    for method in methods() {
        for (_, template) in &routes[&path(&method)] {
            for variable in
                template.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
            {
                let variable = variable.split_once('=').map_or(variable, |(name, _)| name);
                let field = method.input().get_field_by_name(variable);
                let is_text = field.is_some_and(|field| field.kind() == prost_reflect::Kind::String);
                assert!(is_text, "{}: {template} names `{variable}`", path(&method));
            }
        }
    }
}

#[test]
fn what_is_below_a_service_is_below_its_group_too() {
    let mut count = 0;
    for (path, bound) in all_routes() {
        for (verb, template) in &bound {
            let Some(rest) = template.strip_prefix("/api/v2/services/{id}") else { continue };
            let nested = (verb.clone(), format!("/api/v2/{{id=groups/*/services/*}}{rest}"));
            assert!(bound.contains(&nested), "{path} has no {nested:?}");
            count += 1;
        }
    }
    assert!(count > 15, "{count}");
}

#[test]
fn the_routes_are_the_written_ones() {
    let mut lines: Vec<String> = all_routes()
        .into_iter()
        .flat_map(|(path, bound)| {
            let permission = permissions()[&path].clone();
            let method = path.trim_start_matches("/clos.v2.").to_owned();
            bound.into_iter().map(move |(verb, template)| {
                format!("{template} {} {permission} {method}", verb.to_uppercase())
            })
        })
        .collect();
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn every_enum_begins_with_unspecified_and_its_prefix_can_be_taken_away() {
    assert!(!enums().is_empty());
    for one in enums() {
        let zero = one.get_value(0).expect("proto3 has a zero");
        assert!(zero.name().ends_with("_UNSPECIFIED"), "{}", one.full_name());
        let prefix = zero.name().trim_end_matches("UNSPECIFIED");
        for value in one.values() {
            assert!(value.name().starts_with(prefix), "{} has {}", one.full_name(), value.name());
        }
    }
}

#[test]
fn the_descriptors_keep_every_comment() {
    fn comments(file: &prost_reflect::FileDescriptor) -> BTreeSet<Vec<i32>> {
        let proto = file.file_descriptor_proto();
        let info = proto.source_code_info.as_ref().expect("source info is kept");
        info.location
            .iter()
            .filter(|place| place.leading_comments.as_ref().is_some_and(|text| !text.trim().is_empty()))
            .map(|place| place.path.clone())
            .collect()
    }
    for message in messages() {
        let said = comments(&message.parent_file());
        assert!(said.contains(message.path()), "{} has no comment", message.full_name());
        for field in message.fields() {
            assert!(said.contains(field.path()), "{} has no comment", field.full_name());
        }
    }
    for one in enums() {
        let said = comments(&one.parent_file());
        assert!(said.contains(one.path()), "{} has no comment", one.full_name());
        for value in one.values() {
            assert!(said.contains(value.path()), "{} has no comment", value.full_name());
        }
    }
    for method in methods() {
        assert!(comments(&method.parent_file()).contains(method.path()), "{} has no comment", path(&method));
    }
}

#[test]
fn the_details_of_google_rpc_are_in_the_set() {
    for name in ["google.rpc.Status", "google.rpc.ErrorInfo", "google.rpc.BadRequest", "google.rpc.RetryInfo"]
    {
        assert!(pool().get_message_by_name(name).is_some(), "{name}");
    }
}

#[test]
fn field_behaviours_are_kept() {
    let behaviour = pool().get_extension_by_name("google.api.field_behavior").expect("it is in the set");
    let service = pool().get_message_by_name("clos.v2.Service").expect("it is in the set");
    let id = service.get_field_by_name("id").expect("it has one");
    let options = id.options();
    let kept = options.get_extension(&behaviour);
    let kept: Vec<i32> =
        kept.as_list().expect("a list").iter().filter_map(prost_reflect::Value::as_enum_number).collect();
    assert_eq!(kept, [3], "OUTPUT_ONLY");
    assert_eq!(options.descriptor().full_name(), "google.protobuf.FieldOptions");
}
