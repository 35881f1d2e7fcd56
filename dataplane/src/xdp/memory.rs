//! The UMEM: one block of memory, cut into chunks of a page, into which the kernel writes packets.
//!
//! A block is handed out once, whole, as [`Lease`]s, one for each socket; it is unmapped with the last of
//! them. A lease owns its chunks for good: a packet received on a socket goes back to that socket's fill
//! ring, so one queue cannot starve another, and a ring as large as the lease can never be full.
//!
//! Who may touch a chunk is a matter of tokens. A [`Frame`] exists at most once for a chunk, cannot be
//! copied, and is what reading and writing need; lending the chunk to the kernel consumes it and marks the
//! chunk in the lease's ledger, and only a marked chunk that the kernel gives back makes a new one.

use super::fallback::Fallback;
use super::system::{self, PageKind};
use super::{OpenError, numa};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a chunk: a page, the largest that AF_XDP takes. It bounds the frame: see [`FRAME_BYTES_MAX`].
pub const CHUNK_BYTES: u32 = 4096;
/// What the kernel leaves in front of every packet, bytes (`XDP_PACKET_HEADROOM`).
const KERNEL_HEADROOM_BYTES: u32 = 256;
/// Headroom of our own, bytes: puts the metadata at the start of a cache line, so that it shares the line
/// with the Ethernet and IPv4 headers.
pub(crate) const HEADROOM_BYTES: u32 = ebpf::Metadata::BYTES as u32;
/// The longest Ethernet frame that fits in a chunk, bytes.
pub const FRAME_BYTES_MAX: u32 = CHUNK_BYTES - KERNEL_HEADROOM_BYTES - HEADROOM_BYTES;

/// What the memory is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRequest {
    /// Ask for reserved huge pages (2 MiB).
    pub huge_pages: bool,
    /// The core of the worker that will read the packets: the memory comes from its NUMA node.
    pub core: Option<usize>,
}

/// The mapped block. Its chunks are touched through leases only.
#[derive(Debug)]
struct Block {
    start: NonNull<u8>,
    bytes: usize,
    /// Tells frames of different blocks apart.
    id: u32,
}

// SAFETY: the block is plain memory; who may touch which chunk is decided by leases and frames, which move
// between threads as wholes.
unsafe impl Send for Block {}
// SAFETY: as above; a shared block gives out addresses, not accesses.
unsafe impl Sync for Block {}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `allocate` with this start and length, and with the last lease
        // gone nothing refers to it. The kernel holds its own references to pages it still writes.
        unsafe { system::unmap(self.start, self.bytes) };
    }
}

/// Allocates a block and hands it out as `leases` leases of `chunks` chunks.
///
/// # Errors
/// There is not that much memory, or nothing was asked for.
pub fn allocate(
    leases: u32,
    chunks: u32,
    request: MemoryRequest,
    fallbacks: &mut Vec<Fallback>,
) -> Result<Vec<Lease>, OpenError> {
    static NEXT_ID: AtomicU32 = AtomicU32::new(0);
    let bytes = leases
        .checked_mul(chunks)
        .filter(|total| *total > 0)
        .map(|total| total as usize * CHUNK_BYTES as usize)
        .ok_or(OpenError::BadConfiguration("the packet memory needs 1 to 2^32 frames"))?;
    let (start, bytes, kind) = system::map_packet_memory(bytes, request.huge_pages)?;
    let block = Arc::new(Block { start, bytes, id: NEXT_ID.fetch_add(1, Ordering::Relaxed) });
    if let PageKind::Ordinary { refused: Some(reason) } = kind {
        fallbacks.push(Fallback { wanted: "huge pages for the packet memory".into(), reason });
    }
    if let Some(core) = request.core {
        numa::place_near(core, block.start, block.bytes, fallbacks);
    }
    Ok((0..leases).map(|index| Lease::new(Arc::clone(&block), index * chunks, chunks)).collect())
}

/// The token of a chunk that user space owns. Dropping it elsewhere than into its lease or a ring keeps the
/// chunk out of use, and counted as held, until the socket closes with its lease.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a frame that is not given back is out of use"]
pub struct Frame {
    chunk: u32,
    block: u32,
}

/// A packet that the kernel put into a frame: the frame, and where in it the packet is.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a packet's frame that is not given back is out of use"]
pub struct Received {
    frame: Frame,
    /// Start of the packet, bytes from the start of the chunk.
    offset: u32,
    /// Length of the packet.
    bytes: u32,
}

impl Received {
    /// Gives up the packet, keeps the frame.
    #[inline]
    pub fn into_frame(self) -> Frame {
        self.frame
    }
}

/// A socket's share of a block: its chunks, which of them are free, and which are with the kernel.
#[derive(Debug)]
pub struct Lease {
    block: Arc<Block>,
    first: u32,
    chunks: u32,
    /// Chunks that are neither with the kernel nor with a holder of a token.
    free: Vec<u32>,
    /// The ledger: a bit for each chunk, set while the kernel has it.
    lent: Box<[u64]>,
    lent_count: u32,
}

