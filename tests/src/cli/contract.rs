//! The contract of titan's JSON: `docs/json.md` is read, and objects are compared with what it says.
//!
//! Each heading `### name` begins an object; each row `| key | type | always or when … | … |` of the table below it is
//! one of its keys. A type is `string`, `integer`, `number`, `boolean`, `null`, `object NAME`, `list of TYPE`,
//! `map of TYPE`, `"A" "B"` (one of these texts), or several with `or` between.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

/// Everything that the document says.
#[derive(Debug)]
pub struct Contract(BTreeMap<String, Vec<Key>>);

/// A key of an object.
#[derive(Debug)]
struct Key {
    name: String,
    kind: String,
    /// Another key: this one is there if and only if that is true.
    only_when: Option<String>,
}

impl Contract {
    /// Reads the document.
    ///
    /// # Panics
    /// It isn't there, or a row isn't as it should be.
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let mut objects = BTreeMap::<String, Vec<Key>>::new();
        let mut name = None;
        for line in text.lines() {
            if line.starts_with('#') {
                name = line.strip_prefix("### ").map(|title| title.trim().replace('`', ""));
            } else if let (Some(name), Some(key)) = (&name, key(line)) {
                objects.entry(name.clone()).or_default().push(key);
            }
        }
        assert!(!objects.is_empty(), "the document describes no object");
        Self(objects)
    }

    /// Names of all objects that the document describes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Compares an object that stands on a line of its own with the one that its `type` names.
    ///
    /// # Panics
    /// It isn't as the document says.
    #[track_caller]
    pub fn check(&self, value: &Value) {
        let kind = value["type"].as_str().unwrap_or_else(|| panic!("an object without type: {value}"));
        assert_eq!(value["titan"], 1, "the version: {value}");
        // Events, the objects of a map and those of a table tell of tasks under one name; these have a number for people, or a label.
        let name = match kind {
            "task" if value.get("seq").is_some() => "map.task",
            "task" if value.get("label").is_some() => "export.task",
            kind => kind,
        };
        let problems = self.problems_of_object(name, value, kind);
        assert!(problems.is_empty(), "{}\nin {value}", problems.join("\n"));
    }

    fn problems_of_object(&self, name: &str, value: &Value, at: &str) -> Vec<String> {
        let Some(keys) = self.0.get(name) else { return vec![format!("{at}: the document has no object '{name}'")] };
        let Value::Object(object) = value else { return vec![format!("{at}: {value} is no object")] };
        let unknown = object.keys().filter(|key| !keys.iter().any(|known| known.name == **key));
        let mut problems: Vec<String> = unknown.map(|key| format!("{at}.{key}: not in the document")).collect();
        problems.extend(keys.iter().flat_map(|key| self.problems_of_key(key, object, at)));
        problems
    }

    fn problems_of_key(&self, key: &Key, object: &Map<String, Value>, at: &str) -> Vec<String> {
        let at = format!("{at}.{}", key.name);
        let is_due = key.only_when.as_ref().is_none_or(|other| object.get(other) == Some(&Value::Bool(true)));
        match object.get(&key.name) {
            None if is_due => vec![format!("{at}: missing")],
            None => Vec::new(),
            Some(_) if !is_due => vec![format!("{at}: has no place here")],
            Some(value) => self.problems_of_value(&key.kind, value, &at),
        }
    }

    /// What is wrong with a value for a type; nothing, if one of its alternatives fits.
    fn problems_of_value(&self, kind: &str, value: &Value, at: &str) -> Vec<String> {
        let mut all = Vec::new();
        for alternative in kind.split(" or ") {
            let problems = self.problems_of_alternative(alternative.trim(), value, at);
            if problems.is_empty() {
                return Vec::new();
            }
            all.extend(problems);
        }
        all
    }

    fn problems_of_alternative(&self, kind: &str, value: &Value, at: &str) -> Vec<String> {
        let fits = match kind {
            "string" => value.is_string(),
            "integer" => value.is_u64(),
            "number" => value.as_f64().is_some_and(|number| number >= 0.0),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            texts if texts.starts_with('"') => {
                texts.split_whitespace().any(|text| Some(text.trim_matches('"')) == value.as_str())
            }
            nested => return self.problems_of_nested(nested, value, at),
        };
        if fits { Vec::new() } else { vec![format!("{at}: {value} is no {kind}")] }
    }

    fn problems_of_nested(&self, kind: &str, value: &Value, at: &str) -> Vec<String> {
        let (word, rest) = kind.split_once(' ').unwrap_or((kind, ""));
        match (word, value) {
            ("object", value) => self.problems_of_object(rest, value, at),
            ("list", Value::Array(items)) => {
                let of = rest.trim_start_matches("of ");
                items.iter().flat_map(|item| self.problems_of_value(of, item, &format!("{at}[]"))).collect()
            }
            ("map", Value::Object(items)) => {
                let of = rest.trim_start_matches("of ");
                items.iter().flat_map(|(key, item)| self.problems_of_value(of, item, &format!("{at}.{key}"))).collect()
            }
            ("list" | "map", value) => vec![format!("{at}: {value} is no {kind}")],
            _ => panic!("{at}: the document's type '{kind}' can't be read"),
        }
    }
}

/// A row of a table; its heading and the line below that aren't.
fn key(line: &str) -> Option<Key> {
    let cells: Vec<&str> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
    let (name, kind, when) = (cells.first()?, cells.get(1)?, cells.get(2)?);
    let name = name.strip_prefix('`')?.strip_suffix('`')?;
    let only_when = match *when {
        "always" => None,
        when => Some(when.strip_prefix("when ").unwrap_or_else(|| panic!("'{when}' in: {line}")).replace('`', "")),
    };
    Some(Key { name: name.to_owned(), kind: kind.replace('`', ""), only_when })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Contract;

    const DOCUMENT: &str = "### `box`\n\n| key | type | there | meaning |\n|---|---|---|---|\n\
        | `titan` | integer | always | |\n| `type` | string | always | |\n| `open` | boolean | always | |\n\
        | `inside` | list of object thing or null | when `open` | |\n\
        ### `thing`\n| `kind` | \"a\" \"b\" | always | |\n";

    fn problems(value: &serde_json::Value) -> Vec<String> {
        Contract::parse(DOCUMENT).problems_of_object("box", value, "box")
    }

    #[test]
    fn an_object_is_as_the_document_says_or_it_is_told_why_not() {
        let full = json!({"titan": 1, "type": "box", "open": true, "inside": [{"kind": "b"}]});
        assert!(problems(&full).is_empty(), "{:?}", problems(&full));
        assert!(problems(&json!({"titan": 1, "type": "box", "open": false})).is_empty());
        for wrong in [
            json!({"titan": 1, "type": "box", "open": true}),
            json!({"titan": 1, "type": "box", "open": false, "inside": null}),
            json!({"titan": 1, "type": "box", "open": true, "inside": [{"kind": "c"}]}),
            json!({"titan": 1, "type": "box", "open": true, "inside": [{"kind": "a", "more": 1}]}),
            json!({"titan": -1, "type": "box", "open": false}),
        ] {
            assert!(!problems(&wrong).is_empty(), "{wrong}");
        }
    }
}
