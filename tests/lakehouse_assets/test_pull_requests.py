"""A pull request's story over the real models: previewed, stopped at each gate, merged without computing twice."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lakehouse.lake.postgres import connect
from lakehouse.releases import log
from lakehouse.settings import PROJECT_ROOT
from lakehouse_assets import models as models_module
from lakehouse_assets.cli import graph as cli
from lakehouse_assets.defs.environments import deploying, lifecycle, pull_requests
from lakehouse_assets.sqlmesh_integration.deploy import RefusedError
from tests.lakehouse_assets.conftest import House

EVENTS = "SELECT 500000 + i, i % 7, 'purchase', TIMESTAMP '2011-06-01' + INTERVAL (i) HOUR, 1.5 FROM range(24 * 3) t(i)"
DAILY, TESTS = "models/marts/daily_revenue.sql", "tests/test_marts.yaml"
DOUBLED = (
    (DAILY, "= 'purchase' THEN revenue ELSE 0", "= 'purchase' THEN 2 * revenue ELSE 0"),
    (TESTS, "total_revenue: 11.5", "total_revenue: 23"),
)
WRONG = """MODEL (
  name marts.wrong,
  kind VIEW,
  audits (not_null(columns := (a)))
);

SELECT
  r.total_revenue + r.event_date AS a
FROM marts.daily_revenue AS r
"""
Edit = tuple[str, str, str]


@dataclass
class Checkout:
    """A branch's files, which are the checked-out ones."""

    folder: Path

    def edit(self, *edits: Edit) -> None:
        for file, old, new in edits:
            text = (self.folder / file).read_text()
            assert old in text
            (self.folder / file).write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def filled(house: House) -> Iterator[House]:
    """Three days of the shop, computed in prod. Afterwards prod is again what the files say."""
    house.land_events("ecommerce_events_pull_requests.parquet", EVENTS)
    house.load_events()
    house.run("catch_up")
    yield house
    deploying.deploy(house.lake, "prod", backfill=True, run="test")


@pytest.fixture
def checkout(filled: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Checkout]:
    folder = tmp_path / "sqlmesh_project"
    shutil.copytree(PROJECT_ROOT / "sqlmesh_project", folder, ignore=shutil.ignore_patterns(".cache", "logs"))
    monkeypatch.setattr(models_module, "PROJECT_DIR", folder)
    yield Checkout(folder)
    for number in pull_requests.forgotten(filled.lake, age=timedelta(days=-1)):
        pull_requests.drop(filled.lake, number, run="test")


def lakehouse(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "200"})
    return result.exit_code, result.output


def revenue(house: House) -> dict[Any, Any]:
    return dict(house.rows("SELECT event_date, total_revenue FROM marts.daily_revenue"))


def prods_plan(house: House) -> list[tuple[Any, ...]]:
    with closing(connect(house.lake.settings)) as connection:
        return connection.execute("SELECT plan_id FROM sqlmesh._environments WHERE name = 'prod'").fetchall()


