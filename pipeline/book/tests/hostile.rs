//! Any bytes as ticks, and any bytes as saved books: nothing panics, memory stays within the limits, levels
//! and orders agree.

use book::{Books, Kind, Limits, RestoreReason};
use tick::{Side, Tick};
use zerocopy::FromBytes;

const LIMITS: Limits = Limits { instruments: 5, orders: 40, levels: 20, numbered_levels: 3 };

/// What must hold of any books.
fn check(books: &Books) {
    let (mut orders, mut levels) = (0, 0);
    for (id, book) in books.iter() {
        assert_eq!(books.find(book.key().0, book.key().1), Some(id));
        for side in [Side::Bid, Side::Ask] {
            let by_order = book.by(Kind::ByOrder);
            let of_side: Vec<_> = by_order.orders(side).collect();
            let mut rest = of_side.as_slice();
            let mut before = None;
            for level in by_order.levels(side) {
                let better =
                    |before: i64| if side == Side::Bid { before > level.price } else { before < level.price };
                assert!(before.is_none_or(better) && level.orders > 0);
                let (here, behind) = rest.split_at(level.orders as usize);
                assert!(here.iter().all(|order| order.price == level.price && order.size > 0));
                assert_eq!(here.iter().map(|order| u64::from(order.size)).sum::<u64>(), level.size);
                (before, rest) = (Some(level.price), behind);
            }
            assert!(rest.is_empty());
            for order in &of_side {
                assert_eq!(by_order.order(order.order_id), Some(*order));
            }
            orders += of_side.len();
            levels += by_order.levels(side).count() + book.by(Kind::ByPrice).levels(side).count();
        }
    }
    assert_eq!((books.orders_len(), books.levels_len()), (orders, levels));
    assert!(books.len() <= LIMITS.instruments && orders <= LIMITS.orders && levels <= LIMITS.levels);
}

#[test]
fn any_bytes_as_ticks_leave_books_that_agree_with_themselves() {
    bolero::check!().with_type::<Vec<[u8; 64]>>().for_each(|bytes| {
        let mut books = Books::new(LIMITS);
        for bytes in bytes {
            books.apply(&Tick::read_from_bytes(bytes).expect("64 bytes"));
        }
        check(&books);
    });
}

/// Bytes that hit: few instruments, orders and prices, all actions.
fn near(bytes: &[u8; 8]) -> Tick {
    let [action, side, order, price, size, place, flags, depth] = *bytes;
    Tick {
        sequence: u64::from(order & 3),
        order_id: u64::from(order & 31),
        price: if price == 255 { i64::MAX } else { i64::from(price & 31) },
        size: if size == 255 { u32::MAX } else { u32::from(size & 15) },
        instrument_id: u32::from(place & 7),
        publisher_id: u16::from(place >> 7),
        channel_id: u16::from(place >> 6 & 1),
        action: tick::Action(b"AAAAMMMCCFTRSNG?"[usize::from(action & 15)]),
        side: Side(b"BAN?"[usize::from(side & 3)]),
        flags: tick::Flags(flags),
        depth: if depth < 128 {
            0
        } else if depth < 200 {
            depth & 7
        } else {
            255
        },
        ..Tick::EMPTY
    }
}

#[test]
fn any_ticks_leave_books_that_agree_with_themselves_and_come_back_from_their_bytes() {
    bolero::check!().with_type::<Vec<[u8; 8]>>().for_each(|bytes| {
        let mut books = Books::new(LIMITS);
        for (at, bytes) in bytes.iter().enumerate() {
            books.apply(&near(bytes));
            if at % 16 == 0 {
                check(&books);
            }
        }
        check(&books);
        let saved = saved(&books);
        let mut restored = Books::restore(&saved, LIMITS).expect("saved books");
        for bytes in bytes {
            assert_eq!(restored.apply(&near(bytes)), books.apply(&near(bytes)));
        }
        assert_eq!(self::saved(&restored), self::saved(&books));
    });
}

fn saved(books: &Books) -> Vec<u8> {
    let mut bytes = Vec::new();
    books.save(&mut bytes);
    bytes
}

/// Books with something of everything in them.
fn example() -> Books {
    let mut books = Books::new(LIMITS);
    books.apply(&Tick::channel_clear(1, 0, 1, 0));
    let mut random = 9u64;
    for _ in 0..400 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut bytes = random.to_be_bytes();
        bytes[0] %= 9;
        books.apply(&near(&bytes));
    }
    books
}

/// Puts the right checksum behind changed bytes.
fn seal(bytes: &mut Vec<u8>, body: usize) {
    bytes.truncate(body);
    let hash = bytes.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    bytes.extend_from_slice(&hash.to_le_bytes());
}

#[test]
fn every_damaged_byte_of_saved_books_is_noticed() {
    let whole = saved(&example());
    assert!(Books::restore(&whole, LIMITS).is_ok());
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        assert!(Books::restore(&bytes, LIMITS).is_err(), "byte {at}");
        assert!(Books::restore(&whole[..at], LIMITS).is_err(), "cut at {at}");
    }
}

#[test]
fn forged_bytes_are_refused_with_a_reason_or_make_books_that_agree_with_themselves() {
    let whole = saved(&example());
    let body = whole.len() - 8;
    bolero::check!().with_type::<Vec<(u16, u8)>>().for_each(|changes| {
        let mut bytes = whole.clone();
        for (at, byte) in changes {
            let at = usize::from(*at) % body;
            bytes[at] = *byte;
        }
        seal(&mut bytes, body);
        match Books::restore(&bytes, LIMITS) {
            Ok(mut books) => {
                check(&books);
                books.apply(&Tick::channel_clear(0, 0, 1, 0));
                check(&books);
            }
            Err(error) => assert!(error.offset <= bytes.len()),
        }
    });
}

#[test]
fn each_kind_of_wrong_bytes_has_its_reason() {
    let whole = saved(&example());
    let body = whole.len() - 8;
    let refused = |bytes: &[u8], limits| {
        let error = Books::restore(bytes, limits).expect_err("a refusal");
        (error.offset, error.reason)
    };
    assert_eq!(refused(b"", LIMITS), (0, RestoreReason::Truncated));
    assert_eq!(refused(b"something else", LIMITS), (0, RestoreReason::NotBooks));
    assert_eq!(refused(&whole[..12], LIMITS), (12, RestoreReason::Truncated));
    let mut newer = whole.clone();
    newer[8] = 2;
    assert_eq!(refused(&newer, LIMITS), (0, RestoreReason::Version(2)));
    assert_eq!(refused(&whole[..whole.len() - 1], LIMITS).1, RestoreReason::Checksum);
    let mut longer = whole[..body].to_vec();
    longer.push(0);
    seal(&mut longer, body + 1);
    assert_eq!(refused(&longer, LIMITS), (body, RestoreReason::Trailing));
    let mut shorter = whole.clone();
    seal(&mut shorter, body - 1);
    assert_eq!(refused(&shorter, LIMITS), (body - 1, RestoreReason::Truncated));
    let fewer = Limits { instruments: 1, ..LIMITS };
    assert_eq!(refused(&whole, fewer).1, RestoreReason::Full);
    let said = Books::restore(b"something else", LIMITS).expect_err("a refusal").to_string();
    assert_eq!(said, "saved books, byte 0: not saved books; discard them and start from the stream");
}
