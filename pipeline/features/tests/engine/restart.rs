//! A restart in the middle changes nothing, and a state that is not one is refused.

use crate::session::*;
use features::{Engine, StateError};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the session and wherever it is cut: identical records, and identical states at the end.
    #[test]
    fn a_session_cut_at_any_tick_gives_the_same_records(seed: u64, len in 10usize..2_500, cut: prop::sample::Index) {
        let (sets, session) = (every_feature(), random_session(seed, len));
        let (first, second) = session.split_at(cut.index(session.len() + 1));
        let mut whole = Engine::new(&sets, limits());
        let want = feed(&mut whole, &session);

        let mut before = Engine::new(&sets, limits());
        let mut have = feed(&mut before, first);
        let state = before.save();
        let mut after = Engine::restore(&sets, limits(), &state).unwrap();
        prop_assert_eq!(after.number(), before.number());
        prop_assert_eq!(&after.save(), &state);
        have.extend(feed(&mut after, second));
        prop_assert_eq!(have, want);
        prop_assert_eq!(after.save(), whole.save());
    }
}

#[test]
fn a_state_of_other_sets_is_refused() {
    let sets = every_feature();
    let mut engine = Engine::new(&sets, limits());
    feed(&mut engine, &random_session(1, 500));
    let state = engine.save();
    for change in 0..4 {
        let mut other = sets.clone();
        match change {
            0 => other[1].name = "renamed".into(),
            1 => other[1].publish.every_ms = Some(7),
            2 => other[2].publish.on_change[0].by = 0.5,
            _ => drop(other.pop()),
        }
        let refused = Engine::restore(&other, limits(), &state).err();
        assert!(matches!(refused, Some(StateError::OtherSets)), "{change}: {refused:?}");
    }
}

#[test]
fn a_state_that_is_damaged_or_cut_is_refused_and_never_panics() {
    let sets = every_feature();
    let mut engine = Engine::new(&sets, limits());
    feed(&mut engine, &random_session(2, 300));
    let state = engine.save();
    for len in (0..state.len()).step_by(37) {
        assert!(Engine::restore(&sets, limits(), &state[..len]).is_err(), "{len} bytes");
    }
    for at in (0..state.len()).step_by(41) {
        let mut damaged = state.clone();
        damaged[at] ^= 0x10;
        assert!(Engine::restore(&sets, limits(), &damaged).is_err(), "byte {at}");
    }
    let mut longer = state;
    longer.push(0);
    assert!(Engine::restore(&sets, limits(), &longer).is_err());
}

/// Forged states pass the checksum; what they claim must still not be believed.
#[test]
fn a_forged_state_is_refused_or_works_and_never_panics() {
    let sets = every_feature();
    let mut engine = Engine::new(&sets, limits());
    let session = random_session(4, 400);
    feed(&mut engine, &session);
    let state = engine.save();
    let tail = state.len().saturating_sub(4_000);
    for at in (12..600).chain(tail..state.len()).step_by(7) {
        let mut forged = state.clone();
        forged[at] ^= 0xff;
        let checksum = crc32fast::hash(&forged[12..]);
        forged[8..12].copy_from_slice(&checksum.to_le_bytes());
        if let Ok(mut engine) = Engine::restore(&sets, limits(), &forged) {
            feed(&mut engine, &session);
        }
    }
}
