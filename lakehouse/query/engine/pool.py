"""Worker processes, each doing one call at a time: started, watched, stopped and replaced."""

from __future__ import annotations

import json
import math
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from lakehouse.child_environments import worker_environment
from lakehouse.query.engine import frames
from lakehouse.query.engine.calls import Call, Config
from lakehouse.query.engine.problems import QueryError

START_SECONDS = 20.0
GRACE_SECONDS = 0.5
"""Between asking a statement to stop and killing its process."""
NO_TIME = "There is no time left for the statement: whoever asks has to end."


class WorkerProcess:
    """One worker, seen from its owner. Not for two calls at once."""

    def __init__(self, config: Config) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "lakehouse.query.engine.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=worker_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
            )
        self._socket = ours
        frames.send_json(ours, b"Q", asdict(config))
        self.releases: set[str] = set()
        """The ATTACH statements of the releases that it has opened."""
        self._is_ready = False
        self._call = ""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can take a call."""
        return self._process.poll() is None

    def wait_until_ready(self, until: float | None = None) -> None:
        """Raises QueryError when it does not come up. `until` ends the waiting, not the worker."""
        if self._is_ready:
            return
        left = _left(until)
        self._socket.settimeout(max(min(START_SECONDS, left), 0.001))
        try:
            kind, _ = frames.receive(self._socket)
        except TimeoutError:
            if left < START_SECONDS:
                raise QueryError("time-limit", NO_TIME) from None
            self.kill()
            raise QueryError("unavailable", "A worker process did not start.") from None
        except (EOFError, OSError, frames.StalledError):
            self.kill()
            raise QueryError("unavailable", "A worker process did not start.") from None
        assert kind == b"R"
        self._is_ready = True

    def ask(
        self,
        call: Call,
        seconds: float,
        *,
        until: float | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
        begins: Callable[[], None] = lambda: None,
    ) -> Generator[tuple[frames.Kind, bytes], None, None]:
        """The frames of the answer: a header, data, a footer.

        The time counts from when the release is open, and ends with `until`. Closing the generator before its end stops
        the statement.

        Raises:
            QueryError: the statement failed, took longer than `seconds`, or ended the process.
        """
        self.wait_until_ready(until)
        deadline = time.monotonic() + min(START_SECONDS + seconds, _left(until))
        is_done = False
        self._call = call.id
        try:
            # Whoever cancelled before the line above has not stopped it.
            if is_cancelled():
                is_done = True
                raise QueryError("time-limit", "The statement was stopped.")
            frames.send_json(self._socket, b"Q", asdict(call))
            while True:
                self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
                kind, payload = frames.receive(self._socket)
                if kind == b"E":
                    is_done = True
                    told = json.loads(payload)
                    if told["retire"]:
                        self.kill()
                    raise QueryError(**told["error"])
                if kind == b"R":
                    deadline = time.monotonic() + min(seconds, _left(until))
                    begins()
                    continue
                is_done = kind == b"F"
                if is_done:
                    self.releases.add(call.attach)
                    if json.loads(payload)["retire"]:
                        self.kill()
                yield kind, bytes(payload)
                if is_done:
                    return
        except (TimeoutError, frames.StalledError) as error:
            is_done = True
            if isinstance(error, TimeoutError):
                self._stop(call)
            else:
                self.kill()
            told = NO_TIME if _left(until) <= 0 else f"The statement was stopped after {seconds:g} seconds."
            raise QueryError("time-limit", told) from None
        except (EOFError, OSError):
            self.kill()
            is_done = True
            raise QueryError(
                "crashed",
                "The statement ended the process that ran it: it needed more memory than a call may have, or DuckDB "
                "failed on it.",
            ) from None
        finally:
            if not is_done:
                self._stop(call)
            self._call = ""

    def cancel(self, call: str, *, by_force: bool = True) -> None:
        """Stop a call if it is still at work, from another thread than the one that reads its answer."""
        if self._call != call:
            return

        def kill() -> None:
            if self._call == call:
                with suppress(ProcessLookupError):
                    self._process.send_signal(signal.SIGKILL)

        with suppress(OSError):
            frames.send(self._socket, b"C", call.encode())
        if by_force:
            threading.Timer(GRACE_SECONDS, kill).start()

    def _stop(self, call: Call) -> None:
        """Interrupt the statement; kill the process when that does not help at once."""
        deadline = time.monotonic() + GRACE_SECONDS
        try:
            self._socket.settimeout(GRACE_SECONDS)
            frames.send(self._socket, b"C", call.id.encode())
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if frames.receive(self._socket)[0] in (b"E", b"F"):
                    return
        except (EOFError, OSError, frames.StalledError):
            pass
        self.kill()

    def kill(self) -> None:
        """End it now."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._socket.close()


def _left(until: float | None) -> float:
    """Seconds until a moment of the monotonic clock."""
    return math.inf if until is None else max(0.0, until - time.monotonic())


@dataclass
class Pool:
    """A fixed number of workers. `take` never gives one that is at work; a dead one is replaced."""

    config: Config
    size: int
    restarts: int = 0
    _idle: list[WorkerProcess] = field(default_factory=list)
    _taken: int = 0
    _lock: threading.Condition = field(default_factory=threading.Condition)
    _is_closed: bool = False

    def start(self) -> None:
        """Start all of them, without waiting for any."""
        with self._lock:
            self._idle += [WorkerProcess(self.config) for _ in range(self.size - len(self._idle))]

    def take(self, attach: str, until: float | None = None) -> WorkerProcess:
        """An idle worker, by preference one that has this release open. Waits for one while all are taken.

        Raises:
            QueryError: none was free by then.
        """
        with self._lock:
            while self._taken >= self.size:
                if not self._lock.wait(None if until is None else _left(until)) and _left(until) <= 0:
                    raise QueryError("too-many-calls", "No worker was free in time.", retry_after=1)
            self._taken += 1
            self._idle.sort(key=lambda worker: attach in worker.releases)
            worker = self._idle.pop() if self._idle else None
        if worker is not None and worker.is_alive:
            return worker
        if worker is not None:
            self.restarts += 1
        try:
            return WorkerProcess(self.config)
        except BaseException:
            self._free()
            raise

    def _free(self, worker: WorkerProcess | None = None) -> None:
        with self._lock:
            self._taken -= 1
            self._idle += [worker] if worker else []
            self._lock.notify()

    def give_back(self, worker: WorkerProcess) -> None:
        """It has done its call. In the place of one that was killed another is started at once."""
        fresh: WorkerProcess | None = worker
        if not worker.is_alive:
            self.restarts += 1
            fresh = None
        try:
            fresh = fresh or WorkerProcess(self.config)
        finally:
            self._free(fresh)
        if self._is_closed:
            self.close()

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()
