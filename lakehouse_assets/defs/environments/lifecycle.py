"""Environments: made from what another one has deployed, promoted to another one, listed and dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases import log, publishing
from lakehouse.writing import environments as ledger
from lakehouse.writing import marks
from lakehouse.writing.environments import checked_name
from lakehouse_assets.defs.environments.deploying import without_warnings
from lakehouse_assets.defs.releases.cutting import author_of, cut_release
from lakehouse_assets.models import project, resource
from lakehouse_assets.sqlmesh_integration import environments as sqlmesh
from lakehouse_assets.sqlmesh_integration.deploy import RefusedError
from lakehouse_assets.sqlmesh_integration.environments import EnvironmentInfo, Promotion, UnknownEnvironmentError
from lakehouse_assets.sqlmesh_integration.plan import PlanSummary

Report = Callable[[str], None]
STAYS = ("prod", "qa")


@dataclass(frozen=True)
class EnvironmentRow:
    """An environment as the list shows it."""

    info: EnvironmentInfo
    source: str
    """The environment that its models came from; empty when they came from the project's files."""
    deployed_at: datetime | None
    deployed_by: str
    is_unfinished: bool


def listing(lake: Lake) -> list[EnvironmentRow]:
    """Every environment, prod first."""
    ledger.require_ledger(lake)
    with closing(connect(lake.settings)) as connection:
        rows: Mapping[str, tuple[str, datetime, str]] = {
            name: (source, deployed_at.astimezone(UTC), run)
            for name, source, deployed_at, run in connection.execute(
                "SELECT environment, source, deployed_at, run FROM ledger.deployments"
            ).fetchall()
        }
        unfinished = {mark.scope for mark in marks.read(connection, "deploy")}
    found = []
    for info in sqlmesh.list_environments(project()):
        # An environment that SQLMesh's own command line deployed has no row.
        source, deployed_at, run = rows.get(info.name, ("", info.updated_at, ""))
        cut_off = info.name in unfinished or info.updated_at is None
        found.append(EnvironmentRow(info, source, deployed_at, run.rpartition(" by ")[2], cut_off))
    return found


def create(
    lake: Lake, name: str, *, source: str, renew: bool = False, run: str, report: Report = lambda _: None
) -> PlanSummary:
    """Make an environment that shows what `source` has deployed. Computes nothing, and copies nothing.

    Raises:
        RefusedError: it exists and is not to be made anew (`renew`), or the source doesn't.
    """
    checked_name(name)
    ledger.require_ledger(lake)

    return _Creation(lake, source, name, renew=renew, run=run, report=report).make()


def check_names(source: str, target: str) -> None:
    """Raises EnvironmentNameError or RefusedError for names that can't be promoted, whatever is there."""
    checked_name(source)
    checked_name(target)
    if source == target:
        raise RefusedError(f"{source} can't be promoted into itself: name another environment.")


def look(source: str, target: str) -> Promotion:
    """What promoting would change. Changes nothing.

    Raises:
        RefusedError: one of the two doesn't exist, or they are one.
    """
    check_names(source, target)
    known = sqlmesh.environment_names(project())
    for name in (source, target):
        if name not in known:
            raise UnknownEnvironmentError(name, known)
    return sqlmesh.look_at_promotion(project(), source, target, resource().ownership)


def promote(
    lake: Lake,
    source: str,
    target: str,
    *,
    run: str,
    author: str = "",
    only_if: Callable[[psycopg.Connection], None] = lambda _: None,
    report: Report = lambda _: None,
) -> PlanSummary:
    """Give `target` the models that `source` has computed: views move, no row does.

    `only_if` is asked with the locks held, and refuses by an error.

    Raises:
        RefusedError: something that would change is not computed or not finished; the message names it.
    """
    check_names(source, target)
    ledger.require_ledger(lake)
    return _Promotion(lake, source, target, run=run, author=author, only_if=only_if, report=report).make()


def check(lake: Lake, promotion: Promotion) -> None:
    """Raises RefusedError when this promotion can't be done as things are."""
    with closing(connect(lake.settings)) as connection:
        _check(connection, promotion)


