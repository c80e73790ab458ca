//! The set of secrets of one run, compiled for searching. It is built once and shared; it never
//! prints a value, not even in its own errors.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};

use super::forms;
use super::stream::RedactStream;

/// Shortest secret that can be redacted, in bytes. A shorter one occurs in ordinary text by chance,
/// so removing it would destroy the text, and the holes would spell it out.
pub const MIN_BYTES: usize = 4;

/// Longest secret that can be redacted, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// Longest part of a secret's name that appears in a marker, in bytes.
const NAME_BYTES: usize = 64;

/// Why a set of secrets cannot be redacted. The run must not start: its logs would not be safe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedactError {
    /// The value is too short to be recognised.
    #[error(
        "secret `{name}` has {length} bytes: it cannot be kept out of logs without destroying them, use at least {MIN_BYTES}"
    )]
    TooShort {
        /// Name of the secret.
        name: String,
        /// Length of its value without surrounding white space, in bytes.
        length: usize,
    },
    /// The value is too long to be searched for.
    #[error("secret `{name}` has {length} bytes, more than the {MAX_BYTES} that can be kept out of logs")]
    TooLong {
        /// Name of the secret.
        name: String,
        /// Length of its value, in bytes.
        length: usize,
    },
    /// All secrets together are too large to be searched for.
    #[error("the secrets are too large to be kept out of logs")]
    TooMany,
}

/// Finds secrets in text and replaces them by `[secret:NAME]`.
#[derive(Clone)]
pub struct Redactor {
    index: Arc<Index>,
}

pub(super) struct Index {
    automaton: NFA,
    start: StateID,
    /// How much of some form each state has seen; states that are not listed have seen nothing.
    depths: HashMap<StateID, usize>,
    /// The marker of each form.
    markers: Vec<Arc<str>>,
}

impl Redactor {
    /// Compiles `(name, value)` pairs. Values are bytes; a value that appears under two names is
    /// reported under the first.
    pub fn new<N: AsRef<str>, V: AsRef<[u8]>>(secrets: &[(N, V)]) -> Result<Self, RedactError> {
        let mut patterns: BTreeMap<Vec<u8>, Arc<str>> = BTreeMap::new();
        for (name, value) in secrets {
            let (name, value) = (name.as_ref(), value.as_ref());
            let length = value.trim_ascii().len();
            if length < MIN_BYTES {
                return Err(RedactError::TooShort { name: name.to_owned(), length });
            }
            if value.len() > MAX_BYTES {
                return Err(RedactError::TooLong { name: name.to_owned(), length: value.len() });
            }
            let marker: Arc<str> = marker(name).into();
            for form in forms::of(value) {
                patterns.entry(form).or_insert_with(|| Arc::clone(&marker));
            }
        }
        let automaton = NFA::builder()
            .match_kind(MatchKind::Standard)
            .prefilter(false)
            .build(patterns.keys())
            .map_err(|_| RedactError::TooMany)?;
        let start = automaton.start_state(Anchored::No).map_err(|_| RedactError::TooMany)?;
        let mut depths = HashMap::new();
        for pattern in patterns.keys() {
            let mut state = start;
            for (seen, &byte) in pattern.iter().enumerate() {
                state = automaton.next_state(Anchored::No, state, byte);
                depths.insert(state, seen + 1);
            }
        }
        let markers = patterns.into_values().collect();
        Ok(Self { index: Arc::new(Index { automaton, start, depths, markers }) })
    }

    /// A filter for text that arrives in pieces.
    pub fn stream(&self) -> RedactStream {
        RedactStream::new(Arc::clone(&self.index))
    }

    /// Redacts a whole text.
    pub fn redact(&self, text: &[u8]) -> Vec<u8> {
        let mut stream = self.stream();
        let mut clean = stream.push(text);
        clean.extend(stream.finish());
        clean
    }

    /// Where a whole text holds secrets, in order, never overlapping, with the marker that stands for each.
    pub fn places(&self, text: &[u8]) -> Vec<(Range<usize>, &str)> {
        let mut joined: Vec<(Range<usize>, usize, usize)> = Vec::new();
        let mut state = self.index.start();
        for (at, &byte) in text.iter().enumerate() {
            state = self.index.next(state, byte);
            let Some(found) = self.index.longest(state) else { continue };
            let end = at + 1;
            let (mut start, mut longest, mut pattern) = (end - found.length, found.length, found.pattern);
            while let Some((before, length, which)) = joined.pop_if(|(before, ..)| before.end > start) {
                start = start.min(before.start);
                if length >= longest {
                    (longest, pattern) = (length, which);
                }
            }
            joined.push((start..end, longest, pattern));
        }
        joined.into_iter().map(|(place, _, pattern)| (place, self.index.marker(pattern))).collect()
    }

    /// Redacts a whole text.
    pub fn redact_str(&self, text: &str) -> String {
        // A secret that is not text can end inside a character; what is left of it is replaced too.
        String::from_utf8(self.redact(text.as_bytes()))
            .unwrap_or_else(|broken| String::from_utf8_lossy(broken.as_bytes()).into_owned())
    }
}

/// One occurrence of a form, ending where the search stands.
pub(super) struct Found {
    pub(super) pattern: usize,
    pub(super) length: usize,
}

impl Index {
    pub(super) fn start(&self) -> StateID {
        self.start
    }

    pub(super) fn next(&self, state: StateID, byte: u8) -> StateID {
        self.automaton.next_state(Anchored::No, state, byte)
    }

    /// The longest form that ends in `state`.
    pub(super) fn longest(&self, state: StateID) -> Option<Found> {
        if !self.automaton.is_match(state) {
            return None;
        }
        (0..self.automaton.match_len(state))
            .map(|which| {
                let pattern = self.automaton.match_pattern(state, which);
                Found { pattern: pattern.as_usize(), length: self.automaton.pattern_len(pattern) }
            })
            .max_by_key(|found| found.length)
    }

    /// How many of the last bytes may turn out to be the beginning of a form.
    pub(super) fn undecided(&self, state: StateID) -> usize {
        self.depths.get(&state).copied().unwrap_or(0)
    }

    pub(super) fn marker(&self, pattern: usize) -> &str {
        &self.markers[pattern]
    }
}

/// The text that stands for a secret. Names come from configuration and end up in terminals and
/// pages, so only plain letters pass.
fn marker(name: &str) -> String {
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.') { letter } else { '_' }
    };
    let name: String = name.chars().take(NAME_BYTES).map(plain).collect();
    format!("[secret:{name}]")
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("forms", &self.index.markers.len()).finish_non_exhaustive()
    }
}
