//! The rules of `docs/arbitration.md`, one sentence and one test each.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use feed::Line::{A, B};
use feed::{Channel, ChannelConfig, ConfigError, Line, MalformedReason, PacketKind};
use support::{Desk, HEADER_BYTES, Mdp, Mold, Out, Wire, at, config, identity};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// Messages of session 9.
fn data(range: std::ops::Range<u64>) -> Wire {
    Wire::data(9, range)
}

fn heartbeat(next: u64) -> Wire {
    Wire::empty(9, next, PacketKind::Heartbeat)
}

fn end_of_session(next: u64) -> Wire {
    Wire::empty(9, next, PacketKind::EndOfSession)
}

/// An MDP-like packet: number, send time.
fn mdp(first: u64, send_ns: u64) -> Wire {
    Wire { send_ns, ..Wire::data(0, first..first + 1) }
}

// ---- copies ------------------------------------------------------------------------------------------

#[test]
fn the_first_copy_wins_and_the_second_is_counted_on_its_line() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..3)).packet(B, &data(1..3)).packet(B, &data(3..5)).packet(A, &data(3..5));
    assert_eq!(desk.done(), "1-4");
    let lines: Vec<_> = desk.kept.out.iter().map(|out| matches!(out, Out::Message { line: A, .. })).collect();
    assert_eq!(lines, [true, true, false, false]);
    for line in Line::BOTH {
        let stats = desk.channel.stats().line(line);
        assert_eq!((stats.packets, stats.won, stats.duplicates, stats.missing), (2, 1, 1, 0));
    }
}

#[test]
fn packets_cut_differently_on_the_two_lines_still_give_each_message_once() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..4)).packet(B, &data(1..6)).packet(A, &data(4..8)).packet(B, &data(6..8));
    assert_eq!(desk.done(), "1-7");
    let brought: Vec<_> = desk
        .kept
        .out
        .iter()
        .map(|out| match out {
            Out::Message { line: A, .. } => 'A',
            _ => 'B',
        })
        .collect();
    assert_eq!(brought.iter().collect::<String>(), "AAABBAA");
}

#[test]
fn a_message_that_waits_is_not_taken_again_from_a_packet_around_it() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(3..4)).packet(A, &data(6..7)).packet(B, &data(2..9));
    assert_eq!((desk.so_far().as_str(), desk.channel.waiting()), ("", 5));
    desk.packet(A, &data(1..2));
    assert_eq!(desk.done(), "1-8");
    let from_a: Vec<_> = desk
        .kept
        .out
        .iter()
        .filter_map(|out| match out {
            Out::Message { sequence, line: A, .. } => Some(*sequence),
            _ => None,
        })
        .collect();
    assert_eq!(from_a, [1, 3, 6]);
}

#[test]
fn a_repetition_on_the_same_line_is_a_duplicate_and_no_lead() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..2)).packet(A, &data(1..2));
    let stats = desk.channel.stats();
    assert_eq!((stats.line(A).won, stats.line(A).duplicates), (1, 1));
    assert_eq!(stats.line(A).lead.count() + stats.line(B).lead.count(), 0);
}

#[test]
fn the_lead_is_measured_between_the_stamps_whichever_was_read_first() {
    let mut desk = Desk::<Mold>::from(1);
    let Desk { channel, kept, .. } = &mut desk;
    channel.on_packet(A, at(5_000), &data(1..3).bytes(), kept);
    channel.on_packet(B, at(5_300), &data(1..3).bytes(), kept);
    channel.on_packet(A, at(9_000), &data(3..4).bytes(), kept);
    channel.on_packet(B, at(8_993), &data(3..4).bytes(), kept);
    let stats = channel.stats();
    assert_eq!((stats.line(A).lead.count(), stats.line(A).lead.max_ns()), (1, 300));
    assert_eq!((stats.line(B).lead.count(), stats.line(B).lead.max_ns()), (1, 7));
}