@pytest.mark.slow
def test_what_a_preview_has_computed_is_what_prod_gets_on_the_merge(
    filled: House, checkout: Checkout, batches: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before, comment = revenue(filled), tmp_path / "comment.md"
    # Another pull request, which renames nothing that this one touches, is previewed beside it.
    checkout.edit(("models/marts/daily_revenue_example.sql", "MODEL (", "MODEL (\n  description 'Another''s.',"))
    assert pull_requests.preview(filled.lake, 8, sample=0, run="test").problem == ""
    assert batches == []
    checkout.edit(("models/marts/daily_revenue_example.sql", "\n  description 'Another''s.',", ""))

    checkout.edit(*DOUBLED)
    mine = checkout.folder / "pages" / "mine.md"
    mine.write_text("```sql\nSELECT sold FROM marts.daily_revenue\n```")
    wrong = checkout.folder / "models" / "marts" / "wrong.sql"
    wrong.write_text(WRONG)
    code, said = lakehouse("ci", "check")
    assert code == 1 and 'pages/mine.md, line 1, sql: Referenced column "sold" not found' in said
    assert "models/marts/wrong.sql: marts.wrong can't be made: BinderException: " in said
    mine.write_text("# Mine")
    wrong.unlink()
    assert lakehouse("ci", "check")[0] == 0
    code, said = lakehouse("ci", "preview", "--pr", "7", "--out", str(comment))
    assert code == 0, said
    text = comment.read_text()
    assert text.startswith("<!-- lakehouse ci preview pr_7 -->\n\n## ✅ 1 model changed, 0 more touched")
    assert "| `marts.daily_revenue` | modified | breaking: what reads it is computed again too |" in text
    assert f"- `marts.daily_revenue`: other values in {len(before):,} of {len(before):,} rows (total_revenue)" in text
    costs = r"\| `marts.daily_revenue` \| 2009-12-01 \| 20.* \| [\d,]{5,} \| [\d,]+ \| [\d,]+ \| [\d.]+ s \|"
    assert re.search(costs, text.split("### Computed")[1]), text
    assert re.search(r"To compute: marts.daily_revenue \([\d,]{5,} intervals, [\d,]+ rows, .*[\d.]+ s\)", said), said
    assert '["marts.daily_revenue, released"]' in text and "raw.ecommerce__events" in text
    assert "### Pages of the dashboard\n\n- `mine` is new" in text
    assert batches != [] and revenue(filled) == before

    batches.clear()
    assert lakehouse("ci", "preview", "--pr", "7", "--out", str(comment))[0] == 0
    assert (batches, comment.read_text()) == ([], text), "again: the same comment, and nothing computed"

    promote = lifecycle.sqlmesh.promote

    def killed(*arguments: Any) -> None:
        promote(*arguments)
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle.sqlmesh, "promote", killed)
        with pytest.raises(RuntimeError, match="killed"):
            pull_requests.merge(filled.lake, 7, run="test")
    assert [mark.details["from"] for mark in filled.marks("deploy")] == ["pr_7"]
    assert pull_requests.merge(filled.lake, 7, run="test") is True
    assert filled.marks("deploy") == [] and batches == []
    assert revenue(filled) == {day: 2 * amount for day, amount in before.items()}
    with closing(connect(filled.lake.settings)) as connection:
        newest = log.newest(connection, "prod")
    assert newest is not None and "marts.daily_revenue" in " ".join(newest.changed)
    assert pull_requests.merge(filled.lake, 7, run="test") is False, "it is done"
    assert newest.pages["mine"] == "# Mine"

    assert pull_requests.preview(filled.lake, 7, sample=0, run="test").pages == ()
    mine.write_text("# Ours")  # after the preview
    with pytest.raises(RefusedError, match="not those that were previewed:\n  page mine changed"):
        pull_requests.merge(filled.lake, 7, run="test")
    assert pull_requests.preview(filled.lake, 7, sample=0, run="test").pages == ("page mine changed",)
    assert pull_requests.merge(filled.lake, 7, run="test") is True
    assert batches == [] and pull_requests.is_merged(filled.lake, 7)

    checkout.edit(("models/marts/daily_revenue_example.sql", "MODEL (", "MODEL (\n  description 'Another''s.',"))
    plan = prods_plan(filled)
    with pytest.raises(RefusedError, match=r"prod has other models than when pr_8 was previewed \(test at 20"):
        pull_requests.merge(filled.lake, 8, run="test")
    assert prods_plan(filled) == plan


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edits", "problem"),
    [
        ([(DAILY, "event_date::DATE AS event_date,", "*,")], "noselectstar"),
        ([(DAILY, "'refund' THEN revenue ELSE 0", "'refund' THEN 3 * revenue ELSE 0")], "1 of .* unit tests failed"),
        ([(DAILY, ":= refunds, min_v := 0", ":= purchases, max_v := 1")], "daily_revenue: .*accepted_range"),
    ],
    ids=["lint", "unit test", "audit"],
)  # fmt: skip
def test_a_red_preview_says_why_and_is_not_merged(
    filled: House, checkout: Checkout, tmp_path: Path, edits: list[Edit], problem: str
) -> None:
    plan, comment = prods_plan(filled), tmp_path / "comment.md"
    checkout.edit(*edits)
    code, said = lakehouse("ci", "preview", "--pr", "9", "--out", str(comment))
    assert code == 1, said
    text = comment.read_text()
    assert "❌ pr_9 can't be merged" in text
    assert re.search(problem, text), text
    refused = CliRunner().invoke(cli.app, ["ci", "deploy", "--pr", "9", "--json"])
    assert (refused.exit_code, json.loads(refused.stdout)["ok"]) == (1, False), refused.output
    assert prods_plan(filled) == plan
