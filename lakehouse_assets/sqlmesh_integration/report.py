"""Outcomes as Dagster's events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from lakehouse_assets.sqlmesh_integration import event_log
from lakehouse_assets.sqlmesh_integration.checks import Checks
from lakehouse_assets.sqlmesh_integration.deployment import Deployment
from lakehouse_assets.sqlmesh_integration.manifest import Manifest
from lakehouse_assets.sqlmesh_integration.outcome import ModelOutcome
from lakehouse_assets.sqlmesh_integration.partitions import keys_within, partitions_definition
from lakehouse_assets.sqlmesh_integration.ranges import Range
from lakehouse_assets.sqlmesh_integration.request import Request
from lakehouse_assets.sqlmesh_integration.rows import RowCounter
from lakehouse_assets.sqlmesh_integration.translator import MEASURE, PREVIEW


class Reporter:
    """Tells one run's outcomes to Dagster, under the keys of its multi-asset."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        request: Request,
        manifest: Manifest,
        deployment: Deployment,
    ):
        self.context = context
        self.request = request
        self.manifest = manifest
        self.deployment = deployment
        self.checks = Checks(context, request, manifest, deployment)
        self.specs = context.assets_def.specs_by_key

    def warn_of_drift(self) -> None:
        """Say which chosen models' checked-out code is not what runs."""
        for error in self.manifest.errors:
            self.context.log.warning(error)
        drifted = [name for name in self.request.keys if self._drifted(name)]
        if drifted:
            self.context.log.warning(
                f"The checked-out code of {', '.join(drifted)} differs from what is deployed in "
                f"{self.deployment.environment.name}; the deployed code runs. Deploy to change that."
            )

    def left(self, outcome: ModelOutcome) -> Iterator[Any]:
        """A model that was chosen and is not computed: a line, and an observation where a person asked."""
        self.context.log.info(f"{outcome.name} is left as it is: {outcome.reason}.")
        asked = self.request.by_hand and self.request.mode != "catch_up"
        if asked and outcome.state in ("up_to_date", "shared"):
            yield dg.AssetObservation(
                self.request.keys[outcome.name],
                metadata={"sqlmesh/state": outcome.state, "sqlmesh/reason": outcome.reason},
                partition=self.context.partition_key if self.context.has_partition_key else None,
            )

    def finished(self, outcome: ModelOutcome) -> Iterator[Any]:
        key = self.request.keys.get(outcome.name)
        if outcome.state == "computed" and key is None:
            self._materialized_elsewhere(outcome)
        elif outcome.state == "computed" and key is not None:
            self._log_partitions(outcome, key)
            if self.request.window is None:
                event_log.note_newest_events(self.context, [dep.asset_key for dep in self.specs[key].deps])
            yield dg.MaterializeResult(
                asset_key=key,
                metadata=self._metadata(outcome),
                data_version=dg.DataVersion(f"{outcome.snapshot_version}-{self.deployment.now}"),
                tags={"dagster/code_version": self.deployment.snapshots[outcome.name].fingerprint.data_hash},
            )
            yield from self.checks.of(outcome)
        else:
            self.context.log.info(f"{outcome.name} is {outcome.state.replace('_', ' ')}: {outcome.reason}")
            self._forget_partitions(outcome)
            yield from self.checks.of(outcome)

    def look(self, outcome: ModelOutcome) -> None:
        """Take a preview of a model just computed, where its asset wants one. In the computing thread."""
        if self._is_partitioned(outcome.name):
            outcome.total_rows = RowCounter(self.deployment, lambda *_: None).total(outcome.name)
        key = self.request.all_keys.get(outcome.name)
        wanted = self.specs[key].metadata if key is not None else {}
        if wanted.get(PREVIEW):
            from lakehouse_assets.sqlmesh_integration.preview import take

            outcome.preview, outcome.plot = take(self.deployment, outcome.name, wanted.get(MEASURE))

    # ------------------------------------------------------------------------------------------------

    def _drifted(self, name: str) -> bool:
        model, snapshot = self.manifest.by_name.get(name), self.deployment.snapshots.get(name)
        return bool(model and snapshot and model.data_hash != snapshot.fingerprint.data_hash)

    def _metadata(self, outcome: ModelOutcome) -> dict[str, Any]:
        """What belongs on each event; a run over partitions has one for each of them."""
        entries: dict[str, Any] = {"sqlmesh/snapshot_version": outcome.snapshot_version}
        if self._drifted(outcome.name):
            entries["sqlmesh/warning"] = "the checked-out code differs from the deployed code that ran"
        if self.request.window is None or not self._is_partitioned(outcome.name):
            entries |= {"sqlmesh/intervals": _text(outcome), **self._of_the_table(outcome)}
        return entries

    def _of_the_table(self, outcome: ModelOutcome) -> dict[str, Any]:
        """What is said once: on the event of the newest partition, which the asset's page shows, if there are some."""
        entries: dict[str, Any] = {
            "sqlmesh/duration_seconds": round(outcome.duration_seconds, 3),
            "sqlmesh/physical_table": outcome.physical_table,
        }
        if None in outcome.rows:
            entries["dagster/row_count"] = outcome.rows[None]
        elif self._is_partitioned(outcome.name):
            entries["sqlmesh/rows_written"] = sum(outcome.rows.values())
            if outcome.total_rows is not None:
                entries["dagster/row_count"] = outcome.total_rows
        looks = {"preview": outcome.preview, "plot": outcome.plot}
        return entries | {name: dg.MetadataValue.md(text) for name, text in looks.items() if text}

    def _is_partitioned(self, name: str) -> bool:
        model = self.manifest.by_name.get(name)
        return model is not None and model.is_partitioned

    def _partitions(self, outcome: ModelOutcome, ranges: Sequence[Range] | None = None) -> list[str]:
        model = self.manifest.by_name.get(outcome.name)
        definition = partitions_definition(model) if model is not None else None
        if model is None or definition is None:
            return []
        return keys_within(model, definition, outcome.intervals if ranges is None else ranges)

    def _log_partitions(self, outcome: ModelOutcome, key: dg.AssetKey) -> None:
        """The partitions that this run computed: Dagster itself records only those the run was asked for."""
        partitions = self._partitions(outcome)
        asked: set[str] = set()
        if self.request.window is not None and partitions:
            asked = set(self.context.partition_keys)
            added: dict[str, dict[str, Any]] = {
                name: {"dagster/partition_row_count": outcome.rows.get(name, 0)} for name in asked
            }
            added[max(asked)] |= self._of_the_table(outcome)
            event_log.add_partition_metadata(self.context, key, added)
        event_log.store_partitions(
            self.context.instance,
            key,
            {name: outcome.rows.get(name, 0) for name in partitions if name not in asked},
            run=self.context.run,
            step_key=self.context.op_execution_context.get_step_execution_context().step.key,
            metadata={"sqlmesh/snapshot_version": outcome.snapshot_version},
        )

    def _forget_partitions(self, outcome: ModelOutcome) -> None:
        """What a failed or skipped model was to compute is missing in SQLMesh's state: so it shows here."""
        key = self.request.all_keys.get(outcome.name)
        if key is not None:
            missing = self._partitions(outcome, self.deployment.missing(outcome.name))
            known = self.context.instance.get_materialized_partitions(key) if missing else set()
            event_log.forget_partitions(self.context.instance, key, known & set(missing))

    def _materialized_elsewhere(self, outcome: ModelOutcome) -> None:
        """A model that the run's option `downstream` added: not among the run's assets, so told as an event."""
        key = self.request.all_keys.get(outcome.name)
        if key is None:
            return
        self._log_partitions_unasked(outcome, key)
        self.context.log_event(dg.AssetMaterialization(key, metadata=self._metadata(outcome)))

    def _log_partitions_unasked(self, outcome: ModelOutcome, key: dg.AssetKey) -> None:
        event_log.store_partitions(
            self.context.instance,
            key,
            {name: outcome.rows.get(name, 0) for name in self._partitions(outcome)},
            run=self.context.run,
            step_key=self.context.op_execution_context.get_step_execution_context().step.key,
            metadata={"sqlmesh/snapshot_version": outcome.snapshot_version},
        )


def _text(outcome: ModelOutcome) -> str:
    shown = [f"[{start:%Y-%m-%d %H:%M}, {end:%Y-%m-%d %H:%M})" for start, end in outcome.intervals]
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")
