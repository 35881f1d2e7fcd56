//! Order entry: SoupBinTCP and OUCH 5.0 without a socket, over TCP beside the feed, and under hostile clients.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod background;
mod bytes;
mod live;
mod ouch;
mod session;
mod support;
