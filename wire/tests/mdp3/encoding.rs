//! What is written reads back, and what cannot be written is refused without a trace.

use super::{Random, capture, fixture};
use wire::mdp3::encode::{BookEntry, BookOrder, Definition, EncodeError, PacketWriter, TradeEntry};
use wire::mdp3::{FIXTURE, Kind, Messages, PacketHeader, Primitive, Schema, Template, Value};

/// A random value of a field.
fn any(random: &mut Random, field: &wire::mdp3::Field) -> Value<'static> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if field.length > 0 {
        return Value::Text(&LETTERS[..field.length.min(LETTERS.len())]);
    }
    let bits = random.next() >> (64 - 8 * field.primitive.bytes());
    let value = match field.primitive {
        Primitive::Char => Value::Char(bits as u8),
        Primitive::Int8 => Value::Int((bits as i8).into()),
        Primitive::Int16 => Value::Int((bits as i16).into()),
        Primitive::Int32 => Value::Int((bits as i32).into()),
        Primitive::Int64 => Value::Int(bits as i64),
        _ => Value::UInt(bits),
    };
    match value {
        Value::Int(number) if Some(number) == field.null => Value::Null,
        Value::UInt(number) if Some(number as i64) == field.null => Value::Null,
        value => value,
    }
}

/// Writes a message of a template with random values, reads it and compares every field of every block.
fn round_trip(schema: &Schema, template: &Template, random: &mut Random) {
    let mut writer = PacketWriter::new(schema);
    writer.begin(7, 8);
    let mut message = writer.message(template);
    let mut blocks: Vec<Vec<Value<'_>>> = Vec::new();
    let mut block = |message: &mut wire::mdp3::encode::MessageWriter<'_>, fields: &[wire::mdp3::Field]| {
        let mut values = Vec::new();
        for field in fields {
            match field.constant {
                Some(constant) if field.primitive == Primitive::Char => {
                    values.push(Value::Char(constant as u8));
                }
                Some(constant) if field.primitive.is_signed() => values.push(Value::Int(constant)),
                Some(constant) => values.push(Value::UInt(constant as u64)),
                None => {
                    let value = any(random, field);
                    message.set(&field.name, value).expect("of the field's type");
                    values.push(value);
                }
            }
        }
        blocks.push(values);
    };
    block(&mut message, &template.fields);
    for (place, group) in template.groups.iter().enumerate() {
        message.group(&group.name, place + 1).expect("in order");
        for index in 0..=place {
            block(message.entry(index), &group.fields);
        }
    }
    message.finish().expect("fits");

    let packet = writer.bytes();
    assert_eq!(PacketHeader::read(packet), Some(PacketHeader { sequence: 7, sending_time_ns: 8 }));
    let mut messages = Messages::new(packet);
    let message = messages.next().expect("one").expect("whole");
    assert!(messages.next().is_none());
    assert_eq!(
        (message.template_id, message.schema_id, message.version),
        (template.id, schema.id(), schema.version())
    );
    let read = |block: &wire::mdp3::Block<'_>, fields: &[wire::mdp3::Field]| {
        fields.iter().map(|field| format!("{:?}", field.read(block))).collect::<Vec<_>>()
    };
    let mut groups = message.groups();
    let mut seen = vec![read(&message.root(), &template.fields)];
    for (place, group) in template.groups.iter().enumerate() {
        let entries = groups.open(&template.groups, place).expect("whole");
        assert_eq!(entries.len(), place + 1);
        seen.extend(entries.blocks().map(|block| read(&block, &group.fields)));
    }
    // Text is padded to its field's length, so it is compared by what was written of it.
    for (seen, written) in seen.iter().flatten().zip(blocks.iter().flatten()) {
        let written = format!("{written:?}");
        assert!(
            *seen == written || seen.starts_with(written.trim_end_matches("])")),
            "{seen} is not {written}"
        );
    }
}

#[test]
fn every_template_of_every_file_reads_back_what_was_written() {
    let mut files = vec![FIXTURE.to_owned()];
    files.extend([6, 8, 9, 13].into_iter().filter_map(capture::template_file));
    let mut random = Random(3);
    for xml in files {
        let schema = Schema::parse(&xml).expect("sound");
        for template in schema.templates() {
            for _ in 0..20 {
                round_trip(&schema, template, &mut random);
            }
        }
    }
}

