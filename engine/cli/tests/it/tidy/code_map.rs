//! The code map of `docs/architecture.md` and the folders of the README, held against what is there. Granularity: every
//! crate with the modules on its first level, and every folder at the top.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{files, nothing, quoted, read, root, section};

/// Sources that are entries, not modules.
const ENTRIES: [&str; 3] = ["lib", "main", "bin"];

/// Folders at the top that are nobody's to explain.
const UNEXPLAINED: [&str; 4] = [".git", ".blueprint", "target", ".github"];

/// Crates with the modules of their first level, as the source has them.
fn there() -> BTreeMap<String, BTreeSet<String>> {
    let mut crates: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files().into_iter().filter(|file| file.is("rs")) {
        if let Some((folder, inside)) = file.path.split_once("/src/") {
            let module = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs").to_owned();
            let modules = crates.entry(folder.to_owned()).or_default();
            if !ENTRIES.contains(&module.as_str()) {
                modules.insert(module);
            }
        }
    }
    crates
}

/// The same, as the document has them.
fn mapped() -> BTreeMap<String, BTreeSet<String>> {
    let text = read("docs/architecture.md");
    let map = section(&text, "## Code map");
    let mut crates = BTreeMap::new();
    for part in map.split("\n### ").skip(1) {
        let folder = quoted(part).next().unwrap_or_default().to_owned();
        let items = part.lines().filter_map(|line| line.strip_prefix("- "));
        let modules: BTreeSet<String> =
            items.filter_map(|item| quoted(item).next()).map(str::to_owned).collect();
        crates.insert(folder, modules);
    }
    crates
}

#[test]
fn the_code_map_names_exactly_the_modules_there_are() {
    let (there, mapped) = (there(), mapped());
    let mut wrong = Vec::new();
    for folder in there.keys().chain(mapped.keys()).collect::<BTreeSet<_>>() {
        let none = BTreeSet::new();
        let (real, named) = (there.get(folder).unwrap_or(&none), mapped.get(folder).unwrap_or(&none));
        wrong.extend(real.difference(named).map(|module| format!("{folder}: `{module}` is not in the map")));
        wrong.extend(
            named.difference(real).map(|module| format!("{folder}: `{module}` is not in the source")),
        );
        if !there.contains_key(folder) {
            wrong.push(format!("{folder} is in the map, but is no crate"));
        }
        if !mapped.contains_key(folder) {
            wrong.push(format!("{folder} has no part in the map"));
        }
    }
    nothing(&wrong, "mend the code map of docs/architecture.md");
}

#[test]
fn each_module_of_the_map_says_what_it_is() {
    let text = read("docs/architecture.md");
    let items = section(&text, "## Code map").lines().filter(|line| line.starts_with("- "));
    let bare = items.filter(|item| item.split_once("`: ").is_none_or(|(_, what)| what.trim().len() < 8));
    let wrong: Vec<String> = bare.map(str::to_owned).collect();
    nothing(&wrong, "write `- `module`: what it is`");
}

#[test]
fn the_readme_names_every_folder_at_the_top() {
    let text = read("README.md");
    let map = section(&text, "## What is where").split("```").nth(1).unwrap_or_default();
    let named: BTreeSet<&str> =
        map.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    let missing = named.iter().filter(|folder| !root().join(folder).is_dir());
    let mut wrong: Vec<String> =
        missing.map(|folder| format!("{folder} is named, but is not there")).collect();
    for entry in fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let explained = named.iter().any(|folder| folder.split('/').next() == Some(name.as_str()));
        if entry.file_type().unwrap().is_dir() && !explained && !UNEXPLAINED.contains(&name.as_str()) {
            wrong.push(format!("{name} is there, but is not named"));
        }
    }
    for folder in there().keys().filter(|folder| !named.contains(folder.as_str())) {
        wrong.push(format!("the crate {folder} is not named"));
    }
    nothing(&wrong, "mend the folders under `What is where` in the README");
}
