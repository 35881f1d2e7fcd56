//! Network namespaces and veth pairs.
//!
//! A [`Network`] is an anonymous network namespace: no name in `/run/netns`, no file, only a descriptor that
//! this process holds. The kernel takes the namespace and all in it away with the last process or descriptor
//! in it, so nothing is left behind, not even after SIGKILL. The machine's own interfaces and settings are
//! never touched: every command and setting is made by a thread or child that is inside the namespace.

use anyhow::{Context, Result, bail};
use rustix::fd::{AsFd, OwnedFd};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

/// Whether this process may make network namespaces and interfaces, on a kernel that can. When not, says
/// loudly (past the test harness's capture of output) that the test is skipped.
#[must_use]
pub fn require_root(test_name: &str) -> bool {
    const CAP_NET_ADMIN: u64 = 1 << 12;
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let able = effective_capabilities() & (CAP_NET_ADMIN | CAP_SYS_ADMIN) == CAP_NET_ADMIN | CAP_SYS_ADMIN;
    if !able {
        skip(test_name, "needs root (CAP_NET_ADMIN, and CAP_SYS_ADMIN for namespaces)");
    }
    able && require_sound_kernel(test_name)
}

/// Whether the kernel's network configuration can be asked at all. A kernel that has oopsed may hold its
/// configuration lock for good; whoever then makes an interface, joins a group or asks a driver hangs and
/// cannot be killed. Skips loudly like [`require_root`].
#[must_use]
pub fn require_sound_kernel(test_name: &str) -> bool {
    /// `TAINT_DIE`, Documentation/admin-guide/tainted-kernels.rst.
    const DIED: u64 = 1 << 7;
    let tainted = fs::read_to_string("/proc/sys/kernel/tainted").ok();
    let died =
        tainted.and_then(|flags| flags.trim().parse::<u64>().ok()).is_some_and(|flags| flags & DIED != 0);
    if died {
        skip(test_name, "needs a kernel that has not oopsed (see dmesg; reboot this machine)");
    }
    !died
}

fn skip(test_name: &str, why: &str) {
    // Not eprintln!: a test that passes has its captured output thrown away.
    let _ = std::io::stderr().write_all(format!("\nSKIPPED: {test_name} {why}\n").as_bytes());
}

fn effective_capabilities() -> u64 {
    fs::read_to_string("/proc/thread-self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .unwrap_or(0)
}

/// An anonymous network namespace with its loopback up. Clones are the same namespace; it ends with the
/// last clone and the last thread or child inside.
#[derive(Clone, Debug)]
pub struct Network {
    namespace: Arc<OwnedFd>,
}

impl Network {
    /// Makes a namespace: loopback up, IPv6 off, and IPv4 set to accept on one end of a veth pair what the
    /// other end of it, in the same namespace, sent (`rp_filter` 0, `accept_local` 1).
    ///
    /// # Errors
    /// The rights are missing (see [`require_root`]), or `ip` is not installed.
    pub fn new() -> Result<Network> {
        let made = std::thread::spawn(|| -> Result<OwnedFd> {
            // SAFETY: only this short-lived thread's network namespace changes; no descriptor table, memory
            // or file system state is unshared, so no other thread can hold an assumption that breaks.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("unshare a network namespace")?;
            let file = fs::File::open("/proc/thread-self/ns/net").context("open the new namespace")?;
            Ok(file.into())
        });
        let namespace = made.join().map_err(|_| anyhow::anyhow!("the namespace thread panicked"))??;
        let network = Network { namespace: Arc::new(namespace) };
        network.run(|| -> Result<()> {
            for scope in ["all", "default"] {
                set_ipv6_off(scope)?;
                accept_from_own_addresses(scope)?;
            }
            Ok(())
        })?;
        network.tool("ip", &["link", "set", "lo", "up"])?;
        Ok(network)
    }

    /// Makes the veth pair `a` and `b` with `queues` receive and transmit queues each: both ends up and with
    /// carrier, IPv6 off, transmit checksum and segmentation offload off (what arrives has whole checksums).
    ///
    /// # Errors
    /// What `ip` or `ethtool` said.
    pub fn veth_pair(&self, a: &str, b: &str, queues: u32) -> Result<()> {
        let queues = queues.to_string();
        let queue_args = ["numrxqueues", &queues, "numtxqueues", &queues];
        let mut args = vec!["link", "add", a];
        args.extend(queue_args);
        args.extend(["type", "veth", "peer", "name", b]);
        args.extend(queue_args);
        self.tool("ip", &args)?;
        for device in [a, b] {
            self.run(|| set_ipv6_off(device).and_then(|()| accept_from_own_addresses(device)))?;
            self.tool("ethtool", &["-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off"])?;
            self.tool("ip", &["link", "set", device, "up"])?;
        }
        Ok(())
    }

    /// Gives `device` an IPv4 address.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn add_address(&self, device: &str, address: Ipv4Addr, prefix_bits: u8) -> Result<()> {
        self.tool("ip", &["addr", "add", &format!("{address}/{prefix_bits}"), "dev", device]).map(drop)
    }

    /// Sets the largest IP packet that `device` sends, bytes. Set it on both ends of a pair.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn set_mtu(&self, device: &str, mtu_bytes: u32) -> Result<()> {
        self.tool("ip", &["link", "set", device, "mtu", &mtu_bytes.to_string()]).map(drop)
    }

    /// Runs `work` on a thread inside the namespace and gives back its result; a panic goes on in the caller.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let done = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.enter_current_thread().expect("enter a namespace that this process made");
                    work()
                })
                .join()
        });
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Moves the calling thread into the namespace, for the rest of its life. Threads that it starts
    /// afterwards are inside too.
    ///
    /// # Errors
    /// `CAP_SYS_ADMIN` is missing.
    pub fn enter_current_thread(&self) -> Result<()> {
        move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .context("enter the network namespace")
    }

    /// Makes `command` run inside the namespace and die (SIGKILL) with the thread that starts it. Start a
    /// long-lived child from a thread that outlives it, so not from within [`Network::run`].
    pub fn command<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let namespace = Arc::clone(&self.namespace);
        let parent = rustix::process::getpid();
        let enter = move || -> std::io::Result<()> {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            if rustix::process::getppid() != Some(parent) {
                return Err(ErrorKind::NotConnected.into());
            }
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(())
        };
        // SAFETY: between fork and exec the closure makes three system calls, on a descriptor that the Arc
        // keeps open, and neither allocates nor takes a lock.
        unsafe { command.pre_exec(enter) }
    }

    /// Runs a tool such as `ip`, `ethtool` or `tc` inside the namespace to its end; gives back what it printed.
    ///
    /// # Errors
    /// It is not installed, or it failed: then with what it said.
    pub fn tool(&self, program: &str, args: &[&str]) -> Result<String> {
        let output = self
            .command(Command::new(program).args(args))
            .output()
            .with_context(|| format!("run {program}"))?;
        if !output.status.success() {
            bail!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// `/proc/sys/net` shows the namespace of the thread that opens it.
fn set_ipv6_off(scope: &str) -> Result<()> {
    match fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1") {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).context(format!("turn IPv6 off on {scope}"))
        }
        _ => Ok(()),
    }
}

