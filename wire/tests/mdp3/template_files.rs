//! Template files: CME's of every version at hand, the project's own, and broken ones.

use super::{Random, capture, fixture};
use wire::mdp3::{FIXTURE, Kind, Schema, SchemaError, SchemaProblem, Value};

#[test]
fn every_version_of_cmes_file_compiles_and_names_its_messages() {
    // Version, templates, and the id of the current template for book, trade and future.
    let versions = [(6, 17, 32, 42, 27), (8, 19, 32, 42, 27), (9, 29, 46, 48, 54), (13, 31, 64, 65, 54)];
    for (version, templates, book, trade, future) in versions {
        let Some(xml) = capture::template_file(version) else { return };
        let schema = Schema::parse(&xml).expect("CME's file");
        assert_eq!((schema.id(), schema.version()), (1, version));
        assert_eq!(schema.templates().len(), templates, "v{version}");
        let current =
            [Kind::Book, Kind::Trade, Kind::DefinitionFuture].map(|kind| schema.latest(kind).map(|t| t.id));
        assert_eq!(current, [Some(book), Some(trade), Some(future)], "v{version}");
        for kind in [Kind::ChannelReset, Kind::Heartbeat, Kind::SecurityStatus, Kind::Volume, Kind::Snapshot]
        {
            assert!(schema.latest(kind).is_some(), "v{version} has {kind:?}");
        }
    }
}

#[test]
fn a_template_is_known_by_its_name_whatever_its_id() {
    let Some(xml) = capture::template_file(13) else { return };
    let schema = Schema::parse(&xml).expect("CME's file");
    let kinds = [
        (4, Kind::ChannelReset),
        (12, Kind::Heartbeat),
        (15, Kind::Other),
        (30, Kind::SecurityStatus),
        (37, Kind::Volume),
        (39, Kind::Other),
        (46, Kind::Book),
        (47, Kind::OrderBook),
        (48, Kind::Trade),
        (49, Kind::DailyStatistics),
        (50, Kind::Limits),
        (51, Kind::SessionStatistics),
        (52, Kind::Snapshot),
        (53, Kind::OrderSnapshot),
        (54, Kind::DefinitionFuture),
        (55, Kind::DefinitionOption),
        (56, Kind::DefinitionSpread),
        (57, Kind::DefinitionOther),
        (59, Kind::OrderSnapshot),
        (60, Kind::SecurityStatus),
        (61, Kind::Snapshot),
        (62, Kind::Other),
        (63, Kind::DefinitionOther),
        (64, Kind::Book),
        (69, Kind::Snapshot),
    ];
    for (id, kind) in kinds {
        assert_eq!(schema.template(id).map(|template| template.kind), Some(kind), "template {id}");
    }
    assert!(
        schema.template(0).is_none() && schema.template(70).is_none() && schema.template(u16::MAX).is_none()
    );
}

#[test]
fn our_own_file_agrees_with_cmes_on_every_field_that_it_names() {
    let Some(xml) = capture::template_file(9) else { return };
    let cme = Schema::parse(&xml).expect("CME's file");
    for ours in fixture().templates() {
        let theirs = cme.template(ours.id).expect("CME has it too");
        assert_eq!(
            (&ours.name, ours.kind, ours.block_length),
            (&theirs.name, theirs.kind, theirs.block_length)
        );
        let groups = |template: &wire::mdp3::Template| {
            template.groups.iter().map(|group| (group.name.clone(), group.block_length)).collect::<Vec<_>>()
        };
        assert_eq!(groups(ours), groups(theirs));
        let blocks = std::iter::once((&ours.fields, &theirs.fields)).chain(
            ours.groups.iter().zip(&theirs.groups).map(|(ours, theirs)| (&ours.fields, &theirs.fields)),
        );
        for (ours, theirs) in blocks {
            for field in ours {
                let other = theirs.iter().find(|other| other.name == field.name).expect("CME has it too");
                let shape = |field: &wire::mdp3::Field| {
                    (field.offset, field.primitive, field.length, field.null, field.constant)
                };
                assert_eq!(shape(field), shape(other), "{}", field.name);
            }
        }
    }
}

