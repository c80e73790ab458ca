//! Examples: who says yes, to what, and in time.

use blueprint_core::run::Decision::{Approved, Rejected};
use blueprint_core::run::Event;
use insta::assert_snapshot;

use super::drive::Drive;

fn gate(more: &str) -> Drive {
    Drive::of(&format!("[nodes.ok]\ngate = {{ {more} }}\n[nodes.ship]\nneeds = [\"ok\"]\nrun = \"ship\""))
}

#[test]
fn a_gate_waits_until_somebody_approves() {
    let mut run = gate("");
    run.go();
    assert_snapshot!(run.ends(), @"
    ok waiting
    ship pending
    goes on
    ");
    assert!(!run.state.is_active(), "waiting for a person costs no time");
    run.decide("ok", Approved, "ann");
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    open ok#1
      ok#1 open
      ok#1 approved by ann
    start ship#1
      ship#1 ok
    finish succeeded
    ");
    assert_snapshot!(run.ends(), @"
    ok succeeded
    ship succeeded
    succeeded
    ");
}

#[test]
fn a_rejection_ends_the_run_as_rejected() {
    let mut run = gate("");
    run.go();
    run.decide("ok", Rejected, "ann");
    assert_snapshot!(run.end(), @"
    ok failed
    ship skipped
    rejected
    ");
}

#[test]
fn a_quorum_is_of_different_people() {
    let mut run = gate("min = 2");
    run.go();
    run.decide("ok", Approved, "ann");
    run.decide("ok", Approved, "ann");
    assert_snapshot!(run.ends(), @"
    ok waiting
    ship pending
    goes on
    ");
    run.decide("ok", Approved, "bob");
    assert_snapshot!(run.end(), @"
    ok succeeded
    ship succeeded
    succeeded
    ");
}

#[test]
fn one_no_outweighs_every_yes() {
    let mut run = gate("min = 2");
    run.go();
    run.decide("ok", Approved, "ann");
    run.decide("ok", Rejected, "bob");
    run.decide("ok", Approved, "cid");
    assert_snapshot!(run.end(), @"
    ok failed
    ship skipped
    rejected
    ");
}

#[test]
fn a_decision_about_something_else_or_too_early_or_too_late_counts_for_nothing() {
    let mut run = gate("");
    run.decide_about("ok", 1, Approved, "ann", "s1");
    run.issue();
    run.decide_about("ok", 1, Approved, "ann", "");
    run.go();
    run.decide_about("ok", 1, Approved, "ann", "s2");
    run.decide_about("ok", 2, Approved, "ann", "s1");
    run.decide_about("ship", 1, Approved, "ann", "s1");
    run.decide_about("nobody", 1, Approved, "ann", "s1");
    assert_snapshot!(run.ends(), @"
    ok waiting
    ship pending
    goes on
    ");
    run.decide_about("ok", 1, Rejected, "ann", "s1");
    run.decide_about("ok", 1, Approved, "ann", "s1");
    assert_snapshot!(run.end(), @"
    ok failed
    ship skipped
    rejected
    ");
}

#[test]
fn an_opening_that_is_reported_twice_forgets_no_approval() {
    let mut run = gate("min = 2");
    run.go();
    run.decide("ok", Approved, "ann");
    run.tell(Event::GateOpened {
        node: "ok".into(),
        attempt: 1,
        subject: "s1".to_owned(),
        ask: None,
        tree: None,
    });
    run.decide("ok", Approved, "bob");
    assert_snapshot!(run.end(), @"
    ok succeeded
    ship succeeded
    succeeded
    ");
}

#[test]
fn silence_is_a_no() {
    let mut run = gate("expires = \"1h\", on_timeout = \"reject\"");
    run.go();
    run.expire();
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    open ok#1
      ok#1 open
    timer expiry ok#1 3600000ms
      expiry ok#1 over
    finish rejected
    ");
    assert_snapshot!(run.ends(), @"
    ok failed
    ship skipped
    rejected
    ");
}

#[test]
fn silence_can_be_handed_to_a_person() {
    let mut run = gate("expires = \"1h\", on_timeout = \"escalate\"");
    run.go();
    run.expire();
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    open ok#1
      ok#1 open
    timer expiry ok#1 3600000ms
      expiry ok#1 over
    escalate ok#1
      ok#1 escalated
    finish escalated
    ");
    assert_snapshot!(run.ends(), @"
    ok failed
    ship skipped
    escalated
    ");
}

#[test]
fn a_gate_that_was_decided_has_no_timer_left() {
    let mut run = gate("expires = \"1h\"");
    run.go();
    run.decide("ok", Approved, "ann");
    assert_eq!(run.state.timers().count(), 0);
    assert_snapshot!(run.end(), @"
    ok succeeded
    ship succeeded
    succeeded
    ");
}

#[test]
fn a_no_sends_the_region_round_and_the_new_work_needs_a_new_yes() {
    let mut run = Drive::of(
        r#"
        [nodes.write]
        run = "write"
        [nodes.review]
        needs = ["write"]
        gate = {}
        repair = { from = "write", rounds = 2 }
        "#,
    );
    run.go();
    run.decide("review", Rejected, "ann");
    run.go();
    run.decide_about("review", 1, Approved, "ann", "s1");
    assert_snapshot!(run.ends(), @"
    write succeeded #2 round 2
    review waiting #2 round 2
    goes on
    ");
    run.decide("review", Approved, "ann");
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    start write#1
      write#1 ok
    open review#1
      review#1 open
      review#1 rejected by ann
    round 2 of review
    start write#2 round 2
      write#2 ok
    open review#2 round 2
      review#2 open
      review#1 approved by ann
      review#2 approved by ann
    finish succeeded
    ");
}

#[test]
fn an_open_gate_survives_a_crash() {
    let mut run = gate("min = 2");
    run.go();
    run.decide("ok", Approved, "ann");
    run.crash();
    run.decide("ok", Approved, "bob");
    assert_snapshot!(run.end(), @"
    ok succeeded
    ship succeeded
    succeeded
    ");
}

#[test]
fn a_gate_whose_opening_was_cut_off_is_opened_again() {
    let mut run = gate("expires = \"1h\"");
    run.issue();
    run.crash();
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    open ok#1
      driver started
      ok#1 lost
    open ok#2
      ok#2 open
    timer expiry ok#2 3600000ms
    ");
    assert_eq!(run.state.timers().count(), 1);
}