impl Lease {
    fn new(block: Arc<Block>, first: u32, chunks: u32) -> Self {
        // The last in is the first out: low addresses are used first.
        let free = (first..first + chunks).rev().collect();
        let lent = vec![0; chunks.div_ceil(64) as usize].into_boxed_slice();
        Self { block, first, chunks, free, lent, lent_count: 0 }
    }

    /// How many chunks this lease has.
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Chunks that are not free: with the kernel or with a holder of a token.
    pub fn outstanding(&self) -> u32 {
        self.chunks - self.free.len() as u32
    }

    /// Chunks that are with the kernel.
    pub fn lent(&self) -> u32 {
        self.lent_count
    }

    /// Chunks for which somebody holds a token, or dropped it.
    pub fn held(&self) -> u32 {
        self.outstanding() - self.lent_count
    }

    /// Takes a free frame.
    #[inline]
    pub fn take(&mut self) -> Option<Frame> {
        let chunk = self.free.pop()?;
        Some(Frame { chunk, block: self.block.id })
    }

    /// Gives a frame back.
    ///
    /// # Errors
    /// It is another lease's: gives it back.
    #[inline]
    pub fn give(&mut self, frame: Frame) -> Result<(), Frame> {
        if !self.owns(&frame) {
            return Err(frame);
        }
        self.free.push(frame.chunk);
        Ok(())
    }

    /// The packet's bytes.
    ///
    /// # Panics
    /// The packet is of another lease.
    #[inline]
    pub fn packet<'a>(&'a self, received: &'a Received) -> &'a [u8] {
        self.view(received, 0)
    }

    /// The packet's bytes with `front_bytes` before them, which the kernel copied along when there was
    /// metadata.
    ///
    /// # Panics
    /// The packet is of another lease.
    #[inline]
    pub(crate) fn view<'a>(&'a self, received: &'a Received, front_bytes: u32) -> &'a [u8] {
        assert!(self.owns(&received.frame), "a packet is read through the lease it belongs to");
        let front = front_bytes.min(received.offset);
        let start = received.frame.chunk as usize * CHUNK_BYTES as usize + (received.offset - front) as usize;
        // SAFETY: `regain` checked that offset and length are within the chunk, which is within the block.
        // The token says that the chunk is not with the kernel, and writing would need it mutably.
        unsafe {
            std::slice::from_raw_parts(
                self.block.start.as_ptr().add(start),
                (received.bytes + front) as usize,
            )
        }
    }

