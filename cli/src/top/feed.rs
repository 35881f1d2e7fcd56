//! Where the picture comes from: the stream of events, and the lists that are in none of them, asked for every two seconds.

use super::picture::{Picture, Update};
use crate::client::{Client, Found};
use anyhow::{Context, Result};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

const TOPICS: &str = "status,trading,config";
/// Longest silence of the stream: a comment comes every second.
const SILENCE: Duration = Duration::from_secs(5);
/// Before a lost stream is asked for again: no more than a wrong token may be tried.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Between two looks at the lists.
const LISTS_EVERY: Duration = Duration::from_secs(2);
/// Items that a list is asked for: more than a screen has lines.
const ITEMS: &str = "200";
/// Updates that wait to be drawn.
const WAITING: usize = 64;

/// The threads' other end. They end with the process, and hold nothing that must be given back.
pub(super) struct Feed {
    updates: Receiver<Update>,
    address: String,
}

impl Feed {
    /// Begins to listen.
    ///
    /// # Errors
    /// The control plane is not reached, or does not let us.
    pub(super) fn start(found: Found) -> Result<Feed> {
        let client = Client::answered_within(&found, SILENCE)?;
        let address = client.address().to_owned();
        // The first time is tried here, so that a wrong address is an error and no picture of nothing.
        let mut first = Some(client.events(TOPICS)?);
        let (tell, updates) = sync_channel(WAITING);
        let told = tell.clone();
        let listen = move || {
            loop {
                let events = match first.take() {
                    Some(events) => Ok(events),
                    None => client.events(TOPICS),
                };
                let ended = events.and_then(|mut events| {
                    loop {
                        let update = match events.next()? {
                            Some(event) => Update::of_event(event),
                            None => Some(Update::Alive),
                        };
                        if update.is_some_and(|update| told.send(update).is_err()) {
                            return Ok(());
                        }
                    }
                });
                let Err(failure) = ended else { return };
                if told.send(Update::Lost(failure.to_string())).is_err() {
                    return;
                }
                std::thread::sleep(AGAIN_AFTER);
            }
        };
        std::thread::Builder::new().name("events".into()).spawn(listen).context("a thread for the events")?;
        std::thread::Builder::new()
            .name("lists".into())
            .spawn(move || while lists(&found, &tell) {})
            .context("a thread for the lists")?;
        Ok(Feed { updates, address })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Brings what has come into the picture; whether something has.
    pub(super) fn take_into(&self, picture: &mut Picture) -> bool {
        let mut new = false;
        while let Ok(update) = self.updates.try_recv() {
            picture.take(update);
            new = true;
        }
        new
    }
}

/// Asks for the lists once; whether somebody still wants them.
fn lists(found: &Found, tell: &SyncSender<Update>) -> bool {
    let Ok(client) = Client::answered_within(found, SILENCE) else { return false };
    let open = [("state", "open"), ("limit", ITEMS)];
    let many = [("limit", ITEMS)];
    type List<'a> = (&'a str, &'a [(&'a str, &'a str)], fn(serde_json::Value) -> Update);
    let wanted: [List<'_>; 4] = [
        ("/v1/orders", &open, Update::Orders),
        ("/v1/positions", &many, Update::Positions),
        ("/v1/denials", &[], Update::Denials),
        ("/v1/config", &[], Update::Config),
    ];
    loop {
        for (path, query, kind) in &wanted {
            // The stream says when the control plane is gone; a list that is missing is shown as that.
            if let Ok(answer) = client.get(path, query)
                && tell.send(kind(answer.body)).is_err()
            {
                return false;
            }
        }
        std::thread::sleep(LISTS_EVERY);
    }
}
