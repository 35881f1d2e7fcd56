"""report.html: one file with its plots inside, for whoever decides whether a model is used."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from .metrics import SURE

MODEL, BASELINE, NEUTRAL = "#1f5fa8", "#c06a1a", "#777777"
# Points of a line that a screen can show.
POINTS_MAX = 1_000
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1040px; margin: 2em auto; padding: 0 1em; color: #1b1b1b; }
h1 { font-size: 1.6em; margin-bottom: 0; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .8em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.verdict { padding: .7em 1em; margin: 1em 0; border-left: 5px solid; background: #f6f6f6; }
.better { border-color: #2c7a3f; } .doubtful { border-color: #b3261e; }
.plots { display: grid; margin-top: 1.5em; grid-template-columns: repeat(auto-fit, minmax(470px, 1fr)); gap: 1em; }
svg { max-width: 100%; height: auto; }
pre { background: #f6f6f6; padding: 1em; overflow-x: auto; } .note { color: #555; }
"""


@dataclass(frozen=True)
class Shown:
    """What the report shows."""

    name: str
    version: int
    horizon_ms: int
    # As in metrics.json.
    figures: dict[str, Any]
    # Times and added-up labels (bps) of rows that do not overlap.
    cumulative: dict[str, Any]
    # train.yaml as it was used.
    document: bytes


def render(shown: Shown) -> bytes:
    """The page."""
    figures = shown.figures
    final, data = figures["final"], figures["data"]
    plots = [
        _plot(_walk_forward, "Rank IC of each walk-forward fold", figures["walk_forward"]),
        _plot(_importance, "Importance: gain of the splits on each feature", figures["importance_gain"]),
        _plot(_calibration, "Calibration: tenths of the predictions", figures["calibration"]),
        _plot(_cumulative, "Labels added up with the sign of the prediction", shown.cumulative),
    ]
    tone = "better" if final["verdict"] == "better" else "doubtful"
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        f"<title>{escape(shown.name)} {shown.version}</title><style>{STYLE}</style>",
        f"<h1>{escape(shown.name)}, version {shown.version}</h1>",
        f"<p class='note'>Expected change of the middle over {shown.horizon_ms} ms, bps. "
        f"{escape(', '.join(data['symbols']))}; trained on {_day(data['first_ns'])} to {_day(data['last_ns'])} (UTC), judged on "
        f"{_day(data['final_first_ns'])} to {_day(data['final_last_ns'])}, which it never saw.</p>",
        f"<p class='verdict {tone}'><b>The model is {escape(final['verdict'])} than the naive baseline "
        f"<code>{final['best_baseline']}</code></b> on the time after its training. Diebold-Mariano statistic "
        f"{_number(final['diebold_mariano'])} of {final['intervals']} intervals of one horizon; {SURE} or more would be needed. "
        "Costs of trading are in none of these figures: a backtest has them.</p>",
        "<h2>After the training's time</h2>",
        _metrics_table({"model": final["model"]} | final["baseline"]),
        f"<div class='plots'>{''.join(plots)}</div>",
        "<p class='note'>The sum takes a new row only when the label before has ended, of each instrument. It is no profit: "
        "nothing is paid for trading, and the middle is no price that one gets.</p>",
        "<h2>Walk-forward, purged</h2>",
        _folds_table(figures["walk_forward"]),
        "<h2>Rows</h2>",
        _rows_table(data),
        "<h2>train.yaml</h2>",
        f"<pre>{escape(shown.document.decode(errors='replace'))}</pre></html>",
    ]
    return "\n".join(parts).encode()


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["<table><tr>", *(f"<th>{escape(cell)}</th>" for cell in head), "</tr>"]
    for row in rows:
        lines += ["<tr>", *(f"<td>{escape(cell)}</td>" for cell in row), "</tr>"]
    return "".join([*lines, "</table>"])


def _metrics_table(by_name: dict[str, dict[str, Any]]) -> str:
    columns = ["mse_bps2", "r2", "ic_pearson", "ic_spearman", "hit_rate", "hit_rows", "rows"]
    rows = [[name, *(_number(values[column]) for column in columns)] for name, values in by_name.items()]
    return _table(["", "MSE, bps²", "R²", "IC", "rank IC", "hit rate", "of rows", "rows"], rows)


