"""Outcomes as Dagster's events."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import dagster as dg

from lakehouse_assets.sqlmesh_integration import event_log
from lakehouse_assets.sqlmesh_integration.checks import Checks
from lakehouse_assets.sqlmesh_integration.deployed import Deployment
from lakehouse_assets.sqlmesh_integration.event_log import PARTITION_ROWS
from lakehouse_assets.sqlmesh_integration.manifest import Manifest
from lakehouse_assets.sqlmesh_integration.outcome import ModelOutcome
from lakehouse_assets.sqlmesh_integration.partitions import keys_within, partitions_definition
from lakehouse_assets.sqlmesh_integration.ranges import Range
from lakehouse_assets.sqlmesh_integration.request import Request
from lakehouse_assets.sqlmesh_integration.translator import MEASURE, PREVIEW, SNAPSHOT_VERSION


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
        asked = self.request.by_hand and self.request.mode != "catch_up" and outcome.name in self.request.keys
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
            yield from self.checks.of(outcome)
        elif outcome.state == "computed" and key is not None:
            not_computed = self._log_partitions(outcome, key)
            if self.request.window is None:
                event_log.note_newest_events(self.context, [dep.asset_key for dep in self.specs[key].deps])
            yield dg.MaterializeResult(
                asset_key=key,
                metadata=self._metadata(outcome),
                data_version=dg.DataVersion(f"{outcome.snapshot_version}-{self.deployment.now}"),
                tags={"dagster/code_version": self.deployment.snapshots[outcome.name].fingerprint.data_hash},
            )
            self._take_back(key, outcome, not_computed)
            yield from self.checks.of(outcome)
        else:
            self.context.log.info(f"{outcome.name} is {outcome.state.replace('_', ' ')}: {outcome.reason}")
            self.show_state(outcome)
            yield from self.checks.of(outcome)

    def look(self, outcome: ModelOutcome) -> None:
        """Take a preview of a model just computed, where its asset wants one. In the computing thread."""
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
        entries: dict[str, Any] = {SNAPSHOT_VERSION: outcome.snapshot_version}
        if self._drifted(outcome.name):
            entries["sqlmesh/warning"] = "the checked-out code differs from the deployed code that ran"
        if self.request.window is None or not self._is_partitioned(outcome.name):
            entries |= {"sqlmesh/intervals": _text(outcome), **self._of_the_table(outcome)}
        return entries

    def _of_the_table(self, outcome: ModelOutcome) -> dict[str, Any]:
        """What is said once: on the event of the newest partition, which the asset's page shows, if there are some."""
        entries: dict[str, Any] = {
            "sqlmesh/duration_seconds": round(outcome.duration_seconds, 3),
            event_log.TABLE: outcome.physical_table,
        }
        if outcome.total_rows is not None:
            entries[event_log.ROWS] = outcome.total_rows
        if outcome.columns:
            entries[event_log.COLUMNS] = dg.MetadataValue.json(outcome.columns)
        if self._is_partitioned(outcome.name):
            entries["sqlmesh/rows_written"] = sum(outcome.rows.values())
        looks = {"preview": outcome.preview, "plot": outcome.plot}
        return entries | {name: dg.MetadataValue.md(text) for name, text in looks.items() if text}

    def _is_partitioned(self, name: str) -> bool:
        model = self.manifest.by_name.get(name)
        return model is not None and model.is_partitioned

    def _partitions(self, name: str, ranges: Sequence[Range]) -> list[str]:
        model = self.manifest.by_name.get(name)
        definition = partitions_definition(model) if model is not None else None
        return keys_within(model, definition, ranges) if model is not None and definition is not None else []

    def _log_partitions(self, outcome: ModelOutcome, key: dg.AssetKey) -> set[str]:
        """Record what this run computed and was not asked for, since Dagster itself records what it was asked for.

        Gives what it was asked for and did not compute.
        """
        computed = self._partitions(outcome.name, outcome.intervals)
        has_partitions = self.request.window is not None and self._is_partitioned(outcome.name)
        asked = set(self.context.partition_keys) if has_partitions else set()
        done = asked & set(computed)
        if done:
            added: dict[str, dict[str, Any]] = {name: _rows_of(outcome, name) for name in done}
            added[max(done)] |= self._of_the_table(outcome)
            event_log.add_partition_metadata(self.context, key, added)
        self._store_partitions(outcome, key, [name for name in computed if name not in asked])
        return asked - done

    def _take_back(self, key: dg.AssetKey, outcome: ModelOutcome, partitions: Collection[str]) -> None:
        """Dagster has just recorded every partition that the run was asked for: these it did not compute."""
        if partitions:
            event_log.forget_partitions(self.context.instance, key, partitions, run_id=self.context.run.run_id)
            self.context.log.warning(
                f"{outcome.name}: not computed, because a signal is not ready, what it reads is not computed, or it "
                f"is not deployed for them: "
                f"{_some(sorted(partitions))}"
            )

    def show_state(self, outcome: ModelOutcome) -> None:
        """Show of a model that is not finished what SQLMesh's state holds: what was computed before it failed, too."""
        key = self.request.all_keys.get(outcome.name)
        if key is not None and self._is_partitioned(outcome.name) and outcome.name in self.deployment.snapshots:
            known = self.context.instance.get_materialized_partitions(key)
            held = self._partitions(outcome.name, self.deployment.computed_now(outcome.name))
            made = set(self._partitions(outcome.name, outcome.intervals)) & set(held)
            self._store_partitions(outcome, key, sorted(made))
            self._store_partitions(ModelOutcome(outcome.name), key, sorted(set(held) - made - known))
            event_log.forget_partitions(self.context.instance, key, known - set(held))

    def _materialized_elsewhere(self, outcome: ModelOutcome) -> None:
        """A model that the run's option `downstream` added: not among the run's assets, so told as an event."""
        key = self.request.all_keys.get(outcome.name)
        if key is None:
            return
        self._store_partitions(outcome, key, self._partitions(outcome.name, outcome.intervals))
        self.context.log_event(dg.AssetMaterialization(key, metadata=self._metadata(outcome)))

    def _store_partitions(self, outcome: ModelOutcome, key: dg.AssetKey, partitions: Sequence[str]) -> None:
        event_log.store_partitions(
            self.context.instance,
            key,
            {name: _rows_of(outcome, name).get(PARTITION_ROWS) if outcome.intervals else None for name in partitions},
            run=self.context.run,
            step_key=self.context.op_execution_context.get_step_execution_context().step.key,
            metadata={SNAPSHOT_VERSION: self.deployment.snapshots[outcome.name].version or ""},
        )


def _rows_of(outcome: ModelOutcome, partition: str) -> dict[str, int]:
    """What an event says of a partition's rows: nothing where they can't be told from others'."""
    return {} if None in outcome.rows else {PARTITION_ROWS: outcome.rows.get(partition, 0)}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _text(outcome: ModelOutcome) -> str:
    shown = [f"[{start:%Y-%m-%d %H:%M}, {end:%Y-%m-%d %H:%M})" for start, end in outcome.intervals]
    return _some(shown)
