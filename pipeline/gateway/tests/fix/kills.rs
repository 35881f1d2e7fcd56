//! A process that trades through a line, killed (-9) at any moment, again and again: nothing is sent twice, all that was in
//! flight is settled, and positions are the venue's.
//!
//! Short: 8 kills. `FEEDPLANE_SOAK=1`: 100. `FEEDPLANE_SEED` repeats a run.
//!
//! The process keeps the smallest journal that does: an order's line is on the disk before the order is sent, and what the
//! venue says before it counts.

use super::rig::{PATIENCE, Queue, Venue, is_soak, section, start};
use super::wire::{cancel, new};
use gateway::line::{Event, Line, LineError, OrderName, Outgoing, Told, What};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const CHILD: &str = "FEEDPLANE_FIX_CHILD";
const SYMBOLS: [&str; 5] = ["FILL", "PART", "REST", "REST", "MUTE"];

/// Small and its own: the same seed kills at the same moments.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// One order or cancel, as the journal has it.
#[derive(Clone, Debug)]
struct Kept {
    symbol: String,
    of: Option<String>,
    left: bool,
    answered: bool,
    over: bool,
    filled: u64,
    executions: BTreeSet<String>,
}

#[derive(Default)]
struct Journal {
    orders: BTreeMap<String, Kept>,
    next_number: u64,
    file: Option<File>,
}

/// What of a [`Told`] the journal keeps: `number id what value execution`.
fn told_line(told: &Told) -> String {
    let OrderName::Id(id) = told.order else { panic!("FIX names orders by their ids") };
    let (what, value, word) = match &told.what {
        What::Accepted { .. } => ("accepted", 0, String::new()),
        What::Filled { quantity, execution, .. } => ("filled", *quantity, execution.clone()),
        What::Rejected { .. } => ("over", 0, String::new()),
        What::Cancelled { by, .. } => ("cancelled", 0, by.map_or_else(String::new, |by| by.to_string())),
        What::CancelRejected { by, .. } => ("kept", 0, by.map_or_else(String::new, |by| by.to_string())),
        What::Stands { filled, leaves, .. } => ("stands", *filled, leaves.to_string()),
        What::NeverArrived => ("never", 0, String::new()),
        other => panic!("{other:?}"),
    };
    format!("T {} {id} {what} {value} {word}", told.number)
}

impl Journal {
    fn open(folder: &Path) -> Journal {
        let path = folder.join("child.journal");
        let bytes = std::fs::read(&path).unwrap_or_default();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut journal = Journal { next_number: 1, ..Journal::default() };
        for line in String::from_utf8(bytes[..whole].to_vec()).unwrap().lines() {
            journal.apply(line);
        }
        let file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        // A line that was cut off was followed by nothing.
        file.set_len(whole as u64).unwrap();
        journal.file = Some(file);
        journal
    }

    fn write(&mut self, line: &str) {
        let file = self.file.as_mut().unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
        file.sync_data().unwrap();
        self.apply(line);
    }

    fn apply(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["S", id, symbol, of] => {
                let of = (!of.is_empty()).then(|| of.to_owned());
                let kept = Kept {
                    symbol: symbol.to_owned(),
                    of,
                    left: true,
                    answered: false,
                    over: false,
                    filled: 0,
                    executions: BTreeSet::new(),
                };
                assert!(self.orders.insert(id.to_owned(), kept).is_none(), "{id} twice");
            }
            ["N", id] => {
                let order = self.orders.get_mut(id).unwrap();
                (order.left, order.answered, order.over) = (false, true, true);
            }
            ["T", number, id, what, value, word] => {
                self.told(number.parse().unwrap(), id, what, value.parse().unwrap(), word);
            }
            _ => panic!("{line:?}"),
        }
    }

    fn told(&mut self, number: u64, id: &str, what: &str, value: u64, word: &str) {
        self.next_number = self.next_number.max(number + 1);
        let order = self.orders.get_mut(id).unwrap_or_else(|| panic!("{id} was never sent"));
        order.answered = true;
        match what {
            "accepted" => {}
            "filled" => {
                if order.executions.insert(word.to_owned()) {
                    order.filled += value;
                }
                order.over |= order.symbol == "FILL";
            }
            "stands" => {
                assert_eq!(order.filled, value, "{id}: every trade is told before the answer");
                order.over |= word == "0";
            }
            "over" | "cancelled" => order.over = true,
            "never" => (order.left, order.over) = (false, true),
            "kept" => {}
            _ => panic!("{what}"),
        }
        let over = order.over;
        for cancel in self.orders.values_mut().filter(|cancel| cancel.of.as_deref() == Some(id)) {
            cancel.answered |= over;
            cancel.over |= over;
        }
        if let Some(cancel) = self.orders.get_mut(word).filter(|cancel| cancel.of.is_some()) {
            (cancel.answered, cancel.over) = (true, true);
        }
    }

    fn outgoing(&self, id: &str) -> Outgoing {
        let kept = &self.orders[id];
        match &kept.of {
            None => new(id, &kept.symbol, 10),
            Some(of) => cancel(id, &new(of, &kept.symbol, 10)),
        }
    }

    fn in_doubt(&self) -> Vec<Outgoing> {
        let open = self.orders.iter().filter(|(_, kept)| !kept.answered);
        open.map(|(id, _)| self.outgoing(id)).collect()
    }

    fn positions(&self) -> BTreeMap<String, u64> {
        let mut positions = BTreeMap::new();
        for order in self.orders.values().filter(|order| order.filled > 0) {
            *positions.entry(order.symbol.clone()).or_default() += order.filled;
        }
        positions
    }
}

