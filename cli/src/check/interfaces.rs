//! Interfaces: whether they are there, and what their drivers can do, as far as that is visible without attaching anything.

use super::finding::Finding;
use super::netdev::{self, Features};
use super::{Demands, Verdict};
use bus::config::{BackendChoice, XdpModeChoice};
use dataplane::nic::{self, Facts};

/// Largest packet that fits a frame of 4 KiB with the headroom that the kernel asks for, bytes.
const MTU_BYTES_MAX: u32 = 3_498;

/// The interfaces that have a device, as `/sys` shows them.
pub(super) fn with_device() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let real = entries.filter(|entry| entry.path().join("device").exists());
    let mut names: Vec<String> = real.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

pub(super) fn findings(name: &str, demands: &Demands) -> Vec<Finding> {
    let what = format!("interface {name}");
    let index = match nic::index(name) {
        Ok(index) => index,
        Err(error) => {
            let todo =
                "name one that `ip link` shows; in a container, use the host's network (hostNetwork: true)";
            return vec![Finding::bad(Verdict::Wrong, &what, error.to_string(), todo)];
        }
    };
    let facts = Facts::of(name);
    let mut findings = vec![link(&what, name, &facts)];
    if demands.receive.backend != BackendChoice::Socket {
        findings.push(xdp(name, netdev::features(index).as_ref(), demands));
        findings.extend(frame_fits(name, &facts));
    }
    findings
}

fn link(what: &str, name: &str, facts: &Facts) -> Finding {
    let clock =
        nic::phc_index(name).map_or("no hardware clock".to_owned(), |number| format!("/dev/ptp{number}"));
    let speed = facts.speed_mbit_per_s.map_or(String::new(), |speed| format!(", {speed} Mbit/s"));
    let driver = facts.driver.as_deref().unwrap_or("no driver");
    let told = format!("{driver}, {} receive queues{speed}, {clock}", nic::receive_queues(name));
    let todo = match (facts.up, facts.carrier) {
        (true, true) => return Finding::ok(what, told),
        (false, _) => "switch it on: ip link set dev … up",
        (true, false) => "look at the cable, and at the other end",
    };
    let state = if facts.up { "nobody at the other end" } else { "switched off" };
    Finding::bad(Verdict::Warning, what, format!("{told}: {state}"), todo)
}

/// What the driver says of XDP (since Linux 6.3), against the mode that is asked for.
fn xdp(name: &str, features: Option<&Features>, demands: &Demands) -> Finding {
    let what = format!("XDP on {name}");
    let without = demands.without_xdp();
    let Some(features) = features else {
        let told = "the kernel does not say what the driver can do (Linux 6.3 and later do)";
        return Finding::ok(&what, told);
    };
    let mut able = Vec::new();
    able.extend(features.native.then_some("native"));
    able.extend(features.zero_copy.then_some("zero-copy"));
    able.extend(features.receive_times.then_some("hardware receive times"));
    let told = if able.is_empty() { "generic only".to_owned() } else { able.join(", ") };
    let (missing, todo) = match demands.receive.xdp_mode {
        XdpModeChoice::ZeroCopy if !features.zero_copy => {
            (Verdict::Wrong.min(without), "choose `xdp_mode: auto`, or a NIC whose driver has zero-copy")
        }
        XdpModeChoice::Copy if !features.native => (
            Verdict::Wrong.min(without),
            "choose `xdp_mode: auto` or `generic`, or a NIC whose driver has native XDP",
        ),
        XdpModeChoice::Auto if !features.native => (
            Verdict::Warning,
            "use a NIC whose driver has native XDP; in the generic path the kernel copies every packet first",
        ),
        _ => return Finding::ok(&what, told),
    };
    Finding::bad(missing, &what, told, todo)
}

fn frame_fits(name: &str, facts: &Facts) -> Option<Finding> {
    let mtu = facts.mtu_bytes.filter(|mtu| *mtu > MTU_BYTES_MAX)?;
    Some(Finding::bad(
        Verdict::Warning,
        &format!("MTU of {name}"),
        format!("{mtu} bytes: native XDP takes what fits a page, {MTU_BYTES_MAX}"),
        &format!("ip link set dev {name} mtu 1500, unless the driver splits packets for XDP"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demands(backend: BackendChoice, mode: XdpModeChoice) -> Demands {
        let mut demands = Demands::of_no_document();
        (demands.receive.backend, demands.receive.xdp_mode) = (backend, mode);
        demands
    }

    #[test]
    fn a_mode_that_the_driver_has_not_is_wrong_where_it_must_be() {
        let native = Features { native: true, ..Features::default() };
        let none = Features::default();
        let judged =
            |features: Option<&Features>, backend, mode| xdp("x", features, &demands(backend, mode)).verdict;
        use BackendChoice::{Auto, Xdp};
        assert_eq!(judged(Some(&native), Xdp, XdpModeChoice::ZeroCopy), Verdict::Wrong);
        assert_eq!(judged(Some(&native), Auto, XdpModeChoice::ZeroCopy), Verdict::Warning);
        assert_eq!(judged(Some(&native), Xdp, XdpModeChoice::Copy), Verdict::Ok);
        assert_eq!(judged(Some(&none), Xdp, XdpModeChoice::Copy), Verdict::Wrong);
        assert_eq!(judged(Some(&none), Xdp, XdpModeChoice::Auto), Verdict::Warning);
        assert_eq!(judged(Some(&none), Xdp, XdpModeChoice::Generic), Verdict::Ok);
        assert_eq!(judged(None, Xdp, XdpModeChoice::ZeroCopy), Verdict::Ok);
    }

    #[test]
    fn an_interface_that_is_not_there_is_wrong() {
        let findings = findings("no-such-thing", &Demands::of_no_document());
        assert!(findings.len() == 1 && findings[0].verdict == Verdict::Wrong);
    }

    #[test]
    fn loopback_is_there() {
        let findings = findings("lo", &demands(BackendChoice::Socket, XdpModeChoice::Auto));
        assert_eq!(findings.len(), 1);
    }
}
