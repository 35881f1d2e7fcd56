//! Reads packet captures: pcap and pcapng, micro- and nanosecond, both byte orders, gzip too. The format is
//! told by the content, never by the file's name.
//!
//! A [`Capture`] hands out one borrowed [`Record`] at a time and holds no more than one block in memory
//! ([`MAX_PACKET_BYTES`]), however long the file. A cut or damaged file gives every whole record before the
//! damage, then one error that names the place, then the end.

mod input;
mod pcap;
mod pcapng;
mod writer;

pub use writer::Writer;

use input::Input;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The largest packet that a capture may hold, bytes: libpcap's own limit. A larger length field is damage.
pub const MAX_PACKET_BYTES: usize = 262_144;

/// What the first bytes of a record's frame are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkType {
    /// Ethernet (`LINKTYPE_ETHERNET`, 1).
    Ethernet,
    /// Linux cooked capture, as of the `any` device (`LINKTYPE_LINUX_SLL`, 113).
    LinuxCooked,
    /// Linux cooked capture, version 2 (`LINKTYPE_LINUX_SLL2`, 276).
    LinuxCooked2,
    /// An IP packet with nothing before it (`LINKTYPE_RAW`, 101, or `LINKTYPE_IPV4`, 228).
    RawIp,
    /// One that feedplane does not read.
    Other(u16),
}

impl LinkType {
    fn from_code(code: u16) -> LinkType {
        match code {
            1 => LinkType::Ethernet,
            113 => LinkType::LinuxCooked,
            276 => LinkType::LinuxCooked2,
            // 12 is what Linux captures said before 101 was assigned.
            12 | 101 | 228 => LinkType::RawIp,
            other => LinkType::Other(other),
        }
    }
}

/// One captured packet, borrowed until the next is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// When it was captured, ns since the Unix epoch; 0 where the file does not say (simple packet blocks).
    pub ts_ns: u64,
    /// What `frame` begins with.
    pub link: LinkType,
    /// The bytes that were kept.
    pub frame: &'a [u8],
    /// The packet's length on the wire, bytes; more than `frame` when the capture cut it.
    pub wire_bytes: u32,
}

/// How far a capture was read, in bytes of the file itself (compressed ones, where it is compressed).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes read so far.
    pub read_bytes: u64,
    /// The file's size; `None` where the source has none.
    pub total_bytes: Option<u64>,
}

/// What is wrong with a capture, and where.
#[derive(Debug, thiserror::Error)]
#[error("after {records} whole packets, at byte {offset}{}: {kind}", if *.decompressed { " (decompressed)" } else { "" })]
pub struct CaptureError {
    /// What is wrong.
    pub kind: CaptureErrorKind,
    /// Where the record or block that is not whole begins, bytes.
    pub offset: u64,
    /// The offset counts decompressed bytes.
    pub decompressed: bool,
    /// Records given out before.
    pub records: u64,
}

