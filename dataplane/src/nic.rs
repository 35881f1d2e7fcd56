//! What the kernel says of a network interface, asked in the calling thread's network namespace (sysfs
//! would answer for the namespace in which it was mounted).

mod facts;

pub use facts::Facts;
use rustix::net::netdevice::name_to_index;
use socket2::{Domain, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;

/// `ETHTOOL_GCHANNELS`, `linux/ethtool.h`: how many queues there are.
const ETHTOOL_GCHANNELS: u32 = 0x3c;
/// `ETHTOOL_GET_TS_INFO`, `linux/ethtool.h`: which clock stamps its packets.
const ETHTOOL_GET_TS_INFO: u32 = 0x41;

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    cmd: u32,
    max: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// `struct ethtool_ts_info`.
#[repr(C)]
#[derive(Default)]
struct TimestampInfo {
    cmd: u32,
    so_timestamping: u32,
    phc_index: i32,
    tx_types: u32,
    tx_reserved: [u32; 3],
    rx_filters: u32,
    rx_reserved: [u32; 3],
}

/// The interface's index.
///
/// # Errors
/// When there is no such interface; the message names those there are.
pub fn index(name: &str) -> io::Result<u32> {
    let socket = socket()?;
    name_to_index(&socket, name).map_err(|_| {
        let there: Vec<String> = counters_of_all().into_keys().collect();
        let message = format!("there is no interface {name:?} here; there are: {}", there.join(", "));
        io::Error::new(io::ErrorKind::NotFound, message)
    })
}

/// How many receive queues it has now; 1 where the driver does not say.
pub fn receive_queues(name: &str) -> u32 {
    let mut channels = Channels { cmd: ETHTOOL_GCHANNELS, ..Channels::default() };
    match ethtool(name, &mut channels) {
        Ok(()) => (channels.rx + channels.combined).max(1),
        Err(_) => 1,
    }
}

/// The number N of its hardware clock `/dev/ptpN`, if it has one.
pub fn phc_index(name: &str) -> Option<u32> {
    u32::try_from(timestamp_info(name)?.phc_index).ok()
}

/// Whether it stamps received packets.
pub fn has_receive_timestamps(name: &str) -> bool {
    timestamp_info(name).is_some_and(|info| info.so_timestamping & libc::SOF_TIMESTAMPING_RX_HARDWARE != 0)
}

fn timestamp_info(name: &str) -> Option<TimestampInfo> {
    let mut info = TimestampInfo { cmd: ETHTOOL_GET_TS_INFO, ..TimestampInfo::default() };
    ethtool(name, &mut info).ok()?;
    Some(info)
}

/// The interface's own receive counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct NicCounters {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bad packets received.
    pub rx_errors: u64,
    /// Dropped by driver or kernel, for want of a buffer or a taker.
    pub rx_dropped: u64,
    /// FIFO overruns.
    pub rx_fifo: u64,
    /// Framing errors.
    pub rx_frame: u64,
}

/// The counters of every interface of the namespace.
pub fn counters_of_all() -> BTreeMap<String, NicCounters> {
    // Of the calling thread's namespace; /proc/net would be the main thread's.
    std::fs::read_to_string("/proc/thread-self/net/dev").map(|text| parse(&text)).unwrap_or_default()
}

/// Two lines of headings, then `name: bytes packets errs drop fifo frame …` for each interface.
fn parse(text: &str) -> BTreeMap<String, NicCounters> {
    let line = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let mut numbers = numbers.split_whitespace().map(|number| number.parse::<u64>().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        let counters = NicCounters {
            rx_bytes: next(),
            rx_packets: next(),
            rx_errors: next(),
            rx_dropped: next(),
            rx_fifo: next(),
            rx_frame: next(),
        };
        Some((name.trim().to_owned(), counters))
    };
    text.lines().skip(2).filter_map(line).collect()
}

fn socket() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::DGRAM, None)
}

/// `SIOCETHTOOL`; `request` begins with its command.
fn ethtool<T>(name: &str, request: &mut T) -> io::Result<()> {
    let mut ifreq = ifreq(name)?;
    ifreq.ifr_ifru.ifru_data = std::ptr::from_mut(request).cast();
    // SAFETY: the kernel reads and writes the request, whose layout is the one its command names, and which lives through
    // the call.
    unsafe { ioctl(libc::SIOCETHTOOL, &mut ifreq) }
}

/// A request about an interface, all zero but for its name.
fn ifreq(name: &str) -> io::Result<libc::ifreq> {
    if name.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: all-zero is a valid ifreq.
    let mut ifreq: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in ifreq.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(ifreq)
}

/// Asks the kernel about an interface.
///
/// # Safety
/// A pointer in `ifreq` must be one that this request may read and write through.
unsafe fn ioctl(request: libc::Ioctl, ifreq: &mut libc::ifreq) -> io::Result<()> {
    let socket = socket()?;
    // SAFETY: the ifreq lives through the call; the caller answers for a pointer in it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request, std::ptr::from_mut(ifreq)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_an_index_one_queue_and_no_clock() {
        if !lab::network::require_sound_kernel("loopback_has_an_index_one_queue_and_no_clock") {
            return;
        }
        assert_eq!(index("lo").unwrap(), 1);
        assert_eq!(receive_queues("lo"), 1);
        assert_eq!(phc_index("lo"), None);
        assert!(counters_of_all().contains_key("lo"));
    }

    #[test]
    fn an_interface_that_is_not_there_is_refused_with_those_that_are() {
        for name in ["no-such-thing", "", "a-name-that-no-interface-could-have"] {
            let message = index(name).unwrap_err().to_string();
            assert!(message.contains("there are: ") && message.contains("lo"), "{message}");
        }
    }

    #[test]
    fn a_line_of_counters_is_read_by_its_columns() {
        let text = "head\nhead\n  eth0: 10 2 3 4 5 6 7 8 0 0\nbad\n lo:1\n";
        let all = parse(text);
        let eth0 =
            NicCounters { rx_bytes: 10, rx_packets: 2, rx_errors: 3, rx_dropped: 4, rx_fifo: 5, rx_frame: 6 };
        assert_eq!(all["eth0"], eth0);
        assert_eq!(all["lo"], NicCounters { rx_bytes: 1, ..NicCounters::default() });
        assert_eq!(all.len(), 2);
    }
}
