"""A part of the models, or of their days, over models that are not computed: these come along, or it is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import time_machine

from tests.sqlmesh_integration.sandbox import CONFIG, Sandbox, Saved, moment

NOW = datetime(2026, 11, 8, 12, tzinfo=UTC)
DAYS = "(SELECT UNNEST(GENERATE_SERIES(@start_ts::TIMESTAMP, @end_ts::TIMESTAMP, INTERVAL 1 DAY))::DATE AS ds)"
SOURCE = f"""
MODEL (name a.source, kind INCREMENTAL_BY_TIME_RANGE (time_column ds), columns (ds DATE, v INT));
SELECT ds, 10 AS v FROM {DAYS}
"""
CHAIN = """
MODEL (name a.chain, kind INCREMENTAL_BY_TIME_RANGE (time_column ds, batch_size 1), columns (ds DATE, v INT));
SELECT @end_date AS ds, (COALESCE((SELECT v FROM a.chain WHERE ds = @end_date - 1), 0)
  + (SELECT COALESCE(SUM(v), 0) FROM a.source WHERE ds = @end_date))::INT AS v
"""
PYTHON = """
from sqlmesh import ExecutionContext, model

@model("a.frames", kind="FULL", columns={"rows": "int"}, depends_on=["a.days"])
def execute(context: ExecutionContext, **kwargs):
    return context.fetchdf(f"SELECT COUNT(*)::INT AS rows FROM {context.resolve_table('a.days')}")
"""
BY_DAY = "kind INCREMENTAL_BY_TIME_RANGE (time_column ds)"
ROWS = "SELECT ds, v FROM a.{} WHERE ds BETWEEN @start_ds AND @end_ds"
MODELS = {
    "source": SOURCE,
    "chain": CHAIN,
    "days": f"MODEL (name a.days, {BY_DAY}); {ROWS.format('source')}",
    "total": "MODEL (name a.total, kind FULL); SELECT COUNT(*)::INT AS rows FROM a.days",
    "view": "MODEL (name a.view, kind VIEW); SELECT ds, v FROM a.days",
    "over_view": f"MODEL (name a.over_view, {BY_DAY}); {ROWS.format('view')}",
    "by_key": """MODEL (name a.by_key, kind INCREMENTAL_BY_UNIQUE_KEY (unique_key k));
        SELECT 1 AS k, COUNT(*) AS rows FROM a.days""",
    "seed": "MODEL (name a.seed, kind SEED (path '../seeds/seed.csv'), columns (k INT))",
    "over_seed": "MODEL (name a.over_seed, kind FULL); SELECT COUNT(*)::INT AS rows FROM a.seed",
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Deployed on 8 November 2026 with a start on the first; nothing is computed."""
    files = {f"models/{name}.sql": text for name, text in MODELS.items()}
    files |= {"models/frames.py": PYTHON, "seeds/seed.csv": "k\n1\n2\n"}
    files["config.yaml"] = CONFIG.replace("2024-01-01", "2026-11-01")
    sandbox = Sandbox.with_models(tmp_path_factory.mktemp("upstream"), files)
    with time_machine.travel(NOW):
        sandbox.deploy()
    return Saved.of(sandbox)


@pytest.fixture
def made(saved: Saved) -> Sandbox:
    return saved.put_back()


def recorded(sandbox: Sandbox, name: str) -> list[tuple[str, str]]:
    return [(f"{a:%d}", f"{b:%d}") for a, b in sandbox.resource.deployed()[name].computed]


@time_machine.travel(NOW)
def test_models_chosen_alone_take_along_all_that_they_read(made: Sandbox) -> None:
    leaves = ("a.chain", "a.total", "a.over_view", "a.by_key", "a.over_seed", "a.frames")
    ran = made.run(*leaves)
    assert ran.success, ran.failure
    assert {ran.outcomes[name].state for name in (*leaves, "a.source", "a.days", "a.view", "a.seed")} == {"computed"}
    for table in ("a.total", "a.by_key", "a.frames"):
        assert made.query(f"SELECT rows FROM {table}") == [(7,)]
    assert made.query("SELECT rows FROM a.over_seed") == [(2,)]
    assert made.query("SELECT COUNT(*), SUM(v) FROM a.over_view") == [(7, 70)]
    assert made.query("SELECT MAX(v) FROM a.chain") == [(70,)]
    assert len(made.partitions("a", "source")) == len(made.partitions("a", "over_view")) == 7
    assert all(model.missing == () for model in made.resource.deployed().values())


@pytest.mark.slow
@time_machine.travel(NOW)
def test_a_day_takes_along_the_same_day_only(made: Sandbox) -> None:
    ran = made.run("a.over_view", partition="2026-11-03", by_hand=True)
    assert ran.success, ran.failure
    for name in ("a.source", "a.days", "a.over_view"):
        assert recorded(made, name) == [("03", "04")]
        assert made.partitions(*name.split(".")) == {"2026-11-03"}
    assert made.run().success
    assert made.query("SELECT COUNT(*), SUM(v) FROM a.over_view") == [(7, 70)]


