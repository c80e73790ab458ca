//! Unified diffs: those that fit, those that nearly fit, and those that must change nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::process_host::ProcessHost;

const FILE: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n";

fn project() -> ProcessHost {
    let host = ProcessHost::new();
    host.put("a", FILE);
    host.put("b", FILE);
    host
}

async fn done(host: &ProcessHost, patch: &str) -> String {
    host.done("fs.patch", json!({ "patch": patch })).await
}

async fn failed(host: &ProcessHost, patch: &str) -> String {
    let text = host.failed("fs.patch", json!({ "patch": patch })).await;
    assert_eq!((host.get("a").as_str(), host.get("b").as_str()), (FILE, FILE), "{text}");
    text
}

#[tokio::test]
async fn a_patch_changes_creates_and_deletes() {
    let host = project();
    let patch = "\
Some words in front.
diff --git a/a b/a
index 1..2 100644
--- a/a
+++ b/a
@@ -1,3 +1,3 @@
 one
-two
+2
 three
@@ -6,3 +6,4 @@ fn context()
 six
 seven
+7b
 eight
--- /dev/null
+++ b/new/file
@@ -0,0 +1,2 @@
+first
+second
\\ No newline at end of file
diff --git a/run b/run
new file mode 100755
--- /dev/null
+++ b/run
@@ -0,0 +1 @@
+#!/bin/sh
--- a/b
+++ /dev/null
@@ -1,8 +0,0 @@
-one
-two
-three
-four
-five
-six
-seven
-eight
";
    assert_eq!(done(&host, patch).await, "changed a\ncreated new/file\ncreated run\ndeleted b\n");
    assert_eq!(host.get("a"), "one\n2\nthree\nfour\nfive\nsix\nseven\n7b\neight\n");
    assert_eq!(host.get("new/file"), "first\nsecond");
    assert!(!host.path("b").exists());
    assert_eq!(fs::metadata(host.path("run")).unwrap().permissions().mode() & 0o111, 0o111);
    assert_eq!(fs::metadata(host.path("new/file")).unwrap().permissions().mode() & 0o111, 0);
}

#[tokio::test]
async fn a_patch_of_git_is_read_as_git_wrote_it() {
    let host = ProcessHost::new();
    host.put("old name", "one\ntwo\n");
    host.put("sub/kept", "three\n");
    let git = |line: &str| {
        let mut command = std::process::Command::new("bash");
        command.args(["-euc", line]).current_dir(host.path(""));
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", host.path(""));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let patch = git(
        "git init -q; git add .; git -c user.name=a -c user.email=a@b commit -qm x; git mv 'old name' new-name
         echo 2b >> new-name; chmod +x sub/kept; echo ü > ü; git add -A; git diff --cached -M10% HEAD; git reset -q --hard",
    );
    assert!(patch.contains("rename from old name"), "{patch}");
    let text = done(&host, &patch).await;
    assert!(
        text.contains("created new-name\ndeleted old name\n") && text.contains("changed sub/kept"),
        "{text}"
    );
    assert_eq!((host.get("new-name").as_str(), host.get("ü").as_str()), ("one\ntwo\n2b\n", "ü\n"));
    let state = git("git add -A; git diff --cached -M10% HEAD");
    assert_eq!(state, patch);
}

#[tokio::test]
async fn line_numbers_and_counts_are_hints() {
    for header in [
        "@@ -6,3 +6,3 @@",
        "@@ -1,3 +1,3 @@",
        "@@ -900,3 +900,3 @@",
        "@@ -6,1 +6,1 @@",
        "@@ -6,9 +6,9 @@",
        "@@ -6 +6 @@",
    ] {
        let host = project();
        let patch = format!(
            "--- a/a\n+++ b/a\n{header}\n six\n-seven\n+7\n eight\n--- a/b\n+++ b/b\n@@ -1 +1 @@\n-one\n+1\n"
        );
        assert_eq!(done(&host, &patch).await, "changed a\nchanged b\n", "{header}");
        assert_eq!(host.get("a"), FILE.replace("seven", "7"), "{header}");
        assert_eq!(host.get("b"), FILE.replace("one", "1"), "{header}");
    }
    // Two hunks whose counts, put right, would overlap; and an empty line that lost its blank.
    let host = project();
    host.put("c", "one\n\ntwo\nthree\nfour\n");
    done(&host, "--- c\n+++ c\n@@ -1,1 +1,1 @@\n one\n\n-two\n+2\n@@ -2,1 +2,1 @@\n-four\n+4\n").await;
    assert_eq!(host.get("c"), "one\n\n2\nthree\n4\n");
}

