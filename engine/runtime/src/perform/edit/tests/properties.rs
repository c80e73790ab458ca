//! Whatever is set: the result says the new value, every other key what it said, and every comment is there.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::super::set::{Format, set, with_value};

const COMMENT: &str = "stays";

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-d]",
        "[a-d]{1,3}-[0-9]",
        Just("on".to_owned()),
        Just("a b".to_owned()),
        Just("é.x".to_owned())
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-1000_i64..1000).prop_map(Value::from),
        (-8000_i32..8000).prop_map(|eighths| Value::from(f64::from(eighths) / 8.0 + 0.125)),
        "[ -~]{0,12}".prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
        prop_oneof![Just("yes"), Just("1.0"), Just("null"), Just("a\nb\n"), Just("# x"), Just("a: b")]
            .prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => scalar(),
        1 => prop::collection::vec(scalar(), 0..3).prop_map(Value::from),
        1 => prop::collection::btree_map(name(), scalar(), 0..3).prop_map(|map| Value::Object(Map::from_iter(map))),
    ]
}

/// An object of objects.
fn document() -> impl Strategy<Value = Value> {
    let object = |inner: BoxedStrategy<Value>| {
        prop::collection::btree_map(name(), inner, 1..4).prop_map(|map| Value::Object(Map::from_iter(map)))
    };
    object(prop_oneof![value(), object(value().boxed())].boxed())
}

fn key() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(name(), 1..4)
}

/// How lines end.
fn ending() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("\n"), Just("\r\n")]
}

fn as_toml(document: &Value) -> String {
    let mut out = format!("# {COMMENT} 0\n");
    let quoted = |name: &str| Value::from(name).to_string();
    let mut tables = Vec::new();
    for (name, value) in document.as_object().unwrap() {
        match value {
            Value::Object(table) => tables.push((name, table)),
            value => out.extend([format!("{} = {} # {COMMENT} v\n", quoted(name), toml_value(value))]),
        }
    }
    for (name, table) in tables {
        out.extend([format!("\n# {COMMENT} t\n[{}]\n", quoted(name))]);
        for (name, value) in table {
            out.extend([format!("  {}  =  {} # {COMMENT} v\n", quoted(name), toml_value(value))]);
        }
    }
    out
}

fn toml_value(value: &Value) -> String {
    match value {
        Value::Object(table) => {
            let one = |(name, value): (&String, &Value)| {
                format!("{} = {}", Value::from(name.as_str()), toml_value(value))
            };
            format!("{{ {} }}", table.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(toml_value).collect::<Vec<_>>().join(", ")),
        other => other.to_string().replace('\u{7f}', "\\u007f"),
    }
}

fn as_json(document: &Value) -> String {
    let text = serde_json::to_string_pretty(document).unwrap();
    let lines = text.lines().map(|line| format!("{line} // {COMMENT}\n"));
    format!("// {COMMENT}\n{}", lines.collect::<String>())
}

fn as_yaml(document: &Value) -> String {
    let mut out = format!("# {COMMENT} 0\n");
    for (name, value) in document.as_object().unwrap() {
        let name = Value::from(name.as_str());
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.extend([format!("{name}: # {COMMENT} m\n")]);
                for (name, value) in inner {
                    out.extend([format!(
                        "    # {COMMENT} i\n    {}: {value} # {COMMENT} v\n",
                        Value::from(name.as_str())
                    )]);
                }
            }
            value => out.extend([format!("{name}: {value} # {COMMENT} v\n")]),
        }
    }
    out
}

fn read_toml(text: &str) -> Value {
    fn item(value: &toml_edit::Value) -> Value {
        match value {
            toml_edit::Value::String(text) => Value::from(text.value().as_str()),
            toml_edit::Value::Integer(number) => Value::from(*number.value()),
            toml_edit::Value::Float(number) => Value::from(*number.value()),
            toml_edit::Value::Boolean(value) => Value::from(*value.value()),
            toml_edit::Value::Datetime(_) => unreachable!("none is written"),
            toml_edit::Value::Array(values) => values.iter().map(item).collect(),
            toml_edit::Value::InlineTable(table) => {
                table.iter().map(|(name, value)| (name.to_owned(), item(value))).collect()
            }
        }
    }
    fn table(from: &dyn toml_edit::TableLike) -> Value {
        let one = |(name, value): (&str, &toml_edit::Item)| {
            (name.to_owned(), value.as_value().map_or_else(|| table(value.as_table_like().unwrap()), item))
        };
        from.iter().map(one).collect()
    }
    table(text.parse::<toml_edit::DocumentMut>().unwrap().as_table())
}

fn read_json(text: &str) -> Value {
    let bare: Vec<&str> =
        text.lines().map(|line| line.split(&format!("// {COMMENT}")).next().unwrap()).collect();
    serde_json::from_str(&bare.join("\n")).unwrap()
}

fn check(
    format: Format,
    text: &str,
    document: &Value,
    key: &[String],
    value: &Value,
    read: fn(&str) -> Value,
) {
    let comments = |text: &str| text.matches(COMMENT).count();
    match set(format, text, key, value) {
        Ok(changed) => {
            let expected =
                with_value(document.clone(), key, value.clone()).expect("something was in the way");
            assert_eq!(read(&changed), expected, "{text}\n{key:?} = {value}\n{changed}");
            let gone = match replaced(document, key) {
                // What is commented inside of a collection goes with it.
                Some(old) if old.is_object() || old.is_array() => usize::MAX,
                _ => 0,
            };
            assert!(comments(&changed).saturating_add(gone) >= comments(text), "{text}\n{key:?}\n{changed}");
            assert_eq!(text.contains("\r\n"), changed.contains("\r\n"));
            assert!(
                !text.contains("\r\n") || changed.matches('\n').count() == changed.matches("\r\n").count(),
                "{changed:?}"
            );
        }
        Err(error) => {
            let known = ["has no keys", "does not exist", "is a table"]
                .iter()
                .any(|known| error.to_string().contains(known));
            assert!(known, "{text}\n{key:?} = {value}\n{error}");
        }
    }
}

fn replaced<'a>(document: &'a Value, key: &[String]) -> Option<&'a Value> {
    key.iter().try_fold(document, |at, part| at.get(part))
}

/// A key that is there, or one that may be.
fn aimed(document: &Value, random: Vec<String>, picks: &[prop::sample::Index]) -> Vec<String> {
    let mut key = Vec::new();
    let mut at = document;
    for pick in picks {
        let Some(object) = at.as_object().filter(|object| !object.is_empty()) else { break };
        let (name, value) = object.iter().nth(pick.index(object.len())).unwrap();
        key.push(name.clone());
        at = value;
    }
    if key.is_empty() { random } else { key }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn setting_a_key_changes_that_key_alone(
        document in document(),
        random in key(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        value in value(),
        ending in ending(),
    ) {
        let key = aimed(&document, random, &picks);
        let end = |text: String| text.replace('\n', ending);
        check(Format::Toml, &end(as_toml(&document)), &document, &key, &value, read_toml);
        check(Format::Json, &end(as_json(&document)), &document, &key, &value, read_json);
        check(Format::Yaml, &end(as_yaml(&document)), &document, &key, &value, |text| yaml_serde::from_str(text).unwrap());
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]{}:,#'\"|>&*!a \n\r=.-]{0,40}", key in key(), value in value()) {
        for format in [Format::Toml, Format::Json, Format::Yaml] {
            let _ = set(format, &text, &key, &value);
        }
    }
}
