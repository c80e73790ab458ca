//! `fs.search`: lines that match a pattern, found with ripgrep's libraries. Only looks. Patterns are matched in linear
//! time and their size is bounded.

use std::fmt::Write as _;
use std::io;

use globset::{GlobBuilder, GlobMatcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkFinish, SinkMatch};
use serde::Deserialize;

use super::read::cut;
use super::tree::{LARGEST, Tree};
use super::walk::{Kind, name, walk};
use super::{Fault, LONGEST_TEXT};
use crate::tool::arguments::shown;

/// How many matches are shown.
const MOST: u64 = 200;
/// How much of a line is shown, in characters.
const LONGEST_LINE: usize = 400;
/// The largest compiled pattern, in bytes.
const LARGEST_PATTERN: usize = 4 * 1024 * 1024;
/// How deep a pattern may be nested.
const DEEPEST_PATTERN: u32 = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    pattern: String,
    #[serde(default)]
    path: String,
    glob: Option<String>,
    #[serde(default)]
    context: usize,
    #[serde(default)]
    literal: bool,
    #[serde(default)]
    ignore_case: bool,
    #[serde(default)]
    ignored: bool,
}

pub(super) fn search(tree: &Tree, arguments: &Arguments) -> Result<String, Fault> {
    let matcher = pattern(arguments)?;
    let glob = arguments.glob.as_deref().map(glob).transpose()?;
    let mut searcher = SearcherBuilder::new()
        .line_number(true)
        .before_context(arguments.context)
        .after_context(arguments.context)
        .binary_detection(BinaryDetection::quit(0))
        .heap_limit(Some(LARGEST))
        .build();
    let mut found = Matches::default();
    let mut skipped = 0_u32;
    for step in walk(tree, &arguments.path, None, arguments.ignored)? {
        if step.kind != Some(Kind::File) || glob.as_ref().is_some_and(|glob| !glob.is_match(&step.path)) {
            continue;
        }
        // Opened below the workspace once more: what was a file for the walk may be a link by now.
        let Some(file) = step.path.to_str().and_then(|path| tree.file(path).ok()) else {
            skipped += 1;
            continue;
        };
        if file.metadata().map_or(true, |metadata| metadata.len() > LARGEST as u64) {
            skipped += 1;
            continue;
        }
        found.begin(name(&step.path));
        if searcher.search_reader(&matcher, file, &mut found).is_err() {
            skipped += 1;
        }
        if found.full {
            break;
        }
    }
    let mut out = found.out;
    if out.is_empty() {
        out.push_str("no match\n");
    }
    if found.full {
        let _ = writeln!(
            out,
            "[more than these {} matches: narrow the pattern, the path or the glob]",
            found.count
        );
    }
    if skipped > 0 {
        let _ = writeln!(out, "[{skipped} files were not searched: too large, or they cannot be read]");
    }
    Ok(out)
}

fn pattern(arguments: &Arguments) -> Result<RegexMatcher, Fault> {
    RegexMatcherBuilder::new()
        .case_insensitive(arguments.ignore_case)
        .fixed_strings(arguments.literal)
        .line_terminator(Some(b'\n'))
        .size_limit(LARGEST_PATTERN)
        .dfa_size_limit(LARGEST_PATTERN)
        .nest_limit(DEEPEST_PATTERN)
        .build(&arguments.pattern)
        .map_err(|error| {
            Fault::Told(format!("the pattern cannot be used: {}", shown(&error.to_string(), 400)))
        })
}

/// A glob without a `/` is one of file names, anywhere.
fn glob(glob: &str) -> Result<GlobMatcher, Fault> {
    let anywhere = if glob.contains('/') { glob.to_owned() } else { format!("**/{glob}") };
    let glob = GlobBuilder::new(&anywhere).literal_separator(true).build().map_err(|error| {
        Fault::Told(format!("the glob cannot be used: {}", shown(&error.to_string(), 200)))
    })?;
    Ok(glob.compile_matcher())
}

/// Takes down what was found, as far as there is room.
#[derive(Debug, Default)]
struct Matches {
    out: String,
    path: String,
    /// Where the lines of this file begin in `out`, and how many matches were counted before them.
    mark: (usize, u64),
    count: u64,
    full: bool,
}

impl Matches {
    fn begin(&mut self, path: String) {
        self.path = path;
        self.mark = (self.out.len(), self.count);
    }

    fn line(&mut self, sign: char, number: Option<u64>, bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        let text = cut(text.trim_end_matches(['\n', '\r']), LONGEST_LINE);
        let line = format!("{}{sign}{}{sign}{text}", self.path, number.unwrap_or_default());
        if self.out.len() + line.len() > LONGEST_TEXT {
            self.full = true;
            return false;
        }
        self.out.push_str(&line);
        self.out.push('\n');
        true
    }
}

impl Sink for Matches {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, io::Error> {
        if self.count == MOST {
            self.full = true;
            return Ok(false);
        }
        self.count += 1;
        Ok(self.line(':', found.line_number(), found.bytes()))
    }

    fn context(&mut self, _: &Searcher, line: &SinkContext<'_>) -> Result<bool, io::Error> {
        Ok(self.line('-', line.line_number(), line.bytes()))
    }

    fn context_break(&mut self, _: &Searcher) -> Result<bool, io::Error> {
        self.out.push_str("--\n");
        Ok(true)
    }

    fn finish(&mut self, _: &Searcher, end: &SinkFinish) -> Result<(), io::Error> {
        if end.binary_byte_offset().is_some() && self.count > self.mark.1 {
            self.out.truncate(self.mark.0);
            self.count = self.mark.1 + 1;
            let line = format!("{}: a binary file matches\n", self.path);
            self.out.push_str(&line);
        }
        Ok(())
    }
}
