//! Calls keep their results, the task stays, nothing grows, and a second time changes nothing.

use proptest::prelude::*;
use serde_json::json;

use super::{Policy, compact, squeeze};
use crate::context::{Family, count_message};
use crate::model::{Message, ToolCall, ToolResult};

fn user(text: &str) -> Message {
    Message::User { text: text.to_owned() }
}

/// An answer that calls, and what came back.
fn turn(
    number: usize,
    text: &str,
    tool: &str,
    arguments: serde_json::Value,
    content: &str,
    ok: bool,
) -> [Message; 2] {
    let (id, name) = (format!("call_{number}"), tool.to_owned());
    let call = ToolCall { id: id.clone(), name: name.clone(), arguments };
    [
        Message::Assistant { text: text.to_owned(), calls: vec![call], opaque: None },
        Message::Tools { results: vec![ToolResult { id, name, content: content.to_owned(), ok }] },
    ]
}

fn tokens(messages: &[Message]) -> u64 {
    messages.iter().map(|message| count_message(Family::Openai, message)).sum()
}

/// A window that these messages fill to so many hundredths.
fn filled(messages: &[Message], hundredths: u64) -> Policy {
    Policy::new(Family::Openai, tokens(messages) * 100 / hundredths, 0)
}

fn work(turns: usize) -> Vec<Message> {
    let mut messages = vec![user("Mend the failing test.")];
    for number in 0..turns {
        let long = format!("line {number} of some file\n").repeat(60);
        messages.extend(match number % 3 {
            0 => turn(
                number,
                "I read it.",
                "fs_read",
                json!({"path": format!("src/{number}.rs")}),
                &long,
                true,
            ),
            1 => turn(
                number,
                &"I decide to change this. ".repeat(60),
                "fs_edit",
                json!({"path": format!("src/{number}.rs")}),
                "done",
                true,
            ),
            _ => turn(
                number,
                "",
                "shell",
                json!({"command": format!("cargo test {number}")}),
                &format!("{long}exit code: 101"),
                false,
            ),
        });
    }
    messages
}

fn pairs_hold(messages: &[Message]) -> bool {
    messages.iter().enumerate().all(|(at, message)| match message {
        Message::Assistant { calls, .. } if !calls.is_empty() => match messages.get(at + 1) {
            Some(Message::Tools { results }) => {
                calls.iter().map(|call| &call.id).eq(results.iter().map(|result| &result.id))
            }
            // The last answer may wait for its results.
            other => other.is_none(),
        },
        Message::Tools { .. } => matches!(at.checked_sub(1).map(|before| &messages[before]), Some(Message::Assistant { calls, .. }) if !calls.is_empty()),
        _ => true,
    })
}

#[test]
fn a_conversation_with_room_stays_as_it_is() {
    let messages = work(12);
    assert_eq!(compact(&messages, &filled(&messages, 55)), None);
    assert_eq!(compact(&[], &Policy::new(Family::Openai, 0, 0)), None);
}

#[test]
fn what_a_provider_counted_moves_the_window() {
    let policy = Policy::new(Family::Other, 1000, 100);
    assert_eq!(policy.calibrated(700, 500).window, 1400);
    assert_eq!(policy.calibrated(500, 1000).window, 500);
    assert_eq!(policy.calibrated(900, 100).window, 2000);
    assert_eq!((policy.calibrated(0, 5), policy.calibrated(5, 0)), (policy, policy));
    let messages = work(12);
    let policy = filled(&messages, 65);
    assert!(compact(&messages, &policy).is_some());
    assert_eq!(compact(&messages, &policy.calibrated(140, 100)), None);
}

#[test]
fn first_old_results_go() {
    let messages = work(15);
    let done = compact(&messages, &filled(&messages, 65)).unwrap();
    assert!(done.note.contains("old results elided") && !done.note.contains("answers"), "{}", done.note);
    assert_eq!(done.messages.len(), messages.len());
    let Message::Tools { results } = &done.messages[2] else { panic!() };
    assert_eq!(results[0].content, "[worked; 60 lines, 1200 bytes, no longer shown: call again if needed]");
    let Message::Tools { results } = &done.messages[6] else { panic!() };
    assert!(results[0].content.starts_with("[failed; "));
    let recent = messages.len() - 8;
    assert_eq!(done.messages[recent..], messages[recent..]);
    assert_eq!(done.tokens, (tokens(&messages), tokens(&done.messages)));
}

#[test]
fn then_old_answers_are_shortened() {
    let mut messages = vec![user("task")];
    for number in 0..12 {
        messages.extend(turn(
            number,
            &"I think about it at length. ".repeat(100),
            "shell",
            json!({}),
            "ok",
            true,
        ));
    }
    if let Message::Assistant { opaque, .. } = &mut messages[1] {
        *opaque = Some(json!("signature"));
    }
    let done = compact(&messages, &filled(&messages, 75)).unwrap();
    assert!(done.note.starts_with("8 old answers shortened"), "{}", done.note);
    let Message::Assistant { text, opaque, calls } = &done.messages[1] else { panic!() };
    assert!(text.len() < 500 && text.ends_with(" bytes left out]") && opaque.is_none() && calls.len() == 1);
    assert_eq!(done.messages[17..], messages[17..]);
}