#[test]
fn the_named_messages_are_written_by_every_file() {
    let mut files = vec![FIXTURE.to_owned()];
    files.extend([6, 8, 9].into_iter().filter_map(capture::template_file));
    for xml in files {
        let schema = Schema::parse(&xml).expect("sound");
        let mut packet = PacketWriter::new(&schema);
        packet.begin(1, 2);
        let level = BookEntry {
            price: Some(12_500_000_000),
            size: 1,
            security_id: 2,
            rpt_seq: 3,
            number_of_orders: 4,
            level: 5,
            update_action: 0,
            entry_type: b'0',
        };
        let trade = TradeEntry {
            price: 100,
            size: 1,
            security_id: 2,
            rpt_seq: 3,
            number_of_orders: 2,
            aggressor_side: 1,
        };
        packet.book(10, 0, &[level], &[]).expect("book");
        packet
            .trade(11, 0, &[TradeEntry { price: 12_500_000_000, ..trade }], &[(1, 1), (2, 1)])
            .expect("trade");
        packet.channel_reset(12, 310).expect("reset");
        packet.heartbeat().expect("heartbeat");
        packet.security_status(13, Some(2), "ES", 17).expect("status");
        let definition = Definition {
            security_id: 2,
            symbol: "ESH4",
            group: "ES",
            asset: "ES",
            currency: "USD",
            min_price_increment: 250_000_000,
            unit_of_measure_qty: 50_000_000_000,
        };
        packet.definition(&definition).expect("definition");
        let kinds: Vec<_> = Messages::new(packet.bytes())
            .map(|message| schema.template(message.expect("whole").template_id).expect("known").kind)
            .collect();
        let expected = [
            Kind::Book,
            Kind::Trade,
            Kind::ChannelReset,
            Kind::Heartbeat,
            Kind::SecurityStatus,
            Kind::DefinitionFuture,
        ];
        assert_eq!(kinds, expected);
    }
}

#[test]
fn a_message_that_cannot_be_written_leaves_the_packet_as_it_was() {
    let schema = fixture();
    let mut packet = PacketWriter::new(&schema);
    packet.begin(1, 2);
    packet.heartbeat().expect("fits");
    let before = packet.bytes().to_vec();
    let level = BookEntry {
        price: Some(1),
        size: u32::MAX,
        security_id: 2,
        rpt_seq: 3,
        number_of_orders: 4,
        level: 5,
        update_action: 0,
        entry_type: b'0',
    };
    let order = BookOrder { order_id: 1, quantity: 1, reference_id: 1, update_action: 0 };
    let refused = |result: Result<(), EncodeError>, packet: &PacketWriter<'_>, expected: EncodeError| {
        assert_eq!(result, Err(expected));
        assert_eq!(packet.bytes(), before);
    };
    let result = packet.book(3, 0, &[level], &[]);
    refused(result, &packet, EncodeError::BadValue("MDEntrySize".into()));
    let result = packet.book(3, 0, &[BookEntry { size: 1, ..level }; 256], &[]);
    refused(result, &packet, EncodeError::TooLong);
    let result = packet.book(3, 0, &[], &[order; 300]);
    refused(result, &packet, EncodeError::TooLong);
    let result = packet.begin_kind(Kind::DefinitionOption).map(drop);
    refused(result, &packet, EncodeError::NoTemplate(Kind::DefinitionOption));
    let template = schema.template(46).expect("there");
    let mut message = packet.message(template);
    assert_eq!(message.set("Nothing", Value::Int(1)).err(), Some(EncodeError::NoField("Nothing".into())));
    assert_eq!(
        message.set("TransactTime", Value::Null).err(),
        Some(EncodeError::BadValue("TransactTime".into()))
    );
    assert_eq!(
        message.set("TransactTime", Value::Int(-1)).err(),
        Some(EncodeError::BadValue("TransactTime".into()))
    );
    assert!(message.group("NoOrderIDEntries", 1).is_ok());
    assert_eq!(message.group("NoMDEntries", 1).err(), Some(EncodeError::NoField("NoMDEntries".into())));
    assert!(message.entry(1).set("OrderID", Value::UInt(1)).is_err());
    drop(message);
    assert_eq!(packet.bytes(), before);
}

#[test]
fn a_price_finer_than_the_files_exponent_is_refused_not_rounded() {
    let Some(xml) = capture::template_file(6) else { return };
    let schema = Schema::parse(&xml).expect("CME's file");
    let mut packet = PacketWriter::new(&schema);
    packet.begin(1, 2);
    let trade = TradeEntry {
        price: 150,
        size: 1,
        security_id: 2,
        rpt_seq: 3,
        number_of_orders: 0,
        aggressor_side: 0,
    };
    assert_eq!(packet.trade(3, 0, &[trade], &[]), Err(EncodeError::BadValue("MDEntryPx".into())));
    assert_eq!(packet.trade(3, 0, &[TradeEntry { price: 200, ..trade }], &[]), Ok(()));
}
