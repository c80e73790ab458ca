//! How findings are drawn for a terminal.

use std::sync::Arc;

use blueprint_core::check::compile;
use blueprint_core::finding::{Code, Finding, Findings};
use blueprint_core::source::{SourceSet, Span};

use super::corpus::{cases, sources};
use super::diagnose::{Colour, render};
use super::mutations::is_harmless;

fn draw(finding: Finding, text: &str) -> String {
    let mut findings = Findings::default();
    findings.push(finding);
    render(&findings, &SourceSet::single("a.toml", text), Colour::Never)
}

fn file() -> Arc<str> {
    "a.toml".into()
}

#[test]
fn nothing_is_drawn_when_nothing_was_found() {
    assert_eq!(render(&Findings::default(), &SourceSet::default(), Colour::Always), "");
}

#[test]
fn a_finding_without_a_place_has_no_snippet() {
    let drawn = draw(
        Finding::new(Code::FileMissing, None, "`x` cannot be read").reason("it is not there").fix("make it"),
        "",
    );
    assert_eq!(
        drawn,
        "error[BP008]: `x` cannot be read\n |\n = why: it is not there\n = fix: make it\n\n1 error\n"
    );
}

#[test]
fn errors_and_warnings_are_counted() {
    let mut findings = Findings::default();
    for code in [Code::Cycle, Code::IdleJoin, Code::Cycle] {
        findings.push(Finding::new(code, None, "x"));
    }
    let drawn = render(&findings, &SourceSet::default(), Colour::Never);
    assert!(drawn.ends_with("\n\n2 errors, 1 warning\n"), "{drawn}");
    assert_eq!(drawn.matches("warning[BP015]").count(), 1);
}

#[test]
fn colours_are_there_only_if_asked_for() {
    for case in cases("wrong") {
        let sources = case.sources();
        let findings = compile(&sources).findings;
        is_harmless(&render(&findings, &sources, Colour::Never));
        assert!(
            render(&findings, &sources, Colour::Always).contains("\u{1b}["),
            "{} is drawn without colours",
            case.name
        );
    }
}

#[test]
fn a_file_cannot_act_on_the_terminal() {
    let evil =
        "a = 1 # \u{1b}[2J \u{9b}31m \u{202e}abc\u{202c} \u{7}\u{8} \u{200b}|\u{2066}\u{e0041}\r here\n";
    let at = evil.find("here").unwrap();
    let finding = Finding::new(Code::Syntax, Span::new(&file(), at..at + 4), evil)
        .label(evil)
        .note(Span::new(&file(), 0..1), evil)
        .reason(evil)
        .fix(evil);
    let drawn = draw(finding, evil);
    is_harmless(&drawn);
    assert!(drawn.contains("␛[2J"), "{drawn}");
    let message = drawn.lines().next().unwrap();
    assert!(message.contains("\\u{1b}[2J") && message.contains("\\n"), "{message}");
    // The mark still stands below what it is about.
    let line = drawn.lines().find(|line| line.contains("here") && line.starts_with('1')).unwrap();
    let mark = drawn.lines().find(|line| line.contains("^^^^")).unwrap();
    let before = |line: &str, what: &str| line.split(what).next().unwrap().chars().count();
    assert_eq!(before(line, "here"), before(mark, "^^^^"), "{drawn}");
}

#[test]
fn a_name_of_a_file_cannot_act_on_the_terminal() {
    let name: Arc<str> = "a\u{1b}[31m\n.toml".into();
    let mut findings = Findings::default();
    findings.push(Finding::new(Code::Syntax, Span::new(&name, 0..1), "x").label("y"));
    let drawn = render(&findings, &SourceSet::single(&*name, "abc"), Colour::Never);
    is_harmless(&drawn);
    assert!(drawn.contains("a\\u{1b}[31m\\n.toml:1:1"), "{drawn}");
}

#[test]
fn places_outside_the_text_are_drawn_at_its_end() {
    for range in [0..0, 3..3, 2..900, 500..900, 1..2] {
        let drawn = draw(Finding::new(Code::Syntax, Span::new(&file(), range), "x").label("y"), "aü\n");
        assert!(drawn.contains("a.toml:"), "{drawn}");
    }
    let drawn =
        draw(Finding::new(Code::Syntax, Span::new(&"other.toml".into(), 0..3), "x").label("somewhere"), "a");
    assert!(drawn.contains("somewhere: other.toml"), "{drawn}");
}

#[test]
fn a_line_of_megabytes_is_drawn_around_the_place() {
    let text = format!("a = \"{}HERE{}\"\n", "ä".repeat(1 << 20), "x".repeat(1 << 20));
    let at = text.find("HERE").unwrap();
    let drawn = draw(Finding::new(Code::Syntax, Span::new(&file(), at..at + 4), "x").label("y"), &text);
    assert!(drawn.contains("HERE") && drawn.contains("^^^^ y"), "{drawn}");
    assert!(drawn.len() < 4000, "{} bytes are drawn", drawn.len());
}

#[test]
fn a_tall_place_is_drawn_by_its_first_line() {
    let text = "first\n".repeat(50);
    let drawn = draw(Finding::new(Code::Syntax, Span::new(&file(), 0..text.len()), "x").label("y"), &text);
    assert!(drawn.lines().count() < 8, "{drawn}");
    assert!(drawn.contains("^^^^^ y"), "{drawn}");
}

#[test]
fn places_far_apart_are_drawn_apart() {
    let text = "line\n".repeat(5000);
    let far = text.len() - 5;
    let drawn = draw(
        Finding::new(Code::Syntax, Span::new(&file(), 0..4), "x")
            .label("here")
            .note(Span::new(&file(), far..far + 4), "and there"),
        &text,
    );
    assert!(drawn.contains("a.toml:1:1") && drawn.contains("a.toml:5000:1"), "{drawn}");
    assert!(drawn.lines().count() < 14, "{drawn}");
}

#[test]
fn a_byte_order_mark_does_not_move_the_column() {
    let text = "\u{feff}schema = 2\nname = \"x\"\n[nodes.a]\nrun = \"true\"\n";
    let sources = sources(text);
    let drawn = render(&compile(&sources).findings, &sources, Colour::Never);
    assert!(drawn.contains("blueprint.toml:1:10"), "{drawn}");
}
