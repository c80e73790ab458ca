//! Plain text: replacing, patterns, whole lines.

use blueprint_core::format::InsertPlace::{self, End, Start};
use blueprint_core::graph::Side::{self, After, Before};
use regex::RegexBuilder;

use super::super::LARGEST;
use super::super::text::{TextError, insert_at_end, insert_at_line, regex, replace, with_endings_of};

/// A text, what to find, what to put there, how often; and what comes of it.
type Counted = (&'static str, &'static str, &'static str, u32, Result<(&'static str, usize), TextError>);

fn counted(what: &'static str, found: usize, wanted: u32) -> TextError {
    TextError::Count { what, found, wanted, crlf: false }
}

#[test]
fn a_text_is_replaced_as_often_as_expected() {
    let cases: [Counted; 10] = [
        ("a b a", "a", "c", 2, Ok(("c b c", 2))),
        ("a b a", "a", "c", 0, Ok(("c b c", 2))),
        ("a b a", "a", "c", 1, Err(counted("the text", 2, 1))),
        ("", "a", "c", 1, Err(counted("the text", 0, 1))),
        ("b", "a", "c", 0, Err(counted("the text", 0, 0))),
        ("aaa", "aa", "", 1, Ok(("a", 1))),
        ("x\r\ny\r\nno end", "y", "z", 1, Ok(("x\r\nz\r\nno end", 1))),
        ("größe 漢字\n", "漢", "🦀", 1, Ok(("größe 🦀字\n", 1))),
        ("$1", "$1", "$0 \\1", 1, Ok(("$0 \\1", 1))),
        (
            "a\r\nb\r\n",
            "a\nb",
            "c",
            1,
            Err(TextError::Count { what: "the text", found: 0, wanted: 1, crlf: true }),
        ),
    ];
    for (text, find, with, count, expected) in cases {
        let got = replace(text, find, with, count);
        let got = got.as_ref().map(|edited| (edited.text.as_str(), edited.places));
        assert_eq!(got, expected.as_ref().map(|done| *done), "{text:?} {find:?} {count}");
    }
}

#[test]
fn a_pattern_is_replaced_with_its_groups() {
    let cases: [Counted; 11] = [
        ("v = 1.2", r"(\d+)\.(\d+)", "$2.$1", 1, Ok(("v = 2.1", 1))),
        ("v = 1.2", r"(?P<major>\d+)\.", "${major}0.", 1, Ok(("v = 10.2", 1))),
        ("a\nb", "^", "> ", 2, Ok(("> a\n> b", 2))),
        ("a\r\nb", "a", "c", 1, Ok(("c\r\nb", 1))),
        ("é1é", r"\d", "$$", 1, Ok(("é$é", 1))),
        ("ab", "(a)|(b)", "[$1]", 2, Ok(("[a][]", 2))),
        ("a", "a", "$ ${ 5$", 1, Ok(("$ ${ 5$", 1))),
        ("a", "a", "costs $10", 1, Err(TextError::Group("10".to_owned()))),
        ("a", "(a)", "$1_x", 1, Err(TextError::Group("1_x".to_owned()))),
        ("a", "b", "", 1, Err(counted("a match", 0, 1))),
        ("aa", "a", "b", 3, Err(counted("a match", 2, 3))),
    ];
    for (text, find, with, count, expected) in cases {
        let find = RegexBuilder::new(find).multi_line(true).build().unwrap();
        let got = regex(text, &find, with, count);
        let got = got.as_ref().map(|edited| (edited.text.as_str(), edited.places));
        assert_eq!(got, expected.as_ref().map(|done| *done), "{text:?} {find:?} {with:?}");
    }
}

#[test]
fn the_crate_of_the_patterns_expands_known_groups_alike() {
    let find = regex::Regex::new(r"(?P<first>\w)(\w)?").unwrap();
    for with in ["$1$2", "${first}$$x", "$first-$2", "${1}0", "$", "$-", "a${0}b"] {
        assert_eq!(
            regex("ab c\n", &find, with, 0).unwrap().text,
            find.replace_all("ab c\n", with),
            "{with:?}"
        );
    }
}

