"""The figures of a chain once more, from the archive's rows and the model's file alone: `chain_figures.py DATABASE DIR`.

Nothing of the trainer or of the services is imported. Rows are read in the order of the stream, labels are looked up by
bisection, and every score is ONNX Runtime's own. One line of JSON.
"""

import bisect
import json
import sys
from pathlib import Path

import numpy
import onnxruntime
import psycopg

BAD_BOOK, BAD_TIME = 1, 8
# From a tick until its record of features is at the strategy, ns (backtest.yaml).
FEATURE_LATENCY_NS = 50_000

database, folder = sys.argv[1], Path(sys.argv[2])
card = json.loads((folder / "model/card.json").read_text())
metrics = json.loads((folder / "model/metrics.json").read_text())
asked = card["input"]["features"]
horizon_ns = card["output"]["horizon_ms"] * 1_000_000

with psycopg.connect(database) as connection:
    names = connection.execute(
        "SELECT names FROM feedplane.feature_schemas WHERE id_hex = %s", [card["input"]["schema_id"]]
    ).fetchone()[0]
    records = connection.execute(
        "SELECT number, time_ns, quality, values FROM feedplane.features ORDER BY stream, row"
    ).fetchall()
    last_tick_ns = connection.execute("SELECT max(ts_recv) FROM feedplane.ticks").fetchone()[0]

number, time_ns, quality = ([record[column] for record in records] for column in range(3))
known_ns = numpy.maximum.accumulate(numpy.array(time_ns, dtype=numpy.int64)).tolist()
values = numpy.array([record[3] for record in records], dtype=numpy.float64)
mid = values[:, names.index("mid")]
features = values[:, [names.index(name) for name in asked]].astype(numpy.float32)
complete = ~numpy.isnan(features).any(axis=1)
session = onnxruntime.InferenceSession(folder / "model/model.onnx")


def score(rows: numpy.ndarray) -> numpy.ndarray:
    """ONNX Runtime's scores of these rows. Their last bits depend on how many there are, because trees are added up in parts."""
    return session.run([card["output"]["name"]], {card["input"]["name"]: features[rows]})[0].ravel().astype(numpy.float64)


scores = numpy.full(len(records), numpy.nan)
scores[complete] = score(numpy.flatnonzero(complete))


def compare_scores() -> dict:
    """What the backtest's strategy said of each record, beside ONNX Runtime."""
    said = [json.loads(line) for line in (folder / "backtest/scores.jsonl").read_text().splitlines()]
    # The last records are still on their way when the recording ends.
    due = [at for at in range(len(records)) if complete[at] and known_ns[at] + FEATURE_LATENCY_NS < last_tick_ns]
    same_records = [(int(one["k"]), int(one["t"])) for one in said] == [(number[at], time_ns[at]) for at in due]
    difference = max(abs(float(one["score"]) - scores[at]) for one, at in zip(said, due))
    return {"scores": len(said), "same_records": same_records, "difference_max": float(difference)}


def ranks(of: numpy.ndarray) -> numpy.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    ordered = sorted(of.tolist())
    return numpy.array([(bisect.bisect_left(ordered, one) + bisect.bisect_right(ordered, one) + 1) / 2 for one in of.tolist()])


def label_at(at: int) -> float | None:
    """The move of the middle over the horizon, bps, or nothing where the row is left out."""
    doubtful = BAD_BOOK | BAD_TIME
    until = known_ns[at] + horizon_ns
    if quality[at] != 0 or not complete[at] or not mid[at] > 0 or until > known_ns[-1]:
        return None
    end = bisect.bisect_right(known_ns, until) - 1
    if not mid[end] > 0 or quality[end] & doubtful:
        return None
    return 10_000 * (mid[end] / mid[at] - 1)


def last_move_at(at: int) -> float:
    """The move of the middle over the horizon before, bps; 0 where there was none."""
    since = bisect.bisect_right(known_ns, known_ns[at] - horizon_ns) - 1
    if since < 0 or not mid[since] > 0 or quality[since] & (BAD_BOOK | BAD_TIME):
        return 0.0
    return 10_000 * (mid[at] / mid[since] - 1)


def out_of_time() -> dict:
    """The metrics of the part that was set aside."""
    first = metrics["data"]["final_first_ns"]
    rows = [at for at in range(len(records)) if known_ns[at] >= first and label_at(at) is not None]
    label, said = numpy.array([label_at(at) for at in rows]), score(numpy.array(rows))
    last_move = numpy.array([last_move_at(at) for at in rows])
    signs = label * said
    correlation = numpy.corrcoef(ranks(label), ranks(said))[0, 1]
    return {
        "rows": len(rows),
        "zero_mse_bps2": float(numpy.mean(label**2)),
        "last_move_mse_bps2": float(numpy.mean((label - last_move) ** 2)),
        "mse_bps2": float(numpy.mean((label - said) ** 2)),
        "r2": float(1 - numpy.sum((label - said) ** 2) / numpy.sum(label**2)),
        "ic_spearman": float(correlation),
        "hit_rate": float((signs > 0).sum() / (signs != 0).sum()),
    }


print(json.dumps({"records": len(records), "backtest": compare_scores(), "final": out_of_time()}))
