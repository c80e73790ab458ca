//! Large blueprints: the check grows with nodes and edges, and says so when something is too large.

use std::fmt::Write as _;

use blueprint_core::check::compile;
use blueprint_core::finding::Code;
use blueprint_core::source::SourceSet;

const NODES: usize = 10_000;

/// Ten thousand nodes with three needs each, every one of which reads a near and the farthest node.
fn large() -> String {
    let mut text = "schema = 1\nname   = \"large\"\n\n".to_owned();
    for number in 0..NODES {
        let needs: Vec<String> = [1, 7, 100]
            .iter()
            .filter(|back| **back <= number)
            .map(|back| format!("\"n{}\"", number - back))
            .collect();
        writeln!(
            text,
            "[nodes.n{number}]\nneeds = [{}]\nrun = \"./step.sh\"\noutput = {{ v = \"string\" }}",
            needs.join(", ")
        )
        .unwrap();
        if let Some(last) = number.checked_sub(1) {
            writeln!(text, "args = [\"nodes.n{last}.v\", \"nodes.n0.v\"]").unwrap();
        }
        if number % 5 == 4 {
            writeln!(text, "repair = {{ from = \"n{}\", rounds = 2 }}", number - 1).unwrap();
        }
    }
    text
}

#[test]
fn ten_thousand_nodes_compile() {
    let checked = compile(&SourceSet::single("large.toml", large()));
    assert!(checked.findings.is_empty(), "{:?}", checked.findings.iter().next());
    let program = checked.program.unwrap();
    let root = program.root();
    assert_eq!(root.nodes.len(), NODES);
    assert_eq!(root.nodes.iter().map(|node| node.needs.len()).sum::<usize>(), 3 * NODES - 1 - 7 - 100);
    assert_eq!(root.regions.len(), NODES / 5);
    assert_eq!(root.heights[0] as usize, NODES);
}

#[test]
fn a_fault_in_each_of_ten_thousand_nodes_is_found() {
    let text = large().replace("run = ", "rum = ").replace("nodes.n0.v", "nodes.m0.v");
    let checked = compile(&SourceSet::single("large.toml", text));
    let count = |code| checked.findings.iter().filter(|finding| finding.code == code).count();
    assert_eq!(count(Code::UnknownKey), NODES);
    assert_eq!(count(Code::UnknownReference), 0, "nothing is said of a node whose kind is not known");
}

#[test]
fn a_file_of_more_than_16_mib_is_not_read() {
    let text = format!("schema = 1\n#{}", "x".repeat(16 * 1024 * 1024));
    let checked = compile(&SourceSet::single("large.toml", text));
    assert_eq!(checked.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::TooLarge]);
}

#[test]
fn blueprints_that_use_each_other_too_deeply_are_refused() {
    let mut sources = SourceSet::single("p0.toml", "");
    for number in 0..100 {
        let text = format!("schema = 1\nname = \"p{number}\"\n[nodes.a]\nuse = \"./p{}.toml\"\n", number + 1);
        sources.files.insert(format!("p{number}.toml"), text);
    }
    let codes: Vec<Code> = compile(&sources).findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::TooLarge]);
}

#[test]
fn files_that_include_each_other_in_a_lattice_are_read_once() {
    // Every level includes both files of the next: two to the power of thirty ways, sixty files.
    let mut sources = SourceSet::single("a0.toml", "");
    for level in 0..30 {
        for side in ["a", "b"] {
            let next = level + 1;
            let include = if level < 29 {
                format!("include = [\"a{next}.toml\", \"b{next}.toml\"]\n")
            } else {
                String::new()
            };
            let text = format!("schema = 1\nname = \"x\"\n{include}[nodes.{side}{level}]\nrun = \"true\"\n");
            sources.files.insert(format!("{side}{level}.toml"), text);
        }
    }
    let checked = compile(&sources);
    assert!(checked.findings.is_empty(), "{:?}", checked.findings);
    assert_eq!(checked.program.unwrap().root().nodes.len(), 59);
}
