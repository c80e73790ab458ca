//! Repairs: rounds are on record, each builds on what the one before left, and an end without success hands over
//! everything a person needs.

use serde_json::Value;

use super::lab::{Lab, node_of};

/// `verify` passes once `fix` has worked this often; it says something else each time.
fn looping(rounds: u32, needed: u32) -> String {
    format!(
        r#"
[defaults]
shell = "sh"

[nodes.fix]
run = 'echo "round $BLUEPRINT_ROUND" >> tries; echo fixing'

[nodes.verify]
needs     = ["fix"]
run       = 'seen=$(wc -l < tries); echo "seen: $(tr 0-9 a-j < tries | tail -n 1)"; test "$seen" -ge {needed}'
workspace = "read"
repair    = {{ from = "fix", rounds = {rounds} }}

[nodes.after]
needs = ["verify"]
run   = "cp tries result"
"#
    )
}

fn rounds_started(events: &[Value]) -> Vec<u64> {
    events.iter().filter_map(|event| event["event"]["issued"]["start_round"]["round"].as_u64()).collect()
}

#[test]
fn a_verify_that_passes_the_third_time_succeeds_with_three_rounds_on_record() {
    let lab = Lab::in_git();
    lab.blueprint("loop", &looping(5, 3));
    lab.say(&["run", "loop"]).ends(0).mentions("round 3");
    let run = lab.run();
    let status = lab.status(&run);
    assert_eq!(status["status"], "succeeded");
    for node in ["fix", "verify"] {
        assert_eq!(
            (&node_of(&status, node)["round"], &node_of(&status, node)["phase"]),
            (&3.into(), &"succeeded".into())
        );
    }
    assert_eq!(rounds_started(&lab.events(&run)), [2, 3]);
    let told = lab.say(&["show", &run]).ends(0);
    assert!(
        told.out.contains("round 2 of its repair begins")
            && told.out.contains("round 3 of its repair begins"),
        "{told}"
    );
    // Each round went on with what the last one left.
    let diff = lab.diff(&run);
    assert!(diff.contains("+round 1\n+round 2\n+round 3\n"), "{diff}");
    // What every round wrote can still be read.
    let logs = lab.say(&["logs", &run, "verify"]).ends(0);
    assert_eq!(logs.out.lines().count(), 3, "{logs}");
}

#[test]
fn a_verify_that_never_passes_ends_at_its_limit_with_everything_handed_over() {
    let lab = Lab::in_git();
    lab.blueprint("loop", &looping(2, 100));
    let said = lab.say(&["run", "loop"]).ends(4);
    let run = lab.run();
    let said = said.mentions(&format!("blueprint show {run} verify"));
    assert!(said.err.contains("was handed to a person"), "{said}");
    let status = lab.status(&run);
    assert_eq!(status["status"], "escalated");
    assert_eq!(node_of(&status, "after")["phase"], "skipped");
    let record = &lab.show(&run, "verify")["escalation"];
    assert_eq!(record["rounds"]["done"], 2);
    assert_eq!(record["rounds"]["allowed"], 2);
    let diff = record["diff"].as_str().unwrap();
    assert!(diff.contains("+round 1") && diff.contains("+round 2"), "{record}");
    assert!(record["logs"]["fix"].as_str().unwrap().contains("fixing"), "{record}");
    assert!(record["logs"]["verify"].as_str().unwrap().contains("seen: round c"), "{record}");
    // Every command it names works as it stands there.
    let next: Vec<&str> =
        record["next"].as_array().unwrap().iter().map(|next| next["type"].as_str().unwrap()).collect();
    for command in ["show", "diff", "logs"] {
        let line = next.iter().find(|line| line.starts_with(&format!("blueprint {command}"))).unwrap();
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        lab.say(&words).ends(0);
    }
    assert!(next.iter().any(|line| line.starts_with("blueprint retry")), "{next:?}");
    let text = lab.say(&["show", &run, "verify"]).ends(0);
    assert!(text.out.contains("handed over:") && text.out.contains("+round 2"), "{text}");
}

#[test]
fn the_same_failure_three_times_in_a_row_ends_a_loop_early() {
    let lab = Lab::in_git();
    lab.blueprint(
        "stuck",
        r#"
[nodes.fix]
run   = 'echo x >> tries'
shell = "sh"

[nodes.verify]
needs  = ["fix"]
run    = 'echo "took $BLUEPRINT_ROUND ms: assertion failed"; exit 1'
shell  = "sh"
repair = { from = "fix", rounds = 10 }
"#,
    );
    lab.say(&["run", "stuck"]).ends(4);
    let run = lab.run();
    let record = &lab.show(&run, "verify")["escalation"];
    assert_eq!(record["rounds"]["done"], 3, "{record}");
    assert_eq!(record["rounds"]["allowed"], 10);
    assert!(record["why"].as_str().unwrap().contains("same failure"), "{record}");
}

#[test]
fn an_escalated_node_can_be_tried_again_once_its_cause_is_gone() {
    let lab = Lab::in_git();
    let flag = lab.beside("flag");
    lab.blueprint(
        "stuck",
        &format!(
            r#"
[nodes.fix]
run = "true"

[nodes.verify]
needs  = ["fix"]
run    = ["test", "-e", "{}"]
repair = {{ from = "fix", rounds = 2 }}
"#,
            flag.display()
        ),
    );
    lab.say(&["run", "stuck", "--sandbox", "none"]).ends(4);
    let run = lab.run();
    std::fs::write(&flag, "").unwrap();
    lab.say(&["retry", &run, "verify", "--sandbox", "none"]).ends(0);
    assert_eq!(lab.status(&run)["status"], "succeeded");
    lab.verify(&run);
}
