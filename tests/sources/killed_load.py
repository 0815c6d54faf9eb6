"""Run by a test in a process of its own: a load of the source `shop` that dies by SIGKILL at a chosen moment.

Arguments: the folder of sources, then the number of jobs after whose commit it dies, or `mark`: when all is committed,
or `done`: when the mark is gone too, or `never`: whoever started it kills it.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from dlt.common.destination.client import RunnableLoadJob

from lakehouse.writing import extracted, loads
from lakehouse_assets.defs.ingestion import sources
from lakehouse_assets.resources import LakeResource


def die(*_: Any, **__: Any) -> Any:
    """Nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Load until death."""
    sources.SOURCES_DIR = Path(sys.argv[1])
    if sys.argv[2] == "mark":
        loads._finish = die
    elif sys.argv[2] == "done":
        extracted.drop = die
    elif sys.argv[2] != "never":
        jobs, run = itertools.count(1), RunnableLoadJob.run_managed

        def run_and_die(self: Any, *arguments: Any, **options: Any) -> None:
            run(self, *arguments, **options)
            if next(jobs) == int(sys.argv[2]):
                die()

        RunnableLoadJob.run_managed = run_and_die  # type: ignore[method-assign]
    from lakehouse_assets.defs.ingestion.assets import source_assets

    dg.materialize([source_assets("shop")], resources={"lake": LakeResource()})


if __name__ == "__main__":
    main()
