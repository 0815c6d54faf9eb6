"""What a SQLMesh project says of its models, as plain data that loads without SQLMesh."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

FORMAT = 8  # raise it when a field below changes: an older cached manifest is then rebuilt


@dataclass(frozen=True)
class TableRef:
    """A table in the warehouse, by the names SQLMesh normalised."""

    schema: str
    table: str
    catalog: str | None = None

    @property
    def name(self) -> str:
        """`schema.table`, or the table alone: how people and `touched` ranges name a model."""
        return f"{self.schema}.{self.table}" if self.schema else self.table


@dataclass(frozen=True)
class ColumnSpec:
    name: str
    type: str
    description: str | None = None
    sources: tuple[tuple[str, str, str], ...] = ()
    """What it is computed from: (schema, table, column), embedded models seen through."""


@dataclass(frozen=True)
class AuditSpec:
    check_name: str
    """The audit's name; with its columns behind it where the model has the audit twice."""
    audit: str
    arguments: str
    blocking: bool
    reads: tuple[TableRef, ...] = ()
    """Of a standalone audit: the models that it reads. It is kept with the most downstream of them."""

    @property
    def is_standalone(self) -> bool:
        return bool(self.reads)


@dataclass(frozen=True)
class ModelSpec:
    """One model that has a table or a view of its own (embedded models have none and are seen through)."""

    fqn: str
    ref: TableRef
    kind: str
    """SQLMesh's name of the kind: FULL, VIEW, SEED, INCREMENTAL_BY_TIME_RANGE, …"""
    language: str
    dialect: str
    view_name: str
    """Where a reader of this environment finds it, catalog and environment included."""
    depends_on: tuple[TableRef, ...]
    """Models upstream, in the project."""
    external: tuple[TableRef, ...]
    """Tables upstream that something else makes."""
    columns: tuple[ColumnSpec, ...]
    audits: tuple[AuditSpec, ...]
    description: str | None
    owner: str | None
    tags: tuple[str, ...]
    cron: str
    cron_seconds: int
    """The longest time between two of its ticks."""
    start: str
    """The first interval's start, ISO, UTC; inferred as SQLMesh does where the model has none of its own."""
    end: str | None
    """Exclusive."""
    interval_unit: str
    time_column: str | None
    grains: tuple[str, ...]
    data_hash: str
    path: str | None
    """Relative to the project's folder; absolute in a further repository of the project."""
    signals: tuple[str, ...] = ()
    auto_restatement_cron: str | None = None
    cron_tz: str | None = None
    """The cron's time zone; None: UTC."""
    hidden: tuple[str, ...] = ()
    """The columns, in small letters, that no sample shows: its tags `hidden:COLUMN` and those upstream."""
    query: str = ""
    """Its SQL with macros expanded, as for a first interval; empty for what is no SQL."""

    @property
    def name(self) -> str:
        return self.ref.name

    @property
    def is_partitioned(self) -> bool:
        return self.kind == "INCREMENTAL_BY_TIME_RANGE"


@dataclass(frozen=True)
class ExternalSpec:
    """A table that something else makes, declared in the project with audits."""

    ref: TableRef
    audits: tuple[AuditSpec, ...]


@dataclass(frozen=True)
class Manifest:
    key: str
    models: tuple[ModelSpec, ...]
    externals: tuple[ExternalSpec, ...] = ()
    """Those that have audits."""
    errors: tuple[str, ...] = ()
    """Why the project's present content could not be read: the models are then those last known."""

    @cached_property
    def by_name(self) -> dict[str, ModelSpec]:
        return {model.name: model for model in self.models}

    @cached_property
    def by_fqn(self) -> dict[str, ModelSpec]:
        return {model.fqn: model for model in self.models}

    def find(self, name: str) -> ModelSpec:
        """The model with this `schema.table` or full name; raises KeyError with the names it has."""
        found = self.by_name.get(name) or self.by_fqn.get(name)
        if found is None:
            raise KeyError(f"no model {name!r} in the project; it has {', '.join(sorted(self.by_name))}")
        return found

    def dumps(self) -> str:
        content = {
            "format": FORMAT,
            "key": self.key,
            "models": [asdict(model) for model in self.models],
            "externals": [asdict(external) for external in self.externals],
        }
        return json.dumps(content, indent=1, sort_keys=True)

    @classmethod
    def loads(cls, text: str) -> Manifest | None:
        """The manifest, or None when another version of this module wrote it."""
        content = json.loads(text)
        if content.get("format") != FORMAT:
            return None
        externals = (
            ExternalSpec(_ref(raw["ref"]), tuple(_audit(audit) for audit in raw["audits"]))
            for raw in content["externals"]
        )
        return cls(
            key=content["key"],
            models=tuple(_model(raw) for raw in content["models"]),
            externals=tuple(externals),
        )


def _ref(raw: Mapping[str, Any]) -> TableRef:
    return TableRef(**raw)


def _audit(raw: Mapping[str, Any]) -> AuditSpec:
    return AuditSpec(**{**raw, "reads": tuple(_ref(table) for table in raw["reads"])})


def _model(raw: dict[str, Any]) -> ModelSpec:
    columns = tuple(
        ColumnSpec(**{**column, "sources": tuple(tuple(source) for source in column["sources"])})
        for column in raw["columns"]
    )
    plain = ("tags", "grains", "signals", "hidden")
    return ModelSpec(
        **{
            **raw,
            "ref": _ref(raw["ref"]),
            "depends_on": tuple(_ref(up) for up in raw["depends_on"]),
            "external": tuple(_ref(up) for up in raw["external"]),
            "columns": columns,
            "audits": tuple(_audit(audit) for audit in raw["audits"]),
            **{name: tuple(raw[name]) for name in plain},
        }
    )
