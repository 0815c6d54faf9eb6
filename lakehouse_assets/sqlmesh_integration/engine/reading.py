"""What a loaded project says of its models."""

from __future__ import annotations

from pathlib import Path

from sqlmesh import Context
from sqlmesh.core.environment import EnvironmentNamingInfo
from sqlmesh.core.lineage import column_dependencies
from sqlmesh.core.model import Model
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


def file_of(model: Model) -> Path | None:
    """Where a loaded model is written; None for one that no file of the project holds."""
    return Path(model._path).resolve() if model._path else None


def exclusive_end(model: Model) -> str | None:
    return make_exclusive(model.end).isoformat() if model.end else None
