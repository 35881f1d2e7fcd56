//! Documents that cannot be used, and processes that die between two of them.

use crate::control::of_version;
use crate::expected::{assert_adds_up, feeds_of, ticks_of};
use crate::link::{Link, SECTION, set};
use crate::rig::Rig;
use crate::sessions::{messages, spec};
use bus::Sha256Sum;
use bus::config::FeedsDocument;
use bus::link::{Ask, FaultCode, LinkService, SetDocument, Taken, TakenState};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use venue::impair::Impairment;
use venue::script::Pace;
use venue::session::{Protocol, Source};
use venue::synthetic::Synthetic;

fn running(link: &mut Link) -> (u64, FeedsDocument) {
    let feeds = link.documents().feeds;
    (feeds.version, serde_json::from_str(feeds.document.get()).unwrap())
}

#[test]
fn a_killed_process_begins_with_the_last_version_that_it_accepted() {
    let name = "a_killed_process_begins_with_the_last_version_that_it_accepted";
    let Some(mut rig) = Rig::new(name) else { return };
    rig.more = SECTION.into();
    let all = feeds_of(Synthetic::new(&spec(Protocol::Itch50, 3, 10, 1)).unwrap().channels());
    rig.write_feeds(&all);
    rig.start();
    let rounds = if std::env::var_os("FEEDPLANE_SOAK").is_some() { 50 } else { 4 };
    let (sent, accepted) = (AtomicU64::new(0), AtomicU64::new(0));
    for round in 0..rounds {
        std::thread::scope(|scope| {
            let path = rig.path("control.sock");
            let (all, sent, accepted) = (&all, &sent, &accepted);
            let writer = scope.spawn(move || {
                let mut link = Link::at(&path);
                loop {
                    let version = sent.fetch_add(1, Ordering::SeqCst) + 1;
                    let document = serde_json::to_string(&of_version(all, version)).unwrap();
                    match link.try_ask::<Taken>(set(LinkService::Feeds, version, &document, false)) {
                        Some(taken) => accepted.store(taken.unwrap().version, Ordering::SeqCst),
                        None => return,
                    }
                }
            });
            // At another moment each time.
            std::thread::sleep(std::time::Duration::from_micros(20_000 + 7_777 * round));
            rig.kill();
            writer.join().unwrap();
        });
        rig.start();
        let (version, feeds) = running(&mut Link::of(&rig));
        let (sent, accepted) = (sent.load(Ordering::SeqCst), accepted.load(Ordering::SeqCst));
        println!("accepted {accepted}, sent {sent}, began with {version}");
        assert!(
            (accepted..=sent).contains(&version),
            "accepted {accepted}, sent {sent}, began with {version}"
        );
        assert_eq!(feeds, of_version(&all, version));
        let channels = rig.status().unwrap()["workers"][0]["channels"].as_array().unwrap().len();
        assert_eq!(channels, feeds.feeds.len());
    }
    rig.stop();
}

#[test]
fn what_cannot_be_used_is_refused_with_its_places_and_changes_nothing() {
    let name = "what_cannot_be_used_is_refused_with_its_places_and_changes_nothing";
    let Some(mut rig) = Rig::new(name) else { return };
    rig.more = SECTION.into();
    let spec = spec(Protocol::Itch50, 2, messages() / 4, 34);
    let session = Synthetic::new(&spec).unwrap();
    let feeds = feeds_of(session.channels());
    rig.write_feeds(&feeds);
    rig.start();
    let mut link = Link::of(&rig);
    let good = serde_json::to_value(&feeds).unwrap();
    let with = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed.to_string()
    };
    let no_schema = {
        let mut changed = good.clone();
        changed["feeds"][1]["protocol"] = "mdp3".into();
        changed["feeds"][1]["schema"] = "missing.xml".into();
        changed.to_string()
    };
    let line = &good["feeds"][0]["lines"]["a"];
    let swallowing = {
        let mut changed = good.clone();
        let filter = json!({"name": "x", "group": line["group"], "port": line["port"], "action": "drop"});
        changed["filters"] = json!([filter]);
        changed.to_string()
    };
    let cases = [
        (with("/feeds", json!([])), "feeds"),
        (with("/feeds/0/name", json!("")), "feeds[0].name"),
        (with("/feeds/1/channel_id", json!(1)), "feeds[1].channel_id"),
        (with("/feeds/1/window_packets", json!("many")), "feeds[1].window_packets"),
        (no_schema, "feeds[1].schema"),
        (swallowing, "filters[0]"),
        (json!([1]).to_string(), "document"),
    ];
    for (document, path) in cases {
        for dry_run in [true, false] {
            let fault = link.ask::<Taken>(set(LinkService::Feeds, 1, &document, dry_run)).unwrap_err();
            assert_eq!(fault.code, FaultCode::Invalid, "{fault}");
            assert!(fault.errors.iter().any(|problem| problem.path == path), "{path}: {fault}");
        }
    }
    let text = good.to_string();
    let wrong_sum = Ask::SetDocument(SetDocument {
        service: LinkService::Feeds,
        version: 1,
        sha256: Sha256Sum::of(b"another"),
        document: RawValue::from_string(text.clone()).unwrap(),
        dry_run: false,
    });
    assert_eq!(link.ask::<Taken>(wrong_sum).unwrap_err().code, FaultCode::Checksum);
    // A dry run says what would be done, and does not.
    let mut one = good.clone();
    one["feeds"].as_array_mut().unwrap().pop();
    let checked: Taken = link.ask(set(LinkService::Feeds, 1, &one.to_string(), true)).unwrap();
    assert_eq!((checked.state, checked.changed.feeds_removed.len()), (TakenState::Checked, 1));
    assert_eq!(running(&mut link).0, 0);
    let clean = [Impairment::default(), Impairment::default()];
    let report = rig.play(session, Pace::Recorded { speed: 1.0 }, clean, 3);
    rig.stop();
    assert!(!rig.path("state/feeds.json").exists());
    assert_adds_up(&report, &rig.stream(), &ticks_of(Synthetic::new(&spec).unwrap(), &feeds));
}

