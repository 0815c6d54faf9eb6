"""Tables and views that somebody dropped behind SQLMesh's back are found before a run, and made again or refused."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from lakehouse_assets.sqlmesh_integration.deploy import RefusedError, summarize_plan
from lakehouse_assets.sqlmesh_integration.environments import look_at_promotion, promote
from tests.sqlmesh_integration.sandbox import CONFIG, Sandbox, Saved

BY_DAY = "kind INCREMENTAL_BY_TIME_RANGE (time_column day), start '2024-01-01', end '2024-01-10'"
FILES = {
    "config.yaml": CONFIG,
    "models/days.sql": f"""
MODEL (name staging.days, {BY_DAY});
SELECT day::DATE AS day, 1 AS amount
FROM GENERATE_SERIES(@start_ds::TIMESTAMP, @end_ds::TIMESTAMP, INTERVAL 1 DAY) AS t(day)
""",
    "models/sums.sql": f"""
MODEL (name marts.sums, {BY_DAY});
SELECT day, SUM(amount) AS amount FROM staging.days WHERE day BETWEEN @start_date AND @end_date GROUP BY day
""",
    "models/total.sql": "MODEL (name marts.total, kind FULL);\nSELECT SUM(amount) AS amount, 1 AS one FROM marts.sums",
    "models/newest.sql": "MODEL (name marts.newest, kind VIEW);\nSELECT MAX(day) AS day FROM marts.sums",
    "models/kinds.sql": """
MODEL (name marts.kinds, kind SEED (path '../seeds/kinds.csv'), columns (id INT, kind TEXT));
""",
    "seeds/kinds.csv": "id,kind\n1,a\n2,b\n",
    "models/keys.sql": """
