//! Impairments, their order of things, and the account: against plain reference models.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use venue::account::ChannelReport;
use venue::impair::{
    Burst, Impairer, Impairment, LineImpairment, Reorder, Withheld, cut_length, flip_bits, parse_time_ns,
};
use venue::script::{Next, Pace, Script};
use venue::session::{Channel, Line, LineAddress, Packet, Protocol, Source, SourceError};

/// Packets 1, 2, 3 … each of `count` sequence numbers, `gap_ns` apart; the last is a closing one.
struct Counting {
    channels: Vec<Channel>,
    packets: u64,
    sent: u64,
    count: u32,
    gap_ns: u64,
}

impl Counting {
    fn new(packets: u64, count: u32, gap_ns: u64) -> Counting {
        let address = |last| {
            let at = SocketAddrV4::new(Ipv4Addr::new(239, 0, 0, last), 1000);
            Some(LineAddress { destination: at, source: at })
        };
        let channel = Channel {
            name: "counting".into(),
            channel_id: 1,
            protocol: Protocol::Itch50,
            lines: [address(1), address(2)],
        };
        Counting { channels: vec![channel], packets, sent: 0, count, gap_ns }
    }
}

impl Source for Counting {
    fn channels(&self) -> &[Channel] {
        &self.channels
    }

    fn next(&mut self, packet: &mut Packet) -> Result<bool, SourceError> {
        if self.sent > self.packets {
            return Ok(false);
        }
        packet.closing = self.sent == self.packets;
        packet.at_ns = self.sent * self.gap_ns;
        packet.on_lines = [true; 2];
        packet.first = 1 + self.sent * u64::from(self.count);
        packet.count = if packet.closing { 0 } else { self.count };
        packet.messages = packet.count;
        packet.payload.clear();
        packet.payload.extend_from_slice(&packet.first.to_be_bytes());
        packet.payload.extend_from_slice(&packet.count.to_be_bytes());
        self.sent += 1;
        Ok(true)
    }

    fn end_early(&mut self) {
        self.sent = self.packets;
    }
}

#[derive(Clone, PartialEq, Debug)]
struct Sent {
    due_ns: u64,
    first: u64,
    count: u64,
    damage: Option<Withheld>,
}

/// Everything that goes out on each line, and the account.
fn run(
    source: Counting,
    pace: Pace,
    impairments: [Impairment; 2],
    seed: u64,
) -> ([Vec<Sent>; 2], ChannelReport) {
    let mut script = Script::new(source, pace, impairments, seed);
    let mut lines = [Vec::new(), Vec::new()];
    let mut now_ns = 0;
    loop {
        match script.next(now_ns) {
            Next::Send(dispatch) => {
                assert!(dispatch.due_ns <= now_ns);
                let payload = dispatch.payload;
                lines[dispatch.line.index()].push(Sent {
                    due_ns: dispatch.due_ns,
                    first: u64::from_be_bytes(payload[..8].try_into().unwrap()),
                    count: u64::from(u32::from_be_bytes(payload[8..].try_into().unwrap())),
                    damage: dispatch.damage.map(|(reason, _)| reason),
                });
            }
            Next::Wait(until_ns) => {
                assert!(until_ns > now_ns, "a wait leads on");
                now_ns = until_ns;
            }
            Next::End => return (lines, script.account().remove(0)),
        }
    }
}

const RECORDED: Pace = Pace::Recorded { speed: 1.0 };

fn impairment(text: &str) -> Impairment {
    text.parse().unwrap()
}

fn numbers(ranges: &[venue::ranges::SequenceRange]) -> BTreeSet<u64> {
    ranges.iter().flat_map(|range| range.from..=range.to).collect()
}

fn delivered(sent: &[Sent]) -> BTreeSet<u64> {
    sent.iter()
        .filter(|sent| sent.damage.is_none())
        .flat_map(|sent| sent.first..sent.first + sent.count)
        .collect()
}

