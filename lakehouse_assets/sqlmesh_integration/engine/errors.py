"""What SQLMesh and its databases raise."""

from __future__ import annotations

from sqlmesh.utils.errors import SQLMeshError


def sqlmesh_errors() -> tuple[type[BaseException], ...]:
    """What reading a project or its state raises when the project, or the state, is at fault."""
    from sqlglot.errors import SqlglotError

    errors: list[type[BaseException]] = [SQLMeshError, SqlglotError, ValueError, TypeError, KeyError]
    errors += [OSError, ImportError, SyntaxError, NameError, AttributeError]
    try:
        import psycopg2

        errors.append(psycopg2.Error)
    except ImportError:  # the state is then kept elsewhere
        pass
    try:
        import duckdb

        errors.append(duckdb.Error)
    except ImportError:
        pass
    return tuple(errors)
