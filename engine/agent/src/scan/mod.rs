//! Texts that cross a boundary are looked at first: secrets are taken out, and what reads like an instruction or hides
//! from the eye is reported. A finding informs; what a node may do is decided by its sandbox and its tools, never here.
//! Must never show a part of a secret, in a text or in a finding, and never take more than linear time.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

mod fence;
mod likely;
mod markers;
mod stream;
mod tokens;
pub mod secrets;

#[cfg(test)]
mod tests;

pub use fence::{fence, neutralise, visible};
pub use markers::Marker;
pub use stream::LineScanner;
pub use tokens::TokenKind;

use secrets::Redactor;
use tokens::Tokens;

/// The most findings one scan reports; the others are counted.
pub const MOST_FINDINGS: usize = 100;

/// What is looked for. Known secrets of the run always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Well-known shapes of tokens and keys, which are taken out.
    pub tokens: bool,
    /// What reads like an instruction or hides from the eye, which is reported.
    pub markers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { tokens: true, markers: true }
    }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A secret of the run. It was taken out.
    Known,
    /// Something in the shape of a secret. It was taken out.
    Token(TokenKind),
    /// A value that looks random, given to a name that sounds secret. It stays: this is a guess.
    Guess,
    /// Something that addresses a model, or hides. It stays.
    Marker(Marker),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known => f.write_str("a secret of the run"),
            Self::Token(kind) => f.write_str(kind.as_str()),
            Self::Guess => f.write_str("a value that may be secret"),
            Self::Marker(marker) => f.write_str(marker.as_str()),
        }
    }
}

/// Something that was found. It holds nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// Where it begins in the clean text, in bytes.
    pub at: usize,
    /// How long it is there, in bytes.
    pub length: usize,
}

impl Finding {
    /// Whether something was taken out.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Known | Kind::Token(_))
    }
}

/// A text that was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// The text without its secrets.
    pub text: String,
    /// What was found, in the order of the text: secrets first, then the rest.
    pub findings: Vec<Finding>,
    /// How many more were found.
    pub more: usize,
    /// How many secrets were taken out.
    pub secrets: usize,
}

