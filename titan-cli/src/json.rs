//! JSON lines: every object says which version of the schema it follows and what it is.

use serde_json::{Map, Value};

/// The version of the schema in docs/json.md; keys are only ever added within it.
const VERSION: u32 = 1;

/// One object on one line, its version and type first.
pub(crate) fn line(kind: &str, body: Value) -> String {
    let mut object = Map::new();
    object.insert("titan".to_owned(), VERSION.into());
    object.insert("type".to_owned(), kind.into());
    if let Value::Object(body) = body {
        object.extend(body);
    }
    Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_object_says_what_it_is() {
        assert_eq!(super::line("x", serde_json::json!({"a": 1})), r#"{"a":1,"titan":1,"type":"x"}"#);
    }
}
