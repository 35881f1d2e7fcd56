//! The terminal: taken, drawn on, and given back.

use super::draw::{Shown, draw};
use super::feed::Feed;
use super::picture::Picture;
use anyhow::{Context, Result};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for a key: how soon a signal ends it.
const TURN: Duration = Duration::from_millis(100);
/// Drawn at least this often, because ages grow.
const DRAW_EVERY: Duration = Duration::from_millis(500);

/// Gives the terminal back, on every way out; a panic's message comes after it (`ratatui::try_init` sees to that).
struct Taken;

impl Drop for Taken {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Shows the picture until a key or a signal ends it.
pub(super) fn run(feed: &Feed, stop: &AtomicBool) -> Result<()> {
    let taken = Taken;
    let mut terminal = ratatui::try_init().context("the terminal")?;
    let mut picture = Picture::new(feed.address());
    let mut shown = Shown::default();
    let mut drawn = None::<Instant>;
    while !stop.load(Ordering::Relaxed) {
        let mut new = !shown.held && feed.take_into(&mut picture);
        if event::poll(TURN).context("the keyboard")? {
            match event::read().context("the keyboard")? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    let control = key.modifiers.contains(KeyModifiers::CONTROL);
                    if control && key.code == KeyCode::Char('c') || !pressed(&mut shown, key.code) {
                        break;
                    }
                }
                _ => {}
            }
            new = true;
        }
        if new || drawn.is_none_or(|at| at.elapsed() > DRAW_EVERY) {
            terminal
                .draw(|frame| draw(frame, &picture, &mut shown, Instant::now()))
                .context("the terminal")?;
            drawn = Some(Instant::now());
        }
    }
    drop(taken);
    Ok(())
}

/// What a key does; false ends it.
fn pressed(shown: &mut Shown, key: KeyCode) -> bool {
    match key {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char(' ') => shown.held = !shown.held,
        KeyCode::Tab => shown.next(),
        KeyCode::Char(digit @ '1'..='4') => shown.choose(usize::from(digit as u8 - b'1')),
        KeyCode::Down | KeyCode::Char('j') => shown.scroll = shown.scroll.saturating_add(1),
        KeyCode::Up | KeyCode::Char('k') => shown.scroll = shown.scroll.saturating_sub(1),
        KeyCode::PageDown => shown.scroll = shown.scroll.saturating_add(10),
        KeyCode::PageUp => shown.scroll = shown.scroll.saturating_sub(10),
        KeyCode::Home => shown.scroll = 0,
        _ => {}
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_choose_scroll_hold_and_end() {
        let mut shown = Shown::default();
        assert!(!pressed(&mut shown, KeyCode::Char('q')) && !pressed(&mut shown, KeyCode::Esc));
        assert!(pressed(&mut shown, KeyCode::Down) && pressed(&mut shown, KeyCode::Char(' ')));
        assert_eq!((shown.scroll, shown.held), (1, true));
        pressed(&mut shown, KeyCode::Tab);
        assert_eq!(shown.scroll, 0);
        (0..3).for_each(|_| assert!(pressed(&mut shown, KeyCode::Up)));
        assert_eq!(shown.scroll, 0);
    }
}
