//! What images are made of: packages, Dockerfiles and devcontainers become recipes in which every name is one that no
//! program can take for something else. Paths stay inside the project; the files of a context are looked at when it is sent.

use std::ops::Range;
use std::sync::Arc;

use super::compiler::Compiler;
use super::dockerfile;
use super::image::Wanted;
use crate::finding::{Code, Finding};
use crate::format::{Entries, ImageTable, Sp, devcontainer};
use crate::graph::{DockerfileRecipe, Image, Recipe};
use crate::source::{Span, resolve_path};

/// The most packages of one image.
const MAX_PACKAGES: usize = 500;
/// The longest name of a package with its version, in bytes.
const MAX_PACKAGE: usize = 128;
/// The longest value of an `ARG`, in bytes.
const MAX_ARG: usize = 4096;
/// The longest path, in bytes.
const MAX_PATH: usize = 1024;

/// A Dockerfile that somebody named, with all that goes with it.
struct Asked {
    /// Where it is, relative to the project.
    file: String,
    context: String,
    target: Option<(String, Span)>,
    args: Vec<(String, String)>,
}

impl Compiler<'_> {
    /// The image that a table describes, which stands in `file`.
    pub(super) fn made(&mut self, wanted: &Wanted, file: &Arc<str>, table: &ImageTable) -> Option<Image> {
        let known = self.findings.len();
        let at = |range: &Range<usize>| Span::new(file, range.clone());
        let ways: Vec<(&str, &Range<usize>)> = [
            ("packages", table.packages.as_ref().map(|v| &v.range)),
            ("dockerfile", table.dockerfile.as_ref().map(|v| &v.range)),
            ("devcontainer", table.devcontainer.as_ref().map(|v| &v.range)),
        ]
        .into_iter()
        .filter_map(|(key, range)| Some((key, range?)))
        .collect();
        let way = match ways.as_slice() {
            [(way, _)] => *way,
            [] => {
                let why = "one of `packages`, `dockerfile` and `devcontainer` says what it is made of";
                self.bad_image(wanted, wanted.span.clone(), "it does not say what to make the image of", why);
                return None;
            }
            [_, (way, range), ..] => {
                let why = "an image is made of one thing";
                self.bad_image(wanted, at(range), &format!("`{way}` is one thing too many"), why);
                return None;
            }
        };
        let strays = [
            ("base", table.base.as_ref().map(|v| &v.range), "packages"),
            ("context", table.context.as_ref().map(|v| &v.range), "dockerfile"),
            ("target", table.target.as_ref().map(|v| &v.range), "dockerfile"),
            ("args", table.args.0.first().map(|(name, _)| &name.range), "dockerfile"),
        ];
        for (key, range, goes_with) in strays {
            if let Some(range) = range.filter(|_| way != goes_with) {
                let why = format!("it goes with `{goes_with}` only");
                self.bad_image(wanted, at(range), &format!("`{key}` means nothing here"), &why);
            }
        }
        let image = match (&table.packages, &table.dockerfile, &table.devcontainer) {
            (Some(packages), ..) => self.packages(wanted, file, packages, table.base.as_ref()),
            (_, Some(name), _) => {
                let path = self.project_path(wanted, &at(&name.range), "", name);
                let args = self.args(wanted, file, &table.args);
                let context = match &table.context {
                    Some(context) => self.project_path(wanted, &at(&context.range), "", context),
                    None => path.as_deref().map(|path| folder_of(path).to_owned()),
                };
                let target = table.target.as_ref().map(|target| (target.value.clone(), at(&target.range)));
                let asked = Asked { file: path?, context: context?, target, args };
                self.dockerfile(wanted, &at(&name.range), asked)
            }
            (_, _, Some(name)) => self.devcontainer(wanted, &at(&name.range), name),
            _ => None,
        };
        image.filter(|_| self.findings.len() == known)
    }

    fn bad_image(&mut self, wanted: &Wanted, span: Span, message: &str, why: &str) {
        let finding =
            Finding::new(Code::BadImage, span, format!("{message} for `{}`", wanted.node)).label(why);
        self.told(
            wanted,
            finding.fix(
                "write `{ packages = [\"git\"], base = \"NAME@sha256:…\" }`, `{ dockerfile = \"PATH\" }` or \
                 `{ devcontainer = \"PATH\" }`",
            ),
        );
    }

    /// Adds a finding. One about another file says besides where in the blueprint the image is wanted.
    pub(super) fn told(&mut self, wanted: &Wanted, finding: Finding) {
        let elsewhere = finding.span.as_ref().is_some_and(|span| span.file != wanted.span.file);
        self.findings.push(if elsewhere {
            finding.note(wanted.span.clone(), "the image is wanted here")
        } else {
            finding
        });
    }

    fn packages(
        &mut self,
        wanted: &Wanted,
        file: &Arc<str>,
        packages: &Sp<Vec<Sp<String>>>,
        base: Option<&Sp<String>>,
    ) -> Option<Image> {
        let mut bad = |name: &str, range: &Range<usize>, why: &str| {
            let shown: String = name.chars().take(MAX_PACKAGE).collect();
            self.findings.push(
                Finding::new(
                    Code::BadPackage,
                    Span::new(file, range.clone()),
                    format!("`{shown}` is not a package for `{}`", wanted.node),
                )
                .label(why)
                .fix("write the name of a package of the base's distribution, as in `[\"git\", \"jq=1.7.1-3\"]`"),
            );
        };
        let mut names: Vec<String> = Vec::new();
        for package in &packages.value {
            if let Err(why) = package_fits(package) {
                bad(package, &package.range, why);
            } else if names.contains(&package.value) {
                bad(package, &package.range, "it is listed twice");
            } else {
                names.push(package.value.clone());
            }
        }
        if packages.value.is_empty() || packages.value.len() > MAX_PACKAGES {
            bad("", &packages.range, "an image has 1 to 500 packages");
        }
        names.sort();
        let Some(base) = base else {
            let why = "packages are added to an image";
            self.bad_image(wanted, Span::new(file, packages.range.clone()), "there is no `base`", why);
            return None;
        };
        let span = Span::new(file, base.range.clone());
        self.image_name(wanted, base, span)
            .then(|| Image::Made(Arc::new(Recipe::Packages { base: base.value.clone(), packages: names })))
    }

    fn args(
        &mut self,
        wanted: &Wanted,
        file: &Arc<str>,
        args: &Entries<Sp<String>>,
    ) -> Vec<(String, String)> {
        let mut kept = Vec::new();
        for (name, value) in args {
            if let Err(why) = arg_fits(name, value) {
                self.bad_image(
                    wanted,
                    Span::new(file, name.range.clone()),
                    "an argument cannot be passed",
                    why,
                );
            }
            kept.push((name.value.clone(), value.value.clone()));
        }
        kept.sort();
        kept
    }

    /// A path of the project that the file `from` names at `span`. Empty for the project itself.
    fn project_path(&mut self, wanted: &Wanted, span: &Span, from: &str, name: &str) -> Option<String> {
        let own = |path: &str| path.split('/').any(|part| part.eq_ignore_ascii_case(".git"));
        let plain = name.len() <= MAX_PATH && !name.chars().any(char::is_control);
        let path = resolve_path(from, name).filter(|path| plain && !own(path));
        if path.is_none() {
            self.told(
                wanted,
                Finding::new(
                    Code::FileMissing,
                    span.clone(),
                    format!("the image of `{}` names a path outside the project, or none", wanted.node),
                )
                .label("not a path of the project")
                .reason("a blueprint never names a file outside its project, and no history of it")
                .fix("write a path inside the project, with `/` and without a leading `/`"),
            );
        }
        path
    }

    /// The text of a file of the project that is named at `span`.
    fn project_text(&mut self, wanted: &Wanted, span: &Span, path: &str) -> Option<Arc<str>> {
        let text = self.sources.get(path).map(Arc::from);
        if text.is_none() {
            self.told(
                wanted,
                Finding::new(Code::FileMissing, span.clone(), format!("there is no file `{path}`"))
                    .label("not found")
                    .reason("files that an image is made of are looked for from the project folder on")
                    .fix(format!("make {path}, or mend the name")),
            );
        }
        text
    }

    fn dockerfile(&mut self, wanted: &Wanted, named: &Span, asked: Asked) -> Option<Image> {
        let text = self.project_text(wanted, named, &asked.file)?;
        let file: Arc<str> = asked.file.as_str().into();
        let stages = dockerfile::read(&text, &asked.args);
        for fault in &stages.faults {
            self.told(
                wanted,
                Finding::new(
                    Code::BadDockerfile,
                    Span::new(&file, fault.range.clone()),
                    format!("`{file}` cannot be built: {}", fault.message),
                )
                .label(&fault.message)
                .fix(&fault.fix),
            );
        }
        let mut bases: Vec<String> = Vec::new();
        for (base, range) in stages.bases {
            if self.image_name(wanted, &base, Span::new(&file, range)) && !bases.contains(&base) {
                bases.push(base);
            }
        }
        if let Some((target, span)) = &asked.target {
            let there = stages.names.iter().flatten().any(|name| name == target);
            if !there && stages.faults.is_empty() {
                self.told(
                    wanted,
                    Finding::new(
                        Code::BadDockerfile,
                        span.clone(),
                        format!(
                            "`{file}` has no stage `{}`",
                            target.chars().take(MAX_PACKAGE).collect::<String>()
                        ),
                    )
                    .label("no such stage")
                    .fix("name a stage of it, in small letters, or leave `target` out"),
                );
            }
        }
        let target = asked.target.map(|(target, _)| target);
        let (context, args) = (asked.context, asked.args);
        let recipe =
            DockerfileRecipe { file: asked.file, text, context, target, args, bases, stages: stages.begins };
        Some(Image::Made(Arc::new(Recipe::Dockerfile(recipe))))
    }

    fn devcontainer(&mut self, wanted: &Wanted, named: &Span, name: &Sp<String>) -> Option<Image> {
        let path = self.project_path(wanted, named, "", name)?;
        let text = self.project_text(wanted, named, &path)?;
        let file: Arc<str> = path.as_str().into();
        let (read, faults) = devcontainer::read(&text);
        let at = |range: &Range<usize>| Span::new(&file, range.clone());
        for fault in &faults {
            self.told(
                wanted,
                Finding::new(
                    Code::BadDevcontainer,
                    at(&fault.range),
                    format!("`{file}` cannot be used: {}", fault.message),
                )
                .label(&fault.message)
                .fix(&fault.fix),
            );
        }
        if let Some(image) = &read.image {
            let named = self.image_name(wanted, image, at(&image.range));
            return named.then(|| Image::Named(Arc::from(image.as_str())));
        }
        let dockerfile = read.dockerfile?;
        let span = at(&dockerfile.range);
        let dockerfile = self.project_path(wanted, &span, &path, &dockerfile)?;
        let context = match &read.context {
            Some(context) => self.project_path(wanted, &at(&context.range), &path, context)?,
            None => folder_of(&path).to_owned(),
        };
        let mut args = Vec::new();
        for (name, value) in &read.args {
            if let Err(why) = arg_fits(name, value) {
                self.bad_image(wanted, at(&name.range), "an argument cannot be passed", why);
            }
            args.push((name.value.clone(), value.value.clone()));
        }
        args.sort();
        let target = read.target.map(|target| (target.value, at(&target.range)));
        self.dockerfile(wanted, &span, Asked { file: dockerfile, context, target, args })
    }
}

