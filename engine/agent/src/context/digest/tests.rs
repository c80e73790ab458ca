//! A digest fits, keeps the first error, and says what it left out.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{Digest, DigestOptions, SMALLEST, digest};

fn with(log: &str, budget: usize) -> Digest {
    digest(log, &DigestOptions { budget, ..DigestOptions::default() })
}

fn noise(from: usize, to: usize) -> String {
    (from..to).fold(String::new(), |mut log, at| {
        writeln!(log, "   Compiling crate-{at} v1.0.{at}").unwrap();
        log
    })
}

#[test]
fn a_short_log_is_shown_whole_and_clean() {
    let digest =
        with("\u{1b}[32mok\u{1b}[0m one\nprogress 1%\rprogress 99%\r\n2026-01-02T03:04:05.678Z two\n", 1000);
    assert_eq!(digest.text, "ok one\nprogress 99%\ntwo\n");
    assert_eq!((digest.lines, digest.left_out, digest.errors), (3, 0, 0));
}

#[test]
fn repeats_are_counted() {
    let digest = with(&format!("a\n{}b\n", "waiting\n".repeat(500)), 1000);
    assert_eq!(digest.text, "a\nwaiting [500 times]\nb\n");
    assert_eq!((digest.lines, digest.repeats), (502, 499));
}

#[test]
fn the_error_stays_with_what_stands_around_it() {
    let log = format!(
        "{}before it\nerror[E0308]: mismatched types\n --> src/lib.rs:7:9\n  |\n7 |     1\n{}error: could not compile\n{}the end\n",
        noise(0, 2000),
        noise(2000, 4000),
        noise(4000, 6000)
    );
    let digest = with(&log, 4096);
    assert!(digest.text.len() <= 4096);
    for kept in [
        "crate-0 ",
        "before it\nerror[E0308]: mismatched types\n --> src/lib.rs:7:9\n  |",
        "error: could not",
        "the end\n",
    ] {
        assert!(digest.text.contains(kept), "{kept}: {}", digest.text);
    }
    assert_eq!(digest.first_error.as_deref(), Some("error[E0308]: mismatched types"));
    assert_eq!(digest.errors, 2);
    let shown = digest.text.lines().filter(|line| !line.starts_with("[…")).count();
    assert_eq!(shown + digest.left_out, 6006 + 1);
    let noted: usize = digest
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("[… ")?.split(' ').next()?.parse::<usize>().ok())
        .sum();
    assert_eq!(noted, digest.left_out);
    // Most of the room is used.
    assert!(digest.text.len() > 3000, "{}", digest.text.len());
}

#[test]
fn errors_are_told_from_calm_words() {
    let errors = |line: &str| digest(line, &DigestOptions::default()).errors;
    for line in [
        "error: no",
        "FAILED tests/a.py::b",
        "test a::b ... FAILED",
        "--- FAIL: TestX (0.00s)",
        "thread 'main' panicked at src/main.rs:1:1",
        "Traceback (most recent call last):",
        "ValueError: bad",
        "java.lang.NullPointerException",
        "make: *** [all] Error 2",
        "npm ERR! code 1 error",
        "Process exited with code 137",
        "sh: foo: command not found",
        "E   assert 1 == 2",
        "src/a.ts(1,2): error TS2304: x",
        "not ok 3 - adds",
        "test result: FAILED. 1 passed; 2 failed",
        "2 errors, 0 warnings",
        "Killed",
        "assertion `left == right` failed",
    ] {
        assert_eq!(errors(line), 1, "{line}");
    }
    for line in [
        "0 errors, 0 warnings",
        "test result: ok. 12 passed; 0 failed",
        "   Compiling thiserror-error v2.0.0",
        "test errors::are_shown ... ok",
        "all good",
        "Finished in 3 s",
    ] {
        assert_eq!(errors(line), 0, "{line}");
    }
}

#[test]
fn a_tiny_budget_keeps_the_error() {
    let log = format!("{}error: the reason é{}\n{}", noise(0, 50), "x".repeat(50), noise(50, 100));
    assert_eq!(with(&log, 17).text, "error: the reason");
    assert_eq!(with(&log, 19).text, "error: the reason ");
    assert_eq!(with(&log, 0).text, "");
}

fn logs() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => "[a-z ]{0,30}",
        1 => Just("error: it broke\u{1b}[0m".to_owned()),
        1 => Just("waiting".to_owned()),
        1 => "\\PC{0,40}",
        1 => "[x]{1500}",
        1 => "test [a-z]{3} \\.\\.\\. FAILED",
    ];
    prop::collection::vec(line, 0..120).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn it_fits_it_is_the_same_again_and_it_keeps_the_first_error(log in logs(), budget in 0_usize..6000) {
        let digest = with(&log, budget);
        prop_assert!(digest.text.len() <= budget, "{} > {budget}", digest.text.len());
        prop_assert_eq!(&digest, &with(&log, budget));
        prop_assert!(!digest.text.contains(char::from(27)));
        if let Some(first) = &digest.first_error && budget >= SMALLEST && first.len() + 128 <= budget {
            prop_assert!(digest.text.contains(first.as_str()), "{}", digest.text);
        }
    }
}
