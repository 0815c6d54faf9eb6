"""One model as an environment has it, apart from the SQLMesh objects that it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sqlglot import exp

from lakehouse_assets.sqlmesh_integration.ranges import Range, as_intervals, interval_count

if TYPE_CHECKING:
    from sqlmesh.core.model import Model


@dataclass(frozen=True)
class DeployedModel:
    """One model as an environment has it now."""

    name: str
    fqn: str
    kind: str
    version: str
    physical_table: str
    owner: str
    """The environment that computes this table; another one only reads it."""
    data_hash: str
    computed: tuple[Range, ...]
    missing: tuple[Range, ...]
    """What its cron says should be computed by now, and is not."""
    altered_at: datetime | None = None
    """When SQLMesh last computed any of it."""
    upstream: tuple[str, ...] = ()
    """The deployed models it reads, embedded ones seen through; `schema.table`."""
    external: tuple[str, ...] = ()
    """The tables it reads that are no models; `schema.table`."""
    is_view: bool = False
    view: str = ""
    """Where this environment reads it; `schema.table`."""
    tags: tuple[str, ...] = ()
    description: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Descriptions, of the columns that have one."""
    partitioned_by: tuple[str, ...] = ()
    """The columns that it is stored by; what is no plain column is left as SQL."""
    hidden: frozenset[str] = frozenset()
    """The columns, in small letters, that no sample of its rows shows: its tags `hidden:COLUMN` and those upstream."""
    grain: tuple[str, ...] = ()
    """The columns that tell its rows apart: its grain, else its unique key."""
    interval_unit: str = ""
    """`day`, `month`; empty where it is computed as a whole."""
    audits: tuple[str, ...] = ()
    """Its audits with their arguments, and whether they stop a run, in words."""

    @property
    def interval_count(self) -> int:
        """How many intervals are computed; 1 where it is computed as a whole."""
        return interval_count(as_intervals(self.computed), self.interval_unit)


def storage_columns(model: Model) -> tuple[str, ...]:
    """The columns that a model's table is stored by; what is no plain column is left as SQL."""
    return tuple(
        column.name if isinstance(column, exp.Column) else column.sql(dialect=model.dialect)
        for column in model.partitioned_by
    )


def grain_columns(model: Model) -> tuple[str, ...]:
    """The columns that tell a model's rows apart: its grain, else its unique key."""
    keys = model.grains[:1] or model.unique_key
    return tuple(column.name for key in keys for column in key.find_all(exp.Column))
