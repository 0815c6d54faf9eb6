"""SQL that DuckDB would refuse is named before anything is computed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from lakehouse_assets.defs.transformation import binding, external_models
from lakehouse_assets.sqlmesh_integration.manifest import ColumnSpec, Manifest, TableRef
from tests.lakehouse_assets.test_describing import model

DAY, SOLD = ColumnSpec("day", "DATE"), ColumnSpec("sold", "DECIMAL(18, 2)")
RAW = "- name: raw.sales\n  columns:\n    moment: varchar\n    amount: double\n"
LOOSE = model("staging.loose", columns=(ColumnSpec("a", "UNKNOWN"),), query="SELECT nothing FROM nowhere")


@pytest.mark.parametrize(("query", "more", "said"), [
    ("SELECT CAST(moment AS DATE) AS day, SUM(amount) AS sold FROM raw.sales GROUP BY ALL", {}, ""),
    ("SELECT amount + CAST(moment AS DATE) AS sold FROM raw.sales", {}, "No function matches the given name"),
    ("SELECT missing FROM raw.sales", {}, 'Referenced column "missing" not found'),
    ("SELECT moment FROM raw.sales UNION ALL SELECT moment, amount FROM raw.sales", {}, "Set operations can only"),
    # What can't be said here is said by the preview.
    ("SELECT ST_POINT(1, 2) AS a_function_of_an_extension", {}, ""),
    ("SELECT * FROM READ_CSV('not_there.csv')", {}, ""),
    ("SELECT b FROM staging.loose", {"depends_on": (TableRef("staging", "loose"),)}, ""),
    ("SELECT a FROM raw.unheard_of", {"external": (TableRef("raw", "unheard_of"),)}, ""),
    ("SELECT 1 +", {"dialect": "spark"}, ""),
])  # fmt: skip
def test_a_model_that_duckdb_refuses_is_named_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, more: dict[str, object], said: str
) -> None:
    (tmp_path / "external_models.yaml").write_text(RAW)
    days = model("marts.days", columns=(DAY, SOLD), path="models/days.sql", query=query, **more)
    manifest = Manifest("key", (days, LOOSE))
    for module in (binding, external_models):
        monkeypatch.setattr(module, "project", lambda: SimpleNamespace(folder=tmp_path, manifest=lambda: manifest))
    found = [sentence for sentence in binding.refused() if "staging.loose" not in sentence]
    if said:
        (sentence,) = found
        assert sentence.startswith("models/days.sql: DuckDB can't run marts.days: ") and said in sentence
    else:
        assert found == []
