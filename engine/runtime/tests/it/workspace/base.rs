//! What a run starts from, in every kind of project.

use std::fs;

use blueprint_runtime::workspace::{BaseError, Clean, Dirty, FlagKind, LeftOut, Repository, TreePath};

use super::ground::{Ground, content, empty, write};

fn changes(left_out: &LeftOut) -> Vec<String> {
    match left_out {
        LeftOut::Nothing => Vec::new(),
        LeftOut::Changes(paths) => paths.iter().map(ToString::to_string).collect(),
        LeftOut::Unknown { reason } => vec![format!("unknown: {reason}")],
    }
}

#[test]
fn the_last_commit_is_the_base_and_what_it_lacks_is_told() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let head = ground.git(&["rev-parse", "HEAD"]);
    let clean = repository.base(Dirty::Exclude, 0).unwrap();
    assert_eq!((clean.commit.to_string(), clean.left_out.clone()), (head.clone(), LeftOut::Nothing));
    assert_eq!(clean.tree.to_string(), ground.git(&["rev-parse", "HEAD^{tree}"]));
    assert_eq!(repository.base(Dirty::Include, 0).unwrap(), clean);

    ground.write("README", b"unstaged");
    ground.write("staged", b"staged");
    ground.git(&["add", "staged"]);
    ground.write("untracked", b"untracked");
    ground.write("ignored.tmp", b"ignored");
    ground.write(".git/info/exclude", b"*.tmp\n");
    let excluded = repository.base(Dirty::Exclude, 0).unwrap();
    assert_eq!((excluded.tree, excluded.commit), (clean.tree, clean.commit));
    assert_eq!(changes(&excluded.left_out), ["README", "staged", "untracked"]);

    let included = repository.base(Dirty::Include, 5000).unwrap();
    assert!(!included.left_out.is_dirty());
    assert_eq!(content(&repository, included.tree, "README").unwrap(), b"unstaged");
    assert_eq!(content(&repository, included.tree, "untracked").unwrap(), b"untracked");
    assert_eq!(content(&repository, included.tree, "ignored.tmp"), None);
    assert_eq!(ground.git(&["rev-parse", &format!("{}^", included.commit)]), head);
}

#[test]
fn before_the_first_commit_the_base_is_empty_and_says_so() {
    let ground = Ground::new();
    ground.git(&["init", "-q"]);
    ground.write("a", b"a");
    let repository = ground.repository();
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    assert_eq!((base.head, base.tree), (None, empty(&repository)));
    assert_eq!(changes(&base.left_out), ["a"]);
    assert_eq!(ground.git(&["rev-parse", &format!("{}^{{tree}}", base.commit)]), base.tree.to_string());
    let included = repository.base(Dirty::Include, 0).unwrap();
    assert_eq!(content(&repository, included.tree, "a").unwrap(), b"a");
    ground.git(&["fsck", "--strict", &included.commit.to_string()]);
}

#[test]
fn outside_a_repository_the_directory_is_the_base() {
    let ground = Ground::new();
    ground.write("a/b", b"b");
    ground.write(".gitignore", b"out/\n");
    ground.write("out/x", b"x");
    // The state may lie inside the project and is never part of it.
    let repository = Repository::discover(&ground.project(), &ground.project().join(".state")).unwrap();
    assert!(!repository.is_users());
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    assert!(content(&repository, base.tree, "a/b").is_some());
    assert_eq!(content(&repository, base.tree, "out/x"), None);
    let mut checkout =
        blueprint_runtime::workspace::Checkout::open_or_create(&ground.path("checkout")).unwrap();
    assert_eq!(checkout.set_to(&repository, base.tree, Clean::All).unwrap().written, 2);
    assert_eq!(repository.base(Dirty::Include, 0).unwrap(), base);
    ground.write("a/b", b"c");
    ground.write(".gitignore", b"out/\na/\n");
    let again = repository.base(Dirty::Include, 0).unwrap();
    assert_eq!(content(&repository, again.tree, "a/b"), None, "nothing is tracked outside a repository");
    assert!(!ground.project().join(".git").exists());
}

#[test]
fn a_project_below_the_root_sees_the_whole_repository() {
    let ground = Ground::with_repository();
    let repository = Repository::discover(&ground.project().join("src"), &ground.state()).unwrap();
    assert_eq!(repository.project_prefix().to_str(), Some("src"));
    assert!(content(&repository, repository.base(Dirty::Exclude, 0).unwrap().tree, "README").is_some());
    assert_eq!(ground.repository().project_prefix().to_str(), Some(""));
}

