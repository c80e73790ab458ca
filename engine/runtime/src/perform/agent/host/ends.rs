//! The two ends of what a command wrote, and parts of a patch. Bounded whatever comes in.

use std::collections::VecDeque;

/// Keeps the first and the last bytes of a stream.
#[derive(Debug)]
pub(super) struct Ends {
    each: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Ends {
    /// Keeps up to `each` bytes from each end.
    pub(super) fn new(each: usize) -> Self {
        Self { each, head: Vec::new(), tail: VecDeque::new(), dropped: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(self.each.saturating_sub(self.head.len())));
        self.head.extend_from_slice(head);
        // What could not stay anyway need not go through the queue.
        let late = rest.len().saturating_sub(self.each);
        self.dropped += late as u64;
        self.tail.extend(rest.get(late..).unwrap_or_default());
        let over = self.tail.len().saturating_sub(self.each);
        self.dropped += over as u64;
        self.tail.drain(..over);
    }

    /// What was kept, with a line where something is missing, and how much is missing.
    pub(super) fn finish(self) -> (Vec<u8>, u64) {
        let mut all = self.head;
        if self.dropped > 0 {
            all.extend_from_slice(format!("\n[{} bytes left out]\n", self.dropped).as_bytes());
        }
        all.extend(self.tail);
        (all, self.dropped)
    }
}

/// The parts of a patch that are about these paths, or all of it.
pub(super) fn only(patch: &str, paths: &[String]) -> String {
    if paths.is_empty() {
        return patch.to_owned();
    }
    let mut wanted = false;
    let mut kept = String::new();
    for line in patch.split_inclusive('\n') {
        if let Some(header) = line.strip_prefix("diff --git ") {
            let name = header.trim_end().rsplit_once(" b/").map_or("", |(_, name)| name);
            wanted = paths.iter().any(|path| {
                let path = path.trim_start_matches("./").trim_end_matches('/');
                path.is_empty() || path == "." || name == path || name.starts_with(&format!("{path}/"))
            });
        }
        if wanted {
            kept.push_str(line);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_kept_however_the_pieces_come() {
        let text: Vec<u8> = (0..1000_u32).map(|n| (n % 251) as u8).collect();
        for piece in [1, 7, 64, 1000] {
            let mut ends = Ends::new(16);
            text.chunks(piece).for_each(|piece| ends.push(piece));
            let (kept, dropped) = ends.finish();
            assert_eq!(dropped, 1000 - 32);
            assert!(kept.starts_with(&text[..16]) && kept.ends_with(&text[984..]), "pieces of {piece}");
        }
        let mut short = Ends::new(16);
        short.push(b"short");
        assert_eq!(short.finish(), (b"short".to_vec(), 0));
    }

    #[test]
    fn a_patch_is_cut_at_its_files() {
        let patch = "diff --git a/x b/x\n+1\ndiff --git a/y/z b/y/z\n+2\n";
        assert_eq!(only(patch, &[]), patch);
        assert_eq!(only(patch, &["y".to_owned()]), "diff --git a/y/z b/y/z\n+2\n");
        assert_eq!(only(patch, &["xx".to_owned()]), "");
    }
}
