//! Killed, frozen, contended: every decision is one instruction, none is lost unnoticed, positions are the venue's.

use crate::gateway::Account;
use crate::rig::{Dice, INSTRUMENTS, Moving, Rig, Service, is_soak};
use bus::names::{ORDER_INSTRUCTIONS, shard_stream};
use bus::{Instruction, OrderAction, records_of_range};
use redis::Value;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn instructions(rig: &mut Rig) -> Vec<Instruction> {
    let mut all = Vec::new();
    for shard in 0..rig.shards {
        let stream = shard_stream(ORDER_INSTRUCTIONS, shard, rig.shards);
        let reply: Value = rig.ask(&["XRANGE", &stream, "-", "+"]);
        let records = records_of_range(&reply).unwrap().into_iter();
        all.extend(records.map(|record| Instruction::parse(record.fields.unwrap()).unwrap()));
    }
    all
}

/// One decision is one id: no tick led the same strategy to the same act under two ids.
fn assert_each_decision_once(instructions: &[Instruction]) {
    let mut ids = BTreeMap::new();
    let mut decisions = BTreeMap::new();
    for instruction in instructions {
        let before = ids.insert(instruction.id.to_string(), instruction.clone());
        assert!(before.is_none_or(|before| before == *instruction), "{instruction:?}");
        let act = match &instruction.action {
            OrderAction::New { side, .. } => side.word().to_owned(),
            OrderAction::Replace { of, .. } | OrderAction::Cancel { of } => of.to_string(),
        };
        if instruction.cause_ns > 0 {
            let decision =
                (instruction.cause_ns, instruction.strategy.clone(), instruction.instrument_id, act);
            let before = decisions.insert(decision, instruction.id);
            assert!(before.is_none_or(|before| before == instruction.id), "{instruction:?} and {before:?}");
        }
    }
}

/// With the market at rest: all is answered, and positions and open orders are the venue's.
fn assert_agrees(rig: &mut Rig, services: &[&Service], gateway: crate::gateway::Gateway) -> Account {
    let sum = |name: &str| {
        services
            .iter()
            .flat_map(|service| {
                let text = service.get("/metrics");
                let values = text.lines().filter(|line| line.starts_with(name));
                values
                    .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
                    .collect::<Vec<_>>()
            })
            .sum::<f64>()
    };
    rig.wait("all is answered", |_| sum("feedplane_strategy_unanswered_instructions") == 0.0);
    // Metrics of now are shown four times a second.
    std::thread::sleep(Duration::from_millis(600));
    let account = gateway.stop();
    // Nothing more is answered; what was answered last is shown within a quarter of a second.
    for id in INSTRUMENTS {
        let owned = account.positions.get(&id).copied().unwrap_or_default();
        let said = || services.iter().map(|service| service.position("swing", id)).sum::<i64>();
        rig.wait(&format!("instrument {id}: {owned}, not {}", said()), |_| said() == owned);
    }
    account
}

#[test]
fn killed_again_and_again_it_decides_nothing_twice_and_owns_what_the_venue_says() {
    let mut rig = Rig::new(1);
    let market = rig.open_market(1);
    let gateway = rig.gateway();
    let moving = Moving::start(&rig.server.url(), 1, market);
    let mut dice = Dice(7);
    for _ in 0..if is_soak() { 200 } else { 10 } {
        let service = rig.service("a");
        // Before, while and after it takes the lease, reads back and sends.
        std::thread::sleep(Duration::from_millis(50 + dice.below(700)));
        service.kill();
    }
    let last = rig.service("a");
    last.wait_for_log("\"message\":\"live\"");
    std::thread::sleep(Duration::from_millis(500));
    drop(moving);
    std::thread::sleep(Duration::from_millis(300));
    let account = assert_agrees(&mut rig, &[&last], gateway);
    let sent = instructions(&mut rig);
    assert_each_decision_once(&sent);
    let in_stream: std::collections::BTreeSet<_> = sent.iter().map(|sent| sent.id.to_string()).collect();
    assert!(account.seen.keys().all(|id| in_stream.contains(id)));
    eprintln!("{} instructions, {} of them again", account.seen.len(), account.again.len());
    assert!(account.seen.len() > 100 && !account.again.is_empty());
    last.stop();
}

