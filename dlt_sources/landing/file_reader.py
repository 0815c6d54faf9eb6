"""Reads files that others made in a process of its own: one that breaks the reader breaks neither load nor upload.

The process lasts for many files and is started again when it died. It has limits that the operating system holds, and
nothing of our environment: no credential is in reach of what a file may do to it. Its side is `reader_process`.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dlt_sources.landing.landed import Dataset, printable
from dlt_sources.landing.typed_parquet import UnusableFile, Written

KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
FIRST_SECONDS = 120.0
SECONDS_PER_MB = 1.0
"""A sound file takes a hundredth of this; a small one that unfolds to no end, or a loop inside the reader, is ended."""
ANSWER_BYTES = 1 << 24


@dataclass(frozen=True)
class ReadRequest:
    """One file to be written as its dataset's table has it: see TypedParquet."""

    dataset: Dataset
    known_columns: Mapping[str, str]
    headers: Mapping[str, str]
    load_id: str
    path: Path
    target: Path
    source_file: str


class _Broken(Exception):
    """The process is no good any more."""

    def __init__(self, reason: UnusableFile | OSError) -> None:
        self.reason = reason


class FileReader:
    """The reading process, seen from its owner. A context manager; not for two files at once."""

    module = "dlt_sources.landing.reader_process"

    def __init__(self, first_seconds: float = FIRST_SECONDS) -> None:
        self._first_seconds = first_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> FileReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(
        self,
        dataset: Dataset,
        path: Path,
        target: Path,
        source_file: str,
        *,
        known_columns: Mapping[str, str],
        headers: Mapping[str, str],
        load_id: str,
    ) -> Written:
        """Write `path`'s rows to `target` as Parquet.

        Raises:
            UnusableFile: the file can't become rows, takes more memory or time than any may, or crashed the reader.
            OSError: nobody could look at it: it can't be opened, the disk is full, somebody killed the reader.
        """
        request = ReadRequest(dataset, dict(known_columns), dict(headers), load_id, path, target, source_file)
        is_fresh = self._process is None
        try:
            return self._read(request)
        except _Broken as broken:
            # What earlier files left behind is not this one's fault: only what it does to a fresh process is.
            if is_fresh:
                raise broken.reason from None
        try:
            return self._read(request)
        except _Broken as broken:
            raise broken.reason from None

    def _read(self, request: ReadRequest) -> Written:
        seconds = self._first_seconds + SECONDS_PER_MB * request.path.stat().st_size / 1e6
        try:
            answer = self._ask(request, time.monotonic() + seconds)
        except TimeoutError:
            self.close()
            raise UnusableFile(f"reading it takes more than {seconds:.0f} seconds") from None
        except (EOFError, ConnectionError, ValueError):  # it died, or says what makes no sense
            raise _Broken(self._death()) from None
        if "memory" in answer:
            self.close()
            raise _Broken(UnusableFile(printable(str(answer["memory"]))))
        if "refusal" in answer:
            raise UnusableFile(printable(str(answer["refusal"])))
        if "problem" in answer:
            raise OSError(printable(str(answer["problem"])))
        try:
            return Written(**answer)
        except TypeError:
            raise _Broken(self._death()) from None

    def close(self) -> None:
        """End the process."""
        if self._process is None or self._pipe is None:
            return
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._pipe.close()
        self._process = self._pipe = None

    def _ask(self, request: ReadRequest, deadline: float) -> dict[str, Any]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        assert self._pipe is not None
        self._pipe.send_bytes(pickle.dumps(request))
        if not self._pipe.poll(max(deadline - time.monotonic(), 0)):
            raise TimeoutError
        answer = json.loads(self._pipe.recv_bytes(ANSWER_BYTES))
        if not isinstance(answer, dict):
            raise ValueError(answer)
        return answer

    def _start(self) -> None:
        ours, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", self.module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=_clean_environment(),
                stdin=subprocess.PIPE,  # its end tells the process that we are gone
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
            )
        self._pipe = ours

    def _death(self) -> UnusableFile | OSError:
        """What to say of a process that ended, or went mad, over a file."""
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.poll()
        self.close()
        if code == -signal.SIGKILL:  # the file may be sound: somebody else did that, most likely for want of memory
            return OSError("the process that read it was killed: is the machine short of memory? Load it again")
        if code is None:
            return UnusableFile("the reader answers what makes no sense")
        how = f"signal {-code}, {signal.strsignal(-code)}" if code < 0 else f"exit code {code}"
        return UnusableFile(f"it crashed the reader ({how})")


def _clean_environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "HOME": "/nonexistent"}
