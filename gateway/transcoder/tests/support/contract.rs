//! Whether an answer is one that the OpenAPI document promises. Of JSON Schema it knows what the
//! document uses, and is stricter: a member that is not listed is no member.

use serde_json::Value;

use super::Answer;

pub(crate) struct Contract(Value);

impl Contract {
    pub(crate) fn new(document: Value) -> Self {
        Self(document)
    }

    /// Panics with what differs.
    pub(crate) fn judge(&self, method: &str, path: &str, answer: &Answer) {
        if let Err(why) = self.fits(method, path, answer) {
            panic!("{method} {path}: {} {} is not as documented: {why}", answer.status, answer.body);
        }
    }

    fn fits(&self, method: &str, path: &str, answer: &Answer) -> Result<(), String> {
        let verb = if method == "HEAD" { "get".to_owned() } else { method.to_ascii_lowercase() };
        let Some(operation) = self.operation(&verb, path) else {
            // Nothing is documented for words of one's own, and what is not there is an error.
            return if answer.status < 300 { Ok(()) } else { self.error(answer) };
        };
        let status = answer.status.to_string();
        let responses = &operation["responses"];
        let own = responses.get(&status);
        if answer.status < 400 && own.is_none() {
            return Err("the status is not documented".to_owned());
        }
        let response = self.followed(own.unwrap_or(&responses["default"]));
        for name in response["headers"].as_object().into_iter().flat_map(|headers| headers.keys()) {
            if name == "Location" && answer.header("location").is_empty() {
                return Err(format!("{name} is missing"));
            }
        }
        if method == "HEAD" || answer.body.is_empty() {
            return Ok(());
        }
        let kind = answer.header("content-type").split(';').next().unwrap_or_default();
        let content = &response["content"];
        let media = content.get(kind).or_else(|| content.get("*/*"));
        let schema = &media.ok_or_else(|| format!("`{kind}` is not documented"))?["schema"];
        match kind {
            "application/x-ndjson" => {
                answer.body.lines().filter(|line| !line.is_empty()).try_for_each(|line| {
                    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
                    if value.get("error").is_some() { Ok(()) } else { self.value(schema, &value, "") }
                })
            }
            "application/json" if !answer.broke => self.value(schema, &answer.json(), ""),
            _ => Ok(()),
        }
    }

    fn error(&self, answer: &Answer) -> Result<(), String> {
        if answer.body.is_empty() || answer.header("content-type") != "application/json" {
            return Ok(());
        }
        self.value(&self.0["components"]["schemas"]["Error"], &answer.json(), "")
    }

    /// The operation whose path has the most literals.
    fn operation(&self, verb: &str, path: &str) -> Option<&Value> {
        let segments: Vec<&str> = path.split('/').collect();
        let matching = self.0["paths"].as_object()?.iter().filter_map(|(template, item)| {
            let (template, own_verb) = match template.rsplit_once(':') {
                Some((template, verb)) if !verb.contains('}') => (template, Some(verb)),
                _ => (template.as_str(), None),
            };
            let path = match own_verb {
                Some(verb) => path.strip_suffix(verb)?.strip_suffix(':')?,
                None => path,
            };
            let segments = if own_verb.is_some() { path.split('/').collect() } else { segments.clone() };
            let parts: Vec<&str> = template.split('/').collect();
            let fits = parts.len() == segments.len()
                && parts
                    .iter()
                    .zip(&segments)
                    .all(|(part, segment)| part.starts_with('{') || part == segment);
            let rank = (own_verb.is_some(), parts.iter().filter(|part| !part.starts_with('{')).count());
            fits.then_some(()).and(item.get(verb)).map(|operation| (rank, operation))
        });
        matching.max_by_key(|(rank, _)| *rank).map(|(_, operation)| operation)
    }

    fn followed<'v>(&'v self, value: &'v Value) -> &'v Value {
        match value["$ref"].as_str() {
            Some(to) => self.0.pointer(to.trim_start_matches('#')).unwrap_or(&Value::Null),
            None => value,
        }
    }

    fn value(&self, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{place}: {value} is {what}"));
        if schema.get("$ref").is_some() {
            let to = self.followed(schema);
            return if to.is_null() {
                wrong("of a schema that is missing")
            } else {
                self.value(to, value, place)
            };
        }
        for any in ["anyOf", "oneOf"] {
            let Some(all) = schema[any].as_array() else { continue };
            if !all.iter().any(|one| self.value(one, value, place).is_ok()) {
                return wrong(&format!("none of {}", schema[any]));
            }
        }
        for one in schema["allOf"].as_array().into_iter().flatten() {
            self.value(one, value, place)?;
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            return wrong("no such word");
        }
        let is = match schema["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            Some("null") => value.is_null(),
            Some(other) => return wrong(&format!("of the unknown type {other}")),
            None => true,
        };
        if !is {
            return wrong(&format!("no {}", schema["type"]));
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            if value.get(name.as_str().unwrap_or_default()).is_none() {
                return wrong(&format!("without {name}"));
            }
        }
        for (at, item) in value.as_array().into_iter().flatten().enumerate() {
            if let Some(items) = schema.get("items") {
                self.value(items, item, &format!("{place}[{at}]"))?;
            }
        }
        let listed = schema["properties"].as_object();
        for (name, member) in value.as_object().into_iter().flatten() {
            let place = format!("{place}.{name}");
            match (listed.and_then(|listed| listed.get(name)), schema.get("additionalProperties")) {
                (Some(own), _) => self.value(own, member, &place)?,
                (None, Some(Value::Bool(true))) => {}
                (None, Some(others)) => self.value(others, member, &place)?,
                (None, None) if listed.is_some() => return Err(format!("{place} is not documented")),
                (None, None) => {}
            }
        }
        Ok(())
    }
}
