"""Audits' results as Dagster's asset check results."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import dagster as dg

from lakehouse_assets.sqlmesh_integration import engine, event_log
from lakehouse_assets.sqlmesh_integration.audits import run_audits, run_standalone, standalone_over
from lakehouse_assets.sqlmesh_integration.deployed import Deployment
from lakehouse_assets.sqlmesh_integration.manifest import Manifest
from lakehouse_assets.sqlmesh_integration.outcome import CheckOutcome, ModelOutcome
from lakehouse_assets.sqlmesh_integration.request import Request
from lakehouse_assets.sqlmesh_integration.translator import SNAPSHOT_VERSION


class Checks:
    """Tells one run's audits to Dagster, as checks of its multi-asset."""

    def __init__(self, context: dg.AssetExecutionContext, request: Request, manifest: Manifest, deployment: Deployment):
        self.context = context
        self.request = request
        self.deployment = deployment
        audits = [
            (audit, dg.AssetCheckKey(request.all_keys[model.name], audit.check_name))
            for model in manifest.models
            for audit in model.audits
            if model.name in request.all_keys
        ]
        self.known = {key for _, key in audits} | set(request.external_checks.values())
        self.standalone = {audit.audit: key for audit, key in audits if audit.is_standalone}

    def of(self, outcome: ModelOutcome) -> Iterator[dg.AssetCheckResult]:
        """The checks that were made of a model."""
        key = self.request.all_keys.get(outcome.name)
        for check in outcome.checks.values():
            if found := self.request.external_checks.get((outcome.name, check.check_name)):
                yield from self._told(check_result(found.asset_key, check, outcome.snapshot_version, found.name))
            elif key:
                yield from self._told(check_result(key, check, outcome.snapshot_version))

    def alone(self, session: engine.Session) -> Iterator[dg.AssetCheckResult]:
        """Audits that were chosen without their model: run over all of it, nothing computed."""
        for name in sorted(self.request.checked & set(self.deployment.snapshots)):
            outcome = ModelOutcome(name, snapshot_version=self.deployment.snapshots[name].version or "")
            outcome.checks = run_audits(session, self.deployment, name)
            yield from self.of(outcome)
        chosen = {name for name, key in self.standalone.items() if (key.asset_key, key.name) in self.request.checks}
        yield from self._standalone(session, chosen & set(self.deployment.snapshots))

    def after(self, session: engine.Session, outcomes: Mapping[str, ModelOutcome]) -> Iterator[dg.AssetCheckResult]:
        """Standalone audits over what a run computed; not where a model that they read is unfinished."""
        computed = {name for name, outcome in outcomes.items() if outcome.state == "computed"}
        unfinished = {name for name, outcome in outcomes.items() if outcome.state in ("failed", "skipped")}
        over = standalone_over(self.deployment, computed)
        yield from self._standalone(session, [n for n in over if not self.deployment.parents(n) & unfinished])

    def _standalone(self, session: engine.Session, names: Collection[str]) -> Iterator[dg.AssetCheckResult]:
        for name in sorted(names):
            key = self.standalone.get(name)
            check = run_standalone(session, self.deployment, name)
            if key is None or check is None:  # deployed, and no longer in the files; or it skips itself
                continue
            version = self.deployment.snapshots[name].version or ""
            yield from self._told(check_result(key.asset_key, check, version, key.name))

    def _told(self, result: dg.AssetCheckResult) -> Iterator[dg.AssetCheckResult]:
        """As a result of the run, where it chose the check; else as an event, since Dagster takes chosen ones only."""
        assert result.asset_key is not None and result.check_name is not None
        key = dg.AssetCheckKey(result.asset_key, result.check_name)
        if (key.asset_key, key.name) in self.request.checks:
            if self.request.window is None:
                event_log.note_newest_events(self.context, [key.asset_key])
            yield result
        elif key in self.known:  # not of a deployed audit that is in the files no longer
            self.context.instance.report_runless_asset_event(evaluation(key, result))


def check_result(key: dg.AssetKey, check: CheckOutcome, version: str, name: str | None = None) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {
        "failed_rows": check.failed_rows,
        "blocking": check.blocking,
        SNAPSHOT_VERSION: version,
    }
    if check.failed_rows:
        from lakehouse_assets.sqlmesh_integration.markdown import table

        metadata["query"] = dg.MetadataValue.md(f"```sql\n{check.query}\n```")
        metadata["sample"] = dg.MetadataValue.md(table(check.columns, check.sample))
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name or check.check_name,
        passed=check.passed,
        severity=dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN,
        description=None if check.passed else _verdict(check),
        metadata=metadata,
    )


def evaluation(key: dg.AssetCheckKey, result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=result.passed,
        severity=result.severity,
        description=result.description,
        metadata=result.metadata,
    )


def _verdict(check: CheckOutcome) -> str:
    if check.error:
        return f"{check.audit} could not be run: {check.error}"
    return f"{check.failed_rows:,} {'row fails' if check.failed_rows == 1 else 'rows fail'} {check.audit}"
