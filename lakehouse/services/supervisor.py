"""One supervisor for what `make up` starts: it waits until each service answers, restarts what dies, ends them all."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from lakehouse.errors import LakehouseError

READY_TIMEOUT_SECONDS = 90.0
STOP_TIMEOUT_SECONDS = 20.0
MAX_RESTARTS_PER_MINUTE = 3


class ServiceError(LakehouseError):
    """A service can't start or keeps dying; the message names it, the reason and its log."""


@dataclass
class Service:
    """A process to keep alive. With a `port` or a `socket` it is ready when that answers.

    Those after one with a socket begin when it is ready.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: dict[str, str]
    folder: Path
    host: str = "127.0.0.1"
    port: int | None = None
    socket: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)

    def check_port(self, host_setting: str, port_setting: str) -> None:
        """Raises ServiceError when it could not listen; the settings are what to change."""
        with contextlib.closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port or 0))
            except OSError as error:
                taken = error.errno == errno.EADDRINUSE
                what_to_do = (
                    f"Stop what listens there, or set {port_setting} to another port."
                    if taken
                    else f"Set {host_setting} to an address of this machine, and {port_setting} to a port you may use."
                )
                raise ServiceError(
                    f"The {self.name} can't listen on {self.host}:{self.port}: "
                    f"{'the port is in use' if taken else error.strerror or error}. {what_to_do}"
                ) from None

    def start(self) -> None:
        """Start the process in a group of its own, so that a Ctrl-C reaches the supervisor only."""
        self.starts.append(time.monotonic())
        self.log.parent.mkdir(parents=True, exist_ok=True)
        output: IO[bytes]
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen(
                self.command, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                env=self.environment, cwd=self.folder, start_new_session=True,
            )  # fmt: skip

    def wait_until_ready(self, stopping: Callable[[], bool]) -> None:
        """Return when it answers or `stopping` says so. Raises ServiceError when it ends or stays silent."""
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while not stopping() and not self._answers():
            if self.process is None or self.process.poll() is not None:
                raise ServiceError(f"The {self.name} ended while it started. The end of {self.log}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"The {self.name} did not answer within {READY_TIMEOUT_SECONDS:.0f} s; see {self.log}."
                )
            time.sleep(0.1)

    def _answers(self) -> bool:
        with contextlib.closing(socket.socket(socket.AF_UNIX if self.socket else socket.AF_INET)) as probe:
            probe.settimeout(0.5)
            address = str(self.socket) if self.socket else (self.host, self.port)
            return (self.socket or self.port) is None or probe.connect_ex(address) == 0

    def tail(self, lines: int = 12) -> str:
        """The last lines of its log."""
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-lines:]).rstrip()

    def ask_to_end(self) -> None:
        """Send what a Ctrl-C sends."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """Wait until the process has ended, then end its whole group: code servers and runs."""
        if self.process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C, SIGTERM and a closed terminal instead of dying half-way; gives what says whether one has come."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {number: signal.signal(number, lambda signum, frame: received.append(signum)) for number in numbers}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def supervise(
    services: Sequence[Service],
    stopping: Callable[[], bool],
    *,
    ready: Callable[[], None],
    ended: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    """Run the services until `stopping`. Raises ServiceError when one can't be kept alive.

    `ended` is called whenever services are gone with all that they had started.
    """
    try:
        for service in services:
            if not stopping():
                service.start()
            if service.socket:
                service.wait_until_ready(stopping)
        for service in services:
            service.wait_until_ready(stopping)
        if not stopping():
            ready()
        while not stopping():
            for service in services:
                if service.process is not None and service.process.poll() is not None and not stopping():
                    _restart(service, ended, say)
            time.sleep(0.2)
    finally:
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        for service in services:
            service.ask_to_end()
        for service in services:
            service.stop(max(0.0, deadline - time.monotonic()))
        ended()


def _restart(service: Service, ended: Callable[[], None], say: Callable[[str], None]) -> None:
    recent = [start for start in service.starts if start > time.monotonic() - 60]
    code = service.process.returncode if service.process else None
    if len(recent) > MAX_RESTARTS_PER_MINUTE:
        raise ServiceError(
            f"The {service.name} keeps ending (exit code {code}). The end of {service.log}:\n{service.tail()}"
        )
    say(f"the {service.name} ended (exit code {code}); starting it again")
    service.stop()
    ended()
    service.start()
