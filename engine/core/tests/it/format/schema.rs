//! The JSON Schema of the format: valid itself, and of one mind with the reader.

use blueprint_core::check::compile;
use blueprint_core::finding::Code;
use blueprint_core::format::json_schema;
use serde_json::Value;

use super::corpus::{Case, cases, folder};

/// Faults of types and keys that a schema cannot see, and why.
const UNSEEN: &[(&str, &str)] = &[
    ("agent_without_task", "either of two keys would do"),
    ("forge_node_without_effect", "any of six keys would do"),
    ("invariant_that_claims_nothing", "two keys out of four"),
    ("duration_without_unit", "the schema only asks for a digit"),
    ("duration_of_years", "the schema only asks for a digit"),
    ("status_code_out_of_range", "the range is a matter of the check"),
    ("servers_of_tools_that_cannot_be_reached", "either of two keys would do"),
    ("used_blueprint_that_is_wrong_itself", "another file"),
];

/// The codes of faults that a schema should see.
const SEEN: &[Code] = &[Code::UnknownKey, Code::MissingKey, Code::BadValue];

fn as_json(case: &Case) -> Option<Value> {
    let table: toml::Table = case.text.trim_start_matches('\u{feff}').parse().ok()?;
    serde_json::to_value(table).ok()
}

#[test]
fn the_schema_is_as_recorded() {
    let schema = serde_json::to_string_pretty(&json_schema()).unwrap();
    insta::with_settings!({ snapshot_path => folder(""), prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("schema", schema);
    });
}

#[test]
fn the_schema_is_a_schema() {
    let schema = json_schema();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert!(jsonschema::draft7::meta::is_valid(&schema));
}

#[test]
fn the_schema_accepts_every_right_blueprint() {
    let schema = jsonschema::draft7::new(&json_schema()).unwrap();
    for case in cases("right") {
        let value = as_json(&case).unwrap();
        let errors: Vec<String> =
            schema.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", case.name);
    }
}

#[test]
fn the_schema_refuses_what_it_can_see() {
    let schema = jsonschema::draft7::new(&json_schema()).unwrap();
    let mut problems = Vec::new();
    for case in cases("wrong") {
        let Some(value) = as_json(&case) else { continue };
        let findings = compile(&case.sources()).findings;
        let visible = findings.iter().any(|finding| SEEN.contains(&finding.code));
        let unseen = UNSEEN.iter().any(|(name, _)| *name == case.name);
        let refused = !schema.is_valid(&value);
        if visible && !unseen && !refused {
            problems.push(format!("{} is accepted", case.name));
        }
        if unseen && refused {
            problems.push(format!("{} is refused by now", case.name));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_key_is_described_and_no_other_is_allowed() {
    let mut problems = Vec::new();
    look(&json_schema(), "", &mut problems);
    assert!(problems.is_empty(), "{problems:#?}");
}

fn look(schema: &Value, path: &str, problems: &mut Vec<String>) {
    match schema {
        Value::Object(table) => {
            if let Some(properties) = table.get("properties").and_then(Value::as_object) {
                if table.get("additionalProperties") != Some(&Value::Bool(false)) {
                    problems.push(format!("{path} is open"));
                }
                for (key, property) in properties {
                    if property.get("description").is_none() {
                        problems.push(format!("{path}/{key} is not described"));
                    }
                }
            }
            if table.get("type").is_some_and(|ty| ty.to_string().contains("null")) {
                problems.push(format!("{path} may be null"));
            }
            for (key, inner) in table {
                look(inner, &format!("{path}/{key}"), problems);
            }
        }
        Value::Array(items) => items.iter().for_each(|inner| look(inner, path, problems)),
        _ => {}
    }
}
