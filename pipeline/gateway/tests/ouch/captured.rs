//! Captured packets of a real market, heard by a client.

use crate::ouch50_common::captured;
use crate::support::*;
use gateway::line::{Event, Told, What};
use wire::soupbintcp::{Frame, Framer, Packet, Sender};

#[test]
fn captured_messages_are_told_without_one_that_is_refused() {
    let Some(files) = captured() else { return };
    let mut kinds = std::collections::BTreeMap::<&str, u32>::new();
    for (name, payload) in files {
        let mut framer = Framer::new(Sender::Server, u16::MAX);
        let mut rest = payload.as_slice();
        let Ok(Frame::Packet(Packet::SequencedData(_))) = framer.next(&mut rest) else { continue };
        let mut client = Client::up();
        client.hear(&payload).unwrap();
        let events = client.events();
        for event in &events {
            let Event::Told(Told { number, what, .. }) = event else { panic!("{name}: {event:?}") };
            assert!(*number >= 2, "{name}");
            let kind = match what {
                What::Accepted { leaves, .. } => {
                    assert!(*leaves > 0, "{name}");
                    "accepted"
                }
                What::Filled { quantity, price, .. } => {
                    assert!(*quantity > 0 && price.0 > 0, "{name}");
                    "filled"
                }
                What::Replaced { .. } => "replaced",
                What::Cancelled { reason, .. } => {
                    assert!(!reason.starts_with("cancel_"), "{name}: {reason}");
                    "cancelled"
                }
                What::Rejected { .. } => "rejected",
                _ => "other",
            };
            *kinds.entry(kind).or_default() += 1;
        }
    }
    println!("{kinds:?}");
    assert!(kinds.get("accepted").is_some_and(|&count| count > 0), "{kinds:?}");
}
