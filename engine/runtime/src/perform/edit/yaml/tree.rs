//! A YAML text as a tree that knows where everything stands. Reads one document; aliases are not followed and
//! plain scalars are not interpreted.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::super::set::SetError;
use super::scalar::is_plain;

/// How deep collections may be nested.
const DEEPEST: usize = 100;

/// What a node is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A text, number, truth value or nothing.
    Scalar { text: String, plain: bool, block: bool },
    /// A list.
    List(Vec<Node>),
    /// A mapping.
    Mapping(Vec<(Node, Node)>),
    /// What stands at an anchor.
    Alias(usize),
}

/// A part of a text.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) tag: Option<String>,
    pub(super) anchor: usize,
    /// Where it stands, in bytes. The end of a block collection is somewhere behind its content.
    pub(super) span: Range<usize>,
    /// How many characters are before it in its line.
    pub(super) column: usize,
}

impl Node {
    /// Whether nothing stands there.
    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true, .. } if text.is_empty())
    }

    /// Whether it says the same, wherever it stands.
    pub(super) fn says_as(&self, other: &Self) -> bool {
        if self.tag != other.tag || self.anchor != other.anchor {
            return false;
        }
        match (&self.kind, &other.kind) {
            (Kind::Scalar { text, plain, .. }, Kind::Scalar { text: other, plain: other_plain, .. }) => {
                // Quotes around a word that needs none say nothing.
                text == other && (plain == other_plain || is_plain(text))
            }
            (Kind::List(one), Kind::List(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.says_as(other))
            }
            (Kind::Mapping(one), Kind::Mapping(other)) => {
                let same = |((key, value), (other_key, other_value)): (&(Self, Self), &(Self, Self))| {
                    key.says_as(other_key) && value.says_as(other_value)
                };
                one.len() == other.len() && one.iter().zip(other).all(same)
            }
            (Kind::Alias(one), Kind::Alias(other)) => one == other,
            _ => false,
        }
    }

    /// Whether an anchor or a tag is on it or in it.
    pub(super) fn is_marked(&self) -> bool {
        self.anchor != 0
            || self.tag.is_some()
            || match &self.kind {
                Kind::List(nodes) => nodes.iter().any(Self::is_marked),
                Kind::Mapping(pairs) => pairs.iter().any(|(key, value)| key.is_marked() || value.is_marked()),
                Kind::Scalar { .. } | Kind::Alias(_) => false,
            }
    }
}

fn unreadable(message: &dyn std::fmt::Display) -> SetError {
    SetError::Unreadable { format: "YAML", message: message.to_string() }
}

/// Reads a text. `None` if there is nothing in it, or only comments.
pub(super) fn read(text: &str) -> Result<Option<Node>, SetError> {
    let offsets = Offsets::new(text);
    let mut parser = Parser::new_from_str(text);
    let mut open: Vec<(Node, Option<Node>)> = Vec::new();
    let mut root = None;
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| unreadable(&error))?;
        let node = |kind, anchor, tag: Option<String>| Node {
            kind,
            tag,
            anchor,
            span: offsets.of(&span),
            column: span.start.col(),
        };
        let done = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let plain = style == ScalarStyle::Plain;
                let kind = Kind::Scalar { text: text.into_owned(), plain, block };
                node(kind, anchor, tag.map(|tag| tag.to_string()))
            }
            Event::Alias(anchor) => node(Kind::Alias(anchor), 0, None),
            Event::SequenceStart(anchor, tag) => {
                open.push((node(Kind::List(Vec::new()), anchor, tag.map(|tag| tag.to_string())), None));
                continue;
            }
            Event::MappingStart(anchor, tag) => {
                open.push((node(Kind::Mapping(Vec::new()), anchor, tag.map(|tag| tag.to_string())), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some((mut node, _)) = open.pop() else {
                    return Err(unreadable(&"a collection ends twice"));
                };
                node.span.end = offsets.of(&span).end.max(node.span.start);
                node
            }
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    let why = "holds several documents, and which one is meant is not said";
                    return Err(SetError::Unsupported { at: Vec::new(), why });
                }
                continue;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
        };
        if open.len() > DEEPEST {
            return Err(unreadable(&"it is nested too deeply"));
        }
        match open.last_mut() {
            None => root = Some(done),
            Some((Node { kind: Kind::List(nodes), .. }, _)) => nodes.push(done),
            Some((Node { kind: Kind::Mapping(pairs), .. }, key)) => match key.take() {
                None => *key = Some(done),
                Some(key) => pairs.push((key, done)),
            },
            Some(_) => return Err(unreadable(&"a scalar holds something")),
        }
    }
    Ok(root.filter(|root| !root.is_empty() || root.is_marked()))
}

/// Turns positions in characters into positions in bytes.
struct Offsets {
    length: usize,
    /// Where each character starts; none if every character is one byte.
    starts: Vec<u32>,
}

impl Offsets {
    fn new(text: &str) -> Self {
        let starts =
            if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(at, _)| at as u32).collect() };
        Self { length: text.len(), starts }
    }

    fn of(&self, span: &Span) -> Range<usize> {
        let byte = |index: usize| {
            if self.starts.is_empty() {
                return index.min(self.length);
            }
            self.starts.get(index).map_or(self.length, |start| *start as usize)
        };
        let start = byte(span.start.index());
        start..byte(span.end.index()).max(start)
    }
}
