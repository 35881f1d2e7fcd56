//! The system calls of this module that no library wraps, and the memory mappings. All that is unsafe about
//! talking to the kernel is in here; callers get checked values.

use super::OpenError;
use super::atomic::AtomicU32;
use super::ring::Memory;
use ebpf::Errno;
use ebpf::diagnose::Phase;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::net::xdp::{XdpRingFlags, XdpRingOffset};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::Ordering;

const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Newer than the system headers that some machines build with.
const SO_BUSY_POLL: libc::c_int = 46;
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

/// Which pages a mapping got.
pub(super) enum PageKind {
    /// Reserved huge pages.
    Huge,
    /// Ordinary ones; why, if huge ones were asked for.
    Ordinary {
        /// Why not huge ones.
        refused: Option<String>,
    },
}

/// The library's error number with the phase it happened in.
pub(super) fn errno(phase: Phase, error: rustix::io::Errno) -> Errno {
    Errno { number: error.raw_os_error(), phase }
}

/// Maps at least `bytes` of private memory. Returns the start, the length really mapped, and the pages.
pub(super) fn map_packet_memory(
    bytes: usize,
    huge: bool,
) -> Result<(NonNull<u8>, usize, PageKind), OpenError> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    let mut refused = None;
    if huge {
        let rounded = bytes.next_multiple_of(HUGE_PAGE_BYTES);
        match map(rounded, MapFlags::PRIVATE | MapFlags::HUGETLB) {
            Ok(start) => return Ok((start, rounded, PageKind::Huge)),
            Err(error) => {
                refused = Some(format!(
                    "{error}: {} of 2 MiB are needed (`sysctl vm.nr_hugepages`); the kernel is asked for \
                     transparent ones",
                    rounded / HUGE_PAGE_BYTES
                ));
            }
        }
    }
    let start = map(bytes, flags)
        .map_err(|error| OpenError::Memory { bytes, errno: errno(Phase::AllocateMemory, error) })?;
    if huge {
        // A wish only: without it the pages are ordinary, which was announced.
        // SAFETY: the range is the mapping just made; this advice changes no content.
        let _ = unsafe { rustix::mm::madvise(start.as_ptr().cast(), bytes, Advice::LinuxHugepage) };
    }
    Ok((start, bytes, PageKind::Ordinary { refused }))
}

fn map(bytes: usize, flags: MapFlags) -> Result<NonNull<u8>, rustix::io::Errno> {
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice replaces nothing.
    let start =
        unsafe { rustix::mm::mmap_anonymous(null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, flags)? };
    NonNull::new(start.cast()).ok_or(rustix::io::Errno::NOMEM)
}

/// Unmaps.
///
/// # Safety
/// The range is one whole mapping, and nothing refers to it any more.
pub(super) unsafe fn unmap(start: NonNull<u8>, bytes: usize) {
    // SAFETY: as the caller promises. It can only fail for a range that is no mapping.
    let _ = unsafe { rustix::mm::munmap(start.as_ptr().cast(), bytes) };
}

