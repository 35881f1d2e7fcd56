//! What every process shows of itself: how it starts ([`run_service`]), its log, its metrics and health
//! ([`Vitals`]), and how it is asked to end ([`Stop`]) or to read its configuration again ([`Hangup`]). One way for all of
//! them.
//!
//! A process makes one [`Vitals`] at its start. Metrics are made with the macros of the crate `metrics`,
//! anywhere. Readiness is a list of parts, each good or with a reason; a process is ready when all are.

mod endpoint;
mod listener;
mod log;
mod process;
mod stop;

pub use endpoint::{Part, Vitals};
pub use log::LogFormat;
pub use process::{ManagedArgs, ServiceArgs, run_service};
pub use stop::{Hangup, Stop};
