//! A map of a repository within a budget of tokens: its definitions, those first that the rest of it speaks of most.
//! Parsers written in C read files that nobody vouches for, so this belongs into the sandbox of a node, beside the file
//! tools, and never into the process of the engine. Must never fail for a file that cannot be parsed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{Family, count};

mod language;

use language::Language;

/// A longer file is not parsed, in bytes.
pub const MAPPED_AT_MOST: usize = 256 * 1024;
/// The most bytes that are parsed for one map.
const MOST_BYTES: usize = 16 << 20;
/// A line of a definition is cut after this many characters.
const LONGEST: usize = 120;
/// Definitions with a shorter name say little, and their references even less.
const SHORTEST_NAME: usize = 3;

/// A file of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Relative to the workspace.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// A map.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// For the context of a model: each file with its definitions and their lines. Content of the workspace.
    pub text: String,
    /// The most tokens it has.
    pub tokens: u64,
    /// Definitions that are on it.
    pub shown: usize,
    /// Definitions there are.
    pub definitions: usize,
    /// Files that were parsed.
    pub files: usize,
    /// Files that were not, because they are too long, in no language we know, or cannot be parsed.
    pub skipped: usize,
}

/// Whether files of this name can be mapped.
pub fn speaks(path: &str) -> bool {
    Language::of(path).is_some()
}

struct Definition {
    file: usize,
    line: usize,
    text: String,
    name: String,
    /// How much the rest of the repository speaks of it, in thousandths.
    rank: u64,
}

/// Maps `sources` into at most `budget` tokens.
pub fn map(family: Family, sources: &[Source], budget: u64) -> Map {
    let mut sorted: Vec<&Source> = sources.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut made = Map::default();
    let mut definitions: Vec<Definition> = Vec::new();
    // For each name, how often each file speaks of it.
    let mut spoken: BTreeMap<String, BTreeMap<usize, u64>> = BTreeMap::new();
    let mut room = MOST_BYTES;
    let mut parser = language::Parser::default();
    for (file, source) in sorted.iter().enumerate() {
        let known = Language::of(&source.path).filter(|_| source.text.len() <= MAPPED_AT_MOST.min(room));
        let Some(tags) = known.and_then(|language| parser.tags(language, &source.text)) else {
            made.skipped += 1;
            continue;
        };
        room -= source.text.len();
        made.files += 1;
        for tag in tags {
            if tag.defines {
                let text = line(&source.text, tag.at);
                definitions.push(Definition { file, line: tag.line, text, name: tag.name, rank: 0 });
            } else {
                *spoken.entry(tag.name).or_default().entry(file).or_default() += 1;
            }
        }
    }
    definitions.sort_by(|a, b| (a.file, a.line, &a.name).cmp(&(b.file, b.line, &b.name)));
    definitions.dedup_by(|a, b| (a.file, a.line) == (b.file, b.line));
    made.definitions = definitions.len();
    rank(&mut definitions, &spoken);
    choose(family, &sorted, &definitions, budget, &mut made);
    made
}

/// References from other files count in full, those of its own file a tenth; a name that many share is shared by them.
fn rank(definitions: &mut [Definition], spoken: &BTreeMap<String, BTreeMap<usize, u64>>) {
    let mut bearers: BTreeMap<String, u64> = BTreeMap::new();
    for definition in definitions.iter() {
        *bearers.entry(definition.name.clone()).or_default() += 1;
    }
    for definition in definitions {
        if definition.name.chars().count() < SHORTEST_NAME {
            continue;
        }
        let from = spoken.get(&definition.name).into_iter().flatten();
        // Of a file that speaks of nothing else, a few mentions are enough.
        let sum: u64 = from
            .map(
                |(file, times)| {
                    if *file == definition.file { times.min(&10) * 100 } else { times.min(&10) * 1000 }
                },
            )
            .sum();
        definition.rank = sum / bearers.get(&definition.name).copied().unwrap_or(1).max(1);
    }
}

/// The most spoken of first, as long as they fit.
fn choose(family: Family, sources: &[&Source], definitions: &[Definition], budget: u64, made: &mut Map) {
    let mut order: Vec<usize> = (0..definitions.len()).collect();
    order.sort_by_key(|which| (std::cmp::Reverse(definitions[*which].rank), *which));
    // As many as fit, by halving: each one more makes the map longer.
    let (mut fits, mut too_many) = (0, order.len() + 1);
    while too_many - fits > 1 {
        let middle = fits.midpoint(too_many);
        let text = drawn(sources, definitions, &order[..middle]);
        if count(family, &text) <= budget {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    made.text = drawn(sources, definitions, &order[..fits]);
    made.tokens = count(family, &made.text);
    made.shown = fits;
}

fn drawn(sources: &[&Source], definitions: &[Definition], chosen: &[usize]) -> String {
    let chosen: BTreeSet<usize> = chosen.iter().copied().collect();
    let mut text = String::new();
    let mut file = None;
    // Definitions stand in the order of files and lines.
    for which in chosen {
        let definition = &definitions[which];
        if file != Some(definition.file) {
            file = Some(definition.file);
            text.push_str(&crate::scan::visible(&sources[definition.file].path.replace(['\n', '\r'], "?")));
            text.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {} {}", definition.line, definition.text);
    }
    text
}

/// The line that begins a definition, without what opens its body.
fn line(text: &str, at: usize) -> String {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or_default().trim();
    let line = line.trim_end_matches(['{', ':', '(', ' ']).trim_end();
    let mut shown: String = line.chars().take(LONGEST).filter(|c| !c.is_control()).collect();
    if line.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
