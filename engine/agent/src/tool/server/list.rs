//! `fs.list`: what is in a folder. Only looks.

use std::fmt::Write as _;

use serde::Deserialize;

use super::tree::Tree;
use super::walk::{Kind, name, walk};
use super::{Fault, LONGEST_TEXT};

/// How many entries are listed.
const MOST: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    #[serde(default)]
    path: String,
    depth: Option<usize>,
    #[serde(default)]
    ignored: bool,
}

pub(super) fn list(tree: &Tree, arguments: &Arguments) -> Result<String, Fault> {
    let depth = arguments.depth.unwrap_or(2);
    let mut out = String::new();
    for (count, step) in walk(tree, &arguments.path, Some(depth), arguments.ignored)?.enumerate() {
        let mark = match step.kind {
            Some(Kind::Folder) => "/",
            Some(Kind::Link) => " (link)",
            Some(Kind::File) => "",
            None => " (special)",
        };
        let line = format!("{}{mark}", name(&step.path));
        if count == MOST || out.len() + line.len() > LONGEST_TEXT {
            let _ = writeln!(out, "[more than these {count}: list a folder of them, or less deep]");
            return Ok(out);
        }
        let _ = writeln!(out, "{line}");
    }
    Ok(if out.is_empty() { "nothing, or only what git ignores".to_owned() } else { out })
}
