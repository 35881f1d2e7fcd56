//! What a strategy does: new orders around the market, replacements and cancels of some of them, each published once with
//! an id of its own, and again with the same id when Redis did not say whether it has it.

use crate::rig::{Random, Rig};
use bus::{Instruction, OrderAction, OrderId, OrderSide, TimeInForce};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time between two instructions.
const PACE: Duration = Duration::from_millis(12);
/// Orders that replacements and cancels name are among so many last ones.
const RECENT: usize = 12;

pub struct Flow {
    stop: Arc<AtomicBool>,
    runs: Option<JoinHandle<Vec<Instruction>>>,
}

impl Flow {
    pub fn start(rig: &Rig, seed: u64) -> Flow {
        Flow::start_in(rig, seed, &["S1"])
    }

    /// In these symbols, each as often as it is named.
    pub fn start_in(rig: &Rig, seed: u64, symbols: &'static [&'static str]) -> Flow {
        let stop = Arc::new(AtomicBool::new(false));
        let client = redis::Client::open(rig.redis.url()).unwrap();
        let of_thread = Arc::clone(&stop);
        let runs = std::thread::spawn(move || run(&client, seed, symbols, &of_thread));
        Flow { stop, runs: Some(runs) }
    }

    /// All that was made.
    pub fn end(mut self) -> Vec<Instruction> {
        self.stop.store(true, Ordering::SeqCst);
        self.runs.take().expect("runs").join().unwrap()
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.runs.take().map(JoinHandle::join);
    }
}

fn run(client: &redis::Client, seed: u64, symbols: &[&str], stop: &AtomicBool) -> Vec<Instruction> {
    let mut random = Random::of(seed);
    let mut made: Vec<Instruction> = Vec::new();
    let mut orders: Vec<(OrderId, String)> = Vec::new();
    let mut connection = None;
    while !stop.load(Ordering::SeqCst) {
        let recent = orders.len().min(RECENT) as u64;
        let draw = random.below(10);
        let (action, symbol) = if draw < 6 || recent == 0 {
            // Without a draw where there is nothing to choose.
            let at = if symbols.len() > 1 { random.below(symbols.len() as u64) as usize } else { 0 };
            (new_order(&mut random), symbols[at].to_owned())
        } else {
            let (of, symbol) = orders[orders.len() - 1 - random.below(recent) as usize].clone();
            if draw < 8 {
                let quantity = 100 * (1 + random.below(4));
                (OrderAction::Replace { of, quantity, price: price(&mut random) }, symbol)
            } else {
                (OrderAction::Cancel { of }, symbol)
            }
        };
        let instruction = instruction(&format!("F{}", made.len()), &symbol, action);
        if !matches!(instruction.action, OrderAction::Cancel { .. }) {
            orders.push((instruction.id, symbol));
        }
        // Until Redis says that it has it; it may have it twice.
        while !stop.load(Ordering::SeqCst) {
            if connection.is_none() {
                let timeout = Duration::from_secs(1);
                connection = client.get_connection_with_timeout(timeout).ok().inspect(|connection| {
                    connection.set_read_timeout(Some(timeout)).unwrap();
                });
            }
            let added = connection.as_mut().map(|connection| try_publish(connection, &instruction));
            if let Some(Ok(())) = added {
                break;
            }
            connection = None;
            std::thread::sleep(Duration::from_millis(20));
        }
        made.push(instruction);
        std::thread::sleep(PACE);
    }
    made
}

fn new_order(random: &mut Random) -> OrderAction {
    OrderAction::New {
        side: if random.below(2) == 0 { OrderSide::Buy } else { OrderSide::Sell },
        quantity: 100 * (1 + random.below(3)),
        price: Some(price(random)),
        time_in_force: if random.below(4) == 0 { TimeInForce::ImmediateOrCancel } else { TimeInForce::Day },
    }
}

/// Within ten cents of twenty dollars, where the venue's first symbol trades.
fn price(random: &mut Random) -> tick::Price {
    tick::Price(19_900_000_000 + 10_000_000 * random.below(21) as i64)
}

pub fn instruction(id: &str, symbol: &str, action: OrderAction) -> Instruction {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Instruction {
        id: id.parse().unwrap(),
        action,
        venue: "sim".into(),
        publisher_id: 1,
        instrument_id: 1,
        symbol: symbol.into(),
        strategy: "test".into(),
        cause_ns: 0,
        created_ns: now.as_nanos() as u64,
    }
}

fn try_publish(connection: &mut redis::Connection, instruction: &Instruction) -> redis::RedisResult<()> {
    let mut add = redis::cmd("XADD");
    add.arg("order_instructions").arg("*");
    instruction.for_each_field(|name, value| {
        add.arg(name).arg(value);
    });
    add.query::<String>(connection).map(|_| ())
}

/// Publishes those again that have no report.
pub fn publish_again(
    connection: &mut redis::Connection,
    all: &[Instruction],
    unanswered: &BTreeSet<OrderId>,
) {
    for instruction in all.iter().filter(|instruction| unanswered.contains(&instruction.id)) {
        try_publish(connection, instruction).unwrap();
    }
}
