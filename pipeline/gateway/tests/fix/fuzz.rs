//! Whatever comes, the session goes on or ends the connection with a reason, and keeps its promises.

use super::wire::{Desk, from_venue, new};
use gateway::line::Event;

/// Numbers of ours as they stand in what was sent, gap fills aside.
fn our_numbers(sent: &[String]) -> Vec<u64> {
    let fresh = sent.iter().filter(|sent| !sent.contains("|43=Y|"));
    fresh.map(|sent| sent.split("34=").nth(1).unwrap().split('|').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn bytes_of_any_kind_never_stop_it() {
    bolero::check!().with_iterations(20_000).with_type::<Vec<Vec<u8>>>().for_each(|chunks| {
        let mut desk = Desk::up();
        for chunk in chunks {
            if desk.take(chunk).is_err() {
                return;
            }
        }
        assert!(desk.orders().is_empty(), "noise tells nothing about orders");
    });
}

/// One field, one kind, one step of the number: what a venue may do wrong.
type Move = (u8, i8, Vec<(u8, u8)>);

const KINDS: [&str; 13] = ["0", "1", "2", "3", "4", "5", "A", "8", "8", "8", "9", "j", "Z"];
const FIELDS: [&str; 26] = [
    "43=Y",
    "122=20260921-14:13:20",
    "36=9",
    "36=1",
    "123=Y",
    "7=1",
    "16=0",
    "112=T2",
    "11=A1",
    "41=A1",
    "17=E1",
    "150=0",
    "150=F",
    "150=I",
    "150=4",
    "39=0",
    "39=8",
    "37=V",
    "14=0",
    "151=5",
    "32=5",
    "31=1.5",
    "45=3",
    "103=5",
    "58=\u{e9}",
    "141=Y",
];

#[test]
fn messages_in_any_order_never_tell_twice_nor_use_a_number_twice() {
    bolero::check!().with_iterations(5_000).with_type::<Vec<Move>>().for_each(|moves| {
        let mut desk = Desk::up();
        let mut expected = 3i64;
        let mut told = Vec::new();
        let mut sent = Vec::new();
        for (kind, step, fields) in moves {
            sent.push(desk.order(&new("A1", "REST", 5)));
            let body: String = fields
                .iter()
                .map(|(field, digit)| match digit {
                    0..=200 => format!("{}|", FIELDS[usize::from(*field) % FIELDS.len()]),
                    _ => format!("{field}={digit}|"),
                })
                .collect();
            let number = expected + i64::from(step / 43);
            let message = from_venue(KINDS[usize::from(*kind) % KINDS.len()], number.max(0) as u64, &body);
            let outcome = desk.take(&message);
            sent.append(&mut desk.sent);
            told.extend(desk.told.drain(..).filter_map(|event| match event {
                Event::Told(told) if told.number > 0 => Some(told.number),
                _ => None,
            }));
            if outcome.is_err() {
                break;
            }
            expected += i64::from(number == expected);
        }
        assert!(told.is_sorted_by(|a, b| a < b), "{told:?}");
        let numbers = our_numbers(&sent);
        assert!(numbers.iter().copied().eq(3..3 + numbers.len() as u64), "{numbers:?}");
    });
}
