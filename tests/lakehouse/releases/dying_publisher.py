"""A publisher in a process of its own that dies by SIGKILL at a chosen point."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from lakehouse import settings as settings_module
from lakehouse.lake.ducklake import Lake
from lakehouse.releases import log, publishing
from tests.lakehouse.releases.conftest import Publisher, served

BEFORE_CATALOG, BEFORE_ROW, BEFORE_POINTER, BEFORE_ROLLBACK = "catalog", "row", "pointer", "rollback"


def publish_and_die(point: str, content: str) -> None:
    """Run here what follows, in another process; it must have been killed."""
    program = f"from tests.lakehouse.releases.dying_publisher import main; main({point!r}, {content!r})"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ, cwd=Path(__file__).parents[3],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


def die(*_: Any, **__: Any) -> Any:
    """At once."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(point: str, content: str) -> None:
    """Publish `marts.days`, or roll back, until the point is reached."""
    module, name = {
        BEFORE_CATALOG: (publishing, "write_catalog"),
        BEFORE_ROW: (log, "published"),
        BEFORE_POINTER: (publishing, "swap_pointer"),
        BEFORE_ROLLBACK: (publishing, "swap_pointer"),
    }[point]
    setattr(module, name, die)
    lake = Lake(settings_module.load_settings())
    if point == BEFORE_ROLLBACK:
        publishing.rollback(lake, "prod", None, by="ann")
    else:
        Publisher(lake).publish(served("marts.days", content, partitioned_by=("day",)))
