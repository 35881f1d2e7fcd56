//! Routes of what lives: trading, status, events, orders, the market, models, the data plane.

mod dataplane;
mod events;
mod market;
mod models;
mod orders;
mod status;
mod trading;

pub use dataplane::{ClockList, NicList};
pub use events::EventsQuery;
pub use market::{FeaturesQuery, InstrumentsQuery};
pub use orders::{Denials, OrdersQuery, PositionList};
pub use trading::{Follower, Reason, TradingAnswer, TradingNow};

use crate::api::Problem;
use crate::app::App;
use crate::live::BusError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// All of them.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(trading::get_trading))
        .routes(routes!(trading::halt))
        .routes(routes!(trading::reduce))
        .routes(routes!(trading::resume))
        .routes(routes!(status::get_status))
        .routes(routes!(events::listen))
        .routes(routes!(orders::list_orders))
        .routes(routes!(orders::get_order))
        .routes(routes!(orders::list_denials))
        .routes(routes!(orders::list_positions))
        .routes(routes!(market::list_instruments))
        .routes(routes!(market::get_instrument))
        .routes(routes!(market::get_book))
        .routes(routes!(market::get_tape))
        .routes(routes!(market::get_features))
        .routes(routes!(models::list_models))
        .routes(routes!(models::get_model))
        .routes(routes!(models::get_model_version))
        .routes(routes!(dataplane::list_nics))
        .routes(routes!(dataplane::get_nic))
        .routes(routes!(dataplane::attach_nic))
        .routes(routes!(dataplane::detach_nic))
        .routes(routes!(dataplane::replace_programs))
        .routes(routes!(dataplane::get_clock))
}

impl From<BusError> for Problem {
    fn from(error: BusError) -> Problem {
        Problem::unavailable(error.to_string())
    }
}
