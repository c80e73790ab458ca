//! Finds the bytes of a file that a part of a TOML text was written with. Only shows places; never decides what
//! a text is.

use std::ops::Range;
use std::sync::Arc;

use crate::source::Span;

/// Where a text stands in a file, so that places inside it can be shown.
pub(super) struct TextPlace<'a> {
    file: &'a Arc<str>,
    range: Range<usize>,
    /// Pairs of a byte of the text and the byte of the file it is written at, wherever the distance changes.
    /// None if the text cannot be followed, such as one that was not written in a file.
    moves: Option<Vec<(usize, usize)>>,
}

impl<'a> TextPlace<'a> {
    /// The place of `text`, written at `range` of `file`.
    pub(super) fn new(file: &'a Arc<str>, source: Option<&str>, text: &str, range: &Range<usize>) -> Self {
        let raw = source.and_then(|source| source.get(range.clone())).unwrap_or_default();
        Self { file, range: range.clone(), moves: follow(raw, text, range.start) }
    }

    /// The place of a text that is a file of its own.
    pub(super) fn whole(file: &'a Arc<str>, text: &str) -> Self {
        Self { file, range: 0..text.len(), moves: Some(vec![(0, 0)]) }
    }

    /// Where `inside` of the text stands in the file.
    pub(super) fn span(&self, inside: &Range<usize>) -> Span {
        let Some(moves) = &self.moves else { return Span::new(self.file, self.range.clone()) };
        let at = |at: usize, moves: &[(usize, usize)]| {
            let known = moves
                .partition_point(|(text, _)| *text <= at)
                .checked_sub(1)
                .and_then(|last| moves.get(last));
            known.map_or(at, |(text, file)| file + (at - text))
        };
        let start = at(inside.start, moves);
        // The end is where the last character ends, not where the next one begins.
        let end = if inside.is_empty() { start } else { at(inside.end - 1, moves) + 1 };
        Span::new(self.file, start..self.to_escape(inside, end).max(start))
    }

    /// Stretches an end over the rest of an escape it points into.
    fn to_escape(&self, inside: &Range<usize>, end: usize) -> usize {
        let next = self.moves.iter().flatten().find(|(text, _)| *text == inside.end);
        next.map_or(end, |(_, file)| if *file >= end { *file } else { end })
    }
}

/// Where the characters of `text` stand in `raw`, a TOML text with its quotes, if that can be told.
fn follow(raw: &str, text: &str, offset: usize) -> Option<Vec<(usize, usize)>> {
    let quote = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|quote| raw.starts_with(quote) && raw.len() >= 2 * quote.len() && raw.ends_with(quote))?;
    let mut at = quote.len();
    let end = raw.len() - quote.len();
    if quote.len() == 3 {
        let begin = raw.get(at..)?;
        at += if begin.starts_with("\r\n") { 2 } else { usize::from(begin.starts_with('\n')) };
    }
    let basic = quote.starts_with('"');
    let mut moves = vec![(0, offset + at)];
    let mut done = 0;
    let mut same = true;
    while at < end {
        let rest = raw.get(at..end)?;
        let (width, decoded) = if basic && rest.starts_with('\\') { escape(rest)? } else { (0, None) };
        if width > 0 {
            if !same || moves.last().is_none_or(|(known, _)| *known != done) {
                moves.push((done, offset + at));
            }
            at += width;
            if let Some(c) = decoded {
                if !text.get(done..)?.starts_with(c) {
                    return None;
                }
                done += c.len_utf8();
            }
            moves.push((done, offset + at));
            same = false;
            continue;
        }
        let c = rest.chars().next()?;
        if c == '\r' && rest.starts_with("\r\n") && text.get(done..)?.starts_with('\n') {
            at += 1;
            moves.push((done, offset + at));
            continue;
        }
        if !text.get(done..)?.starts_with(c) {
            return None;
        }
        at += c.len_utf8();
        done += c.len_utf8();
        same = true;
    }
    (done == text.len()).then_some(moves)
}

/// How long the escape at the start of `rest` is, and the character it stands for, if any.
fn escape(rest: &str) -> Option<(usize, Option<char>)> {
    let code = |digits: usize| {
        let text = rest.get(2..2 + digits)?;
        Some((2 + digits, Some(char::from_u32(u32::from_str_radix(text, 16).ok()?)?)))
    };
    match rest.chars().nth(1)? {
        'b' => Some((2, Some('\u{8}'))),
        't' => Some((2, Some('\t'))),
        'n' => Some((2, Some('\n'))),
        'f' => Some((2, Some('\u{c}'))),
        'r' => Some((2, Some('\r'))),
        'e' => Some((2, Some('\u{1b}'))),
        c @ ('"' | '\\') => Some((2, Some(c))),
        'x' => code(2),
        'u' => code(4),
        'U' => code(8),
        c if c.is_whitespace() => {
            let blank = rest.get(1..)?;
            Some((1 + blank.len() - blank.trim_start().len(), None))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(toml: &str, part: &str) -> String {
        let table: toml::Table = toml.parse().unwrap();
        let text = table["k"].as_str().unwrap();
        let file: Arc<str> = "a.toml".into();
        let range = toml.find("= ").unwrap() + 2..toml.trim_end().len();
        let place = TextPlace::new(&file, Some(toml), text, &range);
        let at = text.find(part).unwrap();
        let span = place.span(&(at..at + part.len()));
        toml[span.range()].to_owned()
    }

    #[test]
    fn places_inside_a_text_are_found_behind_escapes() {
        assert_eq!(shown("k = \"a == 'b' or c\"", "c"), "c");
        assert_eq!(shown(r#"k = "a == \"b\" or cd""#, "cd"), "cd");
        assert_eq!(shown(r#"k = "a == \"b\" or cd""#, "\"b\""), r#"\"b\""#);
        assert_eq!(shown(r#"k = "\u00e4\U0001F600 xy""#, "xy"), "xy");
        assert_eq!(shown(r#"k = "\u00e4 xy""#, "ä"), r"\u00e4");
        assert_eq!(shown("k = '''\nab\ncd'''", "cd"), "cd");
        assert_eq!(shown("k = \"\"\"\r\nab\r\ncd\"\"\"", "cd"), "cd");
        assert_eq!(shown("k = \"\"\"ab \\\n   cd\"\"\"", "cd"), "cd");
        assert_eq!(shown("k = '''ab''''", "b'"), "b'");
        assert_eq!(shown("k = 'äöü x'", "öü"), "öü");
    }
}
