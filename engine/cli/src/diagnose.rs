//! Draws findings for a terminal, in the look of rustc. What it draws comes from files nobody vouches for, so
//! no control character of theirs may reach the terminal.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet};
use blueprint_core::finding::{Finding, Findings, Severity};
use blueprint_core::source::{SourceSet, Span};

/// Whether the text is for a terminal that shows colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Plain text.
    Never,
    /// With ANSI escape codes.
    Always,
}

/// The widest text of a line, in bytes, before only a part of it is drawn.
const WIDE: usize = 4000;
/// How much of a wide line is drawn on either side of the place, in bytes.
const AROUND: usize = 200;
/// Places further apart than this many lines are drawn apart.
const APART: usize = 12;
/// A place over more lines than this is drawn by its first line.
const TALL: usize = 4;
/// The longest message, in characters.
const LONG: usize = 1200;

/// The findings as text, in their order, with a line that sums them up. Empty if there are none.
pub(crate) fn render(findings: &Findings, sources: &SourceSet, colour: Colour) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let renderer = match colour {
        Colour::Never => Renderer::plain(),
        Colour::Always => Renderer::styled(),
    };
    let mut texts = Texts { sources, lines: BTreeMap::new() };
    let mut drawn = String::new();
    for finding in findings {
        drawn.push_str(&draw(finding, &mut texts, &renderer));
        drawn.push_str("\n\n");
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    drawn.push_str(&summary(errors, findings.len() - errors));
    drawn.push('\n');
    drawn
}

fn summary(errors: usize, warnings: usize) -> String {
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    match (errors, warnings) {
        (_, 0) => count(errors, "error"),
        (0, _) => count(warnings, "warning"),
        _ => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    }
}

fn draw(finding: &Finding, texts: &mut Texts<'_>, renderer: &Renderer) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut elements: Vec<Element<'_>> = Vec::new();
    let mut unplaced = Vec::new();
    for picture in pictures(finding, texts, &mut unplaced) {
        let mut snippet = Snippet::source(picture.text).path(picture.path).line_start(picture.first_line);
        for mark in picture.marks {
            let label = (!mark.label.is_empty()).then_some(mark.label);
            snippet = snippet.annotation(mark.kind.span(mark.range).label(label));
        }
        elements.push(snippet.into());
    }
    for note in unplaced {
        elements.push(Level::NOTE.message(note).into());
    }
    if let Some(reason) = &finding.reason {
        elements.push(Level::NOTE.with_name("why").message(one_line(reason)).into());
    }
    if let Some(fix) = &finding.fix {
        elements.push(Level::HELP.with_name("fix").message(one_line(fix)).into());
    }
    let title = level.primary_title(one_line(&finding.message)).id(finding.code.to_string());
    renderer.render(&[title.elements(elements)])
}

/// The texts and where their lines begin, so that a file is not searched from its start for each finding.
struct Texts<'a> {
    sources: &'a SourceSet,
    lines: BTreeMap<Arc<str>, Vec<usize>>,
}

impl<'a> Texts<'a> {
    fn starts(&mut self, file: &Arc<str>) -> Option<(&'a str, &[usize])> {
        let text = self.sources.get(file)?;
        let starts = self.lines.entry(Arc::clone(file)).or_insert_with(|| {
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
        });
        Some((text, starts))
    }
}

struct Mark {
    kind: AnnotationKind,
    range: Range<usize>,
    label: String,
}

/// A piece of one file with marks on it.
struct Picture {
    path: String,
    first_line: usize,
    text: String,
    marks: Vec<Mark>,
}

/// A mark before it is known what is drawn around it: lines are counted from zero, bytes are those of the file.
struct Placed {
    kind: AnnotationKind,
    lines: (usize, usize),
    range: Range<usize>,
    label: String,
}

fn pictures(finding: &Finding, texts: &mut Texts<'_>, unplaced: &mut Vec<String>) -> Vec<Picture> {
    let first = finding.span.iter().map(|span| (AnnotationKind::Primary, span, &finding.label));
    let others = finding.notes.iter().map(|note| (AnnotationKind::Context, &note.span, &note.text));
    let mut files: Vec<(Arc<str>, Vec<Placed>)> = Vec::new();
    for (kind, span, label) in first.chain(others) {
        let Some(placed) = place(texts, kind, span, label) else {
            unplaced.push(one_line(&format!("{label}: {}", span.file)));
            continue;
        };
        match files.iter_mut().find(|(file, _)| *file == span.file) {
            Some((_, marks)) => marks.push(placed),
            None => files.push((Arc::clone(&span.file), vec![placed])),
        }
    }
    let mut pictures = Vec::new();
    for (file, mut marks) in files {
        let Some((text, starts)) = texts.starts(&file) else { continue };
        marks.sort_by_key(|mark| mark.lines);
        let mut groups: Vec<Vec<Placed>> = Vec::new();
        for mark in marks {
            match groups.last_mut() {
                Some(group) if group.iter().any(|other| mark.lines.0 <= other.lines.1 + APART) => {
                    group.push(mark);
                }
                _ => groups.push(vec![mark]),
            }
        }
        // The place itself comes first, whatever its line.
        groups.sort_by_key(|group| !group.iter().any(|mark| mark.kind == AnnotationKind::Primary));
        pictures.extend(groups.into_iter().map(|group| picture(&file, text, starts, group)));
    }
    pictures
}

