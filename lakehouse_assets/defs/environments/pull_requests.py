"""A pull request: previewed in an environment of its own, merged by promoting what that has computed, cleaned up."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from lakehouse.lake import ledger
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.wording import duration, megabytes, plural
from lakehouse.writing import marks, timings
from lakehouse.writing.environments import checked_name, require_ledger
from lakehouse.writing.timings import Timing
from lakehouse_assets.defs.environments import deploying, diffing
from lakehouse_assets.defs.environments import lifecycle as environments
from lakehouse_assets.defs.environments.diffing import EnvironmentDifference
from lakehouse_assets.defs.releases import pages
from lakehouse_assets.models import PUBLISHED, project, resource
from lakehouse_assets.sqlmesh_integration import environments as sqlmesh
from lakehouse_assets.sqlmesh_integration.deploy import RefusedError, UnitTestsFailedError, run_unit_tests
from lakehouse_assets.sqlmesh_integration.deployed_model import DeployedModel
from lakehouse_assets.sqlmesh_integration.manifest_builder import table_ref
from lakehouse_assets.sqlmesh_integration.plan import ModelChange, PlanSummary
from lakehouse_assets.sqlmesh_integration.reasons import ModelsError

Report = Callable[[str], None]
TARGET = "prod"
NAME = re.compile(r"pr_[0-9]{1,9}")


@dataclass(frozen=True)
class Computed:
    """A table that is computed anew: the first and last moment that it covers (UTC), its rows, its files' bytes.

    `intervals` is 0 where it is computed as a whole. `seconds`: what computing so many intervals takes by the run that
    computed most of them; None, as rows and bytes, where nobody has yet.
    """

    model: str
    start: datetime | None
    end: datetime | None
    intervals: int
    rows: int | None
    size_bytes: int | None
    seconds: float | None


def in_words(one: Computed) -> str:
    """`marts.days (365 intervals, 1,000 rows, 0.1 MB, 2.5 s)`, as far as it is known."""
    facts = [plural(one.intervals, "interval") if one.intervals else "as a whole"]
    facts += [plural(one.rows, "row")] if one.rows is not None else []
    facts += [megabytes(one.size_bytes)] if one.size_bytes else []
    facts += [duration(one.seconds)] if one.seconds is not None else []
    return f"{one.model} ({', '.join(facts)})"


@dataclass(frozen=True)
class Checks:
    """The audits of a model that come and go."""

    model: str
    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """What merging a pull request would do to prod. One with a `problem` can't be merged."""

    environment: str
    problem: str = ""
    unit_tests: int = 0
    changes: tuple[ModelChange, ...] = ()
    to_compute: tuple[Computed, ...] = ()
    """What it had still to compute, by the figures of prod's tables."""
    computed: tuple[Computed, ...] = ()
    """What it has computed in tables of its own."""
    checks: tuple[Checks, ...] = ()
    difference: EnvironmentDifference | None = None
    pages: tuple[str, ...] = ()
    """What changes of the dashboard's pages, a line each."""
    released: tuple[str, ...] = ()
    """The models in `difference` that readers get."""
    lineage: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """By `schema.table` and column the `schema.table.column`s that it is computed from; of what is touched."""


def environment_of(number: int) -> str:
    """Raises EnvironmentNameError for a number that can be none."""
    return checked_name(f"pr_{number}")


def preview(lake: Lake, number: int, *, sample: int, run: str, report: Report = lambda _: None) -> Preview:
    """Make the pull request's environment from prod's data, or make it anew; compute, audit and compare what differs.

    What it has computed before is not computed again. No release is cut: that would copy what its readers share with
    prod's.

    Raises:
        RefusedError: there is no prod yet.
    """
    name = environment_of(number)
    with closing(connect(lake.settings)) as connection:
        ledger.require(connection)
    environments.create(lake, name, source=TARGET, renew=True, run=run, report=report)
    with closing(connect(lake.settings)) as connection:
        base = _plan_ids(connection)[TARGET]  # before the look: what is deployed to prod meanwhile makes this stale
    changes: tuple[ModelChange, ...] = ()
    expected: tuple[Computed, ...] = ()
    try:
        planned = deploying.plan(TARGET)
        changes = planned.changes
        expected = _expected(lake, planned)
        if expected:
            report(f"To compute: {', '.join(map(in_words, expected))}.")
        tests = deploying.deploy(lake, name, backfill=True, run=run, release=False, report=report).tests
    except ModelsError as error:
        found = Preview(name, str(error), changes=changes, to_compute=expected)
    else:
        found = replace(_looked_at(lake, name, changes, len(tests), sample), to_compute=expected)
    _record(lake, name, base, found.problem)
    return found


