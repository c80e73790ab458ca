//! Words what the TOML reader has to say for people who write blueprints: no types of a programming language,
//! always the key and the node, and what to write instead.

use std::ops::Range;
use std::sync::Arc;

use toml::de::DeValue;

use crate::finding::{Code, Finding, nearest};
use crate::source::Span;

/// One step from the file to a value in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// Keys that people know from elsewhere, and ours.
const KEY_HABITS: &[(&str, &str)] = &[
    ("after", "needs"),
    ("command", "run"),
    ("cmd", "run"),
    ("condition", "when"),
    ("cron", "schedule"),
    ("depends", "needs"),
    ("depends_on", "needs"),
    ("desc", "summary"),
    ("description", "summary"),
    ("dir", "cwd"),
    ("directory", "cwd"),
    ("environment", "env"),
    ("exec", "run"),
    ("for_each", "each"),
    ("foreach", "each"),
    ("if", "when"),
    ("includes", "include"),
    ("jobs", "nodes"),
    ("matrix", "each"),
    ("max_attempts", "attempts"),
    ("outputs", "output"),
    ("params", "inputs"),
    ("parameters", "inputs"),
    ("requires", "needs"),
    ("script", "run"),
    ("stages", "nodes"),
    ("steps", "nodes"),
    ("tasks", "nodes"),
    ("time_limit", "timeout"),
    ("title", "name"),
    ("triggers", "on"),
    ("tz", "timezone"),
    ("uses", "use"),
    ("variables", "inputs"),
    ("vars", "inputs"),
    ("version", "schema"),
    ("workdir", "cwd"),
    ("working_directory", "cwd"),
];

/// Values that people know from elsewhere, and ours.
const VALUE_HABITS: &[(&str, &str)] = &[
    ("array", "list"),
    ("bool", "boolean"),
    ("dict", "object"),
    ("double", "number"),
    ("file", "path"),
    ("float", "number"),
    ("int", "integer"),
    ("map", "object"),
    ("password", "secret"),
    ("person", "human"),
    ("str", "string"),
    ("table", "object"),
    ("text", "string"),
    ("zsh", "bash"),
];

/// Words an error of the TOML parser.
pub(super) fn syntax(file: &Arc<str>, text: &str, message: &str, range: Range<usize>) -> Finding {
    let message = message.trim().replace('\n', ", ");
    let span = Span::new(file, range.clone());
    if message.contains("duplicate key") {
        let key = text.get(range).unwrap_or_default().trim();
        return Finding::new(Code::Duplicate, span, format!("`{key}` is defined twice"))
            .label("second definition")
            .reason("a table has each key once; nothing else of this file is checked before it does")
            .fix("take one of them out, or give it another name");
    }
    if message.contains("recurs") {
        return Finding::new(Code::Syntax, span, "not valid TOML: lists and tables are nested too deeply")
            .label("too deep")
            .reason("nothing else of this file can be checked before it is valid TOML")
            .fix("nest less deeply");
    }
    let wanted = message
        .rsplit_once("expected `")
        .and_then(|(_, rest)| rest.strip_suffix('`'))
        .filter(|wanted| wanted.len() <= 3);
    let fix = if let Some(wanted) = wanted {
        &format!("write `{wanted}` here")
    } else if message.contains("quote") || message.contains("string values must be quoted") {
        "put the text in quotes"
    } else if message.contains("newline") || message.contains("new line") {
        "end the line here; a text of several lines stands between `\"\"\"`"
    } else {
        "mend the TOML here"
    };
    Finding::new(Code::Syntax, span, format!("not valid TOML: {message}"))
        .label("here")
        .reason("nothing else of this file can be checked before it is valid TOML")
        .fix(fix)
}

/// The key that an error of serde misses.
pub(super) fn missing_key(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.split('`').next()
}

/// Words an error of serde about what stands at `path`, and names the key that was meant by a wrong one.
pub(super) fn explain(
    file: &Arc<str>,
    message: &str,
    range: Range<usize>,
    path: &[Step],
    value: Option<&DeValue<'_>>,
) -> (Finding, Option<String>) {
    let span = Span::new(file, range);
    // What is known stands behind the last `expected`; what is wrong stands before it and may hold anything.
    let (before, expected) = message.rsplit_once("expected ").unwrap_or((message, ""));
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    if before.starts_with("unknown field") {
        return unknown_key(span, path, &known);
    }
    let finding = if let Some(key) = missing_key(message) {
        missing(span, key, path)
    } else if before.starts_with("unknown variant") {
        unknown_word(span, path, value, &known)
    } else if before.starts_with("invalid type") && !expected.is_empty() {
        wrong_type(span, path, value, expected)
    } else if before.starts_with("invalid value") && !expected.is_empty() {
        out_of_range(span, path, value, expected)
    } else if message.starts_with("wanted string or table") {
        wrong_type(span, path, value, "a word in quotes")
    } else {
        own_words(span, path, message)
    };
    (finding, None)
}

