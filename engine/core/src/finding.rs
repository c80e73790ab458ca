//! What a check has to say about a blueprint: one finding with a code, a place, a reason and a fix. Data only;
//! the command line words and draws it.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::Serialize;

use crate::source::Span;
pub use code::{ALL_CODES, Code};

mod code;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The blueprint can run, but probably not as meant.
    Warning,
    /// The blueprint must not run.
    Error,
}

/// A second place that explains the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Where.
    pub span: Span,
    /// What is there.
    pub text: String,
}

/// One thing that is wrong with a blueprint, or probably wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The stable code, see [`Code`].
    pub code: Code,
    /// Whether it stops a run.
    pub severity: Severity,
    /// What happened, in one line.
    pub message: String,
    /// Where, if it is at a place.
    pub span: Option<Span>,
    /// What to say right at the place.
    pub label: String,
    /// Other places that matter.
    pub notes: Vec<Note>,
    /// Why it is a fault, if the message does not say it already.
    pub reason: Option<String>,
    /// What to do.
    pub fix: Option<String>,
}

impl Finding {
    /// A finding at the severity its code has.
    pub fn new(code: Code, span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            message: message.into(),
            span: span.into(),
            label: String::new(),
            notes: Vec::new(),
            reason: None,
            fix: None,
        }
    }

    /// Sets the text right at the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn note(mut self, span: Span, text: impl Into<String>) -> Self {
        self.notes.push(Note { span, text: text.into() });
        self
    }

    /// Says why it is a fault.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// All findings of one check, in the order of their places.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds one. The same finding may come more than once; [`Findings::sort`] keeps one of them.
    pub fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Adds all of another set.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Takes out those of a code that came after the first `known` ones, because they follow from another.
    pub(crate) fn forget(&mut self, known: usize, code: Code) {
        let later = self.0.split_off(known.min(self.0.len()));
        self.0.extend(later.into_iter().filter(|finding| finding.code != code));
    }

    /// True if one of them stops a run.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|f| f.severity == Severity::Error)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In order.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.0.iter()
    }

    /// Orders them by file and place and drops those that say the same of the same place; findings without a
    /// place come last.
    pub fn sort(&mut self) {
        let mut known = BTreeSet::new();
        self.0.retain(|finding| known.insert((finding.code, finding.span.clone(), finding.message.clone())));
        self.0.sort_by(|a, b| match (&a.span, &b.span) {
            (Some(x), Some(y)) => (&x.file, x.start, a.code).cmp(&(&y.file, y.start, b.code)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => a.code.cmp(&b.code),
        });
    }
}

impl<'a> IntoIterator for &'a Findings {
    type Item = &'a Finding;
    type IntoIter = std::slice::Iter<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The known name nearest to `wrong`, if one is near enough to be what was meant.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = Letters::of(wrong);
    known
        .into_iter()
        .filter_map(|name| {
            let other = Letters::of(name);
            let allowed = slips(letters.count.min(other.count));
            // Every slip adds or takes at most one letter, or turns one into another.
            if letters.count.abs_diff(other.count) > allowed || letters.differ(&other) > 2 * allowed {
                return None;
            }
            let distance =
                if wrong.eq_ignore_ascii_case(name) { 0 } else { strsim::damerau_levenshtein(wrong, name) };
            (distance <= allowed).then_some((distance, name))
        })
        .min()
        .map(|(_, name)| name)
}

/// How many slips of the pen are likely in a name of `length` characters: none in a single letter, since any
/// other letter would be as near.
fn slips(length: usize) -> usize {
    match length {
        0 | 1 => 0,
        2..=4 => 1,
        _ => length.div_ceil(3),
    }
}

/// Which letters a name has, for telling at little cost that two names are far apart.
struct Letters {
    count: usize,
    set: u32,
}

impl Letters {
    fn of(name: &str) -> Self {
        let bit = |c: char| 1_u32 << (u32::from(c.to_ascii_lowercase()) % 32);
        name.chars().fold(Self { count: 0, set: 0 }, |known, c| Self {
            count: known.count + 1,
            set: known.set | bit(c),
        })
    }

    fn differ(&self, other: &Self) -> usize {
        (self.set ^ other.set).count_ones() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_that_may_have_been_meant() {
        assert_eq!(nearest("biuld", ["build", "test"]), Some("build"));
        assert_eq!(nearest("post", ["GET", "POST"]), Some("POST"));
        assert_eq!(nearest("timout", ["time", "timeout"]), Some("timeout"));
        assert_eq!(nearest("x", ["a", "b"]), None);
        assert_eq!(nearest("deploy", ["build", "test"]), None);
    }

    #[test]
    fn a_finding_is_told_once() {
        let mut findings = Findings::default();
        let file = "a.toml".into();
        for at in [5, 1, 5] {
            findings.push(Finding::new(Code::Syntax, Span::new(&file, at..at + 1), "no"));
        }
        findings.sort();
        assert_eq!(
            findings.iter().map(|finding| finding.span.as_ref().unwrap().start).collect::<Vec<_>>(),
            [1, 5]
        );
    }
}