#[test]
fn the_account_is_exactly_what_went_out_and_what_did_not() {
    bolero::check!().with_type::<(u64, [u8; 6], [u8; 6], u8)>().with_iterations(600).for_each(
        |&(seed, a, b, count)| {
            let chance = |byte: u8| f64::from(byte) / 512.0;
            let impaired = |[loss, burst, duplicate, reorder, corrupt, truncate]: [u8; 6]| Impairment {
                loss: chance(loss),
                burst: Some(Burst { probability: chance(burst) / 8.0, packets: 1 + u32::from(burst % 7) }),
                duplicate: chance(duplicate),
                reorder: Some(Reorder {
                    probability: chance(reorder),
                    packets: 1 + u32::from(reorder % 5),
                    hold_ns: 5_000,
                }),
                skew_ns: u64::from(loss) * 37,
                jitter_ns: u64::from(burst) * 11,
                corrupt: chance(corrupt),
                truncate: chance(truncate),
                silence: std::iter::once(20_000..20_000 + u64::from(burst) * 50).collect(),
            };
            let count = 1 + u32::from(count % 4);
            let (lines, report) =
                run(Counting::new(120, count, 1_000), RECORDED, [impaired(a), impaired(b)], seed);
            let all: BTreeSet<u64> = (1..=120 * u64::from(count)).collect();
            assert_eq!(report.sequences, all.len() as u64);
            let mut union = BTreeSet::new();
            for (sent, line) in lines.iter().zip([&report.lines.a, &report.lines.b]) {
                let line = line.as_ref().unwrap();
                let delivered = delivered(sent);
                assert_eq!(numbers(&line.missing), &all - &delivered);
                assert_eq!(line.sent, sent.len() as u64);
                assert_eq!(line.packets, line.delivered + line.withheld.total());
                assert_eq!(line.messages, delivered.len() as u64);
                assert_eq!(
                    line.sent,
                    line.delivered + line.duplicates + line.withheld.corrupt + line.withheld.truncate
                );
                union.extend(delivered);
                assert!(sent.windows(2).all(|pair| pair[0].due_ns <= pair[1].due_ns), "a line is a queue");
            }
            assert_eq!(numbers(&report.must_be_declared), &all - &union);
            assert!(report.unknowable.is_empty(), "the closing packet gives everything away");
            assert_eq!(report.delivered, union.len() as u64);
        },
    );
}

#[test]
fn the_same_seed_gives_the_same_session_and_another_does_not() {
    let busy = || impairment("loss=0.1,duplicate=0.1,reorder=0.2/3,jitter=3us,corrupt=0.05,truncate=0.05");
    let session = |seed| run(Counting::new(500, 2, 1_000), RECORDED, [busy(), busy()], seed).0;
    assert_eq!(session(7), session(7));
    assert_ne!(session(7), session(8));
    let [a, b] = session(7);
    assert_ne!(delivered(&a), delivered(&b), "the lines fail independently");
}

#[test]
fn switching_one_impairment_on_does_not_move_the_choices_of_another() {
    let lost = |text: &str| {
        let mut impairer = Impairer::new(impairment(text), 3, Line::A);
        let fates: Vec<_> = (0..1_000).map(|_| impairer.decide(0).withheld == Some(Withheld::Loss)).collect();
        fates
    };
    assert_eq!(lost("loss=0.1"), lost("loss=0.1,duplicate=0.5,reorder=0.3/2,jitter=1ms,corrupt=0.2"));
}

#[test]
fn probabilities_are_kept_over_many_packets() {
    let text = "loss=0.01,duplicate=0.02,reorder=0.05/3,corrupt=0.01,truncate=0.01";
    let mut impairer = Impairer::new(impairment(text), 1, Line::B);
    let fates: Vec<_> = (0..200_000).map(|_| impairer.decide(0)).collect();
    let share = |count: usize| count as f64 / fates.len() as f64;
    let near = |measured: f64, expected: f64| (measured - expected).abs() < expected * 0.1;
    let withheld = |reason| share(fates.iter().filter(|fate| fate.withheld == Some(reason)).count());
    assert!(near(withheld(Withheld::Loss), 0.01));
    assert!(near(withheld(Withheld::Corrupt), 0.01 * 0.99));
    assert!(near(withheld(Withheld::Truncate), 0.01 * 0.98));
    assert!(near(share(fates.iter().filter(|fate| fate.duplicated).count()), 0.02 * 0.97));
    assert!(near(share(fates.iter().filter(|fate| fate.overtaken_by == 3).count()), 0.05 * 0.97));
}

