//! The JSON Schema of the format: valid itself, and of one mind with the reader.

use blueprint_core::format::json_schema;
use serde_json::Value;

#[test]
fn the_schema_is_as_recorded() {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true, snapshot_path => super::corpus::folder("") }, {
        insta::assert_snapshot!("schema", serde_json::to_string_pretty(&json_schema()).unwrap());
    });
}
