//! `fs.write`, `fs.edit` and `fs.delete`: one file at a time, changed as asked or not at all. What is not edited stays
//! byte for byte.

use serde::Deserialize;

use super::Fault;
use super::tree::{LARGEST, Tree};

/// How many lines are looked through for what is nearest to a text that is not there.
const NEAR_LINES: usize = 5000;
/// How much of a line counts for that, in characters.
const NEAR_WIDTH: usize = 200;
/// How alike a line must be, from 0 to 1.
const NEAR: f32 = 0.6;
/// How many lines of the nearest place are shown.
const NEAR_SHOWN: usize = 8;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Write {
    path: String,
    content: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    path: String,
    old: String,
    new: String,
    count: Option<usize>,
    #[serde(default)]
    all: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delete {
    path: String,
}

pub(super) fn write(tree: &Tree, arguments: Write) -> Result<String, Fault> {
    let Write { path, content } = arguments;
    let before = tree.find(&path)?;
    let done = if before.is_some() { "replaced" } else { "created" };
    tree.write(&path, content.as_bytes(), before.map(|found| found.permissions))?;
    Ok(format!("{done}, {} bytes", content.len()))
}

pub(super) fn delete(tree: &Tree, arguments: &Delete) -> Result<String, Fault> {
    tree.remove(&arguments.path)?;
    Ok("deleted".to_owned())
}

pub(super) fn edit(tree: &Tree, arguments: Edit) -> Result<String, Fault> {
    let Edit { path, old, new, count, all } = arguments;
    if old.is_empty() {
        return Err(Fault::at(&path, "the text to replace is empty; use fs.write for a new file"));
    }
    if old == new {
        return Err(Fault::at(&path, "the text to replace and its replacement are the same"));
    }
    if all && count.is_some() {
        return Err(Fault::at(&path, "`all` and `count` exclude each other"));
    }
    let found = tree.read(&path)?;
    let text = found.text(&path)?;
    let (old, new) = if ends_in_crlf(text) { (to_crlf(&old), to_crlf(&new)) } else { (old, new) };
    let places = text.matches(&old).count();
    if places == 0 {
        return Err(Fault::at(&path, format!("the text to replace is not there{}", nearest(text, &old))));
    }
    let wanted = if all { places } else { count.unwrap_or(1) };
    if places != wanted {
        let lines: Vec<String> = text.match_indices(&old).take(10).map(|(at, _)| line_at(text, at)).collect();
        let lines = lines.join(", ");
        let hint = match count {
            None => "; give more of what surrounds it, or set `all`, or `count`",
            Some(_) => "",
        };
        let reason =
            format!("the text to replace is there {places} times, not {wanted} (lines {lines}){hint}");
        return Err(Fault::at(&path, reason));
    }
    // Found out before: a few bytes can ask for a great many.
    let size = (text.len() - places * old.len()).saturating_add(places.saturating_mul(new.len()));
    if size > LARGEST {
        return Err(Fault::at(&path, format!("would be larger than {LARGEST} bytes")));
    }
    let lines: Vec<String> = text.match_indices(&old).take(10).map(|(at, _)| line_at(text, at)).collect();
    let more = if places > 10 { ", and more" } else { "" };
    tree.write(&path, text.replace(&old, &new).as_bytes(), Some(found.permissions.clone()))?;
    let (noun, line) = if places == 1 { ("place", "line") } else { ("places", "lines") };
    Ok(format!("replaced in {places} {noun} ({line} {}{more})", lines.join(", ")))
}

fn line_at(text: &str, at: usize) -> String {
    (text[..at].matches('\n').count() + 1).to_string()
}

/// Whether every line of a text that has an end ends with CRLF.
pub(super) fn ends_in_crlf(text: &str) -> bool {
    let ends = text.matches('\n').count();
    ends > 0 && ends == text.matches("\r\n").count()
}

pub(super) fn to_crlf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

/// What a text that is not there was perhaps meant to be.
pub(super) fn nearest(text: &str, wanted: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let wanted: Vec<&str> = wanted.lines().collect();
    let bare: Vec<&str> = wanted.iter().map(|line| line.trim()).collect();
    let blank = bare.iter().all(|line| line.is_empty());
    if !blank && bare.len() <= lines.len() {
        let same = lines
            .windows(bare.len())
            .position(|window| window.iter().zip(&bare).all(|(line, bare)| line.trim() == *bare));
        if let Some(at) = same {
            return format!("; only white space differs from{}", place(&lines, at, bare.len()));
        }
    }
    let Some((offset, key)) = bare.iter().enumerate().find(|(_, line)| !line.is_empty()) else {
        return String::new();
    };
    let narrow = |line: &str| line.chars().take(NEAR_WIDTH).collect::<String>();
    let candidates: Vec<String> = lines.iter().take(NEAR_LINES).map(|line| narrow(line.trim())).collect();
    let possible: Vec<&str> = candidates.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
    let best = similar::get_close_matches(narrow(key).as_str(), &possible, 1, NEAR);
    let at = best.first().and_then(|best| candidates.iter().position(|line| line == best));
    match at {
        Some(at) => format!("; the nearest is{}", place(&lines, at.saturating_sub(offset), bare.len())),
        None => String::new(),
    }
}

fn place(lines: &[&str], at: usize, count: usize) -> String {
    let shown = lines.iter().skip(at).take(count.clamp(1, NEAR_SHOWN));
    let shown: Vec<String> = shown.map(|line| super::read::cut(line, NEAR_WIDTH)).collect();
    format!(" line {}:\n{}", at + 1, shown.join("\n"))
}