#[test]
fn a_burst_takes_its_length_and_a_silence_its_time() {
    let mut burst = Impairer::new(impairment("burst=0.01/20"), 5, Line::A);
    let lost: Vec<bool> = (0..20_000).map(|_| !burst.decide(0).is_sent()).collect();
    let mut runs: Vec<usize> = lost.split(|lost| !lost).map(<[bool]>::len).filter(|&run| run > 0).collect();
    runs.pop();
    assert!(runs.len() > 50 && runs.iter().all(|run| run % 20 == 0), "{runs:?}");

    let silent = impairment("silence=10us..20us,silence=30us..31us");
    let (lines, report) = run(Counting::new(50, 1, 1_000), RECORDED, [silent, Impairment::default()], 1);
    let expected: BTreeSet<u64> = (11..=20).chain([31]).collect();
    assert_eq!(numbers(&report.lines.a.unwrap().missing), expected);
    assert_eq!(lines[1].len(), 51);
}

#[test]
fn a_reordered_packet_follows_those_that_overtook_it() {
    let held = impairment("reorder=1/2/1s");
    // Every packet is held until two were sent, and none ever is but the closing one.
    let ([a, _], _) = run(Counting::new(4, 1, 1_000), RECORDED, [held, Impairment::default()], 1);
    assert_eq!(a.iter().map(|sent| sent.first).collect::<Vec<_>>(), [5, 1, 2, 3, 4]);

    let some = impairment("reorder=0.1/3/1s");
    let ([a, _], report) = run(Counting::new(2_000, 1, 1_000), RECORDED, [some, Impairment::default()], 1);
    let order: Vec<u64> = a.iter().map(|sent| sent.first).collect();
    let late: Vec<usize> =
        (1..order.len()).filter(|&at| order[..at].iter().any(|&first| first > order[at])).collect();
    assert!(!late.is_empty() && late.len() as u64 <= report.lines.a.unwrap().reordered);
    for at in late {
        let overtook = order[..at].iter().filter(|&&first| first > order[at]).count();
        assert!((1..=6).contains(&overtook), "packet {} after {overtook}", order[at]);
    }
}

#[test]
fn a_held_packet_goes_out_after_its_hold_time_when_no_other_follows() {
    let held = impairment("reorder=1/9/2us");
    let ([a, _], _) = run(Counting::new(3, 1, 10_000), RECORDED, [held, Impairment::default()], 1);
    let times: Vec<_> = a.iter().map(|sent| (sent.first, sent.due_ns)).collect();
    assert_eq!(times, [(1, 2_000), (2, 12_000), (3, 22_000), (4, 30_000)]);
}

#[test]
fn skew_delays_a_line_and_keeps_its_order() {
    let [a, b] = run(
        Counting::new(100, 1, 1_000),
        RECORDED,
        [Impairment::default(), impairment("skew=200us,jitter=10us")],
        1,
    )
    .0;
    assert_eq!(a[7].due_ns, 7_000);
    for (at, sent) in b.iter().enumerate() {
        assert_eq!(sent.first, at as u64 + 1);
        let delay = sent.due_ns - at as u64 * 1_000;
        assert!((200_000..=210_000).contains(&delay), "{delay}");
    }
}

#[test]
fn pace_is_recorded_faster_fixed_or_flat_out() {
    let due = |pace| {
        let none = [Impairment::default(), Impairment::default()];
        let lines = run(Counting::new(10, 1, 1_000), pace, none, 1).0;
        lines[1].iter().map(|sent| sent.due_ns).collect::<Vec<_>>()
    };
    assert_eq!(due(RECORDED)[..3], [0, 1_000, 2_000]);
    assert_eq!(due(Pace::Recorded { speed: 4.0 })[..3], [0, 250, 500]);
    assert_eq!(due(Pace::PacketsPerSecond(1e6 / 3.0))[..3], [0, 3_000, 6_000]);
    assert_eq!(due(Pace::FlatOut), [0; 11]);
}

