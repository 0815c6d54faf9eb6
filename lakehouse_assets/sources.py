"""The dlt sources of the graph, and what their tables look like, without importing dlt when nothing changed."""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.metadata import version
from types import ModuleType

from dlt_sources.datasets import dataset, dataset_names, declared_entity
from dlt_sources.declaration import DeclarationError
from lakehouse.settings import PROJECT_ROOT, load_settings
from lakehouse_assets.content_cache import cached

SOURCES = ("nyc_collisions", *dataset_names())
"""One name a source: its module or declaration in dlt_sources, its dlt source, Dagster group and tables' prefix."""
SOURCES_DIR = PROJECT_ROOT / "dlt_sources"


@dataclass(frozen=True)
class RawTable:
    """A table of the zone `raw` as its source declares it."""

    source: str
    name: str
    description: str
    columns: list[tuple[str, str, str]] = field(default_factory=list)  # name, DuckDB type, description
    event_time: str | None = None
    from_files: bool = False
    fields: dict[str, list[str]] = field(default_factory=dict)  # by column what the source calls it
    problem: str = ""
    """What is wrong with the declaration: the table is there, and its loads say this."""

    @property
    def full_name(self) -> str:
        """`raw.<table>`."""
        return f"raw.{self.name}"


def source_module(source: str) -> ModuleType:
    """The module that has the dlt source under its name. Imports dlt: call it inside a run."""
    if source in dataset_names():
        return importlib.import_module("dlt_sources.datasets")
    return importlib.import_module(f"dlt_sources.{source}")


@lru_cache
def raw_tables() -> tuple[RawTable, ...]:
    """Every declared raw table, from a manifest that is made again when a file of dlt_sources changes."""
    value = cached(
        load_settings().cache_dir / "raw_tables.json",
        [*SOURCES_DIR.glob("*.py"), *SOURCES_DIR.glob("datasets/*.toml")],
        salt=f"4 {version('dlt')} {SOURCES}",
        build=lambda: [asdict(table) for source in SOURCES for table in _declared(source)],
    )
    return tuple(
        RawTable(**{**table, "columns": [(name, kind, text) for name, kind, text in table["columns"]]})
        for table in value
    )


def tables_of(source: str) -> list[RawTable]:
    """The raw tables of one source."""
    return [table for table in raw_tables() if table.source == source]


def pipeline_of() -> dict[str, str]:
    """Raw table (`raw.<table>`) -> the pipeline, named as its source, that loads it."""
    return {table.full_name: table.source for table in raw_tables()}


def _declared(source: str) -> list[RawTable]:
    """A dataset's table, or the tables that the source's module declares or imports."""
    from dlt_sources.tables import Table

    if source in dataset_names():
        try:
            found = [dataset(source).table]
        except DeclarationError as error:
            entity = declared_entity(source)
            told = f"The declaration can't be used: {error}"
            return (
                [RawTable(source, f"{source}__{entity}", told, from_files=True, problem=str(error))] if entity else []
            )
    else:
        found = [value for value in vars(source_module(source)).values() if isinstance(value, Table)]
    if not found:
        raise ValueError(f"dlt_sources/{source}.py declares no Table: declare what it loads.")
    return [
        RawTable(
            source=source,
            name=table.name,
            description=table.description,
            columns=[(column.name, column.type, column.description) for column in table.columns],
            event_time=table.event_time,
            from_files=source in dataset_names(),
            fields={column: list(names) for column, names in table.fields.items()},
        )
        for table in found
    ]
