//! The gateway's process under order flow, with a real Redis and the simulated venue or QuickFIX: killed, contended, and with
//! each neighbour gone or lying; and with its configuration changed by the control plane.
//!
//! Short: 12 kills over OUCH, 8 over FIX. `FEEDPLANE_SOAK=1`: 200 each. `FEEDPLANE_SEED` repeats a run.
#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test; a failed unwrap fails it")]

mod account;
mod fix;
mod flow;
mod managed;
mod rig;

#[path = "../fix/acceptor.rs"]
mod acceptor;
#[path = "../ouch/live.rs"]
mod live;

use flow::Flow;
use live::{Mangle, VenueSpec};
use rig::{Random, Rig, is_soak};
use std::time::{Duration, Instant};

#[test]
fn killed_at_any_moment_it_sends_nothing_twice_and_loses_nothing_unnoticed() {
    let kills = if is_soak() { 200 } else { 12 };
    let mut random = Random::seeded();
    let mut rig = Rig::start(&VenueSpec { busy: true, ..VenueSpec::default() });
    let flow = Flow::start(&rig, random.next());
    for kill in 0..kills {
        // From the first moments of its life to full flow; the venue's heartbeat ends the catching up after a second.
        rig.live_and_die(if kill % 3 == 0 { 1_000 } else { 3_500 }, &mut random);
    }
    let gateway = rig.gateway("last");
    let account = rig.settle(flow);
    account.agrees_with(&rig.venue_report());
    account.reconciled_before_new_orders(&rig.drop_copy());
    assert!(account.reported() > 20, "{account:?}");
    drop(gateway);
}

#[test]
fn two_gateways_contend_and_one_sends_also_when_its_holder_sleeps_and_wakes() {
    let rounds = if is_soak() { 20 } else { 2 };
    let mut random = Random::seeded();
    let mut rig = Rig::start(&VenueSpec { busy: true, ..VenueSpec::default() });
    let ways = [rig.way(), rig.way()];
    let mut gateways = [rig.gateway_by("a", &ways[0]), rig.gateway_by("b", &ways[1])];
    let flow = Flow::start(&rig, random.next());
    let mut holder = rig.wait_for_holder(&ways, None);
    for _ in 0..rounds {
        std::thread::sleep(Duration::from_millis(1_500 + random.below(500)));
        assert_eq!(ways[1 - holder].logged_in(), 0, "one is connected");
        gateways[holder].pause();
        let next = rig.wait_for_holder(&ways, Some(holder));
        std::thread::sleep(Duration::from_millis(1_500));
        let before = ways[holder].orders_passed();
        gateways[holder].go_on();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(ways[holder].orders_passed(), before, "what woke sends nothing");
        holder = next;
    }
    let account = rig.settle(flow);
    account.agrees_with(&rig.venue_report());
    for gateway in &mut gateways {
        gateway.kill();
    }
}

#[test]
fn without_redis_it_sends_no_new_order_and_goes_on_when_it_is_back() {
    let gone = Duration::from_secs(if is_soak() { 10 } else { 3 });
    let mut random = Random::seeded();
    for forgets in [false, true] {
        let mut rig = Rig::start(&VenueSpec { busy: true, ..VenueSpec::default() });
        let way = rig.way();
        let gateway = rig.gateway_by("one", &way);
        let flow = Flow::start(&rig, random.next());
        rig.wait_for_holder(&[&way], None);
        std::thread::sleep(Duration::from_millis(2_500));
        rig.redis_goes(gone, forgets);
        std::thread::sleep(Duration::from_millis(2_500));
        let account = rig.settle(flow);
        account.agrees_with(&rig.venue_report());
        assert!(account.reported() > 20, "{account:?}");
        drop(gateway);
    }
}

#[test]
fn a_venue_that_is_gone_or_cuts_its_words_off_is_reconciled() {
    let mut random = Random::seeded();
    let mut rig = Rig::start(&VenueSpec { busy: true, ..VenueSpec::default() });
    let way = rig.way();
    let gateway = rig.gateway_by("one", &way);
    let flow = Flow::start(&rig, random.next());
    rig.wait_for_holder(&[&way], None);
    way.mangle(Mangle::Cut, 60);
    let until = Instant::now() + Duration::from_secs(if is_soak() { 60 } else { 8 });
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1_500 + random.below(500)));
        way.close(true);
        std::thread::sleep(Duration::from_millis(random.below(600)));
        way.close(false);
    }
    way.mangle(Mangle::Nothing, 1);
    let account = rig.settle(flow);
    account.agrees_with(&rig.venue_report());
    assert!(way.mangled() > 0 && account.reported() > 20, "{account:?}");
    drop(gateway);
}

/// What is said wrongly, or said twice, cannot always be told from what is true: the stream has no numbers and no sums. Only
/// what leaves is certain.
#[test]
fn a_venue_whose_words_are_damaged_or_repeated_gets_nothing_twice() {
    let mut random = Random::seeded();
    for how in [Mangle::Corrupt, Mangle::Duplicate] {
        let rig = Rig::start(&VenueSpec { busy: true, ..VenueSpec::default() });
        let way = rig.way();
        let mut gateway = rig.gateway_by("one", &way);
        let flow = Flow::start(&rig, random.next());
        rig.wait_for_holder(&[&way], None);
        way.mangle(how, 20);
        std::thread::sleep(Duration::from_secs(if is_soak() { 60 } else { 4 }));
        assert!(way.mangled() > 0 && gateway.is_alive(), "{how:?}: {}", rig.logs());
        drop(flow);
        let report = rig.venue_report();
        assert_eq!((report.user_ref_nums_repeated, report.cl_ord_ids_repeated), (0, 0), "{how:?}");
    }
}
