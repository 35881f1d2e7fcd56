//! What a driver says it can do with XDP: the generic netlink family `netdev` (`linux/netdev.h`, Documentation/netlink/specs/
//! netdev.yaml; since Linux 6.3). Anybody may ask; answers that are none are taken as "does not say".

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, netlink, recv, sendto, socket};

/// `GENL_ID_CTRL`, and what is asked of it: `CTRL_CMD_GETFAMILY` with `CTRL_ATTR_FAMILY_NAME`, answered with
/// `CTRL_ATTR_FAMILY_ID`.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// `NETDEV_CMD_DEV_GET` by `NETDEV_A_DEV_IFINDEX`.
const DEVICE_GET: u8 = 1;
const IFINDEX: u16 = 1;
/// `NETDEV_A_DEV_XDP_FEATURES`, `NETDEV_A_DEV_XDP_RX_METADATA_FEATURES`: bits in a u64.
const XDP_FEATURES: u16 = 3;
const RX_METADATA_FEATURES: u16 = 5;
/// `NETDEV_XDP_ACT_BASIC`, `NETDEV_XDP_ACT_XSK_ZEROCOPY`, `NETDEV_XDP_RX_METADATA_TIMESTAMP`.
const BASIC: u64 = 1;
const ZERO_COPY: u64 = 1 << 3;
const TIMESTAMP: u64 = 1;

/// `struct nlmsghdr`, then `struct genlmsghdr`, bytes.
const HEADERS: usize = 16 + 4;
const NLM_F_REQUEST: u16 = 1;
/// Largest answer; one device's is some 100 bytes.
const ANSWER_BYTES_MAX: usize = 8 << 10;

/// What a driver can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Features {
    pub(super) native: bool,
    pub(super) zero_copy: bool,
    pub(super) receive_times: bool,
}

/// The features of an interface; nothing when the kernel does not say them.
pub(super) fn features(ifindex: u32) -> Option<Features> {
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::GENERIC)).ok()?;
    let family = ask(&socket, CONTROL, GET_FAMILY, FAMILY_NAME, b"netdev\0")?;
    let family = attribute(&family, FAMILY_ID)?;
    let family = u16::from_ne_bytes(family.get(..2)?.try_into().ok()?);
    let device = ask(&socket, family, DEVICE_GET, IFINDEX, &ifindex.to_ne_bytes())?;
    Some(of_device(&device))
}

fn of_device(device: &[u8]) -> Features {
    let bits = |kind| {
        let value = attribute(device, kind).and_then(|value| value.get(..8)?.try_into().ok());
        value.map_or(0, u64::from_ne_bytes)
    };
    let (xdp, metadata) = (bits(XDP_FEATURES), bits(RX_METADATA_FEATURES));
    Features {
        native: xdp & BASIC != 0,
        zero_copy: xdp & ZERO_COPY != 0,
        receive_times: metadata & TIMESTAMP != 0,
    }
}

/// Sends a request with one attribute; the attributes of the answer.
fn ask(socket: &OwnedFd, family: u16, command: u8, kind: u16, value: &[u8]) -> Option<Vec<u8>> {
    let request = request(family, command, kind, value);
    let kernel = netlink::SocketAddrNetlink::new(0, 0);
    sendto(socket, &request, SendFlags::empty(), &kernel).ok()?;
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    let (length, _) = recv(socket, &mut answer[..], RecvFlags::empty()).ok()?;
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    // An error is a message of another kind than the family's.
    (kind == family).then(|| answer.get(HEADERS..length).map(<[u8]>::to_vec)).flatten()
}

fn request(family: u16, command: u8, kind: u16, value: &[u8]) -> Vec<u8> {
    let attribute = 4 + value.len();
    let length = HEADERS + attribute.next_multiple_of(4);
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(family.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence and port: one request at a time, so nothing is to be told apart.
    bytes.extend([0; 8]);
    // Command, version, reserved.
    bytes.extend([command, 1, 0, 0]);
    bytes.extend((attribute as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(length, 0);
    bytes
}

/// The value of the first attribute of a kind.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    /// `NLA_TYPE_MASK`: the two highest bits say how it is encoded.
    const KIND: u16 = 0x3fff;
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?) & KIND;
        let value = attributes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::network::{Network, require_root};

    fn attributes(all: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, value) in all {
            bytes.extend(request(0, 0, *kind, value).split_off(HEADERS));
        }
        bytes
    }

    #[test]
    fn the_bits_of_a_device_are_its_features() {
        let device = attributes(&[
            (IFINDEX, &7_u32.to_ne_bytes()),
            (XDP_FEATURES, &(BASIC | ZERO_COPY).to_ne_bytes()),
            (RX_METADATA_FEATURES, &TIMESTAMP.to_ne_bytes()),
        ]);
        assert_eq!(of_device(&device), Features { native: true, zero_copy: true, receive_times: true });
    }

    #[test]
    fn answers_that_are_none_say_nothing() {
        let good = attributes(&[(XDP_FEATURES, &BASIC.to_ne_bytes())]);
        for length in 0..good.len() {
            assert_eq!(of_device(&good[..length]), Features::default(), "{length}");
        }
        bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
            of_device(bytes);
        });
        assert_eq!(features(u32::MAX), None);
    }

    #[test]
    fn a_veth_pair_has_native_xdp_and_receive_times_and_no_zero_copy() {
        if !require_root("a_veth_pair_has_native_xdp") {
            return;
        }
        let network = Network::new().unwrap();
        network.veth_pair("a0", "b0", 1).unwrap();
        let found = network.run(|| features(dataplane::nic::index("a0").unwrap()));
        match found {
            None => {
                eprintln!("SKIPPED: a_veth_pair_has_native_xdp: the kernel has no netdev family (Linux 6.3)");
            }
            Some(found) => assert!(found.native && found.receive_times && !found.zero_copy, "{found:?}"),
        }
    }
}