#[test]
fn a_version_has_the_last_word_over_the_file_and_one_that_cannot_be_run_is_left_out() {
    let name = "a_version_has_the_last_word_over_the_file_and_one_that_cannot_be_run_is_left_out";
    let Some(mut rig) = Rig::new(name) else { return };
    rig.more = SECTION.into();
    let all = feeds_of(Synthetic::new(&spec(Protocol::Itch50, 3, 10, 1)).unwrap().channels());
    rig.write_feeds(&all);
    rig.start();
    let mut link = Link::of(&rig);
    let mut two = all.clone();
    two.feeds.pop();
    two.feeds[1].protocol = bus::config::FeedProtocol::Mdp3;
    two.feeds[1].schema = Some("schema.xml".into());
    std::fs::write(rig.path("schema.xml"), wire::mdp3::FIXTURE).unwrap();
    assert_eq!(link.set_feeds(4, &two).unwrap().state, TakenState::Running);
    rig.signal(libc::SIGHUP);
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(running(&mut link), (4, two.clone()));
    rig.stop();

    rig.start();
    assert_eq!(running(&mut Link::of(&rig)), (4, two.clone()));
    rig.stop();

    // The template file is gone: the version is left out, and taken again when it can be run.
    std::fs::rename(rig.path("schema.xml"), rig.path("away.xml")).unwrap();
    rig.start();
    let mut link = Link::of(&rig);
    let held = link.documents().feeds;
    assert_eq!(held.version, 0);
    let waiting = held.waiting.unwrap();
    assert!(waiting.version == 4 && waiting.refused.unwrap().contains("schema.xml"));
    assert_eq!(link.status()["documents"]["feeds"]["waiting_version"], 4);
    std::fs::rename(rig.path("away.xml"), rig.path("schema.xml")).unwrap();
    link.set_feeds(4, &two).unwrap();
    assert_eq!(running(&mut link), (4, two));
    rig.stop();
}

#[test]
fn what_only_a_start_can_change_waits_for_one() {
    let Some(mut rig) = Rig::new("what_only_a_start_can_change_waits_for_one") else { return };
    rig.more = SECTION.into();
    let all = feeds_of(Synthetic::new(&spec(Protocol::Itch50, 2, 10, 1)).unwrap().channels());
    rig.write_feeds(&all);
    rig.start();
    let mut link = Link::of(&rig);
    let own: Value = serde_json::from_str(link.documents().dataplane.document.get()).unwrap();
    assert!(own.get("control").is_none() && own["publisher"].get("redis").is_none(), "{own}");
    let mut wanted = own.clone();
    wanted["receive"]["frames"] = 2048.into();
    // What is the process's own does not come from a version.
    wanted["publisher"]["redis"] = "redis://elsewhere".into();
    let text = wanted.to_string();
    let checked: Taken = link.ask(set(LinkService::Dataplane, 1, &text, true)).unwrap();
    assert_eq!(
        (checked.state, checked.restart_needed.as_slice()),
        (TakenState::Checked, &["receive.frames".into()][..])
    );
    let taken: Taken = link.ask(set(LinkService::Dataplane, 1, &text, false)).unwrap();
    assert_eq!(
        (taken.state, taken.restart_needed.as_slice()),
        (TakenState::RestartNeeded, &["receive.frames".into()][..])
    );
    let held = link.documents().dataplane;
    assert_eq!((held.version, held.waiting.unwrap().version), (0, 1));
    let mut wrong = own.clone();
    wrong["workers"][0]["feeds"] = json!(["nobody"]);
    let fault = link.ask::<Taken>(set(LinkService::Dataplane, 2, &wrong.to_string(), false)).unwrap_err();
    assert_eq!(
        (fault.code, fault.errors[0].path.as_str()),
        (FaultCode::Invalid, "workers[0].feeds"),
        "{fault}"
    );
    rig.stop();

    rig.start();
    let mut link = Link::of(&rig);
    let held = link.documents().dataplane;
    assert_eq!((held.version, held.waiting.is_none()), (1, true));
    assert_eq!(link.nic("nic-a").sockets[0].frames, 1024, "half of them for each interface");
    // Who takes which feed is changed at once.
    wanted["workers"][0]["feeds"] = json!([all.feeds[0].name]);
    let taken: Taken = link.ask(set(LinkService::Dataplane, 2, &wanted.to_string(), false)).unwrap();
    assert_eq!((taken.state, taken.changed.feeds_removed.len()), (TakenState::Running, 1));
    assert_eq!(link.status()["workers"][0]["channels"].as_array().unwrap().len(), 1);
    // A version whose interface is not there is left out at the start.
    wanted["workers"][0]["interface_a"] = "nic-x".into();
    let taken: Taken = link.ask(set(LinkService::Dataplane, 3, &wanted.to_string(), false)).unwrap();
    assert_eq!(taken.state, TakenState::RestartNeeded);
    rig.stop();
    rig.start();
    let held = Link::of(&rig).documents().dataplane;
    let waiting = held.waiting.unwrap();
    assert_eq!((held.version, waiting.version), (0, 3));
    assert!(waiting.refused.unwrap().contains("nic-x"));
    rig.stop();
}