#[test]
fn an_edit_cannot_ask_for_more_than_a_file_may_hold() {
    let text = "a".repeat(1 << 20);
    let with = "b".repeat(1 << 10);
    assert_eq!(replace(&text, "a", &with, 0), Err(TextError::TooLarge));
    let find = regex::Regex::new("a+").unwrap();
    assert_eq!(regex(&text, &find, &"$0".repeat(1 << 10), 0), Err(TextError::TooLarge));
    assert_eq!(insert_at_end(&"a".repeat(LARGEST), "b", End), Err(TextError::TooLarge));
}

#[test]
fn whole_lines_are_inserted_beside_the_only_line_with_the_anchor() {
    let anchor = |found| TextError::Anchor { anchor: "two".to_owned(), found };
    let cases: [(&str, &str, Side, Result<&str, TextError>); 10] = [
        ("one\ntwo\nthree\n", "x", After, Ok("one\ntwo\nx\nthree\n")),
        ("one\ntwo\nthree\n", "x\n", Before, Ok("one\nx\ntwo\nthree\n")),
        ("one\r\ntwo\r\n", "x\ny", After, Ok("one\r\ntwo\r\nx\r\ny\r\n")),
        ("one\r\ntwo", "x", After, Ok("one\r\ntwo\r\nx\r\n")),
        ("two", "x", Before, Ok("x\ntwo")),
        ("  // two ü\n", "ß\n\n漢", After, Ok("  // two ü\nß\n\n漢\n")),
        ("two\n", "", After, Ok("two\n")),
        ("two\ntwo\n", "x", After, Err(anchor(2))),
        ("one\n", "x", After, Err(anchor(0))),
        ("", "x", After, Err(anchor(0))),
    ];
    for (text, insert, side, expected) in cases {
        let got = insert_at_line(text, insert, "two", side).map(|edited| edited.text);
        assert_eq!(got, expected.map(str::to_owned), "{text:?} {insert:?} {side:?}");
    }
}

#[test]
fn two_anchors_on_one_line_are_one_place() {
    assert_eq!(insert_at_line("two two\n", "x", "two", After).unwrap().text, "two two\nx\n");
    let carriage = insert_at_line("two\r\n", "x", "two\r", After);
    assert!(matches!(carriage, Err(TextError::Anchor { found: 0, .. })), "an ending is no part of a line");
}

#[test]
fn whole_lines_are_inserted_at_an_end() {
    let cases: [(&str, &str, InsertPlace, &str); 9] = [
        ("", "x", Start, "x\n"),
        ("", "x\n", End, "x\n"),
        ("a\n", "x", Start, "x\na\n"),
        ("a\n", "x", End, "a\nx\n"),
        ("a", "x", End, "a\nx\n"),
        ("a\r\nb", "x\ny\n", End, "a\r\nb\r\nx\r\ny\r\n"),
        ("\u{feff}a\n", "x", Start, "\u{feff}x\na\n"),
        ("\u{feff}", "x", End, "\u{feff}x\n"),
        ("a", "", End, "a"),
    ];
    for (text, insert, place, expected) in cases {
        assert_eq!(insert_at_end(text, insert, place).unwrap().text, expected, "{text:?} {insert:?}");
    }
}

#[test]
fn old_lines_keep_their_endings_and_new_ones_take_them_over() {
    let cases = [
        ("a\r\nb\r\n", "a\nx\nb\n", "a\r\nx\r\nb\r\n"),
        ("a\r\nb\nc\r\n", "a\nx\nb\nc\n", "a\r\nx\r\nb\nc\r\n"),
        ("a\r\nb", "a\nb\nx\n", "a\r\nb\r\nx\r\n"),
        ("a\nb", "a\nc", "a\nc"),
        ("\r\n", "x\n", "x\r\n"),
        ("a\r\na\r\n", "a\n", "a\r\n"),
    ];
    for (before, after, expected) in cases {
        assert_eq!(with_endings_of(before, after), expected, "{before:?} {after:?}");
    }
}
