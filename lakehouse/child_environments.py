"""What each process that we start sees of our environment: a service everything, others only what they need."""

from __future__ import annotations

import os
import sys

from lakehouse.settings import PREFIX, Settings

HARMLESS = ("PATH", "HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE")
"""What the dashboard gets: no credential of the storage or of PostgreSQL can be among it."""
FOR_WORKERS = ("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH")


def child_environment(settings: Settings, extra: dict[str, str] | None = None) -> dict[str, str]:
    """Of a Dagster process: ours, with Dagster's home named."""
    return {
        **os.environ,
        "DAGSTER_HOME": str(settings.dagster_home),
        # Thousands of partitions computed in one run are written in batches.
        "DAGSTER_EVENT_BATCH_SIZE": "1000",
        **(extra or {}),
    }


def dashboard_environment(settings: Settings) -> dict[str, str]:
    """Of the dashboard: it reads through the query service alone, so it gets that one's address and a token for it."""
    return {
        **{name: os.environ[name] for name in HARMLESS if name in os.environ},
        f"{PREFIX}QUERY_URL": settings.query_service_url,
        f"{PREFIX}QUERY_TOKEN": settings.query_token.get_secret_value(),
        f"{PREFIX}WEBSERVER_NAMES": ",".join(settings.own_names),
    }


def worker_environment() -> dict[str, str]:
    """Of a query worker: where programs and libraries lie, nothing else."""
    kept = {name: os.environ[name] for name in FOR_WORKERS if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "HOME": "/nonexistent",
        # DuckDB's allocator keeps the addresses of what it gave back, which RLIMIT_DATA counts: after one statement
        # that took too much the next would have none left, not even for a thread, and end its process.
        "DUCKDB_JE_MALLOC_CONF": "retain:false",
        # Arrow's own takes a gigabyte of addresses ahead, which RLIMIT_DATA counts too: a worker looked full at once.
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }
