//! Examples: people who stop runs, budgets that end, processes that die, answers that come late or twice.

use blueprint_core::run::{Adopted, Event, Success, Timer, TimerPurpose};
use insta::assert_snapshot;

use super::drive::Drive;

const TWO: &str = r#"
    [nodes.a]
    run = "a"
    [nodes.b]
    run = "b"
    [nodes.end]
    needs = ["a", "b"]
    run = "end"
"#;

#[test]
fn a_cancelled_run_ends_when_all_that_was_going_on_has_ended() {
    let mut run = Drive::of(TWO).script("a", "hold").script("b", "hold");
    run.go();
    run.cancel();
    run.issue();
    assert_snapshot!(run.ends(), @"
    a running
    b running
    end cancelled
    goes on
    ");
    run.answer("a", 1, "ok");
    run.issue();
    assert_snapshot!(run.ends(), @"
    a succeeded
    b running
    end cancelled
    goes on
    ");
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    start a#1
    start b#1
      ann cancels
    cancel a#1
    cancel b#1
      a#1 ok
      a#1 cancelled
      b#1 cancelled
    finish cancelled
    ");
    assert_snapshot!(run.ends(), @"
    a succeeded
    b cancelled
    end cancelled
    cancelled
    ");
}

#[test]
fn nothing_starts_after_a_cancel_whatever_answers_still_come() {
    let mut run = Drive::of(
        r#"
        [inputs]
        items = { type = "list", default = [] }
        [nodes.ask]
        gate = {}
        [nodes.maybe]
        when = "1 > 0"
        run = "maybe"
        [nodes.many]
        each = "inputs.items"
        run = "many"
        "#,
    );
    run.issue();
    run.cancel();
    assert_snapshot!(run.end(), @"
    ask cancelled
    maybe cancelled
    many cancelled
    cancelled
    ");
}

#[test]
fn a_cancel_reaches_sub_graphs_and_pauses() {
    let main = (
        "main",
        "[inputs]\nitems = { type = \"list\", default = [] }\n[nodes.all]\neach = \"inputs.items\"\nuse = \"part\"\nmax_parallel = 2\n[nodes.pause]\nwait = \"1h\"",
    );
    let part = ("part", "[nodes.one]\nrun = \"one\"\n[nodes.two]\nneeds = [\"one\"]\nrun = \"two\"");
    let mut run = Drive::with(8, &[main, part]).script("all?", "x4").script("all[1]/one", "hold");
    run.issue();
    run.tell(Event::NodeEvaluated {
        node: "all".into(),
        attempt: 1,
        result: blueprint_core::run::Evaluated::Expand {
            count: 4,
            scopes: blueprint_core::run::Payload::Inline(serde_json::Value::Null),
        },
    });
    run.issue();
    run.cancel();
    assert_snapshot!(run.end(), @"
    all cancelled
    pause cancelled
    all[0]/one succeeded
    all[0]/two cancelled
    all[1]/one cancelled
    all[1]/two cancelled
    cancelled
    ");
}

#[test]
fn a_run_whose_time_is_used_up_fails() {
    let mut run = Drive::of(&format!("[budget]\nwall = \"10s\"\n{TWO}")).script("a", "hold");
    run.go();
    assert_eq!(run.state.wall_left(), Some(10_000));
    run.now = 10_000;
    run.tell(Event::TimerFired { timer: Timer { purpose: TimerPurpose::Wall, node: None, attempt: 0 } });
    assert_eq!(run.state.wall_left(), Some(0));
    assert_snapshot!(run.end(), @"
    a cancelled
    b succeeded
    end cancelled
    failed
    ");
}

#[test]
fn time_without_a_process_or_with_people_costs_nothing() {
    let mut run = Drive::of(
        "[budget]\nwall = \"10s\"\n[nodes.ok]\ngate = {}\n[nodes.a]\nneeds = [\"ok\"]\nrun = \"a\"",
    )
    .script("a", "hold hold");
    run.go();
    run.now = 5_000;
    run.decide("ok", blueprint_core::run::Decision::Approved, "ann");
    run.go();
    assert_eq!(run.state.wall_left(), Some(10_000), "a person took that time");
    run.now = 6_000;
    run.crash();
    assert_eq!(run.state.wall_left(), Some(10_000), "nobody knows how long the process lived");
    run.go();
    run.now = 9_000;
    run.answer("a", 2, "ok");
    assert_eq!(run.state.wall_left(), Some(7_000));
}

#[test]
fn a_crash_costs_no_try() {
    let text = "[nodes.a]\nrun = \"a\"\nretry = { attempts = 2, on = [\"command\"] }";
    let mut run = Drive::of(text).script("a", "hold hold hold fail ok");
    for _ in 0..3 {
        run.go();
        run.crash();
    }
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    start a#1
      driver started
      a#1 lost
    start a#2
      driver started
      a#2 lost
    start a#3
      driver started
      a#3 lost
    start a#4
      a#4 failed: command
    timer backoff a#4 1000ms
      backoff a#4 over
    start a#5
      a#5 ok
    finish succeeded
    ");
    assert_snapshot!(run.ends(), @"
    a succeeded #5
    succeeded
    ");
}

#[test]
fn whatever_a_crash_cuts_off_is_asked_for_again() {
    let main = (
        "main",
        "[nodes.part]\nwhen = \"1 > 0\"\nuse = \"part\"\n[nodes.verify]\nneeds = [\"part\"]\nrun = \"verify\"\nrepair = { from = \"part\", rounds = 2 }",
    );
    let mut run = Drive::with(8, &[main, ("part", "[nodes.one]\nrun = \"one\"")])
        .script("part?", "lost")
        .script("part!", "lost")
        .script("part/one", "lost")
        .script("verify", "fail fail");
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    evaluate part#1
      part#1 lost
    evaluate part#2
      part#2 x1
    start part/one#1
      part/one#1 lost
    start part/one#2
      part/one#2 ok
    collect part#2
      part#2 lost
    collect part#3
      part#3 ok
    start verify#1
      verify#1 failed: command
    round 2 of verify
    evaluate part#4
      part#4 x1
    start part/one#3
      part/one#3 ok
    collect part#4
      part#4 ok
    start verify#2 round 2
      verify#2 failed: command
    escalate verify#2
      verify#2 escalated
    finish escalated
    ");
    assert_snapshot!(run.ends(), @"
    part succeeded #4 round 2
    verify failed #2 round 2
    part/one succeeded #3
    escalated
    ");
}

#[test]
fn a_record_that_a_crash_cut_off_is_written_again() {
    let mut run = Drive::of(
        "[nodes.fix]\nrun = \"fix\"\n[nodes.verify]\nneeds = [\"fix\"]\nrun = \"verify\"\nrepair = { from = \"fix\", rounds = 2 }",
    )
    .script("verify", "fail hold");
    run.go();
    run.answer("verify", 2, "fail");
    run.issue();
    run.crash();
    assert_snapshot!(run.end(), @"
    fix succeeded #2 round 2
    verify failed #3 round 2
    escalated
    ");
}

#[test]
fn answers_that_come_late_or_twice_or_about_nothing_count_for_nothing() {
    let mut run = Drive::of(TWO).script("a", "hold hold");
    run.go();
    run.answer("a", 1, "lost");
    run.answer("a", 1, "lost");
    run.go();
    run.answer("a", 1, "fail");
    run.answer("a", 3, "fail");
    run.answer("b", 1, "fail");
    run.answer("b", 1, "lost");
    run.answer("end", 0, "fail");
    run.answer("end", 0, "lost");
    run.answer("nobody", 1, "ok");
    assert_snapshot!(run.ends(), @"
    a running #2
    b succeeded
    end pending
    goes on
    ");
    run.answer("a", 2, "ok");
    run.answer("a", 2, "fail");
    assert_snapshot!(run.end(), @"
    a succeeded #2
    b succeeded
    end succeeded
    succeeded
    ");
}

#[test]
fn a_failed_run_goes_on_from_the_node_somebody_wants_to_be_tried_again() {
    let mut run = Drive::of(TWO).script("a", "fail ok");
    run.go();
    run.retry("b");
    assert_snapshot!(run.ends(), @"
    a failed
    b succeeded
    end skipped
    failed
    ");
    run.retry("a");
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    start a#1
    start b#1
      a#1 failed: command
      b#1 ok
    finish failed
      ann retries b
      ann retries a
    start a#2
      a#2 ok
    start end#1
      end#1 ok
    finish succeeded
    ");
    assert_snapshot!(run.ends(), @"
    a succeeded #2
    b succeeded
    end succeeded
    succeeded
    ");
}

#[test]
fn a_run_that_is_being_stopped_ends_before_it_can_be_retried() {
    let mut run = Drive::of(TWO).script("a", "hold").script("b", "fail");
    run.go();
    run.cancel();
    run.retry("b");
    run.go();
    assert_snapshot!(run.ends(), @"
    a cancelled
    b failed
    end cancelled
    cancelled
    ");
    run.retry("a");
    run.retry("b");
    assert_snapshot!(run.end(), @"
    a succeeded #2
    b succeeded #2
    end succeeded
    succeeded
    ");
}

#[test]
fn a_retry_gives_a_region_all_its_rounds_again() {
    let text = "[nodes.fix]\nrun = \"fix\"\n[nodes.verify]\nneeds = [\"fix\"]\nrun = \"verify\"\nrepair = { from = \"fix\", rounds = 2 }";
    let mut run = Drive::of(text).script("verify", "fail fail fail ok");
    run.go();
    assert_snapshot!(run.ends(), @"
    fix succeeded #2 round 2
    verify failed #2 round 2
    escalated
    ");
    run.retry("verify");
    assert_snapshot!(run.end(), @"
    fix succeeded #3 round 2
    verify succeeded #4 round 2
    succeeded
    ");
}

#[test]
fn what_was_taken_over_from_another_run_is_not_done_again() {
    let mut run = Drive::of(TWO);
    run.adopt("a", Adopted::Succeeded(Success::default()));
    run.adopt("b", Adopted::Skipped);
    assert_snapshot!(run.end(), @"
    a succeeded
    b skipped
    end skipped
    succeeded
    ");
    let mut run = Drive::of(TWO);
    run.adopt("a", Adopted::Succeeded(Success::default()));
    run.go();
    assert_snapshot!(run.log(), @"
      run started
      a taken over
    start b#1
      b#1 ok
    start end#1
      end#1 ok
    finish succeeded
    ");
}

#[test]
fn a_command_that_is_not_due_has_no_effect_when_issued() {
    use blueprint_core::run::{Command, Outcome};
    let mut run = Drive::of(TWO).script("a", "hold");
    run.go();
    let before = run.ends();
    for command in [
        Command::Evaluate { node: "b".into(), attempt: 1 },
        Command::StartNode { node: "b".into(), attempt: 1, round: 1, taint: None },
        Command::OpenGate { node: "a".into(), attempt: 1, round: 1 },
        Command::StartTimer {
            timer: Timer { purpose: TimerPurpose::Wait, node: Some("a".into()), attempt: 1 },
            after_ms: 5,
        },
        Command::CancelNode { node: "b".into(), attempt: 1 },
        Command::Collect { node: "a".into(), attempt: 1 },
        Command::StartRound { node: "a".into(), round: 2 },
        Command::Escalate { node: "a".into(), attempt: 1 },
    ] {
        run.tell(Event::Issued(command));
    }
    assert_eq!(run.ends(), before);
    run.answer("a", 1, "ok");
    run.go();
    run.tell(Event::Issued(Command::Finish { outcome: Outcome::Failed }));
    assert!(run.ends().ends_with("succeeded"));
}
