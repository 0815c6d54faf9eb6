"""Real processes without their start: forked from one that has imported Dagster, dlt and SQLMesh and done nothing else.

Each has its own environment, working directory, signals and exit code and can be killed, for 0.1 s of a processor
where `python -m dagster …` costs five. What a program's start does is not tried by them: a few tests elsewhere do.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import entry_points
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lakehouse.settings import PROJECT_ROOT

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.imported_once"])
_folder = Path(tempfile.mkdtemp(prefix="lakehouse-tests-forked-"))
_owner = os.getpid()


@atexit.register
def _clean() -> None:
    if os.getpid() == _owner:
        shutil.rmtree(_folder, ignore_errors=True)


@dataclass
class Forked:
    """A process at work, or ended."""

    process: Any
    words: Sequence[str]
    output: Path

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    @property
    def stdout(self) -> str:
        """What it has said so far."""
        return (self.output / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.output / "stderr").read_text()

    def poll(self) -> int | None:
        """Its exit code when it has ended, of one that was killed the signal's number below zero."""
        code: int | None = self.process.exitcode
        return code

    def wait(self, timeout: float = 900) -> int:
        self.process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self.words, timeout)
        return code

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> int:
        self.send_signal(signal.SIGKILL)
        return self.wait()


def start(
    *words: str,
    cwd: Path = PROJECT_ROOT,
    environment: Mapping[str, str] | None = None,
    first: str = "",
    now: datetime | None = None,
) -> Forked:
    """One of this environment's commands (`dagster`, `sqlmesh`, `lakehouse`, `python -c …` and `-m`) in `cwd`.

    `environment` (default: this process's) is all that it has; the Python code `first` is run before, with the clock
    at `now`.
    """
    output = Path(tempfile.mkdtemp(dir=_folder))
    with chdir(PROJECT_ROOT), patch.dict(os.environ, {"COLUMNS": "80", "NO_COLOR": "1"}):
        forkserver.ensure_running()
    variables = dict(os.environ if environment is None else environment)
    process = _context.Process(target=_run, args=(words, str(cwd), variables, first, now, str(output)))
    for name in ("stdout", "stderr"):
        (output / name).touch()
    process.start()
    return Forked(process, words, output)


def run(*words: str, **given: Any) -> subprocess.CompletedProcess[str]:
    """The same to its end."""
    forked = start(*words, **given)
    return subprocess.CompletedProcess(words, forked.wait(), forked.stdout, forked.stderr)


def _run(
    words: Sequence[str], cwd: str, variables: Mapping[str, str], first: str, now: datetime | None, output: str
) -> None:
    """In the process itself."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(f"{output}/{name}", os.O_WRONLY)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    os.chdir(cwd)
    sys.path[:0] = filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = list(words)
    if now is not None:
        import time_machine

        time_machine.travel(now).start()
    if first:
        exec(compile(first, "<first>", "exec"), {"__name__": "first"})
    try:
        if words[:2] == ("python", "-m"):
            sys.argv = list(words[2:])
            runpy.run_module(words[2], run_name="__main__", alter_sys=True)
        elif words[0] == "python":
            exec(compile(words[2], "<program>", "exec"), {"__name__": "__main__"})
        else:
            (command,) = entry_points(group="console_scripts", name=words[0])
            command.load()()
    finally:
        atexit._run_exitfuncs()
