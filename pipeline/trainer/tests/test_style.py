from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_the_code_is_as_ruff_wants_it(command: list[str]) -> None:
    ruff = Path(sys.executable).parent / "ruff"
    done = subprocess.run([ruff, *command, "--no-cache", "src", "tests"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
