//! Steering programs on devices: which one and which mode is chosen, what a refusal says, what replacing
//! and detaching do. And the generator that benches stand on.

use ebpf::{
    AttachMode, AttachRequest, ChangeError, FeedKey, FeedValue, Generator, HardwareTime, LoadError,
    LoadRequest, Pass, Steering, driver_features,
};
use lab::network::Network;
use std::ffi::CString;
use std::net::Ipv4Addr;

/// A namespace with one veth pair, which the test's thread enters.
fn network(test: &str) -> Option<Network> {
    if !lab::network::require_root(test) {
        return None;
    }
    let network = Network::new().expect("make a network");
    network.veth_pair("a0", "b0", 1).expect("make a veth pair");
    network.enter_current_thread().expect("enter it");
    Some(network)
}

fn ifindex(name: &str) -> u32 {
    let name = CString::new(name).expect("a name without a zero byte");
    // SAFETY: the name is a C string that lives through the call.
    unsafe { libc::if_nametoindex(name.as_ptr()) }
}

fn request(attach: AttachRequest) -> LoadRequest {
    LoadRequest { attach, ..LoadRequest::default() }
}

#[test]
fn the_best_program_and_mode_of_the_device_are_chosen_and_read_back() {
    let Some(network) = network("the_best_program_and_mode_of_the_device_are_chosen_and_read_back") else {
        return;
    };
    for (attach, mode, hardware_time) in [
        (AttachRequest::Automatic, AttachMode::Native, true),
        (AttachRequest::Native, AttachMode::Native, true),
        (AttachRequest::Generic, AttachMode::Generic, false),
    ] {
        let steering = Steering::load(ifindex("b0"), &request(attach)).unwrap();
        assert_eq!((steering.mode(), steering.has_hardware_time()), (mode, hardware_time), "{attach:?}");
        assert_eq!(steering.fallbacks(), [], "{attach:?}");
        let shown = network.tool("ip", &["link", "show", "b0"]).unwrap();
        let expected = if mode == AttachMode::Native { " xdp " } else { " xdpgeneric " };
        assert!(shown.contains(expected), "{shown}");
    }
    let shown = network.tool("ip", &["link", "show", "b0"]).unwrap();
    assert!(!shown.contains("xdp"), "dropping detaches: {shown}");
}

#[test]
fn hardware_time_can_be_declined() {
    let Some(_network) = network("hardware_time_can_be_declined") else { return };
    let request = LoadRequest { hardware_time: HardwareTime::Off, ..LoadRequest::default() };
    assert!(!Steering::load(ifindex("b0"), &request).unwrap().has_hardware_time());
}

#[test]
fn a_device_without_xdp_gets_the_generic_mode_and_it_is_said_why() {
    let Some(_network) = network("a_device_without_xdp_gets_the_generic_mode_and_it_is_said_why") else {
        return;
    };
    let steering = Steering::load(ifindex("lo"), &LoadRequest::default()).unwrap();
    assert_eq!(steering.mode(), AttachMode::Generic);
    let fallbacks = steering.fallbacks();
    assert_eq!(fallbacks.len(), 2, "{fallbacks:?}");
    assert!(fallbacks[0].wanted.contains("hardware time"), "{fallbacks:?}");
    assert!(fallbacks[0].reason.contains("no receive time"), "{fallbacks:?}");
    assert!(fallbacks[1].reason.contains("no XDP of its own"), "{fallbacks:?}");
    drop(steering);
    let refused = Steering::load(ifindex("lo"), &request(AttachRequest::Native)).unwrap_err();
    assert!(refused.to_string().contains("no XDP of its own"), "{refused}");
}

#[test]
fn a_second_program_and_an_absent_interface_are_refused_with_advice() {
    let Some(_network) = network("a_second_program_and_an_absent_interface_are_refused_with_advice") else {
        return;
    };
    let _first = Steering::load(ifindex("b0"), &LoadRequest::default()).unwrap();
    let second = Steering::load(ifindex("b0"), &request(AttachRequest::Native)).unwrap_err();
    assert!(second.to_string().contains("another XDP program"), "{second}");
    let absent = Steering::load(9999, &LoadRequest::default()).unwrap_err();
    assert!(matches!(absent, LoadError::NoInterface(9999)), "{absent}");
    assert!(matches!(Pass::attach(9999), Err(LoadError::NoInterface(9999))));
    assert!(matches!(Generator::load(9999), Err(LoadError::NoInterface(9999))));
}

#[test]
fn a_program_is_replaced_on_its_device_and_its_maps_go_on() {
    let Some(_network) = network("a_program_is_replaced_on_its_device_and_its_maps_go_on") else { return };
    for attach in [AttachRequest::Native, AttachRequest::Generic] {
        let mut steering = Steering::load(ifindex("b0"), &request(attach)).unwrap();
        let mode = steering.mode();
        let key = FeedKey { destination: Ipv4Addr::new(239, 1, 1, 1), port: 1, source: None };
        steering.set_feed(key, FeedValue { slot: 1, line: 0 }).unwrap();
        for _ in 0..3 {
            steering.replace_program().unwrap();
        }
        assert_eq!(steering.mode(), mode);
        steering.remove_feed(key).expect("the feed is in the map that the successor took over");
    }
}

