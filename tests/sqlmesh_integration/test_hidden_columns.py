"""A model's tag `hidden:COLUMN` keeps the column's values out of whatever shows rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse_assets.sqlmesh_integration import SqlmeshTranslator
from lakehouse_assets.sqlmesh_integration.deploy import DeployError
from lakehouse_assets.sqlmesh_integration.manifest import ModelSpec
from lakehouse_assets.sqlmesh_integration.markdown import read_table, table, text_table
from tests.sqlmesh_integration.sandbox import Sandbox

FILES = {
    "models/people.sql": """
MODEL (name staging.people, kind FULL, tags ('hidden:Email'), grain id, audits (not_one(blocking := false)));
SELECT 1 AS id, 'ann@example.org' AS email, 'Springfield' AS city, 5 AS spent
UNION ALL SELECT 2, 'bob@example.org', 'Shelbyville', 7
""",
    "models/readers.sql": """
MODEL (name marts.readers, kind FULL, audits (not_one(blocking := false), by_mail(blocking := false)));
SELECT id, email, spent FROM staging.people
""",
    "audits/audits.sql": """
AUDIT (name not_one);
SELECT * FROM @this_model WHERE id = 1;

AUDIT (name by_mail);
SELECT id, contact FROM (SELECT id, LOWER(email) AS contact FROM @this_model) WHERE id = 1;

AUDIT (name nobody_is_one, standalone true);
SELECT id, spent, email AS mail FROM marts.readers WHERE id = 1;
""",
}


class Previews(SqlmeshTranslator):
    def has_preview(self, model: ModelSpec) -> bool:
        return True


def test_no_audit_and_no_preview_shows_a_hidden_column(tmp_path: Path) -> None:
    sandbox = Sandbox.with_models(tmp_path, FILES, translator=Previews())
    sandbox.deploy()
    ran = sandbox.run()
    assert ran.success
    shown = {check: read_table(str(found.metadata["sample"].value))[0] for check, found in ran.checks.items()}
    assert shown == {
        ("people", "not_one"): ["id", "city", "spent"],
        ("readers", "not_one"): ["id", "spent"],
        ("readers", "by_mail"): ["id"],
        ("readers", "nobody_is_one"): ["id", "spent"],
    }
    previews = [str(ran.materialization(*key).metadata) for key in (("staging", "people"), ("marts", "readers"))]
    assert "Shelbyville" in previews[0] and "| spent |" in previews[1]
    assert "example.org" not in "".join(previews) + str(ran.result.all_events)
    hidden = {name: model.hidden for name, model in sandbox.resource.deployed().items()}
    assert hidden == {"staging.people": {"email"}, "marts.readers": {"email"}}
    known = sandbox.project.manifest().models
    assert {model.name: set(model.hidden) for model in known} == hidden
    assert all(model.query.startswith("SELECT\n") for model in known)


def test_a_deploy_that_an_audit_stops_shows_none_either(tmp_path: Path) -> None:
    files = FILES | {"models/people.sql": FILES["models/people.sql"].replace("(blocking := false)", "")}
    with pytest.raises(DeployError) as told:
        Sandbox.with_models(tmp_path, files).deploy(backfill=True)
    assert "id  city         spent" in str(told.value)
    assert "example.org" not in str(told.value)


def test_rows_as_plain_text_fit_a_terminal_and_name_the_columns_that_do_not() -> None:
    columns = [f"column_{number}" for number in range(9)]
    rows = [["a | b", "x" * 100, None, 1.5, "two\nlines", *"abcd"], [*range(9)]]
    assert text_table(columns, rows).splitlines() == [
        "column_0  column_1                          column_2  column_3  column_4",
        "-" * 72,
        f"a | b     {'x' * 31}…  —         1.5       two lines",
        "0         1                                 2         3         4",
        "(and column_5, column_6, column_7, column_8)",
    ]
    assert read_table(table(columns, rows)) == (
        columns, [["a | b", "x" * 79 + "…", "—", "1.5", "two lines", *"abcd"], [str(number) for number in range(9)]],
    )  # fmt: skip
