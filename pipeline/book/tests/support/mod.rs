//! What several tests need: ticks in few words, and the real file.
#![allow(dead_code, unreachable_pub, reason = "not every test uses all of it")]

use std::path::PathBuf;
use tick::{Action, DEPTH_NO_LEVEL, Flags, Side, Tick};

pub const CHANNEL: u16 = 7;
pub const INSTRUMENT: u32 = 42;
pub const UNIT: i64 = 1_000_000_000;

/// A tick of the instrument of these tests. Every tick ends its event.
pub fn tick(action: Action, side: Side, order_id: u64, price: i64, size: u32) -> Tick {
    Tick {
        sequence: 100,
        order_id,
        price: price.checked_mul(UNIT).unwrap_or(price),
        size,
        instrument_id: INSTRUMENT,
        publisher_id: 1,
        channel_id: CHANNEL,
        action,
        side,
        flags: Flags::LAST,
        ..Tick::EMPTY
    }
}

pub fn add(side: Side, order_id: u64, price: i64, size: u32) -> Tick {
    tick(Action::Add, side, order_id, price, size)
}

pub fn modify(side: Side, order_id: u64, price: i64, size: u32) -> Tick {
    tick(Action::Modify, side, order_id, price, size)
}

pub fn cancel(order_id: u64, size: u32) -> Tick {
    tick(Action::Cancel, Side::None, order_id, i64::MAX, size)
}

/// A price level by number.
pub fn level(action: Action, side: Side, depth: u8, price: i64, size: u32) -> Tick {
    let tick = tick(action, side, 0, price, size);
    Tick { depth, flags: tick.flags | Flags::MBP, ..tick }
}

/// A price level without a number.
pub fn priced(action: Action, side: Side, price: i64, size: u32) -> Tick {
    level(action, side, DEPTH_NO_LEVEL, price, size)
}

pub fn flagged(tick: Tick, flags: Flags) -> Tick {
    Tick { flags: tick.flags | flags, ..tick }
}

pub fn clear() -> Tick {
    Tick::channel_clear(1, CHANNEL, 1, 0)
}

/// The instrument's own clear.
pub fn clear_instrument() -> Tick {
    tick(Action::Clear, Side::None, 0, i64::MAX, 0)
}

/// A file among the captures, if there are any.
pub fn capture(test: &str, name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("FEEDPLANE_CAPTURES").map(|folder| PathBuf::from(folder).join(name));
    match path.filter(|path| path.exists()) {
        None => {
            eprintln!("SKIPPED: {test}: FEEDPLANE_CAPTURES does not lead to {name}");
            None
        }
        some => some,
    }
}

/// The ticks of the real by-order file of one future.
pub fn es_ticks(test: &str) -> Option<Vec<Tick>> {
    use dbn::decode::DecodeRecord;
    let path = capture(test, "databento_mbo/esh4-glbx-mdp3-20231225.mbo.dbn.zst")?;
    let mut decoder = dbn::decode::dbn::Decoder::from_zstd_file(path).expect("a DBN file");
    let mut ticks = Vec::new();
    while let Some(record) = decoder.decode_record::<dbn::MboMsg>().expect("a record") {
        ticks.push(tick::dbn::from_mbo(record));
    }
    Some(ticks)
}
