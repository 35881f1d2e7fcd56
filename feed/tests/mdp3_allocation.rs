//! A decoder allocates when it is made and never again.

use feed::{Delivery, Mdp3, Protocol, Sink, Stamp};
use lab::allocations::{Counting, of_this_thread};
use std::sync::Arc;
use tick::{Clock, Flags, Instrument, Source, Tick};
use wire::mdp3::encode::{BookEntry, Definition, PacketWriter, TradeEntry};
use wire::mdp3::{FIXTURE, Schema};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Sum(u64);

impl Sink for Sum {
    fn tick(&mut self, tick: &Tick) {
        self.0 += u64::from(tick.size);
    }
    fn instrument(&mut self, _: &Instrument) {
        self.0 += 1;
    }
}

#[test]
fn decoding_sound_and_broken_packets_never_allocates() {
    let schema = Arc::new(Schema::parse(FIXTURE).expect("the project's own template file"));
    let mut decoder = Mdp3::new(1, 2, schema.clone());
    let level = BookEntry {
        price: Some(1),
        size: 2,
        security_id: 3,
        rpt_seq: 4,
        number_of_orders: 5,
        level: 1,
        update_action: 4,
        entry_type: b'0',
    };
    let trade =
        TradeEntry { price: 1, size: 2, security_id: 3, rpt_seq: 4, number_of_orders: 9, aggressor_side: 1 };
    let definition = Definition {
        security_id: 3,
        symbol: "ESH4",
        group: "ES",
        asset: "ES",
        currency: "USD",
        min_price_increment: 1,
        unit_of_measure_qty: 1,
    };
    let mut packet = PacketWriter::new(&schema);
    packet.begin(1, 2);
    let levels: Vec<_> = (0..200).map(|security_id| BookEntry { security_id, ..level }).collect();
    packet.book(3, 0, &levels, &[]).expect("fits");
    packet.trade(3, 0, &[trade; 200], &[(1, 1); 100]).expect("fits");
    packet.definition(&definition).expect("fits");
    packet.security_status(3, None, "ES", 17).expect("fits");
    let whole = packet.bytes();

    let mut sum = Sum(0);
    let mut malformed = 0;
    let before = of_this_thread();
    for round in 0..2_000 {
        let payload = &whole[..whole.len() - round % 1_000];
        let Ok(mut header) = decoder.header(whole) else { panic!("sound") };
        header.first = round as u64;
        let delivery = Delivery {
            payload,
            header,
            sequence: round as u64,
            skip: 0,
            take: 1,
            source: Source::A,
            stamp: Stamp { recv_ns: 5, clock: Clock(0) },
            flags: Flags::NONE,
        };
        decoder.decode(&delivery, &mut sum, &mut |_| malformed += 1);
    }
    decoder.reset();
    decoder.message_counts(&mut |_, count| sum.0 += count);
    assert_eq!(of_this_thread(), before);
    assert!(sum.0 > 0 && malformed > 0);
}
