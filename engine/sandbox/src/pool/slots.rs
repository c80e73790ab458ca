//! The places of a pool. Pure bookkeeping: what is in a place belongs to whoever took it out, and to nobody else.

use std::collections::VecDeque;

use tokio::task::{AbortHandle, JoinHandle};

use crate::{error::StartError, host::Spare, pool::Key};

/// One place that is taken.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) number: u64,
    pub(super) key: Key,
    /// Gives the sandbox, once it is ready.
    pub(super) making: JoinHandle<Result<Spare, StartError>>,
    /// What replaces it when its time is over.
    pub(super) renewal: AbortHandle,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// All places, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Slots {
    taken: VecDeque<Slot>,
    over: bool,
}

impl Slots {
    /// Whether one more of this kind is wanted and may be.
    pub(super) fn wants(&self, key: &Key, upto: usize, size: usize) -> bool {
        !self.over && size > 0 && self.taken.iter().filter(|slot| slot.key == *key).count() < upto
    }

    /// Puts one in, and gives what must leave for it: the oldest guess is the least likely to come true.
    #[must_use = "what leaves must be ended"]
    pub(super) fn put(&mut self, slot: Slot, size: usize) -> Vec<Slot> {
        self.taken.push_back(slot);
        let more = self.taken.len().saturating_sub(size);
        self.taken.drain(..more).collect()
    }

    /// Takes the oldest of a kind.
    pub(super) fn take(&mut self, key: &Key) -> Option<Slot> {
        let at = self.taken.iter().position(|slot| slot.key == *key)?;
        self.taken.remove(at)
    }

    /// Takes the one of this number, if it is still there.
    pub(super) fn take_number(&mut self, number: u64) -> Option<Slot> {
        let at = self.taken.iter().position(|slot| slot.number == number)?;
        self.taken.remove(at)
    }

    /// Takes everything, for good.
    pub(super) fn close(&mut self) -> Vec<Slot> {
        self.over = true;
        self.taken.drain(..).collect()
    }

    /// How many hold something that needs no more work, or failed.
    pub(super) fn ready(&self) -> usize {
        self.taken.iter().filter(|slot| slot.making.is_finished()).count()
    }

    /// How many are taken.
    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }
}