fn accept_from_own_addresses(scope: &str) -> Result<()> {
    for (key, value) in [("rp_filter", "0"), ("accept_local", "1")] {
        fs::write(format!("/proc/sys/net/ipv4/conf/{scope}/{key}"), value)
            .with_context(|| format!("set {key} on {scope}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    const WAIT: Option<Duration> = Some(Duration::from_secs(10));

    fn interfaces() -> String {
        fs::read_to_string("/proc/thread-self/net/dev").unwrap()
    }

    #[test]
    fn a_network_is_apart_from_the_machine_and_from_other_networks() {
        if !require_root("a_network_is_apart_from_the_machine_and_from_other_networks") {
            return;
        }
        let before = interfaces();
        let (one, two) = (Network::new().unwrap(), Network::new().unwrap());
        one.veth_pair("left0", "right0", 2).unwrap();
        assert!(one.run(interfaces).contains("left0"));
        assert!(!two.run(interfaces).contains("left0"));
        assert!(!interfaces().contains("left0"));
        assert_eq!(before.lines().count(), interfaces().lines().count());
    }

    #[test]
    fn loopback_is_up_and_a_veth_has_its_queues_and_mtu() {
        if !require_root("loopback_is_up_and_a_veth_has_its_queues_and_mtu") {
            return;
        }
        let network = Network::new().unwrap();
        network.run(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
            socket.set_read_timeout(WAIT).unwrap();
            assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 1);
        });
        network.veth_pair("a0", "a1", 4).unwrap();
        network.set_mtu("a0", 3000).unwrap();
        let shown = network.tool("ip", &["-d", "link", "show", "a0"]).unwrap();
        assert!(shown.contains("numrxqueues 4") && shown.contains("mtu 3000"), "{shown}");
        assert!(shown.contains("LOWER_UP"), "{shown}");
        let features = network.tool("ethtool", &["-k", "a1"]).unwrap();
        assert!(features.contains("tx-checksumming: off"), "{features}");
    }

    #[test]
    fn a_kernel_socket_on_one_end_receives_multicast_sent_on_the_other() {
        if !require_root("a_kernel_socket_on_one_end_receives_multicast_sent_on_the_other") {
            return;
        }
        let network = Network::new().unwrap();
        network.veth_pair("a0", "a1", 1).unwrap();
        let (near, far) = (Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2));
        network.add_address("a0", near, 24).unwrap();
        network.add_address("a1", far, 24).unwrap();
        let group = Ipv4Addr::new(239, 1, 2, 3);
        network.run(|| {
            let receiver = UdpSocket::bind((group, 5000)).unwrap();
            receiver.join_multicast_v4(&group, &far).unwrap();
            receiver.set_read_timeout(WAIT).unwrap();
            // The source address chooses no interface for multicast; a route inside the namespace does.
            network.tool("ip", &["route", "add", "239.0.0.0/8", "dev", "a0"]).unwrap();
            let sender = UdpSocket::bind((near, 0)).unwrap();
            sender.set_multicast_loop_v4(false).unwrap();
            sender.send_to(b"tick", (group, 5000)).unwrap();
            let mut buffer = [0; 16];
            assert_eq!(receiver.recv(&mut buffer).unwrap(), 4);
        });
    }

    #[test]
    fn a_child_runs_inside_and_a_failing_tool_says_why() {
        if !require_root("a_child_runs_inside_and_a_failing_tool_says_why") {
            return;
        }
        let network = Network::new().unwrap();
        network.veth_pair("c0", "c1", 1).unwrap();
        let mut child = Command::new("cat");
        let output = network.command(child.arg("/proc/self/net/dev")).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("c0"));
        let error = network.tool("ip", &["link", "show", "absent"]).unwrap_err().to_string();
        assert!(error.contains("absent"), "{error}");
    }

    #[test]
    fn a_panic_inside_goes_on_outside() {
        if !require_root("a_panic_inside_goes_on_outside") {
            return;
        }
        let network = Network::new().unwrap();
        let panic = std::panic::catch_unwind(|| network.run(|| panic!("from inside"))).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"from inside"));
    }
}
