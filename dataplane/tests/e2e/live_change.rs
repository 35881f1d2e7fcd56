//! Feeds and programs change while packets flow: nothing that was wanted before and after is lost.

use crate::expected::{assert_adds_up, feeds_of, ticks_of};
use crate::rig::{Rig, play_in};
use crate::sessions::{bad_lines, messages, spec};
use std::time::Duration;
use venue::impair::Impairment;
use venue::script::Pace;
use venue::session::{Protocol, Source};
use venue::synthetic::Synthetic;

fn clean() -> [Impairment; 2] {
    [Impairment::default(), Impairment::default()]
}

fn reload(rig: &mut Rig, channels: usize) {
    rig.signal(libc::SIGHUP);
    rig.wait("the feeds to change", |status| {
        status["workers"][0]["channels"].as_array().is_some_and(|list| list.len() == channels)
    });
}

#[test]
fn feeds_come_change_and_go_without_a_packet_of_the_others_lost() {
    let Some(mut rig) = Rig::new("feeds_come_change_and_go_without_a_packet_of_the_others_lost") else {
        return;
    };
    let spec = spec(Protocol::Itch50, 3, messages() * 4, 11);
    let session = Synthetic::new(&spec).unwrap();
    let all = feeds_of(session.channels());
    let mut feeds = all.clone();
    feeds.feeds.truncate(2);
    rig.write_feeds(&feeds);
    rig.start();
    let network = rig.network.clone();
    let player = std::thread::spawn(move || {
        play_in(&network, session, Pace::Recorded { speed: 1.0 }, bad_lines(0.01), 3)
    });
    // Channels 1 and 2 stay wanted throughout; 3 comes and goes, and 2's waiting changes.
    for turn in 0..6_u32 {
        let mut changed = all.clone();
        changed.feeds[1].window_packets = 4_096 + turn;
        if turn % 2 == 1 {
            changed.feeds.truncate(2);
        }
        rig.write_feeds(&changed);
        reload(&mut rig, changed.feeds.len());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!player.is_finished(), "the changes must happen while packets flow");
    let mut report = player.join().unwrap();
    rig.stop();
    report.channels.retain(|channel| channel.channel_id != 3);
    let mut records = rig.stream();
    records.retain(|record| record.channel_id != 3);
    assert_adds_up(&report, &records, &ticks_of(Synthetic::new(&spec).unwrap(), &all));
}

#[test]
fn a_feed_that_moves_to_another_group_loses_nothing_of_either() {
    let Some(mut rig) = Rig::new("a_feed_that_moves_to_another_group_loses_nothing_of_either") else {
        return;
    };
    let spec = spec(Protocol::Itch50, 1, messages() * 2, 12);
    let session = Synthetic::new(&spec).unwrap();
    let feeds = feeds_of(session.channels());
    rig.write_feeds(&feeds);
    rig.start();
    let network = rig.network.clone();
    let player =
        std::thread::spawn(move || play_in(&network, session, Pace::Recorded { speed: 1.0 }, clean(), 3));
    // Line B's entry is taken out and put back: line A carries the feed meanwhile.
    for _ in 0..3 {
        let mut moved = feeds.clone();
        moved.feeds[0].lines.b = None;
        for document in [&moved, &feeds] {
            rig.write_feeds(document);
            reload(&mut rig, 1);
            std::thread::sleep(Duration::from_millis(30));
        }
    }
    assert!(!player.is_finished(), "the changes must happen while packets flow");
    let report = player.join().unwrap();
    rig.stop();
    assert_adds_up(&report, &rig.stream(), &ticks_of(Synthetic::new(&spec).unwrap(), &feeds));
}

#[test]
fn a_replaced_program_loses_nothing() {
    let Some(mut rig) = Rig::new("a_replaced_program_loses_nothing") else { return };
    let spec = spec(Protocol::Itch50, 2, messages() * 3, 13);
    let session = Synthetic::new(&spec).unwrap();
    let feeds = feeds_of(session.channels());
    rig.write_feeds(&feeds);
    rig.start();
    let network = rig.network.clone();
    let player =
        std::thread::spawn(move || play_in(&network, session, Pace::Recorded { speed: 1.0 }, clean(), 3));
    for _ in 0..10 {
        rig.signal(libc::SIGUSR2);
        std::thread::sleep(Duration::from_millis(60));
    }
    assert!(!player.is_finished(), "the programs must be replaced while packets flow");
    let report = player.join().unwrap();
    rig.stop();
    assert_adds_up(&report, &rig.stream(), &ticks_of(Synthetic::new(&spec).unwrap(), &feeds));
}

#[test]
fn a_refused_feeds_document_changes_nothing() {
    let Some(mut rig) = Rig::new("a_refused_feeds_document_changes_nothing") else { return };
    let spec = spec(Protocol::Itch50, 1, messages() / 4, 14);
    let session = Synthetic::new(&spec).unwrap();
    let feeds = feeds_of(session.channels());
    rig.write_feeds(&feeds);
    rig.start();
    std::fs::write(rig.path("feeds.yaml"), "feeds: [{name: broken").unwrap();
    rig.signal(libc::SIGHUP);
    let report = rig.play(session, Pace::Recorded { speed: 1.0 }, clean(), 3);
    rig.stop();
    assert_adds_up(&report, &rig.stream(), &ticks_of(Synthetic::new(&spec).unwrap(), &feeds));
}
