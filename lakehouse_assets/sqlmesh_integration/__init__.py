"""SQLMesh models as Dagster assets, for any Dagster project.

project = SqlmeshProject("path/to/sqlmesh_project")

@sqlmesh_assets(project=project)
def models(context: dg.AssetExecutionContext, sqlmesh: SqlmeshResource):
    yield from sqlmesh.run(context)

catch_up = catch_up_job(models, resources={"sqlmesh": SqlmeshResource.of(project)})
defs = dg.Definitions(assets=[models], jobs=[catch_up], resources={"sqlmesh": SqlmeshResource.of(project)})
"""

from lakehouse_assets.sqlmesh_integration.automation import catch_up_job
from lakehouse_assets.sqlmesh_integration.decorator import sqlmesh_assets
from lakehouse_assets.sqlmesh_integration.manifest import AuditSpec, Manifest, ModelSpec, TableRef
from lakehouse_assets.sqlmesh_integration.project import SqlmeshProject
from lakehouse_assets.sqlmesh_integration.resource import SqlmeshResource
from lakehouse_assets.sqlmesh_integration.translator import SqlmeshTranslator

__all__ = [
    "AuditSpec",
    "Manifest",
    "ModelSpec",
    "SqlmeshProject",
    "SqlmeshResource",
    "SqlmeshTranslator",
    "TableRef",
    "catch_up_job",
    "sqlmesh_assets",
]
