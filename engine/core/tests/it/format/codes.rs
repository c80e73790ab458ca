//! The codes and what `blueprint explain` says of them.

use std::collections::BTreeSet;

use blueprint_core::finding::{ALL_CODES, Code};

#[test]
fn every_code_is_explained_in_sentences() {
    for code in ALL_CODES {
        let (title, text) = (code.title(), code.explanation());
        assert!(title.len() >= 5 && !title.ends_with('.'), "{code} is called `{title}`");
        assert!(
            !title.starts_with(char::is_uppercase) || title.starts_with("URL"),
            "{code} is called `{title}`"
        );
        assert!(text.len() >= 40 && text.ends_with('.'), "{code} says `{text}`");
        assert!(text.matches('`').count() % 2 == 0, "{code} leaves a quote open: {text}");
    }
}

#[test]
fn codes_are_found_by_how_they_are_written() {
    let mut seen = BTreeSet::new();
    for code in ALL_CODES {
        let written = code.to_string();
        assert!(seen.insert(written.clone()), "{written} is there twice");
        assert_eq!(written.parse::<Code>(), Ok(*code));
        assert_eq!(written.to_lowercase().parse::<Code>(), Ok(*code));
    }
    assert_eq!("BP999".parse::<Code>(), Err(()));
}
