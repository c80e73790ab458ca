//! Exit codes and messages: each wrong way to ask has its code, its reason and what to do.

use super::lab::Lab;

const INPUTS: &str = r#"
[inputs]
name  = { type = "string", help = "Who", pattern = "[a-z]+" }
count = { type = "integer", default = 1, min = 1, max = 5 }
mode  = { type = "enum", values = ["fast", "slow"], default = "fast" }

[nodes.only]
wait = "0s"
"#;

#[test]
fn what_cannot_be_run_is_refused_with_a_reason_and_nothing_is_started() {
    let lab = Lab::new();
    lab.blueprint("inputs", INPUTS);
    lab.blueprint("broken", "[nodes.a]\nneeds = [\"b\"]\nrun = \"true\"\n[nodes.c]\nrnu = \"true\"\n");
    lab.blueprint("agent", "[nodes.think]\nagent = { prompt = \"Think.\", model = \"coding\" }\n");
    lab.blueprint("forge", "[nodes.pr]\nforge = { open_pull_request = { title = \"A title\" } }\n");
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["run", "missing"], 2, &["missing", "blueprint init"]),
        (&["run", "inputz"], 2, &["did you mean `inputs`"]),
        (&["check", "missing"], 2, &["missing"]),
        (&["run", "inputs"], 2, &["needs the input `name`", "(Who)", "--input name=VALUE"]),
        (&["run", "inputs", "-i", "nam=x"], 2, &["has no input `nam`", "did you mean `name`?"]),
        (&["run", "inputs", "-i", "zzzzzz=x"], 2, &["its inputs are name"]),
        (&["run", "inputs", "-i", "name"], 2, &["NAME=VALUE"]),
        (&["run", "inputs", "-i", "name=UPPER"], 2, &["the input `name` does not fit"]),
        (&["run", "inputs", "-i", "name=x", "-i", "count=6"], 2, &["the input `count` does not fit"]),
        (&["run", "inputs", "-i", "name=x", "-i", "count=two"], 2, &["the input `count` does not fit"]),
        (&["run", "inputs", "-i", "name=x", "-i", "mode=medium"], 2, &["the input `mode` does not fit"]),
        (&["run", "inputs", "-i", "name=x", "-i", "name=y"], 2, &["`name`"]),
        (&["run", "inputs", "--secret", "name=env:HOME"], 2, &["has no secret `name`"]),
        (&["run", "broken"], 2, &["`b`", "rnu"]),
        (&["check", "broken"], 2, &["rnu"]),
        (&["run", "agent"], 3, &["the agent `think` has no model", "`coding`", "nothing was started"]),
        (&["run", "forge"], 3, &["`pr` cannot run", "release 0.5"]),
        (&["run", "inputs", "-i", "name=x", "--jobs", "0"], 2, &["jobs"]),
        (&["run", "inputs", "-i", "name=x", "--jobs", "many"], 2, &["jobs"]),
        (&["run", "inputs", "-i", "name=x", "--sandbox", "docker"], 2, &["sandbox"]),
        (&["run", "inputs", "-i", "name=x", "--sync", "never"], 2, &["sync"]),
        (&["resume"], 2, &["there is no run to resume"]),
        (&["status", "abc"], 2, &["there is no run `abc`", "blueprint status"]),
        (&["show"], 2, &["there is no run"]),
        (&["approve"], 2, &["there is no run that waits at a gate"]),
        (&["explain", "BP9999"], 2, &["BP9999"]),
        (&["-C", "nowhere", "status"], 2, &["there is no folder `nowhere`"]),
        (&["frobnicate"], 2, &["frobnicate"]),
        (&[], 2, &["Usage"]),
    ];
    for (args, code, texts) in cases {
        let mut said = lab.say(args).ends(*code);
        for text in *texts {
            said = said.mentions(text);
        }
        assert!(!said.err.contains("panicked"), "{said}");
    }
    assert!(lab.runs().is_empty(), "something was started");
}

#[test]
fn each_end_of_a_run_has_its_own_code() {
    let lab = Lab::new();
    let cases = [
        ("[nodes.a]\nrun = \"true\"\nworkspace = \"none\"\n", 0),
        ("[nodes.a]\nrun = \"false\"\nworkspace = \"none\"\n", 1),
        ("[nodes.a]\ngate = {}\n", 75),
        ("[nodes.a]\ngate = { expires = \"100ms\" }\n[nodes.b]\nwait = \"400ms\"\n", 4),
    ];
    for (nodes, code) in cases {
        lab.blueprint("ends", nodes);
        lab.say(&["run", "ends"]).ends(code);
    }
    lab.say(&["--version"]).ends(0);
    lab.say(&["--help"]).ends(0);
}