/// Words of our own, from where the value was read.
fn own_words(span: Span, path: &[Step], message: &str) -> Finding {
    let fix = if message.contains("366 days") {
        "write at most \"8784h\""
    } else if message.contains("duration") {
        "write a number with a unit, such as \"90s\", \"5m\" or \"1h30m\""
    } else if message.contains("exit code") {
        "write \"success\", \"failure\", \"any\", a code such as 3, or a list of codes"
    } else {
        "write a value that fits"
    };
    Finding::new(Code::BadValue, span, format!("{} does not fit: {message}", subject(path)))
        .label("does not fit")
        .fix(fix)
}

fn unknown_key(span: Span, path: &[Step], known: &[&str]) -> (Finding, Option<String>) {
    let (wrong, parent) = match path.split_last() {
        Some((Step::Key(key), parent)) => (key.as_str(), parent),
        _ => ("", path),
    };
    let finding = Finding::new(Code::UnknownKey, span, format!("unknown key `{wrong}` in {}", table(parent)))
        .label("not a key here");
    match habit(wrong, known, KEY_HABITS).or_else(|| nearest(wrong, known.iter().copied())) {
        Some(name) => (finding.fix(format!("did you mean `{name}`?")), Some(name.to_owned())),
        None => (finding.fix(format!("take it out; the keys here are {}", list(known))), None),
    }
}

fn missing(span: Span, key: &str, path: &[Step]) -> Finding {
    let example = match key {
        "url" => "url = \"https://…\"",
        "attempts" => "attempts = 3",
        "from" => "from = \"node\"",
        "type" => "type = \"string\"",
        "file" => "file = \"path\"",
        _ => "",
    };
    let example = if example.is_empty() { format!("{key} = …") } else { example.to_owned() };
    Finding::new(Code::MissingKey, span, format!("`{key}` is missing in {}", table(path)))
        .label(format!("needs `{key}`"))
        .fix(format!("add `{example}`"))
}

fn unknown_word(span: Span, path: &[Step], value: Option<&DeValue<'_>>, known: &[&str]) -> Finding {
    let (wrong, text) = match value {
        Some(DeValue::String(text)) => (text.as_ref(), true),
        // An enum may also be written as a table with one key, as far as the reader is concerned.
        _ => ("", false),
    };
    let message = if text {
        format!("{} cannot be \"{wrong}\"", subject(path))
    } else {
        format!("{} takes a text, not {}", subject(path), found(value))
    };
    let finding = Finding::new(Code::BadValue, span, message).label("unknown value");
    let more = match path.last() {
        Some(Step::Key(key)) if key == "output_from" => ", or a file: `{ file = \"path\" }`",
        Some(Step::Key(key)) if key == "expect" => ", or exit codes such as 3 or [0, 3]",
        _ => "",
    };
    let others = || format!("write {}{more}", choices(known));
    match habit(wrong, known, VALUE_HABITS).or_else(|| nearest(wrong, known.iter().copied())) {
        Some(name) if known.len() > 1 => {
            finding.fix(format!("did you mean \"{name}\"? Otherwise {}", others()))
        }
        _ => finding.fix(others()),
    }
}

fn wrong_type(span: Span, path: &[Step], value: Option<&DeValue<'_>>, expected: &str) -> Finding {
    let takes = wording(expected);
    if let (Some(DeValue::Integer(_)), "a whole number") = (value, takes) {
        return out_of_range(span, path, value, expected);
    }
    let finding =
        Finding::new(Code::BadValue, span, format!("{} takes {takes}, not {}", subject(path), found(value)))
            .label(format!("not {takes}"));
    let plain = match value {
        Some(DeValue::Integer(number)) => Some(number.as_str().to_owned()),
        Some(DeValue::Float(number)) => Some(number.as_str().to_owned()),
        Some(DeValue::Boolean(value)) => Some(value.to_string()),
        Some(DeValue::Datetime(time)) => Some(time.to_string()),
        _ => None,
    };
    match (value, plain) {
        (Some(DeValue::Integer(number)), _) if takes.starts_with("a duration") => {
            finding.fix(format!("add the unit: \"{}s\" is in seconds", number.as_str()))
        }
        (_, Some(plain)) if takes == "a text" => finding.fix(format!("put it in quotes: \"{plain}\"")),
        (Some(DeValue::String(text)), _) if takes == "a whole number" && text.parse::<i64>().is_ok() => {
            finding.fix(format!("write it without quotes: {text}"))
        }
        (Some(DeValue::String(text)), _) if takes == "a number" && text.parse::<f64>().is_ok() => {
            finding.fix(format!("write it without quotes: {text}"))
        }
        (Some(DeValue::String(text)), _) if takes == "true or false" && (text == "true" || text == "false") => {
            finding.fix(format!("write it without quotes: {text}"))
        }
        (Some(DeValue::String(text)), _) if takes == "a list" => finding.fix(format!("put it in brackets: [{text:?}]")),
        (Some(DeValue::Float(_)), _) if takes == "a whole number" => finding.fix("write it without a fraction"),
        _ if takes.starts_with("an expression") => {
            finding.fix("write an expression as a text, such as \"inputs.test\"; a plain text needs quotes of its own: \"'text'\"")
        }
        _ if takes == "a table" => match path {
            [Step::Key(section)] if section == "nodes" => finding.fix("write each node as a table of its own: `[nodes.test]`"),
            [Step::Key(section), Step::Key(name)] if section == "nodes" => {
                finding.fix(format!("say what the node does: `{name} = {{ run = \"…\" }}`"))
            }
            [Step::Key(section), Step::Key(name)] if section == "inputs" => {
                finding.fix(format!("say what is taken: `{name} = {{ type = \"string\" }}`"))
            }
            _ => finding.fix("write a table: `{ key = value }`"),
        },
        _ => finding.fix(format!("write {takes}")),
    }
}

