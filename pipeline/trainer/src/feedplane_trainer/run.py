"""One training from the document to the folder: read, validate, train, judge, write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from . import export, folder, metrics
from .archive import Archive, Progress, failures_named
from .dataset import Dataset, read
from .document import TrainDocument, without_password
from .errors import Refused
from .fit import fit
from .report import Shown, render
from .validation import Fold, final_part, walk_forward


@dataclass(frozen=True)
class Trained:
    """What a run gives."""

    # The bytes of the folder's files by name.
    files: dict[str, bytes]
    # As in metrics.json.
    figures: dict[str, Any]


def load(document: TrainDocument, progress: Progress) -> Dataset:
    """Reads the rows, and makes sure that there are enough.

    Raises:
        Refused: there are not, or the archive does not hold what is asked for.
        Unreachable: the database cannot be asked.
    """
    with failures_named():
        archive = Archive(document, progress)
        try:
            rows = read(document, archive, progress)
        finally:
            archive.close()
    if len(rows) < document.data.rows_min:
        raise Refused(
            f"{len(rows)} rows are left of {rows.records} records, fewer than data.rows_min ({document.data.rows_min}). "
            f"Left out: {told(rows.left_out)}. Choose a longer window or another instrument, or see to the reasons "
            "(docs/training.md has each; data.leave_out says which doubts count)"
        )
    if not rows.label_bps.any():
        raise Refused("the middle never moves over the horizon: there is nothing to learn; choose a longer label.horizon_ms")
    return rows


def told(left_out: dict[str, int]) -> str:
    """Reasons and counts in a line."""
    return ", ".join(f"{reason} {count}" for reason, count in left_out.items()) or "nothing"


def train(document: TrainDocument, text: bytes, rows: Dataset, progress: Progress) -> Trained:
    """Validates, trains and judges. `text` is the document as it was given.

    Raises:
        Refused: the rows do not allow it.
    """
    embargo_ns = document.embargo_ns()
    final = final_part(rows.time_ns, rows.until_ns, document.validation.final_fraction, embargo_ns)
    folds = _validate(document, rows, final, progress)
    progress(f"training on {len(final.train)} rows, {final.purged} purged")
    booster = fit(rows.features[final.train], rows.label_bps[final.train], rows.names, document.model)
    onnx = export.to_onnx(booster, document.name)
    features = rows.features[final.test]
    difference = export.assert_equal(onnx, booster, features)
    prediction = export.scores(onnx, features).astype(numpy.float64)
    judged = _judge(document, rows, final.test, prediction)
    progress(verdict(judged))
    importance = dict(zip(rows.names, booster.feature_importance("gain").tolist(), strict=True))
    figures = {
        "data": _data(document, rows, final),
        "walk_forward": folds,
        "final": judged,
        "calibration": metrics.calibration(rows.label_bps[final.test], prediction),
        "importance_gain": importance,
        "onnx_minus_booster_max_bps": difference,
    }
    text = without_password(text)
    card = folder.card(document, rows.schema, rows.names, onnx, figures["data"], _of_card(judged, folds))
    shown = Shown(
        document.name,
        document.version,
        document.label.horizon_ms,
        figures,
        _cumulative(rows, final.test, prediction),
        text,
    )
    files = {
        "model.onnx": onnx,
        "card.json": folder.as_json(card),
        "metrics.json": folder.as_json(figures),
        "check.csv": folder.check_rows(onnx, rows.names, features),
        "train.yaml": text,
        "report.html": render(shown),
    }
    return Trained(files, figures)


def _judge(
    document: TrainDocument, rows: Dataset, test: NDArray[numpy.int64], prediction: NDArray[numpy.float64]
) -> dict[str, Any]:
    last_move = rows.last_move_bps[test]
    return metrics.judge(rows.time_ns[test], rows.label_bps[test], prediction, last_move, document.horizon_ns())


def _validate(document: TrainDocument, rows: Dataset, final: Fold, progress: Progress) -> list[dict[str, Any]]:
    """Walk-forward over the rows before the final part."""
    own = final.train
    folds = list(walk_forward(rows.time_ns[own], rows.until_ns[own], document.validation.folds, document.embargo_ns()))
    found = []
    for number, fold in enumerate(folds, start=1):
        training, test = own[fold.train], own[fold.test]
        booster = fit(rows.features[training], rows.label_bps[training], rows.names, document.model)
        judged = _judge(document, rows, test, booster.predict(rows.features[test], num_threads=1))
        progress(f"fold {number} of {len(folds)}: {len(training)} rows, {fold.purged} purged; {verdict(judged)}")
        span = {"first_ns": int(rows.time_ns[test[0]]), "last_ns": int(rows.time_ns[test[-1]])}
        found.append(span | {"trained_rows": len(training), "purged_rows": fold.purged} | judged)
    return found


def verdict(judged: dict[str, Any]) -> str:
    """What the metrics say, in a sentence."""
    own, best = judged["model"], judged["best_baseline"]
    rival = judged["baseline"][best]
    return (
        f"{judged['verdict']} than the baseline {best}: mean squared error {own['mse_bps2']:.6g} against "
        f"{rival['mse_bps2']:.6g} bps², R² {own['r2']:.4f}, rank IC {own['ic_spearman']:.4f}, hit rate {own['hit_rate']:.4f}, "
        f"Diebold-Mariano {judged['diebold_mariano']:.2f} of {judged['intervals']} intervals"
    )


def _data(document: TrainDocument, rows: Dataset, final: Fold) -> dict[str, Any]:
    """What the model was trained on (first, last, rows), and what it was judged on."""
    return {
        "source": "archive",
        "first_ns": int(rows.time_ns[final.train[0]]),
        "last_ns": int(rows.until_ns[final.train].max()),
        "rows": len(final.train),
        "instruments": [f"{who.publisher_id}:{who.instrument_id}" for who in rows.instruments],
        "symbols": [who.symbol for who in rows.instruments],
        "window": [document.data.begin.isoformat(), document.data.end.isoformat()],
        "final_first_ns": int(rows.time_ns[final.test[0]]),
        "final_last_ns": int(rows.until_ns[final.test].max()),
        "final_rows": len(final.test),
        "purged_rows": final.purged,
        "records": rows.records,
        "left_out": rows.left_out,
    }


def _of_card(judged: dict[str, Any], folds: list[dict[str, Any]]) -> dict[str, Any]:
    """The final part's metrics flat, the baselines' beside them, and how the folds went."""
    return judged["model"] | {
        "verdict": judged["verdict"],
        "diebold_mariano": judged["diebold_mariano"],
        "baseline": judged["baseline"],
        "walk_forward_better": sum(fold["verdict"] == "better" for fold in folds),
        "walk_forward_folds": len(folds),
    }


def _cumulative(rows: Dataset, test: NDArray[numpy.int64], prediction: NDArray[numpy.float64]) -> dict[str, Any]:
    """Labels added up with the sign of the prediction, of rows whose labels do not overlap."""
    alone = metrics.one_at_a_time(rows.time_ns[test], rows.until_ns[test], rows.instrument[test])
    label = rows.label_bps[test][alone]
    naive = metrics.baselines(rows.last_move_bps[test][alone])["last_move"]
    moments = rows.time_ns[test][alone]
    return {
        "time": [datetime.fromtimestamp(moment / 1e9, UTC) for moment in moments.tolist()],
        "model": numpy.cumsum(numpy.sign(prediction[alone]) * label),
        "last_move": numpy.cumsum(numpy.sign(naive) * label),
    }


def to_folder(out: Path, trained: Trained, say: Callable[[str], None]) -> None:
    """Writes the folder."""
    folder.write(out, trained.files)
    say(f"{out}: {', '.join(f'{name} {len(content)} bytes' for name, content in trained.files.items())}")
