//! Paths that lead where no file tool may go. Every tool is tried with every one of them.

use std::fs;
use std::os::unix::fs::symlink;

use blueprint_agent::tool::ToolOutcome;
use serde_json::{Value, json};

use super::process_host::{ProcessHost, put};

const OUTSIDE: &str = "what nobody may read\n";

/// A workspace with every kind of trap in it.
fn trapped() -> ProcessHost {
    let host = ProcessHost::new();
    host.put("src/file", "inside\n");
    host.put(".git/config", OUTSIDE);
    host.put("sub/.git/config", OUTSIDE);
    put(&host.outside("secret"), OUTSIDE.as_bytes());
    put(&host.outside("folder/secret"), OUTSIDE.as_bytes());
    symlink(host.outside("secret"), host.path("link")).unwrap();
    symlink("../secret", host.path("relative")).unwrap();
    symlink(host.outside("folder"), host.path("linked")).unwrap();
    symlink("linked", host.path("twice")).unwrap();
    symlink(".git", host.path("git")).unwrap();
    symlink("src", host.path("inside")).unwrap();
    symlink("loop", host.path("loop")).unwrap();
    symlink(host.outside("new"), host.path("dangling")).unwrap();
    host
}

fn paths(host: &ProcessHost) -> Vec<String> {
    let absolute = host.outside("secret").to_str().unwrap().to_owned();
    let inside = host.path("src/file").to_str().unwrap().to_owned();
    let mut paths: Vec<String> = [
        "../secret",
        "src/../../secret",
        "src/../src/file",
        "..",
        "./..",
        "link",
        "./link",
        "relative",
        "linked/secret",
        "linked/../secret",
        "twice/secret",
        "inside/file",
        "loop",
        "loop/file",
        "dangling",
        ".git/config",
        ".GIT/config",
        "./.git//config",
        "sub/.git/config",
        "git/config",
        ".git",
        "src/file\0",
        "\0",
        "src/file/more",
        "/",
        "/etc/passwd",
        "//etc/passwd",
        "/proc/self/root/etc/passwd",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.extend([
        absolute,
        inside,
        "a/".repeat(2047) + "x",
        "n".repeat(300),
        format!("src/{}", "n".repeat(300)),
    ]);
    paths
}

fn patches(path: &str) -> Vec<String> {
    vec![
        format!("--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-what nobody may read\n+changed\n"),
        format!("--- {path}\n+++ {path}\n@@ -1 +1 @@\n-what nobody may read\n+changed\n"),
        format!("--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+made\n"),
        format!("--- a/{path}\n+++ /dev/null\n@@ -1 +0,0 @@\n-what nobody may read\n"),
        format!("diff --git a/src/file b/x\nsimilarity index 100%\nrename from src/file\nrename to {path}\n"),
        format!("diff --git a/x b/x\nsimilarity index 100%\ncopy from {path}\ncopy to copied\n"),
    ]
}

/// Everything below the folder, and what it holds.
fn everything(host: &ProcessHost) -> Vec<String> {
    let mut all = Vec::new();
    let mut open = vec![host.outside("")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_symlink() {
                all.push(format!("{} -> {}", path.display(), fs::read_link(&path).unwrap().display()));
            } else {
                all.push(format!("{}: {:?}", path.display(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn no_path_leads_out_of_the_workspace_or_into_git() {
    let host = trapped();
    let before = everything(&host);
    for path in paths(&host) {
        let mut calls: Vec<(&str, Value)> = vec![
            ("fs.list", json!({"path": path, "depth": 5, "ignored": true})),
            ("fs.read", json!({"path": path})),
            ("fs.search", json!({"pattern": ".", "path": path, "ignored": true})),
            ("fs.write", json!({"path": path, "content": "changed\n"})),
            ("fs.edit", json!({"path": path, "old": "nobody", "new": "everybody"})),
        ];
        calls.extend(patches(&path).into_iter().map(|patch| ("fs.patch", json!({ "patch": patch }))));
        for (tool, arguments) in calls {
            let outcome = host.call(tool, arguments.clone()).await;
            let ToolOutcome::Failed(text) = &outcome else { panic!("{tool} {arguments}: {outcome:?}") };
            assert!(!text.contains("may read"), "{tool} {arguments}: {text}");
            assert!(text.len() < 1500, "{tool} {arguments}: {text}");
            assert_eq!(everything(&host), before, "{tool} {arguments}");
        }
    }
}

#[tokio::test]
async fn deleting_a_link_leaves_what_it_leads_to() {
    let host = trapped();
    for path in paths(&host)
        .into_iter()
        .filter(|path| !["link", "./link", "relative", "loop", "dangling"].contains(&path.as_str()))
    {
        host.failed("fs.delete", json!({ "path": path })).await;
    }
    for path in ["link", "dangling", "git", "linked"] {
        host.done("fs.delete", json!({ "path": path })).await;
        assert!(host.path(path).symlink_metadata().is_err());
    }
    assert_eq!(fs::read_to_string(host.outside("secret")).unwrap(), OUTSIDE);
    assert_eq!(fs::read_to_string(host.outside("folder/secret")).unwrap(), OUTSIDE);
    assert_eq!(host.get(".git/config"), OUTSIDE);
}

#[tokio::test]
async fn walks_neither_follow_links_nor_see_git() {
    let host = trapped();
    let list = host.done("fs.list", json!({"depth": 20, "ignored": true})).await;
    assert!(list.contains("src/file") && list.contains("linked (link)"), "{list}");
    assert!(!list.contains(".git") && !list.contains("linked/"), "{list}");
    let found = host.done("fs.search", json!({"pattern": "inside|nobody", "ignored": true})).await;
    assert_eq!(found, "src/file:1:inside\n");
}

#[tokio::test]
async fn what_is_not_a_file_is_not_waited_for() {
    let host = ProcessHost::new();
    let made = std::process::Command::new("mkfifo").arg(host.path("pipe")).status().unwrap();
    assert!(made.success());
    for (tool, arguments) in [
        ("fs.read", json!({"path": "pipe"})),
        ("fs.write", json!({"path": "pipe", "content": "x"})),
        ("fs.edit", json!({"path": "pipe", "old": "x", "new": "y"})),
        ("fs.delete", json!({"path": "pipe"})),
    ] {
        let text = host.failed(tool, arguments).await;
        assert!(text.contains("not a file"), "{tool}: {text}");
    }
    assert_eq!(host.done("fs.search", json!({"pattern": "x"})).await, "no match\n");
    assert_eq!(host.done("fs.list", json!({})).await, "pipe (special)\n");
}
