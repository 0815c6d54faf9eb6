"""dagster-dlt's view of our raw tables: their keys only, since their specs come from the manifest."""

from __future__ import annotations

import dagster as dg
from dagster_dlt import DagsterDltTranslator
from dagster_dlt.translator import DltResourceTranslatorData


class RawTranslator(DagsterDltTranslator):
    """`[raw, <table>]` for every dlt resource."""

    def get_asset_spec(self, data: DltResourceTranslatorData) -> dg.AssetSpec:
        """The key by which a dlt resource finds its asset."""
        return dg.AssetSpec(key=["raw", str(data.resource.table_name)])
