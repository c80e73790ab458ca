//! What can be wrong with an expression, before it runs and while it runs.
//! Errors name places and names; they never quote the values an expression worked on.

use std::ops::Range;

/// A source that is not an expression or template of the language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// What is wrong, as a lowercase fragment.
    pub message: String,
    /// Where, in bytes of the source; always on character boundaries.
    pub range: Range<usize>,
    /// Which rule was broken, for findings that say more.
    pub kind: SyntaxErrorKind,
}

/// The rule a [`SyntaxError`] is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyntaxErrorKind {
    /// The source does not follow the grammar.
    Grammar,
    /// The source is too long, too nested or has too many operators.
    TooLarge,
    /// A filter with this name does not exist.
    UnknownFilter(String),
    /// A test with this name does not exist.
    UnknownTest(String),
    /// A function with this name does not exist, or the name is not a function.
    UnknownFunction(String),
    /// Part of the template language that this product leaves out, by name.
    Unsupported(String),
}

impl SyntaxError {
    pub(super) fn new(kind: SyntaxErrorKind, message: impl Into<String>, range: Range<usize>) -> Self {
        Self { message: message.into(), range, kind }
    }

    /// Moves the range onto character boundaries inside `source`: a library's idea of "one past
    /// the end" may be neither.
    pub(super) fn clamped_to(mut self, source: &str) -> Self {
        let start = floor_boundary(source, self.range.start.min(source.len()));
        let end = ceil_boundary(source, self.range.end.clamp(start, source.len()));
        self.range = start..end;
        self
    }
}

fn floor_boundary(source: &str, mut at: usize) -> usize {
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil_boundary(source: &str, mut at: usize) -> usize {
    while !source.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// A correct expression that has no value in this scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The evaluation took more instructions than any honest one needs.
    #[error("the expression runs for too long")]
    OutOfFuel,
    /// The evaluation built more text or lists than it may.
    #[error("the expression builds more than {limit} bytes of intermediate values")]
    TooMuchWork {
        /// The bound, in bytes.
        limit: u64,
    },
    /// The rendered text is too long.
    #[error("the rendered text is longer than {limit} bytes")]
    OutputTooLarge {
        /// The bound, in bytes.
        limit: u64,
    },
    /// A name has no value.
    #[error("`{path}` is not defined")]
    Undefined {
        /// The dotted name, as far as it is known.
        path: String,
        /// Where the source mentions it, in bytes, if that is certain.
        range: Option<Range<usize>>,
    },
    /// A value that has no place in an expression or in its result.
    #[error("{message}")]
    Value {
        /// What is wrong with it, as a lowercase fragment.
        message: String,
    },
    /// An operation that does not fit its operands.
    #[error("{message}")]
    Type {
        /// What does not fit, as a lowercase fragment.
        message: String,
        /// Where, in bytes of the source, if known.
        range: Option<Range<usize>>,
    },
}
