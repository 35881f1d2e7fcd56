//! The picture on a screen of any size: trading and age above, one part of the pipeline below, keys at the end.

use super::channels::{Channel, Line as FeedLine};
use super::picture::{Picture, count};
use crate::output::{at, cell};
use crate::status;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table};
use serde_json::Value;
use std::time::Instant;

/// What is shown large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Overview,
    Channels,
    Orders,
    Processes,
}

const PARTS: [(Part, &str); 4] = [
    (Part::Overview, "overview"),
    (Part::Channels, "channels"),
    (Part::Orders, "orders"),
    (Part::Processes, "processes"),
];

/// How it is shown.
#[derive(Debug, Default)]
pub(super) struct Shown {
    part: Part,
    /// Rows that are above the screen.
    pub(super) scroll: usize,
    /// Whether the picture is held.
    pub(super) held: bool,
}

impl Shown {
    pub(super) fn choose(&mut self, at: usize) {
        self.part = PARTS[at.min(PARTS.len() - 1)].0;
        self.scroll = 0;
    }

    pub(super) fn next(&mut self) {
        let now = PARTS.iter().position(|(part, _)| *part == self.part).unwrap_or(0);
        self.choose((now + 1) % PARTS.len());
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, picture: &Picture, shown: &mut Shown, now: Instant) {
    let [head, figures, body, keys] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(2),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, picture, shown, now);
    draw_figures(frame, figures, picture);
    match shown.part {
        Part::Overview => draw_overview(frame, body, picture, shown),
        Part::Channels => draw_channels(frame, body, picture, shown),
        Part::Orders => draw_orders(frame, body, picture, shown),
        Part::Processes => draw_processes(frame, body, picture, shown),
    }
    let names = PARTS.iter().enumerate().map(|(at, (part, name))| {
        let style = if *part == shown.part { Style::new().reversed() } else { Style::new() };
        Span::styled(format!(" {} {name} ", at + 1), style)
    });
    let mut line: Vec<Span<'_>> = names.collect();
    line.push("  ↑↓ scroll  Space hold  q end".dim());
    frame.render_widget(Line::from(line), keys);
}

fn mode_style(mode: &str) -> Style {
    let style = Style::new().fg(Color::Black).add_modifier(Modifier::BOLD);
    match mode {
        "ACTIVE" => style.bg(Color::Green),
        "REDUCING" => style.bg(Color::Yellow),
        _ => style.bg(Color::Red).fg(Color::White),
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, picture: &Picture, shown: &Shown, now: Instant) {
    let mode = picture.mode();
    let mut first = vec![Span::styled(format!(" {mode} "), mode_style(&mode)), " ".into()];
    first.push(status::trading(&picture.trading).into());
    let mut second = vec![Span::from(format!("feedplane top  {}", picture.address)).dim(), "  ".into()];
    let alarm = Style::new().fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD);
    match (&picture.lost, picture.stale(now)) {
        (Some(why), _) => second.push(Span::styled(format!(" STALE: {why} "), alarm)),
        (None, Some(age)) => second.push(Span::styled(format!(" STALE: {} s old ", age.as_secs()), alarm)),
        (None, None) => {}
    }
    if shown.held {
        second.push(" held (Space goes on) ".reversed());
    }
    frame.render_widget(Paragraph::new(vec![Line::from(first), Line::from(second)]), area);
}

fn draw_figures(frame: &mut Frame<'_>, area: Rect, picture: &Picture) {
    let figure = |group: &str, name: &str| picture.figure(group, name);
    let rates = format!(
        "ticks/s {}  features/s {}  instructions/s {}  reports/s {}  rows/s {}",
        figure("rates", "ticks_per_s"),
        figure("rates", "records_per_s"),
        figure("rates", "instructions_per_s"),
        figure("rates", "reports_per_s"),
        figure("rates", "rows_per_s"),
    );
    let (lost, gaps) = picture.losses();
    let mut second = vec![Span::from(format!(
        "lag ms  features {}  strategy {}  archiver {}   gaps {gaps}  lost {lost}   ",
        figure("lags_ms", "features"),
        figure("lags_ms", "strategy"),
        figure("lags_ms", "archiver"),
    ))];
    second.push(match picture.unconverged() {
        None => "versions ?".into(),
        Some(waiting) if waiting.is_empty() => Span::from("versions run everywhere").green(),
        Some(waiting) => Span::from(format!("NOT everywhere: {}", waiting.join(", "))).yellow(),
    });
    frame.render_widget(Paragraph::new(vec![Line::from(rates), Line::from(second)]), area);
}

