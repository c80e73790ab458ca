//! The only way to the terminal. Whatever came from a node, a file or a stranger passes `clean` before it is
//! printed: it can show text, and nothing else.

use std::io::Write as _;

/// Text that cannot do anything to a terminal: control sequences, control characters and characters that turn
/// the reading direction are taken out or made visible.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\t' => out.push_str("    "),
            '\u{1b}' => skip_sequence(&mut chars),
            // The C1 forms of CSI and OSC.
            '\u{9b}' => skip_until(&mut chars, |c| ('\u{40}'..='\u{7e}').contains(&c)),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut chars),
            c if c.is_control() => {}
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {}
            c => out.push(c),
        }
    }
    out
}

fn skip_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => skip_until(chars, |c| ('\u{40}'..='\u{7e}').contains(&c)),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(chars),
        Some(c) if ('\u{20}'..='\u{2f}').contains(&c) => {
            skip_until(chars, |c| ('\u{30}'..='\u{7e}').contains(&c));
        }
        _ => {}
    }
}

fn skip_until(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, is_end: impl Fn(char) -> bool) {
    for c in chars.by_ref() {
        if is_end(c) {
            break;
        }
    }
}

/// A string sequence ends with BEL or ST.
fn skip_string(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = chars.next() {
        if c == '\u{7}' || c == '\u{9c}' {
            break;
        }
        if c == '\u{1b}' && chars.peek() == Some(&'\\') {
            chars.next();
            break;
        }
    }
}

/// Bytes of a node as clean text.
pub(crate) fn clean_bytes(bytes: &[u8]) -> String {
    clean(&String::from_utf8_lossy(bytes))
}

/// Prints a line to standard output. A reader that has gone away ends the program quietly.
pub(crate) fn line(text: &str) {
    raw(text);
    raw("\n");
}

/// Prints text as it is. Only for text of our own making.
pub(crate) fn raw(text: &str) {
    let mut out = anstream::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        gone();
    }
}

/// Prints bytes as they are: patches and logs that somebody wants unchanged.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        gone();
    }
}

#[expect(clippy::exit, reason = "nobody reads what we would print: the usual end of a program in a pipe")]
fn gone() -> ! {
    std::process::exit(141)
}

/// Prints a line to standard error.
pub(crate) fn error_line(text: &str) {
    let mut out = anstream::stderr().lock();
    // Nothing is left to say it to.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")));
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn sequences_that_act_on_a_terminal_are_taken_out() {
        assert_eq!(clean("a\u{1b}[31mred\u{1b}[0m b"), "ared b");
        assert_eq!(clean("\u{1b}]0;title\u{7}x"), "x");
        assert_eq!(clean("\u{1b}]8;;http://evil\u{1b}\\link"), "link");
        assert_eq!(clean("\u{9b}2Jx\u{1b}Pdcs\u{9c}y"), "xy");
        assert_eq!(clean("a\rb\u{8}c\u{202e}d"), "abcd");
        assert_eq!(clean("unfinished \u{1b}["), "unfinished ");
    }
}
