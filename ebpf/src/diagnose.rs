//! What a bare error number of the kernel means for an operator: which capability, limit or driver feature
//! is missing, and what to do. Nothing here is on the packet's way.

use std::fmt::Write as _;

/// What was being done when the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Loading the steering program for every device.
    LoadPlain,
    /// Loading the steering program that reads the NIC's time, bound to its device.
    LoadDeviceBound,
    /// Loading another program (generator, pass).
    LoadTraffic,
    /// Attaching in the driver.
    AttachNative,
    /// Attaching in the kernel's generic hook.
    AttachGeneric,
    /// Asking the kernel in which mode a program is attached.
    ReadMode,
    /// Replacing a running program.
    ReplaceProgram,
    /// Changing the feed or socket map.
    ChangeMap,
    /// Reading a map.
    ReadMap,
    /// Running a program over test frames.
    TestRun,
    /// Opening an AF_XDP socket.
    OpenSocket,
    /// Asking for memory.
    AllocateMemory,
    /// Registering packet memory with a socket.
    RegisterMemory,
    /// Making or mapping the rings.
    MakeRings,
    /// Binding a socket to a queue with zero-copy.
    BindZeroCopy,
    /// Binding a socket to a queue with copying.
    BindCopy,
    /// Switching busy polling on.
    BusyPoll,
    /// Reading statistics or options of a socket.
    ReadSocket,
}

/// The capabilities that matter here: bit, name, what needs it.
const CAPABILITIES: [(u32, &str); 5] =
    [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (14, "CAP_IPC_LOCK"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];

/// The rights and limits of this process that decide whether XDP can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The effective capability set, one bit each; `None` when `/proc` does not say.
    pub effective: Option<u64>,
    /// How many bytes this process may lock in memory; `None` = no limit.
    pub memlock_bytes: Option<u64>,
}

impl Rights {
    /// Reads them for the calling thread.
    pub fn of_this_thread() -> Self {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let effective = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the call writes one rlimit into the one it is given.
        let known = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) } == 0;
        let unlimited = !known || limit.rlim_cur == libc::RLIM_INFINITY;
        Self { effective, memlock_bytes: (!unlimited).then_some(limit.rlim_cur) }
    }

    /// Whether a capability, by its name, is held; an unknown set counts as held.
    pub fn has(&self, name: &str) -> bool {
        let bit = CAPABILITIES.iter().find(|(_, known)| *known == name).map(|(bit, _)| *bit);
        match (self.effective, bit) {
            (Some(set), Some(bit)) => set >> bit & 1 == 1,
            _ => true,
        }
    }

    /// The capabilities of `needed` that are not held.
    pub fn missing<'n>(&self, needed: &[&'n str]) -> Vec<&'n str> {
        needed.iter().copied().filter(|name| !self.has(name)).collect()
    }

    fn memlock(&self) -> String {
        match self.memlock_bytes {
            Some(bytes) => format!("{} KiB", bytes / 1024),
            None => "unlimited".into(),
        }
    }
}

/// Explains an error number to an operator, with the rights of the calling thread.
pub fn explain(phase: Phase, errno: i32) -> String {
    explain_with(phase, errno, &Rights::of_this_thread())
}

/// Explains an error number for given rights.
pub fn explain_with(phase: Phase, errno: i32, rights: &Rights) -> String {
    let mut text = if errno == 0 {
        String::from("refused by libbpf")
    } else {
        std::io::Error::from_raw_os_error(errno).to_string()
    };
    if let Some(advice) = advice(phase, errno, rights) {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {advice}");
    }
    text
}

fn advice(phase: Phase, errno: i32, rights: &Rights) -> Option<String> {
    match errno {
        libc::EPERM | libc::EACCES => Some(missing_right(phase, rights)),
        libc::ENOBUFS if phase == Phase::RegisterMemory => Some(locked_memory(rights)),
        libc::ENOMEM if matches!(phase, Phase::RegisterMemory | Phase::AllocateMemory | Phase::MakeRings) => {
            Some("not enough free memory for the packet buffers: configure fewer frames".into())
        }
        _ => fixed_advice(phase, errno).map(String::from),
    }
}

fn missing_right(phase: Phase, rights: &Rights) -> String {
    let needed: &[&str] = match phase {
        Phase::LoadPlain | Phase::LoadDeviceBound | Phase::LoadTraffic | Phase::ReplaceProgram => {
            &["CAP_BPF", "CAP_NET_ADMIN"]
        }
        Phase::AttachNative | Phase::AttachGeneric | Phase::BusyPoll => &["CAP_NET_ADMIN"],
        Phase::ChangeMap | Phase::ReadMap | Phase::TestRun => &["CAP_BPF", "CAP_NET_ADMIN"],
        Phase::OpenSocket | Phase::BindZeroCopy | Phase::BindCopy => &["CAP_NET_RAW"],
        Phase::RegisterMemory => &["CAP_IPC_LOCK"],
        Phase::AllocateMemory | Phase::MakeRings | Phase::ReadMode | Phase::ReadSocket => &[],
    };
    let missing = rights.missing(needed);
    if missing.is_empty() {
        return "the capabilities are there, so a security module, a seccomp filter or a kernel setting \
                (kernel.unprivileged_bpf_disabled, lockdown) forbids it: see the kernel log"
            .into();
    }
    let setcap: Vec<String> = missing.iter().map(|name| name.to_lowercase()).collect();
    format!(
        "{} missing: start as root, or `setcap {}+ep` on the program, or add the capability to the \
         container's securityContext",
        missing.join(" and "),
        setcap.join(",")
    )
}

