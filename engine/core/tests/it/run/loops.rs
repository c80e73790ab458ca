//! Examples: tries, rounds, and when enough is enough.

use insta::assert_snapshot;

use super::drive::Drive;

fn retried(on: &str) -> Drive {
    Drive::of(&format!(
        r#"
        [nodes.fetch]
        run = "fetch"
        retry = {{ attempts = 3, backoff = "2s", on = ["{on}"] }}
        [nodes.next]
        needs = ["fetch"]
        run = "next"
        "#
    ))
}

#[test]
fn a_retry_waits_twice_as_long_each_time() {
    let mut run = retried("timeout").script("fetch", "fail:timeout fail:timeout ok");
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    start fetch#1
      fetch#1 failed: timeout
    timer backoff fetch#1 2000ms
      backoff fetch#1 over
    start fetch#2
      fetch#2 failed: timeout
    timer backoff fetch#2 4000ms
      backoff fetch#2 over
    start fetch#3
      fetch#3 ok
    start next#1
      next#1 ok
    finish succeeded
    ");
    assert_snapshot!(run.ends(), @"
    fetch succeeded #3
    next succeeded
    succeeded
    ");
}

#[test]
fn a_retry_that_is_used_up_fails_the_node() {
    assert_snapshot!(retried("command").script("fetch", "fail fail fail ok").end(), @"
    fetch failed #3
    next skipped
    failed
    ");
}

#[test]
fn a_failure_of_another_class_is_not_retried() {
    assert_snapshot!(retried("timeout").script("fetch", "fail ok").end(), @"
    fetch failed
    next skipped
    failed
    ");
}

#[test]
fn the_same_failure_three_times_ends_a_retry() {
    let run = Drive::of("[nodes.a]\nrun = \"a\"\nretry = { attempts = 9, on = [\"command\"] }");
    assert_snapshot!(run.script("a", "fail#x fail#y fail#y fail#y ok").end(), @"
    a failed #4
    failed
    ");
}

const REPAIR: &str = r#"
    [nodes.prepare]
    run = "prepare"
    [nodes.fix]
    needs = ["prepare"]
    run = "fix"
    [nodes.verify]
    needs = ["fix"]
    run = "verify"
    repair = { from = "fix", rounds = 3 }
    [nodes.ship]
    needs = ["verify"]
    run = "ship"
"#;

#[test]
fn a_repair_goes_round_until_it_holds() {
    let mut run = Drive::of(REPAIR).script("verify", "fail fail ok");
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    start prepare#1
      prepare#1 ok
    start fix#1
      fix#1 ok
    start verify#1
      verify#1 failed: command
    round 2 of verify
    start fix#2 round 2
      fix#2 ok
    start verify#2 round 2
      verify#2 failed: command
    round 3 of verify
    start fix#3 round 3
      fix#3 ok
    start verify#3 round 3
      verify#3 ok
    start ship#1
      ship#1 ok
    finish succeeded
    ");
    assert_snapshot!(run.ends(), @"
    prepare succeeded
    fix succeeded #3 round 3
    verify succeeded #3 round 3
    ship succeeded
    succeeded
    ");
}

#[test]
fn a_repair_that_is_used_up_is_handed_to_a_person() {
    let mut run = Drive::of(REPAIR).script("verify", "fail fail fail ok");
    run.go();
    assert_snapshot!(run.log().lines().rev().take(6).collect::<Vec<_>>().join("\n"), @"
    finish escalated
      verify#3 escalated
    escalate verify#3
      verify#3 failed: command
    start verify#3 round 3
      fix#3 ok
    ");
    assert_snapshot!(run.ends(), @"
    prepare succeeded
    fix succeeded #3 round 3
    verify failed #3 round 3
    ship skipped
    escalated
    ");
}

#[test]
fn the_same_failure_in_three_rounds_is_handed_over_early() {
    let text = REPAIR.replace("rounds = 3", "rounds = 9");
    assert_snapshot!(Drive::of(&text).script("verify", "fail#a fail#b fail#b fail#b ok").end(), @"
    prepare succeeded
    fix succeeded #4 round 4
    verify failed #4 round 4
    ship skipped
    escalated
    ");
}

#[test]
fn the_same_failure_within_one_round_still_leaves_the_rounds() {
    let text = REPAIR.replace("rounds = 3 }", "rounds = 3 }\nretry = { attempts = 3, on = [\"command\"] }");
    assert_snapshot!(Drive::of(&text).script("verify", "fail#a fail#a fail#a ok").end(), @"
    prepare succeeded
    fix succeeded #2 round 2
    verify succeeded #4 round 2
    ship succeeded
    succeeded
    ");
}

#[test]
fn a_failure_that_no_repair_can_change_starts_no_round() {
    assert_snapshot!(Drive::of(REPAIR).script("verify", "fail:policy ok").end(), @"
    prepare succeeded
    fix succeeded
    verify failed
    ship skipped
    failed
    ");
}

#[test]
fn a_failure_inside_a_region_starts_no_round() {
    assert_snapshot!(Drive::of(REPAIR).script("fix", "fail ok").end(), @"
    prepare succeeded
    fix failed
    verify skipped
    ship skipped
    failed
    ");
}

#[test]
fn inner_rounds_start_anew_in_each_outer_round() {
    let run = Drive::of(
        r#"
        [nodes.write]
        run = "write"
        [nodes.lint]
        needs = ["write"]
        run = "lint"
        repair = { from = "write", rounds = 2 }
        [nodes.test]
        needs = ["lint"]
        run = "test"
        repair = { from = "write", rounds = 2 }
        "#,
    );
    let mut run = run.script("lint", "fail ok fail ok").script("test", "fail ok");
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    start write#1
      write#1 ok
    start lint#1
      lint#1 failed: command
    round 2 of lint
    start write#2 round 2
      write#2 ok
    start lint#2 round 2
      lint#2 ok
    start test#1
      test#1 failed: command
    round 2 of test
    start write#3
      write#3 ok
    start lint#3
      lint#3 failed: command
    round 2 of lint
    start write#4 round 2
      write#4 ok
    start lint#4 round 2
      lint#4 ok
    start test#2 round 2
      test#2 ok
    finish succeeded
    ");
    assert_snapshot!(run.ends(), @"
    write succeeded #4 round 2
    lint succeeded #4 round 2
    test succeeded #2 round 2
    succeeded
    ");
}

#[test]
fn an_outer_round_forgives_what_the_inner_region_did_before() {
    let run = Drive::of(
        r#"
        [nodes.write]
        run = "write"
        [nodes.lint]
        needs = ["write"]
        run = "lint"
        repair = { from = "write", rounds = 2 }
        [nodes.test]
        needs = ["lint"]
        join = "settled"
        run = "test"
        repair = { from = "write", rounds = 2 }
        "#,
    );
    assert_snapshot!(run.script("lint", "fail#a fail#a fail#a ok").script("test", "fail ok").end(), @"
    write succeeded #4 round 2
    lint succeeded #4 round 2
    test succeeded #2 round 2
    succeeded
    ");
}

#[test]
fn what_needs_the_inside_of_a_region_waits_until_no_round_can_follow() {
    let mut run = Drive::of(
        r#"
        [nodes.fix]
        run = "fix"
        [nodes.verify]
        needs = ["fix"]
        run = "verify"
        repair = { from = "fix", rounds = 3 }
        [nodes.side]
        needs = ["fix"]
        run = "side"
        "#,
    )
    .script("verify", "fail ok");
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    start fix#1
      fix#1 ok
    start verify#1
      verify#1 failed: command
    round 2 of verify
    start fix#2 round 2
      fix#2 ok
    start verify#2 round 2
      verify#2 ok
    start side#1
      side#1 ok
    finish succeeded
    ");
}

#[test]
fn work_that_a_new_round_makes_pointless_is_cancelled_and_its_answer_ignored() {
    let mut run = Drive::of(
        r#"
        [nodes.fix]
        run = "fix"
        [nodes.slow]
        needs = ["fix"]
        run = "slow"
        [nodes.quick]
        needs = ["fix"]
        run = "quick"
        [nodes.verify]
        needs = ["slow", "quick"]
        join = "any"
        run = "verify"
        repair = { from = "fix", rounds = 2 }
        "#,
    )
    .script("slow", "hold ok")
    .script("verify", "fail ok");
    run.go();
    run.answer("slow", 1, "fail");
    assert_snapshot!(run.log(), @"
      run started
    start fix#1
      fix#1 ok
    start slow#1
    start quick#1
      quick#1 ok
    start verify#1
      verify#1 failed: command
    round 2 of verify
    cancel slow#1
    start fix#2 round 2
      slow#1 cancelled
      fix#2 ok
    start slow#2 round 2
    start quick#2 round 2
      slow#2 ok
    start verify#2 round 2
      quick#2 ok
      verify#2 ok
    finish succeeded
      slow#1 failed: command
    ");
    assert_snapshot!(run.end(), @"
    fix succeeded #2 round 2
    slow succeeded #2 round 2
    quick succeeded #2 round 2
    verify succeeded #2 round 2
    succeeded
    ");
}
