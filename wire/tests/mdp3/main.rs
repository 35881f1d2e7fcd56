//! MDP 3.0 on the wire: template files compiled, real packets read field by field, damage of every kind.

mod capture;
mod damage;
mod encoding;
mod oracle;
mod real;
mod template_files;
mod versions;

use wire::mdp3::{FIXTURE, Schema};

fn fixture() -> Schema {
    Schema::parse(FIXTURE).expect("the project's own template file")
}

/// Deterministic random numbers (SplitMix64), so that a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
