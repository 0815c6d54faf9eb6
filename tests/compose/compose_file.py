"""docker-compose.yml as Compose reads it: variables filled in, services in the order in which they start."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from lakehouse.settings import PROJECT_ROOT

FILE = PROJECT_ROOT / "docker-compose.yml"
DOCKERFILE = (PROJECT_ROOT / "Dockerfile").read_text()
COPIES = [(words[:-1], words[-1]) for words in map(str.split, re.findall(r"^COPY (.*)$", DOCKERFILE, re.M))]
"""What the Dockerfile copies into the image: sources → target."""
VARIABLES: dict[str, str] = {}
"""Those that have no default, as a test sets them: none, since secrets are files."""
SECRETS = "/run/secrets"
VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\})")


class MissingVariableError(Exception):
    """A required variable is not set; the message is the file's own."""


@dataclass(frozen=True)
class Service:
    """One service, its variables filled in."""

    name: str
    image: str
    is_ours: bool
    command: list[str]
    environment: dict[str, str]
    volumes: dict[str, str]
    """Container path → volume."""
    secrets: dict[str, str]
    """Name below /run/secrets → file of the project."""
    ports: list[str]
    health_check: list[str]
    depends_on: dict[str, str]
    """Service → condition."""

    @property
    def runs_once(self) -> bool:
        """Whether it ends by itself."""
        return not self.health_check


def text() -> str:
    """The file as it is."""
    return FILE.read_text()


def declared(name: str) -> dict[str, Any]:
    """One service as the file has it, its variables not filled in."""
    found: dict[str, Any] = yaml.safe_load(text())["services"][name]
    return found


def copy_as_the_image_does(target: Path) -> None:
    """Fill a folder as the Dockerfile fills /app."""
    for sources, folder in COPIES:
        for source in sources:
            if (PROJECT_ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", ".cache", "logs")
                shutil.copytree(PROJECT_ROOT / source, target / folder, ignore=ignored)
            else:
                (target / folder).mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT_ROOT / source, target / folder)


def services(variables: Mapping[str, str], profile: str = "") -> list[Service]:
    """What `docker compose [--profile …] up` starts, each service after those that it depends on."""
    whole = yaml.safe_load(text())
    files = {name: found["file"] for name, found in whole["secrets"].items()}
    declared = {name: found for name, found in whole["services"].items() if profile in found.get("profiles", [profile])}
    order = TopologicalSorter({name: set(found.get("depends_on", {})) for name, found in declared.items()})
    return [_service(name, filled_in(declared[name], variables), files) for name in order.static_order()]


def _service(name: str, found: dict[str, Any], files: dict[str, str]) -> Service:
    given = [one if isinstance(one, dict) else {"source": one, "target": one} for one in found.get("secrets", ())]
    volumes = dict(reversed(volume.split(":")[:2]) for volume in found.get("volumes", ()))
    return Service(
        name,
        found["image"],
        "build" in found,
        found["command"],
        found.get("environment", {}),
        volumes,
        {one["target"]: files[one["source"]] for one in given},
        found.get("ports", []),
        found.get("healthcheck", {}).get("test", []),
        {other: how["condition"] for other, how in found.get("depends_on", {}).items()},
    )


def filled_in(value: Any, variables: Mapping[str, str]) -> Any:
    """The same with `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `$$` replaced, however deep."""
    if isinstance(value, dict):
        return {key: filled_in(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [filled_in(item, variables) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        found = variables.get(match["name"], "")
        if not found and match["kind"] == "?":
            raise MissingVariableError(f"{match['name']}: {match['rest']}")
        return found or (match["rest"] if match["kind"] == "-" else "")

    return VARIABLE.sub(replace, value)
