//! A disk between host and machine, as the guest reads and writes it: past the kernel's cache.
//! The other side changes it meanwhile, so nothing read earlier may be given again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use super::tree::{Label, STREAM_AT};

/// Bytes moved at once.
const PIECE: usize = 1 << 20;

/// What the kernel wants such transfers to begin and end at.
const ALIGNMENT: usize = 4096;

/// The disk of this name.
pub(super) fn named(name: &str) -> io::Result<PathBuf> {
    for entry in fs::read_dir("/sys/block")?.flatten() {
        if fs::read_to_string(entry.path().join("serial")).is_ok_and(|serial| serial.trim() == name) {
            return Ok(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("the machine has no disk `{name}`")))
}

/// Memory that begins where such transfers may.
#[derive(Debug)]
struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new() -> Self {
        let memory = vec![0; PIECE + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, start }
    }

    fn piece(&self) -> &[u8] {
        self.memory.get(self.start..self.start + PIECE).unwrap_or_default()
    }

    fn piece_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + PIECE).unwrap_or_default()
    }
}

fn open(name: &str, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags(libc::O_DIRECT | libc::O_CLOEXEC).open(named(name)?)
}

/// Opens the disk of this name, for a [`Writer`].
pub(super) fn open_to_write(name: &str) -> io::Result<File> {
    open(name, OpenOptions::new().read(true).write(true))
}

/// Reads a disk.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    buffer: Aligned,
    at: usize,
    filled: usize,
}

impl Reader {
    /// Opens the disk of this name.
    pub(super) fn open(name: &str) -> io::Result<Self> {
        Ok(Self {
            file: open(name, OpenOptions::new().read(true))?,
            buffer: Aligned::new(),
            at: 0,
            filled: 0,
        })
    }

    /// The label as it is now. Afterwards the stream is read from its beginning.
    pub(super) fn label(&mut self) -> io::Result<Label> {
        self.file.seek(SeekFrom::Start(0))?;
        let block = self.buffer.piece_mut().get_mut(..STREAM_AT as usize).unwrap_or_default();
        self.file.read_exact(block)?;
        let label = Label::from_block(block)?;
        (self.at, self.filled) = (0, 0);
        Ok(label)
    }
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.filled {
            self.filled = self.file.read(self.buffer.piece_mut())?;
            self.at = 0;
        }
        let rest = self.buffer.piece().get(self.at..self.filled).unwrap_or_default();
        let count = rest.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}

/// Writes a disk.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    buffer: Aligned,
    filled: usize,
}

impl Writer {
    /// Begins a stream on a disk.
    pub(super) fn on(disk: &File) -> io::Result<Self> {
        let mut file = disk.try_clone()?;
        file.seek(SeekFrom::Start(STREAM_AT))?;
        Ok(Self { file, buffer: Aligned::new(), filled: 0 })
    }

    /// Writes what is left, then the label: a label is only ever in front of a whole stream.
    pub(super) fn finish(mut self, label: &Label) -> io::Result<()> {
        self.spill()?;
        self.file.seek(SeekFrom::Start(0))?;
        let block = label.to_block();
        let place = self.buffer.piece_mut().get_mut(..block.len()).unwrap_or_default();
        place.copy_from_slice(&block);
        self.file.write_all(place)
    }

    fn spill(&mut self) -> io::Result<()> {
        let whole = self.filled.next_multiple_of(ALIGNMENT).min(PIECE);
        let piece = self.buffer.piece_mut();
        piece.get_mut(self.filled..whole).unwrap_or_default().fill(0);
        self.file.write_all(piece.get(..whole).unwrap_or_default())?;
        self.filled = 0;
        Ok(())
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.filled == PIECE {
            self.spill()?;
        }
        let count = bytes.len().min(PIECE - self.filled);
        let filled = self.filled;
        if let (Some(to), Some(from)) =
            (self.buffer.piece_mut().get_mut(filled..filled + count), bytes.get(..count))
        {
            to.copy_from_slice(from);
        }
        self.filled += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
