//! Strategies, and what stands between them and a venue.
//!
//! [`risk`] decides every order before it is sent, and follows what became of it.

pub mod risk;