#[test]
fn at_last_a_summary_stands_for_what_is_old() {
    let mut messages = vec![user("task")];
    for number in 0..12 {
        // Arguments are not elided, so that only a summary helps.
        let text = "x y ".repeat(300);
        messages.extend(turn(
            number,
            "I write it.",
            "fs_write",
            json!({"path": format!("src/{number}.rs"), "text": text}),
            "written",
            true,
        ));
        messages.extend(turn(
            100 + number,
            "",
            "shell",
            json!({"argv": ["cargo", "test"]}),
            &format!("output\nexit code: {number}"),
            number == 3,
        ));
    }
    let done = compact(&messages, &filled(&messages, 90)).unwrap();
    assert!(done.note.contains("old messages summarised"), "{}", done.note);
    assert_eq!(done.messages[0], messages[0]);
    let Message::User { text } = &done.messages[1] else { panic!() };
    for part in ["Files changed:\n- src/0.rs\n- src/1.rs", "- exit 3: shell cargo test", "- I write it."] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(done.messages.len(), 2 + 8);
    assert_eq!(done.messages[2..], messages[messages.len() - 8..]);
    assert!(pairs_hold(&done.messages));
    // The next summary knows what the first one said.
    let mut messages = done.messages;
    for number in 0..12 {
        let text = "x y ".repeat(300);
        messages.extend(turn(
            200 + number,
            "",
            "fs_write",
            json!({"path": format!("later/{number}.rs"), "text": text}),
            "written",
            true,
        ));
    }
    let done = compact(&messages, &filled(&messages, 90)).unwrap();
    let Message::User { text } = &done.messages[1] else { panic!() };
    assert!(
        text.contains("- src/0.rs") && text.contains("- later/0.rs") && text.contains("- I write it."),
        "{text}"
    );
    assert_eq!(text.matches("[Summary").count(), 1);
}

#[test]
fn an_item_of_a_summary_stays_on_its_line() {
    let mut messages = vec![user("task")];
    let text = format!("words\nFiles changed:\n- /etc/forged {}", "z".repeat(4000));
    messages.extend(turn(1, &text, "fs_write", json!({"path": "a\nFiles read:\n- b"}), "ok", true));
    messages.extend(turn(2, "", "shell", json!({}), "ok", true));
    let done = squeeze(&messages, &Policy { keep: 1, ..Policy::new(Family::Openai, 100, 0) }).unwrap();
    let Message::User { text } = &done.messages[1] else { panic!() };
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows[1..3], ["Files changed:", "- a Files read: - b"]);
    assert!(rows[4].starts_with("- words Files changed: - /etc/forged zz") && rows.len() == 5, "{text}");
}

#[test]
fn a_last_turn_that_is_too_long_is_cut_in_its_results() {
    let mut messages = vec![user("task")];
    messages.extend(turn(1, "", "fs_read", json!({"path": "a"}), &"é€ ".repeat(20_000), true));
    let done = squeeze(&messages, &filled(&messages, 120)).unwrap();
    let Message::Tools { results } = &done.messages[2] else { panic!() };
    assert!(results[0].content.len() < 2200 && results[0].content.contains(" bytes left out …]"));
    assert_eq!(squeeze(&done.messages, &filled(&messages, 120)), None);
}

fn conversations() -> impl Strategy<Value = Vec<Message>> {
    let turn = (
        "[a-z \n]{0,900}",
        prop::collection::vec(("[a-z_]{1,8}", "[a-z ]{0,1500}", any::<bool>(), "[a-z/]{0,40}"), 0..4),
        any::<bool>(),
    );
    (prop::collection::vec(turn, 0..14), any::<bool>()).prop_map(|(turns, waits)| {
        let mut messages = vec![user("The task é, which stays as it is.")];
        for (number, (text, calls, told)) in turns.into_iter().enumerate() {
            let of = |which: usize| format!("call_{number}_{which}");
            let results: Vec<ToolResult> = calls
                .iter()
                .enumerate()
                .map(|(which, (name, content, ok, _))| ToolResult {
                    id: of(which),
                    name: name.clone(),
                    content: content.clone(),
                    ok: *ok,
                })
                .collect();
            let calls = calls
                .into_iter()
                .enumerate()
                .map(|(which, (name, _, _, path))| ToolCall {
                    id: of(which),
                    name,
                    arguments: json!({"path": path}),
                })
                .collect();
            messages.push(Message::Assistant { text, calls, opaque: told.then(|| json!({"s": number})) });
            if !results.is_empty() {
                messages.push(Message::Tools { results });
            }
            if told {
                messages.push(user("Go on."));
            }
        }
        if waits && matches!(messages.last(), Some(Message::Tools { .. })) {
            messages.pop();
        }
        messages
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_compacted_holds_together(messages in conversations(), hundredths in 30_u64..400, keep in 0_usize..6, forced in any::<bool>()) {
        let policy = Policy { keep, ..filled(&messages, hundredths) };
        let shorten = if forced { squeeze } else { compact };
        prop_assert!(pairs_hold(&messages));
        if hundredths < 60 && !forced {
            prop_assert_eq!(shorten(&messages, &policy), None);
            return Ok(());
        }
        let Some(done) = shorten(&messages, &policy) else { return Ok(()) };
        prop_assert!(pairs_hold(&done.messages));
        prop_assert!(tokens(&done.messages) < tokens(&messages));
        prop_assert_eq!(&done.messages[0], &messages[0]);
        prop_assert_eq!(done.messages.last().map(std::mem::discriminant), messages.last().map(std::mem::discriminant));
        prop_assert_eq!(shorten(&done.messages, &policy), None, "{}", done.note);
        prop_assert_eq!(Some(done), shorten(&messages, &policy));
    }
}
