//! The feature engine from outside: ticks in, records out.

mod hostile;
mod oracle;
mod publishing;
mod restart;
mod session;
mod values;
