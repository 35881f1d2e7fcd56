//! The section of every service's document that says where it shows metrics and health.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Where `/metrics`, `/healthz` and `/readyz` are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthSection {
    /// Address and port, as `127.0.0.1:9101`; port 0 takes a free one and logs it.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
}
