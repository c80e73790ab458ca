//! One checkout used again and again: cheap when nothing differs, right whatever happened to it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use blueprint_runtime::workspace::{
    CaptureError, Checkout, CheckoutError, Clean, Dirty, FlagKind, Kind, SetToError, Stats, TreeId,
};

use super::ground::{Ground, content, empty, info, make_executable, paths, write};

#[test]
fn an_unchanged_checkout_needs_no_git() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    let mut checkout = ground.checkout("a");
    let first = checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    assert_eq!(first, Stats { written: 2, kept: 0, removed: 0, bytes: 19 });
    let _away = ground.without_git();
    assert!(repository.base(Dirty::Exclude, 0).is_err(), "git must really be out of reach");
    let captured = checkout.capture(&repository).unwrap();
    assert_eq!((captured.tree, captured.changed.len()), (base.tree, 0));
    let again = checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    assert_eq!(again, Stats { written: 0, kept: 2, removed: 0, bytes: 0 });
}

#[test]
fn the_record_of_a_checkout_survives_the_process() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    ground.checkout("a").set_to(&repository, base.tree, Clean::All).unwrap();
    let mut checkout = ground.checkout("a");
    assert_eq!(checkout.tree(), Some(base.tree));
    let _away = ground.without_git();
    assert_eq!(checkout.set_to(&repository, base.tree, Clean::All).unwrap().written, 0);
}

#[test]
fn only_differences_are_written() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    let mut checkout = ground.checkout("a");
    checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    write(&checkout.dir().join("README"), b"changed");
    write(&checkout.dir().join("new/file"), b"new");
    fs::remove_file(checkout.dir().join("src/lib.rs")).unwrap();
    let captured = checkout.capture(&repository).unwrap();
    let kinds: Vec<_> = captured.changed.iter().map(|change| (change.before, change.after)).collect();
    assert_eq!(paths(&captured), ["README", "new/file", "src/lib.rs"]);
    assert_eq!(
        kinds,
        [(Some(Kind::File), Some(Kind::File)), (None, Some(Kind::File)), (Some(Kind::File), None)]
    );
    let stats = checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    assert_eq!((stats.written, stats.removed), (2, 1));
    assert_eq!(checkout.capture(&repository).unwrap().tree, base.tree);
}

#[test]
fn a_change_that_hides_behind_its_size_and_time_is_found() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    let mut checkout = ground.checkout("a");
    checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    let path = checkout.dir().join("README");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::io::Write::write_all(&mut &file, b"HELLO\n").unwrap();
    file.set_modified(before).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
    let captured = checkout.capture(&repository).unwrap();
    assert_eq!(content(&repository, captured.tree, "README").unwrap(), b"HELLO\n");
    // And with the record as the judge of what must be written.
    file.set_modified(before).unwrap();
    std::io::Write::write_all(&mut &file, b"again").unwrap();
    drop(file);
    checkout.set_to(&repository, captured.tree, Clean::All).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"HELLO\n");
}

#[test]
fn a_damaged_record_is_not_believed() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    let record = ground.state().join("checkouts/a.manifest");
    ground.checkout("a").set_to(&repository, base.tree, Clean::All).unwrap();
    let whole = fs::read(&record).unwrap();
    let mut damaged: Vec<Vec<u8>> = vec![Vec::new(), b"nonsense".to_vec(), whole[..whole.len() - 1].to_vec()];
    for at in (0..whole.len()).step_by(7) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        damaged.push(flipped);
    }
    for bytes in damaged {
        fs::write(&record, bytes).unwrap();
        let mut checkout = ground.checkout("a");
        assert_eq!(checkout.tree(), None);
        assert!(matches!(checkout.capture(&repository), Err(CaptureError::NoBaseline { .. })));
    }
    let mut checkout = ground.checkout("a");
    write(&checkout.dir().join("extra"), b"extra");
    assert_eq!(checkout.set_to(&repository, base.tree, Clean::All).unwrap().written, 2);
    assert_eq!(checkout.capture(&repository).unwrap().tree, base.tree);
}

