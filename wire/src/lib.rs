//! What exchanges put on the wire: pure codecs, no I/O, no allocation while decoding.

pub mod itch50;
pub mod mdp3;
pub mod moldudp64;
pub mod ouch50;
pub mod soupbintcp;