def _folds_table(folds: list[dict[str, Any]]) -> str:
    rows = []
    for number, fold in enumerate(folds, start=1):
        best = fold["best_baseline"]
        rows.append(
            [
                str(number),
                _day(fold["first_ns"]),
                f"{fold['trained_rows']:,}",
                f"{fold['purged_rows']:,}",
                _number(fold["model"]["mse_bps2"]),
                f"{_number(fold['baseline'][best]['mse_bps2'])} ({best})",
                _number(fold["model"]["r2"]),
                _number(fold["model"]["ic_spearman"]),
                _number(fold["model"]["hit_rate"]),
                fold["verdict"],
            ]
        )
    head = ["fold", "from", "trained on", "purged", "MSE", "best baseline's", "R²", "rank IC", "hit rate", "than it"]
    return _table(head, rows)


def _rows_table(data: dict[str, Any]) -> str:
    rows = [["records read", f"{data['records']:,}"]]
    rows += [[f"left out: {reason}", f"{count:,}"] for reason, count in data["left_out"].items()]
    rows += [
        ["trained on", f"{data['rows']:,}"],
        ["purged before the final part", f"{data['purged_rows']:,}"],
        ["judged on", f"{data['final_rows']:,}"],
    ]
    return _table(["", "rows"], rows)


def _day(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _number(value: float | int) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return "–" if value != value else f"{value:.4g}"


def _plot(draw: Any, title: str, values: Any) -> str:
    """A plot as SVG, without a date and with ids that depend on nothing but its content."""
    with pyplot.rc_context({"svg.hashsalt": title, "svg.fonttype": "none", "font.size": 10}):
        figure, axes = pyplot.subplots(figsize=(6.4, 3.9), layout="constrained")
        draw(axes, values)
        axes.set_title(title, fontsize=11, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    return text.getvalue()[text.getvalue().index("<svg") :]


def _walk_forward(axes: Axes, folds: list[dict[str, Any]]) -> None:
    numbers = range(1, len(folds) + 1)
    own = [fold["model"]["ic_spearman"] for fold in folds]
    naive = [fold["baseline"]["last_move"]["ic_spearman"] for fold in folds]
    axes.bar([number - 0.2 for number in numbers], own, 0.38, color=MODEL, label="model")
    axes.bar([number + 0.2 for number in numbers], naive, 0.38, color=BASELINE, label="last move")
    axes.axhline(0, color=NEUTRAL, linewidth=0.8)
    axes.set_xticks(list(numbers))
    axes.set_xlabel("fold, in order of time")
    # Above the highest bar.
    axes.margins(y=0.25)
    axes.legend(frameon=False, ncols=2, loc="upper center")


def _importance(axes: Axes, gains: dict[str, float]) -> None:
    top = sorted(gains.items(), key=lambda item: item[1])[-20:]
    total = sum(gains.values()) or 1.0
    axes.barh([name for name, _ in top], [100 * gain / total for _, gain in top], color=MODEL)
    axes.set_xlabel("% of all gain")


def _calibration(axes: Axes, parts: list[dict[str, float]]) -> None:
    told = [part["prediction_bps"] for part in parts]
    came = [part["label_bps"] for part in parts]
    errors = [1.96 * part["standard_error_bps"] for part in parts]
    axes.errorbar(told, came, yerr=errors, fmt="o-", color=MODEL, capsize=2, label="mean, ±1.96 standard errors of rows")
    axes.plot(told, told, "--", color=NEUTRAL, linewidth=1, label="as predicted")
    axes.set_xlabel("predicted, bps")
    axes.set_ylabel("came, bps")
    axes.legend(frameon=False)


def _cumulative(axes: Axes, sums: dict[str, Any]) -> None:
    step = max(1, len(sums["time"]) // POINTS_MAX)
    time = sums["time"][::step]
    axes.plot(time, sums["model"][::step], color=MODEL, label="model")
    axes.plot(time, sums["last_move"][::step], color=BASELINE, label="last move")
    axes.axhline(0, color=NEUTRAL, linewidth=0.8)
    axes.tick_params(axis="x", rotation=25)
    axes.set_ylabel("bps")
    axes.legend(frameon=False)
