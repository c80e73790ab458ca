//! Wrong blueprints: what is found is found where it stands, all in one go, and worded for people.

use std::collections::BTreeSet;

use blueprint_core::check::compile;
use blueprint_core::finding::{ALL_CODES, Code, Finding};

use super::corpus::{Case, cases, folder, line_of, marks};
use super::diagnose::{Colour, render};

#[test]
fn every_fault_is_found_where_it_stands_and_nothing_else() {
    let mut problems = Vec::new();
    for case in cases("wrong") {
        let findings = compile(&case.sources()).findings;
        let mut found: Vec<(usize, String)> = findings.iter().map(|finding| place(&case, finding)).collect();
        found.sort();
        let marked = marks(&case.text);
        if marked.is_empty() || found != marked {
            let messages: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
            problems.push(format!("{}: found {found:?}, marked {marked:?}: {messages:#?}", case.name));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The line of the blueprint that a finding is about. One that is about no line counts as line 0, one about
/// another file as the line of its note in the blueprint.
fn place(case: &Case, finding: &Finding) -> (usize, String) {
    let spans = finding.span.iter().chain(finding.notes.iter().map(|note| &note.span));
    let here = spans.into_iter().find(|span| &*span.file == "blueprint.toml");
    (here.map_or(0, |span| line_of(&case.text, span.start)), finding.code.to_string())
}

#[test]
fn every_finding_says_what_to_do() {
    for case in cases("wrong") {
        for finding in &compile(&case.sources()).findings {
            let told = [Some(&finding.message), finding.fix.as_ref(), Some(&finding.label)];
            for text in told {
                let text = text.unwrap_or_else(|| panic!("{}: {} has no fix", case.name, finding.message));
                assert!(!text.trim().is_empty(), "{}: {} says nothing", case.name, finding.message);
            }
        }
    }
}

#[test]
fn no_message_speaks_of_the_program_instead_of_the_blueprint() {
    let jargon = [
        "i64",
        "u32",
        "u64",
        "u16",
        "f64",
        "str`",
        "string or table",
        "struct ",
        "sequence",
        " variant",
        "map,",
        "Option",
        "newtype",
        "deserialize",
        "visitor",
        "expected",
    ];
    for case in cases("wrong") {
        for finding in &compile(&case.sources()).findings {
            for text in
                [Some(&finding.message), finding.reason.as_ref(), finding.fix.as_ref()].into_iter().flatten()
            {
                // The parsers of TOML and of expressions word themselves what they miss.
                let own = !matches!(finding.code, Code::Syntax | Code::BadExpression);
                let word = jargon.iter().find(|word| own && text.contains(**word));
                assert_eq!(word, None, "{}: {text}", case.name);
            }
        }
    }
}

#[test]
fn every_finding_is_drawn_as_recorded() {
    for case in cases("wrong") {
        let sources = case.sources();
        let drawn = render(&compile(&sources).findings, &sources, Colour::Never);
        insta::with_settings!({
            snapshot_path => folder("wrong"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(case.name, drawn);
        });
    }
}

#[test]
fn every_code_has_a_wrong_blueprint() {
    let cases = cases("wrong");
    let found: BTreeSet<Code> = cases
        .iter()
        .flat_map(|case| {
            compile(&case.sources()).findings.iter().map(|finding| finding.code).collect::<Vec<_>>()
        })
        .collect();
    let missing: Vec<String> = ALL_CODES
        .iter()
        .filter(|code| !found.contains(code))
        .map(|code| format!("{code} {}", code.title()))
        .collect();
    assert!(missing.is_empty(), "no wrong blueprint for {missing:#?}");
    assert!(cases.len() >= 75, "the corpus shrank to {}", cases.len());
}
