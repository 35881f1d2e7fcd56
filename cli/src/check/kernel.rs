//! The kernel: its version, what it was built with, and whether this process may load a program and open an AF_XDP socket.

use super::finding::Finding;
use super::{Demands, Verdict, read};
use rustix::fd::{FromRawFd, OwnedFd, RawFd};
use rustix::net::{AddressFamily, SocketType, socket};
use std::io;

/// What is there from which version on (major, minor), and what is without it. The last is the least that works.
const SINCE: [((u32, u32), &str); 3] = [
    ((6, 3), "the NIC's own receive times do not reach XDP programs"),
    ((5, 11), "the worker cannot drive the NIC's polling (`busy_poll`)"),
    ((5, 9), "programs cannot be attached by links, as this data plane does"),
];

/// `AF_XDP`, `linux/socket.h`.
const AF_XDP: u16 = 44;

/// Capabilities, `linux/capability.h`: bit, name, what for.
const CAPABILITIES: [(u32, &str, &str); 4] = [
    (12, "CAP_NET_ADMIN", "to attach the steering program"),
    (13, "CAP_NET_RAW", "to open AF_XDP sockets"),
    (39, "CAP_BPF", "to load the steering program"),
    (14, "CAP_IPC_LOCK", "to lock frames beyond the memlock limit"),
];
/// Has CAP_BPF's rights, too.
const CAP_SYS_ADMIN: u32 = 21;

pub(super) fn findings(demands: &Demands) -> Vec<Finding> {
    let without = demands.without_xdp();
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut findings = vec![version(&release, without)];
    findings.push(match std::fs::File::open("/sys/kernel/btf/vmlinux") {
        Ok(_) => Finding::ok("BTF", "/sys/kernel/btf/vmlinux"),
        Err(error) => Finding::bad(
            without.min(Verdict::Warning),
            "BTF",
            format!("/sys/kernel/btf/vmlinux: {error}"),
            "run a kernel with CONFIG_DEBUG_INFO_BTF; without it the NIC's own receive times are not used",
        ),
    });
    findings.push(capabilities(effective_capabilities(), without));
    findings.push(match load_program() {
        Ok(_) => Finding::ok("load XDP program", "the kernel takes one"),
        Err(error) => Finding::bad(
            without,
            "load XDP program",
            refused(&error),
            "give CAP_BPF and CAP_NET_ADMIN (container: securityContext.capabilities.add, or privileged), and allow bpf() in \
             the seccomp profile; or `backend: socket`",
        ),
    });
    findings.push(match open_socket() {
        Ok(_) => Finding::ok("open AF_XDP socket", "the kernel gives one"),
        Err(error) => Finding::bad(
            without,
            "open AF_XDP socket",
            refused(&error),
            "give CAP_NET_RAW, and run a kernel with CONFIG_XDP_SOCKETS; or `backend: socket`",
        ),
    });
    findings
}

fn refused(error: &io::Error) -> String {
    format!("refused: {error}")
}

fn version(release: &str, without: Verdict) -> Finding {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        return Finding::bad(
            without.min(Verdict::Warning),
            "kernel",
            format!("{release:?} is no version that is known"),
            "look at `uname -r`",
        );
    };
    let missing = SINCE.iter().find(|(since, _)| (major, minor) < *since);
    let least = SINCE[SINCE.len() - 1].0;
    match missing {
        None => Finding::ok("kernel", release),
        Some((since, what)) => {
            let verdict = if (major, minor) < least { without } else { without.min(Verdict::Warning) };
            let todo = format!("run Linux {}.{} or later", since.0, since.1);
            Finding::bad(verdict, "kernel", format!("{release}: {what}"), &todo)
        }
    }
}

/// The capabilities of this process, as bits.
pub(super) fn effective_capabilities() -> u64 {
    let status = read("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok()).unwrap_or(0)
}

/// Whether CAP_IPC_LOCK is among them.
pub(super) fn may_lock_memory(capabilities: u64) -> bool {
    capabilities & (1 << 14) != 0
}

fn capabilities(have: u64, without: Verdict) -> Finding {
    let has = |bit: u32| have & (1 << bit) != 0 || bit == 39 && have & (1 << CAP_SYS_ADMIN) != 0;
    let missing: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(bit, ..)| !has(*bit))
        .map(|(_, name, what)| format!("{name} ({what})"))
        .collect();
    if missing.is_empty() {
        let names: Vec<&str> = CAPABILITIES.iter().map(|(_, name, _)| *name).collect();
        return Finding::ok("capabilities", names.join(", "));
    }
    let only_lock = missing.len() == 1 && !has(14);
    // A memlock limit that is high enough does as well, and has a line of its own.
    let verdict = if only_lock { Verdict::Ok } else { without };
    Finding::bad(
        verdict,
        "capabilities",
        format!("without {}", missing.join(", ")),
        "give them to the process (systemd: AmbientCapabilities; container: securityContext.capabilities.add)",
    )
}

/// `union bpf_attr` of BPF_PROG_LOAD, as far as it is used (`linux/bpf.h`).
#[repr(C)]
struct ProgramLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// Loads the smallest XDP program (`r0 = XDP_PASS; exit`), which is gone with its descriptor; it is attached to nothing.
fn load_program() -> io::Result<OwnedFd> {
    const BPF_PROG_LOAD: libc::c_long = 5;
    const BPF_PROG_TYPE_XDP: u32 = 6;
    const XDP_PASS: u8 = 2;
    let program: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, XDP_PASS, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
    let license = c"GPL";
    let attributes = ProgramLoad {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    // SAFETY: the kernel reads the attributes, the program and the licence during the call, and all three outlive it.
    let descriptor = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<ProgramLoad>())
    };
    let descriptor = RawFd::try_from(descriptor).ok().filter(|descriptor| *descriptor >= 0);
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
    descriptor
        .map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) })
        .ok_or_else(io::Error::last_os_error)
}

fn open_socket() -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::from_raw(AF_XDP), SocketType::RAW, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_judged_by_its_version() {
        let judged = |release: &str, without| version(release, without).verdict;
        assert_eq!(judged("6.18.5-amd64", Verdict::Wrong), Verdict::Ok);
        assert_eq!(judged("5.15.0", Verdict::Wrong), Verdict::Warning);
        assert_eq!(judged("4.19.0-27", Verdict::Wrong), Verdict::Wrong);
        assert_eq!(judged("4.19.0-27", Verdict::Ok), Verdict::Ok);
        assert_eq!(judged("nonsense", Verdict::Wrong), Verdict::Warning);
        assert!(
            version("5.10.1", Verdict::Wrong).told.contains("polling")
                || version("5.10.1", Verdict::Wrong).told.contains("receive times")
        );
    }

    #[test]
    fn capabilities_that_are_missing_are_named_with_what_they_are_for() {
        let all = CAPABILITIES.iter().fold(0, |bits, (bit, ..)| bits | 1_u64 << bit);
        assert_eq!(capabilities(all, Verdict::Wrong).verdict, Verdict::Ok);
        assert_eq!(capabilities(u64::MAX, Verdict::Wrong).verdict, Verdict::Ok);
        let none = capabilities(0, Verdict::Wrong);
        assert!(none.verdict == Verdict::Wrong && none.told.contains("CAP_NET_RAW (to open"));
        assert_eq!(capabilities(all & !(1 << 14), Verdict::Wrong).verdict, Verdict::Ok);
        let admin = all & !(1 << 39) | 1 << CAP_SYS_ADMIN;
        assert_eq!(capabilities(admin, Verdict::Wrong).verdict, Verdict::Ok);
    }
}
