//! The bounds of the expression language. None of them can be raised by a blueprint.

/// Longest source of an [`Expr`](super::Expr), in bytes.
pub(super) const EXPR_BYTES: usize = 1024;

/// Longest source of a [`Text`](super::Text), in bytes.
pub(super) const TEXT_BYTES: usize = 256 * 1024;

/// Tokens between two delimiters of a template, or in a whole expression. The parser recurses once
/// per operator, so this is what keeps its stack small.
pub(super) const TOKENS: usize = 256;

/// Brackets that may be open at the same time.
pub(super) const BRACKETS: usize = 10;

/// Blocks (`for`, `if`, …) that may be open at the same time.
pub(super) const BLOCKS: usize = 10;

/// `elif` branches of one `if`; the parser recurses once per branch.
pub(super) const BRANCHES: usize = 16;

/// Instructions one evaluation may execute.
pub(super) const FUEL: u64 = 250_000;

/// Bytes one rendering may emit, captured blocks included.
pub(super) const OUTPUT_BYTES: u64 = 1024 * 1024;

/// Bytes and list items one evaluation may build on the way to its result.
pub(super) const WORK: u64 = 8 * 1024 * 1024;

/// Nesting of values that enter, leave or are built by an expression.
pub(super) const VALUE_DEPTH: usize = 128;

/// Items of one `range()`.
pub(super) const RANGE_ITEMS: i64 = 10_000;

/// Widest indentation of `indent` and `tojson`, in spaces.
pub(super) const INDENT: usize = 64;
