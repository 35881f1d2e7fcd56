//! What the tests across services share: a whole session as ticks ([`session`]), the stream as the data plane
//! would have written it ([`publish`]), the services as processes ([`service`]) with the servers that they need
//! ([`world`]), the examples of the reader's guide ([`python`]), and the trainer ([`trainer`]).
//!
//! Nothing here looks into a service: what it did is read from Redis and from the archive.

pub mod publish;
pub mod python;
pub mod service;
pub mod session;
pub mod trainer;
pub mod world;