    /// The whole chunk, to be written.
    ///
    /// # Panics
    /// The frame is of another lease.
    pub fn chunk_mut<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        assert!(self.owns(frame), "a frame is written through the lease it belongs to");
        let start = frame.chunk as usize * CHUNK_BYTES as usize;
        // SAFETY: the chunk is within the block, the token says that it is not with the kernel, and it is
        // borrowed mutably, as nothing else can be for this chunk.
        unsafe { std::slice::from_raw_parts_mut(self.block.start.as_ptr().add(start), CHUNK_BYTES as usize) }
    }

    #[inline]
    fn owns(&self, frame: &Frame) -> bool {
        frame.block == self.block.id && frame.chunk.wrapping_sub(self.first) < self.chunks
    }

    /// Hints the processor that a packet at this address will be read soon.
    #[inline]
    pub(crate) fn prefetch(&self, address: u64) {
        if address < self.block.bytes as u64 {
            // SAFETY: the address is within the block.
            system::prefetch(unsafe { self.block.start.as_ptr().add(address as usize) });
        }
    }

    /// The address by which the kernel knows a frame, for `send` to put into a ring; if that works, the
    /// frame is with the kernel.
    ///
    /// # Errors
    /// The frame is of another lease, or the ring is full: gives the frame back.
    #[inline]
    pub(crate) fn lend(
        &mut self,
        frame: Frame,
        send: impl FnOnce(u64) -> Result<(), ()>,
    ) -> Result<(), Frame> {
        if !self.owns(&frame) || send(u64::from(frame.chunk) * u64::from(CHUNK_BYTES)).is_err() {
            return Err(frame);
        }
        let index = frame.chunk - self.first;
        self.lent[(index / 64) as usize] |= 1 << (index % 64);
        self.lent_count += 1;
        Ok(())
    }

    /// A packet that the kernel gives back in a lent chunk. `None` when it has no such chunk of ours, or
    /// the packet is not within it: the kernel would be wrong, and nothing is touched.
    #[inline]
    pub(crate) fn regain(&mut self, address: u64, bytes: u32) -> Option<Received> {
        let chunk = u32::try_from(address / u64::from(CHUNK_BYTES)).ok()?;
        let offset = (address % u64::from(CHUNK_BYTES)) as u32;
        let index = chunk.wrapping_sub(self.first);
        if index >= self.chunks || bytes > CHUNK_BYTES - offset {
            return None;
        }
        let word = &mut self.lent[(index / 64) as usize];
        let bit = 1 << (index % 64);
        if *word & bit == 0 {
            return None;
        }
        *word &= !bit;
        self.lent_count -= 1;
        Some(Received { frame: Frame { chunk, block: self.block.id }, offset, bytes })
    }

    /// The block, as the kernel wants it described.
    pub(crate) fn registration(&self) -> rustix::net::xdp::XdpUmemReg {
        rustix::net::xdp::XdpUmemReg {
            addr: self.block.start.as_ptr() as u64,
            len: self.block.bytes as u64,
            chunk_size: CHUNK_BYTES,
            headroom: HEADROOM_BYTES,
            flags: rustix::net::xdp::XdpUmemRegFlags::empty(),
            tx_metadata_len: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: MemoryRequest = MemoryRequest { huge_pages: false, core: None };

    fn leases(count: u32, chunks: u32) -> Vec<Lease> {
        allocate(count, chunks, PLAIN, &mut Vec::new()).unwrap()
    }

    #[test]
    fn every_chunk_is_handed_out_once_and_all_come_back() {
        let mut both = leases(2, 100);
        let (mut right, mut left) = (both.pop().unwrap(), both.pop().unwrap());
        let mut seen = std::collections::HashSet::new();
        let mut frames = Vec::new();
        for lease in [&mut left, &mut right] {
            while let Some(frame) = lease.take() {
                assert!(seen.insert(frame.chunk));
                frames.push(frame);
            }
        }
        assert_eq!((seen.len(), left.outstanding(), right.outstanding()), (200, 100, 100));
        for frame in frames {
            let frame = match left.give(frame) {
                Ok(()) => continue,
                Err(frame) => frame,
            };
            right.give(frame).unwrap();
        }
        assert_eq!((left.outstanding(), right.outstanding()), (0, 0));
    }

    #[test]
    fn a_frame_of_another_block_is_refused_everywhere() {
        let (mut here, mut there) = (leases(1, 4).remove(0), leases(1, 4).remove(0));
        let frame = there.take().unwrap();
        let frame = here.give(frame).unwrap_err();
        let frame = here.lend(frame, |_| panic!("must not reach the ring")).unwrap_err();
        there.give(frame).unwrap();
    }

    #[test]
    fn a_full_ring_gives_the_frame_back() {
        let mut lease = leases(1, 4).remove(0);
        let frame = lease.take().unwrap();
        let frame = lease.lend(frame, |_| Err(())).unwrap_err();
        assert_eq!(lease.lent(), 0);
        lease.give(frame).unwrap();
        assert_eq!(lease.outstanding(), 0);
    }

    #[test]
    fn the_kernel_can_give_back_only_what_it_has() {
        let mut lease = leases(1, 70).remove(0);
        let mut addresses = Vec::new();
        for _ in 0..70 {
            let frame = lease.take().unwrap();
            lease
                .lend(frame, |address| {
                    addresses.push(address);
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!((lease.lent(), lease.outstanding()), (70, 70));
        let last = *addresses.last().unwrap();
        let received = lease.regain(last + 288, 100).unwrap();
        assert_eq!(lease.packet(&received).len(), 100);
        assert_eq!(lease.regain(last + 288, 100), None, "twice");
        assert_eq!(lease.regain(70 * 4096, 1), None, "past the lease");
        assert_eq!(lease.regain(u64::MAX, 1), None, "past everything");
        assert_eq!(lease.regain(addresses[0] + 4000, 97), None, "past the chunk");
        assert!(lease.regain(addresses[0] + 4000, 96).is_some());
        lease.give(received.into_frame()).unwrap();
        assert_eq!((lease.lent(), lease.outstanding()), (68, 69), "one token was dropped above");
    }

    #[test]
    fn metadata_in_front_is_seen_only_as_far_as_the_chunk_goes() {
        let mut lease = leases(1, 2).remove(0);
        let frame = lease.take().unwrap();
        lease.lend(frame, |_| Ok(())).unwrap();
        let received = lease.regain(16, 10).unwrap();
        assert_eq!(lease.view(&received, 32).len(), 26);
        assert_eq!(lease.packet(&received).len(), 10);
    }

    #[test]
    fn a_chunk_can_be_written_and_no_memory_is_refused() {
        let mut lease = leases(1, 2).remove(0);
        let mut frame = lease.take().unwrap();
        lease.chunk_mut(&mut frame).fill(7);
        lease.give(frame).unwrap();
        assert!(matches!(allocate(0, 8, PLAIN, &mut Vec::new()), Err(OpenError::BadConfiguration(_))));
        assert!(matches!(allocate(2, u32::MAX, PLAIN, &mut Vec::new()), Err(OpenError::BadConfiguration(_))));
    }
}
