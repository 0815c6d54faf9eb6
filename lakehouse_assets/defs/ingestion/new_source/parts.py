"""What every kind of new source needs: what was given, what is asked, what is written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT_ROOT
from lakehouse_assets.defs.ingestion.sources import NAME, file_of, source_names

NONE = "-"
"""What is answered where there is none."""
CHANGED = ("updated", "modified", "changed", "last_update", "lastupdate", "last_change", "mtime")
"""How columns begin that say when a row was last changed, or end."""


class NewSourceError(LakehouseError):
    """No source could be made; the message says why and what to do. Nothing was written."""


class Asking(Protocol):
    """Whoever answers what can't be seen."""

    def ask(self, question: str, suggestion: str, option: str) -> str:
        """An answer; `option` is the way to give it without being asked."""

    def secret(self, question: str, variable: str) -> str:
        """Something that isn't shown; may be empty. `variable` is the way to give it without being asked."""


@dataclass(frozen=True)
class Given:
    """What the command line says of the new source, so that nobody is asked for it; by table where it says so."""

    name: str
    address: str
    tables: Sequence[str] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    cursors: Mapping[str, str] = field(default_factory=dict)
    schema: str = ""
    auth: str = ""
    openapi: str = ""


@dataclass(frozen=True)
class Written:
    """A source's file before it is written: its text, a line for each table, its secrets by their key."""

    text: str
    tables: list[tuple[str, str]]
    secrets: dict[str, str] = field(default_factory=dict)


class Code(str):
    """Python that stands in the file as it is."""


def check_name(name: str) -> None:
    """Raises NewSourceError: the name can't be a new source's."""
    if not NAME.fullmatch(name):
        raise NewSourceError(
            f"{name} can't be a source's name: small letters, digits and _ between them, as in web_shop."
        )
    if file_of(name).exists() or file_of(name).with_suffix("").exists() or name in source_names():
        raise NewSourceError(f"There is a source or module {name} in dlt_sources already. Choose another name.")


def variable(name: str, key: str) -> str:
    """The environment's variable for a setting of a source."""
    return f"SOURCES__{name}__{key}".upper()


def given_secret(name: str, key: str) -> str:
    """The secret that the environment has already."""
    return os.environ.get(variable(name, key), "")


def secrets_file() -> Path:
    """dlt's own file of secrets; git ignores it."""
    return PROJECT_ROOT / ".dlt" / "secrets.toml"


def keep_secrets(name: str, secrets: Mapping[str, str]) -> None:
    """Put secrets under `[sources.NAME]` into the private file; what else is there stays as it is."""
    import tomlkit

    path = secrets_file()
    path.parent.mkdir(exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        os.fchmod(file.fileno(), 0o600)
        document = tomlkit.parse(file.read())
        sources: Any = document.setdefault("sources", tomlkit.table(is_super_table=True))
        section: Any = sources.setdefault(name, tomlkit.table())
        section.update(secrets)
        file.seek(0)
        file.truncate()
        file.write(tomlkit.dumps(document))


def changed_column(columns: Sequence[str]) -> list[str]:
    """Those that say by their name when a row was last changed."""
    return [name for name in columns if any(word in name.lower() for word in CHANGED)]


def one_per_table(given: Sequence[str], option: str, example: str) -> dict[str, str]:
    """`TABLE=VALUE` of the command line. Raises NewSourceError."""
    found = {}
    for one in given:
        table, equals, value = one.partition("=")
        if not (table and equals and value):
            raise NewSourceError(f"{option} {one}: it wants TABLE=VALUE, as {option} orders={example}.")
        found[table] = value
    return found


def check_tables(given: Given, known: Sequence[str]) -> None:
    """Raises NewSourceError: an option names a table that isn't there."""
    for table in [*given.tables, *given.keys, *given.cursors]:
        if table not in known:
            raise NewSourceError(f"There is no {table}. There are: {', '.join(known) or 'none'}.")


def code(value: Any, indent: int = 0) -> str:
    """A value as Python, a line for each entry of what is nested."""
    inner, outer = " " * (indent + 4), " " * indent
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, dict) and value:
        flat = "{" + ", ".join(f"{code(key)}: {code(one)}" for key, one in value.items()) + "}"
        if len(flat) + indent <= 90 and not any(isinstance(one, list) and one for one in value.values()):
            return flat
        lines = (f"{inner}{code(key)}: {code(one, indent + 4)},\n" for key, one in value.items())
        return "{\n" + "".join(lines) + outer + "}"
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return "[\n" + "".join(f"{inner}{code(one, indent + 4)},\n" for one in value) + outer + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ", ".join(map(code, value)) + "]"
    return repr(value)
