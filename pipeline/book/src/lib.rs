//! Order books from ticks, per instrument: by order and by price.
//!
//! [`Books`] takes the ticks of one stream in their order and keeps the book of every instrument in it. It
//! holds no clock, file or socket: the same ticks always give the same books. `docs/book.md` has a drawing
//! of the memory and the rules in full. The way through it:
//!
//! ```text
//! Tick ─► channel (gap, clear, doubt) ─► instrument ─► by order ─► order table ─► level ─► ladder of prices
//!                                                  └─► by price ──────────────► level ─► ladder of prices
//! ```
//!
//! Who owns what: `orders` every resting order and the table that finds them, `ladders` the price levels and
//! their sorted order, `books` what is known of each instrument and channel.
//!
//! Invariants: all memory is taken in [`Books::new`] and bounded by [`Limits`]; a level holds at least one
//! order, or stands for a price of a book by price; its size is the sum of its orders' sizes.
//!
//! ```
//! use book::{BookState, Books, Limits};
//! use tick::{Action, Flags, Side, Tick};
//!
//! let mut books = Books::new(Limits::SMALL);
//! books.apply(&Tick::channel_clear(1, 7, 1, 0)); // What follows is known from its start.
//! let order = Tick {
//!     sequence: 2, order_id: 99, price: 4_800_250_000_000, size: 5, instrument_id: 42, publisher_id: 1,
//!     channel_id: 7, action: Action::Add, side: Side::Bid, flags: Flags::LAST, ..Tick::EMPTY
//! };
//! let applied = books.apply(&order);
//! let book = books.book(applied.book.expect("an order has a book"));
//! assert!(applied.top_changed);
//! assert_eq!(book.best(Side::Bid).map(|level| (level.price, level.size)), Some((4_800_250_000_000, 5)));
//! assert_eq!(book.state(), BookState::Good);
//! ```

mod apply;
mod books;
mod by_order;
mod by_price;
mod ladders;
mod orders;
mod saved;
mod state;
mod view;

pub use books::{BookId, Books, Limits};
pub use saved::{RestoreError, RestoreReason};
pub use state::{Applied, BookState, Kind, Refusal, Trade, Why};
pub use view::{Book, Level, Order, QueuePosition};
