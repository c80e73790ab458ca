//! Keeps secret values out of everything a run writes down: logs, transcripts, errors.
//! A byte that belongs to an occurrence of a secret, in any form listed in `forms`, never comes out
//! again. What it must never do: fail open, or hold back text without bound.

mod forms;
mod redactor;
mod stream;

#[cfg(test)]
mod tests;

pub use redactor::{MAX_BYTES, MIN_BYTES, RedactError, Redactor};
pub use stream::RedactStream;
