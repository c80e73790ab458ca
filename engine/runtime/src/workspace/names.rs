//! Names inside a tree: bytes, never text to trust. What may be captured, what is dangerous on a
//! host, and how a name is shown without doing anything to a terminal.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use unicode_normalization::UnicodeNormalization as _;

/// A path inside a tree, `/` between its parts, as the bytes it was found with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Box<[u8]>);

impl TreePath {
    /// The path as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path in the system's own type, relative to the root of the tree.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

impl From<&[u8]> for TreePath {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for TreePath {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

/// Shows a path with everything escaped that could move a cursor or hide what it says.
impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for char in chunk.valid().chars() {
                if char.is_control() || char == '\\' || is_invisible(char) {
                    write!(f, "{}", char.escape_default())?;
                } else {
                    write!(f, "{char}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Characters that reorder or hide the text around them, or that some filesystems drop.
pub(crate) fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// The characters HFS+ ignores when it compares names.
fn is_ignored_by_hfs(char: char) -> bool {
    matches!(char, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// Whether some filesystem takes this name for `.git`.
pub(crate) fn is_dot_git(name: &[u8]) -> bool {
    let seen_by_hfs: String = String::from_utf8_lossy(name)
        .chars()
        .filter(|&char| !is_ignored_by_hfs(char))
        .flat_map(char::to_lowercase)
        .collect();
    // NTFS also reads `\` as a separator, `:` as the start of a stream name, drops trailing dots
    // and spaces, and gives `.git` the short name `git~1`.
    seen_by_hfs.split('\\').any(|part| {
        let stem = part.split(':').next().unwrap_or_default();
        matches!(stem.trim_end_matches(['.', ' ']), ".git" | "git~1")
    })
}

/// Whether a name from a tree may be created in a checkout.
pub(crate) fn is_safe(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && name != b"."
        && name != b".."
        && !name.contains(&b'/')
        && !name.contains(&0)
        && !is_dot_git(name)
}

/// Whether a symbolic link `depth` directories below the root can be shown to stay inside.
///
/// `..` is accepted only in front: after a name it would be resolved from wherever that name leads,
/// which another link may change.
pub(crate) fn stays_inside(target: &[u8], depth: usize) -> bool {
    if target.is_empty() || target.starts_with(b"/") {
        return false;
    }
    let mut ups = 0;
    let mut down = false;
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if down => return false,
            b".." => ups += 1,
            name if is_dot_git(name) => return false,
            _ => down = true,
        }
    }
    ups <= depth
}

/// What a case-insensitive, normalising filesystem would compare.
pub(crate) fn folded(name: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(name) else { return name.to_ascii_lowercase() };
    if text.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let folded: String = text
        .chars()
        .filter(|&char| !is_ignored_by_hfs(char))
        .nfd()
        .flat_map(char::to_lowercase)
        .nfd()
        .collect();
    folded.into_bytes()
}

/// Directories whose content tools on a host act upon.
const ACTING_DIRECTORIES: &[&[u8]] = &[
    b".github",
    b".forgejo",
    b".gitea",
    b".gitlab",
    b".circleci",
    b".blueprint",
    b".vscode",
    b".idea",
    b".devcontainer",
    b".cargo",
    b".husky",
    b".claude",
    b".cursor",
    b".codex",
    b".githooks",
];

/// Files that tools on a host run, or that tell tools what to run. In lower case.
const ACTING_FILES: &[&[u8]] = &[
    b".gitattributes",
    b".gitmodules",
    b".gitconfig",
    b".gitlab-ci.yml",
    b".pre-commit-config.yaml",
    b".lfsconfig",
    b".travis.yml",
    b"jenkinsfile",
    b"makefile",
    b"gnumakefile",
    b"justfile",
    b"rakefile",
    b"cmakelists.txt",
    b"configure",
    b"dockerfile",
    b"compose.yaml",
    b"docker-compose.yml",
    b"build.rs",
    b"build.gradle",
    b"build.gradle.kts",
    b"gradlew",
    b"pom.xml",
    b"setup.py",
    b"conftest.py",
    b"noxfile.py",
    b"pyproject.toml",
    b"tox.ini",
    b"package.json",
    b"gemfile",
    b"rust-toolchain",
    b"rust-toolchain.toml",
    b".env",
    b".envrc",
    b".npmrc",
    b".yarnrc",
    b".yarnrc.yml",
    b".pypirc",
    b".netrc",
    b".bashrc",
    b".profile",
    b".zshrc",
    b".editorconfig",
    b".mcp.json",
    b".cursorrules",
    b"agents.md",
    b"claude.md",
    b"gemini.md",
];

/// Whether changing this path can make a tool outside the sandbox run something or obey somebody.
pub(crate) fn executes_on_host(path: &[u8]) -> bool {
    let path = path.to_ascii_lowercase();
    let mut parts = path.split(|&byte| byte == b'/').rev();
    let file = parts.next().unwrap_or_default();
    ACTING_FILES.contains(&file) || parts.any(|part| ACTING_DIRECTORIES.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_disguise_of_dot_git_is_seen() {
        for name in [
            ".git",
            ".GIT",
            ".Git",
            ".git ",
            ".git.",
            ".git . .",
            "git~1",
            "GIT~1",
            ".g\u{200c}it",
            "\u{feff}.git",
            ".git::$INDEX_ALLOCATION",
            ".git:x",
            "a\\.git",
            ".git\\config",
        ] {
            assert!(is_dot_git(name.as_bytes()), "{name:?}");
            assert!(!is_safe(name.as_bytes()), "{name:?}");
        }
        for name in [".gitignore", "git", ".github", "git~2", "x.git", ".gi", "..git"] {
            assert!(!is_dot_git(name.as_bytes()), "{name:?}");
        }
    }

    #[test]
    fn a_link_stays_inside_only_when_that_can_be_shown() {
        for (target, depth) in [("a", 0), ("../a", 1), ("./../x/y", 1), ("../..", 2), ("a/b", 0)] {
            assert!(stays_inside(target.as_bytes(), depth), "{target}");
        }
        for (target, depth) in
            [("/etc", 3), ("../a", 0), ("a/../b", 5), ("", 1), ("../.git/config", 1), ("a//../x", 1)]
        {
            assert!(!stays_inside(target.as_bytes(), depth), "{target}");
        }
    }

    #[test]
    fn shown_paths_carry_no_control_characters_and_stay_readable() {
        let path = TreePath::from(&b"a\nb\x1b[31m\xffc\xe2\x80\xaed\xc3\xa4"[..]);
        assert_eq!(path.to_string(), "a\\nb\\u{1b}[31m\\xffc\\u{202e}dä");
    }

    #[test]
    fn names_that_other_filesystems_confuse_fold_to_the_same_bytes() {
        assert_eq!(folded(b"README"), folded(b"readme"));
        assert_eq!(folded("é".as_bytes()), folded("E\u{301}".as_bytes()));
        assert_ne!(folded(b"a"), folded(b"b"));
    }
}
