//! Large bodies as files.

use std::fs;
use std::io::{self, Read as _, Write as _};

use blueprint_runtime::store::{BlobError, Blobs, Digest, Options, Store, Swept};

#[test]
fn a_blob_is_stored_once_under_its_digest() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::at(dir.path().join("blobs"));
    for bytes in [&b""[..], b"one", &vec![0xff; 100_000]] {
        let digest = blobs.put(bytes).unwrap();
        assert_eq!(digest, Digest::of(bytes));
        assert_eq!(blobs.put(bytes).unwrap(), digest);
        assert_eq!(blobs.get(digest).unwrap(), bytes);
        let mut read = Vec::new();
        blobs.open(digest).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
    }
    assert_eq!(blobs.sweep().unwrap(), Swept::default(), "no draft is left");
}

#[test]
fn a_stream_can_be_followed_while_it_is_written_and_gets_its_digest_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::at(dir.path());
    let mut writer = blobs.writer().unwrap();
    writer.append(b"line 1\n").unwrap();
    assert_eq!(fs::read(writer.path()).unwrap(), b"line 1\n");
    assert_eq!(blobs.sweep().unwrap(), Swept::default(), "a living writer's draft is not swept");
    writeln!(writer, "line {}", 2).unwrap();
    let draft = writer.path().to_owned();
    let (digest, size) = writer.finish().unwrap();
    assert_eq!((digest, size), (Digest::of(b"line 1\nline 2\n"), 14));
    assert!(!draft.exists());
    assert_eq!(blobs.get(digest).unwrap(), b"line 1\nline 2\n");
}

#[test]
fn an_abandoned_writer_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::at(dir.path());
    let mut writer = blobs.writer().unwrap();
    writer.append(b"x").unwrap();
    let draft = writer.path().to_owned();
    assert!(draft.exists());
    drop(writer);
    assert!(!draft.exists());
}

#[tokio::test]
async fn what_a_dead_writer_left_is_swept_when_the_store_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::at(dir.path().join("blobs"));
    let living = blobs.writer().unwrap();
    let drafts = living.path().parent().unwrap();
    let left = drafts.join("4194304-0");
    fs::write(&left, "half an output").unwrap();
    Store::open(dir.path(), Options::default()).await.unwrap();
    assert!(!left.exists());
    assert!(living.path().exists());

    fs::write(&left, "half an output").unwrap();
    assert_eq!(blobs.sweep().unwrap(), Swept { files: 1, bytes: 14 });
}

#[test]
fn a_damaged_blob_is_never_returned_and_is_healed_by_storing_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::at(dir.path());
    let digest = blobs.put(b"sound").unwrap();
    for damage in [&b"sOund"[..], b"soun", b"sound!", b""] {
        fs::write(blobs.path(digest), damage).unwrap();
        assert!(matches!(blobs.get(digest), Err(BlobError::Altered { .. })));
        let streamed = io::copy(&mut blobs.open(digest).unwrap(), &mut io::sink());
        assert_eq!(streamed.unwrap_err().kind(), io::ErrorKind::InvalidData);
        blobs.put(b"sound").unwrap();
        assert_eq!(blobs.get(digest).unwrap(), b"sound");
    }
}

#[test]
fn a_missing_blob_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::at(dir.path());
    let digest = Digest::of(b"never stored");
    assert!(matches!(blobs.get(digest), Err(BlobError::Missing { digest: d, .. }) if d == digest));
    assert!(matches!(blobs.open(digest), Err(BlobError::Missing { .. })));
}

#[test]
fn a_digest_has_one_spelling() {
    let digest = Digest::of(b"x");
    assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    for wrong in ["", "ab", "../../etc/passwd", &digest.to_string().to_uppercase(), &format!("{digest}0")] {
        wrong.parse::<Digest>().unwrap_err();
    }
}
