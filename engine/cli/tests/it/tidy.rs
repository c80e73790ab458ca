//! The repository checks itself: sources, layers, documents and the examples in them. Reads files only, so it works in
//! a checkout without git as well; must never accept what it could not read.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

mod sources;
mod layers;
mod code_map;
mod documents;
mod examples;
mod events;

/// Folders that hold nothing anybody wrote.
const MADE: [&str; 3] = [".git", ".blueprint", "target"];

/// A text file of the repository.
struct File {
    /// Relative to the root, `/` between its parts.
    path: String,
    text: String,
}

impl File {
    fn is(&self, ending: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == ending)
    }

    fn lines(&self) -> usize {
        self.text.lines().count()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// A file that must be there.
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every text file of the repository, in the order of the paths.
fn files() -> Vec<File> {
    let mut files = Vec::new();
    collect(&root(), "", &mut files);
    assert!(files.iter().any(|file| file.path == "Cargo.toml"), "this is not the root of the repository");
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

fn rust() -> Vec<File> {
    files().into_iter().filter(|file| file.is("rs")).collect()
}

fn collect(folder: &Path, prefix: &str, into: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let (kind, path) = (entry.file_type().unwrap(), format!("{prefix}{name}"));
        if MADE.contains(&name.as_str()) {
            // In a worktree `.git` is a file.
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), into);
        } else if kind.is_file() {
            match fs::read(entry.path()) {
                // What is no text is none of our business.
                Ok(bytes) => into.extend(String::from_utf8(bytes).ok().map(|text| File { path, text })),
                // Other tests and editors leave files for a moment.
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{path}"),
            }
        }
    }
}

/// Fails with everything that is wrong, in one go.
fn nothing(wrong: &[String], rule: &str) {
    assert!(wrong.is_empty(), "{rule}:\n  {}", wrong.join("\n  "));
}

/// What stands between backticks, in the order of the text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The text below a heading, up to the next heading of the same or a higher level.
fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let level = heading.chars().take_while(|c| *c == '#').count();
    let start =
        text.find(&format!("{heading}\n")).unwrap_or_else(|| panic!("there is no heading `{heading}`"));
    let body = &text[start + heading.len()..];
    let ends = |line: &str| (1..=level).any(|level| line.starts_with(&format!("{} ", "#".repeat(level))));
    let mut at = 0;
    for line in body.split_inclusive('\n') {
        if ends(line) {
            return &body[..at];
        }
        at += line.len();
    }
    body
}
