//! What holds for every source file. Looks at the text alone; what the compiler or a lint can see is left to them.

use super::{files, nothing, rust};

const LONGEST: usize = 800;
const LONG: usize = 400;
/// Files that may be longer, each with a reason. There are none.
const LONGER: [(&str, &str); 0] = [];

/// Names that say nothing about what is inside.
const DRAWERS: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "manager", "misc", "imp"];

/// Words of the places and ways in which the product is made. Put together here, so that this file may hold them.
const WORKPLACE: [&str; 6] = [
    concat!("/wo", "rk/main"),
    concat!("/wo", "rk/shared"),
    concat!("/wo", "rk/target"),
    concat!("/tmp/", "team"),
    concat!("this ", "session"),
    concat!("our ", "session"),
];
/// The same, for documents only: the protocols of models use this word as well.
const WORKPLACE_IN_PROSE: [&str; 1] = [concat!("assis", "tant")];

#[test]
fn every_rust_file_opens_with_what_it_is() {
    let bare = |text: &str| !text.starts_with("//! ");
    let wrong: Vec<String> =
        rust().into_iter().filter(|file| bare(&file.text)).map(|file| file.path).collect();
    nothing(&wrong, "begin these files with `//! ` and what they are and must never do");
}

#[test]
fn no_rust_file_is_too_long_to_be_read() {
    let lengths: Vec<(String, usize)> =
        rust().into_iter().map(|file| (file.path.clone(), file.lines())).collect();
    let excused = |path: &str| LONGER.iter().any(|(known, _)| *known == path);
    let wrong: Vec<String> = lengths
        .iter()
        .filter(|(path, lines)| *lines > LONGEST && !excused(path))
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    let long: Vec<String> = lengths
        .iter()
        .filter(|(_, lines)| *lines > LONG)
        .map(|(path, lines)| format!("{path}: {lines}"))
        .collect();
    let rule = format!(
        "split these files, they have more than {LONGEST} lines (worth a look, more than {LONG}: {})",
        long.join(", ")
    );
    nothing(&wrong, &rule);
    let idle: Vec<String> = LONGER
        .iter()
        .filter(|(path, _)| !lengths.iter().any(|(known, lines)| known == path && *lines > LONGEST))
        .map(|(path, _)| (*path).to_owned())
        .collect();
    nothing(&idle, "these files need no exception");
}

#[test]
fn modules_are_named_after_what_is_in_them() {
    let drawer = |path: &str| {
        let path = path.strip_suffix(".rs").unwrap_or(path);
        path.split('/').any(|part| DRAWERS.contains(&part))
    };
    let wrong: Vec<String> = rust().into_iter().map(|file| file.path).filter(|path| drawer(path)).collect();
    nothing(&wrong, "name these after what is in them");
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    let (outer, inner) = (concat!("#[", "allow"), concat!("#![", "allow"));
    let mut wrong = Vec::new();
    for file in rust() {
        for (number, line) in file.text.lines().enumerate() {
            let code = line.trim_start();
            let given = code.contains(outer) || code.contains(inner);
            if given && !code.starts_with("//") {
                wrong.push(format!("{}:{}: {code}", file.path, number + 1));
            }
        }
    }
    nothing(&wrong, "write `#[expect(lint, reason = \"…\")]`");
}

#[test]
fn nothing_speaks_of_how_it_was_made() {
    let mut wrong = Vec::new();
    for file in files() {
        let prose = file.is("md");
        for (number, line) in file.text.lines().enumerate() {
            let lower = line.to_lowercase();
            let words = WORKPLACE.iter().chain(WORKPLACE_IN_PROSE.iter().filter(|_| prose));
            let found = words.copied().filter(|word| lower.contains(word));
            wrong.extend(found.map(|word| format!("{}:{}: {word}", file.path, number + 1)));
        }
    }
    nothing(&wrong, "the repository speaks of the product alone");
}