@time_machine.travel(NOW)
def test_what_reads_itself_is_computed_for_the_days_asked_for_and_before_them(made: Sandbox) -> None:
    assert made.run("a.source", "a.chain", partitions=("2026-11-01", "2026-11-02"), by_hand=True).success
    assert recorded(made, "a.chain") == recorded(made, "a.source") == [("01", "03")]
    assert made.run("a.chain", partition="2026-11-04", by_hand=True).success
    assert recorded(made, "a.chain") == recorded(made, "a.source") == [("01", "05")]
    assert made.query("SELECT v FROM a.chain ORDER BY ds") == [(10,), (20,), (30,), (40,)]


@time_machine.travel(NOW)
def test_an_early_day_of_what_reads_itself_is_followed_by_what_was_computed_later_and_no_more(made: Sandbox) -> None:
    assert made.run("a.chain", partitions=("2026-11-01", "2026-11-04"), by_hand=True).success
    made.execute(f"UPDATE {made.resource.deployed()['a.source'].physical_table} SET v = 15 WHERE ds = '2026-11-02'")
    ran = made.run("a.chain", partition="2026-11-02", by_hand=True)
    assert ran.success and len(ran.outcomes["a.chain"].intervals) == 3
    assert made.query("SELECT v FROM a.chain ORDER BY ds") == [(10,), (25,), (35,), (45,)]
    assert recorded(made, "a.chain") == [("01", "05")]


@time_machine.travel(NOW)
def test_a_hole_in_what_reads_itself_is_filled_and_followed(made: Sandbox) -> None:
    assert made.run("a.chain").success
    made.execute(f"UPDATE {made.resource.deployed()['a.source'].physical_table} SET v = 15 WHERE ds = '2026-11-02'")
    made.resource.mark_missing({"a.source": [(moment("2026-11-03"), moment("2026-11-04"))]})
    made.run("a.source", "a.chain", touched={"a.chain": [(moment("2026-11-02"), moment("2026-11-03"))]})
    assert made.query("SELECT MAX(v) FROM a.chain") == [(75,)]


@pytest.mark.slow
@time_machine.travel(NOW)
def test_a_full_model_beside_some_days_is_recorded_as_far_as_all_that_it_reads(made: Sandbox) -> None:
    ran = made.run("a.days", "a.total", partition="2026-11-05", by_hand=True)
    assert ran.success, ran.failure
    assert ran.outcomes["a.total"].state == "not_ready"
    assert "a.days (from 2026-11-01 00:00)" in ran.outcomes["a.total"].reason
    assert recorded(made, "a.total") == [] and recorded(made, "a.source") == [("05", "06")]
    assert made.run("a.days", "a.total", partitions=("2026-11-01", "2026-11-04"), by_hand=True).success
    assert recorded(made, "a.total") == [("01", "06")]
    assert made.run().success
    assert made.query("SELECT rows FROM a.total") == [(7,)]


@pytest.mark.slow
@time_machine.travel(NOW)
def test_without_computing_upstream_it_is_refused_with_the_names_and_never_recorded(made: Sandbox) -> None:
    made.computes_upstream = False
    ran = made.run("a.over_view", "a.total", "a.chain")
    assert not ran.success
    for line in ("a.over_view: it reads what is not computed: a.days (from", "a.total: it reads", "a.chain: it reads"):
        assert line in ran.failure
    assert all(model.computed == () for model in made.resource.deployed().values())
    assert not made.run("a.chain", partition="2026-11-04", by_hand=True).success
    assert made.run("a.source", partitions=("2026-11-01", "2026-11-03"), by_hand=True).success
    ran = made.run("a.chain")
    assert ran.success and recorded(made, "a.chain") == [("01", "04")]
    assert made.run().success
    assert made.query("SELECT MAX(v) FROM a.chain") == [(70,)]


@pytest.mark.slow
@time_machine.travel(NOW)
def test_a_table_of_another_environment_that_is_behind_is_waited_for(made: Sandbox) -> None:
    file = made.folder / "models" / "days.sql"
    file.write_text(file.read_text().replace("SELECT ds, v", "SELECT ds, v + 1 AS v"))
    assert made.run("a.source", partition="2026-11-01", by_hand=True).success
    dev = made.in_environment("dev")
    dev.deploy()
    ran = dev.run("a.days")
    assert ran.success, ran.failure
    assert recorded(dev, "a.days") == [("01", "02")], "a.source is prod's, and has one day"
    assert dev.run("a.days").outcomes["a.days"].state == "not_ready"
    assert "a.source (from 2026-11-02 00:00)" in dev.run("a.days", partition="2026-11-03", by_hand=True).failure
    assert made.run("a.source").success
    assert dev.run("a.days").success and recorded(dev, "a.days") == [("01", "08")]


@time_machine.travel(NOW)
def test_what_a_load_touched_upstream_comes_along_before_what_reads_it(made: Sandbox) -> None:
    assert made.run("a.source").success
    assert made.run("a.days").success
    touched = {"a.source": [(moment("2026-11-03"), moment("2026-11-04"))]}
    assert made.run("a.days", partition="2026-11-05", by_hand=True, touched=touched).success
    assert recorded(made, "a.source") == [("01", "03"), ("04", "08")], "another day: it waits"
    assert made.partitions("a", "source") == {f"2026-11-{day:02}" for day in (1, 2, 4, 5, 6, 7)}
    assert made.run("a.days", partition="2026-11-03", by_hand=True).success
    assert recorded(made, "a.source") == [("01", "08")]
