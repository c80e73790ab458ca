//! Sets a key of a TOML text. A value that is there is replaced in place; only a new key goes through the
//! document model, which keeps comments and layout.

use serde_json::{Map, Value as Json, json};
use toml_edit::{Array, Document, DocumentMut, InlineTable, Item, Table, Value};

use super::set::{SetError, with_value};
use super::text::with_endings_of;

pub(super) fn set(text: &str, key: &[String], value: &Json) -> Result<String, SetError> {
    let document = Document::parse(text).map_err(|error| unreadable(&error))?;
    let new = value_of(value)?;
    let before = meaning(document.as_item());
    let expected = with_value(before.clone(), key, meaning(&Item::Value(new.clone())));
    let changed = match find(document.as_item(), key)? {
        Some(_) if expected.as_ref() == Some(&before) => return Ok(text.to_owned()),
        Some(old) => {
            let span = old.span().ok_or_else(|| SetError::Unsure { at: key.to_vec() })?;
            format!("{}{new}{}", &text[..span.start], &text[span.end..])
        }
        None => {
            let mut document = document.into_mut();
            insert(document.as_table_mut(), key, new)?;
            with_endings_of(text, &document.to_string())
        }
    };
    let after = changed.parse::<DocumentMut>().ok().map(|document| meaning(document.as_item()));
    if after.is_some() && after == expected {
        Ok(changed)
    } else {
        Err(SetError::Unsure { at: key.to_vec() })
    }
}

fn unreadable(error: &toml_edit::TomlError) -> SetError {
    SetError::Unreadable { format: "TOML", message: error.message().trim().replace('\n', ", ") }
}

/// The value at `key`, if it is there.
fn find<'a>(root: &'a Item, key: &[String]) -> Result<Option<&'a Value>, SetError> {
    let mut at = root;
    for (depth, part) in key.iter().enumerate() {
        let Some(table) = at.as_table_like() else {
            return Err(SetError::NoKeys { at: key[..depth].to_vec(), is: kind(at) });
        };
        match table.get(part) {
            Some(item) if !item.is_none() => at = item,
            _ => return Ok(None),
        }
    }
    let is_dotted = |value: &Value| value.as_inline_table().is_some_and(InlineTable::is_dotted);
    match at {
        Item::Value(value) if !is_dotted(value) => Ok(Some(value)),
        Item::Table(_) | Item::Value(_) => Err(SetError::IsATable { at: key.to_vec() }),
        _ => Err(SetError::Unsupported {
            at: key.to_vec(),
            why: "is a list of tables; set the keys in one of them by `replace`",
        }),
    }
}

fn insert(root: &mut Table, key: &[String], value: Value) -> Result<(), SetError> {
    let Some((last, folders)) = key.split_last() else { return Err(SetError::Unsure { at: Vec::new() }) };
    let unsure = || SetError::Unsure { at: key.to_vec() };
    let mut table = root;
    for (depth, part) in folders.iter().enumerate() {
        if !table.contains_key(part) {
            let mut new = Table::new();
            // A dotted table has no header of its own, so what is put in it has none either. And a table that
            // only holds the next one needs no header.
            new.set_dotted(table.is_dotted());
            new.set_implicit(depth + 1 < folders.len());
            table.insert(part, Item::Table(new));
        }
        match table.get_mut(part) {
            Some(Item::Table(next)) => table = next,
            Some(Item::Value(Value::InlineTable(next))) => {
                return insert_inline(next, &folders[depth + 1..], last, value).ok_or_else(unsure);
            }
            _ => return Err(unsure()),
        }
    }
    table.insert(last, Item::Value(value));
    Ok(())
}

fn insert_inline(mut table: &mut InlineTable, folders: &[String], last: &str, value: Value) -> Option<()> {
    for part in folders {
        let next = table.entry(part.as_str()).or_insert_with(|| Value::InlineTable(InlineTable::new()));
        table = next.as_inline_table_mut()?;
    }
    table.insert(last, value);
    Some(())
}

fn value_of(value: &Json) -> Result<Value, SetError> {
    let no_value = |what| SetError::NoSuchValue { format: "TOML", what };
    Ok(match value {
        Json::Null => return Err(no_value("`none`")),
        Json::Bool(value) => (*value).into(),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) if !value.is_u64() => number.into(),
            _ => return Err(no_value("so large a number")),
        },
        // On one line: line ends of the file's own kind would change what a text of several lines says.
        Json::String(text) if text.contains(['\n', '\r']) => {
            let escaped = value.to_string().replace('\u{7f}', "\\u007f");
            escaped.parse().map_err(|_| no_value("this text"))?
        }
        Json::String(text) => text.as_str().into(),
        Json::Array(values) => {
            Value::Array(values.iter().map(value_of).collect::<Result<Array, SetError>>()?)
        }
        Json::Object(values) => {
            let mut table = InlineTable::new();
            for (name, value) in values {
                table.insert(name.as_str(), value_of(value)?);
            }
            Value::InlineTable(table)
        }
    })
}

/// What an item says, without how it is written.
fn meaning(item: &Item) -> Json {
    match item {
        Item::None => Json::Null,
        Item::Value(value) => value_meaning(value),
        Item::Table(table) => Json::Object(
            table.iter().map(|(name, item)| (name.to_owned(), meaning(item))).collect::<Map<_, _>>(),
        ),
        Item::ArrayOfTables(tables) => {
            let one = |table: &Table| meaning(&Item::Table(table.clone()));
            Json::Array(tables.iter().map(one).collect())
        }
    }
}

fn value_meaning(value: &Value) -> Json {
    match value {
        Value::String(text) => Json::from(text.value().as_str()),
        Value::Integer(number) => Json::from(*number.value()),
        // As text: there are numbers JSON does not have, and one of them is not equal to itself.
        Value::Float(number) => json!({ "\0float": number.value().to_string() }),
        Value::Boolean(value) => Json::from(*value.value()),
        Value::Datetime(value) => json!({ "\0time": value.value().to_string() }),
        Value::Array(values) => Json::Array(values.iter().map(value_meaning).collect()),
        Value::InlineTable(table) => {
            let one = |(name, value): (&str, &Value)| (name.to_owned(), value_meaning(value));
            Json::Object(table.iter().map(one).collect::<Map<_, _>>())
        }
    }
}

fn kind(item: &Item) -> &'static str {
    match item {
        Item::ArrayOfTables(_) | Item::Value(Value::Array(_)) => "a list",
        Item::Value(Value::String(_)) => "a text",
        Item::Value(Value::Integer(_) | Value::Float(_)) => "a number",
        Item::Value(Value::Boolean(_)) => "true or false",
        Item::Value(Value::Datetime(_)) => "a time",
        Item::None | Item::Table(_) | Item::Value(Value::InlineTable(_)) => "a table",
    }
}