#[test]
fn a_checkout_stopped_in_the_middle_has_no_record() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    let mut checkout = ground.checkout("a");
    checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    let unknown: TreeId = "a".repeat(40).parse().unwrap();
    assert!(matches!(checkout.set_to(&repository, unknown, Clean::All), Err(SetToError::Git(_))));
    assert!(matches!(checkout.capture(&repository), Err(CaptureError::NoBaseline { .. })));
    drop(checkout);
    assert_eq!(ground.checkout("a").tree(), None);
}

#[test]
fn a_deleted_or_replaced_directory_is_never_an_empty_result() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    let mut checkout = ground.checkout("a");
    let dir = checkout.dir().to_owned();
    let elsewhere = ground.path("elsewhere");
    write(&elsewhere.join("precious"), b"keep me");

    checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert!(matches!(checkout.capture(&repository), Err(CaptureError::Gone { .. })));
    checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    assert_eq!(checkout.capture(&repository).unwrap().tree, base.tree);

    fs::remove_dir_all(&dir).unwrap();
    symlink(&elsewhere, &dir).unwrap();
    assert!(matches!(checkout.capture(&repository), Err(CaptureError::Gone { .. })));
    checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    assert!(dir.symlink_metadata().unwrap().is_dir());
    assert_eq!(fs::read(elsewhere.join("precious")).unwrap(), b"keep me");
    assert_eq!(checkout.capture(&repository).unwrap().tree, base.tree);
    checkout.delete().unwrap();
    assert_eq!(fs::read_dir(ground.state().join("checkouts")).unwrap().count(), 0);
}

#[test]
fn a_checkout_serves_one_user_at_a_time() {
    let ground = Ground::new();
    let first = ground.checkout("a");
    assert!(matches!(Checkout::open_or_create(first.dir()), Err(CheckoutError::Busy { .. })));
    let dir = first.dir().to_owned();
    drop(first);
    Checkout::open_or_create(&dir).unwrap();
}

#[test]
fn ignored_leftovers_stay_in_a_chain_and_go_on_request() {
    let ground = Ground::new();
    ground.write(".gitignore", b"target/\n*.log\n");
    ground.write("a", b"a");
    let repository = ground.repository();
    let base = repository.base(Dirty::Include, 0).unwrap();
    let mut checkout = ground.checkout("a");
    checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    let dir = checkout.dir().to_owned();
    write(&dir.join("target/debug/out"), b"cache");
    write(&dir.join("x.log"), b"log");
    write(&dir.join("stray"), b"stray");
    write(&dir.join("sub/.git/config"), b"planted");
    // Rules that somebody wrote on disk do not decide what may stay.
    write(&dir.join(".gitignore"), b"*\n");
    let stats = checkout.set_to(&repository, base.tree, Clean::Untracked).unwrap();
    assert_eq!((stats.written, stats.removed), (1, 2));
    assert!(dir.join("target/debug/out").exists() && dir.join("x.log").exists());
    assert!(!dir.join("stray").exists() && !dir.join("sub").exists());
    assert_eq!(checkout.capture(&repository).unwrap().tree, base.tree);
    checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    assert!(!dir.join("target").exists() && !dir.join("x.log").exists());
}

#[test]
fn tracked_files_stay_tracked_when_a_rule_matches_them() {
    let ground = Ground::with_repository();
    ground.write("out/kept.log", b"tracked");
    ground.write(".gitignore", b"*.log\nout/\n");
    ground.git(&["add", "-f", "-A"]);
    ground.git(&["commit", "-qm", "tracked although ignored"]);
    let repository = ground.repository();
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    assert!(!base.left_out.is_dirty());
    let mut checkout = ground.checkout("a");
    checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    write(&checkout.dir().join("out/kept.log"), b"changed");
    write(&checkout.dir().join("out/other.log"), b"not tracked");
    write(&checkout.dir().join("out/plain"), b"not tracked either");
    assert_eq!(paths(&checkout.capture(&repository).unwrap()), ["out/kept.log"]);
}

