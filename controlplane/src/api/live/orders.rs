//! `/v1/orders`, `/v1/denials`, `/v1/positions`.

use crate::api::{Page, Path, Problem, Query};
use crate::app::App;
use crate::live::orders::{Denial, DenialReason, Order, Position};
use axum::Json;
use axum::extract::State;
use bus::OrderId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrdersWanted {
    /// Those that may still trade.
    Open,
}

/// Which orders, and which page of them.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OrdersQuery {
    /// Only those in this state.
    #[param(inline)]
    pub state: Option<OrdersWanted>,
    /// Only those of this strategy.
    #[param(max_length = 32)]
    pub strategy: Option<String>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(max_length = 256)]
    pub cursor: Option<String>,
}

/// Denials by reason, and the last ones.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Denials {
    /// How often each check has denied.
    pub reasons: Vec<DenialReason>,
    /// The last 1,000, newest first.
    pub items: Vec<Denial>,
}

/// Positions, and how far they can be relied on.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PositionList {
    /// By strategy and instrument.
    pub items: Vec<Position>,
    /// Everything that was there at the start has been read.
    pub is_current: bool,
    /// Reports that are missing in the numbers: positions may be wrong by them.
    pub missing_reports: u64,
    /// Trades that are in no position: they say no side, or found no room.
    pub trades_left_out: u64,
    /// Why the streams cannot be read now.
    #[schema(required)]
    pub problem: Option<String>,
}

/// Orders: the open ones newest first, then the last 10,000 finished ones newest first.
#[utoipa::path(
    get, path = "/v1/orders", operation_id = "list_orders", tag = "orders", params(OrdersQuery),
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "A page of orders", body = Page<Order>))
)]
pub(super) async fn list_orders(
    State(app): State<App>,
    Query(query): Query<OrdersQuery>,
) -> Result<Json<Page<Order>>, Problem> {
    let limit = crate::api::limit(query.limit)?;
    let after: Option<OrderId> = crate::api::cursor(query.cursor.as_deref())?;
    let is_wanted = |order: &&Order| {
        (query.state.is_none() || order.state.is_open())
            && query.strategy.as_ref().is_none_or(|strategy| *strategy == order.strategy)
    };
    let page = app.live.orders().look(|ledger| {
        let after = after.map(|after| after.to_string());
        let wanted = ledger.orders().filter(is_wanted);
        let page: Vec<Order> = match &after {
            None => wanted.take(limit + 1).cloned().collect(),
            // An order that is gone meanwhile ends the list: it was the oldest.
            Some(after) => {
                wanted.skip_while(|order| order.id != *after).skip(1).take(limit + 1).cloned().collect()
            }
        };
        Page::cut(page, limit, |last| last.id.clone())
    });
    Ok(Json(page))
}

/// One order.
#[utoipa::path(
    get, path = "/v1/orders/{order_id}", operation_id = "get_order", tag = "orders",
    params(("order_id" = String, Path, description = "Client order id")),
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The order", body = Order),
              (status = 404, description = "None of this id is known", body = Problem))
)]
pub(super) async fn get_order(
    State(app): State<App>,
    Path(order_id): Path<String>,
) -> Result<Json<Order>, Problem> {
    let id: Option<OrderId> = order_id.parse().ok();
    let found = id.and_then(|id| app.live.orders().look(|ledger| ledger.order(&id).cloned()));
    found.map(Json).ok_or_else(|| {
        Problem::not_found("no order of this id is known; finished ones are kept up to the last 10,000")
    })
}

/// Denials by reason, and the last 1,000.
#[utoipa::path(
    get, path = "/v1/denials", operation_id = "list_denials", tag = "orders",
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The denials", body = Denials))
)]
pub(super) async fn list_denials(State(app): State<App>) -> Json<Denials> {
    Json(
        app.live
            .orders()
            .look(|ledger| Denials { reasons: ledger.reasons(), items: ledger.denials().cloned().collect() }),
    )
}

/// Positions by strategy and instrument, from executions.
#[utoipa::path(
    get, path = "/v1/positions", operation_id = "list_positions", tag = "orders",
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The positions", body = PositionList))
)]
pub(super) async fn list_positions(State(app): State<App>) -> Json<PositionList> {
    let now = app.live.orders().now();
    let items = app.live.orders().look(crate::live::orders::Ledger::positions);
    Json(PositionList {
        items,
        is_current: now.is_current,
        missing_reports: now.missing_reports,
        trades_left_out: now.trades_left_out,
        problem: now.trouble,
    })
}
