//! `/v1/instruments` and what is beneath it.

use crate::api::{Page, Path, Problem, Query};
use crate::app::App;
use crate::live::InstrumentKey;
use crate::live::lookups::{FeatureHistory, InstrumentView};
use crate::live::market::{BookView, TapeView};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use std::ops::Bound;
use utoipa::IntoParams;

/// Which instruments, and which page of them.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct InstrumentsQuery {
    /// Only those whose symbol holds this, in small or capital letters.
    #[param(max_length = 64)]
    pub query: Option<String>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(max_length = 256)]
    pub cursor: Option<String>,
}

/// Which features.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FeaturesQuery {
    /// Only this set.
    #[param(max_length = 64)]
    pub set: Option<String>,
    /// Points of each set.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<u32>,
}

/// Instruments as the venues define them, by publisher and number.
#[utoipa::path(
    get, path = "/v1/instruments", operation_id = "list_instruments", tag = "market", params(InstrumentsQuery),
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "A page of instruments", body = Page<InstrumentView>),
              (status = 503, description = "Redis cannot be asked", body = Problem))
)]
pub(super) async fn list_instruments(
    State(app): State<App>,
    Query(query): Query<InstrumentsQuery>,
) -> Result<Json<Page<InstrumentView>>, Problem> {
    let limit = crate::api::limit(query.limit)?;
    let after: Option<InstrumentKey> = crate::api::cursor(query.cursor.as_deref())?;
    let table = app.live.lookups().instruments().await?;
    let wanted = query.query.map(|query| query.to_lowercase());
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let found = table.range((from, Bound::Unbounded)).map(|(_, instrument)| instrument);
    let found = found.filter(|instrument| {
        wanted.as_ref().is_none_or(|wanted| instrument.symbol.to_lowercase().contains(wanted))
    });
    let cursor = |last: &InstrumentView| format!("{}:{}", last.publisher_id, last.instrument_id);
    Ok(Json(Page::cut(found.take(limit + 1).cloned().collect(), limit, cursor)))
}

/// One instrument's definition.
#[utoipa::path(
    get, path = "/v1/instruments/{publisher_id}/{instrument_id}", operation_id = "get_instrument", tag = "market",
    params(("publisher_id" = u16, Path, description = "Its publisher"), ("instrument_id" = u32, Path, description = "Its number")),
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The definition", body = InstrumentView),
              (status = 404, description = "The venue has not defined it", body = Problem),
              (status = 503, description = "Redis cannot be asked", body = Problem))
)]
pub(super) async fn get_instrument(
    State(app): State<App>,
    Path(key): Path<(u16, u32)>,
) -> Result<Json<InstrumentView>, Problem> {
    let found = app.live.lookups().instrument(instrument(key)).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("no venue has defined this instrument"))
}

/// The book, up to 50 levels a side. Of an instrument that nobody looks at the stream is read first, for two seconds at
/// most; `why` says `behind` when that was not enough.
#[utoipa::path(
    get, path = "/v1/instruments/{publisher_id}/{instrument_id}/book", operation_id = "get_book", tag = "market",
    params(("publisher_id" = u16, Path, description = "Its publisher"), ("instrument_id" = u32, Path, description = "Its number")),
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The book", body = BookView),
              (status = 503, description = "Too many instruments are watched, or the stream cannot be read", body = Problem))
)]
pub(super) async fn get_book(
    State(app): State<App>,
    Path(key): Path<(u16, u32)>,
) -> Result<Json<BookView>, Problem> {
    let watch = app.live.market().watch(instrument(key))?;
    watch.current().await;
    watch.book().map(|book| Json(book.as_ref().clone())).ok_or_else(unread)
}

/// The last 100 trades.
#[utoipa::path(
    get, path = "/v1/instruments/{publisher_id}/{instrument_id}/tape", operation_id = "get_tape", tag = "market",
    params(("publisher_id" = u16, Path, description = "Its publisher"), ("instrument_id" = u32, Path, description = "Its number")),
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The trades", body = TapeView),
              (status = 503, description = "Too many instruments are watched, or the stream cannot be read", body = Problem))
)]
pub(super) async fn get_tape(
    State(app): State<App>,
    Path(key): Path<(u16, u32)>,
) -> Result<Json<TapeView>, Problem> {
    let watch = app.live.market().watch(instrument(key))?;
    watch.current().await;
    watch.tape().map(|tape| Json(tape.as_ref().clone())).ok_or_else(unread)
}

/// Values of features over time, newest first. The last 20,000 records of the instrument's shard are looked through.
#[utoipa::path(
    get, path = "/v1/instruments/{publisher_id}/{instrument_id}/features", operation_id = "get_features", tag = "market",
    params(("publisher_id" = u16, Path, description = "Its publisher"), ("instrument_id" = u32, Path, description = "Its number"), FeaturesQuery),
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The values", body = FeatureHistory),
              (status = 503, description = "Redis cannot be asked", body = Problem))
)]
pub(super) async fn get_features(
    State(app): State<App>,
    Path(key): Path<(u16, u32)>,
    Query(query): Query<FeaturesQuery>,
) -> Result<Json<FeatureHistory>, Problem> {
    let limit = crate::api::limit(query.limit)?;
    Ok(Json(app.live.lookups().features(instrument(key), query.set.as_deref(), limit).await?))
}

fn instrument((publisher_id, instrument_id): (u16, u32)) -> InstrumentKey {
    InstrumentKey { publisher_id, instrument_id }
}

fn unread() -> Problem {
    Problem::unavailable("nothing of the instrument's stream was read yet; ask again")
}