#[test]
fn two_share_the_shards_and_one_that_slept_writes_nothing_more() {
    let mut rig = Rig::new(2);
    let market = rig.open_market(2);
    let gateway = rig.gateway();
    let moving = Moving::start(&rig.server.url(), 2, market);
    let (a, b) = (rig.service("a"), rig.service("b"));
    let streams = [0, 1].map(|shard| shard_stream(ORDER_INSTRUCTIONS, shard, 2));
    rig.wait("both shards send", |rig| streams.iter().all(|stream| rig.length(stream) > 5));
    let held = |service: &Service| {
        let metrics = service.get("/metrics");
        metrics.lines().filter(|line| line.contains("state=\"live\"") && line.ends_with(" 1")).count()
    };
    rig.wait("each has one", |_| held(&a) == 1 && held(&b) == 1);
    for _ in 0..if is_soak() { 30 } else { 3 } {
        for sleeper in [&a, &b] {
            sleeper.signal(Signal::STOP);
            std::thread::sleep(Duration::from_millis(900));
            sleeper.signal(Signal::CONT);
            std::thread::sleep(Duration::from_millis(400));
        }
    }
    rig.wait("each has one again", |_| held(&a) == 1 && held(&b) == 1);
    drop(moving);
    std::thread::sleep(Duration::from_millis(300));
    for service in [&a, &b] {
        assert!(service.log().contains("the lease is lost"), "each slept too long once");
    }
    // Positions are shown by whoever has the shard; who had it before shows what it knew then.
    let account = gateway.stop();
    let sent = instructions(&mut rig);
    assert_each_decision_once(&sent);
    assert!(account.seen.len() > 100, "{}", account.seen.len());
    // Of each shard, ids rise with the owners' leases: an older owner wrote nothing after a newer one's first.
    for shard in 0..2 {
        let stream = shard_stream(ORDER_INSTRUCTIONS, shard, 2);
        let reply: Value = rig.ask(&["XRANGE", &stream, "-", "+"]);
        let mut owners = Vec::new();
        let mut first_seen = std::collections::BTreeSet::new();
        for record in records_of_range(&reply).unwrap() {
            let instruction = Instruction::parse(record.fields.unwrap()).unwrap();
            // Published again by a newer owner it keeps its id.
            if first_seen.insert(instruction.id.to_string()) {
                owners.push(instruction.id.as_str()[..7].to_owned());
            }
        }
        assert!(owners.is_sorted(), "shard {shard}: {owners:?}");
    }
    a.stop();
    b.stop();
}

#[test]
fn a_service_that_is_asked_to_end_keeps_its_books_and_leaves_its_orders() {
    let mut rig = Rig::new(1);
    let market = rig.open_market(3);
    let gateway = rig.gateway();
    let moving = Moving::start(&rig.server.url(), 1, market);
    let first = rig.service("a");
    rig.wait("it sends", |rig| rig.length(ORDER_INSTRUCTIONS) > 30);
    drop(moving);
    first.stop();
    assert_eq!(rig.ask::<u64>(&["EXISTS", "lease:strategy:raw_market_data", "members:strategy"]), 0);
    let before = rig.length(ORDER_INSTRUCTIONS);
    let second = rig.service("b");
    second.wait_for_log("\"message\":\"live\"");
    second.wait_for_log("the books go on as kept");
    // Without a tick nothing new is decided; what was not answered is asked again.
    std::thread::sleep(Duration::from_millis(400));
    let sent = instructions(&mut rig);
    let all: std::collections::BTreeSet<_> = sent.iter().map(|sent| sent.id.to_string()).collect();
    let old: std::collections::BTreeSet<_> =
        sent[..before as usize].iter().map(|sent| sent.id.to_string()).collect();
    assert!(sent[before as usize..].iter().all(|sent| old.contains(sent.id.as_str()) || sent.cause_ns == 0));
    assert!(all.len() >= old.len());
    assert_agrees(&mut rig, &[&second], gateway);
    second.stop();
}

#[test]
fn a_redis_that_lost_its_memory_halts_and_the_host_goes_on_with_what_it_knows() {
    let mut rig = Rig::new(1);
    let market = rig.open_market(4);
    let gateway = rig.gateway();
    let moving = Moving::start(&rig.server.url(), 1, market);
    let service = rig.service("a");
    rig.wait("it trades", |_| service.position("swing", 7) != 0);
    gateway.asleep.store(true, Ordering::Relaxed);
    drop(moving);
    std::thread::sleep(Duration::from_millis(600));
    let position = service.position("swing", 7);
    rig.server.restart_empty().unwrap();
    rig.connect_again();
    service.wait_for_log("the lease is renewed, the host goes on");
    service.wait_for_log("halted until it is said again");
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(service.position("swing", 7), position);
    assert_eq!(service.metric("feedplane_strategy_trading{mode=\"halted\"}"), Some(1.0));
    drop(gateway);
    service.stop();
}
