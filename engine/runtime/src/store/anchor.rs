//! Anchors: beside the journal, one small file for each run that names the last event known to be on the disk. SQLite
//! drops the damaged end of its log without a word; what an anchor names must still be there.
//! It must never name an event that a power loss could still take.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::chain::{Break, Head};
use super::digest::Digest;
use super::fault::Fault;
use super::open::{Store, SyncLevel};

/// The folder of anchors in a state folder.
pub const ANCHORS_FOLDER: &str = "heads";

/// Which appends a power loss may take, as an anchor says it.
const DURABLE: &str = "full";
const SINCE_BOOT: &str = "boot";
/// Reads of a record that another process writes meanwhile may be torn; they are tried again.
const READS: usize = 5;

/// A run that has an anchor and is not in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostRun {
    /// Its id.
    pub id: String,
    /// The last event it is known to have had.
    pub seq: u64,
}

/// The anchors of a state folder.
#[derive(Debug)]
pub(super) struct Anchors {
    root: PathBuf,
    sync: SyncLevel,
    boot: Option<String>,
}

/// What an anchor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Anchored {
    /// Nothing: there is none, or a power loss may rightly have taken what it names.
    Nothing,
    /// The run had this event, and it was durable.
    At(Head),
    /// The file is there and is no anchor.
    Unreadable(PathBuf),
}

impl Anchors {
    pub(super) fn of(dir: &Path, sync: SyncLevel) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let boot = boot.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty() && !id.contains(' '));
        Self { root: dir.join(ANCHORS_FOLDER), sync, boot }
    }

    /// Notes that `head` is durable, as far as the level of syncing says. Costs one write and no sync: an anchor may
    /// stay behind the journal.
    pub(super) fn note(&self, open: &mut HashMap<String, File>, run: &str, head: Head) -> io::Result<()> {
        if !open.contains_key(run) {
            if !self.root.is_dir() {
                DirBuilder::new().recursive(true).mode(0o700).create(&self.root)?;
            }
            let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
            let path = self.path(run);
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
            open.insert(run.to_owned(), options.open(path)?);
        }
        let Some(file) = open.get(run) else { return Ok(()) };
        // One write below the size of a sector, always of the same length, so that it is whole or not there.
        file.write_all_at(self.record(run, head).as_bytes(), 0)
    }

    /// What the anchor of `run` says. To compare it with the journal, read it first and the journal afterwards.
    pub(super) fn read(&self, run: &str) -> Result<Anchored, Fault> {
        let path = self.path(run);
        for _ in 0..READS {
            let text = match fs::read(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Anchored::Nothing),
                other => other.map_err(|e| Fault::io(&path, e))?,
            };
            // A power loss may leave a file that was just made without its content.
            if text.iter().all(|byte| *byte == 0) {
                return Ok(Anchored::Nothing);
            }
            if let Some((_, anchored)) = self.parse(&text).filter(|(id, _)| id == run) {
                return Ok(anchored);
            }
        }
        Ok(Anchored::Unreadable(path))
    }

    /// The runs that have an anchor, in the order of their ids.
    pub(super) fn runs(&self) -> Result<Vec<LostRun>, Fault> {
        let entries = match fs::read_dir(&self.root) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|e| Fault::io(&self.root, e))?,
        };
        let mut runs = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| Fault::io(&self.root, e))?.path();
            let text = fs::read(&path).map_err(|e| Fault::io(&path, e))?;
            if let Some((id, Anchored::At(head))) = self.parse(&text) {
                runs.push(LostRun { id, seq: head.seq });
            }
        }
        runs.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(runs)
    }

    /// Ids of runs come from a file that may be damaged, so they are no names of files.
    pub(super) fn path(&self, run: &str) -> PathBuf {
        self.root.join(Digest::of(run.as_bytes()).to_string())
    }

    fn record(&self, run: &str, head: Head) -> String {
        let survives = match self.sync {
            SyncLevel::Full => DURABLE,
            SyncLevel::Normal => SINCE_BOOT,
        };
        let boot = self.boot.as_deref().unwrap_or_default();
        let said = format!("1 {:020} {} {survives} {boot:-<36}", head.seq, head.hash);
        format!("{said} {} {run}\n", sum_of(&said, run))
    }

    fn parse(&self, record: &[u8]) -> Option<(String, Anchored)> {
        let text = std::str::from_utf8(record).ok()?.strip_suffix('\n')?;
        let words: Vec<&str> = text.splitn(7, ' ').collect();
        let ["1", seq, hash, survives, boot, sum, run] = words[..] else { return None };
        let said = text.get(..text.len() - run.len() - sum.len() - 2)?;
        if sum_of(said, run).to_string() != sum {
            return None;
        }
        let head = Head { seq: seq.parse().ok()?, hash: hash.parse().ok()? };
        let anchored = match survives {
            DURABLE => Anchored::At(head),
            // What was not synced is there as long as the machine has not stopped.
            SINCE_BOOT if self.boot.as_deref() == Some(boot.trim_end_matches('-')) => Anchored::At(head),
            SINCE_BOOT => Anchored::Nothing,
            _ => return None,
        };
        Some((run.to_owned(), anchored))
    }
}

