//! The API: `/v1`, described by its own code.
//!
//! How a route is made: an async function with `#[utoipa::path]`, whose `operation_id` is what the audit calls it and whose
//! extension `x-feedplane-role` says who may (`viewer`, `operator`, `risk`, `none`); it is collected by `routes!` into the
//! `OpenApiRouter` of its module, which [`router`] merges. Answers that every operation can give (401, 403, 429 …) are added
//! to the description there. A handler that changes something takes an [`Intent`](crate::access::Intent), begins a
//! [`Change`](crate::store::Change) and commits it.

mod answer;
mod config;
mod describe;
mod extract;
mod health;
pub mod live;
mod page;
mod parts;
mod problem;
mod routing;
mod tokens;

pub use answer::{Answer, Stopped};
pub use extract::{Body, Path, Query};
pub(crate) use extract::{bytes, media_type, unsupported};
pub use page::{PAGE_ITEMS, PAGE_ITEMS_MAX, Page, PageQuery, cursor, limit};
pub use problem::{FieldProblem, PROBLEM_ERRORS_MAX, Problem};
pub use routing::{description, router};
