//! Text for pictures: cleaning, XML escaping, and how wide it will be without knowing the font.
//! Everything a blueprint or a run says goes through `clean` and `xml`; nothing here may trust it.

use std::fmt::{self, Write as _};

/// The two faces pictures are set in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Font {
    /// The reader's interface font.
    Sans,
    /// The same, semi-bold.
    Bold,
    /// The reader's fixed-width font.
    Mono,
}

/// `text` on one line, without characters that could break a document or disguise what it says:
/// controls, invisible direction overrides and what XML cannot hold.
pub(super) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut gap = false;
    for c in text.chars() {
        if c.is_whitespace() {
            gap = true;
            continue;
        }
        let hidden = c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}')
            || matches!(c, '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{FFFE}' | '\u{FFFF}')
            || matches!(c, '\u{E0000}'..='\u{E007F}');
        if hidden {
            continue;
        }
        if gap && !out.is_empty() {
            out.push(' ');
        }
        gap = false;
        out.push(c);
    }
    out
}

/// The cleaned label of something, or its id if that says nothing. Never empty.
pub(super) fn name(label: &str, id: &str) -> String {
    [label, id].map(clean).into_iter().find(|t| !t.is_empty()).unwrap_or_else(|| "unnamed".to_owned())
}

/// Writes cleaned text so that it is inert both as XML content and inside a quoted attribute.
#[derive(Debug)]
pub(super) struct Xml<'t>(pub(super) &'t str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in clean(self.0).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Writes a coordinate with at most one decimal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Num(pub(super) f64);

impl fmt::Display for Num {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10.0).round() as i64;
        if tenths % 10 == 0 {
            write!(f, "{}", tenths / 10)
        } else {
            let sign = if tenths < 0 { "-" } else { "" };
            write!(f, "{sign}{}.{}", tenths.abs() / 10, tenths.abs() % 10)
        }
    }
}

/// Appends formatted text.
pub(super) fn put(out: &mut String, what: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(what);
}

/// An upper estimate in pixels of how wide `text` will be at `size`. The numbers are those of the
/// widest font readers commonly have, so that nothing overflows in any other.
pub(super) fn width(text: &str, font: Font, size: f64) -> f64 {
    text.chars().map(|c| advance(c, font)).sum::<f64>() * size
}

/// `text`, shortened with an ellipsis if it is wider than `room` pixels.
pub(super) fn elide(text: &str, font: Font, size: f64, room: f64) -> String {
    let text = clean(text);
    if width(&text, font, size) <= room {
        return text;
    }
    let mut left = room / size - advance('…', font);
    let mut out = String::new();
    for c in text.chars() {
        left -= advance(c, font);
        if left < 0.0 {
            break;
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out.push('…');
    out
}

/// Width of one character in parts of the font size.
fn advance(c: char, font: Font) -> f64 {
    let wide = matches!(u32::from(c), 0x1100..=0x11FF | 0x2E80..=0xA4CF | 0xAC00..=0xD7FF
        | 0xF900..=0xFAFF | 0xFE30..=0xFE4F | 0xFF00..=0xFF60 | 0x1F000..=0x3FFFF);
    let sans = match c {
        _ if wide => 1.4,
        _ if font == Font::Mono => 0.62,
        'i' | 'j' | 'l' | 'I' | '\'' | '|' | '.' | ',' | ':' | ';' | ' ' | '!' => 0.34,
        'f' | 't' | 'r' | '-' | '(' | ')' | '[' | ']' | '/' | '\\' | '"' | '·' => 0.42,
        'c' | 'k' | 's' | 'v' | 'x' | 'y' | 'z' | '?' => 0.58,
        'a'..='h' | 'n'..='u' | '0'..='9' | '_' | '$' | '*' | 'F' | 'J' | 'L' | 'P' | 'T' | '`' => 0.64,
        'w' | '#' | '+' | '=' | '<' | '>' | '~' | '^' | 'G' | 'H' | 'N' | 'O' | 'Q' | 'D' => 0.84,
        'm' | 'M' | 'W' | '@' | '%' | '…' | '≤' => 1.0,
        'A'..='Z' | '{' | '}' | '&' => 0.72,
        _ => 1.0,
    };
    if font == Font::Bold { sans * 1.1 } else { sans }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_drops_controls_and_direction_overrides() {
        assert_eq!(clean(" a\u{202E}b\u{0}\u{1b}[31m\n\tc\u{FFFF} "), "ab[31m c");
    }

    #[test]
    fn xml_is_inert_in_content_and_attributes() {
        assert_eq!(Xml("<a b='\"&'>").to_string(), "&lt;a b=&#39;&quot;&amp;&#39;&gt;");
    }

    #[test]
    fn coordinates_keep_one_decimal() {
        let written: Vec<_> = [0.0, 12.0, -0.04, -0.25, 3.12, 7.96].map(|v| Num(v).to_string()).into();
        assert_eq!(written, ["0", "12", "0", "-0.3", "3.1", "8"]);
    }

    #[test]
    fn eliding_fits_the_room() {
        let long = "a very long label that says far too much";
        let short = elide(long, Font::Sans, 14.0, 100.0);
        assert!(short.ends_with('…') && width(&short, Font::Sans, 14.0) <= 100.0, "{short}");
        assert_eq!(elide("short", Font::Sans, 14.0, 100.0), "short");
    }
}
