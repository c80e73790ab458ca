//! Edits of plain text: pure, from a text to a text. Line endings and everything that is not edited stay byte
//! for byte.

use std::ops::Range;

use blueprint_core::format::InsertPlace;
use blueprint_core::graph::Side;
use regex::Regex;
use thiserror::Error;

use super::LARGEST;

/// What does not fit between an edit and a text.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum TextError {
    /// The text to replace is there more or less often than expected.
    #[error("{what} is there {}, expected {}{}", times(*found), wanted_times(*wanted), if *crlf { ": the lines of the file end with CRLF" } else { "" })]
    Count {
        /// What was looked for.
        what: &'static str,
        /// How often it is there.
        found: usize,
        /// How often it was expected; 0 for at least once.
        wanted: u32,
        /// Whether it would be there if lines ended with LF.
        crlf: bool,
    },
    /// The anchor is on no line, or on several.
    #[error("the anchor `{anchor}` is on {}, expected on one line", lines(*found))]
    Anchor {
        /// The anchor.
        anchor: String,
        /// On how many lines it is.
        found: usize,
    },
    /// The replacement names a group the pattern does not have.
    #[error("the replacement names the group `{0}`, which the pattern does not have; write `$$` for a `$`")]
    Group(String),
    /// What comes out is too large.
    #[error("what comes out is larger than {LARGEST} bytes")]
    TooLarge,
}

fn times(count: usize) -> String {
    match count {
        0 => "not at all".to_owned(),
        1 => "once".to_owned(),
        more => format!("{more} times"),
    }
}

fn wanted_times(count: u32) -> String {
    if count == 0 { "at least once".to_owned() } else { times(count as usize) }
}

fn lines(count: usize) -> String {
    if count == 0 { "no line".to_owned() } else { format!("{count} lines") }
}

/// A text after an edit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edited {
    /// The text.
    pub(super) text: String,
    /// How many places were changed.
    pub(super) places: usize,
}

/// Replaces every occurrence of a text.
pub(super) fn replace(text: &str, find: &str, with: &str, count: u32) -> Result<Edited, TextError> {
    let places = text.matches(find).count();
    let crlf = places == 0 && text.contains("\r\n") && text.replace("\r\n", "\n").contains(find);
    check_count("the text", places, count, crlf)?;
    let mut out = Bounded::default();
    let mut rest = 0;
    for (at, found) in text.match_indices(find) {
        out.push(&text[rest..at])?;
        out.push(with)?;
        rest = at + found.len();
    }
    out.push(&text[rest..])?;
    Ok(Edited { text: out.0, places })
}

/// Replaces every match of a pattern; `$1` and `${name}` in the replacement are groups.
pub(super) fn regex(text: &str, find: &Regex, with: &str, count: u32) -> Result<Edited, TextError> {
    let pieces = pieces(find, with)?;
    let places = find.find_iter(text).count();
    check_count("a match", places, count, false)?;
    let mut out = Bounded::default();
    let mut rest = 0;
    for groups in find.captures_iter(text) {
        let Range { start, end } = groups.get_match().range();
        out.push(&text[rest..start])?;
        for piece in &pieces {
            match piece {
                Piece::Text(text) => out.push(text)?,
                Piece::Group(number) => out.push(groups.get(*number).map_or("", |group| group.as_str()))?,
            }
        }
        rest = end;
    }
    out.push(&text[rest..])?;
    Ok(Edited { text: out.0, places })
}

fn check_count(what: &'static str, found: usize, wanted: u32, crlf: bool) -> Result<(), TextError> {
    let fits = if wanted == 0 { found > 0 } else { found == wanted as usize };
    if fits { Ok(()) } else { Err(TextError::Count { what, found, wanted, crlf }) }
}

enum Piece<'a> {
    Text(&'a str),
    Group(usize),
}

