//! The JSON Schema of the format, for editors. Generated from the very types a file is read into, then rid of
//! what TOML cannot say.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::{Value, json};

use super::document::Document;

/// The JSON Schema (draft 7) of a blueprint file.
pub fn json_schema() -> Value {
    let generator = SchemaSettings::draft07().with_transform(RecursiveTransform(plain)).into_generator();
    let mut schema = generator.into_root_schema_for::<Document>().to_value();
    say_more(&mut schema);
    schema
}

/// TOML has no null: what may be left out is left out. Rust's names for numbers mean nothing to an editor.
fn plain(schema: &mut Schema) {
    let Some(table) = schema.as_object_mut() else { return };
    let is_null = |other: &Value| other.get("type").is_some_and(|ty| ty == "null");
    if let Some(Value::Array(types)) = table.get_mut("type") {
        types.retain(|ty| ty != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            table.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = table.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if table.get("default").is_some_and(Value::is_null) {
        table.remove("default");
    }
    table.remove("format");
    let Some(Value::Array(mut others)) = table.remove("anyOf") else { return };
    others.retain(|other| !is_null(other));
    match others.pop() {
        Some(Value::Object(only)) if others.is_empty() => {
            for (key, value) in only {
                table.entry(key).or_insert(value);
            }
        }
        last => {
            others.extend(last);
            table.insert("anyOf".to_owned(), Value::Array(others));
        }
    }
}

/// What the types alone do not say.
fn say_more(schema: &mut Value) {
    let mut set = |place: &str, key: &str, value: Value| {
        if let Some(table) = schema.pointer_mut(place).and_then(Value::as_object_mut) {
            table.insert(key.to_owned(), value);
        }
    };
    let name = json!({ "pattern": "^[a-z][a-z0-9_]*$", "maxLength": 64 });
    set("", "required", json!(["schema", "name"]));
    set("/properties/name", "pattern", json!("^[a-z][a-z0-9_-]*$"));
    set("/properties/name", "maxLength", json!(64));
    for place in [
        "/properties/nodes",
        "/properties/inputs",
        "/properties/returns",
        "/definitions/NodeTable/properties/output",
    ] {
        set(place, "propertyNames", name.clone());
    }
    for effect in ["open_pull_request", "comment", "label", "status", "merge", "release"] {
        set(
            &format!("/definitions/ForgeTable/properties/{effect}/additionalProperties"),
            "description",
            json!(
                "a text, which may hold `{{ }}`, or the name of a file beside the blueprint that ends in .md or .txt; a number or a boolean"
            ),
        );
    }
    // It is read, so that the check can say why it is refused; nobody should be offered it.
    if let Some(Value::Array(words)) = schema.pointer_mut("/definitions/OnTimeout/oneOf") {
        words.retain(|word| word.get("const").is_none_or(|word| word != "approve"));
    }
}
