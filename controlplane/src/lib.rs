//! The control plane: holds the versions of every configuration document, gives them to the processes, shows what they
//! do, and stops trading when told to. The contract is `docs/controlplane.md`.
//!
//! It is never in the data's way. What a process runs, it goes on running when this one is gone.

pub mod link;
