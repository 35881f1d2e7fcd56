//! A tick, a record of features or a step of time that causes no order allocates nothing. A test binary of its own,
//! because it replaces the allocator.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "host/support.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod support;

use bus::{FeatureRecord, FeatureSchema, FeatureSpec, Quality};
use lab::allocations::{Counting, of_this_thread};
use support::*;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn what_causes_no_order_allocates_nothing() {
    let before = of_this_thread();
    drop(Box::new(std::hint::black_box(1u64)));
    assert!(of_this_thread() > before, "the counter counts");
    let mut host = ready(vec![hosted("first", Silent), hosted("second", Silent)]);
    let schema = FeatureSchema {
        set: "fast".into(),
        features: vec![FeatureSpec { name: "mid".into(), unit: "price".into() }],
    };
    let values = 1f64.to_le_bytes();
    let record = FeatureRecord {
        number: 1,
        publisher_id: A.publisher_id,
        instrument_id: A.instrument_id,
        time_ns: NOW,
        channel_id: 1,
        sequence: 1,
        schema_id: schema.id(),
        quality: Quality::GOOD,
        values: &values,
    };
    host.add_schema(schema.id(), schema);
    host.features(NOW, &record);
    let mut market = Market::new(1);
    let ticks: Vec<_> = (0..20_000).map(|_| market.tick()).collect();
    // The first of each instrument makes room.
    ticks[..100].iter().for_each(|tick| host.tick(tick.ts_recv, tick));
    let before = of_this_thread();
    for (number, tick) in (2..).zip(&ticks[100..]) {
        host.tick(tick.ts_recv, tick);
        host.features(tick.ts_recv, &FeatureRecord { number, ..record });
        host.time(tick.ts_recv);
    }
    assert_eq!(of_this_thread() - before, 0);
    assert_eq!(host.counts().ticks, 20_000 + Market::opening().len() as u64);
}