MODEL (name marts.keys, kind INCREMENTAL_BY_UNIQUE_KEY (unique_key id), start '2024-01-01', end '2024-01-10');
SELECT id, kind FROM marts.kinds
""",
}
MODELS = ["staging.days", "marts.sums", "marts.total", "marts.newest", "marts.kinds", "marts.keys"]
RIGHT = {
    "staging.days": (10,), "marts.sums": (10,), "marts.total": (10,), "marts.newest": ("2024-01-10",),
    "marts.kinds": (2,), "marts.keys": (2,),
}  # fmt: skip
MEASURE = {"marts.total": "SUM(amount)::INT", "marts.newest": "MAX(day)::TEXT"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    made = Sandbox.with_models(tmp_path_factory.mktemp("lost"), FILES)
    made.deploy()
    assert made.run().success
    return Saved.of(made)


@pytest.fixture
def lake(saved: Saved) -> Sandbox:
    return saved.put_back()


def physical(sandbox: Sandbox, model: str) -> str:
    name = model.replace(".", "__")
    ((schema, table),) = sandbox.query(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema LIKE 'sqlmesh__%' "
        f"AND table_name LIKE '{name}\\_\\_%' ESCAPE '\\'"
    )
    return f"{schema}.{table}"


def drop(sandbox: Sandbox, *models: str) -> None:
    for model in models:
        kind = "VIEW" if model == "marts.newest" else "TABLE"
        sandbox.execute(f"DROP {kind} {physical(sandbox, model)}")


def answers(sandbox: Sandbox) -> dict[str, Any]:
    found = {model: sandbox.query(f"SELECT {MEASURE.get(model, 'COUNT(*)')} FROM {model}") for model in MODELS}
    return {model: rows[0] for model, rows in found.items()}


def warnings(sandbox: Sandbox, ran: Any) -> str:
    logged = [entry for entry in sandbox.instance.all_logs(ran.result.run_id) if entry.level >= 30]
    return "\n".join(entry.user_message for entry in logged)


def test_a_lost_table_is_named_and_computed_again_by_a_catch_up(lake: Sandbox) -> None:
    table = physical(lake, "marts.sums")
    drop(lake, "marts.sums")
    ran = lake.run()
    assert ran.success
    assert f"marts.sums: its table warehouse.{table} is gone" in warnings(lake, ran).replace('"', "")
    assert answers(lake) == RIGHT
    assert len(lake.partitions("marts", "sums")) == 10


def test_one_partition_of_a_lost_table_takes_the_others_along(lake: Sandbox) -> None:
    drop(lake, "marts.sums")
    ran = lake.run("marts.sums", partition="2024-01-03", by_hand=True)
    assert ran.success
    assert answers(lake) == RIGHT
    assert len(lake.partitions("marts", "sums")) == 10


def test_a_model_is_not_computed_over_a_table_that_is_gone(lake: Sandbox) -> None:
    drop(lake, "marts.sums", "staging.days")
    assert lake.run("marts.total", by_hand=True).success
    assert answers(lake) == RIGHT


@pytest.mark.parametrize(
    "statement",
    [
        "DROP VIEW marts.sums",
        "DROP SCHEMA marts CASCADE",
        "CREATE OR REPLACE VIEW marts.sums AS SELECT DATE '2000-01-01' AS day, 1 AS amount",
        "DROP SCHEMA sqlmesh__marts CASCADE",
    ],
)
def test_views_and_schemas_are_made_again_by_a_run_that_has_nothing_else_to_do(lake: Sandbox, statement: str) -> None:
    lake.execute(statement)
    ran = lake.run()
    assert ran.success
    assert "marts.sums: its" in warnings(lake, ran)
    assert answers(lake) == RIGHT
    assert not warnings(lake, lake.run())


def test_a_deploy_shows_what_is_lost_and_the_next_run_computes_it(lake: Sandbox) -> None:
    drop(lake, "marts.sums")
    lake.execute("DROP VIEW marts.total")
    planned = summarize_plan(lake.project)
    assert not planned.is_empty
    told = "\n".join(planned.lines())
    assert "marts.sums: the table " in told
    assert "marts.total: its view is gone" in told
    assert lake.deploy().summary.lost == planned.lost
    assert summarize_plan(lake.project).lost == ()
    assert lake.query("SELECT COUNT(*) FROM marts.sums") == [(0,)]
    assert lake.run().success
    assert answers(lake) == RIGHT


@pytest.mark.slow
def test_nothing_is_promoted_that_is_gone(lake: Sandbox) -> None:
    (lake.folder / "models" / "total.sql").write_text(
        FILES["models/total.sql"].replace("SUM(amount)", "SUM(amount) + 0")
    )
    dev = lake.in_environment("dev")
    dev.deploy()
    assert dev.run().success
    tables = {name for (name,) in lake.query("SELECT table_name FROM information_schema.tables")}
    (new,) = [name for name in tables if name.startswith("marts__total__") and name not in physical_of_prod(lake)]
    lake.execute(f"DROP TABLE sqlmesh__marts.{new}")
    assert "marts.total: its table is gone" in look_at_promotion(lake.project, "dev", "prod").incomplete
    with pytest.raises(RefusedError, match=r"the tables of marts.total are gone"):
        promote(lake.project, "dev", "prod")
    assert dev.run().success
    promote(lake.project, "dev", "prod")
    assert answers(lake) == RIGHT


def physical_of_prod(lake: Sandbox) -> str:
    return str(lake.query("SELECT sql FROM duckdb_views() WHERE schema_name = 'marts'"))


def test_a_table_that_prod_shares_is_refused_in_dev_and_computed_by_prod(lake: Sandbox) -> None:
    dev = lake.in_environment("dev")
    dev.deploy()
    drop(lake, "marts.sums")
    ran = dev.run()
    assert "marts.sums: the table " in ran.failure
    assert "belongs to prod, which has to compute it again" in ran.failure
    assert lake.run().success
    assert dev.run().success
    assert answers(lake) == RIGHT


@pytest.mark.slow
def test_history_that_cant_be_computed_again_is_refused_until_it_is_begun_anew(tmp_path: Path) -> None:
    history = Sandbox.with_models(
        tmp_path,
        {
            "models/h.sql": """
