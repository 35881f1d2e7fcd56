//! A turn of a session: what came is taken in, and what follows from the state is asked for.

use super::figures;
use super::inbox::{Arrived, Item, is_turn};
use super::outbox::Copy;
use super::settings::other_connection;
use super::{Session, Settings, WAIT, now_ns, trace};
use crate::line::Event;
use crate::orders::{About, Connection, Doubt, Gate, Input, Own};
use bus::{Instruction, OrderAction, OrderId, StreamId, TradingMode, TradingState};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// Most items of one turn: what one sync of the journal carries.
const ITEMS_A_TURN: usize = 512;
/// Time between two cancels of one order when the first was refused or lost, and when it was not answered.
const CANCEL_AGAIN: Duration = Duration::from_secs(1);
const CANCEL_UNANSWERED: Duration = Duration::from_secs(5);
/// How long an order may be in doubt while connected before it is asked about, and until it is asked about again.
const ASK_AFTER: Duration = Duration::from_secs(1);
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How often the state is looked over when nothing happened.
const SCAN_EVERY: Duration = Duration::from_millis(50);
/// How often the place in the instructions is kept when none was for this session.
const CURSOR_EVERY: Duration = Duration::from_secs(1);

impl Session<'_> {
    pub(super) fn turn(&mut self) {
        if let Some(newer) = self.start.settings.newer_than(self.settings.0) {
            self.change_settings(newer);
        }
        let items = self.inbox.take(WAIT, ITEMS_A_TURN);
        self.take_in(items);
        if self.scan || self.scanned.elapsed() >= SCAN_EVERY {
            self.make_cancels();
        }
        self.flush();
        if self.scan || self.scanned.elapsed() >= SCAN_EVERY {
            self.ask();
            self.show();
            (self.scan, self.scanned) = (false, Instant::now());
        }
    }

    /// Goes by other settings. Nothing is waiting to be sent: that is done at a turn's end.
    fn change_settings(&mut self, newer: (u64, Arc<Settings>)) {
        let before = std::mem::replace(&mut self.settings, newer);
        let Settings { session, instruction_age_max_ms, .. } = &*self.settings.1;
        self.judge.change(session.limits, instruction_age_max_ms.saturating_mul(1_000_000));
        let reconnects = other_connection(&before.1.session, session);
        info!(venue = self.venue(), reconnects, "the session's configuration is changed");
        if reconnects {
            self.change_line();
        }
        self.scan = true;
        self.start.settings.are_taken_up_to(self.settings.0);
    }

    /// A line by the settings that hold now takes the place of the one before. What that one had sent and was not answered
    /// is in doubt, as after any broken connection: asked about, never sent again.
    fn change_line(&mut self) {
        self.stop_line();
        let items = self.inbox.take(Duration::ZERO, usize::MAX);
        let (told, instructions) = items.into_iter().partition(|item| matches!(item, Item::Line(_)));
        self.take_in(told);
        if self.book.connection() != Connection::Down {
            self.apply(&Input::Down { why: "its configuration is changed".into() });
        }
        self.commit();
        self.start_line();
        // They find a line, which is not connected yet: new orders are denied, cancels are kept.
        self.take_in(instructions);
    }

    /// What is there, without anything being sent for it.
    pub(super) fn take_in_the_rest(&mut self) {
        let items = self.inbox.take(Duration::ZERO, usize::MAX);
        let told = items.into_iter().filter(|item| matches!(item, Item::Line(_)));
        self.take_in(told.collect());
        self.commit();
    }

    fn take_in(&mut self, items: Vec<Item>) {
        for item in items {
            match item {
                Item::Line(event) => self.event(event),
                Item::Entries { shard, entries, to } => {
                    for (entry, arrived) in entries {
                        self.entry(shard, entry, arrived);
                    }
                    self.cursors[usize::from(shard)] = Some(to);
                }
                Item::Trading(state) => self.trading(&state),
            }
        }
        if self.cursor_at.elapsed() >= CURSOR_EVERY {
            self.cursor_at = Instant::now();
            for shard in 0..self.cursors.len() {
                if let Some(entry) = self.cursors[shard].take()
                    && self.book.cursors()[shard] < entry
                {
                    self.apply(&Input::Cursor { shard: shard as u16, entry });
                }
            }
        }
    }

    /// Takes in an input, to be written with the next commit.
    pub(super) fn apply(&mut self, input: &Input) {
        let time_ns = now_ns();
        let mut reports = Vec::new();
        self.book.apply(time_ns, input, &mut reports);
        self.journal.append(time_ns, input, &reports);
        for (_, report) in &reports {
            figures::report(self.venue(), report.kind);
            trace::reported(report);
        }
        self.made.append(&mut reports);
    }

    fn event(&mut self, event: Event) {
        if is_turn(&event) {
            self.turns += 1;
        }
        if !matches!(event, Event::Wire { .. }) {
            self.scan = true;
        }
        match event {
            Event::Wire { sent, time_ns, bytes } => self.outbox.copy(Copy { sent, time_ns, bytes }),
            // Not written again: after a restart a line may tell a whole day.
            Event::Told(told) if self.book.is_repeated(&told) => {}
            Event::Told(told) => self.apply(&Input::Told(told)),
            Event::Up { session } => {
                info!(venue = self.venue(), session, "logged on");
                self.apply(&Input::Up { session });
            }
            Event::CaughtUp => {
                self.cancelled.clear();
                self.asked.clear();
                self.apply(&Input::CaughtUp);
                info!(
                    venue = self.venue(),
                    open = self.book.open_orders(),
                    lost = self.book.lost(),
                    "caught up"
                );
            }
            Event::NewDay => {
                warn!(venue = self.venue(), "the venue's numbers begin again");
                self.apply(&Input::NewDay);
            }
            Event::Refused { what } => {
                figures::refused(self.venue());
                warn!(venue = self.venue(), what, "the venue breaks the protocol");
            }
            Event::Down { why } => {
                warn!(venue = self.venue(), why, "not connected");
                self.apply(&Input::Down { why });
            }
        }
    }

    fn trading(&mut self, state: &TradingState) {
        if self.book.trading() == Some(state) {
            return;
        }
        let TradingState { mode, by, reason, .. } = state;
        warn!(venue = self.venue(), %mode, by, reason, "the trading state");
        self.apply(&Input::Trading(state.clone()));
        self.scan = true;
    }

    fn entry(&mut self, shard: u16, entry: StreamId, arrived: Arrived) {
        figures::instructions(self.venue(), 1);
        match arrived {
            Arrived::Instruction(instruction) => self.instruction(shard, entry, *instruction),
            Arrived::Refused { about, reason, fault } => match about.id.filter(|id| self.book.knows(id)) {
                Some(id) => self.apply(&Input::Asked { shard, entry, id }),
                None => self.deny(shard, entry, about, reason, fault),
            },
        }
    }

    fn deny(&mut self, shard: u16, entry: StreamId, about: About, reason: &str, text: String) {
        figures::denied(self.venue(), reason);
        trace::denied(self.venue(), &about, reason, &text);
        self.apply(&Input::Denied { shard, entry, about, reason: reason.to_owned(), text });
    }

    fn instruction(&mut self, shard: u16, entry: StreamId, instruction: Instruction) {
        if self.book.knows(&instruction.id) {
            trace::asked(self.venue(), &instruction.id);
            return self.apply(&Input::Asked { shard, entry, id: instruction.id });
        }
        let gate = self.gate();
        let judged = self.judge.judge(&self.book, &gate, &instruction, now_ns());
        if let Err(denial) = judged {
            return self.deny(shard, entry, About::of(&instruction), denial.reason, denial.text);
        }
        self.take(shard, entry, instruction, None);
    }

    /// An instruction that passed goes to the journal, and to what is sent when it is there.
    fn take(&mut self, shard: u16, entry: StreamId, instruction: Instruction, own: Option<Own>) {
        let about = About::of(&instruction);
        let Some(line) = &mut self.line else {
            if own.is_some() {
                return;
            }
            return self.deny(shard, entry, about, "not_connected", "the session has no line".into());
        };
        let wire_ref = line.assign();
        let spoken = self.book.preview(&instruction, wire_ref).map(|outgoing| line.check(&outgoing));
        if let Some(Err(error)) = spoken {
            if own.is_some() {
                let of = about.of.map(|of| of.to_string());
                error!(trace = of, venue = self.venue(), %error, "an order cannot be cancelled: do it at the venue");
                self.cancelled.extend(about.of.map(|of| (of, Instant::now())));
                return;
            }
            return self.deny(shard, entry, about, "unspeakable", error.to_string());
        }
        let (id, created_ns) = (instruction.id, instruction.created_ns);
        // Without a connection a cancel is kept by the order that it is to end.
        let waits = matches!(instruction.action, OrderAction::Cancel { .. })
            && self.book.connection() != Connection::CaughtUp;
        if let OrderAction::Cancel { of } = instruction.action {
            self.cancelled.insert(of, Instant::now());
            self.scan = true;
        }
        trace::taken(&instruction, wire_ref, own.is_some());
        self.apply(&Input::Taken { shard, entry, wire_ref, instruction, own });
        if !waits {
            self.to_send.push((id, created_ns));
        }
    }

    /// Whether anything new may be sent, as far as it is not about orders.
    pub(super) fn gate(&self) -> Gate {
        if !self.start.lease.holds() || self.superseded {
            return Gate::Closed("no_lease", "this gateway does not have the session now".into());
        }
        if let crate::journal::JournalState::Waiting { why } | crate::journal::JournalState::Dead { why } =
            self.journal.state()
        {
            return Gate::Closed("journal_failed", why.clone());
        }
        if self.behind {
            let text = "the stream has reports that the journal does not have";
            return Gate::Closed("journal_behind", text.into());
        }
        if self.stopping {
            return Gate::Closed("stopping", "the gateway ends".into());
        }
        if let Some(why) = &self.settings.1.closed {
            return Gate::Closed("configuration", why.clone());
        }
        Gate::Open
    }

    /// Whether everything open is to be cancelled.
    fn cancels_all(&self) -> bool {
        let session = &self.settings.1.session;
        let halted = self.book.trading().is_none_or(|state| state.mode == TradingMode::Halted);
        halted
            || (self.stopping && (session.cancel_on_stop || self.start.lease.is_removed()))
            || (session.cancel_on_disconnect && self.start.lease.ran_out_without_redis())
    }

    /// Cancels what is to end and has no cancel on its way.
    fn make_cancels(&mut self) {
        if self.book.connection() != Connection::CaughtUp {
            return;
        }
        let book = &self.book;
        self.cancelled.retain(|id, _| book.outgoing(id).is_some());
        for (of, on_its_way, carries_out) in self.book.to_cancel(self.cancels_all()) {
            let since = self.cancelled.get(&of).map(Instant::elapsed);
            let wait = if on_its_way { CANCEL_UNANSWERED } else { CANCEL_AGAIN };
            if since.map_or(on_its_way, |since| since < wait) {
                continue;
            }
            let Some(id) = self.own_id() else { return };
            let Some((shard, instruction)) = self.book.own_cancel(id, of, now_ns()) else { continue };
            self.take(shard, StreamId::default(), instruction, Some(Own { carries_out }));
        }
    }

    /// An id that no strategy makes: `GW` and the time, µs, in base 36; rising.
    fn own_id(&mut self) -> Option<OrderId> {
        self.own_ids = (self.own_ids + 1).max(now_ns() / 1_000);
        let mut digits = Vec::new();
        let mut rest = self.own_ids;
        while rest > 0 {
            digits.push(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[(rest % 36) as usize]);
            rest /= 36;
        }
        digits.extend(b"WG");
        digits.reverse();
        let id = std::str::from_utf8(&digits).ok()?.parse().ok()?;
        if self.book.knows(&id) { None } else { Some(id) }
    }

    /// Asks about what is in doubt, when it is time to.
    fn ask(&mut self) {
        if self.book.connection() != Connection::CaughtUp {
            return;
        }
        let doubtful = self.book.in_doubt();
        let mut asked = std::mem::take(&mut self.asked);
        asked.retain(|id, _| doubtful.iter().any(|(outgoing, _)| outgoing.id == *id));
        let mut due = Vec::new();
        for (outgoing, doubt) in doubtful {
            let (first, last) = asked.entry(outgoing.id).or_insert((Instant::now(), None));
            let is_due = match last {
                Some(last) => last.elapsed() >= ASK_AGAIN,
                None => doubt == Doubt::Lost || first.elapsed() >= ASK_AFTER,
            };
            if is_due {
                *last = Some(Instant::now());
                due.push(outgoing);
            }
        }
        self.asked = asked;
        if !due.is_empty()
            && let Some(line) = &mut self.line
            && let Err(error) = line.settle(&due)
        {
            warn!(venue = self.venue(), %error, "cannot ask how orders stand");
        }
    }

    fn show(&self) {
        let trouble = match self.gate() {
            Gate::Closed(reason, text) => Some(format!("{reason}: {text}")),
            Gate::Open if self.line.is_none() => Some("its line cannot be started, see the log".into()),
            Gate::Open => match (self.book.connection(), self.book.lost()) {
                (Connection::Down, _) => Some("not connected".into()),
                (Connection::Up, _) => Some("catching up".into()),
                (Connection::CaughtUp, 0) => None,
                (Connection::CaughtUp, lost) => Some(format!("the fate of {lost} orders is open")),
            },
        };
        self.start.standing.set(trouble);
        figures::now(
            self.venue(),
            &figures::Now {
                open_orders: self.book.open_orders(),
                lost: self.book.lost(),
                journal_bytes: self.journal.bytes(),
                up: self.book.connection() != Connection::Down,
                lease: self.start.lease.holds(),
                mode: self.book.trading().map(|state| state.mode),
                oddities: self.book.oddities(),
            },
        );
    }
}
