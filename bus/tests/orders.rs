//! Instructions and reports: read back as written, and refused in words when they break the contract.

#![allow(clippy::unwrap_used)] // A test may.

use bus::{Instruction, OrderAction, OrderId, OrderSide, Report, ReportKind, TimeInForce};
use proptest::prelude::*;
use tick::Price;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn fields_of(record: &Instruction) -> Fields {
    let mut fields = Fields::new();
    record.for_each_field(|name, value| fields.push((name.into(), value.into())));
    fields
}

fn parse(fields: &Fields) -> Result<Instruction, bus::OrderError> {
    Instruction::parse(fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())))
}

fn parse_report(fields: &Fields) -> Result<Report, bus::OrderError> {
    Report::parse(fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())))
}

fn with(mut fields: Fields, name: &str, value: &str) -> Fields {
    fields.retain(|(known, _)| known != name.as_bytes());
    fields.push((name.into(), value.into()));
    fields
}

fn order_id() -> impl Strategy<Value = OrderId> {
    "[A-Za-z0-9]{1,14}".prop_map(|text| text.parse().unwrap())
}

fn price() -> impl Strategy<Value = Price> {
    (-i64::MAX..i64::MAX).prop_map(Price)
}

fn action() -> impl Strategy<Value = OrderAction> {
    let side = prop::sample::select(OrderSide::ALL);
    let time_in_force = prop::sample::select(TimeInForce::ALL);
    let quantity = 1..=u64::MAX;
    prop_oneof![
        (side, quantity.clone(), prop::option::of(price()), time_in_force).prop_map(
            |(side, quantity, price, time_in_force)| OrderAction::New {
                side,
                quantity,
                price,
                time_in_force
            }
        ),
        (order_id(), quantity, price()).prop_map(|(of, quantity, price)| OrderAction::Replace {
            of,
            quantity,
            price
        }),
        order_id().prop_map(|of| OrderAction::Cancel { of }),
    ]
}

fn instruction() -> impl Strategy<Value = Instruction> {
    let names = ("[!-~]{1,32}", "[!-~]{1,32}", "[!-~]{1,32}");
    (order_id(), action(), names, any::<(u16, u32, u64, u64)>()).prop_map(|(id, action, names, numbers)| {
        Instruction {
            id,
            action,
            venue: names.0,
            symbol: names.1,
            strategy: names.2,
            publisher_id: numbers.0,
            instrument_id: numbers.1,
            cause_ns: numbers.2,
            created_ns: numbers.3,
        }
    })
}

fn a_new_order() -> Fields {
    fields_of(&Instruction {
        id: "mm1x0001".parse().unwrap(),
        action: OrderAction::New {
            side: OrderSide::Buy,
            quantity: 100,
            price: Some(Price(101_250_000_000)),
            time_in_force: TimeInForce::Day,
        },
        venue: "sim".into(),
        publisher_id: 2,
        instrument_id: 7,
        symbol: "AAPL".into(),
        strategy: "quoter".into(),
        cause_ns: 1,
        created_ns: 2,
    })
}

proptest! {
    #[test]
    fn an_instruction_is_read_back_as_written(instruction in instruction()) {
        prop_assert_eq!(parse(&fields_of(&instruction)).unwrap(), instruction);
    }
}

#[test]
fn a_person_can_read_an_instruction() {
    let text: Vec<String> = a_new_order()
        .into_iter()
        .map(|(name, value)| {
            format!("{} {}", String::from_utf8(name).unwrap(), String::from_utf8(value).unwrap())
        })
        .collect();
    assert_eq!(
        text.join(", "),
        "v 1, id mm1x0001, action new, side buy, quantity 100, price 101.25, tif day, venue sim, publisher 2, \
         instrument 7, symbol AAPL, strategy quoter, cause_ns 1, created_ns 2"
    );
}

