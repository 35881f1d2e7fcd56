//! Any bytes are a tick; the engine must survive all of them.

use crate::session::*;
use features::Engine;
use tick::{Action, Tick};
use zerocopy::FromBytes;

const ACTIONS: [Action; 9] = [
    Action::Add,
    Action::Modify,
    Action::Cancel,
    Action::Clear,
    Action::Trade,
    Action::Fill,
    Action::Status,
    Action::None,
    Action::Gap,
];

#[test]
fn any_bytes_never_panic_and_numbers_have_no_hole() {
    let sets = every_feature();
    bolero::check!().with_type::<Vec<[u8; 64]>>().for_each(|bytes| {
        let mut engine = Engine::new(&sets, limits());
        let ticks: Vec<Tick> = bytes
            .iter()
            .map(|bytes| {
                let mut tick = Tick::read_from_bytes(bytes).expect("64 bytes");
                // Few ids and mostly known actions, so that ticks meet.
                tick.instrument_id %= 4;
                tick.publisher_id %= 2;
                tick.channel_id %= 3;
                if tick.reserved % 4 != 0 {
                    tick.action = ACTIONS[usize::from(tick.reserved) % ACTIONS.len()];
                }
                tick
            })
            .collect();
        let records = feed(&mut engine, &ticks);
        assert!(records.iter().zip(1..).all(|(record, number)| record.number == number));
        let state = engine.save();
        Engine::restore(&sets, limits(), &state).expect("its own state");
    });
}

#[test]
fn extreme_numbers_never_panic() {
    let sets = every_feature();
    let mut random = random_session(9, 4_000);
    let extremes = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    for (index, tick) in random.iter_mut().enumerate() {
        tick.price = extremes[index % extremes.len()];
        tick.size = [0, 1, u32::MAX - 1, u32::MAX][index / 3 % 4];
        tick.ts_recv = [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX][index / 11 % 5];
    }
    let mut engine = Engine::new(&sets, limits());
    let records = feed(&mut engine, &random);
    assert!(!records.is_empty());
    Engine::restore(&sets, limits(), &engine.save()).expect("its own state");
}