def merge(lake: Lake, number: int, *, run: str, report: Report = lambda _: None) -> bool:
    """Give prod what the pull request's environment has computed. False when prod has it already.

    Raises:
        RefusedError: it was not previewed, or the preview is red or stale. Prod is as before.
    """
    name = environment_of(number)
    with closing(connect(lake.settings)) as connection:
        ledger.require(connection)
    plan = deploying.plan(TARGET)
    begun = _is_begun(lake, name)
    if plan.is_empty and not begun and not pages.changes(lake, TARGET):
        return False
    tests = run_unit_tests(project())
    if not all(test.passed for test in tests):
        raise UnitTestsFailedError(tests)

    def as_previewed(connection: psycopg.Connection) -> None:
        _check(connection, name, number, is_begun=begun)

    with closing(connect(lake.settings)) as connection:
        as_previewed(connection)
        base = _preview_of(connection, name)["base"]
    others = [f"{change.name}: {change.change}" for change in deploying.plan(name).changes]
    if others := [*others, *pages.changes(lake, name)]:
        lines = "\n".join(f"  {other}" for other in others)
        raise RefusedError(f"The checked-out models are not those that were previewed:\n{lines}\n{_again(number)}")
    if sqlmesh.look_at_promotion(project(), name, TARGET, resource().ownership).incomplete:
        # Days that became due since the preview; nothing else is missing.
        deploying.deploy(lake, name, backfill=True, run=run, release=False, report=report)
        _record(lake, name, base, "")
    environments.promote(lake, name, TARGET, run=run, only_if=as_previewed, report=report)
    return True


def is_merged(lake: Lake, number: int) -> bool:
    """Whether the pull request's environment is there, and shows nothing that prod does not."""
    name = environment_of(number)
    known = sqlmesh.environment_names(project())
    if name not in known or pages.changes(lake, TARGET, name):
        return False
    return environments.look(name, TARGET).summary.is_empty


def drop(lake: Lake, number: int, *, run: str, report: Report = lambda _: None) -> bool:
    """Drop the pull request's environment. False when there is none."""
    name = environment_of(number)
    if name not in _all(lake):
        return False
    environments.drop(lake, name, run=run, report=report)
    return True


def forgotten(lake: Lake, age: timedelta) -> list[int]:
    """The numbers of pull requests that nobody has previewed for so long, or whose drop was cut off."""
    limit = datetime.now(UTC) - age
    rows = {row.info.name: row.deployed_at for row in environments.listing(lake)}
    return [
        int(name.removeprefix("pr_"))
        for name in _all(lake)
        if name not in rows or ((deployed_at := rows[name]) is not None and deployed_at < limit)
    ]


def _all(lake: Lake) -> list[str]:
    require_ledger(lake)
    names = {*sqlmesh.environment_names(project()), *environments.half_dropped(lake)}
    return sorted(name for name in names if NAME.fullmatch(name))


# ------------------------------------------------------------------------------------------------ what it would do


def _looked_at(lake: Lake, name: str, changes: tuple[ModelChange, ...], tests: int, sample: int) -> Preview:
    mine = resource().model_copy(update={"environment": name})
    before, after = resource().model_copy(update={"environment": TARGET}).deployed(), mine.deployed()
    difference = diffing.diff(lake, TARGET, name, sample=sample)
    differing = {model.model: model for model in difference.models}
    touched = sorted({*differing, *(change.name for change in changes)} & set(after))
    failed = mine.audit(touched)
    problem = "\n".join(f"{model}: {reason}" for model, reason in sorted(failed.items()))
    rows = {n: one.difference.rows_right for n, one in differing.items() if one.difference}
    rows |= {n: _rows(lake, after[n].view) for n, one in differing.items() if one.only_in == name}
    return Preview(
        name,
        problem and f"What it has computed fails its audits:\n{problem}",
        tests,
        changes,
        computed=_computed(lake, [after[m] for m in touched if m in rows and not after[m].is_view], rows),
        checks=tuple(_checks(before, after)),
        difference=difference,
        pages=tuple(pages.changes(lake, TARGET, name)),
        released=tuple(sorted(n for n in differing if PUBLISHED in {**before, **after}[n].tags)),
        lineage=_lineage(difference, name),
    )


def _rows(lake: Lake, view: str) -> int:
    with closing(lake.connect(read_only=True)) as connection:
        schema, table = view.split(".")
        ((count,),) = connection.execute(f'SELECT count(*) FROM lakehouse."{schema}"."{table}"').fetchall()
    return int(count)


def _computed(lake: Lake, models: Sequence[DeployedModel], rows: Mapping[str, int]) -> tuple[Computed, ...]:
    sizes, known = _sizes(lake), _timings(lake)
    found = []
    for model in models:
        start = min((first for first, _ in model.computed), default=None)
        end = max((last for _, last in model.computed), default=None)
        count = model.interval_count if model.interval_unit else 0
        seconds = _seconds(known.get(model.physical_table), count)
        found.append(Computed(model.name, start, end, count, rows[model.name], sizes.get(_table(model), 0), seconds))
    return tuple(found)


