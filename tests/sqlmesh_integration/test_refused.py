"""A model that SQLMesh or its engine would refuse is named with its file and reason, before anything is deployed."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse_assets.sqlmesh_integration.deploy import DeployError, refused
from tests.sqlmesh_integration.sandbox import CONFIG, Sandbox

EMPTY = CONFIG.replace("warehouse.db", '":memory:"').replace("state.db", '":memory:"')
RAW = """
- name: raw.sales
  columns: { moment: varchar, amount: double }
- name: raw.loose
  columns: { anything: unknown }
"""
QUERIES = {
    "day": "SELECT CAST(moment AS DATE) AS day, SUM(amount) AS sold FROM raw.sales GROUP BY ALL",
    "wrong_type": "SELECT amount + CAST(moment AS DATE) AS sold FROM raw.sales",
    "two_columns": "SELECT moment FROM raw.sales UNION ALL SELECT moment, amount FROM raw.sales",
    "of_a_wrong_one": "SELECT sold FROM marts.wrong_type",
    "no_function": "SELECT FOLD(moment) AS a FROM raw.sales",
    # What only the lake itself can say.
    "of_a_loose_table": "SELECT nothing_that_is_known FROM raw.loose",
    "of_an_unheard_table": "SELECT a FROM raw.unheard_of",
    "of_a_file": "SELECT * FROM READ_CSV('not_there.csv')",
}


def shop(folder: Path, queries: dict[str, str], **more: str) -> Sandbox:
    models = {
        f"models/{name}.sql": f"MODEL (name marts.{name}, kind FULL);\n{query}\n" for name, query in queries.items()
    }
    return Sandbox.with_models(folder, {"config.yaml": EMPTY, "external_models.yaml": RAW, **models, **more})


def test_models_that_cannot_be_made_are_named_and_no_other(tmp_path: Path) -> None:
    project = shop(tmp_path, QUERIES).project
    found = refused(project)
    reasons = {sentence.split(":")[0]: sentence for sentence in found}
    assert reasons.keys() == {"models/wrong_type.sql", "models/two_columns.sql", "models/no_function.sql"}
    assert "marts.wrong_type can't be made: BinderException" in reasons["models/wrong_type.sql"]
    assert "No function matches the given name" in reasons["models/wrong_type.sql"]
    assert "Set operations can only" in reasons["models/two_columns.sql"]
    assert refused(project) == found, "over a lake that is empty again"


def test_a_project_that_sqlmesh_refuses_says_why(tmp_path: Path) -> None:
    ends_first = "MODEL (name marts.late, start '2024-03-01', end '2024-01-01', kind FULL);\nSELECT 1 AS a\n"
    project = shop(tmp_path, {}, **{"models/late.sql": ends_first}).project
    with pytest.raises(DeployError, match="2024-03-01.* can.t be greater than end"):
        refused(project)