#[test]
fn a_detached_program_comes_back_with_its_maps_in_the_mode_that_it_had() {
    let Some(network) = network("a_detached_program_comes_back_with_its_maps_in_the_mode_that_it_had") else {
        return;
    };
    let is_on = || network.tool("ip", &["link", "show", "b0"]).unwrap().contains(" xdp");
    for attach in [AttachRequest::Native, AttachRequest::Generic] {
        let mut steering = Steering::load(ifindex("b0"), &request(attach)).unwrap();
        let (mode, identity) = (steering.mode(), steering.identity().unwrap());
        let key = FeedKey { destination: Ipv4Addr::new(239, 1, 1, 1), port: 1, source: None };
        steering.set_feed(key, FeedValue { slot: 1, line: 0 }).unwrap();
        assert!(steering.is_attached() && is_on());
        for _ in 0..2 {
            steering.detach();
            assert!(!steering.is_attached() && !is_on());
        }
        steering.replace_program().unwrap();
        assert!(!steering.is_attached() && !is_on());
        for _ in 0..2 {
            steering.attach().unwrap();
            assert!(steering.is_attached() && is_on());
        }
        assert_eq!(steering.mode(), mode);
        let now = steering.identity().unwrap();
        assert_eq!((now.tag, now.id != identity.id), (identity.tag, true));
        steering.remove_feed(key).expect("the feed is in the map still");
    }
}

#[test]
fn where_another_program_has_taken_the_place_attaching_says_so() {
    let Some(_network) = network("where_another_program_has_taken_the_place_attaching_says_so") else {
        return;
    };
    let mut steering = Steering::load(ifindex("b0"), &request(AttachRequest::Native)).unwrap();
    steering.detach();
    let other = Pass::attach(ifindex("b0")).unwrap();
    let refused = steering.attach().unwrap_err();
    assert!(refused.to_string().contains("another XDP program"), "{refused}");
    drop(other);
    steering.attach().unwrap();
}

#[test]
fn a_driver_says_what_it_can_do() {
    let Some(_network) = network("a_driver_says_what_it_can_do") else { return };
    let veth = driver_features(ifindex("b0"));
    // The kernel tells it from 6.3 on.
    assert!(veth.is_none_or(|features| features.native_xdp && !features.zero_copy), "{veth:?}");
    assert_eq!(driver_features(ifindex("lo")), None);
    assert_eq!(driver_features(9999), None);
}

#[test]
fn replacing_on_an_interface_that_is_gone_says_so() {
    let Some(network) = network("replacing_on_an_interface_that_is_gone_says_so") else { return };
    let index = ifindex("b0");
    let mut steering = Steering::load(index, &LoadRequest::default()).unwrap();
    network.tool("ip", &["link", "del", "a0"]).unwrap();
    let gone = steering.replace_program();
    assert!(matches!(gone, Err(ChangeError::InterfaceGone(at)) if at == index), "{gone:?}");
    steering.counters().expect("the maps are still there");
}

#[test]
fn without_rights_the_missing_capabilities_are_named() {
    let Some(_network) = network("without_rights_the_missing_capabilities_are_named") else { return };
    let index = ifindex("b0");
    drop_capabilities(&[12, 21, 38, 39]);
    let refused = Steering::load(index, &LoadRequest::default()).unwrap_err();
    assert!(refused.to_string().contains("CAP_BPF and CAP_NET_ADMIN missing"), "{refused}");
}

#[test]
fn the_two_documented_capabilities_are_enough_to_load_attach_and_steer() {
    let Some(_network) = network("the_two_documented_capabilities_are_enough_to_load_attach_and_steer")
    else {
        return;
    };
    let (near, far) = (ifindex("b0"), ifindex("a0"));
    const CAP_NET_ADMIN: u32 = 12;
    const CAP_BPF: u32 = 39;
    drop_capabilities(&(0..=40).filter(|bit| ![CAP_NET_ADMIN, CAP_BPF].contains(bit)).collect::<Vec<_>>());
    let mut steering = Steering::load(near, &LoadRequest::default()).unwrap();
    assert_eq!((steering.mode(), steering.has_hardware_time()), (AttachMode::Native, true));
    let key = FeedKey { destination: Ipv4Addr::new(239, 1, 1, 1), port: 1, source: None };
    steering.set_feed(key, FeedValue { slot: 1, line: 0 }).unwrap();
    steering.counters().unwrap();
    steering.replace_program().unwrap();
    Pass::attach(far).unwrap();
}

/// Takes capabilities from the calling thread alone.
fn drop_capabilities(bits: &[u32]) {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let mut sets = [[0u32; 3]; 2];
    // SAFETY: header and sets have the layout of version 3 and live through the calls.
    unsafe {
        assert_eq!(libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()), 0);
        for bit in bits {
            sets[*bit as usize / 32][0] &= !(1 << (bit % 32));
        }
        assert_eq!(libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()), 0);
    }
}

#[test]
fn the_generator_sends_as_many_frames_as_asked_and_refuses_what_it_cannot() {
    let Some(network) = network("the_generator_sends_as_many_frames_as_asked_and_refuses_what_it_cannot")
    else {
        return;
    };
    let _pass = Pass::attach(ifindex("b0")).unwrap();
    let generator = Generator::load(ifindex("a0")).unwrap();
    let mut template = vec![0u8; 100];
    template[..6].fill(0xff);
    template[12..14].copy_from_slice(&[0x88, 0xb5]);
    generator.run(&template, Generator::REPEAT_MIN).unwrap();
    let received = network.run(|| {
        let shown = network.tool("ip", &["-s", "link", "show", "b0"]).unwrap();
        let lines: Vec<&str> = shown.lines().collect();
        let at = lines.iter().position(|line| line.trim().starts_with("RX:")).unwrap();
        let numbers: Vec<u64> =
            lines[at + 1].split_whitespace().filter_map(|word| word.parse().ok()).collect();
        numbers[1] + numbers[3]
    });
    assert!(received >= u64::from(Generator::REPEAT_MIN), "{received}");
    assert!(generator.run(&template, Generator::REPEAT_MIN - 1).is_err());
    assert!(generator.run(&template[..Generator::TEMPLATE_BYTES_MIN - 1], Generator::REPEAT_MIN).is_err());
}
