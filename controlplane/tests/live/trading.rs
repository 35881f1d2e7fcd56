//! Halt, reduce and resume, with a Redis that is there, is gone, or has lost its memory.

use crate::rig::{Rig, ask, intent, seen, status, until};
use bus::names::TRADING_STATE;
use bus::{TradingMode, TradingState, records_of_range};
use controlplane::access::Role;
use std::time::Duration;

/// The last entry of the stream.
fn last(rig: &Rig) -> Option<TradingState> {
    let reply: redis::Value =
        ask(&mut rig.connection(), &["XREVRANGE", TRADING_STATE, "+", "-", "COUNT", "1"]);
    let records = records_of_range(&reply).unwrap();
    records.into_iter().next().and_then(|record| TradingState::parse(record.fields.unwrap()).ok())
}

fn entries(rig: &Rig) -> i64 {
    ask(&mut rig.connection(), &["XLEN", TRADING_STATE])
}

fn write(rig: &Rig, mode: TradingMode, by: &str) {
    let state = TradingState { mode, by: by.into(), reason: "by hand".into(), time_ns: 1 };
    let mut add = redis::cmd("XADD");
    add.arg(TRADING_STATE).arg("*");
    state.for_each_field(|name, value| {
        add.arg(name).arg(value);
    });
    add.exec(&mut rig.connection()).unwrap();
}

