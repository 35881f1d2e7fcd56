//! Price levels, and for each side of each book its ladder: the levels sorted by price, the best last.
//!
//! A ladder is a contiguous run of [`Rung`]s in one shared array, so that a change near the best price moves
//! few of them. Runs come in blocks of a power of two; a ladder that outgrows its block moves to one twice
//! as large, one that fills less than a quarter gives half of it back. Free blocks wait in a list for each
//! size. When no block is left, all of them are moved together, which the array is large enough for.
//!
//! ```text
//! rungs: │owner,class│ r r r r r · · │owner,class│ r r r · · · · │ free … │      · = room
//!          header      worst → best
//! ```
//!
//! Levels lie in an array of their own and never move, so that an order can name its level by index.
//!
//! Invariants: a ladder's keys rise strictly (books by price that contradict themselves excepted); every
//! level in use is in exactly one ladder; a block is in use exactly when its ladder has rungs.

use crate::orders::NIL;
use tick::Side;

/// Rungs of the smallest block, its header included.
const BLOCK_RUNGS_MIN: usize = 8;
/// Sizes of blocks: 8 × 2^class rungs, the largest 2^31.
const CLASSES: usize = 29;
/// Levels nearest to the best that are looked at one by one before the rest is searched by halving.
const NEAR: usize = 8;

/// One level's place in its ladder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rung {
    /// The price, or for asks its complement: the better the higher.
    pub(crate) key: i64,
    pub(crate) level: u32,
}

/// A price level.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(crate) struct LevelNode {
    pub(crate) price: i64,
    pub(crate) size: u64,
    /// First and last of its queue.
    pub(crate) head: u32,
    pub(crate) tail: u32,
    pub(crate) orders: u32,
    /// Its ladder.
    pub(crate) ladder: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ladder {
    at: u32,
    len: u32,
    /// Rungs that fit; 0 without a block.
    room: u32,
}

#[derive(Debug)]
pub(crate) struct Ladders {
    /// Four for each book: see [`ladder`].
    ladders: Vec<Ladder>,
    rungs: Vec<Rung>,
    rungs_limit: usize,
    /// First rung of the first free block of each class.
    free: [u32; CLASSES],
    levels: Vec<LevelNode>,
    levels_limit: usize,
    levels_free: u32,
    levels_used: usize,
}

/// Number of a ladder. `half` is 0 by order, 1 by price.
#[inline(always)]
pub(crate) fn ladder(book: u32, half: usize, side: Side) -> u32 {
    book * 4 + half as u32 * 2 + u32::from(side == Side::Ask)
}

#[inline(always)]
pub(crate) fn side_of(ladder: u32) -> Side {
    if ladder & 1 == 0 { Side::Bid } else { Side::Ask }
}

#[inline(always)]
pub(crate) fn key(ladder: u32, price: i64) -> i64 {
    price ^ -i64::from(ladder & 1)
}

/// Rungs that are always enough: four for each level, because a block is at least a quarter full or of the
/// smallest size, and the smallest block of every ladder and one more. A ladder that is moving from `n` rungs
/// to `2n` has `n - 1` levels, so that its two blocks are within the same bound.
pub(crate) fn rungs_limit(instruments: usize, levels: usize) -> usize {
    levels * 4 + (instruments * 4 + 1) * BLOCK_RUNGS_MIN
}

const HEADER_FREE: i64 = -1;

impl Ladders {
    pub(crate) fn new(instruments: usize, levels: usize) -> Ladders {
        let rungs_limit = rungs_limit(instruments, levels);
        let mut nodes = Vec::with_capacity(levels + 1);
        nodes.push(LevelNode { price: 0, size: 0, head: NIL, tail: NIL, orders: 0, ladder: 0 });
        Ladders {
            ladders: Vec::with_capacity(instruments * 4),
            rungs: Vec::with_capacity(rungs_limit),
            rungs_limit,
            free: [NIL; CLASSES],
            levels: nodes,
            levels_limit: levels,
            levels_free: NIL,
            levels_used: 0,
        }
    }

    /// Makes the four ladders of the next book.
    pub(crate) fn add_book(&mut self) {
        self.ladders.extend([Ladder::default(); 4]);
    }

    /// Levels in use.
    pub(crate) fn len(&self) -> usize {
        self.levels_used
    }

    #[inline(always)]
    pub(crate) fn level(&self, at: u32) -> &LevelNode {
        &self.levels[at as usize]
    }

    #[inline(always)]
    pub(crate) fn level_mut(&mut self, at: u32) -> &mut LevelNode {
        &mut self.levels[at as usize]
    }

    /// A ladder's rungs, worst first.
    #[inline(always)]
    pub(crate) fn rungs(&self, ladder: u32) -> &[Rung] {
        let Ladder { at, len, .. } = self.ladders[ladder as usize];
        &self.rungs[at as usize..][..len as usize]
    }

    #[inline(always)]
    pub(crate) fn best(&self, ladder: u32) -> Option<Rung> {
        self.rungs(ladder).last().copied()
    }

    /// Where the key is, or where it belongs.
    #[inline(always)]
    pub(crate) fn find(&self, ladder: u32, key: i64) -> Result<usize, usize> {
        let rungs = self.rungs(ladder);
        let near = rungs.len().saturating_sub(NEAR);
        for at in (near..rungs.len()).rev() {
            if rungs[at].key <= key {
                return if rungs[at].key == key { Ok(at) } else { Err(at + 1) };
            }
        }
        let far = &rungs[..near];
        let at = far.partition_point(|rung| rung.key < key);
        if far.get(at).is_some_and(|rung| rung.key == key) { Ok(at) } else { Err(at) }
    }

