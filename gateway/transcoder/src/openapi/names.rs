//! What a document calls services, methods and messages, so that clients generated from it read well: the method
//! `StartGroup` of `GroupsApi` has the tag `groups` and the operation id `groups.start`, and the schema of
//! `pkg.v1.Group` is `Group`.

use std::collections::{HashMap, HashSet};

use prost_reflect::{MethodDescriptor, ServiceDescriptor};
use serde_json::{Map, Value};

/// Where a document has its schemas.
pub(super) const SCHEMAS: &str = "#/components/schemas/";

/// Endings of a service's name that say nothing.
const ENDINGS: [&str; 3] = ["Api", "API", "Service"];

/// Tags by the full names of services, ids by the full names of methods.
#[derive(Debug, Default)]
pub(super) struct Names {
    tags: HashMap<String, String>,
    ids: HashMap<String, String>,
    given: HashSet<String>,
}

impl Names {
    pub(super) fn of(services: &[ServiceDescriptor]) -> Self {
        let mut names = Self::default();
        let wanted: Vec<_> = services.iter().map(tags).collect();
        for (service, own) in services.iter().zip(&wanted) {
            let is_free = |at: &usize| wanted.iter().filter(|other| other[*at] == own[*at]).count() == 1;
            let tag = &own[(0..own.len()).find(is_free).unwrap_or(own.len() - 1)];
            names.tags.insert(service.full_name().to_owned(), tag.clone());

            let noun = words(bare(service.name()));
            let short: Vec<String> =
                service.methods().map(|method| camel(&without(words(method.name()), &noun))).collect();
            for (method, own) in service.methods().zip(&short) {
                let is_free = short.iter().filter(|other| *other == own).count() == 1;
                let last = if is_free { own.clone() } else { camel(&words(method.name())) };
                names.ids.insert(method.full_name().to_owned(), format!("{tag}.{last}"));
            }
        }
        names
    }

    pub(super) fn tag(&self, service: &ServiceDescriptor) -> &str {
        self.tags.get(service.full_name()).map(String::as_str).unwrap_or_default()
    }

    /// An id for one more route of a method; no two calls return the same. The first one is the method's, one under
    /// another HTTP method has that at its end, and whatever is left is counted.
    pub(super) fn id(&mut self, method: &MethodDescriptor, verb: &str) -> String {
        let own = self.ids.get(method.full_name()).map_or(method.full_name(), String::as_str);
        let with_verb = format!("{own}{}", capital(verb));
        let counted = (2..).map(|at| format!("{with_verb}{at}"));
        let mut wanted = [own.to_owned(), with_verb.clone()].into_iter().chain(counted);
        let id = wanted.find(|id| !self.given.contains(id)).expect("counting does not end");
        self.given.insert(id.clone());
        id
    }
}

/// Renames the schemas of a document, which have their full names, and whatever refers to them. A package is left out
/// where no other schema has the same name then.
pub(super) fn shorten(document: &mut Value, package: impl Fn(&str) -> Option<String>) {
    let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else {
        return;
    };
    let short = |name: &str| {
        let inside =
            package(name).and_then(|package| name.strip_prefix(&format!("{package}."))?.to_owned().into());
        inside.unwrap_or_else(|| name.to_owned())
    };
    let mut wanted: HashMap<String, usize> = HashMap::new();
    for name in schemas.keys() {
        *wanted.entry(short(name)).or_default() += 1;
    }
    let given =
        |name: &str| Some(short(name)).filter(|short| wanted[short] == 1).unwrap_or_else(|| name.to_owned());
    let renamed: HashMap<String, String> = schemas.keys().map(|name| (name.clone(), given(name))).collect();
    let old: Map<String, Value> = std::mem::take(schemas);
    schemas.extend(old.into_iter().map(|(name, schema)| (renamed[&name].clone(), schema)));
    schemas.sort_keys();
    refer(document, &renamed);
}

fn refer(value: &mut Value, renamed: &HashMap<String, String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| refer(item, renamed)),
        Value::Object(members) => {
            if let Some(Value::String(to)) = members.get_mut("$ref")
                && let Some(name) = to.strip_prefix(SCHEMAS).and_then(|name| renamed.get(name))
            {
                *to = format!("{SCHEMAS}{name}");
            }
            members.values_mut().for_each(|member| refer(member, renamed));
        }
        _ => {}
    }
}

