"""Several repositories in one SQLMesh project, as SQLMesh's own example `multi`."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from lakehouse_assets.sqlmesh_integration import SqlmeshProject, SqlmeshResource, sqlmesh_assets
from lakehouse_assets.sqlmesh_integration.automation import catch_up_job
from lakehouse_assets.sqlmesh_integration.deploy import apply_plan
from tests.sqlmesh_integration.sandbox import CONFIG, Sandbox

BRONZE = """
MODEL (name bronze.a, kind FULL);
SELECT 1 AS id
"""
SILVER = """
MODEL (name silver.b, kind INCREMENTAL_BY_TIME_RANGE (time_column day));
SELECT id, @start_date AS day FROM bronze.a
"""


def folders(tmp_path: Path) -> list[Path]:
    found = []
    for name, models in (("one", {"models/a.sql": BRONZE}), ("two", {"models/b.sql": SILVER})):
        config = f"project: {name}\n{CONFIG}"
        found.append(Sandbox.with_models(tmp_path / name, {"config.yaml": config, **models}).folder)
    return found


def test_models_of_two_repositories_are_assets_of_one_definition_that_runs(tmp_path: Path) -> None:
    project = SqlmeshProject(folders(tmp_path))

    @sqlmesh_assets(project=project)
    def models(context, sqlmesh: SqlmeshResource):
        yield from sqlmesh.run(context)

    a, b = dg.AssetKey(["bronze", "a"]), dg.AssetKey(["silver", "b"])
    assert models.keys == {a, b}
    assert models.asset_deps[b] == {a}
    for key, name in ((a, "one/sqlmesh/models/a.sql"), (b, "two/sqlmesh/models/b.sql")):
        (reference,) = models.specs_by_key[key].metadata["dagster/code_references"].code_references
        assert reference.file_path == str(tmp_path / name)
    apply_plan(project)
    job = catch_up_job(models, resources={"sqlmesh": SqlmeshResource.of(project)})
    assert job.execute_in_process(instance=dg.DagsterInstance.ephemeral()).success
    assert Sandbox(project.folder).query("SELECT COUNT(*) FROM silver.b") == [(1,)]


def test_a_change_in_any_repository_is_seen(tmp_path: Path) -> None:
    one, two = folders(tmp_path)
    project = SqlmeshProject((one, two))
    before = project.content_key()
    (two / "models" / "b.sql").write_text(SILVER.replace("SELECT id,", "SELECT id + 1 AS id,"))
    assert project.content_key() != before
    assert project.manifest_path != SqlmeshProject(one).manifest_path
