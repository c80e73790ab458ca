//! The guest's end of the way out: connections of commands to a port of the loopback interface, passed on as streams.
//! Decides nothing, reads nothing into the bytes and never waits for either side.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    ops::Bound,
    os::fd::AsFd,
};

use nix::poll::{PollFd, PollFlags};

use crate::{
    guest::channel::{Channel, is_patience},
    launcher::{During, fault},
    wire::{
        EGRESS_CHUNK_BYTES, EGRESS_PORT, EGRESS_STREAMS, EGRESS_WINDOW_BYTES, Failure, Frame, Kind, Stage,
    },
};

/// Bytes taken from connections at one time, so that each of them has its turn.
const SHARE_BYTES: usize = 4 * EGRESS_CHUNK_BYTES;

/// Bytes the command must have taken before the host is told that it may send more.
const GRANT_BYTES: usize = EGRESS_WINDOW_BYTES / 4;

/// Who is the first to use the channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Turn {
    /// The command's output.
    #[default]
    Command,
    /// Connections.
    Egress,
}

impl Turn {
    /// Whose turn it is; the next time it is the other one's.
    pub(super) fn pass(&mut self) -> Self {
        let now = *self;
        *self = if now == Self::Command { Self::Egress } else { Self::Command };
        now
    }
}

/// The way out, or that there is none.
#[derive(Debug, Default)]
pub(super) struct Egress {
    listener: Option<TcpListener>,
    streams: BTreeMap<u32, Stream>,
    /// The number of the newest stream.
    newest: u32,
    /// The stream that had its turn last.
    served: u32,
}

/// One connection of a command.
#[derive(Debug)]
struct Stream {
    socket: TcpStream,
    /// Bytes from the host that the command has not taken yet.
    inward: VecDeque<u8>,
    /// Bytes the host may still be sent.
    credit: usize,
    /// Bytes the command took that the host does not know of.
    taken: usize,
    /// The command says no more.
    said_all: bool,
    /// The host says no more.
    heard_all: bool,
    /// The command knows that the host says no more.
    told: bool,
}

/// What became of a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Open,
    Over,
    Broken,
}

