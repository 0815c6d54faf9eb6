"""What a run was asked for: which models, which time, and whether to recompute or to catch up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import dagster as dg

from lakehouse_assets.sqlmesh_integration.partitions import window_of
from lakehouse_assets.sqlmesh_integration.translator import AUDIT, MODEL

# Dagster marks so the runs that no person started.
AUTOMATIC = (
    "dagster/schedule_name",
    "dagster/sensor_name",
    "dagster/auto_materialize",
    "dagster/from_automation_condition",
    "dagster/automation_condition_sensor",
)

MODE_TAG = "sqlmesh/mode"
"""A run's tag that stands for the option `mode`, for jobs that always mean the same."""

RUN_CONFIG: Any = {
    "mode": dg.Field(
        dg.Enum("SqlmeshRunMode", [dg.EnumValue(mode) for mode in ("auto", "catch_up", "recompute")]),
        is_required=False,
        default_value="auto",
        description=(
            "catch_up: compute what is due or missing. recompute: compute again, from each model's start or over "
            "the run's partitions. auto: recompute the partitions given; without any catch up, and a full model "
            "or a view that a person chose is recomputed."
        ),
    ),
    "downstream": dg.Field(
        bool, is_required=False, default_value=False, description="Also recompute everything downstream."
    ),
}


@dataclass(frozen=True)
class Request:
    keys: Mapping[str, dg.AssetKey]
    """Chosen models, by `schema.table`."""
    all_keys: Mapping[str, dg.AssetKey]
    """Every model of the same multi-asset."""
    external_checks: Mapping[tuple[str, str], dg.AssetCheckKey]
    """The checks of tables that are no models, by `schema.table` and the audit's check name."""
    mode: Literal["auto", "catch_up", "recompute"]
    downstream: bool
    window: tuple[datetime, datetime] | None
    by_hand: bool
    checks: frozenset[tuple[dg.AssetKey, str]]

    @property
    def recomputes(self) -> bool:
        return self.mode == "recompute" or (self.mode == "auto" and self.window is not None)

    @property
    def checked(self) -> set[str]:
        """The models and other tables, by `schema.table`, of which checks were chosen."""
        named = {(key.asset_key, key.name): name for (name, _), key in self.external_checks.items()}
        named |= {check: name for name, key in self.all_keys.items() for check in self.checks if check[0] == key}
        return {named[check] for check in self.checks if check in named}

    @classmethod
    def of(cls, context: dg.AssetExecutionContext) -> Request:
        specs = context.assets_def.specs_by_key
        all_keys = {spec.metadata[MODEL]: key for key, spec in specs.items() if MODEL in spec.metadata}
        chosen = set(context.selected_asset_keys)
        window = window_of(context, sorted(chosen))
        config = context.op_execution_context.op_config or {}
        mode: Any = config.get("mode", "auto")
        if mode == "auto":
            mode = context.run.tags.get(MODE_TAG, mode)
        every: Any = context.assets_def
        external = [spec for spec in every.all_check_specs if MODEL in spec.metadata]
        return cls(
            keys={name: key for name, key in all_keys.items() if key in chosen},
            all_keys=all_keys,
            external_checks={(spec.metadata[MODEL], spec.metadata[AUDIT]): spec.key for spec in external},
            mode=mode,
            downstream=config.get("downstream", False),
            window=(window.start, window.end) if window else None,
            by_hand=not any(tag in context.run.tags for tag in AUTOMATIC),
            checks=frozenset((key.asset_key, key.name) for key in context.selected_asset_check_keys),
        )
