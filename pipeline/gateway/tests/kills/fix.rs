//! The same over FIX, with an engine that was written by others: what QuickFIX got and made of it, against the reports.
//!
//! Needs the package `quickfix` in `FEEDPLANE_PYTHON`; says SKIPPED without it.

use crate::acceptor;
use crate::account::Account;
use crate::flow::Flow;
use crate::rig::{Random, Rig, is_soak};
use bus::{Instruction, OrderAction, ReportKind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What the acceptor makes of an order is told by its symbol: see `acceptor.py`.
const SYMBOLS: [&str; 7] = ["FILL", "FILL", "PART", "REST", "REST", "MUTE", "REFUSE"];

#[test]
fn killed_at_any_moment_over_fix_it_sends_nothing_twice_and_loses_nothing_unnoticed() {
    let kills = if is_soak() { 200 } else { 8 };
    let Some(mut rig) = Rig::start_fix() else { return };
    let mut random = Random::seeded();
    let flow = Flow::start_in(&rig, random.next(), &SYMBOLS);
    for kill in 0..kills {
        // The lease of the one before runs out within 600 ms.
        rig.live_and_die(if kill % 3 == 0 { 1_000 } else { 3_000 }, &mut random);
    }
    let mut gateway = rig.gateway("last");
    let instructions = flow.end();
    rig.until_reported(&instructions);
    gateway.kill();

    // What the venue kept silent about is asked for after a logon.
    let mut gateway = rig.gateway("asks");
    let account = rig.quiet(&instructions);
    agrees(&account, &instructions, rig.acceptor());
    assert!(!account.open().is_empty(), "some are left for the halt");
    gateway.kill();

    rig.halt();
    for _ in 0..kills / 4 {
        rig.live_and_die(1_500, &mut random);
    }
    let gateway = rig.gateway("halts");
    rig.until_none_is_open(&instructions);
    let account = rig.quiet(&instructions);
    agrees(&account, &instructions, rig.acceptor());
    reconciled_before_new_orders(&rig.drop_copy());
    let came = |kind: &str| rig.drop_copy().iter().filter(|(_, bytes)| field(bytes, "35") == kind).count();
    eprintln!(
        "{} kills; {} instructions, {} reports; {} logons, {} questions, {} trades",
        kills + kills / 4 + 2,
        instructions.len(),
        account.reports(),
        came("A") / 2,
        came("H"),
        account.executions.len()
    );
    drop(gateway);
}

/// Nothing came to the acceptor twice, and both have the same orders, trades and positions.
fn agrees(account: &Account, instructions: &[Instruction], acceptor: &mut acceptor::Venue) {
    acceptor.assert_nothing_came_twice();
    let state = acceptor.state();
    assert_eq!(account.executions_repeated, 0);
    assert_eq!(json!(account.executions.len()), state["trades"]);
    assert!(account.executions.len() > 20, "something was traded");
    assert_eq!(json!(account.positions), state["positions"]);

    let came: BTreeSet<String> = ["D", "G"].iter().flat_map(|kind| ids(acceptor, kind)).collect();
    let left = |id: &&bus::OrderId| {
        let last = &account.last[*id];
        last.kind != ReportKind::Denied && last.reason != "never_arrived"
    };
    let left: BTreeSet<String> = account.orders.iter().filter(left).map(ToString::to_string).collect();
    let differ: Vec<_> =
        came.symmetric_difference(&left).map(|id| (id, account.last.get(&id.parse().unwrap()))).collect();
    assert!(differ.is_empty(), "came, or is said to have left, and not both: {differ:?}");

    let open: BTreeSet<String> = account.open().iter().map(ToString::to_string).collect();
    let mut open_there = BTreeSet::new();
    for (id, order) in state["orders"].as_object().unwrap() {
        let last = &account.last[&id.parse().unwrap()];
        let leaves = if open.contains(id) { last.leaves } else { 0 };
        assert_eq!(
            (json!(last.filled), json!(leaves)),
            (order[1].clone(), order[2].clone()),
            "{id}: {last:?}"
        );
        if order[2] != 0 {
            open_there.insert(id.clone());
        }
    }
    let differ: Vec<_> = open.symmetric_difference(&open_there).collect();
    assert!(differ.is_empty(), "open here or there, and not both: {differ:?}");
    assert!(account.unanswered().is_empty());
    cancels_came_to_an_end(account, instructions, acceptor, &open);
}

/// A cancel is answered, or what it names is over; and what came to the acceptor was somebody's.
fn cancels_came_to_an_end(
    account: &Account,
    instructions: &[Instruction],
    acceptor: &mut acceptor::Venue,
    open: &BTreeSet<String>,
) {
    let cancels = instructions.iter().filter_map(|instruction| match instruction.action {
        OrderAction::Cancel { of } => Some((instruction.id.to_string(), (instruction.id, of))),
        _ => None,
    });
    let cancels: BTreeMap<_, _> = cancels.collect();
    for (id, of) in cancels.values() {
        let on_its_way = account.last[id].kind == ReportKind::Sent;
        assert!(!(on_its_way && open.contains(&of.to_string())), "{id} of {of} is not answered");
    }
    for id in ids(acceptor, "F") {
        assert!(cancels.contains_key(&id) || id.starts_with("GW"), "{id} is nobody's");
    }
}

/// ClOrdIDs of the messages of a type that came.
fn ids(acceptor: &mut acceptor::Venue, kind: &str) -> Vec<String> {
    let text = |got: &Value| got["11"].as_str().unwrap().to_owned();
    acceptor.got(kind).iter().map(text).collect()
}

/// On each connection the TestRequest and all questions were answered before the first new order.
fn reconciled_before_new_orders(drop_copy: &[(String, Vec<u8>)]) {
    let (mut caught_up, mut ordered) = (true, true);
    let mut asked = BTreeSet::new();
    let (mut questions, mut orders) = (0, 0);
    for (way, bytes) in drop_copy {
        let sent = way != "received";
        match (sent, field(bytes, "35")) {
            (true, "A") => {
                (caught_up, ordered) = (false, false);
                asked.clear();
            }
            (false, "0") if !field(bytes, "112").is_empty() => caught_up = true,
            (true, "H") if !ordered => {
                asked.insert(field(bytes, "11").to_owned());
                questions += 1;
            }
            (false, "8") if field(bytes, "150") == "I" => {
                asked.remove(field(bytes, "11"));
            }
            (true, "D" | "G") => {
                assert!(caught_up, "an order before all was taken in");
                assert!(ordered || asked.is_empty(), "an order before an answer about {asked:?}");
                ordered = true;
                orders += 1;
            }
            _ => {}
        }
    }
    assert!(orders > 20 && questions > 0, "{orders} orders, {questions} questions");
}

/// A field's text, empty when there is none.
fn field<'a>(message: &'a [u8], tag: &str) -> &'a str {
    let fields = message.split(|byte| *byte == 1).filter_map(|field| std::str::from_utf8(field).ok());
    let mut pairs = fields.filter_map(|field| field.split_once('='));
    pairs.find(|(known, _)| *known == tag).map_or("", |(_, text)| text)
}
