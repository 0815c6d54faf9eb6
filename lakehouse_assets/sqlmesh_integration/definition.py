"""The models' assets definition: one op over assets that are partitioned differently."""

from __future__ import annotations

import warnings
from typing import Any

import dagster as dg


class ModelsDefinition(dg.AssetsDefinition):
    """An AssetsDefinition that may be asked for *the* partitions of models which have several.

    Dagster 1.13 lets the specs of a multi-asset be partitioned differently, and raises where it asks for the
    definition's one: in its telemetry, which a fresh instance has switched on, so that `dagster asset
    materialize` fails; and wherever a step asks. Here the answer is then that there is none.
    """

    @property
    def partitions_def(self) -> dg.PartitionsDefinition | None:
        """The one that all partitioned models of the selection share; None when they differ."""
        found = {spec.partitions_def for spec in self.specs if spec.partitions_def and spec.key in self.keys}
        return next(iter(found)) if len(found) == 1 else None

    @property
    def all_check_specs(self) -> list[dg.AssetCheckSpec]:
        """Also those that the run did not choose."""
        return list(self.get_attributes_dict()["check_specs_by_output_name"].values())

    @staticmethod
    def dagster_internal_init(**attributes: Any) -> ModelsDefinition:
        """How Dagster copies a definition, in selecting a part of it for instance: the copy is of this class too."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            warnings.simplefilter("ignore", dg.PreviewWarning)
            return ModelsDefinition(**attributes)

    @classmethod
    def of(cls, assets: dg.AssetsDefinition) -> ModelsDefinition:
        return cls.dagster_internal_init(**assets.get_attributes_dict())
