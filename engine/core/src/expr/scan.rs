//! Counts tokens, brackets and blocks before anything recursive looks at a source.
//! It never builds a tree, so no source can exhaust the stack here.

use std::ops::Range;

use minijinja::machinery::{Token, Tokenizer};
use minijinja::syntax::SyntaxConfig;

use super::error::{SyntaxError, SyntaxErrorKind};
use super::limits;

/// Whether a source is one bare expression or text with delimiters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    Expression,
    Template,
}

/// The first template delimiter (`{{`, `{%` or `{#`) in `text`, in bytes.
pub fn contains_template(text: &str) -> Option<Range<usize>> {
    text.as_bytes()
        .windows(2)
        .position(|pair| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#'))
        .map(|at| at..at + 2)
}

/// Refuses sources the parser could not handle within a small stack.
pub(super) fn check(source: &str, grammar: Grammar, syntax: SyntaxConfig) -> Result<(), SyntaxError> {
    let (limit, what) = match grammar {
        Grammar::Expression => (limits::EXPR_BYTES, "expression"),
        Grammar::Template => (limits::TEXT_BYTES, "template"),
    };
    if source.len() > limit {
        return Err(too_large(format!("the {what} is longer than {limit} bytes"), 0..source.len()));
    }
    let mut tokenizer = Tokenizer::new(source, "", grammar == Grammar::Expression, syntax);
    let mut shape = Shape::default();
    while let Some((token, span)) = tokenizer.next_token().map_err(|error| from_engine(&error, source))? {
        shape
            .step(&token)
            .map_err(|message| too_large(message, span.start_offset as usize..span.end_offset as usize))?;
    }
    Ok(())
}

/// Turns an error of the template engine's lexer or parser into ours.
pub(super) fn from_engine(error: &minijinja::Error, source: &str) -> SyntaxError {
    let range = error.range().unwrap_or(0..source.len());
    let detail = error.detail().unwrap_or("not a valid expression");
    let mut letters = detail.chars();
    let mut message: String =
        letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default();
    let kind = match detail.strip_prefix("unknown statement ") {
        Some(name) => {
            message = format!("`{{% {name} %}}` is not part of the template language");
            SyntaxErrorKind::Unsupported(name.to_owned())
        }
        None => SyntaxErrorKind::Grammar,
    };
    let error = SyntaxError::new(kind, message, range).clamped_to(source);
    with_hint(error, source)
}

/// People bring habits from other languages; say the word this one uses.
fn with_hint(mut error: SyntaxError, source: &str) -> SyntaxError {
    const HABITS: [(&str, &str); 3] = [("&&", "and"), ("||", "or"), ("!", "not")];
    let start = error.range.start;
    // One `|` is an operator, so the parser may complain about the second one only.
    for at in [start.saturating_sub(1), start] {
        let Some(rest) = source.get(at..) else { continue };
        for (habit, word) in HABITS {
            let reaches = at + habit.len() > start;
            if reaches && rest.starts_with(habit) && !rest.starts_with("!=") {
                error.message = format!("write `{word}` instead of `{habit}`");
                error.range = at..at + habit.len();
                return error;
            }
        }
    }
    error
}

fn too_large(message: String, range: Range<usize>) -> SyntaxError {
    SyntaxError::new(SyntaxErrorKind::TooLarge, message, range)
}

/// Running totals of the part of the source between two delimiters, and of the open blocks.
#[derive(Default)]
struct Shape {
    tokens: usize,
    brackets: usize,
    /// `elif` branches seen in each open block.
    blocks: Vec<usize>,
    /// In a statement: opens a block at its end unless an assignment shows up first.
    pending_set: bool,
    statement_starts: bool,
}

impl Shape {
    fn step(&mut self, token: &Token<'_>) -> Result<(), String> {
        let statement_starts = std::mem::take(&mut self.statement_starts);
        match token {
            Token::TemplateData(_) => return Ok(()),
            Token::VariableStart | Token::BlockStart => {
                self.tokens = 0;
                self.brackets = 0;
                self.pending_set = false;
                self.statement_starts = matches!(token, Token::BlockStart);
                return Ok(());
            }
            Token::BlockEnd if std::mem::take(&mut self.pending_set) => self.open_block()?,
            Token::Ident(word) if statement_starts => self.keyword(word)?,
            Token::Assign if self.brackets == 0 => self.pending_set = false,
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => self.brackets += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                self.brackets = self.brackets.saturating_sub(1);
            }
            _ => {}
        }
        self.tokens += 1;
        if self.tokens > limits::TOKENS {
            return Err(format!("the expression has more than {} tokens", limits::TOKENS));
        }
        if self.brackets > limits::BRACKETS {
            return Err(format!("more than {} brackets are open here", limits::BRACKETS));
        }
        Ok(())
    }

    fn keyword(&mut self, word: &str) -> Result<(), String> {
        match word {
            "for" | "if" | "with" | "filter" => self.open_block()?,
            "set" => self.pending_set = true,
            "elif" => {
                let branches = self.blocks.last_mut().map(|branches| {
                    *branches += 1;
                    *branches
                });
                if branches > Some(limits::BRANCHES) {
                    return Err(format!("more than {} `elif` branches", limits::BRANCHES));
                }
            }
            _ if word.starts_with("end") => {
                self.blocks.pop();
            }
            _ => {}
        }
        Ok(())
    }

    fn open_block(&mut self) -> Result<(), String> {
        self.blocks.push(0);
        if self.blocks.len() > limits::BLOCKS {
            return Err(format!("more than {} blocks are open here", limits::BLOCKS));
        }
        Ok(())
    }
}
