//! What is wrong with the file of a scenario, with its place. Words what the parser says; never guesses a meaning.

use std::ops::Range;

use blueprint_core::finding::nearest;
use blueprint_core::source::line_column;

/// One thing that is wrong with the file of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct Wrong {
    /// The file, relative to the project.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl Wrong {
    pub(super) fn at(file: &str, text: &str, range: &Range<usize>, message: impl Into<String>) -> Self {
        let (line, column) = line_column(text, range.start);
        Self { file: file.to_owned(), line, column, message: message.into() }
    }

    /// What the parser says. It names what it knows in one long line; the nearest is of more use.
    pub(super) fn of(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let range = error.span().unwrap_or(0..0);
        Self::at(file, text, &range, worded(error.message()))
    }
}

fn worded(said: &str) -> String {
    for (kind, what) in [("unknown field `", "key"), ("unknown variant `", "value")] {
        let Some(rest) = said.strip_prefix(kind) else { continue };
        let Some((name, rest)) = rest.split_once('`') else { continue };
        let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        return unknown(what, name, known);
    }
    said.trim().replace('\n', " ")
}

/// A name that means nothing here.
pub(super) fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    let help = match (nearest(name, known.iter().copied()), known.as_slice()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => "there is none".to_owned(),
        (None, some) => format!("there are {}", some.join(", ")),
    };
    format!("unknown {what} `{name}`; {help}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parser_says_becomes_a_sentence_with_the_nearest_name() {
        let said = "unknown field `outcom`, expected one of `outcome`, `route`, `nodes`";
        assert_eq!(worded(said), "unknown key `outcom`; did you mean `outcome`?");
        let said = "unknown variant `maybe`, expected `approved` or `rejected`";
        assert_eq!(worded(said), "unknown value `maybe`; there are approved, rejected");
        assert_eq!(worded("missing field `at`\n"), "missing field `at`");
    }
}