impl Scanned {
    fn add(&mut self, kind: Kind, place: Range<usize>) {
        let finding = Finding { kind, at: place.start, length: place.len() };
        self.secrets += usize::from(finding.is_secret());
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// The findings for a log: kinds with counts, and nothing of the text. `None` if there are none.
    pub fn summary(&self) -> Option<String> {
        let mut kinds: Vec<(Kind, usize)> = Vec::new();
        for finding in &self.findings {
            match kinds.iter_mut().find(|(kind, _)| *kind == finding.kind) {
                Some((_, count)) => *count += 1,
                None => kinds.push((finding.kind, 1)),
            }
        }
        let mut parts: Vec<String> = kinds
            .into_iter()
            .map(|(kind, count)| if count == 1 { kind.to_string() } else { format!("{kind} ({count})") })
            .collect();
        if self.more > 0 {
            parts.push(format!("{} more", self.more));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// Looks at texts. Made once for a run and shared.
#[derive(Debug, Clone)]
pub struct Scanner {
    known: Redactor,
    options: Options,
}

impl Scanner {
    /// With the secrets of the run.
    pub fn new(known: &Redactor, options: Options) -> Self {
        Self { known: known.clone(), options }
    }

    /// Looks at a whole text. Scan first, cut to size afterwards: what is cut first is not seen here.
    pub fn scan(&self, text: &str) -> Scanned {
        self.scan_bytes(text.as_bytes())
    }

    /// Looks at bytes. Those that are no text are replaced.
    pub fn scan_bytes(&self, bytes: &[u8]) -> Scanned {
        let text = std::str::from_utf8(bytes).ok();
        let known = self.known.places(bytes).into_iter().map(|(place, marker)| (place, Kind::Known, marker));
        // Both are found in the same text, so that taking out the one does not hide a part of the other.
        let mut cuts: Vec<Cut<'_>> = known.collect();
        cuts.extend(text.into_iter().flat_map(|text| self.tokens(text)));
        let nothing = cuts.is_empty();
        let mut clean = Clean::default();
        clean.cut(bytes, cuts);
        if text.is_none() || !nothing {
            // What was glued to a secret, or to bytes that are no text, is seen once these are gone.
            for _ in 0..MOST_LOOKS {
                let text = std::mem::take(&mut clean.text);
                let cuts: Vec<Cut<'_>> = self.tokens(&text).collect();
                let done = cuts.is_empty();
                clean.cut(text.as_bytes(), cuts);
                if done {
                    break;
                }
            }
        }
        self.report(clean)
    }

    fn tokens<'t>(&'t self, text: &'t str) -> impl Iterator<Item = Cut<'t>> {
        let tokens = self.options.tokens.then(Tokens::get);
        let found = tokens.into_iter().flat_map(|tokens| tokens.find(text));
        found.map(|(place, kind)| (place, Kind::Token(kind), kind.preview()))
    }

    fn report(&self, clean: Clean) -> Scanned {
        let mut scanned = Scanned::default();
        for (at, length, kind) in clean.found {
            scanned.add(kind, at..at + length);
        }
        let text = clean.text;
        if self.options.tokens {
            Tokens::get().guesses(&text).for_each(|place| scanned.add(Kind::Guess, place));
        }
        if self.options.markers {
            markers::find(&text, |marker, place| scanned.add(Kind::Marker(marker), place));
        }
        scanned.text = text;
        scanned
    }

    /// The clean text alone.
    pub fn redact(&self, text: &str) -> String {
        Self { options: Options { markers: false, ..self.options }, ..self.clone() }.scan(text).text
    }

    /// For logs that arrive line by line.
    pub fn lines(&self) -> LineScanner {
        LineScanner::new(self.clone())
    }

    pub(super) fn finds_tokens(&self) -> bool {
        self.options.tokens
    }
}

/// What is taken out, what it is, and what stands in its place.
type Cut<'a> = (Range<usize>, Kind, &'a str);

/// How often a text is looked at again after something was taken out. One more look than two is needed only by a text
/// that was made for it.
const MOST_LOOKS: usize = 4;

/// A text while secrets are taken out.
#[derive(Default)]
struct Clean {
    text: String,
    /// Where markers stand, how long they are, and for what.
    found: Vec<(usize, usize, Kind)>,
}

impl Clean {
    fn cut(&mut self, bytes: &[u8], cuts: Vec<Cut<'_>>) {
        let mut clean = Vec::with_capacity(bytes.len());
        let mut found = Vec::new();
        let mut before = std::mem::take(&mut self.found).into_iter().peekable();
        let mut at = 0;
        for (place, kind, marker) in joined(cuts) {
            while let Some((start, length, kind)) = before.next_if(|(start, ..)| *start < place.end) {
                if start < place.start {
                    found.push((clean.len() + start - at, length, kind));
                }
            }
            clean.extend_from_slice(&bytes[at..place.start]);
            found.push((clean.len(), marker.len(), kind));
            clean.extend_from_slice(marker.as_bytes());
            at = place.end;
        }
        found.extend(before.map(|(start, length, kind)| (clean.len() + start - at, length, kind)));
        clean.extend_from_slice(&bytes[at..]);
        // A secret that is not text can end inside a character; what is left of it is replaced too.
        self.text = String::from_utf8(clean)
            .unwrap_or_else(|broken| String::from_utf8_lossy(broken.as_bytes()).into_owned());
        self.found = found;
    }
}

/// In order, and joined where they overlap: the rest of a secret must not stay behind because another one began inside
/// it. A known secret gives its name to what it is part of, otherwise the longest does.
fn joined(mut places: Vec<Cut<'_>>) -> Vec<Cut<'_>> {
    places.sort_by_key(|(place, ..)| (place.start, std::cmp::Reverse(place.end)));
    let mut joined: Vec<(Range<usize>, Kind, &str, usize)> = Vec::with_capacity(places.len());
    for (place, kind, marker) in places {
        let weight = if kind == Kind::Known { usize::MAX } else { place.len() };
        match joined.last_mut().filter(|(last, ..)| last.end > place.start) {
            Some((last, its_kind, its_marker, its_weight)) => {
                last.end = last.end.max(place.end);
                if weight > *its_weight {
                    (*its_kind, *its_marker, *its_weight) = (kind, marker, weight);
                }
            }
            None => joined.push((place, kind, marker, weight)),
        }
    }
    joined.into_iter().map(|(place, kind, marker, _)| (place, kind, marker)).collect()
}
