//! What every handler gets: the store, who is let in, and the parts that live.

use crate::access::Access;
use crate::live::Live;
use crate::store::Store;
use axum::extract::FromRef;
use bus::config::ControlplaneDocument;
use std::sync::Arc;

/// The state of the control plane. Cheap to copy.
#[derive(Clone)]
pub struct App {
    /// What it was started with.
    pub document: Arc<ControlplaneDocument>,
    /// Versions, audit, tokens, the wanted trading state.
    pub store: Store,
    /// Tokens and limits.
    pub access: Access,
    /// What lives: distribution, trading, status, events, orders, the market.
    pub live: Live,
}

impl FromRef<App> for Store {
    fn from_ref(app: &App) -> Store {
        app.store.clone()
    }
}
