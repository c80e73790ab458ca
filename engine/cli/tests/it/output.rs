//! What people and programs see: clean text, a stream of JSON that parses, and logs that can be followed.

use serde_json::Value;

use super::lab::{Lab, wait_until};

#[test]
fn nothing_a_node_prints_can_act_on_a_terminal() {
    let lab = Lab::in_git();
    lab.blueprint(
        "escapes",
        r#"
[nodes.paint]
shell = "sh"
run   = '''
printf '\033[31mred\033[0m \033]0;title\007after \033]8;;http://example.org\033\\link\033]8;;\033\\ \r over \b\b \302\233 2J c1 \033Pq\033\\ \342\200\256 rtl\n'
printf '\033[2J\033[H' >&2
echo "$(printf '\033[5m')blink" >&2
exit 1
'''
"#,
    );
    let said = lab.say(&["run", "escapes", "--color", "never"]).ends(1).mentions("red after link");
    for text in [&said.err, &said.out] {
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
    }
    let run = lab.run();
    for asked in [&["logs", &run][..], &["show", &run], &["status", &run], &["show", &run, "paint"]] {
        let said = lab.say(asked).ends(0);
        assert!(
            !said.out.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'),
            "{:?}",
            said.out
        );
    }
}

#[test]
fn names_and_reasons_from_people_are_cleaned_too() {
    let lab = Lab::new();
    lab.blueprint("gated", "[nodes.review]\ngate = {}\n");
    lab.say(&["run", "gated"]).ends(75);
    let run = lab.run();
    lab.say_with(
        &[("USER", "\u{1b}[31mmallory")],
        &["approve", &run, "--reason", "\u{1b}]0;x\u{7}fine", "--resume"],
    )
    .ends(0)
    .mentions("approved by mallory: fine")
    .conceals("\u{1b}");
    let said = lab.say(&["show", &run, "\u{1b}[2Jnode"]).ends(2);
    assert!(!said.err.contains('\u{1b}'), "{said}");
}

#[test]
fn the_stream_for_programs_is_a_json_object_a_line() {
    let lab = Lab::in_git();
    lab.blueprint("two", "[nodes.first]\nrun = \"printf 'one\\n\\ntwo'\"\n[nodes.second]\nneeds = [\"first\"]\nrun = \"false\"\n");
    let said = lab.say(&["run", "two", "--format", "json"]).ends(1);
    let lines = said.json_lines();
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<&Value>>();
    assert!(lines.iter().all(|line| ["event", "output", "end"].contains(&line["type"].as_str().unwrap())));
    let seqs: Vec<u64> = of("event").iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    assert_eq!(of("event")[0]["kind"], "run_started");
    let text: Vec<&str> = of("output").iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(text, ["one", "", "two"]);
    let run = lab.run();
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["type"], &last["outcome"], &last["run"]),
        (&"end".into(), &"failed".into(), &run.as_str().into())
    );
    // What was streamed is what is on record.
    let events: Vec<&Value> = of("event").iter().map(|line| &line["event"]).collect();
    let kept = lab.events(&run);
    assert_eq!(events, kept.iter().map(|event| &event["event"]).collect::<Vec<_>>());
}

#[test]
fn every_command_for_reading_speaks_json() {
    let lab = Lab::in_git();
    lab.blueprint("one", "[nodes.only]\nrun = \"echo hello\"\n");
    lab.say(&["run", "one"]).ends(0);
    let run = lab.run();
    let one = [
        &["status"][..],
        &["status", &run],
        &["show", &run],
        &["show", &run, "only"],
        &["check", "one"],
        &["plan", "one"],
        &["audit", "verify"],
        &["config", "show"],
        &["doctor"],
        &["explain", "BP001"],
        &["explain", "only", "--blueprint", "one"],
        &["diff", &run],
        &["diff", &run, "--stat"],
    ];
    for asked in one {
        let said = lab.say(&[asked, &["--format", "json"]].concat());
        said.json();
    }
    assert_eq!(lab.say(&["logs", &run, "--format", "json"]).ends(0).json_lines()[0]["text"], "hello");
    lab.say(&["schema"]).ends(0).json();
}

#[test]
fn logs_of_a_running_run_can_be_followed_from_another_process() {
    let lab = Lab::in_git();
    lab.blueprint(
        "lasting",
        r#"
[inputs]
flag = { type = "string" }
[nodes.long]
run   = 'echo begun; until test -e "$FLAG"; do sleep 0.02; done; echo done'
shell = "sh"
env   = { FLAG = "inputs.flag" }
[nodes.after]
needs = ["long"]
run   = "echo after"
"#,
    );
    let flag = lab.beside("flag");
    let driver =
        lab.start(&["run", "lasting", "--sandbox", "none", "-i", &format!("flag={}", flag.display())]);
    let run = lab.wait_for_run();
    let mut follower = lab.start(&["logs", "-f", &run]);
    wait_until("the first line is there", || {
        assert!(!follower.is_over(), "it must follow until the end");
        follower.out().contains("long | begun\n").then_some(())
    });
    // Without `-f` it prints what there is and ends.
    assert_eq!(lab.say(&["logs", &run]).ends(0).out, "long | begun\n");
    std::fs::write(flag, "").unwrap();
    driver.end().ends(0);
    let said = follower.end().ends(0);
    assert_eq!(said.out, "long | begun\nlong | done\nafter | after\n");
}

#[test]
fn a_quiet_run_prints_no_output_of_nodes() {
    let lab = Lab::in_git();
    lab.blueprint("loud", "[nodes.loud]\nrun = \"echo noise\"\n");
    lab.say(&["run", "loud", "--quiet"]).ends(0).conceals("noise").mentions("1 succeeded");
    let lines = lab.say(&["run", "loud", "--quiet", "--format", "json"]).ends(0).json_lines();
    assert!(lines.iter().all(|line| line["type"] != "output"), "{lines:?}");
}

#[test]
fn a_run_is_found_by_the_beginning_of_its_id() {
    let lab = Lab::in_git();
    lab.blueprint("one", "[nodes.only]\nwait = \"0s\"\n");
    lab.say(&["run", "one"]).ends(0);
    let first = lab.run();
    lab.say(&["status", &first[..20]]).ends(0);
    lab.say(&["run", "one"]).ends(0);
    lab.say(&["status", "01"]).ends(2).mentions("is the beginning of several runs");
    lab.say(&["status", "zz"]).ends(2).mentions("there is no run `zz`");
    lab.say(&["status", ""]).ends(2);
}
