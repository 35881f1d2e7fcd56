//! The rules of `docs/arbitration.md` on where a count begins and when it begins again, one sentence and one
//! test each.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use feed::Line::{A, B};
use feed::{ChannelConfig, PacketKind};
use support::{Desk, Mdp, Mold, Wire, config};

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

// ---- start -------------------------------------------------------------------------------------------

#[test]
fn without_a_given_start_older_packets_that_come_soon_after_the_first_are_not_lost() {
    let mut desk = Desk::<Mold>::new(config());
    desk.packet(A, &data(50..52)).packet(B, &data(47..50)).packet(A, &data(52..53));
    assert_eq!((desk.so_far().as_str(), desk.channel.expected()), ("", None));
    desk.after(MS);
    assert_eq!((desk.so_far().as_str(), desk.channel.expected()), ("47-52", Some(53)));
    desk.packet(B, &data(46..47));
    assert_eq!(desk.done(), "47-52");
    assert_eq!(desk.channel.stats().line(B).late, 1);
    assert_eq!(desk.channel.stats().lost, 0);
}

#[test]
fn a_full_window_settles_the_start() {
    let mut desk = Desk::<Mold>::new(ChannelConfig { window_packets: 2, ..config() });
    desk.packet(A, &data(50..51)).packet(A, &data(51..52)).packet(A, &data(52..53));
    assert_eq!(desk.so_far(), "50-52");
}

#[test]
fn an_input_that_ends_at_once_is_delivered() {
    let mut desk = Desk::<Mold>::new(config());
    desk.packet(A, &data(50..51));
    assert_eq!(desk.done(), "50");
}

#[test]
fn a_heartbeat_sets_the_start_where_it_says() {
    let mut desk = Desk::<Mold>::new(config());
    desk.packet(A, &heartbeat(100)).packet(B, &data(99..100)).packet(A, &data(101..102)).after(3 * MS);
    assert_eq!(desk.so_far(), "99 gap 100 101!");
}

#[test]
fn a_count_that_starts_at_zero_is_held_too() {
    let mut desk = Desk::<Mold>::new(config());
    desk.packet(A, &data(0..1)).packet(A, &data(1..2));
    assert_eq!(desk.so_far(), "");
    assert_eq!(desk.done(), "0-1");
}

#[test]
fn with_a_given_start_a_hole_before_the_first_packet_is_declared() {
    let mut desk = Desk::<Mold>::from(10);
    desk.packet(A, &data(9..10)).packet(A, &data(13..14)).after(MS);
    assert_eq!(desk.done(), "gap 10-12 13!");
    assert_eq!(desk.channel.stats().line(A).late, 1);
}

#[test]
fn a_start_set_by_a_damaged_packet_is_forgotten_when_two_others_agree() {
    for wild in [5, 9_000_000] {
        let mut desk = Desk::<Mold>::new(config());
        desk.packet(A, &data(wild..wild + 1));
        desk.packet(A, &data(500_001..500_002)).packet(B, &data(500_000..500_001)).after(MS);
        assert_eq!(desk.done(), "500000-500001", "first packet at {wild}");
        let stats = desk.channel.stats();
        assert_eq!((stats.line(A).unconfirmed, stats.lost, stats.line(A).won), (1, 0, 1));
        assert_eq!((stats.line(A).missing, stats.line(B).missing), (1, 1));
    }
}

#[test]
fn a_resumed_channel_goes_on_in_its_session() {
    let mut desk =
        Desk::<Mold>::new(ChannelConfig { next_sequence: Some(700), resume_session: Some(9), ..config() });
    assert_eq!((desk.channel.session(), desk.channel.expected()), (Some(9), Some(700)));
    desk.packet(A, &data(702..703)).after(MS);
    assert_eq!(desk.done(), "gap 700-701 702!");
}

