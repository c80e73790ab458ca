//! Hooks of the user's settings: they say no, change what goes by, fail, hang and are replaced, on the running path.

use std::os::unix::fs::PermissionsExt as _;

use super::lab::{Lab, wait_for_orphans, wait_until};

const THINK: &str = r#"
[nodes.think]
agent = { prompt = "Think.", model = "scripted/model.toml", max_turns = 6 }
tools = ["fs.*", "shell"]
"#;

const SCRIPT: &str = r#"
[[turn]]
[[turn.call]]
tool = "fs.write"
args = { path = "made.txt", content = "original\n" }
[[turn]]
text = "Done."
"#;

/// A project with one agent and hooks, the programs of which are written beside it.
fn lab(hooks: &str, programs: &[(&str, &str)]) -> Lab {
    let lab = Lab::in_git();
    lab.write("blueprints/think/model.toml", SCRIPT);
    lab.blueprint("think", THINK);
    let folder = lab.beside("home/.config/blueprint");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in programs {
        program(&lab, name, text);
    }
    let text = hooks.replace('@', &folder.display().to_string());
    std::fs::write(folder.join("config.toml"), text).unwrap();
    lab
}

fn program(lab: &Lab, name: &str, text: &str) {
    let path = lab.beside("home/.config/blueprint").join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn hook(event: &str, more: &str) -> String {
    format!(
        "[[hooks]]\nname = \"watch\"\nevent = \"{event}\"\nhandler = {{ command = [\"@/watch\"] }}\n{more}\n"
    )
}

#[test]
fn a_hook_that_says_no_keeps_a_tool_from_being_called() {
    let lab = lab(
        &hook("before_tool", "match = { effect = [\"write\"] }"),
        &[("watch", "cat > /dev/null; echo 'not on fridays' >&2; exit 2")],
    );
    let said = lab.say(&["run", "think"]).ends(0);
    said.mentions("says no: not on fridays").mentions("not allowed by the hook `watch`");
    assert_eq!(lab.diff(&lab.run()), "");
}

#[test]
fn a_hook_changes_the_arguments_of_a_call_and_they_are_checked_again() {
    let patch = r#"cat > /dev/null; printf '%s' '{"patch": {"arguments": {"path": "made.txt", "content": "patched\n"}}}'"#;
    let good = lab(&hook("before_tool", ""), &[("watch", patch)]);
    good.say(&["run", "think"]).ends(0).mentions("hook watch at before_tool: changed arguments");
    assert!(good.diff(&good.run()).contains("+patched"));
    let bad = r#"cat > /dev/null; printf '%s' '{"patch": {"arguments": {"path": 7}}}'"#;
    let wrong = lab(&hook("before_tool", ""), &[("watch", bad)]);
    wrong.say(&["run", "think"]).ends(0).mentions("its arguments do not fit");
    assert_eq!(wrong.diff(&wrong.run()), "");
}

/// What decides and cannot be asked has said no; what only looks stops nothing.
#[test]
fn a_hook_that_crashes_hangs_or_prints_garbage_says_no() {
    for (name, text) in [
        ("crashes", "cat > /dev/null; exit 3"),
        ("garbage", "cat > /dev/null; echo 'yes, sure'"),
        ("hangs", "cat > /dev/null; exec tail -f /dev/null"),
        ("endless", "exec cat /dev/zero"),
    ] {
        let gate = lab(&hook("before_tool", "timeout_seconds = 1"), &[("watch", text)]);
        gate.say(&["run", "think"]).ends(0).mentions("hook watch at before_tool: failed");
        assert_eq!(gate.diff(&gate.run()), "", "{name}");
        let observer = lab(&hook("after_model", "timeout_seconds = 1"), &[("watch", text)]);
        observer.say(&["run", "think"]).ends(0);
        assert!(observer.diff(&observer.run()).contains("+original"), "{name}");
    }
}

#[test]
fn hooks_stand_at_runs_and_nodes_too() {
    let node = lab(&hook("before_node", ""), &[("watch", "cat > /dev/null; echo 'no agents' >&2; exit 2")]);
    node.say(&["run", "think"]).ends(1).mentions("the hook `watch` says no: no agents");
    assert_eq!(node.show(&node.run(), "think")["failure"]["class"], "policy");
    let run = lab(&hook("before_run", ""), &[("watch", "cat > /dev/null; echo 'not today' >&2; exit 2")]);
    run.say(&["run", "think"]).ends(1).mentions("cancelled by the hook watch: not today");
    let seen = lab(&hook("after_run", ""), &[("watch", "cat > \"$(dirname \"$0\")/seen\"")]);
    seen.say(&["run", "think"]).ends(0);
    let seen = std::fs::read_to_string(seen.beside("home/.config/blueprint/seen")).unwrap();
    assert!(seen.contains("\"succeeded\"") && seen.contains("after_run"), "{seen}");
}

#[test]
fn hooks_of_a_project_are_refused() {
    let lab = lab("", &[]);
    lab.write(
        "blueprint.toml",
        "[[hooks]]\nname = \"x\"\nevent = \"before_tool\"\nhandler = { command = [\"/bin/true\"] }\n",
    );
    lab.commit();
    lab.say(&["run", "think"]).ends(2).mentions("only the user's own settings file can name them");
}

#[test]
fn hooks_that_make_no_sense_are_errors_before_anything_starts() {
    for (text, said) in [
        (
            "[[hooks]]\nname = \"x\"\nevent = \"before_tol\"\nhandler = { command = [\"/bin/true\"] }\n",
            "before_tool",
        ),
        (
            "[[hooks]]\nname = \"x\"\nevent = \"before_tool\"\nmatch = { tool_glob = \"[\" }\nhandler = { command = [\"/bin/true\"] }\n",
            "cannot be used",
        ),
        ("[[hooks]]\nname = \"x\"\nevent = \"before_tool\"\nhandler = {}\n", "cannot be used"),
        (
            "[[hooks]]\nname = \"x\"\nevent = \"before_node\"\nhandler = { prompt = \"Is it fine?\" }\n",
            "where the budget of an agent pays for it",
        ),
        (
            "[[hooks]]\nname = \"x\"\nevent = \"before_tool\"\nhandler = { builtin = \"deny\", model = \"judge\" }\n",
            "`model` is for a `prompt`",
        ),
    ] {
        let lab = lab(text, &[]);
        lab.say(&["run", "think"]).ends(2).mentions(said);
    }
}

/// The settings of a hook that asks the model `judge` before a file is written.
const JUDGE: &str = "[[hooks]]\nname = \"judge\"\nevent = \"before_tool\"\nmatch = { tool = \"fs.write\" }\nhandler = { prompt = \"May this be written?\", model = \"judge\" }\n";

/// The judge answers with these texts, one after the other.
fn judged(answers: &[&str]) -> Lab {
    let lab = lab(JUDGE, &[]);
    let turns: Vec<String> = answers.iter().map(|text| format!("[[turn]]\ntext = '''{text}'''\n")).collect();
    let price = "price = { input = 1.0, output = 1.0 }\n";
    std::fs::write(lab.beside("judge.toml"), format!("{price}{}", turns.concat())).unwrap();
    lab
}

const WITH_JUDGE: [&str; 4] = ["run", "think", "--model", "judge=scripted/../judge.toml"];

/// A model is asked, its answer counts like that of a program, and a replay asks nobody.
#[test]
fn a_hook_asks_a_model_and_its_answer_is_read_strictly() {
    for (answer, said, written) in [
        ("{}", "", "+original"),
        ("```json\n{}\n```", "", "+original"),
        ("{\"veto\": \"not this file\"}", "says no: not this file", ""),
        (
            "{\"patch\": {\"arguments\": {\"path\": \"made.txt\", \"content\": \"patched\\n\"}}}",
            "changed arguments",
            "+patched",
        ),
        ("Yes, go ahead.", "failed: its reply cannot be read", ""),
        ("", "failed: its reply cannot be read", ""),
    ] {
        let lab = judged(&[answer]);
        let ran = lab.say(&WITH_JUDGE).ends(0);
        if !said.is_empty() {
            ran.mentions(&format!("hook judge at before_tool: {said}"));
        }
        let run = lab.run();
        let diff = lab.diff(&run);
        assert!(diff.contains(written) && diff.is_empty() == written.is_empty(), "{answer}: {diff}");
        let transcript = lab.say(&["logs", &run, "--transcript"]).ends(0);
        assert!(transcript.out.contains("hook judge asks scripted/../judge.toml"), "{transcript}");
        let spent = &lab.status(&run)["spent"];
        assert_eq!((&spent["model_calls"], &spent["unreal_calls"]), (&3.into(), &3.into()), "{spent}");
        assert!(spent["cost_micros"].as_u64() > Some(0), "the question cost nothing: {spent}");

        std::fs::write(lab.beside("judge.toml"), "[[turn]]\ntext = 'nobody asks me'\n").unwrap();
        let replay = lab.say(&["replay", &run]).ends(0);
        assert!(replay.out.contains("identical: route and diff"), "{answer}: {replay}");
        assert_eq!(&lab.status(&lab.run())["spent"]["cost_micros"], &spent["cost_micros"], "{answer}");
    }
}

/// A question that no budget pays for, or that nobody can answer, is a no. Who is missing is found before the run.
#[test]
fn a_hook_that_may_not_ask_says_no() {
    let poor = judged(&["{}"]);
    poor.blueprint("think", &format!("[budget]\ncost_usd = 0.0001\n{THINK}"));
    let said = poor.say(&WITH_JUDGE).ends(0);
    said.mentions("hook judge at before_tool: failed: the money of the run is used up");
    assert_eq!(poor.diff(&poor.run()), "");
    let node = judged(&["{}"]);
    node.blueprint("think", &THINK.replace("max_turns", "max_cost_usd = 0.0001, max_turns"));
    node.say(&WITH_JUDGE).ends(0).mentions("failed: the agent spent $0.000000 of its $0.000100");
    assert_eq!(node.diff(&node.run()), "");
    let silent = judged(&[]);
    silent.say(&WITH_JUDGE).ends(0).mentions("the script has no further answer");
    assert_eq!(silent.diff(&silent.run()), "");
    silent.say(&["run", "think"]).ends(3).mentions("a hook has no model").mentions("nothing was started");
}

/// Cut off at any step, a session with hooks that ask ends the same, and a question nobody heard the end of counts as
/// spent.
#[test]
fn a_session_whose_hooks_ask_goes_on_where_it_was() {
    let settings = ["--sync", "normal", "--quiet"];
    let whole = judged(&["{}", "{}", "{}"]);
    whole.say(&[&WITH_JUDGE[..], &settings].concat()).ends(0);
    let events = whole.events(&whole.run());
    let steps = events.iter().filter(|event| !event["event"]["session_advanced"].is_null());
    let positions: Vec<(String, bool)> = steps
        .map(|event| {
            let step = &event["event"]["session_advanced"]["step"];
            (event["seq"].to_string(), step["call_hook"].is_object())
        })
        .collect();
    assert_eq!(positions.len(), 8, "two turns, one question and one call of a tool");
    let cost = |lab: &Lab| lab.status(&lab.run())["spent"]["cost_micros"].as_u64().unwrap();
    for (at, asks) in &positions {
        let lab = judged(&["{}", "{}", "{}"]);
        let crash = [("BLUEPRINT_CRASH_AFTER_EVENT", at.as_str())];
        assert!(lab.say_with(&crash, &[&WITH_JUDGE[..], &settings].concat()).was_killed(), "at {at}");
        let run = lab.run();
        wait_for_orphans(&run);
        lab.say(&[&["resume", &run][..], &settings].concat()).ends(0);
        assert_eq!(lab.diff(&run), whole.diff(&whole.run()), "killed at {at}");
        // Asked a second time if the answer of the first one was lost, and never for less than it cost.
        assert!(cost(&lab) >= cost(&whole), "killed at {at}");
        assert_eq!(cost(&lab) > 5 * cost(&whole), *asks, "killed at {at}: {} {}", cost(&lab), cost(&whole));
    }
}

/// What is under way ends with the hooks it began with; the next call meets the new ones. Bad ones replace nothing.
#[test]
fn hooks_are_replaced_while_a_run_goes_on() {
    let lab = lab(
        &hook("before_tool", "timeout_seconds = 50"),
        &[(
            "watch",
            "cat > /dev/null; here=\"$(dirname \"$0\")\"; : > \"$here/waits\"; read -r x < \"$here/door\"",
        )],
    );
    let folder = lab.beside("home/.config/blueprint");
    assert!(std::process::Command::new("mkfifo").arg(folder.join("door")).status().unwrap().success());
    lab.write(
        "blueprints/think/model.toml",
        &format!("{}{SCRIPT}", "[[turn]]\n[[turn.call]]\ntool = \"fs.list\"\n"),
    );
    lab.commit();
    let mut running = lab.start(&["run", "think"]);
    wait_until("the hook is asked", || folder.join("waits").exists().then_some(()));
    let mut signal = |text: &str, answer: &str| {
        std::fs::write(folder.join("config.toml"), text).unwrap();
        running.signal(rustix::process::Signal::USR1);
        running.wait_for_err(answer);
    };
    signal("[[hooks]]\nname = \"x\"\n", "the hooks stay as they are");
    signal(
        "[[hooks]]\nname = \"deny\"\nevent = \"before_tool\"\nmatch = { tool = \"fs.write\" }\nhandler = { builtin = \"deny\" }\n",
        "the hooks were read again",
    );
    std::fs::write(folder.join("door"), "go\n").unwrap();
    let said = running.end().ends(0);
    said.mentions("< fs.list").mentions("not allowed by the hook `deny`");
    assert_eq!(lab.diff(&lab.run()), "");
}
