//! The privileged process around the pure core: NIC, rings, clocks, workers, publisher.
//!
//! `docs/dataplane.md` has the drawing. Along a packet's way: [`xdp`] or [`socket`] receive it ([`arrival`]),
//! [`clock`] says when, [`worker`] takes it through the core, [`handover`] is the ring to the [`publisher`].
//! Around them: [`process`] starts them, [`change`] changes what they take, [`link`] steers feeds to a worker, [`control`]
//! is how the control plane speaks to the process, [`status`] tells, [`metrics`] counts.

pub mod arrival;
pub mod change;
pub mod clock;
pub mod clock_metrics;
pub mod control;
pub mod handover;
pub mod link;
pub mod membership;
pub mod metrics;
pub mod nic;
mod nics;
pub mod plan;
pub mod port;
pub mod process;
pub mod publisher;
pub mod receiver;
pub mod running;
pub mod socket;
pub mod status;
pub mod wait;
pub mod worker;
#[cfg(feature = "xdp")]
pub mod xdp;