#[test]
fn a_resumed_channel_that_finds_another_session_starts_over_and_declares_what_it_missed_of_it() {
    let mut desk =
        Desk::<Mold>::new(ChannelConfig { next_sequence: Some(700), resume_session: Some(8), ..config() });
    desk.packet(A, &data(4..5)).packet(A, &data(5..6)).after(MS);
    assert_eq!(desk.done(), "clear 1 gap 1-3 4-5!");
    assert_eq!(desk.channel.session(), Some(9));
}

#[test]
fn a_resumed_count_without_a_session_that_is_found_far_back_starts_over() {
    let mut desk = Desk::<Mdp>::from(10_000_000);
    desk.packet(A, &mdp(3, 500)).packet(B, &mdp(3, 500)).after(MS);
    assert_eq!(desk.done(), "clear 1 gap 1-2 3!");
}

// ---- restart and reset -------------------------------------------------------------------------------

#[test]
fn a_new_session_that_starts_at_one_is_taken_at_once_after_the_old_one_is_finished() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..3)).packet(A, &data(5..6)).packet(A, &Wire::data(10, 1..3));
    assert_eq!(desk.so_far(), "1-2 gap 3-4 5! clear 1 1-2");
    assert_eq!((desk.channel.stats().resets, desk.channel.protocol().resets), (1, 1));
}

#[test]
fn the_slower_lines_tail_of_the_old_session_is_stale_and_never_flips_the_channel_back() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..3)).packet(B, &data(1..2)).packet(A, &Wire::data(10, 1..2));
    desk.packet(B, &data(2..3)).packet(B, &data(3..4)).packet(B, &data(1..2)).packet(B, &end_of_session(4));
    desk.packet(A, &Wire::data(10, 2..3)).packet(B, &Wire::data(10, 1..2)).packet(B, &Wire::data(10, 3..4));
    assert_eq!(desk.done(), "1-2 clear 1 1-3");
    assert_eq!((desk.channel.stats().line(B).stale, desk.channel.stats().resets), (4, 1));
}

#[test]
fn one_packet_with_a_damaged_session_changes_nothing() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..3))
        .packet(A, &Wire::data(77, 3..5))
        .packet(B, &data(1..3))
        .packet(B, &data(3..5));
    desk.packet(A, &Wire::data(78, 5..6)).packet(B, &data(5..6));
    assert_eq!(desk.done(), "1-5");
    assert_eq!((desk.channel.stats().line(A).unconfirmed, desk.channel.stats().resets), (2, 0));
}

#[test]
fn a_new_session_whose_first_packets_are_lost_is_taken_when_a_second_packet_confirms_it() {
    for second in [A, B] {
        let mut desk = Desk::<Mold>::from(1);
        desk.packet(A, &data(1..3)).packet(B, &data(1..3)).packet(A, &Wire::data(10, 3..5));
        assert_eq!(desk.so_far(), "1-2");
        let range = if second == A { 5..6 } else { 3..6 };
        desk.packet(second, &Wire::data(10, range)).after(MS);
        assert_eq!(desk.done(), "1-2 clear 1 gap 1-2 3-5!", "confirmed by line {second:?}");
        assert_eq!(desk.channel.stats().line(A).unconfirmed, 0);
    }
}

#[test]
fn the_other_line_can_still_bring_the_beginning_of_a_new_session() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..3)).packet(A, &Wire::data(10, 2..3)).packet(B, &Wire::data(10, 1..2));
    assert_eq!(desk.done(), "1-2 clear 1 1-2");
}

#[test]
fn the_same_packet_twice_on_one_line_confirms_nothing() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..3)).packet(A, &Wire::data(77, 3..5)).packet(A, &Wire::data(77, 3..5));
    assert_eq!(desk.done(), "1-2");
    assert_eq!(desk.channel.stats().line(A).unconfirmed, 2);
}

