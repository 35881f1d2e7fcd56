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

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whenever others come and go beside it: a set that is unchanged gives what it gives alone, and the numbers have no
    /// hole.
    #[test]
    fn an_unchanged_set_goes_on_whatever_changes_beside_it(
        seed: u64,
        len in 10usize..2_500,
        cuts: [prop::sample::Index; 2],
        stays in 0usize..3,
        is_saved: bool,
    ) {
        let (sets, session) = (every_feature(), random_session(seed, len));
        let mut cuts = cuts.map(|cut| cut.index(session.len() + 1));
        cuts.sort_unstable();
        let stays = sets[stays % sets.len()].clone();
        let id = stays.schema().id();
        let of_it = |records: Vec<Record>| -> Vec<Record> {
            records.into_iter().filter(|record| record.schema_id == id).map(|record| Record { number: 0, set: 0, ..record }).collect()
        };
        let mut others: Vec<_> = sets.iter().filter(|set| **set != stays).cloned().collect();
        others.iter_mut().for_each(|set| set.name.push('2'));
        let with_others: Vec<_> = others.iter().take(1).chain([&stays]).chain(others.iter().skip(1)).cloned().collect();

        let alone = feed(&mut Engine::new(std::slice::from_ref(&stays), limits()), &session);
        let mut engine = Engine::new(&sets, limits());
        let mut have = feed(&mut engine, &session[..cuts[0]]);
        engine.change_sets(&with_others);
        if is_saved {
            engine = Engine::restore(&with_others, limits(), &engine.save()).unwrap();
        }
        have.extend(feed(&mut engine, &session[cuts[0]..cuts[1]]));
        engine.change_sets(std::slice::from_ref(&stays));
        have.extend(feed(&mut engine, &session[cuts[1]..]));
        prop_assert!(have.iter().enumerate().all(|(at, record)| record.number == at as u64 + 1));
        prop_assert_eq!(of_it(have), of_it(alone));
    }
}

/// A set that is new begins with the books as they are: its quotes are right at once, its windows are empty.
#[test]
fn a_new_set_begins_where_it_comes_in_with_the_books_as_they_are() {
    let sets = every_feature();
    let session = random_session(9, 1_500);
    let (first, second) = session.split_at(700);
    let mut engine = Engine::new(&sets[..1], limits());
    feed(&mut engine, first);
    let mut new = sets.clone();
    new.iter_mut().for_each(|set| set.instruments = None);
    engine.change_sets(&new);
    let have = feed(&mut engine, second);
    // Of an engine that has seen all from the beginning: what follows the book alone is the same.
    let mut whole = Engine::new(&new, limits());
    feed(&mut whole, first);
    let want = feed(&mut whole, second);
    let mut compared = 0;
    for set in &new {
        let schema = set.schema();
        let is_quote = |name: &str| ["spread", "mid", "microprice"].contains(&name);
        let quotes: Vec<usize> =
            (0..schema.features.len()).filter(|&value| is_quote(&schema.features[value].name)).collect();
        for record in have.iter().filter(|record| record.schema_id == schema.id()) {
            let is_same = |other: &&Record| {
                (other.schema_id, other.key, other.time_ns, other.sequence)
                    == (record.schema_id, record.key, record.time_ns, record.sequence)
            };
            let Some(want) = want.iter().rfind(is_same) else { continue };
            let (have, want) = (record.values(), want.values());
            assert!(quotes.iter().all(|&value| have[value].to_bits() == want[value].to_bits()), "{record:?}");
            compared += quotes.len();
        }
    }
    assert!(compared > 100, "only {compared} values were compared");
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
