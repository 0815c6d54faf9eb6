"""A run's events: a materialization and check results for each model as it finishes, a failure at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Any, Protocol

import dagster as dg

from lakehouse_assets.sqlmesh_integration import engine, event_log
from lakehouse_assets.sqlmesh_integration.decision import Touched, Work, decide
from lakehouse_assets.sqlmesh_integration.deployed import Deployment, NotDeployedError
from lakehouse_assets.sqlmesh_integration.execution import Execution, Mark, Message
from lakehouse_assets.sqlmesh_integration.lost import Lost
from lakehouse_assets.sqlmesh_integration.outcome import ModelOutcome, failure_message, times_sentence
from lakehouse_assets.sqlmesh_integration.owners import Ownership
from lakehouse_assets.sqlmesh_integration.partitions import key_of
from lakehouse_assets.sqlmesh_integration.project import SqlmeshProject
from lakehouse_assets.sqlmesh_integration.reasons import error_sentence
from lakehouse_assets.sqlmesh_integration.report import Reporter
from lakehouse_assets.sqlmesh_integration.request import Request
from lakehouse_assets.sqlmesh_integration.rows import RowCounter

BEGUN = ("computed", "failed", "pending")


class Asked(Protocol):
    """What a run needs to know of the resource that was asked for it."""

    @property
    def environment(self) -> str: ...
    @property
    def computes_upstream(self) -> bool: ...
    @property
    def failure_footnote(self) -> str: ...
    @property
    def project(self) -> SqlmeshProject: ...

    @property
    def ownership(self) -> Ownership: ...


class SqlmeshRun:
    """Iterate once. `outcomes` fills while you do, one for each chosen model, by `schema.table`."""

    def __init__(self, resource: Asked, context: dg.AssetExecutionContext, touched: Touched):
        self.resource = resource
        self.context = context
        self.touched = touched
        self.manifest = resource.project.manifest()
        self.outcomes: dict[str, ModelOutcome] = {}

    def __iter__(self) -> Iterator[Any]:
        event_log.omit_unmade_checks(self.context)
        try:
            with engine.session(self.resource.project) as session:
                yield from self._compute(session)
        except NotDeployedError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        except engine.sqlmesh_errors() as error:
            raise dg.Failure(self._stopped(error)) from error
        finally:
            self._withdraw_checks()

    def _stopped(self, error: BaseException) -> str:
        environment, reason = self.resource.environment, error_sentence(error)
        if not any(outcome.state in BEGUN for outcome in self.outcomes.values()):
            return f"Nothing was computed in environment {environment}: {reason}"
        return (
            f"SQLMesh stopped in environment {environment} before it was done: {reason}. "
            "What it had begun is marked missing; materialize it again."
        )

    def _withdraw_checks(self) -> None:
        """Leave in sight the earlier results of what this run did not check, unless it may have broken that."""
        unfinished = {name for name, outcome in self.outcomes.items() if outcome.state in ("failed", "pending")}
        request = Request.of(self.context)
        kept = {request.all_keys[name] for name in unfinished & set(request.all_keys)}
        withdrawn = {key for key, _ in request.checks} - kept
        if request.keys and withdrawn:
            event_log.withdraw_planned_checks(self.context.instance, self.context.run.run_id, withdrawn)

    def _compute(self, session: engine.Session) -> Iterator[Any]:
        request = Request.of(self.context)
        names = None if request.downstream else [*request.keys, *self.touched, *request.checked]
        deployment = Deployment(session, self.resource.environment, names, self.resource.ownership)
        if request.keys and not request.recomputes and deployment.ticked():
            whole = Deployment(session, self.resource.environment, None, self.resource.ownership)
            deployment = whole if self._restates(request, whole) else deployment
        reporter = Reporter(self.context, request, self.manifest, deployment)
        reporter.warn_of_drift()
        if not request.keys:
            if not request.checks and not self.touched:
                raise dg.Failure("This run is over no model and no check: nothing was done.", allow_retries=False)
            yield from reporter.checks.alone(session)
            return
        lost = self._lost(request, deployment, reporter)
        work = decide(request, deployment, self.touched, self.resource.computes_upstream)
        lost.take_along(work, request, deployment)
        for note in work.notes:
            self.context.log.warning(note)
        for name in self.touched.keys() - work.intervals.keys():
            reporter.show_state(ModelOutcome(name))
        for outcome in self._left(work):
            yield from reporter.left(outcome)
        if work.intervals:
            yield from self._execute(session, deployment, work, reporter)
            computed = {name for name, outcome in self.outcomes.items() if outcome.state == "computed"}
            deployment.show(lost.showable(deployment, computed) - lost.showable(deployment))
        self._raise_if_failed(request)

    def _restates(self, request: Request, deployment: Deployment) -> bool:
        """Make models due whose `auto_restatement_cron` has ticked, with all that reads them, if all were chosen.

        A part of them would be computed from what is not restated yet, and not be due again after that is.
        """
        ticked = deployment.ticked()
        names = ", ".join(sorted(ticked))
        waiting = (ticked | deployment.downstream(ticked)) & set(request.all_keys) - set(request.keys)
        if waiting:
            self.context.log.warning(
                f"The auto_restatement_cron of {names} has ticked, and waits for a catch-up that is also over "
                f"{', '.join(sorted(waiting))}."
            )
            return False
        self.context.log.info(f"Due again, with all that reads it, by its auto_restatement_cron: {names}.")
        deployment.restate()
        return True

    def _lost(self, request: Request, deployment: Deployment, reporter: Reporter) -> Lost:
        """Say what is gone from the warehouse, and make the views again whose tables are there."""
        lost = Lost.of(deployment, request, self.context.instance)
        for sentence in lost.sentences(deployment):
            self.context.log.warning(sentence)
        for name in lost.tables:
            reporter.show_state(ModelOutcome(name))
        deployment.make_schemas(lost.tables)
        deployment.show(lost.showable(deployment))
        return lost

    def _left(self, work: Work) -> Iterator[ModelOutcome]:
        for name, (state, reason) in work.left.items():
            self.outcomes[name] = ModelOutcome(name, state=state, reason=reason)
            yield self.outcomes[name]

    def _execute(
        self, session: engine.Session, deployment: Deployment, work: Work, reporter: Reporter
    ) -> Iterator[Any]:
        counter = RowCounter(deployment, self._partition_key)
        execution = Execution(session, deployment, counter, reporter.look, work.kept)
        self.outcomes.update({name: ModelOutcome(name) for name in work.intervals})
        try:
            with closing(execution.run(work.intervals)) as told:
                for item in told:
                    if isinstance(item, Mark):
                        if len(work.intervals) > 1:  # of one model the step itself is the chart
                            event_log.mark(self.context, item.name, is_end=item.is_end)
                        continue
                    if isinstance(item, Message):
                        getattr(self.context.log, item.level)(item.text)
                        continue
                    self.outcomes[item.name] = item
                    yield from reporter.finished(item)
        except BaseException:  # an error of SQLMesh's own, or the run is cancelled
            for outcome in execution.outcomes.values():
                if outcome.state in ("pending", "failed"):
                    reporter.show_state(outcome)
            raise
        if len(work.intervals) > 1:
            self.context.log.info(times_sentence(self.outcomes.values()))
        yield from reporter.checks.after(session, self.outcomes)

    def _partition_key(self, name: str, moment: datetime) -> str | None:
        model = self.manifest.by_name.get(name)
        return key_of(model, moment) if model is not None else None

    def _raise_if_failed(self, request: Request) -> None:
        outcomes = self.outcomes.values()
        failed = [outcome for outcome in outcomes if outcome.state == "failed"]
        if failed:
            audited = all("audit " in outcome.reason for outcome in failed)
            raise dg.Failure(
                failure_message(self.outcomes, self.resource.environment, self.resource.failure_footnote),
                metadata={outcome.name: _told(outcome) for outcome in failed},
                allow_retries=not audited,  # the same rows would fail the same audit
            )
        unmet = [o for o in outcomes if o.state == "refused" or (o.state == "undeployed" and request.by_hand)]
        if unmet:
            lines = "\n".join(f"  {outcome.name}: {outcome.reason}" for outcome in unmet)
            raise dg.Failure(f"Not computed in environment {self.resource.environment}:\n{lines}", allow_retries=False)


def _told(outcome: ModelOutcome) -> dg.MetadataValue:
    if not outcome.traceback:
        return dg.MetadataValue.text(outcome.reason)
    return dg.MetadataValue.md(f"{outcome.reason}\n\n```\n{outcome.traceback}\n```")
