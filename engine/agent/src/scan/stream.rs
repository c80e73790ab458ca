//! Looks at a log line by line. A key of several lines is taken out as one; everything else is judged within its line.
//! Must never hold back more than the state of one key.

use std::sync::LazyLock;

use regex::Regex;

use super::{Scanner, TokenKind};

/// The most lines that are taken for the rest of one key.
const LONGEST_KEY: usize = 200;

/// Cleans one line after the other.
#[derive(Debug, Clone)]
pub struct LineScanner {
    scanner: Scanner,
    /// How many lines of a key were taken out since it began.
    key: Option<usize>,
}

impl LineScanner {
    pub(super) fn new(scanner: Scanner) -> Self {
        Self { scanner, key: None }
    }

    /// The clean form of one line, without its end. `None`: the line belongs to a key that was reported before.
    pub fn line(&mut self, line: &str) -> Option<String> {
        if let Some(seen) = self.key {
            if ENDS.is_match(line) {
                self.key = None;
                return None;
            }
            if seen < LONGEST_KEY && INSIDE.is_match(line) {
                self.key = Some(seen + 1);
                return None;
            }
            self.key = None;
        }
        let clean = self.scanner.redact(line);
        if self.scanner.finds_tokens()
            && clean.ends_with(TokenKind::PrivateKey.preview())
            && !ENDS.is_match(line)
        {
            self.key = Some(0);
        }
        Some(clean)
    }
}

#[expect(clippy::expect_used, reason = "a constant; every test of this module compiles it")]
static ENDS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----").expect("compiles"));

/// A line of a key, with what a tool may put before it. The last one may be short.
#[expect(clippy::expect_used, reason = "a constant; every test of this module compiles it")]
static INSIDE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"^[\s|>"'+:,0-9]{0,40}(?:[A-Za-z0-9+/=]+|(?:Proc-Type|DEK-Info|Version|Comment|Hash):.{0,200}|)["'+,\\]{0,4}\s*$"#,
    )
    .expect("compiles")
});
