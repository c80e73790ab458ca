//! What matters of a long log, the same every time: its beginning and its end, the lines that speak of errors with what
//! stands around them, repeats counted once, and a word on everything that is missing. Never longer than its budget.
//! The log stays untrusted; scan it before it comes here, because what is cut is not looked at again.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::{Regex, RegexSet};
use serde::{Deserialize, Serialize};

/// How a log is digested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestOptions {
    /// The most bytes of the digest. With less than 256 it is only the first error or the end.
    pub budget: usize,
    /// Lines from the beginning.
    pub first: usize,
    /// Lines from the end.
    pub last: usize,
    /// Lines before an error.
    pub before: usize,
    /// Lines after an error.
    pub after: usize,
}

impl Default for DigestOptions {
    fn default() -> Self {
        Self { budget: 12 * 1024, first: 10, last: 40, before: 8, after: 25 }
    }
}

/// A digest with less room than this many bytes says one thing only.
const SMALLEST: usize = 256;
/// A line is cut after this many bytes.
const LONGEST_LINE: usize = 1000;
/// The longest note on lines that are missing, in bytes.
const NOTE: usize = 64;
/// How many errors are shown with what stands around them. The first ones tell most.
const MOST_ERRORS: usize = 12;

/// A digest of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// What a model is shown.
    pub text: String,
    /// Lines of the log.
    pub lines: usize,
    /// Lines of it that are not shown, those that were counted as repeats not included.
    pub left_out: usize,
    /// Lines that only repeat the one before.
    pub repeats: usize,
    /// Lines that speak of errors.
    pub errors: usize,
    /// The first of these, cleaned.
    pub first_error: Option<String>,
}

/// A line, cleaned, with how often it came in a row.
struct Line {
    text: String,
    times: usize,
    error: bool,
}

/// Digests a log.
pub fn digest(log: &str, options: &DigestOptions) -> Digest {
    let (lines, all) = clean(log);
    let errors: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].error).collect();
    let mut digest = Digest {
        lines: all,
        repeats: lines.iter().map(|line| line.times - 1).sum(),
        errors: errors.len(),
        first_error: errors.first().map(|at| lines[*at].text.clone()),
        ..Digest::default()
    };
    let whole: usize = lines.iter().map(Line::length).sum();
    if whole <= options.budget {
        digest.text = shown(&lines, &(0..lines.len()).collect());
        return digest;
    }
    if options.budget < SMALLEST {
        let best = errors.first().copied().unwrap_or(lines.len().saturating_sub(1));
        let text = lines.get(best).map_or("", |line| cut(&line.text, options.budget));
        text.clone_into(&mut digest.text);
        digest.left_out = lines.len() - usize::from(!digest.text.is_empty());
        return digest;
    }
    let mut kept = BTreeSet::new();
    let mut room = options.budget;
    for at in order(&lines, &errors, options) {
        if kept.contains(&at) {
            continue;
        }
        // Each line could stand alone, with a note before it; one more note stands at the end.
        let cost = lines[at].length() + NOTE;
        if cost + NOTE <= room {
            room -= cost;
            kept.insert(at);
        }
    }
    // Notes that were not needed make room for more of the same.
    let mut text = shown(&lines, &kept);
    for at in order(&lines, &errors, options).chain((0..lines.len()).rev()) {
        if text.len() + lines[at].length() + 2 * NOTE <= options.budget && kept.insert(at) {
            let longer = shown(&lines, &kept);
            if longer.len() > options.budget {
                kept.remove(&at);
                break;
            }
            text = longer;
        }
    }
    digest.left_out = lines.len() - kept.len();
    digest.text = text;
    digest
}

/// Which lines are worth the most, the first ones first.
fn order<'a>(
    lines: &'a [Line],
    errors: &'a [usize],
    options: &'a DigestOptions,
) -> impl Iterator<Item = usize> + 'a {
    let all = lines.len();
    let shown: Vec<usize> = distinct(lines, errors).take(MOST_ERRORS).collect();
    let around = shown.clone().into_iter().flat_map(move |at| {
        // Nearest first, so that a small budget keeps what stands beside the error.
        (1..=options.after.max(options.before)).flat_map(move |far| {
            let after = (far <= options.after).then_some(at + far).filter(|at| *at < all);
            let before = (far <= options.before).then(|| at.checked_sub(far)).flatten();
            after.into_iter().chain(before)
        })
    });
    let last = (all.saturating_sub(options.last)..all).rev();
    let (first_error, others) = shown.split_at(shown.len().min(1));
    let (first_error, others) = (first_error.to_vec(), others.to_vec());
    let near = around.clone().take(options.before + options.after);
    first_error
        .into_iter()
        .chain(last.clone().take(5))
        .chain(others)
        .chain(0..options.first.min(3).min(all))
        .chain(near)
        .chain(last)
        .chain(around)
        .chain(0..options.first.min(all))
        .chain(errors.iter().copied())
}

