"""What a release says of its tables is what was deployed and what checks said last, else what the one before said."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import dagster as dg

from lakehouse.releases.log import Release
from lakehouse.releases.manifest import Manifest as Published
from lakehouse.releases.manifest import PublishedTable
from lakehouse.writing.graph import ServedTable
from lakehouse_assets.defs.releases.describing import described
from lakehouse_assets.sqlmesh_integration.manifest import AuditSpec, ColumnSpec, Manifest, ModelSpec, TableRef

RELEASE = Release(
    "prod", 2, 9, "v1", "run 1", "ann", datetime(2026, 11, 28, 4), ("marts.days changed",),
    (ServedTable("marts.days", "marts.days", "marts.days", "c"),), "cut",
)  # fmt: skip
TABLE = PublishedTable("marts.days", "c", "marts.days", (("day", "DATE", ""), ("Sold", "BIGINT", "")), ())


def model(name: str, **more: Any) -> ModelSpec:
    schema, table = name.split(".")
    known = ModelSpec(
        fqn=name, ref=TableRef(schema, table), kind="FULL", language="sql", dialect="duckdb", view_name=name,
        depends_on=(), external=(), columns=(), audits=(), description=None, owner=None, tags=(), cron="@daily",
        cron_seconds=86_400, start="", end=None, interval_unit="day", time_column=None, grains=(), data_hash="",
        path=None,
    )  # fmt: skip
    return replace(known, **more)


def models(**more: Any) -> Manifest:
    sold = ColumnSpec("sold", "BIGINT", sources=(("staging", "sales", "amount"),))
    amount = ColumnSpec("amount", "BIGINT", sources=(("raw", "sales", "amount"),))
    audits = tuple(AuditSpec(name, name, "", name == "stops") for name in ("stops", "warns", "never"))
    days = model(
        "marts.days", owner="ann", grains=("(day, sold)",), columns=(sold,), audits=audits,
        depends_on=(TableRef("staging", "sales"),),
    )  # fmt: skip
    return Manifest("key", (replace(days, **more), model("staging.sales", columns=(amount,)), model("marts.other")))


def deployed(key: str) -> Any:
    """A ledger that says which code was deployed."""
    return SimpleNamespace(execute=lambda *_: SimpleNamespace(fetchone=lambda: (key,)))


def test_what_was_deployed_is_told_with_what_checks_said_last() -> None:
    with dg.instance_for_test() as instance:
        for passed in (True, False):
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(dg.AssetKey(["marts", "days"]), "warns", passed=passed, metadata={})
            )
        (table,), lineage = described(instance, deployed("key"), RELEASE, [TABLE], models(), None)
    assert (table.owner, table.grain, table.cron) == ("ann", ("day", "Sold"), "@daily")
    results = {check["name"]: check["result"] for check in table.checks}
    assert results == {"stops": "passed", "warns": "failed", "never": "unknown"}
    assert table.checks[0]["at"] == "2026-11-28T04:00:00Z" and table.checks[2]["at"] == ""
    assert lineage == {
        "marts.days": {"sold": [["staging.sales", "amount"]]}, "staging.sales": {"amount": [["raw.sales", "amount"]]}
    }  # fmt: skip


def test_what_is_not_deployed_or_was_held_back_is_told_as_before() -> None:
    before = Published(
        "prod", 1, 8, "v0", "run 0", "ann", "", (), (replace(TABLE, owner="bob", grain=("day",)),),
        lineage={"marts.days": {}},
    )  # fmt: skip
    held = replace(RELEASE, tables=(replace(RELEASE.tables[0], snapshot=8),))
    with dg.instance_for_test() as instance:
        told, lineage = described(instance, deployed("other"), RELEASE, [TABLE], models(), before)
        assert [(table.owner, table.grain) for table in told] == [("bob", ("day",))] and lineage == before.lineage
        (table,), _ = described(instance, deployed("key"), held, [TABLE], models(), before)
        assert table.owner == "bob"
        (table,), lineage = described(instance, deployed("other"), RELEASE, [TABLE], models(), None)
        assert (table.owner, table.checks, lineage) == ("", (), {})


def test_a_grain_that_is_an_expression_is_none() -> None:
    with dg.instance_for_test() as instance:
        for grain in ("DATE_TRUNC('month', day)", "gone"):
            (table,), _ = described(
                instance, deployed("key"), RELEASE, [TABLE], models(grains=(grain,), audits=()), None
            )
            assert table.grain == ()