def _expected(lake: Lake, planned: PlanSummary) -> tuple[Computed, ...]:
    """What of the models that change has to be computed, by what computing prod's tables took and what they hold."""
    changed = {change.name for change in planned.changes}
    prod = resource().model_copy(update={"environment": TARGET}).deployed()
    sizes, known = _sizes(lake), _timings(lake)
    found = []
    for one in planned.backfills:
        if one.name in changed and not ((model := prod.get(one.name)) and model.is_view):
            rows, size, seconds = None, None, None
            if model:
                rows, size = _rows(lake, model.view), sizes.get(_table(model), 0)
                seconds = _seconds(known.get(model.physical_table), one.intervals)
            found.append(Computed(one.name, one.start, one.end, one.intervals, rows, size, seconds))
    return tuple(found)


def _seconds(timing: Timing | None, intervals: int) -> float | None:
    return timing.seconds * max(intervals, 1) / max(timing.intervals, 1) if timing else None


def _timings(lake: Lake) -> Mapping[str, Timing]:
    with closing(connect(lake.settings)) as connection:
        return timings.read(connection)


def _sizes(lake: Lake) -> dict[str, int]:
    """Bytes of the files of each physical table, by its name without the schema; 0 of rows in the catalog itself."""
    with closing(lake.connect(read_only=True)) as connection:
        return dict(
            connection.execute("SELECT table_name, file_size_bytes FROM ducklake_table_info('lakehouse')").fetchall()
        )


def _table(model: DeployedModel) -> str:
    return table_ref(model.physical_table).table


def _checks(before: Mapping[str, DeployedModel], after: Mapping[str, DeployedModel]) -> list[Checks]:
    found = []
    for name in sorted({*before, *after}):
        old, new = (tuple(side[name].audits if name in side else ()) for side in (before, after))
        if set(old) != set(new):
            added, removed = (tuple(a for a in one if a not in other) for one, other in ((new, old), (old, new)))
            found.append(Checks(name, added, removed))
    return found


def _lineage(difference: EnvironmentDifference, name: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """Of each column that differs what it is computed from, and of that too, up to the raw tables."""
    models = project().manifest().by_name
    todo: list[tuple[str, str]] = []
    for model in difference.models:
        spec, one = models.get(model.model), model.difference
        if spec is None or (one and one.same):
            continue
        columns = [column.name for column in spec.columns]
        if one:
            below = [column for column, percent in one.column_match_percent.items() if percent < 100]
            some = {*one.columns_added, *one.columns_retyped, *below}
            columns = [column for column in columns if column in some] or (columns if not one.key else [])
        todo += [(model.model, column) for column in columns if not one or column not in one.ignored]
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    while todo:
        table, column = todo.pop(0)
        spec = models.get(table)
        if column in found.get(table, ()):
            continue
        sources = next((c.sources for c in spec.columns if c.name == column), ()) if spec else ()
        found.setdefault(table, {})[column] = tuple(".".join(source) for source in sources)
        todo += [(f"{schema}.{upstream}", source) for schema, upstream, source in sources]
    return found


# ---------------------------------------------------------------------------------------- whether it is still that


def _plan_ids(connection: psycopg.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, plan_id FROM sqlmesh._environments").fetchall())


def _record(lake: Lake, name: str, base: str, problem: str) -> None:
    """Say which plan of prod was compared with which of the environment. A later plan of either makes it stale."""
    with closing(connect(lake.settings)) as connection:
        connection.execute(
            """
            UPDATE ledger.deployments SET preview = %s || jsonb_build_object('plan', (
                SELECT plan_id FROM sqlmesh._environments WHERE name = environment
            )) WHERE environment = %s
            """,
            [Jsonb({"base": base, "problem": problem}), name],
        )


def _preview_of(connection: psycopg.Connection, name: str) -> dict[str, Any]:
    row = connection.execute("SELECT preview FROM ledger.deployments WHERE environment = %s", [name]).fetchone()
    return dict(row[0]) if row and row[0] else {}


def _is_begun(lake: Lake, name: str) -> bool:
    """Whether a merge of this very environment was cut off: prod may show a part of it."""
    with closing(connect(lake.settings)) as connection:
        return any(mark.details.get("from") == name for mark in marks.read(connection, "deploy", TARGET))


def _check(connection: psycopg.Connection, name: str, number: int, *, is_begun: bool) -> None:
    """Raises RefusedError unless the preview is there, green, and of what both environments are now."""
    known = _preview_of(connection, name)
    plans = _plan_ids(connection)
    if not known or known["plan"] != plans.get(name):
        raise RefusedError(
            f"Pull request {number} has no finished preview: `lakehouse ci preview --pr {number}` makes it. "
            f"{TARGET} stays as it is."
        )
    if known["problem"]:
        raise RefusedError(f"The preview of pull request {number} is red: {known['problem']}")
    if known["base"] != plans.get(TARGET) and not is_begun:
        row = connection.execute(
            "SELECT run, to_char(deployed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM ledger.deployments "
            "WHERE environment = %s",
            [TARGET],
        ).fetchone()
        since = f" ({row[0]} at {row[1]} UTC)" if row else ""
        raise RefusedError(f"{TARGET} has other models than when {name} was previewed{since}. {_again(number)}")


def _again(number: int) -> str:
    return (
        f"{TARGET} stays as it is. `lakehouse ci preview --pr {number}` compares again, "
        "and computes nothing that it has computed before."
    )