/// Errors that do not say the same as an earlier one, but for numbers.
fn distinct<'a>(lines: &'a [Line], errors: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    let mut seen = BTreeSet::new();
    errors.iter().copied().filter(move |at| {
        let shape: String =
            lines[*at].text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        seen.insert(shape)
    })
}

impl Line {
    /// As it is shown, with the end of the line, in bytes.
    fn length(&self) -> usize {
        self.text.len() + 1 + if self.times > 1 { times(self.times).len() } else { 0 }
    }
}

fn times(times: usize) -> String {
    format!(" [{times} times]")
}

fn shown(lines: &[Line], kept: &BTreeSet<usize>) -> String {
    let mut text = String::new();
    let mut next = 0;
    for &at in kept {
        note(&mut text, at - next);
        let line = &lines[at];
        text.push_str(&line.text);
        if line.times > 1 {
            text.push_str(&times(line.times));
        }
        text.push('\n');
        next = at + 1;
    }
    note(&mut text, lines.len() - next);
    text
}

fn note(text: &mut String, missing: usize) {
    if missing > 0 {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "[… {missing} lines left out …]");
    }
}

/// The lines as they are compared and shown, and how many there were.
fn clean(log: &str) -> (Vec<Line>, usize) {
    let mut lines: Vec<Line> = Vec::new();
    let mut all = 0;
    for raw in log.split_terminator('\n') {
        all += 1;
        // Of a line that was drawn over, what was drawn last is there.
        let raw = raw.trim_end_matches('\r');
        let raw = raw.rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or(raw);
        let bare = ESCAPES.replace_all(raw, "");
        let bare = STAMP.replace(&bare, "");
        let text: String =
            cut(bare.trim_end(), LONGEST_LINE).chars().filter(|c| *c == '\t' || !c.is_control()).collect();
        match lines.last_mut() {
            Some(last) if last.text == text => last.times += 1,
            _ => {
                let error = ERRORS.is_match(&text) && !CALM.is_match(&text);
                lines.push(Line { text, times: 1, error });
            }
        }
    }
    (lines, all)
}

fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// Colours, titles and movements of a terminal, and the marks of groups that CI systems add.
#[expect(clippy::expect_used, reason = "a constant; every test of this module compiles it")]
static ESCAPES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,1000}(?:\x07|\x1b\\)|\x1b[@-_]|##\[(?:group|endgroup)\]").expect("compiles")
});

/// The time that CI systems put before each line.
#[expect(clippy::expect_used, reason = "a constant; every test of this module compiles it")]
static STAMP: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\u{feff}?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d) ")
        .expect("compiles")
});

/// Lines that speak of errors, in the words of compilers, test runners and shells.
#[expect(clippy::expect_used, reason = "constants; every test of this module compiles them")]
static ERRORS: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new([
        r"(?i)\berror(?:s)?\b(?:\[\w+\])?",
        r"\w(?:Error|Exception)\b",
        r"(?i)\bfail(?:ed|ure|ures|s)?\b",
        r"\bFAIL\b|--- FAIL:|^not ok\b",
        r"(?i)\bfatal\b|\bpanic(?:ked)?\b|\babort(?:ed)?\b",
        r"(?i)\btraceback\b|\bunhandled\b|\bsegmentation fault\b|\bcore dumped\b",
        r"(?i)\bassert(?:ion)?\b.*\b(?:left|expected|failed)\b",
        r"(?i)\bexit(?:ed)?(?: with)?(?: code| status)?:? [1-9]\d*\b",
        r"(?i)\b(?:command not found|no such file|permission denied|out of memory|killed|timed out|cannot find|undefined reference)\b",
        r"^E\s{3}|^\s*[✗✘×]\s",
    ])
    .expect("compiles")
});

/// Lines that use these words to say that all is well.
#[expect(clippy::expect_used, reason = "constants; every test of this module compiles them")]
static CALM: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new([
        r"(?i)^(?:[^:]*\D)?\b(?:0|no) (?:errors?|failures?|failed)\b(?:[^1-9]*$|.*\b0 (?:errors?|failed)\b)",
        r"(?i)\btest result: ok\b",
        r"(?i)^\s*(?:compiling|downloading|downloaded|checking|adding|fetching|installing|collecting)\b",
        r"^\s*test\s.*\.\.\. ok$|^\s*ok\s|\bPASS(?:ED)?\b",
    ])
    .expect("compiles")
});

#[cfg(test)]
mod tests;
