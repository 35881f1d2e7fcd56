//! The book by price: levels named by number (CME MDP 3.0) or by their price (depth 255).
//!
//! By number, 1 is the best: an `Add` puts a level there and moves the ones from there on down, a `Cancel`
//! takes it out and moves them up, a `Modify` replaces what stands there. What moves below
//! [`Limits::numbered_levels`](crate::Limits::numbered_levels) is dropped. By price, `Add` and `Modify` set
//! the level's size, and a `Cancel` or a size of 0 removes it.

use crate::books::Books;
use crate::by_order::{Change, book_side};
use crate::ladders::{key, ladder};
use crate::state::{Kind, Refusal};
use tick::{Action, DEPTH_NO_LEVEL, Side, Tick};

impl Books {
    /// Applies an `Add`, `Modify` or `Cancel`.
    #[inline]
    pub(crate) fn change_level(&mut self, book: u32, tick: &Tick) -> Change {
        let Some(side) = book_side(tick.side) else { return Change::refused(Refusal::BadSide) };
        let ladder = ladder(book, Kind::ByPrice as usize, side);
        let numbered = tick.depth != DEPTH_NO_LEVEL && tick.depth != 0;
        if tick.action == Action::Cancel && numbered {
            return self.cancel_number(ladder, tick);
        }
        if !tick.price().is_defined() {
            return Change::refused(Refusal::BadPrice);
        }
        if tick.action == Action::Cancel || (tick.size == 0 && !numbered) {
            return self.cancel_price(ladder, tick.price);
        }
        if tick.size == Tick::SIZE_UNDEFINED || tick.size == 0 {
            return Change::refused(Refusal::BadSize);
        }
        match (numbered, tick.action) {
            (false, _) => self.set_price(ladder, tick),
            (true, Action::Add) => self.add_number(ladder, tick),
            (true, _) => self.set_number(ladder, tick),
        }
    }

    /// The place of a level by number in a ladder of this length, whose last rung is number 1.
    fn place(len: usize, number: u8) -> Option<usize> {
        len.checked_sub(usize::from(number))
    }

    fn add_number(&mut self, ladder: u32, tick: &Tick) -> Change {
        let len = self.ladders.rungs(ladder).len();
        let number = usize::from(tick.depth);
        if number > self.limits.numbered_levels {
            return Change::refused(Refusal::LevelOutOfRange);
        }
        let Some(place) = Books::place(len + 1, tick.depth) else {
            return Change::refused(Refusal::LevelOutOfRange);
        };
        // One, unless levels named by their price have made it longer than its numbers go.
        let dropped = (len + 1).saturating_sub(self.limits.numbered_levels);
        for _ in 0..dropped {
            self.ladders.remove(ladder, 0);
        }
        let place = place - dropped;
        let Some(level) = self.ladders.insert(ladder, place, tick.price) else {
            return Change { depth: dropped > 0, ..Change::refused(Refusal::LevelsFull) };
        };
        self.ladders.level_mut(level).size = u64::from(tick.size);
        self.numbered_change(ladder, place)
    }

    fn set_number(&mut self, ladder: u32, tick: &Tick) -> Change {
        let Some(place) = Books::place(self.ladders.rungs(ladder).len(), tick.depth) else {
            return Change::refused(Refusal::LevelOutOfRange);
        };
        if self.ladders.set(ladder, place, tick.price, u64::from(tick.size)) {
            self.numbered_change(ladder, place)
        } else {
            Change::default()
        }
    }

    /// What a level that was put at a place changed, and whether its price fits between its neighbours'.
    fn numbered_change(&self, ladder: u32, place: usize) -> Change {
        let rungs = self.ladders.rungs(ladder);
        let fits = |pair: &[crate::ladders::Rung]| pair[0].key < pair[1].key;
        let near = &rungs[place.saturating_sub(1)..(place + 2).min(rungs.len())];
        Change {
            top: place + 1 == rungs.len(),
            depth: true,
            refused: (!near.windows(2).all(fits)).then_some(Refusal::LevelOrder),
        }
    }

    /// Cancels a level by number. One of no size that is not there is part of a venue's "delete from here
    /// down", and no mistake.
    fn cancel_number(&mut self, ladder: u32, tick: &Tick) -> Change {
        let len = self.ladders.rungs(ladder).len();
        match Books::place(len, tick.depth) {
            Some(place) => {
                self.ladders.remove(ladder, place);
                Change { top: place + 1 == len, depth: true, refused: None }
            }
            None if tick.size == Tick::SIZE_UNDEFINED => Change::default(),
            None => Change::refused(Refusal::LevelOutOfRange),
        }
    }

    fn set_price(&mut self, ladder: u32, tick: &Tick) -> Change {
        let level = match self.ladders.find(ladder, key(ladder, tick.price)) {
            Ok(place) => self.ladders.rungs(ladder)[place].level,
            Err(place) => match self.ladders.insert(ladder, place, tick.price) {
                Some(level) => level,
                None => return Change::refused(Refusal::LevelsFull),
            },
        };
        let before = std::mem::replace(&mut self.ladders.level_mut(level).size, u64::from(tick.size));
        if before == u64::from(tick.size) {
            return Change::default();
        }
        let top = self.ladders.best(ladder).is_some_and(|best| best.level == level);
        Change { top, depth: true, refused: None }
    }

    fn cancel_price(&mut self, ladder: u32, price: i64) -> Change {
        match self.ladders.find(ladder, key(ladder, price)) {
            Ok(place) => {
                let top = place + 1 == self.ladders.rungs(ladder).len();
                self.ladders.remove(ladder, place);
                Change { top, depth: true, refused: None }
            }
            Err(_) => Change::refused(Refusal::LevelOutOfRange),
        }
    }

    /// Removes every level.
    pub(crate) fn clear_levels(&mut self, book: u32) -> Change {
        let mut depth = false;
        for side in [Side::Bid, Side::Ask] {
            let ladder = ladder(book, Kind::ByPrice as usize, side);
            depth |= !self.ladders.rungs(ladder).is_empty();
            self.ladders.clear(ladder);
        }
        Change { top: depth, depth, refused: None }
    }
}