fn is_in(rig: &Rig, mode: TradingMode, by: &str) -> bool {
    last(rig).is_some_and(|state| state.mode == mode && state.by == by)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halt_is_stored_and_said_and_only_risk_lifts_it_with_what_it_saw() {
    let rig = Rig::new().await;
    let live = rig.live();
    let desk = live.trading();
    let answer = desk.halt(&intent("ann", Role::Operator), "drill".into()).await.unwrap();
    assert_eq!(answer.status.as_u16(), 200);
    assert!(is_in(&rig, TradingMode::Halted, "ann"));
    assert_eq!(rig.store.trading().await.unwrap().unwrap().state.reason, "drill");
    let revision = desk.view().revision;
    let resume = async |intent| desk.loosen(&intent, TradingMode::Active, "go on".into()).await;
    assert_eq!(status(resume(intent("bob", Role::Operator)).await), 403);
    assert_eq!(status(resume(intent("eve", Role::Risk)).await), 428);
    assert_eq!(status(resume(seen(intent("eve", Role::Risk), revision + 1)).await), 412);
    assert_eq!(entries(&rig), 1, "what was refused was not said");
    let answer = resume(seen(intent("eve", Role::Risk), revision)).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.version), (200, Some(revision + 1)));
    assert!(is_in(&rig, TradingMode::Active, "eve"));
    assert!(!desk.view().pending);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halt_that_was_set_meanwhile_is_not_lifted() {
    let rig = Rig::new().await;
    let live = rig.live();
    let desk = live.trading();
    desk.halt(&intent("ann", Role::Operator), "first".into()).await.unwrap();
    let revision = desk.view().revision;
    desk.halt(&intent("bob", Role::Operator), "second".into()).await.unwrap();
    let refused =
        desk.loosen(&seen(intent("eve", Role::Risk), revision), TradingMode::Active, "go".into()).await;
    assert_eq!(status(refused), 412);
    assert!(is_in(&rig, TradingMode::Halted, "bob"));
    // The same with one that was set by hand, past the control plane.
    let revision = desk.view().revision;
    write(&rig, TradingMode::Halted, "carl@terminal");
    let refused =
        desk.loosen(&seen(intent("eve", Role::Risk), revision), TradingMode::Active, "go".into()).await;
    assert_eq!(status(refused), 412);
    assert!(is_in(&rig, TradingMode::Halted, "carl@terminal"));
    assert_eq!(desk.view().by, "carl@terminal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halt_while_redis_is_gone_waits_and_is_said_when_it_is_back() {
    let mut rig = Rig::with(lab::redis_server::RedisServer::start_durable().unwrap(), 1).await;
    write(&rig, TradingMode::Active, "carl@terminal");
    let live = rig.live();
    until("it is taken over", || live.trading().view().mode == "active").await;
    rig.redis.kill().unwrap();
    let answer = live.trading().halt(&intent("ann", Role::Operator), "no Redis".into()).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body["pending"]), (202, &serde_json::json!(true)));
    assert!(live.trading().view().pending);
    let revision = live.trading().view().revision;
    let resume = live.trading();
    let refused =
        resume.loosen(&seen(intent("eve", Role::Risk), revision), TradingMode::Active, "x".into()).await;
    assert_eq!(status(refused), 503, "nothing is loosened that nobody hears");
    rig.redis.start_again().unwrap();
    until("it is said", || is_in(&rig, TradingMode::Halted, "ann")).await;
    until("it is known", || !live.trading().view().pending).await;
    assert_eq!(entries(&rig), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_halt_outlives_its_control_plane_and_what_was_resumed_meanwhile() {
    let mut rig = Rig::with(lab::redis_server::RedisServer::start_durable().unwrap(), 1).await;
    let live = rig.live();
    rig.redis.kill().unwrap();
    live.trading().halt(&intent("ann", Role::Operator), "no Redis".into()).await.unwrap();
    drop(live);
    rig.redis.start_again().unwrap();
    write(&rig, TradingMode::Active, "carl@terminal");
    let live = rig.live();
    until("it is said", || is_in(&rig, TradingMode::Halted, "ann")).await;
    assert_eq!(live.trading().view().by, "ann");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_without_its_memory_hears_of_a_halt_again_and_of_nothing_else() {
    let mut rig = Rig::new().await;
    let live = rig.live();
    let desk = live.trading();
    desk.halt(&intent("ann", Role::Operator), "drill".into()).await.unwrap();
    let said = last(&rig).unwrap();
    rig.redis.restart_empty().unwrap();
    until("it is said again", || last(&rig).as_ref() == Some(&said)).await;
    let revision = desk.view().revision;
    desk.loosen(&seen(intent("eve", Role::Risk), revision), TradingMode::Active, "go".into()).await.unwrap();
    rig.redis.restart_empty().unwrap();
    until("it is told", || desk.view().problem.is_some_and(|problem| problem.contains("lost its memory")))
        .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(last(&rig), None, "no state is halted, and nothing is loosened by itself");
    assert!(desk.view().pending);
    // A person says it again, who may and who saw it.
    let revision = desk.view().revision;
    let refused = desk.loosen(&intent("bob", Role::Operator), TradingMode::Reducing, "x".into()).await;
    assert_eq!(status(refused), 403);
    desk.loosen(&seen(intent("eve", Role::Risk), revision), TradingMode::Active, "again".into())
        .await
        .unwrap();
    assert!(is_in(&rig, TradingMode::Active, "eve"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reducing_stops_more_without_if_match_and_never_lifts_a_halt() {
    let rig = Rig::new().await;
    write(&rig, TradingMode::Active, "carl@terminal");
    let live = rig.live();
    let desk = live.trading();
    until("it is taken over", || desk.view().mode == "active").await;
    desk.loosen(&intent("bob", Role::Operator), TradingMode::Reducing, "late".into()).await.unwrap();
    assert!(is_in(&rig, TradingMode::Reducing, "bob"));
    desk.halt(&intent("bob", Role::Operator), "too late".into()).await.unwrap();
    let refused = desk.loosen(&intent("bob", Role::Operator), TradingMode::Reducing, "x".into()).await;
    assert_eq!(status(refused), 403);
    let revision = desk.view().revision;
    let lifted = seen(intent("eve", Role::Risk), revision);
    desk.loosen(&lifted, TradingMode::Reducing, "step by step".into()).await.unwrap();
    assert!(is_in(&rig, TradingMode::Reducing, "eve"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_set_is_taken_over_and_what_cannot_be_read_counts_as_halted() {
    let rig = Rig::new().await;
    let live = rig.live();
    let desk = live.trading();
    assert_eq!((desk.view().mode, desk.view().revision), ("halted", 0));
    write(&rig, TradingMode::Active, "carl@terminal");
    until("it is active", || desk.view().mode == "active").await;
    assert_eq!(rig.store.trading().await.unwrap().unwrap().state.by, "carl@terminal");
    let _: String = ask(&mut rig.connection(), &["XADD", TRADING_STATE, "*", "mode", "perhaps", "mode", "x"]);
    until("it is halted", || desk.view().mode == "halted").await;
    until("it is said so that all can read it", || is_in(&rig, TradingMode::Halted, "unknown")).await;
    assert!(desk.view().reason.contains("cannot be read"), "{:?}", desk.view());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn halts_from_many_sides_at_once_end_halted() {
    let rig = Rig::new().await;
    write(&rig, TradingMode::Active, "carl@terminal");
    let live = rig.live();
    until("it is active", || live.trading().view().mode == "active").await;
    for _ in 0..5 {
        let revision = live.trading().view().revision;
        let halts = (0..4).map(|n| {
            let desk = std::sync::Arc::clone(live.trading());
            tokio::spawn(async move {
                let caller = intent(&format!("h{n}"), Role::Operator);
                desk.halt(&caller, "at once".into()).await.map(|_| ())
            })
        });
        let halts: Vec<_> = halts.collect();
        let eager = seen(intent("eve", Role::Risk), revision);
        let _ = live.trading().loosen(&eager, TradingMode::Active, "eager".into()).await;
        for halt in halts {
            halt.await.unwrap().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(live.trading().view().mode, "halted");
        assert_eq!(last(&rig).unwrap().mode, TradingMode::Halted);
        let revision = live.trading().view().revision;
        let resume = seen(intent("eve", Role::Risk), revision);
        live.trading().loosen(&resume, TradingMode::Active, "go".into()).await.unwrap();
    }
}