#[test]
fn a_line_that_never_brought_anything_misses_everything() {
    let mut desk = Desk::<Mold>::from(1);
    for first in 1..200 {
        desk.packet(A, &data(first..first + 1));
    }
    assert_eq!(desk.done(), "1-199");
    assert_eq!(desk.kept.missing, [(B, 1, 199)]);
    assert_eq!(desk.channel.stats().line(B).missing, 199);
}

#[test]
fn what_one_line_lost_is_named_on_that_line() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..4)).packet(B, &data(1..4)).packet(B, &data(4..6)).packet(A, &data(6..8));
    desk.packet(B, &data(6..7)).packet(A, &data(8..9)).packet(B, &data(8..9));
    assert_eq!(desk.done(), "1-8");
    assert_eq!(desk.kept.missing, [(A, 4, 5), (B, 7, 7)]);
    assert_eq!((desk.channel.stats().line(A).missing, desk.channel.stats().line(B).missing), (2, 1));
}

// ---- gaps --------------------------------------------------------------------------------------------

#[test]
fn a_hole_that_the_other_line_fills_in_time_is_no_gap() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..2)).packet(A, &data(3..4)).after(MS - 2_000).packet(B, &data(2..3));
    assert_eq!(desk.so_far(), "1-3");
    assert_eq!(desk.channel.stats().gaps, 0);
}

#[test]
fn a_hole_is_declared_when_its_time_is_over_and_what_follows_is_marked() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..2)).packet(A, &data(4..5)).after(MS - 1);
    assert_eq!(desk.so_far(), "1");
    desk.after(1).packet(A, &data(5..6));
    assert_eq!(desk.so_far(), "1 gap 2-3 4-5!");
    assert_eq!((desk.channel.stats().gaps, desk.channel.stats().lost), (1, 2));
}

#[test]
fn each_hole_has_its_own_time() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(2..3)).after(MS / 2).packet(A, &data(4..5)).after(MS / 2);
    assert_eq!(desk.so_far(), "gap 1 2!");
    desk.packet(B, &data(3..4));
    assert_eq!(desk.done(), "gap 1 2-4!");
}

#[test]
fn a_hole_below_something_seen_earlier_is_as_old_as_that() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(9..10)).after(MS - 2_000).packet(B, &data(5..6)).after(1_000);
    assert_eq!(desk.so_far(), "gap 1-4 5! gap 6-8 9!");
}

#[test]
fn a_full_window_gives_up_the_oldest_hole_and_only_that() {
    let mut desk = Desk::<Mold>::new(ChannelConfig { window_packets: 2, next_sequence: Some(1), ..config() });
    desk.packet(A, &data(2..3)).packet(A, &data(4..5)).packet(A, &data(6..7));
    assert_eq!(desk.so_far(), "gap 1 2!");
    desk.packet(B, &data(3..4)).packet(B, &data(5..6));
    assert_eq!(desk.so_far(), "gap 1 2-6!");
    assert_eq!(desk.channel.stats().window_packets_max, 2);
}

#[test]
fn a_packet_older_than_all_that_waits_is_delivered_when_the_window_is_full() {
    let mut desk = Desk::<Mold>::new(ChannelConfig { window_packets: 1, next_sequence: Some(1), ..config() });
    desk.packet(A, &data(9..10)).packet(B, &data(4..5));
    assert_eq!(desk.so_far(), "gap 1-3 4!");
    assert_eq!(desk.done(), "gap 1-3 4! gap 5-8 9!");
}

#[test]
fn the_window_reaches_65536_numbers_and_what_waits_further_out_pushes_it_on() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(2..3)).packet(A, &data(60_000..60_001)).packet(A, &data(65_539..65_540));
    assert_eq!(desk.so_far(), "gap 1 2!");
    desk.packet(A, &data(130_000..130_001));
    assert_eq!(desk.so_far(), "gap 1 2! gap 3-59999 60000! gap 60001-65538 65539!");
    assert_eq!(desk.channel.stats().line(A).unconfirmed, 0);
}

#[test]
fn a_late_packet_is_counted_on_its_line_and_not_delivered() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..2)).packet(A, &data(3..4)).after(2 * MS);
    desk.packet(B, &data(2..3)).packet(A, &data(2..3)).packet(B, &data(3..4));
    assert_eq!(desk.done(), "1 gap 2 3!");
    let (a, b) = (desk.channel.stats().line(A), desk.channel.stats().line(B));
    assert_eq!((a.late, b.late, b.duplicates), (1, 1, 1));
}

