"""The sources of the graph and their tables, without importing dlt as long as nothing changed.

A source is a file `dlt_sources/NAME.py` with a dlt source or resource in it, or a declaration of files,
`dlt_sources/datasets/NAME.toml`. One name everywhere: its file, dlt's source and pipeline, its group in Dagster, the
section of its settings, its tables' prefix.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dlt_sources.datasets import dataset, dataset_names, declared_entity
from dlt_sources.landing.declaration import DeclarationError
from lakehouse.settings import PROJECT_ROOT, load_settings
from lakehouse_assets.defs.ingestion.content_cache import write_atomically

SOURCES_DIR = PROJECT_ROOT / "dlt_sources"
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
PROBLEM_SECONDS = 60
"""What could not be read is read again after this time: its database may answer by then."""


@dataclass(frozen=True)
class RawTable:
    """A table of the zone `raw`: as its source declares it, once it is loaded as the lake has it."""

    source: str
    name: str
    description: str
    columns: list[tuple[str, str, str]] = field(default_factory=list)  # name, DuckDB type, description
    event_time: str | None = None
    from_files: bool = False
    fields: dict[str, list[str]] = field(default_factory=dict)  # by column what the source calls it
    resource: str = ""  # the dlt resource that brings it; for a child table its root's
    is_counted: bool = False  # the source says how many rows it has
    backfill: str = ""  # the first day that can be asked for by partitions
    key: list[str] = field(default_factory=list)  # columns that tell its rows apart
    is_complete: bool = False  # the columns are all that the lake has
    problem: str = ""
    """What is wrong with the declaration: the table is there, and its loads say this."""

    @property
    def full_name(self) -> str:
        """`raw.<table>`."""
        return f"raw.{self.name}"


@dataclass(frozen=True)
class Source:
    """One source. `problem` says why its file can't be read now; what is known of it is from before."""

    name: str
    tables: list[RawTable]
    from_files: bool = False
    problem: str = ""
    owner: str = "team:ingestion"
    schedule: str = ""
    description: str = ""


@lru_cache
def sources() -> tuple[Source, ...]:
    """Every source, by name. A file that can't be read is there too, with its problem: it stops no other."""
    described = _described(sorted(path for path in SOURCES_DIR.glob("*.py") if NAME.fullmatch(path.stem)))
    files = [_of_files(name) for name in dataset_names()]
    taken = {source.name for source in files}
    return tuple(sorted([*files, *(s for s in described if s.name not in taken)], key=lambda source: source.name))


def source_named(name: str) -> Source:
    """One source. Raises KeyError."""
    return {source.name: source for source in sources()}[name]


def file_of(source: str) -> Path:
    """Where the file of a source lies that is none of a declaration."""
    return SOURCES_DIR / f"{source}.py"


def source_names() -> list[str]:
    """Every source's name."""
    return [source.name for source in sources()]


def raw_tables() -> tuple[RawTable, ...]:
    """Every raw table that a source is known to load."""
    return tuple(table for source in sources() for table in source.tables)


def tables_of(source: str) -> list[RawTable]:
    """The raw tables of one source."""
    return [table for table in raw_tables() if table.source == source]


def pipeline_of() -> dict[str, str]:
    """Raw table (`raw.<table>`) -> the pipeline, named as its source, that loads it."""
    return {table.full_name: table.source for table in raw_tables()}


def learn(source: str, tables: list[RawTable]) -> None:
    """Keep what the lake has of a source after a load: the code location shows it when it is next loaded."""
    write_atomically(_learned_path(source), json.dumps([asdict(table) for table in tables]))
    sources.cache_clear()


def is_key(table: Any, column: Any) -> bool:
    """Whether a column of dlt's belongs to what tells the lake's rows apart; rows that are appended may repeat it."""
    keeps_one = table.get("write_disposition") in ("merge", "replace") and table.get("x-merge-strategy") != "scd2"
    return keeps_one and bool(column.get("primary_key"))


def forget(source: str) -> None:
    """Forget what was learned of a source: its tables are gone."""
    _learned_path(source).unlink(missing_ok=True)
    sources.cache_clear()