/// The folder of a file, relative to the project.
fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn package_fits(package: &str) -> Result<(), &'static str> {
    let (name, version) =
        package.split_once('=').map_or((package, None), |(name, version)| (name, Some(version)));
    let small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if package.len() > MAX_PACKAGE {
        return Err("longer than 128 characters");
    }
    if !name.starts_with(small) || !name.chars().all(|c| small(c) || matches!(c, '+' | '-' | '.' | '_')) {
        return Err("not small letters, digits, `+`, `-`, `.` and `_`, with a letter or digit first");
    }
    if name.ends_with('-') {
        return Err("a `-` at the end takes the package away");
    }
    let fits = |version: &str| {
        version.starts_with(|c: char| c.is_ascii_alphanumeric())
            && version
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '~' | '-' | ':' | '_'))
    };
    if version.is_some_and(|version| !fits(version)) {
        return Err("not a version: letters, digits, `.`, `+`, `~`, `-`, `_` and `:`");
    }
    Ok(())
}

fn arg_fits(name: &str, value: &str) -> Result<(), &'static str> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(first) || !name.chars().all(|c| first(c) || c.is_ascii_digit()) {
        return Err("its name is not letters, digits and `_`");
    }
    if value.len() > MAX_ARG || value.chars().any(char::is_control) {
        return Err("its value is longer than 4096 bytes or holds control characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::package_fits;

    #[test]
    fn a_package_is_a_name_and_nothing_a_package_manager_takes_for_something_else() {
        for name in ["git", "g++", "libstdc++6", "python3.11", "0ad", "jq=1.7.1-3+deb13u1", "x=2:1.0~rc1"] {
            assert_eq!(package_fits(name), Ok(()), "{name}");
        }
        for name in [
            "",
            "-y",
            "--allow-unauthenticated",
            "git-",
            "Git",
            "a b",
            "a;b",
            "a\nb",
            "a/b",
            "../x.deb",
            "a*",
            "a^",
            "a/bookworm",
            "a:i386",
            "a=",
            "a=-x",
            "a=1 2",
            "a=$(x)",
            ".a",
            "+a",
            "\u{e9}",
        ] {
            assert!(package_fits(name).is_err(), "{name}");
        }
        assert!(package_fits(&"a".repeat(129)).is_err());
    }
}