#[test]
fn the_clock_alone_gives_a_hole_up_never_a_packet() {
    let mut desk = Desk::<Mold>::from(1);
    let Desk { channel, kept, .. } = &mut desk;
    channel.on_packet(A, at(1_000), &data(2..3).bytes(), kept);
    channel.on_packet(A, at(1_000 + SECOND), &data(3..4).bytes(), kept);
    channel.on_packet(B, at(2_000), &data(1..2).bytes(), kept);
    assert_eq!(desk.so_far(), "1-3");
}

#[test]
fn a_stamp_from_the_future_does_not_keep_a_hole_open() {
    let mut desk = Desk::<Mold>::from(1);
    let Desk { channel, kept, .. } = &mut desk;
    channel.on_packet(A, at(3_600 * SECOND), &data(2..3).bytes(), kept);
    channel.on_time(SECOND, kept);
    channel.on_time(SECOND + MS, kept);
    assert_eq!(desk.so_far(), "gap 1 2!");
}

#[test]
fn at_the_end_what_waits_is_delivered_and_what_lacks_is_declared() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(2..4)).packet(A, &data(6..7)).packet(A, &heartbeat(9));
    assert_eq!(desk.done(), "gap 1 2-3! gap 4-5 6! gap 7-8");
    assert_eq!((desk.channel.waiting(), desk.channel.expected()), (0, Some(9)));
}

// ---- signs of life -----------------------------------------------------------------------------------

#[test]
fn a_heartbeat_reveals_a_loss_at_the_tail() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..3)).packet(A, &heartbeat(3)).packet(B, &heartbeat(5)).after(MS - 1);
    assert_eq!(desk.so_far(), "1-2");
    desk.packet(A, &heartbeat(5)).after(1);
    assert_eq!(desk.so_far(), "1-2 gap 3-4");
    let stats = desk.channel.stats();
    assert_eq!((stats.line(A).heartbeats, stats.line(B).heartbeats, stats.line(A).duplicates), (2, 1, 0));
}

#[test]
fn the_end_of_a_session_reveals_a_loss_and_its_repetitions_are_not_data() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..3));
    for _ in 0..3 {
        desk.packet(A, &end_of_session(4)).packet(B, &end_of_session(4));
    }
    assert_eq!(desk.done(), "1-2 gap 3");
    let stats = desk.channel.stats();
    assert_eq!(
        (stats.line(A).ends_of_session, stats.line(B).ends_of_session, stats.sessions_ended),
        (3, 3, 1)
    );
    assert_eq!((stats.line(A).duplicates, stats.line(B).duplicates, stats.resets), (0, 0, 0));
}

#[test]
fn a_heartbeat_that_occupies_a_number_is_arbitrated_like_data() {
    let mut desk = Desk::<Mdp>::from(1);
    let beat = |first| Wire { kind: PacketKind::Heartbeat, ..mdp(first, first * 10) };
    desk.packet(A, &mdp(1, 10)).packet(A, &beat(2)).packet(B, &beat(2)).packet(A, &mdp(3, 30));
    assert_eq!(desk.done(), "1-3");
    assert_eq!(desk.channel.stats().line(A).heartbeats, 1);
    assert_eq!(desk.channel.stats().line(B).duplicates, 1);
}

// ---- numbers -----------------------------------------------------------------------------------------

#[test]
fn a_wrap_of_32_bits_is_neither_a_gap_nor_a_restart() {
    let wrap = 1u64 << 32;
    let mut desk = Desk::<Mdp>::from(wrap - 3);
    for first in [wrap - 3, wrap - 2, wrap, wrap - 1, wrap + 1, wrap + 2] {
        desk.packet(A, &mdp(first % wrap, first)).packet(B, &mdp(first % wrap, first));
    }
    assert_eq!(desk.done(), format!("{}-{}", wrap - 3, wrap + 2));
    let stats = desk.channel.stats();
    assert_eq!((stats.gaps, stats.resets, stats.line(B).duplicates), (0, 0, 6));
}

