//! The control plane configures a data plane that works: feeds, filters, programs, while packets flow.

use crate::expected::{assert_adds_up, feeds_of, ticks_of};
use crate::link::{Link, SECTION};
use crate::rig::{Rig, play_in};
use crate::sessions::{bad_lines, messages, spec};
use bus::config::{Feed, FeedsDocument, Filter, FilterAction};
use bus::link::{Ask, Clocks, FaultCode, Hello, LinkService, Nic, Replaced};
use serde_json::Value;
use venue::impair::Impairment;
use venue::script::Pace;
use venue::session::{Protocol, Source};
use venue::synthetic::Synthetic;

/// Changes made in a row.
fn changes() -> u64 {
    if std::env::var_os("FEEDPLANE_SOAK").is_some() { 1_000 } else { 50 }
}

fn filter_of(feed: &Feed, action: FilterAction) -> Filter {
    let line = feed.lines.a.as_ref().unwrap();
    Filter {
        name: format!("no-{}", feed.name),
        group: line.group,
        port: Some(line.port),
        source: None,
        action,
    }
}

fn channel(status: &Value, name: &str) -> Option<Value> {
    let channels = status["workers"][0]["channels"].as_array()?;
    channels.iter().find(|channel| channel["name"] == name).cloned()
}

#[test]
fn a_feed_and_a_filter_come_over_the_socket_and_the_others_lose_nothing() {
    let name = "a_feed_and_a_filter_come_over_the_socket_and_the_others_lose_nothing";
    let Some(mut rig) = Rig::new(name) else { return };
    rig.more = SECTION.into();
    let spec = spec(Protocol::Itch50, 3, messages() * 3, 31);
    let session = Synthetic::new(&spec).unwrap();
    let all = feeds_of(session.channels());
    let mut two = all.clone();
    let third = two.feeds.pop().unwrap();
    let mut filtered = two.clone();
    filtered.filters.push(filter_of(&third, FilterAction::Drop));
    rig.write_feeds(&two);
    rig.start();
    let mut link = Link::of(&rig);
    let hello: Hello = link.ask(Ask::Hello).unwrap();
    assert_eq!(hello.program, "feedplane-dataplane");
    let network = rig.network.clone();
    let player = std::thread::spawn(move || {
        play_in(&network, session, Pace::Recorded { speed: 1.0 }, bad_lines(0.01), 3)
    });
    link.wait("packets", |status| status["workers"][0]["receiver"]["packets"].as_u64() > Some(0));

    let filters = |status: &Value| status["workers"][0]["link"][0]["filters"].clone();
    let taken = link.set_feeds(1, &filtered).unwrap();
    assert_eq!(taken.changed.filters_added, ["no-".to_owned() + &third.name]);
    let after = link.wait("the filter to drop", |status| filters(status)[0]["packets"].as_u64() > Some(0));
    println!("filter: taken in {} us, dropping {after:?} later", taken.took_us);
    assert!(link.nic("nic-a").program_packets["filtered"] > 0);

    let taken = link.set_feeds(2, &all).unwrap();
    assert_eq!(
        (&taken.changed.feeds_added, taken.changed.filters_removed.len()),
        (&vec![third.name.clone()], 1)
    );
    // Its first packets wait for those before them, which nobody heard, until its gap timeout is over.
    let after = link.wait("the feed's packets", |status| {
        channel(status, &third.name).is_some_and(|of| of["a"]["packets"].as_u64() > Some(0))
    });
    println!("feed: taken in {} us, its packets are there {after:?} later", taken.took_us);
    assert_eq!(filters(&link.status()), serde_json::json!([]));

    // The same version again changes nothing; the filter takes the feed's place again.
    assert_eq!(link.set_feeds(2, &all).unwrap().changed, Default::default());
    let taken = link.set_feeds(3, &filtered).unwrap();
    assert_eq!(taken.changed.feeds_removed, [third.name]);
    assert!(!player.is_finished(), "the changes must happen while packets flow");
    let mut report = player.join().unwrap();
    rig.stop();
    report.channels.retain(|channel| channel.channel_id != 3);
    let mut records = rig.stream();
    records.retain(|record| record.channel_id != 3);
    assert_adds_up(&report, &records, &ticks_of(Synthetic::new(&spec).unwrap(), &all));
}

