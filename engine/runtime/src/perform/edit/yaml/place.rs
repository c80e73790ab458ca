//! Where a key of a YAML text stands, or would stand, and what has to be put there. The result is read again:
//! it must say what it said before, but for the key.

use serde_json::{Map, Value};

use super::super::set::SetError;
use super::super::text::ending_of;
use super::scalar::{is_plain, key as key_text, key_node, node, written, written_like};
use super::tree::{Kind, Node, read};

pub(in super::super) fn set(text: &str, key: &[String], value: &Value) -> Result<String, SetError> {
    let unsure = || SetError::Unsure { at: key.to_vec() };
    let (Some((last, folders)), Some(root)) = (key.split_last(), read(text)?) else {
        return into_nothing(text, key, value);
    };
    let mut at = &root;
    for (depth, part) in folders.iter().enumerate() {
        at = match child(at, part, &key[..depth])? {
            Some((_, value)) => value,
            None => return Err(SetError::NoParent { at: key[..=depth].to_vec() }),
        };
    }
    let mut expected = root.clone();
    let changed = match child(at, last, folders)? {
        Some((_, old)) if says(old, value) => return Ok(text.to_owned()),
        Some((_, old)) if old.is_marked() => {
            let why = "has an anchor or a tag, which only people should change";
            return Err(SetError::Unsupported { at: key.to_vec(), why });
        }
        Some((name, old)) => {
            let changed = replaced(text, name, old, value).ok_or_else(unsure)?;
            *at_mut(&mut expected, key).ok_or_else(unsure)? = node(value);
            changed
        }
        None => {
            let holder = at_mut(&mut expected, folders).ok_or_else(unsure)?;
            if at.is_empty() {
                let (name, _) = parent_pair(&root, folders).ok_or_else(unsure)?;
                let object = Value::Object(Map::from_iter([(last.clone(), value.clone())]));
                *holder = node(&object);
                after_colon(text, name, &written(&object)).ok_or_else(unsure)?
            } else {
                let Kind::Mapping(pairs) = &mut holder.kind else { return Err(unsure()) };
                pairs.push((key_node(last), node(value)));
                added(text, at, last, value).ok_or_else(unsure)?
            }
        }
    };
    checked(changed, &expected).ok_or_else(unsure)
}

/// Sets a key where there is nothing yet, or only comments.
fn into_nothing(text: &str, key: &[String], value: &Value) -> Result<String, SetError> {
    let unsure = || SetError::Unsure { at: key.to_vec() };
    let only = match key {
        [only] => only,
        [first, ..] => return Err(SetError::NoParent { at: vec![first.clone()] }),
        [] => return Err(unsure()),
    };
    let ending = ending_of(text);
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { ending };
    let changed = format!("{text}{gap}{}: {}{ending}", key_text(only), written(value));
    let expected = node(&Value::Object(Map::from_iter([(only.clone(), value.clone())])));
    checked(changed, &expected).ok_or_else(unsure)
}

fn checked(changed: String, expected: &Node) -> Option<String> {
    let after = read(&changed).ok()??;
    after.says_as(expected).then_some(changed)
}

/// The pair of `part` in a mapping; an empty node is a mapping without pairs.
fn child<'a>(node: &'a Node, part: &str, at: &[String]) -> Result<Option<(&'a Node, &'a Node)>, SetError> {
    let is = match &node.kind {
        Kind::Mapping(pairs) => {
            let mut found = pairs.iter().filter(|(key, _)| is_key(key, part));
            let first = found.next().map(|(key, value)| (key, value));
            if found.next().is_some() {
                let at = at.iter().cloned().chain([part.to_owned()]).collect();
                return Err(SetError::Unsupported { at, why: "is there twice" });
            }
            return Ok(first);
        }
        Kind::Scalar { .. } if node.is_empty() && !node.is_marked() => return Ok(None),
        Kind::Scalar { .. } => "a scalar",
        Kind::List(_) => "a list",
        Kind::Alias(_) => "an alias of something else",
    };
    Err(SetError::NoKeys { at: at.to_vec(), is })
}

fn is_key(key: &Node, part: &str) -> bool {
    matches!(&key.kind, Kind::Scalar { text, .. } if text == part)
}

fn at_mut<'a>(root: &'a mut Node, key: &[String]) -> Option<&'a mut Node> {
    let mut at = root;
    for part in key {
        let Kind::Mapping(pairs) = &mut at.kind else { return None };
        at = pairs.iter_mut().find(|(key, _)| is_key(key, part)).map(|(_, value)| value)?;
    }
    Some(at)
}

fn parent_pair<'a>(root: &'a Node, key: &[String]) -> Option<(&'a Node, &'a Node)> {
    let (last, folders) = key.split_last()?;
    let mut at = root;
    for part in folders {
        at = child(at, part, &[]).ok()??.1;
    }
    child(at, last, &[]).ok()?
}

