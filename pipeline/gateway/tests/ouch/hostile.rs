//! Any bytes, in any pieces.

use crate::support::*;
use gateway::connection::Over;
use gateway::line::Event;

/// What a client makes of a stream that comes in pieces, after a login. The drop copy as one text each way.
fn made_of(stream: &[u8], cuts: &[usize]) -> (Vec<Event>, Vec<u8>, Result<(), Over>) {
    let mut client = Client::up();
    let mut result = Ok(());
    let mut at = 0;
    for &cut in cuts.iter().chain([&stream.len()]) {
        let cut = cut.clamp(at, stream.len());
        if result.is_ok() {
            result = client.hear(&stream[at..cut]);
        }
        at = cut;
    }
    client.lose();
    let mut received = Vec::new();
    let mut events = Vec::new();
    for event in client.all_events() {
        match event {
            Event::Wire { sent: false, bytes, .. } => received.extend(bytes),
            Event::Wire { .. } => {}
            other => events.push(other),
        }
    }
    (events, received, result)
}

#[test]
fn any_bytes_in_any_pieces_come_to_the_same() {
    bolero::check!().with_type::<(Vec<u8>, Vec<u8>)>().with_iterations(5_000).for_each(|(stream, steps)| {
        let mut at = 0;
        let cuts: Vec<usize> = steps
            .iter()
            .map(|step| {
                at += usize::from(*step % 16);
                at
            })
            .collect();
        let (events, received, result) = made_of(stream, &cuts);
        let (whole, _, whole_result) = made_of(stream, &[]);
        assert_eq!((&events, &result), (&whole, &whole_result));
        if result.is_ok() {
            assert_eq!(&received, stream, "every byte is in the drop copy");
        }
        assert!(matches!(events.last(), Some(Event::Down { .. })));
    });
}

#[test]
fn damaged_messages_are_told_named_or_end_the_connection() {
    let whole =
        [accepted(1, b'L'), executed(1, 10, 5), heartbeat(), cancelled(1, 90), free(2), accepted(2, b'D')]
            .concat();
    bolero::check!().with_type::<(Vec<(u16, u8)>, u16)>().with_iterations(10_000).for_each(
        |(damage, cut)| {
            let mut stream = whole.clone();
            for &(place, byte) in damage.iter().take(3) {
                let length = stream.len();
                stream[usize::from(place) % length] = byte;
            }
            let cut = usize::from(*cut) % stream.len();
            let (events, _, result) = made_of(&stream, &[cut]);
            let (same, _, same_result) = made_of(&stream, &[]);
            assert_eq!((&events, &result), (&same, &same_result));
            let numbers: Vec<u64> = events
                .iter()
                .filter_map(|event| if let Event::Told(told) = event { Some(told.number) } else { None })
                .collect();
            assert!(
                numbers.is_sorted() && numbers.iter().all(|number| (2..=100).contains(number)),
                "{numbers:?}"
            );
        },
    );
}