#[test]
fn running_without_a_sandbox_is_said_and_recorded() {
    let lab = Lab::new();
    lab.blueprint("one", "[nodes.only]\nrun = \"true\"\nworkspace = \"none\"\n");
    lab.say(&["run", "one"]).ends(0);
    assert!(!lab.say(&["show"]).out.contains("isolation  none"));
    lab.say(&["run", "one", "--sandbox", "none"]).ends(0).mentions("warning: `--sandbox none`");
    let run = lab.run();
    assert!(lab.say(&["show", &run]).out.contains("isolation  none"));
    assert_eq!(lab.show(&run, "only")["record"]["isolation"], "none");
    let driver =
        lab.events(&run).into_iter().find(|event| event["event"]["driver_started"].is_object()).unwrap();
    assert_eq!(driver["event"]["driver_started"]["isolation"], "none");
    // Nothing that lasts can make this choice.
    lab.say_with(&[("BLUEPRINT_SANDBOX", "none")], &["run", "one"]).ends(2).mentions("--sandbox none");
    lab.write("blueprint.toml", "sandbox = \"none\"\n");
    lab.say(&["run", "one"]).ends(2).mentions("--sandbox none");
}

#[test]
fn going_on_without_a_sandbox_is_recorded_too() {
    let lab = Lab::new();
    lab.blueprint("gated", "[nodes.first]\nrun = \"true\"\nworkspace = \"none\"\n[nodes.review]\nneeds = [\"first\"]\ngate = {}\n[nodes.only]\nneeds = [\"review\"]\nrun = \"true\"\nworkspace = \"none\"\n");
    lab.say(&["run", "gated"]).ends(75);
    let run = lab.run();
    lab.say(&["approve", &run, "--resume", "--sandbox", "none"]).ends(0);
    let told = lab.say(&["show", &run]).ends(0);
    let line = told.out.lines().find(|line| line.starts_with("isolation")).unwrap();
    assert!(line.ends_with(", none"), "{told}");
}

#[test]
fn a_project_is_found_from_inside_of_it_and_a_blueprint_by_its_path() {
    let lab = Lab::in_git();
    lab.blueprint("one", "[nodes.only]\nwait = \"0s\"\n");
    std::fs::create_dir_all(lab.project().join("deep/er")).unwrap();
    let from = |folder: &str, args: &[&str]| {
        let mut command = lab.command(args);
        command.current_dir(lab.project().join(folder));
        super::lab::Running::start(command).end()
    };
    from("deep/er", &["run", "one"]).ends(0);
    from("deep/er", &["run", "../../blueprints/one/blueprint.toml"]).ends(0);
    from("blueprints/one", &["run", "./blueprint.toml"]).ends(0);
    from("..", &["-C", "project", "run", "one"]).ends(0);
    assert_eq!(lab.runs().len(), 4);
    std::fs::write(lab.beside("outside.toml"), "schema = 1\nname = \"outside\"\n[nodes.a]\nwait = \"0s\"\n")
        .unwrap();
    lab.say(&["run", "../outside.toml"]).ends(2).mentions("is outside the project");
}

#[test]
fn a_resumed_run_does_not_fall_back_to_weaker_isolation() {
    let lab = Lab::new();
    lab.blueprint("gated", "[nodes.review]\ngate = {}\n[nodes.only]\nneeds = [\"review\"]\nrun = \"true\"\nworkspace = \"none\"\n");
    lab.say(&["run", "gated", "--sandbox", "none"]).ends(75);
    let run = lab.run();
    // `none` was typed for that process only.
    lab.say(&["approve", &run, "--resume"]).ends(0);
    let isolation = lab.show(&run, "only")["record"]["isolation"].clone();
    assert_ne!(isolation, "none");
}

#[test]
fn without_a_sandbox_that_works_nothing_is_started() {
    let lab = Lab::new();
    lab.blueprint("one", "[nodes.only]\nrun = \"true\"\nworkspace = \"none\"\n");
    // Bubblewrap is looked for in the search path.
    let empty = lab.beside("empty");
    std::fs::create_dir(&empty).unwrap();
    let path = empty.display().to_string();
    let said = lab.say_with(&[("PATH", &path)], &["run", "one", "--sandbox", "bubblewrap"]);
    if said.status.success() {
        // A fixed place is better than a search path; then there is nothing to hide here.
        return;
    }
    said.ends(3)
        .mentions("this machine cannot isolate commands, so nothing was started")
        .mentions("blueprint doctor")
        .mentions("--sandbox none");
    assert!(lab.runs().is_empty());
}

#[test]
fn settings_that_make_no_sense_are_all_named() {
    let lab = Lab::new();
    lab.blueprint("one", "[nodes.only]\nwait = \"0s\"\n");
    lab.write("blueprint.toml", "jbos = 3\nsync = \"maybe\"\n");
    lab.say(&["run", "one"]).ends(2).mentions("jobs").mentions("sync");
}

#[test]
fn init_never_overwrites() {
    let lab = Lab::new();
    lab.say(&["init"]).ends(0);
    let path = lab.project().join("blueprints/hello/blueprint.toml");
    std::fs::write(&path, "mine").unwrap();
    lab.say(&["init"]).ends(3).mentions("choose another name");
    lab.say(&["init", "../evil"]).ends(2).mentions("is not a name");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "mine");
    lab.say(&["init", "other"]).ends(0);
    lab.say(&["run", "other"]).ends(0).mentions("Hello, world!");
}
