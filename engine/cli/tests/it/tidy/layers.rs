//! Who may know whom: the edges between the crates, and what core may use at all. The manifests and sources are the
//! evidence; what `docs/architecture.md` says of them is the rule.

use std::collections::BTreeMap;

use super::{File, nothing, read, rust};

/// Every crate with those of ours it depends on.
const EDGES: [(&str, &[&str]); 5] = [
    ("engine/core", &[]),
    ("engine/sandbox", &[]),
    ("engine/agent", &[]),
    ("engine/runtime", &["blueprint-agent", "blueprint-core", "blueprint-sandbox"]),
    ("engine/cli", &["blueprint-agent", "blueprint-core", "blueprint-runtime", "blueprint-sandbox"]),
];

/// What core may depend on: parsers, data structures and digests, nothing that touches the world.
const CORE: [&str; 14] = [
    "blake3",
    "globset",
    "jiff",
    "jsonc-parser",
    "minijinja",
    "petgraph",
    "regex",
    "schemars",
    "serde",
    "serde_json",
    "shlex",
    "strsim",
    "thiserror",
    "toml",
];

/// What core never names: files, the network, processes, clocks, randomness, a runtime.
const OUTSIDE: [&str; 12] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "std::os",
    "std::time::SystemTime",
    "std::time::Instant",
    "SystemTime",
    "Instant",
    "tokio",
    "rand",
];

fn manifest(folder: &str) -> toml::Table {
    read(&format!("{folder}/Cargo.toml"))
        .parse()
        .unwrap_or_else(|error| panic!("{folder}/Cargo.toml: {error}"))
}

/// The names below `dependencies` and `build-dependencies`, those for single targets included.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flat_map(|targets| targets.values().filter_map(toml::Value::as_table));
    let mut names = Vec::new();
    for table in tables.chain([manifest]) {
        for kind in ["dependencies", "build-dependencies"] {
            let found = table.get(kind).and_then(toml::Value::as_table);
            names.extend(found.into_iter().flat_map(|found| found.keys().cloned()));
        }
    }
    names.sort();
    names
}

#[test]
fn the_edges_between_the_crates_are_those_of_the_architecture() {
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let members: Vec<&str> = members.iter().map(|member| member.as_str().unwrap()).collect();
    let known: BTreeMap<&str, &[&str]> = BTreeMap::from(EDGES);
    let mut wrong: Vec<String> = members
        .iter()
        .filter(|member| !known.contains_key(**member))
        .map(|member| format!("{member} has no place in the table of edges"))
        .collect();
    for (folder, edges) in EDGES {
        if !members.contains(&folder) {
            wrong.push(format!("{folder} is not a member of the workspace"));
            continue;
        }
        let found = dependencies(&manifest(folder));
        let ours: Vec<&String> = found.iter().filter(|name| name.starts_with("blueprint")).collect();
        if ours != edges {
            wrong.push(format!("{folder} depends on {ours:?}, but should on {edges:?}"));
        }
    }
    nothing(&wrong, "an edge between crates is a decision");
}

#[test]
fn core_depends_on_nothing_but_what_is_listed() {
    let found = dependencies(&manifest("engine/core"));
    assert_eq!(found, CORE, "what core may use is a decision: it must not touch the world");
}

#[test]
fn core_names_nothing_outside_of_itself() {
    let mut wrong = Vec::new();
    let of_core = |file: &File| file.path.starts_with("engine/core/src/") && !file.path.ends_with("tests.rs");
    let sources: Vec<File> = rust().into_iter().filter(of_core).collect();
    assert!(!sources.is_empty(), "there is no source of core");
    for file in sources {
        let code = spelled_out(&code_of(&file.text));
        let found = OUTSIDE.iter().filter(|name| names(&code, name));
        wrong.extend(found.map(|name| format!("{}: {name}", file.path)));
    }
    nothing(&wrong, "time, files and chance reach core as events only");
}

#[test]
fn only_the_sandbox_is_unsafe() {
    let word = "unsafe";
    let opens = |file: &File| {
        let code = code_of(&file.text);
        ["{", "impl ", "fn ", "extern "].iter().any(|what| code.contains(&format!("{word} {what}")))
    };
    let sources = rust().into_iter().filter(|file| !file.path.starts_with("engine/sandbox/"));
    let wrong: Vec<String> = sources.filter(opens).map(|file| file.path).collect();
    nothing(&wrong, "`unsafe` has one home");
    for (folder, _) in EDGES.iter().filter(|(folder, _)| *folder != "engine/sandbox") {
        let entry = read(&format!("{folder}/src/lib.rs"));
        assert!(entry.contains("#![forbid(unsafe_code)]"), "{folder}/src/lib.rs does not forbid unsafe code");
    }
}

/// The source without its comments. A `//` inside a text cuts too much of a line only where a blank stands before it.
fn code_of(text: &str) -> String {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.map(|line| line.split(" // ").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// `use std::{fs, io};` as `std::fs std::io`, behind the source itself.
fn spelled_out(code: &str) -> String {
    let mut all = vec![code.to_owned()];
    for (prefix, open) in [("std::", "std::{"), ("std::time::", "std::time::{")] {
        for group in code.split(open).skip(1) {
            let inside = group.split(';').next().unwrap_or(group);
            let names = inside.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
            all.extend(names.map(|name| format!("{prefix}{name}")));
        }
    }
    all.join(" ")
}

/// Whether `name` stands in `code` as a name of its own.
fn names(code: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back().is_some_and(part);
        let after = code[at + name.len()..].chars().next().is_some_and(part);
        !before && !after
    })
}

#[test]
fn names_are_found_however_they_are_imported() {
    let code = |text: &str| spelled_out(&code_of(text));
    assert!(names(&code("use std::{fs::File, io};"), "std::fs"));
    assert!(names(&code("use std::{\n    collections::BTreeMap,\n    env,\n};"), "std::env"));
    assert!(names(&code("use std::time::{Duration, Instant};"), "Instant"));
    assert!(names(&code("let x = rand::random();"), "rand"));
    assert!(!names(&code("struct Instance; let operand = 1;"), "Instant"));
    assert!(!names(&code("let operand = 1; // rand"), "rand"));
    assert!(!names(&code("//! without tokio"), "tokio"));
}