#[test]
fn a_thousand_changes_under_load_lose_no_packet_and_the_last_one_stands() {
    let name = "a_thousand_changes_under_load_lose_no_packet_and_the_last_one_stands";
    let Some(mut rig) = Rig::new(name) else { return };
    rig.more = SECTION.into();
    let spec = spec(Protocol::Itch50, 3, messages() * 3, 32);
    let session = Synthetic::new(&spec).unwrap();
    let all = feeds_of(session.channels());
    rig.write_feeds(&all);
    rig.start();
    let mut link = Link::of(&rig);
    let network = rig.network.clone();
    let player = std::thread::spawn(move || {
        play_in(&network, session, Pace::Recorded { speed: 1.0 }, bad_lines(0.001), 3)
    });
    link.wait("packets", |status| status["workers"][0]["receiver"]["packets"].as_u64() > Some(0));
    let began = std::time::Instant::now();
    for version in 1..=changes() {
        let document = of_version(&all, version);
        link.set_feeds(version, &document).unwrap();
    }
    println!("{} changes in {:?}", changes(), began.elapsed());
    assert!(!player.is_finished(), "the changes must happen while packets flow");
    let documents = link.documents();
    assert_eq!(documents.feeds.version, changes());
    let last = of_version(&all, changes());
    let running: FeedsDocument = serde_json::from_str(documents.feeds.document.get()).unwrap();
    assert_eq!(running, last);
    let status = link.status();
    for feed in &all.feeds {
        assert_eq!(channel(&status, &feed.name).is_some(), last.feeds.contains(feed) || feed.channel_id == 2);
    }
    let mut report = player.join().unwrap();
    let status = rig.stop();
    assert_eq!(status["documents"]["feeds"]["version"], changes());
    // Channel 3 came and went; 1 stayed as it was, 2 stayed and waited for longer each time.
    report.channels.retain(|channel| channel.channel_id != 3);
    let mut records = rig.stream();
    records.retain(|record| record.channel_id != 3);
    assert_adds_up(&report, &records, &ticks_of(Synthetic::new(&spec).unwrap(), &all));
}

/// Channel 1 is always the same; 2's waiting tells the version; 3 comes and goes, filtered in one way or another meanwhile.
pub(crate) fn of_version(all: &FeedsDocument, version: u64) -> FeedsDocument {
    let mut document = all.clone();
    document.feeds[1].window_packets = 4_096 + version as u32;
    let action = match version % 3 {
        1 => FilterAction::Drop,
        2 => FilterAction::Pass,
        _ => return document,
    };
    let third = document.feeds.pop().unwrap();
    document.filters.push(filter_of(&third, action));
    document
}

#[test]
fn an_interface_is_taken_off_and_put_back_while_the_other_line_carries_the_feed() {
    let name = "an_interface_is_taken_off_and_put_back_while_the_other_line_carries_the_feed";
    let Some(mut rig) = Rig::new(name) else { return };
    rig.more = SECTION.into();
    let spec = spec(Protocol::Itch50, 1, messages() * 2, 33);
    let session = Synthetic::new(&spec).unwrap();
    let feeds = feeds_of(session.channels());
    rig.write_feeds(&feeds);
    rig.start();
    let mut link = Link::of(&rig);
    let network = rig.network.clone();
    let clean = || [Impairment::default(), Impairment::default()];
    let player =
        std::thread::spawn(move || play_in(&network, session, Pace::Recorded { speed: 1.0 }, clean(), 3));
    let packets =
        |status: &Value, line: &str| status["workers"][0]["channels"][0][line]["packets"].as_u64().unwrap();
    link.wait("packets", |status| packets(status, "a") > 0 && packets(status, "b") > 0);
    for _ in 0..2 {
        let nic: Nic = link.ask(Ask::Detach { interface: "nic-a".into() }).unwrap();
        assert_eq!((&nic.attached, nic.program.is_some()), (&None, true));
        assert_eq!(link.status()["workers"][0]["link"][0]["attached"], "detached");
        // What was taken before is worked off; then line A is still and line B is not.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let before = link.status();
        link.wait("line B to go on", |status| packets(status, "b") > packets(&before, "b") + 100);
        assert_eq!(packets(&link.status(), "a"), packets(&before, "a"));
        let nic: Nic = link.ask(Ask::Attach { interface: "nic-a".into() }).unwrap();
        assert_eq!(nic.attached.as_deref(), Some("native"));
        link.wait("line A to come back", |status| packets(status, "a") > packets(&before, "a"));
    }
    assert!(!player.is_finished(), "it must happen while packets flow");
    let report = player.join().unwrap();
    rig.stop();
    assert_adds_up(&report, &rig.stream(), &ticks_of(Synthetic::new(&spec).unwrap(), &feeds));
}

