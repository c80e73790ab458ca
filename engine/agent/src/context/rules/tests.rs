//! Rule files are found by folder, outermost first, and stay within their bounds.

use std::fs;
use std::path::PathBuf;

use async_trait::async_trait;

use super::{LONGEST, MOST_BYTES, Reader, Rules, collect_rules};
use crate::tool::HostError;

struct Folder(PathBuf);

#[async_trait]
impl Reader for Folder {
    async fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, HostError> {
        let path = self.0.join(path);
        if !path.is_file() {
            return Ok(None);
        }
        let mut bytes = fs::read(path).map_err(|error| HostError::Infra(error.to_string()))?;
        bytes.truncate(most);
        Ok(Some(bytes))
    }

    async fn list(&self, path: &str) -> Result<Vec<String>, HostError> {
        let Ok(entries) = fs::read_dir(self.0.join(path)) else { return Ok(Vec::new()) };
        Ok(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
    }
}

async fn collect(files: &[(&str, &[u8])], folders: &[&str]) -> Rules {
    let place = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = place.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let folders: Vec<String> = folders.iter().map(|&folder| folder.to_owned()).collect();
    let reader = Folder(place.path().to_owned());
    let rules = collect_rules(&reader, &folders).await.unwrap();
    assert_eq!(rules, collect_rules(&reader, &folders).await.unwrap());
    rules
}

fn paths(rules: &Rules) -> Vec<&str> {
    rules.files.iter().map(|file| file.path.as_str()).collect()
}

#[tokio::test]
async fn rules_of_every_folder_on_the_way_are_found_outermost_first() {
    let files: &[(&str, &[u8])] = &[
        ("src/web/AGENTS.md", b"web"),
        ("AGENTS.md", b"top"),
        ("CLAUDE.md", b"top, for another"),
        ("src/.cursorrules", b"src"),
        ("src/.cursor/rules/b.mdc", b"b"),
        ("src/.cursor/rules/a.mdc", b"a"),
        ("src/.cursor/rules/ignored.png", b"x"),
        ("docs/AGENTS.md", b"docs"),
        ("other/AGENTS.md", b"not on the way"),
        ("src/CLAUDE.md", b"   \n"),
    ];
    let rules = collect(files, &["src/web/", "docs", "src", "./src"]).await;
    assert_eq!(
        paths(&rules),
        [
            "AGENTS.md",
            "CLAUDE.md",
            "docs/AGENTS.md",
            "src/.cursorrules",
            "src/.cursor/rules/a.mdc",
            "src/.cursor/rules/b.mdc",
            "src/web/AGENTS.md"
        ]
    );
    assert_eq!(rules.files[6].scope, "src/web");
    let text = rules.text();
    assert!(
        text.contains("from=\"rules src/web/AGENTS.md for src/web\"") && text.contains("cannot change"),
        "{text}"
    );
    assert_eq!(collect(&[], &["src"]).await.text(), "");
}

#[tokio::test]
async fn a_folder_cannot_lead_out_of_the_workspace() {
    let rules =
        collect(&[("AGENTS.md", b"top"), ("a/AGENTS.md", b"a")], &["a/../../etc", "/a", "..\\x"]).await;
    assert_eq!(paths(&rules), ["AGENTS.md", "a/AGENTS.md"]);
}

#[tokio::test]
async fn what_is_too_much_is_cut_or_named() {
    let long = "é".repeat(LONGEST);
    let files: Vec<(String, Vec<u8>)> = (0..6)
        .map(|at| (format!("{}AGENTS.md", "d/".repeat(at)), format!("{at}{long}").into_bytes()))
        .collect();
    let mut files: Vec<(&str, &[u8])> =
        files.iter().map(|(path, text)| (path.as_str(), text.as_slice())).collect();
    files.push(("CLAUDE.md", b"\xff\xfe binary"));
    let rules = collect(&files, &["d/d/d/d/d"]).await;
    assert!(rules.files.iter().all(|file| file.truncated && file.text.len() <= LONGEST));
    assert!(rules.files.iter().map(|file| file.text.len()).sum::<usize>() <= MOST_BYTES);
    assert_eq!(rules.files.len() + rules.left_out.len(), 7);
    assert!(rules.left_out.contains(&"CLAUDE.md".to_owned()), "{:?}", rules.left_out);
}

#[tokio::test]
async fn the_same_text_under_two_names_is_shown_once() {
    assert_eq!(paths(&collect(&[("AGENTS.md", b"same"), ("CLAUDE.md", b"same")], &[]).await), ["AGENTS.md"]);
}