#[test]
fn a_padded_group_size_is_eight_bytes_with_the_count_in_the_last() {
    let schema = fixture();
    let mut packet = wire::mdp3::encode::PacketWriter::new(&schema);
    packet.begin(1, 2);
    packet.trade(3, 0, &[], &[(7, 8), (9, 10)]).expect("fits");
    let message = &packet.bytes()[wire::mdp3::PACKET_HEADER_BYTES..];
    let orders = &message[wire::mdp3::MESSAGE_HEADER_BYTES + 11 + 3..];
    assert_eq!(orders[..8], [16, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(orders.len(), 8 + 2 * 16);
}

const HEADER: &str = r#"<composite name="messageHeader">
  <type name="blockLength" primitiveType="uint16"/><type name="templateId" primitiveType="uint16"/>
  <type name="schemaId" primitiveType="uint16"/><type name="version" primitiveType="uint16"/></composite>"#;

/// A schema file with these types and messages; the types start on line 4, column 1.
fn schema_of(types: &str, messages: &str) -> Result<Schema, SchemaError> {
    Schema::parse(&format!(
        "<messageSchema id=\"1\"><types>{HEADER}\n{types}\n</types>\n{messages}</messageSchema>",
        HEADER = HEADER.replace('\n', " ") + "\n\n"
    ))
}

#[test]
fn a_broken_template_file_is_refused_with_the_element_its_place_and_the_reason() {
    let group = r#"<composite name="groupSize"><type name="blockLength" primitiveType="uint16"/><type name="numInGroup" primitiveType="uint8"/></composite>"#;
    let cases: &[(&str, &str, &str)] = &[
        (
            r#"<type name="A" primitiveType="uint9"/>"#,
            "",
            r#"line 4, column 1, <type name="A">: type "uint9" is not declared"#,
        ),
        (
            r#"<type name="A"/>"#,
            "",
            r#"line 4, column 1, <type name="A">: attribute primitiveType is missing"#,
        ),
        (r#"<type primitiveType="char"/>"#, "", "line 4, column 1, <type>: attribute name is missing"),
        (
            r#"<type name="A" primitiveType="int8" presence="constant">300</type>"#,
            "",
            r#"line 4, column 1, <type name="A">: "300" is not a value of this type"#,
        ),
        (
            r#"<type name="A" primitiveType="int8" presence="constant"/>"#,
            "",
            r#"<type name="A">: "" is not a value of this type"#,
        ),
        (
            r#"<type name="A" primitiveType="uint8" presence="optional" nullValue="-1"/>"#,
            "",
            r#""-1" is not a value of this type"#,
        ),
        (
            r#"<type name="A" primitiveType="uint8" presence="sometimes"/>"#,
            "",
            r#""sometimes" is not a value of this type"#,
        ),
        (r#"<type name="A" primitiveType="int32" length="4"/>"#, "", "an array of numbers is not supported"),
        (r#"<type name="A" primitiveType="char" length="9999"/>"#, "", "more than 4096 characters"),
        (
            r#"<type name="A" primitiveType="char" length="x"/>"#,
            "",
            r#"attribute length is "x", not a number from 0 to 65535"#,
        ),
        (
            r#"<type name="A" primitiveType="char"/><type name="A" primitiveType="char"/>"#,
            "",
            "line 4, column 38, <type name=\"A\">: the same type name is there twice",
        ),
        (
            r#"<enum name="E" encodingType="Nowhere"/>"#,
            "",
            r#"<enum name="E">: type "Nowhere" is not declared"#,
        ),
        (
            r#"<enum name="E" encodingType="messageHeader"/>"#,
            "",
            "an encoding that is no integer is not supported",
        ),
        (
            r#"<composite name="C"><ref name="D"/></composite>"#,
            "",
            "line 4, column 21, <ref name=\"D\">: this kind of part in a composite is not supported",
        ),
        (r#"<thing name="C"/>"#, "", "<thing name=\"C\">: this kind of type is not supported"),
        (
            "",
            r#"<message name="M1" id="1"><field name="F" type="Nowhere"/></message>"#,
            "line 6, column 27, <field name=\"F\">: type \"Nowhere\" is not declared",
        ),
        (
            "",
            r#"<message name="M1" id="1"><field type="char"/></message>"#,
            "<field>: attribute name is missing",
        ),
        (
            "",
            r#"<message name="M1" id="70000"/>"#,
            r#"attribute id is "70000", not a number from 0 to 65535"#,
        ),
        ("", r#"<message name="M1"/>"#, "line 6, column 1, <message name=\"M1\">: attribute id is missing"),
        (
            "",
            r#"<message name="M1" id="1"/><message name="N1" id="1"/>"#,
            "<message name=\"N1\">: the same message id is there twice",
        ),
        (
            "",
            r#"<message name="M1" id="1" blockLength="3"><field name="F" type="uint32"/></message>"#,
            "<field name=\"F\">: the field ends at byte 4 of a block of 3",
        ),
        (
            "",
            r#"<message name="M1" id="1" blockLength="9"><field name="F" type="uint64" offset="2"/></message>"#,
            "the field ends at byte 10 of a block of 9",
        ),
        (
            "",
            r#"<message name="M1" id="1"><data name="D" id="2"/></message>"#,
            "variable-length data is not supported",
        ),
        (
            "",
            r#"<message name="M1" id="1"><field name="F" type="char" presence="constant" valueRef="X.Y"/></message>"#,
            "a constant on the field element is not supported",
        ),
        (
            "",
            r#"<message name="M1" id="1"><group name="G" dimensionType="groupSize"/></message>"#,
            r#"type "groupSize" is not declared"#,
        ),
        (
            "",
            r#"<message name="M1" id="1"><group name="G" dimensionType="messageHeader"/></message>"#,
            "the group's dimension type has not the shape that it must have",
        ),
        (
            group,
            r#"<message name="M1" id="1"><group name="G" dimensionType="groupSize"><group name="H"/></group></message>"#,
            "<group name=\"H\">: a group inside a group is not supported",
        ),
        ("", r#"<message name="MDIncrementalRefreshBook1" id="1"/>"#, "the message has no NoMDEntries group"),
        (
            group,
            r#"<message name="MDIncrementalRefreshBook1" id="1"><group name="NoMDEntries" dimensionType="groupSize"/></message>"#,
            "the message has no SecurityID",
        ),
        (
            group,
            r#"<message name="MDIncrementalRefreshBook1" id="1"><group name="NoMDEntries" dimensionType="groupSize"><field name="SecurityID" type="int32"/></group></message>"#,
            "the message has no MDEntryType",
        ),
        ("", r#"<message name="MDInstrumentDefinitionFuture1" id="1"/>"#, "the message has no SecurityID"),
    ];
    for (types, messages, expected) in cases {
        let error = schema_of(types, messages).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}\n  should contain\n{expected}");
        assert!(error.starts_with("line "), "{error}");
    }
}

#[test]
fn a_file_that_is_no_schema_is_refused() {
    let problem = |xml: &str| Schema::parse(xml).expect_err("not a schema").problem;
    assert!(matches!(problem(""), SchemaProblem::NotXml(_)));
    assert!(matches!(problem("<messageSchema id='1'>"), SchemaProblem::NotXml(_)));
    assert_eq!(problem("<html/>"), SchemaProblem::NotASchema);
    let shape = SchemaProblem::Shape("the messageHeader composite");
    assert_eq!(problem("<messageSchema id='1'/>"), shape);
    let wide = FIXTURE.replace(
        r#"<type name="version" primitiveType="uint16"/>"#,
        r#"<type name="version" primitiveType="uint32"/>"#,
    );
    assert_eq!(problem(&wide), shape);
    assert_eq!(
        problem("<messageSchema byteOrder='bigEndian'/>"),
        SchemaProblem::Unsupported("this byte order")
    );
    assert!(matches!(problem("<!DOCTYPE a [<!ENTITY b 'c'>]><messageSchema/>"), SchemaProblem::NotXml(_)));
    let large = " ".repeat(Schema::XML_BYTES_MAX + 1);
    assert!(matches!(problem(&large), SchemaProblem::TooLarge { .. }));
}

#[test]
fn a_file_with_too_much_of_anything_is_refused_in_bounded_time() {
    let repeat = |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<String>();
    let fields = repeat(600, &|n| format!(r#"<field name="F{n}" type="char"/>"#));
    let groups = repeat(40, &|n| format!(r#"<group name="G{n}" dimensionType="D"/>"#));
    let dimension = r#"<composite name="D"><type name="blockLength" primitiveType="uint16"/><type name="numInGroup" primitiveType="uint16"/></composite>"#;
    let cases = [
        (repeat(5000, &|n| format!(r#"<type name="T{n}" primitiveType="char"/>"#)), String::new(), "types"),
        (String::new(), repeat(2000, &|n| format!(r#"<message name="M{n}" id="{n}"/>"#)), "messages"),
        (String::new(), format!(r#"<message name="M1" id="1">{fields}</message>"#), "fields"),
        (dimension.to_owned(), format!(r#"<message name="M1" id="1">{groups}</message>"#), "groups"),
        (
            format!(
                r#"<composite name="C">{}</composite>"#,
                repeat(99, &|n| format!(r#"<type name="T{n}" primitiveType="char"/>"#))
            ),
            String::new(),
            "parts",
        ),
    ];
    for (types, messages, expected) in cases {
        match schema_of(&types, &messages).expect_err(expected).problem {
            SchemaProblem::TooMany { what, .. } => assert_eq!(what, expected),
            other => panic!("{expected}: {other}"),
        }
    }
    // Deep nesting, many attributes and long names must neither overflow the stack nor take quadratic time.
    let deep = 200_000;
    assert!(Schema::parse(&("<a>".repeat(deep) + &"</a>".repeat(deep))).is_err());
    let attributes = repeat(2_000, &|n| format!(" a{n}=''"));
    assert!(Schema::parse(&format!("<messageSchema id='1'{attributes}/>")).is_err());
    let long = "n".repeat(1 << 20);
    let error =
        schema_of(&format!(r#"<type name="{long}" primitiveType="{long}"/>"#), "").expect_err("unknown type");
    assert!(error.to_string().len() < 400);
}

#[test]
fn types_resolve_through_enumerations_sets_and_composites() {
    let schema = schema_of(
        r#"<enum name="E" encodingType="Late"/><set name="S" encodingType="uint16"/>
           <type name="Late" primitiveType="uint8" presence="optional"/>
           <composite name="C"><type name="a" primitiveType="int16"/><type name="k" primitiveType="char" presence="constant">Z</type><type name="b" primitiveType="uint8" offset="5"/></composite>"#,
        r#"<message name="M7" id="7"><field name="X" type="E"/><field name="Y" type="S"/><field name="Z" type="C"/><field name="W" type="char"/></message>"#,
    )
    .expect("sound");
    let template = schema.template(7).expect("there");
    let shape: Vec<_> =
        template.fields.iter().map(|field| (&*field.name, field.offset, field.bytes())).collect();
    assert_eq!(shape, [("X", 0, 1), ("Y", 1, 2), ("Z.a", 3, 2), ("Z.k", 0, 0), ("Z.b", 8, 1), ("W", 9, 1)]);
    assert_eq!(template.block_length, 10);
    assert_eq!(template.fields[0].null, Some(255));
    let mut packet = vec![0; wire::mdp3::PACKET_HEADER_BYTES];
    packet.extend([20, 0, 10, 0, 7, 0, 1, 0, 0, 0, 255, 1, 2, 0xFE, 0xFF, 0, 0, 0, 9, b'w']);
    let message = wire::mdp3::Messages::new(&packet).next().expect("one").expect("whole");
    let values: Vec<_> = template.fields.iter().map(|field| field.read(&message.root())).collect();
    let expected = [
        Value::Null,
        Value::UInt(0x0201),
        Value::Int(-2),
        Value::Char(b'Z'),
        Value::UInt(9),
        Value::Char(b'w'),
    ];
    assert_eq!(values, expected);
}

#[test]
fn no_cut_and_no_changed_byte_of_a_template_file_makes_the_compiler_panic() {
    for end in (0..FIXTURE.len()).step_by(7).filter(|&end| FIXTURE.is_char_boundary(end)) {
        assert!(Schema::parse(&FIXTURE[..end]).is_err(), "a file cut at {end} is not whole");
    }
    let mut random = Random(1);
    for _ in 0..3_000 {
        let mut bytes = FIXTURE.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = b"<>/=\" 0123456789abcdefMNoPrice-"[random.below(31)];
        }
        let _ = Schema::parse(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn fuzz_the_compiler() {
    bolero::check!().with_iterations(2_000).with_max_len(4_096).with_type::<Vec<u8>>().for_each(|bytes| {
        let _ = Schema::parse(&String::from_utf8_lossy(bytes));
    });
}