/// The tags that a service may have; the shortest that no other one wants is taken.
fn tags(service: &ServiceDescriptor) -> [String; 3] {
    let short = camel(&words(bare(service.name())));
    let in_package = format!("{}.{short}", service.package_name());
    [short, in_package, service.full_name().to_owned()]
}

/// The name of a service without its ending, unless nothing is left.
fn bare(name: &str) -> &str {
    let shorter = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending));
    shorter.filter(|left| !left.is_empty()).unwrap_or(name)
}

/// `GetHTTPRoute` is three words.
fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, letter) in letters.iter().enumerate() {
        let after_lower = at > 0 && !letters[at - 1].is_uppercase();
        let before_lower = letters.get(at + 1).is_some_and(|next| next.is_lowercase());
        if *letter == '_' || (letter.is_uppercase() && (after_lower || before_lower)) {
            words.push(String::new());
        }
        if *letter != '_' {
            words.last_mut().expect("it begins with one").push(letter.to_ascii_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The words of a method without those of the noun, singular or plural, once. The first word stays: it is the verb.
fn without(mut words: Vec<String>, noun: &[String]) -> Vec<String> {
    let fits = |at: &usize| {
        let part = words.get(*at..at + noun.len()).unwrap_or_default();
        part.len() == noun.len() && part.iter().zip(noun).all(|(one, other)| is_same_noun(one, other))
    };
    if let Some(at) = (1..words.len()).find(fits) {
        words.drain(at..at + noun.len());
    }
    words
}

fn is_same_noun(one: &str, other: &str) -> bool {
    let is_plural = |many: &str, single: &str| {
        many.strip_prefix(single).is_some_and(|end| matches!(end, "s" | "es"))
            || many.strip_suffix("ies").is_some_and(|stem| single.strip_suffix('y') == Some(stem))
    };
    one == other || is_plural(one, other) || is_plural(other, one)
}

fn camel(words: &[String]) -> String {
    let capitals = words.iter().skip(1).map(|word| capital(word));
    words.first().cloned().into_iter().chain(capitals).collect()
}

fn capital(word: &str) -> String {
    let word = word.to_ascii_lowercase();
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;
    use prost_reflect::prost_types::{
        DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
        ServiceDescriptorProto,
    };
    use serde_json::json;

    use super::*;

    /// Services such as `("pkg", "Service", ["Method"])`.
    fn services(wanted: &[(&str, &str, &[&str])]) -> Vec<ServiceDescriptor> {
        let file = wanted.iter().enumerate().map(|(at, (package, name, methods))| {
            let method = |name: &&str| MethodDescriptorProto {
                name: Some((*name).to_owned()),
                input_type: Some(".shared.M".to_owned()),
                output_type: Some(".shared.M".to_owned()),
                ..Default::default()
            };
            FileDescriptorProto {
                name: Some(format!("{at}.proto")),
                package: Some((*package).to_owned()),
                dependency: vec!["shared.proto".to_owned()],
                service: vec![ServiceDescriptorProto {
                    name: Some((*name).to_owned()),
                    method: methods.iter().map(method).collect(),
                    ..Default::default()
                }],
                ..Default::default()
            }
        });
        let shared = FileDescriptorProto {
            name: Some("shared.proto".to_owned()),
            package: Some("shared".to_owned()),
            message_type: vec![DescriptorProto { name: Some("M".to_owned()), ..Default::default() }],
            ..Default::default()
        };
        let set = FileDescriptorSet { file: std::iter::once(shared).chain(file).collect() };
        DescriptorPool::from_file_descriptor_set(set).unwrap().services().collect()
    }

    /// The tag and the ids of each service.
    fn named(wanted: &[(&str, &str, &[&str])]) -> Vec<(String, Vec<String>)> {
        let services = services(wanted);
        let mut names = Names::of(&services);
        let of = |service: &ServiceDescriptor| {
            let ids = service.methods().map(|method| names.id(&method, "GET")).collect();
            (names.tag(service).to_owned(), ids)
        };
        services.iter().map(of).collect()
    }

    fn one(service: &str, methods: &[&str]) -> (String, Vec<String>) {
        named(&[("a.v1", service, methods)]).remove(0)
    }

    #[test]
    fn a_method_leaves_out_the_noun_of_its_service() {
        let (tag, ids) = one("GroupsApi", &["StartGroup", "ListGroups", "GetGroupLogs", "CreateWsTicket"]);
        assert_eq!(tag, "groups");
        assert_eq!(ids, ["groups.start", "groups.list", "groups.getLogs", "groups.createWsTicket"]);
        let (tag, ids) = one("LibraryService", &["CreateShelf", "MergeShelves"]);
        assert_eq!((tag.as_str(), ids[0].as_str()), ("library", "library.createShelf"));
        let (tag, ids) = one("APIKeysAPI", &["RotateApiKey", "ListAPIKeys"]);
        assert_eq!(
            (tag.as_str(), ids),
            ("apiKeys", ["apiKeys.rotate", "apiKeys.list"].map(str::to_owned).into())
        );
        assert_eq!(one("Policies", &["GetPolicy"]).1, ["policies.get"]);
        assert_eq!(one("Boxes", &["OpenBox", "Boxes"]).1, ["boxes.open", "boxes.boxes"]);
        assert_eq!(one("Service", &["GetService"]).0, "service", "something has to be left");
    }

    #[test]
    fn methods_that_would_be_the_same_keep_their_whole_names() {
        let (_, ids) = one("Groups", &["GetGroup", "GetGroups", "Stop"]);
        assert_eq!(ids, ["groups.getGroup", "groups.getGroups", "groups.stop"]);
    }

    #[test]
    fn services_that_would_be_the_same_have_their_packages_before_them() {
        let methods: &[&str] = &["ListGroups"];
        let both =
            named(&[("a.v1", "Groups", methods), ("a.v2", "Groups", methods), ("b", "Ports", methods)]);
        let tags: Vec<_> = both.iter().map(|(tag, _)| tag.as_str()).collect();
        assert_eq!(tags, ["a.v1.groups", "a.v2.groups", "ports"]);
        assert_eq!(both[1].1, ["a.v2.groups.list"]);
        let both = named(&[("a", "GroupsApi", methods), ("a", "GroupsService", methods)]);
        assert_eq!(
            both.iter().map(|(tag, _)| tag.as_str()).collect::<Vec<_>>(),
            ["a.GroupsApi", "a.GroupsService"]
        );
    }

    #[test]
    fn more_routes_of_a_method_have_the_http_method_at_their_end() {
        let services = services(&[("a", "Groups", &["StartGroup"])]);
        let method = services[0].methods().next().unwrap();
        let mut names = Names::of(&services);
        let ids = ["POST", "GET", "GET", "POST"].map(|verb| names.id(&method, verb));
        assert_eq!(ids, ["groups.start", "groups.startGet", "groups.startGet2", "groups.startPost"]);
    }

    #[test]
    fn a_schema_leaves_out_its_package_unless_two_would_be_the_same() {
        let schema = |to: &str| json!({"properties": {"it": {"$ref": format!("{SCHEMAS}{to}")}}});
        let mut document = json!({
            "paths": {"/": {"schema": {"$ref": "#/components/schemas/a.v1.Group.Place"}}},
            "components": {"schemas": {
                "Error": {}, "a.v1.Error": {}, "a.v1.Group": {}, "b.Group": {},
                "a.v1.Group.Place": schema("a.v1.Group"), "a.v1.Port": schema("a.v1.Port"),
            }},
        });
        let package =
            |name: &str| ["a.v1", "b"].iter().find(|it| name.starts_with(*it)).map(|it| (*it).to_owned());
        shorten(&mut document, package);
        assert_eq!(document["paths"]["/"]["schema"]["$ref"], "#/components/schemas/Group.Place");
        let expected = json!({
            "Error": {}, "a.v1.Error": {}, "a.v1.Group": {}, "b.Group": {},
            "Group.Place": schema("a.v1.Group"), "Port": schema("Port"),
        });
        assert_eq!(document["components"]["schemas"], expected);
    }
}