#[test]
fn interfaces_and_clocks_are_told_as_the_kernel_says() {
    let Some(mut rig) = Rig::new("interfaces_and_clocks_are_told_as_the_kernel_says") else { return };
    rig.more = SECTION.into();
    rig.write_feeds(&feeds_of(Synthetic::new(&spec(Protocol::Itch50, 1, 10, 1)).unwrap().channels()));
    for (backend, source) in [("xdp", "xdp"), ("socket", "kernel")] {
        rig.receive = format!("  backend: {backend}\n");
        rig.start();
        let mut link = Link::of(&rig);
        let nics: Vec<Nic> = link.ask(Ask::Nics).unwrap();
        let seen: Vec<_> = nics.iter().map(|nic| (nic.interface.as_str(), nic.lines.join(""))).collect();
        assert_eq!(seen, [("nic-a", "a".to_owned()), ("nic-b", "b".to_owned())]);
        let shown = rig.network.tool("ip", &["-d", "link", "show", "nic-a"]).unwrap();
        let nic = &nics[0];
        assert_eq!((nic.worker.as_str(), nic.backend.as_str()), ("w0", backend));
        assert_eq!((nic.driver.as_deref(), nic.mtu_bytes), (Some("veth"), Some(1500)));
        assert!(shown.starts_with(&format!("{}: nic-a@", nic.index)), "{shown}");
        assert!(shown.contains(nic.mac.as_ref().unwrap()) && nic.up && nic.carrier, "{shown}");
        assert!(nic.counters.contains_key("rx_packets"));
        if backend == "xdp" {
            let program = nic.program.as_ref().unwrap();
            assert!(shown.contains(&format!("prog/xdp id {}", program.id)), "{program:?} {shown}");
            assert!(shown.contains(&format!("tag {}", program.tag)), "{program:?} {shown}");
            assert_eq!((nic.attached.as_deref(), nic.sockets.len()), (Some("native"), 1));
            assert_eq!(nic.sockets[0].mode, "copy");
            let replaced: Replaced = link.ask(Ask::ReplacePrograms).unwrap();
            assert_eq!(replaced.programs, 2);
            let now = link.nic("nic-a").program.unwrap();
            assert!(now.id != program.id && now.tag == program.tag, "{now:?}");
        } else {
            assert_eq!((&nic.attached, &nic.program, nic.sockets.len()), (&None, &None, 0));
            let refused = link.ask::<Nic>(Ask::Detach { interface: "nic-a".into() }).unwrap_err();
            assert_eq!(refused.code, FaultCode::Unsupported, "{refused}");
        }
        let absent = link.ask::<Nic>(Ask::Attach { interface: "venue-a".into() }).unwrap_err();
        assert_eq!(absent.code, FaultCode::NoInterface, "{absent}");
        let clocks: Clocks = link.ask(Ask::Clock).unwrap();
        let lines: Vec<_> =
            clocks.clocks.iter().map(|clock| (clock.line.as_str(), clock.source.as_str())).collect();
        assert_eq!(lines, [("a", source), ("b", source)]);
        assert!(clocks.clocks.iter().all(|clock| clock.age_ms < 60_000), "{clocks:?}");
        rig.stop();
    }
}

#[test]
fn a_worker_of_sockets_says_that_it_has_no_filters() {
    let Some(mut rig) = Rig::new("a_worker_of_sockets_says_that_it_has_no_filters") else { return };
    rig.more = SECTION.into();
    rig.receive = "  backend: socket\n".into();
    let all = feeds_of(Synthetic::new(&spec(Protocol::Itch50, 2, 10, 1)).unwrap().channels());
    rig.write_feeds(&all);
    rig.start();
    let mut link = Link::of(&rig);
    let mut filtered = all;
    let second = filtered.feeds.pop().unwrap();
    filtered.filters.push(filter_of(&second, FilterAction::Drop));
    let taken = link.set_feeds(1, &filtered).unwrap();
    assert!(taken.notes.iter().any(|note| note.contains("w0 receives through sockets")), "{taken:?}");
    assert_eq!(taken.service, LinkService::Feeds);
    rig.stop();
}