fn draw_overview(frame: &mut Frame<'_>, area: Rect, picture: &Picture, shown: &mut Shown) {
    let processes = picture.status["services"].as_array().map_or(1, Vec::len);
    let rows = u16::try_from(processes).unwrap_or(u16::MAX).saturating_add(3).min(area.height / 3);
    let channels = u16::try_from(picture.channels.all.len()).unwrap_or(u16::MAX).saturating_add(4);
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Length(rows),
        Constraint::Length(channels.min(area.height / 3)),
        Constraint::Min(0),
    ])
    .areas(area);
    // Each part begins at its top here; scrolled is what is shown large.
    let mut still = Shown { part: shown.part, scroll: 0, held: shown.held };
    draw_processes(frame, top, picture, &mut still);
    draw_channels(frame, middle, picture, &mut still);
    draw_orders(frame, bottom, picture, shown);
}

/// A table that scrolls, with what it is called above it.
fn draw_table(
    frame: &mut Frame<'_>,
    area: Rect,
    title: String,
    head: &[&str],
    widths: Vec<Constraint>,
    rows: Vec<Row<'_>>,
    scroll: &mut usize,
) {
    // The last row stays on the screen.
    *scroll = (*scroll).min(rows.len().saturating_sub(1));
    let more = rows.len().saturating_sub(usize::from(area.height.saturating_sub(2)) + *scroll);
    let title = if more > 0 { format!("{title} (↓ {more} more)") } else { title };
    let head = Row::new(head.iter().map(|name| Cell::from(*name))).style(Style::new().bold().dim());
    let table = Table::new(rows.into_iter().skip(*scroll), widths)
        .header(head)
        .column_spacing(1)
        .block(Block::new().title(Line::from(title).bold().alignment(Alignment::Left)));
    frame.render_widget(table, area);
}

fn draw_processes(frame: &mut Frame<'_>, area: Rect, picture: &Picture, shown: &mut Shown) {
    let rows = picture.status["services"].as_array().into_iter().flatten().map(|service| {
        let state = cell(&service["state"]);
        let good = state == "running" && service["ready"] != false;
        let style = if good { Style::new() } else { Style::new().fg(Color::Yellow).bold() };
        let age = service["age_ms"].as_f64().map_or("-".to_owned(), |ms| format!("{:.1} s", ms / 1e3));
        let version = match (&service["version"], &service["wanted"]) {
            (runs, wanted) if wanted.is_null() || runs == wanted => cell(runs),
            (runs, wanted) => format!("{} not {}", cell(runs), cell(wanted)),
        };
        Row::new([
            cell(&service["service"]),
            cell(&service["member"]),
            state,
            version,
            cell(&service["ready"]),
            age,
            cell(&service["reason"]),
        ])
        .style(style)
    });
    let widths = [12, 22, 15, 10, 6, 7].map(Constraint::Length).into_iter().chain([Constraint::Min(8)]);
    let head = ["service", "member", "state", "version", "ready", "age", "reason"];
    draw_table(frame, area, "Processes".into(), &head, widths.collect(), rows.collect(), &mut shown.scroll);
}

fn draw_channels(frame: &mut Frame<'_>, area: Rect, picture: &Picture, shown: &mut Shown) {
    let line = |line: &FeedLine| {
        [
            count(line.packets_per_s),
            count(line.duplicates as f64),
            count(line.missing as f64),
            count(line.malformed as f64),
            format!("{:.1}", line.lead_p50_ns as f64 / 1e3),
        ]
    };
    let row = |channel: &Channel| {
        let silent = channel.a.packets_per_s == 0.0 || channel.b.packets_per_s == 0.0;
        let style = if silent { Style::new().fg(Color::Yellow) } else { Style::new() };
        let won = channel.won_by_a().map_or("-".to_owned(), |a| format!("{a}/{}", 100 - a));
        let mut cells =
            vec![channel.name.clone(), won, count(channel.gaps as f64), count(channel.lost as f64)];
        cells.extend(line(&channel.a));
        cells.extend(line(&channel.b));
        Row::new(cells).style(style)
    };
    let rows = picture.channels.all.iter().map(row).collect();
    let head = [
        "channel", "A/B %", "gaps", "lost", "A p/s", "dup", "miss", "bad", "lead µs", "B p/s", "dup", "miss",
        "bad", "lead µs",
    ];
    let widths = [18, 7, 6, 6, 8, 7, 6, 5, 7, 8, 7, 6, 5, 7].map(Constraint::Length).to_vec();
    draw_table(frame, area, "Lines A and B".into(), &head, widths, rows, &mut shown.scroll);
}

