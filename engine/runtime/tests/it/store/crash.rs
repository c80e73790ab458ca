//! A writer that is killed leaves a journal that holds everything it was told is there, in whole appends.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use blueprint_runtime::store::Swept;

use super::fixture::{RUN, assert_verified, child, open};

#[tokio::test]
async fn a_killed_writer_leaves_whole_appends_and_every_acknowledged_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked = 0;
    for round in 0_u64..24 {
        // The writer goes on while the line is read, so the kill hits it anywhere in an append. Round 0 kills it
        // while it creates the journal, later ones also while it opens it and takes the run over.
        let lines_before = (round * 7 + 3) % 5 * round;
        let mut writer =
            child("appends_batches_until_killed", dir.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        lines.by_ref().next().unwrap().unwrap();
        let mut saw = |line: String| {
            if let Some((_, seq)) = line.split_once("acked ") {
                acked = seq.parse().unwrap();
            }
        };
        lines.by_ref().take(lines_before as usize).map_while(Result::ok).for_each(&mut saw);
        writer.kill().unwrap();
        lines.map_while(Result::ok).for_each(&mut saw);
        writer.wait().unwrap();

        let store = open(dir.path()).await;
        if store.runs().await.unwrap().is_empty() {
            assert_eq!(acked, 0);
            continue;
        }
        let events = store.read(RUN).await.unwrap();
        assert!(events.len() as u64 >= acked, "round {round}: {} of {acked}", events.len());
        assert_verified(&store, RUN, events.len() as u64).await;
        if let Some(last) = events.last() {
            let (i, of) = last.body.split_whitespace().next().unwrap().split_once('/').unwrap();
            assert_eq!(i, of, "round {round}: half an append is there");
        }
        // Opening has removed what the writer may have left of a large body.
        assert_eq!(store.blobs().sweep().unwrap(), Swept::default());
        // Half the rounds find the log copied back, half find it as the kill left it.
        if round % 2 == 0 {
            store.close().await.unwrap();
        }
    }
    assert!(acked > 100, "the writers were killed before they wrote: {acked}");
}