MODEL (name marts.h, kind SCD_TYPE_2_BY_COLUMN (unique_key id, columns [v]));
SELECT 1 AS id, 'a' AS v
""",
            "models/reads.sql": "MODEL (name marts.reads, kind FULL);\nSELECT COUNT(*) AS n FROM marts.h",
        },
    )
    history.deploy()
    assert history.run().success
    drop(history, "marts.h")
    for ran in (history.run(), history.run("marts.reads", by_hand=True)):
        assert "keeps history that can't be computed again" in ran.failure
    with pytest.raises(RefusedError, match="keep history that can't be computed again"):
        history.deploy()
    assert history.run("marts.h", by_hand=True, config={"mode": "recompute"}).success
    assert history.run().success
    assert history.query("SELECT COUNT(*) FROM marts.h") == [(1,)]


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_dropped_and_whatever_is_run_then_a_catch_up_ends_with_the_right_rows(
    lake: Sandbox, seed: int
) -> None:
    chance = random.Random(seed)
    for model in chance.sample(MODELS, chance.randint(1, 4)):
        if chance.random() < 0.5:
            drop(lake, model)
        else:
            lake.execute(f"DROP VIEW IF EXISTS {model}")
    act = chance.choice(["nothing", "deploy", "partition", "child", "downstream"])
    if act == "deploy":
        lake.deploy(backfill=chance.random() < 0.5)
    elif act == "partition":
        lake.run("marts.sums", partition="2024-01-05", by_hand=True)
    elif act == "child":
        lake.run("marts.total", "marts.newest", by_hand=True)
    elif act == "downstream":
        lake.run("staging.days", partition="2024-01-02", by_hand=True, config={"downstream": True})
    assert lake.run().success
    assert answers(lake) == RIGHT


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """Its runs have told of every table what it held."""
    made = Sandbox.with_models(tmp_path_factory.mktemp("watched"), FILES)
    made.deploy()
    assert made.run().success
    return made


@pytest.mark.parametrize(
    ("model", "statement", "told"),
    [
        ("marts.sums", "DELETE FROM {}", "is empty, and held"),
        ("marts.total", "ALTER TABLE {} DROP COLUMN amount", "lacks the column amount"),
        ("marts.sums", "ALTER TABLE {} RENAME COLUMN amount TO amounts", "lacks the column amount"),
        ("marts.total", "ALTER TABLE {} ALTER COLUMN amount SET DATA TYPE VARCHAR", "has amount as VARCHAR instead of"),
    ],
)
def test_a_table_that_somebody_emptied_or_altered_is_named_and_computed_again(
    watched: Sandbox, model: str, statement: str, told: str
) -> None:
    watched.execute(statement.format(physical(watched, model)))
    ran = watched.run()
    assert ran.success
    assert f"{model}: its table warehouse.{physical(watched, model)} {told}" in warnings(watched, ran).replace('"', "")
    assert answers(watched) == RIGHT
    assert not warnings(watched, watched.run())


def test_keys_and_seeds_that_somebody_emptied_come_back(watched: Sandbox) -> None:
    for model in ("marts.kinds", "marts.keys"):
        watched.execute(f"TRUNCATE {physical(watched, model)}")
    assert watched.run("marts.keys", by_hand=True).success
    assert answers(watched) == RIGHT


def test_an_honestly_empty_table_and_one_with_a_column_more_are_left_alone(tmp_path: Path) -> None:
    empty = "MODEL (name marts.none, kind FULL);\nSELECT 1 AS id WHERE FALSE"
    sandbox = Sandbox.with_models(tmp_path, {"models/none.sql": empty})
    sandbox.deploy()
    assert sandbox.run().success
    sandbox.execute(f"ALTER TABLE {physical(sandbox, 'marts.none')} ADD COLUMN note VARCHAR")
    ran = sandbox.run()
    assert ran.success
    assert not warnings(sandbox, ran)


def test_history_that_somebody_emptied_is_refused(tmp_path: Path) -> None:
    history = Sandbox.with_models(
        tmp_path,
        {
            "models/h.sql": """
MODEL (name marts.h, kind SCD_TYPE_2_BY_COLUMN (unique_key id, columns [v]));
SELECT 1 AS id, 'a' AS v
"""
        },
    )
    history.deploy()
    assert history.run().success
    history.execute(f"DELETE FROM {physical(history, 'marts.h')}")
    told = history.run().failure
    assert "is empty, and held 1 rows when it was last computed" in told
    assert "keeps history that can't be computed again" in told
    assert history.run("marts.h", by_hand=True, config={"mode": "recompute"}).success
    assert history.query("SELECT COUNT(*) FROM marts.h") == [(1,)]
    assert history.run().success
