//! Sets a key of a JSON text, which may hold comments and trailing commas. They and the layout stay.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstContainerNode, CstInputValue, CstLeafNode, CstNode, CstObject, CstRootNode};
use serde_json::{Map, Value};

use super::set::{SetError, with_value};
use super::text::with_endings_of;

pub(super) fn set(text: &str, key: &[String], value: &Value) -> Result<String, SetError> {
    let options = options();
    let before = read(text, &options)?;
    let unsure = || SetError::Unsure { at: key.to_vec() };
    let Some((last, folders)) = key.split_last() else { return Err(unsure()) };
    let root = CstRootNode::parse(text, &options).map_err(|error| unreadable(&error))?;
    let mut at = root.value().ok_or_else(unsure)?;
    let mut missing = None;
    for (depth, part) in folders.iter().enumerate() {
        let Some(property) = object(&at, &key[..depth])?.get(part) else {
            missing = Some(depth);
            break;
        };
        at = property.value().ok_or_else(unsure)?;
    }
    let expected = with_value(before.clone(), key, value.clone());
    let depth = missing.unwrap_or(folders.len());
    let place = object(&at, &key[..depth])?;
    let changed = match place.get(last) {
        Some(_) if missing.is_none() && expected.as_ref() == Some(&before) => return Ok(text.to_owned()),
        Some(property) if missing.is_none() => {
            property.set_value(input(value));
            root.to_string()
        }
        _ => {
            let nested = key[depth + 1..]
                .iter()
                .rev()
                .fold(value.clone(), |value, part| Value::Object(Map::from_iter([(part.clone(), value)])));
            if let Some(end) = end_of_line_object(text, &key[..depth], &options) {
                let name = Value::from(key[depth].as_str());
                format!("{}, {name}: {nested}{}", &text[..end], &text[end..])
            } else {
                place.append(&key[depth], input(&nested));
                root.to_string()
            }
        }
    };
    let changed = with_endings_of(text, &changed);
    let after = read(&changed, &options).ok();
    if after.is_some() && after == expected { Ok(changed) } else { Err(unsure()) }
}

/// JSON with comments and trailing commas, as tools allow them in their settings, and nothing else.
fn options() -> ParseOptions {
    ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

fn unreadable(error: &jsonc_parser::errors::ParseError) -> SetError {
    SetError::Unreadable { format: "JSON", message: error.to_string() }
}

fn read(text: &str, options: &ParseOptions) -> Result<Value, SetError> {
    let parsed = jsonc_parser::parse_to_ast(text, &jsonc_parser::CollectOptions::default(), options)
        .map_err(|error| unreadable(&error))?;
    match parsed.value {
        Some(_) => jsonc_parser::parse_to_serde_value(text, options).map_err(|error| unreadable(&error)),
        None => Err(SetError::Unreadable { format: "JSON", message: "it is empty".to_owned() }),
    }
}

fn object(node: &CstNode, at: &[String]) -> Result<CstObject, SetError> {
    let is = match node {
        CstNode::Container(CstContainerNode::Object(object)) => return Ok(object.clone()),
        CstNode::Container(_) => "a list",
        CstNode::Leaf(CstLeafNode::StringLit(_)) => "a text",
        CstNode::Leaf(CstLeafNode::NumberLit(_)) => "a number",
        CstNode::Leaf(CstLeafNode::BooleanLit(_)) => "true or false",
        CstNode::Leaf(_) => "null",
    };
    Err(SetError::NoKeys { at: at.to_vec(), is })
}

/// Where the last property of the object at `key` ends, if the object is on one line and should stay so.
fn end_of_line_object(text: &str, key: &[String], options: &ParseOptions) -> Option<usize> {
    let parsed = jsonc_parser::parse_to_ast(text, &jsonc_parser::CollectOptions::default(), options).ok()?;
    let mut at = parsed.value.as_ref()?.as_object()?;
    for part in key {
        at = at.properties.iter().find(|property| property.name.as_str() == part)?.value.as_object()?;
    }
    let on_a_line = !text.get(at.range.start..at.range.end)?.contains('\n');
    at.properties.last().filter(|_| on_a_line).map(|property| property.range.end)
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(values) => CstInputValue::Array(values.iter().map(input).collect()),
        Value::Object(values) => {
            CstInputValue::Object(values.iter().map(|(name, value)| (name.clone(), input(value))).collect())
        }
    }
}
