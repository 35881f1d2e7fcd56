//! The same inputs in the same order give the same bytes.

use crate::support::*;
use book::{Books, Limits};
use bus::config::InstrumentKey;
use std::path::PathBuf;
use tick::{Action, Flags, StatusAction, Tick};

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let session = || {
        let mut host = ready(vec![hosted("first", Restless), hosted("second", Restless)]);
        let (mut market, mut venue) = (Market::new(5), Venue::new(6));
        let bytes = play(&mut host, &mut market, &mut venue, &mut Streams::default(), 20_000);
        (bytes, host.counts(), host.trouble())
    };
    let (once, twice) = (session(), session());
    let text = String::from_utf8(once.0.clone()).unwrap();
    for word in ["action=new", "action=replace", "action=cancel", "kind=denied", "tif=ioc"] {
        assert!(text.matches(word).count() > 50, "{word}");
    }
    assert_eq!(once.2, None);
    assert!(once == twice, "the bytes differ");
}

/// The ticks of a real by-order file of one future.
fn es_ticks() -> Option<Vec<Tick>> {
    use dbn::decode::DecodeRecord;
    let name = "databento_mbo/esh4-glbx-mdp3-20231225.mbo.dbn.zst";
    let path = std::env::var_os("FEEDPLANE_CAPTURES").map(|folder| PathBuf::from(folder).join(name));
    let Some(path) = path.filter(|path| path.exists()) else {
        eprintln!("SKIPPED: FEEDPLANE_CAPTURES does not lead to {name}");
        return None;
    };
    let mut decoder = dbn::decode::dbn::Decoder::from_zstd_file(path).unwrap();
    let mut ticks = Vec::new();
    while let Some(record) = decoder.decode_record::<dbn::MboMsg>().unwrap() {
        ticks.push(tick::dbn::from_mbo(record));
    }
    Some(ticks)
}

#[test]
fn a_real_session_gives_the_same_bytes_twice() {
    let Some(ticks) = es_ticks() else { return };
    let limits = RISK
        .replace("thursday", "sunday, monday, tuesday, wednesday, thursday, friday")
        .replace("'4.00'", "'400.00'")
        .replace("order_notional_max: 60000", "order_notional_max: 100000000")
        .replace("exposure_max: 150000", "exposure_max: 1000000000")
        .replace("exposure_max: 250000", "exposure_max: 1000000000")
        .replace("drawdown_max: 200000", "drawdown_max: 100000000")
        .replace("drawdown_max: 100000\n", "drawdown_max: 100000000\n")
        .replace("multiplier: '1'", "multiplier: '50'");
    let first = ticks.iter().find(|tick| tick.instrument_id != 0).unwrap();
    let key = InstrumentKey { publisher_id: first.publisher_id, instrument_id: first.instrument_id };
    let session = || {
        let mut host =
            bare(&risk(&limits), 9_000_000, Books::new(Limits::default()), vec![hosted("s", Restless)]);
        host.define(key, &row("ESH4"));
        host.rebuilt();
        host.trading(0, Some(bus::TradingMode::Active));
        let (mut bytes, mut venue) = (Vec::new(), Venue::new(8));
        // The file has no states: trading begins behind the snapshot that it begins with.
        let trading = StatusAction::Trading.0.into();
        let begins = ticks.iter().position(|tick| !tick.flags.contains(Flags::SNAPSHOT));
        for (at, tick) in ticks.iter().enumerate() {
            if Some(at) == begins {
                let flags = Flags::LAST;
                host.tick(tick.ts_recv, &Tick { action: Action::Status, size: trading, flags, ..*tick });
                host.go_live(tick.ts_recv);
            }
            // The snapshot's ticks have no time of arrival.
            host.tick(if Some(at) < begins { 0 } else { tick.ts_recv }, tick);
            for report in venue.answers() {
                host.report(tick.ts_recv, &report);
            }
            for output in host.outputs().collect::<Vec<_>>() {
                write(&mut bytes, &output);
                if let strategy::host::Output::Instruction(instruction) = &output {
                    venue.take(instruction, tick.ts_recv);
                }
            }
            venue.move_on(tick.ts_recv);
        }
        bytes
    };
    let (once, twice) = (session(), session());
    let sent = String::from_utf8(once.clone()).unwrap().matches("action=new").count();
    eprintln!("{} ticks, {sent} new orders, {} bytes", ticks.len(), once.len());
    assert!(sent > 100, "{sent}: {}", String::from_utf8_lossy(&once[..once.len().min(2_000)]));
    assert!(once == twice, "the bytes differ");
}
