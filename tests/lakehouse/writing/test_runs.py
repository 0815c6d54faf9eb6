"""A run marks its models, knows what is due, and never counts work done on stale input as done."""

from contextlib import closing
from datetime import datetime
from functools import partial

import pytest

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.ledger import LedgerError
from lakehouse.lake.postgres import connect
from lakehouse.writing import environments, marks, touched
from lakehouse.writing.graph import Node
from lakehouse.writing.loads import loading
from lakehouse.writing.runs import computing, deploying
from lakehouse.writing.touched import Touched

RAW = frozenset({"raw.trips"})
NONE: frozenset[str] = frozenset()
GRAPH = {
    "staging.trips": Node("p.staging", NONE, RAW, is_view=True),
    "marts.daily": Node("p.daily", frozenset({"staging.trips"}), NONE),
    "marts.summary": Node("p.summary", frozenset({"marts.daily"}), NONE),
    "marts.seed": Node("p.seed", NONE, NONE),
}
PIPELINES = {"raw.trips": "taxi"}
DAY = (datetime(2024, 1, 1), datetime(2024, 1, 2))


def touch(lake: Lake) -> None:
    with closing(connect(lake.settings)) as connection:
        touched.record(connection, Touched("raw.trips", [DAY], 1, 0), pipeline="taxi", run="load", snapshot=1)


def compute(lake: Lake, *names: str, fail: bool = False) -> dict[str, object]:
    """Run these models; gives what was due."""
    with computing(lake, "prod", lambda: GRAPH, names, PIPELINES, run="run") as run:
        due = dict(run.due)
        if fail:
            raise RuntimeError("an audit failed")
        for name in GRAPH:  # upstream first
            if name in names:
                run.done(name)
    return due


def model_marks(lake: Lake) -> set[str]:
    with closing(connect(lake.settings)) as connection:
        return {mark.subject for mark in marks.read(connection, "model", "prod")}


def test_a_touched_table_makes_everything_below_it_due_once(lake: Lake) -> None:
    touch(lake)
    assert compute(lake, *GRAPH) == {name: [DAY] for name in GRAPH if name != "marts.seed"}
    assert compute(lake, *GRAPH) == {}
    touch(lake)
    assert set(compute(lake, *GRAPH)) == {"staging.trips", "marts.daily", "marts.summary"}


def test_a_model_computed_on_a_stale_one_stays_due(lake: Lake) -> None:
    compute(lake, *GRAPH)
    touch(lake)
    assert compute(lake, "marts.summary") == {"marts.summary": [DAY]}
    assert compute(lake, "staging.trips", "marts.daily") == {"staging.trips": [DAY], "marts.daily": [DAY]}
    assert compute(lake, *GRAPH) == {"marts.summary": [DAY]}


def test_a_failed_run_leaves_its_marks_and_a_run_of_others_never_clears_them(lake: Lake) -> None:
    with pytest.raises(RuntimeError):
        compute(lake, "marts.daily", "marts.summary", fail=True)
    compute(lake, "marts.seed", "marts.summary")
    assert model_marks(lake) == {"marts.daily"}
    compute(lake, "marts.daily")
    assert model_marks(lake) == set()


def test_a_model_that_was_done_before_the_failure_is_done(lake: Lake) -> None:
    touch(lake)
    with pytest.raises(RuntimeError), computing(lake, "prod", lambda: GRAPH, GRAPH, PIPELINES, run="run") as run:
        run.done("staging.trips")
        run.done("marts.daily")
        raise RuntimeError
    assert model_marks(lake) == {"marts.summary", "marts.seed"}
    assert compute(lake, *GRAPH) == {"marts.summary": [DAY]}


def test_a_model_that_a_run_left_alone_stays_due_and_is_not_unfinished(lake: Lake) -> None:
    touch(lake)
    with computing(lake, "dev_ann", lambda: GRAPH, GRAPH, PIPELINES, run="run") as run:
        run.done("marts.seed")
    assert compute(lake, *GRAPH) == {name: [DAY] for name in GRAPH if name != "marts.seed"}
    with closing(connect(lake.settings)) as connection:
        assert marks.read(connection, "model") == []