/// Whether a value is written already.
fn says(old: &Node, value: &Value) -> bool {
    match (&old.kind, value) {
        _ if old.anchor != 0 || old.tag.is_some() => false,
        (Kind::Scalar { text, plain, .. }, Value::String(value)) => {
            text == value && (!plain || is_plain(text))
        }
        (Kind::Scalar { text, plain: true, .. }, value) => *text == written(value),
        _ => old.says_as(&node(value)),
    }
}

fn replaced(text: &str, name: &Node, old: &Node, value: &Value) -> Option<String> {
    if old.is_empty() {
        return after_colon(text, name, &written(value));
    }
    let is_block = match &old.kind {
        Kind::Scalar { block, .. } => *block,
        Kind::Alias(_) => false,
        Kind::List(_) | Kind::Mapping(_) => !text[old.span.start..].starts_with(['[', '{']),
    };
    let end = content_end(text, old)?;
    if is_block {
        // It begins behind the colon, perhaps on the next line; the new value is on this one.
        let colon = colon_after(text, name)?;
        return Some(format!("{} {}{}", &text[..colon], written(value), &text[end..]));
    }
    let before = text.get(old.span.start..end)?;
    Some(format!("{}{}{}", &text[..old.span.start], written_like(value, before), &text[end..]))
}

/// Puts a value behind the colon of a key that has none.
fn after_colon(text: &str, name: &Node, value: &str) -> Option<String> {
    let at = colon_after(text, name)?;
    let (before, after) = text.split_at(at);
    let gap = if after.chars().next().is_none_or(|c| c.is_whitespace() || matches!(c, ',' | '}')) {
        ""
    } else {
        " "
    };
    Some(format!("{before} {value}{gap}{after}"))
}

fn colon_after(text: &str, name: &Node) -> Option<usize> {
    let end = content_end(text, name)?;
    let rest = &text[end..];
    let colon = rest.trim_start_matches([' ', '\t']);
    colon.starts_with(':').then(|| end + rest.len() - colon.len() + 1)
}

/// Where the last thing that belongs to a node ends. The reader counts a comment behind quotes and brackets as
/// part of them, so those are looked for here.
fn content_end(text: &str, node: &Node) -> Option<usize> {
    let start = node.span.start;
    let inner = text.get(start..node.span.end)?;
    match &node.kind {
        Kind::Scalar { plain: false, block: false, .. } => quotes_end(inner).map(|end| start + end),
        Kind::Scalar { .. } | Kind::Alias(_) => Some(start + inner.trim_end().len()),
        Kind::List(nodes) => {
            let last = nodes.last().map(|last| if last.is_empty() { None } else { content_end(text, last) });
            if inner.starts_with('[') { closing(text, last.unwrap_or(Some(start + 1))?, ']') } else { last? }
        }
        Kind::Mapping(pairs) => {
            let last = pairs.last().map(|(name, value)| pair_end(text, name, value));
            if inner.starts_with('{') { closing(text, last.unwrap_or(Some(start + 1))?, '}') } else { last? }
        }
    }
}

fn pair_end(text: &str, name: &Node, value: &Node) -> Option<usize> {
    if !value.is_empty() {
        return content_end(text, value);
    }
    colon_after(text, name).or_else(|| content_end(text, name))
}

/// How long a quoted scalar is, with its quotes.
fn quotes_end(text: &str) -> Option<usize> {
    let mut chars = text.char_indices();
    let (_, quote) = chars.next()?;
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote == '"' => drop(chars.next()),
            '\'' if quote == '\'' && text[at + 1..].starts_with('\'') => drop(chars.next()),
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Where the bracket that closes a flow collection is left, once nothing but space, commas and comments is
/// before it.
fn closing(text: &str, from: usize, bracket: char) -> Option<usize> {
    let mut at = from;
    loop {
        let rest = text.get(at..)?;
        match rest.chars().next()? {
            c if c == bracket => return Some(at + 1),
            c if c.is_whitespace() || c == ',' => at += c.len_utf8(),
            '#' => at += rest.find('\n')?,
            _ => return None,
        }
    }
}

/// Adds a key to a mapping.
fn added(text: &str, mapping: &Node, name: &str, value: &Value) -> Option<String> {
    let Kind::Mapping(pairs) = &mapping.kind else { return None };
    let pair = format!("{}: {}", key_text(name), written(value));
    let start = mapping.span.start;
    if text[start..].starts_with('{') {
        return Some(match pairs.last() {
            None => format!("{}{pair}{}", &text[..=start], &text[start + 1..]),
            Some((name, value)) => {
                let end = pair_end(text, name, value)?;
                format!("{}, {pair}{}", &text[..end], &text[end..])
            }
        });
    }
    let (first, _) = pairs.first()?;
    let end = content_end(text, mapping)?;
    // What stands behind the last value on its line, a comment, belongs to that value.
    let line_end = text[end..].find('\n').map_or(text.len(), |at| end + at);
    let line_end = line_end - usize::from(text[end..line_end].ends_with('\r'));
    let indent = " ".repeat(first.column);
    Some(format!("{}{}{indent}{pair}{}", &text[..line_end], ending_of(text), &text[line_end..]))
}
