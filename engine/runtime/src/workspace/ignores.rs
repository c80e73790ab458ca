//! Which untracked names are left out, by the `.gitignore` files of the directories walked.
//! Ignore files are data a sandbox may have written: they are read bounded and never followed.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::fsdir::{self, Dir};

/// Longer ignore files are not read.
const LONGEST: u64 = 1 << 20;

/// The rules in force, from the root down to the directory being walked.
#[derive(Debug, Default)]
pub(crate) struct Ignores {
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    /// How many bytes of a path belong to the directory of this layer, its slash included.
    prefix: usize,
    rules: Gitignore,
}

/// What became of the ignore file of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entered {
    /// There is none, so there is nothing to leave.
    Bare,
    /// Its rules are in force until [`Ignores::leave`].
    Ruled,
    /// There is one that is no ordinary, readable file of sensible size. It has no rules.
    Unusable,
}

impl Ignores {
    /// Rules that hold below all others, such as those of a repository's `info/exclude`.
    pub(crate) fn with_base(text: &[u8]) -> Self {
        let mut ignores = Self::default();
        ignores.push(0, text);
        ignores
    }

    /// Takes in the rules of a directory whose path, slash included, is `prefix` bytes long.
    pub(crate) fn enter(&mut self, dir: &Dir, prefix: usize) -> Entered {
        match read(dir) {
            Ok(None) => Entered::Bare,
            Ok(Some(text)) => {
                self.push(prefix, &text);
                Entered::Ruled
            }
            Err(_) => Entered::Unusable,
        }
    }

    /// Forgets the rules of the directory entered last.
    pub(crate) fn leave(&mut self, entered: Entered) {
        if entered == Entered::Ruled {
            self.layers.pop();
        }
    }

    fn push(&mut self, prefix: usize, text: &[u8]) {
        let mut builder = GitignoreBuilder::new("");
        for line in String::from_utf8_lossy(text).lines() {
            // Git takes a malformed pattern for one that matches nothing, and so do we.
            builder.add_line(None, line).ok();
        }
        let rules = builder.build().unwrap_or_else(|_| Gitignore::empty());
        self.layers.push(Layer { prefix, rules });
    }

    /// Whether the rules leave out the entry. Its parents are known not to be left out.
    pub(crate) fn matches(&self, path: &[u8], is_dir: bool) -> bool {
        for layer in self.layers.iter().rev() {
            let below = Path::new(OsStr::from_bytes(path.get(layer.prefix..).unwrap_or_default()));
            match layer.rules.matched(below, is_dir) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        false
    }
}

fn read(dir: &Dir) -> std::io::Result<Option<Vec<u8>>> {
    let file = match dir.open_file(b".gitignore") {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let stat = fsdir::file_stat(&file)?;
    if fsdir::file_type(&stat) != rustix::fs::FileType::RegularFile || stat.st_size as u64 > LONGEST {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_rule_that_says_something_wins() {
        let mut ignores = Ignores::with_base(b"*.log\n/top\nbuild/\n");
        ignores.push("sub/".len(), b"!keep.log\n/only-here\n");
        assert!(ignores.matches(b"sub/a.log", false));
        assert!(!ignores.matches(b"sub/keep.log", false));
        assert!(ignores.matches(b"sub/only-here", false));
        assert!(!ignores.matches(b"sub/x/only-here", false));
        assert!(!ignores.matches(b"sub/top", false));
        assert!(ignores.matches(b"top", false));
        assert!(ignores.matches(b"sub/build", true));
        assert!(!ignores.matches(b"sub/build", false), "a rule for directories spares files");
    }
}
