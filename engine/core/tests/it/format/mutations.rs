//! Blueprints that somebody, or something, has damaged: whatever is in a file, reading, checking and drawing come
//! to an end without panic, and every place that is shown is a place of the file.

use std::sync::{Arc, LazyLock};

use blueprint_core::check::compile;
use blueprint_core::finding::Findings;
use blueprint_core::format::{read, references};
use blueprint_core::source::SourceSet;
use proptest::prelude::*;

use super::corpus::{Case, cases, sources};
use super::diagnose::{Colour, render};

fn survives(text: &str) {
    let sources = sources(text);
    let mut findings = Findings::default();
    let file: Arc<str> = "blueprint.toml".into();
    if let Some(document) = read(&file, text, &mut findings).document {
        references(&file, &document);
    }
    let checked = compile(&sources);
    assert_eq!(checked.program.is_none(), checked.findings.has_errors(), "{text}");
    for finding in &checked.findings {
        for span in finding.span.iter().chain(finding.notes.iter().map(|note| &note.span)) {
            let file = sources.get(&span.file).unwrap_or_else(|| panic!("{} is no file", span.file));
            assert!(
                file.get(span.range()).is_some(),
                "{span:?} of {} is no place of {text}",
                finding.message
            );
        }
    }
    let drawn = render(&checked.findings, &sources, Colour::Never);
    is_harmless(&drawn);
    render(&checked.findings, &sources, Colour::Always);
}

pub(super) fn is_harmless(drawn: &str) {
    let bad = drawn.chars().find(|c| {
        (c.is_control() && *c != '\n') || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    });
    assert_eq!(bad, None, "reaches the terminal in {drawn:?}");
}

#[derive(Debug, Clone)]
enum Damage {
    Replace(usize, char),
    Insert(usize, char),
    Delete(usize, usize),
    Cut(usize),
    RepeatLine(usize),
    SwapLines(usize, usize),
    SwapValues(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let strange = prop_oneof![
        Just('"'),
        Just('\''),
        Just('['),
        Just(']'),
        Just('{'),
        Just('}'),
        Just('='),
        Just('.'),
        Just('#'),
        Just('\\'),
        Just('\n'),
        Just('\r'),
        Just('\t'),
        Just('\0'),
        Just('\u{1b}'),
        Just('\u{202e}'),
        Just('\u{feff}'),
        Just('ä'),
        Just('数'),
        Just('🎉'),
        Just('\u{301}'),
        Just('0'),
        Just('|'),
        any::<char>(),
    ];
    let at = any::<usize>();
    prop_oneof![
        (at, strange.clone()).prop_map(|(at, c)| Damage::Replace(at, c)),
        (at, strange).prop_map(|(at, c)| Damage::Insert(at, c)),
        (at, 1..20_usize).prop_map(|(at, n)| Damage::Delete(at, n)),
        at.prop_map(Damage::Cut),
        at.prop_map(Damage::RepeatLine),
        (at, at).prop_map(|(a, b)| Damage::SwapLines(a, b)),
        (at, at).prop_map(|(a, b)| Damage::SwapValues(a, b)),
    ]
}

fn apply(text: &str, damage: &Damage) -> String {
    let chars: Vec<char> = text.chars().collect();
    let lines: Vec<&str> = text.split('\n').collect();
    let at = |place: usize| place % chars.len().max(1);
    match damage {
        Damage::Replace(place, c) => {
            let mut chars = chars.clone();
            let at = at(*place);
            if let Some(old) = chars.get_mut(at) {
                *old = *c;
            }
            chars.into_iter().collect()
        }
        Damage::Insert(place, c) => {
            let mut chars = chars.clone();
            chars.insert(at(*place), *c);
            chars.into_iter().collect()
        }
        Damage::Delete(place, number) => {
            let start = at(*place);
            chars
                .iter()
                .enumerate()
                .filter(|(i, _)| *i < start || *i >= start + number)
                .map(|(_, c)| c)
                .collect()
        }
        Damage::Cut(place) => chars.iter().take(at(*place)).collect(),
        Damage::RepeatLine(place) => {
            let mut lines = lines.clone();
            let line = place % lines.len();
            lines.insert(line, lines[line]);
            lines.join("\n")
        }
        Damage::SwapLines(one, other) => {
            let mut lines = lines.clone();
            let number = lines.len();
            lines.swap(one % number, other % number);
            lines.join("\n")
        }
        Damage::SwapValues(one, other) => {
            let mut lines: Vec<(String, String)> = lines
                .iter()
                .map(|line| {
                    line.split_once('=').map_or((String::new(), (*line).to_owned()), |(key, value)| {
                        (format!("{key}="), value.to_owned())
                    })
                })
                .collect();
            let (one, other) = (one % lines.len(), other % lines.len());
            let (a, b) = (lines[one].1.clone(), lines[other].1.clone());
            lines[one].1 = b;
            lines[other].1 = a;
            lines.into_iter().map(|(key, value)| key + &value).collect::<Vec<_>>().join("\n")
        }
    }
}

static ALL: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let mut all = cases("right");
    all.extend(cases("wrong").into_iter().filter(|case| case.text.len() < 4000));
    all
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_blueprints_are_survived(number in any::<usize>(), damages in prop::collection::vec(damage(), 1..6)) {
        let all = &*ALL;
        let mut text = all[number % all.len()].text.clone();
        for damage in &damages {
            text = apply(&text, damage);
        }
        survives(&text);
    }

    #[test]
    fn arbitrary_texts_are_survived(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn arbitrary_values_are_survived(key in 0..20_usize, value in "(\\PC|[\"'{}\\[\\]\n,=#.$|]|true|5|-1|1e9|nan|\"5m\"|inputs\\.n|nodes\\.a){0,12}") {
        let keys = ["run", "needs", "when", "each", "env", "args", "edit", "http", "gate", "retry", "repair", "output", "output_from", "timeout",
            "stdin", "use", "with", "forge", "ci", "agent"];
        let key = keys[key];
        survives(&format!("schema = 1\nname = \"x\"\ninputs.n = {{ type = \"integer\" }}\n[nodes.a]\n{key} = {value}\n"));
        survives(&format!("schema = 1\nname = \"x\"\ninputs.n = {{ type = \"integer\" }}\n[nodes.a]\n{key} = {value:?}\n[nodes.b]\nneeds = [\"a\"]\nrun = \"x\"\nargs = [{value:?}]\n"));
    }
}

#[test]
fn an_empty_project_is_survived() {
    let checked = compile(&SourceSet::default());
    assert!(checked.findings.has_errors());
    is_harmless(&render(&checked.findings, &SourceSet::default(), Colour::Never));
}
