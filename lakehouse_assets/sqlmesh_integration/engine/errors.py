"""What SQLMesh and its databases raise."""

from __future__ import annotations

import sys

from sqlmesh.utils.errors import SQLMeshError

# Of the warehouses and state databases that SQLMesh knows: what is not loaded can't have raised.
DRIVERS = (
    "duckdb",
    "psycopg2",
    "pg8000",
    "pymysql",
    "pymssql",
    "pyodbc",
    "snowflake.connector",
    "redshift_connector",
    "databricks.sql",
    "trino.exceptions",
    "clickhouse_connect.driver.exceptions",
    "google.cloud.bigquery.dbapi",
)


def sqlmesh_errors() -> tuple[type[BaseException], ...]:
    """What reading a project or its state raises when the project, or the state, is at fault."""
    from sqlglot.errors import SqlglotError

    errors: list[type[BaseException]] = [SQLMeshError, SqlglotError, ValueError, TypeError, KeyError]
    errors += [OSError, ImportError, SyntaxError, NameError, AttributeError]
    loaded = [sys.modules[driver] for driver in DRIVERS if driver in sys.modules]
    return (*errors, *(module.Error for module in loaded if hasattr(module, "Error")))
