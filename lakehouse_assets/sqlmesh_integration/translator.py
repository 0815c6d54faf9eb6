"""How a SQLMesh model looks as a Dagster asset. Subclass it and override what should look different."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from lakehouse_assets.sqlmesh_integration.manifest import AuditSpec, ModelSpec, TableRef
from lakehouse_assets.sqlmesh_integration.names import key_part
from lakehouse_assets.sqlmesh_integration.partitions import partitions_definition
from lakehouse_assets.sqlmesh_integration.project import SqlmeshProject

MODEL = "sqlmesh/model"
"""The metadata entry that names the model behind an asset."""
AUDIT = "sqlmesh/audit"
PREVIEW = "sqlmesh/preview"
MEASURE = "sqlmesh/measure"
SNAPSHOT_VERSION = "sqlmesh/snapshot_version"

KINDS = {
    "INCREMENTAL_BY_TIME_RANGE": "incremental",
    "INCREMENTAL_BY_UNIQUE_KEY": "incremental",
    "INCREMENTAL_BY_PARTITION": "incremental",
    "INCREMENTAL_UNMANAGED": "incremental",
    "SCD_TYPE_2_BY_TIME": "scd2",
    "SCD_TYPE_2_BY_COLUMN": "scd2",
    "SCD_TYPE_2": "scd2",
}


class SqlmeshTranslator:
    """Turns models into asset specs and audits into asset check specs."""

    def asset_key(self, table: TableRef, environment: str) -> dg.AssetKey:
        """`[schema, table]`, with the environment's name in front outside prod."""
        parts = _parts(table)
        return dg.AssetKey(parts if environment == "prod" else [environment, *parts])

    def external_key(self, table: TableRef) -> dg.AssetKey:
        """The asset that makes a table which is no model: the one with the table's own name.

        Of a name with other characters than letters, digits, `_` and `-`, what Dagster takes, and a digest.
        """
        return dg.AssetKey(_parts(table))

    def group_name(self, model: ModelSpec) -> str:
        return _identifier(model.ref.schema or "sqlmesh")

    def tags(self, model: ModelSpec) -> Mapping[str, str]:
        return {_tag(tag): "" for tag in model.tags}

    def owners(self, model: ModelSpec) -> Sequence[str]:
        """An address as it is; anything else as a team."""
        if not model.owner:
            return []
        if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", model.owner):
            return [model.owner]
        return [f"team:{re.sub(r'[^A-Za-z0-9_.-]+', '-', model.owner)}"]

    def kinds(self, model: ModelSpec) -> set[str]:
        kind = "python" if model.language == "python" else KINDS.get(model.kind, model.kind.lower())
        return {"sqlmesh", kind, *([model.dialect] if model.dialect else [])}

    def description(self, model: ModelSpec) -> str | None:
        return model.description

    def automation_condition(self, model: ModelSpec) -> dg.AutomationCondition[Any] | None:
        """None: `automation.cron_schedule` starts whatever is due, which no condition on one asset can know."""
        return None

    def freshness_policy(self, model: ModelSpec) -> dg.FreshnessPolicy | None:
        """None; `automation.freshness_by_cron` makes one of the model's cron."""
        return None

    def has_preview(self, model: ModelSpec) -> bool:
        """Whether a materialization carries a few rows and a small plot: two more queries a model."""
        return False

    def measure(self, model: ModelSpec) -> str | None:
        """The column that the plot shows; None: an amount of money if there is one, else a count."""
        return None

    def metadata(self, model: ModelSpec, project: SqlmeshProject) -> Mapping[str, Any]:
        entries: dict[str, Any] = {
            MODEL: model.name,
            "dagster/table_name": model.view_name,
            "dagster/column_schema": _column_schema(model),
            "sqlmesh/kind": model.kind,
            "sqlmesh/cron": model.cron,
            "sqlmesh/environment": project.environment,
        }
        if model.grains:
            entries["sqlmesh/grain"] = ", ".join(model.grains)
        if self.has_preview(model):
            entries[PREVIEW] = True
            if measure := self.measure(model):
                entries[MEASURE] = measure
        if model.path:
            entries["dagster/code_references"] = _code_reference(str(project.folder / model.path))
        return entries

    # -------------------------------------------------------- what is put together; rarely overridden

    def asset_spec(self, model: ModelSpec, project: SqlmeshProject) -> dg.AssetSpec:
        metadata = dict(self.metadata(model, project))
        lineage = self._lineage(model, project)
        if lineage:
            metadata["dagster/column_lineage"] = dg.TableColumnLineage(lineage)
        return dg.AssetSpec(
            key=self.asset_key(model.ref, project.environment),
            deps=[
                *(self.asset_key(table, project.environment) for table in model.depends_on),
                *(self.external_key(table) for table in model.external),
            ],
            description=self.description(model),
            metadata=metadata,
            skippable=True,  # a run over what is not due computes nothing, and that is no error
            group_name=self.group_name(model),
            code_version=model.data_hash,
            owners=list(self.owners(model)),
            tags=dict(self.tags(model)),
            kinds=self.kinds(model),
            partitions_def=partitions_definition(model),
            automation_condition=self.automation_condition(model),
            freshness_policy=self.freshness_policy(model),
        )

    def check_spec(self, model: ModelSpec, audit: AuditSpec, project: SqlmeshProject) -> dg.AssetCheckSpec:
        call = f"`{audit.audit}({audit.arguments})`"
        effect = "stops what reads this table" if audit.blocking else "only warns"
        description = f"The audit {call} finds no row; a failure {effect}."
        others = [table for table in audit.reads if table != model.ref]
        if audit.is_standalone:
            read = ", ".join(table.name for table in audit.reads)
            description = f"The standalone audit `{audit.audit}` over {read} finds no row; a failure only warns."
        return dg.AssetCheckSpec(
            name=audit.check_name,
            asset=self.asset_key(model.ref, project.environment),
            additional_deps=[self.asset_key(table, project.environment) for table in others],
            description=description,
            blocking=audit.blocking,
            metadata={AUDIT: audit.audit, "sqlmesh/blocking": audit.blocking},
        )

    def external_check_spec(self, table: TableRef, audit: AuditSpec, project: SqlmeshProject) -> dg.AssetCheckSpec:
        """An audit of a table that is no model: a check of the asset that makes it, for each environment its own."""
        suffix = "" if project.environment == "prod" else f"_{project.environment}"
        effect = "stops the models that read this table" if audit.blocking else "only warns"
        return dg.AssetCheckSpec(
            name=f"{audit.check_name}{suffix}",
            asset=self.external_key(table),
            description=f"The audit `{audit.audit}({audit.arguments})` finds no row; a failure {effect}.",
            metadata={MODEL: table.name, AUDIT: audit.check_name, "sqlmesh/blocking": audit.blocking},
        )

    def _lineage(self, model: ModelSpec, project: SqlmeshProject) -> dict[str, list[dg.TableColumnDep]]:
        models = {(table.schema, table.table) for table in model.depends_on}
        lineage: dict[str, list[dg.TableColumnDep]] = {}
        for column in model.columns:
            for schema, name, source in column.sources:
                table = TableRef(schema, name)
                known = (schema, name) in models
                key = self.asset_key(table, project.environment) if known else self.external_key(table)
                lineage.setdefault(column.name, []).append(dg.TableColumnDep(key, source))
        return lineage


def _parts(table: TableRef) -> list[str]:
    return [key_part(part) for part in (table.schema, table.table) if part]


def _column_schema(model: ModelSpec) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(column.name, type=column.type, description=column.description) for column in model.columns
        ]
    )


def _code_reference(path: str) -> dg.CodeReferencesMetadataValue:
    with warnings.catch_warnings():  # both classes are "beta" in dagster 1.13
        warnings.simplefilter("ignore", dg.BetaWarning)
        reference = dg.LocalFileCodeReference(file_path=path, line_number=1)
        return dg.CodeReferencesMetadataValue(code_references=[reference])


def _identifier(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", text)


def _tag(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)[:63].strip("_.-") or "sqlmesh"
