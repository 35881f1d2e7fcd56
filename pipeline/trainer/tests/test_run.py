from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
from conftest import QUOTES, SECOND, Filler, as_yaml, market

from feedplane_trainer import cli, export, run
from feedplane_trainer.document import TrainDocument, parse

FILES = {"model.onnx", "card.json", "metrics.json", "check.csv", "train.yaml", "report.html"}
ROWS = 12_000


def quiet(_: str) -> None:
    pass


def fill(archive: Filler, values: Any, time_ns: Any) -> None:
    archive.instrument(42, "X")
    archive.features(archive.schema("quotes", QUOTES), 42, time_ns, values)
    archive.commit()


def write(folder: Path, archive: Filler, **changed: Any) -> Path:
    path = folder / "train.yaml"
    path.write_bytes(as_yaml(archive.address, **changed))
    return path


def trained(document: TrainDocument) -> dict[str, Any]:
    return run.train(document, b"", run.load(document, quiet), quiet).figures


def train(config: Path, out: Path, *more: str) -> int:
    return cli.main(["train", "--config", str(config), "--out", str(out), *more])


def test_a_market_that_can_be_predicted_is_and_the_folder_says_how_well(
    archive: Filler, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    time_ns, values = market(ROWS, 1, strength=0.8)
    fill(archive, values, time_ns)
    config = write(tmp_path, archive)
    assert train(config, tmp_path / "model", "--require-better") == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["verdict"] == "better"
    assert "X quotes: 12000 of 12000 records" in told.err
    folder = tmp_path / "model"
    assert {file.name for file in folder.iterdir()} == FILES
    card = json.loads((folder / "card.json").read_bytes())
    figures = json.loads((folder / "metrics.json").read_bytes())
    model = (folder / "model.onnx").read_bytes()

    assert card["onnx_sha256"] == hashlib.sha256(model).hexdigest()
    assert (card["name"], card["version"], card["trained"]["seed"]) == ("test", 1, 1)
    schema_id = archive.connection.execute("SELECT id_hex FROM feature_schemas").fetchone()
    assert schema_id is not None
    assert card["input"] == {
        "name": "features",
        "set": "quotes",
        "schema_id": schema_id[0],
        "features": ["spread", "imbalance_1"],
        "missing": "skip",
    }
    assert card["output"] == {"name": "score", "unit": "bps", "horizon_ms": 1000}
    data = card["trained"]["data"]
    assert (data["source"], data["instruments"], data["symbols"]) == ("archive", ["2:42"], ["X"])
    assert data["last_ns"] + SECOND <= data["final_first_ns"], "the embargo"
    assert data["records"] == ROWS == data["rows"] + data["final_rows"] + data["purged_rows"] + sum(data["left_out"].values())
    assert (folder / "train.yaml").read_bytes() == config.read_bytes()

    # The figures of the final part, once more from the records and the file alone.
    first = int(numpy.searchsorted(time_ns, data["final_first_ns"]))
    mid = values[:, 1]
    label = 10_000 * (mid[first + 5 :] / mid[first:-5] - 1)
    told_bps = export.scores(model, values[first:-5, [0, 2]].astype(numpy.float32)).astype(float)
    own = figures["final"]["model"]
    assert own["rows"] == len(label)
    assert own["mse_bps2"] == pytest.approx(float(((label - told_bps) ** 2).mean()), rel=1e-9)
    assert own["r2"] == pytest.approx(1 - float(((label - told_bps) ** 2).sum() / (label**2).sum()), rel=1e-9)
    assert own["ic_pearson"] == pytest.approx(float(numpy.corrcoef(label, told_bps)[0, 1]), rel=1e-9)
    zero = figures["final"]["baseline"]["zero"]
    assert zero["mse_bps2"] == pytest.approx(float((label**2).mean()), rel=1e-9)
    last_move = 10_000 * (mid[first:-5] / mid[first - 5 : -10] - 1)
    other = figures["final"]["baseline"]["last_move"]
    assert other["mse_bps2"] == pytest.approx(float(((label - last_move) ** 2).mean()), rel=1e-9)
    assert card["trained"]["metrics"]["mse_bps2"] == own["mse_bps2"]
    assert len(figures["walk_forward"]) == 5
    assert all(fold["purged_rows"] >= 5 for fold in figures["walk_forward"])

    with (folder / "check.csv").open() as file:
        head, *kept = csv.reader(file)
    assert head == ["spread", "imbalance_1", "score"]
    asked = numpy.array(kept, dtype=numpy.float32)
    assert export.scores(model, asked[:, :-1]).tolist() == asked[:, -1].tolist()

    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 4
    assert "The model is better than the naive baseline" in page
    assert not [part for part in ("src=", "<script", "<link", "@import") if part in page], "nothing is fetched"
    assert "nan" not in page.replace("Finance", "")


def test_the_same_data_and_seed_give_the_same_bytes_of_every_file(archive: Filler, tmp_path: Path) -> None:
    time_ns, values = market(6_000, 2, strength=0.8)
    fill(archive, values, time_ns)
    model = {"trees": 20, "leaves": 7, "row_fraction": 0.7, "feature_fraction": 0.6}
    config = write(tmp_path, archive, model=model)
    once = tmp_path / "once"
    assert train(config, once) == 0
    # Another process, another hash seed.
    command = [sys.executable, "-m", "feedplane_trainer", "train", "--config", config, "--out", tmp_path / "again"]
    source = str(Path(run.__file__).parents[1])
    subprocess.run(command, check=True, env={"PYTHONPATH": source, "PYTHONHASHSEED": "7"}, capture_output=True)
    for name in FILES:
        assert (once / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    other = write(tmp_path, archive, model=model | {"seed": 2})
    assert train(other, tmp_path / "other") == 0
    assert (once / "model.onnx").read_bytes() != (tmp_path / "other" / "model.onnx").read_bytes()


def test_a_market_of_noise_is_not_predicted_and_the_run_says_so(
    archive: Filler, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    time_ns, values = market(ROWS, 3, strength=0)
    fill(archive, values, time_ns)
    assert train(write(tmp_path, archive), tmp_path / "model", "--require-better") == 5
    told = capsys.readouterr()
    assert json.loads(told.out)["verdict"].startswith("not ")
    assert "than the baseline zero" in told.err
    assert {file.name for file in (tmp_path / "model").iterdir()} == FILES
    page = (tmp_path / "model" / "report.html").read_text()
    assert "<b>The model is not " in page
    assert train(write(tmp_path, archive), tmp_path / "second") == 0, "without the switch that is no failure"


def test_labels_that_are_shuffled_leave_nothing_to_predict(archive: Filler) -> None:
    time_ns, values = market(ROWS, 4, strength=0.8)
    fill(archive, values, time_ns)
    document = parse(as_yaml(archive.address))
    rows = run.load(document, quiet)
    honest = run.train(document, b"", rows, quiet).figures["final"]
    numpy.random.default_rng(1).shuffle(rows.label_bps)
    shuffled = run.train(document, b"", rows, quiet).figures["final"]
    assert honest["verdict"] == "better"
    assert honest["model"]["ic_spearman"] > 0.1
    assert shuffled["verdict"].startswith("not ")
    assert abs(shuffled["model"]["ic_spearman"]) < 0.05


def test_labels_one_horizon_too_early_are_predicted_by_the_past_alone_and_too_late_hardly(archive: Filler) -> None:
    # The imbalance fades within seconds: it knows of the second to come, little of the one after that.
    time_ns, values = market(ROWS, 5, strength=0.8)
    fill(archive, values, time_ns)
    document = parse(as_yaml(archive.address))
    rows = run.load(document, quiet)
    found = {}
    for steps in (0, 5, 25):
        shifted = numpy.roll(rows.label_bps, -steps)
        rows_of = type(rows)(**{name: getattr(rows, name) for name in rows.__dataclass_fields__} | {"label_bps": shifted})
        found[steps] = run.train(document, b"", rows_of, quiet).figures["final"]["model"]["ic_pearson"]
    assert found[0] > 2 * abs(found[5]) > 0
    assert abs(found[25]) < 0.06
    # A label of the past second: the last move knows it whole.
    past = numpy.roll(rows.label_bps, 5)
    told = ~numpy.isnan(rows.last_move_bps)
    told[:5] = False
    assert past[told] == pytest.approx(rows.last_move_bps[told], abs=1e-9)


def test_whatever_changes_after_t_changes_no_row_that_was_over_by_then(archive: Filler) -> None:
    time_ns, values = market(4_000, 6, strength=0.8)
    fill(archive, values, time_ns)
    document = parse(as_yaml(archive.address))
    before = run.load(document, quiet)
    now = int(time_ns[2_500])
    archive.connection.execute(
        "UPDATE features SET values = ARRAY[9, 9000 + random() * 100, random()], quality = (random() * 3)::int WHERE time_ns > %s",
        (now,),
    )
    archive.connection.execute("DELETE FROM features WHERE time_ns > %s AND random() < 0.3", (now,))
    archive.commit()
    after = run.load(document, quiet)
    over = before.until_ns <= now
    count = int(over.sum())
    assert count == 2_496
    for column in ("time_ns", "until_ns", "features", "label_bps", "last_move_bps"):
        assert getattr(before, column)[:count].tobytes() == getattr(after, column)[:count].tobytes(), column
    assert (after.until_ns[count:] > now).all()
    # Features of the rows at or before t whose labels were not over: they are the same, where the row is still one.
    known = after.time_ns <= now
    there = numpy.isin(before.time_ns, after.time_ns[known])
    assert before.features[there].tobytes() == after.features[known].tobytes()


def test_a_dry_run_reports_counts_and_writes_nothing(archive: Filler, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    time_ns, values = market(1_000, 7, strength=0.5)
    fill(archive, values, time_ns)
    config = write(tmp_path, archive)
    assert cli.main(["train", "--config", str(config), "--dry-run"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dry_run"] is True
    assert (told["rows"], told["records"], told["left_out"]) == (995, 1_000, {"session_end": 5})
    assert told["features"] == ["spread", "imbalance_1"]
    assert [path.name for path in tmp_path.iterdir()] == ["train.yaml"]


def test_a_model_may_be_asked_with_missing_values_where_its_card_says_so(archive: Filler, tmp_path: Path) -> None:
    time_ns, values = market(6_000, 8, strength=0.8)
    values[::4, 2] = numpy.nan
    fill(archive, values, time_ns)
    assert train(write(tmp_path, archive, data={"missing": "nan"}), tmp_path / "model") == 0
    card = json.loads((tmp_path / "model" / "card.json").read_bytes())
    assert card["input"]["missing"] == "nan"
    assert card["trained"]["data"]["left_out"] == {"session_end": 5}
    assert ",nan," in (tmp_path / "model" / "check.csv").read_text()


@pytest.mark.parametrize(
    ("changed", "code"), [({"label": {}}, 2), ({"data": {"set": "none"}}, 3), ({"database": "postgres:///x?host=/nowhere"}, 4)]
)
def test_each_refusal_has_its_exit_code_and_leaves_nothing(
    archive: Filler, tmp_path: Path, changed: dict[str, Any], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.instrument(42, "X")
    archive.commit()
    config = write(tmp_path, archive, **changed)
    assert train(config, tmp_path / "model") == code
    assert capsys.readouterr().err.startswith("feedplane-trainer: refused: ")
    assert [path.name for path in tmp_path.iterdir()] == ["train.yaml"]


def test_a_folder_in_use_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "train.yaml"
    config.write_bytes(as_yaml("postgres:///x?host=/nowhere"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "card.json").write_text("{}")
    assert train(config, tmp_path / "model") == 2
    assert "is there already, and not empty" in capsys.readouterr().err
    assert train(config, tmp_path / "no" / "model") == 2
    assert cli.main(["train", "--config", str(config)]) == 2
    assert cli.main(["train", "--config", str(tmp_path / "none.yaml"), "--dry-run"]) == 2
