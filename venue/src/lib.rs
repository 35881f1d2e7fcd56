//! A simulated exchange: plays captures or synthetic sessions on two impaired lines.

pub mod capture;
pub mod frame;
