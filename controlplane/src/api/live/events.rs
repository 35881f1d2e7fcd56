//! `/v1/events`: server-sent events.

use crate::access::Caller;
use crate::api::{Problem, Query};
use crate::app::App;
use crate::live::market::WatchError;
use crate::live::{InstrumentKey, Topic, Topics};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

/// Instruments of one client.
const INSTRUMENTS_MAX: usize = 4;

/// What a client wants to hear.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Topics, with commas between: `status`, `trading`, `config`, `orders`, `audit`, `book`, `tape`, `features`. All when
    /// it is left out.
    #[param(example = "status,trading")]
    pub topics: Option<String>,
    /// Instruments as `publisher:instrument`, with commas between, four at most: whose `book`, `tape` and `features` are
    /// wanted.
    #[param(example = "1:5")]
    pub instrument: Option<String>,
}

impl EventsQuery {
    fn topics(&self) -> Result<Topics, Problem> {
        let Some(text) = &self.topics else { return Ok(Topics::ALL) };
        text.split(',').try_fold(Topics::NONE, |topics, word| {
            let topic: Topic = word
                .trim()
                .parse()
                .map_err(|error| Problem::bad_request(format!("topics: {word:?} is none; {error}")))?;
            Ok(topics.with(topic))
        })
    }

    fn instruments(&self) -> Result<Vec<InstrumentKey>, Problem> {
        let Some(text) = &self.instrument else { return Ok(Vec::new()) };
        let mut keys = text
            .split(',')
            .map(|key| {
                key.trim().parse().map_err(|error| Problem::bad_request(format!("instrument: {error}")))
            })
            .collect::<Result<Vec<InstrumentKey>, _>>()?;
        keys.sort_unstable();
        keys.dedup();
        if keys.len() > INSTRUMENTS_MAX {
            return Err(Problem::bad_request(format!("instrument: {INSTRUMENTS_MAX} at most")));
        }
        Ok(keys)
    }
}

/// Events, as they come. Each event's `data` is one JSON object with `time_ns`; the event's name is its topic, or `lagging`
/// when the client was too slow and missed some. A client that takes nothing for ten seconds is dropped.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "listen", tag = "status", params(EventsQuery),
    extensions(("x-feedplane-role" = json!("viewer"))),
    responses((status = 200, description = "The events", body = String, content_type = "text/event-stream"),
              (status = 503, description = "There is no place for another client or instrument", body = Problem))
)]
pub(super) async fn listen(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<EventsQuery>,
) -> Result<Response, Problem> {
    let (topics, keys) = (query.topics()?, query.instruments()?);
    let watch = |key| app.live.market().watch(key).map(crate::live::market::Watch::source);
    let sources = keys.into_iter().map(watch).collect::<Result<Vec<_>, WatchError>>()?;
    let access = app.access.clone();
    let is_allowed = move || {
        let (access, caller) = (access.clone(), caller.clone());
        async move { access.is_still_good(&caller).await }
    };
    let frames = app
        .live
        .hub()
        .listen(topics, sources, is_allowed)
        .map_err(|error| Problem::unavailable(error.to_string()))?;
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        // Proxies that gather answers would hold events back.
        (axum::http::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}

impl From<WatchError> for Problem {
    fn from(error: WatchError) -> Problem {
        Problem::unavailable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(topics: Option<&str>, instrument: Option<&str>) -> EventsQuery {
        EventsQuery { topics: topics.map(str::to_owned), instrument: instrument.map(str::to_owned) }
    }

    #[test]
    fn topics_and_instruments_are_read_and_what_is_none_is_named() {
        assert_eq!(query(None, None).topics().unwrap(), Topics::ALL);
        let topics = query(Some("status, book"), None).topics().unwrap();
        assert!(
            topics.contains(Topic::Status) && topics.contains(Topic::Book) && !topics.contains(Topic::Audit)
        );
        assert!(query(Some("status,weather"), None).topics().unwrap_err().detail.contains("weather"));
        assert!(query(Some(""), None).topics().is_err());
        let keys = query(None, Some("1:5,1:5,2:7")).instruments().unwrap();
        assert_eq!(keys.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1:5", "2:7"]);
        for refused in ["", "5", "1:", "1:5;2:7", "-1:5", "70000:1", "1:1,1:2,1:3,1:4,1:5", "+1:2"] {
            assert_eq!(query(None, Some(refused)).instruments().unwrap_err().status, 400, "{refused}");
        }
    }
}
