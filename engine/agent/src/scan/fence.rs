//! Puts untrusted text in front of a model so that its end cannot be forged and nothing in it is invisible. It tells a
//! model where the text begins and ends; it does not make it safe to obey.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::markers::{self, Marker};

/// The longest name of a source that is shown, in characters.
const LONGEST_SOURCE: usize = 200;

/// `text` between two lines that name its source. The name of the fence follows from the text, so the same text has the
/// same fence in every run, and a text cannot hold its own.
pub fn fence(source: &str, text: &str) -> String {
    let text = visible(text);
    let mut number = 0_u32;
    let name = loop {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&number.to_le_bytes());
        hasher.update(text.as_bytes());
        let name = hasher.finalize().to_hex()[..16].to_owned();
        if !text.contains(&name) {
            break name;
        }
        number += 1;
    };
    let source = label(source);
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("<untrusted from=\"{source}\" fence=\"{name}\">\n{text}{end}</untrusted fence=\"{name}\">")
}

/// A name on one line that cannot close what it stands in.
pub(crate) fn label(source: &str) -> String {
    let plain = |letter: char| match letter {
        '"' | '<' | '>' | '\\' => '_',
        letter if letter.is_control() || markers::hidden_kind(letter).is_some() => '_',
        letter => letter,
    };
    let mut label: String = source.chars().take(LONGEST_SOURCE).map(plain).collect();
    if source.chars().nth(LONGEST_SOURCE).is_some() {
        label.push('…');
    }
    label
}

/// Hidden characters in a form that is seen: `\u{202e}`. Single joiners and selectors, as emoji need them, stay.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    markers::hidden(text, |marker, place| {
        shown.push_str(&text[at..place.start]);
        at = place.end;
        let hidden = &text[place];
        if marker == Marker::Bidi || marker == Marker::Control || hidden.chars().count() <= 8 {
            for letter in hidden.chars() {
                // Writing to a string cannot fail.
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(letter));
            }
        } else {
            let _ = write!(shown, "\\u{{{} hidden characters}}", hidden.chars().count());
        }
    });
    shown.push_str(&text[at..]);
    shown
}

/// Breaks the tags that models without a separate channel for them take for the end of a speaker's part. Only for text
/// that need not come back unchanged.
pub fn neutralise(text: &str) -> String {
    #[expect(clippy::expect_used, reason = "a constant; every test of this function compiles it")]
    static TAGS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)<\|([a-z_]{2,40})\|>|\[(/?INST)\]|<<(/?SYS)>>|<(/?(?:start|end)_of_turn)>")
            .expect("compiles")
    });
    TAGS.replace_all(text, |found: &Captures<'_>| {
        let name = (1..=4).find_map(|group| found.get(group)).map_or("", |name| name.as_str());
        format!("(tag {name})")
    })
    .into_owned()
}