impl Egress {
    /// Takes connections from now on. Done before any command runs, so that none can be there first.
    pub(super) fn listen() -> Result<Self, Failure> {
        let what = "the way out cannot be opened";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, EGRESS_PORT)).during(Stage::Network, what)?;
        listener.set_nonblocking(true).during(Stage::Network, what)?;
        Ok(Self { listener: Some(listener), ..Self::default() })
    }

    /// What there is to wait for, depending on whether the channel takes more.
    pub(super) fn awaited(&self, room: bool) -> impl Iterator<Item = PollFd<'_>> {
        let listener = self.listener.as_ref().filter(|_| room && self.streams.len() < EGRESS_STREAMS);
        let streams = self.streams.values().filter_map(move |stream| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, room && stream.credit > 0 && !stream.said_all);
            flags.set(PollFlags::POLLOUT, !stream.inward.is_empty());
            (!flags.is_empty()).then(|| PollFd::new(stream.socket.as_fd(), flags))
        });
        listener.map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)).into_iter().chain(streams)
    }

    /// What the host says about a stream. One that is over needs it no more.
    pub(super) fn handle(&mut self, frame: &Frame) -> Result<(), Failure> {
        let Some(stream) = self.streams.get_mut(&frame.stream) else { return Ok(()) };
        match frame.kind {
            Kind::EgressData => stream.inward.extend(&frame.payload),
            Kind::EgressCredit => {
                let granted = frame.payload.first_chunk().map(|bytes| u32::from_le_bytes(*bytes) as usize);
                let granted = granted.ok_or_else(|| fault(Stage::Protocol, "a grant without an amount"))?;
                stream.credit = stream.credit.saturating_add(granted).min(EGRESS_WINDOW_BYTES);
            }
            Kind::EgressClose => stream.heard_all = true,
            _ => drop(self.streams.remove(&frame.stream)),
        }
        Ok(())
    }

    /// Moves bytes in both directions as far as they go now, beginning behind the stream that was served last.
    pub(super) fn pump(&mut self, channel: &mut Channel) -> Result<(), Failure> {
        self.accept(channel)?;
        let mut share = SHARE_BYTES;
        let behind = self.streams.range((Bound::Excluded(self.served), Bound::Unbounded));
        let order: Vec<u32> =
            behind.chain(self.streams.range(..=self.served)).map(|(number, _)| *number).collect();
        for number in order {
            let Some(stream) = self.streams.get_mut(&number) else { continue };
            let before = share;
            let left = stream.pump(number, channel, &mut share);
            if share < before {
                self.served = number;
            }
            if left == Left::Broken {
                channel.send(Kind::EgressReset, number, &[]);
            }
            if left != Left::Open {
                self.streams.remove(&number);
            }
        }
        Ok(())
    }

    fn accept(&mut self, channel: &mut Channel) -> Result<(), Failure> {
        while self.streams.len() < EGRESS_STREAMS && channel.has_room() {
            let Some(listener) = &self.listener else { return Ok(()) };
            // A connection that is gone already, or none.
            let Ok((socket, _)) = listener.accept() else { return Ok(()) };
            if socket.set_nonblocking(true).is_err() {
                continue;
            }
            self.newest = self
                .newest
                .checked_add(1)
                .ok_or_else(|| fault(Stage::Protocol, "there are no more numbers for connections"))?;
            let stream = Stream {
                socket,
                inward: VecDeque::new(),
                credit: EGRESS_WINDOW_BYTES,
                taken: 0,
                said_all: false,
                heard_all: false,
                told: false,
            };
            self.streams.insert(self.newest, stream);
            channel.send(Kind::EgressOpen, self.newest, &[]);
        }
        Ok(())
    }

    /// Drops every connection, those that nobody took up among them.
    pub(super) fn forget(&mut self) {
        self.streams.clear();
        if let Some(listener) = &self.listener {
            while listener.accept().is_ok() {}
        }
    }
}

impl Stream {
    fn pump(&mut self, number: u32, channel: &mut Channel, share: &mut usize) -> Left {
        while !self.inward.is_empty() {
            let (front, _) = self.inward.as_slices();
            match self.socket.write(front) {
                Ok(count) => {
                    self.taken += count;
                    self.inward.drain(..count);
                }
                Err(error) if is_patience(&error) => break,
                Err(_) => return Left::Broken,
            }
        }
        if self.taken >= GRANT_BYTES || (self.taken > 0 && self.inward.is_empty()) {
            let granted = u32::try_from(self.taken).unwrap_or(u32::MAX).to_le_bytes();
            channel.send(Kind::EgressCredit, number, &granted);
            self.taken = 0;
        }
        if self.heard_all && !self.told && self.inward.is_empty() {
            self.told = true;
            if self.socket.shutdown(Shutdown::Write).is_err() {
                // The command has gone away first.
                return if self.said_all { Left::Over } else { Left::Broken };
            }
        }
        let mut buffer = [0; EGRESS_CHUNK_BYTES];
        let most = self.credit.min(*share).min(EGRESS_CHUNK_BYTES);
        if !self.said_all && most > 0 && channel.has_room() {
            match self.socket.read(buffer.get_mut(..most).unwrap_or_default()) {
                Ok(0) => {
                    self.said_all = true;
                    channel.send(Kind::EgressClose, number, &[]);
                }
                Ok(count) => {
                    self.credit -= count;
                    *share -= count;
                    channel.send(Kind::EgressData, number, buffer.get(..count).unwrap_or_default());
                }
                Err(error) if is_patience(&error) => {}
                Err(_) => return Left::Broken,
            }
        }
        if self.said_all && self.told { Left::Over } else { Left::Open }
    }
}