fn draw_orders(frame: &mut Frame<'_>, area: Rect, picture: &Picture, shown: &mut Shown) {
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(area);
    let orders = items(&picture.orders);
    let fields = ["strategy", "symbol", "side", "quantity", "filled", "price", "state"];
    let rows = orders.iter().map(|order| Row::new(fields.map(|field| cell(at(order, field))))).collect();
    let widths = [14, 10, 5, 9, 9, 12, 10].map(Constraint::Length).to_vec();
    let head = ["strategy", "symbol", "side", "quantity", "filled", "price", "state"];
    draw_table(frame, left, format!("Open orders: {}", orders.len()), &head, widths, rows, &mut shown.scroll);
    let [above, below] =
        Layout::vertical([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(right);
    let positions = items(&picture.positions);
    let rows = positions
        .iter()
        .map(|held| Row::new(["strategy", "symbol", "position"].map(|field| cell(at(held, field)))))
        .collect();
    let widths = [14, 10, 12].map(Constraint::Length).to_vec();
    let head = ["strategy", "symbol", "position"];
    draw_table(frame, above, "Positions".into(), &head, widths, rows, &mut 0);
    let rows = denials(&picture.denials).into_iter().map(Row::new).collect();
    let widths = vec![Constraint::Min(12), Constraint::Length(10)];
    draw_table(frame, below, "Denials by reason".into(), &["reason", "count"], widths, rows, &mut 0);
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

/// Reasons and counts, the most frequent first.
fn denials(denials: &Value) -> Vec<[String; 2]> {
    let reasons = denials["reasons"].as_array().into_iter().flatten();
    let mut counted: Vec<(String, u64)> =
        reasons.map(|entry| (cell(&entry["reason"]), entry["count"].as_u64().unwrap_or(0))).collect();
    counted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counted.into_iter().map(|(reason, number)| [reason, count(number as f64)]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::picture::{STALE, Update};
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    fn picture() -> Picture {
        let mut picture = Picture::new("http://127.0.0.1:8400");
        let line = json!({"packets": 5, "won": 9, "duplicates": 2, "lead_ns": {"p50": 1500}});
        picture.take(Update::Status(json!({
            "trading": {"mode": "halted", "by": "ann", "reason": "fat finger", "since_ns": 1},
            "rates": {"ticks_per_s": 26_000.0},
            "services": [{"service": "strategy", "member": "h-1", "state": "refused", "version": 2, "wanted": 3,
                          "ready": true, "age_ms": 100, "reason": "rules are empty"}],
            "dataplane": {"status": {"workers": [{"channels": [
                {"name": "totalview", "a": line, "b": line, "gaps": 3, "lost": 12}]}]}},
        })));
        picture.take(Update::Orders(json!({"items": [{"strategy": "quoter", "symbol": "S7", "side": "buy",
            "quantity": 100, "filled": 60, "price": "10.01", "state": "open"}]})));
        picture.take(Update::Positions(
            json!({"items": [{"strategy": "momentum", "symbol": "S3", "position": -300}]}),
        ));
        picture.take(Update::Denials(
            json!({"reasons": [{"reason": "order_quantity", "count": 4}, {"reason": "halted", "count": 9}]}),
        ));
        picture.take(Update::Config(
            json!({"items": [{"service": "strategy", "convergence": {"converged": false}}]}),
        ));
        picture
    }

    fn screen(width: u16, height: u16, part: usize, now: Instant) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut shown = Shown { scroll: 1_000, ..Shown::default() };
        shown.choose(part);
        terminal.draw(|frame| draw(frame, &picture(), &mut shown, now)).unwrap();
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(usize::from(width.max(1)));
        rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
    }

    #[test]
    fn everything_is_on_one_screen() {
        let text = screen(160, 50, 0, Instant::now());
        for expected in [
            "HALTED",
            "fat finger",
            "26.0 k",
            "totalview",
            "50/50",
            "quoter",
            "momentum",
            "-300",
            "2 not 3",
            "rules are empty",
            "NOT everywhere: strategy",
            "q end",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
        let (halted, quantity) = (text.find("halted   ").unwrap(), text.find("order_quantity").unwrap());
        assert!(halted < quantity, "the most frequent denial is first:\n{text}");
        assert!(!text.contains("STALE"), "{text}");
    }

    #[test]
    fn what_is_old_says_so() {
        let text = screen(120, 30, 0, Instant::now() + STALE * 2);
        assert!(text.contains("STALE"), "{text}");
    }

    #[test]
    fn any_size_is_drawn() {
        for part in 0..4 {
            for (width, height) in [(1, 1), (3, 2), (20, 5), (80, 24), (400, 200)] {
                screen(width, height, part, Instant::now());
            }
        }
        assert!(screen(20, 5, 0, Instant::now()).contains("HALTED"));
    }

    #[test]
    fn lists_of_any_shape_are_no_panic() {
        for odd in
            [json!(null), json!({"items": 5}), json!({"items": [5, null, []]}), json!({"reasons": [5, {}]})]
        {
            assert!(denials(&odd).len() <= 2 && items(&odd).len() <= 3);
        }
    }
}
