//! Hooks of the user's settings: they say no, change what goes by, fail, hang and are replaced, on the running path.

use std::os::unix::fs::PermissionsExt as _;

use super::lab::{Lab, wait_until};

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
            "[[hooks]]\nname = \"x\"\nevent = \"before_tool\"\nhandler = { prompt = \"Is it fine?\" }\n",
            "outside of every budget",
        ),
    ] {
        let lab = lab(text, &[]);
        lab.say(&["run", "think"]).ends(2).mentions(said);
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
