"""What tests/forking.py imports before it forks. Nothing here reads a setting."""

import gc

import dagster._cli  # noqa: F401
import dagster_postgres  # noqa: F401
import dlt.destinations
import dlt.extract.exceptions  # noqa: F401
import pyarrow.compute  # noqa: F401
import sqlmesh.cli.main  # noqa: F401
import time_machine  # noqa: F401

import lakehouse.cli.main  # noqa: F401
import lakehouse_assets.cli.graph
import lakehouse_assets.sqlmesh_integration.automation
import lakehouse_assets.sqlmesh_integration.deploy
import lakehouse_assets.sqlmesh_integration.engine  # noqa: F401

gc.collect()
gc.freeze()
