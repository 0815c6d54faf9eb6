"""Run by tests in a process of its own: a load that dies right after a commit that dlt hasn't marked yet.

Arguments: the job to die after (copy or merge), its source, the landed files' folder.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from dlt.destinations.impl.ducklake.ducklake import DuckLakeCopyJob
from dlt.destinations.job_client_impl import SqlLoadJob

from dlt_sources.datasets import ecommerce
from lakehouse.lake.ducklake import Lake
from lakehouse.settings import load_settings
from tests.dlt_sources.loading import Landing, Loader

JOBS: dict[str, tuple[Any, str]] = {"copy": (DuckLakeCopyJob, "events"), "merge": (SqlLoadJob, "events")}


def die_after(job: str) -> None:
    """Let the job commit, then kill this process before dlt hears of it."""
    kind, table = JOBS[job]
    run = kind.run

    def run_and_die(self: Any) -> None:
        run(self)
        if table in self._file_path:
            os.kill(os.getpid(), signal.SIGKILL)

    kind.run = run_and_die


def main() -> None:
    job, folder = sys.argv[1:]
    landing = Landing(Path(folder), "ecommerce")
    die_after(job)
    files = [landing.file(path) for path in sorted(Path(folder).iterdir())]
    Loader(Lake(load_settings())).load_files(ecommerce, files)


if __name__ == "__main__":
    main()
