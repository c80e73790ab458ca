//! Definitions of every language are found, what is spoken of most comes first, and the budget holds.

use proptest::prelude::*;

use super::language::{Language, Parser};
use super::{MAPPED_AT_MOST, Source, map, speaks};
use crate::context::{Family, count};

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

fn names(path: &str, text: &str, defines: bool) -> Vec<String> {
    let language = Language::of(path).unwrap();
    let tags =
        Parser::default().tags(language, text).unwrap_or_else(|| panic!("{language:?} cannot be read"));
    let mut names: Vec<String> =
        tags.into_iter().filter(|tag| tag.defines == defines).map(|tag| tag.name).collect();
    names.dedup();
    names
}

#[test]
fn definitions_of_every_language_are_found() {
    for (path, text, expected) in [
        (
            "a.rs",
            "pub struct One;\nconst TWO: u8 = 2;\ntrait Three { fn four(&self); }\nimpl One { fn five() {} }\n",
            "One TWO Three five",
        ),
        (
            "a.py",
            "LIMIT = 3\nclass One:\n    def two(self):\n        pass\ndef three(): pass\n",
            "LIMIT One two three",
        ),
        (
            "a.js",
            "class One { two() {} }\nfunction three() {}\nconst four = () => 1;\n",
            "One two three four",
        ),
        (
            "a.ts",
            "interface One { two(): void }\ntype Three = One;\nenum Four { A }\nexport class Five { six() {} }\nexport function seven() {}\n",
            "One two Three Four Five six seven",
        ),
        ("a.tsx", "export const View = () => <div/>;\nclass Two {}\n", "View Two"),
        (
            "a.go",
            "package main\ntype One struct{}\nfunc (o One) two() {}\nfunc three() {}\n",
            "One two three",
        ),
    ] {
        assert_eq!(names(path, text, true).join(" "), expected, "{path}");
    }
    assert!(
        names("a.rs", "fn a() { help(); b::other(); let x: Thing = y.method(); }", false)
            .contains(&"Thing".to_owned())
    );
    assert_eq!(names("a.ts", "run(); a.go(); new Thing();", false).join(" "), "run go Thing");
    for unknown in ["a.txt", "Makefile", "a.min.js", ".rs/x"] {
        assert!(!speaks(unknown), "{unknown}");
    }
}

fn repository() -> Vec<Source> {
    vec![
        source("src/rare.rs", "pub fn rarely_used() {}\nfn never_used() {}\n"),
        source(
            "src/core.rs",
            "//! Core.\n\npub struct Engine {\n    pub x: u8,\n}\n\npub fn start_engine(e: &Engine) -> bool {\n    true\n}\n",
        ),
        source(
            "src/a.rs",
            "fn first_user(e: Engine) { start_engine(&e); start_engine(&e); rarely_used(); }\n",
        ),
        source("src/b.rs", "fn second_user(e: Engine) { start_engine(&e); }\n"),
        source("notes.txt", "fn not_code() {}"),
        source("src/long.rs", &"fn long() {}\n".repeat(MAPPED_AT_MOST / 12)),
        source("src/broken.rs", "fn half( { struct }}} \u{0}"),
    ]
}

#[test]
fn what_is_spoken_of_most_comes_first() {
    let all = map(Family::Openai, &repository(), 10_000);
    assert_eq!((all.files, all.skipped, all.shown), (5, 2, all.definitions));
    assert!(
        all.text
            .contains("src/core.rs\n  3 pub struct Engine\n  7 pub fn start_engine(e: &Engine) -> bool\n"),
        "{}",
        all.text
    );
    let small = map(Family::Openai, &repository(), 42);
    assert!(small.tokens <= 42 && small.shown == 2, "{small:?}");
    assert_eq!(
        small.text,
        "src/core.rs\n  3 pub struct Engine\n  7 pub fn start_engine(e: &Engine) -> bool\n"
    );
    let mut turned = repository();
    turned.reverse();
    assert_eq!(map(Family::Openai, &turned, 42), small);
    assert_eq!(map(Family::Openai, &repository(), 0).text, "");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_bearable_and_the_budget_holds(
        texts in prop::collection::vec(("(fn|def|class|func|struct|const|[a-z({;:)}\n é]){0,60}", 0..6), 0..5),
        budget in 0_u64..80,
    ) {
        let ends = ["rs", "py", "js", "ts", "tsx", "go"];
        let sources: Vec<Source> =
            texts.iter().enumerate().map(|(at, (text, end))| source(&format!("f{at}.{}", ends[*end as usize]), text)).collect();
        let made = map(Family::Openai, &sources, budget);
        prop_assert!(made.tokens <= budget && count(Family::Openai, &made.text) <= budget);
        prop_assert_eq!(made.files + made.skipped, sources.len());
        prop_assert_eq!(&made, &map(Family::Openai, &sources, budget));
    }
}
