//! What an interface is: driver, address, size, link. Asked anew each time; nothing here is needed for a packet.

use super::{ethtool, ifreq, ioctl};

/// `ETHTOOL_GDRVINFO`, `linux/ethtool.h`.
const ETHTOOL_GDRVINFO: u32 = 0x03;
/// `ETHTOOL_GLINKSETTINGS`, `linux/ethtool.h`.
const ETHTOOL_GLINKSETTINGS: u32 = 0x4c;
/// Words of each of the three masks of link modes that there is room for; Linux 6.18 has 4.
const LINK_MODE_WORDS_MAX: usize = 16;
/// `SPEED_UNKNOWN`.
const SPEED_UNKNOWN: u32 = u32::MAX;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    expansion_rom: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

/// `struct ethtool_link_settings`, with room for the masks at its end.
#[repr(C)]
struct LinkSettings {
    cmd: u32,
    speed: u32,
    kinds: [u8; 7],
    mask_words: i8,
    more_kinds: [u8; 4],
    reserved: [u32; 7],
    masks: [u32; 3 * LINK_MODE_WORDS_MAX],
}

impl LinkSettings {
    fn ask(mask_words: i8) -> LinkSettings {
        LinkSettings {
            cmd: ETHTOOL_GLINKSETTINGS,
            speed: 0,
            kinds: [0; 7],
            mask_words,
            more_kinds: [0; 4],
            reserved: [0; 7],
            masks: [0; 3 * LINK_MODE_WORDS_MAX],
        }
    }
}

/// What an interface of the calling thread's network namespace is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The driver's name; loopback has none.
    pub driver: Option<String>,
    /// Its address, as `02:00:00:00:00:01`.
    pub mac: Option<String>,
    /// Largest packet, bytes.
    pub mtu_bytes: Option<u32>,
    /// It was switched on.
    pub up: bool,
    /// There is somebody at the other end.
    pub carrier: bool,
    /// Speed of the link, Mbit/s, where the driver says it.
    pub speed_mbit_per_s: Option<u32>,
}

impl Facts {
    /// What the kernel says of the interface; empty when it is gone.
    pub fn of(name: &str) -> Facts {
        let flags = flags(name).unwrap_or(0);
        let has = |flag: i32| i32::from(flags) & flag != 0;
        Facts {
            driver: driver(name),
            mac: mac(name),
            mtu_bytes: mtu(name),
            up: has(libc::IFF_UP),
            carrier: has(libc::IFF_RUNNING),
            speed_mbit_per_s: speed(name),
        }
    }
}

fn driver(name: &str) -> Option<String> {
    let mut info = DriverInfo {
        cmd: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        version: [0; 32],
        firmware: [0; 32],
        bus: [0; 32],
        expansion_rom: [0; 32],
        reserved: [0; 12],
        counts: [0; 5],
    };
    ethtool(name, &mut info).ok()?;
    let text = info.driver.split(|byte| *byte == 0).next()?;
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
}

/// Asked twice: the kernel first says how long its masks are.
fn speed(name: &str) -> Option<u32> {
    let mut asked = LinkSettings::ask(0);
    ethtool(name, &mut asked).ok()?;
    let words = asked.mask_words.checked_neg()?;
    if usize::try_from(words).ok()? > LINK_MODE_WORDS_MAX {
        return None;
    }
    let mut settings = LinkSettings::ask(words);
    ethtool(name, &mut settings).ok()?;
    Some(settings.speed).filter(|speed| *speed != 0 && *speed != SPEED_UNKNOWN)
}

fn flags(name: &str) -> Option<i16> {
    let mut ifreq = ifreq(name).ok()?;
    // SAFETY: there is no pointer in it; the kernel fills in the flags when it answers.
    unsafe {
        ioctl(libc::SIOCGIFFLAGS, &mut ifreq).ok()?;
        Some(ifreq.ifr_ifru.ifru_flags)
    }
}

fn mtu(name: &str) -> Option<u32> {
    let mut ifreq = ifreq(name).ok()?;
    // SAFETY: there is no pointer in it; the kernel fills in the MTU when it answers.
    let mtu = unsafe {
        ioctl(libc::SIOCGIFMTU, &mut ifreq).ok()?;
        ifreq.ifr_ifru.ifru_mtu
    };
    u32::try_from(mtu).ok()
}

fn mac(name: &str) -> Option<String> {
    let mut ifreq = ifreq(name).ok()?;
    // SAFETY: there is no pointer in it; the kernel fills in the address when it answers.
    let address = unsafe {
        ioctl(libc::SIOCGIFHWADDR, &mut ifreq).ok()?;
        ifreq.ifr_ifru.ifru_hwaddr
    };
    let bytes: Vec<String> =
        address.sa_data.iter().take(6).map(|byte| format!("{:02x}", byte.cast_unsigned())).collect();
    (address.sa_family == libc::ARPHRD_ETHER).then(|| bytes.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::network::{Network, require_root};

    #[test]
    fn a_veth_pair_says_what_it_is() {
        if !require_root("a_veth_pair_says_what_it_is") {
            return;
        }
        let network = Network::new().unwrap();
        network.veth_pair("a0", "b0", 2).unwrap();
        let facts = network.run(|| Facts::of("a0"));
        assert_eq!(facts.driver.as_deref(), Some("veth"));
        assert_eq!((facts.mtu_bytes, facts.up, facts.carrier), (Some(1500), true, true));
        assert_eq!(facts.speed_mbit_per_s, Some(10_000));
        let mac = facts.mac.unwrap();
        assert!(network.tool("ip", &["link", "show", "a0"]).unwrap().contains(&mac), "{mac}");
        network.tool("ip", &["link", "set", "b0", "down"]).unwrap();
        let facts = network.run(|| Facts::of("a0"));
        assert_eq!((facts.up, facts.carrier), (true, false));
    }

    #[test]
    fn what_is_not_there_has_no_facts() {
        for name in ["no-such-thing", "", "a-name-that-no-interface-could-have"] {
            assert_eq!(Facts::of(name), Facts::default());
        }
    }
}
