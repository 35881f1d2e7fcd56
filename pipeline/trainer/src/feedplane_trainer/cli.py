"""The command line: `feedplane-trainer train --config train.yaml --out DIR`.

Progress and refusals go to standard error; standard output has one line of JSON with what a script wants to know. Exit codes are
in `errors.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from . import __version__, folder, run
from .document import load
from .errors import NOT_BETTER, OK, TrainerError, WrongDocument


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        return _train(asked.config, asked.out, dry_run=asked.dry_run, require_better=asked.require_better)
    except TrainerError as error:
        _say(f"refused: {error}")
        return error.code


def entry() -> None:
    """The installed command."""
    sys.exit(main())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="feedplane-trainer", description="Trains a model on the archive: docs/training.md.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="reads the archive, validates, trains, writes a model folder")
    train.add_argument("--config", type=Path, required=True, help="train.yaml")
    train.add_argument("--out", type=Path, help="the model folder to be made")
    train.add_argument("--dry-run", action="store_true", help="reads and reports counts; trains nothing, writes nothing")
    train.add_argument(
        "--require-better",
        action="store_true",
        help=f"ends with {NOT_BETTER}, the folder written, when the model is not better than the naive baselines",
    )
    return parser


def _train(config: Path, out: Path | None, *, dry_run: bool, require_better: bool) -> int:
    document, text = load(config)
    if not dry_run:
        if out is None:
            raise WrongDocument("name the model folder with --out, or say --dry-run")
        folder.must_be_free(out)
    rows = run.load(document, _say)
    _say(f"{len(rows)} rows of {rows.records} records; left out: {run.told(rows.left_out)}")
    counts = {"rows": len(rows), "records": rows.records, "left_out": rows.left_out, "schema_id": rows.schema.id_hex}
    if dry_run or out is None:
        _print({"dry_run": True, "features": rows.names} | counts)
        return OK
    trained = run.train(document, text, rows, _say)
    run.to_folder(out, trained, _say)
    final = trained.figures["final"]
    _print({"model": document.name, "version": document.version, "verdict": final["verdict"]} | counts)
    return NOT_BETTER if require_better and final["verdict"] != "better" else OK


def _say(text: str) -> None:
    print(f"feedplane-trainer: {text}", file=sys.stderr, flush=True)


def _print(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)
