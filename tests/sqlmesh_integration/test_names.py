"""Every name that SQLMesh allows loads under a key, and checks under names, that Dagster takes and that are unique."""

from __future__ import annotations

import random
import re
from pathlib import Path

import dagster as dg
import pytest

from lakehouse_assets.sqlmesh_integration.names import check_name, check_names, key_part
from lakehouse_assets.sqlmesh_integration.translator import MODEL
from tests.sqlmesh_integration.sandbox import Sandbox

NAMES = [
    'mart."Order Stats"', 'mart."order_stats"', 'mart."a/b"', 'mart."a.b"', 'mart."it\'s"', 'mart."per%cent"',
    'mart."naïve"', 'mart."данные"', 'mart."таблица"', 'mart."日本"', 'mart."x-y"', "mart.x_y", 'mart."select"',
    'mart."[x]"', 'mart."two  spaces"', 'mart."two spaces"', '"my schema".plain', "a__b.c", "a.b__c", "mart.orders",
    "mart.orders_daily", "mart.input", "mart.orders_daily_x", '"схема"."имя"', 'mart."UPPER"',
]  # fmt: skip


def files(names: list[str]) -> dict[str, str]:
    """A model of each name; the first one's audits, and a last model that reads all."""
    made = {}
    for number, name in enumerate(names):
        audits = ", audits (daily, not_null(columns := (x)))" if name == "mart.orders" else ""
        made[f"models/m{number}.sql"] = f"MODEL (name {name}, kind FULL{audits});\nSELECT {number} AS x"
    reads = " UNION ALL ".join(f"SELECT x FROM {name}" for name in names)
    made["models/all.sql"] = f"MODEL (name mart.everything, kind FULL);\nSELECT COUNT(*) AS n FROM ({reads})"
    made["audits/daily.sql"] = "AUDIT (name daily);\nSELECT * FROM @this_model WHERE x IS NULL"
    return made


@pytest.mark.slow
def test_models_of_any_name_load_run_and_are_checked(tmp_path: Path) -> None:
    project = Sandbox.with_models(tmp_path, files(NAMES))
    assets = project.assets()
    keys = {spec.metadata[MODEL]: spec.key for spec in assets.specs}
    assert len(set(keys.values())) == len(NAMES) + 1
    assert assets.asset_deps[keys["mart.everything"]] == set(keys.values()) - {keys["mart.everything"]}
    project.deploy()
    ran = project.run()
    assert ran.success
    assert project.query("SELECT n FROM mart.everything") == [(len(NAMES),)]
    assert {asset for asset, _ in ran.checks} == {"orders"}
    chosen = keys["mart.order stats"]
    alone = dg.materialize(
        [assets], selection=dg.AssetSelection.assets(chosen), resources={"sqlmesh": project.resource},
        instance=project.instance,
    )  # fmt: skip
    assert alone.success
    assert [event.asset_key for event in alone.asset_materializations_for_node("models")] == [chosen]


def test_a_plain_name_is_its_key_and_another_ones_key_does_not_depend_on_what_else_there_is() -> None:
    assert key_part("daily_revenue") == "daily_revenue"
    assert re.fullmatch(r"order_stats_[0-9a-f]{6}", key_part("order stats"))
    assert key_part("order stats") != key_part("order_stats") != key_part("order  stats")


def test_a_model_without_a_schema_has_a_name_without_a_dot(tmp_path: Path) -> None:
    alone = Sandbox.with_models(tmp_path, {"models/alone.sql": "MODEL (name alone, kind FULL);\nSELECT 1 AS x"})
    assert [model.name for model in alone.project.manifest().models] == ["alone"]


def test_a_check_is_named_by_audit_and_columns_only_where_the_audit_is_there_twice() -> None:
    given = [
        ("not_null", ["a", "b"], ""),
        ("accepted_range", ["purchases"], "min_v := 0"),
        ("accepted_range", ["price"], "min_v := 0"),
        ("accepted_range", ["price"], "max_v := 9"),
        ("forall", [], "criteria := 1 > 0"),
    ]
    names = ["not_null", "accepted_range_purchases", "accepted_range_price"]
    names += ["accepted_range_price_max_v_9", "forall"]
    assert check_names(given) == names
    assert check_names(given[:3]) == names[:3]


@pytest.mark.parametrize("seed", range(20))
def test_check_names_are_unique_and_dagsters_whatever_the_audits_are_called(seed: int) -> None:
    chance = random.Random(seed)
    audits = ["not_null", "проверка", "検査", "a b", "a_b", "x" * 200]
    given = []
    for _ in range(chance.randint(1, 12)):
        columns = chance.sample(["c", "d", "столбец", "e f"], chance.randint(0, 2))
        arguments = ", ".join(f"{column} := {chance.choice(['1', '2', 'я'])}" for column in columns)
        given.append((chance.choice(audits), columns, arguments))
    names = check_names(given)
    assert len({*names}) == len(given)
    assert all(re.fullmatch(r"[A-Za-z0-9_]{1,90}", name) for name in names)
    assert check_name("проверка") != check_name("検査")