#[test]
fn a_loss_across_the_wrap_is_declared_as_one_range() {
    let wrap = 1u64 << 32;
    let mut desk = Desk::<Mdp>::from(wrap - 2);
    desk.packet(A, &mdp(wrap - 2, 1)).packet(A, &mdp(1, 4)).after(MS);
    assert_eq!(desk.done(), format!("{} gap {}-{wrap} {}!", wrap - 2, wrap - 1, wrap + 1));
}

#[test]
fn one_packet_far_ahead_declares_nothing_lost() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..3))
        .packet(A, &data(1_000_000_000..1_000_000_002))
        .packet(B, &data(3..4))
        .after(MS);
    assert_eq!(desk.done(), "1-3");
    assert_eq!((desk.channel.stats().line(A).unconfirmed, desk.channel.stats().lost), (1, 0));
}

#[test]
fn a_jump_that_a_second_packet_confirms_is_declared_and_both_are_delivered() {
    for (line, next) in [(A, data(500_002..500_003)), (B, data(500_000..500_003)), (B, heartbeat(500_002))] {
        let mut desk = Desk::<Mold>::from(1);
        desk.packet(A, &data(1..3)).packet(A, &data(500_000..500_002)).packet(line, &next);
        let to = 500_001 + u64::from(!next.messages.is_empty());
        assert_eq!(desk.done(), format!("1-2 gap 3-499999 500000-{to}!"));
        assert_eq!(desk.channel.stats().lost, 499_997);
    }
}

#[test]
fn at_the_end_of_a_recording_the_last_packet_is_believed_far_ahead() {
    for from_the_start in [false, true] {
        let next_sequence = (!from_the_start).then_some(1);
        let mut desk = Desk::<Mold>::new(ChannelConfig { next_sequence, ..ChannelConfig::new(1, 2) });
        desk.packet(A, &data(1..3)).packet(A, &data(500_000..500_002));
        desk.channel.believe_last(&mut desk.kept);
        assert_eq!(desk.done(), "1-2 gap 3-499999 500000-500001!");
        assert_eq!(desk.channel.stats().line(A).unconfirmed, 0);
    }
}

#[test]
fn a_confirmation_that_comes_too_late_is_none() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..3)).packet(A, &data(500_000..500_002)).after(4 * SECOND);
    desk.packet(A, &data(500_002..500_003));
    assert_eq!(desk.done(), "1-2");
    assert_eq!(desk.channel.stats().line(A).unconfirmed, 2);
}

// ---- refused -----------------------------------------------------------------------------------------

#[test]
fn a_malformed_packet_is_counted_by_line_and_reason_and_the_other_lines_copy_is_used() {
    let mut desk = Desk::<Mold>::from(1);
    let whole = data(1..3).bytes();
    desk.bytes(A, &whole[..whole.len() - 1]).bytes(A, &whole[..7]).bytes(B, &whole);
    assert_eq!(desk.done(), "1-2");
    let a = desk.channel.stats().line(A);
    assert_eq!(a.malformed[MalformedReason::BadLength as usize], 1);
    assert_eq!(a.malformed[MalformedReason::ShortHeader as usize], 1);
    let last = a.malformed_last.unwrap();
    assert_eq!((last.reason, last.offset, a.malformed_total()), (MalformedReason::ShortHeader, 0, 2));
    assert_eq!(desk.channel.stats().line(B).malformed_total(), 0);
}

#[test]
fn a_payload_longer_than_the_slots_is_refused_as_oversized() {
    let payload_bytes_max = HEADER_BYTES + 16;
    let mut desk = Desk::<Mold>::new(ChannelConfig { payload_bytes_max, next_sequence: Some(1), ..config() });
    desk.packet(A, &data(1..4)).packet(B, &data(1..3)).packet(B, &data(3..4));
    assert_eq!(desk.done(), "1-3");
    let a = desk.channel.stats().line(A);
    assert_eq!(a.malformed[MalformedReason::Oversized as usize], 1);
    assert_eq!(a.malformed_last.unwrap().offset, payload_bytes_max as u32);
}

