//! Lists: `{"items": […], "next_cursor": …}`, at most 1000 items a page.

use crate::api::Problem;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Items of a page when nothing is said.
pub const PAGE_ITEMS: u32 = 100;
/// Most items of a page.
pub const PAGE_ITEMS_MAX: u32 = 1_000;
/// Longest cursor, bytes.
const CURSOR_BYTES_MAX: usize = 256;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What `cursor` is to be for the next page; null when this is the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// Which page is asked for.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Items of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// How many items the page has at most.
    ///
    /// # Errors
    /// 400 when it is out of range.
    pub fn limit(&self) -> Result<usize, Problem> {
        limit(self.limit)
    }

    /// Where the page begins; none at the beginning.
    ///
    /// # Errors
    /// 404 when the cursor is not one that this list gave.
    pub fn cursor<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        cursor(self.cursor.as_deref())
    }
}

/// `limit` of a query, checked.
///
/// # Errors
/// 400 when it is out of range.
pub fn limit(limit: Option<u32>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(PAGE_ITEMS);
    if !(1..=PAGE_ITEMS_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("limit is {limit}; choose 1 to {PAGE_ITEMS_MAX}")));
    }
    Ok(limit as usize)
}

/// `cursor` of a query, read.
///
/// # Errors
/// 404 when the cursor is not one that this list gave.
pub fn cursor<T: std::str::FromStr>(cursor: Option<&str>) -> Result<Option<T>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let read = (cursor.len() <= CURSOR_BYTES_MAX).then(|| cursor.parse().ok()).flatten();
    read.map(Some).ok_or_else(|| Problem::not_found("cursor is none of this list's; begin without it"))
}

impl<T> Page<T> {
    /// A page of `items`, of which one more than `limit` may have been taken: then there is a next page, which begins
    /// after the last one that is shown, whose cursor `cursor_of` gives.
    pub fn cut(mut items: Vec<T>, limit: usize, cursor_of: impl FnOnce(&T) -> String) -> Page<T> {
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = if more { items.last().map(cursor_of) } else { None };
        Page { items, next_cursor }
    }
}
