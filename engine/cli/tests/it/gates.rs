//! Gates: nothing but a timely yes of the right people to exactly what they saw opens one.

use super::lab::{Lab, wait_until};

const GATED: &str = r#"
[nodes.change]
run   = "echo changed > file"
shell = "sh"

[nodes.review]
needs = ["change"]
gate  = { ask = "Ship it?" }

[nodes.ship]
needs     = ["review"]
run       = "cat file"
workspace = "read"
"#;

const FREE: [&str; 2] = ["--sandbox", "none"];

fn waiting(text: &str) -> (Lab, String) {
    let lab = Lab::in_git();
    lab.blueprint("gated", text);
    lab.say(&["run", "gated", "--sandbox", "none"]).ends(75);
    let run = lab.run();
    (lab, run)
}

fn subject(lab: &Lab, run: &str) -> String {
    lab.show(run, "review")["subject"].as_str().unwrap().to_owned()
}

#[test]
fn a_run_leaves_at_a_gate_and_says_what_to_type() {
    let lab = Lab::in_git();
    lab.blueprint("gated", GATED);
    let said = lab.say(&["run", "gated", "--sandbox", "none"]).ends(75).mentions("Ship it?");
    let run = lab.run();
    said.mentions(&format!("blueprint approve {run} review"));
    assert_eq!(lab.status(&run)["status"], "waiting");
    // Waiting again changes nothing and costs nothing.
    lab.say(&["resume", &run, "--sandbox", "none"]).ends(75);
    assert_eq!(lab.phase(&run, "review"), "waiting");
    assert_eq!(lab.phase(&run, "ship"), "pending");
}

#[test]
fn approved_and_resumed_a_run_goes_on_to_its_end() {
    let (lab, run) = waiting(GATED);
    let subject = subject(&lab, &run);
    lab.say(&[
        "approve",
        &run,
        "review",
        "--subject",
        &subject[..12],
        "--reason",
        "looks right",
        "--resume",
        "--sandbox",
        "none",
    ])
    .ends(0);
    assert_eq!(lab.status(&run)["status"], "succeeded");
    let told = lab.say(&["show", &run]).ends(0);
    assert!(told.out.contains("approved by ada: looks right"), "{told}");
    // It was single use.
    lab.say(&["approve", &run, "--sandbox", "none"]).ends(2).mentions("no gate of run");
}

#[test]
fn an_approval_of_something_else_is_refused_and_changes_nothing() {
    let (lab, run) = waiting(GATED);
    let before = lab.events(&run);
    lab.say(&["approve", &run, "--subject", "0123456789abcdef", "--resume", "--sandbox", "none"])
        .ends(2)
        .mentions("asks about");
    // Too little of a digest says nothing.
    let subject = subject(&lab, &run);
    lab.say(&["approve", &run, "--subject", &subject[..4]]).ends(2);
    lab.say(&["approve", &run, "--subject", ""]).ends(2);
    lab.say(&["approve", &run, "change"]).ends(2).mentions("open are review");
    lab.say(&["resume", &run, "--sandbox", "none"]).ends(75);
    assert_eq!(lab.phase(&run, "review"), "waiting");
    assert_eq!(lab.events(&run)[..before.len()], before);
}

#[test]
fn a_rejected_run_ends_with_its_own_code_and_nothing_behind_the_gate_runs() {
    let (lab, run) = waiting(GATED);
    lab.say(&["reject", &run, "--reason", "not like this", "--resume", "--sandbox", "none"])
        .ends(4)
        .mentions("rejected by ada");
    assert_eq!(lab.status(&run)["status"], "rejected");
    assert_eq!(lab.phase(&run, "ship"), "skipped");
}

#[test]
fn a_process_that_waits_takes_in_what_another_one_decides() {
    let lab = Lab::in_git();
    lab.blueprint("gated", GATED);
    let mut driver = lab.start(&["run", "gated", "--sandbox", "none", "--wait"]);
    driver.wait_for_err("asks for approval");
    let run = lab.wait_for_run();
    lab.say(&["approve", &run]).ends(0).mentions("the process that drives the run takes it in");
    driver.end().ends(0);
    assert_eq!(lab.status(&run)["status"], "succeeded");
    assert_eq!(lab.say(&["show", &run]).out.matches("approved by ada").count(), 1);
}

#[test]
fn a_gate_that_nobody_answers_in_time_is_a_no() {
    let lab = Lab::in_git();
    lab.blueprint("gated", &GATED.replace("ask = \"Ship it?\"", "expires = \"1s\""));
    lab.say(&["run", "gated", "--sandbox", "none", "--wait"]).ends(4).mentions("nobody decided in time");
    let run = lab.run();
    assert_eq!(lab.phase(&run, "ship"), "skipped");
}

