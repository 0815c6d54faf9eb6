"""Run by tests in place of the reading process: content that says so makes it crash, hang or end, as a bug would."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from dlt_sources.landing import reader_process
from dlt_sources.landing.typed_parquet import TypedParquet, UnusableFile, Written

_reads = 0
_write = TypedParquet.write


def _faulty(self: TypedParquet, path: Path, *rest: Any) -> Written:
    global _reads
    _reads += 1
    content = path.read_bytes()
    if b"CRASH" in content or (b"SECOND" in content and _reads > 1):
        os.kill(os.getpid(), signal.SIGSEGV)
    if b"KILL" in content:
        os.kill(os.getpid(), signal.SIGKILL)
    if b"HANG" in content:
        time.sleep(600)
    if b"MEMORY" in content:
        bytearray(2 << 30)
    if b"DISK" in content:
        raise OSError("there is no space left on the disk")
    if b"ENVIRONMENT" in content:
        raise UnusableFile(" ".join(sorted(os.environ)))
    return _write(self, path, *rest)


if __name__ == "__main__":
    TypedParquet.write = _faulty  # type: ignore[method-assign]
    reader_process.main()