fn out_of_range(span: Span, path: &[Step], value: Option<&DeValue<'_>>, expected: &str) -> Finding {
    let number = match value {
        Some(DeValue::Integer(number)) => number.as_str(),
        Some(DeValue::Float(number)) => number.as_str(),
        _ => "this",
    };
    let range = match expected {
        "u16" | "u32" | "u64" if number.starts_with('-') => "a whole number of 0 or more",
        "u16" => "a whole number up to 65535",
        "u32" => "a whole number up to 4294967295",
        "u64" | "i64" => "a whole number up to 9223372036854775807",
        other => wording(other),
    };
    Finding::new(Code::BadValue, span, format!("{} takes {range}, not {number}", subject(path)))
        .label("out of range")
        .fix(format!("write {range}"))
}

fn habit<'a>(wrong: &str, known: &[&'a str], habits: &[(&str, &str)]) -> Option<&'a str> {
    let wrong = wrong.to_ascii_lowercase().replace('-', "_");
    let mut meant = habits.iter().filter(|(habit, _)| *habit == wrong).map(|(_, ours)| *ours);
    meant.find_map(|ours| known.iter().copied().find(|name| *name == ours))
}

/// What serde expects, in words.
fn wording(expected: &str) -> &str {
    match expected {
        "a string" | "str" | "string" => "a text",
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" | "an integer" => {
            "a whole number"
        }
        "f32" | "f64" | "a number" => "a number",
        "a boolean" | "bool" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        "an expression as a text, a number or a boolean" => {
            "an expression as a text, a number, true or false"
        }
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

fn found(value: Option<&DeValue<'_>>) -> &'static str {
    match value {
        Some(DeValue::String(_)) => "a text",
        Some(DeValue::Integer(_)) => "a whole number",
        Some(DeValue::Float(_)) => "a number with a fraction",
        Some(DeValue::Boolean(_)) => "true or false",
        Some(DeValue::Datetime(_)) => "a date or time",
        Some(DeValue::Array(_)) => "a list",
        Some(DeValue::Table(_)) => "a table",
        None => "this",
    }
}

/// A value as the subject of a sentence.
fn subject(path: &[Step]) -> String {
    match path.split_last() {
        None => "a blueprint".to_owned(),
        Some((Step::Index(_), parent)) => format!("an entry of {}", table(parent)),
        Some((Step::Key(key), [])) => format!("`{key}`"),
        Some((Step::Key(key), [Step::Key(section)])) if section == "nodes" => format!("the node `{key}`"),
        Some((Step::Key(key), [Step::Key(section)])) if section == "inputs" => format!("the input `{key}`"),
        Some((Step::Key(key), parent)) => format!("`{key}` in {}", table(parent)),
    }
}

/// A table as a place.
fn table(path: &[Step]) -> String {
    match path {
        [] => "the blueprint".to_owned(),
        [Step::Key(section), Step::Key(name), rest @ ..] if section == "nodes" => {
            within(rest, &format!("the node `{name}`"))
        }
        [Step::Key(section), Step::Key(name), rest @ ..] if section == "inputs" => {
            within(rest, &format!("the input `{name}`"))
        }
        [Step::Key(section), Step::Index(_), rest @ ..] if section == "on" || section == "prove" => {
            within(rest, &format!("`[[{section}]]`"))
        }
        whole => format!("`{}`", spell(whole)),
    }
}

fn within(rest: &[Step], whole: &str) -> String {
    if rest.is_empty() { whole.to_owned() } else { format!("`{}` of {whole}", spell(rest)) }
}

fn spell(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Step::Index(index) => {
                text.push('[');
                text.push_str(&(index + 1).to_string());
                text.push(']');
            }
        }
    }
    text
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// `"a", "b" or "c"`.
fn choices(names: &[&str]) -> String {
    match names {
        [] => "another value".to_owned(),
        [one] => format!("\"{one}\""),
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(|name| format!("\"{name}\"")).collect();
            format!("{} or \"{last}\"", most.join(", "))
        }
    }
}