def _of_files(name: str) -> Source:
    try:
        table = dataset(name).table
    except DeclarationError as error:
        entity = declared_entity(name)
        told = f"The declaration can't be used: {error}"
        tables = [RawTable(name, f"{name}__{entity}", told, from_files=True, problem=str(error))] if entity else []
        return Source(name, tables, from_files=True, problem=str(error))
    raw = RawTable(
        source=name,
        name=table.name,
        description=table.description,
        columns=[(column.name, column.type, column.description) for column in table.columns],
        event_time=table.event_time,
        from_files=True,
        fields={column: list(names) for column, names in table.fields.items()},
        key=list(table.key),
    )
    return Source(name, [raw], from_files=True)


def _described(paths: list[Path]) -> list[Source]:
    """From a manifest of each file; those that changed are read in a process of their own, which may hang or die."""
    folder = load_settings().cache_dir / "sources"
    key = _key()
    known = {path: _read(folder / f"{path.stem}.json") for path in paths}
    stale = [path for path in paths if not _is_fresh(known[path], folder / f"{path.stem}.json", key)]
    if stale:
        folder.mkdir(parents=True, exist_ok=True)
        # A folder of its own: the web UI's process and the daemon's look at the same time.
        with tempfile.TemporaryDirectory(dir=folder) as answers:
            said = _describe(Path(answers), stale)
            for path in stale:
                found = _read(Path(answers) / f"{path.stem}.json") or {"problem": f"it could not be read: {said}"}
                before = (known[path] or {}).get("value", {})
                value = {**before, "problem": found["problem"]} if found.get("problem") else found
                known[path] = {"key": key, "given": _given(), "value": value}
                write_atomically(folder / f"{path.stem}.json", json.dumps(known[path]))
    return [
        _merged(path.stem, entry["value"])
        for path, entry in known.items()
        if entry and entry["value"].get("is_source", bool(entry["value"].get("problem")))
    ]


def _describe(folder: Path, paths: list[Path]) -> str:
    """Let another process write what it reads in these files; gives what it says in trouble."""
    command = [sys.executable, "-m", "lakehouse_assets.defs.ingestion.describe_sources", str(folder), *map(str, paths)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    return done.stderr[-500:]


def _merged(name: str, value: dict[str, Any]) -> Source:
    tables = {table["name"]: _table(table) for table in value.get("tables", [])}
    for table in _read(_learned_path(name)) or []:
        declared = tables.get(table["name"])
        learned = _table(table)
        if declared:
            learned = replace(
                learned,
                description=declared.description or learned.description,
                event_time=declared.event_time,
                is_counted=declared.is_counted,
                backfill=declared.backfill,
                fields=declared.fields,
                key=declared.key or learned.key,
            )
        tables[table["name"]] = learned
    options = {key: value[key] for key in ("problem", "owner", "schedule", "description") if key in value}
    return Source(name, list(tables.values()), **options)


def _table(value: dict[str, Any]) -> RawTable:
    return RawTable(**{**value, "columns": [(name, kind, text) for name, kind, text in value["columns"]]})


def _key() -> str:
    """Of the files that a source's description can depend on."""
    digest = hashlib.sha256(f"3 {version('dlt')}".encode())
    folder = PROJECT_ROOT / ".dlt"
    for path in sorted([*SOURCES_DIR.glob("*.py"), *folder.glob("*.toml")]):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _given() -> list[str]:
    """The settings of sources in the environment, by name."""
    return sorted(name for name in os.environ if name.startswith("SOURCES__"))


def _is_fresh(entry: Any, path: Path, key: str) -> bool:
    """Whether nothing has changed. A setting more may mend what can't be read; what can be is left as it was read."""
    if not entry or entry["key"] != key:
        return False
    if not entry["value"].get("problem"):
        return True
    return bool(entry["given"] == _given()) and time.time() - path.stat().st_mtime < PROBLEM_SECONDS


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _learned_path(source: str) -> Path:
    return load_settings().data_dir / "sources" / f"{source}.json"
