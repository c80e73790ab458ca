//! When two failures are the same failure. What differs by accident (numbers, times, addresses, colours, paths
//! of temporary files) does not count.

use std::sync::LazyLock;

use regex::Regex;

/// How much of the end of an output is looked at, in bytes.
const TAIL: usize = 8 * 1024;

static ACCIDENTS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x) \x1b\[[0-9;?]*[A-Za-z] | 0x[0-9a-fA-F]+ | \b[0-9a-f]{12,64}\b | \d+ | /tmp/[^\s:'\x22]+ ",
    )
    .expect("a constant pattern")
});

/// The fingerprint of a failure: what ended how, and what it said last.
pub fn of(what: &str, output_tail: &[u8]) -> String {
    let start = output_tail.len().saturating_sub(TAIL);
    let text = String::from_utf8_lossy(output_tail.get(start..).unwrap_or_default());
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| ACCIDENTS.replace_all(line.trim(), "#").into_owned())
        .filter(|line| !line.is_empty())
        .collect();
    // The order of parallel tests is an accident as well.
    lines.sort_unstable();
    lines.dedup();
    let mut hasher = blake3::Hasher::new();
    hasher.update(what.as_bytes());
    for line in lines {
        hasher.update(b"\n");
        hasher.update(line.as_bytes());
    }
    hasher.finalize().to_hex().as_str()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn accidents_do_not_count_and_words_do() {
        let one = of("exit 1", b"test a ... FAILED in 0.31s at 0x7f11\n");
        assert_eq!(one, of("exit 1", b"test a ... FAILED in 1.02s at 0x8a20\n"));
        assert_ne!(one, of("exit 1", b"test b ... FAILED in 1.02s at 0x8a20\n"));
        assert_ne!(one, of("exit 2", b"test a ... FAILED in 0.31s at 0x7f11\n"));
    }
}
