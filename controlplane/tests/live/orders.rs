//! Orders as they are read from the streams of all shards.

use crate::rig::{Rig, until};
use bus::names::{EXECUTION_REPORTS, ORDER_INSTRUCTIONS, shard_stream};
use bus::{Instruction, OrderAction, OrderSide, Report, ReportKind, TimeInForce};
use controlplane::live::{Topic, Topics};
use lab::redis_server::RedisServer;
use tick::Price;
use tokio_stream::StreamExt;

pub(crate) fn order(id: &str, instrument_id: u32) -> Instruction {
    let action = OrderAction::New {
        side: OrderSide::Buy,
        quantity: 10,
        price: Some(Price(1_000_000_000)),
        time_in_force: TimeInForce::Day,
    };
    Instruction {
        id: id.parse().unwrap(),
        action,
        venue: "xnas".into(),
        publisher_id: 2,
        instrument_id,
        symbol: "AAPL".into(),
        strategy: "ofi".into(),
        cause_ns: 1,
        created_ns: 2,
    }
}

pub(crate) fn report(number: u64, kind: ReportKind, id: &str) -> Report {
    Report {
        number,
        id: Some(id.parse().unwrap()),
        venue: "xnas".into(),
        strategy: "ofi".into(),
        symbol: "AAPL".into(),
        publisher_id: 2,
        instrument_id: 7,
        side: Some(OrderSide::Buy),
        ..Report::new(kind, 100 + number)
    }
}

fn fill(number: u64, id: &str) -> Report {
    Report {
        last_quantity: 10,
        last_price: Some(Price(1_000_000_000)),
        filled: 10,
        ..report(number, ReportKind::Filled, id)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_and_what_comes_is_read_from_every_shard_and_told() {
    let rig = Rig::with(RedisServer::start().unwrap(), 2).await;
    let stream = |name, shard| shard_stream(name, shard, 2);
    rig.instruct(&stream(ORDER_INSTRUCTIONS, 0), &order("A1", 7));
    rig.report(&stream(EXECUTION_REPORTS, 0), &fill(1, "A1"));
    let live = rig.live();
    until("the past is read", || live.orders().now().is_current).await;
    assert_eq!(live.orders().look(|ledger| ledger.positions()[0].position), 10);
    let mut frames =
        live.hub().listen(Topics::NONE.with(Topic::Orders), Vec::new(), || async { true }).unwrap();
    rig.instruct(&stream(ORDER_INSTRUCTIONS, 1), &order("B1", 8));
    rig.report(&stream(EXECUTION_REPORTS, 1), &report(1, ReportKind::Sent, "B1"));
    until("it is there", || live.orders().look(|ledger| ledger.open().count()) == 1).await;
    let told = loop {
        let frame = String::from_utf8(frames.next().await.unwrap().unwrap().to_vec()).unwrap();
        if frame.contains("B1") {
            break frame;
        }
    };
    assert!(told.starts_with("event: orders\n") && !told.contains("\"A1\""), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_that_a_gateway_publishes_again_after_redis_lost_them_change_nothing() {
    let mut rig = Rig::new().await;
    let live = rig.live();
    rig.instruct(ORDER_INSTRUCTIONS, &order("A1", 7));
    rig.report(EXECUTION_REPORTS, &fill(1, "A1"));
    until("it is filled", || live.orders().look(|ledger| ledger.positions().len()) == 1).await;
    rig.redis.restart_empty().unwrap();
    rig.report(EXECUTION_REPORTS, &fill(1, "A1"));
    rig.report(EXECUTION_REPORTS, &fill(2, "A2"));
    until("the new one is read", || live.orders().look(|ledger| ledger.positions()[0].trades) == 2).await;
    assert_eq!(live.orders().look(|ledger| ledger.positions()[0].position), 20);
    assert_eq!(live.orders().now().missing_reports, 0);
}