#[test]
fn a_heartbeat_with_the_number_of_the_data_kept_aside_confirms_it_in_either_order() {
    let (beat, first) = (Wire::empty(10, 5, PacketKind::Heartbeat), Wire::data(10, 5..7));
    for [one, two] in [[&first, &beat], [&beat, &first]] {
        let mut desk = Desk::<Mold>::from(100);
        desk.packet(A, &data(100..101)).packet(A, one).packet(A, two).after(MS);
        assert_eq!(desk.done(), "100 clear 1 gap 1-4 5-6!");
        assert_eq!(desk.channel.stats().line(A).unconfirmed, 0);
    }
}

#[test]
fn a_line_that_was_never_in_the_session_cannot_end_it() {
    let mut desk = Desk::<Mold>::new(config());
    desk.packet(A, &Wire::data(10, 3..4)).packet(B, &data(900..901)).packet(B, &data(901..902));
    desk.packet(A, &Wire::data(10, 4..5)).packet(B, &Wire::data(10, 5..6));
    assert_eq!(desk.done(), "3-5");
    assert_eq!(desk.channel.stats().line(B).stale, 2);
}

#[test]
fn after_three_silent_seconds_even_a_line_or_session_left_behind_is_listened_to() {
    let mut desk = Desk::<Mold>::new(config());
    desk.packet(A, &Wire::data(10, 3..4)).after(4 * SECOND);
    desk.packet(B, &data(900..901)).packet(B, &data(901..902)).after(4 * SECOND);
    assert_eq!(desk.so_far(), "3 clear 1 gap 1-899 900-901!");
    desk.packet(A, &Wire::data(10, 4..5)).packet(A, &Wire::data(10, 5..6)).after(MS);
    assert_eq!(desk.done(), "3 clear 1 gap 1-899 900-901! clear 1 gap 1-3 4-5!");
}

#[test]
fn after_the_end_of_a_session_the_next_one_needs_no_second_packet() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..3)).packet(A, &end_of_session(3)).packet(B, &Wire::data(10, 2..3)).after(MS);
    assert_eq!(desk.done(), "1-2 clear 1 gap 1 2!");
}

#[test]
fn a_heartbeat_can_announce_a_new_session() {
    let mut desk = Desk::<Mold>::from(1);
    desk.packet(A, &data(1..3)).packet(A, &Wire::empty(10, 1, PacketKind::Heartbeat));
    assert_eq!(desk.so_far(), "1-2 clear 1");
    desk.packet(B, &Wire::data(10, 1..2));
    assert_eq!(desk.done(), "1-2 clear 1 1");
}

#[test]
fn a_count_back_at_one_is_a_restart_when_it_was_sent_later() {
    let mut desk = Desk::<Mdp>::from(1);
    for first in 1..40 {
        desk.packet(A, &mdp(first, first * 10));
    }
    desk.packet(B, &mdp(1, 10)).packet(A, &mdp(1, 1_000)).packet(A, &mdp(2, 1_010));
    desk.packet(B, &mdp(38, 380))
        .packet(B, &mdp(39, 390))
        .packet(B, &mdp(1, 1_000))
        .packet(B, &mdp(3, 1_020));
    assert_eq!(desk.done(), "1-39 clear 1 1-3");
    let b = desk.channel.stats().line(B);
    assert_eq!((b.duplicates, b.stale, b.won), (2, 2, 1));
}

#[test]
fn an_old_packet_the_faster_line_had_lost_is_stale_after_the_restart_even_where_it_would_fit() {
    let mut desk = Desk::<Mdp>::from(1);
    desk.packet(A, &mdp(1, 10)).packet(A, &mdp(2, 20)).packet(A, &mdp(1, 1_000));
    desk.packet(B, &mdp(2, 20)).packet(B, &mdp(3, 30)).packet(B, &mdp(2, 1_010));
    assert_eq!(desk.done(), "1-2 clear 1 1-2");
    assert_eq!(desk.channel.stats().line(B).stale, 2);
}

#[test]
fn a_restart_whose_first_packet_is_lost_is_confirmed_by_the_next_and_its_loss_declared() {
    let mut desk = Desk::<Mdp>::from(1);
    for first in 1..40 {
        desk.packet(A, &mdp(first, first * 10));
    }
    desk.packet(A, &mdp(2, 1_010));
    assert_eq!(desk.so_far(), "1-39");
    desk.packet(A, &mdp(3, 1_020)).after(MS);
    assert_eq!(desk.done(), "1-39 clear 1 gap 1 2-3!");
}

