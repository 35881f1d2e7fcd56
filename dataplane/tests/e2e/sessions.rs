//! Made-up sessions on two bad lines, through the kernel and back out of Redis.

use crate::expected::{assert_adds_up, feeds_of, ticks_of};
use crate::rig::Rig;
use venue::impair::{Impairment, Reorder};
use venue::script::Pace;
use venue::session::{Protocol, Source};
use venue::synthetic::{SessionEnd, Synthetic, SyntheticSpec};

/// Messages in each session: long under `make soak`.
pub(crate) fn messages() -> u64 {
    if std::env::var_os("FEEDPLANE_SOAK").is_some() { 2_000_000 } else { 60_000 }
}

/// On an emulated machine `FEEDPLANE_SLOWDOWN=10` has sessions played so many times slower.
fn slowdown() -> u64 {
    std::env::var("FEEDPLANE_SLOWDOWN").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

pub(crate) fn spec(protocol: Protocol, channels: u16, messages: u64, seed: u64) -> SyntheticSpec {
    SyntheticSpec {
        protocol,
        channels,
        messages_per_s: 60_000.0 / slowdown() as f64,
        ..SyntheticSpec::new(SessionEnd::Messages(messages), seed)
    }
}

/// Both lines lose independently; B comes later, and some packets of each are overtaken.
pub(crate) fn bad_lines(loss: f64) -> [Impairment; 2] {
    let reorder = Some(Reorder { probability: 0.02, packets: 3, hold_ns: 1_000_000 });
    let line = Impairment { loss, duplicate: 0.001, reorder, ..Impairment::default() };
    [line.clone(), Impairment { skew_ns: 200_000, jitter_ns: 50_000, ..line }]
}

fn a_session_adds_up(test_name: &str, protocol: Protocol, receive: &str, impairments: [Impairment; 2]) {
    let Some(mut rig) = Rig::new(test_name) else { return };
    rig.receive = receive.to_owned();
    let spec = spec(protocol, 3, messages(), 0xfeed);
    let session = Synthetic::new(&spec).unwrap();
    if protocol == Protocol::Mdp3 {
        std::fs::write(rig.path("schema.xml"), wire::mdp3::FIXTURE).unwrap();
    }
    let mut feeds = feeds_of(session.channels());
    rig.write_feeds(&feeds);
    rig.start();
    let report = rig.play(session, Pace::Recorded { speed: 1.0 }, impairments, 7);
    rig.stop();
    for feed in &mut feeds.feeds {
        feed.schema = feed.schema.as_ref().map(|schema| rig.path(&schema.to_string_lossy()));
    }
    let expected = ticks_of(Synthetic::new(&spec).unwrap(), &feeds);
    assert_adds_up(&report, &rig.stream(), &expected);
}

const XDP: &str = "  backend: xdp\n";

#[test]
fn a_session_with_a_tenth_of_a_percent_lost_on_each_line_adds_up() {
    let name = "a_session_with_a_tenth_of_a_percent_lost_on_each_line_adds_up";
    a_session_adds_up(name, Protocol::Itch50, XDP, bad_lines(0.001));
}

#[test]
fn a_session_with_a_percent_lost_on_each_line_adds_up() {
    let name = "a_session_with_a_percent_lost_on_each_line_adds_up";
    a_session_adds_up(name, Protocol::Itch50, XDP, bad_lines(0.01));
}

#[test]
fn a_session_with_a_tenth_lost_on_each_line_adds_up() {
    let name = "a_session_with_a_tenth_lost_on_each_line_adds_up";
    a_session_adds_up(name, Protocol::Itch50, XDP, bad_lines(0.1));
}

#[test]
fn an_mdp3_session_with_a_percent_lost_on_each_line_adds_up() {
    let name = "an_mdp3_session_with_a_percent_lost_on_each_line_adds_up";
    a_session_adds_up(name, Protocol::Mdp3, XDP, bad_lines(0.01));
}

#[test]
fn corrupted_and_cut_packets_are_made_up_for_by_the_other_line_or_declared() {
    let name = "corrupted_and_cut_packets_are_made_up_for_by_the_other_line_or_declared";
    let line = Impairment { corrupt: 0.02, truncate: 0.01, loss: 0.01, ..Impairment::default() };
    a_session_adds_up(name, Protocol::Itch50, XDP, [line.clone(), line]);
}

#[test]
fn the_socket_backend_gives_the_same_stream() {
    let name = "the_socket_backend_gives_the_same_stream";
    a_session_adds_up(name, Protocol::Itch50, "  backend: socket\n", bad_lines(0.01));
}

#[test]
fn generic_mode_gives_the_same_stream() {
    let name = "generic_mode_gives_the_same_stream";
    a_session_adds_up(name, Protocol::Itch50, "  backend: xdp\n  xdp_mode: generic\n", bad_lines(0.01));
}

#[test]
fn the_mode_in_force_is_read_back_and_shown() {
    let name = "the_mode_in_force_is_read_back_and_shown";
    for (asked, in_force) in [("auto", "copy"), ("copy", "copy"), ("generic", "generic")] {
        let Some(mut rig) = Rig::new(name) else { return };
        rig.receive = format!("  backend: xdp\n  xdp_mode: {asked}\n");
        rig.write_feeds(&feeds_of(Synthetic::new(&spec(Protocol::Itch50, 1, 10, 1)).unwrap().channels()));
        rig.start();
        let status = rig.stop();
        let sockets = status["workers"][0]["receiver"]["sockets"].as_array().unwrap();
        assert_eq!(sockets.len(), 2);
        assert!(sockets.iter().all(|socket| socket["mode"] == in_force), "{asked}: {sockets:?}");
    }
}
