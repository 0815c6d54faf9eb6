"""What a lake's users do, well and badly, in one process whose settings carry secrets. Run by test_secrets.py."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from lakehouse.lake.ducklake import Lake
from lakehouse.settings import load_settings
from lakehouse_assets.definitions import build
from lakehouse_assets.defs.environments import deploying

EVENTS = dg.AssetKey(["raw", "ecommerce__events"])
CRASHES = dg.AssetKey(["raw", "nyc_collisions__crashes"])


class Refusing(BaseHTTPRequestHandler):
    """A portal that knows no token."""

    def do_GET(self) -> None:
        """403, and what it got in its answer, as some servers do."""
        self.send_response(403)
        self.end_headers()
        self.wfile.write(b'{"message": "invalid app token"}')

    def log_message(self, *arguments: object) -> None:
        """Silent."""


def main() -> None:
    """Each step says how it ended; those that must fail print everything that Python knows of their failure."""
    lake = Lake(load_settings())
    portal = HTTPServer(
        ("127.0.0.1", int(os.environ["SOURCES__NYC_COLLISIONS__BASE_URL"].rpartition(":")[2])), Refusing
    )
    threading.Thread(target=portal.serve_forever, daemon=True).start()
    deploying.deploy(lake, "prod", backfill=False, run="test")
    _land(lake)
    definitions = build()
    with dg.DagsterInstance.from_config(str(lake.settings.dagster_home)) as instance:

        def run(job: str, *keys: dg.AssetKey, **options: Any) -> None:
            chosen = {"asset_selection": list(keys)} if keys else {}
            definitions.resolve_job_def(job).execute_in_process(instance=instance, **chosen, **options)

        step("load", lambda: run("ingest", EVENTS))
        step("models", lambda: run("catch_up"))
        step("publish", lambda: run("publish_release"))
        step("portal refuses", lambda: run("ingest", CRASHES))
        _spoil(lake)
        step("model fails", lambda: run("recompute_daily_revenue", partition_key="2010-01-05"))


def step(name: str, act: Callable[[], object]) -> None:
    """Do it and say how it ended."""
    try:
        act()
        print(f"STEP {name}: done", flush=True)
    except Exception:
        traceback.print_exc(file=sys.stdout)
        print(f"STEP {name}: failed", flush=True)


def _land(lake: Lake) -> None:
    file = Path(lake.settings.data_dir) / "events_a.parquet"
    duckdb.sql(
        f"""
        COPY (
            SELECT i::BIGINT AS event_id, 1 AS user_id, 'purchase' AS event_type,
                TIMESTAMP '2010-01-05' + INTERVAL (i) HOUR AS event_timestamp, 1.5::DECIMAL(12, 2) AS revenue,
                'L' || i AS invoice, '1' AS sku, 'EIRE' AS country
            FROM range(12) t (i)
        ) TO '{file}' (FORMAT parquet)
        """
    )
    lake.storage.upload(file, f"landing/ecommerce/{file.name}")
    file.unlink()


def _spoil(lake: Lake) -> None:
    """A column that the models read goes: the next one that is computed fails in the engine."""
    with closing(lake.connect()) as connection:
        connection.execute("ALTER TABLE raw.ecommerce__events RENAME COLUMN revenue TO something_else")


if __name__ == "__main__":
    main()
