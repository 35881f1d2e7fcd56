//! Every field of every message of the v6 capture against PyPI `sbedecoder`, which reads capture, framing and
//! template file in its own way.

use super::capture;
use std::fmt::Write;
use std::process::Command;
use wire::mdp3::{Block, Field, Messages, Schema, Value};

/// ` name=value` for each field.
fn print(line: &mut String, fields: &[Field], block: &Block<'_>) {
    for field in fields {
        let _ = match field.read(block) {
            Value::Null => write!(line, " {}=null", field.name),
            Value::Int(value) => write!(line, " {}={value}", field.name),
            Value::UInt(value) => write!(line, " {}={value}", field.name),
            Value::Char(code) => write!(line, " {}={}", field.name, char::from(code)),
            Value::Text(text) => {
                let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
                write!(line, " {}={}", field.name, String::from_utf8_lossy(&text[..end]))
            }
        };
    }
}

/// One line a message: the header, the root block, each group's entries.
fn lines(schema: &Schema, payload: &[u8], into: &mut Vec<String>) {
    for message in Messages::new(payload).map(|message| message.expect("whole framing")) {
        let template = schema.template(message.template_id).expect("known template");
        let mut line = format!(
            "{} size={} version={} root:",
            message.template_id,
            message.bytes().len(),
            message.version
        );
        print(&mut line, &template.fields, &message.root());
        let mut groups = message.groups();
        for (place, group) in template.groups.iter().enumerate() {
            let entries = groups.open(&template.groups, place).expect("whole group");
            for block in entries.blocks() {
                let _ = write!(line, " {}:", group.name);
                print(&mut line, &group.fields, &block);
            }
        }
        into.push(line);
    }
}

#[test]
fn every_field_of_the_v6_capture_agrees_with_sbedecoder() {
    let (Some(folder), Some(packets)) = (capture::folder(), capture::v6()) else { return };
    let Some(python) = std::env::var_os("FEEDPLANE_PYTHON") else {
        eprintln!("SKIPPED: FEEDPLANE_PYTHON is not set");
        return;
    };
    let schema = Schema::parse(&capture::template_file(6).expect("file")).expect("CME's file");
    let mut ours = Vec::new();
    packets.iter().for_each(|packet| lines(&schema, &packet.payload, &mut ours));
    assert_eq!(ours.len(), 20_546);

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracles/mdp3_fields.py");
    let output = Command::new(python)
        .arg(script)
        .arg(folder.join("Cme.Futures.Mdp3.Sbe.v1.6.xml"))
        .arg(folder.join("Cme.Mdp3.Sbe.v6.1.pcap"))
        .output()
        .expect("the interpreter starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs = String::from_utf8(output.stdout).expect("text");
    let theirs: Vec<&str> = theirs.lines().collect();
    for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "message {number}");
    }
    assert_eq!(ours.len(), theirs.len());
}