#[test]
fn what_is_lost_at_the_very_end_is_called_unknowable() {
    let dead = impairment("silence=45us..1s");
    let mut source = Counting::new(50, 1, 1_000);
    // No closing packet: as a capture ends.
    source.packets = u64::MAX;
    let mut script = Script::new(source, RECORDED, [dead.clone(), dead], 1);
    let mut now_ns = 0;
    while now_ns < 60_000 {
        if let Next::Wait(until_ns) = script.next(now_ns) {
            now_ns = until_ns;
        }
    }
    let report = script.account().remove(0);
    assert_eq!(report.must_be_declared, []);
    assert_eq!(report.unknowable.first().unwrap().from, 46);
}

#[test]
fn flat_out_with_skew_keeps_a_bounded_number_waiting() {
    let late = impairment("skew=1s");
    let mut script =
        Script::new(Counting::new(200_000, 1, 1), Pace::FlatOut, [Impairment::default(), late], 1);
    let (mut now_ns, mut before_first_wait) = (0, 0);
    let sent = loop {
        match script.next(now_ns) {
            Next::Send(_) if now_ns == 0 => before_first_wait += 1,
            Next::Send(_) => {}
            Next::Wait(until_ns) => now_ns = until_ns,
            Next::End => break script.dispatches(),
        }
    };
    assert_eq!(sent, 2 * 200_001);
    assert!(before_first_wait <= 65_536, "{before_first_wait}");
}

#[test]
fn a_cut_takes_less_than_any_message_and_a_flip_always_changes_something() {
    for damage in 0..100 {
        assert!((11..20).contains(&cut_length(20, damage)));
        assert_eq!(cut_length(0, damage), 0);
        let mut payload = [0x55; 30];
        flip_bits(&mut payload, damage * 0x0101_0101_0101);
        assert_ne!(payload, [0x55; 30]);
    }
    flip_bits(&mut [], 1);
}

#[test]
fn impairments_are_read_as_they_are_written() {
    let all = "b:loss=0.01,burst=0.001/20,duplicate=0.02,reorder=0.05/3,skew=200us,jitter=1.5ms,corrupt=0.1,\
               truncate=0.2,silence=2s..3s,silence=4s..5s";
    let expected = Impairment {
        loss: 0.01,
        burst: Some(Burst { probability: 0.001, packets: 20 }),
        duplicate: 0.02,
        reorder: Some(Reorder { probability: 0.05, packets: 3, hold_ns: 1_000_000 }),
        skew_ns: 200_000,
        jitter_ns: 1_500_000,
        corrupt: 0.1,
        truncate: 0.2,
        silence: vec![2_000_000_000..3_000_000_000, 4_000_000_000..5_000_000_000],
    };
    assert_eq!(all.parse(), Ok(LineImpairment { lines: [false, true], impairment: expected }));
    assert_eq!("both:skew=5ns".parse::<LineImpairment>().unwrap().lines, [true, true]);
    assert_eq!(parse_time_ns("2.5us"), Some(2_500));
    for wrong in [
        "loss=0.1",
        "c:loss=0.1",
        "a:loss",
        "a:loss=1.1",
        "a:loss=-0.1",
        "a:loss=NaN",
        "a:speed=1",
        "a:",
        "a:skew=200",
        "a:skew=us",
        "a:skew=-1us",
        "a:reorder=0.1",
        "a:reorder=0.1/0",
        "a:burst=0.1/x",
        "a:silence=2s",
        "a:silence=3s..2s",
        "a:loss=0.1,loss=0.2",
        "a:skew=1e300s",
    ] {
        assert!(wrong.parse::<LineImpairment>().is_err(), "{wrong}");
    }
}
