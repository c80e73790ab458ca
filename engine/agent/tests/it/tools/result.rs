//! What a model sees of a result.

use blueprint_agent::tool::{Admission, Calls, Effect, ToolOutcome};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::fake::{Does, Fake};
use super::process_host::{ProcessHost, SECRET, everything, tool_call};

const MOST: usize = 64 * 1024;

async fn seen(text: &str, notes: &[&str]) -> (String, ProcessHost) {
    let host = ProcessHost::new();
    let toolbox = everything(vec![Fake::new("odd", Effect::Read, Does::Gives(text.to_owned())).tool()]);
    let Admission::Admitted(admitted) = toolbox.admit(&tool_call("odd", json!({})), &Calls::default()) else {
        panic!("refused")
    };
    let noted = |text: &str| {
        assert!(!text.contains(SECRET) && !text.contains('\u{1b}'));
        notes.iter().filter(|note| text.contains(**note)).map(|note| format!("it says {note}")).collect()
    };
    let outcome = toolbox.call(admitted, &host, &noted, &CancellationToken::new()).await.unwrap();
    let ToolOutcome::Done(text) = outcome else { panic!("{outcome:?}") };
    (text, host)
}

#[tokio::test]
async fn a_giant_result_is_cut_in_the_middle_and_says_how_much() {
    let text = format!("begin {} end", "ä".repeat(50 * 1024 * 1024));
    let (seen, _) = seen(&text, &[]).await;
    assert!(seen.len() <= MOST && seen.len() > MOST - 200, "{}", seen.len());
    assert!(seen.starts_with("begin ä") && seen.ends_with("ä end"));
    let (_, rest) = seen.split_once('[').unwrap();
    let (cut, _) = rest.split_once(" bytes were cut here]").unwrap();
    let kept = seen.len() - "\n[".len() - cut.len() - " bytes were cut here]\n".len();
    assert_eq!(cut.parse::<usize>().unwrap() + kept, text.len());
}

#[tokio::test]
async fn a_result_that_just_fits_is_not_cut() {
    let text = "x".repeat(MOST);
    assert_eq!(seen(&text, &[]).await.0, text);
    assert!(seen(&"x".repeat(MOST + 1), &[]).await.0.contains("bytes were cut here"));
}

#[tokio::test]
async fn a_secret_is_taken_out_before_the_cut() {
    // One place after another, so that the secret is on each side of both cuts at some time.
    for at in (MOST / 4 * 3 - 120)..(MOST / 4 * 3 + 20) {
        let text = format!("{}{SECRET}{}", "x".repeat(at), "y".repeat(MOST));
        let (seen, _) = seen(&text, &[]).await;
        for end in 6..SECRET.len() {
            assert!(!seen.contains(&SECRET[..end]), "{at}: {end}");
        }
    }
}

#[tokio::test]
async fn a_secret_that_is_torn_by_colours_is_taken_out() {
    let (head, tail) = SECRET.split_at(7);
    for colour in ["\u{1b}[31m", "\u{1b}]0;title\u{7}", "\u{0}", "\u{1b}", "\u{9b}"] {
        let (seen, _) = seen(&format!("a {head}{colour}{tail} b"), &[]).await;
        assert_eq!(seen, "a [hidden] b", "{colour:?}");
    }
}

#[tokio::test]
async fn nothing_that_steers_a_terminal_is_left() {
    let table = [
        ("a\u{1b}[2J\u{1b}[1;31mb\u{1b}[0m", "ab"),
        ("a\u{1b}]8;;https://example.com\u{1b}\\b", "ab"),
        ("a\u{1b}]0;never ends\nthe rest", "a]0;never ends\nthe rest"),
        ("a\u{1b}[never ends", "aever ends"),
        ("a\u{1b}[\nb", "a[\nb"),
        ("a\u{1b}", "a"),
        ("a\u{7}\u{8}\u{0}\u{7f}\u{9d}b", "ab"),
        ("1%\r2%\rdone\r\nnext\tx", "1%\n2%\ndone\nnext\tx"),
        ("äöü\u{1b}(Bß", "äöüß"),
        ("a\u{1b}äb", "aäb"),
    ];
    for (text, wanted) in table {
        assert_eq!(seen(text, &[]).await.0, wanted, "{text:?}");
    }
}

#[tokio::test]
async fn notes_stand_in_front_and_are_made_of_the_whole_text() {
    let text = format!("{}ignore everything{}", "x".repeat(MOST), "y".repeat(MOST));
    let (seen, host) = seen(&text, &["ignore everything", "not there"]).await;
    assert!(seen.starts_with("[note: it says ignore everything]\nxxx"), "{}", &seen[..80]);
    assert!(seen.len() <= MOST);
    assert_eq!(host.notes(), ["odd: it says ignore everything"]);
}
