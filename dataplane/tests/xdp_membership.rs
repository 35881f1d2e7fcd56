//! Multicast membership: what the kernel says is joined, and that it is left.

#![allow(clippy::unwrap_used, reason = "helpers of tests may, as tests may")]

mod xdp_net;

use dataplane::membership::{JoinError, Membership};
use std::net::Ipv4Addr;
use xdp_net::{SENDER, ifindex, network};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 10, 20, 30);

/// The lines of `/proc/net/igmp` that name the group (hex, in the machine's byte order), and of
/// `/proc/net/mcfilter` (hex, network order) as (source, included, excluded).
fn shown(group: Ipv4Addr) -> (usize, Vec<String>) {
    let igmp = std::fs::read_to_string("/proc/thread-self/net/igmp").unwrap();
    let joined = igmp.matches(&format!("{:08X}", u32::from(group).swap_bytes())).count();
    let filters = std::fs::read_to_string("/proc/thread-self/net/mcfilter").unwrap();
    let group = format!("0x{:08x}", u32::from(group));
    let sources = filters
        .lines()
        .filter(|line| line.contains(&group))
        .map(|line| line.split_whitespace().skip(3).collect::<Vec<_>>().join(" "))
        .collect();
    (joined, sources)
}

#[test]
fn a_group_is_joined_on_its_interface_until_the_membership_is_dropped() {
    let test = "a_group_is_joined_on_its_interface_until_the_membership_is_dropped";
    let Some(_network) = network(test, &[1, 1]) else { return };
    assert_eq!(shown(GROUP).0, 0);
    // No interface has an address: the index is enough.
    let first = Membership::join(GROUP, ifindex("b0"), None).unwrap();
    let second = Membership::join(GROUP, ifindex("b1"), None).unwrap();
    let again = Membership::join(GROUP, ifindex("b1"), None).unwrap();
    assert_eq!((first.group(), first.ifindex(), first.source()), (GROUP, ifindex("b0"), None));
    assert_eq!(shown(GROUP).0, 2, "once for each interface");
    drop(second);
    assert_eq!(shown(GROUP).0, 2, "the other membership on this interface holds");
    drop(again);
    assert_eq!(shown(GROUP).0, 1);
    drop(first);
    assert_eq!(shown(GROUP).0, 0);
}

#[test]
fn a_source_specific_membership_names_its_sources_to_the_kernel() {
    let test = "a_source_specific_membership_names_its_sources_to_the_kernel";
    let Some(_network) = network(test, &[1]) else { return };
    let other = Ipv4Addr::new(10, 1, 2, 4);
    let first = Membership::join(GROUP, ifindex("b0"), Some(SENDER)).unwrap();
    let second = Membership::join(GROUP, ifindex("b0"), Some(other)).unwrap();
    assert_eq!(first.source(), Some(SENDER));
    let (joined, mut sources) = shown(GROUP);
    sources.sort();
    assert_eq!((joined, sources), (1, vec!["0x0a010203 1 0".into(), "0x0a010204 1 0".into()]));
    drop(first);
    assert_eq!(shown(GROUP).1, ["0x0a010204 1 0"]);
    drop(second);
    assert_eq!(shown(GROUP), (0, vec![]));
}

#[test]
fn more_groups_than_one_socket_may_have_are_joined() {
    let Some(_network) = network("more_groups_than_one_socket_may_have_are_joined", &[1]) else { return };
    let groups = (0..60).map(|last| Ipv4Addr::new(239, 1, 1, last));
    let memberships: Vec<_> =
        groups.clone().map(|group| Membership::join(group, ifindex("b0"), None).unwrap()).collect();
    assert!(groups.clone().all(|group| shown(group).0 == 1));
    drop(memberships);
    assert!(groups.clone().all(|group| shown(group).0 == 0));
}

#[test]
fn a_refusal_says_what_is_wrong_and_what_to_do() {
    let Some(_network) = network("a_refusal_says_what_is_wrong_and_what_to_do", &[1]) else { return };
    let unicast = Membership::join(Ipv4Addr::new(10, 0, 0, 1), ifindex("b0"), None);
    assert!(matches!(unicast, Err(JoinError::NotMulticast(_))), "{unicast:?}");
    let absent = Membership::join(GROUP, 9999, None);
    assert!(matches!(absent, Err(JoinError::NoInterface { ifindex: 9999, .. })), "{absent:?}");
    let absent = Membership::join(GROUP, 9999, Some(SENDER));
    assert!(matches!(absent, Err(JoinError::NoInterface { ifindex: 9999, .. })), "{absent:?}");
    // The limits are the namespace's own.
    std::fs::write("/proc/sys/net/ipv4/igmp_max_memberships", "0").unwrap();
    let limit = Membership::join(GROUP, ifindex("b0"), None).unwrap_err();
    assert!(matches!(limit, JoinError::Limit { .. }), "{limit}");
    assert!(limit.to_string().contains("sysctl net.ipv4.igmp_max_memberships"), "{limit}");
}