#[test]
fn submodules_are_kept_and_their_directories_stay_empty() {
    let ground = Ground::with_repository();
    let head = ground.git(&["rev-parse", "HEAD"]);
    ground.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},vendor/dep")]);
    ground.git(&["commit", "-qm", "submodule"]);
    let repository = ground.repository();
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    let mut checkout = ground.checkout("a");
    checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    let module = checkout.dir().join("vendor/dep");
    assert_eq!(fs::read_dir(&module).unwrap().count(), 0);
    assert_eq!(checkout.capture(&repository).unwrap().tree, base.tree);
    write(&module.join("file"), b"into the submodule");
    let captured = checkout.capture(&repository).unwrap();
    assert_eq!(captured.tree, base.tree);
    assert_eq!(
        captured.flagged.iter().map(|flagged| flagged.kind).collect::<Vec<_>>(),
        [FlagKind::SubmoduleContent]
    );
    checkout.set_to(&repository, base.tree, Clean::Untracked).unwrap();
    assert_eq!(fs::read_dir(&module).unwrap().count(), 0);
    // Taking the whole directory away is a deletion, as it is for git.
    fs::remove_dir_all(checkout.dir().join("vendor")).unwrap();
    assert_eq!(paths(&checkout.capture(&repository).unwrap()), ["vendor/dep"]);
}

#[test]
fn modes_are_those_of_git_and_nothing_else() {
    let ground = Ground::new();
    let repository = ground.repository();
    let mut checkout = ground.checkout("a");
    checkout.set_to(&repository, empty(&repository), Clean::All).unwrap();
    for (name, mode) in [("suid", 0o4755), ("plain", 0o600), ("group", 0o654), ("run", 0o700)] {
        write(&checkout.dir().join(name), name.as_bytes());
        fs::set_permissions(checkout.dir().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let captured = checkout.capture(&repository).unwrap();
    let flagged: Vec<_> =
        captured.flagged.iter().map(|flagged| (flagged.path.to_string(), flagged.kind)).collect();
    assert_eq!(flagged, [("suid".to_owned(), FlagKind::SpecialBits)]);
    let commit = repository.commit(captured.tree, &[], &info("run", "node")).unwrap();
    let listing = ground.objects(&["ls-tree", "--format=%(objectmode) %(path)", &commit.to_string()]);
    assert_eq!(listing, "100644 group\n100644 plain\n100755 run\n100755 suid");
    let mut other = ground.checkout("b");
    other.set_to(&repository, captured.tree, Clean::All).unwrap();
    let mode = |name: &str| fs::metadata(other.dir().join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode("suid"), mode("plain"), mode("group"), mode("run")], [0o755, 0o644, 0o644, 0o755]);
}

#[test]
fn a_file_shared_by_a_hard_link_is_never_written_into() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    let mut checkout = ground.checkout("a");
    checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    let outside = ground.path("outside");
    fs::write(&outside, b"not yours").unwrap();
    fs::remove_file(checkout.dir().join("README")).unwrap();
    fs::hard_link(&outside, checkout.dir().join("README")).unwrap();
    checkout.set_to(&repository, base.tree, Clean::All).unwrap();
    assert_eq!(fs::read(&outside).unwrap(), b"not yours");
    assert_eq!(fs::read(checkout.dir().join("README")).unwrap(), b"hello\n");
}

#[test]
fn bytes_go_in_and_out_without_conversion() {
    let ground = Ground::new();
    let repository = ground.repository();
    let mut checkout = ground.checkout("a");
    checkout.set_to(&repository, empty(&repository), Clean::All).unwrap();
    let files: [(&str, &[u8]); 4] = [
        (".gitattributes", b"* text=auto eol=crlf working-tree-encoding=UTF-16 filter=lfs ident\n"),
        ("text", b"a\r\nb\nc\r\n$Id$\n"),
        ("pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
        ("wide", b"\xff\xfea\0b\0"),
    ];
    for (name, bytes) in files {
        write(&checkout.dir().join(name), bytes);
    }
    make_executable(&checkout.dir().join("text"));
    let captured = checkout.capture(&repository).unwrap();
    let mut other = ground.checkout("b");
    other.set_to(&repository, captured.tree, Clean::All).unwrap();
    for (name, bytes) in files {
        assert_eq!(fs::read(other.dir().join(name)).unwrap(), bytes, "{name}");
        assert_eq!(content(&repository, captured.tree, name).unwrap(), bytes, "{name}");
    }
    assert!(captured.flagged.iter().any(|flagged| flagged.kind == FlagKind::ExecutesOnHost));
}
