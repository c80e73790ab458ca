//! Adds up the memory of all processes in the sandbox, for hosts without memory control groups.
//! An estimate by polling: the attestation says so wherever this is what enforces the limit.

use std::{fs, time::Duration};

/// How often to look.
pub(super) const INTERVAL: Duration = Duration::from_millis(20);

/// Anonymous and shared memory of every process in this process namespace, in bytes.
pub(super) fn memory_in_use() -> u64 {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok())
        .map(|status| resident_bytes(&status))
        .sum()
}

fn resident_bytes(status: &str) -> u64 {
    status
        .lines()
        .filter_map(|line| line.strip_prefix("RssAnon:").or_else(|| line.strip_prefix("RssShmem:")))
        .filter_map(|value| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_memory_that_cannot_be_dropped_counts() {
        let status =
            "VmRSS:\t  900 kB\nRssAnon:\t     100 kB\nRssFile:\t     700 kB\nRssShmem:\t     20 kB\n";
        assert_eq!(resident_bytes(status), 120 * 1024);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(memory_in_use() > 0);
    }
}
