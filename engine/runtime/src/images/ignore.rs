//! What a `.dockerignore` keeps out of a context: each pattern stands for a path from the top of the context and for
//! everything below it, and the last one that fits decides. A pattern that cannot be understood is an error, since whoever
//! wrote it meant to keep something back.

use globset::{Glob, GlobBuilder, GlobMatcher};

/// The most patterns.
const MAX_PATTERNS: usize = 10_000;

/// The patterns of one file, in order.
#[derive(Debug, Default)]
pub(super) struct Ignores {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    glob: GlobMatcher,
    /// It brings back what one before it kept out.
    back: bool,
}

impl Ignores {
    /// Reads a file. `Err` says which line cannot be understood.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut patterns = Vec::new();
        for line in text.trim_start_matches('\u{feff}').lines() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let pattern = read_line(line.trim()).ok_or_else(|| line.chars().take(200).collect::<String>())?;
            patterns.push(pattern);
            if patterns.len() > MAX_PATTERNS {
                return Err("more than 10000 patterns".to_owned());
            }
        }
        Ok(Self { patterns })
    }

    /// Whether a path, or a folder it lies in, is kept out.
    pub(super) fn keeps_out(&self, path: &str) -> bool {
        let mut out = false;
        for pattern in &self.patterns {
            if pattern.back != out {
                continue;
            }
            let mut part = Some(path);
            while let Some(here) = part {
                if pattern.glob.is_match(here) {
                    out = !pattern.back;
                    break;
                }
                part = here.rsplit_once('/').map(|(folder, _)| folder);
            }
        }
        out
    }

    /// Whether something below a folder that is kept out could be brought back.
    pub(super) fn brings_back(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.back)
    }
}

fn read_line(line: &str) -> Option<Pattern> {
    let (back, text) = match line.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, line),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            "**" => parts.push(part),
            // Between other letters its meaning is not the same everywhere.
            part if part.contains("**") => return None,
            part => parts.push(part),
        }
    }
    if parts.is_empty() && (back || text.is_empty()) {
        return None;
    }
    // The context itself: everything.
    let whole = if parts.is_empty() { "**".to_owned() } else { parts.join("/") };
    let glob = glob(&whole.replace('{', "\\{").replace('}', "\\}"))?;
    Some(Pattern { glob: glob.compile_matcher(), back })
}

fn glob(pattern: &str) -> Option<Glob> {
    GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_out(text: &str, path: &str) -> bool {
        Ignores::read(text).unwrap().keeps_out(path)
    }

    #[test]
    fn patterns_stand_for_paths_from_the_top_and_what_is_below() {
        assert!(kept_out("target", "target"));
        assert!(kept_out("target/", "target/debug/x"));
        assert!(kept_out("/target", "target/debug/x"));
        assert!(!kept_out("target", "src/target"));
        assert!(kept_out("**/target", "src/target/x"));
        assert!(kept_out("*.env", ".env") && kept_out("*.env", "a.env") && !kept_out("*.env", "a/b.env"));
        assert!(kept_out("a/*/c", "a/b/c/d") && !kept_out("a/*/c", "a/b/b/c"));
        assert!(kept_out("./a//b/../c", "a/c"));
        assert!(kept_out("# c\n\n  a  \n", "a") && !kept_out("#a", "#a"));
        assert!(kept_out("{a,b}", "{a,b}") && !kept_out("{a,b}", "a"));
        assert!(kept_out("[a-c]?", "bx") && !kept_out("[^a-c]?", "bx"));
        assert!(kept_out(".", "a"));
    }

    #[test]
    fn the_last_pattern_that_fits_decides() {
        let text = "*\n!src\nsrc/secret\n!src/secret/open";
        for (path, out) in [("a", true), ("src/x", false), ("src/secret/x", true), ("src/secret/open", false)]
        {
            assert_eq!(kept_out(text, path), out, "{path}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_an_error() {
        for text in ["!", "a**b", "../x", "[", "a/../../b"] {
            assert!(Ignores::read(text).is_err(), "{text}");
        }
    }
}
