//! Reads the text of a blueprint into a [`Document`], reporting everything that is wrong with it in one go:
//! whatever does not fit is reported, taken out, and the rest is read again. Never guesses a value.

use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue, ValueDeserializer};

use super::document::{Document, SCHEMA_VERSION};
use super::explain::{Step, explain, missing_key, syntax};
use super::node::RunLine;
use super::value::{Entries, Sp};
use crate::finding::{Code, Finding, Findings};
use crate::source::Span;

/// The longest text that is read, in bytes.
const MAX_TEXT: usize = 16 * 1024 * 1024;
/// The most faults that are looked for in one node, one input, or the rest of the file.
const MAX_FAULTS: usize = 200;
const MAX_SYNTAX_FAULTS: usize = 20;

/// What could be read of a file, and the names in it, even of parts that could not be read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The blueprint, less the parts with findings.
    pub document: Option<Document>,
    /// Names under `inputs` and `nodes` whose tables were taken out, so that no finding follows from another.
    pub lost: Vec<String>,
    /// Everything that was taken out, as keys from the outermost to the innermost; places in lists are left out.
    pub broken: Vec<Vec<String>>,
}

/// Reads one file.
pub fn read(file: &Arc<str>, text: &str, findings: &mut Findings) -> Reading {
    let mut reading = Reading { document: None, lost: Vec::new(), broken: Vec::new() };
    if text.len() > MAX_TEXT {
        findings.push(
            Finding::new(Code::TooLarge, Span::new(file, 0..0), "the file is larger than 16 MiB")
                .label("not read")
                .fix("split it: `use` another blueprint for a part of it"),
        );
        return reading;
    }
    let (parsed, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut faults: Vec<(Range<usize>, &str)> =
            errors.iter().map(|error| (clamp(text, error.span().unwrap_or(0..0)), error.message())).collect();
        faults.sort_by_key(|(range, _)| range.start);
        for (range, message) in first_causes(text, faults).into_iter().take(MAX_SYNTAX_FAULTS) {
            findings.push(syntax(file, text, message, range));
        }
        return reading;
    }
    let span = parsed.span();
    let mut root = parsed.into_inner();
    let inputs = section(&mut root, "inputs");
    let nodes = section(&mut root, "nodes");
    let mut reader = Reader { file, text, findings, reading: &mut reading };
    let document: Option<Document> = reader.piece(&[], Spanned::new(span, DeValue::Table(root)));
    let inputs = reader.entries("inputs", inputs);
    let nodes = reader.entries("nodes", nodes);
    let Some(mut document) = document else { return reading };
    document.inputs = inputs;
    document.nodes = nodes;
    check_version(file, &document, &reading.broken, findings);
    reading.document = Some(document);
    reading
}

/// The faults that do not follow from others: the first of each line, and of a table that stands there twice
/// only that it does.
fn first_causes<'e>(text: &str, faults: Vec<(Range<usize>, &'e str)>) -> Vec<(Range<usize>, &'e str)> {
    let line_start =
        |at: usize| text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |found| found + 1);
    let is_header = |line: usize| text.get(line..).is_some_and(|line| line.trim_start().starts_with('['));
    let mut kept: Vec<(Range<usize>, &str)> = Vec::new();
    let mut last_line = None;
    let mut header_twice: Option<usize> = None;
    for (range, message) in faults {
        let line = line_start(range.start);
        if last_line.replace(line) == Some(line) {
            continue;
        }
        if message.contains("duplicate key") {
            if is_header(line) {
                header_twice = Some(range.end);
            } else if header_twice
                .is_some_and(|from| text.get(from..line).is_some_and(|body| !body.contains("\n[")))
            {
                continue;
            }
        }
        kept.push((range, message));
    }
    kept
}

/// Takes a table of named tables out of the file, to be read entry by entry: a fault in one entry then costs
/// no second look at the others.
fn section<'i>(root: &mut DeTable<'i>, name: &str) -> Option<DeTable<'i>> {
    if !root.get(name)?.get_ref().is_table() {
        return None;
    }
    match root.remove(name)?.into_inner() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

struct Reader<'a> {
    file: &'a Arc<str>,
    text: &'a str,
    findings: &'a mut Findings,
    reading: &'a mut Reading,
}

impl Reader<'_> {
    fn entries<'i, T: Deserialize<'i>>(&mut self, section: &str, table: Option<DeTable<'i>>) -> Entries<T> {
        let mut entries = Vec::new();
        for (key, value) in table.into_iter().flatten() {
            let name =
                Sp { range: clamp(self.text, key.span()), value: DeString::into_owned(key.into_inner()) };
            let path = [Step::Key(section.to_owned()), Step::Key(name.value.clone())];
            match self.piece(&path, value) {
                Some(read) => entries.push((name, read)),
                None => self.reading.lost.push(name.value),
            }
        }
        Entries(entries)
    }

    /// Reads what stands at `at`, without what does not fit. `None` if nothing of it fits.
    fn piece<'i, T: Deserialize<'i>>(&mut self, at: &[Step], mut value: Spanned<DeValue<'i>>) -> Option<T> {
        for _ in 0..MAX_FAULTS {
            let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let range = clamp(self.text, error.span().unwrap_or_else(|| value.span()));
            let mut inner = find(value.get_ref(), &range).unwrap_or_default();
            // A list and its first entry may stand at the same place.
            while error.message().starts_with("invalid type: sequence")
                && !inner.is_empty()
                && !value_at(value.get_ref(), &inner).is_some_and(DeValue::is_array)
            {
                inner.pop();
            }
            let path: Vec<Step> = at.iter().chain(&inner).cloned().collect();
            let keys = keys_of(&path);
            let missing =
                missing_key(error.message()).map(|key| [keys.as_slice(), &[key.to_owned()]].concat());
            if missing.is_none_or(|missing| !self.reading.broken.contains(&missing)) {
                let (finding, meant) =
                    explain(self.file, error.message(), range, &path, value_at(value.get_ref(), &inner));
                self.findings.push(finding);
                if let (Some(meant), Some((_, parent))) = (meant, keys.split_last()) {
                    self.reading.broken.push([parent, &[meant]].concat());
                }
            }
            self.reading.broken.push(keys);
            if inner.is_empty() {
                return None;
            }
            remove(value.get_mut(), &inner);
        }
        None
    }
}

