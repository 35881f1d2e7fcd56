//! What the tests of the deployment share: finding tools, rendering manifests, reading PromQL, the table of metrics.
//!
//! Nothing here runs in production. A tool that is not installed is a reason to skip, and the tests say so.

pub mod manifests;
pub mod promql;
pub mod source;
pub mod table;
pub mod tools;
