//! Documents that must stay whole: links, decisions, the changelog, the glossary, the threat model. Looks at form and
//! at what they refer to; whether they are right is for readers.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{File, files, nothing, quoted, read, root, rust, section};

/// Words the glossary must have: those the product speaks in.
const WORDS: [&str; 16] = [
    "blueprint",
    "graph",
    "node",
    "run",
    "round",
    "attempt",
    "tier",
    "taint",
    "effect",
    "gate",
    "subject",
    "budget",
    "escalation",
    "journal",
    "cassette",
    "routine",
];

fn documents() -> Vec<File> {
    files().into_iter().filter(|file| file.is("md")).collect()
}

/// The text without its code.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push(line.split('`').step_by(2).collect::<Vec<_>>().join(" "));
        }
    }
    lines.join("\n")
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

/// The anchors of a document's headings, as forges make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if let (false, Some(title)) = (fenced, line.strip_prefix('#')) {
            let title = title.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            anchors.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    anchors
}

/// `path` without `.` and `..`, if it stays inside.
fn cleaned(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => clean.pop().then_some(())?,
            Component::Normal(name) => clean.push(name),
            _ => {}
        }
    }
    Some(clean)
}

#[test]
fn links_lead_to_what_is_there() {
    let mut wrong = Vec::new();
    for file in documents() {
        for link in links(&file.text) {
            if ["http://", "https://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
                continue;
            }
            let (target, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let beside = Path::new(&file.path).parent().unwrap().join(target);
            let path = if target.is_empty() { Some(PathBuf::from(&file.path)) } else { cleaned(&beside) };
            let Some(path) = path.map(|path| root().join(path)).filter(|path| path.exists()) else {
                wrong.push(format!("{}: {link} leads nowhere", file.path));
                continue;
            };
            let text = if path.is_file() { std::fs::read_to_string(&path).unwrap() } else { String::new() };
            if !anchor.is_empty() && !anchors(&text).contains(anchor) {
                wrong.push(format!("{}: {link} names no heading", file.path));
            }
        }
    }
    nothing(&wrong, "mend these links");
}

#[test]
fn decisions_are_numbered_and_titled_and_say_what_was_weighed() {
    let mut numbers = Vec::new();
    let mut wrong = Vec::new();
    for file in documents().into_iter().filter(|file| file.path.starts_with("docs/decisions/")) {
        let name = file.path.trim_start_matches("docs/decisions/").trim_end_matches(".md").to_owned();
        let (number, slug) = name.split_once('-').unwrap_or((name.as_str(), ""));
        let good = number.len() == 4
            && number.chars().all(|c| c.is_ascii_digit())
            && !slug.is_empty()
            && slug.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !good {
            wrong.push(format!("{name}: call it NNNN-what-was-decided.md"));
            continue;
        }
        numbers.push(number.parse::<usize>().unwrap());
        let title = file.text.lines().next().unwrap_or_default();
        if title.strip_prefix(&format!("# {number}. ")).is_none_or(|title| title.trim().is_empty()) {
            wrong.push(format!("{name}: begin it with `# {number}. ` and a title"));
        }
        for part in ["## Goals", "## Non-goals", "## Decision", "## Alternatives"] {
            if !file.text.lines().any(|line| line == part) {
                wrong.push(format!("{name}: it has no `{part}`"));
            }
        }
    }
    numbers.sort_unstable();
    if numbers.is_empty() || numbers != (1..=numbers.len()).collect::<Vec<_>>() {
        wrong.push(format!("the numbers are {numbers:?}: count from 1, without gaps, each once"));
    }
    nothing(&wrong, "mend docs/decisions");
}

#[test]
fn the_changelog_has_a_place_for_what_is_not_released() {
    let text = read("CHANGELOG.md");
    let unreleased = section(&text, "## [Unreleased]");
    assert!(unreleased.contains("\n- "), "nothing stands under Unreleased");
    assert!(text.contains("keepachangelog.com"), "the changelog does not say which form it has");
    let kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    let wrong: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|kind| !kinds.contains(kind))
        .map(str::to_owned)
        .collect();
    nothing(&wrong, "these are no kinds of changes");
}

#[test]
fn the_glossary_has_every_word_of_the_product_once() {
    let text = read("docs/glossary.md");
    let rows =
        text.lines().filter_map(|line| line.strip_prefix("| ")).filter(|row| !row.starts_with("word |"));
    let words: Vec<&str> = rows.filter_map(|row| row.split(" | ").next()).map(str::trim).collect();
    let missing = WORDS.iter().filter(|word| !words.contains(word));
    let mut wrong: Vec<String> = missing.map(|word| format!("`{word}` is missing")).collect();
    let mut seen = BTreeSet::new();
    wrong.extend(
        words.iter().filter(|word| !seen.insert(**word)).map(|word| format!("`{word}` is there twice")),
    );
    for heading in ["## Words of the product", "## Words of the code"] {
        let rows = section(&text, heading).lines().filter_map(|line| line.strip_prefix("| "));
        let here: Vec<&str> = rows.skip(1).filter_map(|row| row.split(" | ").next()).collect();
        let late = here.windows(2).filter(|pair| pair[0] > pair[1]);
        wrong.extend(late.map(|pair| format!("`{}` stands before `{}`", pair[0], pair[1])));
    }
    nothing(&wrong, "mend docs/glossary.md");
}

#[test]
fn every_test_the_threat_model_names_exists() {
    let text = read("docs/threat-model.md");
    let known: BTreeSet<String> = rust()
        .iter()
        .flat_map(|file| file.text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next()))
        .map(str::to_owned)
        .collect();
    let mut wrong = Vec::new();
    let held = section(&text, "## What is held");
    let threats: Vec<&str> = held.split("\n### ").skip(1).collect();
    for (number, threat) in threats.iter().enumerate() {
        let title = threat.lines().next().unwrap_or_default();
        if !title.starts_with(&format!("T{}: ", number + 1)) {
            wrong.push(format!("`{title}` should be T{}", number + 1));
        }
        let Some((_, shown)) = threat.split_once("\nShown by: ") else {
            wrong.push(format!("`{title}` is shown by no test"));
            continue;
        };
        let strangers = quoted(shown).filter(|name| !known.contains(*name));
        wrong.extend(strangers.map(|name| format!("`{title}` names the test `{name}`, which is not there")));
    }
    assert!(!threats.is_empty(), "the threat model has no threats");
    nothing(&wrong, "mend docs/threat-model.md");
}
