"""What every lakehouse of a test run would make again: links to extensions, what the source files hold, the models."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

PARTS = ("extensions", "sources", "sqlmesh")
"""Each is kept by content. The last only for lakehouses of the project's own models."""


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lakehouse-tests-cache-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for part in PARTS:
        (folder / part).mkdir()
    return folder


def link_cache(data_dir: Path, *parts: str) -> None:
    """Let a lakehouse that is yet to be made share these parts of `LAKEHOUSE_DATA_DIR/cache` with the others."""
    (data_dir / "cache").mkdir(parents=True)
    data_dir.chmod(0o700)  # as the lakehouse itself makes it
    for part in parts:
        (data_dir / "cache" / part).symlink_to(_folder() / part)