def _check(connection: psycopg.Connection, promotion: Promotion) -> None:
    found = list(promotion.incomplete)
    if not promotion.is_source_finished or marks.read(connection, "deploy", promotion.source):
        found.append(f"the last deploy or promotion of {promotion.source} was cut off: do it again")
    for mark in marks.read(connection, "model"):
        mine = mark.scope == promotion.source
        if mine or promotion.computed_by.get(mark.subject) == mark.scope:
            found.append(f"{mark.subject}: {mark.run} did not finish it in {mark.scope}, or its audits failed")
    if found:
        source, lines = promotion.source, "\n".join(f"  {reason}" for reason in found)
        raise RefusedError(
            f"{source} can't be promoted to {promotion.target}, which stays as it is:\n{lines}\n"
            f"First compute what is missing: the job catch_up with LAKEHOUSE_ENVIRONMENT={source}."
        )


def finish(lake: Lake, environment: str, *, run: str, report: Report = lambda _: None) -> bool:
    """Repair an environment whose deploy or promotion was killed: its views show what its state says, old or new.

    Gives whether there was anything to repair. What a killed deploy had not computed is missing, and due in the next
    run.
    """
    with closing(connect(lake.settings)) as connection:
        unfinished = marks.read(connection, "deploy", environment)
    if not unfinished:
        return False
    report(f"repairing {unfinished[0]}")
    repair = _Repair(lake, environment, run, report)
    with ledger.promoting(lake, repair, run=run, report=report), without_warnings():
        sqlmesh.promote(project(), environment, environment)
    return True


def drop(lake: Lake, name: str, *, even_if_it_stays: bool = False, run: str, report: Report = lambda _: None) -> int:
    """Delete an environment: its views, its state, its rows in the ledger, the tables that nobody else uses.

    Gives the number of dropped tables.

    Raises:
        RefusedError: there is none, or it is prod or qa.
    """
    check_drop(lake, name, even_if_it_stays=even_if_it_stays)
    with publishing.publishing(lake, name, run=run, report=report):
        with ledger.dropping(lake, name, run=run, report=report) as connection:
            dropped = sqlmesh.drop(project(), name, ledger.ever_used(connection, name))
            ledger.forget(connection, name, dropped)
        publishing.drop(lake, name, run=run, report=report)
    return len(dropped)


def check_drop(lake: Lake, name: str, *, even_if_it_stays: bool) -> None:
    """Raises RefusedError for prod and qa, unless told otherwise, and for an environment that is not there."""
    checked_name(name)
    if name in STAYS and not even_if_it_stays:
        raise RefusedError(f"{name} is not dropped: everybody works with it. --even-prod-or-qa drops it nevertheless.")
    ledger.require_ledger(lake)
    known = sqlmesh.environment_names(project())
    with closing(connect(lake.settings)) as connection:
        cut_off = (
            ledger.ever_used(connection, name)
            or marks.read(connection, "deploy", name)
            or log.history(connection, name)
        )
    if name not in known and not cut_off:
        raise UnknownEnvironmentError(name, known)


def expired(lake: Lake) -> list[str]:
    """The environments whose time to live has passed."""
    now = datetime.now(UTC)
    return [row.info.name for row in listing(lake) if row.info.expires_at and row.info.expires_at <= now]


def half_dropped(lake: Lake) -> list[str]:
    """The environments that are gone but for their releases: dropping them was cut off."""
    with closing(connect(lake.settings)) as connection:
        released = {release.environment for release in log.history(connection)}
        rows = connection.execute(
            "SELECT environment FROM ledger.deployments UNION SELECT environment FROM ledger.table_users "
            "UNION SELECT scope FROM ledger.marks WHERE kind <> 'load'"
        ).fetchall()
    return sorted(released - {name for (name,) in rows} - set(sqlmesh.environment_names(project())) - set(STAYS))


def drop_releases(lake: Lake, name: str, *, run: str, report: Report = lambda _: None) -> None:
    """Finish a drop that was cut off after its tables were gone."""
    with publishing.publishing(lake, name, run=run, report=report):
        if name in half_dropped(lake):
            publishing.drop(lake, name, run=run, report=report)


def head_changed(
    lake: Lake, connection: psycopg.Connection, environment: str, *, run: str, author: str = "", report: Report
) -> None:
    """Cut a release of an environment whose head a promotion has changed. `connection` holds the locks."""
    models = resource().model_copy(update={"environment": environment})
    report(str(cut_release(lake, connection, models, run=run, author=author or author_of({}))))


