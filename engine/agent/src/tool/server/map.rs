//! `fs.map`: the definitions of the workspace that the rest of it speaks of most. Only looks. The parsers are C, which is
//! why they run here, inside the sandbox, and nowhere else.

use std::fmt::Write as _;

use serde::Deserialize;

use super::Fault;
use super::tree::Tree;
use super::walk::{Kind, walk};
use crate::context::{Family, MAPPED_AT_MOST, Source, map as mapped, speaks};

/// The most files that are parsed.
const MOST_FILES: usize = 5000;
/// The most bytes that are parsed.
const MOST_BYTES: usize = 32 << 20;
/// The tokens of a map if nobody says how many.
const USUAL: u64 = 4000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    #[serde(default)]
    path: String,
    tokens: Option<u64>,
}

pub(super) fn map(tree: &Tree, arguments: &Arguments) -> Result<String, Fault> {
    let mut sources = Vec::new();
    let (mut bytes, mut more) = (0, 0_usize);
    for step in walk(tree, &arguments.path, None, false)? {
        let path = step.path.to_str().filter(|path| step.kind == Some(Kind::File) && speaks(path));
        let Some(path) = path else { continue };
        if sources.len() >= MOST_FILES || bytes >= MOST_BYTES {
            more += 1;
            continue;
        }
        let Ok(found) = tree.read(path) else { continue };
        let Ok(text) = found.text(path) else { continue };
        if text.len() > MAPPED_AT_MOST {
            more += 1;
            continue;
        }
        bytes += text.len();
        sources.push(Source { path: path.to_owned(), text: text.to_owned() });
    }
    // Which family counts is not known here; the estimate is high for all of them.
    let made = mapped(Family::of(""), &sources, arguments.tokens.unwrap_or(USUAL));
    let mut text = made.text;
    if text.is_empty() {
        return Ok("no definitions in a language that is known here".to_owned());
    }
    let _ = write!(text, "\n[{} of {} definitions in {} files", made.shown, made.definitions, made.files);
    if made.skipped + more > 0 {
        let _ = write!(text, "; {} files left out", made.skipped + more);
    }
    text.push_str("]\n");
    Ok(text)
}
