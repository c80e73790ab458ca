//! What went over the wire and must not be seen: tokens, codes, proofs of clients. It is collected where it passes, so
//! that no text of a stranger carries it on. Gives none of it out.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::scan::secrets::{MAX_BYTES, MIN_BYTES, Redactor};

/// How much is remembered. Whoever talks for longer than this has had newer keys for long.
const MOST: usize = 24;

/// What must not be seen.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    values: Vec<(&'static str, String)>,
    redactor: Option<Redactor>,
}

impl Seen {
    /// Remembers a value; whether it can be recognised from now on.
    pub(super) fn add(&self, name: &'static str, value: &str) -> bool {
        if value.trim_ascii().len() < MIN_BYTES || value.len() > MAX_BYTES {
            return false;
        }
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = inner.values.iter().position(|(_, known)| known == value) {
            // What is still in use is the last to be forgotten.
            inner.values[at..].rotate_left(1);
            return true;
        }
        if inner.values.len() >= MOST {
            inner.values.remove(0);
        }
        inner.values.push((name, value.to_owned()));
        inner.redactor = None;
        true
    }

    /// The text without any of it.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.values.is_empty() {
            return text.to_owned();
        }
        let Inner { values, redactor } = &mut *inner;
        if redactor.is_none() {
            *redactor = Redactor::new(values).ok();
        }
        match redactor {
            Some(redactor) => redactor.redact_str(text),
            // Each value was measured; should they be too much together, nothing of the text is worth the risk.
            None => "[left out]".to_owned(),
        }
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seen")
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn what_passed_is_taken_out_in_every_spelling() {
        let seen = Seen::default();
        assert_eq!(seen.redact("an open sesame"), "an open sesame");
        assert!(seen.add("token", "open/sesame="));
        let text = "a open/sesame= b open%2Fsesame%3D c b3Blbi9zZXNhbWU9 d";
        assert_eq!(seen.redact(text), "a [secret:token] b [secret:token] c [secret:token] d");
        assert!(seen.add("code", "another"));
        assert_eq!(seen.redact("another open/sesame="), "[secret:code] [secret:token]");
        assert_eq!(format!("{seen:?}"), "Seen");
    }

    #[test]
    fn what_could_not_be_recognised_is_not_taken_in() {
        let seen = Seen::default();
        assert!(
            !seen.add("token", "abc") && !seen.add("token", "") && !seen.add("token", &"x".repeat(70_000))
        );
        assert_eq!(seen.redact("abc"), "abc");
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let seen = Seen::default();
        for number in 0..30 {
            seen.add("token", &format!("token-{number:02}-value"));
            seen.add("token", "in use");
        }
        let text = "token-00-value token-29-value in use";
        assert_eq!(seen.redact(text), "token-00-value [secret:token] [secret:token]");
    }
}
