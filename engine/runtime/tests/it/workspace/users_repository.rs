//! The user's repository gains objects and refs of runs, and is otherwise as it was.

use std::fs;

use blueprint_runtime::workspace::{Clean, DiffOptions, Dirty, Merge, RefName};

use super::ground::{Ground, fingerprint, info, make_executable, node_output};

/// Everything but objects and the refs of runs.
fn theirs(ground: &Ground) -> Vec<String> {
    fingerprint(&ground.project())
        .into_iter()
        .filter(|line| !line.contains("/.git/objects") && !line.contains("/.git/refs/blueprint"))
        .collect()
}

/// A repository in the middle of work: staged, unstaged, stashed, on a branch, with configuration.
fn in_the_middle() -> Ground {
    let ground = Ground::with_repository();
    ground.write("README", b"for the stash");
    ground.git(&["stash", "-q"]);
    ground.git(&["checkout", "-qb", "topic"]);
    ground.git(&["config", "user.name", "somebody"]);
    ground.git(&["config", "core.logAllRefUpdates", "always"]);
    ground.write("staged", b"staged");
    ground.git(&["add", "staged"]);
    ground.write("README", b"unstaged");
    ground.write("untracked", b"untracked");
    ground
}

#[test]
fn a_whole_run_leaves_the_users_work_as_it_was() {
    let ground = in_the_middle();
    // A trap for whoever starts hooks: it leaves a mark.
    let mark = ground.path("mark");
    for hook in ["reference-transaction", "post-index-change", "pre-commit", "post-commit", "post-checkout"] {
        let path = ground.project().join(".git/hooks").join(hook);
        super::ground::write(&path, format!("#!/bin/sh\ntouch '{}'\n", mark.display()).as_bytes());
        make_executable(&path);
    }
    let before = theirs(&ground);

    for dirty in [Dirty::Exclude, Dirty::Include] {
        let repository = ground.repository();
        let base = repository.base(dirty, 0).unwrap();
        let mut checkout = ground.checkout("a");
        let one = node_output(&repository, &mut checkout, base.commit, "one", &[("one", b"1")]);
        let two = node_output(&repository, &mut checkout, base.commit, "two", &[("two", b"2")]);
        let Merge::Clean(tree) = repository.merge(&[one, two]).unwrap() else { panic!() };
        checkout.set_to(&repository, tree, Clean::All).unwrap();
        let join = repository.commit(tree, &[one, two], &info("run", "join")).unwrap();
        repository
            .set_refs(&[(RefName::of_node("run", "one"), one), (RefName::of_node("run", "join"), join)])
            .unwrap();
        let patch = repository.diff(base.tree, tree, DiffOptions::default()).unwrap();
        assert_eq!(repository.apply_patch(base.tree, &patch.patch).unwrap(), tree);
    }
    assert_eq!(theirs(&ground), before);
    assert!(!mark.exists(), "a hook of the user ran");
    assert!(!ground.project().join(".git/logs/refs/blueprint").exists());

    ground.git(&["update-ref", "refs/heads/other", "HEAD"]);
    assert!(mark.exists(), "the trap must work for plain git");
}

#[test]
fn refs_of_a_run_are_written_listed_and_deleted_together() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let head = repository.base(Dirty::Exclude, 0).unwrap().commit;
    let names = [
        RefName::of_node("run.1", "fix"),
        RefName::of_node("run.1", "each[3]/../x.lock"),
        RefName::of_node("run.1", ""),
        RefName::of_node("run.10", "fix"),
    ];
    assert_eq!(names[1].as_str(), "refs/blueprint/run%2E1/each%5B3%5D%2F%2E%2E%2Fx%2Elock");
    let refs: Vec<_> = names.iter().map(|name| (name.clone(), head)).collect();
    repository.set_refs(&refs).unwrap();
    repository.set_ref(&names[0], head).unwrap();
    assert_eq!(repository.refs_of_run("run.1").unwrap().len(), 3);
    assert_eq!(repository.delete_refs_of_run("run.1").unwrap(), 3);
    assert_eq!(repository.delete_refs_of_run("run.1").unwrap(), 0);
    assert_eq!(repository.refs_of_run("run.10").unwrap(), [(names[3].clone(), head)]);
    assert_eq!(ground.git(&["for-each-ref", "refs/heads"]).lines().count(), 1);
}

#[test]
fn objects_of_a_run_survive_the_users_garbage_collection() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let base = repository.base(Dirty::Exclude, 0).unwrap().commit;
    let mut checkout = ground.checkout("a");
    let kept = node_output(&repository, &mut checkout, base, "kept", &[("kept", b"kept")]);
    let lost = node_output(&repository, &mut checkout, base, "lost", &[("lost", b"lost")]);
    repository.set_ref(&RefName::of_node("run", "kept"), kept).unwrap();
    ground.git(&["gc", "-q", "--prune=now"]);
    assert_eq!(ground.git(&["show", &format!("{kept}:kept")]), "kept");
    assert!(!ground.try_git(&ground.project(), &["cat-file", "-e", &lost.to_string()]).status.success());
}

#[test]
fn configuration_of_the_user_has_no_say_in_merging() {
    let ground = Ground::with_repository();
    let mark = ground.path("mark");
    let driver = format!("touch '{}'; exit 0", mark.display());
    ground.git(&["config", "merge.evil.driver", &driver]);
    ground.git(&["config", "merge.default", "evil"]);
    ground.git(&["config", "diff.external", &format!("touch '{}'", mark.display())]);
    ground.write(".git/info/attributes", b"* merge=evil diff=evil\n");
    let repository = ground.repository();
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    let mut checkout = ground.checkout("a");
    let attributes: (&str, &[u8]) = (".gitattributes", b"* merge=evil\n");
    let one =
        node_output(&repository, &mut checkout, base.commit, "one", &[attributes, ("README", b"one\n")]);
    let two =
        node_output(&repository, &mut checkout, base.commit, "two", &[attributes, ("README", b"two\n")]);
    assert!(matches!(repository.merge(&[one, two]).unwrap(), Merge::Conflict { .. }));
    repository.diff(base.tree, repository.tree_of(one).unwrap(), DiffOptions::default()).unwrap();
    assert!(!mark.exists());
    ground.try_git(&ground.project(), &["merge-tree", "--write-tree", &one.to_string(), &two.to_string()]);
    assert!(mark.exists(), "the trap must work for plain git");
    assert!(fs::metadata(ground.project().join(".git/index")).is_ok());
}
