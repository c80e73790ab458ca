//! The Dockerfiles that are sent: made for packages, or somebody's with the mark that tells its layers from other people's.
//! No name becomes part of a command line: each is a word of its own in a list that no shell reads.

use blueprint_core::graph::DockerfileRecipe;
use blueprint_sandbox::{LAYER_LABEL, PackageManager};
use serde_json::json;

/// Installs packages on top of an image, which is named by the engine's id of it.
pub(super) fn of_packages(base: &str, manager: PackageManager, packages: &[String]) -> String {
    let program = manager.program();
    let run = |words: &[&str], packages: &[String]| {
        let words = words.iter().copied().chain(packages.iter().map(String::as_str));
        format!("RUN {}\n", json!(std::iter::once(program).chain(words).collect::<Vec<_>>()))
    };
    let begin = format!("FROM {base}\n{}USER 0:0\n", mark());
    match manager {
        PackageManager::Apt => {
            // A list that could not be fetched is an error, and a name that is not there is not a pattern.
            let update = run(&["-o", "APT::Update::Error-Mode=any", "update"], &[]);
            let options =
                ["-o", "APT::Cmd::Pattern-Only=true", "install", "--yes", "--no-install-recommends", "--"];
            format!("{begin}ARG DEBIAN_FRONTEND=noninteractive\n{update}{}", run(&options, packages))
        }
        PackageManager::Apk => format!("{begin}{}", run(&["add", "--no-cache", "--"], packages)),
    }
}

/// Somebody's Dockerfile, with the mark in every stage.
pub(super) fn of_dockerfile(recipe: &DockerfileRecipe) -> String {
    let mut text = String::with_capacity(recipe.text.len() + 64 * recipe.stages.len());
    let mut from = 0;
    for at in &recipe.stages {
        text.push_str(recipe.text.get(from..*at).unwrap_or_default());
        // The last line may have no end.
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&mark());
        from = *at;
    }
    text.push_str(recipe.text.get(from..).unwrap_or_default());
    text
}

fn mark() -> String {
    format!("LABEL {LAYER_LABEL}=1\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_words_that_no_shell_reads() {
        let packages = ["git".to_owned(), "g++=4:12".to_owned()];
        assert_eq!(
            of_packages("sha256:00", PackageManager::Apk, &packages),
            "FROM sha256:00\nLABEL dev.blueprint.layer=1\nUSER 0:0\n\
             RUN [\"/sbin/apk\",\"add\",\"--no-cache\",\"--\",\"git\",\"g++=4:12\"]\n"
        );
        let apt = of_packages("sha256:00", PackageManager::Apt, &packages);
        assert!(
            apt.ends_with("\"install\",\"--yes\",\"--no-install-recommends\",\"--\",\"git\",\"g++=4:12\"]\n")
        );
    }

    #[test]
    fn every_stage_is_marked() {
        let text = "FROM a AS b\nRUN c\nFROM b";
        let recipe = DockerfileRecipe {
            file: String::new(),
            text: text.into(),
            context: String::new(),
            target: None,
            args: Vec::new(),
            bases: Vec::new(),
            stages: vec![12, text.len()],
        };
        let mark = "LABEL dev.blueprint.layer=1\n";
        assert_eq!(of_dockerfile(&recipe), format!("FROM a AS b\n{mark}RUN c\nFROM b\n{mark}"));
    }
}
