//! Makes a patch one that says what it means. Models miscount, and a reader of patches that believes a count which is
//! too small, or finds a line it does not know, drops the rest without a word. Counts are put right here, and what
//! cannot be a part of any hunk is an error. Lines of hunks stay as they are.

use std::fmt::Write as _;

use crate::tool::arguments::shown;

/// A patch that can be believed.
#[derive(Debug)]
pub(super) struct Counted {
    /// The patch, in the format of git.
    pub(super) text: String,
    /// How many hunks it has. A reader that finds fewer has lost some.
    pub(super) hunks: usize,
}

/// The ranges of a header.
struct Header<'a> {
    old: (usize, usize),
    new: (usize, usize),
    rest: &'a str,
}

/// The patch with the counts its hunks have, with ranges in their order, and with a header of git for every file.
pub(super) fn recount(patch: &str) -> Result<Counted, String> {
    let lines: Vec<&str> = patch.split_inclusive('\n').collect();
    let mut counted = Counted { text: String::with_capacity(patch.len() + 64), hunks: 0 };
    let (mut old_end, mut new_end) = (0, 0);
    // Whether `diff --git` was seen for what comes, and whether a hunk was.
    let (mut git, mut hunk) = (false, false);
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let number = at + 1;
        at = number;
        if begins_file(&lines, number - 1) {
            (old_end, new_end, hunk) = (0, 0, false);
            if line.starts_with("diff --git ") {
                git = true;
            } else {
                if !git {
                    // Its names are not looked at where there are those of the file.
                    counted.text.push_str("diff --git a/_ b/_\n");
                }
                git = false;
                counted.text.push_str(line);
                counted.text.push_str(lines[at]);
                at += 1;
                continue;
            }
        }
        if !line.starts_with("@@") {
            if hunk && line.starts_with(['+', '-', ' ', '\\']) && line.trim_end() != "--" {
                return Err(format!("line {number} belongs to no hunk: `{}`", shown(line.trim_end(), 80)));
            }
            counted.text.push_str(line);
            continue;
        }
        let Some(header) = header(line) else {
            let line = shown(line.trim_end(), 80);
            return Err(format!("line {number} must be like `@@ -12,3 +12,4 @@`, not `{line}`"));
        };
        let body = body(&lines[at..], header.old.1, header.new.1);
        let (old, new) = counts(body);
        if old + new == 0 {
            return Err(format!("the hunk at line {number} has no lines"));
        }
        if let Some(line) = lines.get(at + body.len()).filter(|line| stray(line))
            && (old < header.old.1 || new < header.new.1)
        {
            let line = shown(line.trim_end(), 80);
            let number = number + body.len() + 1;
            return Err(format!(
                "line {number} must begin with a blank, `+` or `-`, as lines of hunks do: `{line}`"
            ));
        }
        let (old_start, new_start) = (header.old.0.max(old_end), header.new.0.max(new_end));
        (old_end, new_end) = (old_start.saturating_add(old), new_start.saturating_add(new));
        let _ = write!(counted.text, "@@ -{old_start},{old} +{new_start},{new} @@{}", header.rest);
        counted.text.extend(body.iter().copied());
        at += body.len();
        counted.hunks += 1;
        hunk = true;
    }
    Ok(counted)
}

/// A line that ends a hunk and is nothing that may follow one.
fn stray(line: &str) -> bool {
    !line.trim().is_empty()
        && !["@@", "diff --git ", "--- ", "-- "].iter().any(|begin| line.starts_with(begin))
}

/// The lines of a hunk: as many as it says, if there are so many, and all others that can only be its own.
fn body<'a, 'b>(lines: &'b [&'a str], old: usize, new: usize) -> &'b [&'a str] {
    let (mut seen_old, mut seen_new, mut end) = (0, 0, 0);
    for (at, line) in lines.iter().enumerate() {
        let complete = seen_old >= old && seen_new >= new;
        if line.starts_with("diff --git ") {
            break;
        }
        if begins_file(lines, at) {
            // Names of files look like a line that goes and one that comes.
            let counted = seen_old + 1 == old && seen_new + 1 == new;
            let hunk = lines.get(at + 2).is_some_and(|line| line.starts_with("@@ -"));
            if complete || (hunk && !counted) {
                break;
            }
        }
        match line.as_bytes().first() {
            // An empty line is one of context whose blank was lost; behind the last line it is taken off again.
            Some(b' ' | b'\n' | b'\r') => (seen_old, seen_new) = (seen_old + 1, seen_new + 1),
            Some(b'-') if complete && line.trim_end() == "--" => break,
            Some(b'-') => seen_old += 1,
            Some(b'+') => seen_new += 1,
            Some(b'\\') => {}
            _ => break,
        }
        end = at + 1;
    }
    // Empty lines at the end that the file of the hunk is not known to have.
    while end > 0 && matches!(lines[end - 1], "\n" | "\r\n") && counts(&lines[..end]) != (old, new) {
        end -= 1;
    }
    &lines[..end]
}

fn counts(body: &[&str]) -> (usize, usize) {
    let count = |not: [u8; 2]| {
        body.iter().filter(|line| line.as_bytes().first().is_some_and(|first| !not.contains(first))).count()
    };
    (count([b'+', b'\\']), count([b'-', b'\\']))
}

fn begins_file(lines: &[&str], at: usize) -> bool {
    let next = lines.get(at + 1).is_some_and(|line| line.starts_with("+++ "));
    lines[at].starts_with("diff --git ") || (lines[at].starts_with("--- ") && next)
}

fn header(line: &str) -> Option<Header<'_>> {
    let (ranges, rest) = line.strip_prefix("@@ -")?.split_once(" @@")?;
    let (old, new) = ranges.split_once(" +")?;
    Some(Header { old: range(old)?, new: range(new)?, rest })
}

fn range(text: &str) -> Option<(usize, usize)> {
    match text.split_once(',') {
        Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
        None => Some((text.parse().ok()?, 1)),
    }
}