class _Repair(ledger.Change):
    """An environment's own state, shown again."""

    def __init__(self, lake: Lake, environment: str, run: str, report: Report) -> None:
        super().__init__(environment, environment)
        self.lake, self.run, self.report = lake, run, report
        self.plan_ids: list[str] = []

    def check(self, connection: psycopg.Connection) -> None:
        rows = connection.execute("SELECT plan_id FROM sqlmesh._environments WHERE name = %s", [self.target]).fetchall()
        self.plan_ids = [plan_id for (plan_id,) in rows]

    def tables(self) -> set[str]:
        return sqlmesh.used_tables(project(), self.target)

    def done(self, connection: psycopg.Connection) -> None:
        # Of a deploy that was killed after it had changed the state nobody knows the files any more.
        connection.execute(
            """
            UPDATE ledger.deployments SET content_key = CASE WHEN plan_id = ANY(%s) THEN content_key ELSE '' END,
                plan_id = (SELECT plan_id FROM sqlmesh._environments WHERE name = %s)
            WHERE environment = %s
            """,
            [self.plan_ids, self.target, self.target],
        )
        head_changed(self.lake, connection, self.target, run=self.run, report=self.report)


class _Showing(ledger.Change):
    """`source`'s models shown in `target`."""

    def __init__(self, lake: Lake, source: str, target: str, *, run: str, author: str = "", report: Report) -> None:
        super().__init__(source, target)
        self.lake, self.run, self.author, self.report = lake, run, author, report

    def make(self) -> PlanSummary:
        """Make it, under the rules of who may write."""
        with ledger.promoting(self.lake, self, run=self.run, report=self.report), without_warnings():
            return sqlmesh.promote(project(), self.source, self.target)

    def tables(self) -> set[str]:
        return sqlmesh.used_tables(project(), self.target)

    def done(self, connection: psycopg.Connection) -> None:
        connection.execute(
            """
            INSERT INTO ledger.deployments (environment, content_key, code_version, plan_id, run, source, pages)
            SELECT target.name, coalesce(known.content_key, ''), coalesce(known.code_version, ''), target.plan_id,
                %(run)s, %(source)s, coalesce(known.pages, '{}')
            FROM sqlmesh._environments AS target
            LEFT JOIN ledger.deployments AS known ON known.environment = %(source)s
            WHERE target.name = %(target)s
            ON CONFLICT (environment) DO UPDATE SET content_key = excluded.content_key,
                code_version = excluded.code_version, plan_id = excluded.plan_id, run = excluded.run,
                source = excluded.source, pages = excluded.pages, deployed_at = now()
            """,
            {"source": self.source, "target": self.target, "run": self.run},
        )


class _Creation(_Showing):
    """A new environment. It shows what another one's readers have: its first release comes with its first own act."""

    def __init__(self, lake: Lake, source: str, target: str, *, renew: bool, run: str, report: Report) -> None:
        super().__init__(lake, source, target, run=run, report=report)
        self.renew = renew

    def check(self, connection: psycopg.Connection) -> None:
        known, name = sqlmesh.environment_names(project()), self.target
        if self.source not in known:
            raise UnknownEnvironmentError(self.source, known)
        begun = any("from" in mark.details for mark in marks.read(connection, "deploy", name))
        if name in known and not begun and not self.renew:
            raise RefusedError(
                f"There is an environment {name} already: `lakehouse promote {self.source} {name}` gives it "
                f"{self.source}'s models, `lakehouse env drop {name}` makes room for a new one."
            )


class _Promotion(_Showing):
    """Models that move on: nobody computes in the source, nor where one of its tables belongs."""

    def __init__(
        self,
        lake: Lake,
        source: str,
        target: str,
        *,
        run: str,
        author: str,
        only_if: Callable[[psycopg.Connection], None],
        report: Report,
    ) -> None:
        super().__init__(lake, source, target, run=run, author=author, report=report)
        self.held = {source}
        self.only_if = only_if

    def others(self) -> set[str]:
        self.promotion = look(self.source, self.target)
        return {self.source, *self.promotion.computed_by.values()}

    def check(self, connection: psycopg.Connection) -> None:
        self.only_if(connection)
        _check(connection, self.promotion)

    def done(self, connection: psycopg.Connection) -> None:
        super().done(connection)
        head_changed(self.lake, connection, self.target, run=self.run, author=self.author, report=self.report)