#[test]
fn a_yes_that_comes_too_late_is_a_no() {
    let lab = Lab::in_git();
    lab.blueprint("gated", &GATED.replace("ask = \"Ship it?\"", "expires = \"1s\""));
    lab.say(&["run", "gated", "--sandbox", "none"]).ends(75);
    let run = lab.run();
    // Nobody drives the run, so nothing has taken note of the time.
    let closed = wait_until("the gate closes", || {
        let said = lab.say(&["approve", &run]);
        (said.status.code() != Some(0)).then_some(said)
    });
    closed.ends(2).mentions("closed");
    // An early yes may have been left while it was open; then it counts. What matters is below.
    let late = Lab::in_git();
    late.blueprint("gated", &GATED.replace("ask = \"Ship it?\"", "expires = \"1s\""));
    late.say(&["run", "gated", "--sandbox", "none"]).ends(75);
    let run = late.run();
    let opened =
        late.events(&run).iter().find(|event| event["event"]["gate_opened"].is_object()).unwrap()["at_ms"]
            .as_u64()
            .unwrap();
    wait_until("the gate closes", || (now_ms() > opened + 1_500).then_some(()));
    late.say(&["approve", &run, "--resume", "--sandbox", "none"]).ends(2).mentions("closed");
    late.say(&["resume", &run, "--sandbox", "none"]).ends(4);
    assert_eq!(late.status(&run)["status"], "rejected");
}

#[expect(clippy::disallowed_methods, reason = "the test looks at the same clock as the program it tests")]
fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

#[test]
fn two_people_means_two_people() {
    let (lab, run) = waiting(&GATED.replace("ask = \"Ship it?\"", "min = 2"));
    lab.say_with(&[("USER", "ada")], &["approve", &run, "--resume", "--sandbox", "none"]).ends(75);
    // The same person twice is one person.
    lab.say_with(&[("USER", "ada")], &["approve", &run, "--resume", "--sandbox", "none"]).ends(75);
    assert_eq!(lab.phase(&run, "review"), "waiting");
    lab.say_with(&[("USER", "grace")], &["approve", &run, "--resume", "--sandbox", "none"]).ends(0);
}

#[test]
fn only_the_people_a_gate_names_may_decide() {
    let (lab, run) = waiting(&GATED.replace("ask = \"Ship it?\"", "approvers = { users = [\"grace\"] }"));
    lab.say(&["approve", &run, "--resume", "--sandbox", "none"]).ends(2).mentions("grace");
    lab.say(&["resume", &run, "--sandbox", "none"]).ends(75);
    lab.say_with(&[("USER", "grace")], &["approve", &run, "--resume", "--sandbox", "none"]).ends(0);
}

const REWORKED: &str = r#"
[nodes.change]
run   = 'echo "$BLUEPRINT_ROUND" >> file'
shell = "sh"

[nodes.review]
needs  = ["change"]
gate   = { ask = "Is it good?" }
repair = { from = "change", rounds = 3 }

[nodes.ship]
needs = ["review"]
run   = "cp file shipped"
"#;

#[test]
fn a_gate_that_opens_again_asks_about_something_new() {
    let lab = Lab::in_git();
    lab.blueprint("gated", REWORKED);
    lab.say(&["run", "gated", FREE[0], FREE[1]]).ends(75);
    let run = lab.run();
    let first = subject(&lab, &run);
    lab.say(&["reject", &run, "--resume", FREE[0], FREE[1]]).ends(75);
    let second = subject(&lab, &run);
    assert_ne!(first, second);
    lab.say(&["approve", &run, "--subject", &first, FREE[0], FREE[1]]).ends(2);
    lab.say(&["approve", &run, "--subject", &second, "--resume", FREE[0], FREE[1]]).ends(0);
    assert!(lab.diff(&run).contains("b/shipped"));
}

#[test]
fn a_rejected_change_is_worked_on_and_not_started_anew() {
    let lab = Lab::in_git();
    lab.blueprint("gated", REWORKED);
    lab.say(&["run", "gated", FREE[0], FREE[1]]).ends(75);
    let run = lab.run();
    lab.say(&["reject", &run, "--resume", FREE[0], FREE[1]]).ends(75);
    lab.say(&["approve", &run, "--resume", FREE[0], FREE[1]]).ends(0);
    let diff = lab.diff(&run);
    assert!(diff.contains("+1\n+2\n"), "{diff}");
}

#[test]
fn an_unanswered_gate_can_be_handed_over() {
    let lab = Lab::in_git();
    lab.blueprint(
        "gated",
        &GATED.replace("ask = \"Ship it?\"", "expires = \"300ms\", on_timeout = \"escalate\""),
    );
    lab.say(&["run", "gated", "--sandbox", "none", "--wait"]).ends(4);
    let run = lab.run();
    assert_eq!(lab.status(&run)["status"], "escalated");
    assert!(lab.show(&run, "review")["escalation"]["next"].is_array());
}

#[test]
fn one_no_outweighs_the_yes_of_others() {
    let (lab, run) = waiting(&GATED.replace("ask = \"Ship it?\"", "min = 2"));
    lab.say(&["approve", &run]).ends(0);
    lab.say_with(&[("USER", "grace")], &["reject", &run]).ends(0);
    lab.say_with(&[("USER", "linus")], &["approve", &run]).ends(0);
    lab.say(&["resume", &run, "--sandbox", "none"]).ends(4);
    assert_eq!(lab.status(&run)["status"], "rejected");
}

#[test]
fn approved_with_resume_while_another_process_drives_is_not_an_error() {
    let lab = Lab::in_git();
    lab.blueprint("gated", GATED);
    let mut driver = lab.start(&["run", "gated", "--sandbox", "none", "--wait"]);
    driver.wait_for_err("asks for approval");
    let run = lab.run();
    lab.say(&["approve", &run, "--resume"]).ends(0).mentions("drives the run takes it in");
    driver.end().ends(0);
}