    /// Puts a new, empty level at a place in a ladder; `None` when all levels are taken.
    #[inline(always)]
    pub(crate) fn insert(&mut self, ladder: u32, place: usize, price: i64) -> Option<u32> {
        let level = LevelNode { price, size: 0, head: NIL, tail: NIL, orders: 0, ladder };
        let at = if self.levels_free != NIL {
            let at = self.levels_free;
            self.levels_free = self.level(at).head;
            *self.level_mut(at) = level;
            at
        } else if self.levels.len() <= self.levels_limit {
            self.levels.push(level);
            (self.levels.len() - 1) as u32
        } else {
            return None;
        };
        self.levels_used += 1;
        let Ladder { len, room, .. } = self.ladders[ladder as usize];
        if len == room {
            self.grow(ladder);
        }
        let Ladder { at: first, len, .. } = self.ladders[ladder as usize];
        let rungs = &mut self.rungs[first as usize..][..=len as usize];
        rungs.copy_within(place..len as usize, place + 1);
        rungs[place] = Rung { key: key(ladder, price), level: at };
        self.ladders[ladder as usize].len += 1;
        Some(at)
    }

    /// Takes the level at a place out of its ladder and frees it.
    #[inline(always)]
    pub(crate) fn remove(&mut self, ladder: u32, place: usize) {
        let Ladder { at: first, len, room } = self.ladders[ladder as usize];
        let rungs = &mut self.rungs[first as usize..][..len as usize];
        let at = rungs[place].level;
        rungs.copy_within(place + 1.., place);
        self.ladders[ladder as usize].len -= 1;
        self.free_level(at);
        let rungs = room as usize + 1;
        if len == 1 {
            self.free_block(first, class_of(rungs));
            self.ladders[ladder as usize] = Ladder::default();
        } else if rungs > BLOCK_RUNGS_MIN && (len as usize - 1) < rungs / 4 {
            self.halve(ladder);
        }
    }

    /// Gives the level at a place another price and size; says whether they are others.
    pub(crate) fn set(&mut self, ladder: u32, place: usize, price: i64, size: u64) -> bool {
        let at = self.ladders[ladder as usize].at as usize + place;
        self.rungs[at].key = key(ladder, price);
        let level = self.rungs[at].level;
        let level = self.level_mut(level);
        let before = (level.price, level.size);
        (level.price, level.size) = (price, size);
        before != (price, size)
    }

    /// Empties a ladder.
    pub(crate) fn clear(&mut self, ladder: u32) {
        let Ladder { at, len, room } = std::mem::take(&mut self.ladders[ladder as usize]);
        for place in at..at + len {
            self.free_level(self.rungs[place as usize].level);
        }
        if room != 0 {
            self.free_block(at, class_of(room as usize + 1));
        }
    }

    #[inline(always)]
    fn free_level(&mut self, at: u32) {
        let free = self.levels_free;
        self.level_mut(at).head = free;
        self.levels_free = at;
        self.levels_used -= 1;
    }

    #[cold]
    fn grow(&mut self, ladder: u32) {
        let room = self.ladders[ladder as usize].room;
        let class = if room == 0 { 0 } else { class_of(room as usize + 1) + 1 };
        let at = match self.take_block(class) {
            Some(at) => at,
            None => {
                self.gather();
                self.take_block(class).expect("the array is large enough for all blocks moved together")
            }
        };
        let old = self.ladders[ladder as usize];
        self.rungs[at as usize - 1] = Rung { key: i64::from(ladder), level: class as u32 };
        self.rungs.copy_within(old.at as usize..(old.at + old.len) as usize, at as usize);
        if room != 0 {
            self.free_block(old.at, class - 1);
        }
        self.ladders[ladder as usize] = Ladder { at, room: rungs_of(class) as u32 - 1, ..old };
    }

    /// Gives the upper half of a ladder's block back.
    #[cold]
    fn halve(&mut self, ladder: u32) {
        let Ladder { at, room, .. } = self.ladders[ladder as usize];
        let class = class_of(room as usize + 1) - 1;
        let rungs = rungs_of(class) as u32;
        self.rungs[at as usize - 1].level = class as u32;
        self.ladders[ladder as usize].room = rungs - 1;
        self.free_block(at + rungs, class);
    }

    /// First rung of a free block of a class.
    fn take_block(&mut self, class: usize) -> Option<u32> {
        let at = self.free[class];
        if at != NIL {
            self.free[class] = self.rungs[at as usize].level;
            return Some(at);
        }
        let (begin, end) = (self.rungs.len(), self.rungs.len() + rungs_of(class));
        if end > self.rungs_limit {
            return None;
        }
        self.rungs.resize(end, Rung { key: 0, level: NIL });
        Some(begin as u32 + 1)
    }

    fn free_block(&mut self, at: u32, class: usize) {
        self.rungs[at as usize - 1] = Rung { key: HEADER_FREE, level: class as u32 };
        self.rungs[at as usize].level = self.free[class];
        self.free[class] = at;
    }

    /// Moves all blocks in use together, so that what is free is one piece at the end.
    #[cold]
    fn gather(&mut self) {
        let (mut from, mut to) = (0, 0);
        while from < self.rungs.len() {
            let Rung { key: owner, level: class } = self.rungs[from];
            let rungs = rungs_of(class as usize);
            if owner != HEADER_FREE {
                self.rungs.copy_within(from..from + rungs, to);
                self.ladders[owner as usize].at = to as u32 + 1;
                to += rungs;
            }
            from += rungs;
        }
        self.rungs.truncate(to);
        self.free = [NIL; CLASSES];
    }
}

fn rungs_of(class: usize) -> usize {
    BLOCK_RUNGS_MIN << class
}

fn class_of(rungs: usize) -> usize {
    (rungs / BLOCK_RUNGS_MIN).trailing_zeros() as usize
}