/// The process that is killed: no test by itself.
#[test]
fn the_process_that_is_killed() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let (port, folder) = arguments.split_once(' ').unwrap();
    let folder = PathBuf::from(folder);
    let mut journal = Journal::open(&folder);
    let events = Arc::new(Queue::default());
    let mut line = start(&section(port.parse().unwrap(), false), &folder, journal.next_number, &events);
    let mut random = Random(journal.orders.len() as u64);
    let (mut caught_up, mut asked) = (false, None::<Instant>);
    let mut count = journal.orders.len();
    loop {
        match events.next(Duration::from_millis(2)) {
            Some(Event::CaughtUp) => (caught_up, asked) = (true, None),
            Some(Event::Down { .. }) => caught_up = false,
            Some(Event::Told(told)) => {
                if told.number == 0 || told.number >= journal.next_number {
                    journal.write(&told_line(&told));
                }
                continue;
            }
            Some(Event::Refused { what }) => panic!("{what}"),
            Some(_) => continue,
            None => {}
        }
        if !caught_up {
            continue;
        }
        let in_doubt = journal.in_doubt();
        if asked.is_none_or(|asked| asked.elapsed() > Duration::from_millis(300)) {
            asked = Some(Instant::now());
            if !in_doubt.is_empty() && line.settle(&in_doubt).is_err() {
                caught_up = false;
                continue;
            }
        }
        if folder.join("finish").exists() {
            if in_doubt.is_empty() {
                break;
            }
            continue;
        }
        let open: Vec<String> = journal
            .orders
            .iter()
            .filter(|(_, kept)| kept.of.is_none() && kept.answered && !kept.over)
            .map(|(id, _)| id.clone())
            .collect();
        count += 1;
        let id = format!("K{count:06}");
        let begun = if !open.is_empty() && random.below(3) == 0 {
            let of = &open[random.below(open.len() as u64) as usize];
            format!("S {id} {} {of}", journal.orders[of].symbol)
        } else {
            format!("S {id} {} ", SYMBOLS[random.below(SYMBOLS.len() as u64) as usize])
        };
        journal.write(&begun);
        match line.send(&journal.outgoing(&id)) {
            Ok(()) => {}
            Err(LineError::Down { .. }) => journal.write(&format!("N {id}")),
            Err(LineError::Broken(_)) => caught_up = false,
            Err(error) => panic!("{error}"),
        }
    }
    line.stop();
}

fn spawn(folder: &Path, port: u16) -> std::process::Child {
    let test = std::env::current_exe().unwrap();
    Command::new(test)
        .args(["--exact", "kills::the_process_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{port} {}", folder.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn wait(child: &mut std::process::Child) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

#[test]
fn killed_at_any_moment_it_sends_nothing_twice_and_ends_with_the_venues_positions() {
    let Some(mut venue) = Venue::start(&[]) else { return };
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = std::env::var("FEEDPLANE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(since);
    let mut random = Random(seed);
    let folder = tempfile::tempdir().unwrap();
    let kills = if is_soak() { 100 } else { 8 };
    for kill in 0..kills {
        let mut child = spawn(folder.path(), venue.port);
        std::thread::sleep(Duration::from_millis(20 + random.below(700)));
        assert!(child.try_wait().unwrap().is_none(), "seed {seed}, kill {kill}: it ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    std::fs::write(folder.path().join("finish"), "").unwrap();
    assert!(wait(&mut spawn(folder.path(), venue.port)), "seed {seed}: the last one could not settle all");

    let journal = Journal::open(folder.path());
    let state = venue.state();
    venue.assert_nothing_came_twice();
    assert_eq!(state["positions"], serde_json::json!(journal.positions()), "seed {seed}");
    let at_venue = state["orders"].as_object().unwrap();
    let is_new = |kept: &&Kept| kept.of.is_none() && kept.left;
    let arrived: BTreeSet<&str> =
        journal.orders.iter().filter(|(_, kept)| is_new(kept)).map(|(id, _)| id.as_str()).collect();
    assert_eq!(arrived, at_venue.keys().map(String::as_str).collect(), "seed {seed}");
    for (id, order) in at_venue {
        let kept = &journal.orders[id];
        assert_eq!(order[1], kept.filled, "seed {seed}: {id}");
        assert_eq!(order[2] == 0, kept.over, "seed {seed}: {id} {order} {kept:?}");
    }
    let cancels = journal.orders.values().filter(|kept| kept.of.is_some()).count();
    println!(
        "seed {seed}: {kills} kills, {} orders, {cancels} cancels, {} never arrived",
        journal.orders.len() - cancels,
        journal.orders.values().filter(|kept| !kept.left).count()
    );
}
