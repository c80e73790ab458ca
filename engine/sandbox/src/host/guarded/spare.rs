//! A sandbox that waits for its first command: stopped where its backend can, and taken up again with proof that its
//! guest still answers. One that ran a command must never become a spare.

use std::time::Duration;

use tokio::time;

use super::{Guarded, State, nonce};
use crate::{host::channel::Incoming, wire::Kind};

/// Time a guest may take to answer once it is woken.
const ANSWER_TIME: Duration = Duration::from_secs(3);

impl Guarded {
    /// Sets an unused one aside, and says whether that was done. One that cannot be is ended.
    pub(in crate::host) async fn set_aside(&mut self) -> bool {
        let unused = self.state == State::Idle && self.last_stream == 0;
        // Nothing runs in it from here on until it is taken up.
        self.state = State::Busy;
        let aside = unused && self.vessel.pause().await;
        if !aside {
            self.end().await;
        }
        aside
    }

    /// Takes it up again, and says whether its guest answers. One that does not is ended.
    pub(in crate::host) async fn take_up(&mut self) -> bool {
        let answers = async { self.vessel.resume().await && self.answers().await };
        let fit = time::timeout(ANSWER_TIME, answers).await.unwrap_or(false);
        if fit {
            self.state = State::Idle;
        } else {
            self.end().await;
        }
        fit
    }

    /// Whether the next word of the guest is the number it is given now. It was never asked for anything else.
    async fn answers(&mut self) -> bool {
        let number = nonce().to_le_bytes();
        if self.writer.queue(Kind::Ping, 0, &number).is_err() {
            return false;
        }
        self.writer.flush().await;
        matches!(
            self.reader.next().await,
            Ok(Incoming::Frame(frame)) if frame.kind == Kind::Pong && frame.payload == number
        )
    }
}