fn keys_of(path: &[Step]) -> Vec<String> {
    let key = |step: &Step| match step {
        Step::Key(key) => Some(key.clone()),
        Step::Index(_) => None,
    };
    path.iter().filter_map(key).collect()
}

fn check_version(file: &Arc<str>, document: &Document, broken: &[Vec<String>], findings: &mut Findings) {
    let is_broken = |key: &str| broken.iter().any(|path| path.first().is_some_and(|first| first == key));
    match &document.schema {
        Some(version) if version.value == SCHEMA_VERSION => {}
        Some(version) => findings.push(
            Finding::new(
                Code::SchemaVersion,
                Span::new(file, version.range.clone()),
                format!("this file is written for version {} of the format", version.value),
            )
            .label("unknown version")
            .reason(format!("this release reads version {SCHEMA_VERSION} only"))
            .fix(format!(
                "write `schema = {SCHEMA_VERSION}`, or take the release that the file was written for"
            )),
        ),
        None if is_broken("schema") => {}
        None => findings.push(
            Finding::new(Code::MissingKey, Span::new(file, 0..0), "`schema` is missing")
                .label("the version of the format goes here")
                .fix(format!("write `schema = {SCHEMA_VERSION}` as the first line")),
        ),
    }
    if document.name.is_none() && !is_broken("name") {
        findings.push(
            Finding::new(Code::MissingKey, Span::new(file, 0..0), "`name` is missing")
                .label("the blueprint has no name")
                .fix("write `name = \"what-it-does\"` below `schema`"),
        );
    }
}

fn clamp(text: &str, range: Range<usize>) -> Range<usize> {
    let mut start = range.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = range.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

/// The path to the smallest entry whose key or value holds `range`. Headers such as `[nodes.a]` give tables
/// spans that do not hold their children, so the whole tree is looked at.
fn find(root: &DeValue<'_>, range: &Range<usize>) -> Option<Vec<Step>> {
    struct Search<'a> {
        range: &'a Range<usize>,
        path: Vec<Step>,
        best: Option<(usize, Vec<Step>)>,
    }
    impl Search<'_> {
        fn consider(&mut self, span: &Range<usize>) {
            let size = span.end - span.start;
            let holds = span.start <= self.range.start && self.range.end <= span.end;
            if holds && self.best.as_ref().is_none_or(|(known, _)| size <= *known) {
                self.best = Some((size, self.path.clone()));
            }
        }

        fn visit(&mut self, value: &DeValue<'_>) {
            match value {
                DeValue::Table(table) => {
                    for (key, child) in table {
                        self.path.push(Step::Key(key.get_ref().to_string()));
                        self.consider(&key.span());
                        self.consider(&child.span());
                        self.visit(child.get_ref());
                        self.path.pop();
                    }
                }
                DeValue::Array(items) => {
                    for (index, child) in items.iter().enumerate() {
                        self.path.push(Step::Index(index));
                        self.consider(&child.span());
                        self.visit(child.get_ref());
                        self.path.pop();
                    }
                }
                _ => {}
            }
        }
    }
    let mut search = Search { range, path: Vec::new(), best: None };
    search.visit(root);
    search.best.map(|(_, path)| path)
}

fn remove(root: &mut DeValue<'_>, path: &[Step]) {
    match (path, root) {
        ([Step::Key(key)], DeValue::Table(table)) => {
            table.remove(key.as_str());
        }
        ([Step::Index(index)], DeValue::Array(items)) => {
            let all = std::mem::replace(items, DeArray::new()).into_iter().enumerate();
            *items = all.filter(|(at, _)| at != index).map(|(_, item)| item).collect::<DeArray<'_>>();
        }
        ([Step::Key(key), rest @ ..], DeValue::Table(table)) => {
            if let Some(child) = table.get_mut(key.as_str()) {
                remove(child.get_mut(), rest);
            }
        }
        ([Step::Index(index), rest @ ..], DeValue::Array(items)) => {
            if let Some(child) = items.get_mut(*index) {
                remove(child.get_mut(), rest);
            }
        }
        _ => {}
    }
}

fn value_at<'a, 'i>(root: &'a DeValue<'i>, path: &[Step]) -> Option<&'a DeValue<'i>> {
    path.iter().try_fold(root, |value, step| match (step, value) {
        (Step::Key(key), DeValue::Table(table)) => table.get(key.as_str()).map(Spanned::get_ref),
        (Step::Index(index), DeValue::Array(items)) => items.get(*index).map(Spanned::get_ref),
        _ => None,
    })
}

/// The text of a `run` line as it stands in the file.
pub(crate) fn run_texts(run: &Sp<RunLine>) -> Vec<(&str, Range<usize>)> {
    match &run.value {
        RunLine::Line(line) => vec![(line, run.range.clone())],
        RunLine::Words(words) => words.iter().map(|word| (word.as_str(), word.range.clone())).collect(),
    }
}