/// Takes a replacement apart, by the rules of the pattern language. A group that does not exist would vanish
/// without a trace, and with it a `$` of a value that was put in.
fn pieces<'a>(find: &Regex, with: &'a str) -> Result<Vec<Piece<'a>>, TextError> {
    let mut pieces = Vec::new();
    let mut rest = with;
    while let Some(at) = rest.find('$') {
        pieces.push(Piece::Text(&rest[..at]));
        let behind = &rest[at + 1..];
        if let Some(after) = behind.strip_prefix('$') {
            pieces.push(Piece::Text("$"));
            rest = after;
            continue;
        }
        let word =
            |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, after) = match behind.strip_prefix('{') {
            Some(braced) => match braced.split_once('}') {
                Some((name, after)) => (name, after),
                None => ("", behind),
            },
            None => behind.split_at(word(behind)),
        };
        if name.is_empty() {
            pieces.push(Piece::Text("$"));
            rest = behind;
            continue;
        }
        let number = match name.parse::<usize>() {
            Ok(number) => Some(number).filter(|number| *number < find.captures_len()),
            Err(_) => find.capture_names().position(|known| known == Some(name)),
        };
        pieces.push(Piece::Group(number.ok_or_else(|| TextError::Group(name.to_owned()))?));
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// Inserts whole lines beside the only line that holds `anchor`.
pub(super) fn insert_at_line(
    text: &str,
    insert: &str,
    anchor: &str,
    side: Side,
) -> Result<Edited, TextError> {
    let mut holding = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.strip_suffix('\n').unwrap_or(line);
        let bare = bare.strip_suffix('\r').unwrap_or(bare);
        if bare.contains(anchor) {
            holding.push(start..start + line.len());
        }
        start += line.len();
    }
    let [line] = holding.as_slice() else {
        return Err(TextError::Anchor { anchor: anchor.to_owned(), found: holding.len() });
    };
    let at = match side {
        Side::Before => line.start,
        Side::After => line.end,
    };
    insert_at(text, at, insert)
}

/// Inserts whole lines at an end of the text.
pub(super) fn insert_at_end(text: &str, insert: &str, place: InsertPlace) -> Result<Edited, TextError> {
    let at = match place {
        InsertPlace::Start if text.starts_with('\u{feff}') => '\u{feff}'.len_utf8(),
        InsertPlace::Start => 0,
        InsertPlace::End => text.len(),
    };
    insert_at(text, at, insert)
}

fn insert_at(text: &str, at: usize, insert: &str) -> Result<Edited, TextError> {
    if insert.is_empty() {
        return Ok(Edited { text: text.to_owned(), places: 0 });
    }
    let ending = ending_of(text);
    let (before, after) = text.split_at(at);
    let mut out = Bounded::default();
    out.push(before)?;
    if !matches!(before, "" | "\u{feff}") && !before.ends_with('\n') {
        out.push(ending)?;
    }
    for line in insert.split_inclusive('\n') {
        let bare = line.strip_suffix('\n').unwrap_or(line);
        out.push(bare.strip_suffix('\r').unwrap_or(bare))?;
        out.push(ending)?;
    }
    out.push(after)?;
    Ok(Edited { text: out.0, places: 1 })
}

/// How the lines of a text end, as its first one does.
pub(super) fn ending_of(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// Gives the lines of `after` the endings they have in `before`; new lines end as the first one of `before`.
pub(super) fn with_endings_of(before: &str, after: &str) -> String {
    if !before.contains('\r') {
        return after.to_owned();
    }
    let old: Vec<&str> = before.split_inclusive('\n').collect();
    let new: Vec<&str> = after.split_inclusive('\n').collect();
    let bare = |line: &str| line.trim_end_matches(['\r', '\n']).len();
    let same = |one: &&str, other: &&str| {
        one[..bare(one)] == other[..bare(other)] && one.ends_with('\n') == other.ends_with('\n')
    };
    let head = old.iter().zip(&new).take_while(|(one, other)| same(one, other)).count();
    let most = old.len().min(new.len()) - head;
    let tail =
        old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(one, other)| same(one, other)).count();
    let ending = ending_of(before);
    let mut out = String::with_capacity(after.len() + 64);
    for (at, line) in new.iter().enumerate() {
        if at < head {
            out.push_str(old[at]);
        } else if at >= new.len() - tail {
            out.push_str(old[old.len() - (new.len() - at)]);
        } else {
            out.push_str(&line[..bare(line)]);
            out.push_str(if line.ends_with('\n') { ending } else { "" });
        }
    }
    out
}

/// A text that does not grow without bound: a few bytes of a blueprint can ask for a great many.
#[derive(Default)]
struct Bounded(String);

impl Bounded {
    fn push(&mut self, text: &str) -> Result<(), TextError> {
        if self.0.len() + text.len() > LARGEST {
            return Err(TextError::TooLarge);
        }
        self.0.push_str(text);
        Ok(())
    }
}