/// Asks for the pages of a mapping that is not touched yet to come from one NUMA node.
pub(super) fn prefer_node(start: NonNull<u8>, bytes: usize, node: u32) -> std::io::Result<()> {
    let mut mask = [0u64; 16];
    let word = mask
        .get_mut(node as usize / 64)
        .ok_or_else(|| std::io::Error::other(format!("node {node} is past what this program knows")))?;
    *word |= 1 << (node % 64);
    // SAFETY: the kernel reads the mask, which lives through the call, and changes the policy of a mapping
    // of ours, not its content.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            start.as_ptr(),
            bytes,
            libc::MPOL_PREFERRED,
            mask.as_ptr(),
            mask.len() * 64,
            0,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Hints the processor that a line will be read soon.
#[inline]
pub(super) fn prefetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch touches nothing, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// A ring of the kernel's, mapped into this process; unmapped on drop. `T` is the entry's type by the
/// kernel's header.
#[derive(Debug)]
pub(super) struct MappedRing<T> {
    start: NonNull<u8>,
    bytes: usize,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entry: NonNull<T>,
    entries: u32,
}

// SAFETY: the mapping belongs to this value alone on the side of this process and goes where it goes.
unsafe impl<T: Send> Send for MappedRing<T> {}

impl<T: Copy> MappedRing<T> {
    /// Maps the ring at `page_offset` of a socket's file, which has `entries` entries.
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        offsets: &XdpRingOffset,
        entries: u32,
    ) -> Result<Self, rustix::io::Errno> {
        let flags_offset = offsets.flags.ok_or(rustix::io::Errno::NOTSUP)?;
        let bytes = offsets.desc as usize + entries as usize * size_of::<T>();
        // SAFETY: a fresh mapping of the socket's file at an address of the kernel's choice.
        let start = unsafe {
            rustix::mm::mmap(
                null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
                socket,
                page_offset,
            )?
        };
        let start = NonNull::new(start.cast::<u8>()).ok_or(rustix::io::Errno::NOMEM)?;
        // SAFETY: the kernel told these offsets for this mapping, all within it, and aligned for what is
        // there.
        unsafe {
            Ok(Self {
                start,
                bytes,
                producer: start.add(offsets.producer as usize).cast(),
                consumer: start.add(offsets.consumer as usize).cast(),
                flags: start.add(flags_offset as usize).cast(),
                entry: start.add(offsets.desc as usize).cast(),
                entries,
            })
        }
    }

    /// Whether the kernel waits for a system call to go on with this ring.
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        // SAFETY: the flags are within the mapping and only ever touched atomically.
        let flags = unsafe { self.flags.as_ref() }.load(Ordering::Relaxed);
        flags & XdpRingFlags::XDP_RING_NEED_WAKEUP.bits() != 0
    }
}

impl<T> Drop for MappedRing<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this start and length, and the pointers into it go
        // with this value.
        unsafe { unmap(self.start, self.bytes) };
    }
}

// SAFETY: the pointers are into a mapping that lives as long as this value; the other side of the ring is
// the kernel's, and this side is the one `Producer` or `Consumer` that owns this value.
unsafe impl<T: Copy> Memory for MappedRing<T> {
    type Item = T;

    #[inline]
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: within the mapping, aligned, and only ever touched atomically.
        unsafe { self.producer.as_ref() }
    }

    #[inline]
    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: within the mapping, aligned, and only ever touched atomically.
        unsafe { self.consumer.as_ref() }
    }

    #[inline]
    fn entries(&self) -> u32 {
        self.entries
    }

    #[inline]
    unsafe fn read(&self, entry: u32) -> T {
        // SAFETY: the entry is within the mapping, and is ours to read, as the caller promises.
        unsafe { self.entry.add(entry as usize).read() }
    }

    #[inline]
    unsafe fn write(&self, entry: u32, item: T) {
        // SAFETY: the entry is within the mapping, and is ours to write, as the caller promises.
        unsafe { self.entry.add(entry as usize).write(item) }
    }
}

/// Lets the socket's owner drive the NIC: preferred busy polling, for `poll_us` µs and `budget` packets a
/// call.
pub(super) fn set_busy_poll(socket: BorrowedFd<'_>, poll_us: u32, budget: u32) -> Result<(), Errno> {
    for (option, value) in [(SO_PREFER_BUSY_POLL, 1), (SO_BUSY_POLL, poll_us), (SO_BUSY_POLL_BUDGET, budget)]
    {
        let value = value.cast_signed();
        // SAFETY: the kernel reads one int, which lives through the call.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                std::ptr::from_ref(&value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if result != 0 {
            let number = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
            return Err(Errno { number, phase: Phase::BusyPoll });
        }
    }
    Ok(())
}

/// Lets the kernel work on a socket's queue without waiting: fills buffers, or polls the NIC.
#[inline]
pub(super) fn kick_receive(socket: BorrowedFd<'_>) {
    // An error says that there was nothing to do; packets show in the ring.
    // SAFETY: no buffer is given.
    let _ = unsafe {
        libc::recvfrom(socket.as_raw_fd(), null_mut(), 0, libc::MSG_DONTWAIT, null_mut(), null_mut())
    };
}

/// Lets the kernel send what is in the transmit ring, without waiting.
#[inline]
pub(super) fn kick_transmit(socket: BorrowedFd<'_>) {
    // As above: what was sent shows in the completion ring.
    // SAFETY: no buffer is given.
    let _ = unsafe {
        libc::sendto(socket.as_raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0)
    };
}
