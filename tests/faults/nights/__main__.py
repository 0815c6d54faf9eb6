"""`python -m tests.faults.nights`: FAULTS, FAULT_SEED and FAULT_SECONDS say how many, which and for how long.

With FAULT_STORE=s3 the lake lies in an object store. FAULT_KIND names the one kind of strike that is wanted,
FAULT_ACTS the acts ("load, publish").
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.nights.store import Store

DISK_MB = 700


def main() -> int:
    """Runs them, and adds a line to results.jsonl. 1 when something was found."""
    from tests.faults.nights import store, strikes

    seed = int(os.environ.get("FAULT_SEED") or random.randrange(1_000_000))
    os.environ["FAULT_SEED"] = str(seed)
    folder = Path(os.environ.get("FAULT_FOLDER") or tempfile.mkdtemp(prefix="faults-"))
    os.environ["FAULT_FOLDER"] = str(folder)
    has_clock = strikes.has_clock(folder)
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(disk)]
    is_own_disk = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        with store.served() if os.environ.get("FAULT_STORE") else contextlib.nullcontext() as served:
            return night(folder, disk, served, seed, has_clock=has_clock, is_own_disk=is_own_disk)
    finally:
        if is_own_disk:
            subprocess.run(["umount", "-l", str(disk)], check=False)
        if not os.environ.get("FAULT_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)


def night(folder: Path, disk: Path, store: Store | None, seed: int, *, has_clock: bool, is_own_disk: bool) -> int:
    """One lake, made and struck."""
    from lakehouse.lake.postgres import leave
    from tests.faults.nights import lakes, results
    from tests.faults.nights.baskets import EXTERNAL, MODEL
    from tests.faults.nights.night import Night
    from tests.releases_proof.proof import PROJECT

    commit = results.checked_out()
    os.environ.update(lakes.variables(disk, store))
    lakes.quiet()
    project = folder / "project"
    shutil.copytree(PROJECT, project)
    (project / "models" / "baskets.sql").write_text(MODEL)
    with open(project / "external_models.yaml", "a") as file:
        file.write(EXTERNAL)
    tiny = lakes.TinyLake(folder, project)
    run = Night(tiny, disk, store, seed=seed, has_clock=has_clock, is_own_disk=is_own_disk)
    # Once in this process, so that those it forks find everything imported, parsed and known.
    tiny.begin()
    for name in ("load", "catch-up", "publish", "environment made", "promotion", "environment dropped", "backup"):
        tiny.acts[name]()
    lakes.quicken_dlt()
    gc.collect()
    gc.freeze()
    began = time.monotonic()
    try:
        report = run.run(
            int(os.environ.get("FAULTS") or 10_000), began + float(os.environ.get("FAULT_SECONDS") or "inf")
        )
    finally:
        leave(Path(os.environ["LAKEHOUSE_DATA_DIR"]) / "postgres")
    line = {
        "commit": commit, "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", "seconds": round(time.monotonic() - began),
        **vars(report),
    }  # fmt: skip
    print(json.dumps(line, indent=1))
    if report.faults:
        results.add(line)
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
