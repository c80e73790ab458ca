//! Images as they are written. Only whether one could be meant, and whether its name is one that cannot come to mean
//! something else: what it holds is found out where containers are made.

use std::sync::Arc;

use super::compiler::{Compiler, NodeSource, Unit};
use crate::finding::{Code, Finding};
use crate::format::{TextOr, Tier};
use crate::graph::Image;
use crate::source::Span;

/// Longest name of an image, in bytes.
const MAX_BYTES: usize = 512;

/// Where an image is written, and for whom.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The value of the key in the blueprint.
    pub(super) span: Span,
    /// The node it is for.
    pub(super) node: String,
    /// How much what runs in it is trusted.
    pub(super) tier: Tier,
}

impl Compiler<'_> {
    /// The image of a node that runs commands: its own, or that of all nodes of its file.
    pub(super) fn image(&mut self, unit: &Unit, source: &NodeSource, tier: Tier) -> Option<Image> {
        let own = source.table.image.as_ref().map(|written| (&source.file, written));
        let (file, written) =
            own.or_else(|| unit.document.defaults.image.as_ref().map(|written| (&unit.file, written)))?;
        let span = Span::new(file, written.range.clone());
        let wanted = Wanted { span, node: source.name.value.clone(), tier };
        match &written.value {
            TextOr::Text(name) => {
                let span = wanted.span.clone();
                self.image_name(&wanted, name, span).then(|| Image::Named(Arc::from(name.as_str())))
            }
            TextOr::Table(table) => self.made(&wanted, file, table),
        }
    }

    /// Whether `name`, which stands at `span`, is the name of an image that the tier bears; says so if not.
    pub(super) fn image_name(&mut self, wanted: &Wanted, name: &str, span: Span) -> bool {
        let wrong = match image(name) {
            Err(why) => why,
            Ok(Pinned::No) if wanted.tier > Tier::Internal => {
                "a tag may be moved to something else, which this tier does not bear"
            }
            Ok(_) => return true,
        };
        let shown: String = name.chars().take(MAX_BYTES).collect();
        let finding =
            Finding::new(Code::BadImage, span, format!("`{shown}` is not an image for `{}`", wanted.node))
                .label(wrong)
                .fix("write its digest, as in `\"docker.io/library/debian@sha256:…\"`");
        self.told(wanted, finding);
        false
    }
}

/// Whether a name can only mean one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pinned {
    /// By its digest.
    Yes,
    /// Not: somebody may give its tag to another one.
    No,
}

fn image(text: &str) -> Result<Pinned, &'static str> {
    if text.is_empty() || text.len() > MAX_BYTES {
        return Err("a name has 1 to 512 characters");
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let digest_fits = |digest: &str| {
        digest.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        })
    };
    if digest.is_some_and(|digest| !digest_fits(digest)) {
        return Err("a digest is `sha256:` and 64 digits of base 16");
    }
    if digest_fits(name) && digest.is_none() {
        // The id that an engine gave to what it built itself.
        return Ok(Pinned::Yes);
    }
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    };
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let (host, rest) = match path.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), rest),
        _ => (None, path),
    };
    if host.is_some_and(|host| !host.chars().all(|c| word(c.to_ascii_lowercase()) || c == ':')) {
        return Err("its registry is not a host");
    }
    let component = |part: &str| {
        part.chars().all(word)
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && !part.ends_with(['.', '-', '_'])
    };
    if !rest.split('/').all(component) {
        return Err("a name has small letters, digits, `.`, `_`, `-` and `/`");
    }
    let tag_fits = |tag: &str| {
        !tag.is_empty()
            && tag.len() <= 128
            && !tag.starts_with(['.', '-'])
            && tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    };
    if tag.is_some_and(|tag| !tag_fits(tag)) {
        return Err("a tag has letters, digits, `.`, `_` and `-`");
    }
    Ok(if digest.is_some() { Pinned::Yes } else { Pinned::No })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_image_only_with_its_digest() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for name in [
            format!("debian@{digest}"),
            format!("debian:12@{digest}"),
            format!("registry.example:5000/a/b-c@{digest}"),
            digest.clone(),
        ] {
            assert_eq!(image(&name), Ok(Pinned::Yes), "{name}");
        }
        for name in ["debian", "debian:12", "localhost/x", "ghcr.io/a/b:v1.2", "localhost:5000/x"] {
            assert_eq!(image(name), Ok(Pinned::No), "{name}");
        }
        for name in [
            "",
            "Debian",
            "a b",
            "a/../b",
            "/a",
            "a/",
            "-a",
            "a@sha256:00",
            "a@md5:0",
            "a:",
            "a:b:c",
            "http://a/b",
            "a\n",
            "--privileged",
        ] {
            assert!(image(name).is_err(), "{name}");
        }
    }
}