fn place(texts: &mut Texts<'_>, kind: AnnotationKind, span: &Span, label: &str) -> Option<Placed> {
    let (text, starts) = texts.starts(&span.file)?;
    let start = boundary(text, span.start);
    let mut end = boundary(text, span.end.max(span.start));
    let line_of = |at: usize| starts.partition_point(|start| *start <= at).saturating_sub(1);
    let first = line_of(start);
    let mut last = line_of(end.saturating_sub(1).max(start));
    if last >= first + TALL {
        last = first;
        end = line_end(text, starts, first);
    }
    Some(Placed { kind, lines: (first, last), range: start..end.max(start), label: one_line(label) })
}

fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Where line `line` ends, without its line break.
fn line_end(text: &str, starts: &[usize], line: usize) -> usize {
    let end = starts.get(line + 1).map_or(text.len(), |next| next - 1);
    let begin = starts.get(line).copied().unwrap_or(end);
    if end > begin && text.as_bytes().get(end - 1) == Some(&b'\r') { end - 1 } else { end }
}

fn picture(file: &str, text: &str, starts: &[usize], marks: Vec<Placed>) -> Picture {
    let first = marks.iter().map(|mark| mark.lines.0).min().unwrap_or(0);
    let last = marks.iter().map(|mark| mark.lines.1).max().unwrap_or(first);
    let mut shown = Shown::default();
    for line in first..=last {
        let begin = starts.get(line).copied().unwrap_or(text.len());
        let end = line_end(text, starts, line);
        let mut visible = begin..end;
        if end - begin > WIDE {
            let here = marks.iter().filter(|mark| mark.lines.0 <= line && line <= mark.lines.1);
            let start = here.map(|mark| mark.range.start.max(begin)).min().unwrap_or(begin);
            visible = boundary(text, start.saturating_sub(AROUND)).max(begin)
                ..boundary(text, (start + 2 * AROUND).min(end));
        }
        shown.line(text, begin..end, &visible);
    }
    let marks = marks
        .into_iter()
        .map(|mark| Mark {
            kind: mark.kind,
            range: shown.at(mark.range.start)..shown.at(mark.range.end),
            label: mark.label,
        })
        .collect();
    Picture { path: one_line(file), first_line: first + 1, text: shown.text, marks }
}

/// Text as it is drawn, and where its bytes were in the file.
#[derive(Default)]
struct Shown {
    text: String,
    /// Pairs of a byte of the file and the byte of `text` it is drawn at, wherever the distance changes.
    moves: Vec<(usize, usize)>,
}

impl Shown {
    fn line(&mut self, text: &str, line: Range<usize>, visible: &Range<usize>) {
        self.moved(line.start);
        if visible.start > line.start {
            self.text.push('…');
        }
        self.moved(visible.start);
        let mut at = visible.start;
        for c in text.get(visible.clone()).unwrap_or_default().chars() {
            at += c.len_utf8();
            match harmless(c) {
                Some(other) => {
                    self.text.extend((other != '\0').then_some(other));
                    self.moved(at);
                }
                None => self.text.push(c),
            }
        }
        if visible.end < line.end {
            self.text.push('…');
        }
        self.moved(line.end);
        self.text.push('\n');
    }

    fn moved(&mut self, at: usize) {
        self.moves.push((at, self.text.len()));
    }

    /// Where byte `at` of the file is drawn.
    fn at(&self, at: usize) -> usize {
        let next = self.moves.partition_point(|(from, _)| *from <= at);
        let (from, to) =
            next.checked_sub(1).and_then(|known| self.moves.get(known)).copied().unwrap_or((at, 0));
        let most = self.moves.get(next).map_or(self.text.len(), |(_, to)| *to);
        boundary(&self.text, (to + (at - from)).min(most))
    }
}

/// What to draw for a character that would act on the terminal, hide, or turn the direction of the text; NUL
/// stands for nothing at all.
fn harmless(c: char) -> Option<char> {
    match c {
        '\t' => None,
        '\u{feff}' => Some('\0'),
        '\0'..='\u{1f}' => char::from_u32(u32::from(c) + 0x2400),
        '\u{7f}' => Some('␡'),
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => Some('\u{fffd}'),
        _ => None,
    }
}

/// A message on one line, with everything that would act on the terminal spelled out.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for (number, c) in text.chars().enumerate() {
        if number == LONG {
            line.push('…');
            break;
        }
        if c == '\t' || harmless(c).is_some() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}