def test_where_others_failed_what_was_left_alone_is_not_unfinished(lake: Lake) -> None:
    with pytest.raises(RuntimeError), computing(lake, "prod", lambda: GRAPH, GRAPH, PIPELINES, run="run") as run:
        run.done("marts.seed")
        run.leave(["marts.seed", "staging.trips"])
        raise RuntimeError("marts.daily failed")
    assert model_marks(lake) == {"marts.daily", "marts.summary"}


def test_a_new_model_is_not_due_for_loads_before_its_deploy(lake: Lake) -> None:
    touch(lake)
    with deploying(lake, "prod", ["taxi"], lambda: GRAPH, run="deploy"):
        pass
    assert compute(lake, *GRAPH) == {}
    touch(lake)
    assert compute(lake, "marts.daily") == {"marts.daily": [DAY]}


def test_a_new_model_over_a_shared_table_that_is_behind_is_as_old_as_that(lake: Lake) -> None:
    """A developer's deploy does not compute prod's tables: what it makes of them is due when they are."""
    compute(lake, *GRAPH)
    touch(lake)
    own = GRAPH | {"marts.summary": Node("p.summary_of_ann", frozenset({"marts.daily"}), NONE)}
    with deploying(lake, "dev_ann", [], lambda: own, run="deploy"):
        pass
    compute(lake, "staging.trips", "marts.daily")
    with computing(lake, "dev_ann", lambda: own, ["marts.summary"], PIPELINES, run="run") as run:
        assert run.due == {"marts.summary": [DAY]}


def test_a_refused_deploy_leaves_no_mark_and_keeps_one_that_was_there(lake: Lake) -> None:
    class RefusedError(Exception):
        changed_nothing = True

    def left() -> int:
        with pytest.raises(RefusedError), deploying(lake, "prod", [], lambda: GRAPH, run="deploy"):
            raise RefusedError
        with closing(connect(lake.settings)) as connection:
            return len(marks.read(connection, "deploy", "prod"))

    assert left() == 0
    with pytest.raises(RuntimeError), deploying(lake, "prod", [], lambda: GRAPH, run="deploy"):
        raise RuntimeError("killed")
    assert left() == 1


def test_the_first_environment_that_uses_a_table_is_known_until_it_moves_on(lake: Lake) -> None:
    with closing(connect(lake.settings)) as connection:
        for environment in ("dev_bob", "dev_ann"):
            environments.claim(connection, environment, ["p.daily"])
        assert environments.first_users(connection) == {"p.daily": ["dev_bob", "dev_ann"]}
        environments.claim(connection, "dev_bob", ["p.other"])
        assert environments.first_users(connection)["p.daily"] == ["dev_ann"]
        environments.claim(connection, "dev_bob", ["p.daily"])
        assert environments.first_users(connection) == {"p.daily": ["dev_ann", "dev_bob"]}
        assert environments.ever_used(connection, "dev_bob") == {"p.daily", "p.other"}
        environments.forget(connection, "dev_ann", [])
        assert environments.first_users(connection) == {"p.daily": ["dev_bob"]}


def test_two_runs_of_one_environment_come_one_after_the_other(lake: Lake) -> None:
    short = Lake(lake.settings.model_copy(update={"lock_timeout_seconds": 0.3}))
    attempt = partial(computing, environment="prod", read_graph=lambda: GRAPH, selected=GRAPH, pipeline_of=PIPELINES)
    with attempt(lake, run="first"):
        with pytest.raises(Exception, match="environment prod was held by lakehouse first"):
            with attempt(short, run="second"):
                pytest.fail("two runs at once")


def test_a_lake_of_another_version_is_written_to_after_a_bootstrap_only(lake: Lake) -> None:
    with closing(connect(lake.settings)) as connection:
        connection.execute("COMMENT ON SCHEMA ledger IS 'lakehouse before'; DROP TABLE ledger.workers")
    with pytest.raises(LedgerError, match="of another version of this program; run `lakehouse bootstrap` once"):
        compute(lake, *GRAPH)
    with pytest.raises(LedgerError), loading(lake, "taxi", {}, run="run"):
        pytest.fail("a load into it")
    lake.bootstrap()
    compute(lake, *GRAPH)
