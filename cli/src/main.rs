//! The `feedplane` command.
fn main() {}