#[test]
fn a_damaged_number_among_old_ones_is_no_restart() {
    let mut desk = Desk::<Mdp>::from(1);
    for first in 1..40 {
        desk.packet(A, &mdp(first, first * 10));
    }
    desk.packet(A, &mdp(8, 400)).packet(B, &mdp(40, 400)).packet(A, &mdp(41, 410));
    assert_eq!(desk.done(), "1-41");
    assert_eq!((desk.channel.stats().line(A).unconfirmed, desk.channel.stats().resets), (1, 0));
}

#[test]
fn a_restart_is_seen_while_the_first_hole_of_the_count_still_waits() {
    let mut desk = Desk::<Mdp>::from(1);
    desk.packet(A, &mdp(2, 20)).packet(A, &mdp(3, 30)).packet(A, &mdp(1, 1_000));
    assert_eq!(desk.done(), "gap 1 2-3! clear 1 1");
}

#[test]
fn without_session_and_send_time_only_a_line_that_itself_goes_far_back_has_restarted() {
    let silent = |first| mdp(first, 0);
    let mut desk = Desk::<Mdp>::new(config());
    desk.packet(A, &silent(1_000_000)).packet(A, &silent(1_000_001)).after(MS);
    desk.packet(B, &silent(900_000)).packet(B, &silent(900_001));
    assert_eq!(desk.so_far(), "1000000-1000001");
    assert_eq!(desk.channel.stats().line(B).late, 2, "a line far behind is slow, not restarted");
    desk.packet(A, &silent(2)).packet(A, &silent(3));
    desk.packet(B, &silent(1_000_001)).packet(B, &silent(1_000_002)).packet(B, &silent(1)).after(MS);
    assert_eq!(desk.done(), "1000000-1000001 clear 1 1-3");
    assert_eq!(desk.channel.stats().line(B).stale, 2);
}

#[test]
fn a_channel_reset_in_the_count_clears_at_its_turn_and_books_are_good_again() {
    let mut desk = Desk::<Mdp>::from(1);
    let reset = Wire { reset: true, ..mdp(5, 50) };
    desk.packet(A, &mdp(1, 10)).packet(A, &mdp(3, 30)).packet(A, &reset).packet(B, &mdp(4, 40)).after(MS);
    desk.packet(A, &mdp(6, 60)).packet(B, &reset);
    assert_eq!(desk.done(), "1 gap 2 3-4! clear 5 5-6");
    assert_eq!((desk.channel.stats().resets, desk.channel.protocol().resets), (1, 1));
}

#[test]
fn a_channel_reset_that_takes_the_count_back_to_one_clears_once() {
    let mut desk = Desk::<Mdp>::from(100);
    desk.packet(A, &mdp(100, 10)).packet(A, &mdp(101, 20));
    let reset = Wire { reset: true, ..mdp(1, 1_000) };
    desk.packet(A, &reset).packet(B, &mdp(101, 20)).packet(B, &reset).packet(B, &mdp(2, 1_010));
    assert_eq!(desk.done(), "100-101 clear 1 1-2");
    assert_eq!((desk.channel.stats().resets, desk.channel.protocol().resets), (1, 1));
}

#[test]
fn a_channel_reset_that_takes_the_count_back_needs_no_second_packet() {
    let mut desk = Desk::<Mdp>::from(100);
    desk.packet(A, &mdp(100, 10)).packet(A, &mdp(101, 20));
    desk.packet(A, &Wire { reset: true, ..mdp(3, 1_000) }).packet(B, &mdp(2, 990));
    assert_eq!(desk.so_far(), "100-101 clear 1");
    desk.after(MS);
    assert_eq!(desk.done(), "100-101 clear 1 gap 1 2! clear 3 3");
}
