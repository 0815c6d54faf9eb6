"""What a loaded project says of its models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlmesh import Context
from sqlmesh.core.environment import EnvironmentNamingInfo
from sqlmesh.core.lineage import column_dependencies
from sqlmesh.core.model import Model
from sqlmesh.core.snapshot import Snapshot
from sqlmesh.core.snapshot.definition import QualifiedViewName
from sqlmesh.utils.date import make_exclusive


def environment_naming(context: Context, environment: str) -> EnvironmentNamingInfo:
    return EnvironmentNamingInfo.from_environment_catalog_mapping(
        context.environment_catalog_mapping,
        name=EnvironmentNamingInfo.sanitize_name(environment),
        suffix_target=context.config.environment_suffix_target,
        gateway_managed=context.config.gateway_managed_virtual_layer,
    )


def view_name(fqn: str, naming: EnvironmentNamingInfo, dialect: str | None) -> str:
    from sqlglot import exp

    table = exp.to_table(fqn)
    view = QualifiedViewName(catalog=table.catalog or None, schema_name=table.db or None, table=table.name)
    return view.for_environment(naming, dialect=dialect)


def column_sources(context: Context, fqn: str, column: str) -> dict[str, set[str]]:
    from sqlglot import exp

    return column_dependencies(context, fqn, exp.column(column, quoted=True))


HIDDEN = "hidden:"
"""A model's tag `hidden:COLUMN` keeps the column out of whatever shows rows."""


def hidden_by_tags(tags: Iterable[str]) -> set[str]:
    """The columns, in small letters, that these tags hide."""
    return {tag.removeprefix(HIDDEN).strip().lower() for tag in tags if tag.startswith(HIDDEN)}


def hidden_columns(snapshot: Snapshot, snapshots: Mapping[str, Snapshot]) -> frozenset[str]:
    """The columns, in small letters, that this node or anything it reads wants hidden. `snapshots` by full name."""
    seen, waiting, found = {snapshot.name}, [snapshot], set()
    while waiting:
        one = waiting.pop()
        found |= hidden_by_tags(one.node.tags)
        new = {parent.name for parent in one.parents} - seen
        seen |= new
        waiting += [snapshots[name] for name in new if name in snapshots]
    return frozenset(found)


def shows_hidden(query: Any, hidden: Iterable[str]) -> frozenset[str]:
    """The hidden columns, and the names under which a query has them or what it makes of them."""
    from sqlglot import exp

    known = set(hidden)
    aliases = list(query.find_all(exp.Alias)) if known else []
    while True:
        new = {
            one.alias.lower()
            for one in aliases
            if any(column.name.lower() in known for column in one.this.find_all(exp.Column))
        }
        if new <= known:
            return frozenset(known)
        known |= new


def counted_unit(snapshot: Snapshot) -> str:
    """The unit of its intervals, `day` say; empty for what is computed as a whole, whatever its cron."""
    is_whole = snapshot.is_full or snapshot.is_view or snapshot.is_seed
    return "" if is_whole else snapshot.node.interval_unit.value


def file_of(model: Model) -> Path | None:
    """Where a loaded model is written; None for one that no file of the project holds."""
    return Path(model._path).resolve() if model._path else None


def exclusive_end(model: Model) -> str | None:
    return make_exclusive(model.end).isoformat() if model.end else None