fn sum_of(said: &str, run: &str) -> Digest {
    Digest::of(format!("{said} {run}").as_bytes())
}

impl Anchored {
    /// Whether the journal has lost or changed what the anchor names; `hash` is that of the event of its number, if
    /// the journal, which ends at `end`, has that event. Gives the event with the reason.
    pub(super) fn contradicts(&self, end: u64, hash: Option<Digest>) -> Option<(u64, Break)> {
        match self {
            Self::Nothing => None,
            Self::Unreadable(path) => Some((end + 1, Break::Anchor(path.clone()))),
            Self::At(head) if head.seq > end => {
                Some((end + 1, Break::CutOff { expected: head.seq, found: end }))
            }
            Self::At(head) => (hash != Some(head.hash)).then_some((head.seq, Break::Rewritten)),
        }
    }

    pub(super) fn seq(&self) -> Option<u64> {
        match self {
            Self::At(head) => Some(head.seq),
            Self::Nothing | Self::Unreadable(_) => None,
        }
    }
}

impl Store {
    /// Runs that were durable in this folder once and are not in the journal any more.
    pub async fn lost_runs(&self) -> Result<Vec<LostRun>, Fault> {
        // The anchors first: a run that begins meanwhile has its row before it has an anchor.
        let anchored = self.anchors.runs()?;
        if anchored.is_empty() {
            return Ok(anchored);
        }
        let known: Vec<String> = sqlx::query_scalar("SELECT id FROM run")
            .fetch_all(&mut self.link.lock().await.sql)
            .await
            .map_err(|e| self.fault(e))?;
        let known: std::collections::HashSet<String> = known.into_iter().collect();
        Ok(anchored.into_iter().filter(|run| !known.contains(&run.id)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: u64) -> Head {
        Head { seq, hash: Digest::of(&seq.to_le_bytes()) }
    }

    #[test]
    fn an_anchor_says_what_was_noted_last() {
        let dir = tempfile::tempdir().unwrap();
        let anchors = Anchors::of(dir.path(), SyncLevel::Full);
        assert_eq!(anchors.read("run").unwrap(), Anchored::Nothing);
        let mut open = HashMap::new();
        for seq in [7, 12, u64::MAX, 3] {
            anchors.note(&mut open, "run", head(seq)).unwrap();
            assert_eq!(anchors.read("run").unwrap(), Anchored::At(head(seq)));
        }
        assert_eq!(anchors.read("other").unwrap(), Anchored::Nothing);
        anchors.note(&mut open, "a name\nlike no other", head(1)).unwrap();
        assert_eq!(anchors.read("a name\nlike no other").unwrap(), Anchored::At(head(1)));
        fs::remove_file(anchors.path("a name\nlike no other")).unwrap();
        assert_eq!(anchors.runs().unwrap(), [LostRun { id: "run".to_owned(), seq: 3 }]);
    }

    #[test]
    fn a_damaged_anchor_is_no_anchor_and_an_empty_one_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let anchors = Anchors::of(dir.path(), SyncLevel::Full);
        anchors.note(&mut HashMap::new(), "run", head(7)).unwrap();
        let path = anchors.path("run");
        let whole = fs::read(&path).unwrap();
        assert!(whole.len() < 512, "{} bytes are more than one sector", whole.len());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert_eq!(anchors.read("run").unwrap(), Anchored::Unreadable(path.clone()), "byte {at}");
        }
        for nothing in [Vec::new(), vec![0; whole.len()]] {
            fs::write(&path, nothing).unwrap();
            assert_eq!(anchors.read("run").unwrap(), Anchored::Nothing);
        }
        // The anchor of one run is none for another.
        fs::write(anchors.path("other"), &whole).unwrap();
        assert!(matches!(anchors.read("other").unwrap(), Anchored::Unreadable(_)));
    }

    #[test]
    fn what_was_not_synced_counts_until_the_machine_stops() {
        let dir = tempfile::tempdir().unwrap();
        let mut anchors = Anchors::of(dir.path(), SyncLevel::Normal);
        anchors.boot = Some("this".to_owned());
        anchors.note(&mut HashMap::new(), "run", head(7)).unwrap();
        assert_eq!(anchors.read("run").unwrap(), Anchored::At(head(7)));
        anchors.boot = Some("next".to_owned());
        assert_eq!(anchors.read("run").unwrap(), Anchored::Nothing);
        anchors.boot = None;
        assert_eq!(anchors.read("run").unwrap(), Anchored::Nothing);
    }
}