#[test]
fn converted_files_are_clean_when_git_says_they_are() {
    let ground = Ground::with_repository();
    ground.git(&["config", "core.autocrlf", "true"]);
    ground.git(&["config", "filter.up.clean", "tr A-Z a-z"]);
    ground.git(&["config", "filter.up.smudge", "tr a-z A-Z"]);
    ground.write(".gitattributes", b"*.up filter=up -text\n");
    ground.write("x.up", b"UP\n");
    ground.git(&["add", "-A"]);
    ground.git(&["commit", "-qm", "converted"]);
    fs::remove_file(ground.project().join("x.up")).unwrap();
    fs::remove_file(ground.project().join("README")).unwrap();
    ground.git(&["checkout", "-q", "."]);
    assert_eq!(fs::read(ground.project().join("x.up")).unwrap(), b"UP\n");
    assert_eq!(fs::read(ground.project().join("README")).unwrap(), b"hello\r\n");
    // Git rewrites its index once the files have rested longer than a tick of the clock.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let repository = ground.repository();
    loop {
        ground.git(&["update-index", "--really-refresh"]);
        ground.git(&["read-tree", "-m", "HEAD"]);
        ground.git(&["update-index", "--force-write-index"]);
        let base = repository.base(Dirty::Exclude, 0).unwrap();
        if base.left_out == LeftOut::Nothing {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{:?}", base.left_out);
    }
    let base = repository.base(Dirty::Include, 0).unwrap();
    assert_eq!(content(&repository, base.tree, "x.up").unwrap(), b"up\n");
}

#[test]
fn a_sparse_checkout_loses_nothing() {
    let ground = Ground::with_repository();
    ground.write("big/one", b"1");
    ground.write("big/two", b"2");
    ground.git(&["add", "-A"]);
    ground.git(&["commit", "-qm", "big"]);
    ground.git(&["sparse-checkout", "set", "src"]);
    assert!(!ground.project().join("big").exists());
    let repository = ground.repository();
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    assert_eq!(changes(&base.left_out), Vec::<String>::new());
    ground.write("src/lib.rs", b"changed");
    let included = repository.base(Dirty::Include, 0).unwrap();
    assert_eq!(content(&repository, included.tree, "big/one").unwrap(), b"1");
    assert_eq!(content(&repository, included.tree, "src/lib.rs").unwrap(), b"changed");
}

#[test]
fn nested_repositories_and_submodules_are_not_looked_into() {
    let ground = Ground::with_repository();
    let head = ground.git(&["rev-parse", "HEAD"]);
    ground.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},dep")]);
    ground.git(&["commit", "-qm", "submodule"]);
    ground.write("dep/.git", b"gitdir: ../.git/modules/dep\n");
    ground.write("dep/file", b"populated");
    write(&ground.project().join("nested/.git/HEAD"), b"ref: refs/heads/main\n");
    write(&ground.project().join("nested/file"), b"nested");
    let repository = ground.repository();
    let base = repository.base(Dirty::Include, 0).unwrap();
    assert_eq!(base.tree.to_string(), ground.git(&["rev-parse", "HEAD^{tree}"]));
    let flagged: Vec<_> = base.flagged.iter().map(|flagged| (flagged.path.clone(), flagged.kind)).collect();
    assert_eq!(flagged, [(TreePath::from("nested"), FlagKind::NestedRepository)]);
}

#[test]
fn linked_work_trees_and_bare_repositories_are_found() {
    let ground = Ground::with_repository();
    ground.write("README", b"only in the main work tree");
    ground.git(&["worktree", "add", "-q", "-b", "side", "../side"]);
    let side = Repository::discover(&ground.path("side"), &ground.state()).unwrap();
    let base = side.base(Dirty::Exclude, 0).unwrap();
    assert_eq!(base.left_out, LeftOut::Nothing);
    let name = blueprint_runtime::workspace::RefName::of_node("run", "node");
    side.set_ref(&name, base.commit).unwrap();
    assert_eq!(ground.git(&["rev-parse", name.as_str()]), base.commit.to_string(), "refs are shared");

    ground.git(&["clone", "-q", "--bare", ".", "../bare"]);
    let bare = Repository::discover(&ground.path("bare"), &ground.state()).unwrap();
    assert_eq!(bare.base(Dirty::Exclude, 0).unwrap().commit, base.commit);
    assert!(matches!(bare.base(Dirty::Include, 0), Err(BaseError::NoWorkTree)));
    ground.git_in(&ground.path("bare"), &["worktree", "add", "-q", "../of-bare", "side"]);
    let of_bare = Repository::discover(&ground.path("of-bare"), &ground.state()).unwrap();
    assert_eq!(of_bare.base(Dirty::Include, 0).unwrap().commit, base.commit);
}

#[test]
fn a_shallow_clone_can_be_merged_in() {
    let ground = Ground::with_repository();
    ground.write("second", b"2");
    ground.git(&["add", "-A"]);
    ground.git(&["commit", "-qm", "second"]);
    let source = format!("file://{}", ground.project().display());
    ground.git_in(&ground.path("home"), &["clone", "-q", "--depth=1", &source, "../shallow"]);
    let repository = Repository::discover(&ground.path("shallow"), &ground.state()).unwrap();
    let base = repository.base(Dirty::Exclude, 0).unwrap().commit;
    let mut checkout = ground.checkout("a");
    let one = super::ground::node_output(&repository, &mut checkout, base, "one", &[("one", b"1")]);
    let two = super::ground::node_output(&repository, &mut checkout, base, "two", &[("two", b"2")]);
    let merged = repository.merge(&[one, two]).unwrap();
    let blueprint_runtime::workspace::Merge::Clean(tree) = merged else { panic!("{merged:?}") };
    assert_eq!(content(&repository, tree, "one").unwrap(), b"1");
    assert_eq!(content(&repository, tree, "second").unwrap(), b"2");
}
