"""`@sqlmesh_assets`: a SQLMesh project's models as one subsettable multi-asset."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from typing import Any

import dagster as dg

from lakehouse_assets.sqlmesh_integration.definition import ModelsDefinition
from lakehouse_assets.sqlmesh_integration.manifest import ModelSpec
from lakehouse_assets.sqlmesh_integration.names import distinct_keys, renamed
from lakehouse_assets.sqlmesh_integration.project import SqlmeshProject
from lakehouse_assets.sqlmesh_integration.request import RUN_CONFIG
from lakehouse_assets.sqlmesh_integration.translator import SqlmeshTranslator

logger = logging.getLogger(__name__)

Selection = Callable[[ModelSpec], bool] | Collection[str]


def sqlmesh_assets(
    *,
    project: SqlmeshProject,
    translator: SqlmeshTranslator | None = None,
    select: Selection | None = None,
    name: str | None = None,
    pool: str | None = None,
    retry_policy: dg.RetryPolicy | None = None,
    op_tags: dict[str, Any] | None = None,
) -> Callable[[Callable[..., Iterable[Any]]], dg.AssetsDefinition]:
    """Assets and checks of the project's models; the decorated function yields what `SqlmeshResource.run` does.

    `select` leaves models out: names (`schema.table`) or a predicate. `pool` should hold one slot for each
    environment: SQLMesh has no lock of its own, and two runs at once write the same tables.
    """
    translator = translator or SqlmeshTranslator()
    manifest = project.manifest()
    for error in manifest.errors:
        logger.error("%s", error)
    if select is not None and not callable(select) and not manifest.errors:
        for model_name in select:
            manifest.find(model_name)
    models = [model for model in manifest.models if _selected(model, select)]
    if not models:
        logger.warning("no model of the SQLMesh project in %s is an asset here", project.folder)
    specs = [translator.asset_spec(model, project) for model in models]
    checks = [translator.check_spec(model, audit, project) for model in models for audit in model.audits]
    for external in manifest.externals:
        # One definition has its checks, where several hold a part of the models: that of the first which reads it.
        reader = next((model for model in manifest.models if external.ref in model.external), None)
        if reader in models or (reader is None and select is None):
            checks += [translator.external_check_spec(external.ref, audit, project) for audit in external.audits]
    if keys := distinct_keys([spec.key for spec in specs], checks):
        specs = [renamed(spec, keys) for spec in specs]
        checks = [
            check.replace_key(dg.AssetCheckKey(keys.get(check.asset_key, check.asset_key), check.name))
            for check in checks
        ]
    if manifest.errors:
        stale = {"sqlmesh/error": dg.MetadataValue.text("\n".join(manifest.errors))}
        specs = [spec.merge_attributes(metadata=stale) for spec in specs]

    def decorate(function: Callable[..., Iterable[Any]]) -> dg.AssetsDefinition:
        assets = dg.multi_asset(
            name=name or function.__name__,
            specs=specs,
            check_specs=checks,
            allow_arbitrary_check_specs=True,  # those of tables that are no models
            can_subset=True,
            pool=pool,
            retry_policy=retry_policy,
            backfill_policy=dg.BackfillPolicy.single_run(),
            op_tags=op_tags,
            config_schema=RUN_CONFIG,
        )(function)
        return ModelsDefinition.of(assets)

    return decorate


def _selected(model: ModelSpec, select: Selection | None) -> bool:
    if select is None:
        return True
    return select(model) if callable(select) else model.name in select
