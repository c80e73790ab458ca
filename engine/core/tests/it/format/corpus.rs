//! Reads the blueprints of the corpus. Each is checked as `blueprint.toml` of a project that has the files of
//! `beside/` as well.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use blueprint_core::source::{SourceSet, line_column};

/// One blueprint of the corpus.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Case {
    /// The project it is checked in.
    pub(crate) fn sources(&self) -> SourceSet {
        sources(&self.text)
    }
}

/// A project with `text` as its blueprint.
pub(crate) fn sources(text: &str) -> SourceSet {
    static BESIDE: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
        let mut files = BTreeMap::new();
        let beside = folder("beside");
        read_all(&beside, &beside, &mut files);
        files
    });
    let mut files = BESIDE.clone();
    files.insert("blueprint.toml".to_owned(), text.to_owned());
    SourceSet { entry: "blueprint.toml".to_owned(), files }
}

/// Every blueprint of a folder, by name.
pub(crate) fn cases(kind: &str) -> Vec<Case> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder(kind)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    let case = |path: &PathBuf| Case {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        text: fs::read_to_string(path).unwrap(),
    };
    paths.iter().map(case).collect()
}

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/format").join(name)
}

fn read_all(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// What a file says about itself: the lines its comments mark, each with a code. `# <- BP012` marks its own
/// line; `# ^ BP012` on a line of its own marks the line above, `# ^3 BP012` the third one above;
/// `# nowhere: BP012` is about no line of it.
pub(crate) fn marks(text: &str) -> Vec<(usize, String)> {
    let mut marks = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line_number = number + 1;
        if let Some((_, codes)) = line.rsplit_once("# <- ") {
            marks.extend(codes.split_whitespace().map(|code| (line_number, code.to_owned())));
        } else if let Some(codes) = line.strip_prefix("# nowhere: ") {
            marks.extend(codes.split_whitespace().map(|code| (0, code.to_owned())));
        } else if let Some(rest) = line.trim_start().strip_prefix("# ^") {
            let (above, codes) = rest.split_once(' ').unwrap();
            let above: usize = if above.is_empty() { 1 } else { above.parse().unwrap() };
            marks.extend(codes.split_whitespace().map(|code| (line_number - above, code.to_owned())));
        }
    }
    marks.sort();
    marks
}

/// The line of a byte, from one.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    line_column(text, at).0
}
