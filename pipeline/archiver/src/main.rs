//! `feedplane-archiver`.

fn main() {}
