"""A few faults of the nights: that they still strike, and that nothing comes of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse.settings import PROJECT_ROOT


@pytest.mark.proof
def test_a_few_faults_of_a_night(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.nights"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "FAULTS": "8", "FAULT_FOLDER": str(tmp_path), "FAULT_RESULTS": str(tmp_path / "results")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (line,) = (tmp_path / "results").read_text().splitlines()
    told = json.loads(line)
    assert sum(told["faults"].values()) == 8
    assert told["at_rest"] and told["loads"]
