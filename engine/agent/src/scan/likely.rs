//! Many patterns over one text, cheaply: a single search for words says which of them can match at all, and only these
//! are ever compiled. All of them take linear time: the engine never goes back.

use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use regex::{Regex, RegexBuilder};

/// A set of patterns.
pub(super) struct Likely<T> {
    words: AhoCorasick,
    /// Which pattern each word belongs to.
    of_word: Vec<usize>,
    patterns: Vec<(T, String, OnceLock<Regex>)>,
}

impl<T: Copy> Likely<T> {
    /// Each pattern with words in small letters, one of which stands in every text that it matches.
    #[expect(clippy::expect_used, reason = "constants; a test compiles them all")]
    pub(super) fn new<'p>(patterns: impl Iterator<Item = (T, &'p [&'p str], String)>) -> Self {
        let (mut words, mut of_word, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for (which, (what, its_words, pattern)) in patterns.enumerate() {
            words.extend_from_slice(its_words);
            of_word.resize(words.len(), which);
            all.push((what, pattern, OnceLock::new()));
        }
        let words = AhoCorasick::builder().ascii_case_insensitive(true).build(words);
        Self { words: words.expect("the words compile"), of_word, patterns: all }
    }

    /// The patterns that may match.
    pub(super) fn of<'t>(&'t self, text: &str) -> impl Iterator<Item = (T, &'t Regex)> + use<'t, T> {
        let mut likely = vec![false; self.patterns.len()];
        for found in self.words.find_overlapping_iter(text) {
            likely[self.of_word[found.pattern().as_usize()]] = true;
        }
        let chosen = self.patterns.iter().zip(likely).filter(|(_, likely)| *likely);
        chosen.map(|((what, pattern, regex), _)| (*what, regex.get_or_init(|| compiled(pattern))))
    }

    #[cfg(test)]
    pub(super) fn compile_all(&self) -> usize {
        self.patterns.iter().for_each(|(_, pattern, _)| drop(compiled(pattern)));
        self.patterns.len()
    }
}

/// A pattern of this program. Words and their edges are those of ASCII.
#[expect(clippy::expect_used, reason = "constants; a test compiles them all")]
pub(super) fn compiled(pattern: &str) -> Regex {
    let pattern = pattern.replace(r"\b", r"(?-u:\b)");
    RegexBuilder::new(&pattern).size_limit(16 << 20).build().expect("a pattern compiles")
}
