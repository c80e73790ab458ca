//! Words of strangers: names, descriptions, schemas, results. Pure; lets through what can be seen and is short enough,
//! and never what draws on a terminal or hides from a reader.

use std::error::Error;

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde_json::Value;

/// The longest description of a tool, in bytes. The rest is cut with a note.
const LONGEST_DESCRIPTION: usize = 4 << 10;

/// The longest word of an error, in bytes.
const LONGEST_COMPLAINT: usize = 2 << 10;

/// The largest schema of a tool, in bytes of JSON.
const LARGEST_SCHEMA: usize = 64 << 10;

/// How deep a schema may be nested.
const DEEPEST_SCHEMA: usize = 32;

/// The longest name of a tool, in bytes.
const LONGEST_NAME: usize = 64;

/// Whether a reader would see it. Line breaks and tabs are seen; escapes, reversed text and letters without width are
/// not.
fn visible(c: char) -> bool {
    match c {
        '\n' | '\t' => true,
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{feff}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => false,
        c => !c.is_control(),
    }
}

/// The text as a reader would see it.
pub(crate) fn seen(text: &str) -> String {
    text.chars().filter(|c| visible(*c)).collect()
}

/// The start of a text as a reader would see it.
fn cut(text: &str, bytes: usize) -> String {
    let mut kept = String::new();
    for c in text.chars().filter(|c| visible(*c)) {
        if kept.len() + c.len_utf8() > bytes {
            kept.push_str(" [cut]");
            break;
        }
        kept.push(c);
    }
    kept
}

/// A complaint in one line.
pub(crate) fn complaint(text: &str) -> String {
    let line = cut(text, LONGEST_COMPLAINT);
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What lies at the bottom of an error: who called whom on the way is nobody's business.
pub(super) fn bottom<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut deepest = error;
    while let Some(deeper) = deepest.source() {
        deepest = deeper;
    }
    deepest
}

/// What a tool is said to do.
pub(super) fn description(text: Option<&str>) -> String {
    cut(text.unwrap_or_default().trim(), LONGEST_DESCRIPTION)
}

/// The last part of the name of a tool. What names may not hold becomes `_`; whoever uses it refuses two that become
/// the same.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > LONGEST_NAME {
        return Err(format!("its name has not between 1 and {LONGEST_NAME} bytes"));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    Ok(text.chars().map(|c| if fits(c) { c } else { '_' }).collect())
}

/// The schema of a tool's arguments.
pub(super) fn schema(given: &Value) -> Result<Value, String> {
    let size = serde_json::to_vec(given).map_err(|error| error.to_string())?.len();
    if size > LARGEST_SCHEMA {
        return Err(format!("its schema has more than {LARGEST_SCHEMA} bytes"));
    }
    let mut schema = clean(given, DEEPEST_SCHEMA)?;
    let Some(object) = schema.as_object_mut() else { return Err("its schema is no object".to_owned()) };
    match object.get("type") {
        None => drop(object.insert("type".to_owned(), "object".into())),
        Some(Value::String(kind)) if kind == "object" => {}
        Some(_) => return Err("its arguments are no object".to_owned()),
    }
    Ok(schema)
}

fn clean(value: &Value, depth: usize) -> Result<Value, String> {
    let Some(deeper) = depth.checked_sub(1) else {
        return Err(format!("its schema is nested deeper than {DEEPEST_SCHEMA}"));
    };
    Ok(match value {
        Value::String(text) => Value::String(cut(text, LONGEST_DESCRIPTION)),
        Value::Array(items) => items.iter().map(|item| clean(item, deeper)).collect::<Result<_, _>>()?,
        Value::Object(fields) => {
            let mut cleaned = serde_json::Map::new();
            for (key, value) in fields {
                if !key.chars().all(visible) {
                    return Err("its schema has a name that cannot be seen".to_owned());
                }
                // A schema is read here, not fetched from elsewhere.
                let elsewhere = |text: &str| !text.starts_with('#');
                if matches!(key.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef")
                    && value.as_str().is_some_and(elsewhere)
                {
                    return Err("its schema refers to something outside of it".to_owned());
                }
                cleaned.insert(key.clone(), clean(value, deeper)?);
            }
            Value::Object(cleaned)
        }
        other => other.clone(),
    })
}

/// A result for a model: its texts, and the names of what is no text.
pub(super) fn result(result: &CallToolResult) -> String {
    let mut parts: Vec<String> = result.content.iter().map(part).collect();
    if parts.is_empty()
        && let Some(value) = &result.structured_content
    {
        parts.push(value.to_string());
    }
    seen(&parts.join("\n"))
}

fn part(block: &ContentBlock) -> String {
    let kind = |kind: &Option<String>| kind.clone().unwrap_or_else(|| "of no known type".to_owned());
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => format!("[an image, {}, left out]", image.mime_type),
        ContentBlock::Audio(audio) => format!("[a sound, {}, left out]", audio.mime_type),
        ContentBlock::ResourceLink(link) => format!("[a link to {}: {}]", link.name, link.uri),
        ContentBlock::Resource(embedded) => match &embedded.resource {
            ResourceContents::TextResourceContents { uri, text, .. } => format!("[{uri}]\n{text}"),
            ResourceContents::BlobResourceContents { uri, mime_type, .. } => {
                format!("[{uri}, {}, left out]", kind(mime_type))
            }
            _ => "[something else, left out]".to_owned(),
        },
        _ => "[something else, left out]".to_owned(),
    }
}