#[test]
fn a_message_that_cannot_be_read_is_counted_and_those_beside_it_are_delivered() {
    let mut desk = Desk::<Mold>::from(1);
    let mut wire = data(1..4);
    wire.messages[1] = u64::MAX;
    desk.packet(A, &wire);
    assert_eq!(desk.done(), "1 3");
    let a = desk.channel.stats().line(A);
    assert_eq!((a.malformed_messages_total(), a.malformed_total()), (1, 0));
    assert_eq!(a.malformed_last.unwrap().offset, HEADER_BYTES as u32 + 8);
}

#[test]
fn a_number_above_two_to_the_63_is_refused() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(u64::MAX - 1..u64::MAX)).packet(B, &data(1 << 63..(1 << 63) + 1));
    assert_eq!(desk.done(), "");
    assert_eq!(desk.channel.stats().line(A).malformed[MalformedReason::BadValue as usize], 1);
    assert_eq!(desk.channel.stats().line(B).malformed[MalformedReason::BadValue as usize], 1);
}

#[test]
fn a_configuration_out_of_bounds_is_refused_by_name() {
    let refused = |config| Channel::new(config, Mold::default()).unwrap_err();
    let base = config();
    assert_eq!(refused(ChannelConfig { window_packets: 0, ..base }), ConfigError::WindowPackets(0));
    assert_eq!(refused(ChannelConfig { window_packets: 65_537, ..base }), ConfigError::WindowPackets(65_537));
    assert_eq!(refused(ChannelConfig { payload_bytes_max: 0, ..base }), ConfigError::PayloadBytes(0));
    assert_eq!(
        refused(ChannelConfig { payload_bytes_max: 65_536, ..base }),
        ConfigError::PayloadBytes(65_536)
    );
    assert_eq!(refused(ChannelConfig { next_sequence: Some(1 << 63), ..base }), ConfigError::NextSequence);
    assert_eq!(
        refused(ChannelConfig { resume_session: Some(1), ..base }),
        ConfigError::SessionWithoutSequence
    );
}

// ---- change of parameters ----------------------------------------------------------------------------

#[test]
fn a_channel_with_new_parameters_goes_on_where_the_old_one_stands() {
    for (window_packets, expected) in [(64, "1 gap 2-3 4! gap 5 6-7!"), (1, "1 gap 2-3 4! gap 5 6-7!")] {
        let mut desk = Desk::<Mold>::from(1);
        desk.packet(A, &data(1..2)).packet(A, &data(4..5)).packet(A, &data(6..7));
        let mut old = Channel::new(ChannelConfig { window_packets, ..config() }, Mold::default()).unwrap();
        core::mem::swap(&mut desk.channel, &mut old);
        desk.channel.take_over(&mut old, &mut desk.kept);
        assert_eq!(desk.so_far(), if window_packets == 1 { "1 gap 2-3 4!" } else { "1" });
        desk.packet(B, &data(1..2)).packet(B, &data(7..8)).after(MS);
        assert_eq!(desk.done(), expected);
        assert_eq!(desk.channel.stats().line(B).duplicates, 1);
        assert_eq!(desk.channel.stats().line(A).won, 3);
    }
}

#[test]
fn a_packet_kept_aside_is_taken_over_too() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..2)).packet(A, &data(500_000..500_001));
    let mut old = Channel::new(config(), Mold::default()).unwrap();
    core::mem::swap(&mut desk.channel, &mut old);
    desk.channel.take_over(&mut old, &mut desk.kept);
    desk.packet(B, &data(500_000..500_001));
    assert_eq!(desk.done(), "1 gap 2-499999 500000!");
}

#[test]
fn every_message_keeps_the_time_of_its_first_copy() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(2..3)).packet(B, &data(1..3));
    let Some(&[Out::Message { recv_ns: one, .. }, Out::Message { recv_ns: two, identity: id, .. }]) =
        desk.kept.out.first_chunk()
    else {
        panic!("two messages were sent")
    };
    assert_eq!((one - two, id), (1_000, identity(9, 2)));
}