fn locked_memory(rights: &Rights) -> String {
    let limit = rights.memlock();
    if rights.has("CAP_IPC_LOCK") {
        return format!(
            "the packet memory could not be locked although CAP_IPC_LOCK is there (limit {limit}): a \
             user namespace counts against its owner's limit; raise it or configure fewer frames"
        );
    }
    format!(
        "the packet memory exceeds the limit on locked memory ({limit}) and CAP_IPC_LOCK is missing: raise \
         the limit (`ulimit -l unlimited`, LimitMEMLOCK=infinity), or grant CAP_IPC_LOCK, or configure \
         fewer frames"
    )
}

fn fixed_advice(phase: Phase, errno: i32) -> Option<&'static str> {
    Some(match (phase, errno) {
        (Phase::LoadDeviceBound, libc::EOPNOTSUPP) => {
            "the driver gives XDP programs no receive time (no XDP metadata), so packets carry no hardware \
             time"
        }
        (Phase::LoadDeviceBound, libc::EINVAL | libc::ENOENT | 0) => {
            "this kernel has no XDP receive-time function (needs Linux 6.3 with BTF), so packets carry no \
             hardware time"
        }
        (Phase::LoadPlain | Phase::LoadTraffic, libc::EINVAL) => {
            "the kernel is too old for the program (needs Linux 6.1) or its verifier refused it"
        }
        (Phase::AttachNative, libc::EOPNOTSUPP) => {
            "the driver has no XDP of its own; the generic mode works on any interface, more slowly"
        }
        (Phase::AttachNative, libc::EINVAL | libc::ERANGE) => {
            "the driver refuses XDP as the interface is set now: lower its MTU (about 3,500 bytes at most), \
             switch LRO and hardware GRO off, and leave a transmit queue per CPU (`ethtool -K`, `-L`)"
        }
        (Phase::AttachNative | Phase::AttachGeneric, libc::EBUSY | libc::EEXIST) => {
            "another XDP program is attached to the interface: `ip link show` names it, `ip link set dev … \
             xdp off` or the end of its process takes it away"
        }
        (Phase::AttachNative | Phase::AttachGeneric | Phase::ReadMode, libc::ENODEV) => {
            "there is no such interface in this network namespace"
        }
        (Phase::ReplaceProgram, libc::ENOLINK) => "the interface is gone, and the attachment with it",
        (Phase::ChangeMap, libc::E2BIG) => "the map is full",
        (Phase::OpenSocket, libc::EAFNOSUPPORT) => "the kernel was built without AF_XDP (CONFIG_XDP_SOCKETS)",
        (Phase::BindZeroCopy, libc::EOPNOTSUPP | libc::EINVAL) => {
            "the driver, or the queue as it is set, has no zero-copy; copy mode works on every driver"
        }
        (Phase::BindZeroCopy | Phase::BindCopy, libc::EBUSY) => {
            "the queue belongs to another AF_XDP socket, or to one that the kernel is still releasing"
        }
        (Phase::BindZeroCopy | Phase::BindCopy, libc::EINVAL | libc::ENODEV) => {
            "there is no such queue on the interface (`ethtool -l`), or the interface is down or gone"
        }
        (Phase::BindZeroCopy | Phase::BindCopy, libc::ENETDOWN) => {
            "the interface is down: `ip link set … up`"
        }
        (Phase::BusyPoll, libc::ENOPROTOOPT) => "the kernel has no preferred busy polling (needs Linux 5.11)",
        (Phase::AllocateMemory, libc::EINVAL) => "the size of the packet memory cannot be mapped",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Rights = Rights { effective: Some(0), memlock_bytes: Some(8 << 20) };
    const ROOT: Rights = Rights { effective: Some(u64::MAX), memlock_bytes: None };

    #[test]
    fn a_refused_right_names_the_missing_capability_and_the_command() {
        for (phase, name) in [
            (Phase::LoadPlain, "CAP_BPF and CAP_NET_ADMIN"),
            (Phase::AttachNative, "CAP_NET_ADMIN"),
            (Phase::OpenSocket, "CAP_NET_RAW"),
            (Phase::RegisterMemory, "CAP_IPC_LOCK"),
            (Phase::BusyPoll, "CAP_NET_ADMIN"),
        ] {
            let text = explain_with(phase, libc::EPERM, &NOTHING);
            assert!(text.contains(&format!("{name} missing")), "{text}");
            assert!(text.contains("setcap cap_"), "{text}");
        }
    }

    #[test]
    fn only_what_is_missing_is_named() {
        let rights = Rights { effective: Some(1 << 12), memlock_bytes: None };
        let text = explain_with(Phase::LoadPlain, libc::EPERM, &rights);
        assert!(text.contains("CAP_BPF missing") && !text.contains("CAP_NET_ADMIN"), "{text}");
    }

    #[test]
    fn a_refusal_in_spite_of_all_rights_points_elsewhere() {
        let text = explain_with(Phase::LoadPlain, libc::EPERM, &ROOT);
        assert!(text.contains("security module"), "{text}");
    }

    #[test]
    fn memory_above_the_limit_names_limit_and_remedy() {
        let text = explain_with(Phase::RegisterMemory, libc::ENOBUFS, &NOTHING);
        assert!(text.contains("8192 KiB") && text.contains("ulimit -l") && text.contains("CAP_IPC_LOCK"));
    }

    #[test]
    fn a_missing_driver_feature_is_named() {
        for (phase, word) in [
            (Phase::LoadDeviceBound, "no receive time"),
            (Phase::AttachNative, "no XDP of its own"),
            (Phase::BindZeroCopy, "no zero-copy"),
        ] {
            let text = explain_with(phase, libc::EOPNOTSUPP, &ROOT);
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn an_error_without_advice_still_says_what_the_kernel_said() {
        assert!(explain_with(Phase::ReadMap, libc::EIO, &ROOT).contains("Input/output error"));
    }
}
