//! The spellings of a secret that programs produce: quoted, escaped, encoded, embedded.
//! It only adds spellings; which text they are looked for in is not its business.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// Forms shorter than this would blank out ordinary text.
pub(super) const SHORTEST: usize = 4;

/// A line of a secret of several lines is a secret of its own from this length on, because tools
/// print such values with prefixes or indentation; shorter ones are often ordinary words.
const SHORTEST_LINE: usize = 16;

/// Every spelling of `secret` that is looked for.
pub(super) fn of(secret: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    // A value read from a file ends with a newline. Encoders see it; the text around it keeps its own.
    texts(secret.trim_ascii(), &mut forms);
    for value in [secret, secret.trim_ascii()] {
        hex(value, &mut forms);
        base64(value, &mut forms);
    }
    for line in secret.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
        let is_material = !line.starts_with(b"-----") && !line.iter().any(u8::is_ascii_whitespace);
        if line.len() >= SHORTEST_LINE && is_material {
            texts(line, &mut forms);
        }
    }
    forms.retain(|form| form.len() >= SHORTEST);
    forms
}

/// Spellings that keep the value readable: itself, escaped and quoted.
fn texts(value: &[u8], into: &mut BTreeSet<Vec<u8>>) {
    into.insert(value.to_vec());
    percent(value, into);
    shell(value, into);
    let Ok(text) = std::str::from_utf8(value) else { return };
    for style in JsonStyle::ALL {
        let once = style.escape(text);
        // Log lines are JSON more often than not, and so is what they report.
        into.insert(style.escape(&once).into_bytes());
        into.insert(once.into_bytes());
    }
}

fn hex(value: &[u8], into: &mut BTreeSet<Vec<u8>>) {
    let mut lower = String::with_capacity(value.len() * 2);
    for byte in value {
        push_hex(&mut lower, *byte);
    }
    into.insert(lower.to_ascii_uppercase().into_bytes());
    into.insert(lower.into_bytes());
}

fn push_hex(into: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    into.push(char::from(DIGITS[usize::from(byte >> 4)]));
    into.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Base64 of the value alone, and the part of it that stays the same inside a longer text, for each
/// of the three ways the value can fall onto groups of three bytes.
fn base64(value: &[u8], into: &mut BTreeSet<Vec<u8>>) {
    for before in 0..3 {
        let mut shifted = vec![0; before];
        shifted.extend_from_slice(value);
        // The first characters also hold bits of what stands before the value.
        let skip = (before * 8).div_ceil(6);
        // The last one also holds bits of what follows, unless nothing does.
        let ends_a_group = shifted.len().is_multiple_of(3);
        for (padded, bare) in [
            (STANDARD.encode(&shifted), STANDARD_NO_PAD.encode(&shifted)),
            (URL_SAFE.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)),
        ] {
            let certain = if ends_a_group { bare.len() } else { bare.len() - 1 };
            for form in [&bare[..certain], &bare, &padded] {
                if let Some(form) = form.get(skip..) {
                    into.insert(form.as_bytes().to_vec());
                }
            }
        }
    }
}

/// The value in a URL: encoders differ in what they leave alone and in the case of the digits.
fn percent(value: &[u8], into: &mut BTreeSet<Vec<u8>>) {
    let kept_by: [&[u8]; 5] = [b"", b"-._~", b"-._~!*'()", b"*-._", b"-._~!*'();/?:@&=+$,#"];
    for (encoder, kept) in kept_by.into_iter().enumerate() {
        for plus_for_space in [false, true] {
            let mut form = String::with_capacity(value.len() * 3);
            for &byte in value {
                // The first encoder escapes everything.
                if encoder > 0 && (byte.is_ascii_alphanumeric() || kept.contains(&byte)) {
                    form.push(char::from(byte));
                } else if byte == b' ' && plus_for_space {
                    form.push('+');
                } else {
                    form.push('%');
                    push_hex(&mut form, byte);
                }
            }
            into.insert(upper_escapes(&form).into_bytes());
            into.insert(form.into_bytes());
        }
    }
}

fn upper_escapes(form: &str) -> String {
    let mut digits = 0;
    form.chars()
        .map(|letter| {
            if letter == '%' {
                digits = 2;
                letter
            } else if digits > 0 {
                digits -= 1;
                letter.to_ascii_uppercase()
            } else {
                letter
            }
        })
        .collect()
}

/// The value inside single quotes of a shell, as `set -x` prints it.
fn shell(value: &[u8], into: &mut BTreeSet<Vec<u8>>) {
    for quote in [&b"'\\''"[..], &b"'\"'\"'"[..]] {
        let parts: Vec<&[u8]> = value.split(|&byte| byte == b'\'').collect();
        into.insert(parts.join(quote));
    }
}

/// How a JSON writer treats the characters it may escape but need not.
#[derive(Clone, Copy)]
enum JsonStyle {
    Minimal,
    Slash,
    Html,
    AsciiLower,
    AsciiUpper,
}

impl JsonStyle {
    const ALL: [Self; 5] = [Self::Minimal, Self::Slash, Self::Html, Self::AsciiLower, Self::AsciiUpper];

    fn escape(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 8);
        for letter in text.chars() {
            match letter {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '/' if matches!(self, Self::Slash) => out.push_str("\\/"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if matches!(self, Self::Html) => {
                    self.unit(&mut out, letter);
                }
                '\0'..='\u{1f}' => self.unit(&mut out, letter),
                '\u{7f}'.. if matches!(self, Self::AsciiLower | Self::AsciiUpper) => {
                    self.unit(&mut out, letter);
                }
                _ => out.push(letter),
            }
        }
        out
    }

    fn unit(self, out: &mut String, letter: char) {
        for unit in letter.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = match self {
                Self::AsciiUpper => write!(out, "\\u{unit:04X}"),
                _ => write!(out, "\\u{unit:04x}"),
            };
        }
    }
}