#[tokio::test]
async fn lines_that_look_like_names_of_files_are_lines() {
    let host = project();
    host.put("c.sql", "-- old\nselect 1\n");
    done(&host, "--- a/c.sql\n+++ b/c.sql\n@@ -1,2 +1,2 @@\n--- old\n+++ new\n select 1\n").await;
    assert_eq!(host.get("c.sql"), "++ new\nselect 1\n");
}

#[tokio::test]
async fn context_that_is_not_there_names_the_hunk_and_changes_nothing() {
    let host = project();
    let good = "--- a/b\n+++ b/b\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n";
    let patch = format!(
        "{good}--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n@@ -5,2 +5,2 @@\n five\n-sixx\n+6\n"
    );
    let text = failed(&host, &patch).await;
    assert!(text.contains("`a`:") && text.contains("hunk 2 is to change are not there"), "{text}");
    assert!(text.contains("line 5"), "{text}");
    let text = failed(&host, "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n  one\n-two\n+2\n").await;
    assert!(text.contains("only white space differs"), "{text}");
    let text = failed(&host, "--- a/a\n+++ b/a\n@@ -3,0 +4 @@\n+added\n").await;
    assert!(text.contains("hunk 1 has no lines of context"), "{text}");
}

#[tokio::test]
async fn what_a_patch_is_about_must_be_as_it_says() {
    let host = project();
    let table = [
        ("--- a/none\n+++ b/none\n@@ -1 +1 @@\n-one\n+1\n", "`none`: is not there"),
        ("--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+one\n", "it is there already"),
        ("--- a/none\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n", "`none`: is not there"),
        ("--- a/a\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-one\n-two\n", "more in it than the patch takes out"),
        ("--- a/a\n+++ b/b\n@@ -1 +1 @@\n-one\n+1\n", "names it `b` as well"),
        (
            "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+1\n--- a/./a\n+++ b/./a\n@@ -2 +2 @@\n-two\n+2\n",
            "changed twice",
        ),
        (
            "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n",
            "makes a link",
        ),
        ("diff --git a/i b/i\nindex 1..2 100644\nBinary files a/i and b/i differ\n", "binary"),
        ("diff --git a/b b/a\nsimilarity index 100%\nrename from b\nrename to a\n", "it is there already"),
        ("--- a/a\n+++ b/a\n@@ -1 +1 @@\n", "has no lines"),
        ("--- a/a\n+++ b/a\n", "changes nothing"),
        ("--- a/a\n+++ b/a\n@@ what @@\n-one\n+1\n", "line 3 must be like"),
        ("--- a/a\n+++ b/a\n@@\n-one\n+1\n", "line 3 must be like"),
        ("--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n one\ntwo\n-three\n+3\n", "line 5 must begin with a blank"),
        ("--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+1\nlost\n+2\n", "line 7 belongs to no hunk"),
        ("--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+1\nlost\n@@ -3 +3 @@\n-three\n+3\n", "only 1 of 2 hunks"),
        ("diff --git a/a b/a\nlost\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+1\n", ""),
        ("+++ b/a\n@@ -1 +1 @@\n-one\n+1\n", ""),
        ("@@ -1 +1 @@\n-one\n+1\n", ""),
        ("--- a/a\n+++ b/a\n@@ -18446744073709551615 +1 @@\n-one\n+1\n", ""),
        ("*** Begin Patch\n*** Update File: a\n-one\n+1\n*** End Patch\n", ""),
        ("replace one by 1, please", ""),
    ];
    for (patch, wanted) in table {
        let text = failed(&host, patch).await;
        assert!(text.contains(wanted), "{patch}: {text}");
    }
}

#[tokio::test]
async fn a_patch_that_cannot_be_written_as_a_whole_is_taken_back() {
    let host = project();
    fs::create_dir(host.path("shut")).unwrap();
    fs::write(host.path("in-the-way"), "").unwrap();
    let patch = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+1\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+x\n\
                 --- a/b\n+++ /dev/null\n@@ -1,8 +0,0 @@\n-one\n-two\n-three\n-four\n-five\n-six\n-seven\n-eight\n\
                 --- /dev/null\n+++ b/a/below\n@@ -0,0 +1 @@\n+x\n";
    let text = failed(&host, patch).await;
    assert!(!host.path("new").exists(), "{text}");
    // Only when it is written does it turn out that the one is a folder of the other.
    let patch = "--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+x\n--- a/b\n+++ b/b\n@@ -1 +1 @@\n-one\n+1\n\
                 --- /dev/null\n+++ b/new/below\n@@ -0,0 +1 @@\n+x\n";
    let text = failed(&host, patch).await;
    assert!(text.contains("nothing was changed") && !host.path("new").exists(), "{text}");
}
