//! `fs.read`: lines of a file with their numbers. Only looks.

use std::fmt::Write as _;

use serde::Deserialize;

use super::tree::Tree;
use super::{Fault, LONGEST_TEXT};

/// How many lines are read at once.
const MOST_LINES: usize = 2000;
/// How much of a line is shown, in characters.
pub(super) const LONGEST_LINE: usize = 2000;
/// A file with a NUL in so many of its first bytes is not text, as for git.
const LOOK: usize = 8000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    path: String,
    start: Option<usize>,
    end: Option<usize>,
}

pub(super) fn read(tree: &Tree, arguments: Arguments) -> Result<String, Fault> {
    let Arguments { path, start, end } = arguments;
    let found = tree.read(&path)?;
    let size = found.bytes.len();
    if found.bytes.iter().take(LOOK).any(|byte| *byte == 0) {
        return Ok(format!("a binary file of {size} bytes"));
    }
    let text = String::from_utf8_lossy(&found.bytes);
    let total = text.lines().count();
    if total == 0 {
        return Ok("an empty file".to_owned());
    }
    let start = start.unwrap_or(1).max(1);
    if start > total {
        return Err(Fault::at(&path, format!("has {total} lines, and no line {start}")));
    }
    if end.is_some_and(|end| end < start) {
        return Err(Fault::at(&path, "the end of the range is before its start"));
    }
    let last = end.unwrap_or(total).min(total).min(start + MOST_LINES - 1);
    let mut out = String::new();
    if std::str::from_utf8(&found.bytes).is_err() {
        out.push_str("[not UTF-8: what could not be read is shown as \u{fffd}]\n");
    }
    let mut shown = start - 1;
    for (number, line) in (1..).zip(text.lines()).skip(start - 1).take(last + 1 - start) {
        let line = cut(line, LONGEST_LINE);
        if out.len() + line.len() + 16 > LONGEST_TEXT && shown >= start {
            break;
        }
        let _ = writeln!(out, "{number:>6}\t{line}");
        shown = number;
    }
    if start > 1 || shown < total {
        let _ = write!(out, "[lines {start} to {shown} of {total}");
        let more = shown < end.unwrap_or(total).min(total);
        let _ = writeln!(
            out,
            "{}",
            if more { format!("; go on with start = {}]", shown + 1) } else { "]".to_owned() }
        );
    }
    Ok(out)
}

/// The beginning of a line, and how much of it is left out.
pub(super) fn cut(line: &str, most: usize) -> String {
    match line.char_indices().nth(most) {
        Some((at, _)) => format!("{} [{} more bytes]", &line[..at], line.len() - at),
        None => line.to_owned(),
    }
}
