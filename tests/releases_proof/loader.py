"""The loader that the proof kills. It imports neither Dagster nor SQLMesh, and is forked: it is started often."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import dlt.destinations.impl.ducklake.ducklake  # noqa: F401  so that a fork need not

from lakehouse import settings as settings_module
from lakehouse.lake.ducklake import Lake
from lakehouse.writing.loads import loading
from lakehouse.writing.pipelines import lake_pipeline
from tests.releases_proof import feed


def say(**words: Any) -> None:
    """A line of JSON for the process that watches."""
    print(json.dumps({"at": time.time(), **words}), flush=True)


def load_forever(environment: Mapping[str, str], output: Path) -> None:
    """Load after load, until somebody kills this."""
    os.environ.update(environment)
    for stream in (1, 2):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), stream)
    lake = Lake(settings_module.load_settings())
    pauses = random.Random()
    while True:
        say(event="begin")
        with loading(lake, feed.SOURCE, feed.EVENT_TIMES, run="loader"):
            number = loaded(lake) + 1
            lake_pipeline(lake, feed.SOURCE).run(feed.source(number)).raise_on_failed_jobs()
        say(event="loaded", load=number)
        time.sleep(pauses.uniform(0, 0.5))


def loaded(lake: Lake) -> int:
    """The number of loads that both raw tables hold."""
    with closing(lake.connect(read_only=True)) as connection:
        row = connection.execute(
            f"SELECT least((SELECT max(load) FROM raw.{feed.ORDERS}), (SELECT max(load) FROM raw.{feed.LINES}))"
        ).fetchone()
    return int(row[0] or 0) if row else 0
