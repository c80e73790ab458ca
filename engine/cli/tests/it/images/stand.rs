//! A project with a container engine and bases of its own. Whatever is made of a base goes with it, and what is there can be
//! counted whatever other tests do.

use std::path::PathBuf;
use std::process::Command;

use super::super::lab::Lab;
use super::super::{tiers, trouble};

pub(super) struct Stand {
    pub(super) lab: Lab,
    pub(super) host: String,
    bases: Vec<String>,
    names: Vec<String>,
}

impl Stand {
    /// A project, if there is an engine.
    pub(super) fn new() -> Option<Self> {
        let host = tiers::engine()?;
        let lab = Lab::in_git();
        lab.exact_settings(&format!("[docker]\nhost = \"{host}\"\n"));
        Some(Self { lab, host, bases: Vec::new(), names: Vec::new() })
    }

    pub(super) fn docker(&self, args: &[&str]) -> String {
        tiers::docker(&self.host, args)
    }

    /// An archive of one static program and files, different from any other.
    pub(super) fn archive(&self, files: &[(&str, &str)]) -> PathBuf {
        let root = tempfile::tempdir_in(self.lab.beside("")).unwrap().keep();
        std::fs::create_dir_all(root.join("bin")).unwrap();
        for (name, text) in files.iter().filter(|(name, _)| *name != "bin/busybox") {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, executable).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        std::os::unix::fs::symlink("busybox", root.join("bin/sh")).unwrap();
        std::fs::write(root.join("only"), root.display().to_string()).unwrap();
        let archive = root.with_extension("tar");
        let packed =
            Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&root).arg(".").status().unwrap();
        assert!(packed.success());
        archive
    }

    /// A base of one static program and files; its id.
    pub(super) fn base(&mut self, files: &[(&str, &str)], changes: &[&str]) -> String {
        let mut all = vec![("mark", "of the base")];
        all.extend(files);
        let archive = self.archive(&all);
        self.import(&archive.display().to_string(), changes)
    }

    pub(super) fn import(&mut self, archive: &str, changes: &[&str]) -> String {
        let changes = changes.iter().flat_map(|change| ["--change", *change]);
        let args: Vec<&str> = ["import"].into_iter().chain(changes).chain([archive]).collect();
        let id = self.docker(&args);
        assert!(id.starts_with("sha256:"), "{id}");
        self.bases.push(id.clone());
        id
    }

    /// A small Debian with packages to install, if there is one.
    #[expect(clippy::disallowed_methods, reason = "the base of the tests is named to them this way")]
    pub(super) fn debian(&mut self) -> Option<String> {
        let required =
            std::env::var("BLUEPRINT_REQUIRE_BACKENDS").is_ok_and(|names| names.contains("debian"));
        let Ok(archive) = std::env::var("BLUEPRINT_DEBIAN_BASE") else {
            assert!(!required, "nothing names a Debian to add packages to");
            trouble::skipped("nothing names a Debian to add packages to (.ci/debian-base)");
            return None;
        };
        let own = format!("LABEL of={}", self.lab.beside("").display());
        Some(self.import(&archive, &[&own]))
    }

    /// An image by its name is taken away at the end.
    pub(super) fn take(&mut self, name: &str) {
        self.names.push(name.to_owned());
    }

    /// Every layer that was made of the bases, in no order that means anything.
    pub(super) fn built(&self) -> Vec<String> {
        // Another test may take its own away meanwhile, and this is asked when a test has failed, too.
        let ask = |args: &[&str]| {
            let asked = Command::new("docker").args(["-H", &self.host]).args(args).output();
            asked.map(|asked| String::from_utf8_lossy(&asked.stdout).into_owned()).unwrap_or_default()
        };
        let label = "label=dev.blueprint.layer";
        let ids = ask(&["images", "--all", "--quiet", "--no-trunc", "--filter", label]);
        let mut known = self.bases.clone();
        let asked = ids.lines().map(|id| ask(&["inspect", "--format", "{{.Id}} {{.Parent}}", id]));
        let parents: Vec<(String, String)> = asked
            .filter_map(|text| text.trim().split_once(' ').map(|(id, of)| (id.to_owned(), of.to_owned())))
            .collect();
        loop {
            let more: Vec<String> = parents
                .iter()
                .filter(|(id, parent)| known.contains(parent) && !known.contains(id))
                .map(|(id, _)| id.clone())
                .collect();
            if more.is_empty() {
                let mut built = known.split_off(self.bases.len());
                built.sort();
                return built;
            }
            known.extend(more);
        }
    }

    /// Every container of the bases and of what was made of them.
    pub(super) fn containers(&self) -> String {
        let all = self.bases.iter().map(|base| {
            let filter = format!("ancestor={base}");
            self.docker(&["ps", "--all", "--format", "{{.ID}} {{.Command}}", "--filter", &filter])
        });
        all.filter(|listed| !listed.is_empty()).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let remove = |id: &str| {
            let args = ["-H", &self.host, "rmi", "--force", id];
            drop(Command::new("docker").args(args).output());
        };
        for name in &self.names {
            remove(name);
        }
        // The last ones first; a parent goes when nothing is made of it any more.
        for _ in 0..32 {
            let built = self.built();
            if built.is_empty() {
                break;
            }
            for id in &built {
                remove(id);
            }
        }
        for id in &self.bases {
            remove(id);
        }
    }
}
