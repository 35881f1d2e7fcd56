//! The privileged process around the pure core: NIC, rings, clocks, workers, publisher.

pub mod arrival;
pub mod clock;
pub mod membership;
pub mod socket;
#[cfg(feature = "xdp")]
pub mod xdp;
