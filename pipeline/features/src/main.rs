//! `feedplane-features`.

fn main() {}
