//! Redacts text that arrives in pieces of any size. It holds back only what may turn out to be the
//! beginning of a secret, which is never more than the longest form of one.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use aho_corasick::automaton::StateID;

use super::redactor::Index;

/// A filter between a producer of bytes and whatever keeps them. Call [`push`](Self::push) for each
/// piece and [`finish`](Self::finish) once; a stream that is dropped unfinished loses its tail and
/// leaks nothing.
pub struct RedactStream {
    index: Arc<Index>,
    state: StateID,
    /// Bytes not handed out yet; the first one is at `base`.
    pending: Vec<u8>,
    base: u64,
    /// Stretches to remove, in order, never overlapping, all beginning at or after the last byte
    /// handed out. The first one may have begun before `base`: what it covers is not kept.
    removed: VecDeque<Stretch>,
}

/// Bytes `start..end` of the whole input, which one marker replaces.
struct Stretch {
    start: u64,
    end: u64,
    /// The longest single form inside, which gives the stretch its name.
    pattern: usize,
    longest: usize,
}

impl RedactStream {
    pub(super) fn new(index: Arc<Index>) -> Self {
        let state = index.start();
        Self { index, state, pending: Vec::new(), base: 0, removed: VecDeque::new() }
    }

    /// Takes the next piece; returns what is certain to be clean so far.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut at = self.end();
        self.pending.extend_from_slice(piece);
        for &byte in piece {
            at += 1;
            self.state = self.index.next(self.state, byte);
            if let Some(found) = self.index.longest(self.state) {
                let start = at - found.length as u64;
                self.remove(Stretch { start, end: at, pattern: found.pattern, longest: found.length });
            }
        }
        self.release(at - self.index.undecided(self.state) as u64)
    }

    /// Ends the input; returns the rest of it.
    pub fn finish(mut self) -> Vec<u8> {
        self.release(self.end())
    }

    fn end(&self) -> u64 {
        self.base + self.pending.len() as u64
    }

    /// Notes a stretch that ends where the input stands, joined with those it overlaps: the rest of
    /// a secret must not stay behind because another one began inside it.
    fn remove(&mut self, mut stretch: Stretch) {
        while let Some(last) = self.removed.pop_back_if(|last| last.end > stretch.start) {
            stretch.start = stretch.start.min(last.start);
            if last.longest >= stretch.longest {
                stretch.longest = last.longest;
                stretch.pattern = last.pattern;
            }
        }
        self.removed.push_back(stretch);
    }

    /// Hands out everything before `decided`, the place where the first undecided byte stands.
    fn release(&mut self, decided: u64) -> Vec<u8> {
        let mut clean = Vec::with_capacity(self.pending.len());
        let mut at = self.base;
        while let Some(stretch) = self.removed.front() {
            if stretch.start >= decided {
                break;
            }
            clean.extend_from_slice(self.between(at, stretch.start));
            at = stretch.end;
            if stretch.end > decided {
                // It may still grow. Its bytes are gone for good, its marker waits.
                break;
            }
            clean.extend_from_slice(self.index.marker(stretch.pattern).as_bytes());
            self.removed.pop_front();
        }
        clean.extend_from_slice(self.between(at, decided));
        let keep_from = at.max(decided.min(self.end()));
        self.pending.drain(..self.offset(keep_from));
        self.base = keep_from;
        clean
    }

    fn between(&self, from: u64, to: u64) -> &[u8] {
        if from < to { &self.pending[self.offset(from)..self.offset(to)] } else { &[] }
    }

    fn offset(&self, place: u64) -> usize {
        (place - self.base) as usize
    }
}

impl fmt::Debug for RedactStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedactStream").field("held_back", &self.pending.len()).finish_non_exhaustive()
    }
}