/// What can be wrong with a capture.
#[derive(Debug, thiserror::Error)]
pub enum CaptureErrorKind {
    /// Reading failed.
    #[error("cannot read: {0}")]
    Io(#[from] std::io::Error),
    /// The first bytes are of no known format.
    #[error("neither pcap nor pcapng")]
    UnknownFormat,
    /// The file ends inside a record.
    #[error("the file is cut: {have} of {need} bytes are there")]
    Cut {
        /// Bytes there.
        have: u64,
        /// Bytes that the record or block would have.
        need: u64,
    },
    /// A length field cannot be right.
    #[error("damaged: a length of {length} bytes")]
    BadLength {
        /// The length as it stands.
        length: u64,
    },
    /// The two length fields of a pcapng block differ.
    #[error("damaged: a block says {front} bytes at its front and {back} at its end")]
    LengthsDiffer {
        /// At the front.
        front: u32,
        /// At the end.
        back: u32,
    },
    /// A pcapng packet names an interface that was not described.
    #[error("damaged: a packet of interface {0}, which was not described")]
    UnknownInterface(u32),
    /// A pcapng section or interface says something that cannot be.
    #[error("damaged: {0}")]
    BadBlock(&'static str),
}

enum Format {
    Pcap(pcap::Pcap),
    Pcapng(pcapng::Pcapng),
}

/// Where a record's packet stands in the input's buffer.
struct Found {
    ts_ns: u64,
    link: LinkType,
    wire_bytes: u32,
    frame: std::ops::Range<usize>,
    /// Bytes of the whole record or block.
    record_bytes: usize,
}

/// A capture being read.
pub struct Capture {
    input: Input,
    format: Format,
    /// Bytes of the record that was given out last, to be dropped before the next is read.
    pending_bytes: usize,
    records: u64,
    ended: bool,
    read_bytes: Arc<AtomicU64>,
    total_bytes: Option<u64>,
    compressed: bool,
}

impl Capture {
    /// Opens a capture file and reads its header.
    ///
    /// # Errors
    /// The file cannot be read or is not a capture.
    pub fn open(path: &Path) -> Result<Capture, CaptureError> {
        let fail = |error: std::io::Error| at_start(error.into());
        let file = File::open(path).map_err(fail)?;
        let total = file.metadata().map_err(fail)?;
        let mut capture = Capture::new(file)?;
        capture.total_bytes = total.is_file().then_some(total.len());
        Ok(capture)
    }

    /// Reads a capture from any source; its header at once.
    ///
    /// # Errors
    /// The source cannot be read or is not a capture.
    pub fn new(source: impl Read + Send + 'static) -> Result<Capture, CaptureError> {
        let read_bytes = Arc::new(AtomicU64::new(0));
        let counted = Counted { source, read_bytes: Arc::clone(&read_bytes) };
        let (mut input, compressed) = Input::new(counted).map_err(|error| at_start(error.into()))?;
        let format = read_format(&mut input).map_err(|kind| CaptureError {
            kind,
            offset: input.offset(),
            decompressed: compressed,
            records: 0,
        })?;
        Ok(Capture {
            input,
            format,
            pending_bytes: 0,
            records: 0,
            ended: false,
            read_bytes,
            total_bytes: None,
            compressed,
        })
    }

    /// The next packet; `None` at the end of the file, and for ever after the first error.
    ///
    /// # Errors
    /// The file is cut or damaged; all records before were whole and given out.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, CaptureError> {
        self.input.consume(std::mem::take(&mut self.pending_bytes));
        if self.ended {
            return Ok(None);
        }
        let found = match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.input),
            Format::Pcapng(pcapng) => pcapng.next(&mut self.input),
        };
        match found {
            Ok(Some(found)) => {
                self.records += 1;
                self.pending_bytes = found.record_bytes;
                let Found { ts_ns, link, wire_bytes, frame, .. } = found;
                Ok(Some(Record { ts_ns, link, frame: &self.input.buffered()[frame], wire_bytes }))
            }
            Ok(None) => {
                self.ended = true;
                Ok(None)
            }
            Err(kind) => {
                self.ended = true;
                let (offset, records) = (self.input.offset(), self.records);
                Err(CaptureError { kind, offset, decompressed: self.compressed, records })
            }
        }
    }

    /// Records given out so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// How far the file was read.
    pub fn progress(&self) -> Progress {
        Progress { read_bytes: self.read_bytes.load(Ordering::Relaxed), total_bytes: self.total_bytes }
    }
}

fn at_start(kind: CaptureErrorKind) -> CaptureError {
    CaptureError { kind, offset: 0, decompressed: false, records: 0 }
}

fn read_format(input: &mut Input) -> Result<Format, CaptureErrorKind> {
    if !input.have(4)? {
        return Err(CaptureErrorKind::UnknownFormat);
    }
    if let Some(pcap) = pcap::Pcap::read_header(input)? {
        return Ok(Format::Pcap(pcap));
    }
    match pcapng::Pcapng::recognise(input) {
        Some(pcapng) => Ok(Format::Pcapng(pcapng)),
        None => Err(CaptureErrorKind::UnknownFormat),
    }
}

/// Integers in the byte order that the file declares.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let bytes = [bytes[at], bytes[at + 1]];
        match self {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        }
    }

    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        match self {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        }
    }
}

/// Counts what is read of the file itself, beneath decompression.
struct Counted<R> {
    source: R,
    read_bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.read_bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