#[test]
fn every_field_of_a_new_order_but_the_price_must_be_there_once() {
    let whole = a_new_order();
    for at in 0..whole.len() {
        let name = String::from_utf8(whole[at].0.clone()).unwrap();
        let mut without = whole.clone();
        without.remove(at);
        match parse(&without) {
            Ok(read) => {
                assert!(name == "price" && matches!(read.action, OrderAction::New { price: None, .. }));
            }
            Err(error) => {
                assert_eq!(error.to_string(), format!("field `{name}` is missing"));
                assert_eq!(error.id.is_some(), name != "id");
            }
        }
        let mut twice = whole.clone();
        twice.push(whole[at].clone());
        assert_eq!(parse(&twice).unwrap_err().to_string(), format!("field `{name}` is there twice"));
    }
}

#[test]
fn what_cannot_be_meant_is_refused_by_field_and_keeps_the_id() {
    let long = "x".repeat(33);
    let cases = [
        ("quantity", "0", "field `quantity`: at least 1"),
        ("quantity", "-5", "field `quantity`: a decimal number in range"),
        ("quantity", "18446744073709551616", "field `quantity`: a decimal number in range"),
        ("price", "1e5", "field `price`: a decimal price with at most nine digits after the point"),
        ("price", "nan", "field `price`: a decimal price with at most nine digits after the point"),
        ("side", "long", "field `side`: buy, sell or sell_short"),
        ("tif", "gtc", "field `tif`: day or ioc"),
        ("action", "buy", "field `action`: new, replace or cancel"),
        ("action", "cancel", "field `side` does not belong to this action"),
        ("of", "other1", "field `of` does not belong to this action"),
        ("symbol", "two words", "field `symbol`: at most 32 printable ASCII characters without a space"),
        ("venue", &long, "field `venue`: at most 32 printable ASCII characters without a space"),
        ("publisher", "65536", "field `publisher`: a decimal number in range"),
        ("v", "2", "version \"2\" is not known here; this is version 1"),
    ];
    for (name, value, expected) in cases {
        let error = parse(&with(a_new_order(), name, value)).unwrap_err();
        assert_eq!(error.to_string(), expected, "{name}={value}");
        assert_eq!(error.id.unwrap().as_str(), "mm1x0001");
    }
    let error = parse(&with(a_new_order(), "id", "far-too-long-an-id")).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.id), ("field `id`: 1 to 14 letters and digits", None));
}

#[test]
fn a_report_is_read_back_as_written_with_all_and_with_nothing_known() {
    let full = Report {
        id: Some("a1".parse().unwrap()),
        of: Some("a0".parse().unwrap()),
        venue: "sim".into(),
        strategy: "quoter".into(),
        symbol: "AAPL".into(),
        publisher_id: 2,
        instrument_id: 7,
        side: Some(OrderSide::SellShort),
        last_quantity: 5,
        last_price: Some(Price(-1)),
        filled: 10,
        leaves: 0,
        venue_order: "123".into(),
        execution: "e9".into(),
        reason: "collar".into(),
        text: "price 5.00 is more than 3 % from 4.00".into(),
        cause_ns: 1,
        ..Report::new(ReportKind::Filled, 2)
    };
    let mut all: Vec<Report> = vec![full];
    all.extend(ReportKind::ALL.iter().map(|&kind| Report::new(kind, 9)));
    for report in all {
        let mut fields = Fields::new();
        report.for_each_field(|name, value| fields.push((name.into(), value.into())));
        assert_eq!(parse_report(&fields).unwrap(), report);
        let wrong = with(fields, "kind", "vanished");
        assert_eq!(
            parse_report(&wrong).unwrap_err().to_string(),
            "field `kind`: one of the kinds of this version"
        );
    }
}

#[test]
fn no_bytes_make_a_parser_fail_otherwise_than_in_words() {
    bolero::check!().with_type::<Vec<(u8, Vec<u8>)>>().with_iterations(20_000).for_each(|noise| {
        let names: [&[u8]; 6] = [b"v", b"id", b"action", b"quantity", b"kind", b"price"];
        let mut fields = a_new_order();
        for (which, value) in noise {
            fields.insert(0, (names[usize::from(*which) % names.len()].to_vec(), value.clone()));
        }
        let _ = parse(&fields);
        let _ = parse_report(&fields);
    });
}
